package store

import (
	"errors"
	"time"

	"muster/attest"
)

// keptEnrolments is how many replies are kept of each device: the last one is
// what an honest device may ask for again.
const keptEnrolments = 4

// PutEnrolment keeps the reply to an enrolment's finish by the SHA-256 of its
// bytes, so that the same bytes get the same answer until it expires, or until
// the device enrolled four times more. ErrTaken when these bytes have one.
func (t *Tx) PutEnrolment(digest attest.Digest, device string, reply []byte, expires time.Time) error {
	if digest.IsZero() || device == "" {
		return errors.New("enrolment without digest or device")
	}
	if err := t.one("INSERT INTO enrolments (digest, device, reply, expires_at) VALUES (?, ?, ?, ?)",
		digest[:], device, reply, millis(expires)); err != nil {
		return err
	}
	_, err := t.exec(`DELETE FROM enrolments WHERE device = ?1 AND id <=
		(SELECT id FROM enrolments WHERE device = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)`, device, keptEnrolments)
	return err
}

// Enrolment reads a kept reply; ErrNotFound when there is none that lives.
func (t *Tx) Enrolment(digest attest.Digest) (device string, reply []byte, err error) {
	err = t.first([]any{&device, &reply}, `SELECT device, reply FROM enrolments
		WHERE digest = ? AND expires_at > ?`, digest[:], millis(t.now))
	return device, reply, err
}

// PurgeEnrolments forgets the replies that expired, and returns how many.
func (t *Tx) PurgeEnrolments() (int64, error) {
	return t.exec("DELETE FROM enrolments WHERE expires_at <= ?", millis(t.now))
}
