package browsertest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
)

// Browser is one Chromium process. It is used from the test's goroutine.
type Browser struct {
	t   testing.TB
	ctx context.Context
}

// patience bounds each step in a page: far beyond what a loaded machine needs.
const patience = 20 * time.Second

// Start starts Chromium, with further command-line flags (name=value, or name).
func Start(t testing.TB, flags ...string) *Browser {
	t.Helper()
	path := find(t)
	options := append(chromedp.DefaultExecAllocatorOptions[:len(chromedp.DefaultExecAllocatorOptions):len(chromedp.DefaultExecAllocatorOptions)],
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 900),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true), chromedp.DisableGPU,
	)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	for _, flag := range flags {
		if name, value, ok := strings.Cut(flag, "="); ok {
			options = append(options, chromedp.Flag(name, value))
		} else {
			options = append(options, chromedp.Flag(name, true))
		}
	}
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Log("ending Chromium:", err)
		}
		cancel()
		end()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal("starting Chromium: ", err)
	}
	return &Browser{t: t, ctx: ctx}
}

func find(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "no Chromium: install the package chromium"
	if os.Getenv("MUSTER_TEST_STRICT") == "1" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// Profile is a browser with cookies of its own, as another person's, or another
// laptop's.
type Profile struct {
	b   *Browser
	ctx context.Context // of its first tab
}

// Profile makes one.
func (b *Browser) Profile() *Profile {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	b.t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		b.t.Fatal("opening a profile: ", err)
	}
	return &Profile{b: b, ctx: ctx}
}

// Tab opens a tab of the profile.
func (p *Profile) Tab() *Tab {
	p.b.t.Helper()
	ctx, cancel := chromedp.NewContext(p.ctx)
	p.b.t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		p.b.t.Fatal("opening a tab: ", err)
	}
	tab := &Tab{Profile: p, t: p.b.t, ctx: ctx}
	tab.listen()
	return tab
}

// MayReachLoopback grants what a person is asked for before a public page may
// talk to this machine (Local Network Access).
func (p *Profile) MayReachLoopback() {
	p.b.t.Helper()
	_, err := chromedp.CallBrowser(p.ctx, browser.SetPermission, browser.SetPermissionParams{
		Permission: &browser.PermissionDescriptor{Name: "loopback-network"}, Setting: "granted",
		BrowserContextID: chromedp.FromContext(p.ctx).BrowserContextID,
	})
	if err != nil {
		p.b.t.Fatal("granting loopback: ", err)
	}
}
