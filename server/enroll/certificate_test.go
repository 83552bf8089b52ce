package enroll

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"muster/server/reference"
	"muster/server/verify"
)

// altName is a critical subject alternative name that holds only a directory
// name, as EK certificates have it.
func altName(t testing.TB, labels pkix.RDNSequence, tail ...byte) pkix.Extension {
	t.Helper()
	name, err := asn1.Marshal(labels)
	if err != nil {
		t.Fatal(err)
	}
	names, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: append(name, tail...)}})
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: oidSubjectAltName, Critical: true, Value: names}
}

// usage is an extended key usage extension.
func usage(t testing.TB, purposes ...asn1.ObjectIdentifier) pkix.Extension {
	t.Helper()
	b, err := asn1.Marshal(purposes)
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: b}
}

func tpmLabels() pkix.RDNSequence {
	return pkix.RDNSequence{
		{{Type: oidTPMManufacturer, Value: "id:53544D20"}},
		{{Type: oidTPMModel, Value: "ST33"}, {Type: oidTPMVersion, Value: "id:00010002"}},
	}
}

// issue makes a certificate for a key, signed by itself.
func issue(t testing.TB, ca bool, extensions ...pkix.Extension) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(77), NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(2e9, 0),
		ExtraExtensions: extensions, IsCA: ca, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestReadCertificate(t *testing.T) {
	good := issue(t, false, altName(t, tpmLabels()))
	unknown := pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}
	for name, test := range map[string]struct {
		der  []byte
		fine bool
		left int // critical extensions that nobody understood
	}{
		"as issued":              {good, true, 0},
		"padded with 0xff":       {append(bytes.Clone(good), bytes.Repeat([]byte{0xff}, 400)...), true, 0},
		"padded with zero":       {append(bytes.Clone(good), 0, 0, 0), true, 0},
		"padded with both":       {append(bytes.Clone(good), 0, 0xff), false, 0},
		"another object behind":  {append(bytes.Clone(good), good...), false, 0},
		"cut":                    {good[:len(good)-1], false, 0},
		"empty":                  {nil, false, 0},
		"only padding":           {bytes.Repeat([]byte{0xff}, 64), false, 0},
		"too large":              {append(bytes.Clone(good), make([]byte, 9000)...), false, 0},
		"a CA":                   {issue(t, true), false, 0},
		"bytes behind the name":  {issue(t, false, altName(t, tpmLabels(), 5, 0)), false, 0},
		"for an EK by its usage": {issue(t, false, usage(t, oidEKCertificate)), true, 0},
		"for a web server":       {issue(t, false, altName(t, tpmLabels()), usage(t, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1})), false, 0},
		"for any purpose":        {issue(t, false, altName(t, tpmLabels()), usage(t, asn1.ObjectIdentifier{2, 5, 29, 37, 0})), false, 0},
		"unknown critical stays": {issue(t, false, altName(t, tpmLabels()), unknown), true, 1},
		"without name and usage": {issue(t, false), false, 0},
	} {
		c, err := readCertificate(test.der)
		if (err == nil) != test.fine {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && len(c.x509.UnhandledCriticalExtensions) != test.left {
			t.Errorf("%s: unhandled critical extensions %v", name, c.x509.UnhandledCriticalExtensions)
		}
	}
	c, err := readCertificate(good)
	if err != nil || c.Manufacturer != "id:53544D20" || c.Model != "ST33" || c.Version != "id:00010002" {
		t.Errorf("labels are %+v, %v", c, err)
	}
}

// Real certificates as NV holds them, where the folder with them is.
func TestRealCertificates(t *testing.T) {
	dir := os.Getenv("MUSTER_TEST_DATA")
	files, _ := filepath.Glob(filepath.Join(dir, "ek-roots", "ek-certificates", "*.der"))
	if dir == "" || len(files) == 0 {
		t.Log("MUSTER_TEST_DATA holds no EK certificates: nothing read here")
		return
	}
	for _, file := range files {
		der, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c, err := readCertificate(der)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if c.Manufacturer == "" || c.Model == "" || len(c.x509.UnhandledCriticalExtensions) != 0 {
			t.Errorf("%s: labels %q %q, unhandled %v", file, c.Manufacturer, c.Model, c.x509.UnhandledCriticalExtensions)
		}
	}
}

// A certificate that nobody vouches for, though it is for the right key, has no
// name by which it could be on a list.
func TestForgedCertificateIsNotListed(t *testing.T) {
	l := newLaptop(t)
	ek, err := parseEK(l.begin.Identity.EK.Template, l.begin.Identity.EK.Public)
	if err != nil {
		t.Fatal(err)
	}
	real, err := readCertificate(l.begin.Identity.EK.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	forger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: real.x509.SerialNumber, NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(2e9, 0)}
	issuer := &x509.Certificate{RawSubject: real.x509.RawIssuer}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, ek.Public, forger)
	if err != nil {
		t.Fatal(err)
	}
	wantIssuer, wantSerial := real.Issuer()
	listed := func(c *Candidate) bool { return c.Issuer == wantIssuer && c.CertSerial == wantSerial }
	honest := *l.begin
	if c, err := Judge(&honest, &reference.EKRoots{Virtual: l.trust()}, listed); err != nil || c.Level != verify.TPMListed {
		t.Errorf("the listed certificate itself: %+v, %v", c, err)
	}
	forged := *l.begin
	shown := *l.begin.Identity.EK
	shown.Certificate = der
	forged.Identity.EK = &shown
	c, err := Judge(&forged, &reference.EKRoots{Hardware: l.trust(), Virtual: l.trust()}, listed)
	if err != nil || c.Level != verify.TPMUnverified || c.Issuer != "" {
		t.Errorf("a forged certificate: %+v, %v", c, err)
	}
}

// A huge RSA key beside the leaf verifies nothing.
func TestDearIntermediatesAreLeftOut(t *testing.T) {
	modulus := new(big.Int).Lsh(big.NewInt(1), 8000)
	for name, test := range map[string]struct {
		key  *rsa.PublicKey
		want bool
	}{
		"2048 bits":     {&rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2047), E: 65537}, true},
		"8000 bits":     {&rsa.PublicKey{N: modulus, E: 65537}, false},
		"huge exponent": {&rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2047), E: 1<<31 - 1}, false},
	} {
		if got := affordable(&x509.Certificate{PublicKey: test.key}); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestWeakModulus(t *testing.T) {
	product := big.NewInt(1)
	for p := int64(3); p <= 167; p += 2 {
		if big.NewInt(p).ProbablyPrime(10) {
			product.Mul(product, big.NewInt(p))
		}
	}
	weak := new(big.Int).Exp(big.NewInt(65537), big.NewInt(123456789), product)
	weak.Add(weak, new(big.Int).Lsh(product, 1000))
	if !weakModulus(weak) {
		t.Error("a modulus with the fingerprint of CVE-2017-15361 was not noticed")
	}
	for range 4 {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		if weakModulus(key.N) {
			t.Error("an ordinary modulus was called weak")
		}
	}
}

// FuzzCertificate: what is read is one whole certificate of bounded size, not a
// CA's; padding changes nothing, and a missing byte is never forgiven.
func FuzzCertificate(f *testing.F) {
	f.Add(issue(f, false, altName(f, tpmLabels())))
	f.Add(append(issue(f, false, usage(f, oidEKCertificate)), 0xff, 0xff))
	f.Add(issue(f, true))
	f.Add([]byte{0x30, 0x80, 0, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := readCertificate(der)
		if err != nil {
			return
		}
		raw := c.x509.Raw
		if c.x509.IsCA || len(raw) > len(der) || !bytes.HasPrefix(der, raw) {
			t.Fatal("accepted a CA's, or bytes that were not there")
		}
		for _, label := range []string{c.Manufacturer, c.Model, c.Version} {
			if len(label) > 64 {
				t.Fatalf("label of %d bytes", len(label))
			}
		}
		if again, err := readCertificate(append(bytes.Clone(raw), 0xff, 0xff)); err != nil || again.Model != c.Model {
			t.Fatalf("padding changed the reading: %v", err)
		}
		if _, err := readCertificate(raw[:len(raw)-1]); err == nil {
			t.Fatal("accepted with a byte missing")
		}
	})
}
