package server

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"muster/attest/posture"
	"muster/server/decide"
	"muster/server/people"
	"muster/server/store"
)

// freshly answers as a server that remembers nothing: everything is read from the
// store. What memory holds stays as it was.
func (g *gate) freshly(app string) *decide.Decision {
	g.t.Helper()
	kept := g.visitors
	g.visitors = newVisitors()
	for _, v := range kept.cookies { // but when it was seen last, which memory alone has
		if seen := v.seen.Load(); seen > 0 {
			g.visitors.seat(v.id, v.person).seen.Store(seen)
		}
	}
	d := g.laptop
	answers, stale := d.answers.Load(), d.stale.Load()
	d.stale.Store(true)
	got := g.ask(app)
	d.answers.Store(answers)
	d.stale.Store(stale)
	g.visitors = kept
	return got
}

// TestLookHistories lives random hours of a person, a laptop and their
// administrators, and asks after each step: what memory answers is what the store
// says.
func TestLookHistories(t *testing.T) {
	t.Parallel()
	lives := 60
	if testing.Short() {
		lives = 8
	}
	opened, closed := 0, 0
	for seed := range lives {
		rng := rand.New(rand.NewPCG(7, uint64(seed)))
		g := newGate(t)
		for step := range 40 {
			name := g.something(rng)
			for _, app := range []string{"wiki", "vault", "ops"} {
				got := g.ask(app)
				want := g.freshly(app)
				if got.Outcome != want.Outcome || !reflect.DeepEqual(codes(*got), codes(*want)) {
					t.Fatalf("life %d, step %d (%s): memory answers %v %v for %s, the store says %v %v",
						seed, step, name, got.Outcome, codes(*got), app, want.Outcome, codes(*want))
				}
				if got.Outcome == decide.Allow {
					opened++
				} else {
					closed++
				}
			}
		}
	}
	if opened < 10*lives || closed < 10*lives {
		t.Errorf("only %d open and %d closed answers: the lives try nothing", opened, closed)
	}
	t.Logf("%d lives: %d answers were open, %d closed", lives, opened, closed)
}

// something happens; most of it every day.
func (g *gate) something(rng *rand.Rand) string {
	g.t.Helper()
	steps := []struct {
		name string
		do   func()
	}{
		{"minutes pass", func() { g.clock.advance(time.Duration(rng.IntN(8)) * time.Minute) }},
		{"minutes pass", func() { g.clock.advance(time.Duration(rng.IntN(600)) * time.Second) }},
		{"good report", func() { g.report(posture.Yes) }},
		{"good report", func() { g.report(posture.Yes) }},
		{"bad report", func() { g.report(posture.No) }},
		{"unclear report", func() { g.report(posture.Unknown) }},
		{"link proved", g.linkIfLive},
		{"link proved", g.linkIfLive},
		{"new cookie", func() { g.visitIfLive([]string{"wiki", "vault", "ops"}[rng.IntN(3)]) }},
		{"new cookies", func() { g.visitIfLive("wiki"); g.visitIfLive("vault"); g.visitIfLive("ops") }},
		{"hands", g.verify},
		{"elevation", func() { _, _ = g.people.Elevate(g.t.Context(), g.mayBeWho(), "ops", "mend the database of wiki") }},
		{"link ended", g.unlinkIfLive},
		{"laptop changes hands", func() { g.own([]string{"bob", "alice"}[rng.IntN(2)]) }},
		{"stricter policy", func() {
			g.usePolicy("  - {id: signed-in-lately, that: session.age < duration('20m'), otherwise: step_up}")
		}},
		{"usual policy", func() { g.writePolicy(gatePolicy) }},
		{"bypass", func() { g.bypass("encrypted", time.Duration(1+rng.IntN(20))*time.Minute) }},
		{"elevations looked at", func() { g.lookAtAll() }},
		{"seen times stored", func() {
			if err := g.noteSeen(g.t.Context()); err != nil {
				g.t.Fatal(err)
			}
		}},
		{"forgotten", func() { g.visitors.forget(g.now().Add(-time.Duration(rng.IntN(30)) * time.Minute)) }},
	}
	if rng.IntN(25) == 0 {
		g.signInAgain()
		return "session ended, another began"
	}
	one := steps[rng.IntN(len(steps))]
	one.do()
	return one.name
}

// verify is a user verification, now.
func (g *gate) verify() {
	g.t.Helper()
	g.onLive(func(tx *store.Tx, id string) error {
		one, err := tx.Session(id)
		if err != nil {
			return err
		}
		one.VerifiedAt = tx.Now()
		return tx.UpdateSession(one)
	})
}

func (g *gate) unlinkIfLive() {
	g.t.Helper()
	g.first = time.Time{}
	g.onLive(func(tx *store.Tx, id string) error {
		one, err := tx.Session(id)
		if err != nil {
			return err
		}
		one.Link = nil
		return tx.UpdateSession(one)
	})
}

func (g *gate) linkIfLive() {
	g.t.Helper()
	g.onLive(func(tx *store.Tx, id string) error {
		one, err := tx.Session(id)
		if err != nil {
			return err
		}
		one.Link = g.proof()
		return tx.UpdateSession(one)
	})
}

// onLive changes alice's session if it lives.
func (g *gate) onLive(fn func(tx *store.Tx, id string) error) {
	g.t.Helper()
	g.update(func(tx *store.Tx) error {
		if one, err := tx.Session(g.alice.session.ID); err != nil || !one.EndedAt.IsZero() {
			return err
		}
		return fn(tx, g.alice.session.ID)
	})
}

func (g *gate) visitIfLive(app string) {
	g.t.Helper()
	g.onLive(func(tx *store.Tx, id string) (err error) {
		g.cookie[app], err = tx.AddVisit(&store.Visit{Session: id, App: app, Host: hostOf(app)})
		return err
	})
}

// mayBeWho is alice if her session lives, else somebody that nothing is given to.
func (g *gate) mayBeWho() *people.Who {
	if w, err := g.people.Who(g.t.Context(), g.alice.secret, people.From{}); err == nil {
		return w
	}
	return &people.Who{Session: g.alice.session, Person: g.alice.person}
}

func (g *gate) bypass(rule string, lasts time.Duration) {
	g.t.Helper()
	_, err := g.people.LetPass(g.t.Context(), byLocal, g.laptop.row.ID, "", rule, "waits for a new disk", g.now().Add(lasts))
	if err != nil && asRefusal(err) == nil {
		g.t.Fatal(err)
	}
}

// signInAgain ends alice's session and begins another one on the same laptop.
func (g *gate) signInAgain() {
	g.t.Helper()
	g.first = time.Time{}
	g.update(func(tx *store.Tx) (err error) {
		if err = tx.EndSession(g.alice.session.ID, "signed-out"); err != nil {
			return err
		}
		g.alice.session.VerifiedAt, g.alice.session.SeenAt, g.alice.session.Link = tx.Now(), time.Time{}, nil
		g.alice.secret, err = tx.AddSession(g.alice.session)
		return err
	})
	g.link()
	for app := range g.cookie {
		g.visit(app)
	}
}
