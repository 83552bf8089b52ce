package enroll

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"math/big"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

// policyA is PolicySecret(TPM_RH_ENDORSEMENT) in SHA-256 (profile §B.3.2).
var policyA = [...]byte{
	0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
	0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
}

// policyB256 and policyB384 are the PolicyOR of the high range (profile §B.6.5).
var policyB256 = [...]byte{
	0xca, 0x3d, 0x0a, 0x99, 0xa2, 0xb9, 0x39, 0x06, 0xf7, 0xa3, 0x34, 0x24, 0x14, 0xef, 0xcf, 0xb3,
	0xa3, 0x85, 0xd4, 0x4c, 0xd1, 0xfd, 0x45, 0x90, 0x89, 0xd1, 0x9b, 0x50, 0x71, 0xc0, 0xb7, 0xa0,
}

var policyB384 = [...]byte{
	0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a,
	0x07, 0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4, 0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca,
	0xcb, 0x47, 0xba, 0x09, 0x69, 0x96, 0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,
}

// endorsementKey is an EK that has exactly a TCG template.
type endorsementKey struct {
	// Hash is SHA-256 of the SubjectPublicKeyInfo DER: the identity of the chip.
	Hash attest.Digest
	// Public is the key for comparing with a certificate.
	Public any
	area   *tpm2.TPMTPublic
}

// parseEK reads a TPMT_PUBLIC that must be the named template byte for byte
// apart from unique.
func parseEK(template attest.EKTemplate, public []byte) (*endorsementKey, error) {
	if len(public) > attest.MaxPublic {
		return nil, refuse(attest.TooLarge, "EK of %d bytes", len(public))
	}
	area, err := tpm2.Unmarshal[tpm2.TPMTPublic](public)
	if err != nil {
		return nil, refuse(attest.PublicForm, "EK: %v", err)
	}
	if !bytes.Equal(tpm2.Marshal(area), public) {
		return nil, refuse(attest.PublicForm, "EK has trailing or unusual bytes")
	}
	want, err := ekTemplate(template, area)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(tpm2.Marshal(want), public) {
		return nil, refuse(attest.TemplateWrong, "EK is not template %s", template)
	}
	key, err := ekPublic(area)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, refuse(attest.PublicForm, "EK: %v", err)
	}
	return &endorsementKey{Hash: sha256.Sum256(der), Public: key, area: area}, nil
}

// ekTemplate builds the template with the unique of the key that was shown.
func ekTemplate(template attest.EKTemplate, shown *tpm2.TPMTPublic) (*tpm2.TPMTPublic, error) {
	attrs := tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, AdminWithPolicy: true, Restricted: true, Decrypt: true}
	switch template {
	case attest.EKRSAL1:
		return rsaTemplate(attrs, shown)
	case attest.EKP256L2:
		return eccTemplate(attrs, tpm2.TPMAlgSHA256, policyA[:], 128, tpm2.TPMECCNistP256, shown)
	case attest.EKP256H2:
		attrs.UserWithAuth = true
		return eccTemplate(attrs, tpm2.TPMAlgSHA256, policyB256[:], 128, tpm2.TPMECCNistP256, shown)
	case attest.EKP384H3:
		attrs.UserWithAuth = true
		return eccTemplate(attrs, tpm2.TPMAlgSHA384, policyB384[:], 256, tpm2.TPMECCNistP384, shown)
	}
	return nil, refuse(attest.TemplateWrong, "no EK template %q", string(template))
}

func aesCFB(bits uint16) tpm2.TPMTSymDefObject {
	return tpm2.TPMTSymDefObject{
		Algorithm: tpm2.TPMAlgAES,
		KeyBits:   tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, tpm2.TPMKeyBits(bits)),
		Mode:      tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, tpm2.TPMAlgCFB),
	}
}

func rsaTemplate(attrs tpm2.TPMAObject, shown *tpm2.TPMTPublic) (*tpm2.TPMTPublic, error) {
	unique, err := shown.Unique.RSA()
	if err != nil || shown.Type != tpm2.TPMAlgRSA {
		return nil, refuse(attest.TemplateWrong, "EK is not RSA")
	}
	return &tpm2.TPMTPublic{
		Type: tpm2.TPMAlgRSA, NameAlg: tpm2.TPMAlgSHA256, ObjectAttributes: attrs,
		AuthPolicy: tpm2.TPM2BDigest{Buffer: policyA[:]},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{Symmetric: aesCFB(128), KeyBits: 2048}),
		Unique:     tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, unique),
	}, nil
}

func eccTemplate(attrs tpm2.TPMAObject, hash tpm2.TPMAlgID, policy []byte, bits uint16, curve tpm2.TPMECCCurve, shown *tpm2.TPMTPublic) (*tpm2.TPMTPublic, error) {
	unique, err := shown.Unique.ECC()
	if err != nil || shown.Type != tpm2.TPMAlgECC {
		return nil, refuse(attest.TemplateWrong, "EK is not ECC")
	}
	return &tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: hash, ObjectAttributes: attrs,
		AuthPolicy: tpm2.TPM2BDigest{Buffer: policy},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{Symmetric: aesCFB(bits), CurveID: curve}),
		Unique:     tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, unique),
	}, nil
}

// ekPublic returns the key of a template that was found right.
func ekPublic(area *tpm2.TPMTPublic) (any, error) {
	if area.Type == tpm2.TPMAlgRSA {
		unique, err := area.Unique.RSA()
		if err != nil || len(unique.Buffer) != 256 {
			return nil, refuse(attest.PublicForm, "EK modulus is not 2048 bits")
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(unique.Buffer), E: 65537}, nil
	}
	parms, err := area.Parameters.ECCDetail()
	if err != nil {
		return nil, refuse(attest.PublicForm, "EK: %v", err)
	}
	unique, err := area.Unique.ECC()
	if err != nil {
		return nil, refuse(attest.PublicForm, "EK: %v", err)
	}
	curve, size := elliptic.P256(), 32
	if parms.CurveID == tpm2.TPMECCNistP384 {
		curve, size = elliptic.P384(), 48
	}
	x, y := unique.X.Buffer, unique.Y.Buffer
	if len(x) > size || len(y) > size {
		return nil, refuse(attest.PublicForm, "EK point is too long")
	}
	point := make([]byte, 1+2*size)
	point[0] = 4
	copy(point[1+size-len(x):], x)
	copy(point[1+2*size-len(y):], y)
	public, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, refuse(attest.PublicForm, "EK is not on its curve")
	}
	return public, nil
}

func refuse(code attest.Code, format string, args ...any) error {
	return &attest.Error{Code: code, Detail: fmt.Sprintf(format, args...)}
}
