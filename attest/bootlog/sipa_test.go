package bootlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"reflect"
	"slices"
	"testing"
	"time"
)

// windowsCA is Microsoft Windows Production PCA 2011, from the db of a real log: the
// fingerprint in this package is that of a real certificate.
func windowsCA(t testing.TB) []byte {
	t.Helper()
	for _, e := range take(t, oneReal(t, "sb-shim-grub").log) {
		v, ok := readVariable(e.body)
		if e.pcr != 7 || !ok || !v.is(securityVendor, "db") {
			continue
		}
		for at := range len(v.data) - 4 {
			if v.data[at] != 0x30 || v.data[at+1] != 0x82 {
				continue
			}
			end := at + 4 + int(binary.BigEndian.Uint16(v.data[at+2:]))
			if end <= len(v.data) && sha256.Sum256(v.data[at:end]) == windowsAuthorities[0] {
				return v.data[at:end]
			}
		}
	}
	t.Fatal("no Windows certificate in the log's db")
	return nil
}

func authorityEvent(vendor [16]byte, name string, data []byte) made {
	return bound(7, kindAuthority, uefi(vendor, name, data))
}

// windowsPolicy is PCR 7 of a start of Windows alone.
func windowsPolicy(t testing.TB) []made {
	t.Helper()
	return []made{
		variableEvent(globalVendor, "SecureBoot", []byte{1}),
		parting(7),
		authorityEvent(securityVendor, "db", owned(windowsCA(t))),
	}
}

const kindTag = 0x00000006

// measures is an event of Windows' loader.
func measures(pcr uint32, parts ...[]byte) made {
	return bound(pcr, kindTag, tag(sipaTrustBoundary, parts...))
}

func divider(pcr uint32) made { return bound(pcr, kindSeparator, []byte("WBCL")) }

func dividers() []made { return []made{divider(12), divider(13), divider(14)} }

func is(id uint32, v byte) []byte { return tag(id, []byte{v}) }

func counts(id uint32, v uint64) []byte { return tag(id, binary.LittleEndian.AppendUint64(nil, v)) }

func hands(to uint32) []byte {
	return tag(sipaTransferControl, binary.LittleEndian.AppendUint32(nil, to))
}

// coldStart is what boot manager and loader measure of a start with everything on.
func coldStart() []made {
	settings := [][]byte{
		is(sipaBootDebugging, 0), is(sipaTestSigning, 0), is(sipaCodeIntegrity, 1),
	}
	return []made{
		bound(11, 0x0c, []byte{0x10, 0, 0, 0}),
		measures(12, counts(sipaBootCounter, 41), hands(toLoader), slices.Concat(settings...)),
		measures(13, slices.Concat(settings...), tag(0x40010003, tag(0x00070004, make([]byte, 32)))),
		bound(14, kindTag, tag(0x00060002, []byte("a public key"))),
		measures(12, slices.Concat(settings...), is(sipaKernelDebug, 0), is(sipaSafeMode, 0), is(sipaWinPE, 0),
			counts(sipaHypervisor, 1), is(sipaHypervisorDebug, 0), counts(sipaVSM, 1), counts(sipaHVCI, hvciEnabled)),
		measures(13, tag(sipaELAM, tag(sipaELAMKeyName, []byte("W\x00D\x00")), tag(0x00090004, []byte{1}))),
	}
}

// started is a start of Windows: what it measured, then the dividers.
func started(t testing.TB, events ...[]made) []made {
	t.Helper()
	return slices.Concat(windowsPolicy(t), slices.Concat(events...), dividers())
}

// states spells a fact of Windows: what is known of each field.
func states(t testing.TB, f Fact[Windows]) map[string]any {
	t.Helper()
	if !f.Known {
		if f.Value != (Windows{}) {
			t.Errorf("Windows is not known, and has a value")
		}
		return map[string]any{"": f.Reason}
	}
	all := map[string]any{}
	v := reflect.ValueOf(f.Value)
	for i := range v.NumField() {
		name, field := v.Type().Field(i).Name, v.Field(i)
		switch {
		case field.Kind() == reflect.Bool:
			all[name] = field.Bool()
		case field.FieldByName("Known").Bool():
			all[name] = field.FieldByName("Value").Interface()
			if r := field.FieldByName("Reason").String(); r != "" {
				t.Errorf("%s is known and has the reason %s", name, r)
			}
			if pcr := field.FieldByName("PCR").Uint(); pcr < firstLoaderPCR || pcr > lastLoaderPCR {
				t.Errorf("%s is bound to PCR %d", name, pcr)
			}
		default:
			reason := field.FieldByName("Reason").Interface().(Reason)
			if reason == "" {
				t.Errorf("%s is not known, without a reason", name)
			}
			all[name] = reason
		}
	}
	return all
}

// allWell is what a cold start with everything on says.
func allWell() map[string]any {
	return map[string]any{
		"BootDebug": false, "KernelDebug": false, "TestSigning": false, "SafeMode": false, "WinPE": false,
		"CodeIntegrity": true, "HypervisorLaunch": uint64(1), "VBS": true, "HVCI": true, "DriverSigningOff": false,
		"ELAM": true, "Resumed": false, "BootCounter": uint64(41), "ResetCount": NotLogged,
	}
}

// but is a copy of a map with other values for some names.
func but(m map[string]any, pairs ...any) map[string]any {
	c := map[string]any{}
	for k, v := range m {
		c[k] = v
	}
	for i := 0; i < len(pairs); i += 2 {
		c[pairs[i].(string)] = pairs[i+1]
	}
	return c
}

// same compares the states of a start with what was wanted.
func same(t *testing.T, name string, got, want map[string]any) {
	t.Helper()
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s: %s is %v, want %v", name, k, got[k], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %v, want %v", name, got, want)
	}
}

func TestWindowsStart(t *testing.T) {
	more := func(events ...made) []made { return slices.Concat(coldStart(), events) }
	none := func(r Reason) map[string]any { return map[string]any{"": r} }
	long := func(id uint32) []byte { return tag(id, []byte{0, 0}) }
	tests := []struct {
		name   string
		events []made
		want   map[string]any
	}{
		{"all well", coldStart(), allWell()},
		{"debugged loader", more(measures(12, is(sipaBootDebugging, 1))), but(allWell(), "BootDebug", true)},
		{"debugged kernel", more(measures(13, is(sipaKernelDebug, 1))), but(allWell(), "KernelDebug", true)},
		{"debugged hypervisor", more(measures(13, is(sipaHypervisorDebug, 1))), but(allWell(), "KernelDebug", true)},
		{"test signing", more(measures(12, is(sipaTestSigning, 1))), but(allWell(), "TestSigning", true, "DriverSigningOff", true)},
		{"safe mode", more(measures(12, is(sipaSafeMode, 1))), but(allWell(), "SafeMode", true)},
		{"WinPE", more(measures(12, is(sipaWinPE, 1))), but(allWell(), "WinPE", true)},
		{"no code integrity", more(measures(13, is(sipaCodeIntegrity, 0))), but(allWell(), "CodeIntegrity", false, "DriverSigningOff", true)},
		{"the worse comes first", slices.Concat([]made{measures(13, is(sipaTestSigning, 1), is(sipaKernelDebug, 1))}, coldStart()),
			but(allWell(), "TestSigning", true, "DriverSigningOff", true, "KernelDebug", true)},
		{"the worse in an odd place", more(bound(14, kindIPL, tag(0x40010003, is(sipaTestSigning, 1)))), but(allWell(), "TestSigning", true, "DriverSigningOff", true)},
		{"a flag of two", more(measures(12, is(sipaSafeMode, 2), is(sipaCodeIntegrity, 2))),
			but(allWell(), "SafeMode", Unreadable, "CodeIntegrity", Unreadable, "DriverSigningOff", Unreadable)},
		{"flags of two bytes", more(measures(12, long(sipaWinPE), long(sipaHypervisor), long(sipaBootCounter))),
			but(allWell(), "WinPE", Unreadable, "HypervisorLaunch", Unreadable, "VBS", Unreadable, "HVCI", Unreadable, "BootCounter", Unreadable)},
		{"another counter", more(measures(12, counts(sipaBootCounter, 42))), but(allWell(), "BootCounter", Unreadable)},
		{"no hypervisor once", more(measures(13, counts(sipaHypervisor, 0))), but(allWell(), "HypervisorLaunch", Unreadable, "VBS", false, "HVCI", false)},
		{"no VSM once", more(measures(13, counts(sipaVSM, 0))), but(allWell(), "VBS", false, "HVCI", false)},
		{"memory integrity off once", more(measures(13, counts(sipaHVCI, 0))), but(allWell(), "HVCI", false)},
		{"a policy of other bits", more(measures(13, counts(sipaHVCI, 6))), but(allWell(), "HVCI", Unreadable)},
		{"a policy of more bits", more(measures(13, counts(sipaHVCI, 7))), allWell()},
		{"a failure", more(measures(12, tag(0x00030005))),
			map[string]any{"BootDebug": Unreadable, "KernelDebug": Unreadable, "TestSigning": Unreadable, "SafeMode": Unreadable,
				"WinPE": Unreadable, "CodeIntegrity": Unreadable, "HypervisorLaunch": Unreadable, "VBS": Unreadable, "HVCI": Unreadable,
				"DriverSigningOff": Unreadable, "ELAM": Unreadable, "Resumed": false, "BootCounter": uint64(41), "ResetCount": NotLogged}},
		{"a failure that was not measured", more(measures(12, tag(0x80030002))), allWell()},
		{"a name of no early driver", append(coldStart()[:5], measures(13, tag(sipaELAMKeyName, []byte("W\x00")))), but(allWell(), "ELAM", NotLogged)},
		{"what nobody knows", more(measures(12, tag(0x000d0001, []byte("new")), tag(0x40010099, tag(0x00050099)))), allWell()},

		{"control to another program", more(measures(12, hands(4))), none(Foreign)},
		{"control to nothing", more(measures(12, tag(sipaTransferControl))), none(Foreign)},
		{"a module without authority", more(bound(14, kindTag, tag(sipaNoAuthority))), none(Foreign)},
		{"not tagged", more(bound(12, kindTag, []byte("text"))), none(Unreadable)},
		{"half tagged", more(bound(13, kindTag, append(tag(sipaTrustBoundary, is(sipaTestSigning, 0)), 1))), none(Unreadable)},
		{"hidden", more(of(12, kindTag, tag(sipaTrustBoundary), tag(sipaTrustBoundary, is(sipaTestSigning, 1)))), none(Unbound)},
		{"hidden module", more(of(13, kindTag, nil, []byte("something"))), none(Unbound)},
		{"hidden authority", more(of(14, kindTag, nil, tag(sipaNoAuthority))), none(Unbound)},
		{"firmware's separators", slices.Concat([]made{parting(12), parting(13), parting(14)}, coldStart()), allWell()},
		{"firmware's error", slices.Concat([]made{bound(12, kindSeparator, []byte{1, 0, 0, 0})}, coldStart()), none(Unreadable)},
		{"nothing", nil, map[string]any{"BootDebug": NotLogged, "KernelDebug": NotLogged, "TestSigning": NotLogged, "SafeMode": NotLogged,
			"WinPE": NotLogged, "CodeIntegrity": NotLogged, "HypervisorLaunch": NotLogged, "VBS": NotLogged, "HVCI": NotLogged,
			"DriverSigningOff": NotLogged, "ELAM": NotLogged, "Resumed": false, "BootCounter": NotLogged, "ResetCount": NotLogged}},
	}
	for _, test := range tests {
		same(t, test.name, states(t, judge(t, started(t, test.events)).Windows), test.want)
	}
}

// TestWindowsSettings leaves out, and turns off, one thing at a time.
func TestWindowsSettings(t *testing.T) {
	start := func(parts ...[]byte) []made {
		return []made{measures(12, hands(toLoader)), measures(12, parts...)}
	}
	tests := []struct {
		name      string
		events    []made
		vbs, hvci any
	}{
		{"nothing said", start(), NotLogged, NotLogged},
		{"hypervisor alone", start(counts(sipaHypervisor, 1)), NotLogged, NotLogged},
		{"VSM alone", start(counts(sipaVSM, 1)), NotLogged, NotLogged},
		{"no hypervisor", start(counts(sipaHypervisor, 0)), false, false},
		{"VSM off", start(counts(sipaVSM, 0)), false, false},
		{"VSM off, policy on", start(counts(sipaVSM, 0), counts(sipaHVCI, 1)), false, false},
		{"policy alone", start(counts(sipaHVCI, 1)), NotLogged, NotLogged},
		{"policy off alone", start(counts(sipaHVCI, 0)), NotLogged, false},
		{"both on, no policy", start(counts(sipaHypervisor, 1), counts(sipaVSM, 1)), true, NotLogged},
		{"both on, policy off", start(counts(sipaHypervisor, 1), counts(sipaVSM, 1), counts(sipaHVCI, 0)), true, false},
		{"all on", start(counts(sipaHypervisor, 2), counts(sipaVSM, 1), counts(sipaHVCI, 1)), true, true},
		{"on without winload", []made{measures(12, counts(sipaHypervisor, 1), counts(sipaVSM, 1), counts(sipaHVCI, 1))}, NotLogged, NotLogged},
	}
	for _, test := range tests {
		got := states(t, judge(t, started(t, test.events)).Windows)
		if got["VBS"] != test.vbs || got["HVCI"] != test.hvci {
			t.Errorf("%s: VBS %v, HVCI %v; want %v, %v", test.name, got["VBS"], got["HVCI"], test.vbs, test.hvci)
		}
	}
}

// TestResumedWindows: the resume loader tells what is bad, and nothing good of a
// kernel that it did not start.
func TestResumedWindows(t *testing.T) {
	resumed := map[string]any{"ResetCount": NotLogged, "Resumed": true, "BootCounter": uint64(41)}
	for k := range allWell() {
		if _, ok := resumed[k]; !ok {
			resumed[k] = OfEarlierStart
		}
	}
	events := coldStart()
	events[1] = measures(12, counts(sipaBootCounter, 41), hands(toResume), is(sipaTestSigning, 0))
	same(t, "resume", states(t, judge(t, started(t, events)).Windows), resumed)

	bad := append(slices.Clone(events), measures(12, is(sipaTestSigning, 1), is(sipaCodeIntegrity, 0), counts(sipaVSM, 0)))
	same(t, "bad resume", states(t, judge(t, started(t, bad)).Windows),
		but(resumed, "TestSigning", true, "CodeIntegrity", false, "DriverSigningOff", true))

	both := append(coldStart(), measures(12, hands(toResume)))
	same(t, "resume after a start", states(t, judge(t, started(t, both)).Windows), resumed)
	same(t, "start after a resume", states(t, judge(t, started(t, []made{measures(12, hands(toResume))}, coldStart())).Windows), resumed)
}

// TestWindowsChain: only Windows' own chain may speak for Windows.
func TestWindowsChain(t *testing.T) {
	ca := windowsCA(t)
	_, other := setting(t) // below which shim was started
	secure := func(v byte) made { return variableEvent(globalVendor, "SecureBoot", []byte{v}) }
	windows := authorityEvent(securityVendor, "db", owned(ca))
	stranger := authorityEvent(securityVendor, "db", owned(other))
	tests := []struct {
		name   string
		policy []made
		want   Reason
	}{
		{"Windows", []made{secure(1), parting(7), windows}, ""},
		{"Windows twice", []made{secure(1), parting(7), windows, windows}, ""},
		{"and its driver", []made{secure(1), windows, parting(7), windows}, ""},
		{"a driver of Windows alone", []made{secure(1), windows, parting(7)}, Foreign},
		{"and another's driver", []made{secure(1), stranger, parting(7), windows}, Foreign},
		{"and another", []made{secure(1), parting(7), windows, stranger}, Foreign},
		{"after another", []made{secure(1), parting(7), stranger, windows}, Foreign},
		{"another", []made{secure(1), parting(7), stranger}, Foreign},
		{"nobody", []made{secure(1), parting(7)}, Foreign},
		{"no Secure Boot, nobody", []made{secure(0), parting(7)}, Foreign},
		{"no Secure Boot", []made{secure(0), parting(7), windows}, Foreign},
		{"Secure Boot not said", []made{parting(7), windows}, Foreign},
		{"vouched for by a machine owner", []made{secure(1), parting(7), authorityEvent(shimVendor, "MokList", owned(ca))}, Foreign},
		{"by a hash", []made{secure(1), parting(7), windows, authorityEvent(securityVendor, "db", owned(make([]byte, 32)))}, Foreign},
		{"a certificate with a byte more", []made{secure(1), parting(7), authorityEvent(securityVendor, "db", owned(append(bytes.Clone(ca), 0)))}, Foreign},
		{"an authority that is hidden", []made{secure(1), parting(7), windows, of(7, kindAuthority, nil, stranger.body)}, Foreign},
		{"a body of Windows on another's digest", []made{secure(1), parting(7), of(7, kindAuthority, windows.body, stranger.body)}, Foreign},
		{"no separator", []made{secure(1), windows}, Foreign},
	}
	for _, test := range tests {
		f := judge(t, test.policy, coldStart(), dividers()).Windows
		if f.Known != (test.want == "") || f.Reason != test.want {
			t.Errorf("%s: known %v, reason %q; want %q", test.name, f.Known, f.Reason, test.want)
		}
	}
}

func TestWhereWindowsSpeaks(t *testing.T) {
	policy, cold := windowsPolicy(t), coldStart()
	wrong := func(pcr int) *Account {
		events := started(t, cold)
		values := replayed(events)
		values[pcr] = bytes.Repeat([]byte{7}, 32)
		return account(t, events, values)
	}
	none := func(pcr int) *Account {
		events := started(t, cold)
		values := replayed(events)
		values[pcr] = nil
		return account(t, events, values)
	}
	linux := []made{bound(12, kindIPL, []byte("r\x00o\x00o\x00t\x00"))}
	tests := []struct {
		name string
		a    *Account
		want Reason
	}{
		{"PCR 12 is another", wrong(12), NotReplayed},
		{"PCR 13 is another", wrong(13), NotReplayed},
		{"PCR 14 is another", wrong(14), NotReplayed},
		{"PCR 7 is another", wrong(7), Foreign},
		{"PCR 11 is another", wrong(11), ""}, // of which nothing is said
		{"PCR 12 was not given", none(12), NotReplayed},
		{"PCR 14 was not given", none(14), NotReplayed},
		{"no values", account(t, started(t, cold), nil), NotReplayed},
		{"no Windows", judge(t, policy), NotLogged},
		{"another system's events", judge(t, policy, linux), NotLogged},
		{"no dividers", judge(t, policy, cold), NoSeparator},
		{"two dividers", judge(t, policy, cold, []made{divider(12), divider(13)}), NoSeparator},
		{"no divider of settings", judge(t, policy, cold, []made{divider(13), divider(14)}), NoSeparator},
		{"another system's, and dividers", judge(t, policy, linux, dividers()), Unreadable},
	}
	for _, test := range tests {
		if f := test.a.Windows; f.Known != (test.want == "") || f.Reason != test.want {
			t.Errorf("%s: known %v, reason %q; want %q", test.name, f.Known, f.Reason, test.want)
		}
	}
}

// TestAfterTheDivider: what is measured later is not the loader's, good or bad.
func TestAfterTheDivider(t *testing.T) {
	events := []made{measures(12, hands(toLoader), is(sipaTestSigning, 1)), measures(13)}
	before := judge(t, started(t, events))
	later := slices.Concat(started(t, events), coldStart(), []made{
		of(12, kindTag, nil, []byte("hidden")), bound(13, kindTag, []byte("text")), measures(12, hands(toResume), is(sipaSafeMode, 1)),
	}, dividers())
	after := judge(t, later)
	same(t, "with more", states(t, after.Windows), states(t, before.Windows))
	if got := states(t, after.Windows)["TestSigning"]; got != true {
		t.Errorf("test signing is %v", got)
	}
}

// TestWindowsTampered changes every bit of logs, good and bad, of which the values are
// given: nothing gets better.
func TestWindowsTampered(t *testing.T) {
	bad := append(coldStart(), measures(12, is(sipaTestSigning, 1), is(sipaKernelDebug, 1), counts(sipaVSM, 0)))
	for name, events := range map[string][]made{"good": started(t, coldStart()), "bad": started(t, bad)} {
		values := replayed(events)
		raw := write(events)
		before := account(t, events, values)
		if !before.Windows.Known {
			t.Fatal("the log says nothing")
		}
		var certs Certificates
		known, began := 0, time.Now()
		for bit := range 8 * len(raw) {
			mutant := bytes.Clone(raw)
			mutant[bit/8] ^= 1 << (bit % 8)
			l, err := Parse(mutant)
			if err != nil {
				continue
			}
			after := l.Account(SHA256, values, &certs)
			if found := betterWindows(before.Windows, after.Windows); len(found) > 0 {
				t.Fatalf("%s, bit %d: %v", name, bit, found)
			}
			if after.Windows.Known {
				known++
			}
		}
		// Types of events, and what other PCRs hold, bind nothing.
		if known == 0 || known == 8*len(raw) {
			t.Errorf("%s: known in %d mutants of %d", name, known, 8*len(raw))
		}
		t.Logf("%s: %d mutants, %d still known, %v", name, 8*len(raw), known, time.Since(began))
	}
}

// TestWindowsReordered drops, doubles and swaps events, and moves them to other PCRs,
// with the values as they were.
func TestWindowsReordered(t *testing.T) {
	events := started(t, append(coldStart(), measures(12, is(sipaTestSigning, 1))))
	values := replayed(events)
	before := account(t, events, values)
	check := func(what string, at int, changed []made) {
		t.Helper()
		if found := betterWindows(before.Windows, account(t, changed, values).Windows); len(found) > 0 {
			t.Errorf("event %d %s: %v", at, what, found)
		}
	}
	for i := range events {
		check("dropped", i, slices.Delete(slices.Clone(events), i, i+1))
		check("doubled", i, slices.Insert(slices.Clone(events), i, events[i]))
		for j := range i {
			swapped := slices.Clone(events)
			swapped[i], swapped[j] = swapped[j], swapped[i]
			check("swapped", i, swapped)
		}
		for pcr := range uint32(PCRCount) {
			moved := slices.Clone(events)
			moved[i].pcr = pcr
			check("moved", i, moved)
		}
		for _, kind := range []uint32{0, kindNoAction, kindSeparator, kindTag, kindIPL, 0xffffffff} {
			relabelled := slices.Clone(events)
			relabelled[i].kind = kind
			check("relabelled", i, relabelled)
		}
	}
}

// FuzzWindows adds one event of any bytes before the dividers, as a program of the
// chain could: it may take facts away, or say the worse, and not make one better.
func FuzzWindows(f *testing.F) {
	for _, e := range coldStart() {
		f.Add(byte(e.pcr), e.body)
	}
	f.Add(byte(12), tag(sipaTrustBoundary, is(sipaTestSigning, 0), counts(sipaHVCI, 1), hands(toLoader)))
	f.Add(byte(13), []byte("WBCL"))
	f.Add(byte(14), bytes.Repeat([]byte{0xff}, 30))
	bad := []made{measures(12, hands(toLoader), is(sipaTestSigning, 1), is(sipaCodeIntegrity, 0), is(sipaKernelDebug, 1), is(sipaBootDebugging, 1),
		is(sipaSafeMode, 1), is(sipaWinPE, 1), counts(sipaHypervisor, 0), counts(sipaVSM, 0), counts(sipaHVCI, 0))}
	start := started(f, bad)
	policy, rest := start[:3], start[3:]
	f.Fuzz(func(t *testing.T, pcr byte, body []byte) {
		if len(body) > 1<<16 {
			return
		}
		more := []made{bound(firstLoaderPCR+uint32(pcr)%3, kindTag, body)}
		for _, events := range [][]made{slices.Concat(policy, more, rest), slices.Concat(policy, rest[:1], more, rest[1:])} {
			a := judge(t, events)
			if !a.Windows.Known {
				continue
			}
			v := &a.Windows.Value
			for name, flag := range map[string]Fact[bool]{
				"BootDebug": v.BootDebug, "KernelDebug": v.KernelDebug, "TestSigning": v.TestSigning,
				"SafeMode": v.SafeMode, "WinPE": v.WinPE, "DriverSigningOff": v.DriverSigningOff,
			} {
				// An event that is a divider makes what follows it a later program's.
				if flag.Known && !flag.Value && more[0].pcr == firstLoaderPCR && string(body) != "WBCL" {
					t.Errorf("%s is known not to be", name)
				}
			}
			for name, flag := range map[string]Fact[bool]{"CodeIntegrity": v.CodeIntegrity, "VBS": v.VBS, "HVCI": v.HVCI} {
				if flag.Known && flag.Value {
					t.Errorf("%s is known to be", name)
				}
			}
			states(t, a.Windows)
		}
	})
}
