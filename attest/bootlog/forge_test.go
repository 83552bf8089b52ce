package bootlog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
)

// forgery is a log that somebody made of a real one.
type forgery struct {
	name   string
	events []made
}

// TestForged: whatever is done to a log, the values of the real start let nothing
// better be claimed.
func TestForged(t *testing.T) {
	var certs Certificates
	for _, r := range reals(t) {
		values := r.values[SHA256]
		before := r.log.Account(SHA256, values, &certs)
		events := take(t, r.log)
		count := 0
		for f := range forgeries(events) {
			count++
			l, err := Parse(write(f.events))
			if err != nil {
				t.Fatalf("%s: %s: %v", r.name, f.name, err)
			}
			for _, what := range better(before, l.Account(SHA256, values, &certs)) {
				t.Errorf("%s: %s: %s", r.name, f.name, what)
			}
		}
		if count < 30*len(events) {
			t.Errorf("%s: %d forgeries", r.name, count)
		}
	}
}

// forgeries makes every forgery of a log by one step.
func forgeries(events []made) func(yield func(forgery) bool) {
	return func(yield func(forgery) bool) {
		for i, e := range events {
			before, after := events[:i:i], events[i+1:]
			with := func(name string, put ...made) bool {
				return yield(forgery{fmt.Sprintf("event %d of PCR %d %s", i, e.pcr, name), slices.Concat(before, put, after)})
			}
			ok := with("dropped") && with("doubled", e, e) && with("without its digest", made{e.pcr, e.kind, e.body, nil})
			if i+1 < len(events) {
				ok = ok && yield(forgery{fmt.Sprintf("events %d and %d swapped", i, i+1), slices.Concat(before, events[i+1:i+2], events[i:i+1], events[i+2:])})
			}
			for _, pcr := range []uint32{0, 4, 7, 8, 12, 14, 24, 0xffffffff} {
				ok = ok && with(fmt.Sprintf("in PCR %d", pcr), made{pcr, e.kind, e.body, e.digest})
			}
			for _, kind := range []uint32{kindNoAction, kindSeparator, kindIPL, kindVariable, kindProgram, kindAction, kindAuthority} {
				ok = ok && with(fmt.Sprintf("of type %x", kind), made{e.pcr, kind, e.body, e.digest})
			}
			for name, body := range bodies(e.body) {
				ok = ok && with("with a body "+name, made{e.pcr, e.kind, body, e.digest}) &&
					with("with a measured body "+name, bound(e.pcr, e.kind, body))
			}
			// Another event's body below this digest.
			for j := i % 7; j < len(events); j += 7 {
				ok = ok && with(fmt.Sprintf("with the body of %d", j), made{e.pcr, e.kind, events[j].body, e.digest})
			}
			for name, evil := range wishes() {
				evil.pcr = e.pcr
				ok = ok && with("after "+name, evil, e) && with("as "+name, evil)
				evil.kind = kindNoAction
				ok = ok && with("after what was not extended, "+name, evil, e)
				evil.digest = nil
				ok = ok && with("after what has no digest, "+name, evil, e)
			}
			if !ok {
				return
			}
		}
	}
}

// bodies are other bodies in the place of one.
func bodies(b []byte) map[string][]byte {
	all := map[string][]byte{
		"of nothing":         nil,
		"with one byte more": append(bytes.Clone(b), 0),
		"of zeros":           make([]byte, len(b)),
	}
	if len(b) > 0 {
		all["without its end"] = b[:len(b)-1]
		all["without its start"] = b[1:]
		flip := bytes.Clone(b)
		flip[len(b)-1] ^= 1
		all["that ends otherwise"] = flip
	}
	// Lists that are shorter and longer than they were, lengths put right.
	if v, ok := readVariable(b); ok && len(v.data) >= listHead {
		name := make([]byte, 0, 16)
		for i := 0; i < len(v.name); i += 2 {
			name = append(name, v.name[i])
		}
		size := binary.LittleEndian.Uint32(v.data[24:])
		if int(size) < len(v.data)-listHead {
			data := bytes.Clone(v.data[:len(v.data)-int(size)])
			binary.LittleEndian.PutUint32(data[16:], uint32(len(data)))
			all["of a list without its last entry"] = uefi(v.vendor, string(name), data)
		}
		all["of no lists"] = uefi(v.vendor, string(name), nil)
		all["of one list more"] = uefi(v.vendor, string(name), append(bytes.Clone(v.data), list(kindSHA256, make([]byte, 32))...))
	}
	return all
}

// wishes are what somebody would like a log to say.
func wishes() map[string]made {
	return map[string]made{
		"Secure Boot on":     variableEvent(globalVendor, "SecureBoot", []byte{1}),
		"an empty MokList":   bound(14, kindIPL, oneEntry(nil, kindSHA256, sum256(nil))),
		"a new level":        variableEvent(shimVendor, "SbatLevel", []byte("sbat,1,2099010100\nshim,99\ngrub,99\n")),
		"shim verifies":      variableEvent(shimVendor, "MokSBState", []byte{0}),
		"a long dbx":         variableEvent(securityVendor, "dbx", list(kindSHA256, make([]byte, 32), make([]byte, 32))),
		"a separator":        parting(7),
		"an error":           bound(7, kindSeparator, []byte{1, 0, 0, 0}),
		"a hash":             variableEvent(securityVendor, "db", owned(make([]byte, 32))),
		"an action":          bound(4, kindAction, []byte(callAction)),
		"a line":             of(8, kindIPL, []byte("kernel_cmdline: lockdown=integrity\x00"), []byte("lockdown=integrity")),
		"another locality":   bound(0, kindNoAction, []byte("StartupLocality\x00\x03")),
		"Windows' separator": bound(12, kindSeparator, []byte("WBCL")),
	}
}

// TestAppended: who may extend PCRs after the start, as every root user may, can make
// values that match his log. Nothing gets better by it.
func TestAppended(t *testing.T) {
	var certs Certificates
	all := reals(t)
	more := windowsWishes()
	for _, wish := range wishes() {
		more = append(more, wish)
	}
	seen := map[string]bool{}
	for _, r := range all {
		for _, e := range take(t, r.log) {
			if key := fmt.Sprintf("%d %x %x", e.pcr, e.digest, e.body); !seen[key] {
				seen[key] = true
				more = append(more, e)
			}
		}
	}
	for _, r := range all {
		events := take(t, r.log)
		values := r.values[SHA256]
		before := r.log.Account(SHA256, values, &certs)
		for i, e := range more {
			if e.pcr >= PCRCount || e.digest == nil || e.kind == kindNoAction {
				continue
			}
			grown := *values
			grown[e.pcr] = bytes.Clone(sum256(append(bytes.Clone(grown[e.pcr]), e.digest...)))
			after := parsed(t, write(append(slices.Clone(events), e))).Account(SHA256, &grown, &certs)
			if grown := after.PCRs[e.pcr]; grown != Match && e.pcr != 10 {
				t.Fatalf("%s: PCR %d is %s", r.name, e.pcr, grown)
			}
			if v, ok := readVariable(e.body); ok && v.vendor == shimVendor {
				if before.SBAT.Reason == NotLogged {
					after.SBAT = before.SBAT // whoever comes first may state it: see Account
				}
				if before.MOK.Reason == Unbound {
					after.MOK = before.MOK // its hash proves it
				}
			}
			for _, what := range better(before, after) {
				t.Errorf("%s: event %d (type %x) appended to PCR %d: %s", r.name, i, e.kind, e.pcr, what)
			}
		}
	}
}

// windowsWishes are events like those of Windows' loader: a TrustBoundary that says
// that code integrity is on and the kernel is not debugged.
func windowsWishes() (events []made) {
	le := binary.LittleEndian
	tag := func(id uint32, data []byte) []byte {
		return append(le.AppendUint32(le.AppendUint32(nil, id), uint32(len(data))), data...)
	}
	inner := slices.Concat(tag(0x00050002, []byte{0}), tag(0x00050003, []byte{1}), tag(0x00050009, []byte{0}), tag(0x00050010, []byte{0}), tag(0x00050016, make([]byte, 8)))
	for _, pcr := range []uint32{11, 12, 13, 14} {
		events = append(events, bound(pcr, 6, tag(0x40010001, inner)), bound(pcr, 6, inner), bound(pcr, kindSeparator, []byte("WBCL")))
	}
	return events
}

// TestBetter: the comparison that the tests rest on finds each betterment.
func TestBetter(t *testing.T) {
	r := oneReal(t, "sb-shim-grub")
	fresh := func() *Account { return r.log.Account(SHA256, r.values[SHA256], nil) }
	if found := better(fresh(), fresh()); len(found) != 0 {
		t.Fatal(found)
	}
	worse := func(what string, change func(a *Account)) {
		a := fresh()
		change(a)
		if found := better(a, fresh()); len(found) == 0 {
			t.Errorf("%s is not found", what)
		}
	}
	worse("a PCR", func(a *Account) { a.PCRs[3] = Mismatch })
	worse("an empty PCR", func(a *Account) { a.PCRs[15] = Unlogged })
	worse("Secure Boot that was off", func(a *Account) { a.SecureBoot.Value = false })
	worse("Secure Boot that was not known", func(a *Account) { a.SecureBoot = Fact[bool]{Reason: Unbound} })
	worse("PK", func(a *Account) { a.PK.Value.SHA256[0]++ })
	worse("KEK", func(a *Account) { a.KEK.Known = false })
	worse("db", func(a *Account) { a.DB.Known = false })
	worse("dbx", func(a *Account) { a.DBX.Value.SHA256[0]++ })
	worse("an authority", func(a *Account) { a.Authorities.Value = append(a.Authorities.Value, Authority{}) })
	worse("authorities", func(a *Account) { a.Authorities.Known = false })
	worse("a level", func(a *Account) { a.SBAT.Value = "sbat,1\n" })
	worse("the owner's keys", func(a *Account) { a.MOK.Value.SHA256[0]++ })
	worse("the owner's state", func(a *Account) { a.MOKOff.Value = true })
	worse("a program", func(a *Account) { a.Applications.Value = append(a.Applications.Value, Application{Digest: []byte{1}}) })
	worse("programs", func(a *Account) { a.Applications.Known = false })
	worse("a line", func(a *Account) { a.CommandLines.Value = append(a.CommandLines.Value, CommandLine{Text: "x"}) })
	worse("lines", func(a *Account) { a.CommandLines = Fact[[]CommandLine]{Reason: Unbound} })
	worse("a debugger", func(a *Account) { a.UEFIDebug.Value = true })
	hidden := fresh()
	hidden.DMAProtection = Fact[bool]{Known: true}
	if found := better(hidden, fresh()); len(found) == 0 {
		t.Error("what was said and is told as never logged is not found")
	}
	windows, none := fresh(), fresh()
	windows.Windows = Fact[Windows]{Known: true, Value: Windows{VBS: Fact[bool]{Known: true, Value: true}}}
	if len(better(none, windows)) == 0 || len(better(windows, windows)) != 0 {
		t.Error("Windows")
	}
	other := *windows
	other.Windows.Value.VBS.Value = false
	if len(better(&other, windows)) == 0 {
		t.Error("a fact of Windows")
	}
}
