package attest_test

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

// TestBindingOfFields has each set's own keys sign and quote mixed headers: what
// a device that is somebody's own could do.
func TestBindingOfFields(t *testing.T) {
	sets := [2]*bundle{bundleOf(newMachine("alder")), bundleOf(newMachine("birch"))}
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
		_, err := attest.Open(s.Compact, quote, sets[0].known())
		want := attest.Code("")
		switch foreign := func(field int) bool { return mix>>field&1 == 1 }; {
		case foreign(0):
			want = attest.DeviceMismatch
		case foreign(3):
			want = attest.KeyUnknown
		case foreign(2):
			want = attest.OutOfStep
		case foreign(1):
			want = attest.NonceUnknown
		case foreign(4):
			want = attest.QuoteSignature
		case foreign(5):
			want = attest.PCRDigest
		}
		if codeOf(err) != want {
			t.Errorf("fields %06b: %v, not %s", mix, err, want)
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

// TestEveryRelabelledPCR exchanges the labels of each two of the 24 PCRs: beside
// the quote, in what the AK signs, and in both.
func TestEveryRelabelledPCR(t *testing.T) {
	m := newMachine("alder")
	ak, binding := m.parsed(attest.AK), attest.QuoteBinding([]byte("statement"))
	seen := map[string]int{}
	for i := range uint8(24) {
		for j := range uint8(24) {
			_, quotedI := m.pcrs[i]
			_, quotedJ := m.pcrs[j]
			beside, signed := attest.PCRValues, attest.PCRSelection
			switch {
			case i == j || !quotedI && !quotedJ:
				beside, signed = "", "" // nothing is exchanged
			case quotedI && quotedJ:
				beside, signed = attest.PCRDigest, attest.PCRDigest
			}
			for how, c := range map[string]struct {
				quote *attest.Quote
				want  attest.Code
			}{
				"beside": {withPCRs(m.quote(binding), exchanged(m.pcrs, i, j)), beside},
				"signed": {m.quoteOf(binding, exchanged(m.pcrs, i, j)), signed},
				"both":   {withPCRs(m.quoteOf(binding, exchanged(m.pcrs, i, j)), exchanged(m.pcrs, i, j)), both(signed)},
			} {
				_, err := attest.CheckQuote(c.quote, ak, binding)
				if codeOf(err) != c.want {
					t.Errorf("PCR %d and %d, %s: %v, not %q", i, j, how, err, c.want)
				}
				seen[how+" "+string(c.want)]++
			}
		}
	}
	// 15 PCRs are quoted and 9 are not: 15·14 pairs of quoted ones, 2·15·9 mixed.
	if seen["beside pcr-digest"] != 210 || seen["beside pcr-values"] != 270 || seen["signed pcr-selection"] != 270 || seen["both pcr-selection"] != 270 {
		t.Errorf("reasons are %v", seen)
	}
}

// both is why a quote is refused whose AK signed exchanged values that come beside
// it: it is another, whole, quote when the selection stays.
func both(signed attest.Code) attest.Code {
	if signed == attest.PCRDigest {
		return ""
	}
	return signed
}

// exchanged exchanges the values of two PCRs, of which one may have none.
func exchanged(values attest.PCRs, i, j uint8) attest.PCRs {
	out := maps.Clone(values)
	a, okA := values[i]
	b, okB := values[j]
	delete(out, i)
	delete(out, j)
	if okA {
		out[j] = a
	}
	if okB {
		out[i] = b
	}
	return out
}

func withPCRs(q *attest.Quote, values attest.PCRs) *attest.Quote {
	q.PCRs = values
	return q
}

// quoteOf has the AK sign a selection of just these PCRs, the machine's own beside
// it.
func (m *machine) quoteOf(binding attest.Digest, values attest.PCRs) *attest.Quote {
	var bits [3]byte
	for i := range values {
		bits[i/8] |= 1 << (i % 8)
	}
	return m.quote(binding, func(a *tpm2.TPMSAttest) {
		a.Attested = quoteInfo(selection(tpm2.TPMAlgSHA256, bits[:]), digestOf(values))
	})
}

// TestEverySelection: no selection but the constant one, in its one form.
func TestEverySelection(t *testing.T) {
	m := newMachine("alder")
	binding := attest.QuoteBinding([]byte("statement"))
	bank := func(alg tpm2.TPMAlgID, bits ...byte) tpm2.TPMSPCRSelection {
		return tpm2.TPMSPCRSelection{Hash: alg, PCRSelect: bits}
	}
	whole := bank(tpm2.TPMAlgSHA256, 0xff, 0xfb, 0)
	cases := map[string][]tpm2.TPMSPCRSelection{
		"no bank":              {},
		"an empty bank":        {bank(tpm2.TPMAlgSHA256, 0, 0, 0)},
		"no bits":              {bank(tpm2.TPMAlgSHA256)},
		"two bytes":            {bank(tpm2.TPMAlgSHA256, 0xff, 0xfb)},
		"four bytes":           {bank(tpm2.TPMAlgSHA256, 0xff, 0xfb, 0, 0)},
		"SHA-1":                {bank(tpm2.TPMAlgSHA1, 0xff, 0xfb, 0)},
		"SHA-384":              {bank(tpm2.TPMAlgSHA384, 0xff, 0xfb, 0)},
		"SHA-1 before":         {bank(tpm2.TPMAlgSHA1, 0xff, 0xfb, 0), whole},
		"SHA-1 after":          {whole, bank(tpm2.TPMAlgSHA1, 0xff, 0xfb, 0)},
		"an empty SHA-1 after": {whole, bank(tpm2.TPMAlgSHA1, 0, 0, 0)},
		"an empty before":      {bank(tpm2.TPMAlgSHA384, 0, 0, 0), whole},
		"twice":                {whole, whole},
		"in two parts":         {bank(tpm2.TPMAlgSHA256, 0xff, 0, 0), bank(tpm2.TPMAlgSHA256, 0, 0xfb, 0)},
	}
	for i := range uint8(24) {
		bits := []byte{0xff, 0xfb, 0}
		bits[i/8] ^= 1 << (i % 8)
		cases[fmt.Sprintf("all but %d, or with it", i)] = []tpm2.TPMSPCRSelection{bank(tpm2.TPMAlgSHA256, bits...)}
		alone := make([]byte, 3)
		alone[i/8] = 1 << (i % 8)
		cases[fmt.Sprintf("%d alone", i)] = []tpm2.TPMSPCRSelection{bank(tpm2.TPMAlgSHA256, alone...)}
	}
	for name, banks := range cases {
		q := m.quote(binding, func(a *tpm2.TPMSAttest) {
			a.Attested = quoteInfo(tpm2.TPMLPCRSelection{PCRSelections: banks}, digestOf(m.pcrs))
		})
		if _, err := attest.CheckQuote(q, m.parsed(attest.AK), binding); codeOf(err) != attest.PCRSelection {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(cases) != 61 {
		t.Errorf("%d selections", len(cases))
	}
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
