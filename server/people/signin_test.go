package people

import (
	"context"
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/server/passkey"
	"muster/server/passkey/passkeytest"
	"muster/server/store"
)

func TestSignIn(t *testing.T) {
	h := newHouse(t)
	v := h.join("alice", store.RolePerson)
	h.clock.advance(time.Hour)
	again := v.signIn()
	w := again.who()
	s := w.Session
	if w.Person.Name != "alice" || !w.Fresh(h.clock.now()) || s.Address != somewhere.Address || s.Browser != somewhere.Browser {
		t.Errorf("signed in as %+v in %+v", w.Person, s)
	}
	if !reflect.DeepEqual(s.AMR, []string{"hwk", "user", "mfa"}) || s.ACR != "muster:passkey" || s.Binding != "none" || s.Link != nil {
		t.Errorf("session is %+v", s)
	}
	if s.ID == "" || strings.Contains(again.cookie, s.ID) || !strings.HasPrefix(again.cookie, "mss_") {
		t.Error("the session's id tells of its cookie")
	}
	if h.live("") != 2 || len(h.audited("session.begin")) != 2 {
		t.Error("the sign-in is not kept or not audited")
	}
}

// Whoever tries must not learn whether a passkey was ever known here, is of a
// disabled person, or was removed.
func TestSignInRefusalsAreOne(t *testing.T) {
	h := newHouse(t)
	alice, bob := h.join("alice", store.RolePerson), h.join("bob", store.RolePerson)
	unknown := passkeytest.New(t, testOrigin)
	c, err := h.BeginAdd(t.Context(), alice.who())
	if err != nil {
		t.Fatal(err)
	}
	unknown.Register(c.Options) // and never sent
	removed := passkeytest.New(t, testOrigin)
	k, err := alice.add(removed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.RemovePasskey(t.Context(), alice.who(), k.ID); err != nil {
		t.Fatal(err)
	}
	if err := h.Disable(t.Context(), local, bob.who().Person.ID, "left"); err != nil {
		t.Fatal(err)
	}
	before := h.live("")
	tries := map[string]func(options []byte) []byte{
		"unknown credential":  unknown.Assert,
		"removed passkey":     removed.Assert,
		"disabled person":     bob.key.Assert,
		"without handle":      func(o []byte) []byte { return lying(alice.key, passkeytest.Lie{NoHandle: true}, o) },
		"other user's handle": func(o []byte) []byte { return lying(alice.key, passkeytest.Lie{Handle: make([]byte, 32)}, o) },
		"other RP":            func(o []byte) []byte { return lying(alice.key, passkeytest.Lie{RPID: "evil.example"}, o) },
		"no user presence":    func(o []byte) []byte { return lying(alice.key, passkeytest.Lie{NoUP: true}, o) },
		"no user verification": func(o []byte) []byte {
			alice.key.NoUV = true
			defer func() { alice.key.NoUV = false }()
			return alice.key.Assert(o)
		},
		"other origin": func(o []byte) []byte {
			alice.key.Origin = "https://id.muster.example.evil.example"
			defer func() { alice.key.Origin = testOrigin }()
			return alice.key.Assert(o)
		},
		"wrong signature": func(o []byte) []byte {
			return []byte(strings.Replace(string(alice.key.Assert(o)), `"signature":"ME`, `"signature":"MF`, 1))
		},
		"no JSON":    func([]byte) []byte { return []byte("{") },
		"nothing":    func([]byte) []byte { return nil },
		"much":       func([]byte) []byte { return make([]byte, 1<<20) },
		"other kind": func([]byte) []byte { return unknown.Register(c.Options) },
	}
	for name, answer := range tries {
		c, err := h.BeginSignIn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		secret, who, err := h.SignIn(t.Context(), c.Sealed, answer(c.Options), somewhere)
		if !errors.Is(err, errPasskey) || err != error(errPasskey) || secret != "" || who != nil {
			t.Errorf("%s: %v, %v", name, err, who)
		}
	}
	if h.live("") != before {
		t.Error("a refused sign-in left a session")
	}
}

func lying(key *passkeytest.Authenticator, lie passkeytest.Lie, options []byte) []byte {
	key.Lie = lie
	defer func() { key.Lie = passkeytest.Lie{} }()
	return key.Assert(options)
}

func TestSignInOnceOfAThousand(t *testing.T) {
	h := newHouse(t)
	v := h.join("alice", store.RolePerson)
	c, err := h.BeginSignIn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	response := v.key.Assert(c.Options)
	won := atOnce(t, 1000, func() error {
		_, _, err := h.SignIn(context.Background(), c.Sealed, response, somewhere)
		return err
	}, errUsed)
	if won != 1 || h.live("") != 2 {
		t.Errorf("%d sign-ins of one response, %d sessions", won, h.live(""))
	}
}

// atOnce runs fn so often at once and tells how often it did what it was to do;
// every other time it must be refused like that.
func atOnce(t *testing.T, n int, fn func() error, refusal error) (won int) {
	t.Helper()
	var mu sync.Mutex
	var group sync.WaitGroup
	start := make(chan struct{})
	for range n {
		group.Go(func() {
			<-start
			err := fn()
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case !errors.Is(err, refusal):
				t.Errorf("refused with %v", err)
			}
		})
	}
	close(start)
	group.Wait()
	return won
}

// TestCeremonyIsGoodForOneThing takes every ceremony where another one is asked
// for: of another purpose, session, person and invitation.
func TestCeremonyIsGoodForOneThing(t *testing.T) {
	h := newHouse(t)
	alice, bob := h.join("alice", store.RolePerson), h.join("bob", store.RolePerson)
	other := alice.signIn() // the same person in another browser
	invitation := func(name string) string {
		h.imports(`[{"name":"` + name + `"}]`)
		link, err := h.Invite(t.Context(), local, Invitation{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		return secretOf(t, link)
	}
	first, second := invitation("carol"), invitation("dave")
	ctx := t.Context()
	begins := map[string]func() (*Ceremony, error){
		"sign-in":       func() (*Ceremony, error) { return h.BeginSignIn(ctx) },
		"verify":        func() (*Ceremony, error) { return h.BeginVerify(ctx, alice.who()) },
		"verify other":  func() (*Ceremony, error) { return h.BeginVerify(ctx, other.who()) },
		"verify bob":    func() (*Ceremony, error) { return h.BeginVerify(ctx, bob.who()) },
		"add":           func() (*Ceremony, error) { return h.BeginAdd(ctx, alice.who()) },
		"add other":     func() (*Ceremony, error) { return h.BeginAdd(ctx, other.who()) },
		"add bob":       func() (*Ceremony, error) { return h.BeginAdd(ctx, bob.who()) },
		"accept":        func() (*Ceremony, error) { return h.BeginAccept(ctx, first, Presence{}) },
		"accept second": func() (*Ceremony, error) { return h.BeginAccept(ctx, second, Presence{}) },
	}
	finishes := map[string]func(c *Ceremony) error{
		"sign-in": func(c *Ceremony) error {
			_, _, err := h.SignIn(ctx, c.Sealed, alice.key.Assert(c.Options), somewhere)
			return err
		},
		"verify": func(c *Ceremony) error {
			return h.Verify(ctx, alice.who(), c.Sealed, alice.key.Assert(c.Options))
		},
		"add": func(c *Ceremony) error {
			_, err := h.Add(ctx, alice.who(), c.Sealed, passkeytest.New(t, testOrigin).Register(c.Options), "")
			return err
		},
		"accept": func(c *Ceremony) error {
			_, _, err := h.Accept(ctx, first, Presence{}, c.Sealed, passkeytest.New(t, testOrigin).Register(c.Options), "", somewhere)
			return err
		},
	}
	for _, end := range []string{"sign-in", "verify", "add", "accept"} { // the last is over afterwards
		finish := finishes[end]
		for start, begin := range begins {
			c, err := begin()
			if err != nil {
				t.Fatal(err)
			}
			if start == end {
				continue
			}
			right, err := begins[end]()
			if err != nil {
				t.Fatal(err)
			}
			// The response is what the finish wants; the ceremony is another one's.
			if err := finish(&Ceremony{Options: right.Options, Sealed: c.Sealed}); err != error(errCeremony) {
				t.Errorf("%s with the ceremony of %s: %v", end, start, err)
			}
		}
		c, err := begins[end]()
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, end, finish(c), "")
		if end != "accept" {
			wantCode(t, end+" twice", finishTwice(begins[end], finish), "used")
		}
	}
}

// finishTwice answers one ceremony two times.
func finishTwice(begin func() (*Ceremony, error), finish func(*Ceremony) error) error {
	c, err := begin()
	if err != nil {
		return err
	}
	if err := finish(c); err != nil {
		return err
	}
	return finish(c)
}

func TestCeremonyEnds(t *testing.T) {
	h := newHouse(t)
	v := h.join("alice", store.RolePerson)
	c, err := h.BeginSignIn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	response := v.key.Assert(c.Options)
	h.clock.advance(passkey.Life)
	if _, _, err := h.SignIn(t.Context(), c.Sealed, response, somewhere); err != error(errCeremony) {
		t.Errorf("after %v: %v", passkey.Life, err)
	}
	// Another server's, and an older epoch's, are nobody's.
	other := newHouse(t)
	c, err = other.BeginSignIn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.SignIn(t.Context(), c.Sealed, v.key.Assert(c.Options), somewhere); err != error(errCeremony) {
		t.Errorf("another server's ceremony: %v", err)
	}
}

// Between the two halves of a sign-in the person may be disabled, or the passkey
// removed.
func TestSignInLosesToWhatHappensMeanwhile(t *testing.T) {
	h := newHouse(t)
	v := h.join("alice", store.RolePerson)
	second := passkeytest.New(t, testOrigin)
	k, err := v.add(second)
	if err != nil {
		t.Fatal(err)
	}
	begin := func(key *passkeytest.Authenticator) (*assertion, error) {
		c, err := h.BeginSignIn(t.Context())
		if err != nil {
			return nil, err
		}
		return h.assert(t.Context(), forSignIn, "", "", c.Sealed, key.Assert(c.Options))
	}
	a, err := begin(second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.RemovePasskey(t.Context(), v.who(), k.ID); err != nil {
		t.Fatal(err)
	}
	keep := func(a *assertion) error {
		return h.update(t.Context(), func(tx *store.Tx) error {
			_, _, err := a.keep(tx)
			return err
		})
	}
	if err := keep(a); err != error(errPasskey) {
		t.Errorf("removed meanwhile: %v", err)
	}
	if a, err = begin(v.key); err != nil {
		t.Fatal(err)
	}
	if err := h.Disable(t.Context(), local, v.who().Person.ID, "left"); err != nil {
		t.Fatal(err)
	}
	if err := keep(a); err != error(errPasskey) {
		t.Errorf("disabled meanwhile: %v", err)
	}
}

func TestWho(t *testing.T) {
	h := newHouse(t)
	v := h.join("alice", store.RolePerson)
	for name, secret := range map[string]string{
		"nothing": "", "a word": "admin", "another": "mss_" + strings.Repeat("A", 43), "more": v.cookie + "A",
		"an invitation's": "mso_" + v.cookie[4:], "cut": v.cookie[:len(v.cookie)-1],
	} {
		if w, err := h.Who(t.Context(), secret, somewhere); err != error(errSignIn) || w != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	w := v.who()
	for range 3 {
		h.clock.advance(8*time.Hour - time.Minute)
		v.who() // notes the visit, so that it is not idle
	}
	h.clock.advance(3*time.Minute - time.Millisecond)
	v.who()
	h.clock.advance(time.Millisecond)
	if _, err := h.Who(t.Context(), v.cookie, somewhere); err != error(errSignIn) {
		t.Errorf("after 24 hours: %v", err)
	}
	h.clock.advance(-20 * time.Hour)
	if _, err := h.Who(t.Context(), v.cookie, somewhere); err != error(errSignIn) {
		t.Errorf("a session that was over lives again when the clock is put back: %v", err)
	}
	ended := h.audited("session.end")
	if len(ended) != 1 || ended[0]["cause"] != "too-old" || ended[0]["subject"] != w.Session.ID {
		t.Errorf("audited %v", ended)
	}
	v = v.signIn()
	h.clock.advance(8 * time.Hour)
	if _, err := h.Who(t.Context(), v.cookie, somewhere); err != error(errSignIn) {
		t.Errorf("idle: %v", err)
	}
}

func TestWhoNotesOnceAMinute(t *testing.T) {
	h := newHouse(t)
	v := h.join("alice", store.RolePerson)
	began := v.who().Session.SeenAt
	h.clock.advance(59 * time.Second)
	v.who()
	if !v.who().Session.SeenAt.Equal(began) {
		t.Error("noted within a minute")
	}
	h.clock.advance(time.Second)
	v.who()
	if seen := v.who().Session.SeenAt; !seen.Equal(h.clock.now()) {
		t.Errorf("not noted after a minute: %v", seen)
	}
}

// A store that cannot write still tells who is there.
func TestWhoWithoutWriting(t *testing.T) {
	h := newHouse(t)
	v := h.join("alice", store.RolePerson)
	h.clock.advance(time.Hour)
	stuck, release := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		_ = h.Store.Update(context.Background(), func(*store.Tx) error {
			close(stuck)
			<-release
			return nil
		})
	})
	<-stuck
	w, err := h.Who(t.Context(), v.cookie, somewhere)
	close(release)
	group.Wait()
	if err != nil || w.Person.Name != "alice" {
		t.Errorf("who is %v, %v", w, err)
	}
}

func TestSignOut(t *testing.T) {
	h := newHouse(t)
	alice, bob := h.join("alice", store.RolePerson), h.join("bob", store.RolePerson)
	second, third := alice.signIn(), alice.signIn()
	if err := h.SignOut(t.Context(), second.who()); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Who(t.Context(), second.cookie, somewhere); err != error(errSignIn) {
		t.Errorf("signed out: %v", err)
	}
	alice.who()
	w := third.who()
	if err := h.SignOutEverywhere(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	for _, v := range []*visitor{alice, third} {
		if _, err := h.Who(t.Context(), v.cookie, somewhere); err != error(errSignIn) {
			t.Errorf("signed out everywhere: %v", err)
		}
	}
	bob.who()
	// What was read before the end is worth nothing after it.
	wantCode(t, "everywhere after the end", h.SignOutEverywhere(t.Context(), w), "sign-in")
	_, err := h.BeginAdd(t.Context(), w)
	wantCode(t, "add after the end", err, "sign-in")
	wantCode(t, "name after the end", h.NamePasskey(t.Context(), w, w.Session.Credential, "mine"), "sign-in")
}

func TestWithoutAName(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.Origin, c.RPID = "http://192.0.2.1", "" })
	_, err := h.BeginSignIn(t.Context())
	wantCode(t, "sign-in", err, "no-name")
	_, _, err = h.SignIn(t.Context(), "", nil, somewhere)
	wantCode(t, "second half", err, "no-name")
	h.imports(`[{"name":"alice"}]`)
	link, err := h.Invite(t.Context(), local, Invitation{Name: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	_, secret, _ := strings.Cut(link, "#")
	_, err = h.BeginAccept(t.Context(), secret, Presence{})
	wantCode(t, "accept", err, "no-name")
	if _, err := h.SetMetadata(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

func FuzzUnseal(f *testing.F) {
	h := newHouse(f)
	c, err := h.BeginSignIn(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	other, err := h.seal(forVerify, "s_1", nil, &passkey.Ceremony{Challenge: make([]byte, 32), Expires: h.clock.now().Add(time.Minute)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c.Sealed)
	f.Add(other.Sealed)
	f.Add(c.Sealed + "A")
	f.Add(c.Sealed + "\n")
	f.Add(c.Sealed[:len(c.Sealed)-1])
	f.Add("")
	f.Add(base64.RawURLEncoding.EncodeToString([]byte(`{"challenge":"AA==","expires":"2999-01-01T00:00:00Z"}`)))
	f.Add(strings.Repeat("A", maxSealed+1))
	f.Fuzz(func(t *testing.T, sealed string) {
		got, err := h.unseal(forSignIn, "", sealed)
		if (err == nil) != (sealed == c.Sealed) || err != nil && (err != error(errCeremony) || got != nil) {
			t.Errorf("%q: %v, %v", sealed, got, err)
		}
	})
}

// A restart, or another replica, knows what was begun and what was used.
func TestRestart(t *testing.T) {
	h := newHouse(t)
	v := h.join("alice", store.RolePerson)
	before := h.live("")
	used, err := h.BeginSignIn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	response := v.key.Assert(used.Options)
	if _, _, err := h.SignIn(t.Context(), used.Sealed, response, somewhere); err != nil {
		t.Fatal(err)
	}
	begun, err := h.BeginSignIn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.reopen(h.Store)
	v.who()
	if _, _, err := h.SignIn(t.Context(), begun.Sealed, v.key.Assert(begun.Options), somewhere); err != nil {
		t.Error(err)
	}
	_, _, err = h.SignIn(t.Context(), used.Sealed, response, somewhere)
	wantCode(t, "used before the restart", err, "used")
	if n := h.live(""); n != before+2 {
		t.Errorf("%d sessions", n)
	}
}
