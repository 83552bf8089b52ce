package store

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// aBypass is of an hour.
func aBypass(device, person, rule string, now time.Time) *Bypass {
	return &Bypass{Device: device, Person: person, Rule: rule, Why: "the disk is being replaced", CreatedBy: "person:alice", Expires: now.Add(time.Hour)}
}

// bypassing opens a store with a laptop and two persons.
func bypassing(t *testing.T) (*Store, *clock) {
	t.Helper()
	c := newClock()
	s := openAt(t, newPath(t), func(cfg *Config) { cfg.Now = c.now })
	populate(t, s, "alice", "bob")
	update(t, s, func(tx *Tx) error { return tx.InsertDevice(laptop("d")) })
	return s, c
}

func bypasses(t *testing.T, s *Store, device, person string) (list []*Bypass) {
	t.Helper()
	view(t, s, func(tx *Tx) (err error) { list, err = tx.Bypasses(device, person); return err })
	return list
}

func TestBypasses(t *testing.T) {
	s, c := bypassing(t)
	one, two := aBypass("d", "", "disk-encrypted", c.now()), aBypass("", "p_bob", "disk-encrypted", c.now())
	one.EndedAt = c.now() // none of its business
	if told := changesOf(t, s, DeviceChanged, func(tx *Tx) error { return tx.AddBypass(one) }); !slices.Equal(told, []string{"d"}) {
		t.Errorf("told of devices %q", told)
	}
	if told := changesOf(t, s, PersonChanged, func(tx *Tx) error { return tx.AddBypass(two) }); !slices.Equal(told, []string{"p_bob"}) {
		t.Errorf("told of persons %q", told)
	}
	if !strings.HasPrefix(one.ID, "by_") || !one.CreatedAt.Equal(c.now()) || !one.EndedAt.IsZero() {
		t.Errorf("%+v", one)
	}
	for _, want := range []struct {
		device, person string
		list           []*Bypass
	}{{"d", "", []*Bypass{one}}, {"", "p_bob", []*Bypass{two}}, {"", "", []*Bypass{two, one}}, {"", "p_alice", nil}, {"x", "", nil}, {"d", "p_bob", []*Bypass{two, one}}} {
		if got := bypasses(t, s, want.device, want.person); !reflect.DeepEqual(got, want.list) {
			t.Errorf("of %q, %q: %+v", want.device, want.person, got)
		}
	}
	refused(t, s, "the same rule again", ErrTaken, func(tx *Tx) error { return tx.AddBypass(aBypass("d", "", "disk-encrypted", tx.Now())) })
	update(t, s, func(tx *Tx) error { return tx.AddBypass(aBypass("d", "", "firewall", tx.Now())) })
	if told := changesOf(t, s, DeviceChanged, func(tx *Tx) error { return tx.EndBypass(one.ID) }); !slices.Equal(told, []string{"d"}) {
		t.Errorf("ending told %q", told)
	}
	if told := changesOf(t, s, DeviceChanged, func(tx *Tx) error { return tx.EndBypass(one.ID) }); told != nil {
		t.Errorf("ending again told %q", told)
	}
	refused(t, s, "ending none", ErrNotFound, func(tx *Tx) error { return tx.EndBypass("by_none") })
	update(t, s, func(tx *Tx) error { return tx.AddBypass(aBypass("d", "", "disk-encrypted", tx.Now())) }) // there is room
	c.advance(time.Hour)
	if list := bypasses(t, s, "", ""); len(list) != 0 {
		t.Errorf("expired: %+v", list)
	}
	update(t, s, func(tx *Tx) error { return tx.AddBypass(aBypass("d", "", "disk-encrypted", tx.Now())) })
	c.advance(keptEnded + time.Millisecond)
	update(t, s, (*Tx).PurgePeople)
	view(t, s, func(tx *Tx) error {
		if b, err := tx.Bypass(one.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("long over: %+v, %v", b, err)
		}
		return nil
	})
}

func TestBypassIsRefused(t *testing.T) {
	s, c := bypassing(t)
	update(t, s, disable("p_bob"))
	update(t, s, func(tx *Tx) error {
		return errors.Join(tx.InsertDevice(laptop("gone")), revoke(tx, "gone", "admin", "stolen"))
	})
	for what, bad := range map[string]struct {
		bypass *Bypass
		want   error
	}{
		"of nothing":             {aBypass("", "", "disk", c.now()), nil},
		"of both":                {aBypass("d", "p_alice", "disk", c.now()), nil},
		"of no rule":             {aBypass("d", "", "", c.now()), nil},
		"of a long rule":         {aBypass("d", "", strings.Repeat("a", 1<<11), c.now()), nil},
		"of an unknown laptop":   {aBypass("none", "", "disk", c.now()), ErrNotFound},
		"of an unknown person":   {aBypass("", "p_none", "disk", c.now()), ErrNotFound},
		"of a revoked laptop":    {aBypass("gone", "", "disk", c.now()), ErrRevoked},
		"of a disabled person":   {aBypass("", "p_bob", "disk", c.now()), ErrRevoked},
		"that is over":           {&Bypass{Device: "d", Rule: "disk", CreatedBy: "sam", Expires: c.now()}, nil},
		"without an end":         {&Bypass{Device: "d", Rule: "disk", CreatedBy: "sam"}, nil},
		"that nobody answers to": {&Bypass{Device: "d", Rule: "disk", Expires: c.now().Add(time.Hour)}, nil},
	} {
		refused(t, s, what, bad.want, func(tx *Tx) error { return tx.AddBypass(bad.bypass) })
	}
	if list := bypasses(t, s, "", ""); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

func TestBypassTriggers(t *testing.T) {
	s, c := bypassing(t)
	ended, lives := aBypass("d", "", "disk", c.now()), aBypass("", "p_bob", "disk", c.now())
	update(t, s, func(tx *Tx) error { return errors.Join(tx.AddBypass(ended), tx.AddBypass(lives)) })
	update(t, s, func(tx *Tx) error { return tx.EndBypass(ended.ID) })
	for _, bad := range []struct{ sql, id string }{
		{"UPDATE bypasses SET ended_at = 0 WHERE id = ?", ended.ID},
		{"UPDATE bypasses SET expires_at = expires_at + 1 WHERE id = ?", lives.ID},
		{"UPDATE bypasses SET rule = 'firewall' WHERE id = ?", lives.ID},
		{"UPDATE bypasses SET person = 'p_alice' WHERE id = ?", lives.ID},
		{"UPDATE bypasses SET device = 'd' WHERE id = ?", lives.ID},
		{"UPDATE bypasses SET epoch = 9 WHERE id = ?", lives.ID},
	} {
		refused(t, s, bad.sql, nil, func(tx *Tx) error { return tx.one(bad.sql, bad.id) })
	}
}

// What somebody let pass ends when they are disabled, as their tokens do; and what
// was let pass for them.
func TestBypassesEndWithWhoMadeThem(t *testing.T) {
	s, c := bypassing(t)
	update(t, s, func(tx *Tx) error {
		other := aBypass("d", "", "firewall", c.now())
		other.CreatedBy = "local administrator"
		return errors.Join(tx.AddBypass(aBypass("d", "", "disk", c.now())), tx.AddBypass(aBypass("", "p_bob", "disk", c.now())), tx.AddBypass(other))
	})
	if told := changesOf(t, s, DeviceChanged, disable("p_alice")); !slices.Equal(told, []string{"d"}) {
		t.Errorf("told of devices %q", told)
	}
	if list := bypasses(t, s, "", ""); len(list) != 1 || list[0].Rule != "firewall" {
		t.Errorf("%+v", list)
	}
	update(t, s, func(tx *Tx) error {
		mine := aBypass("", "p_bob", "disk", c.now())
		mine.CreatedBy = "local administrator"
		return tx.AddBypass(mine)
	})
	update(t, s, disable("p_bob"))
	update(t, s, func(tx *Tx) error { return tx.EnablePerson("p_bob") })
	if list := bypasses(t, s, "", "p_bob"); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}
