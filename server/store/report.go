package store

import (
	"math/rand/v2"
	"time"

	"muster/attest"
)

// Report is an accepted statement that changed something, with what was made
// of it. Unchanged ones leave only their trace in [Hot].
type Report struct {
	Seq        uint64
	Digest     attest.Digest
	ReceivedAt time.Time
	JWS        []byte // compact, as it came
	Quote      []byte // JSON as it came; nil without one
	DKb        []byte // JSON of the boot key that it brought; nil without one
	Result     []byte // JSON of the verify.Result
}

// Of each device the last keptReports stay; the older ones go once in about
// pruneAfter reports.
const (
	keptReports = 100
	pruneAfter  = 16
)

// AddReport keeps a report of a device, and now and then forgets its oldest: the
// last 100 stay. Dice say when, because sequence numbers and digests are the
// device's to choose.
func (t *Tx) AddReport(device string, r *Report) error {
	if err := t.one(`INSERT INTO reports (n, seq, digest, received_at, jws, quote, result, dkb)
		SELECT n, ?, ?, ?, ?, ?, ?, ? FROM devices WHERE id = ?`,
		r.Seq, r.Digest[:], millis(r.ReceivedAt), r.JWS, r.Quote, r.Result, r.DKb, device); err != nil {
		return err
	}
	if rand.IntN(pruneAfter) != 0 {
		return nil
	}
	_, err := t.PruneReports(device, keptReports)
	return err
}

// LatestReport reads the last one that was kept of a device.
func (t *Tx) LatestReport(device string) (*Report, error) {
	list, err := t.Reports(device, 1)
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// Reports lists what was kept of a device, newest first: at most limit.
func (t *Tx) Reports(device string, limit int) ([]*Report, error) {
	return t.reports("ORDER BY r.id DESC LIMIT ?", device, limit)
}

// reports reads those of a device, the first argument, that a clause picks.
func (t *Tx) reports(which string, args ...any) (list []*Report, err error) {
	err = t.query(func(row scanner) error {
		r := new(Report)
		var digest []byte
		var received int64
		err := row.Scan(&r.Seq, &digest, &received, &r.JWS, &r.Quote, &r.Result, &r.DKb)
		if err != nil {
			return err
		}
		r.ReceivedAt = instant(received)
		list = append(list, r)
		r.Digest, err = readDigest(digest)
		return err
	}, `SELECT r.seq, r.digest, r.received_at, r.jws, r.quote, r.result, r.dkb
		FROM reports r WHERE r.n = (SELECT n FROM devices WHERE id = ?) `+which, args...)
	return list, err
}

// ReportOf reads a kept report of a device by its digest. ErrNotFound when it is
// no longer kept: a decision may be kept in the audit log for longer than the
// report that it rested on.
func (t *Tx) ReportOf(device string, digest attest.Digest) (*Report, error) {
	list, err := t.reports("AND r.digest = ? ORDER BY r.id DESC LIMIT 1", device, digest[:])
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// PruneReports forgets all but the last keep reports of a device, and at least
// one stays. It returns how many went.
func (t *Tx) PruneReports(device string, keep int) (int64, error) {
	return t.exec(`DELETE FROM reports WHERE n = (SELECT n FROM devices WHERE id = ?1) AND id <
		(SELECT id FROM reports WHERE n = (SELECT n FROM devices WHERE id = ?1)
		ORDER BY id DESC LIMIT 1 OFFSET ?2)`, device, max(keep, 1)-1)
}
