package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/attest"
)

// aBaseline is one whose key is made from a name.
func aBaseline(device, name string, state BaselineState, at time.Time) *Baseline {
	b := &Baseline{Device: device, Key: digestOf(name), Set: []byte(`{"name":"` + name + `"}`), State: state,
		FirstSeen: at, LastSeen: at}
	if state.decided() {
		b.DecidedAt, b.DecidedBy, b.Why = at, "person:alice", "why"
	}
	return b
}

func put(b *Baseline) func(*Tx) error { return func(tx *Tx) error { return tx.PutBaseline(b) } }

func baselines(t *testing.T, s *Store, device string) (list []*Baseline) {
	t.Helper()
	view(t, s, func(tx *Tx) (err error) { list, err = tx.Baselines(device); return err })
	return list
}

// named says of each baseline its name and state.
func named(list []*Baseline) string {
	var all []string
	for _, b := range list {
		_, name, _ := strings.Cut(string(b.Set), `:"`)
		all = append(all, strings.TrimSuffix(name, `"}`)+" "+string(b.State))
	}
	return strings.Join(all, ", ")
}

// booting opens a store with laptops.
func booting(t *testing.T, ids ...string) (*Store, *clock, string) {
	t.Helper()
	c, path := newClock(), newPath(t)
	s := openAt(t, path, func(cfg *Config) { cfg.Now = c.now })
	for _, id := range ids {
		update(t, s, insert(id))
	}
	return s, c, path
}

func TestBaselines(t *testing.T) {
	s, c, _ := booting(t, "a", "b")
	if list := baselines(t, s, "a"); len(list) != 0 {
		t.Errorf("before the first: %+v", list)
	}
	first := aBaseline("a", "1", BaselineNew, c.now())
	update(t, s, put(first))
	update(t, s, put(aBaseline("b", "1", BaselineNew, c.now())))
	c.advance(time.Hour)
	yes := aBaseline("a", "1", BaselineApproved, c.now())
	yes.Set = []byte(`{"name":"one"}`)
	other := aBaseline("a", "2", BaselineDrifted, c.now().Add(time.Minute))
	update(t, s, put(yes))
	update(t, s, put(other))
	yes.FirstSeen = first.FirstSeen
	if got := baselines(t, s, "a"); !reflect.DeepEqual(got, []*Baseline{other, yes}) {
		t.Errorf("%+v, %+v", got[0], got[len(got)-1])
	}
	late := *yes
	late.LastSeen = first.LastSeen // a report that was overtaken
	update(t, s, put(&late))
	if got := baselines(t, s, "a"); !got[1].LastSeen.Equal(yes.LastSeen) {
		t.Errorf("last seen went back to %v", got[1].LastSeen)
	}
	if got := named(baselines(t, s, "b")); got != "1 new" {
		t.Errorf("of another device: %s", got)
	}
	if got := baselines(t, s, "none"); len(got) != 0 {
		t.Errorf("of no device: %v", got)
	}
	refused(t, s, "of no device", ErrNotFound, put(aBaseline("none", "1", BaselineNew, c.now())))
}

func TestBaselineForm(t *testing.T) {
	s, c, _ := booting(t, "a")
	for name, spoil := range map[string]func(*Baseline){
		"no key":                func(b *Baseline) { b.Key = attest.Digest{} },
		"no state":              func(b *Baseline) { b.State = "" },
		"unknown state":         func(b *Baseline) { b.State = "Approved" },
		"no set":                func(b *Baseline) { b.Set = nil },
		"set is not JSON":       func(b *Baseline) { b.Set = []byte("{") },
		"set is too long":       func(b *Baseline) { b.Set = []byte(`"` + strings.Repeat("x", maxData-1) + `"`) },
		"approved at no time":   func(b *Baseline) { b.DecidedAt = time.Time{} },
		"approved in 1970":      func(b *Baseline) { b.DecidedAt = time.Unix(0, 0) },
		"approved by nobody":    func(b *Baseline) { b.DecidedBy = "" },
		"new, decided":          func(b *Baseline) { b.State = BaselineNew },
		"drifted, decided":      func(b *Baseline) { b.State = BaselineDrifted },
		"decider is too long":   func(b *Baseline) { b.DecidedBy = strings.Repeat("x", maxText+1) },
		"reason is too long":    func(b *Baseline) { b.Why = strings.Repeat("x", 4*maxText+1) },
		"reason is no text":     func(b *Baseline) { b.Why = "\xff" },
		"refused at no time":    func(b *Baseline) { b.State, b.DecidedAt = BaselineRefused, time.Time{} },
		"refused by no decider": func(b *Baseline) { b.State, b.DecidedBy = BaselineRefused, "" },
	} {
		b := aBaseline("a", "1", BaselineApproved, c.now())
		spoil(b)
		refused(t, s, name, ErrForm, put(b))
	}
	if list := baselines(t, s, "a"); len(list) != 0 {
		t.Errorf("kept: %+v", list)
	}
	for _, sql := range []string{"'allowed', 5", "'approved', 0", "'refused', 0", "'new', 5"} {
		if err := s.Update(t.Context(), func(tx *Tx) error {
			_, err := tx.exec(`INSERT INTO baselines (n, digest, boot, first_seen, last_seen, decided_by, why, state, decided_at)
				SELECT n, randomblob(32), x'7b7d', 1, 1, '', '', ` + sql + ` FROM devices`)
			return err
		}); err == nil {
			t.Errorf("SQL wrote %s", sql)
		}
	}
}

// What somebody decided stays until somebody decides later, whatever a report that
// was judged before says.
func TestDecisionOnABaselineStays(t *testing.T) {
	s, c, _ := booting(t, "a")
	at := c.now()
	for _, step := range []struct {
		state BaselineState
		at    time.Time
		want  error
		told  bool
	}{
		{BaselineNew, at, nil, false},
		{BaselineDrifted, at, nil, false},
		{BaselineApproved, at, nil, true},
		{BaselineApproved, at.Add(time.Second), nil, false},
		{BaselineDrifted, at.Add(time.Hour), ErrStale, false},
		{BaselineNew, at.Add(time.Hour), ErrStale, false},
		{BaselineRefused, at, ErrStale, false},
		{BaselineRefused, at.Add(time.Second), nil, true},
		{BaselineApproved, at, ErrStale, false},
		{BaselineDrifted, at.Add(time.Hour), ErrStale, false},
		{BaselineApproved, at.Add(time.Minute), nil, true},
	} {
		b := aBaseline("a", "1", step.state, step.at)
		if step.want != nil {
			refused(t, s, fmt.Sprint(step), step.want, put(b))
		} else if told := changesOf(t, s, DeviceChanged, put(b)); (len(told) != 0) != step.told {
			t.Errorf("%v told of %v", step, told)
		}
	}
	if got := named(baselines(t, s, "a")); got != "1 approved" {
		t.Error(got)
	}
}

// Whatever is put in whatever order, there are 16 at most, the one just written is
// there, and none goes while one that matters less stays.
func TestBaselinesOfADeviceAreBounded(t *testing.T) {
	s, c, _ := booting(t, "a", "quiet")
	update(t, s, put(aBaseline("quiet", "1", BaselineNew, c.now())))
	r := rand.New(rand.NewPCG(5, 6))
	rank := map[BaselineState]int{BaselineRefused: 1, BaselineApproved: 2, BaselineNew: 2}
	states := []BaselineState{BaselineNew, BaselineDrifted, BaselineDrifted, BaselineRefused, BaselineApproved}
	for i := range 400 {
		c.advance(time.Second)
		before := baselines(t, s, "a")
		b := aBaseline("a", fmt.Sprint(r.IntN(60)), states[r.IntN(len(states))], c.now().Add(-time.Duration(r.IntN(9))*time.Second))
		if b.State.decided() {
			b.DecidedAt = c.now()
		}
		if err := s.Update(t.Context(), put(b)); err != nil && !errors.Is(err, ErrStale) {
			t.Fatal(err)
		} else if err != nil {
			continue
		}
		after := baselines(t, s, "a")
		has := func(key attest.Digest) bool {
			return slices.ContainsFunc(after, func(b *Baseline) bool { return b.Key == key })
		}
		if len(after) > keptBaselines || !has(b.Key) {
			t.Fatalf("step %d: %d are kept, the last one %v", i, len(after), has(b.Key))
		}
		for _, gone := range before {
			if has(gone.Key) {
				continue
			}
			for _, kept := range after {
				if kept.Key != b.Key && (rank[kept.State] < rank[gone.State] ||
					rank[kept.State] == rank[gone.State] && kept.LastSeen.Before(gone.LastSeen)) {
					t.Fatalf("step %d: %+v went and %+v stayed", i, gone, kept)
				}
			}
		}
	}
	if got := named(baselines(t, s, "quiet")); got != "1 new" {
		t.Errorf("of another device: %s", got)
	}
}

// A device that starts in ever new ways does not make its refusal forgotten, nor
// its approval.
func TestDriftingPushesNoDecisionOut(t *testing.T) {
	s, c, _ := booting(t, "a")
	update(t, s, put(aBaseline("a", "good", BaselineApproved, c.now())))
	update(t, s, put(aBaseline("a", "bad", BaselineRefused, c.now())))
	for i := range 50 {
		c.advance(time.Minute)
		update(t, s, put(aBaseline("a", fmt.Sprint(i), BaselineDrifted, c.now())))
	}
	list := baselines(t, s, "a")
	if got := named(list); len(list) != keptBaselines || !strings.HasPrefix(got, "49 drifted, 48 drifted, ") ||
		!strings.HasSuffix(got, ", 36 drifted, bad refused, good approved") {
		t.Error(got)
	}
	for i := range 50 { // and where all is decided, what is new has a place
		c.advance(time.Minute)
		update(t, s, put(aBaseline("a", fmt.Sprint("yes", i), BaselineApproved, c.now())))
	}
	update(t, s, put(aBaseline("a", "last", BaselineDrifted, c.now().Add(-24*time.Hour))))
	if got := named(baselines(t, s, "a")); !strings.HasSuffix(got, "yes35 approved, last drifted") || strings.Contains(got, "bad") {
		t.Error(got)
	}
}

// The first start that was seen stays what others are measured by, however often
// the device starts in other ways: junk does not make room for junk to be the first.
func TestDriftingPushesTheFirstNotOut(t *testing.T) {
	s, c, _ := booting(t, "a")
	update(t, s, put(aBaseline("a", "first", BaselineNew, c.now())))
	for i := range 50 {
		c.advance(time.Minute)
		update(t, s, put(aBaseline("a", fmt.Sprint("junk", i), BaselineDrifted, c.now())))
	}
	for i := range 50 {
		c.advance(time.Minute)
		update(t, s, put(aBaseline("a", fmt.Sprint("bad", i), BaselineRefused, c.now())))
	}
	list := baselines(t, s, "a")
	if got := named(list); len(list) != keptBaselines || !strings.HasSuffix(got, ", bad35 refused, first new") {
		t.Error(got)
	}
}

// deciding writes a baseline as package server does: with a line of the audit log.
func deciding(b *Baseline) func(*Tx) error {
	return func(tx *Tx) error {
		if err := tx.PutBaseline(b); err != nil {
			return err
		}
		_, err := tx.Audit(Entry{Actor: b.DecidedBy, Action: "baseline." + string(b.State), Subject: b.Device})
		return err
	}
}

// A restored backup may ask again for what was approved since, and does not forget
// what was refused since, known to it or not. What nobody is told twice of, and
// what was approved later in the life of the restored one, stays.
func TestRestoreForgetsNoRefusal(t *testing.T) {
	s, c, path := booting(t, "a", "b")
	update(t, s, deciding(aBaseline("a", "refused before", BaselineRefused, c.now())))
	c.advance(time.Hour)
	update(t, s, deciding(aBaseline("a", "refused before", BaselineApproved, c.now())))
	update(t, s, deciding(aBaseline("a", "approved", BaselineApproved, c.now())))
	update(t, s, put(aBaseline("a", "waiting", BaselineDrifted, c.now())))
	update(t, s, func(tx *Tx) error {
		return tx.SetFleetValues(&FleetValues{Device: "a", Model: "m", Counts: true, ApprovedSince: tx.Now()})
	})
	backup := filepath.Join(t.TempDir(), "backup.db")
	if err := s.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	c.advance(time.Hour)
	update(t, s, insert("late"))
	for _, b := range []*Baseline{
		aBaseline("a", "approved", BaselineRefused, c.now()),
		aBaseline("a", "unknown", BaselineRefused, c.now()),
		aBaseline("late", "unknown", BaselineRefused, c.now()),
		aBaseline("a", "waiting", BaselineApproved, c.now()),
	} {
		update(t, s, deciding(b))
	}
	s.Close()
	reopen := func() *Store { return openAt(t, path, func(cfg *Config) { cfg.Now = c.now }) }
	if _, err := restore(path, backup); err != nil {
		t.Fatal(err)
	}
	s = reopen()
	list := baselines(t, s, "a")
	states := map[string]BaselineState{}
	for _, b := range list {
		states[named([]*Baseline{{Set: b.Set}})] = b.State
	}
	if want := (map[string]BaselineState{"approved ": BaselineRefused, "unknown ": BaselineRefused,
		"waiting ": BaselineDrifted, "refused before ": BaselineApproved}); !reflect.DeepEqual(states, want) {
		t.Errorf("after a restore: %v", states)
	}
	if said := auditedOf(t, s, "a"); len(said) != 5 || said[4] != `store baseline.refuse {"by":"person:alice","why":"why","journal":true}` {
		t.Errorf("said: %q", said)
	}
	view(t, s, func(tx *Tx) error {
		v, err := tx.FleetValues("a")
		if err != nil || v.Counts {
			t.Errorf("after a restore a device counts that has not reported: %+v, %v", v, err)
		}
		return nil
	})
	c.advance(time.Hour)
	update(t, s, deciding(aBaseline("a", "unknown", BaselineApproved, c.now())))
	second := filepath.Join(t.TempDir(), "second.db")
	if err := s.Backup(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s.Close()
		s = reopen()
	}
	s.Close()
	if _, err := restore(path, second); err != nil {
		t.Fatal(err)
	}
	s = reopen()
	if got := named(baselines(t, s, "a")); !strings.Contains(got, "unknown approved") || !strings.Contains(got, "approved refused") {
		t.Errorf("approved after the restore: %s", got)
	}
	if said := auditedOf(t, s, "a"); len(said) != 6 {
		t.Errorf("said again: %q", said)
	}
	if _, err := s.VerifyAudit(t.Context()); err != nil {
		t.Error(err)
	}
}

// Without the journal a refusal is refused, not half done; the longest one fits.
func TestRefusalNeedsTheJournal(t *testing.T) {
	s, c, _ := booting(t, "a")
	long := aBaseline("a", "long", BaselineRefused, c.now())
	long.Set = []byte(`"` + strings.Repeat("<", maxData-2) + `"`)
	long.DecidedBy, long.Why = strings.Repeat("\x01", maxText), strings.Repeat("<", 4*maxText)
	update(t, s, put(long))
	lines, err := s.journal.read()
	if l := lines[len(lines)-1]; err != nil || l.Kind != lineRefuse || string(l.Set) != string(long.Set) || l.Cause != long.Why {
		t.Errorf("journal: %+v, %v", l, err)
	}
	s.journal.file.Close()
	errs := together(t, s, put(aBaseline("a", "1", BaselineRefused, c.now())), put(aBaseline("a", "2", BaselineApproved, c.now())))
	if errs[0] == nil || errs[1] != nil {
		t.Errorf("refusal: %v, approval: %v", errs[0], errs[1])
	}
	if got := baselines(t, s, "a"); len(got) != 2 {
		t.Errorf("kept: %s", named(got))
	}
}

// A journal that was lost knows refusals again.
func TestLostJournalKnowsRefusalsAgain(t *testing.T) {
	s, c, path := booting(t, "a")
	if err := s.Backup(t.Context(), path+".bak"); err != nil {
		t.Fatal(err)
	}
	update(t, s, deciding(aBaseline("a", "bad", BaselineRefused, c.now())))
	s.Close()
	if err := removeIfThere(path + journalSuffix); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s = openAt(t, path)
		s.Close()
	}
	if lines, err := reopened(t, path); err != nil || lines != 1 {
		t.Errorf("the new journal has it %d times: %v", lines, err)
	}
	if _, err := restore(path, path+".bak"); err != nil {
		t.Fatal(err)
	}
	if got := named(baselines(t, openAt(t, path), "a")); got != "bad refused" {
		t.Errorf("after a restore: %q", got)
	}
}

// reopened counts the refusals in a journal.
func reopened(t *testing.T, path string) (refusals int, err error) {
	t.Helper()
	s := openAt(t, path)
	defer s.Close()
	lines, err := s.journal.read()
	for i := range lines {
		if lines[i].Kind == lineRefuse {
			refusals++
		}
	}
	return refusals, err
}
