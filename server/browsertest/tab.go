package browsertest

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// Tab is one page. Every step waits for what it needs and fails the test when
// that does not come.
type Tab struct {
	*Profile
	t   testing.TB
	ctx context.Context

	mu   sync.Mutex
	said []string // guarded by mu
}

func (tab *Tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		tab.t.Fatalf("%s: %v\n%s", what, err, tab.state())
	}
}

// state tells where the tab is, for failures.
func (tab *Tab) state() string {
	ctx, cancel := context.WithTimeout(tab.ctx, 5*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
	if err != nil {
		return err.Error()
	}
	return text
}

// Go opens an address.
func (tab *Tab) Go(url string) {
	tab.t.Helper()
	tab.do("opening "+url, chromedp.Navigate(url))
}

// Click clicks the first visible element of a CSS selector.
func (tab *Tab) Click(css string) {
	tab.t.Helper()
	tab.do("clicking "+css, chromedp.Click(chromedp.CSS(css), chromedp.NodeVisible))
}

// Type replaces what stands in a field.
func (tab *Tab) Type(css, text string) {
	tab.t.Helper()
	tab.do("typing into "+css, chromedp.Clear(chromedp.CSS(css), chromedp.NodeVisible), chromedp.SendKeys(chromedp.CSS(css), text, chromedp.NodeVisible))
}

// See waits until the page says all of the texts.
func (tab *Tab) See(texts ...string) {
	tab.t.Helper()
	deadline := time.Now().Add(patience)
	for _, want := range texts {
		for !strings.Contains(tab.Text(), want) {
			if time.Now().After(deadline) {
				tab.t.Fatalf("page never says %q:\n%s", want, tab.state())
			}
			time.Sleep(30 * time.Millisecond)
		}
	}
}

// At waits until the address has that path, and its page is there.
func (tab *Tab) At(path string) {
	tab.t.Helper()
	deadline := time.Now().Add(patience)
	for Eval[string](tab, `document.readyState === "complete" ? location.pathname : ""`) != path {
		if time.Now().After(deadline) {
			tab.t.Fatalf("page never at %s:\n%s", path, tab.state())
		}
		time.Sleep(30 * time.Millisecond)
	}
}

// Until waits for an expression to be true of a page that is there, across
// navigations.
func (tab *Tab) Until(expression string) {
	tab.t.Helper()
	deadline := time.Now().Add(patience)
	for !Eval[bool](tab, `document.readyState === "complete" && Boolean(`+expression+`)`) {
		if time.Now().After(deadline) {
			tab.t.Fatalf("%s never came true:\n%s\nconsole: %q", expression, tab.state(), tab.Said())
		}
		time.Sleep(30 * time.Millisecond)
	}
}

// Look sets how wide the window is, in CSS pixels, and which scheme of colours the
// person likes: light or dark. They like no motion, so that a picture is of an end.
func (tab *Tab) Look(width int64, scheme string) {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	err := chromedp.Do(ctx, chromedp.EmulateViewport(width, 800))
	if err == nil {
		_, err = chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
	}
	if err != nil {
		tab.t.Fatal("changing how pages look: ", err)
	}
}

// Said is what the console has said since the tab was opened: a breach of a page's
// policy is there, and what a script did not catch.
func (tab *Tab) Said() []string {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	return slices.Clone(tab.said)
}

// listen collects what the console says until the tab is closed.
func (tab *Tab) listen() {
	messages := chromedp.Console(tab.ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			tab.mu.Lock()
			tab.said = append(tab.said, m.String())
			tab.mu.Unlock()
		}
	}()
}

// Text is what a person reads in the page.
func (tab *Tab) Text() string {
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body ? document.body.innerText : ""`))
	if err != nil {
		return "" // between two pages
	}
	return text
}

// Has reports whether there is an element of the selector now.
func (tab *Tab) Has(css string) bool {
	tab.t.Helper()
	return Eval[bool](tab, `document.querySelector(`+quote(css)+`) !== null`)
}

// Eval runs an expression, and waits for it when it is a promise. A page that is
// just being replaced is asked again.
func Eval[T any](tab *Tab, expression string) T {
	tab.t.Helper()
	var value T
	var err error
	for range 20 {
		ctx, cancel := context.WithTimeout(tab.ctx, patience)
		value, err = chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
		cancel()
		if err == nil || !strings.Contains(err.Error(), "context") && !strings.Contains(err.Error(), "navigated") {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		tab.t.Fatalf("evaluating %s: %v\n%s", expression, err, tab.state())
	}
	return value
}

// Shot writes a picture of the whole page.
func (tab *Tab) Shot(path string) {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		tab.t.Fatal("taking a picture: ", err)
	}
	if err := os.WriteFile(path, png, 0o600); err != nil {
		tab.t.Fatal(err)
	}
}

// Cookie returns the value of a cookie that the tab's address gets; empty without.
func (tab *Tab) Cookie(name string) string {
	tab.t.Helper()
	for _, c := range tab.cookies() {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// SetCookie plants one as a thief would who copied it from another browser.
func (tab *Tab) SetCookie(url, name, value string) {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	_, err := chromedp.Call(ctx, network.SetCookie, network.SetCookieParams{Name: name, Value: value, URL: url, Secure: ptr(true), Path: "/"})
	if err != nil {
		tab.t.Fatal("planting a cookie: ", err)
	}
}

func (tab *Tab) cookies() []*network.Cookie {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	got, err := chromedp.Call(ctx, network.GetCookies, network.GetCookiesParams{})
	if err != nil {
		tab.t.Fatal("reading cookies: ", err)
	}
	return got.Cookies
}

func ptr[T any](v T) *T { return &v }
