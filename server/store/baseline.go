package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"muster/attest"
)

// BaselineState is what became of one way in which a device started.
type BaselineState string

// New: the first that was seen. Drifted: another than an approved one, or than the
// first; it waits. Approved and Refused: decided by a person, or approved by the
// fleet.
const (
	BaselineNew      BaselineState = "new"
	BaselineApproved BaselineState = "approved"
	BaselineDrifted  BaselineState = "drifted"
	BaselineRefused  BaselineState = "refused"
)

// decided tells whether somebody said yes or no.
func (s BaselineState) decided() bool { return s == BaselineApproved || s == BaselineRefused }

// Baseline is one set of boot values of a device.
type Baseline struct {
	Device    string
	Key       attest.Digest // of the set
	Set       []byte        // JSON that the caller owns, at most 16 kB
	State     BaselineState
	FirstSeen time.Time
	LastSeen  time.Time
	DecidedAt time.Time // zero: nobody decided
	DecidedBy string
	Why       string // of a decision by the fleet: the figures
}

// keptBaselines is how many are kept of each device.
const keptBaselines = 16

const baselineSelect = `SELECT d.id, b.digest, b.boot, b.state, b.first_seen, b.last_seen, b.decided_at,
	b.decided_by, b.why FROM baselines b JOIN devices d ON d.n = b.n `

func scanBaseline(row scanner) (*Baseline, error) {
	b := new(Baseline)
	var key []byte
	var first, last, decided int64
	err := row.Scan(&b.Device, &key, &b.Set, &b.State, &first, &last, &decided, &b.DecidedBy, &b.Why)
	if err != nil {
		return nil, err
	}
	b.FirstSeen, b.LastSeen, b.DecidedAt = instant(first), instant(last), instant(decided)
	b.Key, err = readDigest(key)
	return b, err
}

// Baselines lists what is kept of a device, the last seen first: at most 16.
func (t *Tx) Baselines(device string) ([]*Baseline, error) {
	return collect(t, scanBaseline, baselineSelect+"WHERE d.id = ? ORDER BY b.last_seen DESC, b.id DESC", device)
}

// PutBaseline writes one by device and key, new or known; of a known one FirstSeen
// stays, and LastSeen does not go back. Of each device the 16 that were seen last
// stay: to make room those go first that drifted, then refused ones, last approved
// ones and the first, and never the one that was just written.
//
// ErrNotFound without the device. ErrStale when it was decided on since it was
// read: an approval and a refusal are followed only by a later decision. A refusal
// is journalled, before the commit, and a restored backup has it again; an
// approval is not: there it has drifted again. A decision tells DeviceChanged.
func (t *Tx) PutBaseline(b *Baseline) error {
	if err := b.fit(); err != nil {
		return err
	}
	var n int64
	if err := t.first([]any{&n}, "SELECT n FROM devices WHERE id = ?", b.Device); err != nil {
		return err
	}
	was, err := pick(t, scanBaseline, baselineSelect+"WHERE b.n = ? AND b.digest = ?", n, b.Key[:])
	if errors.Is(err, ErrNotFound) {
		was, err = &Baseline{}, nil
	}
	if err != nil {
		return err
	}
	if was.State.decided() && (!b.State.decided() || b.DecidedAt.Before(was.DecidedAt)) {
		return ErrStale
	}
	if b.State == BaselineRefused && was.State != BaselineRefused {
		if err := t.journalRefusal(b); err != nil {
			return err
		}
	}
	if b.State != was.State && (b.State.decided() || was.State.decided()) {
		t.changed(DeviceChanged, b.Device)
	}
	return t.putBaseline(n, b)
}

// putBaseline writes it, and makes room.
func (t *Tx) putBaseline(n int64, b *Baseline) error {
	if err := t.one(`INSERT INTO baselines (n, digest, boot, state, first_seen, last_seen, decided_at, decided_by, why)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (n, digest) DO UPDATE SET boot = excluded.boot, state = excluded.state,
		last_seen = max(last_seen, excluded.last_seen), decided_at = excluded.decided_at,
		decided_by = excluded.decided_by, why = excluded.why`,
		n, b.Key[:], b.Set, string(b.State), millis(b.FirstSeen), millis(b.LastSeen), millis(b.DecidedAt),
		b.DecidedBy, b.Why); err != nil {
		return err
	}
	// Refused ones are behind the drifted, whose number a device can choose. So is the
	// first, which others are measured by until somebody decides: there is but one.
	_, err := t.exec(`DELETE FROM baselines WHERE id IN (SELECT id FROM baselines WHERE n = ?1 AND digest <> ?2
		ORDER BY CASE state WHEN 'approved' THEN 2 WHEN 'new' THEN 2 WHEN 'refused' THEN 1 ELSE 0 END DESC, last_seen DESC, id DESC
		LIMIT -1 OFFSET ?3)`, n, b.Key[:], keptBaselines-1)
	return err
}

// fit refuses what the store does not keep.
func (b *Baseline) fit() error {
	switch b.State {
	case BaselineNew, BaselineApproved, BaselineDrifted, BaselineRefused:
	default:
		return fmt.Errorf("%w: a baseline cannot be %q", ErrForm, b.State)
	}
	if b.Key.IsZero() {
		return fmt.Errorf("%w: baseline without key", ErrForm)
	}
	// Whoever decided has a name, and a time, which orders decisions.
	if b.State.decided() != (millis(b.DecidedAt) != 0) || b.State.decided() && b.DecidedBy == "" {
		return fmt.Errorf("%w: a baseline is approved or refused by somebody, at a time, and else by nobody", ErrForm)
	}
	err := errors.Join(sized("set of a baseline", b.Set, maxData), bounded("decider", b.DecidedBy, maxText),
		bounded("reason", b.Why, 4*maxText))
	if err == nil && !json.Valid(b.Set) {
		err = errors.New("set of a baseline is not JSON")
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForm, err)
	}
	return nil
}
