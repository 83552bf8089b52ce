package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"muster/attest/posture"
	"muster/server/decide"
	"muster/server/gateway"
	"muster/server/people"
	"muster/server/store"
)

// Ways in which a decision could be made to say allow; each has been one.

const handsPolicy = `
apps:
  - {id: wiki, sensitivity: low, hosts: [wiki.muster.localhost]}
require:
  - {id: hands, that: session.user_verified_ago <= duration('8h'), otherwise: step_up}
`

// The laptop was revoked; it cannot be read; who is on it must not get in by that.
func TestNeverRevokedUnreadable(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.writePolicy(handsPolicy)
	g.expect("before", "wiki", decide.Allow, "")
	g.revokeLaptop()
	g.expect("revoked", "wiki", decide.Deny, "revoked")
	d := g.laptop
	d.mu.Lock()
	d.row.ID = "unreadable" // the store's read of it fails
	d.mu.Unlock()
	d.stale.Store(true)
	if got := g.ask("wiki"); got.Outcome == decide.Allow {
		t.Errorf("revoked laptop, store read failed: %v", got.Outcome)
	}
}

// Not loaded at start: "the device is unknown, which denies".
func TestNeverNotLoaded(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.writePolicy(handsPolicy)
	g.revokeLaptop()
	g.expect("revoked", "wiki", decide.Deny, "revoked")
	g.fleet.mu.Lock()
	delete(g.fleet.devices, g.alice.session.ID)
	for id := range g.fleet.devices {
		delete(g.fleet.devices, id)
	}
	g.fleet.mu.Unlock()
	g.touch() // any reason to decide anew
	if got := g.ask("wiki"); got.Outcome == decide.Allow {
		t.Errorf("revoked laptop that was not loaded: %v", got.Outcome)
	}
}

func (g *gate) touch() {
	g.update(func(tx *store.Tx) error {
		one, err := tx.Session(g.alice.session.ID)
		if err != nil {
			return err
		}
		return tx.UpdateSession(one)
	})
}

func TestNeverFlaps(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(g *gate){
		"link for a moment": func(g *gate) { g.unlink(); g.clock.advance(time.Second); g.link() },
		"policy for a moment": func(g *gate) {
			g.usePolicy("  - {id: nobody, that: user.name == 'bob', otherwise: deny}")
			g.writePolicy(gatePolicy)
		},
		"owner for a moment": func(g *gate) { g.own("bob"); g.own("alice") },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate(t)
			e := g.elevate()
			g.lookAtAll()
			change(g)
			g.lookAtAll()
			if g.ended(e.ID) == "" {
				t.Errorf("lives: %v", g.ask("ops").Outcome)
			}
		})
	}
	t.Run("report before the first look", func(t *testing.T) {
		g := newGate(t)
		e := g.elevate()
		g.report(posture.No)
		g.report(posture.Yes)
		g.lookAtAll()
		if g.ended(e.ID) == "" {
			t.Errorf("lives: %v", g.ask("ops").Outcome)
		}
	})
}

func TestNeverTermsChange(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	text := func(terms string) string {
		return `
limits: {report_age: 30m}
apps:
  - {id: wiki, sensitivity: low, hosts: [wiki.muster.localhost]}
  - {id: ops, sensitivity: privileged, hosts: [ops.muster.localhost], elevation: {` + terms + `}}
require:
  - {id: linked, that: session.link.state == LIVE, otherwise: step_up}
`
	}
	g.writePolicy(text("lasts: 8h, approval: helpdesk"))
	e, err := g.people.Elevate(t.Context(), g.who(), "ops", "mend the database of wiki")
	if err != nil {
		t.Fatal(err)
	}
	bob := newGuest(t, g.Server, "bob", store.RolePerson)
	g.update(func(tx *store.Tx) error {
		p, err := tx.Person(bob.person.ID)
		if err != nil {
			return err
		}
		p.Groups = []string{"helpdesk"}
		return tx.UpdatePerson(p)
	})
	w, err := g.people.Who(t.Context(), bob.secret, people.From{})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.people.ApproveElevation(t.Context(), w, e.ID); err != nil {
		t.Fatal(err)
	}
	g.visit("ops")
	g.expect("approved", "ops", decide.Allow, "")
	g.writePolicy(text("lasts: 10m, approval: security"))
	if cause := g.ended(e.ID); cause != causeTerms {
		t.Errorf("an elevation of other terms than the policy's ended with %q", cause)
	}
	g.expect("of other terms", "ops", decide.StepUp, "elevation-needed")
}

// Revoked, and given to somebody else in the books: who is on it still gets nothing.
func TestNeverRevokedReowned(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.writePolicy(handsPolicy)
	g.own("bob")
	g.revokeLaptop()
	if d := g.ask("wiki"); d.Outcome == decide.Allow {
		t.Errorf("on a revoked laptop: %v", d.Outcome)
	}
}

// A bearer "secret" that spells how another gateway came is not that gateway.
func TestNeverCredentialKey(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gw"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.CreateGateway(t.Context(), GatewayRequest{Name: "c", Apps: []string{"wiki"}, Dialect: "nginx", Audience: "wiki",
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))})
	if err != nil {
		t.Fatal(err)
	}
	bySocket, err := g.CreateGateway(t.Context(), GatewayRequest{Name: "s", Apps: []string{"wiki"}, Dialect: "nginx", Audience: "wiki", Socket: "/nowhere/gateway.sock"})
	if err != nil {
		t.Fatal(err)
	}
	// The gateways themselves ask once.
	for _, p := range []gateway.Peer{{Certificate: spkiHash(cert)}, {Gateway: bySocket.ID}} {
		if _, ok := g.gatewayCredential(gateway.WithPeer(t.Context(), p), ""); !ok {
			t.Fatal("gateway itself refused")
		}
	}
	for _, secret := range []string{"certificate " + spkiHash(cert), "socket " + bySocket.ID} {
		r := httptest.NewRequest("GET", "/check/nginx/wiki", nil)
		r.RemoteAddr = "127.0.0.1:4711"
		r.Header.Set("Authorization", "Bearer "+secret)
		r.Header.Set("X-Original-Method", "GET")
		r.Header.Set("X-Original-Uri", "/page")
		r.Header.Set("X-Forwarded-Host", hostOf("wiki"))
		r.Header.Set("X-Forwarded-For", "10.0.0.1")
		r.Header.Set("Cookie", "__Host-muster-app="+g.cookie["wiki"])
		w := httptest.NewRecorder()
		g.Handler().ServeHTTP(w, r)
		if w.Code == http.StatusOK || w.Header().Get("X-Muster-User") != "" {
			t.Errorf("a stranger passed for the gateway with bearer %q", secret)
		}
	}
}

// Cookie made before any laptop was linked; then the person links.
func TestNeverLinkAfterCookie(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.unlink()
	g.visit("wiki") // made while no laptop was linked; copied now
	g.expect("unlinked", "wiki", decide.StepUp, "linked")
	g.clock.advance(5 * time.Minute)
	g.report(posture.Yes)
	g.link() // the person proves a laptop with muster's own cookie
	if d := g.ask("wiki"); d.Outcome == decide.Allow {
		t.Errorf("the copy profits from a link that was first proved after it was made")
	}
}

func TestNeverAuthTime(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.clock.advance(4 * time.Minute)
	g.update(func(tx *store.Tx) error {
		one, err := tx.Session(g.alice.session.ID)
		if err != nil {
			return err
		}
		one.VerifiedAt = g.now()
		return tx.UpdateSession(one)
	})
	q := &gateway.Question{App: "wiki", Host: hostOf("wiki"), Cookie: g.cookie["wiki"], Request: decide.Request{Method: "GET", Path: "/"}}
	a := g.look(t.Context(), q, &gateway.Credential{Apps: []string{"*"}})
	v := g.visitors.at(hashOf(g.cookie["wiki"]))
	if a.Identity().UserVerifiedAt.After(v.began) {
		t.Errorf("auth_time %v is after the cookie was made %v", a.Identity().UserVerifiedAt, v.began)
	}
}

// A sighting of lost trust is not forgotten because the store was busy.
func TestNeverSightingLost(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	e := g.elevate()
	g.lookAtAll()
	g.report(posture.No)
	g.report(posture.Yes)
	// LoseElevation fails once, as with store.ErrBusy: the writer's function fails.
	ctx := &dying{Context: t.Context()}
	if err := g.lookAtElevations(ctx); err == nil && g.ended(e.ID) == "" {
		t.Fatal("the first look neither ended it nor failed")
	}
	g.expect("doomed", "ops", decide.StepUp, "elevation-needed")
	g.lookAtAll()
	if g.ended(e.ID) == "" {
		d := g.ask("ops")
		t.Errorf("the elevation outlived a laptop that was bad: %v", d.Outcome)
	}
}

// Forgetting, two cookies of a session, programs and changes all at once.
func TestNeverStress(t *testing.T) {
	t.Parallel()
	for range 2 {
		g := newGate(t)
		ask := func(cookie, app string) *decide.Decision {
			q := &gateway.Question{App: app, Host: hostOf(app), Cookie: cookie, Back: "/", Request: decide.Request{Method: "GET", Path: "/p", Address: netip.MustParseAddr("10.0.0.1")}}
			return g.look(context.Background(), q, &gateway.Credential{Apps: []string{"*"}}).Decision()
		}
		old, vault := g.cookie["wiki"], g.cookie["vault"]
		var replaced, bad, ended, done atomic.Bool
		var wrong [4]atomic.Int64
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for !done.Load() {
					r, b, e := replaced.Load(), bad.Load(), ended.Load()
					if d := ask(old, "wiki"); r && d.Outcome == decide.Allow {
						wrong[0].Add(1)
					}
					if d := ask(vault, "vault"); d.Outcome == decide.Allow {
						if b {
							wrong[1].Add(1)
						}
						if e {
							wrong[2].Add(1)
						}
					}
					if i == 0 {
						g.CheckSession(context.Background(), g.alice.session.ID, "", "vault", &decide.Request{Method: "GET", Path: "/p"})
					}
				}
			})
		}
		wg.Go(func() {
			for !done.Load() {
				g.visitors.forget(g.now().Add(time.Second))
				time.Sleep(100 * time.Microsecond)
			}
		})
		wg.Go(func() {
			for !done.Load() {
				_ = g.lookAtElevations(context.Background())
				time.Sleep(time.Millisecond)
			}
		})
		time.Sleep(50 * time.Millisecond)
		g.visit("wiki")
		replaced.Store(true)
		for range 10 {
			g.report(posture.Yes)
			g.link()
		}
		g.report(posture.No)
		bad.Store(true)
		time.Sleep(50 * time.Millisecond)
		g.end()
		ended.Store(true)
		time.Sleep(50 * time.Millisecond)
		done.Store(true)
		wg.Wait()
		for i := range wrong {
			if n := wrong[i].Load(); n > 0 {
				t.Errorf("kind %d: %d wrong", i, n)
			}
		}
	}
}

// Bypass of a laptop for a rule about people counts for whoever sits there.
func TestNeverBypassOfLaptop(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.writePolicy(gatePolicy + "  - {id: admins, for: app.id == 'wiki', that: user.role == 'administrator', otherwise: deny}\n")
	g.expect("before", "wiki", decide.Deny, "admins")
	if _, err := g.people.LetPass(t.Context(), byLocal, g.laptop.row.ID, "", "admins", "for bob, who works here", g.now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	g.expect("on a laptop that is let pass", "wiki", decide.Deny, "admins")
	if _, err := g.people.LetPass(t.Context(), byLocal, g.laptop.row.ID, "", "not-yet", "a rule that is not there", g.now().Add(time.Hour)); err == nil {
		t.Error("a rule that is not there is let pass")
	}
}

// dying is a context whose Err is nil for the first calls, then Canceled.
type dying struct {
	context.Context
	at, n int
}

func (d *dying) Err() error {
	d.n++
	if d.n > d.at {
		return context.DeadlineExceeded
	}
	return nil
}
