package store

import (
	"errors"
)

// refusal names a refused baseline in maps: device and key.
func refusal(device string, key []byte) string { return device + "\x00" + string(key) }

// journalRefusal notes that a way to start was refused, before the commit, at the
// head of the audit log: a restored backup does not take it for one that the fleet
// may approve. That it was approved is not noted: a restored backup asks again.
func (t *Tx) journalRefusal(b *Baseline) error {
	head, err := t.AuditHead()
	if err != nil {
		return err
	}
	t.lines = append(t.lines, b.line(t.epoch, head.Seq))
	return nil
}

func (b *Baseline) line(epoch, seq uint64) line {
	return line{Kind: lineRefuse, Epoch: epoch, Time: millis(b.DecidedAt), Device: b.Device, Hash: b.Key[:],
		Set: b.Set, By: b.DecidedBy, Cause: b.Why, Seq: seq}
}

// replayRefusals refuses again what was refused since a database was what it is:
// its epoch, and the head of its audit log, say when that was. What was approved
// after all later has to be approved anew.
func (t *Tx) replayRefusals(lines []line, epoch, head uint64) error {
	for i := range lines {
		l := &lines[i]
		if l.Kind != lineRefuse || l.Epoch < epoch || l.Epoch == epoch && l.Seq < head {
			continue
		}
		if err := t.replayRefusal(l); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tx) replayRefusal(l *line) error {
	key, err := readDigest(l.Hash)
	if err != nil {
		return err
	}
	b := &Baseline{Device: l.Device, Key: key, Set: l.Set, State: BaselineRefused, DecidedBy: l.By, Why: l.Cause,
		DecidedAt: instant(l.Time)}
	if err := b.fit(); err != nil {
		return err
	}
	var n int64
	err = t.first([]any{&n}, "SELECT n FROM devices WHERE id = ?", l.Device)
	if errors.Is(err, ErrNotFound) {
		return nil // enrolled after the backup
	}
	if err != nil {
		return err
	}
	var same bool
	if err := t.first([]any{&same}, `SELECT EXISTS (SELECT 1 FROM baselines WHERE n = ? AND digest = ?
		AND state = 'refused')`, n, key[:]); err != nil || same {
		return err
	}
	b.FirstSeen, b.LastSeen = b.DecidedAt, b.DecidedAt // where the backup does not know better
	t.changed(DeviceChanged, l.Device)
	if err := t.putBaseline(n, b); err != nil {
		return err
	}
	return t.told("baseline.refuse", l.Device, record{By: l.By, Why: l.Cause, Journal: true})
}

// unjournalledRefusals returns the refusals that the database has and the journal,
// whose refusals are given, has not: the journal was lost. When they were made is
// not known by the audit log's head, so they count from now on.
func (t *Tx) unjournalledRefusals(known map[string]bool) (lines []line, err error) {
	head, err := t.AuditHead()
	if err != nil {
		return nil, err
	}
	list, err := collect(t, scanBaseline, baselineSelect+"WHERE b.state = 'refused' ORDER BY b.id")
	for _, b := range list {
		if !known[refusal(b.Device, b.Key[:])] {
			lines = append(lines, b.line(t.epoch, head.Seq))
		}
	}
	return lines, err
}
