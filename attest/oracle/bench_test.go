package oracle

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	goattest "github.com/google/go-attestation/attest"
	"github.com/google/go-tpm/tpm2"

	"muster/attest"
	"muster/attest/bootlog"
	"muster/attest/posture"
	"muster/server/reference"
	"muster/server/verify"
)

// start is one start of a machine as both readers take it: a quote of the log's
// PCR values by a P-256 AK, and the log.
type start struct {
	raw   []byte
	quote *attest.Quote
	ak    *attest.Key
	nonce attest.Digest
	refs  *reference.Boot

	peer      *goattest.AKPublic
	peerQuote goattest.Quote
	peerPCRs  []goattest.PCR
}

// newStart quotes a log's values as a TPM would: how long a check takes does not
// depend on who signed.
func newStart(tb testing.TB, p *publicLog) *start {
	tb.Helper()
	s := &start{raw: p.raw, nonce: attest.Digest{1, 2, 3}}
	var err error
	if s.refs, err = reference.DefaultBoot(); err != nil {
		tb.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	pcrs, all := attest.PCRs{}, []byte(nil)
	for _, i := range attest.Selection() {
		var value attest.Digest
		copy(value[:], p.values[bootlog.SHA256][i])
		pcrs[i] = value
		all = append(all, value[:]...)
		s.peerPCRs = append(s.peerPCRs, goattest.PCR{Index: int(i), Digest: slices.Clone(value[:]), DigestAlg: crypto.SHA256})
	}
	digest := sha256.Sum256(all)
	attested := tpm2.Marshal(tpm2.TPMSAttest{
		Magic: tpm2.TPMGeneratedValue, Type: tpm2.TPMSTAttestQuote,
		QualifiedSigner: tpm2.TPM2BName{Buffer: append([]byte{0x00, 0x0b}, make([]byte, 32)...)}, ExtraData: tpm2.TPM2BData{Buffer: s.nonce[:]},
		Attested: tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote, &tpm2.TPMSQuoteInfo{
			PCRSelect: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
				{Hash: tpm2.TPMAlgSHA256, PCRSelect: []byte{0xff, 0xfb, 0}}}},
			PCRDigest: tpm2.TPM2BDigest{Buffer: digest[:]},
		}),
	})
	sum := sha256.Sum256(attested)
	r, sig, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		tb.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	sig.FillBytes(signature[32:])
	s.quote = &attest.Quote{Attestation: attest.Attestation{Attest: attested, Signature: signature}, PCRs: pcrs}
	public := publicArea(tb, &key.PublicKey)
	if s.ak, err = attest.ParseKey(attest.AK, public); err != nil {
		tb.Fatal(err)
	}
	s.forPeer(tb, public, r, sig)
	return s
}

// publicArea is the AK's TPMT_PUBLIC: its template, with the point for unique.
func publicArea(tb testing.TB, key *ecdsa.PublicKey) []byte {
	tb.Helper()
	point, err := key.Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	template := attest.Template(attest.AK, "bench", nil, nil)
	b := slices.Clone(template[:len(template)-2*(2+32)])
	for _, half := range [][]byte{point[1:33], point[33:]} {
		b = append(binary.BigEndian.AppendUint16(b, 32), half...)
	}
	return b
}

func (s *start) forPeer(tb testing.TB, public []byte, r, sig *big.Int) {
	tb.Helper()
	var err error
	if s.peer, err = goattest.ParseAKPublic(public); err != nil {
		tb.Fatal(err)
	}
	s.peerQuote = goattest.Quote{Quote: s.quote.Attest, Signature: tpm2.Marshal(tpm2.TPMTSignature{
		SigAlg: tpm2.TPMAlgECDSA,
		Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA, &tpm2.TPMSSignatureECC{
			Hash:       tpm2.TPMAlgSHA256,
			SignatureR: tpm2.TPM2BECCParameter{Buffer: r.Bytes()}, SignatureS: tpm2.TPM2BECCParameter{Buffer: sig.Bytes()},
		}),
	})}
}

// ours is quote and log to facts.
func (s *start) ours(certs *bootlog.Certificates) (*bootlog.Account, error) {
	measured, err := attest.CheckQuote(s.quote, s.ak, s.nonce)
	if err != nil {
		return nil, err
	}
	parsed, err := bootlog.Parse(s.raw)
	if err != nil {
		return nil, err
	}
	var values bootlog.Values
	for i, v := range measured.PCRs {
		values[i] = v[:]
	}
	a := parsed.Account(bootlog.SHA256, &values, certs)
	if a.PCRs[7] != bootlog.Match || !a.SecureBoot.Known || !a.DBX.Known {
		return nil, errors.New("the log does not explain the quote")
	}
	return a, nil
}

// claims judges the facts too.
func (s *start) claims(certs *bootlog.Certificates) error {
	a, err := s.ours(certs)
	if err != nil {
		return err
	}
	if c := verify.JudgeBoot(a, s.refs, time.Unix(1795348800, 0)); c.SecureBoot.State == posture.Unknown {
		return errors.New("Secure Boot is not judged")
	}
	return nil
}

// theirs is the same with go-attestation, which judges nothing.
func (s *start) theirs() error {
	if err := s.peer.Verify(s.peerQuote, s.peerPCRs, s.nonce[:]); err != nil {
		return err
	}
	parsed, err := goattest.ParseEventLog(s.raw)
	if err != nil {
		return err
	}
	events, err := parsed.Verify(s.peerPCRs)
	if err != nil {
		return err
	}
	_, err = goattest.ParseSecurebootState(events)
	return err
}

// benchLogs are the logs that are measured: about 45 kB, SHA-256 alone and three
// banks, and one of 18 kB with Secure Boot on.
func benchLogs(tb testing.TB) map[string]*start {
	tb.Helper()
	names := map[string]string{
		"50kB-1bank":  "go-tpm-tools gdc-host",
		"45kB-3banks": "go-tpm-tools ubuntu-2404-amd-sevsnp",
		"18kB-secure": "muster sb-shim-grub",
	}
	out := map[string]*start{}
	for _, p := range publicLogs(tb) {
		for short, name := range names {
			if p.name == name {
				out[short] = newStart(tb, &p)
			}
		}
	}
	if len(out) != len(names) {
		tb.Fatalf("%d of %d logs", len(out), len(names))
	}
	return out
}

// maxAllocs is what a quote and a log of about 45 kB may allocate until the facts
// are known, certificates read before.
const maxAllocs = 60

// TestEvidenceAllocations holds quote and log against the bound on allocations.
func TestEvidenceAllocations(t *testing.T) {
	for name, s := range benchLogs(t) {
		var certs bootlog.Certificates
		allocs := func(run func() error) float64 {
			return testing.AllocsPerRun(20, func() {
				if err := run(); err != nil {
					t.Fatal(err)
				}
			})
		}
		ours := allocs(func() error { _, err := s.ours(&certs); return err })
		t.Logf("%s: %v allocations, %v with claims, go-attestation %v", name,
			ours, allocs(func() error { return s.claims(&certs) }), allocs(s.theirs))
		if ours > maxAllocs {
			t.Errorf("%s: %v allocations, at most %d", name, ours, maxAllocs)
		}
	}
}

// Rounds are short and interleaved, so that what else the machine does hits both
// alike; the median round is what is told.
const (
	rounds   = 301
	perRound = 8
)

// BenchmarkEvidence is a quote and a boot log to facts: ours with certificates that
// were read before, the same with claims and with claims but without certificates,
// go-attestation's (which keeps none), and the hashing of the log, below which
// nobody comes. It ignores b.N: one call is the
// whole measurement.
func BenchmarkEvidence(b *testing.B) {
	starts := benchLogs(b)
	for _, name := range []string{"50kB-1bank", "45kB-3banks", "18kB-secure"} {
		b.Run(name, func(b *testing.B) { starts[name].sideBySide(b) })
	}
}

func (s *start) sideBySide(b *testing.B) {
	var certs bootlog.Certificates
	contenders := []struct {
		name string
		run  func() error
	}{
		{"muster", func() error { _, err := s.ours(&certs); return err }},
		{"muster-claims", func() error { return s.claims(&certs) }},
		{"muster-cold", func() error { return s.claims(nil) }},
		{"go-attestation", s.theirs},
		{"sha256", func() error { sha256.Sum256(s.raw); return nil }},
	}
	times := make([][]time.Duration, len(contenders))
	for range rounds {
		for i, c := range contenders {
			begin := time.Now()
			for range perRound {
				if err := c.run(); err != nil {
					b.Fatalf("%s: %v", c.name, err)
				}
			}
			times[i] = append(times[i], time.Since(begin)/perRound)
		}
	}
	var ours float64
	for i, c := range contenders {
		slices.Sort(times[i])
		median := float64(times[i][rounds/2].Nanoseconds()) / 1e3
		if i == 0 {
			ours = median
		}
		b.ReportMetric(median, c.name+"-µs")
	}
	theirs := float64(times[3][rounds/2].Nanoseconds()) / 1e3
	b.ReportMetric(theirs/ours, "times-faster")
	b.ReportMetric(0, "ns/op")
}
