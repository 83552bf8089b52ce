package store

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestKillPeople is TestKill for sign-in: no session that was acknowledged is
// lost, none that was ended lives, nothing that was taken can be taken again.
func TestKillPeople(t *testing.T) { killAgainAndAgain(t, signInUntilKilled, checkPeople) }

// signInUntilKilled prints each write after it was acknowledged. Of five
// persons one stays, and one each is signed out, disabled, disabled and enabled
// again, and loses the passkey.
func signInUntilKilled(t *testing.T, path string) {
	s := openAt(t, path)
	round := os.Getenv("ROUND")
	say := func(kind, name, more string) { fmt.Fprintf(os.Stdout, "%s %s %s\n", kind, name, more) }
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("%s-%d-%d", round, w, i)
				id, secret := signUp(t, s, name)
				say("session", name, secret)
				update(t, s, func(tx *Tx) error {
					one, err := tx.Session(id)
					if err != nil {
						return err
					}
					one.SeenAt = one.CreatedAt.Add(time.Minute)
					return tx.UpdateSession(one)
				})
				say("seen", name, secret)
				update(t, s, func(tx *Tx) error { _, err := tx.TakeOfferByID("k", name); return err })
				say("taken", name, name)
				switch i % 5 {
				case 1:
					update(t, s, func(tx *Tx) error { return tx.EndSession(id, "signed-out") })
					say("ended", name, secret)
				case 2:
					update(t, s, disable("p_"+name))
					say("disabled", name, secret)
				case 3:
					update(t, s, disable("p_"+name))
					update(t, s, func(tx *Tx) error { return tx.EnablePerson("p_" + name) })
					say("enabled", name, secret)
				case 4:
					update(t, s, removeKey(name))
					say("removed", name, secret)
				}
			}
		})
	}
	all.Wait()
}

// signUp adds a person with a session, an elevation in it, and an offer with the
// person's name as id.
func signUp(t *testing.T, s *Store, name string) (id, secret string) {
	update(t, s, func(tx *Tx) (err error) {
		if err := errors.Join(tx.AddPerson(someone(name)), tx.AddPasskey(aPasskey(name, name+" key"))); err != nil {
			return err
		}
		one := aSession(name, name+" key")
		if secret, err = tx.AddSession(one); err != nil {
			return err
		}
		id = one.ID
		e := anElevation(id, one.Person, "", tx.Now())
		if err := tx.AddElevation(e); err != nil {
			return err
		}
		if _, err := tx.GrantElevation(e.ID, ""); err != nil {
			return err
		}
		_, err = tx.AddOffer(&Offer{ID: name, Kind: "k", Expires: tx.Now().Add(time.Hour)})
		return err
	})
	return id, secret
}

func checkPeople(t *testing.T, s *Store, acked map[string]bool) {
	t.Helper()
	checkWhole(t, s)
	view(t, s, func(tx *Tx) error {
		for text := range acked {
			parts := strings.Fields(text)
			if len(parts) != 3 {
				continue
			}
			kind, name, secret := parts[0], parts[1], parts[2]
			if kind == "taken" {
				if _, err := tx.Offer("k", name); !errors.Is(err, ErrNotFound) {
					t.Errorf("%s: %v", text, err)
				}
				continue
			}
			one, err := tx.SessionBySecret(secret)
			if err != nil || one.Person != "p_"+name {
				t.Errorf("%s: %+v, %v", text, one, err)
				continue
			}
			p, err := tx.PersonByName(name)
			if err != nil {
				t.Errorf("%s: %v", text, err)
				continue
			}
			dead, err := tx.PasskeyRemoved([]byte("id of " + name + " key"))
			live, last := one.EndedAt.IsZero(), name[len(name)-1]
			elevated, e := tx.Elevations(one.ID)
			switch {
			case err != nil, e != nil, live != (len(elevated) == 1 && !elevated[0].GrantedAt.IsZero()),
				kind == "session" && (last == '0' || last == '5') && !live,
				kind == "seen" && !one.SeenAt.After(one.CreatedAt),
				kind == "ended" && live,
				kind == "disabled" && (live || !p.Disabled),
				kind == "enabled" && (live || p.Disabled),
				kind == "removed" && (live || !dead):
				t.Errorf("%s: %+v, %+v, removed %v, %v", text, one, p, dead, err)
			}
		}
		return nil
	})
}
