package reference

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

// pki is a root, an intermediate and a leaf, each in PEM.
type pki struct {
	root, middle, leaf    *x509.Certificate
	rootPEM, middlePEM    []byte
	leafPEM, strangerRoot []byte
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	p := new(pki)
	rootKey, middleKey, leafKey := newKey(t), newKey(t), newKey(t)
	p.root, p.rootPEM = certify(t, "root", true, nil, rootKey, rootKey)
	p.middle, p.middlePEM = certify(t, "middle", true, p.root, middleKey, rootKey)
	p.leaf, p.leafPEM = certify(t, "leaf", false, p.middle, leafKey, middleKey)
	strangerKey := newKey(t)
	_, p.strangerRoot = certify(t, "root", true, nil, strangerKey, strangerKey)
	return p
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// certify issues a certificate that has long ended.
func certify(t *testing.T, name string, ca bool, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) (*x509.Certificate, []byte) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: ca, BasicConstraintsValid: true,
		NotBefore: time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, []byte("some words between\n")) }

func TestParseAuthorities(t *testing.T) {
	p := newPKI(t)
	a, err := ParseAuthorities("ca.pem", join(p.rootPEM, p.middlePEM))
	if err != nil {
		t.Fatal(err)
	}
	if roots, intermediates := a.Count(); roots != 1 || intermediates != 1 {
		t.Errorf("%d roots, %d intermediates", roots, intermediates)
	}
	garbage := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("no certificate")})
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}})
	for name, test := range map[string]struct {
		file []byte
		says string
	}{
		"empty":             {nil, "holds no PEM certificate"},
		"only words":        {[]byte("hello\n"), "holds no PEM certificate"},
		"no certificate":    {join(p.rootPEM, garbage), "block 2"},
		"a key":             {join(p.rootPEM, p.middlePEM, key), `block 3 is a "PRIVATE KEY"`},
		"a leaf":            {join(p.rootPEM, p.leafPEM), "not a CA"},
		"cut in the middle": {join(p.rootPEM, p.middlePEM[:100]), "block 2 is not whole PEM"},
		"too large":         {make([]byte, maxRootsFile+1), "more than"},
	} {
		a, err := ParseAuthorities("ca.pem", test.file)
		if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "ca.pem") {
			t.Errorf("%s: %v", name, err)
		}
		if roots, intermediates := a.Count(); roots+intermediates != 0 {
			t.Errorf("%s: a refused file gave %d certificates", name, roots+intermediates)
		}
	}
}

// A chain is judged at the leaf's issue, so that old chips stay provable; only
// configured roots are roots.
func TestVerify(t *testing.T) {
	p := newPKI(t)
	parse := func(parts ...[]byte) Authorities {
		a, err := ParseAuthorities("ca.pem", join(parts...))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	both := parse(p.rootPEM, p.middlePEM)
	if err := both.Verify(p.leaf, nil); err != nil {
		t.Errorf("root and intermediate: %v", err)
	}
	if err := parse(p.rootPEM).Verify(p.leaf, []*x509.Certificate{p.middle}); err != nil {
		t.Errorf("intermediate beside the leaf: %v", err)
	}
	if err := parse(p.rootPEM).Merge(parse(p.middlePEM)).Verify(p.leaf, nil); err != nil {
		t.Errorf("merged: %v", err)
	}
	for name, test := range map[string]struct {
		a     Authorities
		extra []*x509.Certificate
	}{
		"intermediate missing":       {parse(p.rootPEM), nil},
		"root only beside the leaf":  {parse(p.middlePEM), []*x509.Certificate{p.root}},
		"nothing configured":         {Authorities{}, []*x509.Certificate{p.middle, p.root}},
		"a root of the same name":    {parse(p.strangerRoot), []*x509.Certificate{p.middle}},
		"intermediate is not a root": {parse(p.middlePEM), nil},
	} {
		if test.a.Verify(p.leaf, test.extra) == nil {
			t.Errorf("%s: verified", name)
		}
	}
}
