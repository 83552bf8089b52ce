package store

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSigningKeys(t *testing.T) {
	c := newClock()
	s := openAt(t, newPath(t), func(cfg *Config) { cfg.Now = c.now })
	add := func(id string) func(*Tx) error {
		return func(tx *Tx) error { return tx.AddSigningKey(&SigningKey{ID: id, Private: []byte("key " + id)}) }
	}
	if told := changesOf(t, s, ContentChanged, add("b")); !slices.Equal(told, []string{"signing-keys"}) {
		t.Errorf("adding told %q", told)
	}
	c.advance(time.Minute)
	update(t, s, add("a"))
	refused(t, s, "an id again", ErrTaken, add("a"))
	refused(t, s, "no id", nil, add(""))
	refused(t, s, "a long id", nil, add(strings.Repeat("a", 65)))
	for _, private := range [][]byte{nil, {}, bytes.Repeat([]byte{1}, 1<<13)} {
		refused(t, s, "a bad key", nil, func(tx *Tx) error { return tx.AddSigningKey(&SigningKey{ID: "c", Private: private}) })
	}
	refused(t, s, "a key that changes", nil, func(tx *Tx) error { return tx.one("UPDATE signing_keys SET private = x'00' WHERE id = 'a'") })
	view(t, s, func(tx *Tx) error {
		list, err := tx.SigningKeys()
		if err != nil || len(list) != 2 || list[0].ID != "b" || string(list[0].Private) != "key b" ||
			!list[1].CreatedAt.Equal(list[0].CreatedAt.Add(time.Minute)) {
			t.Errorf("%+v, %v", list, err)
		}
		return nil
	})
	if told := changesOf(t, s, ContentChanged, func(tx *Tx) error { return tx.RemoveSigningKey("b") }); !slices.Equal(told, []string{"signing-keys"}) {
		t.Errorf("removing told %q", told)
	}
	refused(t, s, "removing none", ErrNotFound, func(tx *Tx) error { return tx.RemoveSigningKey("b") })
}

func TestNoteSeen(t *testing.T) {
	c := newClock()
	s := openAt(t, newPath(t), func(cfg *Config) { cfg.Now = c.now })
	ids, _ := populate(t, s, "alice", "bob", "carol")
	began := c.now()
	update(t, s, func(tx *Tx) error { return tx.EndSession(ids["bob"], "x") })
	c.advance(time.Hour)
	seen := func(name string) (at time.Time) {
		view(t, s, func(tx *Tx) error {
			one, err := tx.Session(ids[name])
			if err == nil {
				at = one.SeenAt
			}
			return err
		})
		return at
	}
	last := s.LastChange()
	note := func(at time.Time) {
		update(t, s, func(tx *Tx) error {
			return tx.NoteSeen([]Seen{{"s_none", at}, {ids["bob"], at}, {ids["alice"], at}, {"", at}})
		})
	}
	for _, step := range []struct{ at, want time.Time }{
		{began.Add(time.Minute), began.Add(time.Minute)},
		{began, began.Add(time.Minute)},
		{time.Time{}, began.Add(time.Minute)},
		{began.Add(100 * time.Hour), c.now()}, // a clock that goes wrong
		{began.Add(2 * time.Minute), c.now()},
	} {
		note(step.at)
		if got := seen("alice"); !got.Equal(step.want) {
			t.Errorf("after %v: %v, want %v", step.at, got, step.want)
		}
	}
	if got := seen("bob"); !got.Equal(began) {
		t.Errorf("an ended session was seen at %v", got)
	}
	if got := seen("carol"); !got.Equal(began) {
		t.Errorf("another session was seen at %v", got)
	}
	if s.LastChange() != last {
		t.Error("it told of a change")
	}
	update(t, s, func(tx *Tx) error { tx.epoch++; return tx.NoteSeen([]Seen{{ids["carol"], c.now()}}) })
	if got := seen("carol"); !got.Equal(began) {
		t.Errorf("a session of another epoch was seen at %v", got)
	}
}

// aGateway has everything.
func aGateway() *Gateway {
	return &Gateway{ID: "edge", Name: "Edge", Apps: []string{"wiki", "prod"}, Dialect: "nginx", Restricts: true,
		Audience: "https://edge.example", Certificate: strings.Repeat("0a", 32), Socket: "/run/muster/edge.sock", CreatedBy: "sam"}
}

func TestGatewayMembers(t *testing.T) {
	s := openAt(t, newPath(t))
	want, plain := aGateway(), &Gateway{ID: "plain", Name: "Plain", Apps: []string{"wiki"}, CreatedBy: "sam"}
	var secret string
	update(t, s, func(tx *Tx) (err error) {
		if secret, err = tx.AddGateway(want); err == nil {
			_, err = tx.AddGateway(plain)
		}
		return err
	})
	if plain.Dialect != "authzen" || plain.Restricts {
		t.Errorf("%+v", plain)
	}
	view(t, s, func(tx *Tx) error {
		bySecret, err := tx.GatewayBySecret(secret)
		byID, e2 := tx.Gateway("edge")
		byCertificate, e3 := tx.GatewayByCertificate(want.Certificate)
		all, e4 := tx.Gateways()
		if err := errors.Join(err, e2, e3, e4); err != nil {
			return err
		}
		for _, got := range []*Gateway{bySecret, byID, byCertificate, all[0]} {
			if !reflect.DeepEqual(got, want) {
				t.Errorf("\n%+v\nis not\n%+v", got, want)
			}
		}
		for _, none := range []string{"", "0a", strings.Repeat("0A", 32), strings.Repeat("0b", 32)} {
			if g, err := tx.GatewayByCertificate(none); !errors.Is(err, ErrNotFound) {
				t.Errorf("certificate %q: %+v, %v", none, g, err)
			}
		}
		if g, err := tx.Gateway("none"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%+v, %v", g, err)
		}
		return nil
	})
	for what, change := range map[string]func(*Gateway){
		"no id":               func(g *Gateway) { g.ID = "" },
		"the id again":        func(g *Gateway) { g.ID = "edge" },
		"its certificate":     func(g *Gateway) { g.Certificate = want.Certificate },
		"its socket":          func(g *Gateway) { g.Socket = want.Socket },
		"a short certificate": func(g *Gateway) { g.Certificate = "0a" },
		"upper case":          func(g *Gateway) { g.Certificate = strings.Repeat("0B", 32) },
		"no hexadecimal":      func(g *Gateway) { g.Certificate = strings.Repeat("zz", 32) },
		"a long audience":     func(g *Gateway) { g.Audience = strings.Repeat("a", 1<<11) },
		"a long dialect":      func(g *Gateway) { g.Dialect = strings.Repeat("a", 65) },
	} {
		refused(t, s, what, nil, func(tx *Tx) error {
			g := &Gateway{ID: "new", Name: "New", CreatedBy: "sam"}
			change(g)
			_, err := tx.AddGateway(g)
			return err
		})
	}
	update(t, s, func(tx *Tx) error { return tx.RemoveGateway("edge") })
	view(t, s, func(tx *Tx) error {
		if g, err := tx.GatewayByCertificate(want.Certificate); !errors.Is(err, ErrNotFound) {
			t.Errorf("removed: %+v, %v", g, err)
		}
		return nil
	})
}

func TestAuditBefore(t *testing.T) {
	s := openAt(t, newPath(t))
	view(t, s, func(tx *Tx) error {
		list, err := tx.AuditBefore(0, 10)
		if err != nil || len(list) != 0 {
			t.Errorf("of an empty log: %+v, %v", list, err)
		}
		return nil
	})
	audited(t, s, 1, 10)
	view(t, s, func(tx *Tx) error {
		for _, c := range []struct {
			before uint64
			limit  int
			want   []uint64
		}{
			{0, 3, []uint64{10, 9, 8}}, {8, 3, []uint64{7, 6, 5}}, {3, 10, []uint64{2, 1}}, {1, 10, nil}, {0, 0, nil}, {0, -1, nil},
			{11, 1, []uint64{10}}, {1 << 63, 1, []uint64{10}}, {1<<64 - 1, 2, []uint64{10, 9}},
		} {
			list, err := tx.AuditBefore(c.before, c.limit)
			var got []uint64
			for _, e := range list {
				got = append(got, e.Seq)
			}
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%d before %d: %v, %v", c.limit, c.before, got, err)
			}
		}
		// They are the same entries as the other way round.
		up, err := tx.AuditLog(0, 100)
		down, e := tx.AuditBefore(0, 100)
		slices.Reverse(down)
		if err != nil || e != nil || !reflect.DeepEqual(up, down) {
			t.Errorf("%v, %v", err, e)
		}
		return nil
	})
}
