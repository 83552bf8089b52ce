package decide

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"muster/attest/posture"
)

const graceful = `apps: [{id: wiki, sensitivity: low, devices: true}, {id: prod, sensitivity: high}]
require:
- {id: rule, that: device.firewall.state == YES, grace: 24h}
- {id: lenient, for: app.sensitivity == HIGH, that: device.mdm.state == YES, grace: 24h, grace_unknown: true}
limits: {report_age: 30d}
`

// step is one report: when, and what the firewall was.
type step struct {
	at    time.Duration
	state posture.State
	want  Outcome
}

// TestGrace walks a device through days of reports.
func TestGrace(t *testing.T) {
	const h, day = time.Hour, 24 * time.Hour
	const ok, bad, unknown = posture.Yes, posture.No, posture.Unknown
	for _, test := range []struct {
		name  string
		steps []step
	}{
		{"a day and no longer", []step{{0, bad, Allow}, {24*h - 1, bad, Allow}, {24 * h, bad, Deny}, {48 * h, bad, Deny}}},
		{"what is unknown gets none", []step{{0, ok, Allow}, {h, unknown, Deny}}},
		{"not even after a no", []step{{0, bad, Allow}, {h, unknown, Deny}, {2 * h, bad, Allow}}},
		{"the clock rests while unknown", []step{{0, bad, Allow}, {h, unknown, Deny}, {10 * h, bad, Allow}, {33*h - 1, bad, Allow}, {33 * h, bad, Deny}}},
		{"good days in between are no new budget", []step{{0, bad, Allow}, {20 * h, ok, Allow}, {6 * day, bad, Allow}, {6*day + 4*h, bad, Deny}}},
		{"seven are", []step{{0, bad, Allow}, {20 * h, ok, Allow}, {20*h + 7*day, bad, Allow}, {20*h + 8*day - 1, bad, Allow}, {20*h + 8*day, bad, Deny}}},
		{"one short of seven is not", []step{{0, bad, Allow}, {20 * h, ok, Allow}, {20*h + 7*day - 1, bad, Allow}, {25*h + 7*day, bad, Deny}}},
		{"used up, good for a moment, bad again", []step{{0, bad, Allow}, {30 * h, bad, Deny}, {31 * h, ok, Allow}, {32 * h, bad, Deny}}},
		{"a bad moment begins the seven days anew", []step{{0, bad, Allow}, {20 * h, ok, Allow}, {6 * day, bad, Allow}, {6*day + h, ok, Allow}, {9 * day, bad, Allow}, {9*day + 3*h, bad, Deny}}},
		{"unknown days are not good ones", []step{{0, bad, Allow}, {24 * h, ok, Allow}, {3 * day, unknown, Deny}, {20 * day, bad, Deny}, {21 * day, ok, Allow}, {28 * day, bad, Allow}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := load(t, graceful)
			in := healthy("wiki")
			for _, s := range test.steps {
				in.Now = noon().Add(s.at)
				in.Device.IssuedAt = in.Now
				in.Device.Claims.Firewall.State = s.state
				in.Device.Claims.Firewall.Reason = "some-reason"
				d := p.Decide(in)
				if d.Outcome != s.want {
					t.Fatalf("after %v with %v: %v %+v, book %+v", s.at, s.state, d.Outcome, d.Reasons, in.Grace)
				}
				if s.state != ok && (len(d.Reasons) != 1 || d.Reasons[0].Code != "rule" || d.Reasons[0].Grace.IsZero() != (s.want == Deny)) {
					t.Fatalf("after %v: the person is not told: %+v", s.at, d.Reasons)
				}
				next := p.NextGrace(in)
				if again := p.NextGrace(withGrace(in, next)); !reflect.DeepEqual(again, next) {
					t.Fatalf("the book changes when nothing does: %+v, then %+v", next, again)
				}
				if with := p.Decide(withGrace(in, next)); !reflect.DeepEqual(with, d) {
					t.Fatalf("before and after storing the book: %+v and %+v", d, with)
				}
				in.Grace = stored(t, next)
			}
		})
	}
}

func withGrace(in Inputs, book GraceBook) Inputs {
	in.Grace = book
	return in
}

// stored is the book as it comes back from a database.
func stored(t *testing.T, book GraceBook) GraceBook {
	t.Helper()
	data, err := json.Marshal(book)
	if err != nil {
		t.Fatal(err)
	}
	var back GraceBook
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

func TestGraceUnknown(t *testing.T) {
	p := load(t, graceful)
	in := healthy("prod")
	in.Device.IssuedAt = in.Now
	in.Device.Claims.MDM = posture.Unseen[posture.MDM](noon(), posture.NotYet)
	if d := p.Decide(in); d.Outcome != Allow || d.Reasons[0].Grace != in.Now.Add(24*time.Hour) || !d.Reasons[0].Unknown {
		t.Errorf("decided %+v", d)
	}
	in.Grace = p.NextGrace(in)
	in.Now = in.Now.Add(24 * time.Hour)
	if d := p.Decide(in); d.Outcome != Deny {
		t.Errorf("decided %+v", d)
	}
}

// TestGraceBookHostile: no stored book gives more than the budget, and none
// that is stale moves.
func TestGraceBookHostile(t *testing.T) {
	p := load(t, graceful)
	in := healthy("wiki")
	in.Device.IssuedAt = in.Now
	in.Device.Claims.Firewall.State = posture.No
	year := 365 * 24 * time.Hour
	for _, s := range []Spell{
		{BadSince: in.Now.Add(year)}, {SpentMS: -1 << 62}, {SpentMS: -1}, {GoodSince: in.Now.Add(year)},
		{BadSince: in.Now.Add(year), GoodSince: in.Now.Add(year), SpentMS: -5},
	} {
		d := p.Decide(withGrace(in, GraceBook{"rule": s}))
		if len(d.Reasons) != 1 || d.Reasons[0].Grace.After(in.Now.Add(24*time.Hour)) {
			t.Errorf("%+v gives grace until %v", s, d.Reasons)
		}
	}
	if d := p.Decide(withGrace(in, GraceBook{"rule": {SpentMS: 1 << 62}})); d.Outcome != Deny {
		t.Errorf("an overspent book: %+v", d)
	}
	book := GraceBook{"rule": {BadSince: in.Now}, "gone": {BadSince: in.Now}}
	if next := p.NextGrace(withGrace(in, book)); len(next) != 1 {
		t.Errorf("a rule that is gone stays in the book: %+v", next)
	}
	in.Grace = book
	in.Now = in.Now.Add(2 * year)
	if next := p.NextGrace(in); !reflect.DeepEqual(next, book) {
		t.Errorf("a stale report moved the book: %+v", next)
	}
}

// TestGraceIsABudget flaps a device at random: within any time without seven
// good days it never fails unpunished for longer than the budget.
func TestGraceIsABudget(t *testing.T) {
	p := load(t, graceful)
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		in := healthy("wiki")
		var free time.Duration
		for range 300 {
			in.Device.IssuedAt = in.Now
			in.Device.Claims.Firewall.State = posture.State(rng.IntN(3))
			d := p.Decide(in)
			in.Grace = p.NextGrace(in)
			gap := time.Duration(rng.Int64N(int64(40 * time.Minute)))
			if d.Outcome == Allow && in.Device.Claims.Firewall.State != posture.Yes {
				free += min(gap, d.Reasons[0].Grace.Sub(in.Now))
			}
			in.Now = in.Now.Add(gap)
		}
		// 300 steps of at most 40 minutes are more than a day and fewer than nine.
		if free > 24*time.Hour {
			t.Fatalf("seed %d: %v of failure were free", seed, free)
		}
	}
}
