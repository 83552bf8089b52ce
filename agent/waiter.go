package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"muster/attest"
)

const (
	// waitFor is how long the server is asked to hold a wait, in seconds: less than
	// the minute after which proxies commonly end an exchange.
	waitFor = 50
	// waitLong is how long an exchange must have lasted to be one that was held,
	// however it ended: proxies end them earlier.
	waitLong = 10 * time.Second
	// waitApart is the longest pause after one that failed though it was held.
	waitApart = 5 * time.Second
)

// waiter keeps one request open at the server, which answers it when somebody wants
// a fresh report. It belongs to the agent's goroutine, which never has two of them
// under way; the exchange itself is on another.
type waiter struct {
	answers chan waited        // how the exchange ended; room for one
	cancel  context.CancelFunc // of the exchange under way; nil: none is
	under   *enrolled          // that it was sent as
	due     time.Duration      // none begins before, by Up
	backoff backoff
	budget  budget // of reports that somebody wants, whatever the server says
}

// waited is how an exchange ended.
type waited struct {
	reply attest.WaitReply
	err   error
	began time.Duration // by Up
}

// end ends the exchange that is under way; it is over when its answer is there.
func (x *waiter) end() {
	if x.cancel != nil {
		x.cancel()
	}
}

// keepWaiting begins an exchange when one is due, ends one that this device is not
// to have any more, and returns how long nothing need be done.
func (a *Agent) keepWaiting(ctx context.Context, wg *sync.WaitGroup) time.Duration {
	x, e := &a.waiter, a.waitAs()
	switch {
	case x.cancel != nil:
		if e != x.under {
			x.cancel()
		}
		return idle
	case e == nil:
		return idle
	}
	if wait := max(x.due-a.Up(), x.budget.wait(a.Up())); wait > 0 {
		return wait
	}
	own, cancel := context.WithCancel(ctx)
	x.cancel, x.under = cancel, e
	c, id, got := &client{origin: a.client.origin, http: a.HTTP}, a.identity(), waited{began: a.Up()}
	wg.Go(func() {
		var body []byte
		if body, got.err = attest.Encode(attest.WaitRequest{WaitS: waitFor}); got.err == nil {
			got.err = c.wait(own, id, body, &got.reply)
		}
		x.answers <- got
	})
	return idle
}

// waitAs is the enrolment that a wait is sent for; nil: none.
func (a *Agent) waitAs() *enrolled {
	e := a.state.Enrolled
	if e == nil || e.Revoked || e.Server != a.Settings.Server {
		return nil
	}
	return e
}

// waitEnded takes an answer, or that there was none, which is no trouble: reports
// go their own way. What is answered at once and says nothing is taken for a
// failure, so that no server keeps the laptop busy.
func (a *Agent) waitEnded(got waited, w *watcher) {
	x := &a.waiter
	x.cancel()
	x.cancel = nil
	now := a.Up()
	held, spread := now-got.began >= waitLong, func(d time.Duration) time.Duration { return time.Duration(a.Random() * float64(d)) }
	again := clampSeconds(got.reply.AgainS, 0, retryCap)
	switch {
	case got.err == nil && got.reply.ReportNow:
		x.backoff.reset()
		x.budget.spend()
		x.due = now + again
		a.want(w)
	case got.err == nil && again > 0:
		x.backoff.reset()
		x.due = now + again + spread(again)
	case got.err == nil && held:
		x.backoff.reset()
		x.due = now
	case held, errors.Is(got.err, context.Canceled):
		x.due = now + spread(waitApart)
	default:
		x.due = now + x.backoff.next(got.err)
	}
	if got.err != nil {
		a.Log.Debug("waiting for the server's word", "error", got.err, "again", (x.due - now).Round(time.Millisecond))
	}
}

// wantedTime is how long the looks may take that somebody waits for; what was not
// seen by then is reported as it was, and again if it turns out to have changed.
const wantedTime = 3 * time.Second

// wanted is a report that somebody waits for.
type wanted struct {
	since       time.Duration // by Up
	cheap, dear bool          // looked at since
}

// want has everything looked at now, and then reported.
func (a *Agent) want(w *watcher) {
	a.Log.Info("somebody waits for a report")
	if a.wanted == nil {
		a.wanted = &wanted{since: a.Up()}
	}
	a.holdUp = 0 // the server is there
	w.cheap.hurry()
	w.dear.hurry()
}

// saw notes what was looked at.
func (n *wanted) saw(s sight) {
	switch {
	case n == nil || s.began < n.since:
	case s.dear:
		n.dear = true
	default:
		n.cheap = true
	}
}

// wait returns how long the report waits for looks; none is zero.
func (n *wanted) wait(up time.Duration) time.Duration {
	if n == nil || n.cheap && n.dear {
		return 0
	}
	return n.since + wantedTime - up
}
