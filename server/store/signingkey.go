package store

import (
	"errors"
	"time"
)

// SigningKey is a private key that signs tokens for gateways.
type SigningKey struct {
	ID        string    // kid
	Private   []byte    // PKCS #8, P-256
	CreatedAt time.Time // set by AddSigningKey
}

// signingKeys is what ContentChanged names when they change.
const signingKeys = "signing-keys"

// AddSigningKey keeps one; it tells ContentChanged of "signing-keys". ErrTaken when
// there is one of that id.
func (t *Tx) AddSigningKey(k *SigningKey) error {
	if k.ID == "" {
		return errors.New("signing key without id")
	}
	if err := errors.Join(bounded("id of a signing key", k.ID, maxID), sized("signing key", k.Private, maxKey)); err != nil {
		return err
	}
	k.CreatedAt = t.now
	t.changed(ContentChanged, signingKeys)
	return t.one("INSERT INTO signing_keys (id, private, epoch, created_at) VALUES (?, ?, ?, ?)",
		k.ID, k.Private, t.epoch, millis(k.CreatedAt))
}

// SigningKeys lists them, oldest first. Those of another epoch are left out: a
// restored backup signs with none of its old keys.
func (t *Tx) SigningKeys() ([]*SigningKey, error) {
	return collect(t, func(row scanner) (*SigningKey, error) {
		k := new(SigningKey)
		var created int64
		err := row.Scan(&k.ID, &k.Private, &created)
		k.CreatedAt = instant(created)
		return k, err
	}, "SELECT id, private, created_at FROM signing_keys WHERE epoch = ? ORDER BY n", t.epoch)
}

// RemoveSigningKey forgets one; ErrNotFound.
func (t *Tx) RemoveSigningKey(id string) error {
	t.changed(ContentChanged, signingKeys)
	return t.one("DELETE FROM signing_keys WHERE id = ?", id)
}

// Seen tells when a session was seen last.
type Seen struct {
	Session string
	At      time.Time
}

// NoteSeen moves SeenAt of live sessions forward, never back, and never past now. It
// is no change that caches need hear of; sessions that are not there, or have
// ended, are passed over.
func (t *Tx) NoteSeen(seen []Seen) error {
	for _, s := range seen {
		at := s.At
		if at.After(t.now) {
			at = t.now
		}
		if _, err := t.exec(`UPDATE session_hot SET seen_at = ?1 WHERE seen_at < ?1
			AND n = (SELECT n FROM sessions WHERE id = ?2 AND ended_at = 0 AND epoch = ?3)`,
			millis(at), s.Session, t.epoch); err != nil {
			return err
		}
	}
	return nil
}
