package attest_test

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
	"muster/attest/bootlog"
)

// bundle is all that travels with one recertification, taken apart: a statement,
// its quote, its boot log and a new DKb.
type bundle struct {
	m         *machine
	lab       *lab
	header    string
	payload   string
	signature string
	quote     attest.Attestation
	pcrs      attest.PCRs
	logSHA    attest.Digest
	log       []byte
	public    []byte
	certify   attest.Attestation

	last   *machine        // whose clock the verifier knows
	nonces []attest.Digest // the verifier's
}

// logged gives a machine PCR values that a boot log explains.
func (m *machine) logged(words ...string) *machine {
	next := *m
	next.pcrs = attest.PCRs{}
	le := binary.LittleEndian
	b := append(make([]byte, 4), 3, 0, 0, 0) // EV_NO_ACTION in the SHA-1 form (PFP §10.2.1)
	b = append(b, make([]byte, 20)...)
	spec := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0x0b, 0, 32, 0, 0)
	b = append(le.AppendUint32(b, uint32(len(spec))), spec...)
	for _, i := range attest.Selection() {
		var value attest.Digest
		for _, word := range append(words, m.name) {
			digest := sha256.Sum256([]byte(word))
			value = sha256.Sum256(append(value[:], digest[:]...))
			b = le.AppendUint32(b, uint32(i))
			b = append(b, 5, 0, 0, 0, 1, 0, 0, 0, 0x0b, 0) // EV_ACTION, one digest
			b = append(b, digest[:]...)
			b = append(le.AppendUint32(b, uint32(len(word))), word...)
		}
		next.pcrs[i] = value
	}
	next.bootLog = b
	return &next
}

// bundleOf makes a whole valid one of a machine in its next boot.
func bundleOf(m *machine) *bundle {
	return stated(m, m.header(attest.TypReport, attest.DK), mustEncode(reportOf(m)))
}

// stated signs, quotes and certifies beside a header and a payload.
func stated(m *machine, h attest.Header, payload []byte) *bundle {
	l := &lab{m: m, header: h, payload: payload, role: attest.DK}
	s := l.sign()
	parts := strings.Split(string(s.Compact), ".")
	q, r := m.quote(attest.QuoteBinding(s.Input)), m.recertify(s.Input)
	return &bundle{
		m: m, lab: l, header: parts[0], payload: parts[1], signature: parts[2],
		quote: q.Attestation, pcrs: q.PCRs, logSHA: q.LogSHA256, log: m.log(),
		public: r.Public, certify: r.Certify, last: m, nonces: []attest.Digest{h.Nonce},
	}
}

// known is what the verifier of the bundle's device holds.
func (b *bundle) known() *attest.Known {
	v := b.last.known(attest.TypReport)
	v.Nonces = nil
	for _, n := range b.nonces {
		v.Nonces = append(v.Nonces, vectorNonce{n, vectorIssued, vectorExpires})
	}
	return v.known([]*attest.Key{b.m.parsed(attest.AK), b.m.parsed(attest.DK)})
}

// unexplained is not a code of the protocol: the log does not replay to the quote.
const unexplained attest.Code = "replay"

// judged does all that a server does with a bundle's pieces, and replays the log.
func (b *bundle) judged(known *attest.Known) attest.Code {
	compact := b.compact()
	quote := &attest.Quote{Attestation: b.quote, PCRs: b.pcrs, LogSHA256: b.logSHA}
	ev, err := attest.Open(compact, quote, known)
	if err != nil {
		return codeOf(err)
	}
	r := &attest.Recertify{Public: b.public, Certify: b.certify}
	if _, _, err := attest.OpenRecertify(compact, r, ev, keyOfRole(known.Keys, attest.AK)); err != nil {
		return codeOf(err)
	}
	if err := attest.CheckLog(b.log, ev.Measured.LogSHA); err != nil {
		return codeOf(err)
	}
	return replayed(b.log, ev.Measured.PCRs)
}

// replayed refuses a log that does not explain each of the quoted values.
func replayed(log []byte, pcrs attest.PCRs) attest.Code {
	parsed, err := bootlog.Parse(log)
	if err != nil {
		return attest.Code(err.Error())
	}
	var values bootlog.Values
	for i, v := range pcrs {
		values[i] = v[:]
	}
	account := parsed.Account(bootlog.SHA256, &values, nil)
	for i := range pcrs {
		if account.PCRs[i] != bootlog.Match && account.PCRs[i] != bootlog.Empty {
			return unexplained
		}
	}
	return ""
}

// The pieces of a bundle, in the order in which they are looked at.
const (
	pieceHeader = iota
	piecePayload
	pieceSignature
	pieceQuote
	pieceQuoteSignature
	piecePCRs
	piecePublic
	pieceCertify
	pieceCertifySignature
	pieceLogDigest
	pieceLog
	pieceCount
)

// mixed takes each piece from one of two bundles.
func mixed(sets *[2]*bundle, mix int) *bundle {
	from := func(piece int) *bundle { return sets[mix>>piece&1] }
	return &bundle{
		header: from(pieceHeader).header, payload: from(piecePayload).payload, signature: from(pieceSignature).signature,
		quote:  attest.Attestation{Attest: from(pieceQuote).quote.Attest, Signature: from(pieceQuoteSignature).quote.Signature},
		pcrs:   from(piecePCRs).pcrs,
		public: from(piecePublic).public,
		certify: attest.Attestation{
			Attest: from(pieceCertify).certify.Attest, Signature: from(pieceCertifySignature).certify.Signature},
		logSHA: from(pieceLogDigest).logSHA, log: from(pieceLog).log,
	}
}

// pair is two valid bundles, and in what they differ.
type pair struct {
	name    string
	sets    [2]*bundle
	devices bool // other devices: other ids, AKs, DKs
	nonces  bool // the verifier has one of the nonces alone
	boots   bool // other PCR values, logs and DKbs
}

func pairs() []pair {
	alder, birch := newMachine("alder").boot(1).logged("one"), newMachine("birch").boot(1).logged("one")
	later := newMachine("alder").boot(2).logged("two")
	again := func(m *machine, name string) *bundle {
		h := m.header(attest.TypReport, attest.DK)
		h.Nonce = nonceOf(name)
		r := reportOf(m)
		r.BootID = name
		return stated(m, h, mustEncode(r))
	}
	live := func(a, b *bundle) [2]*bundle {
		a.nonces = append(a.nonces, b.nonces[0])
		b.nonces, b.last = a.nonces, a.last
		return [2]*bundle{a, b}
	}
	return []pair{
		{"two devices", [2]*bundle{bundleOf(alder), bundleOf(birch)}, true, true, true},
		{"two nonces", [2]*bundle{again(alder, "first"), again(alder, "second")}, false, true, false},
		{"two statements", live(again(alder, "first"), again(alder, "second")), false, false, false},
		{"two boots", live(again(alder, "first"), again(later, "second")), false, false, true},
	}
}

// reason is why a mix must be refused, by the order of SPEC.md §3, §5.2 and §7.4.
func (p *pair) reason(mix, verifier int) attest.Code {
	at := func(piece int) int { return mix >> piece & 1 }
	statement := at(pieceHeader)
	stated := func(signed, signature int) attest.Code {
		switch {
		case at(signed) != at(signature) || p.devices && at(signed) != verifier:
			return attest.QuoteSignature
		case at(signed) != statement:
			return attest.QuoteUnbound
		}
		return ""
	}
	switch {
	case p.devices && statement != verifier:
		return attest.DeviceMismatch
	case at(piecePayload) != statement || at(pieceSignature) != statement:
		return attest.SignatureWrong
	case p.nonces && statement != verifier:
		return attest.NonceUnknown
	case stated(pieceQuote, pieceQuoteSignature) != "":
		return stated(pieceQuote, pieceQuoteSignature)
	case p.boots && at(piecePCRs) != statement:
		return attest.PCRDigest
	case stated(pieceCertify, pieceCertifySignature) != "":
		return stated(pieceCertify, pieceCertifySignature)
	case p.boots && at(piecePublic) != statement:
		return attest.CertifyName
	case p.boots && at(pieceLogDigest) != at(pieceLog):
		return attest.LogDigest
	case p.boots && at(pieceLog) != statement:
		return unexplained
	}
	return ""
}

// TestBindingOfPieces mixes the bytes of two captured bundles in every way, before
// either verifier: every mix is refused for its own reason, and nothing but a
// whole bundle is taken.
func TestBindingOfPieces(t *testing.T) {
	reasons := map[attest.Code]int{}
	for _, p := range pairs() {
		for verifier, set := range p.sets {
			known := set.known()
			for mix := range 1 << pieceCount {
				want := p.reason(mix, verifier)
				if got := mixed(&p.sets, mix).judged(known); got != want {
					t.Fatalf("%s, verifier %d, pieces %0*b: %q, not %q", p.name, verifier, pieceCount, mix, got, want)
				}
				if reasons[want]++; want == "" && (p.devices || p.nonces) && mix&1 != verifier {
					t.Fatalf("%s: a mix with another's header is whole", p.name)
				}
			}
		}
	}
	t.Logf("reasons are %v", reasons)
	for _, code := range []attest.Code{attest.DeviceMismatch, attest.SignatureWrong, attest.NonceUnknown, attest.QuoteSignature,
		attest.QuoteUnbound, attest.PCRDigest, attest.CertifyName, attest.LogDigest, unexplained, ""} {
		if reasons[code] == 0 {
			t.Errorf("no mix is refused as %q", code)
		}
	}
}

// TestBindingOfLogs holds each real log against the PCR values of each: nothing but
// its own are explained by it.
func TestBindingOfLogs(t *testing.T) {
	paths, err := filepath.Glob("bootlog/testdata/*/binary_bios_measurements")
	if err != nil || len(paths) < 5 {
		t.Fatalf("%d logs, %v", len(paths), err)
	}
	for _, path := range paths {
		log, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range paths {
			quoted := attest.PCRs{}
			for i, v := range valuesBeside(t, other) {
				if slices.Contains(attest.Selection(), uint8(i)) {
					quoted[uint8(i)] = attest.Digest(v)
				}
			}
			want := unexplained
			if path == other {
				want = ""
			}
			if got := replayed(log, quoted); got != want {
				t.Errorf("%s with the values of %s: %q", path, other, got)
			}
		}
	}
}

// TestBindingMatrix is each swap of one thing between two devices that are both
// somebody's own: what is under a signature was signed again by the key that the
// attacker has.
func TestBindingMatrix(t *testing.T) {
	alder, birch := newMachine("alder").boot(1).logged("one"), newMachine("birch").boot(1).logged("one")
	before := newMachine("alder").logged("one")
	enrolment := hashOf(nil, "muster/enrol/1", []byte("transcript"))
	restate := func(f func(h *attest.Header)) func(b *bundle) {
		return func(b *bundle) {
			h := b.lab.header
			f(&h)
			*b = *stated(b.m, h, b.lab.payload)
		}
	}
	requote := func(edit func(a *tpm2.TPMSAttest)) func(b *bundle) {
		return func(b *bundle) { b.quote = b.m.quote(attest.QuoteBinding(b.input()), edit).Attestation }
	}
	recertify := func(name []byte, binding func(b *bundle) attest.Digest) func(b *bundle) {
		return func(b *bundle) { b.certify = *b.m.certify(name, binding(b)) }
	}
	own := func(b *bundle) attest.Digest { return attest.RecertifyBinding(b.input()) }
	for _, c := range []struct {
		what string
		swap func(b *bundle)
		want attest.Code
	}{
		{"nothing", func(*bundle) {}, ""},
		{"device", restate(func(h *attest.Header) { h.Device = birch.deviceID() }), attest.DeviceMismatch},
		{"nonce of another device", restate(func(h *attest.Header) { h.Nonce = nonceOf(birch.name) }), attest.NonceUnknown},
		{"predecessor", restate(func(h *attest.Header) { h.Prev = birch.header(attest.TypReport, attest.DK).Prev }), attest.OutOfStep},
		{"sequence", restate(func(h *attest.Header) { h.Seq++ }), attest.OutOfStep},
		{"transcript", restate(func(h *attest.Header) { h.Transcript = enrolment }), attest.HeaderForm},
		{"kid of another device", restate(func(h *attest.Header) { h.Kid = birch.parsed(attest.DK).ID }), attest.KeyUnknown},
		{"key under this kid", func(b *bundle) {
			l := &lab{m: birch, header: b.lab.header, payload: b.lab.payload, role: attest.DK}
			b.signature = strings.Split(string(l.sign().Compact), ".")[2]
		}, attest.SignatureWrong},
		{"report of another device", func(b *bundle) { b.payload = b64(mustEncode(reportOf(birch))) }, attest.SignatureWrong},
		{"whole statement of another device", func(b *bundle) { *b = *bundleOf(birch) }, attest.DeviceMismatch},

		{"quote of another device", func(b *bundle) { b.quote = birch.quote(attest.QuoteBinding(b.input())).Attestation }, attest.QuoteSignature},
		{"quote by the DK", func(b *bundle) {
			sum := sha256.Sum256(b.quote.Attest)
			b.quote.Signature = rawSign(b.m.key(attest.DK), sum[:])
		}, attest.QuoteSignature},
		{"quote of another statement", func(b *bundle) { b.quote = b.m.quote(attest.QuoteBinding([]byte("a.b"))).Attestation }, attest.QuoteUnbound},
		{"quote bound as a certify", func(b *bundle) { b.quote = b.m.quote(own(b)).Attestation }, attest.QuoteUnbound},
		{"quote bound to an enrolment", func(b *bundle) { b.quote = b.m.quote(enrolment).Attestation }, attest.QuoteUnbound},
		{"certify for the quote", func(b *bundle) { b.quote = b.certify }, attest.AttestType},
		{"magic of the quote", requote(func(a *tpm2.TPMSAttest) { a.Magic = 0xff544346 }), attest.AttestMagic},
		{"type of the quote", requote(func(a *tpm2.TPMSAttest) {
			a.Type = tpm2.TPMSTAttestTime
			a.Attested = tpm2.NewTPMUAttest(tpm2.TPMSTAttestTime, &tpm2.TPMSTimeAttestInfo{})
		}), attest.AttestType},
		{"byte after the quote", func(b *bundle) { b.quote = b.m.attestation(append([]byte(b.quote.Attest), 0)) }, attest.AttestForm},
		{"selection of nothing", requote(func(a *tpm2.TPMSAttest) { a.Attested = quoteInfo(tpm2.TPMLPCRSelection{}, digestOf(nil)) }), attest.PCRSelection},
		{"PCR values of another device", func(b *bundle) { b.pcrs = birch.pcrs }, attest.PCRDigest},
		{"no PCR values", func(b *bundle) { b.pcrs = nil }, attest.PCRValues},
		{"clock of the boot before", func(b *bundle) {
			past := *b.m
			past.clock = before.clock
			past.clock.Clock -= 5001
			b.quote = past.quote(attest.QuoteBinding(b.input())).Attestation
		}, attest.ClockBack},

		{"log of another device", func(b *bundle) { b.log = birch.log() }, attest.LogDigest},
		{"digest of another device's log", func(b *bundle) { b.logSHA = sha256.Sum256(birch.log()) }, attest.LogDigest},
		{"both", func(b *bundle) { b.log, b.logSHA = birch.log(), sha256.Sum256(birch.log()) }, unexplained},
		{"no digest of a log", func(b *bundle) { b.logSHA = attest.Digest{} }, attest.LogDigest},

		{"DKb of another device", func(b *bundle) { b.public = birch.public(attest.DKb) }, attest.CertifyName},
		{"DKb of the boot before", func(b *bundle) { b.public = before.public(attest.DKb) }, attest.CertifyName},
		{"DKb of the boot before, certified now", func(b *bundle) {
			b.public = before.public(attest.DKb)
			recertify(before.nameOf(attest.DKb), own)(b)
		}, attest.PolicyWrong},
		{"DKb that is a DK", func(b *bundle) { b.public = b.m.public(attest.DK) }, attest.TemplateWrong},
		{"certify of another device", func(b *bundle) { b.certify = *birch.certify(b.m.nameOf(attest.DKb), own(b)) }, attest.QuoteSignature},
		{"certify of another key", recertify(alder.nameOf(attest.DK), own), attest.CertifyName},
		{"certify of another device's DKb", recertify(birch.nameOf(attest.DKb), own), attest.CertifyName},
		{"certify for another statement", recertify(alder.nameOf(attest.DKb), func(*bundle) attest.Digest {
			return attest.RecertifyBinding([]byte("a.b"))
		}), attest.QuoteUnbound},
		{"certify bound as a quote", recertify(alder.nameOf(attest.DKb), func(b *bundle) attest.Digest {
			return attest.QuoteBinding(b.input())
		}), attest.QuoteUnbound},
		{"certify of the enrolment", recertify(alder.nameOf(attest.DKb), func(*bundle) attest.Digest { return enrolment }), attest.QuoteUnbound},
		{"quote for the certify", func(b *bundle) { b.certify = b.quote }, attest.AttestType},
	} {
		b := bundleOf(alder)
		known := b.known()
		last := before.clock
		known.LastClock, known.LastQuoteAt = &last, time.Unix(vectorQuoted, 0)
		c.swap(b)
		if got := b.judged(known); got != c.want {
			t.Errorf("%s: %q, not %q", c.what, got, c.want)
		}
	}
}

// compact is the bundle's statement.
func (b *bundle) compact() []byte { return []byte(b.header + "." + b.payload + "." + b.signature) }

// input is the signing input of the bundle's statement.
func (b *bundle) input() []byte { return []byte(b.header + "." + b.payload) }

// TestWrongAnchor: no key but the exact AK stands for one: each template beside
// it is refused before anything that it signed is looked at.
func TestWrongAnchor(t *testing.T) {
	m := newMachine("alder")
	for name, edit := range map[string]func(p *tpm2.TPMTPublic){
		"unrestricted":      func(p *tpm2.TPMTPublic) { p.ObjectAttributes.Restricted = false },
		"not of this TPM":   func(p *tpm2.TPMTPublic) { p.ObjectAttributes.FixedTPM = false },
		"movable":           func(p *tpm2.TPMTPublic) { p.ObjectAttributes.FixedParent = false },
		"made outside":      func(p *tpm2.TPMTPublic) { p.ObjectAttributes.SensitiveDataOrigin = false },
		"with policy":       func(p *tpm2.TPMTPublic) { p.ObjectAttributes.UserWithAuth = false },
		"encrypted twins":   func(p *tpm2.TPMTPublic) { p.ObjectAttributes.EncryptedDuplication = true },
		"cleared at start":  func(p *tpm2.TPMTPublic) { p.ObjectAttributes.STClear = true },
		"for decryption":    func(p *tpm2.TPMTPublic) { p.ObjectAttributes.Decrypt = true },
		"for X.509":         func(p *tpm2.TPMTPublic) { p.ObjectAttributes.X509Sign = true },
		"under lockout":     func(p *tpm2.TPMTPublic) { p.ObjectAttributes.NoDA = false },
		"administered":      func(p *tpm2.TPMTPublic) { p.ObjectAttributes.AdminWithPolicy = true },
		"with an auth rule": func(p *tpm2.TPMTPublic) { p.AuthPolicy.Buffer = make([]byte, 32) },
		"named by SHA-384":  func(p *tpm2.TPMTPublic) { p.NameAlg = tpm2.TPMAlgSHA384 },
	} {
		if _, err := attest.ParseKey(attest.AK, m.public(attest.AK, edit)); codeOf(err) != attest.TemplateWrong {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := bundleOf(m.boot(1).logged("one"))
	known := b.known()
	ev, err := attest.Open(b.compact(), &attest.Quote{Attestation: b.quote, PCRs: b.pcrs}, known)
	if err != nil {
		t.Fatal(err)
	}
	r := &attest.Recertify{Public: b.public, Certify: b.certify}
	compact := b.compact()
	ak := m.parsed(attest.AK)
	for name, c := range map[string]struct {
		err  error
		code attest.Code
	}{
		"no AK":             {recertifyError(compact, r, ev, nil), attest.KeyRole},
		"a DK":              {recertifyError(compact, r, ev, m.parsed(attest.DK)), attest.KeyRole},
		"no evidence":       {recertifyError(compact, r, nil, ak), attest.KeyRole},
		"no key":            {recertifyError(compact, nil, ev, ak), attest.KeyRole},
		"another statement": {recertifyError([]byte("a.b.c"), r, ev, ak), attest.QuoteUnbound},
		"no statement":      {recertifyError(nil, r, ev, ak), attest.QuoteUnbound},
		"empty evidence":    {recertifyError(compact, r, new(attest.Evidence), ak), attest.TypRefused},
	} {
		if codeOf(c.err) != c.code {
			t.Errorf("%s: %v, not %s", name, c.err, c.code)
		}
	}
}

// recertifyError is the refusal alone, which brings no key.
func recertifyError(compact []byte, r *attest.Recertify, ev *attest.Evidence, ak *attest.Key) error {
	dkb, bound, err := attest.OpenRecertify(compact, r, ev, ak)
	if err != nil && (dkb != nil || bound) {
		return errors.New("a refusal brings a key")
	}
	return err
}
