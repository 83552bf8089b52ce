package enroll

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/attest/tpm"
	"muster/attest/tpmtest"
	"muster/server/reference"
	"muster/server/verify"
)

const (
	testOrigin = "https://trust.example"
	testTenant = "00112233445566778899aabbccddeeff"
)

var place = Place{Origin: testOrigin, Tenant: testTenant}

// laptop is a real agent's keys on a real TPM.
type laptop struct {
	t     *testing.T
	chip  *tpm.TPM
	roots []byte
	begin *attest.EnrolBegin
}

func newLaptop(t *testing.T) *laptop {
	t.Helper()
	x := tpmtest.Start(t)
	chip, err := tpm.Open(t.Context(), tpm.Config{Setting: x.Setting(), Tenant: testTenant, Secret: bytes.Repeat([]byte{7}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { chip.Close() })
	id, err := chip.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &laptop{t: t, chip: chip, roots: x.Roots(), begin: &attest.EnrolBegin{Platform: posture.Linux, Identity: id}}
}

func (l *laptop) trust() reference.Authorities {
	l.t.Helper()
	a, err := reference.ParseAuthorities("ca.pem", l.roots)
	if err != nil {
		l.t.Fatal(err)
	}
	return a
}

func newTestSealer(t *testing.T, key byte, epoch uint64) *Sealer {
	t.Helper()
	s, err := NewSealer(bytes.Repeat([]byte{key}, 32), epoch)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func nobody(*Candidate) bool { return false }

// finish answers a challenge as an honest agent does.
func (l *laptop) finish(begin []byte, c *attest.EnrolChallenge, origin string) *attest.EnrolFinish {
	l.t.Helper()
	ctx := l.t.Context()
	check := func(err error) {
		l.t.Helper()
		if err != nil {
			l.t.Fatal(err)
		}
	}
	transcript := attest.EnrolTranscript(begin, c.Session, c.Nonce, origin, testTenant)
	secret, err := l.chip.Activate(ctx, c.CredentialBlob, c.EncryptedSecret)
	check(err)
	dk, err := attest.ParseKey(attest.DK, l.begin.Identity.DK)
	check(err)
	payload, err := attest.Encode(honestReport())
	check(err)
	signed, err := attest.Sign(ctx, func(ctx context.Context, d [sha256.Size]byte) ([]byte, error) {
		return l.chip.Sign(ctx, attest.DK, d)
	}, attest.Header{Typ: attest.TypEnrol, Kid: dk.ID, Nonce: c.Nonce, Transcript: transcript}, payload)
	check(err)
	certifyDK, err := l.chip.Certify(ctx, attest.DK, transcript)
	check(err)
	certifyDKb, err := l.chip.Certify(ctx, attest.DKb, transcript)
	check(err)
	quote, err := l.chip.Quote(ctx, attest.QuoteBinding(signed.Input))
	check(err)
	return &attest.EnrolFinish{
		Session: c.Session, JWS: string(signed.Compact), Proof: attest.EnrolProof(secret, transcript),
		CertifyDK: &certifyDK, CertifyDKb: &certifyDKb, Quote: quote,
	}
}

func honestReport() *posture.Report {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	return &posture.Report{
		Agent: "test", Platform: posture.Linux, Profile: posture.Corporate, BootID: "boot", CollectedAt: at,
		Claims: posture.Unfilled(at, posture.NotYet),
	}
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	b, err := attest.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantCode(t *testing.T, err error, code attest.Code) {
	t.Helper()
	var refused *attest.Error
	if !errors.As(err, &refused) || refused.Code != code {
		t.Errorf("error is %v, want code %s", err, code)
	}
}

// The level follows who vouches for the EK, and nothing else.
func TestLevels(t *testing.T) {
	l := newLaptop(t)
	other := newLaptop(t)
	bare := *l.begin
	ek := *l.begin.Identity.EK
	ek.Certificate = nil
	bare.Identity.EK = &ek
	garbled := *l.begin
	ek2 := *l.begin.Identity.EK
	ek2.Certificate = append(bytes.Clone(ek2.Certificate), 1)
	garbled.Identity.EK = &ek2
	borrowed := *l.begin
	ek3 := *l.begin.Identity.EK
	ek3.Certificate = other.begin.Identity.EK.Certificate
	borrowed.Identity.EK = &ek3
	mine := l.trust()
	for name, test := range map[string]struct {
		begin  *attest.EnrolBegin
		roots  reference.EKRoots
		listed bool
		level  verify.Level
		cause  Cause
	}{
		"hardware root":           {l.begin, reference.EKRoots{Hardware: mine}, false, verify.TPMHardware, CauseNone},
		"virtual root":            {l.begin, reference.EKRoots{Virtual: mine}, false, verify.VTPM, CauseNone},
		"no root":                 {l.begin, reference.EKRoots{}, false, verify.TPMUnverified, CauseChainUnknown},
		"another's root":          {l.begin, reference.EKRoots{Hardware: other.trust()}, false, verify.TPMUnverified, CauseChainUnknown},
		"listed":                  {l.begin, reference.EKRoots{}, true, verify.TPMListed, CauseNone},
		"listed virtual":          {l.begin, reference.EKRoots{Virtual: mine}, true, verify.TPMListed, CauseNone},
		"no certificate":          {&bare, reference.EKRoots{Hardware: mine}, false, verify.TPMUnverified, CauseNoCertificate},
		"bytes behind":            {&garbled, reference.EKRoots{Hardware: mine}, false, verify.TPMUnverified, CauseBadCert},
		"another TPM certificate": {&borrowed, reference.EKRoots{Hardware: other.trust()}, false, verify.TPMUnverified, CauseBadCert},
	} {
		c, err := Judge(test.begin, &test.roots, func(*Candidate) bool { return test.listed })
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.Level != test.level || c.Cause != test.cause {
			t.Errorf("%s: %v (%s), want %v (%s)", name, c.Level, c.Cause, test.level, test.cause)
		}
	}
}

// What no honest agent shows is refused outright.
func TestJudgeRefuses(t *testing.T) {
	l := newLaptop(t)
	id := l.begin.Identity
	flip := func(b []byte, i int) []byte { c := bytes.Clone(b); c[i] ^= 1; return c }
	for name, test := range map[string]struct {
		change func(*attest.EnrolBegin)
		code   attest.Code
	}{
		"platform":                {func(b *attest.EnrolBegin) { b.Platform = "plan9" }, attest.PayloadForm},
		"kind":                    {func(b *attest.EnrolBegin) { b.Identity.Kind = "" }, attest.PayloadForm},
		"long name":               {func(b *attest.EnrolBegin) { b.Name = string(make([]byte, 300)) }, attest.TooLarge},
		"no EK":                   {func(b *attest.EnrolBegin) { b.Identity.EK = nil }, attest.PayloadForm},
		"EK of another template":  {func(b *attest.EnrolBegin) { b.Identity.EK.Template = attest.EKRSAL1 }, attest.TemplateWrong},
		"EK template unknown":     {func(b *attest.EnrolBegin) { b.Identity.EK.Template = "L-9" }, attest.TemplateWrong},
		"EK attributes":           {func(b *attest.EnrolBegin) { b.Identity.EK.Public = flip(b.Identity.EK.Public, 7) }, attest.TemplateWrong},
		"EK trailing byte":        {func(b *attest.EnrolBegin) { b.Identity.EK.Public = append(bytes.Clone(b.Identity.EK.Public), 0) }, attest.PublicForm},
		"EK too large":            {func(b *attest.EnrolBegin) { b.Identity.EK.Public = make([]byte, 2000) }, attest.TooLarge},
		"AK is an ordinary key":   {func(b *attest.EnrolBegin) { b.Identity.AK = id.DK }, attest.TemplateWrong},
		"DK is restricted":        {func(b *attest.EnrolBegin) { b.Identity.DK = id.AK }, attest.TemplateWrong},
		"DKb without policy":      {func(b *attest.EnrolBegin) { b.Identity.DKb = id.DK }, attest.TemplateWrong},
		"AK may leave the TPM":    {func(b *attest.EnrolBegin) { b.Identity.AK = flip(id.AK, 7) }, attest.TemplateWrong},
		"AK cut":                  {func(b *attest.EnrolBegin) { b.Identity.AK = id.AK[:40] }, attest.PublicForm},
		"chain too long":          {func(b *attest.EnrolBegin) { b.Identity.EK.Chain = make([]attest.Bytes, 7) }, attest.TooLarge},
		"chain certificate large": {func(b *attest.EnrolBegin) { b.Identity.EK.Chain = []attest.Bytes{make([]byte, 9000)} }, attest.TooLarge},
		"softkey with EK":         {func(b *attest.EnrolBegin) { b.Identity.Kind = attest.KindSoft }, attest.PayloadForm},
	} {
		begin := *l.begin
		ek := *id.EK
		begin.Identity.EK = &ek
		test.change(&begin)
		_, err := Judge(&begin, &reference.EKRoots{Hardware: l.trust()}, nobody)
		t.Run(name, func(t *testing.T) { wantCode(t, err, test.code) })
	}
}

// A real TPM proves its keys; every part of the proof is needed.
func TestFinish(t *testing.T) {
	l := newLaptop(t)
	sealer := newTestSealer(t, 1, 1)
	now := time.Now()
	begin := encode(t, l.begin)
	c, err := Judge(l.begin, &reference.EKRoots{Hardware: l.trust()}, nobody)
	if err != nil {
		t.Fatal(err)
	}
	challenge, err := Challenge(c, begin, Origin{TokenID: "tok"}, sealer, now)
	if err != nil {
		t.Fatal(err)
	}
	honest := l.finish(begin, challenge, testOrigin)
	e, err := Finish(honest, sealer, place, now.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if e.Candidate.Level != verify.TPMHardware || !e.CounterBound || e.Session.TokenID != "tok" || e.Evidence.Measured == nil {
		t.Errorf("enrolled as %+v", e)
	}
	again, err := Challenge(c, begin, Origin{TokenID: "tok"}, sealer, now)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := l.finish(begin, challenge, "https://evil.example")
	other := l.finish(begin, again, testOrigin)
	for name, test := range map[string]struct {
		change func(*attest.EnrolFinish)
		code   attest.Code
	}{
		"no proof":                {func(f *attest.EnrolFinish) { f.Proof = attest.Digest{} }, attest.TranscriptWrong},
		"proof of another":        {func(f *attest.EnrolFinish) { f.Proof = other.Proof }, attest.TranscriptWrong},
		"another origin":          {func(f *attest.EnrolFinish) { *f = *elsewhere }, attest.TranscriptWrong},
		"no certify of DK":        {func(f *attest.EnrolFinish) { f.CertifyDK = nil }, attest.CertifyName},
		"no certify of DKb":       {func(f *attest.EnrolFinish) { f.CertifyDKb = nil }, attest.CertifyName},
		"certifies swapped":       {func(f *attest.EnrolFinish) { f.CertifyDK, f.CertifyDKb = f.CertifyDKb, f.CertifyDK }, attest.CertifyName},
		"certify of another":      {func(f *attest.EnrolFinish) { f.CertifyDK = other.CertifyDK }, attest.QuoteUnbound},
		"quote as certify":        {func(f *attest.EnrolFinish) { f.CertifyDK = &f.Quote.Attestation }, attest.AttestType},
		"no quote":                {func(f *attest.EnrolFinish) { f.Quote = nil }, attest.QuoteNeeded},
		"quote of another":        {func(f *attest.EnrolFinish) { f.Quote = other.Quote }, attest.QuoteUnbound},
		"report of another":       {func(f *attest.EnrolFinish) { f.JWS = other.JWS }, attest.TranscriptWrong},
		"session of another":      {func(f *attest.EnrolFinish) { f.Session = other.Session }, attest.TranscriptWrong},
		"PCR 7 relabelled as 0":   {func(f *attest.EnrolFinish) { f.Quote = relabelled(f.Quote, 0, 7) }, attest.PCRDigest},
		"a PCR that is not there": {func(f *attest.EnrolFinish) { f.Quote = without(f.Quote, 7) }, attest.PCRValues},
	} {
		t.Run(name, func(t *testing.T) {
			f := *honest
			test.change(&f)
			_, err := Finish(&f, sealer, place, now.Add(time.Second))
			wantCode(t, err, test.code)
		})
	}
	for name, try := range map[string]func() error{
		"late":         func() error { _, err := Finish(honest, sealer, place, now.Add(attest.EnrolWindow)); return err },
		"other server": func() error { _, err := Finish(honest, newTestSealer(t, 2, 1), place, now); return err },
		"other epoch":  func() error { _, err := Finish(honest, newTestSealer(t, 1, 2), place, now); return err },
		"flipped": func() error {
			f := *honest
			f.Session = flipLast(f.Session)
			_, err := Finish(&f, sealer, place, now)
			return err
		},
		"empty session": func() error { f := *honest; f.Session = nil; _, err := Finish(&f, sealer, place, now); return err },
	} {
		if err := try(); !errors.Is(err, ErrSession) {
			t.Errorf("%s: %v, want ErrSession", name, err)
		}
	}
}

func flipLast(b []byte) []byte { c := bytes.Clone(b); c[len(c)-1] ^= 1; return c }

func relabelled(q *attest.Quote, i, j uint8) *attest.Quote {
	c := without(q, 255)
	c.PCRs[i], c.PCRs[j] = q.PCRs[j], q.PCRs[i]
	c.PCRs[1] = attest.Digest{1} // PCRs of a fresh TPM are alike: make them differ
	return c
}

func without(q *attest.Quote, index uint8) *attest.Quote {
	c := *q
	c.PCRs = attest.PCRs{}
	for i, v := range q.PCRs {
		if i != index {
			c.PCRs[i] = v
		}
	}
	return &c
}

// A softkey enrols with its report alone and is never more than software.
func TestSoftKey(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	begin := &attest.EnrolBegin{Platform: posture.Darwin, Identity: attest.Identity{Kind: attest.KindSoft, DK: point}}
	c, err := Judge(begin, &reference.EKRoots{}, func(*Candidate) bool { return true })
	if err != nil || c.Level != verify.Software {
		t.Fatalf("judged as %+v, %v", c, err)
	}
	b := encode(t, begin)
	sealer, now := newTestSealer(t, 1, 1), time.Now()
	challenge, err := Challenge(c, b, Origin{}, sealer, now)
	if err != nil {
		t.Fatal(err)
	}
	transcript := attest.EnrolTranscript(b, challenge.Session, challenge.Nonce, testOrigin, testTenant)
	signed, err := attest.Sign(t.Context(), func(_ context.Context, d [sha256.Size]byte) ([]byte, error) {
		r, s, err := ecdsa.Sign(rand.Reader, key, d[:])
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), err
	}, attest.Header{Typ: attest.TypEnrol, Kid: c.DK.ID, Nonce: challenge.Nonce, Transcript: transcript}, encode(t, honestReport()))
	if err != nil {
		t.Fatal(err)
	}
	e, err := Finish(&attest.EnrolFinish{Session: challenge.Session, JWS: string(signed.Compact)}, sealer, place, now)
	if err != nil {
		t.Fatal(err)
	}
	if e.Candidate.Level != verify.Software || e.Evidence.Measured != nil || e.CounterBound {
		t.Errorf("a softkey enrolled as %+v", e.Candidate)
	}
}
