package server

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"muster/server/people"
	"muster/server/store"
)

// An application's host gets a cookie of its own, which is good there and nowhere
// else, and ends with the session.
func TestVisit(t *testing.T) {
	t.Parallel()
	s, _ := guestServer(t)
	alice := newGuest(t, s, "alice", store.RolePerson)
	b := newBrowser(s, alice)
	done := b.get(b.visitCode(t, wikiHost, "/page?x=1&y=%2F"))
	if done.Code != http.StatusSeeOther || done.Header().Get("Location") != "/page?x=1&y=%2F" {
		t.Fatalf("finish: %d to %q: %s", done.Code, done.Header().Get("Location"), done.Body)
	}
	for _, c := range done.Result().Cookies() {
		if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
			t.Errorf("cookie %s: %+v", c.Name, c)
		}
	}
	if _, left := b.jars[wikiHost][cookieFlow]; left {
		t.Error("the flow cookie stays")
	}
	secret := b.jars[wikiHost][cookieApp]
	app, who, err := visitorAt(t.Context(), s, secret, wikiHost)
	if err != nil || app != "wiki" || who.Person.ID != alice.person.ID {
		t.Fatalf("the cookie stands for %q: %v", app, err)
	}
	if _, _, err := visitorAt(t.Context(), s, secret, "vault.muster.localhost:8443"); err == nil {
		t.Error("the cookie is good at another application's host")
	}
	if _, err := s.people.Who(t.Context(), secret, people.From{}); err == nil {
		t.Error("the cookie of an application is good for muster itself")
	}
	if err := s.people.SignOut(t.Context(), who); err != nil {
		t.Fatal(err)
	}
	if _, _, err := visitorAt(t.Context(), s, secret, wikiHost); err == nil {
		t.Error("the cookie outlives the session")
	}
}

// Who is not signed in goes to sign in, and comes back to where they were.
func TestVisitSignsInFirst(t *testing.T) {
	t.Parallel()
	s, _ := guestServer(t)
	b := newBrowser(s, nil)
	begun := b.get("http://" + wikiHost + pathVisitStart + "?back=/page")
	asked := b.get(begun.Header().Get("Location"))
	to, err := url.Parse(asked.Header().Get("Location"))
	if err != nil || asked.Code != http.StatusSeeOther || to.Host != "" || to.Path != "/sign-in" {
		t.Fatalf("%d to %q", asked.Code, to)
	}
	b.jars[guestHost] = map[string]string{cookieSession: newGuest(t, s, "alice", store.RolePerson).secret}
	on := b.get(guestURL + to.Query().Get("next"))
	if done := b.get(on.Header().Get("Location")); done.Header().Get("Location") != "/page" || b.jars[wikiHost][cookieApp] == "" {
		t.Fatalf("after the sign-in: %d to %q", done.Code, done.Header().Get("Location"))
	}
}

// Nothing in an address leads to another host than the application's.
func TestVisitOpenRedirect(t *testing.T) {
	t.Parallel()
	s, _ := guestServer(t)
	b := newBrowser(s, newGuest(t, s, "alice", store.RolePerson))
	for _, back := range []string{
		"", "https://evil.example/", "//evil.example/", "///evil.example", `/\evil.example`, `\\evil.example`, "/\t/evil.example", "/\r\nLocation: https://evil.example",
		"javascript:alert(1)", "page", "/%09/evil.example", "/%5cevil.example", "/.muster/start", "/x/../.muster/start", "/%2e%6duster/start", "/" + strings.Repeat("a", 2000),
	} {
		done := b.get(b.visitCode(t, wikiHost, back))
		if to := done.Header().Get("Location"); done.Code != http.StatusSeeOther || to != "/" {
			t.Errorf("back %q leads to %q (%d)", back, to, done.Code)
		}
	}
	flow := flowHash("x").String()
	for name, q := range map[string]url.Values{
		"foreign host":        {"app": {"wiki"}, "host": {"evil.example"}, "flow": {flow}},
		"host behind user":    {"app": {"wiki"}, "host": {"wiki.muster.localhost@evil.example"}, "flow": {flow}},
		"host with path":      {"app": {"wiki"}, "host": {"wiki.muster.localhost/.evil.example"}, "flow": {flow}},
		"another port":        {"app": {"wiki"}, "host": {"wiki.muster.localhost:9999"}, "flow": {flow}},
		"empty port":          {"app": {"wiki"}, "host": {"wiki.muster.localhost:"}, "flow": {flow}},
		"muster itself":       {"app": {"wiki"}, "host": {guestHost}, "flow": {flow}},
		"another application": {"app": {"wiki"}, "host": {"vault.muster.localhost:8443"}, "flow": {flow}},
		"no application":      {"host": {wikiHost}, "flow": {flow}},
		"no flow":             {"app": {"wiki"}, "host": {wikiHost}},
		"half a flow":         {"app": {"wiki"}, "host": {wikiHost}, "flow": {flow[:20]}},
		"zero flow":           {"app": {"wiki"}, "host": {wikiHost}, "flow": {strings.Repeat("A", len(flow))}},
	} {
		if w := b.get(guestURL + pathVisit + "?" + q.Encode()); w.Code != http.StatusBadRequest || codeOf(w) != "visit-wrong" || w.Header().Get("Location") != "" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// Every host has its own paths and no others.
func TestVisitHosts(t *testing.T) {
	t.Parallel()
	s, _ := guestServer(t)
	b := newBrowser(s, newGuest(t, s, "alice", store.RolePerson))
	for _, address := range []string{
		guestURL + pathVisitStart, guestURL + pathVisitFinish + "?code=x", "http://evil.example:8443" + pathVisitStart,
		"http://wiki.muster.localhost:9999" + pathVisitStart, "http://" + wikiHost + pathVisit, "http://127.0.0.1:8443" + pathVisit,
		"http://" + wikiHost + "/", "http://" + wikiHost + "/sign-in", "http://evil.example/",
	} {
		if w := b.get(address); w.Code != http.StatusMisdirectedRequest || len(w.Result().Cookies()) > 0 {
			t.Errorf("%s: %d", address, w.Code)
		}
	}
	// Nor may a page hold one of them in a frame, or call it from a script.
	for _, dest := range []string{"iframe", "empty", "image", "script"} {
		r := httptest.NewRequest("GET", "http://"+wikiHost+pathVisitStart, nil)
		r.RemoteAddr = "127.0.0.1:1"
		r.Header.Set("Sec-Fetch-Dest", dest)
		w := httptest.NewRecorder()
		if s.Handler().ServeHTTP(w, r); w.Code != http.StatusForbidden {
			t.Errorf("as %s: %d", dest, w.Code)
		}
	}
}

// A code is good once, in the browser and at the host that it was made for, for a
// minute, and as long as its session lives.
func TestVisitCodes(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, s *Server, clock *testClock, b *browser, alice *guest, finish string) string{
		"used": func(t *testing.T, s *Server, _ *testClock, b *browser, _ *guest, finish string) string {
			flow := b.jars[wikiHost][cookieFlow]
			if w := b.get(finish); w.Code != http.StatusSeeOther {
				t.Fatalf("first use: %d", w.Code)
			}
			b.jars[wikiHost] = map[string]string{cookieFlow: flow}
			return finish
		},
		"another browser's": func(_ *testing.T, s *Server, _ *testClock, b *browser, _ *guest, finish string) string {
			thief := newBrowser(s, nil)
			thief.get("http://" + wikiHost + pathVisitStart)
			b.jars[wikiHost] = thief.jars[wikiHost]
			return finish
		},
		"of no flow": func(_ *testing.T, _ *Server, _ *testClock, b *browser, _ *guest, finish string) string {
			delete(b.jars[wikiHost], cookieFlow)
			return finish
		},
		"another host's": func(_ *testing.T, _ *Server, _ *testClock, b *browser, _ *guest, finish string) string {
			b.jars["vault.muster.localhost:8443"] = b.jars[wikiHost]
			return strings.Replace(finish, "wiki.", "vault.", 1)
		},
		"another host's of the same application": func(_ *testing.T, _ *Server, _ *testClock, b *browser, _ *guest, finish string) string {
			b.jars["wiki2.muster.localhost:8443"] = b.jars[wikiHost]
			return strings.Replace(finish, "wiki.", "wiki2.", 1)
		},
		"late": func(_ *testing.T, _ *Server, clock *testClock, _ *browser, _ *guest, finish string) string {
			clock.advance(61 * time.Second)
			return finish
		},
		"of an ended session": func(t *testing.T, s *Server, _ *testClock, _ *browser, alice *guest, finish string) string {
			err := s.store.Update(t.Context(), func(tx *store.Tx) error { return tx.EndSession(alice.session.ID, "test") })
			if err != nil {
				t.Fatal(err)
			}
			return finish
		},
		"of a disabled person": func(t *testing.T, s *Server, _ *testClock, _ *browser, alice *guest, finish string) string {
			if err := s.people.Disable(t.Context(), byLocal, alice.person.ID, "test"); err != nil {
				t.Fatal(err)
			}
			return finish
		},
		"made up": func(_ *testing.T, _ *Server, _ *testClock, _ *browser, _ *guest, finish string) string {
			return finish[:strings.Index(finish, "=")+1] + "mso_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		},
		"absent": func(_ *testing.T, _ *Server, _ *testClock, _ *browser, _ *guest, finish string) string {
			return finish[:strings.Index(finish, "?")]
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, clock := guestServer(t)
			alice := newGuest(t, s, "alice", store.RolePerson)
			b := newBrowser(s, alice)
			finish := spoil(t, s, clock, b, alice, b.visitCode(t, wikiHost, "/"))
			w := b.get(finish)
			if w.Code != http.StatusGone && w.Code != http.StatusForbidden {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			for _, c := range w.Result().Cookies() {
				if c.Name == cookieApp && c.Value != "" {
					t.Error("it gave a cookie")
				}
			}
		})
	}
}

// Guesses write nothing and count against nobody: behind a gateway all people have
// one address, and a stranger must not close the door for them.
func TestVisitGuessesHurtNobody(t *testing.T) {
	t.Parallel()
	s, _ := guestServer(t)
	stranger, alice := newBrowser(s, nil), newBrowser(s, newGuest(t, s, "alice", store.RolePerson))
	finish := alice.visitCode(t, wikiHost, "/")
	stranger.get("http://" + wikiHost + pathVisitStart)
	before := s.store.LastChange()
	for i := range 2 * pageBurst {
		code := "mso_" + strings.Repeat("A", 43)
		if i%2 == 0 {
			delete(stranger.jars[wikiHost], cookieFlow)
		}
		if w := stranger.get("http://" + wikiHost + pathVisitFinish + "?code=" + code); w.Code != http.StatusForbidden && w.Code != http.StatusGone {
			t.Fatalf("guess %d: %d %s", i, w.Code, w.Body)
		}
	}
	if now := s.store.LastChange(); now != before {
		t.Errorf("guesses changed %d things", now-before)
	}
	if w := alice.get(finish); w.Code != http.StatusSeeOther || alice.jars[wikiHost][cookieApp] == "" {
		t.Errorf("alice gets %d %s", w.Code, w.Body)
	}
}

// Of a thousand parallel uses of one code, one gets the cookie.
func TestVisitCodeOnce(t *testing.T) {
	t.Parallel()
	s, _ := guestServer(t)
	b := newBrowser(s, newGuest(t, s, "alice", store.RolePerson))
	finish := b.visitCode(t, wikiHost, "/")
	u, err := url.Parse(finish)
	if err != nil {
		t.Fatal(err)
	}
	code, flow := u.Query().Get("code"), flowHash(b.jars[wikiHost][cookieFlow])
	var won atomic.Int64
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			_, _, err := s.people.Visit(t.Context(), code, wikiHost, flow)
			var refused *people.Refusal
			if err == nil {
				won.Add(1)
			} else if !errors.As(err, &refused) {
				t.Errorf("%v", err)
			}
		})
	}
	if wg.Wait(); won.Load() != 1 {
		t.Errorf("%d of 1000 uses won", won.Load())
	}
}

// A script on an application's host has the victim's browser fetch a code for the
// attacker's flow: what arrives without its browser is used up there.
func TestLeakedCodeIsUsedUp(t *testing.T) {
	s, _ := guestServer(t)
	victim := newBrowser(s, newGuest(t, s, "alice", store.RolePerson))
	mallory := newBrowser(s, newGuest(t, s, "mallory", store.RolePerson))
	begun := mallory.get("http://" + wikiHost + pathVisitStart + "?back=/") // mallory's flow cookie
	to, err := url.Parse(begun.Header().Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	finish := victim.get(to.String()).Header().Get("Location")
	if w := victim.get(finish); w.Code != http.StatusForbidden || w.Header().Get("Cross-Origin-Opener-Policy") != "same-origin" {
		t.Fatalf("the victim's browser: %d %v", w.Code, w.Header())
	}
	if done := mallory.get(finish); done.Code == http.StatusSeeOther {
		_, who, err := visitorAt(t.Context(), s, mallory.jars[wikiHost][cookieApp], wikiHost)
		t.Fatalf("mallory's browser is %v at the wiki (%v)", who, err)
	}
}

// visitorAt is who is let in by an application's cookie, as a check reads them.
func visitorAt(ctx context.Context, s *Server, secret, host string) (app string, who *people.Who, err error) {
	v, err := s.people.VisitorNow(ctx, secret, host)
	if err != nil {
		return "", nil, err
	}
	if over := v.Over(s.now()); over != "" {
		return "", nil, errors.New(over)
	}
	return v.App, &people.Who{Session: v.Session, Person: v.Person}, nil
}
