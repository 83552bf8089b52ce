package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/server/passkey"
	"muster/server/session"
)

// someone is a person whose id is made from the name.
func someone(name string) *Person {
	return &Person{ID: "p_" + name, Name: name, Display: "Ms " + name, Mail: name + "@muster.example",
		Role: RolePerson, Groups: []string{"engineering"}, Approvers: []string{"carol"}, CreatedBy: "local administrator"}
}

// aPasskey is a credential whose id is made from its name.
func aPasskey(person, name string) *Passkey {
	return &Passkey{Person: "p_" + person, Name: name, CreatedIn: "s_x", Credential: passkey.Credential{
		ID: []byte("id of " + name), PublicKey: []byte("key"), Algorithm: -7, AAGUID: [16]byte{1, 2, 3},
		Attestation: []byte("attestation"), ClientData: []byte("client data"), Transports: []string{"internal"},
		Attachment: "platform", BackupEligible: true, UserVerified: true,
		Judgement: passkey.Judgement{Evidence: passkey.Self, Why: "self-attestation"},
		Use:       passkey.Use{SignCount: 1, UserVerified: true, At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)},
	}}
}

// aSession is one that a passkey of that name opened.
func aSession(person, key string) *session.Session {
	return &session.Session{Person: "p_" + person, Credential: []byte("id of " + key),
		VerifiedAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Limits:     session.Limits{Idle: time.Hour, Absolute: 8 * time.Hour}, Address: "192.0.2.1", Browser: "browser",
		Attachment: "platform", AMR: []string{"hwk", "user"}, ACR: "acr", Binding: "none"}
}

// populate adds persons with a passkey named "NAME key", and a session each,
// whose ids and secrets are returned by name.
func populate(t testing.TB, s *Store, names ...string) (ids, secrets map[string]string) {
	t.Helper()
	ids, secrets = map[string]string{}, map[string]string{}
	update(t, s, func(tx *Tx) error {
		for _, name := range names {
			if err := errors.Join(tx.AddPerson(someone(name)), tx.AddPasskey(aPasskey(name, name+" key"))); err != nil {
				return err
			}
			one := aSession(name, name+" key")
			secret, err := tx.AddSession(one)
			if err != nil {
				return err
			}
			ids[name], secrets[name] = one.ID, secret
		}
		return nil
	})
	return ids, secrets
}

// refused expects an update to fail with an error, and any for nil.
func refused(t testing.TB, s *Store, what string, want error, fn func(*Tx) error) {
	t.Helper()
	err := s.Update(context.Background(), fn)
	if err == nil || want != nil && !errors.Is(err, want) {
		t.Errorf("%s: %v, not %v", what, err, want)
	}
}

func TestPersons(t *testing.T) {
	s := openAt(t, newPath(t))
	want := someone("alice")
	want.ID = ""
	update(t, s, func(tx *Tx) error { return errors.Join(tx.AddPerson(want), tx.AddPerson(someone("bob"))) })
	if !strings.HasPrefix(want.ID, "p_") || len(want.ID) != 28 || strings.ToLower(want.ID) != want.ID || len(want.Handle) != 32 {
		t.Errorf("id %q, handle of %d bytes", want.ID, len(want.Handle))
	}
	for name, bad := range map[string]func(*Person){
		"no name":          func(p *Person) { p.Name = "" },
		"short handle":     func(p *Person) { p.Handle = make([]byte, 31) },
		"empty handle":     func(p *Person) { p.Handle = []byte{} },
		"another's handle": func(p *Person) { p.Handle = want.Handle },
		"upper case":       func(p *Person) { p.Name = "Bob" },
		"space":            func(p *Person) { p.Name = "bob " },
		"look-alike":       func(p *Person) { p.Name = "b\u043eb" },
		"newline inside":   func(p *Person) { p.Name = "b\nb" },
		"like an id":       func(p *Person) { p.Name = "p_bob" },
		"long name":        func(p *Person) { p.Name = strings.Repeat("a", 65) },
		"id like a name":   func(p *Person) { p.ID = "carol" },
		"long id":          func(p *Person) { p.ID = "p_" + strings.Repeat("a", 63) },
		"no role":          func(p *Person) { p.Role = "" },
		"unknown role":     func(p *Person) { p.Role = "root" },
		"long display":     func(p *Person) { p.Display = strings.Repeat("a", maxText+1) },
		"display no text":  func(p *Person) { p.Display = "\xff" },
		"a lot of groups":  func(p *Person) { p.Groups = slices.Repeat([]string{"group"}, maxProfile) },
		"long mail":        func(p *Person) { p.Mail = strings.Repeat("a", maxText+1) },
		"creator too long": func(p *Person) { p.CreatedBy = strings.Repeat("a", maxText+1) },
	} {
		p := someone("carol")
		bad(p)
		refused(t, s, name, nil, func(tx *Tx) error { return tx.AddPerson(p) })
	}
	again := someone("alice")
	again.ID = "p_other"
	refused(t, s, "a name twice", ErrTaken, func(tx *Tx) error { return tx.AddPerson(again) })
	given := someone("erin")
	given.Handle = bytes.Repeat([]byte{7}, 32)
	update(t, s, func(tx *Tx) error { return tx.AddPerson(given) })
	view(t, s, func(tx *Tx) error {
		if p, err := tx.PersonByHandle(bytes.Repeat([]byte{7}, 32)); err != nil || p.Name != "erin" {
			t.Errorf("by a given handle: %+v, %v", p, err)
		}
		return nil
	})
	again.Handle, again.Name, again.ID = nil, "carol", want.ID
	refused(t, s, "an id twice", ErrTaken, func(tx *Tx) error { return tx.AddPerson(again) })
	want.Display, want.Role, want.Groups, want.Mail = "Alice", RoleAdministrator, []string{"a", "b"}, ""
	update(t, s, func(tx *Tx) error { return tx.UpdatePerson(want) })
	view(t, s, func(tx *Tx) error {
		for by, read := range map[string]func() (*Person, error){
			"id":     func() (*Person, error) { return tx.Person(want.ID) },
			"name":   func() (*Person, error) { return tx.PersonByName("alice") },
			"handle": func() (*Person, error) { return tx.PersonByHandle(want.Handle) },
		} {
			if got, err := read(); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("by %s: %+v, %v", by, got, err)
			}
		}
		list, err := tx.Persons()
		if err != nil || len(list) != 3 || list[0].Name != "alice" || bytes.Equal(list[0].Handle, list[1].Handle) {
			t.Errorf("%+v, %v", list, err)
		}
		for _, read := range []func() (*Person, error){
			func() (*Person, error) { return tx.Person("alice") },
			func() (*Person, error) { return tx.PersonByName("ALICE") },
			func() (*Person, error) { return tx.PersonByHandle(nil) },
		} {
			if p, err := read(); !errors.Is(err, ErrNotFound) {
				t.Errorf("%+v, %v", p, err)
			}
		}
		return nil
	})
	refused(t, s, "update of nobody", ErrNotFound, func(tx *Tx) error { return tx.UpdatePerson(someone("dora")) })
	want.Role = "root"
	refused(t, s, "update to an unknown role", nil, func(tx *Tx) error { return tx.UpdatePerson(want) })
	refused(t, s, "deleting", nil, func(tx *Tx) error { _, err := tx.exec("DELETE FROM persons"); return err })
	for _, column := range []string{"id", "name", "handle"} {
		refused(t, s, "changing "+column, nil, func(tx *Tx) error {
			_, err := tx.exec("UPDATE persons SET " + column + " = " + column)
			return err
		})
	}
}

func TestPasskeys(t *testing.T) {
	s := openAt(t, newPath(t))
	want := aPasskey("alice", "key")
	update(t, s, func(tx *Tx) error {
		return errors.Join(tx.AddPerson(someone("alice")), tx.AddPerson(someone("bob")), tx.AddPasskey(want),
			tx.AddPasskey(aPasskey("alice", "second")), tx.AddPasskey(aPasskey("bob", "other")))
	})
	for name, bad := range map[string]func(*Passkey){
		"no id":              func(p *Passkey) { p.ID = nil },
		"long id":            func(p *Passkey) { p.ID = make([]byte, maxPasskey+1) },
		"no key":             func(p *Passkey) { p.PublicKey = nil },
		"no attestation":     func(p *Passkey) { p.Attestation = nil },
		"long attestation":   func(p *Passkey) { p.Attestation = make([]byte, maxRegister+1) },
		"long client data":   func(p *Passkey) { p.ClientData = make([]byte, maxRegister+1) },
		"long name":          func(p *Passkey) { p.Name = strings.Repeat("ä", 65) },
		"long judgement":     func(p *Passkey) { p.Judgement.Why = strings.Repeat("a", maxJudged) },
		"many transports":    func(p *Passkey) { p.Transports = slices.Repeat([]string{"usb"}, maxText) },
		"of nobody":          func(p *Passkey) { p.Person = "p_nobody" },
		"without a person":   func(p *Passkey) { p.Person = "" },
		"attachment no word": func(p *Passkey) { p.Attachment = strings.Repeat("a", maxID+1) },
	} {
		p := aPasskey("bob", "bad")
		bad(p)
		refused(t, s, name, nil, func(tx *Tx) error { return tx.AddPasskey(p) })
	}
	for _, person := range []string{"alice", "bob"} {
		refused(t, s, "another's", ErrTaken, func(tx *Tx) error { return tx.AddPasskey(aPasskey(person, "key")) })
	}
	want.Use = passkey.Use{SignCount: 7, CloneWarning: true, At: want.Use.At.Add(time.Hour)}
	want.Judgement = passkey.Judgement{Evidence: passkey.Attested, Level: 2, Bad: "REVOKED", Weak: []string{"rs1"}, Pack: 9}
	want.Name = strings.Repeat("ä", 64)
	update(t, s, func(tx *Tx) error {
		return errors.Join(tx.UsePasskey(want.ID, &want.Use), tx.JudgePasskey(want.ID, &want.Judgement),
			tx.NamePasskey(want.ID, want.Name))
	})
	view(t, s, func(tx *Tx) error {
		if got, err := tx.PasskeyByID(want.ID); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v\nis not\n%+v: %v", got, want, err)
		}
		for person, n := range map[string]int{"p_alice": 2, "p_bob": 1, "": 3, "p_none": 0} {
			if list, err := tx.Passkeys(person); err != nil || len(list) != n {
				t.Errorf("%q has %d, %v", person, len(list), err)
			}
		}
		return nil
	})
	none := []byte("none")
	refused(t, s, "use of none", ErrNotFound, func(tx *Tx) error { return tx.UsePasskey(none, &want.Use) })
	refused(t, s, "judging none", ErrNotFound, func(tx *Tx) error { return tx.JudgePasskey(none, &want.Judgement) })
	refused(t, s, "naming none", ErrNotFound, func(tx *Tx) error { return tx.NamePasskey(none, "x") })
	refused(t, s, "long name", nil, func(tx *Tx) error { return tx.NamePasskey(want.ID, want.Name+"x") })
	refused(t, s, "removing none", ErrNotFound, func(tx *Tx) error { _, err := tx.RemovePasskey(none, "x"); return err })
	refused(t, s, "another key under an id", nil, func(tx *Tx) error {
		_, err := tx.exec("UPDATE passkeys SET public_key = x'00'")
		return err
	})
}

// What is removed cannot come back, whoever brings it and however.
func TestRemovedPasskeyIsRemovedForEver(t *testing.T) {
	s := openAt(t, newPath(t))
	ids, secrets := populate(t, s, "alice", "bob")
	key := []byte("id of alice key")
	update(t, s, func(tx *Tx) error {
		if err := tx.AddPasskey(aPasskey("alice", "second")); err != nil {
			return err
		}
		_, err := tx.AddSession(aSession("alice", "second"))
		return err
	})
	update(t, s, func(tx *Tx) error {
		n, err := tx.RemovePasskey(key, "passkey-removed")
		if n != 1 {
			t.Errorf("%d sessions ended", n)
		}
		return err
	})
	for _, person := range []string{"alice", "bob"} {
		refused(t, s, "added again by "+person, ErrRevoked, func(tx *Tx) error { return tx.AddPasskey(aPasskey(person, "alice key")) })
	}
	refused(t, s, "removed again", ErrNotFound, func(tx *Tx) error { _, err := tx.RemovePasskey(key, "x"); return err })
	refused(t, s, "a session by it", ErrNotFound, func(tx *Tx) error { _, err := tx.AddSession(aSession("alice", "alice key")); return err })
	refused(t, s, "a session by another's", ErrNotFound, func(tx *Tx) error { _, err := tx.AddSession(aSession("bob", "second")); return err })
	for _, query := range []string{
		"DELETE FROM dead_passkeys", "UPDATE dead_passkeys SET person = 'p_bob'",
		"INSERT INTO passkeys SELECT 99, d.id, person, x'00', 0, zeroblob(16), x'00', x'00', '[]', '', 0, 0, 0, '' FROM dead_passkeys d",
	} {
		refused(t, s, query, nil, func(tx *Tx) error { _, err := tx.exec(query); return err })
	}
	view(t, s, func(tx *Tx) error {
		one, err := tx.SessionBySecret(secrets["alice"])
		if err != nil || one.EndedAt.IsZero() || one.Cause != "passkey-removed" || one.ID != ids["alice"] {
			t.Errorf("its session: %+v, %v", one, err)
		}
		if list, err := tx.Sessions(""); err != nil || len(list) != 2 {
			t.Errorf("%d sessions live, %v", len(list), err)
		}
		if dead, err := tx.PasskeyRemoved(key); !dead || err != nil {
			t.Errorf("removed: %v, %v", dead, err)
		}
		return nil
	})
}

func TestDisabledPersonHasNothing(t *testing.T) {
	s := openAt(t, newPath(t))
	_, secrets := populate(t, s, "alice", "bob")
	offers := map[string]string{}
	var token, other string
	update(t, s, func(tx *Tx) (err error) {
		for name, o := range map[string]*Offer{
			"for her":     {Person: "p_alice", CreatedBy: "person:bob"},
			"by her id":   {CreatedBy: "p_alice"},
			"by her name": {Person: "p_bob", CreatedBy: "person:alice"},
			"bob's":       {Person: "p_bob", CreatedBy: "person:bob"},
			"a namesake":  {CreatedBy: "alice"},
		} {
			o.Kind, o.Expires = "invitation", tx.Now().Add(time.Hour)
			if offers[name], err = tx.AddOffer(o); err != nil {
				return err
			}
		}
		if token, err = tx.AddAPIToken(&APIToken{CreatedBy: "p_alice", Expires: tx.Now().Add(time.Hour)}); err != nil {
			return err
		}
		other, err = tx.AddAPIToken(&APIToken{CreatedBy: "p_bob", Expires: tx.Now().Add(time.Hour)})
		return err
	})
	for i, want := range []int{1, 0} { // again is no change
		update(t, s, func(tx *Tx) error {
			n, err := tx.DisablePerson("p_alice", "left")
			if n != want {
				t.Errorf("disabling %d ended %d sessions", i, n)
			}
			return err
		})
	}
	refused(t, s, "disabling nobody", ErrNotFound, func(tx *Tx) error { _, err := tx.DisablePerson("p_none", "x"); return err })
	refused(t, s, "enabling nobody", ErrNotFound, func(tx *Tx) error { return tx.EnablePerson("p_none") })
	soon := time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC)
	for what, fn := range map[string]func(*Tx) error{
		"session": func(tx *Tx) error { _, err := tx.AddSession(aSession("alice", "alice key")); return err },
		"passkey": func(tx *Tx) error { return tx.AddPasskey(aPasskey("alice", "new")) },
		"offer": func(tx *Tx) error {
			_, err := tx.AddOffer(&Offer{Kind: "k", Person: "p_alice", Expires: soon})
			return err
		},
		"token": func(tx *Tx) error {
			_, err := tx.AddAPIToken(&APIToken{CreatedBy: "p_alice", Expires: soon})
			return err
		},
	} {
		refused(t, s, what+" of a disabled person", ErrRevoked, fn)
	}
	refused(t, s, "session behind the store's back", nil, func(tx *Tx) error {
		_, err := tx.exec(`INSERT INTO sessions (id, hash, person, credential, epoch, created_at, over_at, detail)
			VALUES ('s_y', zeroblob(32), 'p_alice', x'00', 1, 1, 1, '{}')`)
		return err
	})
	refused(t, s, "disabled with sessions", nil, func(tx *Tx) error {
		_, err := tx.exec("UPDATE persons SET disabled = 1 WHERE id = 'p_bob'")
		return err
	})
	check := func(disabled bool) {
		t.Helper()
		view(t, s, func(tx *Tx) error {
			p, err := tx.Person("p_alice")
			if err != nil || p.Disabled != disabled || p.DisabledAt.IsZero() == disabled {
				t.Errorf("%+v, %v", p, err)
			}
			for name, secret := range offers {
				_, err := tx.PeekOffer("invitation", secret)
				if want := name == "bob's" || name == "a namesake"; (err == nil) != want {
					t.Errorf("offer %s: %v", name, err)
				}
			}
			if _, err := tx.APITokenBySecret(token); !errors.Is(err, ErrTokenRefused) {
				t.Errorf("her API token: %v", err)
			}
			if _, err := tx.APITokenBySecret(other); err != nil {
				t.Errorf("bob's API token: %v", err)
			}
			for name, live := range map[string]bool{"alice": false, "bob": true} {
				if one, err := tx.SessionBySecret(secrets[name]); err != nil || one.EndedAt.IsZero() != live {
					t.Errorf("%s's session: %+v, %v", name, one, err)
				}
			}
			list, err := tx.Passkeys("p_alice")
			if len(list) != 1 {
				t.Errorf("%d passkeys", len(list))
			}
			return err
		})
	}
	check(true)
	update(t, s, func(tx *Tx) error { return errors.Join(tx.EnablePerson("p_alice"), tx.EnablePerson("p_alice")) })
	check(false)
	update(t, s, func(tx *Tx) error { _, err := tx.AddSession(aSession("alice", "alice key")); return err })
}

func TestRPIDIsFixed(t *testing.T) {
	s := openAt(t, newPath(t))
	refused(t, s, "no RP ID", nil, func(tx *Tx) error { return tx.SetRPID("") })
	for range 2 {
		update(t, s, func(tx *Tx) error { return tx.SetRPID("muster.example") })
	}
	refused(t, s, "another RP ID", ErrTaken, func(tx *Tx) error { return tx.SetRPID("example") })
	view(t, s, func(tx *Tx) error {
		m, err := tx.Meta()
		if err == nil && m.RPID != "muster.example" {
			t.Errorf("RP ID is %q", m.RPID)
		}
		return err
	})
}

// No write of people's rows passes in a View.
func TestViewsDoNotWrite(t *testing.T) {
	s := openAt(t, newPath(t))
	ids, _ := populate(t, s, "alice")
	var secret string
	soon := time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC)
	update(t, s, func(tx *Tx) (err error) {
		secret, err = tx.AddOffer(&Offer{ID: "o", Kind: "k", Expires: soon})
		return errors.Join(err, tx.AcceptPack("mds", 1))
	})
	key := []byte("id of alice key")
	for name, fn := range map[string]func(*Tx) error{
		"AddPerson":     func(tx *Tx) error { return tx.AddPerson(someone("bob")) },
		"UpdatePerson":  func(tx *Tx) error { return tx.UpdatePerson(someone("alice")) },
		"DisablePerson": func(tx *Tx) error { _, err := tx.DisablePerson("p_alice", "x"); return err },
		"AddPasskey":    func(tx *Tx) error { return tx.AddPasskey(aPasskey("alice", "x")) },
		"UsePasskey":    func(tx *Tx) error { return tx.UsePasskey(key, &passkey.Use{}) },
		"JudgePasskey":  func(tx *Tx) error { return tx.JudgePasskey(key, &passkey.Judgement{}) },
		"NamePasskey":   func(tx *Tx) error { return tx.NamePasskey(key, "x") },
		"RemovePasskey": func(tx *Tx) error { _, err := tx.RemovePasskey(key, "x"); return err },
		"AddSession":    func(tx *Tx) error { _, err := tx.AddSession(aSession("alice", "alice key")); return err },
		"UpdateSession": func(tx *Tx) error { return tx.UpdateSession(&session.Session{ID: ids["alice"]}) },
		"EndSession":    func(tx *Tx) error { return tx.EndSession(ids["alice"], "x") },
		"EndSessions":   func(tx *Tx) error { _, err := tx.EndSessions("p_alice", "", "x"); return err },
		"AddVisit": func(tx *Tx) error {
			_, err := tx.AddVisit(&Visit{Session: ids["alice"], App: "a", Host: "h"})
			return err
		},
		"AddOffer":      func(tx *Tx) error { _, err := tx.AddOffer(&Offer{Kind: "k", Expires: soon}); return err },
		"TakeOffer":     func(tx *Tx) error { _, err := tx.TakeOffer("k", secret); return err },
		"TakeOfferByID": func(tx *Tx) error { _, err := tx.TakeOfferByID("k", "o"); return err },
		"UpdateOffer":   func(tx *Tx) error { return tx.UpdateOffer(&Offer{ID: "o", Kind: "k", Expires: soon}) },
		"EndOffer":      func(tx *Tx) error { return tx.EndOffer("k", "o") },
		"Spend":         func(tx *Tx) error { return tx.Spend(digestOf("x"), soon) },
		"AddAPIToken": func(tx *Tx) error {
			_, err := tx.AddAPIToken(&APIToken{CreatedBy: "p_alice", Expires: soon})
			return err
		},
		"EndAPIToken": func(tx *Tx) error { return tx.EndAPIToken("x") },
		"AddNotice":   func(tx *Tx) error { return tx.AddNotice(&Notice{Channel: "mail", Kind: "k"}) },
		"NoticeDone":  func(tx *Tx) error { return tx.NoticeDone(1) },
		"NoticeAgain": func(tx *Tx) error { return tx.NoticeAgain(&Notice{ID: 1}) },
		"PutContent":  func(tx *Tx) error { return tx.PutContent("mds", nil) },
		"SetRPID":     func(tx *Tx) error { return tx.SetRPID("muster.example") },
		"PurgePeople": func(tx *Tx) error { return tx.PurgePeople() },
	} {
		if err := s.View(context.Background(), fn); !errors.Is(err, errReadOnly) {
			t.Errorf("%s in a view: %v", name, err)
		}
	}
}

// Every write tells what may be cached that it is another now.
func TestPeoplesChangesAreTold(t *testing.T) {
	var told []Change
	s := openAt(t, newPath(t), func(c *Config) { c.Committed = func(list []Change) { told = append(told, list...) } })
	ids, _ := populate(t, s, "alice", "bob")
	key := []byte("id of alice key")
	one := aSession("alice", "alice key")
	update(t, s, func(tx *Tx) error { return tx.AcceptPack("mds", 1) })
	person, mine := Change{Kind: PersonChanged, Subject: "p_alice"}, Change{Kind: SessionChanged, Subject: ids["alice"]}
	for _, c := range []struct {
		name string
		fn   func(*Tx) error
		want []Change
	}{
		{"UpdatePerson", func(tx *Tx) error { return tx.UpdatePerson(someone("alice")) }, []Change{person}},
		{"UsePasskey", func(tx *Tx) error { return tx.UsePasskey(key, &passkey.Use{}) }, []Change{person}},
		{"JudgePasskey", func(tx *Tx) error { return tx.JudgePasskey(key, &passkey.Judgement{}) }, []Change{person}},
		{"NamePasskey", func(tx *Tx) error { return tx.NamePasskey(key, "x") }, []Change{person}},
		{"UpdateSession", func(tx *Tx) error { return tx.UpdateSession(&session.Session{ID: ids["alice"]}) }, []Change{mine}},
		{"AddVisit", func(tx *Tx) error {
			_, err := tx.AddVisit(&Visit{Session: ids["alice"], App: "a", Host: "h"})
			return err
		}, []Change{mine}},
		{"EndSession", func(tx *Tx) error { return tx.EndSession(ids["alice"], "x") }, []Change{mine}},
		{"EndSession again", func(tx *Tx) error { return tx.EndSession(ids["alice"], "x") }, nil},
		{"PutContent", func(tx *Tx) error { return tx.PutContent("mds", nil) }, []Change{{Kind: ContentChanged, Subject: "mds"}}},
		{"AddSession", func(tx *Tx) error { _, err := tx.AddSession(one); return err }, []Change{{Kind: SessionChanged}}},
		{"RemovePasskey", func(tx *Tx) error { _, err := tx.RemovePasskey(key, "x"); return err }, []Change{{Kind: SessionChanged}, person}},
		{"DisablePerson", func(tx *Tx) error { _, err := tx.DisablePerson("p_bob", "x"); return err },
			[]Change{{Kind: SessionChanged, Subject: ids["bob"]}, {Kind: PersonChanged, Subject: "p_bob"}}},
		{"EnablePerson", func(tx *Tx) error { return tx.EnablePerson("p_bob") }, []Change{{Kind: PersonChanged, Subject: "p_bob"}}},
	} {
		told = nil
		update(t, s, c.fn)
		for i := range c.want {
			if c.want[i].Subject == "" {
				c.want[i].Subject = one.ID
			}
		}
		for i := range told {
			told[i].Number = 0
		}
		if fmt.Sprint(told) != fmt.Sprint(c.want) {
			t.Errorf("%s told %v, not %v", c.name, told, c.want)
		}
	}
}
