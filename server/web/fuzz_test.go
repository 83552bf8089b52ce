package web

import (
	"net/http"
	"strings"
	"testing"

	"muster/server/decide"
	"muster/server/store"
)

// FuzzCookie brings any cookies through the wrapper: none but the one that was
// given opens a page, and none makes the server fail.
func FuzzCookie(f *testing.F) {
	g := newRig(f)
	b := g.join("alice", store.RolePerson)
	live := b.jar[cookieSession]
	b.json("/verify/begin", message{})
	sealed := b.jar[cookieCeremony]
	for _, seed := range []string{"", live, sealed, live + " ", live[:len(live)-1], "mss_", "mss_" + strings.Repeat("A", 43), "\"" + live + "\"", "a=b; c", "\x00", strings.Repeat("x", 5000), "é"} {
		f.Add(seed, sealed)
		f.Add(live, seed)
	}
	f.Fuzz(func(t *testing.T, session, ceremony string) {
		ask := func(method, path string) *http.Response {
			other := &browser{g: &rig{t: t, mux: g.mux}, jar: map[string]string{}, set: map[string]*http.Cookie{}}
			return other.do(method, path, "application/json", `{"response":{}}`, func(r *http.Request) {
				r.Header.Set("Cookie", cookieSession+"="+session+"; "+cookieCeremony+"="+ceremony)
			})
		}
		// What a browser may write around a value is not part of it.
		given := cookie(&http.Request{Header: http.Header{"Cookie": {cookieSession + "=" + session + "; " + cookieCeremony + "=" + ceremony}}}, cookieSession)
		if home := ask("GET", "/"); home.StatusCode >= 500 || (home.StatusCode == 200) != (given == live) {
			t.Errorf("with %q: %d", session, home.StatusCode)
		}
		for _, path := range []string{"/verify/finish", "/sign-in/finish"} {
			if answer := ask("POST", path); answer.StatusCode < 400 || answer.StatusCode >= 500 {
				t.Errorf("%s with %q: %d", path, ceremony, answer.StatusCode)
			}
		}
	})
}

// FuzzOwnPath: what is gone on to begins with one slash and names no host.
func FuzzOwnPath(f *testing.F) {
	for _, seed := range []string{"/", "/a?b#c", "//x", "/\\x", "/%2f/x", "/%5cx", "https://x", "/\t/x", "/.//x", "/..//x", "/\"" + strings.Repeat("`", 700)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, p string) {
		got := ownPath(p)
		if !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || strings.HasPrefix(got, "/\\") || strings.ContainsAny(got, "\r\n\t\\ ") {
			t.Errorf("%q became %q", p, got)
		}
		if again := ownPath(got); again != got {
			t.Errorf("%q became %q, then %q", p, got, again)
		}
	})
}

// FuzzAccess: whatever an address, a form or the cookie of trips says, the page leads
// to the one host that there is or to our own pages, and the server does not fail.
func FuzzAccess(f *testing.F) {
	g := newRig(f)
	b := g.join("alice", store.RolePerson)
	live := b.jar[cookieSession]
	trips := accessAsk{host: wikiHost, back: "/"}.digest()
	for _, seed := range [][3]string{{"host=" + wikiHost + "&back=/", "", "why=a"}, {"host=" + wikiHost, trips + ".1772625600.2", ""}, {"host=evil.example&back=//evil.example", "..", "host=" + wikiHost},
		{"host=" + wikiHost + "&back=%2F%5Cevil.example&done=checked&try=-1&proved=9223372036854775807", trips + ".-9.9", "%zz"}, {"%00&;=&host[]=x", "\xff", strings.Repeat("host=a&", 100)}} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, query, went, form string) {
		g.asked = nil
		for _, open := range []bool{true, false} {
			g.stands.Decision = decide.Decision{Outcome: decide.Allow}
			if !open {
				g.stands.Decision = denied(decide.StepUp, step(aboutLink))
			}
			other := &browser{g: &rig{t: t, mux: g.mux}, jar: map[string]string{}, set: map[string]*http.Cookie{}}
			ask := func(method, body string) *http.Response {
				path := map[string]string{http.MethodGet: "/access", http.MethodPost: "/access/recheck"}[method]
				return other.do(method, path, "application/x-www-form-urlencoded", body, func(r *http.Request) {
					r.URL.RawQuery = query
					r.Header.Set("Cookie", cookieSession+"="+live+"; "+cookieWent+"="+went)
				})
			}
			for _, answer := range []*http.Response{ask(http.MethodGet, ""), ask(http.MethodPost, form)} {
				if answer.StatusCode >= 500 {
					t.Errorf("%q, %q, %q: %d", query, went, form, answer.StatusCode)
				}
				_, refresh, _ := strings.Cut(answer.Header.Get("Refresh"), "; url=")
				for _, to := range []string{answer.Header.Get("Location"), refresh, answer.Header.Get("HX-Redirect")} {
					if to != "" && ownPath(to) != to && !strings.HasPrefix(to, "https://"+wikiHost+"/") {
						t.Errorf("%q leads to %q", query, to)
					}
				}
			}
		}
	})
}
