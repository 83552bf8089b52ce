package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/attest"
	"muster/server/decide"
	"muster/server/people"
	"muster/server/session"
	"muster/server/store"
)

const wikiAccess = "/access?host=" + wikiHost + "&back=%2Fpage%3Fa%3Db"

// denied is a decision with those reasons.
func denied(o decide.Outcome, reasons ...decide.Reason) decide.Decision {
	return decide.Decision{Outcome: o, Reasons: reasons}
}

func step(claim string) decide.Reason {
	return decide.Reason{Code: "rule-" + claim, Claim: claim, Text: "Why " + claim + ".", Fix: "Do " + claim + ".", Outcome: decide.StepUp, Person: true}
}

func broken(claim string) decide.Reason {
	return decide.Reason{Code: "rule-" + claim, Claim: claim, Text: "Wrong " + claim + ".", Fix: "Mend " + claim + "."}
}

// linked joins alice in a browser that is linked to her laptop by loopback.
func (g *rig) linked(t *testing.T, role store.Role) *browser {
	t.Helper()
	b := g.join("alice", role)
	var ask linkBegun
	if err := json.Unmarshal([]byte(text(b.json("/link/begin", message{Way: "loopback"}))), &ask); err != nil {
		t.Fatal(err)
	}
	laptop := sampleLaptop().Device
	offers, err := g.people.OfferLink(t.Context(), laptop, attest.LinkAsk{Link: ask.ID, Nonce: ask.Nonce, Way: attest.WayLoopback})
	if err != nil || len(offers.Offers) != 1 {
		t.Fatalf("offered %+v, %v", offers, err)
	}
	reply, err := g.people.ProveLink(t.Context(), laptop, &attest.LinkProof{Link: ask.ID, Nonce: ask.Nonce,
		SessionHash: offers.Offers[0].SessionHash, Origin: testOrigin, Time: g.now().Unix()}, people.From{})
	if err != nil {
		t.Fatal(err)
	}
	if done := b.json("/link/confirm", message{ID: ask.ID, Value: reply.Confirm}); done.StatusCode != 200 {
		t.Fatalf("linking: %d %s", done.StatusCode, text(done))
	}
	g.stands.Device = "d1"
	return b
}

// Where it is open the page goes on; who comes back again and again is told, and not
// sent round in circles.
func TestAccessGoesOn(t *testing.T) {
	g := newRig(t)
	b := g.join("alice", store.RolePerson)
	const again = "https://" + wikiHost + "/.muster/start?back=%2Fpage%3Fa%3Db"
	for _, o := range []decide.Outcome{decide.Allow, decide.Restrict} {
		g.stands.Decision = denied(o)
		for i := range maxWent {
			if answer := b.get(wikiAccess); answer.StatusCode != 303 || answer.Header.Get("Location") != again {
				t.Fatalf("%v, time %d: %d to %q", o, i, answer.StatusCode, answer.Header.Get("Location"))
			}
		}
		back := b.get(wikiAccess)
		if back.StatusCode != 200 || !strings.Contains(text(back), "The gateway refused this request") || back.Header.Get("Refresh") != "" {
			t.Errorf("%v, in circles: %d", o, back.StatusCode)
		}
		if other := b.get("/access?host=" + wikiHost + "&back=%2Fother"); other.StatusCode != 303 {
			t.Errorf("another page of the application: %d", other.StatusCode)
		}
		g.advance(wentFor + time.Second)
	}
	// A word between is no circle.
	for range 3 * maxWent {
		g.stands.Decision = denied(decide.Allow)
		if answer := b.get(wikiAccess); answer.StatusCode != 303 {
			t.Fatalf("open: %d", answer.StatusCode)
		}
		g.stands.Decision = denied(decide.Deny, broken("firewall"))
		if answer := b.get(wikiAccess); answer.StatusCode != 200 {
			t.Fatalf("closed: %d", answer.StatusCode)
		}
	}
	// Whatever a browser keeps there, nobody but itself goes round.
	g.stands.Decision = denied(decide.Allow)
	for _, odd := range []string{"", ".", "..", "x.1.2", "a.b.c", accessAsk{host: wikiHost, back: "/page?a=b"}.digest() + ".9999999999999999999.2",
		accessAsk{host: wikiHost, back: "/page?a=b"}.digest() + fmt.Sprintf(".%d.-7", g.now().Unix()), accessAsk{host: wikiHost, back: "/page?a=b"}.digest() + fmt.Sprintf(".%d.99", g.now().Unix())} {
		b.jar[cookieWent] = odd
		if answer := b.get(wikiAccess); answer.StatusCode != 303 {
			t.Errorf("with %q: %d", odd, answer.StatusCode)
		}
	}
}

// What a form or htmx led to goes on by the page: our policy lets neither be led to
// another host.
func TestAccessGoesOnAfterForms(t *testing.T) {
	g := newRig(t)
	b := g.join("alice", store.RolePerson)
	const again = "https://" + wikiHost + "/.muster/start?back=%2Fpage%3Fa%3Db"
	form := b.get(wikiAccess + "&done=checked")
	if form.StatusCode != 200 || form.Header.Get("Refresh") != "0; url="+again || !strings.Contains(text(form), `href="`+again+`"`) {
		t.Errorf("after a form: %d %q", form.StatusCode, form.Header.Get("Refresh"))
	}
	checkHTML(t, "after a form", []byte(text(form)), true)
	poll := b.get(wikiAccess, func(r *http.Request) { r.Header.Set("HX-Request", "true") })
	if poll.StatusCode != 200 || poll.Header.Get("HX-Redirect") != again || text(poll) != "" {
		t.Errorf("to htmx: %d %v", poll.StatusCode, poll.Header)
	}
}

// Nobody is sent to a host that Standing does not know, whoever writes the address,
// and whatever Standing itself says.
func TestAccessIsNoOpenRedirect(t *testing.T) {
	g := newRig(t)
	b := g.join("alice", store.RolePerson)
	for _, host := range []string{"", "evil.example", "wiki.muster.example.evil.example", wikiHost + ":8443", wikiHost + "/", wikiHost + "@evil.example", "evil.example#" + wikiHost, "wiki.muster.example\r\nX: y",
		strings.Repeat("a", 300), "ẘiki.muster.example", wikiHost + "\x00"} {
		g.asked = nil
		answer := b.get("/access?" + url.Values{"host": {host}, "back": {"/"}}.Encode())
		if answer.StatusCode != 404 || code(answer) != "app-unknown" || strings.Contains(text(answer), "evil") {
			t.Errorf("host %q: %d %s", host, answer.StatusCode, code(answer))
		}
		if !session.IsHost(host) && len(g.asked) > 0 {
			t.Errorf("host %q is looked up", host)
		}
	}
	for _, back := range []string{"", "page", "//evil.example", `/\evil.example`, "https://evil.example/", "/\t/evil.example", "/a\nb", "/" + strings.Repeat("a", 2<<10), "javascript:alert(1)"} {
		g.asked = nil
		b.get("/access?" + url.Values{"host": {wikiHost}, "back": {back}}.Encode())
		if !slices.Equal(g.asked, []string{wikiHost + " /"}) {
			t.Errorf("back %q: asked %q", back, g.asked)
		}
	}
	s := sampleSite()
	for _, again := range []string{"", "x", "//evil.example", `/\evil.example`, "http://" + wikiHost + "/", "https://evil.example/", "https://" + wikiHost + ".evil.example/", "https://u@" + wikiHost + "/",
		"https://" + wikiHost + "//evil.example", "javascript:alert(1)", "https:evil", "https://" + wikiHost + "\\@evil.example/", "data:text/html,x", "https:///x"} {
		if got := s.onward(&Standing{Host: wikiHost, Again: again}); got != "/" {
			t.Errorf("again %q leads to %q", again, got)
		}
	}
	for _, good := range []string{"/visit?app=wiki", "https://" + wikiHost + "/.muster/start?back=%2F"} {
		if got := s.onward(&Standing{Host: wikiHost, Again: good}); got != good {
			t.Errorf("again %q leads to %q", good, got)
		}
	}
}

// The page's own path is one that sign-in and link go on to, however long the
// application's is.
func TestAccessPathIsOwn(t *testing.T) {
	for _, back := range []string{"/", "/a?b=c&d=%20", "/" + strings.Repeat("ü", 700), "/" + strings.Repeat("&", 1000), "/#x"} {
		a := accessAsk{host: wikiHost, back: accessBack(back)}
		for _, p := range []string{a.path(), a.path("proved", "1772625600"), a.path("try", "5")} {
			if ownPath(p) != p {
				t.Errorf("the path for %.20q is not gone on to: %.60s (%d)", back, p, len(p))
			}
		}
	}
}

// Strangers are told to sign in, and nothing else.
func TestAccessTellsStrangersNothing(t *testing.T) {
	loose := Standing{App: decide.App{ID: "prod-admin"}, Host: wikiHost, Device: "d1", Decision: denied(decide.Deny, broken("disk_encryption"), step(aboutElevation)), Again: "https://" + wikiHost + "/"}
	var now Standing
	g := newRig(t, func(c *Config) {
		c.Standing = func(context.Context, string, string, string, people.From) (*Standing, bool) {
			st := now
			return &st, true
		}
	})
	ended := g.join("alice", store.RolePerson)
	secret := ended.jar[cookieSession]
	ended.form("/sign-out", nil)
	ended.jar[cookieSession] = secret
	for name, b := range map[string]*browser{"nobody": g.browser(), "an ended session": ended} {
		open := loose
		open.Decision = denied(decide.Allow)
		for what, st := range map[string]Standing{"a careless standing": loose, "an open one": open} {
			now = st
			page := b.get(wikiAccess)
			if page.StatusCode != 200 || !strings.Contains(text(page), `href="/sign-in?next=%2faccess%3fback%3d`) {
				t.Errorf("%s, %s: %d", name, what, page.StatusCode)
			}
			for _, secret := range []string{"prod-admin", "alice-laptop", "disk_encryption", "rule-", "/access/elevate", "/access/recheck", "nvme"} {
				if strings.Contains(text(page), secret) {
					t.Errorf("%s, %s: the page tells %q", name, what, secret)
				}
			}
			checkHTML(t, name, []byte(text(page)), true)
		}
		now = loose
		for _, cause := range []string{"passkey-model", "person-disabled", "ended-by-administrator", "idle"} {
			now.Decision = decide.NoSession(cause)
			if page := text(b.get(wikiAccess)); !strings.Contains(page, now.Decision.Reasons[0].Text) {
				t.Errorf("%s: the page does not say why: %s", name, cause)
			}
		}
	}
	// The way leads through the sign-in, back here, and on.
	b := g.join("bob", store.RolePerson)
	b.form("/sign-out", nil)
	_, next, _ := strings.Cut(text(b.get(wikiAccess)), `href="/sign-in?next=`)
	next, _, _ = strings.Cut(next, `"`)
	next, _ = url.QueryUnescape(next)
	if in := b.ceremony("/sign-in", b.key.Assert, message{Next: next}); !strings.Contains(text(in), `/access?back=%2Fpage%3Fa%3Db`) {
		t.Errorf("after a sign-in: %s", text(in))
	}
}

// One thing to do is offered, the one that helps next.
func TestAccessChoosesWhatHelps(t *testing.T) {
	g := newRig(t, func(c *Config) { c.Recheck = func(context.Context, string) bool { return true } })
	b := g.join("bob", store.RolePerson) // not linked
	g.stands.Terms = decide.ElevationTerms{Lasts: 10 * time.Minute}
	later := broken("patches")
	later.Grace = noon().Add(time.Hour)
	passed := broken("screen_lock")
	passed.Bypass = noon().Add(time.Hour)
	trial := broken("mdm")
	trial.ReportOnly = true
	unknown := broken("firewall")
	unknown.Unknown = true
	for name, c := range map[string]struct {
		d    decide.Decision
		want string
	}{
		"session":                  {denied(decide.StepUp, step(aboutSession), step(aboutLink)), "Sign in again"},
		"link":                     {denied(decide.Deny, step(aboutLink), unknown, step(aboutVerification)), "Link this laptop"},
		"a laptop that is unknown": {denied(decide.Deny, unknown), "Link this laptop"},
		"passkey":                  {denied(decide.StepUp, step(aboutVerification), step(aboutPasskey)), "Sign in with another passkey"},
		"verification":             {denied(decide.StepUp, step(aboutElevation), step(aboutVerification)), "Confirm that it is you"},
		"elevation":                {denied(decide.StepUp, step(aboutElevation)), "Ask for access"},
		"what does not count":      {denied(decide.StepUp, step(aboutVerification), later, passed, trial), "Confirm that it is you"},
		"user":                     {denied(decide.Deny, decide.Reason{Code: "engineers", Claim: "user", Text: "No.", Person: true}, step(aboutVerification)), "Ask an administrator"},
		"nothing with a name":      {denied(decide.Deny, decide.Reason{Code: "internal", Text: "The server could not decide."}), "Ask an administrator"},
		"no reason at all":         {denied(decide.Deny), "Ask an administrator"},
		"an odd outcome":           {denied(decide.Outcome(9), step(aboutVerification)), "Confirm that it is you"},
	} {
		g.stands.Decision = c.d
		page := b.get(wikiAccess)
		if page.StatusCode != 200 || !strings.Contains(text(page), c.want) || strings.Count(text(page), `id="next"`) != 1 {
			t.Errorf("%s: %d, wanted %q", name, page.StatusCode, c.want)
		}
		checkHTML(t, name, []byte(text(page)), true)
	}
	g.stands.Decision = denied(decide.StepUp, later, passed, trial, step(aboutVerification))
	page := text(b.get(wikiAccess))
	counts, grace, bypass := strings.Index(page, "Why verification."), strings.Index(page, "Wrong patches."), strings.Index(page, "Wrong screen_lock.")
	if counts < 0 || grace < counts || bypass < grace || !strings.Contains(page, "on this counts") || !strings.Contains(page, "lets this pass until") {
		t.Errorf("reasons stand at %d, %d, %d", counts, grace, bypass)
	}
	if strings.Contains(page, "Wrong mdm.") {
		t.Error("a rule on trial is told to a person")
	}
	// What rules say of a laptop that is not there is no news.
	g.stands.Decision = denied(decide.Deny, step(aboutLink), unknown)
	if page := text(b.get(wikiAccess)); strings.Contains(page, "Wrong firewall.") || !strings.Contains(page, "Why link.") {
		t.Error("an unlinked laptop is blamed")
	}
}

// A link that loopback proved is proved again without a word, once; an older way of
// linking, and a laptop that needs mending, ask the person.
func TestAccessProvesTheLinkSilently(t *testing.T) {
	g := newRig(t)
	b := g.linked(t, store.RolePerson)
	g.stands.Decision = denied(decide.StepUp, step(aboutLink))
	answer := b.get(wikiAccess)
	to, err := url.Parse(answer.Header.Get("Location"))
	if err != nil || answer.StatusCode != 303 || to.Path != "/link" || ownPath(to.Query().Get("next")) != to.Query().Get("next") {
		t.Fatalf("%d to %q", answer.StatusCode, answer.Header.Get("Location"))
	}
	next := to.Query().Get("next")
	if link := text(b.get(to.String())); !strings.Contains(link, "data-again") {
		t.Error("the link page waits for a click")
	}
	if page := b.get(next); page.StatusCode != 200 || !strings.Contains(text(page), "Prove the link to alice-laptop again") {
		t.Errorf("twice in a row: %d", page.StatusCode)
	}
	g.advance(provedFor + time.Second)
	if later := b.get(next); later.StatusCode != 303 {
		t.Errorf("later, with an old marker: %d", later.StatusCode)
	}
	for _, odd := range []string{"x", "-1", "99999999999999999999", "9223372036854775807", "-9223372036854775808"} {
		if answer := b.get(wikiAccess + "&proved=" + odd); answer.StatusCode != 303 {
			t.Errorf("marker %s: %d", odd, answer.StatusCode)
		}
	}
	g.stands.Decision = denied(decide.Deny, step(aboutLink), broken("disk_encryption"))
	if page := b.get(wikiAccess); page.StatusCode != 200 || !strings.Contains(text(page), "It is about alice-laptop") || !strings.Contains(text(page), "nvme0n1p3") {
		t.Errorf("a laptop to mend: %d", page.StatusCode)
	}
	none := newRig(t, func(c *Config) { c.LinkPort = 0 })
	quiet := none.linked(t, store.RolePerson)
	none.stands.Decision = denied(decide.StepUp, step(aboutLink))
	if page := quiet.get(wikiAccess); page.StatusCode != 200 {
		t.Errorf("without loopback: %d", page.StatusCode)
	}
}

// A laptop that is about to report is waited for: ten seconds by the page itself.
func TestAccessWaits(t *testing.T) {
	g := newRig(t, func(c *Config) { c.Recheck = func(context.Context, string) bool { return true } })
	b := g.linked(t, store.RolePerson)
	stale := decide.Reason{Code: "report-stale", Claim: "report", Text: "The last report of this laptop is too old.", Unknown: true}
	wants := func(name string) {
		t.Helper()
		path, seen := wikiAccess, 0
		for range 2 * maxRetries {
			page := b.get(path)
			wait, to, ok := strings.Cut(page.Header.Get("Refresh"), "; url=")
			if says := map[bool]string{true: "is about to report", false: "has not reported"}[ok]; page.StatusCode != 200 || !strings.Contains(text(page), says) {
				t.Fatalf("%s: %d", name, page.StatusCode)
			}
			// A button would be cut off by the page's own looking.
			if strings.Contains(text(page), "/access/recheck") == ok {
				t.Errorf("%s: after %d looks the button is there: %v", name, seen, ok)
			}
			if !ok {
				break
			}
			if wait != "2" || ownPath(to) != to {
				t.Fatalf("%s: refresh %q", name, page.Header.Get("Refresh"))
			}
			seen++
			path = to
		}
		if seen != maxRetries {
			t.Errorf("%s: looked %d times", name, seen)
		}
	}
	g.stands.Decision = denied(decide.Deny, stale, step(aboutLink))
	wants("a stale report")
	g.laptop.Current = false // which suspends the link
	g.stands.Decision = denied(decide.Deny, step(aboutLink))
	wants("a suspended link")
	for _, try := range []string{"-1", "6", "99999999999999999999", "9999"} {
		if page := b.get(wikiAccess + "&try=" + try); page.Header.Get("Refresh") != "" {
			t.Errorf("try %s: %q", try, page.Header.Get("Refresh"))
		}
	}
	g.stands.Decision = denied(decide.Allow)
	if open := b.get(wikiAccess + "&try=3"); open.StatusCode != 303 {
		t.Errorf("when it has reported: %d", open.StatusCode)
	}
}

// "Check again" asks the laptop that this session is linked to, for five seconds at
// most, and no other.
func TestAccessRecheck(t *testing.T) {
	var asked []string
	came := true
	g := newRig(t, func(c *Config) {
		c.Recheck = func(ctx context.Context, id string) bool {
			end, bounded := ctx.Deadline()
			if !bounded || time.Until(end) > recheckWait {
				t.Errorf("asked until %v", end)
			}
			asked = append(asked, id)
			return came
		}
	})
	form := url.Values{"host": {wikiHost}, "back": {"/page"}}
	stranger := g.join("bob", store.RolePerson)
	g.stands.Device = "d1"
	if answer := stranger.form("/access/recheck", form); answer.StatusCode != 404 || len(asked) != 0 {
		t.Errorf("without a link: %d, asked %q", answer.StatusCode, asked)
	}
	b := g.linked(t, store.RolePerson)
	g.stands.Decision = denied(decide.Deny, broken("disk_encryption"))
	if page := text(b.get(wikiAccess)); !strings.Contains(page, `action="/access/recheck"`) {
		t.Error("there is no button")
	}
	for _, came = range []bool{true, false} {
		want := map[bool]string{true: "checked", false: "not-checked"}[came]
		answer := b.form("/access/recheck", form)
		if to := answer.Header.Get("Location"); answer.StatusCode != 303 || to != "/access?back=%2Fpage&done="+want+"&host="+wikiHost {
			t.Errorf("%v: %d to %q", came, answer.StatusCode, to)
		}
	}
	if !slices.Equal(asked, []string{"d1", "d1"}) {
		t.Errorf("asked %q", asked)
	}
	for _, other := range []string{"", "d2"} {
		g.stands.Device = other
		if answer := b.form("/access/recheck", form); answer.StatusCode != 404 || len(asked) != 2 {
			t.Errorf("device %q: %d, asked %q", other, answer.StatusCode, asked)
		}
	}
	if answer := b.form("/access/recheck", url.Values{"host": {"evil.example"}}); answer.StatusCode != 404 {
		t.Errorf("another host: %d", answer.StatusCode)
	}
	g.stands.Device = "d1"
	g.stands.Decision = denied(decide.Deny, decide.Reason{Code: "revoked", Claim: "device", Text: "Revoked."})
	if page := text(b.get(wikiAccess)); strings.Contains(page, "/access/recheck") {
		t.Error("a revoked laptop is asked again")
	}
}

// Privileged access: asked for on the page, approved by somebody else, gone on to by
// itself, ended by hand.
func TestAccessElevates(t *testing.T) {
	g := newRig(t)
	alice, bob, eve := g.join("alice", store.RolePerson), g.join("bob", store.RoleAdministrator), g.join("eve", store.RolePerson)
	form := url.Values{"host": {wikiHost}, "back": {"/"}, "why": {"renew the certificate of the mail gateway"}}
	if none := alice.form("/access/elevate", form); none.StatusCode != 404 {
		t.Errorf("an application without terms: %d", none.StatusCode)
	}
	g.stands.Terms = decide.ElevationTerms{Lasts: 10 * time.Minute, Approval: "on-call"}
	g.terms = people.ElevationTerms{Lasts: 10 * time.Minute, Approval: "on-call"}
	g.stands.Decision = denied(decide.StepUp, step(aboutElevation))
	if short := alice.form("/access/elevate", url.Values{"host": {wikiHost}, "why": {" "}}); short.StatusCode != 400 {
		t.Errorf("without a reason: %d", short.StatusCode)
	}
	asked := alice.form("/access/elevate", form)
	if asked.StatusCode != 303 || !strings.Contains(asked.Header.Get("Location"), "done=elevation-asked") {
		t.Fatalf("asking: %d %s", asked.StatusCode, code(asked))
	}
	page := text(alice.get(asked.Header.Get("Location")))
	for _, want := range []string{"Waiting for an approval", "in the group “on-call”", `hx-trigger="every 5s"`, "renew the certificate"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page that waits lacks %q", want)
		}
	}
	if home := text(bob.get("/")); !strings.Contains(home, "Somebody asks for privileged access") {
		t.Error("bob is not told")
	}
	own, _, err := g.people.Elevations(t.Context(), mustWho(t, g, alice))
	if err != nil || len(own) != 1 {
		t.Fatalf("%d elevations, %v", len(own), err)
	}
	id := url.Values{"id": {own[0].ID}}
	for _, path := range []string{"/elevations/approve", "/elevations/decline", "/elevations/end"} {
		if answer := eve.form(path, id); answer.StatusCode < 400 {
			t.Errorf("eve at %s: %d", path, answer.StatusCode)
		}
	}
	if answer := alice.form("/elevations/approve", id); answer.StatusCode < 400 {
		t.Errorf("alice approves her own: %d", answer.StatusCode)
	}
	if answer := bob.form("/elevations/end", id); answer.StatusCode != 404 {
		t.Errorf("ending what is another's as one's own: %d", answer.StatusCode)
	}
	if done := bob.form("/elevations/approve", id); done.StatusCode != 303 {
		t.Fatalf("approving: %d %s", done.StatusCode, code(done))
	}
	g.stands.Decision = denied(decide.Allow)
	if poll := alice.get(wikiAccess, func(r *http.Request) { r.Header.Set("HX-Request", "true") }); poll.Header.Get("HX-Redirect") == "" {
		t.Errorf("the page that waits stays: %d", poll.StatusCode)
	}
	if home := text(alice.get("/")); !strings.Contains(home, "You have privileged access to wiki") {
		t.Error("alice is not reminded")
	}
	if others := text(bob.get("/elevations")); !strings.Contains(others, "Open to others now") {
		t.Error("bob does not see what he approved")
	}
	g.stale() // taking power away from oneself needs no fresh hands
	if done := alice.form("/elevations/end", id); done.StatusCode != 303 {
		t.Errorf("ending: %d %s", done.StatusCode, code(done))
	}
	if own, _, _ := g.people.Elevations(t.Context(), mustWho(t, g, alice)); len(own) != 0 {
		t.Error("it lives on")
	}
}

// Another passkey is signed in with in place, and the earlier session ends.
func TestSignInWithAnother(t *testing.T) {
	g := newRig(t)
	b := g.join("alice", store.RolePerson)
	before := b.jar[cookieSession]
	page := b.get("/sign-in?next=%2Faccess%3Fhost%3Dx&another=1")
	if page.StatusCode != 200 || !strings.Contains(text(page), `data-ceremony="/sign-in"`) || strings.Contains(text(page), "data-conditional") {
		t.Errorf("another: %d", page.StatusCode)
	}
	if in := b.ceremony("/sign-in", b.key.Assert, message{Next: "/passkeys"}); in.StatusCode != 200 || b.jar[cookieSession] == before {
		t.Errorf("signing in: %s", text(in))
	}
	if stranger := g.browser().get("/sign-in?another=1"); stranger.StatusCode != 200 || !strings.Contains(text(stranger), "data-conditional") {
		t.Errorf("a stranger: %d", stranger.StatusCode)
	}
}

// A session whose laptop is another's shows nothing that was seen on it.
func TestAccessShowsOwnLaptopsOnly(t *testing.T) {
	g := newRig(t)
	b := g.join("bob", store.RolePerson)
	g.stands.Device = "d1"
	g.stands.Decision = denied(decide.Deny, broken("disk_encryption"))
	if page := text(b.get(wikiAccess)); strings.Contains(page, "nvme0n1p3") || strings.Contains(page, "alice-laptop") {
		t.Error("another's laptop is told of")
	}
	if st := g.people.LinkStateOf(mustWho(t, g, b).Session); st != session.LinkAbsent {
		t.Fatalf("bob's link is %q", st)
	}
}
