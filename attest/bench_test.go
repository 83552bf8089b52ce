package attest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"testing"

	"muster/attest"
	"muster/attest/posture"
)

// BenchmarkVerifyP256 is the floor under everything below: one bare ECDSA check.
func BenchmarkVerifyP256(b *testing.B) {
	key := fixedKey("bench")
	sum := sha256.Sum256([]byte("bench"))
	der, err := key.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !ecdsa.VerifyASN1(&key.PublicKey, sum[:], der) {
			b.Fatal("does not verify")
		}
	}
}

// BenchmarkCheckQuote is form, signature, binding, selection and digest of a quote.
func BenchmarkCheckQuote(b *testing.B) {
	m := newMachine("alder")
	ak, binding := m.parsed(attest.AK), attest.QuoteBinding([]byte("statement"))
	quote := m.quote(binding)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := attest.CheckQuote(quote, ak, binding); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen is the whole way from bytes to a report of about 4 kB.
func BenchmarkOpen(b *testing.B) {
	m := newMachine("alder")
	payload := mustEncode(largeReport(m))
	v, l := m.statement("", attest.TypReport, attest.DKb, payload)
	keys, err := v.keys()
	if err != nil {
		b.Fatal(err)
	}
	known := v.Known.known(keys)
	quote := m.quote(attest.QuoteBinding(l.sign().Input))
	for name, q := range map[string]*attest.Quote{"report": nil, "report+quote": quote} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(v.Compact)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := attest.Open([]byte(v.Compact), q, known); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// largeReport is a report with a payload of about 4 kB.
func largeReport(m *machine) *posture.Report {
	r := reportOf(m)
	d := &r.Claims.DiskEncryption.Detail
	for range 8 {
		d.Volumes = append(d.Volumes, d.Volumes[0])
	}
	return r
}
