package server

import (
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/enroll"
	"muster/server/reference"
	"muster/server/store"
	"muster/server/verify"
)

// approves is an administrator's word on a laptop that waits.
func (f *drifting) approves(id string) error {
	f.t.Helper()
	d := f.s.fleet.get(id)
	a := Approval{Code: attest.CompareCode(d.row.ID, d.row.Keys.DKID)}
	return f.s.byPerson(f.t.Context(), "person:carol", id, a.apply("person:carol", f.s.now()), "device.approve", a)
}

// copied adds a laptop that waits in the place of another.
func (f *drifting) copied(of string) string {
	f.t.Helper()
	return f.laptop(func(row *store.Device) {
		row.State, row.Cause, row.CauseText, row.Predecessor = attest.Pending, causeDiskMoved, "its disk was moved, or copied", of
	})
}

// revokes ends a laptop.
func (f *drifting) revokes(id string) {
	f.t.Helper()
	f.s.mustUpdate(f.t, func(tx *store.Tx) error { _, err := tx.RevokeDevice(id, "administrator", "stolen"); return err })
}

// standsAs checks the stored state of a laptop and its cause.
func (f *drifting) standsAs(id string, state attest.DeviceState, cause string) {
	f.t.Helper()
	if err := f.s.store.View(f.t.Context(), func(tx *store.Tx) error {
		row, err := tx.Device(id)
		if err == nil && (row.State != state || row.Cause != cause) {
			f.t.Errorf("%s is %v (%s), want %v (%s)", id, row.State, row.Cause, state, cause)
		}
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
}

// readmits is its owner's word on a laptop that waits.
func (f *drifting) readmits(id string) error {
	f.t.Helper()
	d := f.s.fleet.get(id)
	return f.s.readmitDevice(f.t.Context(), id, attest.CompareCode(d.row.ID, d.row.Keys.DKID), "person:alice")
}

// elsewhere enrols another TPM with the state of a laptop; none when it may not wait
// in that one's place.
func (f *drifting) elsewhere(of string) (id string, err error) {
	f.t.Helper()
	e := &enroll.Enrolled{Session: &enroll.Session{Origin: enroll.Origin{Previous: of}}, Candidate: &enroll.Candidate{Kind: attest.KindTPM}}
	row := new(store.Device)
	ok := false
	if err := f.s.store.Update(f.t.Context(), func(tx *store.Tx) (err error) {
		ok, err = f.s.succeed(tx, row, e, new(attest.EnrolBegin))
		return err
	}); err != nil || !ok {
		return "", err
	}
	return f.laptop(func(d *store.Device) {
		d.State, d.Cause, d.CauseText, d.Predecessor = row.State, row.Cause, row.CauseText, row.Predecessor
		d.Class, d.Group, d.Owner = row.Class, row.Group, row.Owner
	}), nil
}

// again has a laptop enrol once more.
func (f *drifting) again(id string) {
	f.t.Helper()
	f.s.mustUpdate(f.t, func(tx *store.Tx) error {
		row, err := tx.Device(id)
		if err != nil {
			return err
		}
		comeAgain(row, new(enroll.Candidate))
		return tx.UpdateDevice(row)
	})
}

// A copy waits; the laptop is revoked; then nobody lets the copy in: not who approves
// it, and not its owner.
func TestSuccessorOfRevoked(t *testing.T) {
	t.Parallel()
	f := newDrifting(t, nil)
	old := f.laptop(nil)
	copied := f.copied(old)
	f.revokes(old)
	if err := f.approves(copied); codeOfErr(err) != attest.CodeRevoked {
		t.Errorf("approved: %v", err)
	}
	d := f.s.fleet.get(copied)
	code := attest.CompareCode(d.row.ID, d.row.Keys.DKID)
	if err := f.s.readmitDevice(t.Context(), copied, code, "person:alice"); codeOfErr(err) != attest.CodeRevoked {
		t.Errorf("readmitted: %v", err)
	}
	if _, err := f.s.approve(t.Context(), localActor, copied, Approval{Code: code}); codeOfErr(err) != attest.CodeRevoked {
		t.Errorf("approved over the control socket: %v", err)
	}
	f.standsAs(copied, attest.Pending, causeDiskMoved)
}

// The one that takes a place ends the other when it is admitted, and at no later
// change; the other is admitted again when the one that took its place ended.
func TestReplacedOnce(t *testing.T) {
	t.Parallel()
	f := newDrifting(t, nil)
	old := f.laptop(nil)
	next := f.copied(old)
	if err := f.approves(next); err != nil {
		t.Fatal(err)
	}
	f.standsAs(next, attest.Active, "")
	f.standsAs(old, attest.Pending, causeReplaced)
	if err := f.s.ownDevice(t.Context(), next, "mallory"); err != nil {
		t.Fatal(err)
	}
	if err := f.approves(next); err != nil {
		t.Fatal(err)
	}
	if n := f.audited("device.replaced", old); n != 1 {
		t.Errorf("replaced %d times", n)
	}
	f.revokes(next)
	if err := f.approves(old); err != nil {
		t.Errorf("after the other was revoked: %v", err)
	}
}

// One place is taken once: another copy is admitted when the first is revoked.
func TestPlaceIsTakenOnce(t *testing.T) {
	t.Parallel()
	f := newDrifting(t, nil)
	old := f.laptop(nil)
	first, second := f.copied(old), f.copied(old)
	if err := f.approves(first); err != nil {
		t.Fatal(err)
	}
	if err := f.approves(second); codeOfErr(err) != "place-taken" {
		t.Errorf("a second copy is admitted: %v", err)
	}
	f.standsAs(first, attest.Active, "")
	f.standsAs(second, attest.Pending, causeDiskMoved)
	f.revokes(first)
	if err := f.approves(second); err != nil {
		t.Errorf("after the first was revoked: %v", err)
	}
}

// A copy's state is taken to a third TPM. The laptop is revoked: no more of them
// enrols, and none that waits is let in.
func TestCopyOfCopyOfRevoked(t *testing.T) {
	t.Parallel()
	f := newDrifting(t, nil)
	old := f.laptop(func(row *store.Device) { row.Owner = "alice" })
	first := f.copied(old)
	second, err := f.elsewhere(first)
	if err != nil || second == "" {
		t.Fatal(second, err)
	}
	f.revokes(old)
	for _, of := range []string{old, first, second} {
		if id, err := f.elsewhere(of); err != store.ErrRevoked {
			t.Errorf("%s enrols with the state of %s: %v", id, of, err)
		}
	}
	if err := f.approves(second); codeOfErr(err) != attest.CodeRevoked {
		t.Errorf("approved: %v", err)
	}
	if err := f.readmits(second); codeOfErr(err) != attest.CodeRevoked {
		t.Errorf("readmitted: %v", err)
	}
	f.standsAs(second, attest.Pending, causeDiskMoved)
}

// A copy of a copy takes the place of the laptop, also where the copy was admitted and
// took it before.
func TestCopyOfCopyTakesThePlace(t *testing.T) {
	t.Parallel()
	for _, between := range []bool{false, true} {
		f := newDrifting(t, nil)
		old := f.laptop(nil)
		first := f.copied(old)
		second, err := f.elsewhere(first)
		if err != nil || second == "" {
			t.Fatal(second, err)
		}
		beside := f.copied(old)
		if between {
			if err := f.approves(first); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.approves(second); err != nil {
			t.Fatal(err)
		}
		f.standsAs(old, attest.Pending, causeReplaced)
		f.standsAs(first, attest.Pending, causeReplaced)
		f.standsAs(second, attest.Active, "")
		if n := f.audited("device.replaced", old); n != 1 {
			t.Errorf("the laptop was replaced %d times", n)
		}
		if err := f.approves(beside); codeOfErr(err) != "place-taken" {
			t.Errorf("%s is approved, too: %v", beside, err)
		}
		// An administrator gives the place back to one that had it.
		for _, id := range []string{first, old} {
			if err := f.approves(id); err != nil {
				t.Errorf("%s is not approved: %v", id, err)
			}
			f.standsAs(second, attest.Pending, causeReplaced)
			for _, other := range []string{first, old} {
				if other == id {
					f.standsAs(id, attest.Active, "")
				} else {
					f.standsAs(other, attest.Pending, causeReplaced)
				}
			}
		}
	}
}

// A copy of a copy asks for what the laptop is now, is counted with the copy, and is
// told by the laptop's labels.
func TestCopyOfCopyAsksForThePlace(t *testing.T) {
	t.Parallel()
	f := newDrifting(t, nil)
	old := f.laptop(func(row *store.Device) { row.Serial = "S1" })
	first := f.copied(old)
	f.s.mustUpdate(t, func(tx *store.Tx) error {
		row, err := tx.Device(first)
		if err == nil {
			row.Serial, row.Class = "S2", verify.ClassCorporate
			err = tx.UpdateDevice(row)
		}
		return err
	})
	f.s.mustUpdate(t, func(tx *store.Tx) error {
		row, err := tx.Device(old)
		if err == nil {
			row.Class, row.Group, row.Owner = verify.ClassBYOD, "g", "alice"
			err = tx.UpdateDevice(row)
		}
		return err
	})
	refused, serial := false, new(attest.EnrolBegin)
	serial.Serial = "S2"
	f.s.mustUpdate(t, func(tx *store.Tx) error {
		for i := range againBurst + 2 {
			of := []string{old, first}[i%2]
			row, e := new(store.Device), &enroll.Enrolled{Session: &enroll.Session{Origin: enroll.Origin{Previous: of}}, Candidate: &enroll.Candidate{Kind: attest.KindTPM}}
			ok, err := f.s.succeed(tx, row, e, serial)
			if refused = refused || err != nil; refused {
				continue
			}
			if !ok || row.Predecessor != of || row.Class != verify.ClassBYOD || row.Group != "g" || row.Owner != "alice" || row.Cause != causeDiskMoved {
				t.Errorf("with the state of %s: %v, after %q, %s, %q, %q, %s", of, ok, row.Predecessor, row.Class, row.Group, row.Owner, row.Cause)
			}
		}
		return nil
	})
	if !refused {
		t.Error("copies of copies enrol without end")
	}
	if err := f.approves(first); err != nil {
		t.Fatal(err)
	}
	if id, err := f.elsewhere(first); err != nil || id == "" {
		t.Errorf("what was admitted is counted with the one before: %v", err)
	}
}

// An owner has a copy readmitted, and not the laptop too, however often that enrols.
func TestTwoInOnePlace(t *testing.T) {
	t.Parallel()
	f := newDrifting(t, nil)
	old := f.laptop(func(row *store.Device) { row.Owner = "alice" })
	copied := f.copied(old)
	if err := f.readmits(copied); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		f.again(old)
		f.standsAs(old, attest.Pending, causeReplaced)
		if err := f.readmits(old); codeOfErr(err) != "not-waiting" {
			t.Errorf("readmitted: %v", err)
		}
	}
	// One that shook it off before waits for another reason.
	f.s.mustUpdate(t, func(tx *store.Tx) error {
		row, err := tx.Device(old)
		if err == nil {
			row.Cause = causeReanchor
			err = tx.UpdateDevice(row)
		}
		return err
	})
	f.s.current(old)
	if err := f.readmits(old); codeOfErr(err) != "place-taken" {
		t.Errorf("readmitted: %v", err)
	}
	f.revokes(copied)
	if err := f.readmits(old); err != nil {
		t.Errorf("after the copy was revoked: %v", err)
	}
}

// What does not end, or is longer than any laptop's, admits nobody.
func TestLineWithoutEnd(t *testing.T) {
	t.Parallel()
	f := newDrifting(t, nil)
	a := f.laptop(nil)
	b := f.copied(a)
	c := f.copied(b)
	f.s.mustUpdate(t, func(tx *store.Tx) error {
		row, err := tx.Device(a)
		if err == nil {
			row.State, row.Predecessor = attest.Pending, b
			err = tx.UpdateDevice(row)
		}
		return err
	})
	f.s.current(a)
	for _, id := range []string{a, b, c} {
		if err := f.approves(id); err == nil {
			t.Errorf("%s of a circle is admitted", id)
		}
		if _, err := f.elsewhere(id); err == nil {
			t.Errorf("%s of a circle is succeeded", id)
		}
	}
	last := f.laptop(nil)
	for range maxLine {
		last = f.copied(last)
	}
	if err := f.approves(last); err != nil {
		t.Errorf("the longest line: %v", err)
	}
	if err := f.approves(f.copied(last)); err == nil {
		t.Error("a line without bound")
	}
	f.s.mustUpdate(t, func(tx *store.Tx) error {
		if list, err := line(tx, "nobody"); err == nil {
			t.Errorf("who is not stored is %v", list)
		}
		return nil
	})
}

// What waits, waits on for the same when it enrols again; only a laptop that was
// admitted, and not replaced, is one that was installed anew.
func TestComeAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		row  store.Device
		want string
	}{
		"a copy":            {store.Device{State: attest.Pending, Cause: causeDiskMoved, Predecessor: "x"}, causeDiskMoved},
		"another TPM":       {store.Device{State: attest.Pending, Cause: causeTPMChanged, Predecessor: "x"}, causeTPMChanged},
		"no TPM":            {store.Device{State: attest.Pending, Cause: causeTPMGone, Predecessor: "x"}, causeTPMGone},
		"replaced":          {store.Device{State: attest.Pending, Cause: causeReplaced}, causeReplaced},
		"replaced itself":   {store.Device{State: attest.Pending, Cause: causeReplaced, Predecessor: "x"}, causeReplaced},
		"admitted since":    {store.Device{State: attest.Active, Predecessor: "x"}, causeReanchor},
		"never a successor": {store.Device{State: attest.Pending, Cause: causeEKChanged}, causeReanchor},
		"never admitted":    {store.Device{State: attest.Pending, Cause: causeNoToken}, causeNoToken},
	} {
		c.row.CauseText = c.want
		comeAgain(&c.row, new(enroll.Candidate))
		if c.row.State != attest.Pending || c.row.Cause != c.want || c.want != causeReanchor && c.row.CauseText != c.want {
			t.Errorf("%s: %v, cause %s: %s", name, c.row.State, c.row.Cause, c.row.CauseText)
		}
	}
}

// A copy that enrols without end does not use up what the laptop itself may ask.
func TestCopyHasItsOwnRate(t *testing.T) {
	t.Parallel()
	f := newDrifting(t, nil)
	old := f.laptop(nil)
	e := &enroll.Enrolled{Session: &enroll.Session{Origin: enroll.Origin{Previous: old}}, Candidate: new(enroll.Candidate)}
	refused := false
	f.s.mustUpdate(t, func(tx *store.Tx) error {
		for range 2 * againBurst {
			_, err := f.s.succeed(tx, new(store.Device), e, new(attest.EnrolBegin))
			refused = refused || err != nil
		}
		return nil
	})
	if !refused {
		t.Error("a copy enrols without end")
	}
	if !f.s.againRate.allow(old) {
		t.Error("the laptop itself may not enrol any more")
	}
}

// weakTPMs are references by which a maker's TPMs can be made to sign anything.
func weakTPMs(t *testing.T, a realStart) *reference.Boot {
	refs := accepting(t, a)
	refs.TPMs = []reference.WeakTPM{{Manufacturer: "STM", CVE: "CVE-2019-16863", Text: "x", Cap: "tpm-unverified"}}
	return refs
}

// A weak TPM counts for what is left of it wherever its level is told or decides,
// whoever vouched for it, and also after it was read again.
func TestWeakTPMCounts(t *testing.T) {
	t.Parallel()
	a := startOf(t, "sb-shim-grub")
	certificate := ekCertificate(t, "id:53544D20", "ST33HTPHAHC0", "id:00010102")
	for name, c := range map[string]struct {
		level, want verify.Level
		change      func(row *store.Device)
	}{
		"by its own word":              {verify.TPMHardware, verify.TPMUnverified, func(row *store.Device) { row.TPM.Manufacturer = "STM" }},
		"by its certificate":           {verify.TPMHardware, verify.TPMUnverified, func(row *store.Device) { row.Keys.EKCertificate = certificate }},
		"listed, by its certificate":   {verify.TPMListed, verify.TPMUnverified, func(row *store.Device) { row.Keys.EKCertificate = certificate }},
		"the certificate before words": {verify.TPMListed, verify.TPMUnverified, func(row *store.Device) { row.Keys.EKCertificate, row.TPM.Manufacturer = certificate, "IFX" }},
		"of another maker":             {verify.TPMListed, verify.TPMListed, func(row *store.Device) { row.TPM.Manufacturer = "IFX" }},
		"of less already":              {verify.Software, verify.Software, func(row *store.Device) { row.TPM.Manufacturer = "STM" }},
	} {
		f := newDrifting(t, weakTPMs(t, a))
		id := f.laptop(func(row *store.Device) { row.Level = c.level; c.change(row) })
		f.starts(id, a, "M")
		d := f.s.fleet.get(id)
		for _, read := range []string{"fresh", "read again"} {
			told, err := f.s.status(nil, d, nil)
			if err != nil {
				t.Fatal(err)
			}
			laptop, _ := f.s.sessionDevice(id)
			for where, got := range map[string]string{
				"policies": f.s.registered(d).Device.Level.String(), "sessions and recovery": laptop.Level,
				"the laptop": told.(*attest.Status).Level, "administrators": f.s.view(d, false).Level.String(),
			} {
				if got != c.want.String() {
					t.Errorf("%s, %s: %s count it as %s, want %s", name, read, where, got, c.want)
				}
			}
			if err := f.s.reread(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A token's demand is not met by a TPM that is known to be weak.
func TestWeakTPMAndTokens(t *testing.T) {
	t.Parallel()
	a := startOf(t, "sb-shim-grub")
	f := newDrifting(t, weakTPMs(t, a))
	for name, c := range map[string]struct {
		maker    string
		measured *attest.Measured
		level    verify.Level
		want     verify.Level
	}{
		"weak":         {"STM", new(attest.Measured), verify.TPMHardware, verify.TPMUnverified},
		"less already": {"STM", new(attest.Measured), verify.Software, verify.Software},
		"another":      {"IFX", new(attest.Measured), verify.TPMHardware, verify.TPMHardware},
		"no TPM":       {"STM", nil, verify.Software, verify.Software},
	} {
		begin := &attest.EnrolBegin{Identity: attest.Identity{TPM: attest.TPMInfo{Manufacturer: c.maker}}}
		e := &enroll.Enrolled{Candidate: &enroll.Candidate{Level: c.level}, Evidence: &attest.Evidence{Measured: c.measured}}
		if got := f.s.counts(e, begin); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		e.Session = new(enroll.Session)
		row := new(store.Device)
		f.s.mustUpdate(t, func(tx *store.Tx) (err error) {
			token := &store.Token{ID: name, MinLevel: verify.TPMHardware, UsesLeft: 1, Expires: tx.Now().Add(time.Hour), Class: verify.ClassCorporate}
			if begin.Token, err = tx.AddToken(token); err != nil {
				return err
			}
			return f.s.admission(tx, row, e, begin, "192.0.2.7")
		})
		if admitted := row.State == attest.Active; admitted != (c.want == verify.TPMHardware) {
			t.Errorf("%s: %v (%s: %s)", name, row.State, row.Cause, row.CauseText)
		}
	}
}

// What the fleet would approve is not approved while a device is read again, because
// nobody writes it then; its next quote does both.
func TestReadingAsksNoFleet(t *testing.T) {
	t.Parallel()
	a, b := startOf(t, "sb-shim-grub"), startOf(t, "d13-sb-shim-grub")
	refs := accepting(t, a, b)
	f := newDrifting(t, refs)
	for range approvedByFleet {
		id := f.laptop(nil)
		f.starts(id, a, "M")
		f.clock.advance(time.Minute)
		r := f.starts(id, b, "M")
		if err := f.s.decideBaseline(t.Context(), "administrator", id, r.Boot.SetKey, true); err != nil {
			t.Fatal(err)
		}
	}
	id := f.laptop(nil)
	f.starts(id, a, "M")
	f.clock.advance(time.Minute)
	if r := f.starts(id, b, "M"); r.Boot.Baseline.State != posture.No {
		t.Fatalf("approved at once: %v", r.Boot.Baseline)
	}
	f.clock.advance(approvedFor + time.Hour)
	other := *refs
	other.Number++
	f.s.bootRefs.Store(&other) // so that what is stored is judged again
	d := f.s.fleet.get(id)
	if err := f.s.reread(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if got := d.result.Boot; got.References != other.Number || got.Baseline.State == posture.Yes || f.audited("device.boot-approved", id) != 0 {
		t.Errorf("read again: %v by references %d, %d approvals kept", got.Baseline, got.References, f.audited("device.boot-approved", id))
	}
	if r := f.starts(id, b, "M"); r.Boot.Baseline.State != posture.Yes || f.audited("device.boot-approved", id) != 1 {
		t.Errorf("its next quote: %v, %d approvals kept", r.Boot.Baseline, f.audited("device.boot-approved", id))
	}
}

// A device that enrolled anew is asked for the log of its new quote.
func TestLogAfterEnrollingAnew(t *testing.T) {
	t.Parallel()
	a := startOf(t, "sb-shim-grub")
	f := newDrifting(t, accepting(t, a))
	id := f.laptop(nil)
	f.starts(id, a, "M")
	d := f.s.fleet.get(id)
	if owed, err := f.s.missingLog(t.Context(), d, d.hot.Log); err != nil || !owed.IsZero() {
		t.Fatalf("the log that is kept is asked for: %v, %v", owed, err)
	}
	row, hot := d.row, d.hot
	hot.Log = attest.Digest{42}
	fresh, err := f.s.newDevice(&row)
	if err != nil {
		t.Fatal(err)
	}
	fresh.hot, fresh.result = hot, d.result
	f.s.seat(fresh)
	if owed, err := f.s.missingLog(t.Context(), d, hot.Log); err != nil || owed != hot.Log {
		t.Errorf("the new log is not asked for: %v, %v", owed, err)
	}
}

// A link proof with a quote of a start that nobody judged is refused, whatever the
// quote proves.
func TestLinkByUnjudgedQuote(t *testing.T) {
	t.Parallel()
	a, off := startOf(t, "sb-shim-grub"), startOf(t, "nosb-grub-linuxefi")
	f := newDrifting(t, accepting(t, a))
	id := f.laptop(nil)
	f.starts(id, a, "M")
	d := f.s.fleet.get(id)
	d.row.Keys.Kind, d.hot.Clock = attest.KindTPM, &attest.Clock{ResetCount: 7}
	with := func(i uint8, change func(attest.PCRs, uint8)) attest.PCRs {
		pcrs := make(attest.PCRs)
		for n, v := range a.pcrs {
			pcrs[n] = v
		}
		change(pcrs, i)
		return pcrs
	}
	moved := func(pcrs attest.PCRs, i uint8) { pcrs[i] = attest.Digest{1} }
	gone := func(pcrs attest.PCRs, i uint8) { delete(pcrs, i) }
	type test struct {
		ev   attest.Evidence
		code attest.Code
	}
	quote := func(starts uint32, pcrs attest.PCRs, code attest.Code) test {
		return test{attest.Evidence{Signer: attest.DK, Measured: &attest.Measured{PCRs: pcrs, Clock: attest.Clock{ResetCount: starts}}}, code}
	}
	tests := map[string]test{
		"the judged start":      quote(7, a.pcrs, ""),
		"what programs extend":  quote(7, with(10, moved), ""),
		"a resume":              quote(7, a.pcrs, ""),
		"started anew, as ever": quote(8, a.pcrs, attest.QuoteNeeded),
		"another start":         quote(8, off.pcrs, attest.QuoteNeeded),
		"without registers":     quote(7, nil, attest.QuoteNeeded),
		"an older start":        quote(6, a.pcrs, attest.QuoteNeeded),
	}
	resumed := tests["a resume"]
	resumed.ev.Measured.Clock.RestartCount = 3
	for i, name := range map[uint8]string{0: "firmware", 2: "option ROMs", 4: "boot programs", 7: "Secure Boot"} {
		tests["other "+name] = quote(7, with(i, moved), attest.QuoteNeeded)
		tests["no "+name] = quote(7, with(i, gone), attest.QuoteNeeded)
	}
	fell := quote(8, a.pcrs, attest.ClockBack)
	fell.ev.ClockFell = true
	tests["a clock that fell"] = fell
	for name, c := range tests {
		err := d.quotedFor(&c.ev, f.s.now())
		if got, _ := err.(*attest.Error); (got == nil) != (c.code == "") || got != nil && got.Code != c.code {
			t.Errorf("%s: %v, want %q", name, err, c.code)
		}
	}
}
