package server_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"muster/attest/tpmtest"
	"muster/server"
	"muster/server/browsertest"
	"muster/server/people"
	"muster/server/servertest"
	"muster/server/verify"
)

// office is a server, alice's laptop with a real TPM and a running agent, and
// alice and mallory, who are colleagues.
type office struct {
	srv     *servertest.Server
	laptop  *servertest.Laptop
	device  string
	browser *browsertest.Browser
	admin   *servertest.Person
	alice   *visitor
	mallory *servertest.Person // at a machine of their own
}

func openOffice(t *testing.T, options ...func(*server.Config)) *office {
	t.Helper()
	chip := tpmtest.Start(t)
	options = append([]func(*server.Config){servertest.Named(), func(c *server.Config) {
		c.EKRoots = []string{servertest.File(t, "ek-roots.pem", string(chip.Roots()))}
		c.Policy = servertest.File(t, "policy.yaml", vaultPolicy)
		c.RecoveryWait = 2 * time.Second
	}}, options...)
	o := &office{srv: servertest.Start(t, options...)}
	o.laptop = o.srv.Laptop("laptop", chip.Setting(), o.srv.Token(server.TokenRequest{Owner: "alice", MinLevel: verify.TPMHardware}))
	o.laptop.Env = []string{fmt.Sprintf("MUSTER_LINK_PORT=%d", o.srv.Config.LinkPort), fmt.Sprintf("MUSTER_LINK_USER=%d", os.Geteuid())}
	o.device = o.laptop.Enrol().Device
	o.laptop.Start()
	o.admin = o.srv.Administrator()
	o.mallory = o.srv.Accepts(o.srv.Invite(people.Invitation{Name: "mallory"}))
	o.browser = browsertest.Start(t)
	o.alice = visit(o.browser, o.srv, false)
	o.alice.accept(o.srv.Invite(people.Invitation{Name: "alice", Approvers: []string{"admin"}}))
	return o
}

// asks begins a link of a person's session, as the page does.
func asks(t *testing.T, p *servertest.Person, way string) (ask struct{ ID, Nonce, Open string }) {
	t.Helper()
	r := p.JSON("/link/begin", map[string]string{"way": way})
	if err := json.Unmarshal([]byte(r.Body), &ask); err != nil || r.Status != http.StatusOK {
		t.Fatalf("asking for a link: %d %s", r.Status, r.Body)
	}
	return ask
}

// linked reports whether a person's session counts as being on a laptop.
func linked(p *servertest.Person) bool {
	return !strings.Contains(p.Get("/link").Body, "Not linked to a laptop")
}

// TestBrowserLink ties browsers to a laptop with a real TPM and a real agent, each
// way, and shows that nobody else's session gets there.
func TestBrowserLink(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	t.Run("by loopback", o.byLoopback)
	t.Run("by code", o.byCode)
	t.Run("by muster address", o.byApp)
	t.Run("evil origin", o.evilOrigin)
	t.Run("DNS rebinding", o.rebinding)
	t.Run("relay by muster address", o.relayByApp)
	t.Run("relay by code across persons", o.relayByCode)
	t.Run("from a public address", o.publicAddress)
	t.Run("other keys end the link, and the owner readmits", o.otherKeys)
	t.Run("invitation bound to a laptop", o.boundInvitation)
}

func (o *office) byLoopback(t *testing.T) {
	o.alice.open("/link")
	o.alice.picture("link")
	before := o.alice.Cookie("__Host-muster")
	o.alice.Click(`[data-way="loopback"]`)
	o.alice.At("/")
	o.alice.See("This browser is linked to it")
	if after := o.alice.Cookie("__Host-muster"); after == before || after == "" {
		t.Error("the proof left the cookie as it was: a copy of it lives on")
	}
	o.alice.picture("home-linked")
	o.alice.open("/laptops")
	o.alice.picture("laptops")
}

// sameAlice is alice in another browser of her laptop.
func (o *office) sameAlice() *visitor {
	v := visit(o.browser, o.srv, false)
	v.key.Adopt(o.alice.key.Credentials())
	v.signIn()
	return v
}

func (o *office) byCode(t *testing.T) {
	other := o.sameAlice()
	other.open("/link")
	other.Click(`[data-way="code"]`)
	other.See("Waiting for your code")
	out := o.laptop.Answer("1\n", "link")
	code := strings.TrimSpace(strings.TrimPrefix(out.Stdout, "Type this into the page:"))
	if out.Code != 0 || code == "" || !strings.Contains(out.Stderr, "alice") {
		t.Fatalf("muster-agent link: %+v", out)
	}
	other.Type("#typed", code)
	other.Click(`[data-code] button.main`)
	other.At("/")
	other.See("This browser is linked to it")
	other.open("/sessions")
	other.picture("sessions")
}

func (o *office) byApp(t *testing.T) {
	other := o.sameAlice()
	ask := browsertest.Eval[string](other.Tab, `fetch("/link/begin", {method: "POST", headers: {"Content-Type": "application/json"}, body: '{"way":"app"}'}).then(r => r.json()).then(a => a.open)`)
	out := o.laptop.Answer("y\n", "link", ask, "--print")
	page := strings.TrimSpace(out.Stdout)
	if out.Code != 0 || !strings.HasPrefix(page, o.srv.Config.PublicURL+"/link/confirm#") {
		t.Fatalf("muster-agent link %s: %+v", ask, out)
	}
	other.Go(page)
	other.picture("link-confirm")
	other.Click(`[data-confirm]`)
	other.At("/")
	other.See("This browser is linked to it")
}

// evilOrigin has alice's own browser, on her laptop, open an attacker's page that
// asks her agent to vouch for the attacker's session.
func (o *office) evilOrigin(t *testing.T) {
	ask := asks(t, o.mallory, "loopback")
	tab := o.evilPage(t, "prize.muster.localhost")
	for _, mode := range []string{"cors", "no-cors"} {
		got := browsertest.Eval[string](tab, o.knock("127.0.0.1", ask.ID, ask.Nonce, mode))
		if strings.Contains(got, "confirm") || got != "refused" && got != "opaque:" {
			t.Errorf("%s: the page got %q", mode, got)
		}
	}
	if linked(o.mallory) {
		t.Error("the attacker's session is linked")
	}
}

// evilPage opens an attacker's page at a name of theirs.
func (o *office) evilPage(t *testing.T, name string) *browsertest.Tab {
	t.Helper()
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "<!doctype html><title>prize</title><p>You won")
	}))
	t.Cleanup(evil.Close)
	_, port, _ := net.SplitHostPort(evil.Listener.Addr().String())
	tab := o.browser.Profile().Tab()
	tab.Go("http://" + name + ":" + port + "/")
	return tab
}

// knock is a page's request to the agent; it tells "refused" when the page got
// nothing, else the kind of answer and what it could read.
func (o *office) knock(host, id, nonce, mode string) string {
	return fmt.Sprintf(`fetch("http://%s:%d/link", {method: "POST", mode: %q, headers: {"Content-Type": "text/plain"}, body: JSON.stringify({link: %q, nonce: %q})})
		.then(async r => r.type + ":" + await r.text(), () => "refused")`, host, o.srv.Config.LinkPort, mode, id, nonce)
}

// rebinding reaches the agent by a name that the attacker controls.
func (o *office) rebinding(t *testing.T) {
	ask := asks(t, o.mallory, "loopback")
	const name = "rebound.muster.localhost"
	tab := o.evilPage(t, name)
	got := browsertest.Eval[string](tab, o.knock(name, ask.ID, ask.Nonce, "cors"))
	if strings.Contains(got, "confirm") || strings.Contains(strings.ToLower(got), o.device) {
		t.Errorf("the page got %q", got)
	}
	if linked(o.mallory) {
		t.Error("the attacker's session is linked")
	}
}

// relayByApp sends alice an address that belongs to mallory's session, and alice,
// who reads nothing, confirms everything.
func (o *office) relayByApp(t *testing.T) {
	ask := asks(t, o.mallory, "app")
	out := o.laptop.Answer("y\n", "link", ask.Open, "--print")
	if out.Code == 0 {
		o.alice.Go(strings.TrimSpace(out.Stdout))
		o.alice.Click(`[data-confirm]`)
		servertest.Wait(t, "a refusal", func() bool { return o.alice.Has(".says.bad") })
	}
	if linked(o.mallory) {
		t.Error("the attacker's session is linked")
	}
	o.alice.open("/")
	o.alice.See("This browser is linked to it")
}

// relayByCode is a call to alice: "read me the code that your laptop shows".
func (o *office) relayByCode(t *testing.T) {
	asks(t, o.mallory, "code")
	out := o.laptop.Answer("1\n", "link")
	if out.Code == 0 || strings.Contains(out.Stdout+out.Stderr, "mallory") {
		t.Errorf("alice's laptop offers a code for mallory's session: %+v", out)
	}
}

// publicAddress is a server on the internet: the browser asks its person before
// the page may talk to this machine.
func (o *office) publicAddress(t *testing.T) {
	_, port, _ := net.SplitHostPort(o.srv.Config.Listen)
	b := browsertest.Start(t, "ip-address-space-overrides=127.0.0.1:"+port+"=public")
	v := visit(b, o.srv, false)
	v.key.Adopt(o.alice.key.Credentials())
	v.signIn()
	v.open("/link")
	v.Click(`[data-way="loopback"]`)
	v.See("Allow this site to reach this device")
	v.picture("link-blocked")
	v.MayReachLoopback()
	v.open("/link")
	v.Click(`[data-way="loopback"]`)
	v.At("/")
	v.See("This browser is linked to it")
}

// otherKeys installs the laptop's system anew: what its old key vouched for is
// over, and its owner, with fresh hands and an approver, takes it back.
func (o *office) otherKeys(t *testing.T) {
	o.alice.open("/")
	o.alice.See("This browser is linked to it")
	o.laptop.Stop()
	o.laptop.UseToken("")
	if err := os.RemoveAll(o.laptop.Dir); err != nil { // and with it S
		t.Fatal(err)
	}
	if out := o.laptop.Do("enroll"); out.Code != 0 {
		t.Fatalf("enrolling again: %+v", out)
	}
	standing := o.laptop.Status()
	if standing.Device != o.device || standing.State != "pending" || standing.Code == "" {
		t.Fatalf("enrolled again, the laptop stands as %+v", standing)
	}
	o.laptop.Start()
	o.alice.open("/link")
	o.alice.See("Not linked to a laptop")
	o.alice.open("/laptops")
	o.alice.picture("laptops-waits")
	o.alice.Type(`form[action="/laptops/readmit"] input.code`, standing.Code)
	o.alice.Click(`form[action="/laptops/readmit"] button`)
	servertest.Wait(t, "the approver sees it", func() bool { return strings.Contains(o.admin.Get("/approvals").Body, `action="/approvals/laptop"`) })
	id := formID(t, o.admin, "/approvals", "/approvals/laptop")
	o.admin.Verify()
	if r := o.admin.Form("/approvals/laptop", url.Values{"id": {id}}); r.Status >= 400 {
		t.Fatalf("admitting again: %d %s", r.Status, r.Body)
	}
	o.laptop.Reaches("the laptop is admitted", func(s servertest.Standing) bool { return s.State == "active" })
	servertest.Wait(t, "its agent knows", func() bool { return strings.Contains(o.laptop.Do("status", "--offline", "--json").Stdout, `"active"`) })
	o.alice.open("/link")
	o.alice.See("Not linked to a laptop") // the old proof stays dead
	o.alice.Click(`[data-way="loopback"]`)
	o.alice.At("/")
	o.alice.See("This browser is linked to it")
}

// boundInvitation invites dave to a laptop that is nobody's: the link works in no
// browser where another agent answers, or none, and on it makes it his.
func (o *office) boundInvitation(t *testing.T) {
	second := o.srv.Laptop("second", "none", o.srv.Token(server.TokenRequest{MinLevel: verify.Software}))
	second.Env = o.laptop.Env
	id := second.Enrol().Device
	link := o.srv.Invite(people.Invitation{Name: "dave", Device: id})
	dave := visit(o.browser, o.srv, false)
	dave.Go(link)
	dave.See("It works only in a browser on")
	dave.picture("invitation-bound")
	dave.Click(registerButton)
	servertest.Wait(t, "alice's laptop is refused", func() bool { return dave.Has(".says.bad") })
	o.laptop.Stop()
	dave.Go(link)
	dave.Click(registerButton)
	dave.See("did not answer")
	if n := len(dave.key.Credentials()); n != 0 {
		t.Errorf("%d passkeys were made on no laptop", n)
	}
	second.Start()
	servertest.Wait(t, "the agent listens", func() bool { return second.Said("listening for pages") })
	dave.accept(link)
	dave.See("This browser is linked to it")
	dave.picture("invitation-bound-accepted")
	if owner := o.srv.Device(id).Owner; owner != "dave" {
		t.Errorf("the laptop is %q's", owner)
	}
}

// TestBrowserRecovery loses every passkey, and gets back in each way.
func TestBrowserRecovery(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	t.Run("another passkey", func(t *testing.T) {
		// A second one on another authenticator signs in, and the lost one is removed.
		second := o.alice.Authenticator(true, false)
		o.alice.open("/passkeys")
		o.alice.Type("#new-name", "second")
		o.alice.Click(addButton)
		o.alice.See("second")
		o.alice.signOut()
		o.alice.key.Lose()
		o.alice.key.Present(true)
		o.alice.signIn()
		o.alice.open("/passkeys")
		o.alice.See("second")
		o.alice.key.Unplug()
		o.alice.key = second
	})
	t.Run("laptop, approver and waiting time", o.byLaptop)
	t.Run("two administrators", o.byAdministrators)
}

func (o *office) byLaptop(t *testing.T) {
	o.alice.key.Lose()
	old := o.alice.Cookie("__Host-muster")
	out := o.laptop.Answer("y\n", "recover")
	var code, page string
	for line := range strings.Lines(out.Stdout) {
		if rest, ok := strings.CutPrefix(line, "Code to compare:"); ok {
			code = strings.TrimSpace(rest)
		}
		if rest, ok := strings.CutPrefix(line, "Page to open:"); ok {
			page = strings.TrimSpace(rest)
		}
	}
	if out.Code != 0 || code == "" || page == "" {
		t.Fatalf("muster-agent recover: %+v", out)
	}
	browser := visit(o.browser, o.srv, false)
	browser.Go(page)
	browser.See("Waits for an approval")
	browser.picture("recover-waits")

	approver := visit(o.browser, o.srv, false)
	approver.accept(o.srv.Invite(people.Invitation{Name: "bob"}))
	approver.open("/approvals")
	approver.See("No recovery waits for you") // only who was named beforehand

	o.approveAsAdmin(t, code)
	browser.Go(page)
	browser.See("Make your new passkey now")
	browser.picture("recover-ready")
	browser.Click(recoverButton)
	browser.At("/")
	browser.picture("recovered")
	thief := o.browser.Profile().Tab()
	thief.SetCookie(o.srv.Config.PublicURL+"/", "__Host-muster", old)
	thief.Go(o.srv.Config.PublicURL + "/")
	thief.At("/sign-in")
	o.alice = browser
}

// approveAsAdmin approves alice's recovery with the code that she read out.
func (o *office) approveAsAdmin(t *testing.T, code string) {
	t.Helper()
	id := formID(t, o.admin, "/approvals", "/approvals/recovery")
	o.admin.Verify()
	if r := o.admin.Form("/approvals/recovery", url.Values{"id": {id}, "code": {code}}); r.Status != http.StatusSeeOther && r.Status != http.StatusOK {
		t.Fatalf("approving: %d %s", r.Status, r.Body)
	}
}

// formID reads what a page's form for an action acts on.
func formID(t *testing.T, p *servertest.Person, page, action string) string {
	t.Helper()
	r := p.Get(page)
	_, rest, _ := strings.Cut(r.Body, `action="`+action+`"`)
	_, rest, ok := strings.Cut(rest, `name="id" value="`)
	id, _, _ := strings.Cut(rest, `"`)
	if !ok {
		t.Fatalf("%s has no form for %s: %d %s", page, action, r.Status, r.Body)
	}
	return id
}

func (o *office) byAdministrators(t *testing.T) {
	o.alice.key.Lose()
	second := o.srv.Accepts(o.srv.Invite(people.Invitation{Name: "carol", Role: "administrator"}))
	o.admin.Verify()
	alice := formID(t, o.admin, "/people/alice", "/people/recover")
	if r := o.admin.Form("/people/recover", url.Values{"id": {alice}}); r.Status >= 400 {
		t.Fatalf("proposing: %d %s", r.Status, r.Body)
	}
	id := formID(t, second, "/approvals", "/approvals/recovery")
	if r := o.admin.Form("/approvals/recovery", url.Values{"id": {id}}); r.Status < 400 {
		t.Fatalf("who proposed it approved it, too: %d", r.Status)
	}
	r := second.Form("/approvals/recovery", url.Values{"id": {id}})
	_, rest, ok := strings.Cut(r.Body, `id="once-value">`)
	link, _, _ := strings.Cut(rest, "<")
	if !ok {
		t.Fatalf("approving: %d %s", r.Status, r.Body)
	}
	browser := visit(o.browser, o.srv, false)
	browser.Go(link)
	browser.See("It replaces all passkeys of this account")
	browser.picture("recover-link")
	browser.Click(registerButton)
	browser.At("/")
}
