package agent

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"muster/attest"
	"muster/attest/posture"
)

// MakeReport makes the report of claims as this program would send it: for
// profile byod reduced, whatever anybody asks for.
func MakeReport(version string, platform posture.Platform, profile posture.Profile, bootID string, claims posture.Claims) *posture.Report {
	r := &posture.Report{Agent: version, Platform: platform, Profile: profile, BootID: bootID, Claims: claims}
	if profile != posture.Corporate {
		r.Claims.Reduce()
	}
	for _, c := range r.Claims.Each() {
		if c.ObservedAt.After(r.CollectedAt) {
			r.CollectedAt = c.ObservedAt
		}
	}
	return r
}

// printOf fingerprints what a report says apart from when it was looked at: two
// equal ones need only a heartbeat between them.
func printOf(r *posture.Report) (attest.Digest, error) {
	still := *r
	still.CollectedAt = time.Time{}
	for _, c := range still.Claims.Each() {
		c.ObservedAt = time.Time{}
	}
	data, err := attest.Encode(&still)
	if err != nil {
		return attest.Digest{}, fmt.Errorf("writing report: %w", err)
	}
	return sha256.Sum256(data), nil
}

// report returns what would be reported now, and its fingerprint.
func (a *Agent) report() (*posture.Report, attest.Digest, error) {
	bootID, err := a.bootID()
	if err != nil {
		return nil, attest.Digest{}, err
	}
	r := MakeReport(a.Version, hostPlatform(), a.Settings.Profile, bootID, a.claims)
	mark, err := printOf(r)
	return r, mark, err
}

// A held nonce must still live for as long as a TPM may take to sign, and one
// for a change must be as young as a new one would be.
const (
	nonceLeft  = 15 * time.Second
	nonceYoung = 10 * time.Second
)

// compose makes the next statement and puts it into the journal: a heartbeat
// when nothing changed since the base, else a full report. With fresh, an older
// nonce that is held does not serve. Where the boot state moves under it, the
// statement is made once more, with this boot's DKb beside it; and without where
// it moves again and again.
func (a *Agent) compose(ctx context.Context, fresh bool) error {
	err := a.composeOnce(ctx, fresh, true)
	for _, bring := range []bool{true, true, false} {
		if errors.Is(err, attest.ErrBootMoved) {
			a.Log.Info("boot state moved, making another boot key", "device", a.state.Enrolled.Device, "bring", bring)
			if !bring && a.keys != nil {
				a.state.Enrolled.rest(a.keys.dkb, a.Now())
			}
			err = a.composeOnce(ctx, fresh, bring)
		}
	}
	return err
}

// composeOnce is compose without the next try; bring: it may bring a new DKb.
func (a *Agent) composeOnce(ctx context.Context, fresh, bring bool) error {
	e := a.state.Enrolled
	keys, err := a.present(ctx)
	if err != nil {
		return err
	}
	report, mark, err := a.report()
	if err != nil {
		return err
	}
	clock, err := keys.clock(ctx)
	if err != nil {
		return err
	}
	p := &pending{Seq: e.Seq + 1, Print: mark, BootID: report.BootID}
	recertify := bring && e.recertifies(keys, a.Now())
	p.Full = e.OweReport || recertify || mark != e.Base.Print || e.Base.Digest.IsZero()
	typ, payload := attest.TypHeartbeat, []byte(nil)
	if p.Full {
		typ = attest.TypReport
		payload, err = attest.Encode(report)
	} else {
		payload, err = attest.Encode(attest.Heartbeat{
			Base: e.Base.Digest, BootID: report.BootID, CollectedAt: report.CollectedAt.Unix(), Clock: clock,
		})
	}
	if err != nil {
		return fmt.Errorf("writing statement: %w", err)
	}
	n, err := a.nonce(ctx, fresh)
	if err != nil {
		return err
	}
	h := attest.Header{Typ: typ, Device: e.Device, Nonce: n, Seq: p.Seq, Prev: e.Last}
	submit, err := a.sign(ctx, keys, h, payload, a.quoteDue(clock))
	if err != nil {
		return err
	}
	if recertify {
		if err := a.recertify(ctx, keys, submit, p); err != nil {
			return err
		}
	}
	a.absence = absence{} // the TPM, if there is one, did all that it has to
	if p.Body, err = attest.Encode(submit.body); err != nil {
		return fmt.Errorf("writing statement: %w", err)
	}
	p.Digest, p.Quoted = submit.digest, submit.quoted
	e.Nonce = nonce{} // used, whatever becomes of the statement
	a.state.Pending = p
	return a.save()
}

// nonce takes the held one, or asks for another.
func (a *Agent) nonce(ctx context.Context, fresh bool) (attest.Digest, error) {
	held := a.state.Enrolled.Nonce
	age, left := a.Now().Sub(held.Issued), held.Expires.Sub(a.Now())
	if !held.Value.IsZero() && age >= 0 && left > nonceLeft && (!fresh || age < nonceYoung) {
		return held.Value, nil
	}
	return a.freshNonce(ctx)
}

// freshNonce asks for another one and leaves the held one as it is.
func (a *Agent) freshNonce(ctx context.Context) (attest.Digest, error) {
	body, err := attest.Encode(attest.NonceRequest{})
	if err != nil {
		return attest.Digest{}, fmt.Errorf("writing nonce request: %w", err)
	}
	var reply attest.NonceReply
	if err := a.client.post(ctx, attest.PathNonce, a.identity(), body, &reply); err != nil {
		return attest.Digest{}, fmt.Errorf("asking for a nonce: %w", err)
	}
	if reply.Nonce.IsZero() {
		return attest.Digest{}, errors.New("asking for a nonce: the server gave none")
	}
	return reply.Nonce, nil
}

// quoteDue reports whether the next statement needs a quote: none was accepted
// yet, the server asked, the machine started or resumed since, or the last one
// would be too old before the next chance.
func (a *Agent) quoteDue(clock *attest.Clock) bool {
	e := a.state.Enrolled
	if clock == nil {
		return false
	}
	last := e.Quoted
	return e.OweQuote || last.At.IsZero() ||
		clock.ResetCount != last.Clock.ResetCount || clock.RestartCount != last.Clock.RestartCount ||
		a.Now().Sub(last.At) >= attest.QuoteEvery-quoteEarly || a.Now().Before(last.At)
}

// quoteEarly keeps the age of a quote below [attest.QuoteEvery] though the next
// report may be an hour away.
const quoteEarly = time.Hour

// signed is a statement ready to be sent.
type signed struct {
	body   attest.ReportSubmit
	digest attest.Digest
	input  []byte // of the JWS signature
	quoted *attest.Clock
}

// sign signs with DKb while the server knows it and the boot state holds; else
// with DK, which brings a quote where there is a DKb. [attest.ErrBootMoved] when
// that state has passed, after which DK signs.
func (a *Agent) sign(ctx context.Context, keys *keyring, h attest.Header, payload []byte, quote bool) (*signed, error) {
	known := a.state.Enrolled.Keys.DKb
	role := attest.DK
	h.Kid = keys.dk
	switch {
	case !known.IsZero() && known == keys.dkb && !keys.moved:
		role, h.Kid = attest.DKb, keys.dkb
		quote = quote || keys.unbound
	case !known.IsZero() || !keys.dkb.IsZero():
		quote = true
	}
	s, err := attest.Sign(ctx, keys.signer(role), h, payload)
	if err != nil {
		keys.moved = keys.moved || errors.Is(err, attest.ErrBootMoved)
		return nil, err
	}
	out := &signed{body: attest.ReportSubmit{JWS: string(s.Compact)}, digest: s.Digest, input: s.Input}
	if !quote || keys.anchor == nil {
		return out, nil
	}
	if out.body.Quote, out.quoted, err = a.quote(ctx, keys, attest.QuoteBinding(s.Input)); err != nil {
		return nil, err
	}
	if err := keys.checkBound(out); err != nil && role == attest.DKb {
		return nil, err
	}
	return out, nil
}

// quote has the TPM state its PCRs and names the boot log that explains them.
func (a *Agent) quote(ctx context.Context, keys *keyring, binding attest.Digest) (*attest.Quote, *attest.Clock, error) {
	q, err := keys.anchor.Quote(ctx, binding)
	if err != nil {
		return nil, nil, fmt.Errorf("quoting: %w", err)
	}
	s, err := attest.ParseStatement(q.Attest)
	if err != nil {
		return nil, nil, fmt.Errorf("quoting: %w", err)
	}
	if log := a.bootLog(keys); log != nil {
		q.LogSHA256 = sha256.Sum256(log)
	}
	return q, &s.Clock, nil
}
