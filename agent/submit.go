package agent

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"muster/attest"
)

// errGoOn says that the server told how to go on: at once, not after a wait.
var errGoOn = errors.New("the server told how to go on")

// submit sends the journalled statement, always the same bytes, and obeys the
// answer.
func (a *Agent) submit(ctx context.Context) error {
	p := a.state.Pending
	var reply attest.ReportReply
	sent := a.Now()
	err := a.client.post(ctx, attest.PathReport, a.identity(), p.Body, &reply)
	if err == nil && reply.Accepted != p.Digest {
		err = errors.New("the server's answer is about another statement")
	}
	if err != nil {
		return a.refusedReport(ctx, err)
	}
	a.state.Enrolled.accept(p, &reply, sent, a.Random())
	a.state.Pending, a.state.Trouble = nil, nil
	if reply.State == attest.Active {
		a.state.Reanchored = false
		if !a.state.StandIn {
			a.state.Changed = nil
		}
	}
	if err := a.save(); err != nil {
		return err
	}
	a.unknowns = 0
	a.Log.Info("report accepted", "device", a.state.Enrolled.Device, "seq", p.Seq, "full", p.Full,
		"quote", p.Quoted != nil, "boot_key", !p.DKb.IsZero(), "state", reply.State, "decision", reply.Decision.Outcome)
	a.sendLog(ctx, reply.NeedLog)
	return nil
}

// accept takes an accepted statement and the server's answer to it into e.
func (e *enrolled) accept(p *pending, reply *attest.ReportReply, sent time.Time, random float64) {
	e.Seq, e.Last = p.Seq, p.Digest
	if p.Full {
		e.Base = base{Digest: p.Digest, Print: p.Print, BootID: p.BootID}
	}
	if p.Quoted != nil {
		e.Quoted = quoted{At: sent, Clock: *p.Quoted}
	}
	if !p.DKb.IsZero() {
		e.Keys.DKb, e.Unaccepted = p.DKb, unaccepted{}
	}
	e.OweReport, e.OweQuote = reply.NeedReport, reply.NeedQuote
	e.Nonce = hold(reply.Nonce, reply.NonceS, sent)
	e.Answer = answer{At: sent, State: reply.State, Decision: reply.Decision}
	e.Revoked = reply.State == attest.Revoked
	e.NextAt = sent.Add(nextIn(reply.NextS, random))
}

// hold keeps a nonce until it ends, counted from before it was asked for.
func hold(value attest.Digest, seconds int, sent time.Time) nonce {
	return nonce{Value: value, Issued: sent, Expires: sent.Add(clampSeconds(seconds, 0, 48*time.Hour))}
}

// nextIn is when to report next: up to a tenth earlier than the server said, so
// that devices that it answered together drift apart, and never later, since
// the lease and the nonce end soon after.
func nextIn(seconds int, random float64) time.Duration {
	d := clampSeconds(seconds, time.Second, attest.QuoteEvery)
	return d - time.Duration(random*float64(d)/10)
}

// clampSeconds bounds what a server says without overflowing.
func clampSeconds(seconds int, low, high time.Duration) time.Duration {
	if seconds > int(high/time.Second) {
		return high
	}
	return max(low, time.Duration(seconds)*time.Second)
}

// refusedReport decides what becomes of the journalled statement. Where the
// server did not judge it, it stays, to be repeated as it is.
func (a *Agent) refusedReport(ctx context.Context, err error) error {
	r, p := (*refusal)(nil), a.state.Pending
	brings := !p.DKb.IsZero()
	if !errors.As(err, &r) || r.Foreign || r.Status >= 500 && (r.Code != attest.CodeNotAccepted || !brings) {
		return err
	}
	e := a.state.Enrolled
	switch r.Code {
	case attest.CodeRateLimited, attest.CodeUnavailable:
		return err
	case attest.CodeDeviceUnknown:
		return a.unknown(ctx, err)
	case attest.CodeRevoked:
		return a.revoked(err)
	}
	a.Log.Warn("report refused", "device", e.Device, "seq", p.Seq, "reason", r.Code)
	a.state.Pending = nil
	e.NextAt = a.Now() // the held nonce went with the statement
	switch r.Code {
	case attest.CodeResync, string(attest.NonceExpired), string(attest.NonceUnknown), string(attest.OutOfStep):
		e.OweReport, e.OweQuote = true, true
		if r.Resync != nil {
			e.Seq, e.Last = r.Resync.Seq, r.Resync.Last
			e.Nonce = hold(r.Resync.Nonce, r.Resync.NonceS, a.Now())
		}
		a.noteEpoch(ctx)
		err = fmt.Errorf("%w: %w", errGoOn, err)
	case string(attest.QuoteNeeded):
		e.OweQuote = true
		err = fmt.Errorf("%w: %w", errGoOn, err)
	case string(attest.ClockBack):
		// It is an older state of the TPM: only an approval helps.
		e.OweReport, e.OweQuote = true, true
		err = &rolledBack{err}
	default:
		switch {
		case brings: // this one does without
			e.rest(p.DKb, a.Now())
			err = fmt.Errorf("%w: %w", errGoOn, err)
		case r.Code == string(attest.KeyUnknown) && !e.Keys.DKb.IsZero():
			// An older state of the server's knows an older DKb, or none.
			e.Keys.DKb = attest.Digest{}
			err = fmt.Errorf("%w: %w", errGoOn, err)
		}
		// It was judged and refused: the next one says everything anew.
		e.OweReport, e.OweQuote = true, true
		a.closeKeys()
	}
	return errors.Join(err, a.save())
}

// noteEpoch takes the epoch of a server that still knows this device: it was
// restored and the device survived, so that a later "device unknown" is not
// taken for that restore.
func (a *Agent) noteEpoch(ctx context.Context) {
	e := a.state.Enrolled
	if tenant, err := a.tenant(ctx); err == nil && tenant.Tenant == e.Tenant && tenant.Epoch > e.Epoch {
		e.Epoch = tenant.Epoch
	}
}

// sendLog answers the server's wish for the boot log. What fails is only noted:
// the server asks again with its next answer.
func (a *Agent) sendLog(ctx context.Context, want attest.Digest) {
	if want.IsZero() || a.keys == nil {
		return
	}
	log := a.bootLog(a.keys)
	if log == nil || attest.Digest(sha256.Sum256(log)) != want {
		a.Log.Info("boot log that the server wants is not here", "device", a.state.Enrolled.Device)
		return
	}
	if err := a.client.upload(ctx, attest.PathLog+"/"+want.String(), a.identity(), log); err != nil {
		a.Log.Warn("sending boot log", "device", a.state.Enrolled.Device, "error", err)
	}
}
