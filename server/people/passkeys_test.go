package people

import (
	"bytes"
	"context"
	"testing"
	"time"

	"muster/server/passkey/passkeytest"
	"muster/server/session"
	"muster/server/store"
)

// A thief with the cookie alone must not come to a passkey of their own.
func TestStolenCookieAddsNoPasskey(t *testing.T) {
	h := newHouse(t)
	v := h.join("alice", store.RolePerson)
	w := v.who()
	early, err := h.BeginAdd(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	thief := passkeytest.New(t, testOrigin)
	response := thief.Register(early.Options)
	h.clock.advance(session.FreshFor - time.Millisecond)
	late, err := h.BeginAdd(t.Context(), v.who())
	if err != nil {
		t.Fatal(err)
	}
	lateResponse := thief.Register(late.Options)
	h.clock.advance(time.Millisecond)
	_, err = h.BeginAdd(t.Context(), v.who())
	wantCode(t, "begin after five minutes", err, "verify-first")
	_, err = h.BeginAdd(t.Context(), w)
	wantCode(t, "begin with what was read before", err, "verify-first")
	_, err = h.Add(t.Context(), v.who(), late.Sealed, lateResponse, "")
	wantCode(t, "finish after five minutes", err, "verify-first")
	_, err = h.Add(t.Context(), v.who(), early.Sealed, response, "")
	wantCode(t, "finish of an old ceremony", err, "ceremony-ended")
	_, err = h.RemovePasskey(t.Context(), v.who(), w.Session.Credential)
	wantCode(t, "remove", err, "verify-first")
	if keys, err := h.Passkeys(t.Context(), v.who()); err != nil || len(keys) != 1 {
		t.Errorf("%d passkeys, %v", len(keys), err)
	}
	// With the passkey itself it goes on.
	wantCode(t, "verify", v.verify(), "")
	if _, err := v.add(thief); err != nil {
		t.Error(err)
	}
}

func TestAdd(t *testing.T) {
	h := newHouse(t)
	v := h.join("alice", store.RolePerson)
	w := v.who()
	key := passkeytest.New(t, testOrigin)
	c, err := h.BeginAdd(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	response := key.Register(c.Options)
	won := atOnce(t, 100, func() error {
		_, err := h.Add(context.Background(), w, c.Sealed, response, "  Blue\tkey ")
		return err
	}, errUsed)
	keys, err := h.Passkeys(t.Context(), w)
	if err != nil || won != 1 || len(keys) != 2 {
		t.Fatalf("%d added, %d passkeys, %v", won, len(keys), err)
	}
	k := keys[1]
	if k.Name != "Blue key" || k.CreatedIn != w.Session.ID || k.This || !keys[0].This || keys[0].Name != "Passkey" || keys[0].CreatedIn != "" {
		t.Errorf("passkeys are %+v and %+v", keys[0], k)
	}
	if n := h.kinds()["passkey-added"]; n != 2 || len(h.audited("passkey.add")) != 1 {
		t.Errorf("%d notices", n)
	}
	lax := passkeytest.New(t, testOrigin)
	lax.NoUV = true
	_, err = v.add(lax)
	wantCode(t, "without user verification", err, "passkey-refused")
}

// A credential id that is known is nobody else's, and one that was removed is
// nobody's any more, whoever's authenticator says that it has it.
func TestCredentialIsNotTwoPersons(t *testing.T) {
	h := newHouse(t)
	alice, bob := h.join("alice", store.RolePerson), h.join("bob", store.RolePerson)
	k, err := alice.add(passkeytest.New(t, testOrigin))
	if err != nil {
		t.Fatal(err)
	}
	claim := func() error {
		return h.update(t.Context(), func(tx *store.Tx) error {
			_, c, err := h.party.BeginRegistration(userOf(bob.who().Person), nil)
			if err != nil {
				return err
			}
			_, err = h.keepPasskey(tx, bob.who().Person, &registration{c, &k.Credential}, "", "")
			return err
		})
	}
	wantCode(t, "another's", claim(), "passkey-known")
	if _, err := h.RemovePasskey(t.Context(), alice.who(), k.ID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "removed", claim(), "passkey-known")
}

func TestPasskeysHaveALimit(t *testing.T) {
	h := newHouse(t)
	v := h.join("alice", store.RolePerson)
	last, err := h.BeginAdd(t.Context(), v.who())
	if err != nil {
		t.Fatal(err)
	}
	response := passkeytest.New(t, testOrigin).Register(last.Options)
	for range maxPasskeys - 1 {
		if _, err := v.add(passkeytest.New(t, testOrigin)); err != nil {
			t.Fatal(err)
		}
	}
	_, err = v.add(passkeytest.New(t, testOrigin))
	wantCode(t, "one more", err, "passkey-limit")
	_, err = h.Add(t.Context(), v.who(), last.Sealed, response, "")
	wantCode(t, "one begun before", err, "passkey-limit")
}

// However many passkeys of however long ids a person has, a ceremony fits into a
// cookie, and names the passkey that opened the session.
func TestCeremonyFitsIntoACookie(t *testing.T) {
	h := newHouse(t)
	v := h.join("alice", store.RolePerson)
	w := v.who()
	for name, size := range map[string]int{"usual": 64, "long": 250, "longest": 1023} {
		var keys []*store.Passkey
		for i := range maxPasskeys {
			k := &store.Passkey{Person: w.Person.ID}
			k.ID = append(bytes.Repeat([]byte{0xff}, size-1), byte(i))
			k.Use.At = h.clock.now().Add(time.Duration(i) * time.Second)
			keys = append(keys, k)
		}
		named := credentials(keys, keys[3].ID)
		if len(named) == 0 || len(named) != min(maxPasskeys, maxNamed/size) || !bytes.Equal(named[0].ID, keys[3].ID) ||
			len(named) > 1 && !bytes.Equal(named[1].ID, keys[maxPasskeys-1].ID) {
			t.Errorf("%s: %d are named", name, len(named))
		}
		options, c, err := h.party.BeginVerify(userOf(w.Person), named)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.seal(forVerify, w.Session.ID, options, c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNamePasskey(t *testing.T) {
	h := newHouse(t)
	alice, bob := h.join("alice", store.RolePerson), h.join("bob", store.RolePerson)
	id := alice.who().Session.Credential
	for name, test := range map[string]struct {
		by   *visitor
		name string
		code string
	}{
		"empty":      {alice, "", "label"},
		"long":       {alice, string(bytes.Repeat([]byte("a"), 65)), "label"},
		"two lines":  {alice, "a\nb", "label"},
		"right left": {alice, "a\u202eb", "label"},
		"blanks":     {alice, " a", "label"},
		"no text":    {alice, "\xff", "label"},
		"another's":  {bob, "mine now", "not-found"},
		"fine":       {alice, "Schlüssel 1", ""},
	} {
		wantCode(t, name, h.NamePasskey(t.Context(), test.by.who(), id, test.name), test.code)
	}
	wantCode(t, "nobody's", h.NamePasskey(t.Context(), alice.who(), []byte("x"), "mine"), "not-found")
	keys, err := h.Passkeys(t.Context(), alice.who())
	if err != nil || keys[0].Name != "Schlüssel 1" {
		t.Errorf("%v, %v", keys, err)
	}
}

func TestRemovePasskey(t *testing.T) {
	h := newHouse(t)
	alice, bob := h.join("alice", store.RolePerson), h.join("bob", store.RolePerson)
	_, err := h.RemovePasskey(t.Context(), alice.who(), alice.who().Session.Credential)
	wantCode(t, "the last one", err, "last-passkey")
	_, err = h.RemovePasskey(t.Context(), bob.who(), alice.who().Session.Credential)
	wantCode(t, "another person's", err, "not-found")
	second := &visitor{h: h, key: passkeytest.New(t, testOrigin)}
	k, err := alice.add(second.key)
	if err != nil {
		t.Fatal(err)
	}
	second = second.signIn()
	// The key that opened the asking session: the session ends with it.
	h.clock.advance(undoFor)
	alice, second = alice.signIn(), second.signIn()
	first := alice.who().Session.Credential
	left, err := h.RemovePasskey(t.Context(), alice.who(), first)
	if err != nil || len(left) != 1 || !bytes.Equal(left[0], k.ID) {
		t.Errorf("left %x, %v", left, err)
	}
	if _, err := h.Who(t.Context(), alice.cookie, somewhere); err != error(errSignIn) {
		t.Errorf("the session of a removed passkey: %v", err)
	}
	second.who()
	if h.kinds()["passkey-removed"] != 1 || len(h.audited("passkey.remove")) != 1 {
		t.Error("not told or not audited")
	}
	_, err = h.RemovePasskey(t.Context(), second.who(), first)
	wantCode(t, "again", err, "not-found")
}

// A thief who came to fresh hands added a passkey; the person undoes it from any
// session that was there before.
func TestUndo(t *testing.T) {
	h := newHouse(t)
	v := h.join("alice", store.RolePerson)
	h.clock.advance(time.Hour)
	stolen := v.signIn()
	h.clock.advance(time.Second)
	thief := &visitor{h: h, key: passkeytest.New(t, testOrigin)}
	k, err := stolen.add(thief.key)
	if err != nil {
		t.Fatal(err)
	}
	h.clock.advance(time.Second)
	thief = thief.signIn()
	h.clock.advance(10 * time.Minute) // nobody's hands are fresh any more
	_, err = h.RemovePasskey(t.Context(), thief.who(), v.who().Session.Credential)
	wantCode(t, "the thief removes the person's", err, "verify-first")
	_, err = h.RemovePasskey(t.Context(), thief.who(), k.ID)
	wantCode(t, "a younger session undoes", err, "verify-first")
	keys, err := h.Passkeys(t.Context(), v.who())
	if err != nil || len(keys) != 2 || keys[0].Undo || !keys[1].Undo {
		t.Errorf("undo offered wrongly: %+v, %v", keys, err)
	}
	if keys, err = h.Passkeys(t.Context(), thief.who()); err != nil || keys[0].Undo || keys[1].Undo {
		t.Errorf("undo offered to the thief: %+v, %v", keys, err)
	}
	if left, err := h.RemovePasskey(t.Context(), v.who(), k.ID); err != nil || len(left) != 1 {
		t.Fatalf("undo: %v", err)
	}
	for name, cookie := range map[string]string{"opened by it": thief.cookie, "in which it was added": stolen.cookie} {
		if _, err := h.Who(t.Context(), cookie, somewhere); err != error(errSignIn) {
			t.Errorf("the session %s lives: %v", name, err)
		}
	}
	v.who()
}

func TestUndoLapses(t *testing.T) {
	h := newHouse(t, func(c *Config) {
		c.Limits = func() session.Limits { return session.Limits{Idle: 100 * time.Hour, Absolute: 1000 * time.Hour} }
	})
	v := h.join("alice", store.RolePerson)
	h.clock.advance(time.Second)
	k, err := v.signIn().add(passkeytest.New(t, testOrigin))
	if err != nil {
		t.Fatal(err)
	}
	h.clock.advance(24 * time.Hour)
	_, err = h.RemovePasskey(t.Context(), v.who(), k.ID)
	wantCode(t, "after 24 hours", err, "verify-first")
	h.clock.advance(-time.Millisecond)
	_, err = h.RemovePasskey(t.Context(), v.who(), k.ID)
	wantCode(t, "just before", err, "")
}

func TestVerify(t *testing.T) {
	h := newHouse(t)
	alice, bob := h.join("alice", store.RolePerson), h.join("bob", store.RolePerson)
	h.clock.advance(time.Hour)
	if alice.who().Fresh(h.clock.now()) {
		t.Fatal("hands are fresh after an hour")
	}
	wantCode(t, "verify", alice.verify(), "")
	w := alice.who()
	if !w.Fresh(h.clock.now()) || !w.Session.VerifiedAt.Equal(h.clock.now()) || w.Session.CreatedAt.Equal(h.clock.now()) {
		t.Errorf("session is %+v", w.Session)
	}
	if bob.who().Fresh(h.clock.now()) {
		t.Error("another person's hands became fresh")
	}
	h.clock.advance(time.Hour)
	c, err := h.BeginVerify(t.Context(), alice.who())
	if err != nil {
		t.Fatal(err)
	}
	response := alice.key.Assert(c.Options)
	other := alice.signIn()
	wantCode(t, "in another browser of the person", h.Verify(t.Context(), other.who(), c.Sealed, response), "ceremony-ended")
	wantCode(t, "by another person", h.Verify(t.Context(), bob.who(), c.Sealed, response), "ceremony-ended")
	w = alice.who()
	won := atOnce(t, 100, func() error { return h.Verify(context.Background(), &Who{w.Session, w.Person}, c.Sealed, response) }, errUsed)
	if won != 1 {
		t.Errorf("one response verified %d times", won)
	}
	c, err = h.BeginVerify(t.Context(), alice.who())
	if err != nil {
		t.Fatal(err)
	}
	alice.key.NoUV = true
	wantCode(t, "without user verification", h.Verify(t.Context(), alice.who(), c.Sealed, alice.key.Assert(c.Options)), "passkey-refused")
	alice.key.NoUV = false
	if err := h.SignOut(t.Context(), alice.who()); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "after the end", h.Verify(t.Context(), w, c.Sealed, alice.key.Assert(c.Options)), "sign-in")
}

// A session keeps what the passkey proved that opened it; one that may be synced
// must not stand in for one that may not.
func TestWeakerPasskeyDoesNotVerify(t *testing.T) {
	h := newHouse(t)
	strong := h.join("alice", store.RolePerson)
	synced := &visitor{h: h, key: passkeytest.New(t, testOrigin)}
	synced.key.BackupEligible = true
	if _, err := strong.add(synced.key); err != nil {
		t.Fatal(err)
	}
	h.clock.advance(time.Hour)
	w := strong.who()
	c, err := h.BeginVerify(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(c.Options, []byte(passkeyID(synced.key.Last()))) {
		t.Error("a weaker passkey is offered")
	}
	// As if the options had named it.
	keys, err := h.Passkeys(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	options, ceremony, err := h.party.BeginVerify(userOf(w.Person), credentials([]*store.Passkey{keys[1].Passkey}, nil))
	if err != nil {
		t.Fatal(err)
	}
	forced, err := h.seal(forVerify, w.Session.ID, options, ceremony)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "weaker", h.Verify(t.Context(), w, forced.Sealed, synced.key.Assert(options)), "passkey-weaker")
	if strong.who().Fresh(h.clock.now()) {
		t.Error("hands are fresh")
	}
	// The other way round it is no weaker.
	synced = synced.signIn()
	h.clock.advance(time.Hour)
	synced.key = strong.key
	wantCode(t, "stronger", synced.verify(), "")
}
