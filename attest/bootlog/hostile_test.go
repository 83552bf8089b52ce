package bootlog

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"math/big"
	"runtime"
	"slices"
	"testing"
	"time"
)

// TestOddBodies: what is odd in one body spoils nothing else.
func TestOddBodies(t *testing.T) {
	r := oneReal(t, "sb-shim-grub")
	values := r.values[SHA256]
	before := r.log.Account(SHA256, values, nil)
	le := binary.LittleEndian
	wide := uefi(securityVendor, "dbx", nil)
	le.PutUint64(wide[16:], 1<<63+3)
	odd := []made{
		{pcr: 0xffffffff, kind: kindNoAction, body: []byte("in no PCR"), digest: make([]byte, 32)},
		bound(24, 6, []byte("beyond the last PCR")),
		{pcr: 0, kind: kindNoAction, body: []byte("StartupLocality\x00\x03"), digest: make([]byte, 32)},
		{pcr: 0, kind: kindNoAction, body: []byte("StartupLocality"), digest: make([]byte, 32)},
		{pcr: 7, kind: kindNoAction},
		{pcr: 7, kind: kindAuthority, body: wide},
		bound(6, 0x8000000b, nil),                              // a table of handoff, of no bytes
		bound(6, 0x800000e1, []byte{1, 2, 3}),                  // EV_EFI_SPDM_FIRMWARE_BLOB
		bound(6, 0x80000010, []byte("HCRTM")),                  // EV_EFI_HCRTM_EVENT
		bound(5, kindAction, []byte("Exit Boot Services\x00")), // once more
		of(2, 0x80000004, bytes.Repeat([]byte{4, 4, 0, 0}, 20), []byte("a driver")),
		bound(1, 0x80000002, append(uefi(globalVendor, "BootOrder", []byte{1}), 0)),
	}
	events := take(t, r.log)
	for at := 0; at <= len(events); at += 9 {
		all := slices.Concat(events[:at], odd, events[at:])
		grown := replayed(all)
		grown[10] = values[10]
		a := account(t, all, grown)
		noBetter(t, before, a)
		noBetter(t, a, before)
		for pcr, s := range a.PCRs {
			if s != Match && s != Empty && pcr != 10 {
				t.Errorf("at %d: PCR %d is %s", at, pcr, s)
			}
		}
	}
}

// TestCost: the dearest logs that can be made stay below ten times their size, and
// below what a server can spare for one.
func TestCost(t *testing.T) {
	cert := testCertificate(t)
	entries := func(n int, make func(i int) made) []made {
		events := []made{parting(4), parting(7)}
		for i := range n {
			events = append(events, make(i))
		}
		return events
	}
	number := func(i int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(i+2)) } // 0 and 1 part
	logs := map[string][]made{
		"no digests": entries(MaxEvents-3, func(i int) made { return made{pcr: uint32(i)} }),
		"programs":   entries(MaxEvents-3, func(i int) made { return of(4, kindProgram, image("a"), number(i)) }),
		"long paths": entries(60, func(i int) made {
			return of(4, kindProgram, image(string(bytes.Repeat([]byte("é"), 20000))), number(i))
		}),
		"lines":        entries(MaxEvents-3, func(i int) made { return of(8, kindIPL, []byte("grub_cmd: \xff\xff\xff\x00"), []byte("\xff\xff\xff")) }),
		"opaque lines": entries(2, func(i int) made { return of(8, kindIPL, make([]byte, MaxLog/2-4096), number(i)) }),
		"opaque policy": append(entries(2, func(i int) made { return of(7, kindIPL, make([]byte, MaxLog/2-4096), number(i)) }),
			parting(7)),
		"authorities": entries(MaxEvents-3, func(i int) made {
			return bound(7, kindAuthority, uefi(shimVendor, "MokList", owned(append(number(i), make([]byte, 28)...))))
		}),
		"certificates": entries(4000, func(i int) made { return bound(7, kindAuthority, uefi(shimVendor, "MokList", owned(cert(i)))) }),
		"a long dbx": append([]made{bound(7, kindVariable, uefi(securityVendor, "dbx", list(kindSHA256, slices.Repeat([][]byte{make([]byte, 32)}, 80000)...)))},
			parting(7)),
		"many short lists": append([]made{bound(7, kindVariable, uefi(securityVendor, "dbx", bytes.Repeat(list([16]byte{1}, []byte{}), 90000)))},
			parting(7)),
		"a list of certificates": append([]made{bound(7, kindVariable, uefi(securityVendor, "db", slices.Concat(lists(5000, cert)...)))},
			parting(7)),
		"empty lists": append([]made{bound(7, kindVariable, uefi(securityVendor, "dbx", bytes.Repeat(list([16]byte{1}), 140000)))},
			parting(7)),
	}
	for name, events := range logs {
		t.Run(name, func(t *testing.T) {
			b := write(events)
			if len(b) > MaxLog {
				t.Fatalf("%d bytes", len(b))
			}
			values := replayed(events)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			l, err := Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			a := l.Account(SHA256, values, nil)
			took := time.Since(began)
			runtime.ReadMemStats(&after)
			spent := after.TotalAlloc - before.TotalAlloc
			if spent > uint64(10*len(b)+fixedCost) {
				t.Errorf("%d bytes allocated for %d", spent, len(b))
			}
			t.Logf("%s: %d bytes: %v, %d allocated, %s %s", name, len(b), took, spent, a.Authorities.Reason, a.CommandLines.Reason)
			if took > 500*time.Millisecond {
				t.Errorf("%d bytes took %v", len(b), took)
			}
			confirmed(t, a)
		})
	}
}

// lists are n lists of one certificate each.
func lists(n int, cert func(int) []byte) (all [][]byte) {
	for i := range n {
		all = append(all, list(kindX509, cert(i)))
	}
	return all
}

// testCertificate makes small certificates that differ in their serial number. Their
// signatures are worth nothing.
func testCertificate(t *testing.T) func(i int) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial := big.NewInt(0x7fffffff00000000)
	tmpl := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Unix(2e9, 0)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(der, []byte{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	if at < 0 || !isDER(der) {
		t.Fatal("no serial number")
	}
	return func(i int) []byte {
		one := bytes.Clone(der)
		binary.BigEndian.PutUint32(one[at+4:], uint32(i))
		return one
	}
}
