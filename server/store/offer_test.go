package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// race runs 1,000 updates at once and returns how many succeeded; the others
// must fail with an error.
func race(t *testing.T, s *Store, want error, fn func(*Tx) error) (won int64) {
	t.Helper()
	var wins atomic.Int64
	var all sync.WaitGroup
	start := make(chan struct{})
	for range 1000 {
		all.Go(func() {
			<-start
			switch err := s.Update(context.Background(), fn); {
			case err == nil:
				wins.Add(1)
			case !errors.Is(err, want):
				t.Error(err)
			}
		})
	}
	close(start)
	all.Wait()
	return wins.Load()
}

// Of 1,000 parallel uses of a one-time thing exactly one wins.
func TestOneOfAThousandWins(t *testing.T) {
	s := openAt(t, newPath(t))
	soon := newClock().now().Add(time.Hour)
	var secret string
	update(t, s, func(tx *Tx) (err error) {
		if secret, err = tx.AddOffer(&Offer{ID: "by secret", Kind: "k", Expires: soon}); err != nil {
			return err
		}
		if _, err = tx.AddOffer(&Offer{ID: "by id", Kind: "k", Expires: soon}); err != nil {
			return err
		}
		_, err = tx.AddOffer(&Offer{ID: "ended", Kind: "k", Expires: soon})
		return err
	})
	for name, c := range map[string]struct {
		loser error
		fn    func(*Tx) error
	}{
		"TakeOffer":     {ErrTokenRefused, func(tx *Tx) error { _, err := tx.TakeOffer("k", secret); return err }},
		"TakeOfferByID": {ErrTokenRefused, func(tx *Tx) error { _, err := tx.TakeOfferByID("k", "by id"); return err }},
		"EndOffer":      {ErrNotFound, func(tx *Tx) error { return tx.EndOffer("k", "ended") }},
		"Spend":         {ErrTaken, func(tx *Tx) error { return tx.Spend(digestOf("value"), soon) }},
		"AddPerson":     {ErrTaken, func(tx *Tx) error { p := someone("alice"); p.ID = ""; return tx.AddPerson(p) }},
	} {
		if won := race(t, s, c.loser, c.fn); won != 1 {
			t.Errorf("%s: %d of 1,000 won", name, won)
		}
	}
}

func TestOffers(t *testing.T) {
	c := newClock()
	s := openAt(t, newPath(t), func(cfg *Config) { cfg.Now = c.now })
	ids, _ := populate(t, s, "alice")
	want := &Offer{Kind: "invitation", Person: "p_alice", Session: ids["alice"], Data: []byte(`{"a":1}`),
		CreatedBy: "person:bob", Expires: c.now().Add(time.Hour)}
	var secret string
	update(t, s, func(tx *Tx) (err error) { secret, err = tx.AddOffer(want); return err })
	if !strings.HasPrefix(secret, "mso_") || len(secret) != 47 || !strings.HasPrefix(want.ID, "o_") || len(want.ID) != 28 {
		t.Errorf("secret %q, id %q", secret, want.ID)
	}
	view(t, s, func(tx *Tx) error {
		for name, read := range map[string]func() (*Offer, error){
			"secret": func() (*Offer, error) { return tx.PeekOffer("invitation", secret) },
			"id":     func() (*Offer, error) { return tx.Offer("invitation", want.ID) },
		} {
			if got, err := read(); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("by %s: %+v, %v", name, got, err)
			}
		}
		for _, bad := range append(badSecrets(secret), want.ID) {
			if o, err := tx.PeekOffer("invitation", bad); !errors.Is(err, ErrTokenRefused) {
				t.Errorf("%q: %+v, %v", bad, o, err)
			}
		}
		return noSecretInFile(tx, "offers", secret)
	})
	want.Data, want.Expires = nil, c.now().Add(2*time.Hour)
	update(t, s, func(tx *Tx) error { return tx.UpdateOffer(want) })
	c.advance(90 * time.Minute)
	view(t, s, func(tx *Tx) error {
		got, err := tx.PeekOffer("invitation", secret)
		if err == nil && (got.Data != nil || !got.Expires.Equal(want.Expires)) {
			t.Errorf("updated: %+v", got)
		}
		return err
	})
	// A taking that is undone is none.
	_ = s.Update(context.Background(), func(tx *Tx) error {
		_, err := tx.TakeOffer("invitation", secret)
		return errors.Join(err, errMine)
	})
	update(t, s, func(tx *Tx) error {
		got, err := tx.TakeOffer("invitation", secret)
		if err == nil && (!got.TakenAt.Equal(c.now()) || got.ID != want.ID || got.Session != want.Session) {
			t.Errorf("taken: %+v", got)
		}
		return err
	})
	deadOffer(t, s, "taken", want, secret)
	for what, bad := range map[string]*Offer{
		"no kind":        {Expires: c.now().Add(time.Hour)},
		"expired":        {Kind: "k", Expires: c.now()},
		"for nobody":     {Kind: "k", Expires: c.now().Add(time.Hour), Person: "p_none"},
		"by a name":      {Kind: "k", Expires: c.now().Add(time.Hour), Person: "alice"},
		"for no session": {Kind: "k", Expires: c.now().Add(time.Hour), Session: "s_none"},
		"much data":      {Kind: "k", Expires: c.now().Add(time.Hour), Data: []byte(`"` + strings.Repeat("a", maxData) + `"`)},
		"data not JSON":  {Kind: "k", Expires: c.now().Add(time.Hour), Data: []byte("{")},
		"long kind":      {Kind: OfferKind(strings.Repeat("k", maxID+1)), Expires: c.now().Add(time.Hour)},
		"id of another":  {ID: want.ID, Kind: "k", Expires: c.now().Add(time.Hour)},
		"long creator":   {Kind: "k", Expires: c.now().Add(time.Hour), CreatedBy: strings.Repeat("a", maxText+1)},
	} {
		refused(t, s, what, nil, func(tx *Tx) error { _, err := tx.AddOffer(bad); return err })
	}
}

// deadOffer expects that nothing more can be done with an offer.
func deadOffer(t *testing.T, s *Store, what string, o *Offer, secret string) {
	t.Helper()
	live := *o
	live.Expires = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	refused(t, s, what+" taken", ErrTokenRefused, func(tx *Tx) error { _, err := tx.TakeOffer(o.Kind, secret); return err })
	refused(t, s, what+" taken by id", ErrTokenRefused, func(tx *Tx) error { _, err := tx.TakeOfferByID(o.Kind, o.ID); return err })
	refused(t, s, what+" peeked", ErrTokenRefused, func(tx *Tx) error { _, err := tx.PeekOffer(o.Kind, secret); return err })
	refused(t, s, what+" read", ErrNotFound, func(tx *Tx) error { _, err := tx.Offer(o.Kind, o.ID); return err })
	refused(t, s, what+" updated", ErrNotFound, func(tx *Tx) error { return tx.UpdateOffer(&live) })
	refused(t, s, what+" ended", ErrNotFound, func(tx *Tx) error { return tx.EndOffer(o.Kind, o.ID) })
	view(t, s, func(tx *Tx) error {
		list, err := tx.Offers(o.Kind)
		for _, one := range list {
			if one.ID == o.ID {
				t.Errorf("%s is listed", what)
			}
		}
		return err
	})
}

func TestDeadOffersStayDead(t *testing.T) {
	c := newClock()
	s := openAt(t, newPath(t), func(cfg *Config) { cfg.Now = c.now })
	offers := map[string]*Offer{}
	secrets := map[string]string{}
	update(t, s, func(tx *Tx) (err error) {
		for i, id := range []string{"ended", "taken", "expired", "kept"} {
			o := &Offer{ID: id, Kind: "k", Expires: tx.Now().Add(time.Hour)}
			if id == "expired" {
				o.Expires = tx.Now().Add(time.Minute)
			}
			if secrets[id], err = tx.AddOffer(o); err != nil {
				return fmt.Errorf("%d: %w", i, err)
			}
			offers[id] = o
		}
		return nil
	})
	kept := *offers["kept"]
	kept.Kind = "other"
	deadOffer(t, s, "of another kind", &kept, secrets["kept"])
	update(t, s, func(tx *Tx) error {
		_, err := tx.TakeOfferByID("k", "taken")
		return errors.Join(err, tx.EndOffer("k", "ended"))
	})
	c.advance(time.Minute)
	for _, id := range []string{"ended", "taken", "expired"} {
		deadOffer(t, s, id, offers[id], secrets[id])
	}
	for _, query := range []string{"UPDATE offers SET taken_at = 0 WHERE id = 'taken'", "UPDATE offers SET ended_at = 0 WHERE id = 'ended'",
		"UPDATE offers SET expires_at = 9000000000000 WHERE id = 'taken'", "UPDATE offers SET taken_at = 1, ended_at = 1 WHERE id = 'kept'"} {
		refused(t, s, query, nil, func(tx *Tx) error { _, err := tx.exec(query); return err })
	}
	refused(t, s, "of another epoch", ErrTokenRefused, func(tx *Tx) error {
		tx.epoch++
		_, err := tx.TakeOffer("k", secrets["kept"])
		return err
	})
	refused(t, s, "of another epoch, by id", ErrTokenRefused, func(tx *Tx) error {
		tx.epoch++
		_, err := tx.TakeOfferByID("k", "kept")
		return err
	})
	view(t, s, func(tx *Tx) error {
		list, err := tx.Offers("k")
		if len(list) != 1 || list[0].ID != "kept" {
			t.Errorf("%+v", list)
		}
		return err
	})
}

func TestSpend(t *testing.T) {
	c := newClock()
	s := openAt(t, newPath(t), func(cfg *Config) { cfg.Now = c.now })
	spend := func(text string, after time.Duration) func(*Tx) error {
		return func(tx *Tx) error { return tx.Spend(digestOf(text), tx.Now().Add(after)) }
	}
	update(t, s, spend("a", time.Minute))
	refused(t, s, "again", ErrTaken, spend("a", time.Hour))
	refused(t, s, "expired", nil, spend("b", 0))
	refused(t, s, "nothing", nil, func(tx *Tx) error { return tx.Spend([32]byte{}, tx.Now().Add(time.Hour)) })
	update(t, s, spend("b", time.Minute))
	c.advance(time.Minute)
	refused(t, s, "before it is forgotten", ErrTaken, spend("a", time.Minute))
}

func TestAPITokens(t *testing.T) {
	c := newClock()
	s := openAt(t, newPath(t), func(cfg *Config) { cfg.Now = c.now })
	populate(t, s, "alice")
	want := &APIToken{Label: "backup", Scopes: []string{"devices:read"}, CreatedBy: "p_alice", Expires: c.now().Add(48 * time.Hour)}
	var secret, ended string
	update(t, s, func(tx *Tx) (err error) {
		if secret, err = tx.AddAPIToken(want); err != nil {
			return err
		}
		ended, err = tx.AddAPIToken(&APIToken{ID: "ended", CreatedBy: "local administrator", Expires: want.Expires})
		return err
	})
	if !strings.HasPrefix(secret, "mat_") || len(secret) != 47 || want.ID == "" {
		t.Errorf("secret %q, %+v", secret, want)
	}
	read := func() (k *APIToken) {
		t.Helper()
		view(t, s, func(tx *Tx) (err error) { k, err = tx.APITokenBySecret(secret); return err })
		return k
	}
	if got := read(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v is not %+v", got, want)
	}
	update(t, s, func(tx *Tx) error { return tx.EndAPIToken("ended") })
	refused(t, s, "ended again", ErrNotFound, func(tx *Tx) error { return tx.EndAPIToken("ended") })
	refused(t, s, "revived", nil, func(tx *Tx) error { _, err := tx.exec("UPDATE api_tokens SET ended_at = 0"); return err })
	view(t, s, func(tx *Tx) error {
		for _, bad := range append(badSecrets(secret), ended) {
			if k, err := tx.APITokenBySecret(bad); !errors.Is(err, ErrTokenRefused) {
				t.Errorf("%q: %+v, %v", bad, k, err)
			}
		}
		list, err := tx.APITokens()
		if err != nil || len(list) != 1 || list[0].ID != want.ID {
			t.Errorf("%+v, %v", list, err)
		}
		return noSecretInFile(tx, "api_tokens", secret)
	})
	for i, after := range []time.Duration{0, 59 * time.Minute, time.Minute} {
		c.advance(after)
		update(t, s, func(tx *Tx) error { _, err := tx.APITokenBySecret(secret); return err })
		if used := read().UsedAt; !used.Equal(c.now().Truncate(time.Hour)) {
			t.Errorf("use %d was noted at %v", i, used)
		}
	}
	refused(t, s, "of another epoch", ErrTokenRefused, func(tx *Tx) error { tx.epoch++; _, err := tx.APITokenBySecret(secret); return err })
	c.advance(47 * time.Hour)
	refused(t, s, "expired", ErrTokenRefused, func(tx *Tx) error { _, err := tx.APITokenBySecret(secret); return err })
	soon := c.now().Add(time.Hour)
	for what, k := range map[string]*APIToken{
		"by nobody": {Expires: soon}, "expired": {CreatedBy: "p_alice", Expires: c.now()},
		"by no person": {CreatedBy: "p_none", Expires: soon}, "long label": {CreatedBy: "p_alice", Expires: soon, Label: strings.Repeat("a", maxText+1)},
		"many scopes": {CreatedBy: "p_alice", Expires: soon, Scopes: []string{strings.Repeat("a", maxDetail)}},
	} {
		refused(t, s, what, nil, func(tx *Tx) error { _, err := tx.AddAPIToken(k); return err })
	}
}

// No text but the secret itself has its hash, and each kind has its own.
func FuzzSecret(f *testing.F) {
	prefixes := []string{tokenPrefix, gatewayPrefix, sessionPrefix, visitPrefix, offerPrefix, apiTokenPrefix}
	for _, prefix := range prefixes {
		secret, _ := newSecret(prefix)
		f.Add(secret)
		for _, bad := range badSecrets(secret) {
			f.Add(bad)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		read := 0
		for _, prefix := range prefixes {
			hash, ok := hashSecret(prefix, text)
			if !ok {
				if hash != ([32]byte{}) {
					t.Fatalf("%q is refused as %s and has a hash", text, prefix)
				}
				continue
			}
			read++
			if len(text) != 47 || text[:4] != prefix {
				t.Fatalf("%q was read as %s", text, prefix)
			}
			// One text for one value: a changed last character is another secret or none.
			for _, last := range "AEIMQUYcgkosw048BCDFGHb" {
				other := text[:46] + string(last)
				if h, ok := hashSecret(prefix, other); ok && h == hash && other != text {
					t.Fatalf("%q and %q are one secret", text, other)
				}
			}
		}
		if read > 1 {
			t.Fatalf("%q was read as %d kinds", text, read)
		}
	})
}
