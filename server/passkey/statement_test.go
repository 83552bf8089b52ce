package passkey

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// issue makes a certificate signed by its own key.
func issue(t *testing.T, template x509.Certificate) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(7)
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// TestPackedCertificate: what §8.2.1 asks of an attestation certificate.
func TestPackedCertificate(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		change       func(*x509.Certificate)
	}{
		{"as it should be", "", func(*x509.Certificate) {}},
		{"no country", "its maker", func(c *x509.Certificate) { c.Subject.Country = nil }},
		{"a long country", "its maker", func(c *x509.Certificate) { c.Subject.Country = []string{"CHE"} }},
		{"no maker", "its maker", func(c *x509.Certificate) { c.Subject.Organization = nil }},
		{"no name", "its maker", func(c *x509.Certificate) { c.Subject.CommonName = "" }},
		{"another unit", "not for attestation", func(c *x509.Certificate) { c.Subject.OrganizationalUnit = []string{"Web Server"} }},
		{"no unit", "not for attestation", func(c *x509.Certificate) { c.Subject.OrganizationalUnit = nil }},
		{"two units", "not for attestation", func(c *x509.Certificate) {
			c.Subject.OrganizationalUnit = append(c.Subject.OrganizationalUnit, "Web Server")
		}},
		{"a CA", "end entity", func(c *x509.Certificate) { c.IsCA = true }},
		{"perhaps a CA", "end entity", func(c *x509.Certificate) { c.BasicConstraintsValid = false }},
	} {
		template := x509.Certificate{BasicConstraintsValid: true, Subject: pkix.Name{Country: []string{"CH"}, Organization: []string{"o"},
			OrganizationalUnit: []string{"Authenticator Attestation"}, CommonName: "n"}}
		c.change(&template)
		err := checkPackedCertificate(issue(t, template))
		if c.reason == "" && err != nil || c.reason != "" && (err == nil || !strings.Contains(err.Error(), c.reason)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestAIK: what §8.3.1 asks of the certificate of a TPM's attestation key.
func TestAIK(t *testing.T) {
	names := func(values ...string) pkix.Extension {
		var maker pkix.RDNSequence
		for i, v := range values {
			maker = append(maker, pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{2, 23, 133, 2, i + 1}, Value: v}})
		}
		directory, err := asn1.Marshal(maker)
		if err != nil {
			t.Fatal(err)
		}
		value, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: directory}})
		if err != nil {
			t.Fatal(err)
		}
		return pkix.Extension{Id: oidAltName(), Critical: true, Value: value}
	}
	for _, c := range []struct {
		name, reason string
		change       func(*x509.Certificate)
	}{
		{"as it should be", "", func(*x509.Certificate) {}},
		{"a subject", "has a subject", func(c *x509.Certificate) { c.Subject.CommonName = "n" }},
		{"no names", "names no TPM", func(c *x509.Certificate) { c.ExtraExtensions = nil }},
		{"a host", "names no TPM", func(c *x509.Certificate) { c.ExtraExtensions, c.DNSNames = nil, []string{"muster.example"} }},
		{"no version", "names no TPM", func(c *x509.Certificate) { c.ExtraExtensions[0] = names("id:1", "m") }},
		{"an empty model", "names no TPM", func(c *x509.Certificate) { c.ExtraExtensions[0] = names("id:1", "", "id:2") }},
		{"malformed names", "names no TPM", func(c *x509.Certificate) {
			c.ExtraExtensions[0].Value = append(c.ExtraExtensions[0].Value, 0)
		}},
		{"another use", "attestation key", func(c *x509.Certificate) {
			c.UnknownExtKeyUsage, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}},
		{"any use", "attestation key", func(c *x509.Certificate) { c.UnknownExtKeyUsage = nil }},
		{"an endorsement key", "attestation key", func(c *x509.Certificate) { c.UnknownExtKeyUsage[0] = asn1.ObjectIdentifier{2, 23, 133, 8, 1} }},
		{"a CA", "end entity", func(c *x509.Certificate) { c.IsCA = true }},
	} {
		template := x509.Certificate{BasicConstraintsValid: true, ExtraExtensions: []pkix.Extension{names("id:1", "m", "id:2")},
			UnknownExtKeyUsage: []asn1.ObjectIdentifier{{2, 23, 133, 8, 3}}}
		c.change(&template)
		// The standard library refuses malformed names itself; ours must, too.
		if c.name == "malformed names" {
			if namesTPM(template.ExtraExtensions[0].Value) {
				t.Error("malformed names name a TPM")
			}
			continue
		}
		err := checkAIK(issue(t, template))
		if c.reason == "" && err != nil || c.reason != "" && (err == nil || !strings.Contains(err.Error(), c.reason)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestKeyDescription: what §8.4 asks of Android's description of a key, in what
// the trusted environment enforces.
func TestKeyDescription(t *testing.T) {
	tag := func(n int, content any) asn1.RawValue {
		inner, err := asn1.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: n, IsCompound: true, Bytes: inner}
	}
	set := func(values ...int) asn1.RawValue {
		inner, err := asn1.MarshalWithParams(values, "set")
		if err != nil {
			t.Fatal(err)
		}
		return asn1.RawValue{FullBytes: inner}
	}
	sign, made := tag(tagPurpose, set(purposeSign)), tag(tagOrigin, originGenerated)
	all := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tagAllApplications, IsCompound: true, Bytes: []byte{5, 0}}
	r := &registration{clientDataHash: [32]byte{1}}
	type list = []asn1.RawValue
	for _, c := range []struct {
		name, reason  string
		software, tee list
		change        func(*keyDescription)
	}{
		{"as it should be", "", nil, list{sign, made}, nil},
		{"with tags of later versions", "", list{tag(999, 1)}, list{sign, tag(699, 1), made, tag(1999, 1)}, nil},
		{"another challenge", "another challenge", nil, list{sign, made}, func(d *keyDescription) { d.Challenge = []byte{2} }},
		{"attested by software", "trusted environment", nil, list{sign, made}, func(d *keyDescription) { d.Security = 0 }},
		{"kept by software", "trusted environment", nil, list{sign, made}, func(d *keyDescription) { d.KeymasterIn = 0 }},
		{"in software only", "no purpose", list{sign, made}, nil, nil},
		{"origin in software", "not made", list{made}, list{sign}, nil},
		{"purpose in software", "no purpose", list{sign}, list{made}, nil},
		{"imported", "not made", nil, list{sign, tag(tagOrigin, 2)}, nil},
		{"to verify", "not for signing", nil, list{tag(tagPurpose, set(3)), made}, nil},
		{"for no purpose", "not for signing", nil, list{tag(tagPurpose, set()), made}, nil},
		{"for all applications", "all applications", nil, list{sign, all, made}, nil},
		{"software for all applications", "all applications", list{all}, list{sign, made}, nil},
		{"all applications behind an unknown tag", "all applications", list{tag(555, 1), all}, list{sign, made}, nil},
		{"origin twice", "stands twice", nil, list{sign, made, made}, nil},
		{"a list of something else", "malformed list", nil, list{sign, made, {Class: asn1.ClassUniversal, Tag: asn1.TagInteger, Bytes: []byte{1}}}, nil},
	} {
		software, tee := c.software, c.tee
		d := keyDescription{Version: 3, Security: 1, Keymaster: 4, KeymasterIn: 1, Challenge: r.clientDataHash[:], Unique: []byte{}}
		for _, l := range []struct {
			from list
			to   *asn1.RawValue
		}{{software, &d.Software}, {tee, &d.TEE}} {
			var content []byte
			for _, element := range l.from {
				b, err := asn1.Marshal(element)
				if err != nil {
					t.Fatal(err)
				}
				content = append(content, b...)
			}
			*l.to = asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: content}
		}
		if c.change != nil {
			c.change(&d)
		}
		der, err := asn1.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		err = r.checkDescription(der)
		if c.reason == "" && err != nil || c.reason != "" && (err == nil || !strings.Contains(err.Error(), c.reason)) {
			t.Errorf("%s: %v", c.name, err)
		}
		if r.checkDescription(append(der, 0)) == nil || r.checkDescription(der[:len(der)-1]) == nil {
			t.Errorf("%s: accepted with a byte more or less", c.name)
		}
	}
}

// TestStatementForms: statements of formats or members that we do not know, and
// objects of other members, are refused.
func TestStatementForms(t *testing.T) {
	l := newLab(t)
	a := l.authenticator("packed")
	options, c, err := l.p.BeginRegistration(l.user, nil)
	if err != nil {
		t.Fatal(err)
	}
	var response map[string]any
	if err := json.Unmarshal(a.Register(options), &response); err != nil {
		t.Fatal(err)
	}
	inner := response["response"].(map[string]any)
	original, err := base64.RawURLEncoding.DecodeString(inner["attestationObject"].(string))
	if err != nil {
		t.Fatal(err)
	}
	type object = map[string]any
	statement := func(o object) map[any]any { return o["attStmt"].(map[any]any) }
	for _, f := range []struct {
		name, reason string
		change       func(object)
	}{
		{"as it was", "", func(object) {}},
		{"unknown format", "not supported", func(o object) { o["fmt"] = "sealed" }},
		{"compound", "attStmt", func(o object) { o["fmt"], o["attStmt"] = "compound", []any{} }},
		{"safetynet", "not supported", func(o object) { o["fmt"] = "android-safetynet" }},
		{"fido-u2f", "not supported", func(o object) { o["fmt"] = "fido-u2f" }},
		{"none with a statement", "unknown members", func(o object) { o["fmt"] = "none" }},
		{"packed as tpm", "has no ver", func(o object) { o["fmt"] = "tpm" }},
		{"packed as android-key", "another key", func(o object) { o["fmt"] = "android-key" }},
		{"packed as apple", "unknown members", func(o object) { o["fmt"] = "apple" }},
		{"another member in the object", "other members", func(o object) { o["epAtt"] = true }},
		{"another member in the statement", "unknown members", func(o object) { statement(o)["more"] = true }},
		{"ecdaa", "unknown members", func(o object) { statement(o)["ecdaaKeyId"] = []byte{1} }},
		{"no x5c: a self attestation by another key", "does not match", func(o object) { delete(statement(o), "x5c") }},
		{"empty x5c", "not a list", func(o object) { statement(o)["x5c"] = []any{} }},
		{"x5c of text", "not bytes", func(o object) { statement(o)["x5c"] = []any{"cert"} }},
		{"x5c too long", "not a list", func(o object) {
			cert := statement(o)["x5c"].([]any)[0]
			statement(o)["x5c"] = []any{cert, cert, cert, cert, cert, cert, cert, cert, cert}
		}},
		{"no signature", "not bytes", func(o object) { statement(o)["sig"] = []byte{} }},
		{"unknown algorithm", "not supported", func(o object) { statement(o)["alg"] = -1 }},
		{"algorithm as text", "not an algorithm", func(o object) { statement(o)["alg"] = "ES256" }},
		{"rs1 with another key", "another algorithm", func(o object) { statement(o)["alg"] = rs1 }},
	} {
		var o object
		if err := cbor.Unmarshal(original, &o); err != nil {
			t.Fatal(err)
		}
		f.change(o)
		changed, err := cbor.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		inner["attestationObject"] = b64(changed)
		body, err := json.Marshal(response)
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.p.FinishRegistration(l.user, c, body)
		if f.reason == "" {
			if err != nil {
				t.Errorf("%s: %v", f.name, err)
			}
			continue
		}
		mustRefuse(t, err, f.reason)
	}
}
