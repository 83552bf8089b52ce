package server

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/decide"
	"muster/server/reference"
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

// beats has a laptop send a heartbeat, which is answered and stored.
func (f *drifting) beats(id string) *verify.Result {
	f.t.Helper()
	d, at := f.s.fleet.get(id), f.s.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := f.s.refresh(d); err != nil {
		f.t.Fatal(err)
	}
	f.n++
	ev := &attest.Evidence{
		IssuedAt: at, Digest: attest.Digest{byte(f.n), 1}, Header: attest.Header{Seq: d.hot.Seq + 1},
		Heartbeat: &attest.Heartbeat{CollectedAt: at.Unix()},
	}
	if _, err := f.s.accept(f.t.Context(), d, ev, new(attest.ReportSubmit), nil, attest.Digest{byte(f.n)}, at); err != nil {
		f.t.Fatal(err)
	}
	return d.result
}

// brings has a log come that a laptop named.
func (f *drifting) brings(id string, from realStart) *verify.Result {
	f.t.Helper()
	packed, err := store.PackBootLog(from.log)
	if err != nil {
		f.t.Fatal(err)
	}
	f.s.mustUpdate(f.t, func(tx *store.Tx) error { return tx.AddBootLog(id, packed) })
	d := f.s.fleet.get(id)
	if err := f.s.logCame(f.t.Context(), d, sha256.Sum256(from.log)); err != nil {
		f.t.Fatal(err)
	}
	return d.result
}

// Whoever names logs that never come is found: it is told and in the audit log, once,
// whatever is named next and though the server began anew.
func TestWithheldLog(t *testing.T) {
	t.Parallel()
	first, now := startOf(t, "sb-shim-grub"), startOf(t, "d13-sb-shim-grub")
	f := newDrifting(t, accepting(t, first, now))
	f.s.people.Webhook = true
	id := f.laptop(nil)
	f.starts(id, first, "M")
	f.clock.advance(time.Hour)
	f.quotes(id, now.pcrs, attest.Digest{1}, "M")
	wants := func(when string, reason posture.Reason, told int) {
		t.Helper()
		r := f.s.fleet.get(id).result
		found := slices.ContainsFunc(r.Findings, func(x verify.Finding) bool { return x.Code == verify.FindingWithheld })
		if b := r.Boot; b.Reason != reason || b.State == posture.Yes || b.Baseline.State == posture.Yes || found != (reason == verify.LogWithheld) ||
			f.audited("device.boot-log-withheld", id) != told || len(f.told("boot-drift")) != told || len(f.rows(id)) != 1 {
			t.Errorf("%s: boot %s, baseline %s, found %v, %d in the audit log, %d told, %d starts", when, b.Reason, b.Baseline.Reason, found,
				f.audited("device.boot-log-withheld", id), len(f.told("boot-drift")), len(f.rows(id)))
		}
	}
	f.beats(id) // asked for the first time
	f.clock.advance(11 * time.Minute)
	f.beats(id) // it slept meanwhile
	wants("asked twice", verify.NotJudged, 0)
	for range 3 {
		f.clock.advance(time.Minute)
		f.beats(id)
	}
	wants("asked five times", verify.LogWithheld, 1)
	f.quotes(id, now.pcrs, attest.Digest{2}, "M")
	wants("another one named", verify.LogWithheld, 1)
	f.beats(id)
	wants("asked for that", verify.LogWithheld, 1)
	if err := f.s.reread(t.Context(), f.s.fleet.get(id)); err != nil {
		t.Fatal(err)
	}
	f.beats(id)
	wants("the row was read again", verify.LogWithheld, 1)
	// It comes after all: it is what it is.
	f.quotes(id, now.pcrs, sha256.Sum256(now.log), "M")
	r := f.brings(id, now)
	if r.Boot.State != posture.Yes || r.Boot.Baseline.Reason != verify.BootDrifted || len(f.rows(id)) != 2 || f.audited("device.boot-drifted", id) != 1 {
		t.Errorf("with its log: boot %v, baseline %s, %d starts", r.Boot.State, r.Boot.Baseline.Reason, len(f.rows(id)))
	}
	f.beats(id)
	if d := f.s.fleet.get(id); d.asked != 0 || d.withheld {
		t.Errorf("asked %d times, withheld %v", d.asked, d.withheld)
	}
}

// A log that comes late makes of the same start nothing else, also when the registers
// moved, and stays when the row is read again.
func TestLateLog(t *testing.T) {
	t.Parallel()
	first := startOf(t, "sb-shim-grub")
	moved := returning(first)
	f := newDrifting(t, accepting(t, first))
	f.s.people.Webhook = true
	id := f.laptop(nil)
	f.starts(id, first, "M")
	f.clock.advance(time.Hour)
	f.quotes(id, moved.pcrs, sha256.Sum256(moved.log), "M")
	for range 6 {
		f.clock.advance(5 * time.Minute)
		f.beats(id)
	}
	f.brings(id, moved)
	wants := func(when string) {
		t.Helper()
		rows := f.rows(id)
		if b := f.s.fleet.get(id).result.Boot; b.State != posture.Yes || b.Baseline.State != posture.Yes || b.Baseline.Reason != "" || len(rows) != 1 || rows[0].State != store.BaselineNew {
			t.Errorf("%s: boot %v, baseline %v (%s), %d starts, %s", when, b.State, b.Baseline.State, b.Baseline.Reason, len(rows), rows[0].State)
		}
	}
	wants("the log came")
	f.beats(id)
	if err := f.s.reread(t.Context(), f.s.fleet.get(id)); err != nil {
		t.Fatal(err)
	}
	wants("read again")
	f.clock.advance(time.Hour)
	f.starts(id, first, "M")
	wants("as the first time")
	// Without a log the registers are all there is: drift; but the start itself stays new.
	f.quotes(id, moved.pcrs, attest.Digest{}, "M")
	if b := f.s.fleet.get(id).result.Boot.Baseline; b.Reason != verify.BootDrifted {
		t.Errorf("without a log: %v (%s)", b.State, b.Reason)
	}
	r := f.starts(id, moved, "M")
	if rows := f.rows(id); r.Boot.Baseline.State != posture.Yes || len(rows) != 2 || !slices.ContainsFunc(rows, func(b *store.Baseline) bool { return b.State == store.BaselineNew }) {
		t.Errorf("with it: %v (%s), %d starts", r.Boot.Baseline.State, r.Boot.Baseline.Reason, len(rows))
	}
}

// returning is the same start, in which firmware came back from a boot option first.
func returning(of realStart) realStart {
	body := []byte("Returning from EFI Application from Boot Option")
	return extended(of, 0x80000007, sha256.Sum256(body), body) // EV_EFI_ACTION
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

// What waits for admission is not told to administrators as drift, nor kept, nor
// approved by the fleet; once it is admitted, it is.
func TestWaitingLaptopsAreQuiet(t *testing.T) {
	t.Parallel()
	first, now := startOf(t, "sb-shim-grub"), startOf(t, "d13-sb-shim-grub")
	for _, waits := range []time.Duration{time.Minute, 25 * time.Hour} {
		for how, named := range map[string]attest.Digest{"with a log": sha256.Sum256(now.log), "without": {}, "withheld": {1}} {
			f := newDrifting(t, accepting(t, first, now))
			f.s.people.Webhook = true
			id := f.laptop(nil)
			f.starts(id, first, "M")
			f.clock.advance(time.Hour)
			f.becomes(id, attest.Pending, causeReanchor)
			f.quotes(id, now.pcrs, named, "M")
			for range 4 {
				f.clock.advance(waits / 4)
				f.beats(id)
			}
			if len(f.rows(id)) != 1 || len(f.told("boot-drift")) != 0 {
				t.Errorf("%s, waiting: %d starts, told %q", how, len(f.rows(id)), f.told("boot-drift"))
			}
			if err := f.approves(id); err != nil {
				t.Fatal(err)
			}
			switch how {
			case "with a log":
				f.beats(id)
				f.brings(id, now)
			case "withheld":
				for range 4 {
					f.clock.advance(5 * time.Minute)
					f.beats(id)
				}
			}
			if n := f.audited("device.boot-drifted", id) + f.audited("device.boot-log-withheld", id); n != 1 || len(f.told("boot-drift")) != 1 {
				t.Errorf("%s, admitted after %v: %d in the audit log, told %q", how, waits, n, f.told("boot-drift"))
			}
		}
	}
	// A laptop that was never admitted begins with the start that it has then.
	f := newDrifting(t, accepting(t, first, now))
	id := f.laptop(func(row *store.Device) { row.State, row.Cause = attest.Pending, causeNoToken })
	f.quotes(id, first.pcrs, attest.Digest{}, "M")
	f.clock.advance(time.Hour)
	f.quotes(id, now.pcrs, attest.Digest{}, "M")
	if err := f.approves(id); err != nil {
		t.Fatal(err)
	}
	if rows := f.rows(id); len(rows) != 1 || rows[0].State != store.BaselineNew {
		t.Errorf("never admitted: %d starts", len(rows))
	}
}

// becomes changes the state of a laptop, as an enrolment does.
func (f *drifting) becomes(id string, state attest.DeviceState, cause string) {
	f.t.Helper()
	f.s.mustUpdate(f.t, func(tx *store.Tx) error {
		row, err := tx.Device(id)
		if err != nil {
			return err
		}
		row.State, row.Cause = state, cause
		return tx.UpdateDevice(row)
	})
	f.s.fleet.get(id).stale.Store(true)
	f.s.current(id)
}

// While the references in use are lost nothing is good, and when they are imported
// again all is as before, also after the server began anew.
func TestLostReferences(t *testing.T) {
	t.Parallel()
	first := startOf(t, "sb-shim-grub")
	refs := accepting(t, first)
	f := newDrifting(t, refs)
	id := f.laptop(nil)
	f.starts(id, first, "M")
	d := f.s.fleet.get(id)
	wants := func(when string, state posture.State) {
		t.Helper()
		if err := f.s.reread(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if got := d.result.Boot.Claims.BootChain; got.State != state {
			t.Errorf("%s: the chain is %v (%s)", when, got.State, got.Reason)
		}
	}
	wants("at first", posture.Yes)
	f.s.mustUpdate(t, func(tx *store.Tx) error { return tx.AcceptPack(string(reference.PackBoot), refs.Number) })
	if err := f.s.loadReferences(t.Context()); err != nil {
		t.Fatal(err)
	}
	wants("lost", posture.No)
	f.starts(id, first, "M")
	wants("lost, and quoted", posture.No)
	f.s.bootRefs.Store(refs)
	wants("imported again", posture.Yes)
}

// What is decided of a device that waits does not fill the audit log, nor do the reasons
// of one that was admitted.
func TestReasonsDoNotFillTheAuditLog(t *testing.T) {
	t.Parallel()
	policy, _, err := decide.Default()
	if err != nil {
		t.Fatal(err)
	}
	for state, most := range map[attest.DeviceState]int{attest.Pending: 1, attest.Active: 3} {
		f := newDrifting(t, nil)
		f.s.policy.Store(policy)
		id := f.laptop(func(row *store.Device) { row.State, row.Cause = state, "" })
		for i := range 60 {
			f.clock.advance(30 * time.Second)
			f.reports(id, posture.State(1+i%2))
		}
		if n := f.audited("decision", id); n != most {
			t.Errorf("%s: 60 reports in half an hour are %d decisions, want %d", state, n, most)
		}
	}
}

// reports has a laptop send a report in which every claim is of one state.
func (f *drifting) reports(id string, state posture.State) {
	f.t.Helper()
	d, at := f.s.fleet.get(id), f.s.now()
	report := &posture.Report{Platform: posture.Linux, CollectedAt: at, BootID: "b", Claims: posture.Unfilled(at, posture.NotCollected)}
	for name, c := range report.Claims.Each() {
		if name == "disk_encryption" {
			c.State, c.Reason = state, ""
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f.n++
	ev := &attest.Evidence{IssuedAt: at, Digest: attest.Digest{byte(f.n), 2}, Header: attest.Header{Seq: d.hot.Seq + 1}, Report: report}
	if _, err := f.s.accept(f.t.Context(), d, ev, new(attest.ReportSubmit), nil, attest.Digest{byte(f.n)}, at); err != nil {
		f.t.Fatal(err)
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
	path := append(make([]byte, 32), 4, 4, 0, 0)
	for range 250 {
		path = append(path, '<', 0)
	}
	binary.LittleEndian.PutUint16(path[34:], uint16(len(path)-32))
	binary.LittleEndian.PutUint64(path[24:], uint64(len(path)-32))
	for i := range n {
		of = extended(of, 0x80000003, sha256.Sum256(fmt.Append(nil, "program", i)), path) // EV_EFI_BOOT_SERVICES_APPLICATION
	}
	return of
}

// extended is a start with one more event in PCR 4.
func extended(of realStart, event uint32, digest attest.Digest, body []byte) realStart {
	le := binary.LittleEndian
	s := realStart{log: slices.Clone(of.log), pcrs: maps.Clone(of.pcrs)}
	s.log = le.AppendUint32(s.log, 4)
	s.log = le.AppendUint32(s.log, event)
	s.log = le.AppendUint32(s.log, 1)
	s.log = le.AppendUint16(s.log, 0xb)
	s.log = append(s.log, digest[:]...)
	s.log = le.AppendUint32(s.log, uint32(len(body)))
	s.log = append(s.log, body...)
	v := s.pcrs[4]
	s.pcrs[4] = sha256.Sum256(append(v[:], digest[:]...))
	return s
}
