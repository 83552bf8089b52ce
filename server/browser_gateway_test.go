package server_test

import (
	"fmt"
	"html"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/attest/tpmtest"
	"muster/server"
	"muster/server/browsertest"
	"muster/server/gateway"
	"muster/server/gateway/gatewaytest"
	"muster/server/gateway/snippets"
	"muster/server/people"
	"muster/server/reference"
	"muster/server/servertest"
	"muster/server/session"
	"muster/server/verify"
)

// terms are what the policy of a test may ask for at a time.
type terms struct {
	age, link string // how old reports and links may be
	approval  string // group of who approves ops
	rule      string // one more rule
}

func (w terms) yaml() string {
	elevation := "{lasts: 10m}"
	if w.approval != "" {
		elevation = "{lasts: 10m, approval: " + w.approval + "}"
	}
	return fmt.Sprintf(`
limits:
  report_age: %s
apps:
  - {id: wiki, sensitivity: low, hosts: [wiki.muster.localhost]}
  - {id: ops, sensitivity: privileged, hosts: [ops.muster.localhost], elevation: %s}
require:
  - {id: link-absent, that: session.link.state == LIVE, otherwise: step_up}
  - {id: link-old, for: session.link.state == LIVE, that: session.link.age <= duration('%s'), otherwise: step_up}
  - {id: current-release, that: "version_at_least(device.os.version, '2')", otherwise: deny}
  - {id: hands-old, for: app.sensitivity == PRIVILEGED, that: session.user_verified_ago < duration('5m'), otherwise: step_up}
%s`, w.age, elevation, w.link, w.rule)
}

// roomy is a policy whose times do not matter.
func roomy() terms { return terms{age: "10m", link: "15m"} }

// gated is an office behind nginx, which also stands before two applications.
type gated struct {
	office
	t      *testing.T
	port   string // of nginx
	policy string // the file
	app    *sample
}

// sample is an application behind a gateway; it keeps what it was sent.
type sample struct {
	mu   sync.Mutex
	last http.Header // guarded by mu; of the last page
	hits int         // guarded by mu; pages
}

// ServeHTTP answers with a page that says who its reader is.
func (a *sample) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/page" { // the browser's own wishes, such as an icon
		http.NotFound(w, r)
		return
	}
	a.mu.Lock()
	a.last, a.hits = r.Header.Clone(), a.hits+1
	a.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: "theme", Value: "dark", Path: "/"})
	name, _, _ := strings.Cut(r.Host, ".")
	fmt.Fprintf(w, "<!doctype html><title>%[1]s</title><h1>The %[1]s</h1><p>Hello %[2]s", html.EscapeString(name), html.EscapeString(r.Header.Get("X-Muster-User")))
}

// seen returns how many pages were asked for, and the header of the last one.
func (a *sample) seen() (hits int, last http.Header) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hits, a.last
}

// openGated opens one: nginx by the shipped snippet before the wiki and ops, and
// before muster itself.
func openGated(t *testing.T, options ...func(*server.Config)) *gated {
	t.Helper()
	g := &gated{t: t, app: new(sample)}
	chip := tpmtest.Start(t)
	options = append([]func(*server.Config){servertest.Fronted(), func(c *server.Config) {
		c.EKRoots = []string{servertest.File(t, "ek-roots.pem", string(chip.Roots()))}
		c.Policy = servertest.File(t, "policy.yaml", roomy().yaml())
		c.ReportEvery = 2 // each second is all that a laptop may ask for, and this one does more
		g.policy = c.Policy
	}}, options...)
	g.srv = servertest.Start(t, options...)
	g.startNginx()

	g.laptop = g.srv.Laptop("laptop", chip.Setting(), g.srv.Token(server.TokenRequest{Owner: "alice", MinLevel: verify.TPMHardware}))
	g.laptop.Env = []string{fmt.Sprintf("MUSTER_LINK_PORT=%d", g.srv.Config.LinkPort), fmt.Sprintf("MUSTER_LINK_USER=%d", os.Geteuid())}
	g.laptop.Upgrade("2")
	g.device = g.laptop.Enrol().Device
	g.laptop.Start()
	g.admin = g.srv.Administrator()
	g.browser = browsertest.Start(t)
	g.alice = visit(g.browser, g.srv, false)
	return g
}

func (g *gated) startNginx() {
	g.t.Helper()
	var made server.NewGateway
	if err := g.srv.Control("POST", "/gateways", server.GatewayRequest{Name: "nginx", Apps: []string{"wiki", "ops"}, Dialect: "nginx"}, &made); err != nil {
		g.t.Fatal(err)
	}
	app := httptest.NewServer(g.app)
	g.t.Cleanup(app.Close)
	own, _ := strings.CutPrefix(g.srv.Config.PublicURL, "http://")
	name, port, err := net.SplitHostPort(own)
	if err != nil {
		g.t.Fatal(err)
	}
	g.port = port
	address := net.JoinHostPort("127.0.0.1", port)
	var apps []snippets.Values
	for _, id := range []string{"wiki", "ops"} {
		apps = append(apps, snippets.Values{Muster: "http://" + g.srv.Config.Listen, App: id, Host: id + ".muster.localhost:" + port, Upstream: app.Listener.Addr().String()})
	}
	gatewaytest.Nginx(g.t, address, made.Secret, gatewaytest.Site(address, name, g.srv.Config.Listen), apps...)
}

// page is the address of an application's page.
func (g *gated) page(app string) string {
	return "http://" + app + ".muster.localhost:" + g.port + "/page"
}

// opens fails unless the very next request of a browser is let through, without a
// detour or a click.
func (g *gated) opens(v *visitor, app string) {
	g.t.Helper()
	before, _ := g.app.seen()
	v.Go(g.page(app))
	v.At("/page")
	v.See("The " + app)
	if now, _ := g.app.seen(); now != before+1 {
		g.t.Fatalf("the application was asked %d times, want once", now-before)
	}
}

// refuses fails unless the very next request of a browser is not let through, and
// muster's page about it says all of that.
func (g *gated) refuses(v *visitor, app string, says ...string) {
	g.t.Helper()
	g.leads(v, app, "/access", says...)
}

// leads is refuses where another page of muster's comes instead.
func (g *gated) leads(v *visitor, app, to string, says ...string) {
	g.t.Helper()
	before, _ := g.app.seen()
	v.Go(g.page(app))
	v.At(to)
	v.See(says...)
	if now, _ := g.app.seen(); now != before {
		g.t.Fatalf("the application was asked all the same, %d times", now-before)
	}
}

// within waits until a browser has come to an application by itself.
func (g *gated) within(v *visitor, app string) {
	g.t.Helper()
	v.At("/page")
	v.See("The " + app)
}

// signsIn signs in on the page where the browser is, and waits for where that leads.
// Nobody touched the authenticator before, or the browser's own list of passkeys
// would be quicker than the button.
func (v *visitor) signsIn(to string) {
	v.At("/sign-in")
	v.Until(`document.querySelector(".autofill:not([hidden])")`)
	v.key.Present(true)
	v.Click(signInButton)
	v.At(to)
	v.key.Present(false)
}

// comesBack goes the way that the page of a closed application shows to somebody
// whose session is over: sign in again, link the laptop again.
func (g *gated) comesBack(v *visitor, app string) {
	g.t.Helper()
	v.Click(`a.button[href^="/sign-in"]`)
	v.signsIn("/access")
	g.links(v, app)
}

// links goes the way to a link that the page shows.
func (g *gated) links(v *visitor, app string) {
	g.t.Helper()
	v.See("Link this laptop", "link-absent")
	v.Click(`a.button[href^="/link"]`)
	v.At("/link")
	v.Click(`[data-way="loopback"]`)
	g.within(v, app)
}

// usePolicy puts another policy into force, as an operator does.
func (g *gated) usePolicy(w terms) {
	g.t.Helper()
	if err := os.WriteFile(g.policy, []byte(w.yaml()), 0o600); err != nil {
		g.t.Fatal(err)
	}
	g.control("POST", "/policy", nil, nil)
}

func (g *gated) control(method, path string, body, reply any) {
	g.t.Helper()
	if err := g.srv.Control(method, path, body, reply); err != nil {
		g.t.Fatalf("%s %s: %v", method, path, err)
	}
}

// session is alice's, of the browser on her laptop.
func (g *gated) session() *session.Session {
	g.t.Helper()
	var all []*session.Session
	g.control("GET", "/sessions?user=alice", nil, &all)
	linked := slices.DeleteFunc(all, func(s *session.Session) bool { return s.Link == nil })
	if len(linked) != 1 {
		g.t.Fatalf("alice has %d sessions on a laptop, want 1", len(linked))
	}
	return linked[0]
}

// TestBrowserGateway is the junction in a real browser: nginx before an application,
// a laptop with a real TPM and a real agent, and a person with a passkey. Whatever
// they rest on ends, ends the very next request, with the reason on a page that
// leads back.
func TestBrowserGateway(t *testing.T) {
	t.Parallel()
	mds := servertest.NewMetadata(t)
	g := openGated(t, func(c *server.Config) {
		c.MDSRoots = []string{servertest.File(t, "roots.pem", mds.Roots())}
	})
	step := func(name string, f func(*testing.T)) {
		if !t.Run(name, f) {
			t.FailNow() // each step begins where the one before it ended
		}
	}
	step("first visit", g.firstVisit)
	step("what arrives", g.whatArrives)
	step("claim turns bad", g.claimTurnsBad)
	step("policy changed", g.policyChanged)
	step("session ended elsewhere", g.endedElsewhere)
	step("person disabled", g.personDisabled)
	step("elevation", g.elevation)
	step("elevation with an approval", g.elevationApproved)
	step("cookie replayed", g.cookieReplayed)
	step("report lease ends", g.leaseEnds)
	step("passkey model revoked", func(t *testing.T) { g.modelRevoked(t, mds.BLOB) })
	step("device revoked", g.deviceRevoked)
}

// firstVisit begins at the application, knowing nothing.
func (g *gated) firstVisit(t *testing.T) {
	v := g.alice
	v.accept(g.srv.Invite(people.Invitation{Name: "alice", Mail: "alice@example.org", Groups: []string{"staff", "on-call"}}))
	v.signOut()
	g.leads(v, "wiki", "/sign-in", "Sign in with a passkey")
	v.picture("gate-sign-in")
	v.signsIn("/access")
	v.See("Link this laptop", "link-absent")
	v.picture("gate-link")
	if n, _ := g.app.seen(); n != 0 {
		t.Fatal("the application was asked before there was a laptop")
	}
	g.links(v, "wiki")
	v.See("Hello alice")
	g.opens(v, "wiki")
	v.picture("gate-allowed")
}

// whatArrives looks at a request from the application's side.
func (g *gated) whatArrives(t *testing.T) {
	v := g.alice
	// A page of the application itself tries to be somebody else.
	if got := browsertest.Eval[int](v.Tab, `fetch("/page", {headers: {"X-Muster-User": "mallory", "X-Muster-Level": "tpm-hw", "X_Muster_User": "mallory", "X-Muster-Restrict": "none"}}).then(r => r.status)`); got != http.StatusOK {
		t.Fatalf("a script of the page got %d", got)
	}
	_, h := g.app.seen()
	one := g.session()
	want := map[string]string{
		"X-Muster-User": "alice", "X-Muster-Mail": "alice@example.org", "X-Muster-Groups": "staff,on-call", "X-Muster-Session": one.ID,
		"X-Muster-Device": g.device, "X-Muster-Level": "tpm-hw", "X-Muster-Acr": one.ACR, "X-Muster-Amr": strings.Join(one.AMR, ","),
		"X-Muster-Outcome": "allow", "X-Muster-Restrict": "", "X-Muster-Token": "",
	}
	for _, name := range gateway.IdentityHeaders() {
		// What is empty nginx does not pass on.
		values, expected := h.Values(name), []string{want[name]}
		if want[name] == "" {
			expected = nil
		}
		if !slices.Equal(values, expected) {
			t.Errorf("%s arrives as %q, want %q", name, values, expected)
		}
	}
	if one.ACR == "" || len(one.AMR) == 0 {
		t.Errorf("the session says nothing of its sign-in: %+v", one)
	}
	for name := range h {
		if plain := strings.ReplaceAll(name, "_", "-"); strings.HasPrefix(strings.ToLower(plain), "x-muster") && !slices.Contains(gateway.IdentityHeaders(), http.CanonicalHeaderKey(name)) {
			t.Errorf("%s: %q arrives", name, h[name])
		}
	}
	if cookies := strings.Join(h.Values("Cookie"), "; "); cookies != "theme=dark" {
		t.Errorf("the cookies %q arrive, want the application's own alone", cookies)
	}
	if v.Cookie("__Host-muster-app") == "" {
		t.Error("the browser has no cookie of the gateway's for the application")
	}
}

// claimTurnsBad has the laptop become an old release, and a current one again.
func (g *gated) claimTurnsBad(t *testing.T) {
	v := g.alice
	g.opens(v, "wiki")
	g.release("1")
	g.refuses(v, "wiki", "wiki is closed", "current-release", "then check again")
	v.picture("gate-claim")
	// Nothing was mended: the page says so, and stays.
	v.Click(`form[action="/access/recheck"] button`)
	v.At("/access")
	v.See("current-release", "The laptop has just reported")
	v.picture("gate-claim-checked")
	g.laptop.Upgrade("2")
	servertest.Wait(t, "check again opens", func() bool {
		if browsertest.Eval[string](v.Tab, `location.pathname`) == "/access" && v.Has(`form[action="/access/recheck"] button`) {
			v.Click(`form[action="/access/recheck"] button`)
		}
		return strings.Contains(v.Text(), "The wiki")
	})
	g.opens(v, "wiki")
}

// release makes the laptop another release, and waits until the server was told.
func (g *gated) release(version string) {
	g.t.Helper()
	g.laptop.Upgrade(version)
	servertest.Wait(g.t, "the server hears of release "+version, func() bool {
		d := g.srv.Device(g.device)
		return d.Result != nil && d.Result.Claims.OS.Detail.Version == version
	})
}

// policyChanged adds a rule that nobody meets, and takes it away.
func (g *gated) policyChanged(*testing.T) {
	v := g.alice
	g.opens(v, "wiki")
	closed := roomy()
	closed.rule = "  - {id: maintenance, that: user.name == 'bob', otherwise: deny, text: The wiki is being moved., fix: Come back at noon.}\n"
	g.usePolicy(closed)
	g.refuses(v, "wiki", "wiki is closed", "The wiki is being moved.", "Come back at noon.", "maintenance", "Ask an administrator")
	v.picture("gate-policy")
	g.usePolicy(roomy())
	v.Click(`a.button[href^="/access"]`) // look again
	g.within(v, "wiki")
	g.opens(v, "wiki")
}

// endedElsewhere ends the session from another browser of the same person, and then
// from an administrator's chair.
func (g *gated) endedElsewhere(*testing.T) {
	v := g.alice
	g.opens(v, "wiki")
	other := g.sameAlice()
	other.open("/sessions")
	browsertest.Eval[bool](other.Tab, `([...document.querySelectorAll('form[action="/sessions/end"] button')].find(b => b.innerText.includes("End this session")).click(), true)`)
	other.See("That session has ended")
	g.refuses(v, "wiki", "You ended this session from another one.", "Sign in again; if that was not you")
	v.picture("gate-ended")
	g.comesBack(v, "wiki")
	g.opens(v, "wiki")
	other.signOut()

	g.control("DELETE", "/sessions/"+g.session().ID+"?why=test", nil, nil)
	g.refuses(v, "wiki", "An administrator ended this session.", "Sign in again")
	g.comesBack(v, "wiki")
	g.opens(v, "wiki")
}

// personDisabled takes the account away, and gives it back.
func (g *gated) personDisabled(*testing.T) {
	v := g.alice
	g.opens(v, "wiki")
	g.control("POST", "/users/alice/disable", server.Revocation{Why: "test"}, nil)
	g.refuses(v, "wiki", "Your account was disabled.", "Ask an administrator why")
	v.picture("gate-disabled")
	g.control("POST", "/users/alice/enable", struct{}{}, nil)
	v.Go(g.page("wiki"))
	v.At("/access")
	g.comesBack(v, "wiki")
	g.opens(v, "wiki")
}

// elevation opens ops for minutes, until the person, or the laptop, ends it.
func (g *gated) elevation(*testing.T) {
	v := g.alice
	g.refuses(v, "ops", "One more step to ops", "elevation-needed", "Ask for access")
	v.picture("gate-elevate")
	g.elevates(v)
	g.within(v, "ops")
	g.opens(v, "ops")
	g.opens(v, "wiki")

	v.open("/elevations")
	v.See("renew the certificate of the mail gateway")
	v.picture("gate-elevations")
	v.Click(`form[action="/elevations/end"] button`)
	v.See("Your access has ended")
	g.opens(v, "wiki") // which stays open
	g.refuses(v, "ops", "elevation-needed", "Ask for access")

	g.elevates(v)
	g.within(v, "ops")
	g.release("1")
	g.refuses(v, "ops", "ops is closed", "current-release")
	g.release("2")
	g.refuses(v, "ops", "elevation-needed") // trust that was lost does not bring it back
	g.opens(v, "wiki")
}

// elevates asks for ops on the page that refused it.
func (g *gated) elevates(v *visitor) {
	g.t.Helper()
	v.key.Present(true) // for whoever's hands are not fresh
	v.Type("#why", "renew the certificate of the mail gateway")
	v.Click(`form[action="/access/elevate"] button`)
}

// elevationApproved needs a second person's word.
func (g *gated) elevationApproved(*testing.T) {
	v := g.alice
	four := roomy()
	four.approval = "duty"
	g.usePolicy(four)
	bob := visit(g.browser, g.srv, false)
	bob.accept(g.srv.Invite(people.Invitation{Name: "bob", Groups: []string{"duty"}}))
	g.refuses(v, "ops", "elevation-needed", "Ask for access")
	g.elevates(v)
	v.See("Waiting for an approval", "renew the certificate of the mail gateway")
	v.picture("gate-waits")
	g.refuses(v, "ops", "Waiting for an approval") // to have asked opens nothing
	bob.open("/elevations")
	bob.See("alice", "renew the certificate of the mail gateway")
	bob.picture("gate-approve")
	bob.Click(`form[action="/elevations/approve"] button`)
	bob.See("Approved")
	g.within(v, "ops") // by itself
	g.opens(v, "ops")
	bob.Click(`form[action="/elevations/decline"] button`)
	bob.See("They have no access by it")
	g.refuses(v, "ops", "elevation-needed")
	g.usePolicy(roomy())
	g.opens(v, "wiki")
}

// cookieReplayed copies the application's cookie into a browser elsewhere: it is
// good for the rest of the link's window and no longer, while the browser that it
// was copied from proves the laptop anew, without a word.
func (g *gated) cookieReplayed(t *testing.T) {
	const window = 5 * time.Second
	v := g.alice
	short := roomy()
	short.link = window.String()
	g.usePolicy(short)
	thief := &visitor{Tab: g.browser.Profile().Tab(), home: v.home}

	var dies time.Time
	for try := 1; ; try++ {
		v.Go(g.page("wiki")) // proved anew where it must be
		g.within(v, "wiki")
		thief.SetCookie(g.page("wiki"), "__Host-muster-app", v.Cookie("__Host-muster-app"))
		dies = g.session().Link.At.Add(window)
		thief.Go(g.page("wiki"))
		if time.Now().Before(dies) {
			thief.At("/page")
			thief.See("Hello alice") // this is why the window is short
			break
		}
		if try == 10 {
			t.Fatalf("in %d tries no browser was within %v", try, window)
		}
	}
	for time.Now().Before(dies) {
		time.Sleep(time.Until(dies)) // the lease of a link
	}
	g.refuses(thief, "wiki", "Sign in")
	thief.picture("gate-thief")
	for _, says := range []string{"alice", "linked", "link-old"} {
		if strings.Contains(thief.Text(), says) {
			t.Errorf("the thief's page says %q:\n%s", says, thief.Text())
		}
	}
	// The victim notices nothing but a moment's delay.
	old := v.Cookie("__Host-muster-app")
	v.Go(g.page("wiki"))
	g.within(v, "wiki")
	if now := v.Cookie("__Host-muster-app"); now == old || now == "" {
		t.Error("the application's cookie is what it was: the copy lives on")
	}
	if !g.session().Link.At.Add(window).After(dies) {
		t.Error("the laptop was not proved anew")
	}
	g.leads(thief, "wiki", "/sign-in", "Sign in with a passkey") // the copy is nobody's by now
	g.usePolicy(roomy())
	g.opens(v, "wiki")
}

// leaseEnds stops the agent: the laptop's last report becomes too old.
func (g *gated) leaseEnds(t *testing.T) {
	const age = 6 * time.Second
	v := g.alice
	g.opens(v, "wiki")
	g.laptop.Stop()
	last := g.srv.Device(g.device).LastReport
	short := roomy()
	short.age = age.String()
	g.usePolicy(short)
	time.Sleep(time.Until(last.Add(age))) // the lease
	g.refuses(v, "wiki", "report-stale", "Its last report is too old")
	v.picture("gate-stale")
	g.laptop.Start()
	servertest.Wait(t, "the application opens with the reports", func() bool {
		if v.Has(`form[action="/access/recheck"] button`) { // after ten seconds of trying by itself
			browsertest.Eval[bool](v.Tab, `(document.querySelector('form[action="/access/recheck"] button:enabled')?.click(), true)`)
		}
		return strings.Contains(v.Text(), "The wiki")
	})
	g.usePolicy(roomy())
	g.opens(v, "wiki")
}

// chromium is the model of the authenticators that Chromium plays. It tells it of
// those that are built in, also where nobody asked for a proof.
var chromium = reference.AAGUID{1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8}

// modelRevoked has the model of alice's passkey lose its maker's word.
func (g *gated) modelRevoked(t *testing.T, blob func(int, time.Time, ...reference.MDSEntry) string) {
	v := g.alice
	model := func(number int, bad string, statuses ...reference.MDSStatus) {
		t.Helper()
		entry := reference.MDSEntry{AAGUID: chromium, Description: "Laptop of a test", Statuses: statuses}
		g.control("POST", "/reference/mds", []byte(blob(number, time.Now().AddDate(0, 1, 0), entry)), nil)
		var user struct {
			Passkeys []struct{ Name, Bad string }
		}
		g.control("GET", "/users/alice", nil, &user)
		for _, k := range user.Passkeys {
			if k.Bad != bad {
				t.Fatalf("import %d: %q of %+v, want %q", number, k.Bad, k, bad)
			}
		}
	}
	g.opens(v, "wiki")
	model(1, "", reference.MDSStatus{Status: "FIDO_CERTIFIED_L1"})
	g.opens(v, "wiki")
	model(2, "REVOKED", reference.MDSStatus{Status: "FIDO_CERTIFIED_L1"}, reference.MDSStatus{Status: "REVOKED", From: time.Now().AddDate(0, 0, -1)})
	g.refuses(v, "wiki", "The model of the passkey that opened this session is no longer trusted.", "Sign in again with a passkey of another model")
	v.picture("gate-model")
	v.isRefused()
	v.picture("gate-model-again")
	// Its maker takes that back.
	model(3, "", reference.MDSStatus{Status: "FIDO_CERTIFIED_L1"})
	v.key.Present(false)
	v.Go(g.page("wiki"))
	v.At("/access")
	g.comesBack(v, "wiki")
	g.opens(v, "wiki")
}

// deviceRevoked ends the laptop for ever.
func (g *gated) deviceRevoked(t *testing.T) {
	v := g.alice
	g.opens(v, "wiki")
	g.srv.Revoke(g.device, "left in a train")
	g.refuses(v, "wiki", "wiki is closed", "revoked")
	v.picture("gate-revoked")
	if v.Has(`form[action="/access/recheck"]`) {
		t.Error("the page offers to ask a revoked laptop for a report")
	}
}
