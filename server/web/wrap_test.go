package web

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"muster/server/people"
	"muster/server/store"
)

func encodeID(id []byte) string { return base64.RawURLEncoding.EncodeToString(id) }

func mustWho(t testing.TB, g *rig, b *browser) *people.Who {
	t.Helper()
	who, err := g.people.Who(t.Context(), b.jar[cookieSession], people.From{})
	if err != nil {
		t.Fatal(err)
	}
	return who
}

// ask is a request that a route's own page would send.
func (g *rig) ask(b *browser, route Route, change ...func(*http.Request)) *http.Response {
	method, path, _ := strings.Cut(route.Pattern, " ")
	path = strings.NewReplacer("{$}", "", "{name}", "alice", "{version}", sampleSite().version, "{file}", "style.css").Replace(path)
	kind, body := "", ""
	if method == http.MethodPost {
		kind, body = "application/x-www-form-urlencoded", "id=none"
		if route.Limit == maxCeremony {
			kind, body = "application/json", "{}"
		}
	}
	return b.do(method, path, kind, body, change...)
}

// Every route of the table for every kind of visitor: who may not come is refused
// in the words of the refusal, and a page that is shown is sound.
func TestRoutesDenyByDefault(t *testing.T) {
	g := newRig(t)
	visitors := map[store.Role]*browser{}
	for name, role := range map[string]store.Role{"alice": store.RoleAdministrator, "bob": store.RolePerson, "carol": store.RoleHelpDesk, "dave": store.RoleAuditor} {
		visitors[role] = g.join(name, role)
	}
	wrong := g.browser()
	wrong.jar[cookieSession] = "mss_" + strings.Repeat("A", 43)
	ended := g.join("erin", store.RoleAdministrator)
	secret := ended.jar[cookieSession]
	ended.form("/sign-out", nil)
	ended.jar[cookieSession] = secret
	for _, route := range g.routes {
		open := route.Access == ByAnyone || route.Access == BySecret
		for name, b := range map[string]*browser{"nobody": g.browser(), "a wrong cookie": wrong, "an ended session": ended} {
			b.jar = map[string]string{cookieSession: b.jar[cookieSession]}
			answer := g.ask(b, route)
			switch {
			case open:
			case strings.HasPrefix(route.Pattern, "GET"):
				if answer.StatusCode != http.StatusSeeOther || !strings.HasPrefix(answer.Header.Get("Location"), "/sign-in?next=") {
					t.Errorf("%s for %s: %d", route.Pattern, name, answer.StatusCode)
				}
			case answer.StatusCode != http.StatusUnauthorized || code(answer) != codeSignIn:
				t.Errorf("%s for %s: %d %s", route.Pattern, name, answer.StatusCode, code(answer))
			}
		}
		for role, b := range visitors {
			if route.Pattern == "POST /sign-out" || route.Pattern == "POST /sessions/end-all" {
				continue // they would end what the others need
			}
			answer := g.ask(b, route)
			may := len(route.Roles) == 0 || slices.Contains(route.Roles, role)
			if !may && (answer.StatusCode != http.StatusForbidden || code(answer) != "role") {
				t.Errorf("%s for %s: %d %s, want role", route.Pattern, role, answer.StatusCode, code(answer))
			}
			if may && code(answer) == "role" || answer.StatusCode >= 500 {
				t.Errorf("%s for %s: %d %s", route.Pattern, role, answer.StatusCode, code(answer))
			}
			if strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") {
				checkHTML(t, route.Pattern+" for "+string(role), []byte(text(answer)), strings.Contains(text(answer), "<html"))
			}
		}
	}
	g.stale()
	for _, route := range g.routes {
		if route.Access != ByFresh {
			continue
		}
		if answer := g.ask(visitors[store.RoleAdministrator], route); answer.StatusCode != http.StatusForbidden || code(answer) != codeVerify {
			t.Errorf("%s with cold hands: %d %s", route.Pattern, answer.StatusCode, code(answer))
		}
	}
}

// Every route of an office is closed to who has no office, whatever it is called.
func TestTableNamesItsAccess(t *testing.T) {
	for _, r := range sampleSite().table() {
		method, path, _ := strings.Cut(r.pattern, " ")
		office := strings.HasPrefix(path, "/people") || strings.HasPrefix(path, "/programs") || strings.HasPrefix(path, "/office")
		limit := int64(maxCeremony)
		if strings.HasPrefix(path, "/office/policy/") {
			limit = maxPolicyForm
		}
		switch {
		case r.access == "" || r.handle == nil:
			t.Errorf("%s says nothing of who may come", r.pattern)
		case office && len(r.roles) == 0:
			t.Errorf("%s is open to all", r.pattern)
		case office && method == http.MethodPost && r.access != ByFresh:
			t.Errorf("%s needs no fresh hands", r.pattern)
		case (method == http.MethodGet) != (r.body == noBody):
			t.Errorf("%s has body %q", r.pattern, r.body)
		case path == "/access/elevate" && r.access != ByFresh, path == "/elevations/approve" && r.access != ByFresh, path == "/elevations/decline" && r.access != ByFresh:
			t.Errorf("%s gives or takes what is others', without fresh hands", r.pattern)
		case method == http.MethodPost && (r.limit <= 0 || r.limit > limit):
			t.Errorf("%s takes %d bytes", r.pattern, r.limit)
		}
	}
}

// What no page of ours sends is refused before anybody is looked up.
func TestRequestsOutOfOrder(t *testing.T) {
	g := newRig(t)
	b := g.join("alice", store.RoleAdministrator)
	header := func(pairs ...string) func(*http.Request) {
		return func(r *http.Request) {
			for i := 0; i < len(pairs); i += 2 {
				r.Header.Del(pairs[i])
				if pairs[i+1] != "" {
					r.Header.Set(pairs[i], pairs[i+1])
				}
			}
		}
	}
	for _, route := range g.routes {
		for _, host := range []string{"evil.example", "id.muster.example.evil.example", "id.muster.example:8443", "127.0.0.1", ""} {
			if answer := g.ask(b, route, func(r *http.Request) { r.Host = host }); answer.StatusCode != http.StatusMisdirectedRequest {
				t.Errorf("%s for host %q: %d", route.Pattern, host, answer.StatusCode)
			}
		}
		if strings.HasPrefix(route.Pattern, "GET") {
			continue
		}
		for name, change := range map[string]func(*http.Request){
			"nothing":        header("Origin", "", "Sec-Fetch-Site", ""),
			"another origin": header("Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"),
			"origin alone":   header("Origin", "https://evil.example", "Sec-Fetch-Site", ""),
			"a lie":          header("Origin", "https://evil.example", "Sec-Fetch-Site", "same-origin"),
			"null":           header("Origin", "null", "Sec-Fetch-Site", ""),
			"same site":      header("Origin", "https://wiki.muster.example", "Sec-Fetch-Site", "same-site"),
			"none":           header("Origin", "", "Sec-Fetch-Site", "none"),
			"plain http":     header("Origin", "http://id.muster.example", "Sec-Fetch-Site", ""),
			"cross-site":     header("Origin", testOrigin, "Sec-Fetch-Site", "cross-site"),
		} {
			if answer := g.ask(b, route, change); answer.StatusCode != http.StatusForbidden || code(answer) != "cross-origin" {
				t.Errorf("%s with %s: %d %s", route.Pattern, name, answer.StatusCode, code(answer))
			}
		}
		for _, kind := range []string{"", "text/plain", "multipart/form-data; boundary=x", "application/jsonp", "application/json; charset"} {
			if answer := g.ask(b, route, header("Content-Type", kind)); answer.StatusCode != http.StatusUnsupportedMediaType {
				t.Errorf("%s as %q: %d", route.Pattern, kind, answer.StatusCode)
			}
		}
	}
}

// Bodies are bounded, and JSON is one object of what we know.
func TestBodiesAreBounded(t *testing.T) {
	g := newRig(t)
	b := g.join("alice", store.RolePerson)
	large := `{"name":"` + strings.Repeat("a", maxCeremony) + `"}`
	if answer := b.do("POST", "/sign-in/begin", "application/json", large); answer.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a large message: %d", answer.StatusCode)
	}
	if answer := b.form("/passkeys/rename", url.Values{"name": {strings.Repeat("a", maxForm)}}); answer.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a large form: %d", answer.StatusCode)
	}
	for _, bad := range []string{``, `[]`, `"x"`, `{}{}`, `{} x`, `{"other":1}`, `{"name":1}`, `{`, strings.Repeat(`[`, 10000)} {
		if answer := b.do("POST", "/sign-in/begin", "application/json", bad); answer.StatusCode != http.StatusBadRequest || code(answer) != "bad-request" {
			t.Errorf("%.20q: %d %s", bad, answer.StatusCode, code(answer))
		}
	}
}

func TestHeadersOfEveryAnswer(t *testing.T) {
	g := newRig(t)
	b := g.join("alice", store.RoleAdministrator)
	want := map[string]string{
		"X-Frame-Options": "DENY", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
	}
	const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'%s; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
	for _, route := range g.routes {
		for name, change := range map[string]func(*http.Request){"itself": func(*http.Request) {}, "a refusal": func(r *http.Request) { r.Host = "evil.example" }} {
			if route.Pattern == "POST /sign-out" || route.Pattern == "POST /sessions/end-all" {
				continue
			}
			answer := g.ask(b, route, change)
			for key, value := range want {
				if got := answer.Header.Get(key); got != value {
					t.Errorf("%s, %s: %s is %q", route.Pattern, name, key, got)
				}
			}
			agent := ""
			if strings.HasPrefix(route.Pattern, "GET /link") || route.Pattern == "GET /invitation" {
				agent = " http://127.0.0.1:17117"
			}
			if got := answer.Header.Get("Content-Security-Policy"); got != strings.Replace(policy, "%s", agent, 1) {
				t.Errorf("%s, %s: policy %q", route.Pattern, name, got)
			}
			static := strings.Contains(route.Pattern, "/static/") || strings.Contains(route.Pattern, "favicon")
			if got := answer.Header.Get("Cache-Control"); (got == "no-store") == (static && name == "itself") {
				t.Errorf("%s, %s: cached as %q", route.Pattern, name, got)
			}
			if answer.Header.Get("Permissions-Policy") == "" {
				t.Errorf("%s: no permissions policy", route.Pattern)
			}
		}
	}
}

func TestOwnPath(t *testing.T) {
	for _, good := range []string{"/", "/laptops", "/people/bob?done=x", "/a//b", "/link?next=%2F", "/a#b"} {
		if got := ownPath(good); got != good {
			t.Errorf("%q became %q", good, got)
		}
	}
	for _, bad := range []string{"", "laptops", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example/", "http:evil", "javascript:alert(1)",
		"/\t/evil.example", "/\n/evil.example", " //evil.example", "/%2f%2fevil\x00", "/%5cevil.example", "/%0d%0aSet-Cookie:x", "/%2fevil.example", "@evil.example", "/\u2028/evil", "/%zz", "/" + strings.Repeat("a", 3000)} {
		if got := ownPath(bad); got != "/" {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

// An address of others is never gone on to, from any page that goes on.
func TestOpenRedirects(t *testing.T) {
	g := newRig(t)
	b := g.join("alice", store.RolePerson)
	const evil = "//evil.example/x"
	if in := b.get("/sign-in?next=" + url.QueryEscape(evil)); in.StatusCode != 303 || in.Header.Get("Location") != "/" {
		t.Errorf("signed in, sign-in leads to %q", in.Header.Get("Location"))
	}
	for _, page := range []string{"/verify", "/link"} {
		if strings.Contains(text(b.get(page+"?next="+url.QueryEscape(evil))), "evil") {
			t.Errorf("%s goes on to others", page)
		}
	}
	refused := b.form("/passkeys/remove", url.Values{"id": {"none"}}, func(r *http.Request) { r.Header.Set("Referer", "https://evil.example/elsewhere") })
	if strings.Contains(text(refused), "evil") || strings.Contains(text(refused), "elsewhere") {
		t.Error("a refusal leads back to others")
	}
	b.form("/sign-out", nil)
	if in := b.ceremony("/sign-in", b.key.Assert, message{Next: evil}); strings.TrimSpace(text(in)) != `{"next":"/"}` {
		t.Errorf("after a sign-in: %s", text(in))
	}
}

func TestRatesOfStrangers(t *testing.T) {
	var keys []string
	g := newRig(t, func(c *Config) {
		c.Allow = func(key string) bool { keys = append(keys, key); return false }
	})
	for _, route := range g.routes {
		stranger := strings.HasPrefix(route.Pattern, "POST") && (route.Access == ByAnyone || route.Access == BySecret)
		answer := g.ask(g.browser(), route)
		if (answer.StatusCode == http.StatusTooManyRequests) != stranger {
			t.Errorf("%s: %d", route.Pattern, answer.StatusCode)
		}
		if stranger && answer.Header.Get("Retry-After") == "" {
			t.Errorf("%s does not say when to come back", route.Pattern)
		}
	}
	if len(keys) == 0 || slices.ContainsFunc(keys, func(k string) bool { return k != "192.0.2.7" }) {
		t.Errorf("counted by %q", keys)
	}
}

// Whoever is signed in is counted, too: by person, for what changes something.
func TestRatesOfPersons(t *testing.T) {
	over := false
	var ids []string
	g := newRig(t, func(c *Config) {
		c.AllowPerson = func(id string) bool { ids = append(ids, id); return !over }
	})
	b := g.join("alice", store.RoleAdministrator)
	ids = nil
	if page := b.get("/"); page.StatusCode != http.StatusOK || len(ids) != 0 || page.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("a page: %d, counted %q, %v", page.StatusCode, ids, page.Header)
	}
	over = true
	for _, route := range g.routes {
		if strings.HasPrefix(route.Pattern, "POST") && (route.Access == ByPerson || route.Access == ByFresh) {
			if answer := g.ask(b, route); answer.StatusCode != http.StatusTooManyRequests {
				t.Errorf("%s: %d", route.Pattern, answer.StatusCode)
			}
		}
	}
	if len(ids) == 0 || slices.ContainsFunc(ids, func(id string) bool { return !strings.HasPrefix(id, "p_") }) {
		t.Errorf("counted by %q", ids)
	}
}

// What we did not foresee tells nothing, and a handler's refusal is told as JSON
// to who asks for it.
func TestErrorsTellNothing(t *testing.T) {
	s := sampleSite()
	for _, body := range []form{noBody, formBody, jsonBody} {
		w := httptest.NewRecorder()
		r := &request{Request: httptest.NewRequest(http.MethodPost, "/passkeys", nil)}
		s.answerError(w, r, row{body: body}, errors.New("the disk said hush-hush"))
		if w.Code != 500 || strings.Contains(w.Body.String(), "hush") || code(w.Result()) != "internal" {
			t.Errorf("%q: %d %s", body, w.Code, code(w.Result()))
		}
	}
	for _, status := range []int{0, 200, 303, 700} {
		w := httptest.NewRecorder()
		s.answerError(w, &request{Request: httptest.NewRequest(http.MethodGet, "/", nil)}, row{}, &people.Refusal{Status: status, Code: "odd"})
		if w.Code != 500 {
			t.Errorf("a refusal with status %d answers %d", status, w.Code)
		}
	}
	g := newRig(t)
	lost := g.browser().get("/no/such/page", func(r *http.Request) { r.Header.Set("Accept", "application/json") })
	if lost.StatusCode != 404 || lost.Header.Get("Content-Type") != "application/problem+json" || code(lost) != "not-found" {
		t.Errorf("a program that is lost: %d %s", lost.StatusCode, lost.Header.Get("Content-Type"))
	}
}
