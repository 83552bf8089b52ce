package attest

import (
	"time"

	"muster/attest/posture"
)

// Known is what a verifier holds of the device whose statement it opens.
type Known struct {
	// Typs are the statements that this door accepts now.
	Typs []Typ
	// Device is the id; empty in an enrolment.
	Device string
	// Keys are the device's own: an AK, a DK, a DKb; not every device has each.
	Keys []*Key
	// NonceIssued tells when a live, unused nonce was issued to this device.
	NonceIssued func(Digest) (issued, expires time.Time, ok bool)
	// Now is the verifier's clock.
	Now time.Time
	// Seq and Prev are the sequence number and digest of the last accepted
	// statement; a new one has Seq+1 and refers to Prev.
	Seq  uint64
	Prev Digest
	// Transcript is T; enrolment only.
	Transcript Digest
	// LastClock is the TPM clock of the last accepted quote; nil before the first.
	LastClock *Clock
	// LastQuoteAt is when the nonce of that quote was issued; zero when that is not
	// known ([Clock.Since]).
	LastQuoteAt time.Time
	// QuoteAlways tells that DKb is bound to PCR 7 alone ([CheckBootPolicy]), so
	// that no statement of it inherits an earlier quote.
	QuoteAlways bool
}

// Evidence is an opened statement: authentic, fresh, whole.
type Evidence struct {
	Header Header
	// Digest names the statement: SHA-256 of its signing input.
	Digest Digest
	// Signer is the role of the key that signed: DK or DKb.
	Signer Role
	// IssuedAt is when the server issued the nonce: freshness and lease run from
	// here, not from arrival.
	IssuedAt time.Time
	// Exactly one of these is set, by the statement's typ.
	Report    *posture.Report
	Heartbeat *Heartbeat
	Link      *LinkProof
	Ephemeral *Ephemeral
	// Measured is what the quote beside it proves; nil without a quote.
	Measured *Measured
	// Cleared tells that the TPM was cleared since the last quote; ClockFell that
	// its clock is behind what it stated then, by more than a TPM may lose: see
	// [Clock.Since] for what both may mean.
	Cleared, ClockFell bool
}

// Open is the one door from bytes to a Report: it establishes that a compact JWS
// and the quote beside it (nil when none came) are this device's answer to a
// nonce of ours, in step, over exactly these bytes. It looks at cheap things
// first, then signatures, then the payload. Every error is an *[Error].
func Open(compact []byte, quote *Quote, known *Known) (*Evidence, error) {
	e, err := split(compact)
	if err != nil {
		return nil, err
	}
	key, err := e.expected(known)
	if err != nil {
		return nil, err
	}
	if err := e.verify(key); err != nil {
		return nil, err
	}
	ev := &Evidence{Header: e.header, Digest: e.digest, Signer: key.Role}
	if ev.IssuedAt, err = e.fresh(known); err != nil {
		return nil, err
	}
	if err := ev.read(e.payload, known.Now); err != nil {
		return nil, err
	}
	if quote != nil {
		if err := ev.measure(quote, QuoteBinding(e.input), known); err != nil {
			return nil, err
		}
	} else if known.QuoteAlways || key.Role == DK && keyOf(known.Keys, DKb) != nil {
		return nil, refuse(QuoteNeeded, "%v signed without a quote", key.Role)
	}
	return ev, nil
}

// expected checks the header against what is known and finds the signing key.
func (e *envelope) expected(known *Known) (*Key, error) {
	h := &e.header
	if h.Alg != es256 {
		return nil, refuse(AlgRefused, "alg is %q", h.Alg)
	}
	accepted := false
	for _, typ := range known.Typs {
		accepted = accepted || typ == h.Typ
	}
	if !accepted {
		return nil, refuse(TypRefused, "typ is %q", h.Typ)
	}
	if h.Device != known.Device || (h.Device == "") != (h.Typ == TypEnrol) {
		return nil, refuse(DeviceMismatch, "device is %q", h.Device)
	}
	if h.Typ == TypEnrol && (h.Transcript != known.Transcript || h.Transcript.IsZero()) {
		return nil, refuse(TranscriptWrong, "statement belongs to another enrolment")
	}
	if h.Typ != TypEnrol && !h.Transcript.IsZero() {
		return nil, refuse(HeaderForm, "transcript outside an enrolment")
	}
	if (h.Typ == TypLink || h.Typ == TypEphemeral) && (h.Seq != 0 || !h.Prev.IsZero()) {
		return nil, refuse(HeaderForm, "%s stands outside the sequence", h.Typ)
	}
	for _, key := range known.Keys {
		if key.ID != h.Kid {
			continue
		}
		if key.Role != DK && (key.Role != DKb || h.Typ == TypEnrol) {
			return nil, refuse(KeyRole, "%v may not sign %s", key.Role, h.Typ)
		}
		return key, nil
	}
	return nil, refuse(KeyUnknown, "kid %v is no key of this device", h.Kid)
}

// fresh checks step and nonce; the signature has been verified, so that a
// statement out of step can be answered with where to go on.
func (e *envelope) fresh(known *Known) (issued time.Time, err error) {
	h := &e.header
	switch h.Typ {
	case TypEnrol:
		if h.Seq != 0 || !h.Prev.IsZero() {
			return issued, refuse(OutOfStep, "an enrolment starts at zero")
		}
	case TypReport, TypHeartbeat:
		if h.Seq != known.Seq+1 || h.Prev != known.Prev {
			return issued, refuse(OutOfStep, "sequence %d after %d", h.Seq, known.Seq)
		}
	}
	if h.Nonce.IsZero() || known.NonceIssued == nil {
		return issued, refuse(NonceUnknown, "no nonce")
	}
	issued, expires, ok := known.NonceIssued(h.Nonce)
	if !ok {
		return issued, refuse(NonceUnknown, "nonce was not issued to this device or is used")
	}
	if !known.Now.Before(expires) {
		return issued, refuse(NonceExpired, "nonce ended at %v", expires.UTC())
	}
	return issued, nil
}

// read parses the payload that the typ announces.
func (ev *Evidence) read(payload []byte, now time.Time) error {
	switch ev.Header.Typ {
	case TypReport, TypEnrol:
		ev.Report = new(posture.Report)
		if err := decodePayload("report", payload, ev.Report); err != nil {
			return err
		}
		return reportForm(ev.Report)
	case TypHeartbeat:
		ev.Heartbeat = new(Heartbeat)
		if err := decodePayload("heartbeat", payload, ev.Heartbeat); err != nil {
			return err
		}
		return ev.Heartbeat.form()
	case TypLink:
		ev.Link = new(LinkProof)
		if err := decodePayload("link proof", payload, ev.Link); err != nil {
			return err
		}
		return ev.Link.form()
	case TypEphemeral:
		ev.Ephemeral = new(Ephemeral)
		if err := decodePayload("ephemeral key", payload, ev.Ephemeral); err != nil {
			return err
		}
		return ev.Ephemeral.form(now, ev.IssuedAt.Add(EphemeralLife))
	}
	return refuse(TypRefused, "typ is %q", ev.Header.Typ)
}

// measure checks the quote beside the statement and the order of TPM clocks.
func (ev *Evidence) measure(quote *Quote, binding Digest, known *Known) error {
	measured, err := CheckQuote(quote, keyOf(known.Keys, AK), binding)
	if err != nil {
		return err
	}
	if last := known.LastClock; last != nil {
		switch order := measured.Clock.Since(*last, known.sinceQuote()); order {
		case Forward, Cleared, Fell:
			ev.Cleared, ev.ClockFell = order == Cleared, order == Fell
		default:
			return refuse(ClockBack, "TPM clock ran backwards")
		}
	}
	if ev.Signer == DKb {
		if _, err := CheckBootPolicy(keyOf(known.Keys, DKb), measured); err != nil {
			return err
		}
	}
	ev.Measured = measured
	return nil
}

// sinceQuote bounds the time since the last accepted quote; negative when that is
// not known. The verifier's clock may have been set back meanwhile.
func (k *Known) sinceQuote() time.Duration {
	if k.LastQuoteAt.IsZero() {
		return -1
	}
	return max(0, k.Now.Sub(k.LastQuoteAt))
}

func keyOf(keys []*Key, role Role) *Key {
	for _, key := range keys {
		if key.Role == role {
			return key
		}
	}
	return nil
}
