package evidence

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"muster/attest"
	"muster/server/verify"
)

// Formats of the file.
const (
	formatWhole    = "muster-evidence/1"
	formatRedacted = "muster-evidence-redacted/1"
)

// Limits on a file.
const (
	// MaxFile bounds one, in bytes: a boot log in base64 and everything else.
	MaxFile       = 8 << 20
	maxStatements = 4
	maxBaselines  = 16
	maxPart       = 1 << 20 // any text in it: a policy is the longest
)

// File is one decision about one device, with what it rested on. Messages and
// documents are kept as the exact text that was signed or hashed. What the server
// no longer had is absent, and [Verify] says what that costs.
//
// A whole file has the token that the device enrolled with, if there was one, and
// the secret that its TPM released: keep it as you keep the server's database.
type File struct {
	Format string `json:"format"`
	// Exported says when and by what; it is no part of what the digest is over.
	Exported exported `json:"exported,omitzero"`
	// Origin and Tenant are the server's.
	Origin string `json:"origin"`
	Tenant string `json:"tenant"`
	// Device is the registration as it was when exported.
	Device device `json:"device"`
	// Enrolment is what proved its keys; absent: no longer kept.
	Enrolment enrolment `json:"enrolment,omitzero"`
	// Before is the Result before the last statement with a quote, or before the first
	// where none has one, as it was stored; empty: there was none, or it is no longer
	// kept.
	Before string `json:"before,omitempty"`
	// Statements are what the device signed, oldest first: what the last ones rest on,
	// and, at the end, the one that turned the decision.
	Statements []Statement `json:"statements,omitempty"`
	// Log is the boot log of the last quote among them.
	Log attest.Bytes `json:"log,omitempty"`
	// Baselines are the ways to start that were on record when exported.
	Baselines []Baseline `json:"baselines,omitempty"`
	// References are the boot references that judged the log, and the levels that the
	// server asked for.
	References references `json:"references,omitzero"`
	// Policy is the policy file.
	Policy string `json:"policy,omitempty"`
	// Decision is the entry of the audit log; its detail is a DecisionRecord.
	Decision Entry `json:"decision"`
}

// exported says who made the file.
type exported struct {
	At      time.Time `json:"at"`
	Version string    `json:"version"`
	// HeadSeq and Head are the last entry of the audit log then: what somebody who
	// notes heads elsewhere compares with.
	HeadSeq uint64        `json:"head_seq"`
	Head    attest.Digest `json:"head"`
}

// device is what the server registered.
type device struct {
	verify.Device
	Name       string         `json:"name,omitempty"`
	Serial     string         `json:"serial,omitempty"` // claimed
	UUID       string         `json:"uuid,omitempty"`   // claimed
	Cause      string         `json:"cause,omitempty"`
	CreatedAt  time.Time      `json:"created_at"`
	ApprovedAt time.Time      `json:"approved_at,omitzero"`
	ApprovedBy string         `json:"approved_by,omitempty"`
	RevokedAt  time.Time      `json:"revoked_at,omitzero"`
	RevokedBy  string         `json:"revoked_by,omitempty"`
	RevokedWhy string         `json:"revoked_why,omitempty"`
	TPM        attest.TPMInfo `json:"tpm,omitzero"` // in its own words
	Kind       attest.Kind    `json:"kind"`
	EKSHA256   attest.Digest  `json:"ek_sha256,omitzero"`
	AK         attest.Bytes   `json:"ak,omitempty"`
	DK         attest.Bytes   `json:"dk"`
	DKb        attest.Bytes   `json:"dkb,omitempty"` // of its last boot
}

// enrolment is what proved the keys.
type enrolment struct {
	At      time.Time `json:"at"`
	Begin   string    `json:"begin"`   // attest.EnrolBegin, as it came
	Finish  string    `json:"finish"`  // attest.EnrolFinish, as it came
	Session string    `json:"session"` // enroll.Session: what the server knew between them
}

// Statement is one report or heartbeat as it came, and what was made of it.
type Statement struct {
	ReceivedAt time.Time `json:"received_at"`
	JWS        string    `json:"jws"`
	Quote      string    `json:"quote,omitempty"` // attest.Quote, as it came
	DKb        string    `json:"dkb,omitempty"`   // attest.Recertify, as it came
	Result     string    `json:"result"`          // verify.Result, as it was stored
}

// Baseline is one way in which the device started before.
type Baseline struct {
	State     string    `json:"state"`
	FirstSeen time.Time `json:"first_seen"`
	DecidedAt time.Time `json:"decided_at,omitzero"`
	DecidedBy string    `json:"decided_by,omitempty"`
	Set       string    `json:"set"` // verify.BootSet, as it was stored
}

// references name what boot logs were judged by. Content is absent where the pack
// is no longer kept.
type references struct {
	Number  uint64 `json:"number"`
	Content string `json:"content,omitempty"` // what reference.DecodeBoot reads
	DBX     string `json:"dbx,omitempty"`     // levels that the server asked for
	SBAT    string `json:"sbat,omitempty"`
}

// Entry is one entry of the audit log.
type Entry struct {
	Seq     uint64        `json:"seq"`
	At      time.Time     `json:"at"` // whole milliseconds
	Actor   string        `json:"actor"`
	Action  string        `json:"action"`
	Subject string        `json:"subject"`
	Detail  string        `json:"detail"` // JSON
	Prev    attest.Digest `json:"prev"`
	Hash    attest.Digest `json:"hash"`
}

// digest is what Hash must be: SHA-256 over a tag and the fields, each with its
// length, as the store chains its entries.
func (e *Entry) digest() (d attest.Digest) {
	h := sha256.New()
	h.Write([]byte("muster/audit/1"))
	for _, number := range []uint64{e.Seq, uint64(e.At.UnixMilli())} {
		h.Write(binary.BigEndian.AppendUint64(nil, number))
	}
	for _, part := range [][]byte{[]byte(e.Actor), []byte(e.Action), []byte(e.Subject), []byte(e.Detail), e.Prev[:]} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	h.Sum(d[:0])
	return d
}

var errForm = errors.New("not a file of evidence")

// Encode writes the file, the same content always as the same bytes.
func (f *File) Encode() ([]byte, error) {
	f.Format = formatWhole
	if err := f.form(); err != nil {
		return nil, err
	}
	return encode(f)
}

func encode(v any) ([]byte, error) {
	b, err := attest.Encode(v)
	if err != nil {
		return nil, fmt.Errorf("writing evidence: %w", err)
	}
	if b = append(b, '\n'); len(b) > MaxFile {
		return nil, fmt.Errorf("writing evidence: %d bytes, more than %d", len(b), MaxFile)
	}
	return b, nil
}

// content is the digest that stands for the file outside: over everything but when
// and by what it was exported, so that a later export of the same has the same. It
// tells nobody what is in the file, because that has nonces which are in no other.
func (f *File) content() (attest.Digest, error) {
	bare := *f
	bare.Format, bare.Exported = formatWhole, exported{}
	b, err := encode(&bare)
	return sha256.Sum256(b), err
}

// Decode reads a whole file.
func Decode(b []byte) (*File, error) {
	f := new(File)
	if err := decode(b, f); err != nil {
		return nil, err
	}
	if f.Format != formatWhole {
		return nil, fmt.Errorf("%w: format is %q", errForm, shortened(f.Format))
	}
	return f, f.form()
}

func decode(b []byte, v any) error {
	if len(b) > MaxFile {
		return fmt.Errorf("%w: %d bytes, more than %d", errForm, len(b), MaxFile)
	}
	if err := attest.Decode(b, v); err != nil {
		return fmt.Errorf("%w: %w", errForm, err)
	}
	return nil
}

// form checks what JSON cannot say.
func (f *File) form() error {
	switch {
	case f.Device.ID == "" || len(f.Device.DK) == 0:
		return fmt.Errorf("%w: no device", errForm)
	case f.Device.Kind != attest.KindTPM && f.Device.Kind != attest.KindSoft:
		return fmt.Errorf("%w: kind is %q", errForm, shortened(string(f.Device.Kind)))
	case f.Origin == "" || f.Tenant == "":
		return fmt.Errorf("%w: no origin or tenant", errForm)
	case f.Decision.Seq == 0 || f.Decision.Hash.IsZero():
		return fmt.Errorf("%w: no decision", errForm)
	case len(f.Statements) > maxStatements:
		return fmt.Errorf("%w: %d statements", errForm, len(f.Statements))
	case len(f.Baselines) > maxBaselines:
		return fmt.Errorf("%w: %d baselines", errForm, len(f.Baselines))
	case len(f.Log) > attest.MaxBootLog:
		return fmt.Errorf("%w: a boot log of %d bytes", errForm, len(f.Log))
	case f.Enrolment != enrolment{} && (f.Enrolment.Begin == "" || f.Enrolment.Finish == "" || f.Enrolment.Session == ""):
		return fmt.Errorf("%w: half an enrolment", errForm)
	}
	texts := []string{f.Before, f.Policy, f.References.Content, f.Decision.Detail, f.Enrolment.Begin, f.Enrolment.Finish, f.Enrolment.Session}
	for i := range f.Statements {
		s := &f.Statements[i]
		if s.JWS == "" || s.Result == "" {
			return fmt.Errorf("%w: half a statement", errForm)
		}
		texts = append(texts, s.JWS, s.Quote, s.DKb, s.Result)
	}
	for i := range f.Baselines {
		texts = append(texts, f.Baselines[i].Set)
	}
	for _, text := range texts {
		if len(text) > maxPart {
			return fmt.Errorf("%w: a part of %d bytes", errForm, len(text))
		}
	}
	return nil
}
