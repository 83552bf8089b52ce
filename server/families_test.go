package server

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"muster/attest"
	"muster/server/store"
)

// families are laptops and their copies, with what their test knows of who was whom.
type families struct {
	*drifting
	rng    *rand.Rand
	ids    []string
	before map[string]string
	done   []deed
}

// deed is what was done to a laptop, and its outcome.
type deed struct{ what, id, outcome string }

// line is what a laptop was, nearest first.
func (f *families) line(id string) (list []string) {
	for id = f.before[id]; id != ""; id = f.before[id] {
		list = append(list, id)
	}
	return list
}

func (f *families) root(id string) string {
	if list := f.line(id); len(list) > 0 {
		return list[len(list)-1]
	}
	return id
}

func (f *families) states() map[string]attest.DeviceState {
	states := map[string]attest.DeviceState{}
	if err := f.s.store.View(f.t.Context(), func(tx *store.Tx) error {
		for _, id := range f.ids {
			row, err := tx.Device(id)
			if err != nil {
				return err
			}
			states[id] = row.State
		}
		return nil
	}); err != nil {
		f.t.Fatal(err)
	}
	return states
}

// step does one thing to one laptop.
func (f *families) step(states map[string]attest.DeviceState) deed {
	id := f.ids[f.rng.IntN(len(f.ids))]
	tried := func(what string, err error) deed {
		switch {
		case err == nil:
			return deed{what, id, "done"}
		case errors.Is(err, store.ErrRevoked):
			return deed{what, id, attest.CodeRevoked}
		}
		return deed{what, id, codeOfErr(err)}
	}
	switch n := f.rng.IntN(16); {
	case n < 1:
		f.revokes(id)
		return tried("revoke", nil)
	case n < 4 && len(f.ids) < 6:
		next, err := f.elsewhere(id)
		if next != "" {
			f.ids, f.before[next] = append(f.ids, next), id
		}
		return tried("copy", err)
	case n < 8 && states[id] != attest.Revoked: // its keys are dead
		f.again(id)
		return tried("again", nil)
	case n < 12:
		f.s.current(id)
		return tried("readmit", f.readmits(id))
	}
	f.s.current(id)
	return tried("approve", f.approves(id))
}

// Whatever is done to laptops and their copies, at most one of a family is active, and
// none becomes so that was a revoked one before. What is refused is refused for this.
func TestFamilies(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and nothing runs beside it that the race detector could see")
	}
	t.Parallel()
	d := newDrifting(t, nil)
	seen := map[string]int{} // how often each deed ended how
	for seed := range uint64(60) {
		f := &families{drifting: d, rng: rand.New(rand.NewPCG(seed, 7)), before: map[string]string{}}
		for range 1 + f.rng.IntN(2) {
			f.ids = append(f.ids, f.laptop(func(row *store.Device) { row.Owner = "alice" }))
		}
		states := f.states()
		for range 40 {
			last := f.step(states)
			f.done = append(f.done, last)
			seen[last.what+" "+last.outcome]++
			now := f.states()
			f.check(last, states, now)
			if t.Failed() {
				t.Fatalf("seed %d: %v: %v", seed, f.before, f.done)
			}
			states = now
		}
	}
	for _, what := range []string{ // else nothing was tried
		"copy done", "copy revoked", "again done", "revoke done", "approve done", "approve revoked", "approve place-taken",
		"readmit done", "readmit revoked", "readmit place-taken", "readmit not-waiting",
	} {
		if seen[what] < 5 {
			t.Errorf("%s: %d times", what, seen[what])
		}
	}
}

// check holds what became of the laptops against who was whom.
func (f *families) check(last deed, then, now map[string]attest.DeviceState) {
	f.t.Helper()
	active := map[string]string{}
	for _, id := range f.ids {
		if now[id] != attest.Active {
			continue
		}
		if other := active[f.root(id)]; other != "" {
			f.t.Errorf("%s and %s are active", id, other)
		}
		active[f.root(id)] = id
		if then[id] != attest.Active && f.ended(id, then) {
			f.t.Errorf("%s became active, and was a revoked one", id)
		}
	}
	switch other := active[f.root(last.id)]; last.outcome {
	case attest.CodeRevoked:
		if !f.ended(last.id, then) {
			f.t.Errorf("%s was no revoked one: %v", last.id, last)
		}
	case "place-taken":
		if other == "" || other == last.id || slices.Contains(f.line(last.id), other) {
			f.t.Errorf("the place of %s is not taken, %q is active: %v", last.id, other, last)
		}
	}
}

// ended reports whether a laptop, or one that it was, is revoked.
func (f *families) ended(id string, states map[string]attest.DeviceState) bool {
	return slices.ContainsFunc(append(f.line(id), id), func(b string) bool { return states[b] == attest.Revoked })
}
