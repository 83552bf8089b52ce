package reference

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"
)

// signedOn is when the tests' BLOBs are imported.
func signedOn() time.Time { return time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC) }

// party is somebody with a key and a certificate.
type party struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// authority is a CA of the tests, an intermediate, and a signer of BLOBs.
type authority struct {
	t                    testing.TB
	root, middle, signer party
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t}
	a.root = a.issue(nil, ecKey(t), func(c *x509.Certificate) { c.Subject.CommonName = "Test Root" })
	a.middle = a.issue(&a.root, ecKey(t), func(c *x509.Certificate) { c.Subject.CommonName = "Test Middle" })
	a.signer = a.issue(&a.middle, ecKey(t), isSigner)
	return a
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func isSigner(c *x509.Certificate) {
	c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature
	c.Subject.CommonName, c.DNSNames = blobSigner, []string{blobSigner}
	c.NotBefore, c.NotAfter = signedOn().AddDate(0, -1, 0), signedOn().AddDate(0, 5, 0)
}

// issue makes a CA certificate that change makes another; nil issues itself.
func (a *authority) issue(issuer *party, key crypto.Signer, change func(*x509.Certificate)) party {
	a.t.Helper()
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<60))
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"muster tests"}}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: signedOn().AddDate(-1, 0, 0), NotAfter: signedOn().AddDate(9, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	change(template)
	parent, by := template, key
	if issuer != nil {
		parent, by = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return party{c, key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.root.cert)
	return pool
}

func x5c(parties ...party) []string {
	var chain []string
	for _, p := range parties {
		chain = append(chain, base64.StdEncoding.EncodeToString(p.cert.Raw))
	}
	return chain
}

func part(v any) string {
	b, ok := v.([]byte)
	if !ok {
		b, _ = json.Marshal(v)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// seal makes a compact JWS. key is a []byte for HS256, and nil for no signature.
func seal(t testing.TB, key any, header map[string]any, payload []byte) []byte {
	t.Helper()
	signed := part(header) + "." + part(payload)
	sum := sha256.Sum256([]byte(signed))
	var signature []byte
	var err error
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		r, s, e := ecdsa.Sign(rand.Reader, key, sum[:])
		n := (key.Params().BitSize + 7) / 8
		if signature, err = make([]byte, 2*n), e; err == nil {
			r.FillBytes(signature[:n])
			s.FillBytes(signature[n:])
		}
	case *rsa.PrivateKey:
		signature, err = rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	case []byte:
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(signed))
		signature = mac.Sum(nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return []byte(signed + "." + part(signature))
}

// sign seals a payload as FIDO does.
func (a *authority) sign(payload []byte) []byte {
	return seal(a.t, a.signer.key, map[string]any{"alg": "ES256", "typ": "JWT", "x5c": x5c(a.signer, a.middle)}, payload)
}

// object is JSON that a test changes before it is written.
type object = map[string]any

const (
	modelOne = "11111111-2222-3333-4444-555555555555"
	modelTwo = "0a0b0c0d-2222-3333-4444-555555555555"
)

// entryOf is a good entry, with the authority's root.
func (a *authority) entryOf(model string) object {
	return object{
		"aaguid": model,
		"metadataStatement": object{
			"aaguid": model, "description": "Test Key " + model[:4], "protocolFamily": "fido2", "icon": "data:image/png;base64,AAAA",
			"attestationTypes": []string{"basic_full"}, "attestationRootCertificates": x5c(a.root), "upv": []object{{"major": 1, "minor": 0}},
		},
		"statusReports":          []object{{"status": "FIDO_CERTIFIED_L2", "effectiveDate": "2024-02-29", "certificateNumber": "T1"}},
		"timeOfLastStatusChange": "2024-02-29",
	}
}

// content is a good payload with the entries.
func content(entries ...any) object {
	return object{"no": 7, "nextUpdate": "2026-04-01", "legalHeader": "for tests", "entries": append([]any{}, entries...)}
}

func text(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wantRefusal checks the code, and that a person is told what and what to do.
func wantRefusal(t *testing.T, name string, m *MDS, err error, code, says string) {
	t.Helper()
	var refused *Refusal
	if m != nil || !errors.As(err, &refused) {
		t.Errorf("%s: not refused: %v, %v", name, m, err)
		return
	}
	if refused.Code != code || !strings.Contains(refused.Text, says) || refused.Fix == "" {
		t.Errorf("%s: refused with %q (fix %q), want %s with %q", name, err, refused.Fix, code, says)
	}
	if len(refused.Text) > 1000 || strings.ContainsAny(refused.Text, "\n\r\x1b") {
		t.Errorf("%s: its text is not one for a log: %q", name, refused.Text)
	}
}

func model(t testing.TB, s string) (a AAGUID) {
	t.Helper()
	if err := a.UnmarshalText([]byte(s)); err != nil {
		t.Fatal(err)
	}
	return a
}
