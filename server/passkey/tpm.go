package passkey

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// Values of TPM 2.0 Part 2 §6.
const (
	tpmGenerated     = 0xff544347
	tpmAttestCertify = 0x8017
	tpmAlgRSA        = 0x0001
	tpmAlgSHA256     = 0x000b
	tpmAlgSHA384     = 0x000c
	tpmAlgSHA512     = 0x000d
	tpmAlgNull       = 0x0010
	tpmAlgECC        = 0x0023
	tpmECCNistP256   = 0x0003
)

// verifyTPM is §8.3: an attestation key of a TPM certifies the credential's key.
func (r *registration) verifyTPM() (*proof, error) {
	if err := r.has("ver", "alg", "x5c", "sig", "certInfo", "pubArea"); err != nil {
		return nil, err
	}
	if r.statement["ver"] != "2.0" {
		return nil, errors.New("not of TPM 2.0")
	}
	alg, err := r.algorithm()
	if err != nil {
		return nil, err
	}
	chain, err := r.chain()
	if err != nil {
		return nil, err
	}
	var parts [3][]byte
	for i, name := range []string{"sig", "certInfo", "pubArea"} {
		if parts[i], err = r.bytes(name); err != nil {
			return nil, err
		}
	}
	signature, certInfo, pubArea := parts[0], parts[1], parts[2]
	if err := checkAIK(chain[0]); err != nil {
		return nil, err
	}
	if err := checkSignature(chain[0], alg, certInfo, signature); err != nil {
		return nil, err
	}
	name, err := r.checkPubArea(pubArea)
	if err != nil {
		return nil, fmt.Errorf("pubArea: %w", err)
	}
	digest, err := hashOf(alg, r.message())
	if err != nil {
		return nil, err
	}
	if err := checkCertInfo(certInfo, digest, name); err != nil {
		return nil, fmt.Errorf("certInfo: %w", err)
	}
	p := &proof{chain: chain, types: []string{"attca"}}
	names, _, _ := extension(chain[0], oidAltName())
	p.tpm, _ = tpmNames(names)
	if alg == rs1 {
		p.weak = []string{weakRS1}
	}
	return p, nil
}

// hashOf hashes as a COSE algorithm does.
func hashOf(alg int64, message []byte) ([]byte, error) {
	switch alg {
	case es256, rs256, -37:
		d := sha256.Sum256(message)
		return d[:], nil
	case -35, -258, -38:
		d := sha512.Sum384(message)
		return d[:], nil
	case -36, -259, -39:
		d := sha512.Sum512(message)
		return d[:], nil
	case rs1:
		d := sha1.Sum(message)
		return d[:], nil
	}
	return nil, fmt.Errorf("attestation algorithm %d has no hash", alg)
}

// checkCertInfo checks a TPMS_ATTEST of TPM2_Certify (TPM 2.0 Part 2 §10.12.12).
// Its signer's name, clock and firmware are not judged, as §8.3 says.
func checkCertInfo(certInfo, extra, name []byte) error {
	f := fields{rest: certInfo}
	magic, kind := f.number(4), f.number(2)
	f.sized() // qualifiedSigner
	data := f.sized()
	f.bytes(8 + 4 + 4 + 1 + 8) // clockInfo, firmwareVersion
	certified := f.sized()
	f.sized() // qualifiedName
	switch {
	case f.bad || len(f.rest) != 0:
		return errors.New("malformed")
	case magic != tpmGenerated || kind != tpmAttestCertify:
		return errors.New("not a certification by a TPM")
	case !bytes.Equal(data, extra):
		return errors.New("it is about something else")
	case !bytes.Equal(certified, name):
		return errors.New("it is about another key")
	}
	return nil
}

// checkPubArea checks that a TPMT_PUBLIC (TPM 2.0 Part 2 §12.2.4) is the
// credential's key, and returns its name (Part 1 §16).
func (r *registration) checkPubArea(pubArea []byte) (name []byte, err error) {
	f := fields{rest: pubArea}
	kind, nameAlg := f.number(2), f.number(2)
	f.bytes(4) // objectAttributes
	f.sized()  // authPolicy
	if f.number(2) != tpmAlgNull {
		return nil, errors.New("symmetric parameters in a signing key")
	}
	if scheme := f.number(2); scheme != tpmAlgNull {
		f.bytes(2) // its hash
	}
	var key crypto.PublicKey
	switch kind {
	case tpmAlgECC:
		curve := f.number(2)
		if kdf := f.number(2); kdf != tpmAlgNull || curve != tpmECCNistP256 {
			return nil, errors.New("not a key on P-256")
		}
		x, y := f.sized(), f.sized()
		if len(x) != 32 || len(y) != 32 {
			return nil, errors.New("not a point on P-256")
		}
		point, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
		if err != nil {
			return nil, errors.New("not a point on P-256")
		}
		key = point
	case tpmAlgRSA:
		bits, exponent := f.number(2), f.number(4)
		if exponent == 0 {
			exponent = 65537
		}
		n := f.sized()
		if len(n)*8 != int(bits) {
			return nil, errors.New("a modulus of another length")
		}
		key = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent)}
	default:
		return nil, errors.New("a key of another kind")
	}
	switch {
	case f.bad || len(f.rest) != 0:
		return nil, errors.New("malformed")
	case !r.key.same(key):
		return nil, errors.New("another key")
	}
	var digest []byte
	switch nameAlg {
	case tpmAlgSHA256:
		digest, err = hashOf(es256, pubArea)
	case tpmAlgSHA384:
		digest, err = hashOf(-35, pubArea)
	case tpmAlgSHA512:
		digest, err = hashOf(-36, pubArea)
	default:
		return nil, fmt.Errorf("a name by algorithm %#x", nameAlg)
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(nameAlg)), digest...), err
}

// checkAIK is §8.3.1.
func checkAIK(cert *x509.Certificate) error {
	names, _, there := extension(cert, oidAltName())
	var usage bool
	for _, oid := range cert.UnknownExtKeyUsage {
		usage = usage || oid.Equal(asn1.ObjectIdentifier{2, 23, 133, 8, 3}) // tcg-kp-AIKCertificate
	}
	switch {
	case cert.Version != 3:
		return errors.New("attestation certificate is not of version 3")
	case len(cert.Subject.Names) != 0:
		return errors.New("attestation certificate has a subject")
	case !there || !namesTPM(names):
		return errors.New("attestation certificate names no TPM")
	case !usage:
		return errors.New("attestation certificate is not for a TPM's attestation key")
	case !cert.BasicConstraintsValid || cert.IsCA:
		return errors.New("attestation certificate is not an end entity's")
	}
	return nil
}

func oidAltName() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 5, 29, 17} }

// fields reads the TPM's big-endian structures. After bytes that are not there, bad
// stays set and everything is zero.
type fields struct {
	rest []byte
	bad  bool
}

func (f *fields) bytes(n int) []byte {
	if f.bad || len(f.rest) < n {
		f.bad = true
		return nil
	}
	out := f.rest[:n]
	f.rest = f.rest[n:]
	return out
}

func (f *fields) number(size int) (n uint32) {
	for _, b := range f.bytes(size) {
		n = n<<8 | uint32(b)
	}
	return n
}

// sized reads a TPM2B: a length of two bytes, then as many.
func (f *fields) sized() []byte { return f.bytes(int(f.number(2))) }
