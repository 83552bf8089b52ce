package servertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"muster/server/reference"
)

// metadata signs FIDO metadata for tests, under a CA of its own.
type metadata struct {
	t            testing.TB
	root, signer *x509.Certificate
	key          *ecdsa.PrivateKey // of the signer
}

// NewMetadata makes somebody who signs FIDO metadata for tests: a CA of its own, and
// a signer that is valid now.
func NewMetadata(t testing.TB) *metadata {
	t.Helper()
	m := &metadata{t: t}
	rootKey := m.newKey()
	m.root = m.issue(rootKey, &rootKey.PublicKey, nil, func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.KeyUsage = "Metadata Test Root", true, x509.KeyUsageCertSign
	})
	m.key = m.newKey()
	m.signer = m.issue(rootKey, &m.key.PublicKey, m.root, func(c *x509.Certificate) {
		c.Subject.CommonName, c.DNSNames, c.KeyUsage = "mds.fidoalliance.org", []string{"mds.fidoalliance.org"}, x509.KeyUsageDigitalSignature
	})
	return m
}

// Roots is the CA, PEM, for [server.Config.MDSRoots].
func (m *metadata) Roots() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.root.Raw}))
}

// BLOB signs metadata with a number, a day by which there is another, and
// entries.
func (m *metadata) BLOB(number int, nextUpdate time.Time, entries ...reference.MDSEntry) string {
	m.t.Helper()
	list := []any{}
	for _, e := range entries {
		list = append(list, blobEntry(m.t, e))
	}
	payload := map[string]any{"no": number, "nextUpdate": nextUpdate.UTC().Format(time.DateOnly), "legalHeader": "for tests", "entries": list}
	header := map[string]any{"alg": "ES256", "typ": "JWT", "x5c": []string{base64.StdEncoding.EncodeToString(m.signer.Raw)}}
	signed := m.part(header) + "." + m.part(payload)
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, m.key, sum[:])
	if err != nil {
		m.t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// blobEntry writes an entry as FIDO does (Metadata Service v3.0 §3.1.1).
func blobEntry(t testing.TB, e reference.MDSEntry) map[string]any {
	t.Helper()
	model, err := e.AAGUID.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	roots, statuses := []string{}, []any{}
	for _, root := range e.Roots {
		roots = append(roots, base64.StdEncoding.EncodeToString(root))
	}
	for _, s := range e.Statuses {
		status := map[string]any{"status": s.Status}
		if !s.From.IsZero() {
			status["effectiveDate"] = s.From.UTC().Format(time.DateOnly)
		}
		if s.Certificate != nil {
			status["certificate"] = base64.StdEncoding.EncodeToString(s.Certificate)
		}
		statuses = append(statuses, status)
	}
	return map[string]any{
		"aaguid": string(model), "statusReports": statuses,
		"metadataStatement": map[string]any{
			"aaguid": string(model), "description": e.Description, "protocolFamily": "fido2",
			"attestationTypes": e.Attestations, "attestationRootCertificates": roots,
		},
	}
}

func (m *metadata) part(v any) string {
	m.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		m.t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func (m *metadata) newKey() *ecdsa.PrivateKey {
	m.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		m.t.Fatal(err)
	}
	return key
}

// issue makes a certificate; without an issuer it is its own.
func (m *metadata) issue(by *ecdsa.PrivateKey, public *ecdsa.PublicKey, issuer *x509.Certificate, change func(*x509.Certificate)) *x509.Certificate {
	m.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		m.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"muster tests"}}, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	change(template)
	if issuer == nil {
		issuer = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, public, by)
	if err != nil {
		m.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		m.t.Fatal(err)
	}
	return c
}
