package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
)

func audited(t *testing.T, s *Store, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		update(t, s, func(tx *Tx) error {
			_, err := tx.Audit(Entry{Actor: "administrator:sam", Action: "device.approve",
				Subject: fmt.Sprint(i), Detail: []byte(`{"n":1}`)})
			return err
		})
	}
}

// tamper runs SQL as somebody would who can write the file.
func tamper(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := connect(path, writing, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, q := range append([]string{"DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete"}, statements...) {
		if _, err := db.Exec(q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

func TestAuditIsAppendOnly(t *testing.T) {
	s := openAt(t, newPath(t))
	audited(t, s, 1, 3)
	for _, q := range []string{"UPDATE audit SET actor = 'nobody'", "DELETE FROM audit", "DELETE FROM audit WHERE seq = 3"} {
		if err := s.Update(context.Background(), func(tx *Tx) error { _, err := tx.exec(q); return err }); err == nil {
			t.Errorf("allowed: %s", q)
		}
	}
	if err := s.Update(context.Background(), func(tx *Tx) error {
		_, err := tx.Audit(Entry{Action: "x", Detail: []byte("{")})
		return err
	}); err == nil {
		t.Error("a detail that is no JSON was kept")
	}
	errs := together(t, s, // an undone entry leaves no gap
		func(tx *Tx) error { _, err := tx.Audit(Entry{Action: "one"}); return err },
		func(tx *Tx) error { _, err := tx.Audit(Entry{Action: "undone"}); return errors.Join(err, errMine) },
		func(tx *Tx) error { _, err := tx.Audit(Entry{Action: "two"}); return err })
	if errs[0] != nil || errs[1] == nil || errs[2] != nil {
		t.Fatal(errs)
	}
	head, err := s.VerifyAudit(context.Background())
	if err != nil || head.Seq != 5 {
		t.Errorf("head %d, %v", head.Seq, err)
	}
	view(t, s, func(tx *Tx) error {
		list, err := tx.AuditLog(3, 10)
		if err != nil || len(list) != 2 || list[1].Action != "two" || list[1].Hash != head.Hash {
			t.Errorf("%+v, %v", list, err)
		}
		return nil
	})
}

func TestAuditTamperingIsFound(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and nothing runs beside it that the race detector could see")
	}
	for name, c := range map[string]struct {
		sql string
		at  uint64
	}{
		"one byte of the detail": {`UPDATE audit SET detail = CAST('{"n":2}' AS BLOB) WHERE seq = 7`, 7},
		"actor":                  {`UPDATE audit SET actor = 'administrator:max' WHERE seq = 1`, 1},
		"moved between fields":   {`UPDATE audit SET actor = actor || 'd', action = substr(action, 2) WHERE seq = 4`, 4},
		"time":                   {`UPDATE audit SET at = at + 1 WHERE seq = 2`, 2},
		"hash":                   {`UPDATE audit SET hash = zeroblob(32) WHERE seq = 2`, 2},
		"short hash":             {`UPDATE audit SET hash = x'00' WHERE seq = 2`, 2},
		"entry gone":             {`DELETE FROM audit WHERE seq = 5`, 5},
		"first gone":             {`DELETE FROM audit WHERE seq = 1`, 1},
		"last gone":              {`DELETE FROM audit WHERE seq = 10`, 10},
		"all gone":               {`DELETE FROM audit`, 1},
		"two swapped":            {`UPDATE audit SET seq = CASE seq WHEN 3 THEN -4 ELSE -3 END WHERE seq IN (3, 4); UPDATE audit SET seq = -seq WHERE seq < 0`, 3},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			s := openAt(t, path)
			audited(t, s, 1, 10)
			s.Close() // notes the head in the journal
			s = openAt(t, path)
			if head, err := s.VerifyAudit(context.Background()); err != nil || head.Seq != 10 {
				t.Fatalf("before: %d, %v", head.Seq, err)
			}
			tamper(t, path, c.sql)
			_, err := s.VerifyAudit(context.Background())
			var b *AuditBreak
			if !errors.As(err, &b) || b.Seq != c.at {
				t.Fatalf("found: %v", err)
			}
		})
	}
}

// Who can rewrite the database can recompute the chain; the journal knows
// better, up to the last head that it noted.
func TestRewrittenAuditIsFound(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	audited(t, s, 1, checkpointEvery+10)
	e := Entry{Seq: checkpointEvery, Actor: "nobody", Action: "nothing", Detail: []byte("{}")}
	view(t, s, func(tx *Tx) error {
		list, err := tx.AuditLog(checkpointEvery-2, 1)
		e.At, e.Prev = list[0].At, list[0].Hash
		return err
	})
	h := e.hash()
	tamper(t, path, fmt.Sprintf(`DELETE FROM audit WHERE seq > %d`, checkpointEvery),
		fmt.Sprintf(`UPDATE audit SET actor = 'nobody', action = 'nothing', subject = '', detail = CAST('{}' AS BLOB),
			hash = x'%x' WHERE seq = %d`, h[:], checkpointEvery))
	_, err := s.VerifyAudit(context.Background())
	var b *AuditBreak
	if !errors.As(err, &b) || b.Seq != checkpointEvery {
		t.Fatalf("found: %v", err)
	}
}

// A log that is shorter than the journal knows means that the database was put
// back: what was issued since is void.
func TestDatabasePutBackByHandStartsAnEpoch(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	audited(t, s, 1, 3)
	update(t, s, insert("a"))
	update(t, s, func(tx *Tx) error {
		h, err := tx.Hot("a")
		if err != nil {
			return err
		}
		h.Nonces, h.Reply, h.Request = []Nonce{{Value: digestOf("n")}}, []byte("r"), digestOf("q")
		return tx.PutHot(h)
	})
	s.Close()
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	if s.Epoch() != 1 {
		t.Fatal("a restart started an epoch")
	}
	audited(t, s, 4, 5)
	update(t, s, func(tx *Tx) error { return revoke(tx, "a", "admin", "stolen") })
	s.Close()
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	if s.Epoch() != 2 || state(t, s, "a") != "revoked" {
		t.Errorf("epoch %d, device %s", s.Epoch(), state(t, s, "a"))
	}
	view(t, s, func(tx *Tx) error {
		h, err := tx.Hot("a")
		if err != nil || h.Nonces != nil || h.Reply != nil || !h.Request.IsZero() || !h.Resync {
			t.Errorf("%+v, %v", h, err)
		}
		return nil
	})
	if head, err := s.VerifyAudit(context.Background()); err != nil || head.Seq != 5 {
		t.Errorf("head %d, %v", head.Seq, err)
	}
	s.Close()
	s = openAt(t, path)
	if s.Epoch() != 2 {
		t.Error("the next restart started another epoch")
	}
}
