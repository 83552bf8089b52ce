package tpm

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

// ekTemplate is a template of the TCG EK Credential Profile 2.5 (annex B), with
// where the profile keeps what belongs to it (§2.2.1.4, §2.2.1.5).
type ekTemplate struct {
	name        attest.EKTemplate
	certificate uint32 // NV index
	persistent  uint32 // handle at which a manufacturer may leave the key
	head        []byte // TPMT_PUBLIC up to unique
	unique      []byte
	alg         tpm2.TPMIAlgHash // name algorithm, and of the policy
	// branches are the two digests of PolicyB, PolicyA or PolicyC, as TPML_DIGEST;
	// nil where the key's policy is PolicyA itself.
	branches []byte
}

// ekTemplates returns the templates in the order in which they are preferred: a
// P-256 key is made in a fraction of the time that an RSA key takes.
func ekTemplates() [4]ekTemplate {
	a256, b256, c256 := unhex(policyA256), unhex(policyB256), unhex(policyC256)
	a384, b384, c384 := unhex(policyA384), unhex(policyB384), unhex(policyC384)
	return [4]ekTemplate{
		{
			name: attest.EKP256H2, certificate: 0x01c00014, persistent: 0x81010014, alg: tpm2.TPMAlgSHA256,
			head: ekECC(tpm2.TPMAlgSHA256, ekHigh, b256, 128, tpm2.TPMECCNistP256), unique: zeros(0, 0),
			branches: digests(a256, c256),
		},
		{
			name: attest.EKP256L2, certificate: 0x01c0000a, persistent: 0x81010002, alg: tpm2.TPMAlgSHA256,
			head: ekECC(tpm2.TPMAlgSHA256, ekLow, a256, 128, tpm2.TPMECCNistP256), unique: zeros(32, 32),
		},
		{
			name: attest.EKP384H3, certificate: 0x01c00016, persistent: 0x81010016, alg: tpm2.TPMAlgSHA384,
			head: ekECC(tpm2.TPMAlgSHA384, ekHigh, b384, 256, tpm2.TPMECCNistP384), unique: zeros(0, 0),
			branches: digests(a384, c384),
		},
		{
			name: attest.EKRSAL1, certificate: 0x01c00002, persistent: 0x81010001, alg: tpm2.TPMAlgSHA256,
			head: ekRSA(a256), unique: zeros(256),
		},
	}
}

// TPMA_OBJECT of EKs: fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy,
// restricted and decrypt; the high range has userWithAuth too.
const (
	ekLow  = 0x000300b2
	ekHigh = 0x000300f2
)

// The policies of the profile (§B.6): A is PolicySecret(endorsement), C is
// PolicyAuthorizeNV on an index of the profile, B is A or C.
const (
	policyA256 = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa"
	policyB256 = "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0"
	policyC256 = "3767e2edd43ff45a3a7e1eaefcef78643dca964632e7aad82c673a30d8633fde"
	policyA384 = "8bbf2266537c171cb56e403c4dc1d4b64f432611dc386e6f532050c3278c930e143e8bb1133824ccb431053871c6db53"
	policyB384 = "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12"
	policyC384 = "d6032ce61f2fb3c240eb3cf6a33237ef2b6a16f4293c22b455e261cffd217ad5b4947c2d73e63005eed2dc2b3593d165"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err) // our own constant
	}
	return b
}

// digests writes a TPML_DIGEST.
func digests(list ...[]byte) []byte {
	b := words(uint32(len(list)))
	for _, d := range list {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(d))), d...)
	}
	return b
}

// zeros writes a list of sized buffers filled with zeros.
func zeros(sizes ...int) (b []byte) {
	for _, size := range sizes {
		b = binary.BigEndian.AppendUint16(b, uint16(size))
		b = append(b, make([]byte, size)...)
	}
	return b
}

// ekECC writes the TPMT_PUBLIC of an ECC EK up to unique.
func ekECC(alg tpm2.TPMIAlgHash, attributes uint32, policy []byte, aes uint16, curve tpm2.TPMECCCurve) []byte {
	b := ekPrefix(tpm2.TPMAlgECC, alg, attributes, policy, aes)
	b = binary.BigEndian.AppendUint16(b, uint16(tpm2.TPMAlgNull)) // scheme
	b = binary.BigEndian.AppendUint16(b, uint16(curve))
	return binary.BigEndian.AppendUint16(b, uint16(tpm2.TPMAlgNull)) // kdf
}

// ekRSA writes the TPMT_PUBLIC of the RSA-2048 EK up to unique.
func ekRSA(policy []byte) []byte {
	b := ekPrefix(tpm2.TPMAlgRSA, tpm2.TPMAlgSHA256, ekLow, policy, 128)
	b = binary.BigEndian.AppendUint16(b, uint16(tpm2.TPMAlgNull)) // scheme
	b = binary.BigEndian.AppendUint16(b, 2048)
	return binary.BigEndian.AppendUint32(b, 0) // exponent: the default, 65537
}

func ekPrefix(kind, alg tpm2.TPMAlgID, attributes uint32, policy []byte, aes uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(kind))
	b = binary.BigEndian.AppendUint16(b, uint16(alg))
	b = binary.BigEndian.AppendUint32(b, attributes)
	b = binary.BigEndian.AppendUint16(b, uint16(len(policy)))
	b = append(b, policy...)
	b = binary.BigEndian.AppendUint16(b, uint16(tpm2.TPMAlgAES))
	b = binary.BigEndian.AppendUint16(b, aes)
	return binary.BigEndian.AppendUint16(b, uint16(tpm2.TPMAlgCFB))
}

// public is the whole TPMT_PUBLIC with which the key is made.
func (t *ekTemplate) public() []byte { return slices.Concat(t.head, t.unique) }

// matches reports whether a public area is this template apart from unique.
func (t *ekTemplate) matches(public []byte) bool {
	return len(public) <= attest.MaxPublic && bytes.HasPrefix(public, t.head)
}
