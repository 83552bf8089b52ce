package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/reference"
	"muster/server/store"
	"muster/server/verify"
)

// realStart is a start that was measured: its log and the values of its quote.
type realStart struct {
	log  []byte
	pcrs attest.PCRs
}

func startOf(t *testing.T, name string) realStart {
	t.Helper()
	dir := "../attest/bootlog/testdata/" + name + "/"
	log, err := os.ReadFile(dir + "binary_bios_measurements")
	if err != nil {
		t.Fatal(err)
	}
	var banks map[string]map[string]string
	b, err := os.ReadFile(dir + "pcrs.json")
	if err == nil {
		err = json.Unmarshal(b, &banks)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := realStart{log: log, pcrs: make(attest.PCRs)}
	for i, text := range banks["sha256"] {
		n, err := strconv.Atoi(i)
		value, err2 := hex.DecodeString(text)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		s.pcrs[uint8(n)] = attest.Digest(value)
	}
	return s
}

// accepting are references for which real starts are in order.
func accepting(t *testing.T, starts ...realStart) *reference.Boot {
	t.Helper()
	refs := &reference.Boot{Number: 99990007, SBAT: []reference.SBATLevel{{Name: "any", Components: map[string]int{"shim": 1}}}}
	level := reference.DBXLevel{Name: "any", Hashes: make(map[[32]byte]bool)}
	for _, s := range starts {
		a, missing := verify.ReadLog(s.log, s.pcrs, nil)
		if missing != "" {
			t.Fatal(missing)
		}
		for _, by := range a.Authorities.Value {
			refs.Authorities = append(refs.Authorities, reference.BootAuthority{SHA256: by.Certificate.SHA256, Kind: reference.UEFICA})
		}
		for h := range a.DBX.Value.Hashes() {
			if len(level.Hashes) == 0 || level.Hashes[h] {
				level.Hashes = map[[32]byte]bool{h: true}
			}
			break
		}
	}
	refs.DBX = []reference.DBXLevel{level}
	return refs
}

// drifting is a server with laptops of one model.
type drifting struct {
	t     *testing.T
	s     *Server
	clock *testClock
	n     int
}

func newDrifting(t *testing.T, refs *reference.Boot) *drifting {
	t.Helper()
	d := &drifting{t: t}
	d.s, d.clock = guestServer(t)
	d.s.bootRefs.Store(refs)
	return d
}

// laptop adds one; change alters it before.
func (f *drifting) laptop(change func(*store.Device)) string {
	f.t.Helper()
	f.n++
	row := softRow(f.t, fmt.Sprintf("laptop-%d", f.n))
	row.Level = verify.TPMHardware
	if change != nil {
		change(row)
	}
	f.s.mustUpdate(f.t, func(tx *store.Tx) error { return tx.InsertDevice(row) })
	f.s.mustUpdate(f.t, func(tx *store.Tx) error {
		d, err := f.s.remember(tx, row)
		if err == nil {
			f.s.fleet.put(row.ID, d)
		}
		return err
	})
	return row.ID
}

// starts has a laptop bring a quote of a start and its log, and returns what is made
// of them.
func (f *drifting) starts(id string, from realStart, model string) *verify.Result {
	f.t.Helper()
	packed, err := store.PackBootLog(from.log)
	if err != nil {
		f.t.Fatal(err)
	}
	f.s.mustUpdate(f.t, func(tx *store.Tx) error { return tx.AddBootLog(id, packed) })
	return f.quotes(id, from.pcrs, sha256.Sum256(from.log), model)
}

// quotes has a laptop bring a quote of values that names a log.
func (f *drifting) quotes(id string, values attest.PCRs, named attest.Digest, model string) *verify.Result {
	f.t.Helper()
	now := f.s.now()
	report := &posture.Report{Platform: posture.Linux, CollectedAt: now, BootID: now.String(), Claims: posture.Unfilled(now, posture.NotCollected)}
	report.Claims.Hardware.State, report.Claims.Hardware.Detail = posture.Yes, posture.Hardware{Vendor: "Vendor", Model: model}
	d := f.s.fleet.get(id)
	f.s.mustUpdate(f.t, func(tx *store.Tx) error {
		ev := &attest.Evidence{IssuedAt: now, Report: report, Measured: &attest.Measured{PCRs: values, LogSHA: named}}
		r, st, err := f.s.appraise(tx, d, verify.Input{Device: registration(&d.row), Evidence: ev, Last: d.result, ReceivedAt: now})
		if err != nil {
			return err
		}
		d.result = r
		stored, err := kept(ev, new(attest.ReportSubmit), r, now)
		if err != nil {
			return err
		}
		hot, err := tx.Hot(id)
		if err != nil {
			return err
		}
		hot.IssuedAt, hot.QuotedAt, hot.Log = now, now, named
		d.hot = *hot
		return errors.Join(f.s.keepStart(tx, st), tx.AddReport(id, stored), tx.PutHot(&d.hot))
	})
	return d.result
}

// audited counts entries of the audit log about a subject.
func (f *drifting) audited(action, subject string) (n int) {
	f.t.Helper()
	if err := f.s.store.View(f.t.Context(), func(tx *store.Tx) error {
		list, err := tx.AuditLog(0, 10_000)
		for _, e := range list {
			if e.Action == action && e.Subject == subject {
				n++
			}
		}
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	return n
}

// The fleet approves another way to start under both conditions, and under no less.
func TestFleetApproves(t *testing.T) {
	t.Parallel()
	a, b := startOf(t, "sb-shim-grub"), startOf(t, "d13-sb-shim-grub")
	refs := accepting(t, a, b)
	since := func(age time.Duration, change func(i int, row *store.Device)) func(f *drifting) {
		return func(f *drifting) {
			for i := range approvedByFleet {
				id := f.laptop(func(row *store.Device) { change(i, row) })
				f.starts(id, a, "M")
				f.clock.advance(time.Minute)
				r := f.starts(id, b, "M")
				if err := f.s.decideBaseline(t.Context(), "administrator", id, r.Boot.SetKey, true); err != nil {
					t.Fatal(err)
				}
			}
			f.clock.advance(age)
		}
	}
	others := func(change func(i int, row *store.Device)) func(f *drifting) {
		return since(approvedFor+time.Hour, change)
	}
	same := others(func(int, *store.Device) {})
	for name, test := range map[string]struct {
		prepare func(f *drifting)
		model   string
		refs    *reference.Boot
		want    bool
	}{
		"both conditions": {same, "M", refs, true},
		"another model":   {same, "N", refs, false},
		"no model":        {same, "", refs, false},
		"nobody else":     {func(*drifting) {}, "M", refs, false},
		"too young":       {since(approvedFor-time.Hour, func(int, *store.Device) {}), "M", refs, false},
		"one is somebody's own": {others(func(i int, row *store.Device) {
			row.Class = map[bool]verify.Class{true: verify.ClassBYOD, false: verify.ClassCorporate}[i == 0]
		}), "M", refs, false},
		"one is virtual": {others(func(i int, row *store.Device) {
			row.Level = map[bool]verify.Level{true: verify.VTPM, false: verify.TPMHardware}[i == 0]
		}), "M", refs, false},
		"the chain is not in order": {same, "M", &reference.Boot{Number: 99990009}, false},
		"one was revoked since": {func(f *drifting) {
			same(f)
			f.s.mustUpdate(t, func(tx *store.Tx) error { _, err := tx.RevokeDevice("laptop-1", "administrator", "stolen"); return err })
		}, "M", refs, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newDrifting(t, refs)
			test.prepare(f)
			f.s.bootRefs.Store(test.refs)
			id := f.laptop(nil)
			if r := f.starts(id, a, test.model); r.Boot.Baseline.State != posture.Yes {
				t.Fatalf("its first start is %v", r.Boot.Baseline)
			}
			f.clock.advance(time.Minute)
			r := f.starts(id, b, test.model)
			if got := r.Boot.Baseline.State == posture.Yes; got != test.want {
				t.Errorf("the other start is %v (%s), chain %v (%s)", r.Boot.Baseline.State, r.Boot.Baseline.Reason, r.Boot.Claims.BootChain.State, r.Boot.Claims.BootChain.Reason)
			}
			action := map[bool]string{true: "device.boot-approved", false: "device.boot-drifted"}[test.want]
			if n := f.audited(action, id); n != 1 {
				t.Errorf("%d entries of %s", n, action)
			}
			f.clock.advance(time.Minute)
			f.starts(id, b, test.model)
			if n := f.audited(action, id); n != 1 {
				t.Errorf("%d entries of %s after the same again", n, action)
			}
		})
	}
}

// An administrator's word on a way to start holds from the next check on, and stays.
func TestDecideBaseline(t *testing.T) {
	t.Parallel()
	a, b := startOf(t, "sb-shim-grub"), startOf(t, "d13-sb-shim-grub")
	f := newDrifting(t, accepting(t, a, b))
	id, like := f.laptop(nil), f.laptop(nil)
	for _, x := range []string{id, like} {
		f.starts(x, a, "M")
		f.clock.advance(time.Minute)
		f.starts(x, b, "M")
	}
	d := f.s.fleet.get(id)
	key := d.result.Boot.SetKey
	if got := f.s.everywhere(key); !slices.Equal(got, []string{id, like}) {
		t.Fatalf("the same start waits on %v", got)
	}
	for _, test := range []struct {
		approve bool
		state   posture.State
		reason  posture.Reason
	}{{true, posture.Yes, ""}, {false, posture.No, verify.BootRefused}, {true, posture.Yes, ""}} {
		f.clock.advance(time.Minute)
		if err := f.s.decideBaseline(t.Context(), "administrator", id, key, test.approve); err != nil {
			t.Fatal(err)
		}
		f.s.Check(id, "wiki") // which reads the device again
		if got := d.result.Boot.Baseline; got.State != test.state || got.Reason != test.reason {
			t.Fatalf("approved %v: %v (%s)", test.approve, got.State, got.Reason)
		}
		f.clock.advance(time.Minute)
		if r := f.starts(id, b, "M"); r.Boot.Baseline.State != test.state {
			t.Fatalf("at the next quote it is %v", r.Boot.Baseline)
		}
	}
	if f.s.fleet.get(like).result.Boot.Baseline.State != posture.No {
		t.Error("a word on one laptop was taken for another's")
	}
	if err := f.s.decideBaseline(t.Context(), "administrator", id, attest.Digest{1}, true); err == nil {
		t.Error("a start that was never seen was approved")
	}
	if err := f.s.decideBaseline(t.Context(), "administrator", "nobody", key, true); err == nil {
		t.Error("a device that is none was approved")
	}
	// Going back to the first way is no drift: it was not refused.
	f.clock.advance(time.Minute)
	if r := f.starts(id, a, "M"); r.Boot.Baseline.State != posture.Yes {
		t.Errorf("back at the first start: %v", r.Boot.Baseline)
	}
}

// Other references judge what was shown before, without a new quote.
func TestReferencesChange(t *testing.T) {
	t.Parallel()
	a := startOf(t, "sb-shim-grub")
	f := newDrifting(t, accepting(t, a))
	id := f.laptop(nil)
	if r := f.starts(id, a, "M"); r.Boot.Claims.BootChain.State != posture.Yes {
		t.Fatalf("the chain is %v", r.Boot.Claims.BootChain)
	}
	f.s.bootRefs.Store(&reference.Boot{Number: 99990008})
	f.s.referencesChanged()
	d := f.s.fleet.get(id)
	if c := d.result.Boot.Claims.BootChain; c.State != posture.No || d.result.Boot.References != 99990008 {
		t.Fatalf("by references that know nobody the chain is %v", c)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := f.s.reread(t.Context(), d); err != nil || d.result.Boot.References != 99990008 {
		t.Errorf("read again, the Result is of references %d, %v", d.result.Boot.References, err)
	}
	if strings.Contains(fmt.Sprint(d.result.Findings), "contradiction") {
		t.Error("a contradiction out of nothing")
	}
}
