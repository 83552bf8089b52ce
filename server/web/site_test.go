package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"muster/server/store"
)

// The way of a person: invited, registered, signed out, signed in again, a second
// passkey, a name for it, removed, signed out everywhere.
func TestPersonFromInvitationToSignOut(t *testing.T) {
	g := newRig(t)
	b := g.join("alice", store.RolePerson)
	if home := b.get("/"); home.StatusCode != 200 || !strings.Contains(text(home), "You have only one passkey") {
		t.Fatalf("home: %d", home.StatusCode)
	}
	if out := b.form("/sign-out", nil); out.StatusCode != 303 || out.Header.Get("Location") != "/sign-in?done=signed-out" || b.jar[cookieSession] != "" {
		t.Fatalf("signing out: %d to %q", out.StatusCode, out.Header.Get("Location"))
	}
	if away := b.get("/laptops?x=1"); away.StatusCode != 303 || away.Header.Get("Location") != "/sign-in?next=%2Flaptops%3Fx%3D1" {
		t.Fatalf("signed out, laptops lead to %q", away.Header.Get("Location"))
	}
	in := b.ceremony("/sign-in", b.key.Assert, message{Next: "/passkeys"})
	if in.StatusCode != 200 || strings.TrimSpace(text(in)) != `{"next":"/passkeys"}` {
		t.Fatalf("signing in: %d %s", in.StatusCode, text(in))
	}
	second := g.browser().key
	if done := b.ceremony("/passkeys", second.Register, message{Name: "Phone"}); done.StatusCode != 200 {
		t.Fatalf("adding: %s", text(done))
	}
	page := text(b.get("/passkeys?done=passkey-added"))
	if !strings.Contains(page, "Phone") || !strings.Contains(page, "The passkey was added") || !strings.Contains(page, `data-rp="muster.example"`) {
		t.Fatal("the page of passkeys does not show the new one")
	}
	all, err := g.people.Passkeys(t.Context(), mustWho(t, g, b))
	if err != nil || len(all) != 2 {
		t.Fatalf("%d passkeys, %v", len(all), err)
	}
	id := url.Values{"id": {encodeID(all[1].ID)}, "name": {"My phone"}}
	if done := b.form("/passkeys/rename", id); done.StatusCode != 303 || !strings.Contains(text(b.get("/passkeys")), "My phone") {
		t.Fatalf("renaming: %d", done.StatusCode)
	}
	if done := b.form("/passkeys/remove", id); done.StatusCode != 303 || strings.Contains(text(b.get("/passkeys")), "My phone") {
		t.Fatalf("removing: %d", done.StatusCode)
	}
	last := b.form("/passkeys/remove", url.Values{"id": {encodeID(all[0].ID)}})
	if last.StatusCode != 409 || code(last) != "last-passkey" {
		t.Fatalf("the last passkey: %d %s", last.StatusCode, code(last))
	}
	if done := b.form("/sessions/end-all", nil); done.StatusCode != 303 || b.get("/").StatusCode != 303 {
		t.Fatal("signing out everywhere leaves somebody in")
	}
}

// What adds power is refused with cold hands, goes on after a confirmation, and a
// question before a form asks nothing of hands that are fresh.
func TestColdHands(t *testing.T) {
	g := newRig(t)
	b := g.join("alice", store.RoleAdministrator)
	invite := url.Values{"name": {"bob"}, "role": {"person"}, "days": {"7"}}
	g.stale()
	cold := b.form("/people/invite", invite, func(r *http.Request) { r.Header.Set("Referer", testOrigin+"/people") })
	if cold.StatusCode != 403 || code(cold) != codeVerify || !strings.Contains(text(cold), `href="/verify?next=%2fpeople"`) {
		t.Fatalf("with cold hands: %d %s\n%s", cold.StatusCode, code(cold), text(cold))
	}
	if begin := b.json("/passkeys/begin", message{}); begin.StatusCode != 403 || code(begin) != codeVerify {
		t.Fatalf("adding a passkey with cold hands: %d %s", begin.StatusCode, code(begin))
	}
	if done := b.ceremony("/verify", b.key.Assert, message{Next: "/people"}); done.StatusCode != 200 || strings.TrimSpace(text(done)) != `{"next":"/people"}` {
		t.Fatalf("confirming: %d %s", done.StatusCode, text(done))
	}
	if asked := b.json("/verify/begin", message{Way: "if-needed"}); strings.TrimSpace(text(asked)) != `{"fresh":true}` {
		t.Fatalf("fresh hands are asked again: %s", text(asked))
	}
	warm := b.form("/people/invite", invite)
	if warm.StatusCode != 200 || !strings.Contains(text(warm), testOrigin+"/invitation#") {
		t.Fatalf("with fresh hands: %d", warm.StatusCode)
	}
	checkHTML(t, "invited", []byte(text(warm)), true)
	if again := text(b.get("/people")); strings.Contains(again, "/invitation#") {
		t.Fatal("the link of an invitation is shown twice")
	}
	// Freshness that ends between question and form does not count as fresh.
	g.advance(4*time.Minute + 50*time.Second)
	if asked := b.json("/verify/begin", message{Way: "if-needed"}); !strings.Contains(text(asked), "options") {
		t.Fatalf("hands that are nearly cold pass: %s", text(asked))
	}
}

// Cookies have exactly these attributes: nothing else would keep them to this
// host, this browser and our own pages.
func TestCookies(t *testing.T) {
	g := newRig(t)
	b := g.join("alice", store.RolePerson)
	raw := func(name string) string { return b.set[name].Raw }
	if got, want := raw(cookieSession), cookieSession+"="+b.jar[cookieSession]+"; Path=/; HttpOnly; Secure; SameSite=Lax"; got != want {
		t.Errorf("session cookie\n %s, want\n %s", got, want)
	}
	if got, want := raw(cookieCeremony), cookieCeremony+"=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Strict"; got != want {
		t.Errorf("a ceremony that is over\n %s, want\n %s", got, want)
	}
	b.json("/sign-in/begin", message{})
	if got, want := raw(cookieCeremony), cookieCeremony+"="+b.jar[cookieCeremony]+"; Path=/; Max-Age=300; HttpOnly; Secure; SameSite=Strict"; got != want {
		t.Errorf("ceremony cookie\n %s, want\n %s", got, want)
	}
	if !strings.HasPrefix(b.jar[cookieSession], "mss_") {
		t.Errorf("session cookie is %q", b.jar[cookieSession])
	}
	// Two of a name are none: a browser sends two when somebody else put one there.
	twice := b.get("/", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: cookieSession, Value: "mss_other"}) })
	if twice.StatusCode != 303 {
		t.Errorf("two session cookies: %d", twice.StatusCode)
	}
	b.form("/sign-out", nil)
	if got, want := raw(cookieSession), cookieSession+"=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"; got != want {
		t.Errorf("after sign-out\n %s, want\n %s", got, want)
	}
}

// A ceremony is of the browser that began it, and answered once.
func TestCeremonyIsBoundAndSpent(t *testing.T) {
	g := newRig(t)
	b := g.join("alice", store.RolePerson)
	b.form("/sign-out", nil)
	var sealed string
	var response []byte
	in := b.ceremony("/sign-in", func(options []byte) []byte {
		sealed, response = b.jar[cookieCeremony], b.key.Assert(options)
		return response
	}, message{})
	if in.StatusCode != 200 {
		t.Fatalf("signing in: %s", text(in))
	}
	for name, jar := range map[string]map[string]string{"replayed": {cookieCeremony: sealed}, "without its cookie": {}, "of another": {cookieCeremony: sealed + "A"}} {
		other := g.browser()
		other.jar = jar
		if answer := other.json("/sign-in/finish", message{Response: response}); answer.StatusCode < 400 || other.jar[cookieSession] != "" {
			t.Errorf("a response %s: %d", name, answer.StatusCode)
		}
	}
}

// A sign-in in a browser that was signed in leaves no session behind that nobody
// holds.
func TestSignInEndsTheEarlierSession(t *testing.T) {
	g := newRig(t)
	b := g.join("alice", store.RolePerson)
	before := b.jar[cookieSession]
	if in := b.ceremony("/sign-in", b.key.Assert, message{}); in.StatusCode != 200 || b.jar[cookieSession] == before {
		t.Fatalf("signing in again: %s", text(in))
	}
	old := g.browser()
	old.jar[cookieSession] = before
	if answer := old.get("/"); answer.StatusCode != 303 {
		t.Errorf("the earlier session lives: %d", answer.StatusCode)
	}
}

// A passkey that is not there is told to the browser, which stops offering it;
// one that is there and refused is not.
func TestUnknownPasskeyIsTold(t *testing.T) {
	g := newRig(t)
	b := g.join("alice", store.RolePerson)
	second := g.browser().key
	b.ceremony("/passkeys", second.Register, message{Name: "second"})
	all, _ := g.people.Passkeys(t.Context(), mustWho(t, g, b))
	b.form("/passkeys/remove", url.Values{"id": {encodeID(all[1].ID)}})
	gone := g.browser().ceremony("/sign-in", second.Assert, message{})
	if gone.StatusCode != 403 || code(gone) != "passkey-unknown" {
		t.Errorf("a removed passkey: %d %s", gone.StatusCode, code(gone))
	}
	if err := g.people.Disable(t.Context(), local, mustWho(t, g, b).Person.ID, "left"); err != nil {
		t.Fatal(err)
	}
	barred := g.browser().ceremony("/sign-in", b.key.Assert, message{})
	if barred.StatusCode != 403 || code(barred) != "passkey-refused" {
		t.Errorf("a disabled person's passkey: %d %s", barred.StatusCode, code(barred))
	}
}
