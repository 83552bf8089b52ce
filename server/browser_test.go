package server_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"muster/server/browsertest"
	"muster/server/people"
	"muster/server/servertest"
)

// Buttons of the pages, as people find them.
const (
	registerButton = `form[data-ceremony="/invitation"] button.main`
	signInButton   = `form[data-ceremony="/sign-in"] button.main`
	addButton      = `form[data-ceremony="/passkeys"] button.main`
	recoverButton  = `form[data-ceremony="/recover"] button.main`
)

// visitor is somebody at a browser of their own.
type visitor struct {
	*browsertest.Tab
	key  *browsertest.Authenticator
	home string // muster's address
}

// visitor opens a browser with an authenticator built in.
func visit(b *browsertest.Browser, srv *servertest.Server, synced bool) *visitor {
	tab := b.Profile().Tab()
	return &visitor{Tab: tab, key: tab.Authenticator(false, synced), home: srv.Config.PublicURL}
}

// open goes to a page of muster's.
func (v *visitor) open(path string) { v.Go(v.home + path) }

// accept registers a passkey by the link of an invitation.
func (v *visitor) accept(link string) {
	v.Go(link)
	v.Click(registerButton)
	v.At("/")
}

// signIn signs in with what the authenticator holds.
func (v *visitor) signIn() {
	v.open("/sign-in")
	v.enter()
}

// enter clicks the button, unless the browser has offered the passkey by itself,
// and the authenticator, which is touched at once, was quicker.
func (v *visitor) enter() {
	v.key.Present(true)
	if browsertest.Eval[string](v.Tab, `location.pathname`) == "/sign-in" && v.Has(signInButton) {
		browsertest.Eval[bool](v.Tab, `(document.querySelector('`+signInButton+`')?.click(), true)`)
	}
	v.At("/")
}

// isRefused tries to sign in until the page says that it did not work.
func (v *visitor) isRefused() {
	v.open("/sign-in")
	v.key.Present(true)
	deadline := time.Now().Add(20 * time.Second)
	for !v.Has(".says.bad") {
		if time.Now().After(deadline) {
			v.See("a refusal")
		}
		browsertest.Eval[bool](v.Tab, `(document.querySelector('`+signInButton+`:enabled')?.click(), true)`)
		time.Sleep(200 * time.Millisecond)
	}
}

// signOut leaves.
func (v *visitor) signOut() {
	v.key.Present(false)
	v.open("/")
	v.Click(`form[action="/sign-out"] button`)
	v.At("/sign-in")
}

// picture keeps what the tab shows, where MUSTER_TEST_PICTURES names a folder.
func (v *visitor) picture(name string) {
	if dir := os.Getenv("MUSTER_TEST_PICTURES"); dir != "" {
		v.Shot(filepath.Join(dir, name+".png"))
	}
}

// TestBrowserPasskeys is a person's life with passkeys, in a real browser.
func TestBrowserPasskeys(t *testing.T) {
	t.Parallel()
	b := browsertest.Start(t)
	srv := servertest.Start(t, servertest.Named())
	alice := visit(b, srv, false)
	alice.accept(srv.FirstLink())
	alice.picture("home-first")

	t.Run("sign in", func(t *testing.T) {
		alice.signOut()
		alice.picture("sign-in")
		alice.signIn()
	})
	t.Run("device-bound and synced", func(t *testing.T) {
		alice.open("/passkeys")
		alice.See("On one device only")
		bob := visit(b, srv, true)
		bob.accept(srv.Invite(people.Invitation{Name: "bob"}))
		bob.open("/passkeys")
		bob.See("Synced to your other devices")
	})
	t.Run("second passkey, removed and no longer offered", func(t *testing.T) {
		second := alice.Authenticator(true, false)
		alice.open("/passkeys")
		alice.Type("#new-name", "Key on the ring")
		alice.Click(addButton)
		alice.See("Key on the ring")
		alice.picture("passkeys")
		if n := len(second.Credentials()); n != 1 {
			t.Fatalf("the second authenticator holds %d passkeys, want 1", n)
		}
		browsertest.Eval[bool](alice.Tab, `(() => { const card = [...document.querySelectorAll("li.card")].find(c => c.innerText.includes("Key on the ring"));
			for (const d of card.querySelectorAll("details")) d.open = true
			card.querySelector('form[action="/passkeys/remove"] button').click(); return true })()`)
		servertest.Wait(t, "the browser forgets the removed passkey", func() bool { return len(second.Credentials()) == 0 })
		if n := len(alice.key.Credentials()); n != 1 {
			t.Fatalf("the first authenticator holds %d passkeys, want 1", n)
		}
		second.Unplug()
	})
	t.Run("without user verification", func(t *testing.T) {
		alice.signOut()
		alice.key.BadUV(true)
		alice.isRefused()
		alice.See("This passkey was not accepted")
		alice.picture("refused")
		alice.key.BadUV(false)
		alice.key.Verifies(false)
		alice.isRefused()
		alice.key.Verifies(true)
		alice.signIn()
	})
}
