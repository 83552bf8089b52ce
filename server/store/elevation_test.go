package store

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// anElevation is one of ten minutes that waits for fifteen.
func anElevation(session, person, approval string, now time.Time) *Elevation {
	return &Elevation{Session: session, Person: person, App: "prod", Why: "the database is slow", Approval: approval,
		Lasts: 10 * time.Minute, Expires: now.Add(15 * time.Minute)}
}

// raised adds one for the session of populate, and returns its id.
func raised(t testing.TB, s *Store, session, name, approval string) (id string) {
	t.Helper()
	update(t, s, func(tx *Tx) error {
		e := anElevation(session, "p_"+name, approval, tx.Now())
		err := tx.AddElevation(e)
		id = e.ID
		return err
	})
	return id
}

func elevation(t testing.TB, s *Store, id string) (e *Elevation) {
	t.Helper()
	view(t, s, func(tx *Tx) (err error) { e, err = tx.Elevation(id); return err })
	return e
}

func grant(id, by string) func(*Tx) error {
	return func(tx *Tx) error { _, err := tx.GrantElevation(id, by); return err }
}

// changesOf are the subjects of the changes of a kind that fn makes.
func changesOf(t testing.TB, s *Store, kind ChangeKind, fn func(*Tx) error) (subjects []string) {
	t.Helper()
	last := s.LastChange()
	update(t, s, fn)
	if s.LastChange() == last {
		return nil
	}
	list, err := s.Changes(context.Background(), last)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if c.Kind == kind {
			subjects = append(subjects, c.Subject)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(subjects)))
}

func TestElevations(t *testing.T) {
	c := newClock()
	s := openAt(t, newPath(t), func(cfg *Config) { cfg.Now = c.now })
	ids, _ := populate(t, s, "alice", "bob")
	want := anElevation(ids["alice"], "p_alice", "admins", c.now())
	want.GrantedAt, want.EndedAt, want.Cause, want.ApprovedBy, want.ID = c.now(), c.now(), "x", "p_bob", "mine" // none of its business
	if told := changesOf(t, s, SessionChanged, func(tx *Tx) error { return tx.AddElevation(want) }); !slices.Equal(told, []string{ids["alice"]}) {
		t.Errorf("asking told %q", told)
	}
	if !strings.HasPrefix(want.ID, "el_") || !want.GrantedAt.IsZero() || !want.AskedAt.Equal(c.now()) || want.Over(c.now()) != "" {
		t.Errorf("%+v", want)
	}
	if got := elevation(t, s, want.ID); !reflect.DeepEqual(got, want) {
		t.Errorf("\n%+v\nis not\n%+v", got, want)
	}
	refused(t, s, "a second one for the application", ErrTaken, func(tx *Tx) error {
		return tx.AddElevation(anElevation(ids["alice"], "p_alice", "", tx.Now()))
	})
	c.advance(time.Minute)
	told := changesOf(t, s, SessionChanged, func(tx *Tx) (err error) { want, err = tx.GrantElevation(want.ID, "p_bob"); return err })
	if !slices.Equal(told, []string{ids["alice"]}) {
		t.Errorf("granting told %q", told)
	}
	if !want.GrantedAt.Equal(c.now()) || !want.EndsAt.Equal(c.now().Add(10*time.Minute)) || want.ApprovedBy != "p_bob" {
		t.Errorf("%+v", want)
	}
	if got := elevation(t, s, want.ID); !reflect.DeepEqual(got, want) {
		t.Errorf("\n%+v\nis not\n%+v", got, want)
	}
	refused(t, s, "a second grant", ErrTaken, grant(want.ID, "p_bob"))
	other := raised(t, s, ids["bob"], "bob", "")
	view(t, s, func(tx *Tx) error {
		mine, err := tx.Elevations(ids["alice"])
		all, e := tx.Elevations("")
		if err != nil || e != nil || len(mine) != 1 || mine[0].ID != want.ID || len(all) != 2 || all[0].ID != other {
			t.Errorf("%d of hers, %d of all, %v, %v", len(mine), len(all), err, e)
		}
		return nil
	})
	told = changesOf(t, s, SessionChanged, func(tx *Tx) error { return tx.EndElevation(want.ID, "device-lost") })
	if got := elevation(t, s, want.ID); got.Cause != "device-lost" || !got.EndedAt.Equal(c.now()) || !slices.Equal(told, []string{ids["alice"]}) {
		t.Errorf("ended %+v, told %q", got, told)
	}
	if told = changesOf(t, s, SessionChanged, func(tx *Tx) error { return tx.EndElevation(want.ID, "again") }); told != nil || elevation(t, s, want.ID).Cause != "device-lost" {
		t.Errorf("ended again: %q, %+v", told, elevation(t, s, want.ID))
	}
	refused(t, s, "a grant of an ended one", ErrRevoked, grant(want.ID, "p_bob"))
	raised(t, s, ids["alice"], "alice", "") // there is room for another
	view(t, s, func(tx *Tx) error {
		if n, err := tx.ElevationsAsked(ids["alice"], c.now().Add(-time.Hour)); n != 2 || err != nil {
			t.Errorf("asked %d times, %v", n, err)
		}
		if n, err := tx.ElevationsAsked(ids["alice"], c.now().Add(-time.Minute)); n != 1 || err != nil {
			t.Errorf("asked %d times since, %v", n, err)
		}
		return nil
	})
}

func TestElevationIsRefused(t *testing.T) {
	c := newClock()
	s := openAt(t, newPath(t), func(cfg *Config) { cfg.Now = c.now })
	ids, _ := populate(t, s, "alice", "bob", "carol")
	update(t, s, func(tx *Tx) error { return tx.EndSession(ids["carol"], "signed-out") })
	for what, change := range map[string]func(*Elevation){
		"without application": func(e *Elevation) { e.App = "" },
		"of no time":          func(e *Elevation) { e.Lasts = 0 },
		"of negative time":    func(e *Elevation) { e.Lasts = -time.Minute },
		"of no time to wait":  func(e *Elevation) { e.Expires = c.now() },
		"of much text":        func(e *Elevation) { e.Why = strings.Repeat("a", 1<<13) },
		"of another person":   func(e *Elevation) { e.Person = "p_bob" },
		"of nobody":           func(e *Elevation) { e.Person = "p_nobody" },
		"of no session":       func(e *Elevation) { e.Session = "s_none" },
		"of an ended session": func(e *Elevation) { e.Session, e.Person = ids["carol"], "p_carol" },
	} {
		refused(t, s, what, nil, func(tx *Tx) error {
			e := anElevation(ids["alice"], "p_alice", "", tx.Now())
			change(e)
			return tx.AddElevation(e)
		})
	}
	refused(t, s, "of an ended session", ErrRevoked, func(tx *Tx) error {
		return tx.AddElevation(anElevation(ids["carol"], "p_carol", "", tx.Now()))
	})
	id := raised(t, s, ids["alice"], "alice", "admins")
	update(t, s, disable("p_carol"))
	refused(t, s, "approved by oneself", nil, grant(id, "p_alice"))
	refused(t, s, "approved by nobody", nil, grant(id, ""))
	refused(t, s, "approved by who is not there", ErrNotFound, grant(id, "p_nobody"))
	refused(t, s, "approved by a disabled person", ErrRevoked, grant(id, "p_carol"))
	refused(t, s, "granting none", ErrNotFound, grant("el_none", ""))
	refused(t, s, "ending none", ErrNotFound, func(tx *Tx) error { return tx.EndElevation("el_none", "x") })
	if e := elevation(t, s, id); !e.GrantedAt.IsZero() || e.ApprovedBy != "" {
		t.Errorf("%+v", e)
	}
	c.advance(15 * time.Minute)
	refused(t, s, "approved too late", ErrRevoked, grant(id, "p_bob"))
}

// What ended or was granted stays so, also for SQL that goes past the methods.
func TestElevationTriggers(t *testing.T) {
	s := openAt(t, newPath(t))
	ids, _ := populate(t, s, "alice", "bob")
	ended, granted, waits := raised(t, s, ids["alice"], "alice", ""), "", ""
	update(t, s, func(tx *Tx) error { return tx.EndElevation(ended, "x") })
	granted = raised(t, s, ids["alice"], "alice", "admins")
	update(t, s, grant(granted, "p_bob"))
	waits = raised(t, s, ids["bob"], "bob", "admins")
	for _, bad := range []struct{ sql, id string }{
		{"UPDATE elevations SET ended_at = 0, cause = '' WHERE id = ?", ended},
		{"UPDATE elevations SET granted_at = 1, ends_at = 9e15 WHERE id = ?", ended},
		{"UPDATE elevations SET ends_at = ends_at + 1 WHERE id = ?", granted},
		{"UPDATE elevations SET granted_at = 0, ends_at = 0, approved_by = NULL WHERE id = ?", granted},
		{"UPDATE elevations SET approved_by = NULL WHERE id = ?", granted},
		{"UPDATE elevations SET app = 'other' WHERE id = ?", granted},
		{"UPDATE elevations SET lasts = 1000000 WHERE id = ?", waits},
		{"UPDATE elevations SET approval = '' WHERE id = ?", waits},
		{"UPDATE elevations SET expires_at = 9000000000000 WHERE id = ?", waits},
		{"UPDATE elevations SET granted_at = 1, ends_at = 2 WHERE id = ?", waits},
		{"UPDATE elevations SET granted_at = 1, ends_at = 2, approved_by = 'p_bob' WHERE id = ?", waits},
		{"UPDATE elevations SET granted_at = 1, approved_by = 'p_alice' WHERE id = ?", waits},
		{"UPDATE elevations SET ended_at = 1 WHERE id = ?", waits},
		{"UPDATE elevations SET session = '" + ids["alice"] + "' WHERE id = ?", waits},
		{"DELETE FROM elevations WHERE id = ?", waits},
		{"UPDATE sessions SET ended_at = 1, cause = 'x' WHERE id = ?", ids["bob"]},
		{"DELETE FROM sessions WHERE id = ?", ids["bob"]},
		{`INSERT INTO elevations (id, session, person, app, why, approval, lasts, asked_at, expires_at, granted_at, ends_at)
			SELECT 'el_x', session, person, 'other', why, '', lasts, asked_at, expires_at, 1, 2 FROM elevations WHERE id = ?`, waits},
	} {
		refused(t, s, bad.sql, nil, func(tx *Tx) error { return tx.one(bad.sql, bad.id) })
	}
	if e := elevation(t, s, waits); !e.GrantedAt.IsZero() || !e.EndedAt.IsZero() {
		t.Errorf("%+v", e)
	}
}

// Whatever ends a session ends its elevations, in the same transaction.
func TestElevationsEndWithTheirSession(t *testing.T) {
	c := newClock()
	s := openAt(t, newPath(t), func(cfg *Config) { cfg.Now = c.now })
	ids, _ := populate(t, s, "alice", "bob", "carol", "dora")
	var all []string
	for _, name := range []string{"alice", "bob", "carol", "dora"} {
		all = append(all, raised(t, s, ids[name], name, ""))
		update(t, s, grant(all[len(all)-1], ""))
	}
	update(t, s, func(tx *Tx) error { return tx.EndSession(ids["alice"], "signed-out") })
	update(t, s, disable("p_bob"))
	update(t, s, removeKey("carol"))
	for i, id := range all {
		e := elevation(t, s, id)
		if last := i == 3; last != e.EndedAt.IsZero() || !last && e.Cause != "session-over" {
			t.Errorf("of session %d: %+v", i, e)
		}
	}
	view(t, s, func(tx *Tx) error {
		list, err := tx.Elevations("")
		if err != nil || len(list) != 1 || list[0].ID != all[3] {
			t.Errorf("%+v, %v", list, err)
		}
		return nil
	})
	c.advance(9 * time.Hour) // the sessions' absolute limit
	update(t, s, (*Tx).PurgePeople)
	if e := elevation(t, s, all[3]); e.EndedAt.IsZero() {
		t.Errorf("%+v", e)
	}
	c.advance(keptEnded)
	update(t, s, (*Tx).PurgePeople)
	view(t, s, func(tx *Tx) error {
		for _, id := range all {
			if e, err := tx.Elevation(id); !errors.Is(err, ErrNotFound) {
				t.Errorf("long over: %+v, %v", e, err)
			}
		}
		return nil
	})
}

// One whose time is over makes room for the next, and PurgePeople ends it.
func TestElevationTimes(t *testing.T) {
	c := newClock()
	s := openAt(t, newPath(t), func(cfg *Config) { cfg.Now = c.now })
	ids, _ := populate(t, s, "alice", "bob")
	waits, granted := raised(t, s, ids["alice"], "alice", "admins"), raised(t, s, ids["bob"], "bob", "")
	update(t, s, grant(granted, ""))
	for _, at := range []struct {
		wait           time.Duration
		waits, granted string
	}{
		{10*time.Minute - time.Millisecond, "", ""},
		{time.Millisecond, "", "elevation-end"},
		{5*time.Minute - time.Millisecond, "", "elevation-end"},
		{time.Millisecond, "not-approved", "elevation-end"},
	} {
		c.advance(at.wait)
		if a, b := elevation(t, s, waits).Over(c.now()), elevation(t, s, granted).Over(c.now()); a != at.waits || b != at.granted {
			t.Errorf("%q and %q, want %q and %q", a, b, at.waits, at.granted)
		}
	}
	raised(t, s, ids["alice"], "alice", "")
	if e := elevation(t, s, waits); e.Cause != "not-approved" || !e.EndedAt.Equal(c.now()) {
		t.Errorf("%+v", e)
	}
	update(t, s, (*Tx).PurgePeople)
	if e := elevation(t, s, granted); e.Cause != "elevation-end" {
		t.Errorf("%+v", e)
	}
	if zero := (&Elevation{}); zero.Over(c.now()) == "" {
		t.Error("the zero elevation is not over")
	}
}

// Of a thousand grants at once one is kept.
func TestThousandGrants(t *testing.T) {
	s := openAt(t, newPath(t))
	ids, _ := populate(t, s, "alice", "bob")
	id := raised(t, s, ids["alice"], "alice", "admins")
	var won atomic.Int64
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() {
			switch err := s.Update(context.Background(), grant(id, "p_bob")); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, ErrTaken):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d were granted", won.Load())
	}
}

// A restored backup gives no power back: elevations and bypasses are void, and
// nothing is signed with its keys.
func TestRestoreGivesNoPowerBack(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	ids, _ := populate(t, s, "alice", "bob")
	id := raised(t, s, ids["alice"], "alice", "")
	by := &Bypass{Person: "p_bob", Rule: "disk", Why: "why", CreatedBy: "sam", Expires: newClock().now().Add(time.Hour)}
	update(t, s, func(tx *Tx) error {
		return errors.Join(grant(id, "")(tx), tx.AddBypass(by), tx.AddSigningKey(&SigningKey{ID: "k", Private: []byte("x")}))
	})
	backup := filepath.Join(t.TempDir(), "backup.db")
	if err := s.Backup(context.Background(), backup); err != nil {
		t.Fatal(err)
	}
	// The same for rows that the beginning of an epoch did not see.
	view(t, s, func(tx *Tx) error {
		tx.epoch++
		e, err := tx.Elevation(id)
		b, e2 := tx.Bypass(by.ID)
		bypasses, e3 := tx.Bypasses("", "p_bob")
		elevations, e4 := tx.Elevations("")
		keys, e5 := tx.SigningKeys()
		if err := errors.Join(err, e2, e3, e4, e5); err != nil {
			return err
		}
		if e.Cause != "restored" || b.EndedAt.IsZero() || len(bypasses)+len(elevations)+len(keys) != 0 {
			t.Errorf("of another epoch: %+v, %+v, %d, %d, %d", e, b, len(bypasses), len(elevations), len(keys))
		}
		return nil
	})
	s.Close()
	if _, err := restore(path, backup); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	if e := elevation(t, s, id); e.Cause != "session-over" {
		t.Errorf("%+v", e)
	}
	view(t, s, func(tx *Tx) error {
		b, err := tx.Bypass(by.ID)
		keys, e := tx.SigningKeys()
		if err != nil || b.EndedAt.IsZero() || e != nil || len(keys) != 0 {
			t.Errorf("%+v, %v; %d keys, %v", b, err, len(keys), e)
		}
		var rows int
		err = tx.first([]any{&rows}, "SELECT count(*) FROM signing_keys")
		if rows != 0 {
			t.Errorf("%d signing keys are kept", rows)
		}
		return err
	})
}
