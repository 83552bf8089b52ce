package people

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"muster/server/passkey"
	"muster/server/passkey/passkeytest"
	"muster/server/reference"
	"muster/server/store"
)

// model is an authenticator with attestation, of a model of its own.
func model(t *testing.T, n byte) *passkeytest.Authenticator {
	key := passkeytest.New(t, testOrigin)
	key.AAGUID, key.Format = reference.AAGUID{15: n}, "packed"
	return key
}

// pack is metadata with these entries, in the order of their models.
func (h *house) pack(number int, entries ...reference.MDSEntry) *reference.MDS {
	return &reference.MDS{Number: number, NextUpdate: h.clock.now().AddDate(0, 1, 0), ImportedAt: h.clock.now(), Entries: entries}
}

func (h *house) setMetadata(pack *reference.MDS) (changed int) {
	h.t.Helper()
	changed, err := h.SetMetadata(context.Background(), pack)
	if err != nil {
		h.t.Fatal(err)
	}
	return changed
}

func TestMetadataChangesWhatIsThought(t *testing.T) {
	h := newHouse(t)
	if h.metadata.Load() != nil {
		t.Error("a pack from nowhere")
	}
	plain := h.join("alice", store.RolePerson)
	good, bad := model(t, 1), model(t, 2)
	certified := reference.MDSStatus{Status: "FIDO_CERTIFIED_L2", From: h.clock.now().AddDate(-1, 0, 0)}
	revoked := reference.MDSStatus{Status: "REVOKED", From: h.clock.now().AddDate(0, 0, -1)}
	for _, key := range []*passkeytest.Authenticator{good, bad} {
		if _, err := plain.add(key); err != nil {
			t.Fatal(err)
		}
	}
	if n := h.setMetadata(h.pack(7, good.Entry(certified), bad.Entry(certified))); n != 2 || h.metadata.Load().Number != 7 {
		t.Errorf("%d are judged otherwise", n)
	}
	keys, err := h.Passkeys(t.Context(), plain.who())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []passkey.Evidence{passkey.None, passkey.Attested, passkey.Attested} {
		if keys[i].Judgement.Evidence != want || keys[i].Judgement.Pack != 7 {
			t.Errorf("passkey %d is judged %+v", i, keys[i].Judgement)
		}
	}
	if n := h.setMetadata(h.pack(8, good.Entry(certified), bad.Entry(certified))); n != 0 {
		t.Errorf("the same in another pack: %d are judged otherwise", n)
	}
	on := func(key *passkeytest.Authenticator) *visitor { return (&visitor{h: h, key: key}).signIn() }
	withGood, withBad := on(good), on(bad)
	if acr := withGood.who().Session.ACR; acr != "muster:passkey-attested" {
		t.Errorf("acr is %s", acr)
	}
	if n := h.setMetadata(h.pack(9, good.Entry(certified), bad.Entry(certified, revoked))); n != 1 {
		t.Errorf("%d are judged otherwise", n)
	}
	if _, err := h.Who(t.Context(), withBad.cookie, somewhere); err != error(errSignIn) {
		t.Errorf("the session of a model that lost trust: %v", err)
	}
	plain.who()
	withGood.who()
	ended := h.audited("session.end")
	if len(ended) != 1 || ended[0]["cause"] != "passkey-model" || h.kinds()["passkey-model"] != 1 {
		t.Errorf("ended %v, told %v", ended, h.kinds())
	}
	worse := reference.MDSStatus{Status: "USER_KEY_REMOTE_COMPROMISE", From: h.clock.now().AddDate(0, 0, -1)}
	if n := h.setMetadata(h.pack(10, good.Entry(certified), bad.Entry(certified, revoked, worse))); n != 1 {
		t.Errorf("%d are judged otherwise", n)
	}
	if h.kinds()["passkey-model"] != 1 {
		t.Error("told again")
	}
	// The person who holds the key is told; who does not, learns nothing.
	c, err := h.BeginSignIn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	response := bad.Assert(c.Options)
	forged := []byte(strings.Replace(string(response), `"signature":"ME`, `"signature":"MF`, 1))
	_, _, err = h.SignIn(t.Context(), c.Sealed, forged, somewhere)
	wantCode(t, "bad model, wrong signature", err, "passkey-refused")
	_, _, err = h.SignIn(t.Context(), c.Sealed, response, somewhere)
	wantCode(t, "bad model", err, "passkey-revoked")
	_, err = plain.add(model(t, 2))
	wantCode(t, "register a bad model", err, "passkey-revoked")
	// What is trusted again signs in again.
	h.setMetadata(h.pack(11, good.Entry(certified), bad.Entry(certified)))
	on(bad)
	h.setMetadata(nil)
	if acr := on(good).who().Session.ACR; acr != "muster:passkey" || h.metadata.Load() != nil {
		t.Errorf("acr without metadata is %s", acr)
	}
}

// A pack that came into use between the check of a registration and its keeping
// counts for it, too.
func TestRegistrationAcrossPacks(t *testing.T) {
	h := newHouse(t)
	v := h.join("alice", store.RolePerson)
	key := model(t, 1)
	w := v.who()
	check := func() *registration {
		c, err := h.BeginAdd(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		key = model(t, 1)
		r, err := h.finishRegistration(forAdd, w.Session.ID, userOf(w.Person), c.Sealed, key.Register(c.Options))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	keep := func(r *registration) (k *store.Passkey, err error) {
		err = h.update(t.Context(), func(tx *store.Tx) (err error) {
			k, err = h.keepPasskey(tx, w.Person, r, "", w.Session.ID)
			return err
		})
		return k, err
	}
	r := check()
	h.setMetadata(h.pack(7, key.Entry()))
	if k, err := keep(r); err != nil || k.Judgement.Evidence != passkey.Attested || k.Judgement.Pack != 7 {
		t.Errorf("kept %+v, %v", k, err)
	}
	r = check()
	h.setMetadata(h.pack(8, key.Entry(reference.MDSStatus{Status: "USER_VERIFICATION_BYPASS", From: h.clock.now().AddDate(0, 0, -1)})))
	_, err := keep(r)
	wantCode(t, "bad meanwhile", err, "passkey-revoked")
}

func TestMetadataOverManyPersons(t *testing.T) {
	h := newHouse(t)
	v := h.join("alice", store.RolePerson)
	key := model(t, 1)
	k, err := v.add(key)
	if err != nil {
		t.Fatal(err)
	}
	// More persons than one page has, each with a copy of that credential.
	h.change(func(tx *store.Tx) error {
		for i := range 2*judgeAtOnce + 1 {
			person := &store.Person{Name: fmt.Sprintf("person%d", i), Role: store.RolePerson, CreatedBy: "test"}
			if err := tx.AddPerson(person); err != nil {
				return err
			}
			other := *k.Passkey
			other.Person, other.ID = person.ID, append([]byte{byte(i), byte(i >> 8)}, k.ID...)
			if err := tx.AddPasskey(&other); err != nil {
				return err
			}
		}
		return nil
	})
	h.setMetadata(h.pack(7, key.Entry()))
	judged := 0
	if err := h.view(t.Context(), func(tx *store.Tx) error {
		keys, err := tx.Passkeys("")
		for _, k := range keys {
			if k.Judgement.Pack == 7 {
				judged++
			}
		}
		return err
	}); err != nil || judged != 2*judgeAtOnce+3 {
		t.Errorf("%d judged, %v", judged, err)
	}
}
