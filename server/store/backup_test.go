package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"muster/attest"
)

func restore(path, from string) (aside string, err error) {
	return Restore(context.Background(), from, Config{Path: path, Now: newClock().now})
}

func TestBackupUnderLoadAndRestore(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	var tokenSecret string
	update(t, s, func(tx *Tx) (err error) {
		for _, id := range []string{"lost", "moved", "kept"} {
			if err := tx.InsertDevice(laptop(id)); err != nil {
				return err
			}
		}
		if err := tx.PutEnrolment(digestOf("e"), "kept", []byte("r"), tx.Now().Add(time.Hour)); err != nil {
			return err
		}
		tokenSecret, err = tx.AddToken(&Token{ID: "t", UsesLeft: 1, Expires: tx.Now().Add(time.Hour)})
		return err
	})
	backup := filepath.Join(t.TempDir(), "backup.db")
	acked := underLoad(t, s, func() {
		if err := s.Backup(context.Background(), backup); err != nil {
			t.Error(err)
		}
	})
	if err := s.Backup(context.Background(), backup); !errors.Is(err, ErrExists) {
		t.Errorf("second backup to one file: %v", err)
	}
	if info, err := os.Stat(backup); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("backup: %v, %v", info.Mode(), err)
	}
	update(t, s, func(tx *Tx) error { return revoke(tx, "lost", "admin", "stolen") })
	update(t, s, func(tx *Tx) error {
		d, err := tx.Device("moved")
		if err != nil {
			return err
		}
		d.Keys.DKID = digestOf("new dk")
		return tx.UpdateDevice(d)
	})
	update(t, s, func(tx *Tx) error { _, err := tx.ConsumeToken(tokenSecret); return err })
	audited(t, s, 1, 100)
	if _, err := restore(path, backup); !errors.Is(err, ErrInUse) {
		t.Fatalf("restore under a running store: %v", err)
	}
	s.Close()

	aside, err := restore(path, backup)
	if err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	if s.Epoch() != 2 {
		t.Errorf("epoch is %d", s.Epoch())
	}
	ids := stored(t, s)
	for _, id := range acked { // acknowledged before the backup began
		if !ids[id] {
			t.Errorf("%s is not in the backup", id)
		}
	}
	if got := state(t, s, "lost"); got != attest.Revoked {
		t.Errorf("revoked after the backup: %s", got)
	}
	if got := state(t, s, "moved"); got != attest.Pending {
		t.Errorf("its key was replaced after the backup: %s", got)
	}
	if got := state(t, s, "kept"); got != attest.Active {
		t.Errorf("kept: %s", got)
	}
	view(t, s, func(tx *Tx) error {
		if dead, err := tx.KeyRevoked(attest.Digest{}, nil, digestOf("dkmoved")); !dead || err != nil {
			t.Errorf("replaced key: %v, %v", dead, err)
		}
		if _, _, err := tx.Enrolment(digestOf("e")); !errors.Is(err, ErrNotFound) {
			t.Errorf("enrolment reply of the old epoch: %v", err)
		}
		if _, err := tx.PeekToken(tokenSecret); !errors.Is(err, ErrTokenRefused) {
			t.Errorf("a used token came back: %v", err)
		}
		h, err := tx.Hot("kept")
		if err != nil || !h.Resync {
			t.Errorf("%+v, %v", h, err)
		}
		return nil
	})
	if _, err := s.VerifyAudit(context.Background()); err != nil {
		t.Error(err)
	}
	s.Close()
	if old, err := os.Stat(aside); err != nil || old.Size() == 0 {
		t.Errorf("old database: %v", err)
	}
	// The old one put back by hand is older than what the journal saw.
	if err := os.Rename(aside, path); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	if s.Epoch() != 3 || state(t, s, "lost") != attest.Revoked {
		t.Errorf("epoch %d, device %s", s.Epoch(), state(t, s, "lost"))
	}
}

// underLoad runs fn while devices are added, and returns those that were
// acknowledged before it began.
func underLoad(t *testing.T, s *Store, fn func()) (before []string) {
	t.Helper()
	var mu sync.Mutex
	var acked []string
	stop := make(chan struct{})
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("load-%d-%d", w, i)
				update(t, s, insert(id))
				mu.Lock()
				acked = append(acked, id)
				mu.Unlock()
			}
		})
	}
	for len(before) < 200 {
		time.Sleep(time.Millisecond)
		mu.Lock()
		before = append([]string(nil), acked...)
		mu.Unlock()
	}
	fn()
	close(stop)
	all.Wait()
	return before
}

// However a backup comes back, it starts an epoch.
func TestBackupCopiedByHandStartsAnEpoch(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	backup := path + ".bak"
	if err := s.Backup(context.Background(), backup); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for want := uint64(2); want < 5; want++ {
		b, err := os.ReadFile(backup)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s = openAt(t, path)
		if s.Epoch() != want {
			t.Errorf("epoch %d, not %d", s.Epoch(), want)
		}
		s.Close()
	}
}

func TestRestoreRefusesWhatIsNoBackup(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	update(t, s, insert("a"))
	good := path + ".bak"
	if err := s.Backup(context.Background(), good); err != nil {
		t.Fatal(err)
	}
	s.Close()
	live, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(whole)
	for i := 5 * 4096; i < 8*4096; i++ {
		damaged[i] ^= 0xff
	}
	other := newPath(t)
	s2 := openAt(t, other)
	if err := s2.Backup(context.Background(), other+".bak"); err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(other + ".bak")
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"a live database": live, "cut": whole[:len(whole)/2], "damaged": damaged, "empty": nil,
		"text": []byte("not a database, but long enough to be looked at"), "of another server": foreign,
	} {
		file := filepath.Join(t.TempDir(), "b")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := restore(path, file); err == nil {
			t.Errorf("%s was restored", name)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, live) {
			t.Fatalf("%s changed the database", name)
		}
		if _, err := os.Stat(path + restoring); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s left a file behind", name)
		}
	}
	if _, err := restore(path, path+".none"); err == nil {
		t.Error("a file that is not there was restored")
	}
}

// A damaged database is what one restores over; its log must not reach the new
// one.
func TestRestoreOverDamage(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	update(t, s, insert("a"))
	if err := s.Backup(context.Background(), path+".bak"); err != nil {
		t.Fatal(err)
	}
	update(t, s, insert("b"))
	wal, err := os.ReadFile(path + "-wal")
	if err != nil || len(wal) == 0 {
		t.Fatal("no write-ahead log", err)
	}
	s.Close()
	for name, b := range map[string][]byte{path: bytes.Repeat([]byte("damage"), 10_000), path + "-wal": wal} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	aside, err := restore(path, path+".bak")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{aside: []byte("damage"), aside + "-wal": wal} {
		if b, err := os.ReadFile(name); err != nil || !bytes.HasPrefix(b, want) {
			t.Errorf("the damaged database was not kept: %v", err)
		}
	}
	s = openAt(t, path)
	if ids := stored(t, s); !ids["a"] || ids["b"] {
		t.Errorf("restored: %v", ids)
	}
}

func TestRestoreToNothing(t *testing.T) {
	path, fresh := newPath(t), newPath(t)
	s := openAt(t, path)
	update(t, s, insert("a"))
	if err := s.Backup(context.Background(), path+".bak"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := os.MkdirAll(filepath.Dir(fresh), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+journalSuffix, fresh+journalSuffix); err != nil {
		t.Fatal(err)
	}
	aside, err := restore(fresh, path+".bak")
	if err != nil || aside != "" {
		t.Fatal(aside, err)
	}
	if s := openAt(t, fresh); !stored(t, s)["a"] || s.Epoch() != 2 {
		t.Error("not restored")
	}
}

func TestInterruptedRestoreIsNotOpened(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	if err := s.Backup(context.Background(), path+".bak"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := os.Rename(path, path+restoring); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), Config{Path: path, Now: newClock().now}); err == nil {
		t.Fatal("opened in the middle of a restore")
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("an empty database was made")
	}
	if _, err := restore(path, path+".bak"); err != nil {
		t.Fatal(err)
	}
	openAt(t, path)
}

// Without a journal that goes as far as the backup, what was revoked since would
// come back to life: only on demand, however the backup comes back.
func TestRestoreNeedsTheJournal(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, path string) error{
		"gone":  func(_ *testing.T, path string) error { return os.Remove(path + journalSuffix) },
		"empty": func(_ *testing.T, path string) error { return os.Truncate(path+journalSuffix, 0) },
		"older than the backup": func(t *testing.T, path string) error {
			b, err := os.ReadFile(path + journalSuffix)
			if err != nil {
				t.Fatal(err)
			}
			first := bytes.SplitAfter(b, []byte("\n"))[:2] // the tenant, and the first opening
			return os.WriteFile(path+journalSuffix, bytes.Join(first, nil), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			openAt(t, path).Close()
			s := openAt(t, path)
			update(t, s, insert("a"))
			if err := s.Backup(context.Background(), path+".bak"); err != nil {
				t.Fatal(err)
			}
			update(t, s, func(tx *Tx) error { return revoke(tx, "a", "admin", "stolen") })
			s.Close()
			if err := spoil(t, path); err != nil {
				t.Fatal(err)
			}
			live, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := restore(path, path+".bak"); !errors.Is(err, ErrNoJournal) {
				t.Fatalf("restored: %v", err)
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, live) {
				t.Fatal("the refused restore changed the database")
			}
			byHand, err := os.ReadFile(path + ".bak")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, byHand, 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the first try must not make what the second lacks
				if _, err := Open(context.Background(), Config{Path: path, Now: newClock().now}); !errors.Is(err, ErrNoJournal) {
					t.Fatalf("opened, put back by hand: %v", err)
				}
			}
			if _, err := Restore(context.Background(), path+".bak", Config{Path: path, Now: newClock().now, WithoutJournal: true}); err != nil {
				t.Fatal(err)
			}
			s = openAt(t, path)
			if s.Epoch() < 2 || state(t, s, "a") != attest.Active {
				t.Errorf("epoch %d, device %s", s.Epoch(), state(t, s, "a"))
			}
		})
	}
}
