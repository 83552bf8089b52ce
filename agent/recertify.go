package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"muster/attest"
)

// recertifyAgain is how long after a refusal the same boot key is brought again: a
// server may have learned to take it.
const recertifyAgain = 6 * time.Hour

// recertifies reports whether the next statement brings this boot's DKb: the
// server knows another, or none, and did not refuse this one lately.
func (e *enrolled) recertifies(keys *keyring, now time.Time) bool {
	if keys.dkb.IsZero() || keys.dkb == e.Keys.DKb {
		return false
	}
	wait := e.Unaccepted.Until.Sub(now.Round(0))
	return keys.dkb != e.Unaccepted.DKb || wait <= 0 || wait > recertifyAgain // further off: the clock was set back
}

// rest leaves a boot key aside for a while: DK with quotes serves meanwhile.
func (e *enrolled) rest(dkb attest.Digest, now time.Time) {
	e.Unaccepted = unaccepted{DKb: dkb, Until: now.Add(recertifyAgain)}
}

// recertify puts this boot's DKb beside a statement that DK signed, certified by
// the AK for that very statement (SPEC.md §7.4). A TPM that does not certify it
// has the statement go without.
func (a *Agent) recertify(ctx context.Context, keys *keyring, s *signed, p *pending) error {
	if err := keys.checkBound(s); err != nil {
		return err
	}
	certify, err := keys.anchor.Certify(ctx, attest.DKb, attest.RecertifyBinding(s.input))
	if err != nil {
		if ctx.Err() != nil || errors.Is(err, attest.ErrTransient) || errors.Is(err, attest.ErrKeyLost) {
			return fmt.Errorf("certifying DKb: %w", err)
		}
		a.Log.Warn("boot key not certified, signing with DK", "device", a.state.Enrolled.Device, "error", err)
		a.state.Enrolled.rest(keys.dkb, a.Now())
		return nil
	}
	s.body.DKb = &attest.Recertify{Public: keys.identity.DKb, Certify: certify}
	p.DKb = keys.dkb
	return nil
}

// checkBound checks DKb's policy against the quote beside a statement, as the
// server will: what moved since DKb was made is [attest.ErrBootMoved].
func (k *keyring) checkBound(s *signed) error {
	if k.bootKey == nil || s.body.Quote == nil || s.quoted == nil {
		return nil
	}
	bound, err := attest.CheckBootPolicy(k.bootKey, &attest.Measured{PCRs: s.body.Quote.PCRs, Clock: *s.quoted})
	if err != nil {
		k.moved = true
		return fmt.Errorf("%w: %w", attest.ErrBootMoved, err)
	}
	k.unbound = !bound
	return nil
}
