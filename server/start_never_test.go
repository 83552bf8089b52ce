package server

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/store"
	"muster/server/verify"
)

// rows are the ways to start that are kept of a laptop.
func (f *drifting) rows(id string) (list []*store.Baseline) {
	f.t.Helper()
	if err := f.s.store.View(f.t.Context(), func(tx *store.Tx) (err error) {
		list, err = tx.Baselines(id)
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	return list
}

// Whoever names logs that never come is soon judged as without one: the start is
// kept, told, and can be refused.
func TestWithheldLog(t *testing.T) {
	t.Parallel()
	first, now := startOf(t, "sb-shim-grub"), startOf(t, "d13-sb-shim-grub")
	for name, overdue := range map[string]func(f *drifting, id string) *verify.Result{
		"another name each time": func(f *drifting, id string) *verify.Result {
			return f.quotes(id, now.pcrs, attest.Digest{2}, "M")
		},
		"no further quote": func(f *drifting, id string) *verify.Result {
			d, at := f.s.fleet.get(id), f.s.now()
			ev := &attest.Evidence{IssuedAt: at, Header: attest.Header{Seq: 2}, Heartbeat: &attest.Heartbeat{CollectedAt: at.Unix()}}
			next, err := f.s.advance(t.Context(), d, ev, nil, attest.Digest{1}, at)
			if err != nil {
				t.Fatal(err)
			}
			f.s.mustUpdate(t, func(tx *store.Tx) error { return f.s.keepStart(tx, next.start) })
			next.become(d)
			return d.result
		},
		"the server began anew": func(f *drifting, id string) *verify.Result {
			d := f.s.fleet.get(id)
			if err := f.s.reread(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			return d.result
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newDrifting(t, accepting(t, first, now))
			f.s.people.Webhook = true
			id := f.laptop(nil)
			f.starts(id, first, "M")
			f.clock.advance(time.Hour)
			r := f.quotes(id, now.pcrs, attest.Digest{1}, "M")
			if b := r.Boot.Baseline; b.State != posture.Unknown || b.Reason != verify.NotJudged || len(f.rows(id)) != 1 {
				t.Fatalf("while the log is on its way: %v (%s), %d starts", b.State, b.Reason, len(f.rows(id)))
			}
			f.clock.advance(11 * time.Minute)
			r = overdue(f, id)
			if b := r.Boot.Baseline; b.State != posture.No || b.Reason != verify.BootDrifted || r.Boot.Reason != verify.NoBootLog || r.Boot.SetKey.IsZero() {
				t.Errorf("a log that never came: %v (%s), boot %s, set %v", b.State, b.Reason, r.Boot.Reason, r.Boot.SetKey)
			}
			if name == "the server began anew" {
				return // reading writes nothing: the next statement does
			}
			if len(f.rows(id)) != 2 || f.audited("device.boot-drifted", id) != 1 || len(f.told("boot-drift")) != 1 {
				t.Errorf("%d starts kept, %d in the audit log, %d told", len(f.rows(id)), f.audited("device.boot-drifted", id), len(f.told("boot-drift")))
			}
			if err := f.s.decideBaseline(t.Context(), "administrator", id, r.Boot.SetKey, false); err != nil {
				t.Fatal(err)
			}
			if b := f.s.fleet.get(id).result.Boot.Baseline; b.Reason != verify.BootRefused {
				t.Errorf("refused: %v (%s)", b.State, b.Reason)
			}
			// When the log comes after all, it is judged, and the refusal holds.
			if r := f.starts(id, now, "M"); r.Boot.Baseline.Reason != verify.BootRefused || !r.Boot.AwaitedSince.IsZero() || r.Boot.State != posture.Yes {
				t.Errorf("with its log: %v (%s), boot %v, awaited since %v", r.Boot.Baseline.State, r.Boot.Baseline.Reason, r.Boot.State, r.Boot.AwaitedSince)
			}
		})
	}
}

// The fleet that may approve a start is that of the model which the laptop had when
// it was first seen, whatever it calls itself since.
func TestModelIsNotChosen(t *testing.T) {
	t.Parallel()
	first, now := startOf(t, "sb-shim-grub"), startOf(t, "d13-sb-shim-grub")
	for _, model := range []string{"N", "M"} {
		f := newDrifting(t, accepting(t, first, now))
		for range approvedByFleet {
			id := f.laptop(nil)
			f.starts(id, first, "M")
			f.clock.advance(time.Minute)
			r := f.starts(id, now, "M")
			if err := f.s.decideBaseline(t.Context(), "administrator", id, r.Boot.SetKey, true); err != nil {
				t.Fatal(err)
			}
		}
		f.clock.advance(approvedFor + time.Hour)
		id := f.laptop(nil)
		f.starts(id, first, model)
		for range 3 {
			f.clock.advance(time.Minute)
			f.starts(id, first, "M") // the same start under another name
		}
		f.clock.advance(time.Minute)
		r := f.starts(id, now, "M")
		if approved := r.Boot.Baseline.State == posture.Yes; approved != (model == "M") {
			t.Errorf("first seen as %s, then as M: %v (%s)", model, r.Boot.Baseline.State, r.Boot.Baseline.Reason)
		}
	}
}

// Another level that is asked for counts from the next start of the server on, not
// from the next quote.
func TestRaisedLevels(t *testing.T) {
	t.Parallel()
	a := startOf(t, "sb-shim-grub")
	f := newDrifting(t, accepting(t, a))
	id := f.laptop(nil)
	if r := f.starts(id, a, "M"); r.Boot.Claims.Revocations.State != posture.Yes {
		t.Fatalf("revocations %v", r.Boot.Claims.Revocations)
	}
	for _, levels := range []verify.BootLevels{{DBX: "of an advisory"}, {SBAT: "of an advisory"}} {
		f.s.config.BootLevels = levels
		d := f.s.fleet.get(id)
		if err := f.s.reread(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if c := d.result.Boot.Claims; c.Revocations.State != posture.No || c.BootChain.State != posture.No || d.result.Boot.Levels != levels {
			t.Errorf("%+v: revocations %v, chain %v, judged by %+v", levels, c.Revocations, c.BootChain, d.result.Boot.Levels)
		}
	}
}

// What waits for admission is not told to administrators as drift, nor approved by
// the fleet.
func TestWaitingLaptopsAreQuiet(t *testing.T) {
	t.Parallel()
	first, now := startOf(t, "sb-shim-grub"), startOf(t, "d13-sb-shim-grub")
	f := newDrifting(t, accepting(t, first, now))
	f.s.people.Webhook = true
	for range approvedByFleet {
		id := f.laptop(nil)
		f.starts(id, first, "M")
		f.clock.advance(time.Minute)
		r := f.starts(id, now, "M")
		if err := f.s.decideBaseline(t.Context(), "administrator", id, r.Boot.SetKey, true); err != nil {
			t.Fatal(err)
		}
	}
	f.clock.advance(approvedFor + time.Hour)
	told := len(f.told("boot-drift"))
	for _, cause := range []string{causeNoToken, causeReanchor} {
		id := f.laptop(func(row *store.Device) { row.State, row.Cause = attest.Pending, cause })
		f.starts(id, first, "M")
		f.clock.advance(time.Minute)
		r := f.starts(id, now, "M")
		if r.Boot.Baseline.Reason != verify.BootDrifted || len(f.told("boot-drift")) != told || f.audited("device.boot-drifted", id)+f.audited("device.boot-approved", id) != 0 {
			t.Errorf("%s: %v (%s), told %q", cause, r.Boot.Baseline.State, r.Boot.Baseline.Reason, f.told("boot-drift")[told:])
		}
	}
}

// A start of more programs than is kept, with long names, is compared by registers
// and not an error.
func TestStartOfManyPrograms(t *testing.T) {
	t.Parallel()
	a := startOf(t, "sb-shim-grub")
	for _, programs := range []int{10, 60, 300} {
		f := newDrifting(t, accepting(t, a))
		id := f.laptop(nil)
		f.starts(id, a, "M")
		f.clock.advance(time.Minute)
		r := f.starts(id, withPrograms(a, programs), "M")
		rows := f.rows(id)
		if b := r.Boot.Baseline; b.Reason != verify.BootDrifted || r.Boot.State != posture.Yes || len(rows) != 2 {
			t.Errorf("%d programs: %v (%s), boot %v, %d starts", programs, b.State, b.Reason, r.Boot.State, len(rows))
		}
		if r.Boot.Set.Explained != (programs == 10) {
			t.Errorf("%d programs: explained %v", programs, r.Boot.Set.Explained)
		}
	}
}

// withPrograms is a start after which a system with root's rights extended PCR 4 with
// events that look like programs with long names.
func withPrograms(of realStart, n int) realStart {
	le := binary.LittleEndian
	path := append(make([]byte, 32), 4, 4, 0, 0)
	for range 250 {
		path = append(path, '<', 0)
	}
	le.PutUint16(path[34:], uint16(len(path)-32))
	le.PutUint64(path[24:], uint64(len(path)-32))
	s := realStart{log: slices.Clone(of.log), pcrs: make(attest.PCRs)}
	for i, v := range of.pcrs {
		s.pcrs[i] = v
	}
	for i := range n {
		d := sha256.Sum256(fmt.Append(nil, "program", i))
		s.log = le.AppendUint32(s.log, 4)
		s.log = le.AppendUint32(s.log, 0x80000003) // EV_EFI_BOOT_SERVICES_APPLICATION
		s.log = le.AppendUint32(s.log, 1)
		s.log = le.AppendUint16(s.log, 0xb)
		s.log = append(s.log, d[:]...)
		s.log = le.AppendUint32(s.log, uint32(len(path)))
		s.log = append(s.log, path...)
		v := s.pcrs[4]
		s.pcrs[4] = sha256.Sum256(append(v[:], d[:]...))
	}
	return s
}
