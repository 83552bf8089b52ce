package people

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"muster/server/passkey/passkeytest"
	"muster/server/session"
	"muster/server/store"
)

const testOrigin = "https://id.muster.example"

// clock is one that tests move.
type clock struct{ ms atomic.Int64 }

func (c *clock) now() time.Time          { return time.UnixMilli(c.ms.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// house is a service over a real store.
type house struct {
	t     testing.TB
	clock *clock
	*People
}

func newHouse(t testing.TB, change ...func(*Config)) *house {
	t.Helper()
	h := &house{t: t, clock: new(clock)}
	h.clock.ms.Store(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMilli())
	s, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "data", "muster.db"), Now: h.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	h.reopen(s, change...)
	return h
}

// reopen makes the service anew, as a restart or another replica does.
func (h *house) reopen(s *store.Store, change ...func(*Config)) {
	h.t.Helper()
	var meta *store.Meta
	if err := s.View(context.Background(), func(tx *store.Tx) (err error) {
		meta, err = tx.Meta()
		return err
	}); err != nil {
		h.t.Fatal(err)
	}
	c := Config{
		Store: s, Origin: testOrigin, RPID: "muster.example", Now: h.clock.now, Log: slog.New(slog.DiscardHandler),
		Device:  func(string) (session.Device, bool) { return session.Device{}, false },
		Devices: func(string) []session.Device { return nil },
		Limits:  func() session.Limits { return session.Limits{Idle: 8 * time.Hour, Absolute: 24 * time.Hour} },
		Webhook: true,
	}
	for _, f := range change {
		f(&c)
	}
	var err error
	if h.People, err = New(c, meta); err != nil {
		h.t.Fatal(err)
	}
}

// visitor is a person in a browser with an authenticator.
type visitor struct {
	h      *house
	key    *passkeytest.Authenticator
	cookie string
}

var somewhere = From{Address: "192.0.2.7", Browser: "Mozilla/5.0 (X11; Linux x86_64)"}

// join makes a person with a passkey who is signed in.
func (h *house) join(name string, role store.Role) *visitor {
	h.t.Helper()
	h.imports(`[{"name":"` + name + `","role":"` + string(role) + `"}]`)
	link, err := h.Invite(h.t.Context(), local, Invitation{Name: name})
	if err != nil {
		h.t.Fatal(err)
	}
	return h.accepts(link)
}

func (h *house) imports(file string) *imported {
	h.t.Helper()
	done, err := h.Import(h.t.Context(), local, []byte(file))
	if err != nil {
		h.t.Fatal(err)
	}
	return done
}

// secretOf is what stands in the fragment of a link.
func secretOf(t testing.TB, link string) string {
	t.Helper()
	secret, ok := strings.CutPrefix(link, testOrigin+"/invitation#")
	if !ok || secret == "" {
		t.Fatalf("%q is no invitation", link)
	}
	return secret
}

// accepts accepts an invitation with a new authenticator.
func (h *house) accepts(link string) *visitor {
	h.t.Helper()
	v := &visitor{h: h, key: passkeytest.New(h.t, testOrigin)}
	secret := secretOf(h.t, link)
	c, err := h.BeginAccept(h.t.Context(), secret, Presence{})
	if err != nil {
		h.t.Fatal(err)
	}
	v.cookie, _, err = h.Accept(h.t.Context(), secret, Presence{}, c.Sealed, v.key.Register(c.Options), "", somewhere)
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

// who is the person behind the cookie.
func (v *visitor) who() *Who {
	v.h.t.Helper()
	w, err := v.h.Who(v.h.t.Context(), v.cookie, somewhere)
	if err != nil {
		v.h.t.Fatal(err)
	}
	return w
}

// signIn signs in again, with a cookie of its own.
func (v *visitor) signIn() *visitor {
	v.h.t.Helper()
	again := &visitor{h: v.h, key: v.key}
	c, err := v.h.BeginSignIn(v.h.t.Context())
	if err != nil {
		v.h.t.Fatal(err)
	}
	if again.cookie, _, err = v.h.SignIn(v.h.t.Context(), c.Sealed, v.key.Assert(c.Options), somewhere); err != nil {
		v.h.t.Fatal(err)
	}
	return again
}

// add registers another passkey of the person, on the given authenticator.
func (v *visitor) add(key *passkeytest.Authenticator) (*Passkey, error) {
	v.h.t.Helper()
	w := v.who()
	c, err := v.h.BeginAdd(v.h.t.Context(), w)
	if err != nil {
		return nil, err
	}
	return v.h.Add(v.h.t.Context(), w, c.Sealed, key.Register(c.Options), "")
}

// verify makes the hands fresh.
func (v *visitor) verify() error {
	v.h.t.Helper()
	w := v.who()
	c, err := v.h.BeginVerify(v.h.t.Context(), w)
	if err != nil {
		return err
	}
	return v.h.Verify(v.h.t.Context(), w, c.Sealed, v.key.Assert(c.Options))
}

// wantCode fails unless an error is the refusal with that code; "" wants none.
func wantCode(t testing.TB, what string, err error, code string) {
	t.Helper()
	var r *Refusal
	switch {
	case code == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case code != "" && !errors.As(err, &r):
		t.Errorf("%s: %v, not refused with %s", what, err, code)
	case code != "" && (r.Code != code || r.Text == "" || r.Fix == "" || r.Status < 400):
		t.Errorf("%s: refused with %+v, not %s", what, *r, code)
	}
}

// live is how many live sessions a person has; of everyone for "".
func (h *house) live(person string) int {
	h.t.Helper()
	list, err := h.SessionsOf(h.t.Context(), person)
	if err != nil {
		h.t.Fatal(err)
	}
	return len(list)
}

// kinds counts the notices that wait, by kind.
func (h *house) kinds() map[string]int {
	h.t.Helper()
	found := map[string]int{}
	if err := h.view(h.t.Context(), func(tx *store.Tx) error {
		list, err := tx.DueNotices(1000)
		for _, n := range list {
			found[n.Kind]++
		}
		return err
	}); err != nil {
		h.t.Fatal(err)
	}
	return found
}

// audited returns the details of entries with an action.
func (h *house) audited(action string) (details []map[string]any) {
	h.t.Helper()
	if err := h.view(h.t.Context(), func(tx *store.Tx) error {
		list, err := tx.AuditLog(0, 10_000)
		for _, e := range list {
			if e.Action != action {
				continue
			}
			var d map[string]any
			if err := json.Unmarshal(e.Detail, &d); err != nil {
				return err
			}
			d["actor"], d["subject"] = e.Actor, e.Subject
			details = append(details, d)
		}
		return err
	}); err != nil {
		h.t.Fatal(err)
	}
	return details
}

// change writes to the store behind the service's back.
func (h *house) change(fn func(*store.Tx) error) {
	h.t.Helper()
	if err := h.Store.Update(h.t.Context(), fn); err != nil {
		h.t.Fatal(err)
	}
}
