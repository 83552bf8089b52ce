package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"

	"muster/attest"
)

func bootKey(device, dkb string, counter bool) func(*Tx) error {
	return func(tx *Tx) error { return tx.SetBootKey(device, []byte(dkb), counter) }
}

func deviceOf(t *testing.T, s *Store, id string) (d *Device) {
	t.Helper()
	view(t, s, func(tx *Tx) (err error) { d, err = tx.Device(id); return err })
	return d
}

// The key of a new boot comes with a report, and does not make it stale.
func TestBootKeyLeavesTheHotRow(t *testing.T) {
	s, _, _ := booting(t, "a", "b")
	before := deviceOf(t, s, "a")
	var h *Hot
	view(t, s, func(tx *Tx) (err error) { h, err = tx.Hot("a"); return err })
	if told := changesOf(t, s, DeviceChanged, bootKey("a", "boot 2", false)); told != nil {
		t.Errorf("told of %v", told)
	}
	update(t, s, func(tx *Tx) error { return errors.Join(bootKey("a", "boot 3", true)(tx), tx.PutHot(h)) })
	want := *before
	want.Keys.DKb, want.Keys.DKbCounter = []byte("boot 3"), true
	if got := deviceOf(t, s, "a"); !reflect.DeepEqual(got, &want) {
		t.Errorf("%+v", got)
	}
	if got := deviceOf(t, s, "b").Keys; string(got.DKb) != "dkb" {
		t.Errorf("of another device: %q", got.DKb)
	}
	update(t, s, bootKey("a", "", false))
	if k := deviceOf(t, s, "a").Keys; k.DKb != nil || k.DKbCounter {
		t.Errorf("none: %q, %v", k.DKb, k.DKbCounter)
	}
	view(t, s, func(tx *Tx) error {
		list, err := tx.Anchors("a")
		if len(list) != 1 {
			t.Errorf("anchors: %+v", list)
		}
		return err
	})
}

// A report that is not accepted brings no key, also when the device changed after
// it was judged.
func TestBootKeyGoesWithItsReport(t *testing.T) {
	s, _, _ := booting(t, "a")
	for name, change := range map[string]func(*Tx) error{
		"changed": func(tx *Tx) error {
			d, err := tx.Device("a")
			return errors.Join(err, tx.UpdateDevice(d))
		},
		"another report": func(tx *Tx) error { return report(tx, "a", 7) },
	} {
		var h *Hot
		view(t, s, func(tx *Tx) (err error) { h, err = tx.Hot("a"); return err })
		update(t, s, change)
		refused(t, s, name, ErrStale, func(tx *Tx) error {
			if err := bootKey("a", "judged before", true)(tx); err != nil {
				return err
			}
			return tx.PutHot(h)
		})
		if k := deviceOf(t, s, "a").Keys; string(k.DKb) != "dkb" {
			t.Errorf("%s: %q", name, k.DKb)
		}
	}
}

func TestBootKeyIsRefused(t *testing.T) {
	s, c, path := booting(t, "a", "moved")
	refused(t, s, "no device", ErrNotFound, bootKey("none", "x", false))
	refused(t, s, "too long", ErrForm, bootKey("a", string(make([]byte, maxKey+1)), false))
	refused(t, s, "no key with a counter", ErrForm, bootKey("a", "", true))
	if err := s.Backup(t.Context(), path+".bak"); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error { return revoke(tx, "a", "admin", "stolen") })
	rekey(t, s, "moved", func(k *Keys) { k.DKID = digestOf("new") })
	update(t, s, bootKey("moved", "of the new system", false))
	refused(t, s, "revoked", ErrRevoked, bootKey("a", "x", false))
	s.Close()
	if _, err := restore(path, path+".bak"); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path, func(cfg *Config) { cfg.Now = c.now })
	refused(t, s, "revoked, restored", ErrRevoked, bootKey("a", "x", false))
	// The backup knows it by the key that it has no more.
	refused(t, s, "dead DK", ErrRevoked, bootKey("moved", "x", false))
	for _, id := range []string{"a", "moved"} {
		if k := deviceOf(t, s, id).Keys; string(k.DKb) != "dkb" {
			t.Errorf("%s has %q", id, k.DKb)
		}
	}
}

func TestSuccessors(t *testing.T) {
	s, _, path := booting(t, "a", "b")
	after := func(id, of string) func(*Tx) error {
		d := laptop(id)
		d.Predecessor, d.State = of, attest.Pending
		return func(tx *Tx) error { return tx.InsertDevice(d) }
	}
	for _, c := range [][2]string{{"a2", "a"}, {"a1", "a"}, {"a3", "a2"}, {"x", ""}} {
		update(t, s, after(c[0], c[1]))
	}
	successors := func(s *Store, id string) (ids []string) {
		view(t, s, func(tx *Tx) error {
			list, err := tx.Successors(id)
			for _, d := range list {
				if ids = append(ids, d.ID); d.Predecessor != id {
					t.Errorf("%s is after %q", d.ID, d.Predecessor)
				}
			}
			return err
		})
		return ids
	}
	for _, again := range []bool{false, true} {
		if again { // and after a restore
			if err := s.Backup(context.Background(), filepath.Join(filepath.Dir(path), "b")); err != nil {
				t.Fatal(err)
			}
			s.Close()
			if _, err := restore(path, filepath.Join(filepath.Dir(path), "b")); err != nil {
				t.Fatal(err)
			}
			s = openAt(t, path)
		}
		for id, want := range map[string]string{"a": "[a2 a1]", "a2": "[a3]", "b": "[]", "x": "[]", "": "[]", "none": "[]", "%": "[]"} {
			if got := fmt.Sprint(successors(s, id)); got != want {
				t.Errorf("after %q: %s, not %s", id, got, want)
			}
		}
	}
	update(t, s, func(tx *Tx) error {
		d, err := tx.Device("a3")
		if err == nil {
			d.State = attest.Active
			err = tx.UpdateDevice(d)
		}
		return err
	})
	for id, want := range map[string]string{"a": "[a a3]", "a2": "[a3]", "a1": "[]", "b": "[b]", "none": "[]"} {
		var active []string
		view(t, s, func(tx *Tx) error {
			list, err := tx.ActiveSince(id)
			for _, d := range list {
				active = append(active, d.ID)
			}
			return err
		})
		if got := fmt.Sprint(active); got != want {
			t.Errorf("active since %q: %s, not %s", id, got, want)
		}
	}
	for name, of := range map[string]string{"nobody": "none", "itself": "self"} {
		if err := s.Update(t.Context(), after("self", of)); err == nil {
			t.Errorf("after %s", name)
		}
	}
	move := func(id, of string) func(*Tx) error {
		return func(tx *Tx) error {
			d, err := tx.Device(id)
			if err != nil {
				return err
			}
			d.Predecessor = of
			return tx.UpdateDevice(d)
		}
	}
	if err := s.Update(t.Context(), move("a", "a")); err == nil {
		t.Error("a is after itself")
	}
	update(t, s, move("a1", ""))
	update(t, s, move("b", "a"))
	update(t, s, func(tx *Tx) error { return revoke(tx, "a", "admin", "replaced") }) // and is still what they were
	if got := fmt.Sprint(successors(s, "a")); got != "[b a2]" {
		t.Errorf("after the changes: %s", got)
	}
	if got := state(t, s, "a2"); got != attest.Pending {
		t.Errorf("it shares no key with the revoked one, and is %s", got)
	}
	view(t, s, func(tx *Tx) error { return noScan(t, tx, "SELECT 1 FROM devices WHERE predecessor = 'a' ORDER BY n") })
}

// No write of what boot evidence brought passes in a View.
func TestBootRowsAreNotWrittenInViews(t *testing.T) {
	s, c, _ := booting(t, "a")
	for name, fn := range map[string]func(*Tx) error{
		"PutBaseline":          put(aBaseline("a", "1", BaselineNew, c.now())),
		"PutBaseline refused":  put(aBaseline("a", "1", BaselineRefused, c.now())),
		"SetFleetValues":       set(shows("a", "m", "1", c.now())),
		"PutEnrolmentEvidence": func(tx *Tx) error { return tx.PutEnrolmentEvidence("a", anEvidence("a")) },
		"SetBootKey":           bootKey("a", "x", false),
	} {
		if err := s.View(t.Context(), fn); !errors.Is(err, errReadOnly) {
			t.Errorf("%s in a view: %v", name, err)
		}
	}
}
