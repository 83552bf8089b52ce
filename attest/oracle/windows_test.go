package oracle

import (
	"bytes"
	"crypto"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	goattest "github.com/google/go-attestation/attest"

	"muster/attest/bootlog"
)

// The lines of Windows that both readers know. Theirs alone tells data execution
// prevention, loaded modules and BitLocker's unlocking, of which nothing here is asked;
// ours alone tells safe mode, WinPE, the hypervisor, virtual secure mode and memory
// integrity.
var windowsLines = []string{"cold boot", "boot count", "boot debugging", "kernel debugging", "test signing", "code integrity", "ELAM"}

// oursOfWindows reads what Windows measured with bootlog.
func oursOfWindows(p *publicLog) said {
	parsed, err := bootlog.Parse(p.raw)
	if err != nil {
		return all(windowsLines, "unreadable")
	}
	bank := p.bank()
	f := parsed.Account(bank, p.values[bank], nil).Windows
	if !f.Known {
		return all(windowsLines, "unknown: "+string(f.Reason))
	}
	w := f.Value
	yes := func(v bool) string { return fmt.Sprint(v) }
	return said{
		"cold boot":        fmt.Sprint(!w.Resumed),
		"boot count":       told(w.BootCounter, func(v uint64) string { return fmt.Sprint(v) }),
		"boot debugging":   told(w.BootDebug, yes),
		"kernel debugging": told(w.KernelDebug, yes),
		"test signing":     told(w.TestSigning, yes),
		"code integrity":   told(w.CodeIntegrity, yes),
		"ELAM":             told(w.ELAM, yes),
	}
}

// theirsOfWindows reads it with go-attestation.
func theirsOfWindows(p *publicLog) said {
	parsed, err := goattest.ParseEventLog(p.raw)
	if err != nil {
		return all(windowsLines, "unreadable")
	}
	var pcrs []goattest.PCR
	for i, v := range p.values[bootlog.SHA1] {
		if v != nil {
			pcrs = append(pcrs, goattest.PCR{Index: i, Digest: v, DigestAlg: crypto.SHA1})
		}
	}
	events, err := parsed.Verify(pcrs)
	if err != nil {
		return all(windowsLines, "not explained")
	}
	w, err := goattest.ParseWinEvents(events)
	if err != nil {
		return all(windowsLines, "refused")
	}
	ternary := map[goattest.Ternary]string{goattest.TernaryTrue: "true", goattest.TernaryFalse: "false", goattest.TernaryUnknown: "unknown: not-logged"}
	return said{
		"cold boot":        fmt.Sprint(w.ColdBoot),
		"boot count":       fmt.Sprint(w.BootCount),
		"boot debugging":   fmt.Sprint(w.BootDebuggingEnabled),
		"kernel debugging": fmt.Sprint(w.KernelDebugEnabled),
		"test signing":     fmt.Sprint(w.TestSigningEnabled),
		"code integrity":   ternary[w.CodeIntegrityEnabled],
		"ELAM":             fmt.Sprint(len(w.ELAM) > 0),
	}
}

func all(lines []string, text string) said {
	s := said{}
	for _, line := range lines {
		s[line] = text
	}
	return s
}

// windowsLog is the public log of a start of Windows, with its machine's values.
func windowsLog(t testing.TB) publicLog {
	t.Helper()
	logs := publicLogs(t)
	at := slices.IndexFunc(logs, func(p publicLog) bool { return p.name == "go-attestation windows_gcp_shielded_vm" })
	if at < 0 || logs[at].replayed || logs[at].bank() != bootlog.SHA1 {
		t.Fatal("no log of Windows with the values of its machine")
	}
	return logs[at]
}

// TestWindowsOfARealMachine: this virtual machine's firmware named the root above
// Windows' certificate as the authority, bare and not as it stands in db. That root
// signs more than Windows, so that nothing is known of Windows here; theirs leaves it
// to its caller to look.
func TestWindowsOfARealMachine(t *testing.T) {
	p := windowsLog(t)
	ours, theirs := oursOfWindows(&p), theirsOfWindows(&p)
	for _, line := range windowsLines {
		if ours[line] != "unknown: authorities-not-windows" || theirs[line] != asItWas()[line] {
			t.Errorf("%s: ours %s, theirs %s", line, ours[line], theirs[line])
		}
	}
	parsed, err := bootlog.Parse(p.raw)
	if err != nil {
		t.Fatal(err)
	}
	a := parsed.Account(bootlog.SHA1, p.values[bootlog.SHA1], nil)
	if v := a.Authorities.Value; !a.Authorities.Known || len(v) != 1 || v[0].Certificate == nil ||
		!strings.Contains(v[0].Certificate.Subject, "Microsoft Root Certificate Authority 2010") {
		t.Errorf("authorities are %+v", a.Authorities)
	}
}

// asItWas is what both readers say of the real log when Windows alone was started.
func asItWas() said {
	return said{"cold boot": "true", "boot count": "4", "boot debugging": "false", "kernel debugging": "false",
		"test signing": "false", "code integrity": "true", "ELAM": "true"}
}

// measured is one event of a log of SHA-1's format.
type measured struct {
	pcr, kind uint32
	body      []byte
	digest    []byte
}

// extends is an event whose body is what was measured.
func extends(pcr uint32, kind uint32, body []byte) measured {
	sum := sha1.Sum(body)
	return measured{pcr, kind, body, sum[:]}
}

// tagged is a SIPA event.
func tagged(id uint32, data ...byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, id)
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(data))), data...)
}

// inBoundary is an event that holds some in a trust boundary.
func inBoundary(pcr uint32, parts ...[]byte) measured {
	return extends(pcr, 6, tagged(0x40010001, slices.Concat(parts...)...))
}

// rebuilt makes a log of events, with the values that they lead to. The first event is
// the header as it was.
func rebuilt(t testing.TB, events []measured) publicLog {
	t.Helper()
	var b []byte
	values := &bootlog.Values{}
	for i := range values {
		values[i] = make([]byte, sha1.Size)
	}
	for _, e := range events {
		b = binary.LittleEndian.AppendUint32(b, e.pcr)
		b = binary.LittleEndian.AppendUint32(b, e.kind)
		b = append(b, e.digest...)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(e.body)))
		b = append(b, e.body...)
		if e.kind != 3 {
			sum := sha1.Sum(append(bytes.Clone(values[e.pcr]), e.digest...))
			values[e.pcr] = sum[:]
		}
	}
	return publicLog{raw: b, values: map[bootlog.Bank]*bootlog.Values{bootlog.SHA1: values}}
}

// vouched are the events of the real log, with its authority as other firmware names
// it: the entry of db, which is in the same log.
func vouched(t testing.TB) (events []measured) {
	t.Helper()
	const ca = "e8e95f0733a55e8bad7be0a1413ee23c51fcea64b3c8fa6a786935fddcc71961" // Microsoft Windows Production PCA 2011
	p := windowsLog(t)
	parsed, err := bootlog.Parse(p.raw)
	if err != nil {
		t.Fatal(err)
	}
	var entry []byte
	for i := range parsed.Events {
		e := &parsed.Events[i]
		if e.PCR == 7 && len(e.Body) > 36 && e.Body[16] == 2 && string(e.Body[32:36]) == "d\x00b\x00" && entry == nil {
			entry = dbEntry(e.Body[36:], ca)
		}
		if e.Type != 0x800000e0 {
			events = append(events, measured{e.PCR, e.Type, e.Body, parsed.Digest(e, bootlog.SHA1)})
			continue
		}
		body := bytes.Clone(e.Body[:24]) // vendor, length of the name
		body = binary.LittleEndian.AppendUint64(body, uint64(len(entry)))
		events = append(events, extends(7, e.Type, slices.Concat(body, []byte("d\x00b\x00"), entry)))
	}
	if entry == nil {
		t.Fatal("no certificate of Windows in db")
	}
	return events
}

// dbEntry finds the entry of signature lists whose certificate has a SHA-256.
func dbEntry(lists []byte, ca string) []byte {
	for len(lists) >= 28 {
		size, entry := binary.LittleEndian.Uint32(lists[16:]), binary.LittleEndian.Uint32(lists[24:])
		if size < 28+entry || int(size) > len(lists) {
			return nil
		}
		if found := lists[28 : 28+entry]; fmt.Sprintf("%x", sha256.Sum256(found[16:])) == ca {
			return found
		}
		lists = lists[size:]
	}
	return nil
}

// TestWindowsAsOthers compares on the real log as a program of the chain, or another
// machine, would have written it. Where the readers differ the reason stands beside it.
func TestWindowsAsOthers(t *testing.T) {
	real := vouched(t)
	first := slices.IndexFunc(real, func(e measured) bool { return e.pcr == 12 })
	insert := func(events ...measured) []measured { return slices.Insert(slices.Clone(real), first, events...) }
	without := func(drop func(measured) bool) []measured { return slices.DeleteFunc(slices.Clone(real), drop) }
	isDivider := func(e measured) bool { return string(e.body) == "WBCL" }
	same := asItWas()
	with := func(pairs ...string) said {
		s := said{}
		maps.Copy(s, same)
		for i := 0; i < len(pairs); i += 2 {
			s[pairs[i]] = pairs[i+1]
		}
		return s
	}
	const (
		earlier = "unknown: of-an-earlier-start"
		foreign = "unknown: authorities-not-windows"
	)
	tests := []struct {
		name         string
		events       []measured
		ours, theirs said
		why          string
	}{
		{"as it was", real, same, same, ""},
		{"worse once", insert(inBoundary(12, tagged(0x00040001, 1), tagged(0x00050001, 1), tagged(0x00050003, 1), tagged(0x00050002, 0))),
			with("boot debugging", "true", "kernel debugging", "true", "test signing", "true", "code integrity", "false"),
			with("boot debugging", "true", "kernel debugging", "true", "test signing", "true", "code integrity", "false"), ""},
		{"worse after the divider", slices.Concat(real, []measured{inBoundary(12, tagged(0x00050003, 1))}), same, same, ""},
		{"resumed", slices.Concat(real[:first+3], []measured{inBoundary(12, tagged(0x00020003, 2, 0, 0, 0))}, real[first+3:]),
			with("cold boot", "false", "boot debugging", earlier, "kernel debugging", earlier, "test signing", earlier, "code integrity", earlier, "ELAM", earlier),
			with("cold boot", "false"),
			"theirs tells the same of a resume as of a start; what the resume loader measured is not of the kernel that runs"},
		{"no divider", without(isDivider), all(windowsLines, "unknown: no-separator"), same,
			"theirs reads to the end of the log, where any program may have extended what it likes"},
		{"hidden", insert(measured{12, 6, []byte("another body"), bytes.Repeat([]byte{1}, sha1.Size)}),
			all(windowsLines, "unknown: not-bound"), all(windowsLines, "refused"), "both say nothing, in other words"},
		{"not tagged", insert(extends(12, 6, []byte("text"))),
			all(windowsLines, "unknown: unreadable"), all(windowsLines, "refused"), "both say nothing, in other words"},
		{"no authority", without(func(e measured) bool { return e.kind == 0x800000e0 }), all(windowsLines, foreign), same,
			"theirs leaves it to its caller to ask who was started: anybody who is can write these events"},
	}
	for _, test := range tests {
		log := rebuilt(t, test.events)
		ours, theirs := oursOfWindows(&log), theirsOfWindows(&log)
		differ := false
		for _, line := range windowsLines {
			if ours[line] != test.ours[line] || theirs[line] != test.theirs[line] {
				t.Errorf("%s, %s: ours %s, theirs %s; want %s and %s", test.name, line, ours[line], theirs[line], test.ours[line], test.theirs[line])
			}
			differ = differ || ours[line] != theirs[line]
		}
		if test.name == "as it was" {
			unseen(t, &log)
		}
		if differ != (test.why != "") {
			t.Errorf("%s: the readers differ is %v, and the reason is %q", test.name, differ, test.why)
		}
	}
}

// unseen checks what theirs does not tell, read off the log's bytes by hand.
func unseen(t *testing.T, p *publicLog) {
	t.Helper()
	parsed, err := bootlog.Parse(p.raw)
	if err != nil {
		t.Fatal(err)
	}
	w := parsed.Account(bootlog.SHA1, p.values[bootlog.SHA1], nil).Windows.Value
	for name, fact := range map[string]bootlog.Fact[bool]{
		"safe mode": w.SafeMode, "WinPE": w.WinPE, "driver signing off": w.DriverSigningOff, "VBS": w.VBS, "memory integrity": w.HVCI,
	} {
		if !fact.Known || fact.Value {
			t.Errorf("%s is %+v, not false", name, fact)
		}
	}
	if !w.HypervisorLaunch.Known || w.HypervisorLaunch.Value != 0 {
		t.Errorf("hypervisor launch is %+v", w.HypervisorLaunch)
	}
}
