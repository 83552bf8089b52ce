package passkey

import (
	"bytes"
	"crypto/sha256"
	"encoding/asn1"
	"slices"
	"strings"
	"testing"
)

// vectorTPM is W3C's tpm vector: its parts, and what certInfo must be about.
func vectorTPM(t testing.TB) (r *registration, certInfo, pubArea, extra, name []byte) {
	t.Helper()
	for _, v := range readVectors(t).Vectors {
		if v.Name != "tpm-es256" {
			continue
		}
		r, err := readRegistration(v.Registration.Attestation, v.Registration.ClientData)
		if err != nil {
			t.Fatal(err)
		}
		if certInfo, err = r.bytes("certInfo"); err != nil {
			t.Fatal(err)
		}
		if pubArea, err = r.bytes("pubArea"); err != nil {
			t.Fatal(err)
		}
		if name, err = r.checkPubArea(pubArea); err != nil {
			t.Fatal(err)
		}
		digest := sha256.Sum256(r.message())
		return r, certInfo, pubArea, digest[:], name
	}
	t.Fatal("no such vector")
	return nil, nil, nil, nil, nil
}

// TestCertInfo: a structure signed by a TPM is a certification of this key for
// this registration, and nothing else that TPMs sign.
func TestCertInfo(t *testing.T) {
	_, good, _, extra, name := vectorTPM(t)
	if err := checkCertInfo(good, extra, name); err != nil {
		t.Fatal(err)
	}
	edit := func(at int, b byte) []byte { m := bytes.Clone(good); m[at] ^= b; return m }
	signer := int(good[6])<<8 | int(good[7])
	for _, c := range []struct {
		text, reason string
		certInfo     []byte
	}{
		{"not made by a TPM", "not a certification", edit(0, 1)},
		{"a quote", "not a certification", edit(5, 0x17^0x18)},
		{"a creation", "not a certification", edit(5, 0x17^0x1a)},
		{"another registration", "something else", edit(10+signer, 1)},
		{"another key", "another key", edit(bytes.LastIndex(good[:len(good)-2], name)+5, 1)},
		{"empty", "malformed", nil},
		{"cut", "malformed", good[:len(good)-1]},
		{"trailing", "malformed", append(bytes.Clone(good), 0)},
		{"a length beyond its end", "malformed", edit(6, 0xff)},
	} {
		if err := checkCertInfo(c.certInfo, extra, name); err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %v", c.text, err)
		}
	}
	for n := range good {
		if checkCertInfo(good[:n], extra, name) == nil {
			t.Errorf("accepted %d of %d bytes", n, len(good))
		}
	}
}

// TestPubArea: the structure is the credential's key exactly, and its name is that
// of these bytes.
func TestPubArea(t *testing.T) {
	r, _, good, _, name := vectorTPM(t)
	mutate(good, func(at int, mutant []byte) {
		other, err := r.checkPubArea(mutant)
		if err == nil && bytes.Equal(other, name) {
			t.Errorf("byte %d changed, and the name is the same", at)
		}
	})
	for n := range good {
		if _, err := r.checkPubArea(good[:n]); err == nil {
			t.Errorf("accepted %d of %d bytes", n, len(good))
		}
	}
	if _, err := r.checkPubArea(append(bytes.Clone(good), 0)); err == nil {
		t.Error("accepted a byte more")
	}
	for nameAlg, good2 := range map[uint16]bool{tpmAlgSHA256: true, tpmAlgSHA384: true, tpmAlgSHA512: true, 0x0004: false, 0x0010: false} {
		m := bytes.Clone(good)
		m[2], m[3] = byte(nameAlg>>8), byte(nameAlg)
		if _, err := r.checkPubArea(m); (err == nil) != good2 {
			t.Errorf("name by %#x: %v", nameAlg, err)
		}
	}
}

// FuzzStructures: no bytes make the readers of signed structures panic, and what
// they accept is about what was asked, whole.
func FuzzStructures(f *testing.F) {
	r, certInfo, pubArea, extra, name := vectorTPM(f)
	f.Add(certInfo)
	f.Add(pubArea)
	f.Add([]byte{})
	f.Add([]byte{0xff, 'T', 'C', 'G', 0x80, 0x17, 0xff, 0xff})
	for _, format := range []string{"tpm", "android-key"} {
		l := newLab(f)
		cred := l.mustRegister(l.authenticator(format))
		made, err := readRegistration(cred.Attestation, cred.ClientData)
		if err != nil {
			f.Fatal(err)
		}
		chain, err := made.chain()
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range chain[0].Extensions {
			f.Add(e.Value)
		}
		if format == "android-key" {
			r.clientDataHash = made.clientDataHash
		}
	}
	point := r.raw[len(r.raw)-67 : len(r.raw)-35] // x of the credential's key
	f.Fuzz(func(t *testing.T, b []byte) {
		if checkCertInfo(b, extra, name) == nil {
			if !bytes.HasPrefix(b, []byte{0xff, 'T', 'C', 'G', 0x80, 0x17}) || !bytes.Contains(b, extra) || !bytes.Contains(b, name) {
				t.Fatalf("certInfo %x", b)
			}
			if checkCertInfo(b[:len(b)-1], extra, name) == nil || checkCertInfo(slices.Concat(b, []byte{0}), extra, name) == nil {
				t.Fatalf("certInfo %x with a byte more or less", b)
			}
		}
		if _, err := r.checkPubArea(b); err == nil && !bytes.Contains(b, point) {
			t.Fatalf("pubArea %x", b)
		}
		if r.checkDescription(b) == nil && !bytes.Contains(b, r.clientDataHash[:]) {
			t.Fatalf("key description %x", b)
		}
		if tcg, err := asn1.Marshal(asn1.ObjectIdentifier{2, 23, 133, 2, 1}); err != nil || namesTPM(b) && !bytes.Contains(b, tcg) {
			t.Fatalf("names a TPM: %x, %v", b, err)
		}
		if name, there := tpmNames(b); name != (tpmName{}) && (!there || len(name.Manufacturer+name.Model+name.Version) > 3*maxTPMName) {
			t.Fatalf("the TPM %+v of %x", name, b)
		}
		if members, err := readObject(b); err == nil && (members == nil || !bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{"))) {
			t.Fatalf("client data %q", b)
		}
	})
}
