package server

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"muster/attest/posture"
	"muster/server/decide"
	"muster/server/gateway/token"
	"muster/server/web"
)

// What another policy would change is told before it counts, and changes nothing.
func TestSimulate(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.report(posture.No) // alice is out of the vault already
	out, err := g.Simulate(t.Context(), gatePolicy+"  - {id: nobody, for: app.id == 'wiki', that: user.name == 'bob', otherwise: deny}\n"+
		"  - {id: trial, that: device.firewall.state == YES, otherwise: report_only}\n")
	if err != nil {
		t.Fatal(err)
	}
	if out.Devices != 1 || out.Sessions != 1 || out.Lost != 1 || out.Won != 0 || len(out.Changes) != 1 {
		t.Fatalf("%+v", out)
	}
	if c := out.Changes[0]; c.App != "wiki" || c.Person != "alice" || c.Session != g.alice.session.ID || c.Device != g.laptop.row.ID ||
		c.Before != decide.Allow || c.After != decide.Deny || !slices.Equal(c.Reasons, []string{"nobody"}) {
		t.Errorf("%+v", c)
	}
	if !slices.Contains(out.Trial, web.SimulatedTrial{Rule: "trial", Sessions: 1}) || len(out.Diff) != 2 {
		t.Errorf("%+v, %+v", out.Trial, out.Diff)
	}
	g.expect("after it", "wiki", decide.Allow, "")
	if out, err = g.Simulate(t.Context(), gatePolicy[:len(gatePolicy)-len("x")]); err != nil || out.Lost+out.Won != 0 || len(out.Changes) != 0 {
		t.Errorf("the same policy: %+v, %v", out, err)
	}
	if _, err := g.Simulate(t.Context(), "apps: ["); !errors.As(err, new(decide.Problems)) {
		t.Errorf("no policy: %v", err)
	}
}

// A page replaces the policy only where no file is its home, and only by one whose
// own tests hold; it is still in use after a restart.
func TestUsePolicy(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	if err := g.UsePolicy(t.Context(), byLocal, gatePolicy); asRefusal(err) == nil || asRefusal(err).Code != "policy-in-file" {
		t.Errorf("with a file: %v", err)
	}
	dir := t.TempDir()
	open := func() *Server {
		t.Helper()
		s, err := New(t.Context(), Config{DataDir: dir, PublicURL: guestURL, RPID: "muster.localhost"}, slog.New(slog.DiscardHandler), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	before := s.policy.Load().Digest()
	fails := gatePolicy + "tests:\n  - {name: wrong, given: {app: wiki}, expect: {decision: allow}}\n"
	if err := s.UsePolicy(t.Context(), "person:alice", fails); asRefusal(err) == nil || asRefusal(err).Code != "policy-test" {
		t.Errorf("with a test that fails: %v", err)
	}
	own := "apps: [{id: own, sensitivity: low, hosts: [id.muster.localhost]}]\nrequire: []\n"
	if err := s.UsePolicy(t.Context(), "person:alice", own); err == nil {
		t.Error("an application has the server's own host")
	}
	if s.policy.Load().Digest() != before {
		t.Error("a refused policy is in use")
	}
	if err := s.UsePolicy(t.Context(), "person:alice", gatePolicy); err != nil {
		t.Fatal(err)
	}
	used := s.policy.Load().Digest()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	defer s.Close()
	if s.policy.Load().Digest() != used || used == before {
		t.Error("the policy of the page is gone after a restart")
	}
}

// Signing keys follow their times, and nothing is written while none is due.
func TestRotateKeys(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	rotate := func() (changed bool) {
		t.Helper()
		before := g.store.LastChange()
		if err := g.rotateKeys(t.Context()); err != nil {
			t.Fatal(err)
		}
		return g.store.LastChange() != before
	}
	first := string(g.jwks())
	if first == "" || rotate() || string(g.jwks()) != first {
		t.Error("a key was replaced before its time")
	}
	g.clock.advance(token.Rotate)
	if !rotate() || string(g.jwks()) == first {
		t.Error("no key after its time")
	}
	if rotate() {
		t.Error("twice")
	}
}
