package store

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"muster/attest"
)

// EnrolmentEvidence is what proved a device's keys, for later auditors. The first
// message has the token that it was begun with.
type EnrolmentEvidence struct {
	DKID    attest.Digest // of the identity that it began
	At      time.Time
	Begin   []byte // exact body of the first message
	Finish  []byte // exact body of the second
	Session []byte // JSON that the caller owns: what the server knew between the two
}

const (
	// keptEvidence is how many identities of a device have theirs: an older one is
	// in the history of anchors alone.
	keptEvidence = 4
	// maxEvidence bounds each part, in bytes.
	maxEvidence = attest.MaxMessage
)

// PutEnrolmentEvidence keeps it beside the device's anchor; packed. Of each device
// the last four stay; the same identity again replaces its own. Each part has 1
// byte to 160 kB: ErrForm else. ErrNotFound without the device.
func (t *Tx) PutEnrolmentEvidence(device string, e *EnrolmentEvidence) error {
	packed, err := e.pack()
	if err != nil {
		return err
	}
	var n int64
	if err := t.first([]any{&n}, "SELECT n FROM devices WHERE id = ?", device); err != nil {
		return err
	}
	if _, err := t.exec("REPLACE INTO enrolment_evidence (n, dk_id, at, packed) VALUES (?, ?, ?, ?)",
		n, e.DKID[:], millis(e.At), packed); err != nil {
		return err
	}
	_, err = t.exec(`DELETE FROM enrolment_evidence WHERE id IN (SELECT id FROM enrolment_evidence
		WHERE n = ? ORDER BY id DESC LIMIT -1 OFFSET ?)`, n, keptEvidence)
	return err
}

// EnrolmentEvidence reads what began the identity with a DK. ErrNotFound.
func (t *Tx) EnrolmentEvidence(device string, dk attest.Digest) (*EnrolmentEvidence, error) {
	e := &EnrolmentEvidence{DKID: dk}
	var at int64
	var packed []byte
	if err := t.first([]any{&at, &packed}, `SELECT at, packed FROM enrolment_evidence
		WHERE n = (SELECT n FROM devices WHERE id = ?) AND dk_id = ?`, device, dk[:]); err != nil {
		return nil, err
	}
	e.At = instant(at)
	if err := e.unpack(packed); err != nil {
		return nil, fmt.Errorf("unpacking evidence of an enrolment: %w", err)
	}
	return e, nil
}

// parts are what is packed, in this order.
func (e *EnrolmentEvidence) parts() []*[]byte { return []*[]byte{&e.Begin, &e.Finish, &e.Session} }

// pack writes the parts, each with its length before it, through gzip, which has a
// checksum.
func (e *EnrolmentEvidence) pack() ([]byte, error) {
	if e.DKID.IsZero() {
		return nil, fmt.Errorf("%w: evidence without DK", ErrForm)
	}
	var plain []byte
	for _, part := range e.parts() {
		if err := sized("part of an enrolment", *part, maxEvidence); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrForm, err)
		}
		plain = append(binary.AppendUvarint(plain, uint64(len(*part))), *part...)
	}
	if !json.Valid(e.Session) {
		return nil, fmt.Errorf("%w: session of an enrolment is not JSON", ErrForm)
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(plain)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("packing evidence of an enrolment: %w", err)
	}
	return b.Bytes(), nil
}

func (e *EnrolmentEvidence) unpack(packed []byte) error {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	plain, err := io.ReadAll(io.LimitReader(r, 3*(maxEvidence+binary.MaxVarintLen32)+1))
	if err != nil {
		return err
	}
	u := &unpacker{b: plain}
	for _, part := range e.parts() {
		size := u.uvarint()
		if size == 0 || size > maxEvidence {
			u.bad = true
			break
		}
		*part = u.bytes(int(size))
	}
	if u.bad || len(u.b) != 0 {
		return errors.New("it is not whole")
	}
	return nil
}
