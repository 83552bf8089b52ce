package web

import (
	"net/http"
	"strings"
	"testing"

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
