package evidence

import (
	"bytes"
	"crypto/sha256"
	"os"
	"strings"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/enroll"
	"muster/server/reference"
	"muster/server/verify"
)

// lines are the checks of a verdict, for a failed test.
func (v *Verdict) lines() string {
	var b strings.Builder
	_ = v.Text(&b) // to memory
	return b.String()
}

func TestHonestEvidenceHolds(t *testing.T) {
	v := honest(t).verdict()
	if !v.Whole() || !v.Holds {
		t.Errorf("the evidence does not hold:\n%s", v.lines())
	}
	for _, point := range []string{
		"audit-entry", "registered-keys", "key-templates", "level", "certified-dk", "certified-dkb", "enrolment-statement",
		"statement", "quote", "decision-statement", "boot-log", "references", "result", "policy", "decision",
	} {
		if v.is(point) != proved {
			t.Errorf("%s is %v:\n%s", point, v.is(point), v.lines())
		}
	}
	for _, point := range []string{"activation", "freshness", "time", "audit-head"} {
		if v.is(point) != word {
			t.Errorf("%s is %v, which only the server can say", point, v.is(point))
		}
	}
}

// rewrite has a forger who holds every byte but no key make the file consistent
// again after a change of statement i: its Result is judged anew from what the file
// has, and the decision and its entry follow.
func (m *machine) rewrite(i int, change func(*Statement, *attest.Quote)) {
	m.t.Helper()
	s := &m.file.Statements[i]
	quote := new(attest.Quote)
	if err := attest.Decode([]byte(s.Quote), quote); err != nil {
		m.t.Fatal(err)
	}
	change(s, quote)
	s.Quote = string(must[[]byte](m.t)(attest.Encode(quote)))
	result := new(verify.Result)
	if err := attest.Decode([]byte(s.Result), result); err != nil {
		m.t.Fatal(err)
	}
	in := verify.BootInput{References: m.refs, Manufacturer: "TEST"}
	in.Account, in.Missing = verify.ReadLog(m.file.Log, quote.PCRs, nil)
	result.Boot.LogSHA256, result.Boot.PCRs, result.Boot.PCR7 = quote.LogSHA256, quote.PCRs, quote.PCRs[7]
	m.result = verify.Rejudge(result, &in)
	s.Result = string(must[[]byte](m.t)(attest.Encode(m.result)))
	m.decides(m.file.Decision.At)
}

// A log that a forger changed, with everything unsigned made to fit, never shows more
// than the TPM's values confirm.
func TestForgedLogShowsNoMore(t *testing.T) {
	t.Parallel()
	m := honest(t)
	log, good := m.file.Log, m.result.Boot.Claims
	for at := 0; at < len(log); at += 211 {
		forged := bytes.Clone(log)
		forged[at] ^= 1 << (at % 8)
		m.file.Log = forged
		m.rewrite(0, func(_ *Statement, q *attest.Quote) { q.LogSHA256 = sha256.Sum256(forged) })
		v := m.verdict()
		if v.is("boot-log") != proved {
			continue
		}
		claims := map[string]posture.State{}
		for name, c := range m.result.Boot.Claims.Each() {
			claims[name] = c.State
		}
		for name, c := range good.Each() {
			if better(claims[name], c.State) {
				t.Errorf("byte %d: the log is proved, and %s became %v from %v", at, name, claims[name], c.State)
			}
		}
	}
	m.file.Log = nil
	if v := m.verdict(); v.is("boot-log") == proved || v.is("result") == proved {
		t.Errorf("without a log:\n%s", v.lines())
	}
}

// No byte of a quote and no value beside it may be another, whatever else is made to
// fit.
func TestForgedQuoteIsNeverProved(t *testing.T) {
	t.Parallel()
	m := honest(t)
	whole := *m.file
	var statement = m.file.Statements[0]
	forge := func(what string, change func(*attest.Quote)) {
		t.Helper()
		f := whole
		f.Statements = []Statement{statement}
		m.file = &f
		m.rewrite(0, func(_ *Statement, q *attest.Quote) { change(q) })
		if v := m.verdict(); v.is("quote") == proved || v.Whole() {
			t.Errorf("%s: the quote is %v:\n%s", what, v.is("quote"), v.lines())
		}
	}
	quote := new(attest.Quote)
	if err := attest.Decode([]byte(statement.Quote), quote); err != nil {
		t.Fatal(err)
	}
	for at := range quote.Attest {
		forge("attest", func(q *attest.Quote) { q.Attest[at] ^= 1 })
	}
	for at := 0; at < len(quote.Signature); at += 5 {
		forge("signature", func(q *attest.Quote) { q.Signature[at] ^= 1 })
	}
	for _, i := range attest.Selection() {
		forge("value", func(q *attest.Quote) {
			v := q.PCRs[i]
			v[0] ^= 1
			q.PCRs[i] = v
		})
		forge("left out", func(q *attest.Quote) { delete(q.PCRs, i) })
	}
	forge("PCR 10 added", func(q *attest.Quote) { q.PCRs[10] = attest.Digest{} })
	forge("7 and 4 swapped", func(q *attest.Quote) { q.PCRs[4], q.PCRs[7] = q.PCRs[7], q.PCRs[4] })
	forge("of another statement", func(q *attest.Quote) {
		other := m.quote([]byte("another input"))
		q.Attestation = other.Attestation
	})
	forge("a certify", func(q *attest.Quote) {
		q.Attestation = *m.certify(attest.DK, m.public(attest.DK, m.dk), attest.Digest{1})
	})
}

// Parts of two honest files do not fit together.
func TestPartsOfTwoFiles(t *testing.T) {
	t.Parallel()
	b := honest(t)
	for name, mix := range map[string]func(f *File){
		"enrolment":        func(f *File) { f.Enrolment = b.file.Enrolment },
		"first message":    func(f *File) { f.Enrolment.Begin = b.file.Enrolment.Begin },
		"second message":   func(f *File) { f.Enrolment.Finish = b.file.Enrolment.Finish },
		"session":          func(f *File) { f.Enrolment.Session = b.file.Enrolment.Session },
		"device":           func(f *File) { f.Device = b.file.Device },
		"AK":               func(f *File) { f.Device.AK = b.file.Device.AK },
		"DK":               func(f *File) { f.Device.DK = b.file.Device.DK },
		"statement":        func(f *File) { f.Statements = b.file.Statements },
		"report":           func(f *File) { f.Statements[0].JWS = b.file.Statements[0].JWS },
		"quote":            func(f *File) { f.Statements[0].Quote = b.file.Statements[0].Quote },
		"decision":         func(f *File) { f.Decision = b.file.Decision },
		"detail":           func(f *File) { f.Decision.Detail = b.file.Decision.Detail },
		"tenant":           func(f *File) { f.Tenant = "another" },
		"origin":           func(f *File) { f.Origin = "https://another.example" },
		"all but the keys": func(f *File) { d := f.Device; *f = *b.file; f.Device = d },
	} {
		m := honest(t)
		mix(m.file)
		if v := m.verdict(); v.Whole() {
			t.Errorf("with another's %s it holds:\n%s", name, v.lines())
		}
	}
	m := honest(t)
	m.roots = b.roots
	if v := m.verdict(); v.Whole() || v.is("level") != unproved {
		t.Errorf("by another's roots:\n%s", v.lines())
	}
}

// What a server says too much of is found out; what it says no more of is not called
// a contradiction.
func TestLevelIsTheRoots(t *testing.T) {
	t.Parallel()
	m := honest(t)
	file := must[[]byte](t)(m.file.Encode())
	for name, test := range map[string]struct {
		hardware, virtual map[string][]byte
		want              standing
		holds             bool
	}{
		"right roots":       {m.roots, nil, proved, true},
		"no roots":          {nil, nil, unproved, false},
		"virtual roots":     {nil, m.roots, contradicted, false},
		"somebody's":        {honest(t).roots, nil, unproved, false},
		"both, right first": {m.roots, m.roots, proved, true},
	} {
		v := must[*Verdict](t)(Verify(file, test.hardware, test.virtual))
		if v.is("level") != test.want || v.Whole() != test.holds {
			t.Errorf("%s: level is %v, holds is %v:\n%s", name, v.is("level"), v.Whole(), v.lines())
		}
	}
	for name, change := range map[string]func(*enroll.Session, *File){
		"no certificate, and hardware": func(_ *enroll.Session, f *File) {
			f.Enrolment.Begin = strings.Replace(f.Enrolment.Begin, `"certificate":`, `"token_was":`, 1)
		},
		"listed": func(s *enroll.Session, f *File) { s.Level = verify.TPMListed; f.Device.Level = verify.TPMListed },
		"lower": func(s *enroll.Session, f *File) {
			s.Level = verify.TPMUnverified
			f.Device.Level = verify.TPMUnverified
		},
	} {
		m := honest(t)
		change(&m.session, m.file)
		m.file.Enrolment.Session = string(must[[]byte](t)(attest.Encode(m.session)))
		v := m.verdict()
		if holds := name != "no certificate, and hardware"; (v.is("level") != contradicted) != holds && v.is("enrolment") != contradicted {
			t.Errorf("%s: level is %v:\n%s", name, v.is("level"), v.lines())
		}
	}
	if _, err := Verify(file, map[string][]byte{"roots.pem": []byte("no PEM")}, nil); err == nil {
		t.Error("roots that are none were taken")
	}
}

// An EK on a deny list, the auditor's or the server's, is shown to be of no TPM,
// whoever vouches for it.
func TestDeniedEKShowsNoLevel(t *testing.T) {
	t.Parallel()
	m := honest(t)
	pack := reference.NextEKPack(nil, 0, began())
	pack.Deny(m.file.Device.EKSHA256)
	denying := must[*reference.EKRoots](t)(pack.Roots(must[*reference.EKRoots](t)(rootsOf(m.roots, nil))))
	v := must[*Verdict](t)(m.file.verify(denying, true))
	if v.is("level") != unproved || v.Whole() || !strings.Contains(v.lines(), "ek-denied") {
		t.Errorf("denied by the auditor, level is %v:\n%s", v.is("level"), v.lines())
	}
	m.session.Level, m.session.Cause, m.file.Device.Level = verify.TPMUnverified, enroll.CauseDenied, verify.TPMUnverified
	m.file.Enrolment.Session = string(must[[]byte](t)(attest.Encode(m.session)))
	if v := m.verdict(); v.is("level") != unproved || !strings.Contains(v.lines(), "deny list") {
		t.Errorf("denied by the server, level is %v:\n%s", v.is("level"), v.lines())
	}
	v = must[*Verdict](t)(m.file.verify(denying, true))
	if v.is("level") != unproved || !strings.Contains(v.lines(), "deny list") {
		t.Errorf("denied by both, level is %v:\n%s", v.is("level"), v.lines())
	}
	m.session.Cause = enroll.CauseNone
	m.file.Enrolment.Session = string(must[[]byte](t)(attest.Encode(m.session)))
	if v := m.verdict(); v.is("level") != proved {
		t.Errorf("denied by nobody, level is %v:\n%s", v.is("level"), v.lines())
	}
}

// A heartbeat rests on a quote and a report before it; a log may come late.
func TestDecisionOfAHeartbeat(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "d13-sb-shim-grub")
	m.enrols()
	at := began().Add(time.Minute)
	m.says(attest.TypReport, m.dkb, true, m.report(at), at)
	before := m.file.Statements[0]
	late := new(verify.Result)
	if err := attest.Decode([]byte(before.Result), late); err != nil {
		t.Fatal(err)
	}
	// As it was stored before the log came.
	late = verify.Rejudge(late, &verify.BootInput{References: m.refs, Manufacturer: "TEST", Missing: verify.NotJudged})
	late.Boot.Standing = "" // nothing was compared yet
	m.file.Statements[0].Result = string(must[[]byte](t)(attest.Encode(late)))
	beat := must[[]byte](t)(attest.Encode(attest.Heartbeat{Base: m.last, BootID: "boot-1", CollectedAt: at.Unix() + 60}))
	m.says(attest.TypHeartbeat, m.dkb, false, beat, at.Add(time.Minute))
	m.decides(at.Add(time.Minute))
	v := m.verdict()
	if !v.Whole() || v.is("result") != proved || v.is("decision") != proved || v.is("statement") != proved {
		t.Errorf("it does not hold:\n%s", v.lines())
	}
	m.file.Statements = m.file.Statements[1:]
	if v := m.verdict(); v.is("result") == proved || v.is("quote") == proved {
		t.Errorf("without the quote it rests on:\n%s", v.lines())
	}
}

// What the server no longer has costs what it could have shown, and contradicts
// nothing.
func TestWhatIsGone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lose   func(*File)
		points []string
	}{
		"enrolment":  {func(f *File) { f.Enrolment = enrolment{} }, []string{"enrolment", "level", "certified-dk"}},
		"log":        {func(f *File) { f.Log = nil }, []string{"boot-log", "result"}},
		"references": {func(f *File) { f.References = references{} }, []string{"references", "result"}},
		"policy":     {func(f *File) { f.Policy = "" }, []string{"policy", "decision"}},
		"statements": {func(f *File) { f.Statements, f.Log = nil, nil }, []string{"statement", "quote", "result", "decision"}},
	} {
		m := honest(t)
		test.lose(m.file)
		v := m.verdict()
		for _, c := range v.Checks {
			if c.Standing == contradicted {
				t.Errorf("without %s, %s is contradicted:\n%s", name, c.Point, v.lines())
			}
		}
		if v.Whole() && name != "log" && name != "references" {
			t.Errorf("without %s it holds:\n%s", name, v.lines())
		}
		for _, point := range test.points {
			if v.is(point) == proved {
				t.Errorf("without %s, %s is proved:\n%s", name, point, v.lines())
			}
		}
	}
}

// A boot key that a later statement brought is certified by that; one of which
// nothing is here is the server's word.
func TestBootKeyOfALaterStart(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "sb-shim-grub")
	m.enrols()
	at := began().Add(time.Hour)
	m.reset, m.dkb = m.reset+1, newKey(t)
	public := m.public(attest.DKb, m.dkb)
	m.says(attest.TypReport, m.dk, true, m.report(at), at)
	jws := m.file.Statements[0].JWS
	input := jws[:strings.LastIndexByte(jws, '.')]
	brought := attest.Recertify{Public: public, Certify: *m.certify(attest.DKb, public, attest.RecertifyBinding([]byte(input)))}
	m.file.Statements[0].DKb = string(must[[]byte](t)(attest.Encode(brought)))
	m.says(attest.TypReport, m.dkb, false, m.report(at.Add(time.Minute)), at.Add(time.Minute))
	m.decides(at.Add(time.Minute))
	if v := m.verdict(); !v.Whole() || v.is("boot-key") != proved || v.is("statement") != proved || v.is("result") != proved {
		t.Errorf("it does not hold:\n%s", v.lines())
	}
	m.file.Statements[0].DKb = ""
	if v := m.verdict(); v.Whole() {
		t.Errorf("a boot key that nobody knows is taken:\n%s", v.lines())
	}
	m.file.Device.DKb = public
	if v := m.verdict(); v.is("statement") != word {
		t.Errorf("a boot key that only the server knows makes the statement %v:\n%s", v.is("statement"), v.lines())
	}
	other := brought
	other.Certify = *m.certify(attest.DKb, public, attest.RecertifyBinding([]byte("another statement")))
	m.file.Statements[0].DKb = string(must[[]byte](t)(attest.Encode(other)))
	if v := m.verdict(); v.is("statement") != contradicted {
		t.Errorf("a boot key that was certified for another statement makes it %v", v.is("statement"))
	}
}

// What DK signed without a quote the server refuses, whatever the file says of boot
// keys: the auditor takes it no more.
func TestDeviceKeyNeedsAQuote(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*File){
		"as it is":                  func(*File) {},
		"no registered boot key":    func(f *File) { f.Device.DKb = nil },
		"another than enrolled":     func(f *File) { f.Device.DKb = honest(t).file.Device.DKb },
		"the enrolment is not kept": func(f *File) { f.Enrolment, f.Device.DKb = enrolment{}, nil },
	} {
		for _, quoted := range []bool{true, false} {
			m := newMachine(t, "sb-shim-grub")
			m.enrols()
			at := began().Add(time.Hour)
			m.says(attest.TypReport, m.dk, true, m.report(at), at)
			m.says(attest.TypReport, m.dk, true, m.report(at.Add(time.Minute)), at.Add(time.Minute))
			m.decides(at.Add(time.Minute))
			if !quoted {
				m.file.Statements[1].Quote = ""
			}
			change(m.file)
			if v := m.verdict(); (v.is("statement") == contradicted) == quoted {
				t.Errorf("%s, quoted %v: the statement is %v:\n%s", name, quoted, v.is("statement"), v.lines())
			}
			redacted := must[[]byte](t)(m.file.Redact())
			if v := must[*Verdict](t)(Verify(redacted, m.roots, nil)); (v.is("statement") == contradicted) == quoted {
				t.Errorf("%s, quoted %v, redacted: the statement is %v:\n%s", name, quoted, v.is("statement"), v.lines())
			}
		}
	}
}

// A TPM's clock does not run back between quotes of one file.
func TestClockRunsOn(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "sb-shim-grub")
	m.clock = 1 << 40
	m.enrols()
	m.clock = 1 << 30
	at := began().Add(time.Minute)
	m.says(attest.TypReport, m.dkb, true, m.report(at), at)
	m.decides(at)
	if v := m.verdict(); v.Whole() || v.is("statement") != contradicted {
		t.Errorf("the clock ran back, and the statement is %v:\n%s", v.is("statement"), v.lines())
	}
}

// README names every point that the verdict of an honest file has, and no other.
func TestPointsStandInREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(readme), "| point |")
	table, _, _ = strings.Cut(table, "\n## ")
	known := map[string]bool{"freshness": true, "time": true} // in the list below the table
	for _, c := range honest(t).verdict().Checks {
		known[c.Point] = true
		if c.Point != "freshness" && c.Point != "time" && !strings.Contains(table, "`"+c.Point+"`") {
			t.Errorf("README does not name %s", c.Point)
		}
	}
	for i, name := range strings.Split(table, "`") {
		if i%2 == 1 && !known[name] && name != "boot-key" {
			t.Errorf("README names %s, which is no point", name)
		}
	}
}
