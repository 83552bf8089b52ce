package attest_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

// evidence is one whole valid set: a statement, its quote and its boot log.
type evidence struct {
	m     *machine
	parts []string // header, payload, signature
	quote *attest.Quote
	log   []byte
	known *attest.Known
}

func evidenceOf(m *machine) evidence {
	v, l := m.statement("", attest.TypReport, attest.DK, mustEncode(reportOf(m)))
	v.quoted(l)
	keys := []*attest.Key{m.parsed(attest.AK), m.parsed(attest.DK), m.parsed(attest.DKb)}
	return evidence{m: m, parts: strings.Split(v.Compact, "."), quote: v.Quote, log: m.log(), known: v.Known.known(keys)}
}

// judged opens a statement with its quote, then takes the log.
func judged(parts []string, quote *attest.Quote, log []byte, known *attest.Known) error {
	if _, err := attest.Open([]byte(strings.Join(parts, ".")), quote, known); err != nil {
		return err
	}
	return attest.CheckLog(log, quote.LogSHA256)
}

// TestBindingOfPieces mixes the bytes of two captured sets in every way, before
// either verifier (TPM 2.0 quotes bind nothing that is not in them).
func TestBindingOfPieces(t *testing.T) {
	sets := [2]evidence{evidenceOf(newMachine("alder")), evidenceOf(newMachine("birch"))}
	const pieces = 6 // header, payload, signature, attest, PCR values, log
	for verifier := range sets {
		for mix := range 1 << pieces {
			from := func(piece int) *evidence { return &sets[mix>>piece&1] }
			parts := []string{from(0).parts[0], from(1).parts[1], from(2).parts[2]}
			quote := *from(3).quote
			quote.PCRs = from(4).quote.PCRs
			err := judged(parts, &quote, from(5).log, sets[verifier].known)
			whole := mix == verifier*(1<<pieces-1)
			if (err == nil) != whole {
				t.Errorf("verifier %d, pieces %06b: %v", verifier, mix, err)
			}
		}
	}
}

// TestBindingOfFields has each set's own keys sign and quote mixed headers: what
// a device that is somebody's own could do.
func TestBindingOfFields(t *testing.T) {
	sets := [2]evidence{evidenceOf(newMachine("alder")), evidenceOf(newMachine("birch"))}
	const fields = 6 // device, nonce, previous, key, quoting AK, PCR values
	for mix := range 1 << fields {
		from := func(field int) *machine { return sets[mix>>field&1].m }
		h := sets[0].m.header(attest.TypReport, attest.DK)
		h.Device = from(0).deviceID()
		h.Nonce = nonceOf(from(1).name)
		h.Prev = sha256.Sum256([]byte("last of " + from(2).name))
		h.Kid = attest.KeyID(&from(3).key(attest.DK).PublicKey)
		l := &lab{m: from(3), header: h, payload: mustEncode(reportOf(from(0))), role: attest.DK}
		s := l.sign()
		quote := from(4).quote(attest.QuoteBinding(s.Input))
		quote.PCRs, quote.LogSHA256 = from(5).pcrs, sha256.Sum256(sets[0].log)
		err := judged(strings.Split(string(s.Compact), "."), quote, sets[0].log, sets[0].known)
		if (err == nil) != (mix == 0) {
			t.Errorf("fields %06b: %v", mix, err)
		}
	}
}

// TestBindingOfEnrolments mixes two enrolments in every way.
func TestBindingOfEnrolments(t *testing.T) {
	var sets [2]*vectorEnrol
	known := newMachine("alder").known(attest.TypEnrol)
	known.Device, known.Seq, known.Prev, known.LastClock = "", 0, attest.Digest{}, nil
	for i, name := range []string{"alder", "birch"} {
		v, _ := enrolVector(newMachine(name))
		sets[i] = v.Enrol
	}
	known.Nonces = append(known.Nonces, vectorNonce{nonceOf("birch"), vectorIssued, vectorExpires})
	const pieces = 8 // begin, session, nonce, statement, proof, two certifies, quote
	for mix := range 1 << pieces {
		from := func(piece int) *vectorEnrol { return sets[mix>>piece&1] }
		e := *sets[0]
		e.Begin, e.Nonce = from(0).Begin, from(2).Nonce
		e.Secret = from(1).Secret // sealed in the session
		e.Finish = attest.EnrolFinish{
			Session: from(1).Finish.Session, JWS: from(3).Finish.JWS, Proof: from(4).Finish.Proof,
			CertifyDK: from(5).Finish.CertifyDK, CertifyDKb: from(6).Finish.CertifyDKb, Quote: from(7).Finish.Quote,
		}
		_, err := e.judge(known)
		if whole := mix == 0 || mix == 1<<pieces-1; (err == nil) != whole {
			t.Errorf("pieces %08b: %v", mix, err)
		}
	}
}

// TestEveryRelabelledPCR moves each quoted PCR to every other index: beside the
// quote, and in what the AK signs.
func TestEveryRelabelledPCR(t *testing.T) {
	m := newMachine("alder")
	binding := attest.QuoteBinding([]byte("statement"))
	for _, i := range attest.Selection() {
		for j := range uint8(24) {
			if i == j {
				continue
			}
			quote := m.quote(binding)
			p := quote.PCRs
			a, okA := p[i]
			b, okB := p[j]
			delete(p, i)
			if p[j] = a; okB {
				p[i] = b
			}
			want := attest.PCRValues
			if okB {
				want = attest.PCRDigest
			}
			if _, err := attest.CheckQuote(quote, m.parsed(attest.AK), binding); !okA || codeOf(err) != want {
				t.Errorf("value of PCR %d at %d: %v", i, j, err)
			}
			if err := relabelledSelection(m, binding, i, j); codeOf(err) != attest.PCRSelection {
				t.Errorf("PCR %d selected instead of %d: %v", j, i, err)
			}
		}
	}
}

// relabelledSelection checks a quote that the AK signed over PCR j instead of i,
// or over i left out where j is selected anyway.
func relabelledSelection(m *machine, binding attest.Digest, i, j uint8) error {
	bits := []byte{0xff, 0xfb, 0x00}
	bits[i/8] &^= 1 << (i % 8)
	bits[j/8] |= 1 << (j % 8)
	quote := m.quote(binding, func(a *tpm2.TPMSAttest) {
		a.Attested = quoteInfo(selection(tpm2.TPMAlgSHA256, bits), digestOf(m.pcrs))
	})
	_, err := attest.CheckQuote(quote, m.parsed(attest.AK), binding)
	return err
}

// TestPCRNumbering: the selection's bytes mean the indices that Selection lists.
func TestPCRNumbering(t *testing.T) {
	var bits [3]byte
	for _, i := range attest.Selection() {
		bits[i/8] |= 1 << (i % 8)
	}
	if fmt.Sprintf("%x", bits) != "fffb00" {
		t.Fatalf("selection is %x", bits)
	}
}
