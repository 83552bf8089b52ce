package evidence

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/enroll"
	"muster/server/verify"
)

// redacted is a File for people outside: it has no name of a person or an address, and
// names a machine by its keys alone. What was left out stands as digests, and Content
// is the whole file's, so that somebody who has that can confirm that both are one.
//
// The entry of the audit log stays as it is, or it would not have its hash: with it
// the ids of the policy's rules, which may name applications, and the TPM's maker,
// model and firmware.
//
// The digests of messages, and Content, are over a nonce or a key: nobody finds out by
// trying what is in them. These can be confirmed by whoever guesses all that they are
// of: the PCR values, of which 8 and 12 have command lines and 15 may have a machine's
// id; the log's digest; and the Result's, which the audit log has, for who knows
// everything else in a Result and tries owners.
type redacted struct {
	Format  string        `json:"format"`
	Content attest.Digest `json:"content"` // see File.content
	Device  string        `json:"device"`  // the server's id, chance
	Kind    attest.Kind   `json:"kind"`
	Level   verify.Level  `json:"level"`
	// Chain says what the EK certificate, which is left out, was worth to the server.
	Chain string       `json:"chain,omitempty"`
	AK    attest.Bytes `json:"ak,omitempty"`
	DK    attest.Bytes `json:"dk"`
	// BootKeys are the boot keys that signed, or came with, what follows.
	BootKeys []redactedKey `json:"boot_keys,omitempty"`
	// Transcript is T of the enrolment; its messages are left out.
	Transcript attest.Digest       `json:"transcript,omitzero"`
	CertifyDK  *attest.Attestation `json:"certify_dk,omitempty"`
	Statements []redactedStatement `json:"statements,omitempty"`
	LogSHA256  attest.Digest       `json:"log_sha256,omitzero"`
	Policy     string              `json:"policy,omitempty"` // its digest
	References uint64              `json:"references,omitempty"`
	Decision   Entry               `json:"decision"`
}

// redactedKey is a boot key with the AK's statement about it; Qualifying is the
// digest of what it was stated for.
type redactedKey struct {
	Public     attest.Bytes       `json:"public"`
	Qualifying attest.Digest      `json:"qualifying"`
	Certify    attest.Attestation `json:"certify"`
}

// redactedStatement is a statement without its payload.
type redactedStatement struct {
	Typ        attest.Typ    `json:"typ"`
	Digest     attest.Digest `json:"digest"` // of the JWS signing input, which the signature is over
	Signature  attest.Bytes  `json:"signature"`
	Kid        attest.Digest `json:"kid"`
	ReceivedAt time.Time     `json:"received_at"`
	IssuedAt   time.Time     `json:"issued_at"`
	// Quote is as it came; Binding is what it was bound to.
	Quote   *attest.Quote `json:"quote,omitempty"`
	Binding attest.Digest `json:"binding,omitzero"`
	Result  attest.Digest `json:"result"` // of the Result as it was stored
	// Boot is what the server made of the boot log.
	Boot     posture.Claim     `json:"boot"`
	Status   map[uint8]string  `json:"status,omitempty"`
	Claims   verify.BootClaims `json:"claims"`
	Baseline posture.Claim     `json:"baseline"`
}

// maxBootKeys bounds a redacted file: one of the enrolment, one of each statement.
const maxBootKeys = 1 + maxStatements

// Redact writes the form for people outside.
func (f *File) Redact() ([]byte, error) {
	content, err := f.content()
	if err != nil {
		return nil, err
	}
	r := &redacted{
		Format: formatRedacted, Content: content, Device: f.Device.ID, Kind: f.Device.Kind, Level: f.Device.Level,
		AK: f.Device.AK, DK: f.Device.DK, References: f.References.Number, Decision: f.Decision,
	}
	record := new(DecisionRecord)
	if err := attest.Decode([]byte(f.Decision.Detail), record); err != nil {
		return nil, fmt.Errorf("reading the decision: %w", err)
	}
	r.Policy = record.Policy
	if f.Enrolment != (enrolment{}) {
		if err := r.enrolled(f); err != nil {
			return nil, err
		}
	}
	for i := range f.Statements {
		if err := r.add(&f.Statements[i]); err != nil {
			return nil, fmt.Errorf("redacting statement %d: %w", i+1, err)
		}
	}
	if len(f.Log) > 0 {
		r.LogSHA256 = sha256.Sum256(f.Log)
	}
	return encode(r)
}

// enrolled takes over what the AK certified for the enrolment.
func (r *redacted) enrolled(f *File) error {
	var begin attest.EnrolBegin
	var finish attest.EnrolFinish
	var session enroll.Session
	err := errors.Join(attest.Decode([]byte(f.Enrolment.Begin), &begin), attest.Decode([]byte(f.Enrolment.Finish), &finish),
		attest.Decode([]byte(f.Enrolment.Session), &session))
	if err != nil {
		return fmt.Errorf("reading the enrolment: %w", err)
	}
	r.Transcript = attest.EnrolTranscript([]byte(f.Enrolment.Begin), finish.Session, session.Nonce, f.Origin, f.Tenant)
	r.CertifyDK = finish.CertifyDK
	if finish.CertifyDKb != nil {
		r.BootKeys = append(r.BootKeys, redactedKey{begin.Identity.DKb, r.Transcript, *finish.CertifyDKb})
	}
	if r.Chain = string(session.Cause); r.Chain == "" {
		r.Chain = "verified"
	}
	return nil
}

// add takes over a statement without its payload.
func (r *redacted) add(s *Statement) error {
	header, err := attest.PeekHeader([]byte(s.JWS))
	if err != nil {
		return err
	}
	last := bytes.LastIndexByte([]byte(s.JWS), '.')
	var signature attest.Bytes
	if err := signature.UnmarshalText([]byte(s.JWS[last+1:])); err != nil {
		return err
	}
	var result verify.Result
	if err := attest.Decode([]byte(s.Result), &result); err != nil {
		return err
	}
	input := []byte(s.JWS[:last])
	out := redactedStatement{
		Typ: header.Typ, Digest: sha256.Sum256(input), Signature: signature, Kid: header.Kid,
		ReceivedAt: s.ReceivedAt, IssuedAt: result.IssuedAt, Result: sha256.Sum256([]byte(s.Result)),
		Boot: result.Boot.Claim, Status: result.Boot.Status, Claims: result.Boot.Claims, Baseline: result.Boot.Baseline,
	}
	if s.Quote != "" {
		out.Quote, out.Binding = new(attest.Quote), attest.QuoteBinding(input)
		if err := attest.Decode([]byte(s.Quote), out.Quote); err != nil {
			return err
		}
	}
	if s.DKb != "" {
		var key attest.Recertify
		if err := attest.Decode([]byte(s.DKb), &key); err != nil {
			return err
		}
		r.BootKeys = append(r.BootKeys, redactedKey{key.Public, attest.RecertifyBinding(input), key.Certify})
	}
	r.Statements = append(r.Statements, out)
	return nil
}

func decodeRedacted(b []byte) (*redacted, error) {
	r := new(redacted)
	if err := decode(b, r); err != nil {
		return nil, err
	}
	switch {
	case r.Format != formatRedacted:
		return nil, fmt.Errorf("%w: format is %q", errForm, shortened(r.Format))
	case r.Content.IsZero() || r.Device == "" || len(r.DK) == 0 || r.Decision.Seq == 0 || r.Decision.Hash.IsZero():
		return nil, fmt.Errorf("%w: no device or no decision", errForm)
	case r.Kind != attest.KindTPM && r.Kind != attest.KindSoft:
		return nil, fmt.Errorf("%w: kind is %q", errForm, shortened(string(r.Kind)))
	case len(r.Statements) > maxStatements || len(r.BootKeys) > maxBootKeys || len(r.Decision.Detail) > maxPart:
		return nil, fmt.Errorf("%w: too many statements or keys", errForm)
	}
	return r, nil
}

// verify shows what can be shown without what was left out.
func (r *redacted) verify() *Verdict {
	a := &audit{redacted: true, Verdict: &Verdict{Format: r.Format, Device: r.Device, Decision: r.Decision.Seq, Content: r.Content.String()}}
	a.f = &File{Decision: r.Decision}
	a.f.Device.ID, a.f.Device.Kind, a.f.Device.AK, a.f.Device.DK = r.Device, r.Kind, r.AK, r.DK
	a.f.Device.Level = r.Level
	a.readEntry()
	if a.recorded && a.record.Policy != r.Policy {
		a.say("policy", contradicted, "The decision names another policy.")
	}
	if a.registration() {
		r.keys(a)
		for i := range r.Statements {
			r.statement(a, i)
		}
		if len(r.Statements) == 0 {
			a.lacks("statement", "The server no longer has the statement that turned the decision.")
		} else {
			r.noQuote(a)
		}
	}
	if a.recorded {
		a.say("decision", word, "That the policy says %s for the reasons in the entry, is the server's word: the policy is left out.", plain(a.record.Outcome))
	}
	a.say("left-out", unproved, "Left out are the EK certificate, the messages, the reports, the boot log, the policy: who has the whole file, whose content is %s, can judge them. %s", r.Content, r.stays())
	a.wordOnly()
	a.inWords()
	a.Holds = a.Whole()
	return a.Verdict
}

// stays says what of a person's or a company's things the file still shows.
func (r *redacted) stays() string {
	if r.Kind == attest.KindSoft {
		return "Not hidden are the key and the ids of the policy's rules."
	}
	return "Not hidden are the keys, the ids of the policy's rules and the TPM's maker, model and firmware; and who guesses what was measured, as a command line, can confirm it by the PCR values and the log's digest."
}

// keys checks what the AK certified.
func (r *redacted) keys(a *audit) {
	if r.Kind == attest.KindSoft {
		if r.Level != verify.Software {
			a.say("level", contradicted, "The key is a file, and the server says %v.", r.Level)
		}
		return
	}
	a.say("level", word, "That the EK is of a TPM at %v, is the server's word: its certificate is left out.", r.Level)
	switch {
	case r.CertifyDK == nil:
		a.lacks("certified-dk", "The server no longer has the AK's statement about the DK.")
	default:
		if _, err := attest.CheckCertify(*r.CertifyDK, a.ak, r.Transcript, a.dk.Name); err != nil {
			a.say("certified-dk", contradicted, "The AK did not certify the DK: %v.", err)
		} else {
			a.say("certified-dk", proved, "The AK stated, for an enrolment with this transcript, that its TPM holds the DK.")
		}
	}
	for _, k := range r.BootKeys {
		key, err := attest.ParseKey(attest.DKb, k.Public)
		if err == nil {
			_, err = attest.CheckCertify(k.Certify, a.ak, k.Qualifying, key.Name)
		}
		if err != nil {
			a.say("boot-key", contradicted, "A boot key was not certified by the AK: %v.", err)
			continue
		}
		a.say("boot-key", proved, "The AK stated that its TPM holds a boot key.")
		a.dkbs = append(a.dkbs, bootKey{key: key, certified: true})
	}
}

// statement checks a signature over a digest, and a quote over what it says that it
// was bound to.
func (r *redacted) statement(a *audit, i int) {
	s, n := &r.Statements[i], i+1
	key, by := a.dk, word
	if s.Kid == a.dk.ID {
		by = proved
	}
	for _, k := range a.dkbs {
		if k.key.ID == s.Kid {
			key = k.key
			if k.certified {
				by = proved
			}
		}
	}
	switch {
	case key.ID != s.Kid || !signed(key.Public, s.Digest, s.Signature):
		a.say("statement", contradicted, "Statement %d is not signed by a key of this device.", n)
		return
	default:
		a.say("statement", by, "Statement %d (%s) is signed by a key of this device, over a digest: what it says is left out.", n, plain(string(s.Typ)))
	}
	if s.Quote == nil && a.ak != nil && key == a.dk {
		a.say("statement", contradicted, "Statement %d is signed by the device key without a quote: the server takes none such.", n)
	}
	if slices.ContainsFunc(r.Statements[:i], func(other redactedStatement) bool { return other.Digest == s.Digest }) {
		a.say("statement", contradicted, "Statement %d is there twice.", n)
	}
	if isLater(s.IssuedAt, s.ReceivedAt) {
		a.say("statement", contradicted, "Statement %d answers a nonce that was issued after it came.", n)
	}
	if s.Quote != nil {
		if _, err := attest.CheckQuote(s.Quote, a.ak, s.Binding); err != nil {
			a.say("quote", contradicted, "The quote beside statement %d is not the AK's: %v.", n, err)
		} else {
			a.say("quote", proved, "The AK stated the values of PCR %s; that it was for statement %d, is the server's word.", selected(), n)
		}
		if s.Quote.LogSHA256 != r.LogSHA256 && !r.LogSHA256.IsZero() && i == r.quoted() {
			a.say("boot-log", contradicted, "The quote names another boot log.")
		}
	}
	if i != len(r.Statements)-1 || !a.recorded {
		return
	}
	if s.Digest != a.record.Report || !a.record.Result.IsZero() && s.Result != a.record.Result {
		a.say("decision-statement", contradicted, "The decision names another statement or Result than the last one here.")
		return
	}
	a.say("decision-statement", proved, "The decision names the digest of the last statement here.")
	a.say("result", word, "What is said of the start (Secure Boot: %v) is the server's word: the boot log is left out.", s.Claims.SecureBoot.State)
}

// noQuote is audit.noQuote, for claims about the start without what they are of.
func (r *redacted) noQuote(a *audit) {
	if r.Kind != attest.KindTPM || r.quoted() >= 0 {
		return
	}
	for _, c := range r.Statements[len(r.Statements)-1].Claims.Each() {
		if c.State != posture.Unknown {
			a.lacks("quote", "The quote that the measured claims rest on is not in the file.")
			return
		}
	}
}

func (r *redacted) quoted() int {
	for i := len(r.Statements) - 1; i >= 0; i-- {
		if r.Statements[i].Quote != nil {
			return i
		}
	}
	return -1
}

// signed verifies ES256 over a digest (RFC 7518 §3.4), in the one form that statements
// have: with S in the lower half.
func signed(key *ecdsa.PublicKey, digest attest.Digest, signature []byte) bool {
	if len(signature) != 64 {
		return false
	}
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	half := new(big.Int).Rsh(key.Curve.Params().N, 1)
	return s.Cmp(half) <= 0 && ecdsa.Verify(key, digest[:], r, s)
}
