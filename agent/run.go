package agent

import (
	"context"
	"errors"
	"time"

	"muster/attest"
	"muster/attest/posture"
)

// How long nothing need be done at most, and how often a revoked device asks
// whether it still is.
const (
	idle        = time.Minute
	recallEvery = time.Hour
)

// Run is the agent's life until ctx ends: look, enrol, report, obey. It returns
// early only with an error that waiting cannot mend: wrong settings, a damaged
// state, another agent in the same folder, a disk that cannot be written.
func (a *Agent) Run(ctx context.Context) error {
	release, err := a.open()
	if err != nil {
		return err
	}
	defer release()
	ctx, cancel := context.WithCancel(ctx)
	w := a.watch(ctx)
	defer w.wg.Wait()
	defer cancel()
	a.receive(ctx, &w.wg)
	a.Log.Info("agent starts", "version", a.Version, "server", a.Settings.Server, "profile", string(a.Settings.Profile))
	if a.claims, err = w.first(ctx); err != nil {
		return err
	}
	for {
		wait, err := a.turn(ctx, w)
		if err != nil {
			return err
		}
		timer := time.NewTimer(min(wait, a.keepWaiting(ctx, &w.wg)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case s := <-w.cheap.seen:
			a.saw(s)
		case s := <-w.dear.seen:
			a.saw(s)
		case got := <-a.waiter.answers:
			a.waitEnded(got, w)
		case j := <-a.jobs:
			err = a.serve(ctx, j)
		case <-timer.C:
		}
		timer.Stop()
		if err != nil {
			return err
		}
	}
}

// saw takes new claims and tells of those that changed.
func (a *Agent) saw(s sight) {
	a.wanted.saw(s)
	before := make(map[string]posture.Claim)
	for name, c := range a.claims.Each() {
		before[name] = *c
	}
	merge(&a.claims, s.claims)
	for name, c := range a.claims.Each() {
		if old := before[name]; old.State != c.State || old.Reason != c.Reason {
			a.Log.Info("claim changed", "claim", name, "state", c.State.String(), "reason", string(c.Reason))
		}
	}
}

// turn does the next thing if it is due and returns how long nothing will be.
func (a *Agent) turn(ctx context.Context, w *watcher) (time.Duration, error) {
	if a.sleeps.slept(a.Now(), a.Up()) {
		a.resumed(w)
	}
	if wait := a.holdUp - a.Up(); wait > 0 {
		return wait, nil
	}
	wait, err := a.step(ctx)
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case err == nil:
		return wait, nil
	}
	return a.failed(err)
}

// resumed follows a sleep: what the server holds of us is old, and so are our
// claims and nonce.
func (a *Agent) resumed(w *watcher) {
	a.Log.Info("clock moved, after sleep or by hand")
	w.dear.hurry()
	a.waiter.end() // its connection slept, too
	if e := a.state.Enrolled; e != nil {
		e.Nonce, e.NextAt, e.OweQuote = nonce{}, a.Now(), true
	}
}

// step does what is due first; wait tells when something will be.
func (a *Agent) step(ctx context.Context) (wait time.Duration, err error) {
	if a.state.StandIn {
		if err := a.lookForTPM(ctx); err != nil {
			return 0, err
		}
	}
	e := a.state.Enrolled
	switch {
	case e == nil || a.state.Again || a.state.Enrolling != nil:
		err = a.enrol(ctx)
	case e.Server != a.Settings.Server:
		err = a.moved(ctx)
	case e.Revoked:
		return a.stayRevoked(ctx)
	case a.state.Pending != nil:
		err = a.submit(ctx)
	default:
		return a.reportIfDue(ctx)
	}
	if err == nil {
		a.backoff.reset()
	}
	return 0, err
}

// reportIfDue reports when a claim changed, when somebody waits for it, or when
// the server's time came.
func (a *Agent) reportIfDue(ctx context.Context) (time.Duration, error) {
	e := a.state.Enrolled
	wanted := a.wanted != nil
	if wait := a.wanted.wait(a.Up()); wait > 0 {
		return wait, nil // one report of all, though the cheap claims are seen
	}
	_, mark, err := a.report()
	if err != nil {
		return 0, err
	}
	changed := mark != e.Base.Print
	due := e.NextAt.Sub(a.Now().Round(0))
	early := due > 0 && due <= attest.QuoteEvery // further off: the clock was set back
	if early && !changed && !wanted {
		return min(due, idle), nil
	}
	if early && !wanted { // what is wanted has a budget of its own
		if wait := a.budget.wait(a.Up()); wait > 0 {
			return min(wait, due, idle), nil
		}
	}
	if wanted {
		a.wanted = nil
		e.OweReport, e.Nonce = true, nonce{} // in full, and no nonce of before it was asked for
	}
	if err := a.compose(ctx, changed); err != nil {
		return 0, a.refusedNonce(ctx, err)
	}
	if err := a.submit(ctx); err != nil {
		return 0, err
	}
	if early && !wanted {
		a.budget.spend()
	}
	a.backoff.reset()
	return 0, nil
}

// refusedNonce decides on an error before there was a statement.
func (a *Agent) refusedNonce(ctx context.Context, err error) error {
	switch code(err) {
	case attest.CodeDeviceUnknown:
		return a.unknown(ctx, err)
	case attest.CodeRevoked:
		return a.revoked(err)
	}
	return err
}

// stayRevoked asks now and then whether the device still is revoked.
func (a *Agent) stayRevoked(ctx context.Context) (time.Duration, error) {
	e := a.state.Enrolled
	if due := e.NextAt.Sub(a.Now().Round(0)); due > 0 && due <= recallEvery {
		return min(due, idle), nil
	}
	err := a.recall(ctx)
	if e.Revoked {
		e.NextAt = a.Now().Add(recallEvery/2 + time.Duration(a.Random()*float64(recallEvery)/2))
		if code(err) == attest.CodeRevoked {
			err = nil
		}
	}
	return 0, err
}

// failed decides how long to wait after an error, and makes it visible. It
// returns the errors that waiting cannot mend.
func (a *Agent) failed(err error) (time.Duration, error) {
	if errors.Is(err, errUnwritable) || errors.As(err, new(*SettingsError)) {
		return 0, err
	}
	if errors.Is(err, attest.ErrKeyLost) && a.state.Enrolled != nil && !a.state.Again {
		err = a.lost(a.state.Enrolled, err)
	}
	if errors.Is(err, attest.ErrTransient) || errors.Is(err, attest.ErrBootMoved) || isGone(err) {
		a.closeKeys() // opened again, they may have come back
	}
	if a.staysGone(err) {
		a.backoff.reset()
		err = a.park(err)
	}
	if errors.Is(err, errGoOn) && a.backoff.failures == 0 {
		a.backoff.failures++
		a.Log.Info("going on as the server said", "reason", code(err))
		return 0, nil
	}
	wait := a.backoff.next(err)
	a.holdUp = a.Up() + wait
	a.Log.Warn("not reported, trying again", "error", err, "reason", code(err), "wait", wait.Round(time.Millisecond))
	return wait, a.tell(err)
}
