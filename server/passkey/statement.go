package passkey

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
)

// The attestation statements of WebAuthn §8 are verified here and not by the
// library: it pins the makers' roots for android-key and apple, where we go by the
// metadata's, and holds certificates against the clock of now, where a credential
// that is judged again years later needs that of its registration.

// proof is what a statement that verified shows.
type proof struct {
	self bool
	// chain are the certificates of the statement, that of the attestation key
	// first; none in a statement without. Nobody vouches for them yet.
	chain []*x509.Certificate
	// types are the attestation types of the metadata that fit (FIDO Registry of
	// Predefined Values §3.6.3).
	types []string
	weak  []string
	tpm   tpmName // of a tpm statement: what its certificate names
}

// Attestation statement formats (WebAuthn §8), those that are understood.
const (
	formatNone    = "none"
	formatPacked  = "packed"
	formatTPM     = "tpm"
	formatAndroid = "android-key"
	formatApple   = "apple"
)

const weakRS1 = "rs1"

// Bounds of x5c: a key that fills the response would take seconds to check.
const maxChain, maxRSACertificate = 8, 8192

// verify checks the statement against what it attests (the verification
// procedures of §8), not who made it. Formats that are not understood are errors;
// so is fido-u2f, whose authenticators cannot verify a person.
func (r *registration) verify() (*proof, error) {
	switch r.format {
	case formatNone:
		return &proof{}, r.has()
	case formatPacked:
		return r.verifyPacked()
	case formatTPM:
		return r.verifyTPM()
	case formatAndroid:
		return r.verifyAndroid()
	case formatApple:
		return r.verifyApple()
	}
	return nil, fmt.Errorf("format %.20q is not supported", r.format)
}

// has checks that the statement has these members and no others.
func (r *registration) has(names ...string) error {
	for _, name := range names {
		if _, there := r.statement[name]; !there {
			return fmt.Errorf("statement has no %s", name)
		}
	}
	if len(r.statement) != len(names) {
		return errors.New("statement has unknown members")
	}
	return nil
}

func (r *registration) bytes(name string) ([]byte, error) {
	b, ok := r.statement[name].([]byte)
	if !ok || len(b) == 0 {
		return nil, fmt.Errorf("%s is not bytes", name)
	}
	return b, nil
}

func (r *registration) algorithm() (int64, error) {
	a, ok := r.statement["alg"].(int64)
	if !ok {
		return 0, errors.New("alg is not an algorithm")
	}
	return a, nil
}

// signed is has, and reads alg and sig.
func (r *registration) signed(names ...string) (alg int64, signature []byte, err error) {
	if err := r.has(names...); err != nil {
		return 0, nil, err
	}
	if alg, err = r.algorithm(); err != nil {
		return 0, nil, err
	}
	signature, err = r.bytes("sig")
	return alg, signature, err
}

// chain reads x5c.
func (r *registration) chain() ([]*x509.Certificate, error) {
	list, ok := r.statement["x5c"].([]any)
	if !ok || len(list) == 0 || len(list) > maxChain {
		return nil, errors.New("x5c is not a list of certificates")
	}
	var out []*x509.Certificate
	for i, item := range list {
		der, ok := item.([]byte)
		if !ok {
			return nil, fmt.Errorf("x5c[%d] is not bytes", i)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("x5c[%d]: %w", i, err)
		}
		if key, ok := cert.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxRSACertificate {
			return nil, fmt.Errorf("x5c[%d]: RSA of %d bits", i, key.N.BitLen())
		}
		out = append(out, cert)
	}
	return out, r.checkModel(out[0])
}

// checkModel holds the AAGUID that an attestation certificate may name, in
// id-fido-gen-ce-aaguid (§8.2.1), against that of the authenticator data.
func (r *registration) checkModel(cert *x509.Certificate) error {
	value, critical, there := extension(cert, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 45724, 1, 1, 4})
	if !there {
		return nil
	}
	var model []byte
	rest, err := asn1.Unmarshal(value, &model)
	switch {
	case critical || err != nil || len(rest) != 0:
		return errors.New("the certificate's AAGUID is malformed")
	case !bytes.Equal(model, r.model[:]):
		return errors.New("the certificate names another AAGUID")
	}
	return nil
}

func extension(cert *x509.Certificate, oid asn1.ObjectIdentifier) (value []byte, critical, there bool) {
	for _, e := range cert.Extensions {
		if e.Id.Equal(oid) {
			return e.Value, e.Critical, true
		}
	}
	return nil, false, false
}

// verifyPacked is §8.2: signed by an attestation key, or by the credential.
func (r *registration) verifyPacked() (*proof, error) {
	_, certified := r.statement["x5c"]
	want := []string{"alg", "sig"}
	if certified {
		want = append(want, "x5c")
	}
	alg, signature, err := r.signed(want...)
	if err != nil {
		return nil, err
	}
	if !certified {
		if alg != r.key.algorithm {
			return nil, errors.New("statement and key are of different algorithms")
		}
		return &proof{self: true}, r.key.verify(r.message(), signature)
	}
	chain, err := r.chain()
	if err != nil {
		return nil, err
	}
	if err := checkPackedCertificate(chain[0]); err != nil {
		return nil, err
	}
	if err := checkSignature(chain[0], alg, r.message(), signature); err != nil {
		return nil, err
	}
	return &proof{chain: chain, types: []string{"basic_full", "attca", "anonca"}}, nil
}

// checkPackedCertificate is §8.2.1.
func checkPackedCertificate(cert *x509.Certificate) error {
	s := cert.Subject
	switch {
	case cert.Version != 3:
		return errors.New("attestation certificate is not of version 3")
	case len(s.Country) != 1 || len(s.Country[0]) != 2 || len(s.Organization) == 0 || s.CommonName == "":
		return errors.New("attestation certificate does not name its maker")
	case !slices.Equal(s.OrganizationalUnit, []string{"Authenticator Attestation"}):
		return errors.New("attestation certificate is not for attestation")
	case !cert.BasicConstraintsValid || cert.IsCA:
		return errors.New("attestation certificate is not an end entity's")
	}
	return nil
}

// checkSignature verifies with a certificate's key by a COSE algorithm. RS1
// (RSA with SHA-1) is for tpm statements alone, which flag it.
func checkSignature(cert *x509.Certificate, alg int64, message, signature []byte) error {
	if alg == rs1 {
		key, ok := cert.PublicKey.(*rsa.PublicKey)
		if !ok {
			return errors.New("the attestation key is of another algorithm")
		}
		digest := sha1.Sum(message)
		if rsa.VerifyPKCS1v15(key, crypto.SHA1, digest[:], signature) != nil {
			return errors.New("the attestation signature does not match")
		}
		return nil
	}
	algorithm, known := map[int64]x509.SignatureAlgorithm{
		es256: x509.ECDSAWithSHA256, -35: x509.ECDSAWithSHA384, -36: x509.ECDSAWithSHA512, eddsa: x509.PureEd25519,
		rs256: x509.SHA256WithRSA, -258: x509.SHA384WithRSA, -259: x509.SHA512WithRSA,
		-37: x509.SHA256WithRSAPSS, -38: x509.SHA384WithRSAPSS, -39: x509.SHA512WithRSAPSS,
	}[alg]
	if !known {
		return fmt.Errorf("attestation algorithm %d is not supported", alg)
	}
	if err := cert.CheckSignature(algorithm, message, signature); err != nil {
		return errors.New("the attestation signature does not match")
	}
	return nil
}

// verifyApple is §8.8: the certificate is for the credential's key, and names the
// hash of what is attested.
func (r *registration) verifyApple() (*proof, error) {
	if err := r.has("x5c"); err != nil {
		return nil, err
	}
	chain, err := r.chain()
	if err != nil {
		return nil, err
	}
	value, _, there := extension(chain[0], asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 8, 2})
	var named struct {
		Nonce []byte `asn1:"tag:1,explicit"`
	}
	rest, err := asn1.Unmarshal(value, &named)
	nonce := sha256.Sum256(r.message())
	switch {
	case !there || err != nil || len(rest) != 0 || !bytes.Equal(named.Nonce, nonce[:]):
		return nil, errors.New("the certificate names another nonce")
	case !r.key.same(chain[0].PublicKey):
		return nil, errors.New("the certificate is for another key")
	}
	return &proof{chain: chain, types: []string{"anonca"}}, nil
}
