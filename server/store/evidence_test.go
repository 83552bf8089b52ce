package store

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"muster/attest"
)

// anEvidence is of the identity that laptop gives a device.
func anEvidence(id string) *EnrolmentEvidence {
	return &EnrolmentEvidence{DKID: digestOf("dk" + id), At: newClock().now(), Begin: []byte("begin"),
		Finish: []byte("finish"), Session: []byte("{}")}
}

func TestEnrolmentEvidence(t *testing.T) {
	s, _, path := booting(t, "a", "b")
	want := anEvidence("a")
	want.Finish = make([]byte, maxEvidence) // packs well
	r := rand.New(rand.NewPCG(7, 8))
	want.Begin = make([]byte, maxEvidence) // and does not
	for i := range want.Begin {
		want.Begin[i] = byte(r.Uint32())
	}
	want.Session = []byte(`"` + string(bytes.Repeat([]byte("x"), maxEvidence-2)) + `"`)
	update(t, s, func(tx *Tx) error { return tx.PutEnrolmentEvidence("a", anEvidence("a")) })
	update(t, s, func(tx *Tx) error { return tx.PutEnrolmentEvidence("a", want) }) // in its place
	update(t, s, func(tx *Tx) error { return tx.PutEnrolmentEvidence("b", anEvidence("b")) })
	if err := s.Backup(t.Context(), path+".bak"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := restore(path, path+".bak"); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	view(t, s, func(tx *Tx) error {
		got, err := tx.EnrolmentEvidence("a", want.DKID)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("after a restore: %v", err)
		}
		for device, dk := range map[string]attest.Digest{"a": digestOf("dkb"), "b": want.DKID, "none": want.DKID, "": {}} {
			if e, err := tx.EnrolmentEvidence(device, dk); !errors.Is(err, ErrNotFound) {
				t.Errorf("of %q: %+v, %v", device, e, err)
			}
		}
		return nil
	})
}

func TestEvidenceForm(t *testing.T) {
	s, _, _ := booting(t, "a")
	long := bytes.Repeat([]byte("1"), maxEvidence+1)
	for name, spoil := range map[string]func(*EnrolmentEvidence){
		"no DK":               func(e *EnrolmentEvidence) { e.DKID = attest.Digest{} },
		"no begin":            func(e *EnrolmentEvidence) { e.Begin = nil },
		"no finish":           func(e *EnrolmentEvidence) { e.Finish = nil },
		"no session":          func(e *EnrolmentEvidence) { e.Session = []byte{} },
		"begin too long":      func(e *EnrolmentEvidence) { e.Begin = long },
		"finish too long":     func(e *EnrolmentEvidence) { e.Finish = long },
		"session too long":    func(e *EnrolmentEvidence) { e.Session = long },
		"session is not JSON": func(e *EnrolmentEvidence) { e.Session = []byte("{}{") },
	} {
		e := anEvidence("a")
		spoil(e)
		refused(t, s, name, ErrForm, func(tx *Tx) error { return tx.PutEnrolmentEvidence("a", e) })
	}
	refused(t, s, "no device", ErrNotFound, func(tx *Tx) error { return tx.PutEnrolmentEvidence("none", anEvidence("a")) })
	view(t, s, func(tx *Tx) error {
		var n int
		err := tx.first([]any{&n}, "SELECT count(*) FROM enrolment_evidence")
		if n != 0 {
			t.Errorf("%d are kept", n)
		}
		return err
	})
}

func TestEvidenceOfADeviceIsBounded(t *testing.T) {
	s, _, _ := booting(t, "a", "quiet")
	update(t, s, func(tx *Tx) error { return tx.PutEnrolmentEvidence("quiet", anEvidence("quiet")) })
	for i := range 20 {
		update(t, s, func(tx *Tx) error {
			e := anEvidence("a")
			e.DKID = digestOf(fmt.Sprint(i))
			return tx.PutEnrolmentEvidence("a", e)
		})
	}
	view(t, s, func(tx *Tx) error {
		var kept []int
		for i := range 20 {
			if _, err := tx.EnrolmentEvidence("a", digestOf(fmt.Sprint(i))); err == nil {
				kept = append(kept, i)
			} else if !errors.Is(err, ErrNotFound) {
				return err
			}
		}
		if fmt.Sprint(kept) != "[16 17 18 19]" {
			t.Errorf("kept: %v", kept)
		}
		_, err := tx.EnrolmentEvidence("quiet", digestOf("dkquiet"))
		return err
	})
}

// Whatever stands in the row, reading it ends, with all of what was put or none.
func FuzzEvidenceUnpack(f *testing.F) {
	whole, err := anEvidence("a").pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte{})
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e := &EnrolmentEvidence{DKID: digestOf("dk")}
		if e.unpack(b) != nil {
			return
		}
		for _, part := range e.parts() {
			if len(*part) == 0 || len(*part) > maxEvidence {
				t.Fatalf("a part has %d bytes", len(*part))
			}
		}
		if e.Session = []byte("{}"); true { // which is the caller's to judge
			again, err := e.pack()
			back := &EnrolmentEvidence{DKID: e.DKID}
			if err := errors.Join(err, back.unpack(again)); err != nil || !reflect.DeepEqual(back, e) {
				t.Fatalf("packed again: %v", err)
			}
		}
	})
}

// Evidence of a decision is read by the digests and numbers that the decision has.
func TestEvidenceByItsName(t *testing.T) {
	s, _, _ := booting(t, "a", "b")
	for _, name := range []string{"1", "2", "1"} {
		update(t, s, func(tx *Tx) error {
			return tx.AddReport("a", &Report{Seq: 1, Digest: digestOf(name), JWS: []byte("jws " + name), Result: []byte("{}")})
		})
	}
	audited(t, s, 1, 3)
	var digest attest.Digest
	for _, yaml := range []string{"one", "two"} {
		update(t, s, func(tx *Tx) (err error) { digest, err = tx.ActivatePolicy([]byte(yaml), "sam"); return err })
	}
	view(t, s, func(tx *Tx) error {
		list, err := tx.Reports("a", 9)
		if err != nil || len(list) != 3 {
			t.Fatal(err)
		}
		if r, err := tx.ReportOf("a", digestOf("1")); err != nil || !reflect.DeepEqual(r, list[0]) {
			t.Errorf("report: %+v, %v", r, err)
		}
		for device, of := range map[string]string{"a": "3", "b": "1", "none": "1", "": ""} {
			if r, err := tx.ReportOf(device, digestOf(of)); !errors.Is(err, ErrNotFound) {
				t.Errorf("report %s of %q: %+v, %v", of, device, r, err)
			}
		}
		if p, err := tx.PolicyOf(digest); err != nil || string(p.YAML) != "two" || !p.Active {
			t.Errorf("policy: %+v, %v", p, err)
		}
		if p, err := tx.PolicyOf(attest.Digest{}); !errors.Is(err, ErrNotFound) {
			t.Errorf("policy: %+v, %v", p, err)
		}
		log, err := tx.AuditLog(0, 9)
		if err != nil {
			return err
		}
		if e, err := tx.EntryOf(2); err != nil || !reflect.DeepEqual(*e, log[1]) {
			t.Errorf("entry: %+v, %v", e, err)
		}
		for _, seq := range []uint64{0, 4, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64} {
			if e, err := tx.EntryOf(seq); !errors.Is(err, ErrNotFound) {
				t.Errorf("entry %d: %+v, %v", seq, e, err)
			}
		}
		_, err = tx.AuditHead() // nothing of it broke the view
		return err
	})
}
