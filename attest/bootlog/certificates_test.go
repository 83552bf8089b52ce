package bootlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"reflect"
	"slices"
	"sync"
	"testing"
)

// TestCacheSame: an account is the same with a cache, without one, and a second time,
// for every log, forged ones too.
func TestCacheSame(t *testing.T) {
	var certs Certificates
	for _, r := range reals(t) {
		values := r.values[SHA256]
		for round := range 2 {
			if with, without := r.log.Account(SHA256, values, &certs), r.log.Account(SHA256, values, nil); !reflect.DeepEqual(with, without) {
				t.Errorf("%s, round %d:\n%+v\n%+v", r.name, round, with, without)
			}
		}
		for f := range forgeries(take(t, r.log)[3:9]) {
			l := parsed(t, write(f.events))
			// What the forged log replays to: the bodies alone decide.
			values := matching(l, SHA256, 0)
			if with, without := l.Account(SHA256, values, &certs), l.Account(SHA256, values, nil); !reflect.DeepEqual(with, without) {
				t.Errorf("%s: %s:\n%+v\n%+v", r.name, f.name, with, without)
			}
		}
	}
}

// TestCacheBound: neither shelf grows beyond its limit, and what does not fit is read
// all the same.
func TestCacheBound(t *testing.T) {
	var s shelf[int]
	for i := range 100 {
		s.put(sha256.Sum256(binary.LittleEndian.AppendUint32(nil, uint32(i))), i, 10)
		if len(s.kept) > 10 {
			t.Fatalf("%d kept", len(s.kept))
		}
		if v, ok := s.get(sha256.Sum256(binary.LittleEndian.AppendUint32(nil, uint32(i)))); !ok || v != i {
			t.Errorf("%d: %d, %v", i, v, ok)
		}
	}
	var certs Certificates
	hash := bytes.Repeat([]byte{1}, 32)
	large := variableEvent(securityVendor, "dbx", list(kindSHA256, slices.Repeat([][]byte{hash}, keepVariableSize/48+1)...))
	for range 2 {
		events := []made{large, parting(7)}
		a := parsed(t, write(events)).Account(SHA256, replayed(events), &certs)
		if a.DBX.Value.Entries != keepVariableSize/48+1 {
			t.Errorf("%+v", a.DBX.Reason)
		}
	}
	for _, c := range certs.variables.kept {
		if len(c.body) > keepVariableSize {
			t.Errorf("%d bytes kept", len(c.body))
		}
	}
	if certs.read(make([]byte, maxDER+1)) != nil || certs.read(nil) != nil || certs.read([]byte{0x30, 0}) != nil {
		t.Error("no certificate was read as one")
	}
	if (*Certificates)(nil).read([]byte{0x30, 0}) != nil {
		t.Error("without a cache")
	}
}

// TestCacheForeign: a cached variable is found by its bytes, not by a digest that
// somebody wrote beside others; and other banks do not share it.
func TestCacheForeign(t *testing.T) {
	var certs Certificates
	r := oneReal(t, "sb-shim-grub")
	r.log.Account(SHA256, r.values[SHA256], &certs)
	off := take(t, r.log)
	for i, e := range off {
		if v, ok := readVariable(e.body); ok && v.is(globalVendor, "SecureBoot") {
			off[i].body = uefi(globalVendor, "SecureBoot", []byte{0})
		}
	}
	a := parsed(t, write(off)).Account(SHA256, r.values[SHA256], &certs)
	if a.SecureBoot.Known || a.SecureBoot.Reason != Unbound {
		t.Errorf("%+v", a.SecureBoot)
	}
	kept := len(certs.variables.kept)
	for _, bank := range []Bank{SHA1, SHA384} {
		if a := r.log.Account(bank, r.values[bank], &certs); !a.SecureBoot.Value {
			t.Errorf("%s: %+v", bank, a.SecureBoot)
		}
	}
	if len(certs.variables.kept) != kept {
		t.Errorf("%d kept, and then %d", kept, len(certs.variables.kept))
	}
}

func TestCacheTogether(t *testing.T) {
	var certs Certificates
	all := reals(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 10 {
				r := all[(i+j)%len(all)]
				if a := r.log.Account(SHA256, r.values[SHA256], &certs); !a.PK.Known {
					t.Error(a.PK.Reason)
				}
			}
		})
	}
	wg.Wait()
}

func TestLongNames(t *testing.T) {
	if got := short(string(bytes.Repeat([]byte("é"), maxSubject))); len(got) > maxSubject || len(got) < maxSubject-1 {
		t.Errorf("%d bytes", len(got))
	}
	for name, want := range map[string]string{
		"db": "db", "MokListRT": "MokListRT", "vendor_db": "vendor_db", "Other": "Other", "a\x01": "?", "é": "?", "": "",
		string(bytes.Repeat([]byte("a"), maxName+1)): "?",
	} {
		v, ok := readVariable(uefi(shimVendor, name, nil))
		if !ok || v.title() != want {
			t.Errorf("%q: %q", name, v.title())
		}
	}
}
