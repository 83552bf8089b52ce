package evidence

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/decide"
	"muster/server/enroll"
	"muster/server/reference"
	"muster/server/verify"
)

// began is when the machine of these tests enrolled.
func began() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

const (
	testOrigin = "https://muster.corp.example"
	testTenant = "000102030405060708090a0b0c0d0e0f"
	testDevice = "device-one"
)

// machine is a TPM in software, with what a server knows of it: it states whatever a
// test wants, in the form of a TPM.
type machine struct {
	t               testing.TB
	ek, ak, dk, dkb *ecdsa.PrivateKey
	certificate     []byte
	roots           map[string][]byte
	pcrs            attest.PCRs
	log             []byte
	reset           uint32
	clock           uint64
	file            *File
	session         enroll.Session
	seq             uint64
	last            attest.Digest
	result          *verify.Result
	refs            *reference.Boot
	policy          *decide.Policy
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	return must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

// newMachine makes one that was started as a real log says, with an EK certificate
// of a CA of its own.
func newMachine(t testing.TB, start string) *machine {
	t.Helper()
	m := &machine{t: t, ek: newKey(t), ak: newKey(t), dk: newKey(t), dkb: newKey(t), pcrs: attest.PCRs{}, reset: 7, clock: 1000}
	log, pcrs := realLog(t, start)
	m.log = log
	for _, i := range attest.Selection() {
		value := must[[]byte](t)(hex.DecodeString(given(t, pcrs)["sha256"][strconv.Itoa(int(i))]))
		m.pcrs[i] = attest.Digest(value)
	}
	m.issue()
	m.refs = must[*reference.Boot](t)(reference.DefaultBoot())
	m.policy = must[*decide.Policy](t)(decide.Load("policy", []byte(testPolicy)))
	m.file = &File{Origin: testOrigin, Tenant: testTenant, Policy: testPolicy, Log: log}
	return m
}

// testPolicy has a rule that holds, one that does not, and one with grace.
const testPolicy = `
apps:
  - {id: vault, sensitivity: high, devices: true}
  - {id: board, sensitivity: low, devices: true}
require:
  - {id: hardware-keys, for: app.sensitivity >= HIGH, that: device.level == TPM_HW, otherwise: deny}
  - {id: disk-encrypted, for: app.sensitivity >= HIGH, that: device.disk_encryption.state == YES, otherwise: restrict}
  - {id: firewall-on, that: device.firewall.state == YES, otherwise: deny, grace: 24h, grace_unknown: true}
`

// issue makes the EK certificate, and the CA above it.
func (m *machine) issue() {
	ca := newKey(m.t)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test TPM CA"}, NotBefore: began().Add(-time.Hour), NotAfter: began().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der := must[[]byte](m.t)(x509.CreateCertificate(rand.Reader, root, root, &ca.PublicKey, ca))
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "EK"}, NotBefore: began().Add(-time.Hour), NotAfter: began().Add(time.Hour),
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{{2, 23, 133, 8, 1}},
	}
	m.certificate = must[[]byte](m.t)(x509.CreateCertificate(rand.Reader, leaf, root, &m.ek.PublicKey, ca))
	m.roots = map[string][]byte{"roots.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// public is a key's TPMT_PUBLIC.
func (m *machine) public(role attest.Role, key *ecdsa.PrivateKey) []byte {
	var policy []byte
	if role == attest.DKb {
		d := attest.BootPolicy(m.pcrs[7], m.reset, true)
		policy = d[:]
	}
	template := attest.Template(role, testTenant, nil, policy)
	point := must[[]byte](m.t)(key.PublicKey.Bytes())
	b := template[:len(template)-2*(2+32)]
	b = append(binary.BigEndian.AppendUint16(b, 32), point[1:33]...)
	return append(binary.BigEndian.AppendUint16(b, 32), point[33:]...)
}

func (m *machine) ekPublic() []byte {
	area := tpm2.ECCEKTemplate
	point := must[[]byte](m.t)(m.ek.PublicKey.Bytes())
	area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		X: tpm2.TPM2BECCParameter{Buffer: point[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: point[33:]},
	})
	return tpm2.Marshal(area)
}

// signs makes 64 bytes, r then s.
func signs(t testing.TB, key *ecdsa.PrivateKey, digest [32]byte) []byte {
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
}

// states has the AK sign a TPMS_ATTEST of a type.
func (m *machine) states(kind uint16, qualifying attest.Digest, body []byte) attest.Attestation {
	be := binary.BigEndian
	b := []byte{0xff, 'T', 'C', 'G'}
	b = be.AppendUint16(b, kind)
	b = be.AppendUint16(b, 0) // qualified signer
	b = append(be.AppendUint16(b, 32), qualifying[:]...)
	m.clock += 1000
	b = be.AppendUint32(be.AppendUint32(be.AppendUint64(b, m.clock), m.reset), 0)
	b = be.AppendUint64(append(b, 1), 0x0001000200030004)
	b = append(b, body...)
	return attest.Attestation{Attest: b, Signature: signs(m.t, m.ak, sha256.Sum256(b))}
}

func (m *machine) certify(role attest.Role, public []byte, qualifying attest.Digest) *attest.Attestation {
	key := must[*attest.Key](m.t)(attest.ParseKey(role, public))
	body := append(binary.BigEndian.AppendUint16(nil, uint16(len(key.Name))), key.Name...)
	a := m.states(0x8017, qualifying, append(body, 0, 0))
	return &a
}

func (m *machine) quote(input []byte) *attest.Quote {
	var values []byte
	for _, i := range attest.Selection() {
		v := m.pcrs[i]
		values = append(values, v[:]...)
	}
	digest := sha256.Sum256(values)
	body := []byte{0, 0, 0, 1, 0x00, 0x0b, 3, 0xff, 0xfb, 0x00, 0, 32}
	return &attest.Quote{
		Attestation: m.states(0x8018, attest.QuoteBinding(input), append(body, digest[:]...)), PCRs: m.pcrs, LogSHA256: sha256.Sum256(m.log),
	}
}

func (m *machine) report(at time.Time) []byte {
	r := &posture.Report{
		Agent: "1.0.0", Platform: posture.Linux, Profile: posture.Corporate, BootID: "boot-1", CollectedAt: at, Claims: posture.Unfilled(at, posture.NotYet),
	}
	r.Claims.OS = posture.Observed(at, posture.Yes, "", posture.OS{ID: "debian", Version: "12"})
	r.Claims.SecureBoot = posture.Observed(at, posture.Yes, "", posture.SecureBoot{Enabled: posture.Yes, SetupMode: posture.No, UEFI: posture.Yes})
	return must[[]byte](m.t)(attest.Encode(r))
}

func (m *machine) jws(key *ecdsa.PrivateKey, h attest.Header, payload []byte) *attest.Signed {
	h.Kid = attest.KeyID(&key.PublicKey)
	return must[*attest.Signed](m.t)(attest.Sign(context.Background(), func(_ context.Context, d [32]byte) ([]byte, error) {
		return signs(m.t, key, d), nil
	}, h, payload))
}

// enrols goes through both messages of an enrolment, and registers the device.
func (m *machine) enrols() {
	ak, dk, dkb := m.public(attest.AK, m.ak), m.public(attest.DK, m.dk), m.public(attest.DKb, m.dkb)
	begin := attest.EnrolBegin{
		Token: "mt_secret", Platform: posture.Linux, Serial: "SN-1", UUID: "uuid-1", Name: "alices-laptop",
		Identity: attest.Identity{
			Kind: attest.KindTPM, AK: ak, DK: dk, DKb: dkb, TPM: attest.TPMInfo{Manufacturer: "TEST", Model: "soft", Firmware: "1.2"},
			EK: &attest.EndorsementKey{Template: attest.EKP256L2, Public: m.ekPublic(), Certificate: m.certificate},
		},
	}
	first := must[[]byte](m.t)(attest.Encode(begin))
	m.session = enroll.Session{Begin: first, Secret: make([]byte, 32), Nonce: sha256.Sum256([]byte("enrol nonce")), Issued: began(), Level: verify.TPMHardware}
	finish := attest.EnrolFinish{Session: attest.Bytes("sealed")}
	transcript := attest.EnrolTranscript(first, finish.Session, m.session.Nonce, testOrigin, testTenant)
	finish.Proof = attest.EnrolProof(m.session.Secret, transcript)
	finish.CertifyDK, finish.CertifyDKb = m.certify(attest.DK, dk, transcript), m.certify(attest.DKb, dkb, transcript)
	signed := m.jws(m.dk, attest.Header{Typ: attest.TypEnrol, Nonce: m.session.Nonce, Transcript: transcript}, m.report(began()))
	finish.JWS, finish.Quote = string(signed.Compact), m.quote(signed.Input)
	m.last = signed.Digest

	e := &m.file.Enrolment
	e.At, e.Begin = began().Add(time.Second), string(first)
	e.Finish = string(must[[]byte](m.t)(attest.Encode(finish)))
	e.Session = string(must[[]byte](m.t)(attest.Encode(m.session)))
	d, spki := &m.file.Device, must[[]byte](m.t)(x509.MarshalPKIXPublicKey(&m.ek.PublicKey))
	d.Device = verify.Device{ID: testDevice, State: attest.Active, Level: verify.TPMHardware, Class: verify.ClassCorporate, Owner: "alice", Platform: posture.Linux}
	d.Name, d.Serial, d.UUID, d.TPM, d.CreatedAt = begin.Name, begin.Serial, begin.UUID, begin.Identity.TPM, e.At
	d.Kind, d.EKSHA256, d.AK, d.DK, d.DKb = attest.KindTPM, sha256.Sum256(spki), ak, dk, dkb
}

// says has the machine make a statement, with a quote or without, and the server
// judge it.
func (m *machine) says(typ attest.Typ, key *ecdsa.PrivateKey, quoted bool, payload []byte, at time.Time) {
	m.seq++
	signed := m.jws(key, attest.Header{Typ: typ, Device: testDevice, Nonce: sha256.Sum256([]byte{byte(m.seq)}), Seq: m.seq, Prev: m.last}, payload)
	s := Statement{ReceivedAt: at, JWS: string(signed.Compact)}
	var quote *attest.Quote
	if quoted {
		quote = m.quote(signed.Input)
		s.Quote = string(must[[]byte](m.t)(attest.Encode(quote)))
	}
	role, public := attest.DK, m.public(attest.DK, m.dk)
	if key == m.dkb {
		role, public = attest.DKb, m.public(attest.DKb, m.dkb)
	}
	keys := []*attest.Key{must[*attest.Key](m.t)(attest.ParseKey(role, public)), must[*attest.Key](m.t)(attest.ParseKey(attest.AK, m.public(attest.AK, m.ak)))}
	var before verify.Result
	if m.result != nil {
		before = *m.result
	}
	ev := must[*attest.Evidence](m.t)(attest.Open(signed.Compact, quote, &attest.Known{
		Typs: []attest.Typ{typ}, Device: testDevice, Keys: keys, Now: at, Seq: m.seq - 1, Prev: m.last,
		LastClock: before.Boot.Clock, LastQuoteAt: before.QuotedAt,
		NonceIssued: func(attest.Digest) (time.Time, time.Time, bool) {
			return at.Add(-time.Second), at.Add(time.Minute), true
		},
	}))
	in := verify.Input{Device: m.file.Device.Device, Evidence: ev, Last: m.result, ReceivedAt: at, Boot: verify.BootInput{References: m.refs, Manufacturer: "TEST"}}
	if ev.Measured != nil {
		in.Boot.Account, in.Boot.Missing = verify.ReadLog(m.log, ev.Measured.PCRs, nil)
	}
	m.result = verify.Appraise(in)
	s.Result = string(must[[]byte](m.t)(attest.Encode(m.result)))
	m.file.Statements, m.last = append(m.file.Statements, s), signed.Digest
}

// decides makes the entry of the audit log for the last statement, and encloses what
// judged it.
func (m *machine) decides(at time.Time) {
	grace := m.policy.NextGrace(decide.Inputs{Device: *m.result, HasResult: true, Now: at})
	record := DecisionRecord{
		Grace: grace, Report: m.last, Policy: m.policy.Digest(), At: at, TPM: decide.TPM{Manufacturer: "TEST"},
		Result: sha256.Sum256([]byte(m.file.Statements[len(m.file.Statements)-1].Result)),
	}
	worst, codes := decideAgain(m.policy, decide.Inputs{Device: *m.result, HasResult: true, TPM: record.TPM, Now: at, Grace: grace})
	record.Outcome, record.Reasons = worst, codes[0]
	content := must[[]byte](m.t)(m.refs.Encode())
	m.file.References = references{Number: m.refs.Number, Content: string(content)}
	m.file.Decision = Entry{
		Seq: 12, At: at, Actor: "device " + testDevice, Action: "decision", Subject: testDevice,
		Detail: string(must[[]byte](m.t)(json.Marshal(record))), Prev: sha256.Sum256([]byte("entry 11")),
	}
	m.file.Decision.Hash = m.file.Decision.digest()
	m.file.Exported = exported{At: at.Add(time.Hour), Version: "test", HeadSeq: 20, Head: sha256.Sum256([]byte("entry 20"))}
}

// honest is a file in which everything is as it should be.
func honest(t testing.TB) *machine {
	t.Helper()
	m := newMachine(t, "sb-shim-grub")
	m.enrols()
	m.says(attest.TypReport, m.dkb, true, m.report(began().Add(time.Minute)), began().Add(time.Minute))
	m.decides(began().Add(time.Minute))
	return m
}

// verdict verifies the machine's file.
func (m *machine) verdict() *Verdict {
	m.t.Helper()
	b := must[[]byte](m.t)(m.file.Encode())
	return must[*Verdict](m.t)(Verify(b, m.roots, nil))
}
