package web

import (
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/server/browsertest"
	"muster/server/decide"
	"muster/server/people"
	"muster/server/store"
)

// newChrome is a real browser at a real listener, with an authenticator that says
// yes.
func newChrome(t *testing.T, change ...func(*Config)) (g *rig, tab *browsertest.Tab, origin string) {
	t.Helper()
	b := browsertest.Start(t)
	server := httptest.NewUnstartedServer(nil)
	port := server.Listener.Addr().String()[strings.LastIndex(server.Listener.Addr().String(), ":"):]
	origin = "http://id.muster.localhost" + port
	g = newRigAt(t, origin, "muster.localhost", change...)
	server.Config.Handler = g.mux
	server.Start()
	t.Cleanup(server.Close)
	tab = b.Profile().Tab()
	tab.Authenticator(false, false)
	return g, tab, origin
}

// A person in a real browser: the scripts run under the policy, ceremonies go
// through, cold hands are warmed before a form is sent, a secret leaves the
// address, and what is removed is signalled.
func TestBrowser(t *testing.T) {
	asked := make(chan string, 1)
	// Somebody who answers as an agent does, though it vouches for nothing.
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked <- r.Method + " " + r.URL.Path + " " + r.Header.Get("Content-Type") + " " + r.Header.Get("Cookie") + string(body)
		w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
		_, _ = io.WriteString(w, `{"confirm":"nothing"}`)
	}))
	defer agent.Close()
	port, _ := strconv.Atoi(agent.URL[strings.LastIndex(agent.URL, ":")+1:])
	g, c, origin := newChrome(t, func(c *Config) { c.LinkPort = port })
	link, err := g.people.Invite(t.Context(), local, people.Invitation{Name: "alice", Role: store.RoleAdministrator})
	if err != nil {
		t.Fatal(err)
	}
	c.Go(link)
	c.Until(`document.querySelector('form[data-ceremony="/invitation"]') && location.hash === ''`)
	c.Type("#name", "Virtual")
	c.Click(`form[data-ceremony="/invitation"] button`)
	c.At("/")
	c.Go(origin + "/passkeys")
	c.Until(`document.body.innerText.includes('Virtual')`)

	g.stale() // a form that adds power confirms first, then arrives
	c.Go(origin + "/people")
	c.Click("details.fold summary")
	c.Type("#name", "bob")
	c.Click(`form[action="/people/invite"] button`)
	c.Until(`document.getElementById('once-value')?.textContent.includes('/invitation#')`)

	g.stale()
	c.Go(origin + "/verify?next=/sessions")
	c.Click(`form[data-ceremony="/verify"] button`)
	c.At("/sessions")
	c.Click(`.account button`)
	// Where the browser offers passkeys by itself the authenticator takes one at
	// once, and there is no button left to press.
	c.Until(`location.pathname === '/' || (document.querySelector('form[data-ceremony="/sign-in"]:not([aria-busy="true"]) button')?.click(), false)`)
	c.At("/")

	c.Go(origin + "/invitation#mso_wrong")
	c.Until(`document.querySelector('#opened [role=alert]')`)
	c.Go(origin + "/recover")
	c.Until(`document.querySelector('.ways') && !document.querySelector('#state')`)

	c.Go(origin + "/link")
	c.Click(`[data-way="loopback"]`)
	c.Until(`document.querySelector('[data-says="loopback"]').classList.contains('bad')`)
	if got := <-asked; !strings.HasPrefix(got, `POST /link text/plain {"link":"`) || !strings.Contains(got, `","nonce":"`) {
		t.Errorf("the agent is asked %q", got)
	}
	c.Click(`[data-way="code"]`)
	c.Until(`!document.querySelector('[data-code]').hidden`)

	for _, said := range c.Said() {
		// What the test provokes is told by the browser, too.
		if !strings.Contains(said, "Failed to load resource") {
			t.Errorf("the console says %s", said)
		}
	}
}

// A page elsewhere cannot act for who is signed in here.
func TestBrowserRefusesOtherOrigins(t *testing.T) {
	g, c, origin := newChrome(t)
	link, err := g.people.Invite(t.Context(), local, people.Invitation{Name: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	c.Go(link)
	c.Until(`document.querySelector('form[data-ceremony="/invitation"]')`)
	c.Click(`form[data-ceremony="/invitation"] button`)
	c.At("/")
	evil := httptest.NewServer(nil)
	defer evil.Close()
	// The same site and another origin: its cookies come along.
	address := strings.Replace(strings.Replace(origin, "id.", "evil.", 1), origin[strings.LastIndex(origin, ":"):], evil.URL[strings.LastIndex(evil.URL, ":"):], 1)
	c.Go(address + "/" + url.PathEscape("page"))
	browsertest.Eval[bool](c, fmt.Sprintf(`(() => { const f = document.createElement('form'); f.method = 'post'; f.action = %q + '/sessions/end-all'; document.body.append(f); f.submit(); return true })()`, origin))
	c.Until(`document.body.innerText.includes('cross-origin')`)
	c.Go(origin + "/sessions")
	c.At("/sessions")
}

// From the page that says why an application is closed a person gets to it: hands are
// warmed in place, a form leads back here, and the page to another host, which our
// policy lets no form do; who waits for an approval is taken there by htmx.
func TestBrowserAccess(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><title>wiki</title><p>the application at "+html.EscapeString(r.URL.RequestURI()))
	}))
	defer app.Close()
	host := "wiki.muster.localhost" + app.URL[strings.LastIndex(app.URL, ":"):]
	var mu sync.Mutex
	closed := denied(decide.StepUp, step(aboutElevation))
	stands := Standing{App: decide.App{ID: "wiki"}, Host: host, Again: "http://" + host + "/page", Decision: closed, Terms: decide.ElevationTerms{Lasts: time.Minute}}
	set := func(d decide.Decision, terms decide.ElevationTerms) {
		mu.Lock()
		defer mu.Unlock()
		stands.Decision, stands.Terms = d, terms
	}
	g, c, origin := newChrome(t, func(c *Config) {
		c.Standing = func(context.Context, string, string, string, people.From) (*Standing, bool) {
			mu.Lock()
			defer mu.Unlock()
			st := stands
			return &st, true
		}
	})
	link, err := g.people.Invite(t.Context(), local, people.Invitation{Name: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	c.Go(link)
	c.Until(`document.querySelector('form[data-ceremony="/invitation"]')`)
	c.Click(`form[data-ceremony="/invitation"] button`)
	c.At("/")

	g.stale()
	g.terms = people.ElevationTerms{Lasts: time.Minute}
	access := origin + "/access?" + url.Values{"host": {host}, "back": {"/page"}}.Encode()
	c.Go(access)
	c.Type("#why", "renew the certificate")
	open := denied(decide.Allow)
	c.Click(`form[action="/access/elevate"] button`)
	c.Until(`document.body.innerText.includes('Granted')`)
	set(open, decide.ElevationTerms{Lasts: time.Minute})
	c.See("the application at /page") // by htmx, within its five seconds

	set(denied(decide.StepUp, step(aboutVerification)), decide.ElevationTerms{})
	c.Go(access)
	c.Click(`a[href^="/verify?next="]`)
	c.Until(`location.pathname === '/verify'`)
	set(open, decide.ElevationTerms{})
	c.Click(`form[data-ceremony="/verify"] button`)
	c.See("the application at /page")

	c.Go(access + "&done=checked") // as a form leads here
	c.See("the application at /page")
	for _, said := range c.Said() {
		if !strings.Contains(said, "Failed to load resource") {
			t.Errorf("the console says %s", said)
		}
	}
}
