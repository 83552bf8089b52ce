package evidence

import (
	"crypto/ecdsa"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/verify"
)

func (m *machine) encoded(r *verify.Result) string {
	m.t.Helper()
	return string(must[[]byte](m.t)(attest.Encode(r)))
}

// forge has somebody who holds no key change the Result of the last statement, and
// make the decision and its entry fit.
func (m *machine) forge(change func(*verify.Result)) {
	m.t.Helper()
	last := &m.file.Statements[len(m.file.Statements)-1]
	m.result = new(verify.Result)
	if err := attest.Decode([]byte(last.Result), m.result); err != nil {
		m.t.Fatal(err)
	}
	change(m.result)
	last.Result = m.encoded(m.result)
	m.decides(m.file.Decision.At)
}

// good makes everything that boot evidence says good.
func good(r *verify.Result) {
	measured := posture.Claim{State: posture.Yes, Source: posture.Measured, ObservedAt: r.QuotedAt}
	for _, c := range r.Boot.Claims.Each() {
		*c = measured
	}
	r.Boot.Claim, r.Boot.Baseline, r.Findings = measured, measured, nil
}

// beats has the machine make a heartbeat.
func (m *machine) beats(key *ecdsa.PrivateKey, base attest.Digest, quoted bool, at time.Time) {
	m.t.Helper()
	beat := attest.Heartbeat{Base: base, BootID: "boot-1", CollectedAt: at.Unix()}
	m.says(attest.TypHeartbeat, key, quoted, must[[]byte](m.t)(attest.Encode(beat)), at)
}

// wants compares standings, and that the words at the end claim no more.
func (v *Verdict) wants(t *testing.T, name string, standings map[string]standing) {
	t.Helper()
	for _, point := range slices.Sorted(maps.Keys(standings)) {
		if v.is(point) != standings[point] {
			t.Errorf("%s: %s is %v, not %v:\n%s", name, point, v.is(point), standings[point], v.lines())
		}
	}
	for point, words := range map[string]string{"result": "The claims follow", "decision": "The decision follows"} {
		if said := strings.Contains(strings.Join(v.Proves, " "), words); said != (v.is(point) == proved) {
			t.Errorf("%s: %q is said to be proved: %v, and %s is %v", name, words, said, point, v.is(point))
		}
	}
}

// What was measured is the server's word in a file without the quote, whatever the
// Result before says of it.
func TestNothingMeasuredIsProvedWithoutAQuote(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before func(*verify.Result) // what a forger makes of it
		drop   bool                 // it is not in the file
		holds  bool
	}{
		"no longer kept":            {func(*verify.Result) {}, false, false},
		"nor the Result before":     {func(*verify.Result) {}, true, false},
		"measured as good":          {good, false, false},
		"measured as good, dropped": {good, true, false},
		"nothing measured": {func(r *verify.Result) {
			*r = *verify.Rejudge(r, &verify.BootInput{Missing: verify.NotJudged})
		}, false, true},
	} {
		m := newMachine(t, "nosb-grub-linuxefi")
		m.enrols()
		at := began().Add(time.Minute)
		m.says(attest.TypReport, m.dkb, true, m.report(at), at)
		test.before(m.result)
		if !test.drop {
			m.file.Before = m.encoded(m.result)
		}
		at = at.Add(time.Minute)
		m.says(attest.TypReport, m.dkb, false, m.report(at), at)
		m.file.Statements, m.file.Log = m.file.Statements[1:], nil
		m.decides(at)
		v := m.verdict()
		v.wants(t, name, map[string]standing{"statement": proved, "quote": unproved, "result": word, "policy": proved, "decision": word})
		if v.Whole() != test.holds {
			t.Errorf("%s: it holds is %v:\n%s", name, v.Whole(), v.lines())
		}
	}
}

// A quote speaks for a later statement only by a boot key that is bound to its start,
// and certified.
func TestAQuoteOfAnotherStart(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "sb-shim-grub")
	m.enrols()
	at := began().Add(time.Minute)
	m.says(attest.TypReport, m.dkb, true, m.report(at), at)
	m.reset, m.dkb = m.reset+1, newKey(t) // what was measured into this start is left out
	m.file.Device.DKb = m.public(attest.DKb, m.dkb)
	at = at.Add(time.Minute)
	m.says(attest.TypReport, m.dkb, false, m.report(at), at)
	m.decides(at)
	m.verdict().wants(t, "a key that the server alone knows", map[string]standing{"statement": word, "quote": proved, "result": word, "decision": word})
}

// A heartbeat's claims are those of the report that it names, and not what the file
// has as the Result before.
func TestAHeartbeatHasItsReportsClaims(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		encrypted posture.State // the disk, in the Result before; the report does not know
		drop      bool          // the report is not in the file
		want      standing
	}{
		"as it was":           {posture.Unknown, false, proved},
		"other claims before": {posture.Yes, false, contradicted},
		"without its report":  {posture.Yes, true, unproved},
	} {
		m := newMachine(t, "sb-shim-grub")
		m.enrols()
		at := began().Add(time.Minute)
		m.says(attest.TypReport, m.dkb, true, m.report(at), at)
		m.result.Claims.DiskEncryption.State = test.encrypted
		m.file.Before = m.encoded(m.result)
		at = at.Add(time.Minute)
		m.beats(m.dkb, m.last, true, at)
		m.decides(at)
		if test.drop {
			m.file.Statements = m.file.Statements[1:]
		}
		v := m.verdict()
		v.wants(t, name, map[string]standing{"result": test.want, "statement": proved, "quote": proved})
		if (v.is("decision") == proved) != (test.want == proved) {
			t.Errorf("%s: the decision is %v:\n%s", name, v.is("decision"), v.lines())
		}
	}
}

// That a TPM's clock fell against a quote of before, only the Result tells.
func TestClockFellBefore(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "sb-shim-grub")
	m.enrols()
	at := began().Add(time.Hour)
	m.reset, m.clock = m.reset+1, 1<<40
	m.says(attest.TypReport, m.dk, true, m.report(at), at)
	m.file.Before = m.file.Statements[0].Result
	at = at.Add(time.Minute)
	m.reset, m.clock = m.reset+1, 1<<39
	m.says(attest.TypReport, m.dk, true, m.report(at), at)
	if !has(m.result, verify.FindingClockFell) {
		t.Fatal("the clock did not fall")
	}
	m.file.Statements = m.file.Statements[1:]
	m.decides(at)
	v := m.verdict()
	v.wants(t, "honest", map[string]standing{"statement": proved, "result": proved, "decision": proved})
	if !v.Whole() {
		t.Errorf("it does not hold:\n%s", v.lines())
	}
	m.forge(func(r *verify.Result) { r.Boot.ClockFell = false })
	m.verdict().wants(t, "half of it", map[string]standing{"result": contradicted})
}

// A Result that says more than the file is found out; where it differs in what the
// server remembered, it is the server's word.
func TestForgedResultIsNeverProved(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		forge func(*verify.Result)
		want  standing
	}{
		"another level": {func(r *verify.Result) { r.Device.Level = verify.TPMListed }, contradicted},
		"a lie that was found": {func(r *verify.Result) {
			r.Findings = slices.DeleteFunc(r.Findings, func(f verify.Finding) bool { return f.Code == verify.FindingContradiction })
		}, contradicted},
		"a system that went through a reset": {func(r *verify.Result) { r.Boot.Resumed = true }, word},
		"another way to start":               {func(r *verify.Result) { r.Boot.Baseline.State = posture.No }, word},
		"levels of revocations":              {func(r *verify.Result) { r.Boot.Levels.DBX = "another" }, word},
	} {
		m := newMachine(t, "nosb-grub-linuxefi") // its report says that Secure Boot is on
		m.enrols()
		at := began().Add(time.Minute)
		m.says(attest.TypReport, m.dkb, true, m.report(at), at)
		if !has(m.result, verify.FindingContradiction) {
			t.Fatal("no lie was found")
		}
		m.decides(at)
		m.verdict().wants(t, "honest", map[string]standing{"result": proved, "decision": proved})
		m.forge(test.forge)
		v := m.verdict()
		v.wants(t, name, map[string]standing{"result": test.want})
		if v.is("decision") == proved {
			t.Errorf("%s: the decision is proved:\n%s", name, v.lines())
		}
	}
}
