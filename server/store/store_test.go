package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/verify"
)

// clock is a clock that tests move.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.ms.Store(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMilli())
	return c
}

func (c *clock) now() time.Time          { return time.UnixMilli(c.ms.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

func openAt(t testing.TB, path string, change ...func(*Config)) *Store {
	t.Helper()
	c := Config{Path: path, Now: newClock().now, Log: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&c)
	}
	s, err := Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "data", "muster.db") }

func update(t testing.TB, s *Store, fn func(*Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func view(t testing.TB, s *Store, fn func(*Tx) error) {
	t.Helper()
	if err := s.View(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func revoke(tx *Tx, id, by, why string) error {
	_, err := tx.RevokeDevice(id, by, why)
	return err
}

func digestOf(text string) attest.Digest { return sha256.Sum256([]byte(text)) }

// laptop is a device whose keys are made from its id.
func laptop(id string) *Device {
	return &Device{
		ID: id, State: attest.Active, Level: verify.TPMHardware, Class: verify.ClassCorporate,
		Group: "engineering", Owner: "sam", Name: "host-" + id, Platform: posture.Linux,
		Serial: "SN1", UUID: "U1", CreatedAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		TPM: attest.TPMInfo{Manufacturer: "INTC", Firmware: "1.2"},
		Keys: Keys{
			Kind: attest.KindTPM, EKHash: digestOf("ek" + id), EKTemplate: attest.EKRSAL1,
			EKPublic: []byte("ek public"), EKCertificate: []byte("certificate"),
			AK: []byte("ak"), AKName: []byte("ak name of " + id), DK: []byte("dk"),
			DKID: digestOf("dk" + id), DKb: []byte("dkb"), DKbCounter: true,
		},
	}
}

func TestPragmasOnEveryConnection(t *testing.T) {
	s := openAt(t, newPath(t), func(c *Config) { c.Readers = 5 })
	all := append([]*conn{s.writer}, s.idle...)
	if len(all) != 6 {
		t.Fatalf("%d connections", len(all))
	}
	for i, c := range all {
		for pragma, want := range map[string]string{
			"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1", "busy_timeout": "5000",
			"trusted_schema": "0", "query_only": map[bool]string{true: "0", false: "1"}[i == 0],
		} {
			var got string
			if err := c.sql.QueryRowContext(context.Background(), "PRAGMA "+pragma).Scan(&got); err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("connection %d: %s is %s, not %s", i, pragma, got, want)
			}
		}
	}
}

func TestConnectionThatDoesNotSyncIsRefused(t *testing.T) {
	path := newPath(t)
	openAt(t, path).Close()
	db, err := connect(path, "synchronous(NORMAL)", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Ping(); err == nil {
		t.Fatal("a connection with synchronous=NORMAL was accepted")
	}
}

func TestFilesAreOwnersAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes mean nothing there")
	}
	path := newPath(t)
	s := openAt(t, path)
	update(t, s, func(tx *Tx) error { return tx.InsertDevice(laptop("a")) })
	for _, suffix := range []string{"", "-wal", "-shm", ".revocations", ".lock"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", filepath.Base(path+suffix), info.Mode())
		}
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", info.Mode(), err)
	}
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), Config{Path: filepath.Join(open, "m.db"), Now: time.Now}); err == nil {
		t.Error("a folder that others may write to was accepted")
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	if _, err := Open(context.Background(), Config{Path: path, Now: time.Now}); !errors.Is(err, ErrInUse) {
		t.Fatalf("second open: %v", err)
	}
	link := filepath.Join(filepath.Dir(path), "link.db")
	if err := os.Symlink(path, link); err == nil {
		if _, err := Open(context.Background(), Config{Path: link, Now: time.Now}); !errors.Is(err, ErrInUse) {
			t.Fatalf("second open through a link: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openAt(t, path)
}

func TestMetaStays(t *testing.T) {
	path := newPath(t)
	var first Meta
	s := openAt(t, path)
	update(t, s, func(tx *Tx) error { return tx.SetOrigin("https://m.example") })
	view(t, s, func(tx *Tx) error { m, err := tx.Meta(); first = *m; return err })
	s.Close()
	s = openAt(t, path)
	var second Meta
	view(t, s, func(tx *Tx) error { m, err := tx.Meta(); second = *m; return err })
	if len(first.Tenant) != 32 || first.ServerKey == (Secret{}) || first.Epoch != 1 || s.Epoch() != 1 {
		t.Fatalf("meta is %+v", first)
	}
	first.Generation++
	if first != second {
		t.Fatalf("%+v is not %+v", second, first)
	}
	err := s.Update(context.Background(), func(tx *Tx) error { return tx.SetOrigin("https://other.example") })
	if !errors.Is(err, ErrTaken) {
		t.Fatalf("another origin: %v", err)
	}
	for _, form := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if text := fmt.Sprintf(form, second); !strings.Contains(text, "(secret)") {
			t.Errorf("%s prints the server key: %s", form, text)
		}
	}
}

func TestDeviceRoundTrip(t *testing.T) {
	s := openAt(t, newPath(t))
	want := laptop("a")
	update(t, s, func(tx *Tx) error { return tx.InsertDevice(want) })
	view(t, s, func(tx *Tx) error {
		for name, read := range map[string]func() (*Device, error){
			"id": func() (*Device, error) { return tx.Device("a") },
			"ek": func() (*Device, error) { return tx.DeviceByEK(want.Keys.EKHash) },
			"ak": func() (*Device, error) { return tx.DeviceByAK(want.Keys.AKName) },
			"dk": func() (*Device, error) { return tx.DeviceByDK(want.Keys.DKID) },
		} {
			got, err := read()
			if err != nil {
				t.Fatalf("by %s: %v", name, err)
			}
			if a, b := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); a != b {
				t.Errorf("by %s:\n%s\nis not\n%s", name, a, b)
			}
		}
		return nil
	})
	soft := laptop("soft")
	soft.Keys = Keys{Kind: attest.KindSoft, DK: []byte("point"), DKID: digestOf("soft")}
	soft2 := laptop("soft2")
	soft2.Keys = Keys{Kind: attest.KindSoft, DK: []byte("point"), DKID: digestOf("soft2")}
	update(t, s, func(tx *Tx) error { return errors.Join(tx.InsertDevice(soft), tx.InsertDevice(soft2)) })
	view(t, s, func(tx *Tx) error {
		if _, err := tx.DeviceByEK(attest.Digest{}); !errors.Is(err, ErrNotFound) {
			t.Errorf("no EK finds a device: %v", err)
		}
		if _, err := tx.DeviceByAK(nil); !errors.Is(err, ErrNotFound) {
			t.Errorf("no AK finds a device: %v", err)
		}
		return nil
	})
}

func TestKeysAreUnique(t *testing.T) {
	s := openAt(t, newPath(t))
	update(t, s, func(tx *Tx) error { return tx.InsertDevice(laptop("a")) })
	for name, steal := range map[string]func(*Keys){
		"ek": func(k *Keys) { k.EKHash = digestOf("eka") },
		"ak": func(k *Keys) { k.AKName = []byte("ak name of a") },
		"dk": func(k *Keys) { k.DKID = digestOf("dka") },
	} {
		d := laptop("b")
		steal(&d.Keys)
		err := s.Update(context.Background(), func(tx *Tx) error { return tx.InsertDevice(d) })
		if !errors.Is(err, ErrTaken) {
			t.Errorf("the %s of another device: %v", name, err)
		}
	}
	view(t, s, func(tx *Tx) error {
		counts, err := tx.CountDevices()
		if counts[attest.Active] != 1 {
			t.Errorf("devices: %v", counts)
		}
		return err
	})
}

func TestHotIsStaleAfterAnyOtherWrite(t *testing.T) {
	s := openAt(t, newPath(t))
	update(t, s, func(tx *Tx) error { return tx.InsertDevice(laptop("a")) })
	read := func() (h *Hot) {
		view(t, s, func(tx *Tx) (err error) { h, err = tx.Hot("a"); return err })
		return h
	}
	put := func(h *Hot) error {
		return s.Update(context.Background(), func(tx *Tx) error { return tx.PutHot(h) })
	}
	one, two := read(), read()
	one.Seq, one.Reply, one.Last = 1, []byte("reply"), digestOf("1")
	if err := put(one); err != nil {
		t.Fatal(err)
	}
	if err := put(two); !errors.Is(err, ErrStale) {
		t.Fatalf("a second report on the same base: %v", err)
	}
	if h := read(); h.Seq != 1 || string(h.Reply) != "reply" || h.Last != digestOf("1") {
		t.Fatalf("read %+v", h)
	}
	for _, change := range []func(*Tx) error{
		func(tx *Tx) error {
			d, err := tx.Device("a")
			return errors.Join(err, tx.UpdateDevice(d))
		},
		func(tx *Tx) error { return revoke(tx, "a", "admin", "stolen") },
	} {
		h := read()
		update(t, s, change)
		if err := put(h); !errors.Is(err, ErrStale) {
			t.Errorf("report judged before the device changed: %v", err)
		}
	}
}

func TestReportsAndBootLogs(t *testing.T) {
	s := openAt(t, newPath(t))
	log := make([]byte, 50_000)
	_, _ = rand.Read(log[:1000])
	packed, err := PackBootLog(log)
	if err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error { return tx.InsertDevice(laptop("a")) })
	update(t, s, func(tx *Tx) error { return tx.InsertDevice(laptop("b")) })
	for i := range uint64(10) {
		for _, id := range []string{"a", "b"} {
			update(t, s, func(tx *Tx) error {
				return tx.AddReport(id, &Report{Seq: i, Digest: digestOf(fmt.Sprint(i)), ReceivedAt: tx.Now(),
					JWS: []byte("jws"), Result: []byte("{}")})
			})
		}
	}
	update(t, s, func(tx *Tx) error {
		n, err := tx.PruneReports("a", 3)
		if n != 7 {
			t.Errorf("pruned %d", n)
		}
		return err
	})
	update(t, s, func(tx *Tx) error { return errors.Join(tx.AddBootLog("a", packed), tx.AddBootLog("a", packed)) })
	view(t, s, func(tx *Tx) error {
		for id, want := range map[string]int{"a": 3, "b": 10, "none": 0} {
			list, err := tx.Reports(id, 100)
			if err != nil || len(list) != want {
				t.Errorf("%s has %d reports, not %d: %v", id, len(list), want, err)
			}
		}
		r, err := tx.LatestReport("a")
		if err != nil || r.Seq != 9 || r.Digest != digestOf("9") {
			t.Errorf("latest is %+v: %v", r, err)
		}
		got, seen, err := tx.BootLog(packed.Digest)
		if err != nil || string(got) != string(log) || !seen.Equal(tx.Now()) {
			t.Errorf("boot log: %d bytes, %v, %v", len(got), seen, err)
		}
		if has, err := tx.HasBootLog(digestOf("other")); has || err != nil {
			t.Errorf("unknown log: %v, %v", has, err)
		}
		return nil
	})
	if err := s.Update(context.Background(), func(tx *Tx) error {
		return tx.AddReport("none", &Report{JWS: []byte("x"), Result: []byte("{}")})
	}); !errors.Is(err, ErrNotFound) {
		t.Errorf("report of no device: %v", err)
	}
	if _, err := PackBootLog(make([]byte, attest.MaxBootLog+1)); err == nil {
		t.Error("too long a log was packed")
	}
}
