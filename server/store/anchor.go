package store

import (
	"time"

	"muster/attest"
	"muster/server/verify"
)

// Anchor is one identity that a device had for a time.
type Anchor struct {
	EKHash attest.Digest
	AKName []byte
	DKID   attest.Digest
	Level  verify.Level
	From   time.Time
	Until  time.Time // zero: now
	Cause  string    // the device's cause when it began
}

// Anchors is the history of a device's identities, oldest first.
func (t *Tx) Anchors(device string) (list []Anchor, err error) {
	err = t.query(func(row scanner) error {
		var a Anchor
		var ek, dk []byte
		var level string
		var from, until int64
		err := row.Scan(&ek, &a.AKName, &dk, &level, &from, &until, &a.Cause)
		if err != nil {
			return err
		}
		if a.EKHash, err = readDigest(ek); err != nil {
			return err
		}
		if a.DKID, err = readDigest(dk); err != nil {
			return err
		}
		a.From, a.Until = instant(from), instant(until)
		list = append(list, a)
		return list[len(list)-1].Level.UnmarshalText([]byte(level))
	}, `SELECT a.ek_hash, a.ak_name, a.dk_id, a.level, a.from_at, a.until_at, a.cause
		FROM anchors a JOIN devices d ON d.n = a.n WHERE d.id = ? ORDER BY a.id`, device)
	return list, err
}

// DevicesByAnchor lists the devices, revoked ones too, that have one of the keys
// or ever had it, each once, those that enrolled first first. Absent keys are
// zero or nil, and find nothing.
func (t *Tx) DevicesByAnchor(ek attest.Digest, ak []byte, dk attest.Digest) (list []*Device, err error) {
	err = t.query(func(row scanner) error {
		d, err := scanDevice(row)
		list = append(list, d)
		return err
	}, "SELECT "+deviceColumns+` FROM devices WHERE n IN (
		SELECT n FROM anchors WHERE ek_hash = ? UNION
		SELECT n FROM anchors WHERE ak_name = ? UNION
		SELECT n FROM anchors WHERE dk_id = ?) ORDER BY n`, orNull(ek), ak, orNull(dk))
	return list, err
}

// RecentAnchors counts the identities that a device got at or after a time.
func (t *Tx) RecentAnchors(device string, since time.Time) (count int, err error) {
	err = t.first([]any{&count}, `SELECT count(*) FROM anchors WHERE n = (SELECT n FROM devices WHERE id = ?)
		AND from_at >= ?`, device, millis(since))
	return count, err
}

// anchor adds to the history when the device's identity is another than the
// last one there.
func (t *Tx) anchor(d *Device) error {
	ek, dk := orNull(d.Keys.EKHash), orNull(d.Keys.DKID)
	var same int
	if err := t.first([]any{&same}, `SELECT count(*) FROM anchors WHERE n = ? AND until_at = 0
		AND ek_hash IS ? AND ak_name IS ? AND dk_id = ? AND level = ?`,
		d.n, ek, d.Keys.AKName, dk, d.Level.String()); err != nil {
		return err
	}
	if same > 0 {
		return nil
	}
	now := millis(t.now)
	if _, err := t.exec("UPDATE anchors SET until_at = ? WHERE n = ? AND until_at = 0", now, d.n); err != nil {
		return err
	}
	return t.one(`INSERT INTO anchors (n, ek_hash, ak_name, dk_id, level, from_at, until_at, cause)
		VALUES (?, ?, ?, ?, ?, ?, 0, ?)`, d.n, ek, d.Keys.AKName, dk, d.Level.String(), now, d.Cause)
}
