package store

import (
	"errors"
	"time"

	"muster/attest"
	"muster/server/verify"
)

// Listed is what was got out of band. An EK hash, or an EK certificate's issuer
// and serial number, admits a device by itself; a machine's serial number alone
// only pre-fills an approval, since anyone can claim one.
type Listed struct {
	ID         string        `json:"id"`
	EKHash     attest.Digest `json:"ek_hash"`     // or zero, and
	Issuer     string        `json:"issuer"`      // of the certificate, as the importer spells it
	CertSerial string        `json:"cert_serial"` // its serial number, hexadecimal
	Label      string        `json:"label"`
	Serial     string        `json:"serial"` // the machine's, to pre-fill an approval
	Class      verify.Class  `json:"class"`
	Group      string        `json:"group"`
	Owner      string        `json:"owner"`
	AddedAt    time.Time     `json:"added_at"` // set by AddListed
	AddedBy    string        `json:"added_by"`
}

const listedColumns = "id, ek_hash, issuer, cert_serial, label, serial, class, grp, owner, added_at, added_by"

func scanListed(row scanner) (*Listed, error) {
	l := new(Listed)
	var ek []byte
	var added int64
	err := row.Scan(&l.ID, &ek, &l.Issuer, &l.CertSerial, &l.Label, &l.Serial, &l.Class, &l.Group,
		&l.Owner, &added, &l.AddedBy)
	if err != nil {
		return nil, err
	}
	l.AddedAt = instant(added)
	l.EKHash, err = readDigest(ek)
	return l, err
}

// AddListed keeps one; ErrTaken when it is there.
func (t *Tx) AddListed(l *Listed) error {
	byHash, byName := !l.EKHash.IsZero(), l.Issuer != "" && l.CertSerial != ""
	bySerial := !byHash && l.Issuer == "" && l.CertSerial == "" && l.Serial != ""
	if l.ID == "" || byHash == byName && !bySerial {
		return errors.New("listed needs an id, and an EK hash, or issuer and serial, or a machine's serial")
	}
	l.AddedAt = t.now
	t.changed(ListedChanged, l.ID)
	return t.one("INSERT INTO listed ("+listedColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		l.ID, orNull(l.EKHash), l.Issuer, l.CertSerial, l.Label, l.Serial, string(l.Class), l.Group,
		l.Owner, millis(l.AddedAt), l.AddedBy)
}

// FindListed reads the one with that EK hash, else with that issuer and serial
// number; ErrNotFound without either.
func (t *Tx) FindListed(ek attest.Digest, issuer, certSerial string) (*Listed, error) {
	list, err := t.listed(`WHERE ek_hash = ?1 OR ek_hash IS NULL AND issuer = ?2 AND cert_serial = ?3
		AND issuer <> '' AND cert_serial <> ''
		ORDER BY ek_hash IS NULL LIMIT 1`, orNull(ek), issuer, certSerial)
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// ListedBySerial lists those with a machine's serial number: anyone can claim
// it, so it may pre-fill an approval and admit nothing.
func (t *Tx) ListedBySerial(serial string) ([]*Listed, error) {
	if serial == "" {
		return nil, nil
	}
	return t.listed("WHERE serial = ? ORDER BY id", serial)
}

// Listed lists in the order of ids from behind the given one: at most limit.
func (t *Tx) Listed(after string, limit int) ([]*Listed, error) {
	return t.listed("WHERE id > ? ORDER BY id LIMIT ?", after, limit)
}

func (t *Tx) listed(where string, args ...any) (list []*Listed, err error) {
	err = t.query(func(row scanner) error {
		l, err := scanListed(row)
		list = append(list, l)
		return err
	}, "SELECT "+listedColumns+" FROM listed "+where, args...)
	return list, err
}

// RemoveListed forgets one; devices that it admitted stay.
func (t *Tx) RemoveListed(id string) error {
	t.changed(ListedChanged, id)
	return t.one("DELETE FROM listed WHERE id = ?", id)
}
