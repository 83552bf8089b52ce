package bootlog

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"testing"
)

// setting is the start of PCR 7 that the tests vary.
func setting(t testing.TB) (statements []made, cert []byte) {
	t.Helper()
	for _, e := range take(t, oneReal(t, "sb-shim-grub").log) {
		v, ok := readVariable(e.body)
		if e.pcr != 7 || !ok {
			continue
		}
		if v.is(securityVendor, "db") && certificateOf(v.data) != nil {
			return statements, certificateOf(v.data)
		}
		statements = append(statements, e)
	}
	t.Fatal("no authority in the log")
	return nil, nil
}

// judge gives the account of events whose values match.
func judge(t testing.TB, events ...[]made) *Account {
	t.Helper()
	all := slices.Concat(events...)
	return account(t, all, replayed(all))
}

func variableEvent(vendor [16]byte, name string, data []byte) made {
	return bound(7, kindVariable, uefi(vendor, name, data))
}

func TestStatements(t *testing.T) {
	secure := func(b ...byte) made { return variableEvent(globalVendor, "SecureBoot", b) }
	opaque := of(7, kindVariable, []byte("another body"), []byte("what was measured"))
	end := []made{parting(7)}
	tests := []struct {
		name   string
		events []made
		want   Fact[bool]
	}{
		{"on", []made{secure(1)}, Fact[bool]{Known: true, Value: true}},
		{"off", []made{secure(0)}, Fact[bool]{Known: true}},
		{"on, then off", []made{secure(1), secure(0)}, Fact[bool]{Known: true, Value: true}},
		{"off, then on", []made{secure(0), secure(1)}, Fact[bool]{Known: true}},
		{"another type", []made{bound(7, kindIPL, uefi(globalVendor, "SecureBoot", []byte{1}))}, Fact[bool]{Known: true, Value: true}},
		{"nothing", nil, Fact[bool]{Reason: NotLogged}},
		{"of no bytes", []made{secure()}, Fact[bool]{Reason: Unreadable}},
		{"of two", []made{secure(1, 1)}, Fact[bool]{Reason: Unreadable}},
		{"two", []made{secure(2)}, Fact[bool]{Reason: Unreadable}},
		{"unreadable, then on", []made{secure(), secure(1)}, Fact[bool]{Reason: Unreadable}},
		{"another vendor", []made{variableEvent(shimVendor, "SecureBoot", []byte{1})}, Fact[bool]{Reason: NotLogged}},
		{"another name", []made{variableEvent(globalVendor, "Secureboot", []byte{1})}, Fact[bool]{Reason: NotLogged}},
		{"a longer name", []made{variableEvent(globalVendor, "SecureBoot\x00", []byte{1})}, Fact[bool]{Reason: NotLogged}},
		{"not bound", []made{of(7, kindVariable, uefi(globalVendor, "SecureBoot", []byte{1}), uefi(globalVendor, "SecureBoot", []byte{0}))}, Fact[bool]{Reason: Unbound}},
		{"after an opaque event", []made{opaque, secure(1)}, Fact[bool]{Reason: Unbound}},
		{"before an opaque event", []made{secure(1), opaque}, Fact[bool]{Known: true, Value: true}},
		{"another PCR's", []made{bound(1, kindVariable, uefi(globalVendor, "SecureBoot", []byte{1}))}, Fact[bool]{Reason: NotLogged}},
		{"not extended", []made{bound(7, noAction, uefi(globalVendor, "SecureBoot", []byte{1}))}, Fact[bool]{Reason: NotLogged}},
		{"a body that is cut", []made{bound(7, kindVariable, uefi(globalVendor, "SecureBoot", []byte{1})[:52])}, Fact[bool]{Reason: NotLogged}},
		{"a body with more", []made{bound(7, kindVariable, append(uefi(globalVendor, "SecureBoot", []byte{1}), 1))}, Fact[bool]{Reason: NotLogged}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := judge(t, test.events, end).SecureBoot
			if got.Known != test.want.Known || got.Value != test.want.Value || got.Reason != test.want.Reason {
				t.Errorf("%+v, not %+v", got, test.want)
			}
			if got.Known && (got.PCR != 7 || got.Event < 1) {
				t.Errorf("bound by event %d of PCR %d", got.Event, got.PCR)
			}
			all := append(slices.Clone(test.events), end...)
			values := replayed(all)
			values[7] = bytes.Repeat([]byte{1}, 32)
			if got := account(t, all, values).SecureBoot; got.Known || got.Reason != NotReplayed {
				t.Errorf("another value: %+v", got)
			}
		})
	}
}

// TestNoFirmware: where firmware did not end well, nothing of PCR 7 is known.
func TestNoFirmware(t *testing.T) {
	statements, cert := setting(t)
	vouched := bound(7, kindAuthority, uefi(securityVendor, "db", owned(cert)))
	failed := bound(7, kindSeparator, []byte{1, 0, 0, 0})
	tests := []struct {
		name   string
		events []made
		reason Reason
	}{
		{"no separator", append(statements[:len(statements):len(statements)], vouched), NoSeparator},
		{"an error", append(statements[:len(statements):len(statements)], failed, parting(7), vouched), FirmwareError},
		{"nothing at all", nil, NotLogged},
	}
	for _, test := range tests {
		a := judge(t, test.events)
		for name, f := range map[string]Fact[bool]{
			"SecureBoot": a.SecureBoot, "UEFIDebug": a.UEFIDebug, "MOKOff": a.MOKOff, "DMAProtection": a.DMAProtection,
			"PK": {a.PK.Known, a.PK.Reason, 0, 0, false}, "KEK": {a.KEK.Known, a.KEK.Reason, 0, 0, false},
			"DB": {a.DB.Known, a.DB.Reason, 0, 0, false}, "DBX": {a.DBX.Known, a.DBX.Reason, 0, 0, false},
			"SBAT": {a.SBAT.Known, a.SBAT.Reason, 0, 0, false}, "Authorities": {a.Authorities.Known, a.Authorities.Reason, 0, 0, false},
		} {
			if f.Known || f.Reason != test.reason {
				t.Errorf("%s: %s: %+v", test.name, name, f)
			}
		}
	}
}

func TestSeparators(t *testing.T) {
	on := variableEvent(globalVendor, "SecureBoot", []byte{1})
	for name, e := range map[string]made{
		"zeros":              parting(7),
		"ones":               bound(7, kindSeparator, []byte{0xff, 0xff, 0xff, 0xff}),
		"by its digest":      of(7, kindSeparator, []byte("nobody hashed this"), make([]byte, 4)),
		"with another label": bound(7, kindIPL, make([]byte, 4)),
	} {
		if a := judge(t, []made{on, e}); !a.SecureBoot.Value {
			t.Errorf("%s: %+v", name, a.SecureBoot)
		}
		if a := judge(t, []made{e, on}); a.SecureBoot.Reason != NotLogged {
			t.Errorf("%s before it: %+v", name, a.SecureBoot)
		}
	}
	for name, e := range map[string]made{
		"of two":       bound(7, kindSeparator, []byte{2, 0, 0, 0}),
		"of none":      bound(7, kindSeparator, nil),
		"of a label":   of(7, kindSeparator, make([]byte, 4), []byte("else")),
		"not extended": bound(7, noAction, make([]byte, 4)),
	} {
		if a := judge(t, []made{on, e}); a.SecureBoot.Reason != NoSeparator {
			t.Errorf("%s: %+v", name, a.SecureBoot)
		}
	}
}

func TestActions(t *testing.T) {
	end := parting(7)
	debug, dma := bound(7, kindAction, []byte(debugAction)), bound(7, kindAction, []byte(dmaOffAction))
	opaque := of(7, kindAction, []byte("a"), []byte("b"))
	a := judge(t, []made{debug, dma, end})
	if !a.UEFIDebug.Value || !a.DMAProtection.Known || a.DMAProtection.Value {
		t.Errorf("%+v, %+v", a.UEFIDebug, a.DMAProtection)
	}
	if a := judge(t, []made{bound(7, kindAction, []byte(debugAction+"\x00")), end}); !a.UEFIDebug.Value {
		t.Errorf("with its zero byte: %+v", a.UEFIDebug)
	}
	a = judge(t, []made{end, debug, dma})
	if !a.UEFIDebug.Known || a.UEFIDebug.Value || a.DMAProtection.Reason != NotLogged {
		t.Errorf("after the separator: %+v, %+v", a.UEFIDebug, a.DMAProtection)
	}
	for _, events := range [][]made{{opaque, debug, dma, end}, {opaque, end}, {of(7, kindAction, []byte("a"), []byte(debugAction)), end}} {
		if a := judge(t, events); a.UEFIDebug.Reason != Unbound || a.DMAProtection.Reason != Unbound {
			t.Errorf("opaque: %+v, %+v", a.UEFIDebug, a.DMAProtection)
		}
	}
}

func TestKeys(t *testing.T) {
	_, cert := setting(t)
	hash := bytes.Repeat([]byte{5}, 32)
	lists := slices.Concat(list(kindX509, cert), list(kindSHA256, hash, hash), list([16]byte{1}, []byte("other")), list(kindX509, []byte("no certificate")))
	a := judge(t, []made{
		variableEvent(globalVendor, "PK", lists),
		variableEvent(globalVendor, "KEK", nil),
		variableEvent(securityVendor, "db", lists[:len(lists)-1]),
		variableEvent(securityVendor, "dbx", lists),
		variableEvent(securityVendor, "db", lists),
		variableEvent(securityVendor, "dbx", nil),
		parting(7),
	})
	if pk := a.PK.Value; !a.PK.Known || pk.SHA256 != sha256.Sum256(lists) || len(pk.Certificates) != 1 || pk.Hashes != 2 || pk.Others != 2 {
		t.Errorf("PK %+v", a.PK)
	}
	if pk := a.PK.Value; pk.Certificates[0].SHA256 != sha256.Sum256(cert) || pk.Certificates[0].Subject == "" || pk.Certificates[0].NotAfter.IsZero() {
		t.Errorf("%+v", pk.Certificates[0])
	}
	if !a.KEK.Known || len(a.KEK.Value.Certificates)+a.KEK.Value.Hashes+a.KEK.Value.Others != 0 {
		t.Errorf("an empty KEK: %+v", a.KEK)
	}
	if a.DB.Reason != Unreadable || a.Authorities.Reason != Unreadable {
		t.Errorf("db of broken lists, then a whole one: %+v, %+v", a.DB, a.Authorities)
	}
	if a.DBX.Value.Entries != 5 || len(slices.Collect(a.DBX.Value.Hashes())) != 2 {
		t.Errorf("dbx %+v", a.DBX)
	}
}

func TestAuthorities(t *testing.T) {
	statements, cert := setting(t)
	end := parting(7)
	hash := bytes.Repeat([]byte{9}, 32)
	db := func(data []byte) made { return bound(7, kindAuthority, uefi(securityVendor, "db", data)) }
	shim := func(name string, data []byte) made { return bound(7, kindAuthority, uefi(shimVendor, name, data)) }
	opaque := of(7, kindAuthority, []byte("a"), []byte("b"))
	tests := []struct {
		name   string
		events []made
		reason Reason
		count  int
	}{
		{"none", []made{end}, "", 0},
		{"a certificate", []made{end, db(owned(cert))}, "", 1},
		{"a hash", []made{end, db(owned(hash))}, "", 1},
		{"shim's own, without an owner", []made{end, shim("Shim", cert)}, "", 1},
		{"of an old shim, with its padding", []made{end, of(7, kindAuthority, append(uefi(shimVendor, "Shim", cert), 0, 0, 0, 0, 0, 7), append(uefi(shimVendor, "Shim", cert), 0, 0, 0, 0, 0))}, "", 1},
		{"early", []made{db(owned(hash)), end, db(owned(cert))}, "", 2},
		{"shim's state", []made{end, shim("SbatLevel", []byte("sbat,1,2021030218\n")), shim("MokListTrusted", []byte{1}), shim("MokSBState", []byte{0}), db(owned(cert))}, "", 1},
		{"a second separator", []made{end, end, db(owned(cert))}, "", 1},
		{"opaque", []made{end, db(owned(cert)), opaque}, Unbound, 0},
		{"opaque before the separator", []made{opaque, end, db(owned(cert))}, Unbound, 0},
		{"opaque and not understood", []made{end, opaque, db(nil)}, Unbound, 0},
		{"no variable", []made{end, db(owned(cert)), bound(7, kindAuthority, []byte("text"))}, Unreadable, 0},
		{"no certificate", []made{end, db(owned(append([]byte{0x30, 0x82, 1, 0}, make([]byte, 256)...)))}, Unreadable, 0},
		{"a hash that is cut", []made{end, db(owned(hash[:31]))}, Unreadable, 0},
		{"an empty variable", []made{end, db(nil)}, Unreadable, 0},
		{"whole lists", []made{end, db(list(kindX509, cert))}, Unreadable, 0},
		{"shim's state by another vendor", []made{end, bound(7, kindAuthority, uefi(globalVendor, "SbatLevel", []byte("sbat,1,2021030218\n")))}, Unreadable, 0},
		{"another state", []made{end, shim("MokOther", []byte{1})}, Unreadable, 0},
		{"too many", append([]made{end}, slices.Repeat([]made{db(owned(hash))}, maxAuthorities+1)...), Unreadable, 0},
		{"as many as can be", append([]made{end}, slices.Repeat([]made{db(owned(hash))}, maxAuthorities)...), "", maxAuthorities},
		{"certificates without end", append([]made{end}, slices.Repeat([]made{db(owned(cert))}, maxCertificates+2)...), Unbound, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var certs Certificates
			events := append(slices.Clone(statements), test.events...)
			if test.name == "certificates without end" {
				events = slices.Clone(test.events) // those of firmware count too
			}
			for range 2 { // with and without what was read before
				a := parsed(t, write(events)).Account(SHA256, replayed(events), &certs)
				if a.Authorities.Known != (test.reason == "") || a.Authorities.Reason != test.reason || len(a.Authorities.Value) != test.count {
					t.Fatalf("%+v", a.Authorities)
				}
				if a.MOKOff.Known != a.Authorities.Known || a.MOKOff.Value {
					t.Errorf("MOKOff %+v", a.MOKOff)
				}
			}
		})
	}
	a := judge(t, statements, []made{db(owned(hash)), end, shim("Shim", cert)})
	if got := a.Authorities.Value; !got[0].Early || got[1].Early || got[0].Hash != [32]byte(hash) || got[1].Certificate.SHA256 != sha256.Sum256(cert) || got[0].Variable != "db" || got[1].Variable != "Shim" {
		t.Errorf("%+v", got)
	}
}

func TestShimState(t *testing.T) {
	statements, cert := setting(t)
	end := parting(7)
	shim := func(name string, data []byte) made { return bound(7, kindAuthority, uefi(shimVendor, name, data)) }
	level := func(text string) made { return shim("SbatLevel", []byte(text)) }
	opaque := of(7, kindAuthority, []byte("a"), []byte("b"))
	tests := []struct {
		name   string
		events []made
		text   string
		reason Reason
	}{
		{"a level", []made{end, level("sbat,1,1\n")}, "sbat,1,1\n", ""},
		{"with a zero byte", []made{end, level("sbat,1,1\n\x00")}, "sbat,1,1\n", ""},
		{"two levels", []made{end, level("sbat,1,1\n"), level("sbat,1,2\n")}, "sbat,1,1\n", ""},
		{"before the separator", []made{level("sbat,1,1\n"), end}, "", NotLogged},
		{"none", []made{end}, "", NotLogged},
		{"after shim's own authority", []made{end, shim("Shim", cert), level("sbat,1,2\n")}, "", NotLogged},
		{"after shim's own database", []made{end, bound(7, kindAuthority, uefi(securityVendor, "vendor_db", owned(cert))), level("sbat,1,2\n")}, "", NotLogged},
		{"after a hash of the owner's", []made{end, shim("MokListRT", owned(make([]byte, 32))), level("sbat,1,2\n")}, "", NotLogged},
		{"after firmware's authority", []made{end, bound(7, kindAuthority, uefi(securityVendor, "db", owned(cert))), level("sbat,1,2\n")}, "sbat,1,2\n", ""},
		{"after an opaque event", []made{end, opaque, level("sbat,1,1\n")}, "", Unbound},
		{"before an opaque event", []made{end, level("sbat,1,1\n"), opaque}, "sbat,1,1\n", ""},
		{"no text", []made{end, level("sbat\x01")}, "", Unreadable},
		{"no text, then a level", []made{end, level("\xff"), level("sbat,1,1\n")}, "", Unreadable},
		{"another vendor's", []made{end, variableEvent(globalVendor, "SbatLevel", []byte("sbat,1,1\n"))}, "", NotLogged},
		{"too long", []made{end, level(string(bytes.Repeat([]byte{'a'}, maxText+1)))}, "", Unreadable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := judge(t, statements, test.events).SBAT; got.Value != test.text || got.Known != (test.reason == "") || got.Reason != test.reason {
				t.Errorf("%+v", got)
			}
		})
	}
	off := shim("MokSBState", []byte{1})
	for name, events := range map[string][]made{
		"off":                  {end, off},
		"off, then on":         {end, off, shim("MokSBState", []byte{0})},
		"off beside an opaque": {end, opaque, off},
		"of another value":     {end, shim("MokSBState", []byte{2})},
		"of two bytes":         {end, shim("MokSBState", []byte{0, 1})},
	} {
		if got := judge(t, statements, events).MOKOff; !got.Known || !got.Value {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
