package gateway

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"muster/server/decide"
)

func page(d Dialect) http.Header {
	h := honest(d)
	h.Set("Sec-Fetch-Mode", "navigate")
	h.Set("Sec-Fetch-Dest", "document")
	h.Set("Accept", "text/html")
	return h
}

func because(code, claim string) decide.Reason {
	return decide.Reason{Code: code, Claim: claim, Text: "It is so.", Fix: "Change it."}
}

// refusals are answers that let nothing through, and what a program is told.
func refusals() map[string]struct {
	answer    *Answer
	status    int
	code      string
	challenge string
	location  string // for the page at /page?x=1
} {
	type row = struct {
		answer                    *Answer
		status                    int
		code, challenge, location string
	}
	const access = "https://id.corp.example/access?host=wiki.corp.example&back=%2Fpage%3Fx%3D1"
	const more = `Bearer realm="muster", error="insufficient_user_authentication", error_description="It is so."`
	rows := map[string]row{
		"nobody": {outcome(decide.StepUp, Identity{}, because("sign-in", "session")), 401, "sign-in", `Bearer realm="muster"`,
			"https://wiki.corp.example/.muster/start?back=%2Fpage%3Fx%3D1"},
		"nobody, for good": {outcome(decide.Deny, Identity{}, because("disabled", "")), 403, "disabled", "", access},
		"old hands":        {outcome(decide.StepUp, alice(), because("fresh-hands", "verification")), 401, "fresh-hands", more + `, max_age="300"`, access},
		"weak passkey":     {outcome(decide.StepUp, alice(), because("hardware-passkey", "passkey")), 401, "hardware-passkey", more + `, acr_values="muster:passkey-attested"`, access},
		"both": {outcome(decide.StepUp, alice(), because("a", "passkey"), because("b", "verification")), 401, "a",
			more + `, acr_values="muster:passkey-attested", max_age="300"`, access},
		"elevation":              {outcome(decide.StepUp, alice(), because("elevation-needed", "")), 401, "elevation-needed", more, access},
		"denied":                 {outcome(decide.Deny, alice(), because("disk-encrypted", "disk_encryption")), 403, "disk-encrypted", "", access},
		"restrict, not enforced": {outcome(decide.Restrict, alice(), because("old-os", "os")), 403, "old-os", "", access},
		"zero":                   {new(Answer), 403, "internal", "", access},
	}
	out := make(map[string]struct {
		answer    *Answer
		status    int
		code      string
		challenge string
		location  string
	}, len(rows))
	for name, r := range rows {
		out[name] = r
	}
	return out
}

func TestProgramsGetProblems(t *testing.T) {
	for name, want := range refusals() {
		for _, d := range dialects() {
			g := newRig(t, d)
			g.answer = func(*Question) *Answer { return want.answer }
			g.refuses(name, g.path(), honest(d), want.status, want.code)
			for _, path := range []string{g.path(), g.path() + "/refused"} {
				if got := g.ask(path, honest(d)).Header().Get("WWW-Authenticate"); got != want.challenge {
					t.Errorf("%s %s: challenge %s", name, path, got)
				}
			}
			p := g.problem(g.ask(g.path()+"/refused", honest(d)))
			if p.Outcome != want.answer.Decision().Outcome.String() || p.Location == "" || len(p.Reasons) != len(want.answer.Decision().Reasons) {
				t.Errorf("%s: %+v", name, p)
			}
			for _, r := range p.Reasons {
				if r.Code == "" || r.Text == "" || r.Fix == "" {
					t.Errorf("%s: a reason without words: %+v", name, r)
				}
			}
		}
	}
}

// A page is sent to where its person can do something about it; nginx passes that
// on from the second question only.
func TestPagesAreSentOn(t *testing.T) {
	for name, want := range refusals() {
		for _, d := range dialects() {
			g := newRig(t, d)
			g.answer = func(*Question) *Answer { return want.answer }
			for _, path := range []string{g.path(), g.path() + "/refused"} {
				w := g.ask(path, page(d))
				if d == Nginx && path == g.path() {
					if w.Code != want.status || w.Header().Get("Location") != "" || w.Body.Len() > 0 {
						t.Errorf("%s: nginx gets %d %v %s", name, w.Code, w.Header(), w.Body)
					}
					continue
				}
				if w.Code != http.StatusSeeOther || w.Header().Get("Location") != want.location || w.Body.Len() > 0 {
					t.Errorf("%s: %s %s: %d %s", name, d, path, w.Code, w.Header().Get("Location"))
				}
			}
		}
	}
}

// Where a page is sent to is muster's or the application's own host, and what the
// client wrote stays one parameter.
func TestLocationIsNobodyElses(t *testing.T) {
	for _, who := range []Identity{{}, alice()} {
		for _, target := range append(ambiguous(), "/?a=b&host=evil.example", "/&host=evil.example", "/a%26host=evil", "/.muster/start", "/%2e%2e/.muster/x", "/@evil.example") {
			if target == "" {
				continue
			}
			g := newRig(t, HAProxy)
			g.answer = func(*Question) *Answer { return outcome(decide.StepUp, who, because("c", "")) }
			h := page(HAProxy)
			h["X-Forwarded-Uri"] = []string{target}
			h.Set("X-Original-Host", "evil.example")
			h.Set("Host", "evil.example")
			w := g.ask(g.path(), h)
			to, err := url.Parse(w.Header().Get("Location"))
			if err != nil || w.Code != http.StatusSeeOther || to.Scheme != "https" || to.User != nil || to.Fragment != "" {
				t.Fatalf("%q: %d %q %v", target, w.Code, w.Header().Get("Location"), err)
			}
			start := to.Host == "wiki.corp.example" && to.Path == "/.muster/start" && len(to.Query()) == 1
			access := to.Host == "id.corp.example" && to.Path == "/access" && len(to.Query()) == 2 && to.Query().Get("host") == "wiki.corp.example"
			back := to.Query()["back"]
			if !start && !access || len(back) != 1 || backTo(back[0]) != back[0] || strings.Contains(w.Header().Get("Location"), ".muster/x") {
				t.Errorf("%q leads to %s", target, to)
			}
		}
	}
}

func TestRestrict(t *testing.T) {
	restricted := outcome(decide.Restrict, alice(), because("old-os", "os"))
	for _, d := range dialects() {
		g := newRig(t, d)
		g.answer = func(*Question) *Answer { return restricted }
		g.credential.Restricts = true
		for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
			h := honest(d)
			h.Set(names(d)[0], method)
			w := g.ask(g.path(), h)
			if w.Code != http.StatusOK || w.Header().Get("X-Muster-Outcome") != "restrict" || w.Header().Get("X-Muster-Restrict") != "read-only" {
				t.Errorf("%s: %s: %d %v", d, method, w.Code, w.Header())
			}
		}
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "GETX", "QUERY"} {
			h := honest(d)
			h.Set(names(d)[0], method)
			g.refuses(method, g.path(), h, http.StatusForbidden, "restricted")
		}
		own, _ := grammarOf(d)
		for name, value := range map[string]string{
			own.upgrade: "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
			"X-HTTP-Method-Override": "DELETE", "X-HTTP-Method": "PUT", "X-Method-Override": "",
		} {
			h := honest(d)
			h.Set(name, value)
			g.refuses(name, g.path(), h, http.StatusForbidden, "restricted")
		}
		h := honest(d)
		h.Set(names(d)[0], "POST")
		p := g.problem(g.ask(g.path()+"/refused", h))
		if p.Outcome != "restrict" || len(p.Reasons) != 2 || p.Reasons[1].Code != "old-os" || len(restricted.Decision().Reasons) != 1 {
			t.Errorf("%s: %+v", d, p)
		}
		g.credential.Restricts = false
		g.refuses("not enforced", g.path(), honest(d), http.StatusForbidden, "old-os")
		for _, o := range []decide.Outcome{decide.Deny, decide.StepUp, decide.Outcome(7)} {
			g.credential.Restricts = true
			g.answer = func(*Question) *Answer { return outcome(o, alice(), because("c", "")) }
			if w := g.ask(g.path(), honest(d)); w.Code == http.StatusOK {
				t.Errorf("%s: %v passes", d, o)
			}
		}
	}
}

// Between two questions about one request the answer may have turned.
func TestRefusedThatWouldPassNow(t *testing.T) {
	for _, d := range dialects() {
		g := newRig(t, d)
		w := g.ask(g.path()+"/refused", page(d))
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "https://wiki.corp.example/page?x=1" || w.Header().Get("X-Muster-User") != "" {
			t.Errorf("%s: a page: %d %v", d, w.Code, w.Header())
		}
		w = g.ask(g.path()+"/refused", honest(d))
		if w.Code != http.StatusServiceUnavailable || g.problem(w).Code != "try-again" || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: a program: %d %v %s", d, w.Code, w.Header(), w.Body)
		}
	}
}

func TestHeadHasNoBody(t *testing.T) {
	for _, d := range dialects() {
		g := newRig(t, d)
		g.answer = func(*Question) *Answer { return outcome(decide.Deny, alice(), because("c", "")) }
		h := honest(d)
		h.Set(names(d)[0], "HEAD")
		for _, path := range []string{g.path(), g.path() + "/refused"} {
			if w := g.ask(path, h); w.Code != http.StatusForbidden || w.Body.Len() > 0 {
				t.Errorf("%s: %d %s", d, w.Code, w.Body)
			}
		}
		// A check that is itself a HEAD, and cannot be read.
		r := httptest.NewRequest(http.MethodHead, g.path()+"/refused", nil)
		if w := g.serve(r); w.Code != http.StatusUnauthorized || w.Body.Len() > 0 {
			t.Errorf("%s: %d %s", d, w.Code, w.Body)
		}
	}
}

// What is on trial is nobody's business outside; what does not count yet says when.
func TestReasonsThatAreTold(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	a := NewAnswer(decide.Decision{Outcome: decide.StepUp, Reasons: []decide.Reason{
		{Code: "trial", Outcome: decide.StepUp, ReportOnly: true, Claim: "passkey"},
		{Code: "grace", Outcome: decide.StepUp, Grace: at, Claim: "passkey"},
		{Code: "bypass", Outcome: decide.StepUp, Bypass: at.Add(time.Hour), Grace: at, Claim: "verification"},
		{Code: "lesser", Outcome: decide.Restrict},
		{Code: "main", Outcome: decide.StepUp, Text: "Say \"x\" \\ ä\r\n" + strings.Repeat("y", 300)},
	}}, alice())
	g := newRig(t, Caddy)
	g.answer = func(*Question) *Answer { return a }
	w := g.ask(g.path(), honest(Caddy))
	p := g.problem(w)
	if p.Code != "main" || len(p.Reasons) != 4 || p.Reasons[0].CountsFrom != "2026-01-02T02:04:05Z" || p.Reasons[1].CountsFrom != "2026-01-02T03:04:05Z" {
		t.Errorf("%+v", p)
	}
	c := w.Header().Get("WWW-Authenticate")
	if strings.Contains(c, "max_age") || strings.Contains(c, "acr_values") || strings.Count(c, `"`) != 6 || strings.ContainsAny(c, "\\\r\nä") || len(c) > 350 {
		t.Errorf("challenge %q", c)
	}
}

func TestPlacesScheme(t *testing.T) {
	q := &Question{App: "wiki", Host: "wiki.muster.localhost:8080", Back: "/", Navigation: true}
	r := Places{PublicURL: "http://id.muster.localhost:8080"}.Reply(outcome(decide.StepUp, Identity{}, because("sign-in", "")), q, &Credential{})
	if r.Status != http.StatusSeeOther || r.Header.Get("Location") != "http://wiki.muster.localhost:8080/.muster/start?back=%2F" {
		t.Errorf("%+v", r)
	}
	r = Places{}.Reply(allowed(), q, &Credential{})
	if r.Status != http.StatusOK || r.Header.Get("X-Muster-User") != "alice" || len(r.Body) > 0 {
		t.Errorf("%+v", r)
	}
	r = Places{}.Reply(outcome(decide.Deny, alice(), because("c", "")), q, &Credential{})
	if r.Status != http.StatusForbidden || len(r.Body) == 0 || r.Header.Get("Location") != "" {
		t.Errorf("no public URL: %+v", r)
	}
}
