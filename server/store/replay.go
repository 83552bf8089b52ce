package store

import (
	"errors"
	"fmt"

	"muster/attest"
)

// Cause of a device that a restored backup knew with a key that is dead.
const (
	causeReanchor     = "re-anchor"
	causeReanchorText = "The server was restored from a backup older than this device's last enrolment."
)

// replay applies a line of the journal to a database that may not know it. What
// it changes goes into the audit log. Of persons only the last word counts: see
// replayWord.
func (t *Tx) replay(l *line) error {
	switch l.Kind {
	case lineRevoke:
		return t.replayRevoke(l)
	case lineRetire:
		return t.replayRetire(l)
	case lineGateway:
		return t.replayGateway(l)
	case linePasskey:
		return t.replayPasskey(l)
	}
	return nil
}

func (t *Tx) replayRevoke(l *line) error {
	if err := t.killKeys(l.Device, l.EKHash, l.AKName, l.DKID, l.Time, l.Cause); err != nil {
		return err
	}
	ek, err := readDigest(l.EKHash)
	if err != nil {
		return err
	}
	dk, err := readDigest(l.DKID)
	if err != nil {
		return err
	}
	// The database may know the device without these keys, or the keys under
	// another name alone.
	queue, err := t.DevicesByAnchor(ek, l.AKName, dk)
	if err != nil {
		return err
	}
	d, err := t.Device(l.Device)
	if err == nil {
		queue = append(queue, d)
	} else if !errors.Is(err, ErrNotFound) { // not found: enrolled after the backup
		return err
	}
	_, err = t.end(queue, &ending{device: l.Device, at: l.Time, by: l.By, why: l.Cause, replay: true})
	return err
}

func (t *Tx) replayRetire(l *line) error {
	if err := t.kill(deadDK, l.DKID, l.Device, l.Time, l.Cause); err != nil {
		return err
	}
	d, err := t.Device(l.Device)
	if errors.Is(err, ErrNotFound) {
		return nil // enrolled after the backup
	}
	if err != nil {
		return err
	}
	if d.State != attest.Active || string(orNull(d.Keys.DKID)) != string(l.DKID) {
		return nil
	}
	if err := t.one("UPDATE devices SET state = 'pending', cause = ?, cause_text = ? WHERE n = ?",
		causeReanchor, causeReanchorText, d.n); err != nil {
		return err
	}
	if err := t.told("device.pending", d.ID, record{Why: causeReanchorText, Journal: true}); err != nil {
		return err
	}
	return t.touch(d)
}

func (t *Tx) replayGateway(l *line) error {
	removed, err := t.endGateway(l.Gateway, l.Hash, l.Time)
	if err != nil || !removed {
		return err
	}
	return t.told("gateway.delete", l.Gateway, record{Why: causeRemoved, Journal: true})
}

// unjournalled returns the revocations that the database has and the journal,
// whose dead keys are given, has not: the journal was lost.
func (t *Tx) unjournalled(known map[string]bool) (lines []line, err error) {
	err = t.query(func(row scanner) error {
		l := line{Kind: lineRevoke, Epoch: t.epoch}
		var kind, subject string
		var value []byte
		if err := row.Scan(&kind, &value, &subject, &l.Time, &l.Cause); err != nil {
			return err
		}
		if known[kind+string(value)] {
			return nil
		}
		l.Device = subject
		switch kind {
		case deadEK:
			l.EKHash = value
		case deadAK:
			l.AKName = value
		case deadDK:
			l.DKID = value
		case deadGateway:
			l.Kind, l.Device, l.Gateway, l.Hash = lineGateway, "", subject, value
		default:
			return fmt.Errorf("dead key of kind %q", kind)
		}
		if kind == deadDK && l.Cause == causeReplaced {
			l.Kind = lineRetire
		}
		lines = append(lines, l)
		return nil
	}, "SELECT kind, value, subject, at, cause FROM dead_keys ORDER BY at")
	return lines, err
}
