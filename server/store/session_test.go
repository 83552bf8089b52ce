package store

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"muster/server/session"
)

// swapped is the same secret as one of another kind.
func swapped(secret, prefix string) string { return prefix + secret[4:] }

// badSecrets are texts that are not the secret, in one way each.
func badSecrets(secret string) []string {
	list := []string{"", secret[:4], secret[4:], secret[:46], secret + "A", " " + secret, secret + "\n",
		strings.ToUpper(secret[:4]) + secret[4:], secret[:4] + strings.Repeat("A", 43), secret[:46] + "="}
	for _, prefix := range []string{tokenPrefix, gatewayPrefix, sessionPrefix, visitPrefix, offerPrefix, apiTokenPrefix} {
		if prefix != secret[:4] {
			list = append(list, swapped(secret, prefix))
		}
	}
	return list
}

func TestSessions(t *testing.T) {
	c := newClock()
	s := openAt(t, newPath(t), func(cfg *Config) { cfg.Now = c.now })
	populate(t, s, "alice", "bob")
	want := aSession("alice", "alice key")
	want.Link = &session.Link{Device: "d", Strength: session.ByLoopback, First: c.now(), At: c.now(), Address: "192.0.2.2"}
	var secret string
	update(t, s, func(tx *Tx) (err error) { secret, err = tx.AddSession(want); return err })
	if !strings.HasPrefix(secret, "mss_") || len(secret) != 47 || want.Epoch != 1 || !want.CreatedAt.Equal(c.now()) ||
		strings.Contains(want.ID, secret[4:]) {
		t.Errorf("secret %q, %+v", secret, want)
	}
	same := func(what string) {
		t.Helper()
		view(t, s, func(tx *Tx) error {
			got, err := tx.SessionBySecret(secret)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s:\n%+v\nis not\n%+v: %v", what, got, want, err)
			}
			if again, err := tx.Session(want.ID); err != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("%s by id: %+v, %v", what, again, err)
			}
			return nil
		})
	}
	same("new")
	view(t, s, func(tx *Tx) error {
		for _, bad := range append(badSecrets(secret), want.ID) {
			if got, err := tx.SessionBySecret(bad); !errors.Is(err, ErrNotFound) {
				t.Errorf("%q: %+v, %v", bad, got, err)
			}
		}
		list, err := tx.Sessions("p_alice")
		if err != nil || len(list) != 2 || list[0].ID != want.ID {
			t.Errorf("%d sessions, %v", len(list), err)
		}
		if all, err := tx.Sessions(""); err != nil || len(all) != 3 {
			t.Errorf("%d sessions of all, %v", len(all), err)
		}
		return noSecretInFile(tx, "sessions", secret)
	})
	c.advance(time.Minute)
	want.SeenAt, want.VerifiedAt, want.Link = c.now(), c.now().Add(-time.Second), nil
	update(t, s, func(tx *Tx) error { return tx.UpdateSession(want) })
	same("updated")
	for what, bad := range map[string]*session.Session{
		"of nobody":            aSession("nobody", "alice key"),
		"by no passkey":        aSession("alice", "none"),
		"by another's passkey": aSession("alice", "bob key"),
		"of much text": func() *session.Session {
			one := aSession("alice", "alice key")
			one.Browser = strings.Repeat("a", maxDetail)
			return one
		}(),
		"of a long link": func() *session.Session {
			one := aSession("alice", "alice key")
			one.Link = &session.Link{Device: strings.Repeat("a", maxDetail)}
			return one
		}(),
	} {
		refused(t, s, "session "+what, nil, func(tx *Tx) error { _, err := tx.AddSession(bad); return err })
	}
	refused(t, s, "update of none", ErrNotFound, func(tx *Tx) error { return tx.UpdateSession(aSession("alice", "x")) })
	refused(t, s, "ending none", ErrNotFound, func(tx *Tx) error { return tx.EndSession("none", "x") })
}

// An ended session stays as it ended.
func TestEndedSessionIsOverForEver(t *testing.T) {
	c := newClock()
	s := openAt(t, newPath(t), func(cfg *Config) { cfg.Now = c.now })
	ids, secrets := populate(t, s, "alice", "bob")
	id := ids["alice"]
	var visit, offer string
	update(t, s, func(tx *Tx) (err error) {
		if visit, err = tx.AddVisit(&Visit{Session: id, App: "wiki", Host: "wiki.example"}); err != nil {
			return err
		}
		offer, err = tx.AddOffer(&Offer{Kind: "link", Session: id, Expires: tx.Now().Add(time.Hour)})
		return err
	})
	ended := c.now()
	update(t, s, func(tx *Tx) error { return tx.EndSession(id, "signed-out") })
	c.advance(time.Minute)
	update(t, s, func(tx *Tx) error { return tx.EndSession(id, "other") })
	check := func() {
		t.Helper()
		view(t, s, func(tx *Tx) error {
			one, err := tx.SessionBySecret(secrets["alice"])
			if err != nil || !one.EndedAt.Equal(ended) || one.Cause != "signed-out" {
				t.Errorf("%+v, %v", one, err)
			}
			_, behind, err := tx.VisitBySecret(visit)
			if err != nil || !behind.EndedAt.Equal(ended) {
				t.Errorf("behind its visit: %+v, %v", behind, err)
			}
			if _, err := tx.PeekOffer("link", offer); !errors.Is(err, ErrTokenRefused) {
				t.Errorf("what only it may take: %v", err)
			}
			list, err := tx.Sessions("p_alice")
			if len(list) != 0 {
				t.Errorf("%d live", len(list))
			}
			return err
		})
	}
	check()
	revive := aSession("alice", "alice key")
	revive.ID, revive.VerifiedAt = id, c.now()
	refused(t, s, "verified again", ErrRevoked, func(tx *Tx) error { return tx.UpdateSession(revive) })
	refused(t, s, "visit of it", ErrRevoked, func(tx *Tx) error { _, err := tx.AddVisit(&Visit{Session: id, App: "a", Host: "h"}); return err })
	refused(t, s, "offer for it", ErrRevoked, func(tx *Tx) error {
		_, err := tx.AddOffer(&Offer{Kind: "link", Session: id, Expires: c.now().Add(time.Hour)})
		return err
	})
	for _, query := range []string{
		"UPDATE sessions SET ended_at = 0, cause = '' WHERE id = ?",
		"UPDATE sessions SET cause = 'other' WHERE id = ?",
		"UPDATE session_hot SET verified_at = 1 WHERE n = (SELECT n FROM sessions WHERE id = ?)",
		"DELETE FROM sessions WHERE ended_at = 0 AND id <> ?",
		"UPDATE sessions SET person = 'p_alice' WHERE id <> ?",
		"UPDATE sessions SET epoch = 2 WHERE id <> ?",
		"UPDATE sessions SET ended_at = 1 WHERE id <> ?", // without a cause
		"UPDATE offers SET ended_at = 0 WHERE session = ?",
	} {
		refused(t, s, query, nil, func(tx *Tx) error {
			n, err := tx.exec(query, id)
			if err == nil && n == 0 {
				t.Errorf("%s: no row", query)
			}
			return err
		})
	}
	check()
}

func TestEndSessions(t *testing.T) {
	s := openAt(t, newPath(t))
	ids, _ := populate(t, s, "alice", "bob")
	update(t, s, func(tx *Tx) error {
		for range 3 {
			if _, err := tx.AddSession(aSession("alice", "alice key")); err != nil {
				return err
			}
		}
		return nil
	})
	for _, c := range []struct {
		keep string
		want int
	}{{ids["alice"], 3}, {ids["bob"], 1}, {"", 0}} {
		update(t, s, func(tx *Tx) error {
			n, err := tx.EndSessions("p_alice", c.keep, "")
			if n != c.want {
				t.Errorf("keeping %s ended %d, not %d", c.keep, n, c.want)
			}
			return err
		})
	}
	view(t, s, func(tx *Tx) error {
		if one, err := tx.Session(ids["bob"]); err != nil || !one.EndedAt.IsZero() {
			t.Errorf("bob's: %+v, %v", one, err)
		}
		one, err := tx.Session(ids["alice"])
		if err == nil && one.Cause != "ended" {
			t.Errorf("without a cause it ended by %q", one.Cause)
		}
		return err
	})
}

func TestVisits(t *testing.T) {
	s := openAt(t, newPath(t))
	ids, secrets := populate(t, s, "alice", "bob")
	add := func(v *Visit) (secret string) {
		update(t, s, func(tx *Tx) (err error) { secret, err = tx.AddVisit(v); return err })
		return secret
	}
	want := Visit{Session: ids["alice"], App: "wiki", Host: "wiki.example"}
	old, other := add(&want), add(&Visit{Session: ids["alice"], App: "prod", Host: "prod.example"})
	bobs := add(&Visit{Session: ids["bob"], App: "wiki", Host: "wiki.example"})
	secret := add(&want)
	if !strings.HasPrefix(secret, "msv_") || len(secret) != 47 {
		t.Errorf("secret is %q", secret)
	}
	view(t, s, func(tx *Tx) error {
		v, one, err := tx.VisitBySecret(secret)
		if err != nil || *v != want || one.ID != ids["alice"] {
			t.Errorf("%+v, %+v, %v", v, one, err)
		}
		for _, bad := range append(badSecrets(secret), old, secrets["alice"], swapped(secrets["alice"], visitPrefix)) {
			if v, _, err := tx.VisitBySecret(bad); !errors.Is(err, ErrNotFound) {
				t.Errorf("%q: %+v, %v", bad, v, err)
			}
		}
		if _, err := tx.SessionBySecret(swapped(secret, sessionPrefix)); !errors.Is(err, ErrNotFound) {
			t.Errorf("a visit's secret as a session's: %v", err)
		}
		for _, kept := range []string{other, bobs} {
			if _, _, err := tx.VisitBySecret(kept); err != nil {
				t.Errorf("another host's or session's: %v", err)
			}
		}
		return nil
	})
	for what, v := range map[string]*Visit{
		"no session": {App: "a", Host: "h"}, "no host": {Session: ids["alice"], App: "a"},
		"no application": {Session: ids["alice"], Host: "h"}, "long host": {Session: ids["alice"], App: "a", Host: strings.Repeat("h", maxText+1)},
	} {
		refused(t, s, what, nil, func(tx *Tx) error { _, err := tx.AddVisit(v); return err })
	}
}

func TestPurgePeople(t *testing.T) {
	c := newClock()
	s := openAt(t, newPath(t), func(cfg *Config) { cfg.Now = c.now })
	ids, secrets := populate(t, s, "alice", "bob")
	var visit string
	update(t, s, func(tx *Tx) (err error) {
		if visit, err = tx.AddVisit(&Visit{Session: ids["alice"], App: "a", Host: "h"}); err != nil {
			return err
		}
		long := tx.Now().Add(1000 * time.Hour)
		for _, o := range []*Offer{
			{ID: "short", Kind: "k", Expires: tx.Now().Add(time.Hour)}, {ID: "long", Kind: "k", Expires: long},
			{ID: "bound", Kind: "k", Session: ids["alice"], Expires: tx.Now().Add(10000 * time.Hour)},
		} {
			if _, err := tx.AddOffer(o); err != nil {
				return err
			}
		}
		_, err = tx.AddAPIToken(&APIToken{ID: "t", CreatedBy: "p_bob", Expires: tx.Now().Add(time.Hour)})
		return errors.Join(err, tx.Spend(digestOf("short"), tx.Now().Add(time.Hour)), tx.Spend(digestOf("long"), long))
	})
	update(t, s, func(tx *Tx) error { return tx.EndSession(ids["alice"], "x") })
	count := func(what string, want map[string]int) {
		t.Helper()
		update(t, s, func(tx *Tx) error { return tx.PurgePeople() })
		view(t, s, func(tx *Tx) error {
			for table, n := range want {
				var got int
				if err := tx.first([]any{&got}, "SELECT count(*) FROM "+table); err != nil {
					return err
				}
				if got != n {
					t.Errorf("%s: %d in %s, not %d", what, got, table, n)
				}
			}
			return nil
		})
	}
	count("at once", map[string]int{"offers": 3, "spent": 2, "sessions": 2, "visits": 1, "api_tokens": 1})
	c.advance(time.Hour)
	count("after an hour", map[string]int{"offers": 2, "spent": 1, "sessions": 2, "visits": 1, "api_tokens": 1})
	c.advance(7 * time.Hour)
	count("after the absolute limit", map[string]int{"sessions": 2})
	view(t, s, func(tx *Tx) error {
		one, err := tx.SessionBySecret(secrets["bob"])
		if err == nil && (one.EndedAt.IsZero() || one.Cause != "expired") {
			t.Errorf("%+v", one)
		}
		return err
	})
	c.advance(90*24*time.Hour - 8*time.Hour)
	count("after ninety days", map[string]int{"offers": 0, "spent": 0, "sessions": 1, "session_hot": 1, "visits": 0, "api_tokens": 1})
	c.advance(8 * time.Hour)
	count("later", map[string]int{"sessions": 0, "session_hot": 0, "api_tokens": 0})
	view(t, s, func(tx *Tx) error {
		if _, _, err := tx.VisitBySecret(visit); !errors.Is(err, ErrNotFound) {
			t.Errorf("visit: %v", err)
		}
		return nil
	})
}

// A renewed cookie is good beside the new one for a minute; then it tells only
// whose copy it is.
func TestRenewSession(t *testing.T) {
	c := newClock()
	s := openAt(t, newPath(t), func(cfg *Config) { cfg.Now = c.now })
	populate(t, s, "alice", "bob")
	sess := aSession("alice", "alice key")
	var first, second, third string
	update(t, s, func(tx *Tx) (err error) { first, err = tx.AddSession(sess); return err })
	reads := func(what, secret string, want error) {
		t.Helper()
		view(t, s, func(tx *Tx) error {
			got, err := tx.SessionBySecret(secret)
			if !errors.Is(err, want) || want == nil && err != nil || !errors.Is(want, ErrNotFound) && (got == nil || got.ID != sess.ID) {
				t.Errorf("%s: %+v, %v, want %v", what, got, err, want)
			}
			return nil
		})
	}
	update(t, s, func(tx *Tx) (err error) { second, err = tx.RenewSession(sess.ID); return err })
	if first == second || !strings.HasPrefix(second, "mss_") {
		t.Fatalf("renewed %q is %q", first, second)
	}
	reads("new", second, nil)
	reads("old, at once", first, nil)
	c.advance(replacedFor)
	reads("new, later", second, nil)
	reads("old, later", first, ErrReplaced)
	update(t, s, func(tx *Tx) (err error) { third, err = tx.RenewSession(sess.ID); return err })
	reads("the one before the old one", first, ErrNotFound)
	reads("old again", second, nil)
	update(t, s, func(tx *Tx) error { return tx.EndSession(sess.ID, "signed-out") })
	err := s.Update(t.Context(), func(tx *Tx) error { _, err := tx.RenewSession(sess.ID); return err })
	if !errors.Is(err, ErrRevoked) {
		t.Errorf("an ended session is renewed: %v", err)
	}
	view(t, s, func(tx *Tx) error {
		for _, secret := range []string{second, third} {
			if got, err := tx.SessionBySecret(secret); err != nil || got.EndedAt.IsZero() {
				t.Errorf("an ended session reads as %+v, %v", got, err)
			}
		}
		return nil
	})
}
