package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"muster/attest"
	"muster/server/verify"
)

func TestTokens(t *testing.T) {
	c := newClock()
	s := openAt(t, newPath(t), func(cfg *Config) { cfg.Now = c.now })
	var secret, short string
	update(t, s, func(tx *Tx) (err error) {
		want := &Token{ID: "t", Label: "lab", Class: verify.ClassBYOD, Group: "g", Owner: "o",
			MinLevel: verify.VTPM, UsesLeft: 2, Expires: tx.Now().Add(time.Hour), CreatedBy: "sam"}
		if secret, err = tx.AddToken(want); err != nil {
			return err
		}
		got, err := tx.PeekToken(secret)
		if err != nil || *got != *want {
			t.Errorf("%+v is not %+v: %v", got, want, err)
		}
		short, err = tx.AddToken(&Token{ID: "short", UsesLeft: 9, Expires: tx.Now().Add(time.Minute)})
		return err
	})
	if !strings.HasPrefix(secret, "mst_") || len(secret) != 47 {
		t.Errorf("secret is %q", secret)
	}
	use := func(secret string) error {
		return s.Update(context.Background(), func(tx *Tx) error { _, err := tx.ConsumeToken(secret); return err })
	}
	for _, bad := range []string{"", "mst_", secret[4:], secret[:46], secret + "A", "mgw_" + secret[4:], "MST_" + secret[4:],
		secret[:46] + "\n", "mst_" + strings.Repeat("A", 43)} {
		if err := use(bad); !errors.Is(err, ErrTokenRefused) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	// A use that is undone is no use.
	_ = s.Update(context.Background(), func(tx *Tx) error { _, err := tx.ConsumeToken(secret); return errors.Join(err, errMine) })
	for i, want := range []error{nil, nil, ErrTokenRefused} {
		if err := use(secret); !errors.Is(err, want) {
			t.Errorf("use %d: %v", i, err)
		}
	}
	c.advance(time.Minute)
	if err := use(short); !errors.Is(err, ErrTokenRefused) {
		t.Errorf("expired: %v", err)
	}
	view(t, s, func(tx *Tx) error {
		if _, err := tx.PeekToken(short); !errors.Is(err, ErrTokenRefused) {
			t.Errorf("expired: %v", err)
		}
		list, err := tx.Tokens()
		if err != nil || len(list) != 2 || strings.Contains(fmt.Sprintf("%+v", list[0]), secret[4:]) {
			t.Errorf("%+v, %v", list, err)
		}
		return noSecretInFile(tx, "tokens", secret)
	})
	update(t, s, func(tx *Tx) error { return tx.RevokeToken("short") })
	if err := s.Update(context.Background(), func(tx *Tx) error {
		_, err := tx.AddToken(&Token{ID: "old", UsesLeft: 1, Expires: tx.Now()})
		return err
	}); err == nil {
		t.Error("an expired token was made")
	}
}

// noSecretInFile looks for the secret, in either form, in every column.
func noSecretInFile(tx *Tx, table, secret string) error {
	var rows int
	err := tx.first([]any{&rows}, "SELECT count(*) FROM "+table+" WHERE instr(hash, ?) OR instr(id, ?)", secret, secret)
	if err == nil && rows > 0 {
		err = errors.New("the secret itself is stored")
	}
	return err
}

func TestGateways(t *testing.T) {
	s := openAt(t, newPath(t))
	var secret string
	update(t, s, func(tx *Tx) (err error) {
		secret, err = tx.AddGateway(&Gateway{ID: "g", Name: "edge", Apps: []string{"wiki", "prod"}, CreatedBy: "sam"})
		return err
	})
	view(t, s, func(tx *Tx) error {
		g, err := tx.GatewayBySecret(secret)
		if err != nil || g.ID != "g" || fmt.Sprint(g.Apps) != "[wiki prod]" || !g.CreatedAt.Equal(tx.Now()) {
			t.Errorf("%+v, %v", g, err)
		}
		for _, bad := range []string{"", "mgw_", secret[:46] + "-", "mst_" + secret[4:]} {
			if bad == secret {
				continue
			}
			if _, err := tx.GatewayBySecret(bad); !errors.Is(err, ErrNotFound) {
				t.Errorf("%q: %v", bad, err)
			}
		}
		return noSecretInFile(tx, "gateways", secret)
	})
	update(t, s, func(tx *Tx) error { return tx.RemoveGateway("g") })
	view(t, s, func(tx *Tx) error {
		if _, err := tx.GatewayBySecret(secret); !errors.Is(err, ErrNotFound) {
			t.Errorf("removed: %v", err)
		}
		return nil
	})
}

func TestListed(t *testing.T) {
	s := openAt(t, newPath(t))
	byHash := &Listed{ID: "1", EKHash: digestOf("ek"), Serial: "SN1", Class: verify.ClassCorporate, AddedBy: "sam"}
	byName := &Listed{ID: "2", Issuer: "CN=Maker", CertSerial: "0a", Owner: "o"}
	update(t, s, func(tx *Tx) error { return errors.Join(tx.AddListed(byHash), tx.AddListed(byName)) })
	for name, l := range map[string]*Listed{
		"same hash":        {ID: "3", EKHash: digestOf("ek")},
		"same certificate": {ID: "3", Issuer: "CN=Maker", CertSerial: "0a"},
		"nothing":          {ID: "3"},
		"half":             {ID: "3", Issuer: "CN=Maker"},
		"both":             {ID: "3", EKHash: digestOf("x"), Issuer: "CN=Maker", CertSerial: "0b"},
	} {
		if err := s.Update(context.Background(), func(tx *Tx) error { return tx.AddListed(l) }); err == nil {
			t.Errorf("%s was added", name)
		}
	}
	view(t, s, func(tx *Tx) error {
		for _, c := range []struct {
			ek             attest.Digest
			issuer, serial string
			want           string
		}{
			{digestOf("ek"), "CN=Maker", "0a", "1"},
			{digestOf("other"), "CN=Maker", "0a", "2"},
			{attest.Digest{}, "CN=Maker", "0a", "2"},
			{digestOf("other"), "CN=Maker", "0b", ""},
			{attest.Digest{}, "", "", ""},
		} {
			l, err := tx.FindListed(c.ek, c.issuer, c.serial)
			if c.want == "" && !errors.Is(err, ErrNotFound) || c.want != "" && (err != nil || l.ID != c.want) {
				t.Errorf("%+v found %+v, %v", c, l, err)
			}
		}
		if l, err := tx.ListedBySerial("SN1"); err != nil || len(l) != 1 || *l[0] != *byHash {
			t.Errorf("%+v, %v", l, err)
		}
		if l, err := tx.ListedBySerial(""); err != nil || len(l) != 0 {
			t.Errorf("no serial: %+v, %v", l, err)
		}
		if l, err := tx.Listed("1", 10); err != nil || len(l) != 1 || *l[0] != *byName {
			t.Errorf("%+v, %v", l, err)
		}
		return nil
	})
	update(t, s, func(tx *Tx) error { return tx.RemoveListed("1") })
	if err := s.Update(context.Background(), func(tx *Tx) error { return tx.RemoveListed("1") }); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
}

func TestEnrolmentReplies(t *testing.T) {
	c := newClock()
	s := openAt(t, newPath(t), func(cfg *Config) { cfg.Now = c.now })
	update(t, s, func(tx *Tx) error {
		return tx.PutEnrolment(digestOf("e"), "d", []byte("reply"), tx.Now().Add(time.Minute))
	})
	read := func() (reply []byte, err error) {
		view(t, s, func(tx *Tx) error { _, reply, err = tx.Enrolment(digestOf("e")); return nil })
		return reply, err
	}
	if reply, err := read(); err != nil || string(reply) != "reply" {
		t.Errorf("%q, %v", reply, err)
	}
	if err := s.Update(context.Background(), func(tx *Tx) error {
		return tx.PutEnrolment(digestOf("e"), "other", []byte("other"), tx.Now().Add(time.Minute))
	}); !errors.Is(err, ErrTaken) {
		t.Errorf("another reply: %v", err)
	}
	c.advance(time.Minute)
	if reply, err := read(); !errors.Is(err, ErrNotFound) {
		t.Errorf("expired: %q, %v", reply, err)
	}
	update(t, s, func(tx *Tx) error {
		n, err := tx.PurgeEnrolments()
		if n != 1 {
			t.Errorf("purged %d", n)
		}
		return err
	})
}

func TestPoliciesAndGrace(t *testing.T) {
	s := openAt(t, newPath(t))
	view(t, s, func(tx *Tx) error {
		if _, err := tx.ActivePolicy(); !errors.Is(err, ErrNotFound) {
			t.Errorf("before the first: %v", err)
		}
		return nil
	})
	for _, yaml := range []string{"one", "two", "one"} {
		update(t, s, func(tx *Tx) error { _, err := tx.ActivatePolicy([]byte(yaml), "sam"); return err })
		view(t, s, func(tx *Tx) error {
			p, err := tx.ActivePolicy()
			if err != nil || string(p.YAML) != yaml || p.Digest != sha256.Sum256([]byte(yaml)) || !p.Active {
				t.Errorf("%s: %+v, %v", yaml, p, err)
			}
			return nil
		})
	}
	update(t, s, insert("a"))
	for _, book := range []string{"{}", `{"disk":1}`} {
		update(t, s, func(tx *Tx) error { return tx.PutGrace("a", []byte(book)) })
	}
	view(t, s, func(tx *Tx) error {
		if list, err := tx.Policies(9); err != nil || len(list) != 2 {
			t.Errorf("%d policies, %v", len(list), err)
		}
		if book, err := tx.Grace("a"); err != nil || string(book) != `{"disk":1}` {
			t.Errorf("%s, %v", book, err)
		}
		if _, err := tx.Grace("none"); !errors.Is(err, ErrNotFound) {
			t.Errorf("no device: %v", err)
		}
		return nil
	})
	if err := s.Update(context.Background(), func(tx *Tx) error { return tx.PutGrace("none", nil) }); err == nil {
		t.Error("grace of no device")
	}
}

func TestPackNumbersNeverGoBack(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	accept := func(n uint64) error {
		return s.Update(context.Background(), func(tx *Tx) error { return tx.AcceptPack("mds", n) })
	}
	if err := accept(5); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(context.Background(), path+".bak"); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[uint64]error{5: nil, 4: ErrRollback, 0: ErrRollback} {
		if err := accept(n); !errors.Is(err, want) {
			t.Errorf("%d after 5: %v", n, err)
		}
	}
	if err := accept(9); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := restore(path, path+".bak"); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	update(t, s, func(tx *Tx) error { return tx.raisePack("mds", 3) }) // a journal that knows less
	if err := accept(8); !errors.Is(err, ErrRollback) {
		t.Errorf("8 after 9 and a restore: %v", err)
	}
}

func TestEveryNewIdentityIsAnAnchor(t *testing.T) {
	s := openAt(t, newPath(t))
	update(t, s, insert("a"))
	for i, change := range []func(*Device){
		func(d *Device) { d.Name, d.Owner, d.Keys.DKb, d.Cause = "other", "other", []byte("dkb 2"), "noise" },
		func(d *Device) { d.Keys.EKHash = digestOf("ek 2") },
		func(d *Device) { d.Keys.AKName = []byte("ak 2") },
		func(d *Device) { d.Keys.DKID = digestOf("dk 2") },
		func(d *Device) { d.Level = verify.TPMUnverified },
	} {
		update(t, s, func(tx *Tx) error {
			d, err := tx.Device("a")
			if err != nil {
				return err
			}
			change(d)
			return tx.UpdateDevice(d)
		})
		view(t, s, func(tx *Tx) error {
			list, err := tx.Anchors("a")
			if len(list) != i+1 || !list[i].Until.IsZero() {
				t.Errorf("after change %d: %+v", i, list)
			}
			return err
		})
	}
}
