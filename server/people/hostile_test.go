package people

import (
	"errors"
	"testing"
	"time"

	"muster/attest"
	"muster/server/passkey"
	"muster/server/passkey/passkeytest"
	"muster/server/reference"
	"muster/server/session"
	"muster/server/store"
)

// An approver who is found out while the waiting time runs leaves no door open.
func TestApproverIsOneStillAtTheEnd(t *testing.T) {
	for name, out := range map[string]func(tx *store.Tx) error{
		"barred": func(tx *store.Tx) error { _, err := tx.DisablePerson("p_bob", "found out"); return err },
		"struck off": func(tx *store.Tx) error {
			alice, err := tx.PersonByName("alice")
			if err != nil {
				return err
			}
			alice.Approvers = []string{"carol"}
			return tx.UpdatePerson(alice)
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			o.staff()
			id, code, secret := o.lost("laptop-alice")
			o.approve(o.sign("bob"), id, code)
			o.pass(24 * time.Hour)
			if _, err := o.BeginRecovered(o.ctx(), secret); err != nil {
				t.Fatal(err)
			}
			o.change(out)
			_, err := o.recover(secret)
			wantNo(t, "recovering", err, "used")
		})
	}
}

// Who stole a cookie while its hands were fresh adds a passkey. What it can do next
// must leave the person a way to undo that.
func TestNewPasskeyPushesNoOlderOneOut(t *testing.T) {
	h := newHouse(t)
	v := h.join("alice", store.RolePerson)
	h.clock.advance(48 * time.Hour)
	v = v.signIn()
	first := v.who().Session.Credential
	thief := &visitor{h: h, key: passkeytest.New(t, testOrigin)}
	k, err := v.add(thief.key) // with the stolen cookie, fresh
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.RemovePasskey(t.Context(), v.who(), first)
	wantCode(t, "by the stolen cookie", err, "passkey-new")
	h.clock.advance(time.Second)
	thief = thief.signIn()
	_, err = h.RemovePasskey(t.Context(), thief.who(), first)
	wantCode(t, "by the new passkey", err, "passkey-new")
	another := &visitor{h: h, key: passkeytest.New(t, testOrigin)}
	k2, err := thief.add(another.key)
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.RemovePasskey(t.Context(), thief.who(), first)
	wantCode(t, "by two new ones", err, "passkey-new")
	if err := h.SignOutEverywhere(t.Context(), thief.who()); err != nil {
		t.Fatal(err)
	}
	// The person signs in and is rid of both.
	v = v.signIn()
	for _, id := range [][]byte{k.ID, k2.ID} {
		if _, err := h.RemovePasskey(t.Context(), v.who(), id); err != nil {
			t.Fatal(err)
		}
	}
	v.who()
}

// A young passkey that is removed takes the session with it in which it was added,
// also when the person has only a younger session to remove it from.
func TestRemovingAYoungPasskeyEndsItsSession(t *testing.T) {
	h := newHouse(t)
	v := h.join("alice", store.RolePerson)
	stolen := v.signIn()
	k, err := stolen.add(passkeytest.New(t, testOrigin))
	if err != nil {
		t.Fatal(err)
	}
	h.clock.advance(time.Minute)
	v = v.signIn()
	if _, err := h.RemovePasskey(t.Context(), v.who(), k.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Who(t.Context(), stolen.cookie, somewhere); err != error(errSignIn) {
		t.Errorf("the session in which it was added: %v", err)
	}
	v.who()
}

// Metadata ages while the server runs: attested counts no more when the pack has
// expired, and a status of a day to come counts when that day has come.
func TestMetadataAges(t *testing.T) {
	h := newHouse(t)
	v := h.join("alice", store.RolePerson)
	good, doomed := model(t, 1), model(t, 2)
	later := reference.MDSStatus{Status: "REVOKED", From: h.clock.now().AddDate(0, 0, 10)}
	h.setMetadata(h.pack(7, good.Entry(), doomed.Entry(later)))
	for _, key := range []*passkeytest.Authenticator{good, doomed} {
		if _, err := v.add(key); err != nil {
			t.Fatal(err)
		}
	}
	on := func(key *passkeytest.Authenticator) *visitor { return (&visitor{h: h, key: key}).signIn() }
	sweep := func(days int) {
		h.clock.advance(time.Duration(days) * 24 * time.Hour)
		if err := h.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	sweep(9)
	on(doomed)
	if acr := on(good).who().Session.ACR; acr != session.ACRAttested {
		t.Errorf("acr with a fresh pack is %s", acr)
	}
	sweep(2)
	c, err := h.BeginSignIn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = h.SignIn(t.Context(), c.Sealed, doomed.Assert(c.Options), somewhere)
	wantCode(t, "the day has come", err, "passkey-revoked")
	sweep(70)
	if acr := on(good).who().Session.ACR; acr != "muster:passkey" {
		t.Errorf("acr with an expired pack is %s", acr)
	}
	c, _ = h.BeginSignIn(t.Context())
	_, _, err = h.SignIn(t.Context(), c.Sealed, doomed.Assert(c.Options), somewhere)
	wantCode(t, "revoked by an expired pack", err, "passkey-revoked")
}

// One who is signed in cannot fill the disk with redirect codes, or with requests to
// link.
func TestOffersAreBounded(t *testing.T) {
	h := newHouse(t)
	w := h.join("mallory", store.RolePerson).who()
	code := func() error {
		_, err := h.VisitCode(t.Context(), w, "wiki", "wiki.muster.example", attest.Digest{1}, "/")
		return err
	}
	for range maxVisits {
		if err := code(); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, "one more", code(), "visit-limit")
	h.clock.advance(visitLife)
	wantCode(t, "a minute later", code(), "")
	link := func() error {
		_, err := h.BeginLink(t.Context(), w, session.ByLoopback, From{w.Session.Address, w.Session.Browser})
		return err
	}
	for range maxLinks {
		if err := link(); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, "one more link", link(), "link-limit")
	h.clock.advance(linkLife)
	wantCode(t, "two minutes later", link(), "")
}

// Metadata that is lost or has expired proves nothing and takes nothing back.
func TestLostMetadataTakesNothingBack(t *testing.T) {
	h := newHouse(t)
	v := h.join("alice", store.RolePerson)
	good, bad := model(t, 1), model(t, 2)
	for _, key := range []*passkeytest.Authenticator{good, bad} {
		if _, err := v.add(key); err != nil {
			t.Fatal(err)
		}
	}
	revoked := reference.MDSStatus{Status: "REVOKED", From: h.clock.now().AddDate(0, 0, -1)}
	expired := h.pack(9, good.Entry(), bad.Entry())
	expired.NextUpdate = h.clock.now().AddDate(0, -2, 0)
	for name, lost := range map[string]*reference.MDS{"none": nil, "expired": expired} {
		h.setMetadata(h.pack(8, good.Entry(), bad.Entry(revoked)))
		session := (&visitor{h: h, key: good}).signIn()
		h.setMetadata(lost)
		keys, err := h.Passkeys(t.Context(), v.who())
		if err != nil || len(keys) != 3 {
			t.Fatalf("%s: %d keys, %v", name, len(keys), err)
		}
		if j := keys[1].Judgement; j.Evidence == passkey.Attested || j.Bad != "" {
			t.Errorf("%s: the good one is judged %+v", name, j)
		}
		if j := keys[2].Judgement; j.Bad != "REVOKED" || j.Evidence == passkey.Attested {
			t.Errorf("%s: the revoked one is judged %+v", name, j)
		}
		if _, err := h.Who(t.Context(), session.cookie, somewhere); err != error(errSignIn) {
			t.Errorf("%s: a session that says attested lives on: %v", name, err)
		}
	}
	h.setMetadata(h.pack(10, good.Entry(), bad.Entry()))
	if keys, err := h.Passkeys(t.Context(), v.who()); err != nil || keys[2].Judgement.Bad != "" {
		t.Errorf("metadata that counts takes it back: %+v, %v", keys[2].Judgement, err)
	}
}

// An administrator's stolen fresh hands make no administrator unheard.
func TestGivenRolesAreTold(t *testing.T) {
	o := newOffice(t)
	ada := o.hire("ada", store.RoleAdministrator)
	bob := o.hire("bob", store.RolePerson)
	told := func(what string, want bool) {
		t.Helper()
		n := len(o.bodies("mail", "ada@muster.example"))
		if mail := len(o.bodies("mail", "security@muster.example")); (n > 0) != want || mail != n {
			t.Errorf("%s: told %d times, administrators %d", what, n, mail)
		}
		o.change(func(tx *store.Tx) error {
			due, err := tx.DueNotices(100)
			for _, n := range due {
				err = errors.Join(err, tx.NoticeDone(n.ID))
			}
			return err
		})
	}
	by := Actor("person:" + ada.Name)
	for role, want := range map[store.Role]bool{store.RolePerson: false, store.RoleAuditor: true, store.RoleHelpDesk: true, store.RoleAdministrator: true} {
		link, err := o.Invite(o.ctx(), by, Invitation{Name: "new", Role: role})
		if err != nil {
			t.Fatal(err)
		}
		told("inviting "+string(role), want)
		o.never(kindInvitation, secretOf(t, link))
	}
	bob.Role = store.RoleAdministrator
	if err := o.ChangePerson(o.ctx(), by, bob); err != nil {
		t.Fatal(err)
	}
	told("promoting", true)
	bob.Role = store.RolePerson
	if err := o.ChangePerson(o.ctx(), by, bob); err != nil {
		t.Fatal(err)
	}
	told("demoting", false)
}

// One administrator cannot make the other one of "two administrators" on the spot.
func TestSockPuppetIsNoSecondAdministrator(t *testing.T) {
	h := newHouse(t)
	mallory := h.join("mallory", store.RoleAdministrator)
	h.join("root", store.RoleAdministrator)
	link, err := h.Invite(t.Context(), mallory.who().actor(), Invitation{Name: "sock", Role: store.RoleAdministrator})
	if err != nil {
		t.Fatal(err)
	}
	sock := h.accepts(link)
	r, err := h.ProposeRecovery(t.Context(), mallory.who(), "root")
	if err != nil {
		t.Fatal(err)
	}
	if link, err := h.ApproveRecovery(t.Context(), sock.who(), r.ID, ""); err != error(errNewRole) || link != "" {
		t.Errorf("an administrator of a minute approves: %v", err)
	}
	if err := h.CancelRecovery(t.Context(), mallory.who(), r.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := h.ProposeRecovery(t.Context(), sock.who(), "root"); err != error(errNewRole) {
		t.Errorf("an administrator of a minute proposes: %v", err)
	}
	// A role that is lost and given again begins anew.
	carol := h.join("carol", store.RoleAdministrator)
	for _, role := range []store.Role{store.RolePerson, store.RoleAdministrator} {
		person := *carol.who().Person
		person.Role = role
		if err := h.ChangePerson(t.Context(), mallory.who().actor(), &person); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.ProposeRecovery(t.Context(), carol.who(), "root"); err != error(errNewRole) {
		t.Errorf("an administrator anew proposes: %v", err)
	}
}

// A copied cookie dies when the laptop vouches again: the browser gets another one,
// and who comes with the copy after that ends the session.
func TestCopiedCookieDiesWithTheNextProof(t *testing.T) {
	h := newHouse(t)
	alice := h.join("alice", store.RolePerson)
	copied := alice.cookie
	fresh, err := h.Renew(t.Context(), alice.who())
	if err != nil || fresh == copied {
		t.Fatalf("renewed to the same, or %v", err)
	}
	for _, secret := range []string{fresh, copied} { // other tabs' requests are under way
		if _, err := h.Who(t.Context(), secret, somewhere); err != nil {
			t.Errorf("at once: %v", err)
		}
	}
	h.clock.advance(time.Minute)
	if _, err := h.Who(t.Context(), fresh, somewhere); err != nil {
		t.Errorf("the browser's own, later: %v", err)
	}
	if w, err := h.Who(t.Context(), copied, somewhere); err != error(errSignIn) || w != nil {
		t.Errorf("the copy, later: %v", err)
	}
	if _, err := h.Who(t.Context(), fresh, somewhere); err != error(errSignIn) {
		t.Errorf("the session goes on beside a copy: %v", err)
	}
	if n := h.live("alice"); n != 0 {
		t.Errorf("%d sessions live", n)
	}
	ends := h.audited("session.end")
	if len(ends) != 1 || ends[0]["cause"] != causeCopied {
		t.Errorf("audited %v", ends)
	}
	// A session that has ended is not renewed, and its copy changes nothing more.
	if _, err := h.Who(t.Context(), copied, somewhere); err != error(errSignIn) || len(h.audited("session.end")) != 1 {
		t.Errorf("the copy again: %v", err)
	}
}
