package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/server/session"
)

// issued is what was given out before a backup.
type issued struct {
	ids, sessions       map[string]string
	visit, offer, token string
}

func issue(t *testing.T, s *Store) (is issued) {
	t.Helper()
	is.ids, is.sessions = populate(t, s, "alice", "bob", "carol")
	update(t, s, func(tx *Tx) (err error) {
		soon := tx.Now().Add(time.Hour)
		if is.visit, err = tx.AddVisit(&Visit{Session: is.ids["alice"], App: "a", Host: "h"}); err != nil {
			return err
		}
		if is.offer, err = tx.AddOffer(&Offer{ID: "o", Kind: "k", Expires: soon}); err != nil {
			return err
		}
		if err = tx.Spend(digestOf("spent"), soon); err != nil {
			return err
		}
		is.token, err = tx.AddAPIToken(&APIToken{CreatedBy: "p_carol", Expires: soon})
		return err
	})
	return is
}

func disabled(t *testing.T, s *Store, name string) (is bool) {
	t.Helper()
	view(t, s, func(tx *Tx) error {
		p, err := tx.PersonByName(name)
		if err == nil {
			is = p.Disabled
		}
		return err
	})
	return is
}

func disable(id string) func(*Tx) error {
	return func(tx *Tx) error { _, err := tx.DisablePerson(id, "left"); return err }
}

// removeKey removes the passkey of populate.
func removeKey(name string) func(*Tx) error {
	return func(tx *Tx) error { _, err := tx.RemovePasskey([]byte("id of "+name+" key"), "lost"); return err }
}

// What was ended after a backup stays ended when it is restored, and what was
// issued before it is void.
func TestRestoreBringsNobodyBack(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	is := issue(t, s)
	update(t, s, disable("p_bob")) // before, and enabled after
	backup := filepath.Join(t.TempDir(), "backup.db")
	if err := s.Backup(context.Background(), backup); err != nil {
		t.Fatal(err)
	}
	update(t, s, removeKey("alice"))
	update(t, s, disable("p_carol"))
	update(t, s, func(tx *Tx) error { return tx.EnablePerson("p_carol") })
	update(t, s, disable("p_carol"))
	update(t, s, func(tx *Tx) error { return tx.EnablePerson("p_bob") })
	update(t, s, func(tx *Tx) error { return tx.AddPerson(someone("dora")) })
	update(t, s, disable("p_dora"))
	s.Close()
	if _, err := restore(path, backup); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	checkRestored(t, s, &is)
	view(t, s, func(tx *Tx) error {
		log, err := tx.AuditLog(0, 100)
		var actions []string
		for _, e := range log {
			actions = append(actions, e.Action+" "+e.Subject)
		}
		if got := strings.Join(actions, ", "); !strings.HasSuffix(got, "passkey.remove p_alice, person.enable p_bob, person.disable p_carol") {
			t.Errorf("the audit log has %s", got)
		}
		return err
	})
	for _, person := range []string{"alice", "bob"} {
		refused(t, s, "removed passkey", ErrRevoked, func(tx *Tx) error { return tx.AddPasskey(aPasskey(person, "alice key")) })
	}
	// The next start finds nothing to do: no epoch, no line of the audit log.
	var before, after AuditHead
	view(t, s, func(tx *Tx) (err error) { before, err = tx.AuditHead(); return err })
	update(t, s, func(tx *Tx) error { _, err := tx.AddSession(aSession("bob", "bob key")); return err })
	s.Close()
	s = openAt(t, path)
	view(t, s, func(tx *Tx) (err error) {
		after, err = tx.AuditHead()
		if list, e := tx.Sessions(""); e != nil || len(list) != 1 {
			t.Errorf("%d sessions outlived a restart, %v", len(list), e)
		}
		return err
	})
	if before != after || s.Epoch() != 2 {
		t.Errorf("%+v became %+v in epoch %d", before, after, s.Epoch())
	}
}

func checkRestored(t *testing.T, s *Store, is *issued) {
	t.Helper()
	for name, want := range map[string]bool{"alice": false, "bob": false, "carol": true} {
		if got := disabled(t, s, name); got != want {
			t.Errorf("%s is disabled: %v", name, got)
		}
	}
	view(t, s, func(tx *Tx) error {
		for name, secret := range is.sessions {
			one, err := tx.SessionBySecret(secret)
			if err != nil || one.EndedAt.IsZero() || (one.Cause != "restored") != (name == "bob") {
				t.Errorf("%s's session: %+v, %v", name, one, err)
			}
		}
		if _, one, err := tx.VisitBySecret(is.visit); err != nil || one.Cause != "restored" {
			t.Errorf("visit: %+v, %v", one, err)
		}
		if _, err := tx.PeekOffer("k", is.offer); !errors.Is(err, ErrTokenRefused) {
			t.Errorf("offer: %v", err)
		}
		if _, err := tx.APITokenBySecret(is.token); !errors.Is(err, ErrTokenRefused) {
			t.Errorf("API token: %v", err)
		}
		if _, err := tx.PasskeyByID([]byte("id of alice key")); !errors.Is(err, ErrNotFound) {
			t.Errorf("removed passkey: %v", err)
		}
		if _, err := tx.PasskeyByID([]byte("id of bob key")); err != nil {
			t.Errorf("another's passkey: %v", err)
		}
		return nil
	})
	refused(t, s, "offer of the old epoch", ErrTokenRefused, func(tx *Tx) error { _, err := tx.TakeOfferByID("k", "o"); return err })
	refused(t, s, "what was spent", ErrTaken, func(tx *Tx) error { return tx.Spend(digestOf("spent"), tx.Now().Add(time.Hour)) })
	refused(t, s, "a session of the old epoch", ErrRevoked, func(tx *Tx) error {
		return tx.UpdateSession(&session.Session{ID: is.ids["alice"], VerifiedAt: tx.Now()})
	})
}

// The same for a database file that was copied back by hand.
func TestOlderDatabaseBringsNobodyBack(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	_, secrets := populate(t, s, "alice", "bob")
	s.Close()
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	update(t, s, removeKey("alice"))
	update(t, s, disable("p_bob"))
	s.Close()
	openAt(t, path).Close() // so that the journal was opened more often
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	if s.Epoch() != 2 || !disabled(t, s, "bob") {
		t.Errorf("epoch %d, bob is disabled: %v", s.Epoch(), disabled(t, s, "bob"))
	}
	view(t, s, func(tx *Tx) error {
		for name, secret := range secrets {
			if one, err := tx.SessionBySecret(secret); err != nil || one.EndedAt.IsZero() {
				t.Errorf("%s's session: %+v, %v", name, one, err)
			}
		}
		if dead, err := tx.PasskeyRemoved([]byte("id of alice key")); !dead || err != nil {
			t.Errorf("removed: %v, %v", dead, err)
		}
		return nil
	})
}

// A session of another epoch has ended, whatever its row says.
func TestSessionOfAnotherEpochHasEnded(t *testing.T) {
	s := openAt(t, newPath(t))
	ids, secrets := populate(t, s, "alice")
	refused(t, s, "update", ErrRevoked, func(tx *Tx) error {
		tx.epoch++
		one, err := tx.SessionBySecret(secrets["alice"])
		if err != nil || one.EndedAt.IsZero() || one.Cause != "restored" {
			t.Errorf("%+v, %v", one, err)
		}
		if list, err := tx.Sessions("p_alice"); err != nil || len(list) != 0 {
			t.Errorf("%d live, %v", len(list), err)
		}
		return tx.UpdateSession(&session.Session{ID: ids["alice"]})
	})
}

// Journal before commit: what was journalled and not kept holds at the next
// start. An enabling is the other way round.
func TestPeopleJournalledButNotCommitted(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	populate(t, s, "alice", "bob", "carol")
	update(t, s, disable("p_carol"))
	errs := together(t, s, removeKey("alice"), disable("p_bob"),
		func(tx *Tx) error { return tx.EnablePerson("p_carol") }, failCommit)
	for i, err := range errs {
		if err == nil {
			t.Fatalf("%d was told to be kept", i)
		}
	}
	s.Close()
	s = openAt(t, path)
	if !disabled(t, s, "bob") || !disabled(t, s, "carol") || s.Epoch() != 1 {
		t.Errorf("bob: %v, carol: %v, epoch %d", disabled(t, s, "bob"), disabled(t, s, "carol"), s.Epoch())
	}
	refused(t, s, "removed passkey", ErrRevoked, func(tx *Tx) error { return tx.AddPasskey(aPasskey("alice", "alice key")) })
}

// The last word wins, wherever in the journal it stands: an enabling is written
// behind the commit, and so behind a disabling of the same group that came later.
func TestLastWordWins(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	populate(t, s, "alice")
	if err := s.Backup(context.Background(), path+".bak"); err != nil {
		t.Fatal(err)
	}
	update(t, s, disable("p_alice"))
	errs := together(t, s, func(tx *Tx) error { return tx.EnablePerson("p_alice") }, disable("p_alice"))
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	lines, err := s.journal.read()
	if err != nil || lines[len(lines)-1].Kind != lineEnable {
		t.Fatalf("the last line is %+v, %v", lines[len(lines)-1], err)
	}
	s.Close()
	// At once: a start would write the line that it takes for missing.
	if _, err := restore(path, path+".bak"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if s = openAt(t, path); !disabled(t, s, "alice") {
			t.Error("she is enabled after a restore")
		}
		s.Close()
	}
	s = openAt(t, path)
	update(t, s, func(tx *Tx) error { return tx.EnablePerson("p_alice") })
	s.Close()
	if s = openAt(t, path); disabled(t, s, "alice") {
		t.Error("she is disabled after the last word")
	}
}

// Without the journal nobody is disabled by half, and an enabling that it lacks
// is written at the next start.
func TestPeopleAndAJournalThatFails(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	populate(t, s, "alice", "bob")
	update(t, s, disable("p_bob"))
	s.journal.file.Close()
	errs := together(t, s, disable("p_alice"), removeKey("alice"), func(tx *Tx) error { return tx.EnablePerson("p_bob") })
	if errs[0] == nil || errs[1] == nil || errs[2] != nil {
		t.Errorf("%v", errs)
	}
	view(t, s, func(tx *Tx) error {
		list, err := tx.Sessions("p_alice")
		if len(list) != 1 {
			t.Errorf("%d sessions", len(list))
		}
		return err
	})
	s.Close()
	s = openAt(t, path)
	if disabled(t, s, "alice") || disabled(t, s, "bob") {
		t.Errorf("alice: %v, bob: %v", disabled(t, s, "alice"), disabled(t, s, "bob"))
	}
	lines, err := s.journal.read()
	if err != nil || recall(lines).words["p_bob"].number != 2 {
		t.Errorf("the journal's last word is %+v, %v", recall(lines).words["p_bob"], err)
	}
}

// A journal that was lost is made again from the database.
func TestLostJournalKnowsPeopleAgain(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	populate(t, s, "alice", "bob")
	if err := s.Backup(context.Background(), path+".bak"); err != nil {
		t.Fatal(err)
	}
	update(t, s, removeKey("alice"))
	update(t, s, disable("p_bob"))
	s.Close()
	if err := os.Remove(path + journalSuffix); err != nil {
		t.Fatal(err)
	}
	openAt(t, path).Close()
	if _, err := restore(path, path+".bak"); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	if !disabled(t, s, "bob") {
		t.Error("bob is enabled")
	}
	refused(t, s, "removed passkey", ErrRevoked, func(tx *Tx) error { return tx.AddPasskey(aPasskey("alice", "alice key")) })
}

// A database of the first version has people's rows after it was opened.
func TestOldDatabaseTakesPeople(t *testing.T) {
	path := fromFixture(t)
	s := openAt(t, path)
	_, secrets := populate(t, s, "alice")
	update(t, s, func(tx *Tx) error { return tx.SetRPID("old.example") })
	s.Close()
	s = openAt(t, path)
	view(t, s, func(tx *Tx) error {
		m, err := tx.Meta()
		if err != nil || m.RPID != "old.example" || m.Origin != "https://old.example" {
			t.Errorf("%+v, %v", m, err)
		}
		one, err := tx.SessionBySecret(secrets["alice"])
		if err == nil && !one.EndedAt.IsZero() {
			t.Errorf("%+v", one)
		}
		return err
	})
}
