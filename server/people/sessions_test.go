package people

import (
	"testing"
	"time"

	"muster/server/session"
	"muster/server/store"
)

func TestSessions(t *testing.T) {
	h := newHouse(t, func(c *Config) {
		c.Device = func(id string) (session.Device, bool) {
			return session.Device{ID: id, Name: "alice's laptop", Active: true, Current: true}, id == "d1"
		}
	})
	alice, bob := h.join("alice", store.RolePerson), h.join("bob", store.RolePerson)
	h.clock.advance(time.Minute)
	second := alice.signIn()
	h.change(func(tx *store.Tx) error {
		s, err := tx.Session(second.who().Session.ID)
		if err != nil {
			return err
		}
		s.Link = &session.Link{Device: "d1", Person: "alice", Strength: session.ByLoopback, At: tx.Now()}
		return tx.UpdateSession(s)
	})
	list, err := h.Sessions(t.Context(), alice.who())
	if err != nil || len(list) != 2 || !list[0].This || list[0].ID != alice.who().Session.ID || list[1].This {
		t.Fatalf("sessions are %+v, %v", list, err)
	}
	if list[0].LinkState != session.LinkAbsent || list[1].LinkState != session.LinkLive || list[1].Laptop != "alice's laptop" || list[1].Passkey != "Passkey" {
		t.Errorf("sessions are %+v", list)
	}
	other := bob.who().Session.ID
	wantCode(t, "another person's", h.EndSession(t.Context(), alice.who(), other), "not-found")
	wantCode(t, "nobody's", h.EndSession(t.Context(), alice.who(), "s_x"), "not-found")
	bob.who()
	wantCode(t, "own", h.EndSession(t.Context(), alice.who(), second.who().Session.ID), "")
	if _, err := h.Who(t.Context(), second.cookie, somewhere); err != error(errSignIn) {
		t.Errorf("an ended session: %v", err)
	}
}

func TestEndSessionOf(t *testing.T) {
	h := newHouse(t)
	alice, admin := h.join("alice", store.RolePerson), h.join("bob", store.RoleAdministrator)
	id := alice.who().Session.ID
	wantCode(t, "by a person", h.EndSessionOf(t.Context(), "person:alice", admin.who().Session.ID, "why"), "role")
	wantCode(t, "by nobody", h.EndSessionOf(t.Context(), "", id, "why"), "role")
	wantCode(t, "without a reason", h.EndSessionOf(t.Context(), "person:bob", id, ""), "why")
	wantCode(t, "nobody's", h.EndSessionOf(t.Context(), "person:bob", "s_x", "why"), "not-found")
	wantCode(t, "an administrator", h.EndSessionOf(t.Context(), "person:bob", id, "stolen laptop"), "")
	if _, err := h.Who(t.Context(), alice.cookie, somewhere); err != error(errSignIn) {
		t.Errorf("an ended session: %v", err)
	}
	if ended := h.audited("session.end"); len(ended) != 1 || ended[0]["why"] != "stolen laptop" || ended[0]["actor"] != "person:bob" {
		t.Errorf("audited %v", ended)
	}
}

func TestSweep(t *testing.T) {
	h := newHouse(t)
	v := h.join("alice", store.RolePerson)
	for range 3 {
		v.signIn()
	}
	h.clock.advance(7 * time.Hour)
	fresh := v.signIn()
	h.clock.advance(2 * time.Hour)
	if n := h.live(""); n != 1 {
		t.Errorf("%d live", n)
	}
	for range 2 {
		if err := h.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	fresh.who()
	ended := h.audited("session.end")
	if len(ended) != 4 || ended[0]["cause"] != "idle" {
		t.Errorf("ended %v", ended)
	}
	h.clock.advance(-9 * time.Hour)
	if _, err := h.Who(t.Context(), v.cookie, somewhere); err != error(errSignIn) {
		t.Errorf("a swept session lives when the clock is put back: %v", err)
	}
}

func TestPrograms(t *testing.T) {
	h := newHouse(t)
	admin, alice := h.join("bob", store.RoleAdministrator), h.join("alice", store.RolePerson)
	eve := h.join("eve", store.RoleAuditor)
	ctx := t.Context()
	for name, test := range map[string]struct {
		by     *visitor
		label  string
		scopes []string
		days   int
		code   string
	}{
		"a person":      {alice, "sync", []string{"users:read"}, 1, "role"},
		"an auditor":    {eve, "sync", []string{"users:read"}, 1, "role"},
		"no label":      {admin, "", []string{"users:read"}, 1, "label"},
		"no scope":      {admin, "sync", nil, 1, "scope-unknown"},
		"unknown scope": {admin, "sync", []string{"users:read", "*"}, 1, "scope-unknown"},
		"empty scope":   {admin, "sync", []string{""}, 1, "scope-unknown"},
		"no days":       {admin, "sync", []string{"users:read"}, 0, "days"},
		"too many days": {admin, "sync", []string{"users:read"}, 367, "days"},
		"fine":          {admin, "all", Scopes(), 366, ""},
	} {
		secret, k, err := h.CreateAPIToken(ctx, test.by.who(), test.label, test.scopes, test.days)
		wantCode(t, name, err, test.code)
		if (secret == "") != (test.code != "") || (k == nil) != (test.code != "") {
			t.Errorf("%s: %q, %v", name, secret, k)
		}
	}
	secret, k, err := h.CreateAPIToken(ctx, admin.who(), "sync", []string{"users:read", "users:read"}, 30)
	if err != nil || len(k.Scopes) != 1 {
		t.Fatal(k, err)
	}
	program := func(secret, scope string) error {
		got, err := h.Program(ctx, secret, scope)
		if (got == nil) != (err != nil) {
			t.Errorf("%v with %v", got, err)
		}
		return err
	}
	wantCode(t, "its scope", program(secret, "users:read"), "")
	wantCode(t, "another scope", program(secret, "users:write"), "scope")
	wantCode(t, "no scope", program(secret, ""), "scope")
	wantCode(t, "a cookie", program(admin.cookie, "users:read"), "program-unknown")
	wantCode(t, "nothing", program("", "users:read"), "program-unknown")
	if list, err := h.APITokens(ctx, eve.who()); err != nil || len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}
	_, err = h.APITokens(ctx, alice.who())
	wantCode(t, "a person lists", err, "role")
	h.clock.advance(time.Hour)
	wantCode(t, "an hour later", program(secret, "users:read"), "")
	_, _, err = h.CreateAPIToken(ctx, admin.who(), "sync", []string{"users:read"}, 1)
	wantCode(t, "stale hands", err, "verify-first")
	wantCode(t, "end with stale hands", h.EndAPIToken(ctx, admin.who(), k.ID), "verify-first")
	list, err := h.APITokens(ctx, eve.who())
	if err != nil || !list[0].UsedAt.Equal(h.clock.now().Truncate(time.Hour)) && !list[1].UsedAt.Equal(h.clock.now().Truncate(time.Hour)) {
		t.Errorf("its use is not noted: %v, %v", list, err)
	}
	// It is worth no more than its maker.
	h.join("carol", store.RoleAdministrator)
	person := admin.who().Person
	person.Role = store.RoleHelpDesk
	wantCode(t, "demote", h.ChangePerson(ctx, local, person), "")
	wantCode(t, "of one demoted", program(secret, "users:read"), "program-unknown")
	person.Role = store.RoleAdministrator
	wantCode(t, "promote", h.ChangePerson(ctx, local, person), "")
	wantCode(t, "of one promoted again", program(secret, "users:read"), "")
	wantCode(t, "verify", admin.verify(), "")
	wantCode(t, "end", h.EndAPIToken(ctx, admin.who(), k.ID), "")
	wantCode(t, "ended", program(secret, "users:read"), "program-unknown")
	wantCode(t, "end again", h.EndAPIToken(ctx, admin.who(), k.ID), "not-found")
	secret, _, err = h.CreateAPIToken(ctx, admin.who(), "short", []string{"users:read"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "disable", h.Disable(ctx, local, person.ID, "left"), "")
	wantCode(t, "of one disabled", program(secret, "users:read"), "program-unknown")
	if h.kinds()["program-created"] != 3 {
		t.Errorf("told %v", h.kinds())
	}
}
