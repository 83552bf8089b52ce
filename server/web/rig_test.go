package web

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"muster/server/decide"
	"muster/server/passkey/passkeytest"
	"muster/server/people"
	"muster/server/session"
	"muster/server/store"
)

const local people.Actor = "local administrator"

// rig is the pages over real people and a real store.
type rig struct {
	t      testing.TB
	ms     atomic.Int64
	people *people.People
	routes []Route
	mux    *http.ServeMux
	// stands is how everybody stands with the one application that there is, at
	// wikiHost.
	stands Standing
	asked  []string // hosts and paths that it was asked for
	terms  people.ElevationTerms
	desk   *Office
	laptop *Laptop
}

const wikiHost = "wiki.muster.example"

// standing is a StandingFunc.
func (g *rig) standing(ctx context.Context, cookie, host, back string, _ people.From) (*Standing, bool) {
	g.asked = append(g.asked, host+" "+back)
	if host != wikiHost {
		return nil, false
	}
	st := g.stands
	if _, err := g.people.Who(ctx, cookie, people.From{}); err != nil {
		st = Standing{App: st.App, Decision: decide.NoSession("sign-in")}
	}
	st.Host = host
	st.Again = "https://" + wikiHost + "/.muster/start?" + url.Values{"back": {back}}.Encode()
	return &st, true
}

func (g *rig) now() time.Time          { return time.UnixMilli(g.ms.Load()).UTC() }
func (g *rig) advance(d time.Duration) { g.ms.Add(d.Milliseconds()) }

func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	return newRigAt(t, testOrigin, "muster.example", change...)
}

func newRigAt(t testing.TB, origin, rpID string, change ...func(*Config)) *rig {
	t.Helper()
	g := &rig{t: t, mux: http.NewServeMux(), desk: sampleOffice()}
	g.stands = Standing{App: decide.App{ID: "wiki", Hosts: []string{wikiHost}}, Decision: decide.Decision{Outcome: decide.Allow}}
	g.ms.Store(noon().UnixMilli())
	kept, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "data", "muster.db"), Now: g.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kept.Close() })
	var meta *store.Meta
	if err := kept.View(t.Context(), func(tx *store.Tx) (err error) { meta, err = tx.Meta(); return err }); err != nil {
		t.Fatal(err)
	}
	laptop := sampleLaptop()
	g.laptop = laptop
	own := func(owner string) []session.Device {
		if owner != laptop.Owner {
			return nil
		}
		return []session.Device{laptop.Device}
	}
	quiet := slog.New(slog.DiscardHandler)
	g.people, err = people.New(people.Config{Store: kept, Origin: origin, RPID: rpID, Now: g.now, Log: quiet,
		Device:  func(id string) (session.Device, bool) { return laptop.Device, id == laptop.ID },
		Devices: own, Elevation: func(*session.Session, string) (people.ElevationTerms, error) { return g.terms, nil }, Limits: func() session.Limits { return session.Limits{Idle: 8 * time.Hour, Absolute: 24 * time.Hour} }}, meta)
	if err != nil {
		t.Fatal(err)
	}
	c := Config{People: g.people, Origin: origin, LinkPort: 17117, Now: g.now, Log: quiet,
		Laptop:  func(id string) (*Laptop, bool) { return laptop, id == laptop.ID },
		Address: func(r *http.Request) string { return "192.0.2.7" }, Standing: g.standing, Office: g.desk}
	for _, f := range change {
		f(&c)
	}
	g.routes = Routes(c)
	for _, r := range g.routes {
		g.mux.Handle(r.Pattern, r.Handler)
	}
	return g
}

// browser is somebody's: it keeps cookies as a browser does and has a key.
type browser struct {
	g    *rig
	jar  map[string]string
	set  map[string]*http.Cookie // as they were set
	key  *passkeytest.Authenticator
	name string
}

func (g *rig) browser() *browser {
	return &browser{g: g, jar: map[string]string{}, set: map[string]*http.Cookie{}, key: passkeytest.New(g.t, testOrigin)}
}

// do sends a request as a page of ours would; change spoils it.
func (b *browser) do(method, path, kind, body string, change ...func(*http.Request)) *http.Response {
	b.g.t.Helper()
	r := httptest.NewRequestWithContext(context.Background(), method, path, strings.NewReader(body))
	r.Host = strings.TrimPrefix(testOrigin, "https://")
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Chrome/156.0.0.0")
	if method != http.MethodGet {
		r.Header.Set("Origin", testOrigin)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.Header.Set("Content-Type", kind)
	}
	for name, value := range b.jar {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	b.g.mux.ServeHTTP(w, r)
	answer := w.Result()
	for _, c := range answer.Cookies() {
		b.set[c.Name] = c
		if c.MaxAge < 0 {
			delete(b.jar, c.Name)
		} else {
			b.jar[c.Name] = c.Value
		}
	}
	return answer
}

func (b *browser) get(path string, change ...func(*http.Request)) *http.Response {
	return b.do(http.MethodGet, path, "", "", change...)
}

func (b *browser) form(path string, values url.Values, change ...func(*http.Request)) *http.Response {
	return b.do(http.MethodPost, path, "application/x-www-form-urlencoded", values.Encode(), change...)
}

func (b *browser) json(path string, v any, change ...func(*http.Request)) *http.Response {
	body, err := json.Marshal(v)
	if err != nil {
		b.g.t.Fatal(err)
	}
	return b.do(http.MethodPost, path, "application/json", string(body), change...)
}

// ceremony runs one as the script does.
func (b *browser) ceremony(base string, answer func(options []byte) []byte, typed message) *http.Response {
	b.g.t.Helper()
	begun := b.json(base+"/begin", message{Secret: typed.Secret})
	if begun.StatusCode != http.StatusOK {
		b.g.t.Fatalf("%s/begin: %s", base, text(begun))
	}
	var reply beginReply
	if err := json.NewDecoder(begun.Body).Decode(&reply); err != nil {
		b.g.t.Fatal(err)
	}
	typed.Response = answer(reply.Options)
	return b.json(base+"/finish", typed)
}

// join makes a person, and their browser, signed in by an invitation.
func (g *rig) join(name string, role store.Role) *browser {
	g.t.Helper()
	link, err := g.people.Invite(g.t.Context(), local, people.Invitation{Name: name, Role: role})
	if err != nil {
		g.t.Fatal(err)
	}
	b := g.browser()
	b.name = name
	_, secret, _ := strings.Cut(link, "#")
	if opened := b.form("/invitation/open", url.Values{"secret": {secret}}); opened.StatusCode != 200 || !strings.Contains(text(opened), name) {
		g.t.Fatalf("the invitation of %s does not open", name)
	}
	if done := b.ceremony("/invitation", b.key.Register, message{Secret: secret, Name: "first"}); done.StatusCode != http.StatusOK {
		g.t.Fatalf("accepting: %s", text(done))
	}
	return b
}

// stale lets hands get cold.
func (g *rig) stale() { g.advance(session.FreshFor + time.Second) }

func text(r *http.Response) string {
	b, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(b))
	return string(b)
}

// code is the stable code of a refusal, of a page or of a problem document.
func code(r *http.Response) string {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/problem+json") {
		var p struct{ Code string }
		_ = json.Unmarshal([]byte(text(r)), &p)
		return p.Code
	}
	_, after, ok := strings.Cut(text(r), "tell this code: <code>")
	if !ok {
		return ""
	}
	code, _, _ := strings.Cut(after, "</code>")
	return code
}
