package web

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/people"
	"muster/server/session"
	"muster/server/store"
)

var secretShown = regexp.MustCompile(`<code id="once-value">([^<]+)</code>`)

// once returns what a page shows once.
func once(t *testing.T, page *http.Response) string {
	t.Helper()
	m := secretShown.FindStringSubmatch(text(page))
	if page.StatusCode != 200 || m == nil {
		t.Fatalf("nothing is shown: %d %s", page.StatusCode, code(page))
	}
	return strings.ReplaceAll(m[1], "&#43;", "+")
}

// Two administrators recover somebody through the pages; one alone cannot, and the
// link is shown once.
func TestRecoveryByTwoAdministrators(t *testing.T) {
	g := newRig(t)
	alice, carol, bob := g.join("alice", store.RoleAdministrator), g.join("carol", store.RoleAdministrator), g.join("bob", store.RolePerson)
	person, err := g.people.PersonBy(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	if done := alice.form("/people/recover", url.Values{"id": {person.ID}}); done.StatusCode != 303 || done.Header.Get("Location") != "/approvals?done=recovery-proposed" {
		t.Fatalf("proposing: %d %s", done.StatusCode, code(done))
	}
	_, waiting, err := g.people.Recoveries(t.Context(), mustWho(t, g, carol))
	if err != nil || len(waiting) != 1 {
		t.Fatalf("%d recoveries wait, %v", len(waiting), err)
	}
	id := url.Values{"id": {waiting[0].ID}}
	if own := alice.form("/approvals/recovery", id); own.StatusCode != 403 || secretShown.MatchString(text(own)) {
		t.Fatalf("alone: %d %s", own.StatusCode, code(own))
	}
	if home := text(bob.get("/")); !strings.Contains(home, "Somebody is recovering your account") {
		t.Error("bob is not told")
	}
	if home := text(carol.get("/")); !strings.Contains(home, "A recovery waits for your approval") {
		t.Error("carol is not told")
	}
	link := once(t, carol.form("/approvals/recovery", id))
	if strings.Contains(text(carol.get("/approvals")), "once-value") {
		t.Error("the link is shown twice")
	}
	path, secret, _ := strings.Cut(strings.TrimPrefix(link, testOrigin), "#")
	fresh := g.browser()
	opened := fresh.form(path+"/open", url.Values{"secret": {secret}})
	if opened.StatusCode != 200 || !strings.Contains(text(opened), "It replaces <strong>all</strong> passkeys") || strings.Contains(text(opened), "<html") {
		t.Fatalf("opening: %d\n%s", opened.StatusCode, text(opened))
	}
	if done := fresh.ceremony(path, fresh.key.Register, message{Secret: secret}); done.StatusCode != 200 || fresh.get("/").StatusCode != 200 {
		t.Fatalf("accepting: %s", text(done))
	}
	if old := bob.get("/"); old.StatusCode != 303 {
		t.Errorf("bob's old session lives: %d", old.StatusCode)
	}
}

// What is shown once is in no list, and a token's scopes are of the fixed ones.
func TestProgramsAndInvitations(t *testing.T) {
	g := newRig(t)
	alice := g.join("alice", store.RoleAdministrator)
	scope := people.Scopes()[0]
	secret := once(t, alice.form("/programs/create", url.Values{"label": {"inventory"}, "scope": {scope}, "days": {"30"}}))
	if _, err := g.people.Program(t.Context(), secret, scope); err != nil {
		t.Fatalf("the token that is shown does not work: %v", err)
	}
	list := text(alice.get("/programs"))
	if !strings.Contains(list, "inventory") || strings.Contains(list, secret) {
		t.Error("the list lacks the token, or has its secret")
	}
	for name, values := range map[string]url.Values{
		"no scope": {"label": {"x"}, "days": {"30"}}, "another scope": {"label": {"x"}, "scope": {"everything"}, "days": {"30"}},
		"no days": {"label": {"x"}, "scope": {scope}, "days": {"soon"}}, "no label": {"scope": {scope}, "days": {"30"}},
	} {
		if answer := alice.form("/programs/create", values); answer.StatusCode != 400 {
			t.Errorf("%s: %d %s", name, answer.StatusCode, code(answer))
		}
	}
	link := once(t, alice.form("/people/invite", url.Values{"name": {" Bob "}, "role": {"person"}, "groups": {"a, b"}, "days": {"3"}}))
	all, err := g.people.Invitations(t.Context())
	if err != nil || len(all) != 1 || all[0].Name != "bob" {
		t.Fatalf("invitations: %v, %v", all, err)
	}
	if done := alice.form("/approvals/withdraw", url.Values{"id": {all[0].ID}}); done.StatusCode != 303 {
		t.Fatalf("withdrawing: %d", done.StatusCode)
	}
	path, secret, _ := strings.Cut(strings.TrimPrefix(link, testOrigin), "#")
	if opened := g.browser().form(path+"/open", url.Values{"secret": {secret}}); opened.StatusCode != 410 || code(opened) != "used" {
		t.Errorf("a withdrawn invitation: %d %s", opened.StatusCode, code(opened))
	}
}

// The help desk gives nobody more than it has, and sees nobody's whereabouts.
func TestHelpDeskStaysBelow(t *testing.T) {
	g := newRig(t)
	alice, carol := g.join("alice", store.RoleAdministrator), g.join("carol", store.RoleHelpDesk)
	for _, role := range []string{"administrator", "help_desk", "auditor", "king"} {
		if answer := carol.form("/people/invite", url.Values{"name": {"eve"}, "role": {role}}); answer.StatusCode != 403 || code(answer) != "role" {
			t.Errorf("inviting a %s: %d %s", role, answer.StatusCode, code(answer))
		}
	}
	address := "192.0.2.7"
	if !strings.Contains(text(alice.get("/people/alice")), address) || strings.Contains(text(carol.get("/people/alice")), address) {
		t.Error("whereabouts are shown to the wrong people")
	}
	if strings.Contains(text(carol.get("/people/alice")), "/people/disable") {
		t.Error("the help desk is offered to disable people")
	}
}

// A person's page acts on that person alone: an id of somebody else's session does
// nothing.
func TestObjectsOfOthers(t *testing.T) {
	g := newRig(t, func(c *Config) {
		c.Recheck = func(context.Context, string) bool { t.Error("somebody else's laptop is asked"); return true }
	})
	alice, bob := g.join("alice", store.RoleAdministrator), g.join("bob", store.RolePerson)
	his, hers := mustWho(t, g, bob), mustWho(t, g, alice)
	keys, _ := g.people.Passkeys(t.Context(), hers)
	for name, answer := range map[string]*http.Response{
		"a session":         bob.form("/sessions/end", url.Values{"id": {hers.Session.ID}}),
		"a passkey":         bob.form("/passkeys/remove", url.Values{"id": {encodeID(keys[0].ID)}}),
		"a passkey's name":  bob.form("/passkeys/rename", url.Values{"id": {encodeID(keys[0].ID)}, "name": {"mine"}}),
		"a laptop":          bob.form("/laptops/check", url.Values{"device": {"d1"}}),
		"another's session": alice.form("/people/end-session", url.Values{"id": {his.Person.ID}, "session": {hers.Session.ID}}),
	} {
		if answer.StatusCode != 404 {
			t.Errorf("%s of somebody else: %d %s", name, answer.StatusCode, code(answer))
		}
	}
	if alice.get("/").StatusCode != 200 {
		t.Fatal("alice was signed out")
	}
	if strings.Contains(text(bob.get("/laptops")), "alice-laptop") || !strings.Contains(text(alice.get("/laptops")), "alice-laptop") {
		t.Error("laptops are shown to the wrong people")
	}
	if done := alice.form("/people/end-session", url.Values{"id": {his.Person.ID}, "session": {his.Session.ID}}); done.StatusCode != 303 || bob.get("/").StatusCode != 303 {
		t.Errorf("an administrator does not end a session: %d", done.StatusCode)
	}
}

func TestLinkBegins(t *testing.T) {
	g := newRig(t)
	b := g.join("alice", store.RolePerson)
	for _, way := range []string{"loopback", "app", "code"} {
		answer := b.json("/link/begin", message{Way: way})
		var ask linkBegun
		if err := json.Unmarshal([]byte(text(answer)), &ask); err != nil || answer.StatusCode != 200 || ask.ID == "" || ask.Nonce.IsZero() {
			t.Fatalf("%s: %d %s", way, answer.StatusCode, text(answer))
		}
		want := ""
		if way == "app" {
			want = "muster://link/" + ask.ID + "/" + ask.Nonce.String()
		}
		if ask.Open != want {
			t.Errorf("%s opens %q, want %q", way, ask.Open, want)
		}
		if early := b.json("/link/confirm", message{ID: ask.ID, Value: "AAAA-AAAA"}); early.StatusCode < 400 {
			t.Errorf("%s is confirmed before anybody proved it", way)
		}
	}
	for _, way := range []string{"", "magic", "LOOPBACK"} {
		if answer := b.json("/link/begin", message{Way: way}); answer.StatusCode != 400 {
			t.Errorf("way %q: %d", way, answer.StatusCode)
		}
	}
}

// Somebody who waits for a laptop is told whether it came.
func TestCheckAgain(t *testing.T) {
	var asked []string
	came := false
	g := newRig(t, func(c *Config) {
		c.Recheck = func(_ context.Context, id string) bool { asked = append(asked, id); return came }
	})
	b := g.join("alice", store.RolePerson)
	for _, came = range []bool{false, true} {
		want := map[bool]string{false: "/laptops?done=not-checked", true: "/laptops?done=checked"}[came]
		if answer := b.form("/laptops/check", url.Values{"device": {"d1"}}); answer.Header.Get("Location") != want {
			t.Errorf("leads to %q, want %q", answer.Header.Get("Location"), want)
		}
	}
	if len(asked) != 2 || asked[0] != "d1" {
		t.Errorf("asked %v", asked)
	}
}

// Parts that htmx asks for: a refusal alone, and a whole page when the session is
// over.
func TestPartsForHTMX(t *testing.T) {
	g := newRig(t)
	hx := func(r *http.Request) { r.Header.Set("HX-Request", "true") }
	refused := g.browser().form("/recover/state", url.Values{"secret": {"o.AAAA"}}, hx)
	if refused.StatusCode != 410 || strings.Contains(text(refused), "<html") || code(refused) != "used" {
		t.Errorf("an unknown recovery: %d\n%s", refused.StatusCode, text(refused))
	}
	over := g.browser().get("/", hx)
	if over.StatusCode != 401 || over.Header.Get("HX-Refresh") != "true" || text(over) != "" {
		t.Errorf("a session that is over: %d %v", over.StatusCode, over.Header)
	}
}

func TestTypedCode(t *testing.T) {
	for typed, want := range map[string]string{"abcd-efgh": "ABCD-EFGH", " AB CD efgh ": "ABCD-EFGH", "ABCDEFGH": "ABCD-EFGH", "ABCD": "ABCD", "": "", "a-b-c-d-e-f-g-h-i": "ABCDEFGHI"} {
		if got := typedCode(typed); got != want {
			t.Errorf("%q is %q, want %q", typed, got, want)
		}
	}
}

// Every claim has words, and what a claim is not is never said of it.
func TestClaimsHaveWords(t *testing.T) {
	s := sampleSite()
	c := posture.Unfilled(noon(), posture.Timeout)
	names := 0
	for name, claim := range c.Each() {
		names++
		words, ok := claimTable()[name]
		if !ok || words.name == "" || words.yes == "" || words.no == "" || words.unknown == "" {
			t.Errorf("claim %s lacks words", name)
		}
		for state, list := range map[posture.State]int{posture.No: 0, posture.Unknown: 1, posture.Yes: 2, posture.State(9): 1} {
			claim.State = state
			one := [3]int{}
			wrong, unknown, well := s.claimViews(&Laptop{Claims: &c})
			for i, views := range [][]claimView{wrong, unknown, well} {
				for _, v := range views {
					if v.Name == words.name {
						one[i]++
					}
				}
			}
			if one[list] != 1 || one[0]+one[1]+one[2] != 1 {
				t.Errorf("claim %s, state %d, is told as %v", name, state, one)
			}
			claim.State = posture.Unknown
		}
	}
	if names != len(claimTable()) {
		t.Errorf("%d claims, %d have words", names, len(claimTable()))
	}
	advised := newSite(Config{Origin: testOrigin, Now: time.Now, Advice: func(string, posture.Platform, posture.Claim) (string, string) { return "Off.", "Turn it on." }})
	if _, unknown, _ := advised.claimViews(&Laptop{Claims: &c}); len(unknown) == 0 || unknown[0].Text != "Off." || unknown[0].Fix != "Turn it on." {
		t.Errorf("advice is not told: %+v", unknown)
	}
}

// Only an active laptop with a current report and a decision to allow is in order.
func TestOutcomeIsNeverBetterThanKnown(t *testing.T) {
	good := sampleLaptop()
	good.Decision.Outcome = "allow"
	if outcomeMark(good).Icon != "ok" {
		t.Fatal("a good laptop is not in order")
	}
	for name, spoil := range map[string]func(*Laptop){
		"revoked": func(l *Laptop) { l.State = attest.Revoked }, "pending": func(l *Laptop) { l.State = attest.Pending }, "no state": func(l *Laptop) { l.State = "" },
		"no report": func(l *Laptop) { l.LastReport = time.Time{} }, "stale": func(l *Laptop) { l.Current = false },
		"no decision": func(l *Laptop) { l.Decision = attest.Decision{} }, "deny": func(l *Laptop) { l.Decision.Outcome = "deny" }, "odd": func(l *Laptop) { l.Decision.Outcome = "Allow" },
	} {
		l := *good
		spoil(&l)
		if m := outcomeMark(&l); m.Icon == "ok" || m.Text == "" {
			t.Errorf("%s: %+v", name, m)
		}
	}
	for _, state := range []session.LinkState{session.LinkAbsent, session.LinkSuspended, "", "odd"} {
		if m := linkMark(state, "laptop"); m.Icon == "ok" {
			t.Errorf("link %q: %+v", state, m)
		}
	}
}
