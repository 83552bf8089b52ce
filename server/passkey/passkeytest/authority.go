package passkeytest

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"muster/server/reference"
)

// oidModel is id-fido-gen-ce-aaguid (WebAuthn §8.2.1).
func oidModel() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 45724, 1, 1, 4}
}

// authority is the certificate authority of one make of authenticators.
type authority struct {
	key    *key
	root   *x509.Certificate
	signer map[reference.AAGUID]*signer
	aik    map[int64]*signer // by algorithm
}

// signer is an attestation key and its certificate.
type signer struct {
	key  *key
	cert []byte
}

// ca makes the authority when it is first needed.
func (a *Authenticator) ca() *authority {
	a.t.Helper()
	if a.authority != nil {
		return a.authority
	}
	k := newKey(a.t, es256)
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "Software authenticator test root"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	c := &authority{key: k, signer: map[reference.AAGUID]*signer{}, aik: map[int64]*signer{}}
	der := c.issue(a.t, template, k.private.Public())
	root, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	c.root, a.authority = root, c
	return c
}

// issue signs a certificate; without a root yet, it is the root.
func (c *authority) issue(t testing.TB, template *x509.Certificate, public crypto.PublicKey) []byte {
	t.Helper()
	template.SerialNumber = new(big.Int).SetBytes(random(t, 8))
	template.NotBefore = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	template.NotAfter = time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC)
	parent := c.root
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, c.key.private)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// attestation is the signer of packed statements (WebAuthn §8.2.1).
func (c *authority) attestation(t testing.TB, model reference.AAGUID, servers []string) *signer {
	t.Helper()
	if s := c.signer[model]; s != nil {
		return s
	}
	k := newKey(t, es256)
	template := &x509.Certificate{BasicConstraintsValid: true, ExtraExtensions: modelExtension(t, model),
		OCSPServer: servers, IssuingCertificateURL: servers, CRLDistributionPoints: servers,
		Subject: pkix.Name{Country: []string{"CH"}, Organization: []string{"Software authenticator"},
			OrganizationalUnit: []string{"Authenticator Attestation"}, CommonName: "Test attestation"}}
	c.signer[model] = &signer{k, c.issue(t, template, k.private.Public())}
	return c.signer[model]
}

// modelExtension is empty for the zero AAGUID.
func modelExtension(t testing.TB, model reference.AAGUID) []pkix.Extension {
	t.Helper()
	if model == (reference.AAGUID{}) {
		return nil
	}
	return []pkix.Extension{{Id: oidModel(), Value: der(t, model[:])}}
}

// certModel is the AAGUID that attestation certificates name.
func (a *Authenticator) certModel() reference.AAGUID {
	switch {
	case a.Lie.NoCertModel:
		return reference.AAGUID{}
	case a.Lie.CertModel != reference.AAGUID{}:
		return a.Lie.CertModel
	}
	return a.AAGUID
}

func der(t testing.TB, v any) []byte {
	t.Helper()
	out, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
