package server

import (
	"strings"
	"testing"
	"time"

	"muster/attest/posture"
	"muster/server/decide"
	"muster/server/people"
	"muster/server/store"
)

// elevate asks for ops as alice, and lets her browser have a cookie of after it.
func (g *gate) elevate() *people.Elevation {
	g.t.Helper()
	e, err := g.people.Elevate(g.t.Context(), g.who(), "ops", "mend the database of wiki")
	if err != nil {
		g.t.Fatal(err)
	}
	g.visit("ops")
	return e
}

func (g *gate) who() *people.Who {
	g.t.Helper()
	w, err := g.people.Who(g.t.Context(), g.alice.secret, people.From{})
	if err != nil {
		g.t.Fatal(err)
	}
	return w
}

// ended returns why an elevation ended; empty while it lives.
func (g *gate) ended(id string) (cause string) {
	g.t.Helper()
	err := g.store.View(g.t.Context(), func(tx *store.Tx) error {
		e, err := tx.Elevation(id)
		if err == nil {
			cause = e.Cause
		}
		return err
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return cause
}

func (g *gate) lookAtAll() {
	g.t.Helper()
	if err := g.lookAtElevations(g.t.Context()); err != nil {
		g.t.Fatal(err)
	}
}

func TestElevation(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.expect("before", "ops", decide.StepUp, "elevation-needed")
	g.elevate()
	for range 2 {
		g.expect("elevated", "ops", decide.Allow, "")
	}
	uses := 0
	err := g.store.View(t.Context(), func(tx *store.Tx) error {
		log, err := tx.AuditLog(0, 1000)
		for _, e := range log {
			if e.Action == "elevation.use" && e.Actor == "person:alice" && strings.Contains(string(e.Detail), `"path":"/page"`) {
				uses++
			}
		}
		return err
	})
	if err != nil || uses != 2 {
		t.Errorf("%d uses in the audit log, %v", uses, err)
	}
	g.clock.advance(4*time.Minute + 59*time.Second)
	g.expect("almost five minutes later", "ops", decide.Allow, "")
	g.clock.advance(2 * time.Second)
	g.expect("old hands", "ops", decide.StepUp, "hands")
	g.clock.advance(5 * time.Minute)
	g.expect("over", "ops", decide.StepUp, "elevation-needed")
}

// A cookie that was copied before the elevation gets nothing of it.
func TestElevationIsOfItsCookie(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	copied := g.cookie["ops"]
	g.clock.advance(time.Second)
	if _, err := g.people.Elevate(t.Context(), g.who(), "ops", "mend the database of wiki"); err != nil {
		t.Fatal(err)
	}
	g.cookie["ops"] = copied
	g.expect("the copy", "ops", decide.StepUp, "elevation-needed")
	g.visit("ops")
	g.expect("the browser", "ops", decide.Allow, "")
}

// Whatever trust is lost, the elevation is, for ever: also when all is well again
// before anybody asks.
func TestElevationEndsWithTrust(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(g *gate)
		cause  string
	}{
		"its time":          {func(g *gate) { g.clock.advance(10 * time.Minute) }, "elevation-end"},
		"disk":              {func(g *gate) { g.report(posture.No) }, "encrypted"},
		"disk for a moment": {func(g *gate) { g.report(posture.No); g.report(posture.Yes) }, "encrypted"},
		"revoked":           {func(g *gate) { g.revokeLaptop() }, "revoked"},
		"link":              {func(g *gate) { g.unlink() }, causeLinkLost},
		"policy":            {func(g *gate) { g.usePolicy("  - {id: nobody, that: user.name == 'bob', otherwise: deny}") }, "nobody"},
		"session":           {func(g *gate) { g.end() }, "session-over"},
		"person":            {func(g *gate) { g.disable() }, "session-over"},
		"many reports": {func(g *gate) {
			for range maxSightings + 1 {
				g.report(posture.Yes)
			}
		}, "no-report"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			e := g.elevate()
			g.lookAtAll()
			if cause := g.ended(e.ID); cause != "" {
				t.Fatalf("ended at once: %q", cause)
			}
			test.change(g)
			g.lookAtAll()
			if cause := g.ended(e.ID); cause != test.cause {
				t.Errorf("ended with %q, want %q", cause, test.cause)
			}
			if d := g.ask("ops"); d.Outcome >= decide.Restrict {
				t.Errorf("still open: %+v", d)
			}
			g.report(posture.Yes)
			if d := g.ask("ops"); d.Outcome >= decide.Restrict {
				t.Errorf("open again: %+v", d)
			}
		})
	}
}

// It is not granted where the application would stay closed, nor to old hands, nor
// for what asks for none.
func TestElevationRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(g *gate)
		app    string
		code   string
	}{
		"open disk":      {func(g *gate) { g.report(posture.No) }, "ops", "elevation-closed"},
		"no link":        {func(g *gate) { g.unlink() }, "ops", "elevation-unlinked"},
		"old hands":      {func(g *gate) { g.clock.advance(6 * time.Minute); g.report(posture.Yes); g.link() }, "ops", "verify-first"},
		"no application": {func(*gate) {}, "none", "elevation-none"},
		"not that kind":  {func(*gate) {}, "wiki", "elevation-none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			test.change(g)
			_, err := g.people.Elevate(t.Context(), g.who(), test.app, "mend the database of wiki")
			if err == nil || asRefusal(err) == nil || asRefusal(err).Code != test.code {
				t.Errorf("%v, want %s", err, test.code)
			}
		})
	}
}
