package store

import (
	"errors"
	"fmt"
	"time"
)

// Bypass lets one rule pass for one device or one person, for a while.
type Bypass struct {
	ID        string    `json:"id"`               // by_...
	Device    string    `json:"device,omitempty"` // one of the two
	Person    string    `json:"person,omitempty"` // person id
	Rule      string    `json:"rule"`
	Why       string    `json:"why"`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"` // actor
	Expires   time.Time `json:"expires"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
}

const bypassSelect = `SELECT id, coalesce(device, ''), coalesce(person, ''), rule, why, created_at, created_by,
	expires_at, ended_at, epoch FROM bypasses `

// bypassLives is what the store means by live; it has two arguments: now, epoch.
const bypassLives = "ended_at = 0 AND expires_at > ?1 AND epoch = ?2 "

func (t *Tx) scanBypass(row scanner) (*Bypass, error) {
	b := new(Bypass)
	var created, expires, ended int64
	var epoch uint64
	err := row.Scan(&b.ID, &b.Device, &b.Person, &b.Rule, &b.Why, &created, &b.CreatedBy, &expires, &ended, &epoch)
	b.CreatedAt, b.Expires, b.EndedAt = instant(created), instant(expires), instant(ended)
	if ended == 0 && epoch != t.epoch {
		b.EndedAt = t.now
	}
	return b, err
}

// AddBypass keeps one; it sets ID and CreatedAt and tells DeviceChanged or
// PersonChanged. ErrNotFound for a device or person that is not there, ErrRevoked
// for one that is revoked or disabled; ErrTaken where a live one for the same rule
// is there.
func (t *Tx) AddBypass(b *Bypass) error {
	if (b.Device == "") == (b.Person == "") || b.Rule == "" || b.CreatedBy == "" || !b.Expires.After(t.now) {
		return errors.New("bypass needs a device or a person, a rule, a creator and an end that lies ahead")
	}
	if err := errors.Join(bounded("rule", b.Rule, maxText), bounded("reason", b.Why, 4*maxText),
		bounded("creator", b.CreatedBy, maxText)); err != nil {
		return err
	}
	if err := t.bypassable(b); err != nil {
		return err
	}
	var taken bool
	if err := t.first([]any{&taken}, "SELECT EXISTS (SELECT 1 FROM bypasses WHERE "+bypassLives+
		"AND rule = ?3 AND coalesce(device, '') = ?4 AND coalesce(person, '') = ?5)",
		millis(t.now), t.epoch, b.Rule, b.Device, b.Person); err != nil {
		return err
	}
	if taken {
		return fmt.Errorf("bypass of a rule: %w", ErrTaken)
	}
	b.ID, b.CreatedAt, b.EndedAt = newID("by_"), t.now, time.Time{}
	t.bypassChanged(b)
	return t.one(`INSERT INTO bypasses (id, device, person, rule, why, epoch, created_at, created_by, expires_at)
		VALUES (?, nullif(?, ''), nullif(?, ''), ?, ?, ?, ?, ?, ?)`, b.ID, b.Device, b.Person, b.Rule, b.Why,
		t.epoch, millis(b.CreatedAt), b.CreatedBy, millis(b.Expires))
}

// bypassable refuses whom nothing may be let pass for.
func (t *Tx) bypassable(b *Bypass) error {
	if b.Person != "" {
		return t.enabled(b.Person)
	}
	var revoked bool
	err := t.first([]any{&revoked}, "SELECT state = 'revoked' FROM devices WHERE id = ?", b.Device)
	if err == nil && revoked {
		err = ErrRevoked
	}
	if err != nil {
		return fmt.Errorf("device of a bypass: %w", err)
	}
	return nil
}

func (t *Tx) bypassChanged(b *Bypass) {
	if b.Device != "" {
		t.changed(DeviceChanged, b.Device)
		return
	}
	t.changed(PersonChanged, b.Person)
}

// Bypass reads one, ended or not; ErrNotFound.
func (t *Tx) Bypass(id string) (*Bypass, error) {
	return pick(t, t.scanBypass, bypassSelect+"WHERE id = ?", id)
}

// Bypasses lists those that have not ended nor expired, newest first, of a device
// or a person; of all where both are empty.
func (t *Tx) Bypasses(device, person string) ([]*Bypass, error) {
	const live = bypassSelect + "WHERE " + bypassLives
	const order = "ORDER BY n DESC"
	switch {
	case device == "" && person == "":
		return collect(t, t.scanBypass, live+order, millis(t.now), t.epoch)
	case person == "":
		return collect(t, t.scanBypass, live+"AND device = ?3 "+order, millis(t.now), t.epoch, device)
	case device == "":
		return collect(t, t.scanBypass, live+"AND person = ?3 "+order, millis(t.now), t.epoch, person)
	}
	return collect(t, t.scanBypass, live+"AND (device = ?3 OR person = ?4) "+order, millis(t.now), t.epoch, device, person)
}

// EndBypass ends one for ever; ended already is no change; ErrNotFound.
func (t *Tx) EndBypass(id string) error {
	ended, err := t.endBypasses("WHERE id = ? AND ended_at = 0", id)
	if err != nil || ended > 0 {
		return err
	}
	_, err = t.Bypass(id)
	return err
}

// endBypasses ends those that a condition finds; it must leave out the ended.
func (t *Tx) endBypasses(where string, args ...any) (ended int, err error) {
	list, err := collect(t, t.scanBypass, bypassSelect+where, args...)
	if err != nil {
		return 0, err
	}
	for _, b := range list {
		if err := t.one("UPDATE bypasses SET ended_at = ? WHERE id = ?", millis(t.now), b.ID); err != nil {
			return 0, err
		}
		t.bypassChanged(b)
	}
	return len(list), nil
}
