package server

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/decide"
	"muster/server/gateway"
	"muster/server/session"
	"muster/server/store"
	"muster/server/verify"
)

// gatePolicy asks for a linked, encrypted laptop, and opens ops for minutes.
const gatePolicy = `
limits:
  report_age: 30m
apps:
  - {id: wiki, sensitivity: low, hosts: [wiki.muster.localhost]}
  - {id: vault, sensitivity: high, hosts: [vault.muster.localhost]}
  - {id: ops, sensitivity: privileged, hosts: [ops.muster.localhost], elevation: {lasts: 10m}}
require:
  - {id: linked, that: session.link.state == LIVE, otherwise: step_up}
  - {id: link-old, that: session.link.age <= duration('15m'), otherwise: step_up}
  - {id: encrypted, for: app.sensitivity >= HIGH, that: device.disk_encryption.state == YES, otherwise: deny}
  - {id: hands, for: app.sensitivity == PRIVILEGED, that: session.user_verified_ago <= duration('5m'), otherwise: step_up}
  - {id: inside, for: app.id == 'vault', that: "!request.path.startsWith('/admin') || in_network(request.address, '10.0.0.0/8')", otherwise: deny}
`

// gate is a server with alice on her laptop, at each application.
type gate struct {
	*Server
	t      *testing.T
	clock  *testClock
	alice  *guest
	laptop *device
	file   string            // the policy
	nginx  string            // address of a real one, where there is
	first  time.Time         // when alice's session was linked first; zero: it is not
	cookie map[string]string // by application
}

func newGate(t *testing.T) *gate {
	t.Helper()
	g := &gate{t: t, clock: &testClock{}, cookie: make(map[string]string), file: writeFile(t, "policy.yaml", gatePolicy)}
	g.clock.at.Store(time.Now().UnixNano())
	var err error
	g.Server, err = New(t.Context(), Config{DataDir: t.TempDir(), PublicURL: guestURL, RPID: "muster.localhost", Policy: g.file},
		slog.New(slog.DiscardHandler), g.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	g.alice, g.laptop = newGuest(t, g.Server, "alice", store.RolePerson), newLaptop(t, g.Server)
	g.report(posture.Yes)
	g.link()
	for _, app := range []string{"wiki", "vault", "ops"} {
		g.visit(app)
	}
	return g
}

func (g *gate) update(fn func(*store.Tx) error) {
	g.t.Helper()
	if err := g.store.Update(context.Background(), fn); err != nil {
		g.t.Fatal(err)
	}
}

// report stores what the laptop would be judged to be by a report of now.
func (g *gate) report(disk posture.State) {
	g.t.Helper()
	d := g.laptop
	d.mu.Lock()
	defer d.mu.Unlock()
	hot := d.hot
	hot.Seq, hot.IssuedAt = hot.Seq+1, g.now()
	result := &verify.Result{Device: registration(&d.row), IssuedAt: g.now(), Tier: verify.Affirming}
	result.Claims.DiskEncryption.Claim = posture.Claim{State: disk, ObservedAt: g.now()}
	encoded, err := attest.Encode(result)
	if err != nil {
		g.t.Fatal(err)
	}
	g.update(func(tx *store.Tx) error {
		if err := tx.AddReport(d.row.ID, &store.Report{Seq: hot.Seq, Digest: sha256.Sum256(encoded), ReceivedAt: g.now(), JWS: []byte("x"), Result: encoded}); err != nil {
			return err
		}
		return tx.PutHot(&hot)
	})
	d.hot, d.result = hot, result
	g.decideFor(d, g.now())
}

// link proves the laptop for alice's session, now.
func (g *gate) link() {
	g.t.Helper()
	g.update(func(tx *store.Tx) error {
		one, err := tx.Session(g.alice.session.ID)
		if err != nil {
			return err
		}
		one.Link = g.proof()
		return tx.UpdateSession(one)
	})
}

// proof is what the laptop proves by loopback, now; it keeps when it did first.
func (g *gate) proof() *session.Link {
	if g.first.IsZero() {
		g.first = g.now()
	}
	return &session.Link{Device: g.laptop.row.ID, Anchor: g.laptop.row.Keys.DKID.String(), Person: "alice",
		Strength: session.ByLoopback, First: g.first, At: g.now()}
}

// visit gives alice's browser a cookie at an application.
func (g *gate) visit(app string) {
	g.t.Helper()
	g.update(func(tx *store.Tx) (err error) {
		g.cookie[app], err = tx.AddVisit(&store.Visit{Session: g.alice.session.ID, App: app, Host: hostOf(app)})
		return err
	})
}

func hostOf(app string) string { return app + ".muster.localhost:8443" }

// ask is what a gateway is told of alice's browser.
func (g *gate) ask(app string) *decide.Decision { return g.askFor(app, "/page", "192.0.2.1") }

func (g *gate) askFor(app, path, address string) *decide.Decision {
	q := &gateway.Question{App: app, Host: hostOf(app), Cookie: g.cookie[app], Back: "/",
		Request: decide.Request{Method: "GET", Path: path, Address: netip.MustParseAddr(address)}}
	return g.look(context.Background(), q, &gateway.Credential{Apps: []string{"*"}}).Decision()
}

// expect fails unless that is answered, for that first reason that counts.
func (g *gate) expect(what, app string, want decide.Outcome, code string) {
	g.t.Helper()
	g.same(what, g.ask(app), want, code)
}

func (g *gate) same(what string, got *decide.Decision, want decide.Outcome, code string) {
	g.t.Helper()
	first := ""
	for i := range got.Reasons {
		if got.Reasons[i].Counts() {
			first = got.Reasons[i].Code
			break
		}
	}
	if got.Outcome != want || first != code {
		g.t.Errorf("%s: %v for %q, want %v for %q (%+v)", what, got.Outcome, first, want, code, got.Reasons)
	}
}

// Each way in which trust ends is seen by the very next question, and by none
// before it.
func TestLookFollowsEveryChange(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(g *gate)
		app    string
		want   decide.Outcome
		code   string
	}{
		"claim turns bad":     {func(g *gate) { g.report(posture.No) }, "vault", decide.Deny, "encrypted"},
		"claim is unknown":    {func(g *gate) { g.report(posture.Unknown) }, "vault", decide.Deny, "encrypted"},
		"lease ends":          {func(g *gate) { g.clock.advance(30 * time.Minute); g.link(); g.visit("vault") }, "vault", decide.Deny, "report-stale"},
		"device revoked":      {func(g *gate) { g.revokeLaptop() }, "vault", decide.Deny, "revoked"},
		"device reowned":      {func(g *gate) { g.own("bob") }, "vault", decide.StepUp, "linked"},
		"person disabled":     {func(g *gate) { g.disable() }, "vault", decide.Deny, "person-disabled"},
		"session ended":       {func(g *gate) { g.end() }, "vault", decide.StepUp, "ended-by-administrator"},
		"passkey removed":     {func(g *gate) { g.removeKey() }, "vault", decide.StepUp, "passkey-removed"},
		"policy changed":      {func(g *gate) { g.usePolicy("  - {id: nobody, that: user.name == 'bob', otherwise: deny}") }, "wiki", decide.Deny, "nobody"},
		"application removed": {func(g *gate) { g.writePolicy("apps: [{id: other, sensitivity: low}]\nrequire: []") }, "wiki", decide.Deny, "app-unknown"},
		"link is old":         {func(g *gate) { g.clock.advance(15*time.Minute + 1) }, "wiki", decide.StepUp, "link-old"},
		"link is gone":        {func(g *gate) { g.unlink() }, "wiki", decide.StepUp, "linked"},
		"session idle":        {func(g *gate) { g.clock.advance(61 * time.Minute); g.report(posture.Yes) }, "wiki", decide.StepUp, "idle"},
		"another cookie":      {func(g *gate) { old := g.cookie["wiki"]; g.visit("wiki"); g.cookie["wiki"] = old }, "wiki", decide.StepUp, "sign-in"},
		"another app's":       {func(g *gate) { g.cookie["wiki"] = g.cookie["vault"] }, "wiki", decide.StepUp, "sign-in"},
		"muster's own cookie": {func(g *gate) { g.cookie["wiki"] = g.alice.secret }, "wiki", decide.StepUp, "sign-in"},
		"no cookie":           {func(g *gate) { g.cookie["wiki"] = "" }, "wiki", decide.StepUp, "sign-in"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			for range 2 { // the second one from memory
				g.expect("before", "wiki", decide.Allow, "")
				g.expect("before", "vault", decide.Allow, "")
			}
			test.change(g)
			g.expect("after", test.app, test.want, test.code)
			g.expect("once more", test.app, test.want, test.code)
		})
	}
}

func (g *gate) revokeLaptop() {
	if _, err := g.revoke(context.Background(), localActor, g.laptop.row.ID, Revocation{Why: "stolen"}); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gate) own(owner string) {
	g.t.Helper()
	give := func(row *store.Device, _ *store.Hot) error { row.Owner = owner; return nil }
	if _, err := g.change(context.Background(), "test", g.laptop.row.ID, give, "device.own", nil); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gate) disable() {
	if err := g.people.Disable(context.Background(), byLocal, g.alice.person.ID, "left"); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gate) end() {
	if err := g.people.EndSessionOf(context.Background(), byLocal, g.alice.session.ID, "test"); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gate) removeKey() {
	g.update(func(tx *store.Tx) error {
		_, err := tx.RemovePasskey(g.alice.session.Credential, "passkey-removed")
		return err
	})
}

func (g *gate) unlink() {
	g.first = time.Time{}
	g.update(func(tx *store.Tx) error {
		one, err := tx.Session(g.alice.session.ID)
		if err != nil {
			return err
		}
		one.Link = nil
		return tx.UpdateSession(one)
	})
}

func (g *gate) usePolicy(rule string) { g.writePolicy(gatePolicy + rule + "\n") }

func (g *gate) writePolicy(text string) {
	g.t.Helper()
	if err := os.WriteFile(g.file, []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
	if err := g.ReloadPolicy(context.Background()); err != nil {
		g.t.Fatal(err)
	}
}

// A policy that does not load changes nothing.
func TestLookKeepsThePolicy(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.expect("before", "wiki", decide.Allow, "")
	if err := os.WriteFile(g.file, []byte("apps: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := g.ReloadPolicy(t.Context()); err == nil {
		t.Error("a broken policy was loaded")
	}
	g.expect("after", "wiki", decide.Allow, "")
}

// What only the request tells tightens, request by request.
func TestLookRequest(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	for range 2 {
		g.same("a page", g.askFor("vault", "/page", "192.0.2.1"), decide.Allow, "")
		g.same("administration from outside", g.askFor("vault", "/admin/x", "192.0.2.1"), decide.Deny, "inside")
		g.same("administration from inside", g.askFor("vault", "/admin/x", "10.1.2.3"), decide.Allow, "")
		g.same("an ambiguous path", g.askFor("vault", "", "192.0.2.1"), decide.Deny, "inside")
	}
	g.report(posture.No)
	g.same("an open disk inside", g.askFor("vault", "/admin/x", "10.1.2.3"), decide.Deny, "encrypted")
}

// A host of another application, or with another port, is not this one's.
func TestLookHost(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	for _, host := range []string{hostOf("vault"), "wiki.muster.localhost", "wiki.muster.localhost:80", guestHost, "evil.example", "", "wiki.muster.localhost.:8443"} {
		q := &gateway.Question{App: "wiki", Host: host, Cookie: g.cookie["wiki"]}
		if d := g.look(t.Context(), q, &gateway.Credential{Apps: []string{"*"}}).Decision(); d.Outcome >= decide.Restrict {
			t.Errorf("%q: %+v", host, d)
		}
	}
}

// What was proved after an application's cookie was made does not make that cookie
// fresh: a copy of it dies within the window although its person goes on working.
func TestCopiedCookieDies(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	copied := g.cookie["wiki"]
	for range 3 {
		g.clock.advance(6 * time.Minute)
		g.report(posture.Yes)
		g.link() // the person's own browser proves the laptop, with muster's own cookie
	}
	g.expect("the old cookie", "wiki", decide.StepUp, "link-old")
	g.visit("wiki") // the browser gets another one, which the thief does not
	g.expect("the new cookie", "wiki", decide.Allow, "")
	g.cookie["wiki"] = copied
	g.expect("the copy", "wiki", decide.StepUp, "sign-in")
}

// A session that is asked about by name is that person's, and a program's view
// ends with it.
func TestCheckSession(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	req := &decide.Request{Method: "GET", Path: "/page", Address: netip.MustParseAddr("192.0.2.1")}
	ask := func(id, user string) *decide.Decision {
		return g.CheckSession(t.Context(), id, user, "vault", req).Decision()
	}
	g.same("by session", ask(g.alice.session.ID, ""), decide.Allow, "")
	g.same("by user", ask(g.alice.session.ID, "alice"), decide.Allow, "")
	g.same("another's", ask(g.alice.session.ID, "bob"), decide.StepUp, "sign-in")
	g.same("nobody's", ask("s_none", ""), decide.StepUp, "sign-in")
	g.same("by cookie", ask(g.cookie["vault"], ""), decide.StepUp, "sign-in")
	g.report(posture.No)
	g.same("after a report", ask(g.alice.session.ID, ""), decide.Deny, "encrypted")
	g.end()
	g.same("ended", ask(g.alice.session.ID, ""), decide.StepUp, "ended-by-administrator")
}

// A lookup that began before a revocation must not bring back what was before it:
// once the change is answered, no check is answered from memory of before.
func TestLookNeverBehind(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	for _, app := range []string{"wiki", "vault"} {
		g.expect("before", app, decide.Allow, "")
	}
	var ended atomic.Bool
	var wrong atomic.Int64
	var asking sync.WaitGroup
	for i := range 8 {
		asking.Go(func() {
			for n := 0; n < 400; n++ {
				was := ended.Load()
				if d := g.ask([]string{"wiki", "vault"}[(i+n)%2]); was && d.Outcome == decide.Allow {
					wrong.Add(1)
				}
			}
		})
	}
	// Changes that make everybody read again, while others read.
	for range 20 {
		g.link()
		g.update(func(tx *store.Tx) error {
			p, err := tx.Person(g.alice.person.ID)
			if err != nil {
				return err
			}
			return tx.UpdatePerson(p)
		})
	}
	g.end()
	ended.Store(true)
	asking.Wait()
	if n := wrong.Load(); n > 0 {
		t.Errorf("%d checks that began after the end were allowed", n)
	}
}

// What is not seen for a while is forgotten, and read again when it comes back;
// when it was seen is stored meanwhile.
func TestVisitorsForget(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.expect("first", "wiki", decide.Allow, "")
	if err := g.noteSeen(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.visitors.forget(g.now().Add(time.Second))
	if len(g.visitors.cookies)+len(g.visitors.sessions)+len(g.visitors.persons) != 0 {
		t.Errorf("%d cookies stay", len(g.visitors.cookies))
	}
	g.clock.advance(10 * time.Minute)
	g.expect("again", "wiki", decide.Allow, "")
	if err := g.noteSeen(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := g.store.View(t.Context(), func(tx *store.Tx) error {
		one, err := tx.Session(g.alice.session.ID)
		if err == nil && g.now().Sub(one.SeenAt) > time.Second {
			err = fmt.Errorf("seen at %v, asked at %v", one.SeenAt, g.now())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A refused request keeps no session alive.
func TestRefusedIsNotSeen(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.report(posture.No)
	for range 7 {
		g.clock.advance(10 * time.Minute)
		g.link()
		g.report(posture.No)
		g.visit("vault")
		g.ask("vault")
	}
	g.expect("after an hour of refusals", "vault", decide.StepUp, "idle")
}
