package bootlog

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
)

// long makes a log of about 45 kB in one bank: a real one with a dbx as long as
// laptops have it.
func long(t testing.TB) (b []byte, values *Values) {
	events := take(t, oneReal(t, "sb-shim-grub").log)
	var hashes [][]byte
	for i := range 500 {
		h := sha256.Sum256(binary.LittleEndian.AppendUint32(nil, uint32(i)))
		hashes = append(hashes, h[:])
	}
	for i, e := range events {
		if v, ok := readVariable(e.body); ok && v.is(securityVendor, "dbx") {
			events[i] = bound(7, kindVariable, uefi(securityVendor, "dbx", list(kindSHA256, hashes...)))
		}
	}
	for len(write(events)) < 45<<10 {
		events = append(events, of(2, kindProgram, image("driver"), binary.LittleEndian.AppendUint32(nil, uint32(len(events)))))
	}
	return write(events), replayed(events)
}

// TestLong asserts what the benchmark measures: a whole account, few allocations.
func TestLong(t *testing.T) {
	b, values := long(t)
	var certs Certificates
	account := func() *Account {
		l, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		return l.Account(SHA256, values, &certs)
	}
	a := account()
	if !a.SecureBoot.Value || !a.DBX.Known || a.DBX.Value.Entries != 500 || !a.Authorities.Known || !a.MOK.Known || !a.CommandLines.Known {
		t.Fatalf("%d bytes: not a whole account: %+v", len(b), a)
	}
	if n := testing.AllocsPerRun(50, func() { account() }); n > 40 {
		t.Errorf("%v allocations, at most 40", n)
	}
	hashes := 0
	if n := testing.AllocsPerRun(50, func() {
		for h := range a.DBX.Value.Hashes() {
			hashes += int(h[0] & 1)
		}
	}); n != 0 || hashes == 0 {
		t.Errorf("%v allocations for the hashes of dbx, of which %d", n, hashes)
	}
}

func BenchmarkParse(b *testing.B) {
	raw, _ := long(b)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAccount is a log of 45 kB to facts, its certificates read before.
func BenchmarkAccount(b *testing.B) {
	raw, values := long(b)
	var certs Certificates
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		l, err := Parse(raw)
		if err != nil {
			b.Fatal(err)
		}
		if a := l.Account(SHA256, values, &certs); !a.SecureBoot.Value {
			b.Fatal(a.SecureBoot)
		}
	}
}

// BenchmarkAccountCold parses every certificate anew.
func BenchmarkAccountCold(b *testing.B) {
	raw, values := long(b)
	b.ReportAllocs()
	for b.Loop() {
		l, err := Parse(raw)
		if err != nil {
			b.Fatal(err)
		}
		if a := l.Account(SHA256, values, nil); !a.SecureBoot.Value {
			b.Fatal(a.SecureBoot)
		}
	}
}
