package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"muster/server/people"
	"muster/server/store"
)

// chrome is a real browser at a real listener, with an authenticator that says
// yes. It collects what the console has to say: a breach of the policy is there.
type chrome struct {
	t      *testing.T
	ctx    context.Context
	origin string

	mu   sync.Mutex
	said []string // guarded by mu
}

func newChrome(t *testing.T, change ...func(*Config)) (*rig, *chrome) {
	t.Helper()
	if !slices.ContainsFunc([]string{"chromium", "google-chrome", "chromium-browser"}, func(name string) bool { _, err := exec.LookPath(name); return err == nil }) {
		t.Skip("there is no Chromium")
	}
	server := httptest.NewUnstartedServer(nil)
	port := server.Listener.Addr().String()[strings.LastIndex(server.Listener.Addr().String(), ":"):]
	origin := "http://id.muster.localhost" + port
	g := newRigAt(t, origin, "muster.localhost", change...)
	server.Config.Handler = g.mux
	server.Start()
	t.Cleanup(server.Close)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox)...)
	t.Cleanup(stop)
	ctx, stop := chromedp.NewContext(allocator)
	t.Cleanup(stop)
	ctx, stop = context.WithTimeout(ctx, time.Minute)
	t.Cleanup(stop)
	c := &chrome{t: t, ctx: ctx, origin: origin}
	c.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		if _, err := cdp.Call(ctx, target, webauthn.Enable, webauthn.EnableParams{}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, target, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: "ctap2", Transport: "internal", HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
		}})
		return err
	}))
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			c.mu.Lock()
			c.said = append(c.said, m.String())
			c.mu.Unlock()
		}
	}()
	return g, c
}

func (c *chrome) do(steps ...chromedp.Action[chromedp.Void]) {
	c.t.Helper()
	if err := chromedp.Do(c.ctx, steps...); err != nil {
		c.t.Fatal(err)
	}
}

// until waits for something to be true of the page, across navigations.
func (c *chrome) until(what string) {
	c.t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for time.Now().Before(deadline) {
		ok, err := chromedp.Run(c.ctx, chromedp.Evaluate[bool]("document.readyState === 'complete' && Boolean("+what+")"))
		if err == nil && ok {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	shown, _ := chromedp.Run(c.ctx, chromedp.Evaluate[string]("location.href + ' ' + document.body.innerText"))
	c.t.Fatalf("%s never came true; the page: %s\nconsole: %q", what, shown, c.said)
}

func (c *chrome) at(path string) {
	c.t.Helper()
	c.until(fmt.Sprintf("location.pathname === %q", path))
}

func (c *chrome) click(selector string) {
	c.t.Helper()
	c.do(chromedp.Click(selector, chromedp.NodeVisible))
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
	g, c := newChrome(t, func(c *Config) { c.LinkPort = port })
	link, err := g.people.Invite(t.Context(), local, people.Invitation{Name: "alice", Role: store.RoleAdministrator})
	if err != nil {
		t.Fatal(err)
	}
	c.do(chromedp.Navigate(link))
	c.until(`document.querySelector('form[data-ceremony="/invitation"]') && location.hash === ''`)
	c.do(chromedp.SendKeys("#name", "Virtual"))
	c.click(`form[data-ceremony="/invitation"] button`)
	c.at("/")
	c.do(chromedp.Navigate(c.origin + "/passkeys"))
	c.until(`document.body.innerText.includes('Virtual')`)

	g.stale() // a form that adds power confirms first, then arrives
	c.do(chromedp.Navigate(c.origin + "/people"))
	c.click("details.fold summary")
	c.do(chromedp.SendKeys("#name", "bob"))
	c.click(`form[action="/people/invite"] button`)
	c.until(`document.getElementById('once-value')?.textContent.includes('/invitation#')`)

	g.stale()
	c.do(chromedp.Navigate(c.origin + "/verify?next=/sessions"))
	c.click(`form[data-ceremony="/verify"] button`)
	c.at("/sessions")
	c.click(`.account button`)
	// Where the browser offers passkeys by itself the authenticator takes one at
	// once, and there is no button left to press.
	c.until(`location.pathname === '/' || (document.querySelector('form[data-ceremony="/sign-in"]:not([aria-busy="true"]) button')?.click(), false)`)
	c.at("/")

	c.do(chromedp.Navigate(c.origin + "/invitation#mso_wrong"))
	c.until(`document.querySelector('#opened [role=alert]')`)
	c.do(chromedp.Navigate(c.origin + "/recover"))
	c.until(`document.querySelector('.ways') && !document.querySelector('#state')`)

	c.do(chromedp.Navigate(c.origin + "/link"))
	c.click(`[data-way="loopback"]`)
	c.until(`document.querySelector('[data-says="loopback"]').classList.contains('bad')`)
	if got := <-asked; !strings.HasPrefix(got, `POST /link text/plain {"link":"`) || !strings.Contains(got, `","nonce":"`) {
		t.Errorf("the agent is asked %q", got)
	}
	c.click(`[data-way="code"]`)
	c.until(`!document.querySelector('[data-code]').hidden`)

	c.mu.Lock()
	defer c.mu.Unlock()
	for _, said := range c.said {
		// What the test provokes is told by the browser, too.
		if !strings.Contains(said, "Failed to load resource") {
			t.Errorf("the console says %s", said)
		}
	}
}

// A page elsewhere cannot act for who is signed in here.
func TestBrowserRefusesOtherOrigins(t *testing.T) {
	g, c := newChrome(t)
	link, err := g.people.Invite(t.Context(), local, people.Invitation{Name: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	c.do(chromedp.Navigate(link))
	c.until(`document.querySelector('form[data-ceremony="/invitation"]')`)
	c.click(`form[data-ceremony="/invitation"] button`)
	c.at("/")
	evil := httptest.NewServer(nil)
	defer evil.Close()
	// The same site and another origin: its cookies come along.
	address := strings.Replace(strings.Replace(c.origin, "id.", "evil.", 1), c.origin[strings.LastIndex(c.origin, ":"):], evil.URL[strings.LastIndex(evil.URL, ":"):], 1)
	c.do(chromedp.Navigate(address + "/" + url.PathEscape("page")))
	if _, err := chromedp.Run(c.ctx, chromedp.Evaluate[bool](fmt.Sprintf(`(() => { const f = document.createElement('form'); f.method = 'post'; f.action = %q + '/sessions/end-all'; document.body.append(f); f.submit(); return true })()`, c.origin))); err != nil {
		t.Fatal(err)
	}
	c.until(`document.body.innerText.includes('cross-origin')`)
	c.do(chromedp.Navigate(c.origin + "/sessions"))
	c.at("/sessions")
}
