package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestNotices(t *testing.T) {
	c := newClock()
	s := openAt(t, newPath(t), func(cfg *Config) { cfg.Now = c.now })
	first := &Notice{Channel: "mail", To: "alice@muster.example", Kind: "passkey-added", Body: []byte(`{"a":1}`)}
	later := &Notice{Channel: "webhook", Kind: "passkey-added", NextAt: c.now().Add(time.Hour)}
	last := &Notice{Channel: "webhook", Kind: "recovery-started"}
	update(t, s, func(tx *Tx) error { return errors.Join(tx.AddNotice(first), tx.AddNotice(later), tx.AddNotice(last)) })
	due := func() (list []*Notice) {
		t.Helper()
		view(t, s, func(tx *Tx) (err error) { list, err = tx.DueNotices(10); return err })
		return list
	}
	if got := due(); len(got) != 2 || !reflect.DeepEqual(got[0], first) || !reflect.DeepEqual(got[1], last) {
		t.Errorf("%+v", got)
	}
	first.Attempts, first.NextAt, first.Error = 1, c.now().Add(time.Minute), strings.Repeat("ä", maxText)
	update(t, s, func(tx *Tx) error { return errors.Join(tx.NoticeAgain(first), tx.NoticeDone(last.ID)) })
	if got := due(); len(got) != 0 {
		t.Errorf("before their time: %+v", got)
	}
	c.advance(time.Hour)
	got := due()
	if len(got) != 2 || got[0].ID != first.ID || got[0].Attempts != 1 || len(got[0].Error) > maxText || got[1].ID != later.ID {
		t.Errorf("%+v", got)
	}
	view(t, s, func(tx *Tx) error {
		for limit, want := range map[int]int{1: 1, 0: 0, -1: 0} {
			if list, err := tx.DueNotices(limit); err != nil || len(list) != want {
				t.Errorf("limit %d: %d, %v", limit, len(list), err)
			}
		}
		return nil
	})
	for what, n := range map[string]*Notice{
		"no channel": {Kind: "k"}, "other channel": {Channel: "pigeon", Kind: "k"}, "no kind": {Channel: "mail"},
		"no JSON": {Channel: "mail", Kind: "k", Body: []byte("{")}, "long body": {Channel: "mail", Kind: "k", Body: []byte(`"` + strings.Repeat("a", maxData) + `"`)},
		"long address": {Channel: "mail", Kind: "k", To: strings.Repeat("a", maxText+1)},
	} {
		refused(t, s, what, nil, func(tx *Tx) error { return tx.AddNotice(n) })
	}
	refused(t, s, "done twice", ErrNotFound, func(tx *Tx) error { return tx.NoticeDone(last.ID) })
	refused(t, s, "again after done", ErrNotFound, func(tx *Tx) error { return tx.NoticeAgain(last) })
}

// A full outbox drops the oldest of its channel, and says so.
func TestOutboxIsBounded(t *testing.T) {
	s := openAt(t, newPath(t))
	one := &Notice{Channel: "webhook", Kind: "k"}
	update(t, s, func(tx *Tx) error {
		_, err := tx.exec(`WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < ?)
			INSERT INTO notices (channel, recipient, kind, body, created_at, attempts, next_at, error)
			SELECT 'mail', '', 'k', x'7b7d', 1, 0, i, '' FROM c`, maxNotices)
		return errors.Join(err, tx.AddNotice(one))
	})
	mail := &Notice{Channel: "mail", Kind: "k"}
	update(t, s, func(tx *Tx) error { return tx.AddNotice(mail) })
	view(t, s, func(tx *Tx) error {
		list, err := tx.DueNotices(2 * maxNotices)
		if err != nil || len(list) != maxNotices+1 || list[0].ID != 2 || list[len(list)-1].ID != mail.ID {
			t.Errorf("%d wait, %v", len(list), err)
		}
		log, err := tx.AuditLog(0, 10)
		if len(log) != 1 || log[0].Action != "notice.drop" || log[0].Subject != "mail" {
			t.Errorf("%+v", log)
		}
		return err
	})
}

func TestContent(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	content := make([]byte, 3<<20)
	_, _ = rand.Read(content[:1<<20])
	read := func() (b []byte, err error) {
		view(t, s, func(tx *Tx) error { b, err = tx.Content("mds"); return nil })
		return b, err
	}
	refused(t, s, "of a pack that was not accepted", ErrNotFound, func(tx *Tx) error { return tx.PutContent("mds", content) })
	refused(t, s, "too long", nil, func(tx *Tx) error {
		return errors.Join(tx.AcceptPack("mds", 5), tx.PutContent("mds", make([]byte, maxContent+1)))
	})
	for _, c := range [][]byte{{}, content} {
		update(t, s, func(tx *Tx) error { return errors.Join(tx.AcceptPack("mds", 5), tx.PutContent("mds", c)) })
		if got, err := read(); err != nil || !bytes.Equal(got, c) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	if err := s.Backup(context.Background(), path+".bak"); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error { return tx.AcceptPack("mds", 6) })
	if got, err := read(); !errors.Is(err, ErrNotFound) {
		t.Errorf("of an older number: %d bytes, %v", len(got), err)
	}
	update(t, s, func(tx *Tx) error { return tx.PutContent("mds", []byte("six")) })
	s.Close()
	if _, err := restore(path, path+".bak"); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	if got, err := read(); !errors.Is(err, ErrNotFound) {
		t.Errorf("older content came back: %d bytes, %v", len(got), err)
	}
}

// Who causes notices to themself by the thousand pushes nobody else's out.
func TestOutboxIsFair(t *testing.T) {
	s := openAt(t, newPath(t))
	hers := &Notice{Channel: "mail", To: "alice@muster.example", Kind: "passkey-added"}
	update(t, s, func(tx *Tx) error { return tx.AddNotice(hers) })
	update(t, s, func(tx *Tx) error {
		_, err := tx.exec(`WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < ?)
			INSERT INTO notices (channel, recipient, kind, body, created_at, attempts, next_at, error)
			SELECT 'mail', 'mallory@muster.example', 'k', x'7b7d', 1, 0, i, '' FROM c`, maxNotices-1)
		return err
	})
	update(t, s, func(tx *Tx) error {
		for range 10 {
			if err := tx.AddNotice(&Notice{Channel: "mail", To: "mallory@muster.example", Kind: "k"}); err != nil {
				return err
			}
		}
		return nil
	})
	view(t, s, func(tx *Tx) error {
		list, err := tx.DueNotices(2 * maxNotices)
		if err != nil || len(list) != maxNotices || list[0].To != hers.To {
			t.Errorf("%d wait, the first to %q, %v", len(list), list[0].To, err)
		}
		return err
	})
}
