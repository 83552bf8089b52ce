package token

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// published is a key set and from when until when it stood at its address.
type published struct {
	keys        *Keys
	from, until time.Time
}

// history rotates as a server does, with a clock that the test turns.
type history struct {
	kept []Key
	sets []published
}

func (h *history) ask(t *testing.T, now time.Time) {
	t.Helper()
	due, forget := Due(h.kept, now)
	if !due && len(forget) == 0 && len(h.sets) > 0 {
		return
	}
	h.kept = slices.DeleteFunc(slices.Clone(h.kept), func(k Key) bool { return slices.Contains(forget, k.ID) })
	if due {
		h.kept = append(h.kept, newKey(t, now))
	}
	if n := len(h.sets); n > 0 {
		h.sets[n-1].until = now
	}
	h.sets = append(h.sets, published{keys: newKeys(t, h.kept...), from: now, until: now.AddDate(10, 0, 0)})
}

func (h *history) now() *Keys { return h.sets[len(h.sets)-1].keys }

// Over a month every token verifies with each key set that was published at any
// moment of the five minutes before it was made, and until it expires.
func TestRotation(t *testing.T) {
	for name, step := range map[string]func(*rand.Rand) time.Duration{
		"each minute":   func(*rand.Rand) time.Duration { return time.Minute },
		"now and then":  func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(40 * time.Minute))) },
		"mostly asleep": func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(50 * time.Hour))) },
	} {
		t.Run(name, func(t *testing.T) {
			chance := rand.New(rand.NewPCG(1, 2))
			h := new(history)
			type made struct {
				at   time.Time
				text string
			}
			var tokens []made
			used := map[string]int{}
			end := start.AddDate(0, 1, 0)
			for now := start; now.Before(end); now = now.Add(step(chance)) {
				h.ask(t, now)
				// One in seven, and all while there are several keys.
				if len(h.kept) == 1 && chance.IntN(7) > 0 {
					continue
				}
				text := sign(t, h.now(), claims(now), now)
				used[h.now().signer(now).id]++
				tokens = append(tokens, made{now, text})
			}
			if name != "mostly asleep" && (len(used) < 29 || len(used) > 32) {
				t.Errorf("%d keys signed in a month", len(used))
			}
			if len(h.kept) > 3 {
				t.Errorf("%d keys are kept", len(h.kept))
			}
			for _, m := range tokens {
				for i, set := range h.sets {
					// Published at a moment in question; nothing was before the first.
					if set.from.After(m.at.Add(Life)) || !set.until.After(m.at.Add(-Life)) {
						continue
					}
					at := m.at
					if set.from.After(at) {
						at = set.from
					}
					if at.Before(m.at.Truncate(time.Second).Add(Life)) {
						if _, err := set.keys.Verify(m.text, issuer, audience, at); err != nil {
							t.Fatalf("made at %v, set %d of %v to %v: %v", m.at, i, set.from, set.until, err)
						}
					}
				}
			}
		})
	}
}

// A key that has been forgotten verifies nothing, and the new one did not sign
// before it was published for Overlap.
func TestRotationSteps(t *testing.T) {
	old := newKey(t, start)
	if due, forget := Due(nil, start); !due || forget != nil {
		t.Error("the first key is not due")
	}
	if due, _ := Due([]Key{old}, start.Add(Rotate-1)); due {
		t.Error("due early")
	}
	if due, _ := Due([]Key{old}, start.Add(Rotate)); !due {
		t.Error("not due")
	}
	fresh := newKey(t, start.Add(Rotate))
	both := []Key{fresh, old}
	k := newKeys(t, both...)
	signs := fresh.CreatedAt.Add(Overlap)
	for _, step := range []struct {
		at     time.Time
		signer string
		forget bool
	}{
		{start, old.ID, false},
		{fresh.CreatedAt, old.ID, false},
		{signs.Add(-1), old.ID, false},
		{signs, fresh.ID, false},
		{signs.Add(Overlap + Life - 1), fresh.ID, false},
		{signs.Add(Overlap + Life), fresh.ID, true},
	} {
		due, forget := Due(both, step.at)
		if due || (len(forget) == 1) != step.forget || (step.forget && forget[0] != old.ID) || k.signer(step.at).id != step.signer {
			t.Errorf("%v: %v %v, signs %s", step.at, due, forget, k.signer(step.at).id)
		}
	}
	text := sign(t, newKeys(t, old), claims(signs), signs)
	if _, err := newKeys(t, fresh).Verify(text, issuer, audience, signs); err == nil {
		t.Error("a forgotten key verifies")
	}
}

// A clock that was set back leaves keys of the future. They make no other key due,
// forgotten or silent.
func TestRotationAfterClockStep(t *testing.T) {
	future, present := newKey(t, start.AddDate(1, 0, 0)), newKey(t, start)
	if due, forget := Due([]Key{future}, start); !due || forget != nil {
		t.Errorf("%v %v", due, forget)
	}
	both := []Key{future, present}
	if due, forget := Due(both, start.Add(time.Hour)); due || forget != nil {
		t.Errorf("%v %v", due, forget)
	}
	if k := newKeys(t, both...); k.signer(start.Add(time.Hour)).id != present.ID || k.signer(start).id != present.ID {
		t.Error("a key of the future signs")
	}
	// Alone it must sign: a token by it is better than none, and it is published.
	if newKeys(t, future).signer(start) == nil {
		t.Error("nothing signs")
	}
	// Two servers that made one each at the same moment choose the same.
	twins := []Key{newKey(t, start), newKey(t, start)}
	a, b := newKeys(t, twins[0], twins[1]), newKeys(t, twins[1], twins[0])
	if a.signer(start).id != b.signer(start).id || a.signer(start.Add(time.Hour)).id != b.signer(start.Add(time.Hour)).id {
		t.Error("two servers sign with two keys")
	}
}
