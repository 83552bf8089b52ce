package passkeytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"slices"
)

// statementTPM certifies the credential's key with an attestation key (WebAuthn
// §8.3).
func (a *Authenticator) statementTPM(c *credential, message []byte) map[string]any {
	a.t.Helper()
	aik := a.aik()
	digest := sha256.Sum256(message)
	extra := digest[:]
	if a.Lie.RS1 {
		weak := sha1.Sum(message)
		extra = weak[:]
	}
	public := a.tpmPublic(c.key)
	info := tpmCertify(public, extra)
	var signature []byte
	if a.Lie.RS1 {
		weak := sha1.Sum(info)
		var err error
		if signature, err = aik.key.private.Sign(rand.Reader, weak[:], crypto.SHA1); err != nil {
			a.t.Fatal(err)
		}
	} else {
		signature = aik.key.sign(a.t, info)
	}
	algorithm := aik.key.algorithm
	if a.Lie.RS1 {
		algorithm = rs1
	}
	return map[string]any{"ver": "2.0", "alg": algorithm, "x5c": [][]byte{aik.cert}, "sig": signature, "certInfo": info, "pubArea": public}
}

// sized is a TPM2B: two bytes of length, then the bytes.
func sized(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// tpmPublic is a TPMT_PUBLIC (TPM 2.0 Part 2 §12.2.4) of a signing key.
func (a *Authenticator) tpmPublic(k *key) []byte {
	a.t.Helper()
	// nameAlg SHA-256; fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth,
	// sign; no policy.
	head := []byte{0x00, 0x0b, 0x00, 0x04, 0x00, 0x72, 0x00, 0x00}
	switch public := k.private.Public().(type) {
	case *ecdsa.PublicKey:
		x, y := coordinates(a.t, public)
		// no symmetric, no scheme, NIST P-256, no KDF
		return slices.Concat([]byte{0x00, 0x23}, head, []byte{0x00, 0x10, 0x00, 0x10, 0x00, 0x03, 0x00, 0x10}, sized(x), sized(y))
	case *rsa.PublicKey:
		// no symmetric, no scheme, 2048 bits, the default exponent
		return slices.Concat([]byte{0x00, 0x01}, head, []byte{0x00, 0x10, 0x00, 0x10, 0x08, 0x00, 0, 0, 0, 0}, sized(public.N.Bytes()))
	}
	a.t.Fatal("a TPM has no key of that kind")
	return nil
}

// tpmCertify is a TPMS_ATTEST of TPM2_Certify (TPM 2.0 Part 2 §10.12.12).
func tpmCertify(public, extra []byte) []byte {
	digest := sha256.Sum256(public)
	name := append([]byte{0x00, 0x0b}, digest[:]...)
	return slices.Concat(
		[]byte{0xff, 'T', 'C', 'G', 0x80, 0x17}, // magic, TPM_ST_ATTEST_CERTIFY
		sized(name),                             // qualifiedSigner
		sized(extra),
		make([]byte, 8+4+4), []byte{1}, // clockInfo, safe
		make([]byte, 8), // firmwareVersion
		sized(name), sized(name))
}

// aik is the attestation key, with a certificate as WebAuthn §8.3.1 wants it: no
// subject, the TPM's maker in the alternative name.
func (a *Authenticator) aik() *signer {
	a.t.Helper()
	algorithm := int64(es256)
	if a.Lie.RS1 {
		algorithm = rs256
	}
	ca := a.ca()
	if s := ca.aik[algorithm]; s != nil {
		return s
	}
	k := newKey(a.t, algorithm)
	var maker pkix.RDNSequence
	for i, value := range []string{"id:49465800", "Software", "id:00010002"} { // manufacturer, model, version
		oid := asn1.ObjectIdentifier{2, 23, 133, 2, i + 1}
		maker = append(maker, pkix.RelativeDistinguishedNameSET{{Type: oid, Value: value}})
	}
	directory := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: der(a.t, maker)}
	names := der(a.t, []asn1.RawValue{directory})
	template := &x509.Certificate{BasicConstraintsValid: true,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{{2, 23, 133, 8, 3}}, // tcg-kp-AIKCertificate
		ExtraExtensions: append(modelExtension(a.t, a.certModel()),
			pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: names})}
	ca.aik[algorithm] = &signer{k, ca.issue(a.t, template, k.private.Public())}
	return ca.aik[algorithm]
}
