package attest_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"math/big"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

// machine plays a laptop with a TPM: fixed keys, and TPM structures built with
// go-tpm's marshaller, so that none of the code under test makes its own input.
type machine struct {
	name     string
	tenant   string
	pcrs     attest.PCRs
	clock    attest.Clock
	firmware uint64
	// counterBound says whether its DKb is bound to the reset count.
	counterBound bool
	// bootLog is a real one; nil for a text that stands for one.
	bootLog []byte
}

const (
	vectorTenant = "00112233445566778899aabbccddeeff"
	vectorOrigin = "https://muster.example"
)

// newMachine makes a machine whose keys, PCRs and clock follow from its name.
func newMachine(name string) *machine {
	m := &machine{name: name, tenant: vectorTenant, pcrs: attest.PCRs{}, firmware: 0x0007_0002_0000_0001, counterBound: true}
	for _, i := range attest.Selection() {
		m.pcrs[i] = sha256.Sum256([]byte{'p', 'c', 'r', i, name[0]})
	}
	seed := sha256.Sum256([]byte("clock of " + name))
	m.clock = attest.Clock{Clock: 1e8 + uint64(seed[0])*1e5, ResetCount: 40 + uint32(seed[1]), RestartCount: 3, Safe: true}
	return m
}

// boot returns the machine some starts later, with its keys and PCRs.
func (m *machine) boot(starts int) *machine {
	next := *m
	next.clock = attest.Clock{Clock: m.clock.Clock + 1e6, ResetCount: m.clock.ResetCount + uint32(starts), Safe: true}
	return &next
}

// fixedKey is the private key of that name, the same in every run.
func fixedKey(name string) *ecdsa.PrivateKey {
	d := sha256.Sum256([]byte("muster test vector key: " + name))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d[:])
	if err != nil {
		panic(err)
	}
	return key
}

// key is the machine's private key of a role; each boot has its own DKb.
func (m *machine) key(role attest.Role) *ecdsa.PrivateKey {
	name := m.name + " " + role.String()
	if role == attest.DKb {
		policy := m.policy()
		name += string(policy[:])
	}
	return fixedKey(name)
}

// policy is what binds its DKb, computed apart from attest.BootPolicy.
func (m *machine) policy() []byte {
	pcr7 := m.pcrs[7]
	values := sha256.Sum256(pcr7[:])
	selection := tpm2.Marshal(tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
		{Hash: tpm2.TPMAlgSHA256, PCRSelect: []byte{0x80, 0, 0}}}})
	policy := extend(make([]byte, 32), tpm2.TPMCCPolicyPCR, selection, values[:])
	if !m.counterBound {
		return policy
	}
	operand := binary.BigEndian.AppendUint32(nil, m.clock.ResetCount)
	args := sha256.Sum256(append(operand, 0, 16, 0, 0))
	return extend(policy, tpm2.TPMCC(0x16d), args[:])
}

// extend is the step of every policy command: H(old ‖ command ‖ arguments).
func extend(old []byte, command tpm2.TPMCC, args ...[]byte) []byte {
	h := sha256.New()
	h.Write(old)
	binary.Write(h, binary.BigEndian, command)
	for _, a := range args {
		h.Write(a)
	}
	return h.Sum(nil)
}

// public is the TPMT_PUBLIC of a role's key.
func (m *machine) public(role attest.Role, edits ...func(*tpm2.TPMTPublic)) []byte {
	p := tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, NoDA: true, SignEncrypt: true,
			Restricted: role == attest.AK, UserWithAuth: role != attest.DKb,
		},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Scheme: tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDSA, Details: tpm2.NewTPMUAsymScheme(
				tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256})},
			CurveID: tpm2.TPMECCNistP256,
		}),
		Unique: unique(&m.key(role).PublicKey),
	}
	if role == attest.DKb {
		p.AuthPolicy = tpm2.TPM2BDigest{Buffer: m.policy()}
	}
	for _, edit := range edits {
		edit(&p)
	}
	return tpm2.Marshal(p)
}

func unique(key *ecdsa.PublicKey) tpm2.TPMUPublicID {
	point := pointOf(key)
	return tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		X: tpm2.TPM2BECCParameter{Buffer: point[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: point[33:]}})
}

func pointOf(key *ecdsa.PublicKey) []byte {
	point, err := key.Bytes()
	if err != nil {
		panic(err)
	}
	return point
}

// name is the TPM Name of a role's key.
func (m *machine) nameOf(role attest.Role) []byte {
	sum := sha256.Sum256(m.public(role))
	return append([]byte{0, 0x0b}, sum[:]...)
}

// parsed is a role's key as a verifier holds it.
func (m *machine) parsed(role attest.Role) *attest.Key {
	key, err := attest.ParseKey(role, m.public(role))
	if err != nil {
		panic(err)
	}
	return key
}

// rawSign is a signature as r then s, the same in every run (RFC 6979).
func rawSign(key *ecdsa.PrivateKey, digest []byte) []byte {
	der, err := key.Sign(nil, digest, crypto.SHA256)
	if err != nil {
		panic(err)
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		panic(err)
	}
	out := make([]byte, 64)
	rs.R.FillBytes(out[:32])
	rs.S.FillBytes(out[32:])
	return out
}

// signer signs as an Attester with that key would.
func signer(key *ecdsa.PrivateKey) attest.SignFunc {
	return func(_ context.Context, digest [sha256.Size]byte) ([]byte, error) {
		return rawSign(key, digest[:]), nil
	}
}

// state is a TPMS_ATTEST without its attested part, signed by nobody yet.
func (m *machine) state(qualifying []byte) *tpm2.TPMSAttest {
	return &tpm2.TPMSAttest{
		Magic:           tpm2.TPMGeneratedValue,
		QualifiedSigner: tpm2.TPM2BName{Buffer: m.nameOf(attest.AK)},
		ExtraData:       tpm2.TPM2BData{Buffer: qualifying},
		ClockInfo: tpm2.TPMSClockInfo{
			Clock: m.clock.Clock, ResetCount: m.clock.ResetCount,
			RestartCount: m.clock.RestartCount, Safe: tpm2.TPMIYesNo(m.clock.Safe),
		},
		FirmwareVersion: m.firmware,
	}
}

// selection is a TPML_PCR_SELECTION of one bank.
func selection(bank tpm2.TPMAlgID, pcrs []byte) tpm2.TPMLPCRSelection {
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: bank, PCRSelect: pcrs}}}
}

// wholeSelection is sha256: 0 to 9 and 11 to 15 (the constant of SPEC.md §5.2).
func wholeSelection() tpm2.TPMLPCRSelection {
	return selection(tpm2.TPMAlgSHA256, []byte{0xff, 0xfb, 0x00})
}

// digestOf hashes PCR values in the order of their indices.
func digestOf(values attest.PCRs) []byte {
	h := sha256.New()
	for i := range 24 {
		if v, ok := values[uint8(i)]; ok {
			h.Write(v[:])
		}
	}
	return h.Sum(nil)
}

// quoteInfo makes the attested part of a quote.
func quoteInfo(selected tpm2.TPMLPCRSelection, digest []byte) tpm2.TPMUAttest {
	return tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote, &tpm2.TPMSQuoteInfo{
		PCRSelect: selected, PCRDigest: tpm2.TPM2BDigest{Buffer: digest}})
}

// attestation signs marshalled TPM bytes with the machine's AK.
func (m *machine) attestation(attested []byte) attest.Attestation {
	sum := sha256.Sum256(attested)
	return attest.Attestation{Attest: attested, Signature: rawSign(m.key(attest.AK), sum[:])}
}

// quote is TPM2_Quote by the AK over the constant selection; edits change what
// the AK signs.
func (m *machine) quote(qualifying attest.Digest, edits ...func(*tpm2.TPMSAttest)) *attest.Quote {
	a := m.state(qualifying[:])
	a.Type, a.Attested = tpm2.TPMSTAttestQuote, quoteInfo(wholeSelection(), digestOf(m.pcrs))
	for _, edit := range edits {
		edit(a)
	}
	values := attest.PCRs{}
	for i, v := range m.pcrs {
		values[i] = v
	}
	return &attest.Quote{Attestation: m.attestation(tpm2.Marshal(*a)), PCRs: values, LogSHA256: sha256.Sum256(m.log())}
}

// log is the machine's boot log, or stands for one.
func (m *machine) log() []byte {
	if m.bootLog != nil {
		return m.bootLog
	}
	return []byte("boot log of " + m.name)
}

// certify is TPM2_Certify by the AK of an object's Name.
func (m *machine) certify(name []byte, qualifying attest.Digest, edits ...func(*tpm2.TPMSAttest)) *attest.Attestation {
	a := m.state(qualifying[:])
	a.Type = tpm2.TPMSTAttestCertify
	a.Attested = tpm2.NewTPMUAttest(tpm2.TPMSTAttestCertify, &tpm2.TPMSCertifyInfo{
		Name: tpm2.TPM2BName{Buffer: name}, QualifiedName: tpm2.TPM2BName{Buffer: name}})
	for _, edit := range edits {
		edit(a)
	}
	out := m.attestation(tpm2.Marshal(*a))
	return &out
}
