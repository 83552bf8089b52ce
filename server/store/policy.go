package store

import (
	"crypto/sha256"
	"time"

	"muster/attest"
)

// Policy is one version of the policy file.
type Policy struct {
	Digest   attest.Digest // SHA-256 of YAML
	YAML     []byte
	LoadedAt time.Time
	LoadedBy string
	Active   bool
}

const policyColumns = "digest, yaml, loaded_at, loaded_by, active"

// ActivatePolicy makes a file, which the caller has checked, the active policy.
// A version that was there before keeps when it was first loaded, and is from now
// on by whoever loaded it last.
func (t *Tx) ActivatePolicy(yaml []byte, by string) (attest.Digest, error) {
	digest := attest.Digest(sha256.Sum256(yaml))
	if _, err := t.exec("UPDATE policies SET active = 0 WHERE active = 1"); err != nil {
		return digest, err
	}
	t.changed(PolicyChanged, digest.String())
	return digest, t.one(`INSERT INTO policies (`+policyColumns+`) VALUES (?, ?, ?, ?, 1)
		ON CONFLICT (digest) DO UPDATE SET active = 1, loaded_by = excluded.loaded_by`, digest[:], yaml, millis(t.now), by)
}

// ActivePolicy reads the active one; ErrNotFound before the first.
func (t *Tx) ActivePolicy() (*Policy, error) {
	list, err := t.policies("WHERE active = 1")
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// PolicyOf reads a version of the policy by its digest. ErrNotFound.
func (t *Tx) PolicyOf(digest attest.Digest) (*Policy, error) {
	list, err := t.policies("WHERE digest = ?", digest[:])
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// Policies lists every version, newest first: at most limit.
func (t *Tx) Policies(limit int) ([]*Policy, error) {
	return t.policies("ORDER BY id DESC LIMIT ?", limit)
}

func (t *Tx) policies(where string, args ...any) (list []*Policy, err error) {
	err = t.query(func(row scanner) error {
		p := new(Policy)
		var digest []byte
		var loaded int64
		err := row.Scan(&digest, &p.YAML, &loaded, &p.LoadedBy, &p.Active)
		if err != nil {
			return err
		}
		p.LoadedAt = instant(loaded)
		list = append(list, p)
		p.Digest, err = readDigest(digest)
		return err
	}, "SELECT "+policyColumns+" FROM policies "+where, args...)
	return list, err
}

// PutGrace keeps a device's book of used grace, as JSON that the caller owns.
func (t *Tx) PutGrace(device string, book []byte) error {
	t.changed(GraceChanged, device)
	return t.one(`INSERT INTO grace (n, book) SELECT n, ? FROM devices WHERE id = ?
		ON CONFLICT (n) DO UPDATE SET book = excluded.book`, book, device)
}

// Grace reads a device's book; ErrNotFound before the first.
func (t *Tx) Grace(device string) (book []byte, err error) {
	err = t.first([]any{&book}, "SELECT book FROM grace WHERE n = (SELECT n FROM devices WHERE id = ?)", device)
	return book, err
}
