package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"math/big"
	"testing"

	goattest "github.com/google/go-attestation/attest"
	"github.com/google/go-tpm/tpm2"

	"muster/attest"
	"muster/attest/tpm"
	"muster/attest/tpmtest"
)

// realQuote is a quote of a real TPM 2.0 in the forms of both readers.
type realQuote struct {
	quote *attest.Quote
	ak    *attest.Key
	nonce attest.Digest

	peer      *goattest.AKPublic
	peerQuote goattest.Quote
	peerPCRs  []goattest.PCR
}

func newRealQuote(b *testing.B) *realQuote {
	b.Helper()
	ctx := context.Background()
	chip, err := tpm.Open(ctx, tpm.Config{
		Setting: tpmtest.Start(b).Setting(), Tenant: "bench", Secret: make([]byte, 32),
	})
	if err != nil {
		b.Fatal(err)
	}
	defer chip.Close()
	id, err := chip.Identity(ctx)
	if err != nil {
		b.Fatal(err)
	}
	q := new(realQuote)
	if q.ak, err = attest.ParseKey(attest.AK, id.AK); err != nil {
		b.Fatal(err)
	}
	if _, err := rand.Read(q.nonce[:]); err != nil {
		b.Fatal(err)
	}
	if q.quote, err = chip.Quote(ctx, q.nonce); err != nil {
		b.Fatal(err)
	}
	q.forPeer(b, id.AK)
	return q
}

// forPeer writes the same quote as go-attestation takes it.
func (q *realQuote) forPeer(b *testing.B, public []byte) {
	b.Helper()
	var err error
	if q.peer, err = goattest.ParseAKPublic(public); err != nil {
		b.Fatal(err)
	}
	signature := tpm2.Marshal(tpm2.TPMTSignature{
		SigAlg: tpm2.TPMAlgECDSA,
		Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA, &tpm2.TPMSSignatureECC{
			Hash:       tpm2.TPMAlgSHA256,
			SignatureR: tpm2.TPM2BECCParameter{Buffer: q.quote.Signature[:32]},
			SignatureS: tpm2.TPM2BECCParameter{Buffer: q.quote.Signature[32:]},
		}),
	})
	q.peerQuote = goattest.Quote{Quote: q.quote.Attest, Signature: signature}
	for index, value := range q.quote.PCRs {
		q.peerPCRs = append(q.peerPCRs, goattest.PCR{Index: int(index), Digest: value[:], DigestAlg: 5})
	}
}

// BenchmarkQuote verifies one quote of a real TPM: ours, go-attestation's, and
// the bare signature beneath both.
func BenchmarkQuote(b *testing.B) {
	q := newRealQuote(b)
	sum := sha256.Sum256(q.quote.Attest)
	r, s := new(big.Int).SetBytes(q.quote.Signature[:32]), new(big.Int).SetBytes(q.quote.Signature[32:])
	sideBySide(b,
		contender{"bare-p256-verify", func() error {
			if !ecdsa.Verify(q.ak.Public, sum[:], r, s) {
				return errSignature
			}
			return nil
		}},
		contender{"muster", func() error {
			_, err := attest.CheckQuote(q.quote, q.ak, q.nonce)
			return err
		}},
		contender{"go-attestation", func() error { return q.peer.Verify(q.peerQuote, q.peerPCRs, q.nonce[:]) }},
	)
}

var errSignature = errors.New("signature does not verify")
