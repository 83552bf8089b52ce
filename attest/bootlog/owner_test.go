package bootlog

import (
	"bytes"
	"crypto/sha256"
	"testing"
)

func TestOwner(t *testing.T) {
	statements, cert := setting(t)
	none := sha256.Sum256(nil)
	empty := oneEntry(nil, kindSHA256, none[:])
	own := oneEntry(nil, kindX509, cert)
	named := func(name string, measured []byte) made {
		return of(14, kindIPL, []byte(name+"\x00"), measured)
	}
	vouched := bound(7, kindAuthority, uefi(shimVendor, "MokListRT", owned(cert)))
	otherVendor := bound(7, kindAuthority, uefi(securityVendor, "db", owned(cert)))
	end := parting(7)
	tests := []struct {
		name   string
		events []made
		reason Reason
		count  int
	}{
		{"nothing measured", []made{end}, "", 0},
		{"an empty list", []made{end, named("MokList", empty), named("MokListX", []byte("x"))}, "", 0},
		{"shim's own certificate", []made{end, vouched, named("MokList", own), named("MokListX", empty)}, "", 1},
		{"more than shim's own", []made{end, vouched, named("MokList", append(bytes.Clone(own), own...))}, Unbound, 0},
		{"a certificate that vouched for nothing", []made{end, named("MokList", own)}, Unbound, 0},
		{"one of firmware's", []made{end, otherVendor, named("MokList", own)}, Unbound, 0},
		{"a list that is logged whole", []made{end, bound(14, kindIPL, list(kindX509, cert))}, "", 1},
		{"another loader's", []made{end, bound(14, kindIPL, []byte("bound, and no list")), named("MokList", own)}, "", 0},
		{"an empty list that is not the first", []made{end, named("MokListX", []byte("x")), named("MokList", empty)}, Unbound, 0},
		{"no bytes", []made{end, named("MokList", nil)}, Unbound, 0},
		{"another list", []made{end, vouched, named("MokList", []byte("of the owner"))}, Unbound, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			events := append(statements[:len(statements):len(statements)], test.events...)
			got := account(t, events, replayed(events)).MOK
			if got.Known != (test.reason == "") || got.Reason != test.reason || len(got.Value.Certificates) != test.count || got.Value.Hashes+got.Value.Others != 0 {
				t.Errorf("%+v", got)
			}
			values := replayed(events)
			values[14] = bytes.Repeat([]byte{1}, 32)
			if got := account(t, events, values).MOK; got.Known || got.Reason != NotReplayed {
				t.Errorf("another value: %+v", got)
			}
		})
	}
}

// TestOwnerReal: Debian's shim had nothing enrolled, and vouched for GRUB by its own
// certificate.
func TestOwnerReal(t *testing.T) {
	for _, name := range []string{"sb-shim-grub", "d13-sb-shim-grub"} {
		r := oneReal(t, name)
		a := r.log.Account(SHA256, r.values[SHA256], nil)
		if !a.MOK.Known || len(a.MOK.Value.Certificates) != 1 {
			t.Fatalf("%s: %+v", name, a.MOK)
		}
		last := a.Authorities.Value[len(a.Authorities.Value)-1]
		if *a.MOK.Value.Certificates[0] != *last.Certificate {
			t.Errorf("%s: %s, not %s", name, a.MOK.Value.Certificates[0].Subject, last.Certificate.Subject)
		}
	}
}
