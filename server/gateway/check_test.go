package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/server/decide"
)

const visitCookie = "msv_" + "0123456789abcdefghijABCDEFGHIJ0123456789-_0"

// rig is one dialect's handler, with what it was asked last.
type rig struct {
	t          *testing.T
	dialect    Dialect
	answer     func(*Question) *Answer
	credential Credential
	asked      *Question
	mint       func(*Answer, *Credential, string) string
}

func newRig(t *testing.T, d Dialect) *rig {
	return &rig{t: t, dialect: d, credential: Credential{ID: "g", Dialect: d, Apps: []string{"wiki"}, Audience: "aud"},
		answer: func(*Question) *Answer { return allowed() }}
}

// alice is somebody of whom everything is known.
func alice() Identity {
	return Identity{User: "alice", Mail: "alice@corp.example", Groups: []string{"dev", "ops"}, Session: "s1", Device: "d1",
		Level: "tpm-hw", AMR: []string{"hwk", "mfa"}, ACR: "muster:passkey"}
}

func allowed() *Answer { return NewAnswer(decide.Decision{Outcome: decide.Allow}, alice()) }

func outcome(o decide.Outcome, who Identity, reasons ...decide.Reason) *Answer {
	for i := range reasons {
		reasons[i].Outcome = o
	}
	return NewAnswer(decide.Decision{Outcome: o, Reasons: reasons}, who)
}

// honest are the headers of a page's GET as a dialect's gateway sends it.
func honest(d Dialect) http.Header {
	h := http.Header{}
	h.Set("Authorization", "Bearer "+secret)
	h.Set("Cookie", "theme=dark; __Host-muster-app="+visitCookie)
	h.Set("X-Forwarded-For", "203.0.113.9")
	h.Set("X-Forwarded-Host", "wiki.corp.example")
	method, uri := "X-Forwarded-Method", "X-Forwarded-Uri"
	if d == Nginx {
		method, uri = "X-Original-Method", "X-Original-URI"
	}
	h.Set(method, "GET")
	h.Set(uri, "/page?x=1")
	return h
}

// dialects are those that ask by HTTP.
func dialects() []Dialect { return []Dialect{Nginx, Caddy, Traefik, HAProxy, HTTP} }

func (g *rig) path() string { return "/check/" + string(g.dialect) + "/wiki" }

func (g *rig) ask(path string, h http.Header) *httptest.ResponseRecorder {
	g.t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header = h
	return g.serve(r)
}

func (g *rig) serve(r *http.Request) *httptest.ResponseRecorder {
	g.t.Helper()
	g.asked = nil
	look := func(ctx context.Context, q *Question, c *Credential) *Answer {
		g.asked = q
		if limit, ok := ctx.Deadline(); !ok || time.Until(limit) > maxLook {
			g.t.Error("the look has no limit")
		}
		return g.answer(q)
	}
	authenticate := func(_ context.Context, s string) (*Credential, bool) { return &g.credential, s == secret }
	w := httptest.NewRecorder()
	Check(g.dialect, look, authenticate, Places{PublicURL: "https://id.corp.example", Mint: g.mint}).ServeHTTP(w, r)
	if cache := w.Header().Get("Cache-Control"); w.Code != http.StatusNotFound && cache != "no-store" {
		g.t.Errorf("Cache-Control is %q", cache)
	}
	return w
}

// problem reads a refusal, and checks what all have in common.
func (g *rig) problem(w *httptest.ResponseRecorder) problem {
	g.t.Helper()
	var p problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Header().Get("Content-Type") != "application/problem+json" {
		g.t.Fatalf("%d %v %s: %v", w.Code, w.Header(), w.Body, err)
	}
	if p.Status != w.Code || p.Title != http.StatusText(w.Code) || p.Type != "about:blank" || p.Code == "" || w.Header().Get("Vary") == "" && w.Code != 503 {
		g.t.Errorf("%d %v %+v", w.Code, w.Header(), p)
	}
	return p
}

// refuses wants a refusal with that status and code on the page that answers in
// full, nothing that could pass for an allow, and no look where none is due.
func (g *rig) refuses(name, path string, h http.Header, status int, code string) {
	g.t.Helper()
	w := g.ask(path, h)
	if w.Code != status {
		g.t.Errorf("%s: %d, want %d %s: %s", name, w.Code, status, code, w.Body)
		return
	}
	for header := range w.Header() {
		if strings.HasPrefix(header, "X-Muster-") {
			g.t.Errorf("%s: a refusal carries %s", name, header)
		}
	}
	if g.dialect == Nginx && !strings.HasSuffix(path, "/refused") {
		if w.Body.Len() > 0 {
			g.t.Errorf("%s: a body: %s", name, w.Body)
		}
		g.refuses(name, path+"/refused", h, status, code)
		return
	}
	if p := g.problem(w); p.Code != code {
		g.t.Errorf("%s: %+v, want %s", name, p, code)
	}
}

func TestCheckAllows(t *testing.T) {
	for _, d := range dialects() {
		g := newRig(t, d)
		g.mint = func(a *Answer, c *Credential, app string) string {
			return "a.b." + a.Identity().User + "-" + c.Audience + "-" + app
		}
		w := g.ask(g.path(), honest(d))
		if w.Code != http.StatusOK || w.Body.Len() != 0 {
			t.Fatalf("%s: %d %s", d, w.Code, w.Body)
		}
		for name, want := range map[string]string{
			"X-Muster-User": "alice", "X-Muster-Mail": "alice@corp.example", "X-Muster-Groups": "dev,ops", "X-Muster-Session": "s1",
			"X-Muster-Device": "d1", "X-Muster-Level": "tpm-hw", "X-Muster-ACR": "muster:passkey", "X-Muster-AMR": "hwk,mfa",
			"X-Muster-Outcome": "allow", "X-Muster-Restrict": "", "X-Muster-Token": "a.b.alice-aud-wiki",
		} {
			if got := w.Header().Values(name); !slices.Equal(got, []string{want}) {
				t.Errorf("%s: %s is %q, want %q", d, name, got, want)
			}
		}
		want := Question{App: "wiki", Host: "wiki.corp.example", Cookie: visitCookie, Back: "/",
			Request: decide.Request{Method: "GET", Path: "/page", Address: netip.MustParseAddr("203.0.113.9")}}
		if *g.asked != want {
			t.Errorf("%s: asked %+v, want %+v", d, *g.asked, want)
		}
	}
}

// Every identity header is there and set, whoever it is about, so that none of the
// client's comes through.
func TestEveryIdentityHeaderIsSet(t *testing.T) {
	g := newRig(t, Caddy)
	for _, who := range []Identity{{}, alice()} {
		for _, o := range []decide.Outcome{decide.Allow, decide.Restrict} {
			g.credential.Restricts = true
			g.answer = func(*Question) *Answer { return outcome(o, who) }
			h := honest(Caddy)
			for _, name := range IdentityHeaders() {
				h.Set(name, "root")
			}
			w := g.ask(g.path(), h)
			if w.Code != http.StatusOK {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			for _, name := range IdentityHeaders() {
				if got, there := w.Header()[name]; !there || len(got) != 1 || got[0] == "root" {
					t.Errorf("%s is %q", name, got)
				}
			}
			if len(IdentityHeaders()) != 11 {
				t.Errorf("%d identity headers", len(IdentityHeaders()))
			}
		}
	}
}

// What a header says is one value, and of a list each element stays one, whatever
// names are.
func TestHeadersCannotBeSmuggled(t *testing.T) {
	g := newRig(t, HTTP)
	g.answer = func(*Question) *Answer {
		return NewAnswer(decide.Decision{Outcome: decide.Allow}, Identity{
			User: "a\r\nX-Muster-Groups: admin", Mail: "ä%b@x", Groups: []string{"a,admin", "", " b ", "c\x00\xff"}, Level: "x\ty",
		})
	}
	w := g.ask(g.path(), honest(HTTP))
	for name, want := range map[string]string{
		"X-Muster-User": "a%0D%0AX-Muster-Groups: admin", "X-Muster-Mail": "%C3%A4%25b@x", "X-Muster-Groups": "a%2Cadmin,%20b%20,c%00%FF",
		"X-Muster-Level": "x%09y",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, bad := range []string{"a b", "a\r\nb", "a,b", "ä", `a"`} {
		g.mint = func(*Answer, *Credential, string) string { return bad }
		if got := g.ask(g.path(), honest(HTTP)).Header()["X-Muster-Token"]; !slices.Equal(got, []string{""}) {
			t.Errorf("token %q is passed on as %q", bad, got)
		}
	}
	g.credential.Audience = ""
	g.mint = func(*Answer, *Credential, string) string { return "a.b.c" }
	if got := g.ask(g.path(), honest(HTTP)).Header().Get("X-Muster-Token"); got != "" {
		t.Errorf("a credential without audience has the token %q", got)
	}
}

// A gateway that is not known, is of another kind or serves other applications
// learns nothing, and nobody is looked up for it.
func TestCheckNeedsItsCredential(t *testing.T) {
	for _, d := range dialects() {
		g := newRig(t, d)
		g.answer = func(*Question) *Answer { t.Error("looked up"); return allowed() }
		for name, values := range map[string][]string{
			"none": nil, "wrong": {"Bearer mgw_x"}, "empty": {"Bearer "}, "bare": {secret}, "basic": {"Basic " + secret},
			"two": {"Bearer " + secret, "Bearer " + secret}, "joined": {"Bearer " + secret + ", Bearer x"},
			"long": {"Bearer " + secret + strings.Repeat("x", maxSecret)}, "spaced": {"Bearer  " + secret}, "blank": {""},
		} {
			h := honest(d)
			h["Authorization"] = values
			g.refuses(name, g.path(), h, http.StatusUnauthorized, "gateway-unknown")
		}
		for _, other := range append(dialects(), Envoy, AuthZEN, "", "NGINX") {
			if g.credential.Dialect = other; other != d {
				g.refuses("as "+string(other), g.path(), honest(d), http.StatusForbidden, "dialect-wrong")
			}
		}
		g.credential.Dialect = d
		for _, apps := range [][]string{nil, {""}, {"mail"}, {"wik", "wikis", "WIKI"}} {
			g.credential.Apps = apps
			g.refuses("apps", g.path(), honest(d), http.StatusForbidden, "app-not-yours")
		}
		g.credential.Apps = []string{"*"}
		g.answer = func(*Question) *Answer { return allowed() }
		if w := g.ask(g.path(), honest(d)); w.Code != http.StatusOK {
			t.Errorf("%s: *: %d", d, w.Code)
		}
	}
}

// The path alone names dialect and application; nothing stands for anything else.
func TestCheckPath(t *testing.T) {
	for _, d := range dialects() {
		g := newRig(t, d)
		g.credential.Apps = []string{"*"}
		g.answer = func(*Question) *Answer { t.Error("looked up"); return allowed() }
		for _, path := range []string{
			"/check/" + string(d), "/check/" + string(d) + "/", "/check/" + string(d) + "/*", "/check/" + string(d) + "/%2a", "/check//wiki",
			g.path() + "/", g.path() + "/refuse", g.path() + "/refused/", g.path() + "/refused/x", g.path() + "%2frefused",
			"/check/" + string(d) + "/wiki%2fmail", "/check/authzen/wiki", "/check/envoy/wiki", "/check/" + strings.ToUpper(string(d)) + "/wiki",
			"/check/other/wiki", "/", "/x" + g.path(),
		} {
			if w := g.ask(path, honest(d)); w.Code != http.StatusNotFound {
				t.Errorf("%s: %s: %d", d, path, w.Code)
			}
		}
	}
	for _, d := range []Dialect{Envoy, AuthZEN, "", "other"} {
		if w := newRig(t, d).ask("/check/"+string(d)+"/wiki", honest(Nginx)); w.Code != http.StatusNotFound {
			t.Errorf("%q is asked by HTTP: %d", d, w.Code)
		}
	}
}

// Behind a socket or certificate of its own a gateway needs no secret, and the
// Authorization header is the client's.
func TestCheckByPeer(t *testing.T) {
	g := newRig(t, Nginx)
	authenticate := func(ctx context.Context, s string) (*Credential, bool) {
		if s != "" {
			return &g.credential, s == secret
		}
		return &g.credential, PeerOf(ctx).Gateway == "g"
	}
	look := func(context.Context, *Question, *Credential) *Answer { return allowed() }
	h := Check(Nginx, look, authenticate, Places{})
	for _, test := range []struct {
		name, authorization string
		peer                *Peer
		status              int
	}{
		{"socket", "", &Peer{Gateway: "g"}, http.StatusOK},
		{"socket, the client's header", "Bearer other", &Peer{Gateway: "g"}, http.StatusOK},
		{"another socket", "", &Peer{Gateway: "h"}, http.StatusUnauthorized},
		{"another socket, secret", "Bearer " + secret, &Peer{Gateway: "h"}, http.StatusOK},
		{"unknown certificate, wrong secret", "Bearer other", &Peer{Certificate: "00"}, http.StatusUnauthorized},
		{"no peer", "", &Peer{}, http.StatusUnauthorized},
		{"nothing", "", nil, http.StatusUnauthorized},
	} {
		r := httptest.NewRequest(http.MethodGet, "/check/nginx/wiki", nil)
		r.Header = honest(Nginx)
		r.Header.Del("Authorization")
		if test.authorization != "" {
			r.Header.Set("Authorization", test.authorization)
		}
		if test.peer != nil {
			r = r.WithContext(WithPeer(r.Context(), *test.peer))
		}
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != test.status {
			t.Errorf("%s: %d", test.name, w.Code)
		}
	}
	// A finder that says yes to nobody is not believed.
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/check/nginx/wiki", nil)
	r.Header = honest(Nginx)
	nobody := func(context.Context, string) (*Credential, bool) { return nil, true }
	if Check(Nginx, look, nobody, Places{}).ServeHTTP(w, r); w.Code != http.StatusUnauthorized {
		t.Errorf("nobody: %d", w.Code)
	}
}

// A look that panics, gives nothing, gives nothing decided or takes too long denies.
func TestCheckDeniesOnDefects(t *testing.T) {
	for name, answer := range map[string]func(*Question) *Answer{
		"panic": func(*Question) *Answer { panic("defect") },
		"nil":   func(*Question) *Answer { return nil },
		"zero":  func(*Question) *Answer { return new(Answer) },
		"none":  func(*Question) *Answer { return outcome(decide.Outcome(9), alice()) },
	} {
		for _, d := range dialects() {
			g := newRig(t, d)
			g.answer = answer
			g.refuses(name, g.path(), honest(d), http.StatusForbidden, "internal")
		}
	}
	late := LookFunc(func(ctx context.Context, _ *Question, _ *Credential) *Answer { <-ctx.Done(); return allowed() })
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if a := late.Ask(ctx, &Question{}, &Credential{}, (&Places{}).log()); a.Allowed() || a.Decision().Reasons[0].Code != "timeout" {
		t.Errorf("too late: %+v", a.Decision())
	}
}

// One answer serves many requests at once; what a server does to the headers of one
// does not reach another.
func TestAnswersAreShared(t *testing.T) {
	a := allowed()
	q := &Question{App: "wiki", Host: "wiki.corp.example", Back: "/", Request: decide.Request{Method: "GET"}}
	done := make(chan string)
	for i := range 8 {
		go func() {
			for range 100 {
				r := Places{}.Reply(a, q, &Credential{})
				for name := range r.Header {
					r.Header[name] = append(r.Header[name], "x")
				}
				r.Header.Set("X-Muster-User", string(rune('a'+i)))
				_ = a.Bytes()
			}
			done <- Places{}.Reply(a, q, &Credential{}).Header.Get("X-Muster-User")
		}()
	}
	for range 8 {
		if got := <-done; got != "alice" {
			t.Errorf("the user is %q", got)
		}
	}
	for _, name := range IdentityHeaders() {
		if got := (Places{}).Reply(a, q, &Credential{}).Header[name]; len(got) != 1 || got[0] == "x" {
			t.Errorf("%s is %q", name, got)
		}
	}
}
