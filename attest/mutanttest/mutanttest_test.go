package mutanttest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"

	"muster/attest/bootlog"
)

// TestEdits: the mutants of some bytes are all that differ from them in one byte by
// the edits of the package, each once.
func TestEdits(t *testing.T) {
	for _, whole := range [][]byte{{0}, {0xff}, {0x10}, {0x7f}, {0x5a}, {1, 1}, {7, 7, 7, 0, 0xff}, []byte("muster log")} {
		want := map[string]bool{}
		for i := range whole {
			for _, b := range []byte{0, 0xff, whole[i] ^ 1, whole[i] ^ 2, whole[i] ^ 4, whole[i] ^ 8, whole[i] ^ 16, whole[i] ^ 32, whole[i] ^ 64, whole[i] ^ 128} {
				changed := bytes.Clone(whole)
				changed[i] = b
				want[string(changed)] = true
			}
			want[string(whole[:i])+string(whole[i+1:])] = true
			want[string(whole[:i+1])+string(whole[i:])] = true
		}
		delete(want, string(whole))
		was, into := bytes.Clone(whole), room(whole)
		for at := range whole {
			for e := range edits {
				mutant, ok := mutate(into, whole, at, e)
				if !ok {
					continue
				}
				if !want[string(mutant)] {
					t.Errorf("%x: byte %d, %v: %x is unexpected, or there already", whole, at, e, mutant)
				}
				delete(want, string(mutant))
			}
		}
		if len(want) != 0 || !bytes.Equal(was, whole) {
			t.Errorf("%x: %d mutants are missing", was, len(want))
		}
	}
}

// TestBetter: each way to be better is noticed, and each way to be worse is not
// called better.
func TestBetter(t *testing.T) {
	account := func(f func(a *bootlog.Account)) *told {
		a := &bootlog.Account{
			SecureBoot:    bootlog.Fact[bool]{Known: true, Value: true},
			DMAProtection: bootlog.Fact[bool]{Known: true},
			SBAT:          bootlog.Fact[string]{Reason: bootlog.Unbound},
			MOKOff:        bootlog.Fact[bool]{Reason: bootlog.NotLogged},
			Applications:  bootlog.Fact[[]bootlog.Application]{Known: true, Value: []bootlog.Application{{Digest: []byte{1}}, {Digest: []byte{2}}}},
		}
		a.PCRs[7], a.PCRs[4] = bootlog.Match, bootlog.Mismatch
		for _, r := range []*bootlog.Reason{&a.PK.Reason, &a.KEK.Reason, &a.DB.Reason, &a.DBX.Reason, &a.Authorities.Reason, &a.MOK.Reason,
			&a.CommandLines.Reason, &a.UEFIDebug.Reason, &a.Windows.Reason} {
			*r = bootlog.NotLogged
		}
		f(a)
		return tell(a)
	}
	whole := account(func(*bootlog.Account) {})
	for name, c := range map[string]struct {
		change func(a *bootlog.Account)
		better string
	}{
		"the same":           {func(*bootlog.Account) {}, ""},
		"a PCR less":         {func(a *bootlog.Account) { a.PCRs[7] = bootlog.Mismatch }, ""},
		"a PCR more":         {func(a *bootlog.Account) { a.PCRs[4] = bootlog.Match }, "PCR 4"},
		"a PCR empty":        {func(a *bootlog.Account) { a.PCRs[4] = bootlog.Empty }, "PCR 4"},
		"a fact less":        {func(a *bootlog.Account) { a.SecureBoot = bootlog.Fact[bool]{Reason: bootlog.Unbound} }, ""},
		"a fact more":        {func(a *bootlog.Account) { a.SBAT = bootlog.Fact[string]{Known: true} }, "SBAT became known"},
		"another value":      {func(a *bootlog.Account) { a.SecureBoot.Value = false }, "secure boot has another value"},
		"unsaid":             {func(a *bootlog.Account) { a.DMAProtection = bootlog.Fact[bool]{Reason: bootlog.NotLogged} }, "DMA protection is not logged"},
		"unsaid, not hidden": {func(a *bootlog.Account) { a.SBAT.Reason = bootlog.NotLogged }, "SBAT is not logged"},
		"hidden":             {func(a *bootlog.Account) { a.MOKOff.Reason = bootlog.Unbound }, ""},
		"no reason":          {func(a *bootlog.Account) { a.MOKOff.Reason = "" }, "without a reason"},
		"a program more": {func(a *bootlog.Account) {
			a.Applications.Value = append(a.Applications.Value, bootlog.Application{Digest: []byte{3}})
		}, ""},
		"a program less": {func(a *bootlog.Account) { a.Applications.Value = a.Applications.Value[:1] }, "program 02 is gone"},
		"no program":     {func(a *bootlog.Account) { a.Applications.Value = nil }, "program 01 is gone"},
		"programs unknown": {func(a *bootlog.Account) {
			a.Applications = bootlog.Fact[[]bootlog.Application]{Reason: bootlog.NotReplayed}
		}, ""},
		"another path": {func(a *bootlog.Account) { a.Applications.Value[0].Path = "x" }, ""},
	} {
		err := whole.better(account(c.change))
		if (err == nil) != (c.better == "") || err != nil && !strings.Contains(err.Error(), c.better) {
			t.Errorf("%s: %v, not %q", name, err, c.better)
		}
	}
	var none *told
	if none.better(whole) == nil {
		t.Error("a log that could not be read tells something")
	}
}

// TestLog judges a real log: nothing is said of the whole or of what cannot be read,
// and whoever judges accounts is asked of what says something else.
func TestLog(t *testing.T) {
	log, err := os.ReadFile("../bootlog/testdata/nosb-direct-tis/binary_bios_measurements")
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := bootlog.Parse(log)
	if err != nil {
		t.Fatal(err)
	}
	// PCR 23 was never extended; of the others no value is told.
	values := new(bootlog.Values)
	values[23] = make([]byte, 32)
	asked, refuse := 0, false
	s := Log("a log", log, bootlog.SHA256, values, func(a *bootlog.Account) error {
		if asked++; refuse {
			return errors.New("no")
		}
		return nil
	})
	if err := s.Judge(log); err != nil || asked != 1 {
		t.Fatalf("the whole: %v, asked %d times", err, asked)
	}
	if err := s.Judge(log[:len(log)/2]); err != nil || asked != 1 {
		t.Errorf("half a log: %v, asked %d times", err, asked)
	}
	refuse = true
	if err := s.Judge(log); err != nil {
		t.Errorf("what says the same is judged: %v", err)
	}
	// The last event moves to PCR 23: that one is no longer empty.
	moved := bytes.Clone(log)
	if last := &parsed.Events[len(parsed.Events)-1]; !movePCR(moved, last.PCR, last.Type, 23) {
		t.Fatal("the last event is not found")
	}
	if err := s.Judge(moved); err == nil {
		t.Error("an account that says something else is not judged")
	}
}

// movePCR gives the last event of a PCR and type another PCR.
func movePCR(log []byte, pcr, kind, to uint32) bool {
	head := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, pcr), kind)
	at := bytes.LastIndex(log, head)
	if at < 0 {
		return false
	}
	binary.LittleEndian.PutUint32(log[at:], to)
	return true
}

// TestSweepFails: a subject of which one mutant is better fails its test, sampled
// or whole.
func TestSweepFails(t *testing.T) {
	judge := func(b []byte) error {
		if string(b) == "x" {
			return errors.New("better")
		}
		return nil
	}
	for _, sample := range []int{0, 400} {
		inner := &failing{TB: t}
		Sweep(inner, sample, Subject{Name: "one byte", Bytes: []byte("y"), Judge: judge})
		if inner.failed == 0 {
			t.Errorf("sample %d: nothing fails", sample)
		}
		fine := &failing{TB: t}
		Sweep(fine, sample, Subject{Name: "no byte", Bytes: []byte("yy"), Judge: func([]byte) error { return nil }})
		if fine.failed != 0 {
			t.Errorf("sample %d: an honest subject fails", sample)
		}
		greedy, kept := &failing{TB: t}, []byte(nil)
		Sweep(greedy, sample, Subject{Name: "greedy", Bytes: []byte("yy"), Judge: func(b []byte) error {
			kept = make([]byte, MaxBase+20*len(b)+1000)
			return nil
		}})
		if greedy.failed == 0 || len(kept) == 0 {
			t.Errorf("sample %d: memory has no bound", sample)
		}
	}
}

// failing counts failures in place of failing.
type failing struct {
	testing.TB
	failed int
}

func (f *failing) Errorf(string, ...any) { f.failed++ }
func (f *failing) Logf(string, ...any)   {}
func (f *failing) Failed() bool          { return f.failed > 0 }
