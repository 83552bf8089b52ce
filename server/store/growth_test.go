package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"muster/attest"
)

// Whatever sequence numbers a device chooses, its reports have an end.
func TestReportsOfADeviceAreBounded(t *testing.T) {
	s := openAt(t, newPath(t))
	r := rand.New(rand.NewPCG(1, 2))
	update(t, s, func(tx *Tx) error { return errors.Join(tx.InsertDevice(laptop("a")), tx.InsertDevice(laptop("quiet"))) })
	add := func(tx *Tx, device string, seq uint64, digest string) error {
		return tx.AddReport(device, &Report{Seq: seq, Digest: digestOf(digest), JWS: []byte("jws"), Result: []byte("{}")})
	}
	update(t, s, func(tx *Tx) error { return add(tx, "quiet", 1, "quiet") })
	for name, seq := range map[string]func(i int) uint64{
		"always zero": func(int) uint64 { return 0 },
		"never 16":    func(i int) uint64 { return uint64(i)*16 + 1 },
		"downwards":   func(i int) uint64 { return 1<<63 - 1 - uint64(i) },
		"random":      func(int) uint64 { return r.Uint64() >> 1 },
	} {
		update(t, s, func(tx *Tx) error {
			for i := range 300 {
				if err := add(tx, "a", seq(i), fmt.Sprint(name, i)); err != nil {
					return err
				}
				list, err := tx.Reports("a", 1000)
				if err != nil {
					return err
				}
				if len(list) >= keptReports+20*pruneAfter || // one in 10^8 by the dice
					i >= keptReports && len(list) < keptReports {
					return fmt.Errorf("%s: %d reports after %d", name, len(list), i+1)
				}
				if list[0].Digest != digestOf(fmt.Sprint(name, i)) {
					return fmt.Errorf("%s: the newest report is gone", name)
				}
			}
			return nil
		})
	}
	view(t, s, func(tx *Tx) error {
		if _, err := tx.LatestReport("quiet"); err != nil {
			t.Errorf("another device's report: %v", err)
		}
		return nil
	})
}

func packed(t *testing.T, text string) *BootLog {
	t.Helper()
	l, err := PackBootLog([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// logs returns which of the named logs are kept.
func logs(t *testing.T, s *Store, names ...string) (kept []string) {
	t.Helper()
	view(t, s, func(tx *Tx) error {
		for _, name := range names {
			has, err := tx.HasBootLog(packed(t, name).Digest)
			if err != nil {
				return err
			}
			if has {
				kept = append(kept, name)
			}
		}
		return nil
	})
	return kept
}

func TestBootLogsAreBounded(t *testing.T) {
	s := openAt(t, newPath(t))
	ids := []string{"a", "b", "c"}
	update(t, s, func(tx *Tx) error {
		return errors.Join(tx.InsertDevice(laptop("a")), tx.InsertDevice(laptop("b")), tx.InsertDevice(laptop("c")))
	})
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 200 {
		update(t, s, func(tx *Tx) error { return tx.AddBootLog(ids[r.IntN(3)], packed(t, fmt.Sprint(r.IntN(20)))) })
		view(t, s, func(tx *Tx) error {
			var all, unnamed, most int
			err := errors.Join(
				tx.first([]any{&all}, "SELECT count(*) FROM boot_logs"),
				tx.first([]any{&unnamed}, "SELECT count(*) FROM boot_logs WHERE digest NOT IN (SELECT digest FROM device_logs)"),
				tx.first([]any{&most}, "SELECT max(c) FROM (SELECT count(*) AS c FROM device_logs GROUP BY n)"))
			if all > len(ids)*keptLogs || unnamed > 0 || most > keptLogs {
				t.Fatalf("after %d: %d logs, %d of no device, %d of one", i, all, unnamed, most)
			}
			return err
		})
	}
	if err := s.Update(t.Context(), func(tx *Tx) error { return tx.AddBootLog("none", packed(t, "x")) }); !errors.Is(err, ErrNotFound) {
		t.Errorf("log of no device: %v", err)
	}
	if kept := logs(t, s, "x"); len(kept) != 0 {
		t.Error("a log of no device is kept")
	}
}

// A device keeps its newest logs, and what another one does cannot take the log
// that its last quote named.
func TestNamedBootLogStays(t *testing.T) {
	s := openAt(t, newPath(t))
	update(t, s, func(tx *Tx) error { return errors.Join(tx.InsertDevice(laptop("a")), tx.InsertDevice(laptop("b"))) })
	add := func(device string, names ...string) {
		for _, name := range names {
			update(t, s, func(tx *Tx) error { return tx.AddBootLog(device, packed(t, name)) })
		}
	}
	quote := func(device, name string) {
		update(t, s, func(tx *Tx) error {
			h, err := tx.Hot(device)
			if err != nil {
				return err
			}
			h.Log = packed(t, name).Digest
			return tx.PutHot(h)
		})
	}
	add("a", "shared", "1")
	quote("b", "unknown")
	quote("b", "shared")
	add("a", "2", "3", "4", "1", "5")
	if kept := fmt.Sprint(logs(t, s, "shared", "unknown", "1", "2", "3", "4", "5")); kept != "[shared 1 3 4 5]" {
		t.Errorf("kept: %s", kept)
	}
	add("b", "6", "7", "8", "9")
	if kept := fmt.Sprint(logs(t, s, "shared", "6", "9")); kept != "[6 9]" {
		t.Errorf("after b has others: %s", kept)
	}
	view(t, s, func(tx *Tx) error {
		return errors.Join(noScan(t, tx, "SELECT 1 FROM device_logs WHERE digest = x'00'"),
			noScan(t, tx, "SELECT digest FROM device_logs WHERE n = 1 ORDER BY id DESC"))
	})
}

func TestEnrolmentRepliesOfADeviceAreBounded(t *testing.T) {
	s := openAt(t, newPath(t))
	expires := newClock().now().Add(time.Hour)
	put := func(device string, i int) {
		update(t, s, func(tx *Tx) error {
			return tx.PutEnrolment(digestOf(fmt.Sprint(device, i)), device, []byte("reply"), expires)
		})
	}
	put("quiet", 0)
	for i := range 50 {
		put("a", i)
	}
	view(t, s, func(tx *Tx) error {
		var all int
		if err := tx.first([]any{&all}, "SELECT count(*) FROM enrolments"); err != nil || all != keptEnrolments+1 {
			t.Errorf("%d replies are kept: %v", all, err)
		}
		for digest, want := range map[attest.Digest]error{
			digestOf("quiet0"): nil, digestOf("a49"): nil, digestOf("a46"): nil, digestOf("a45"): ErrNotFound,
		} {
			if _, _, err := tx.Enrolment(digest); !errors.Is(err, want) {
				t.Errorf("reply: %v, not %v", err, want)
			}
		}
		return noScan(t, tx, "DELETE FROM enrolments WHERE device = 'a' AND id <= (SELECT id FROM enrolments WHERE device = 'a' ORDER BY id DESC LIMIT 1 OFFSET 4)")
	})
}
