package store

import (
	"errors"
	"fmt"

	"muster/attest"
)

// Kinds of dead keys, as stored.
const (
	deadEK = "ek"
	deadAK = "ak"
	deadDK = "dk"
)

// KeyRevoked tells whether any of the keys belonged to a revoked device, or is a
// DK that a device replaced. Absent ones are zero or nil.
func (t *Tx) KeyRevoked(ek attest.Digest, ak []byte, dk attest.Digest) (bool, error) {
	var dead bool
	err := t.first([]any{&dead}, `SELECT EXISTS (SELECT 1 FROM dead_keys WHERE kind = 'ek' AND value = ?)
		OR EXISTS (SELECT 1 FROM dead_keys WHERE kind = 'ak' AND value = ?)
		OR EXISTS (SELECT 1 FROM dead_keys WHERE kind = 'dk' AND value = ?)`,
		orNull(ek), ak, orNull(dk))
	return dead, err
}

// RevokeDevice ends a device and every key that it ever showed, for ever, in
// the journal too. Again is no change. ErrNotFound without the device.
func (t *Tx) RevokeDevice(id, by, why string) error {
	d, err := t.Device(id)
	if err != nil || d.State == attest.Revoked {
		return err
	}
	anchors, err := t.Anchors(id)
	if err != nil {
		return err
	}
	for _, a := range anchors {
		t.lines = append(t.lines, line{
			Kind: lineRevoke, Epoch: t.epoch, Time: millis(t.now), Device: id, By: by, Cause: why,
			EKHash: orNull(a.EKHash), AKName: a.AKName, DKID: orNull(a.DKID),
		})
	}
	return t.revoke(d, anchors, millis(t.now), by, why)
}

func (t *Tx) revoke(d *Device, anchors []Anchor, at int64, by, why string) error {
	for _, a := range anchors {
		if err := t.kill(d.ID, orNull(a.EKHash), a.AKName, orNull(a.DKID), at, why); err != nil {
			return err
		}
	}
	if err := t.one(`UPDATE devices SET state = 'revoked', revoked_at = ?, revoked_by = ?, revoked_why = ?
		WHERE n = ?`, at, by, why, d.n); err != nil {
		return err
	}
	return t.touch(d)
}

// kill puts keys among the dead; those that are there stay as they are.
func (t *Tx) kill(device string, ek, ak, dk []byte, at int64, cause string) error {
	for kind, value := range map[string][]byte{deadEK: ek, deadAK: ak, deadDK: dk} {
		if len(value) == 0 {
			continue
		}
		if _, err := t.exec(`INSERT INTO dead_keys (kind, value, device, at, cause)
			VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, kind, value, device, at, cause); err != nil {
			return err
		}
	}
	return nil
}

// causeReplaced is why a DK is dead whose device lives on with another.
const causeReplaced = "replaced"

// retire ends the DK that a device had: whoever finds the old disk has nothing.
func (t *Tx) retire(d *Device) error {
	dk := orNull(d.Keys.DKID)
	t.lines = append(t.lines, line{
		Kind: lineRetire, Epoch: t.epoch, Time: millis(t.now), Device: d.ID, DKID: dk, Cause: causeReplaced,
	})
	return t.kill(d.ID, nil, nil, dk, millis(t.now), causeReplaced)
}

// Cause of a device that a restored backup knew with a key that is dead.
const (
	causeReanchor     = "re-anchor"
	causeReanchorText = "The server was restored from a backup older than this device's last enrolment."
)

// replay applies a line of the journal to a database that may not know it.
func (t *Tx) replay(l *line) error {
	switch l.Kind {
	case lineRevoke, lineRetire:
		if err := t.kill(l.Device, l.EKHash, l.AKName, l.DKID, l.Time, l.Cause); err != nil {
			return err
		}
	default:
		return nil
	}
	d, err := t.Device(l.Device)
	if errors.Is(err, ErrNotFound) || err == nil && d.State == attest.Revoked {
		return nil // enrolled after the backup, or known
	}
	if err != nil {
		return err
	}
	if l.Kind == lineRevoke {
		anchors, err := t.Anchors(d.ID)
		if err != nil {
			return err
		}
		return t.revoke(d, anchors, l.Time, l.By, l.Cause)
	}
	if string(orNull(d.Keys.DKID)) != string(l.DKID) || d.State == attest.Pending {
		return nil
	}
	if err := t.one("UPDATE devices SET state = 'pending', cause = ?, cause_text = ? WHERE n = ?",
		causeReanchor, causeReanchorText, d.n); err != nil {
		return err
	}
	return t.touch(d)
}

// unjournalled returns the revocations that the database has and the journal,
// whose dead keys are given, has not: the journal was lost.
func (t *Tx) unjournalled(known map[string]bool) (lines []line, err error) {
	err = t.query(func(row scanner) error {
		l := line{Kind: lineRevoke, Epoch: t.epoch}
		var kind string
		var value []byte
		if err := row.Scan(&kind, &value, &l.Device, &l.Time, &l.Cause); err != nil {
			return err
		}
		if known[kind+string(value)] {
			return nil
		}
		switch kind {
		case deadEK:
			l.EKHash = value
		case deadAK:
			l.AKName = value
		case deadDK:
			l.DKID = value
		default:
			return fmt.Errorf("dead key of kind %q", kind)
		}
		if l.Cause == causeReplaced {
			l.Kind = lineRetire
		}
		lines = append(lines, l)
		return nil
	}, "SELECT kind, value, device, at, cause FROM dead_keys ORDER BY at")
	return lines, err
}
