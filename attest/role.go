package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/big"
)

// Role is what one of a device's keys is for (SPEC.md §5.1).
type Role uint8

// AK signs what the TPM itself states; DK is the device key, bound to the
// installed system by a local secret; DKb is this boot's device key, usable
// only while PCR 7 and the reset count stay.
const (
	NoRole Role = iota
	AK
	DK
	DKb
)

// String returns the role's name.
func (r Role) String() string { return [...]string{"none", "AK", "DK", "DKb"}[r&3] }

// TPMA_OBJECT of each role (TPM 2.0 Part 2 §8.3): fixedTPM, fixedParent,
// sensitiveDataOrigin, noDA and sign for all; restricted for the AK;
// userWithAuth for AK and DK.
const (
	attributesAK  = 0x00050472
	attributesDK  = 0x00040472
	attributesDKb = 0x00040432
)

// Template returns the TPMT_PUBLIC with which a TPM makes the key of a role as a
// primary object (SPEC.md §5.1): ECDSA with SHA-256 on P-256. tenant separates
// servers, secret is S (nil for the AK), policy is DKb's (nil otherwise).
func Template(role Role, tenant string, secret, policy []byte) []byte {
	var unique Digest
	switch role {
	case AK:
		unique = hashed(tagAK, []byte(tenant))
	case DK:
		unique = hashed(tagDK, []byte(tenant), secret)
	case DKb:
		unique = hashed(tagDKb, []byte(tenant), secret)
	}
	b := prefix(role, policy)
	b = binary.BigEndian.AppendUint16(b, uint16(len(unique)))
	b = append(b, unique[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(unique)))
	return append(b, make([]byte, len(unique))...)
}

// prefix is everything of a role's TPMT_PUBLIC before unique.
func prefix(role Role, policy []byte) []byte {
	attributes := [...]uint32{AK: attributesAK, DK: attributesDK, DKb: attributesDKb}
	b := []byte{0x00, 0x23, 0x00, 0x0b} // TPM_ALG_ECC, nameAlg SHA-256
	b = binary.BigEndian.AppendUint32(b, attributes[role&3])
	b = binary.BigEndian.AppendUint16(b, uint16(len(policy)))
	b = append(b, policy...)
	return append(b,
		0x00, 0x10, // symmetric: null
		0x00, 0x18, 0x00, 0x0b, // scheme: ECDSA with SHA-256
		0x00, 0x03, // curve: NIST P-256
		0x00, 0x10) // kdf: null
}

// Key is a public signing key of a device.
type Key struct {
	Role   Role
	ID     Digest // SHA-256 of the SubjectPublicKeyInfo DER: the JWS kid
	Name   []byte // TPM Name; nil for a key that no TPM holds
	Policy []byte // authPolicy; DKb only
	Public *ecdsa.PublicKey
}

// ParseKey reads a TPMT_PUBLIC that must be exactly the template of its role
// apart from unique and, for DKb, the 32 bytes of policy. This is what stops a
// software key, or an ordinary key that could sign a forged quote, from passing
// as an AK.
func ParseKey(role Role, public []byte) (*Key, error) {
	if len(public) > MaxPublic {
		return nil, refuse(TooLarge, "%v public area of %d bytes", role, len(public))
	}
	if role != AK && role != DK && role != DKb {
		return nil, refuse(TemplateWrong, "no template for role %d", uint8(role))
	}
	var policy []byte
	if role == DKb {
		const at = 2 + 2 + 4 + 2
		if len(public) < at+sha256.Size {
			return nil, refuse(PublicForm, "%v public area of %d bytes", role, len(public))
		}
		policy = bytes.Clone(public[at : at+sha256.Size])
	}
	want := prefix(role, policy)
	if !bytes.HasPrefix(public, want) {
		return nil, refuse(TemplateWrong, "public area is not the template of %v", role)
	}
	x, rest, okX := sized(public[len(want):])
	y, rest, okY := sized(rest)
	if !okX || !okY || len(rest) != 0 || len(x) > 32 || len(y) > 32 {
		return nil, refuse(PublicForm, "%v has no P-256 point", role)
	}
	point, err := publicKey(x, y)
	if err != nil {
		return nil, refuse(PublicForm, "%v: %v", role, err)
	}
	name := sha256.Sum256(public)
	return &Key{
		Role: role, ID: KeyID(point), Policy: policy, Public: point,
		Name: append([]byte{0x00, 0x0b}, name[:]...),
	}, nil
}

// SoftKey makes the DK of a device without a TPM from its uncompressed point,
// 65 bytes.
func SoftKey(point []byte) (*Key, error) {
	if len(point) != 65 || point[0] != 4 {
		return nil, refuse(PublicForm, "not an uncompressed P-256 point")
	}
	public, err := publicKey(point[1:33], point[33:])
	if err != nil {
		return nil, refuse(PublicForm, "%v", err)
	}
	return &Key{Role: DK, ID: KeyID(public), Public: public}, nil
}

var errPoint = errors.New("point is not on P-256")

func publicKey(x, y []byte) (*ecdsa.PublicKey, error) {
	var point [65]byte
	point[0] = 4
	new(big.Int).SetBytes(x).FillBytes(point[1:33])
	new(big.Int).SetBytes(y).FillBytes(point[33:])
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point[:])
	if err != nil {
		return nil, errPoint
	}
	return public, nil
}

// spkiP256 is the DER of a P-256 SubjectPublicKeyInfo up to its point
// (RFC 5480 §2).
var spkiP256 = [...]byte{
	0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
	0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
}

// KeyID is the kid of a P-256 key: SHA-256 of its SubjectPublicKeyInfo DER.
func KeyID(public *ecdsa.PublicKey) Digest {
	point, err := public.Bytes()
	if err != nil {
		return Digest{} // not on the curve: matches no key
	}
	return sha256.Sum256(append(spkiP256[:len(spkiP256):len(spkiP256)], point...))
}

// BootPolicy is the authPolicy of a DKb (SPEC.md §5.1): PolicyPCR over PCR 7 of
// the SHA-256 bank and, where the TPM can, PolicyCounterTimer(resetCount = now).
// The server recomputes it from quoted values (TPM 2.0 Part 3 §23.7, §23.9).
func BootPolicy(pcr7 Digest, resetCount uint32, counterBound bool) Digest {
	values := sha256.Sum256(pcr7[:])
	b := make([]byte, sha256.Size, 128)
	b = binary.BigEndian.AppendUint32(b, 0x0000017f)                                 // TPM_CC_PolicyPCR
	b = append(b, 0x00, 0x00, 0x00, 0x01, 0x00, 0x0b, 0x03, 0b1000_0000, 0x00, 0x00) // sha256: 7
	b = append(b, values[:]...)
	policy := sha256.Sum256(b)
	if !counterBound {
		return policy
	}
	operand := CounterOperand(resetCount)
	args := sha256.Sum256(append(operand, 0x00, counterOffset, 0x00, 0x00)) // TPM_EO_EQ
	b = binary.BigEndian.AppendUint32(policy[:], 0x0000016d)                // TPM_CC_PolicyCounterTimer
	return sha256.Sum256(append(b, args[:]...))
}

// CheckBootPolicy establishes that a DKb can sign only in the boot that a quote
// measured, and tells whether the reset count binds it too; where not, only PCR 7
// does, and each of its statements needs a quote (SPEC.md §5.1).
func CheckBootPolicy(dkb *Key, measured *Measured) (counterBound bool, err error) {
	if dkb == nil || dkb.Role != DKb || measured == nil {
		return false, refuse(KeyRole, "no DKb or no quote to check it with")
	}
	pcr7, ok := measured.PCRs[7]
	if !ok {
		return false, refuse(PCRValues, "PCR 7 has no value")
	}
	for _, counterBound := range [...]bool{true, false} {
		policy := BootPolicy(pcr7, measured.Clock.ResetCount, counterBound)
		if bytes.Equal(dkb.Policy, policy[:]) {
			return counterBound, nil
		}
	}
	return false, refuse(PolicyWrong, "DKb is not bound to the quoted boot")
}

// counterOffset is where resetCount stands in TPMS_TIME_INFO (Part 2 §10.11.5).
const counterOffset = 16

// CounterOperand is operandB of PolicyCounterTimer for a reset count.
func CounterOperand(resetCount uint32) []byte {
	return binary.BigEndian.AppendUint32(nil, resetCount)
}

// sized splits a TPM2B off b.
func sized(b []byte) (value, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if len(b) < 2+n {
		return nil, nil, false
	}
	return b[2 : 2+n], b[2+n:], true
}
