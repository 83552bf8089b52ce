package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"muster/attest"
)

// jobTime is how long one waits for the running agent, which may be in the middle
// of a report.
const jobTime = 20 * time.Second

// job is what another goroutine asks of the running agent.
type job struct {
	ctx  context.Context // of who asked; ends with their patience
	do   func(context.Context) (any, error)
	done chan<- outcome // room for one
}

type outcome struct {
	value any
	err   error
}

// declined is a no of this agent to somebody at this machine.
type declined struct {
	Code string `json:"code"` // stable
	Text string `json:"text"` // what happened, one sentence
	Fix  string `json:"fix"`  // what to do, one sentence
}

// Error returns the sentence and the code.
func (d *declined) Error() string { return d.Text + " (" + d.Code + ")" }

func decline(code, text, fix string) error { return &declined{code, text, fix} }

// declinedOf puts any error into that form.
func declinedOf(err error) *declined {
	d, r := (*declined)(nil), (*refusal)(nil)
	switch {
	case errors.As(err, &d):
		return d
	case errors.As(err, &r) && !r.Foreign:
		text := r.Detail
		if text == "" {
			text = r.Title
		}
		return &declined{r.Code, text, r.Fix}
	}
	t := troubleOf(err)
	return &declined{t.Code, t.Text, t.Fix}
}

// Codes of what is declined here. None is ever given another meaning.
const (
	codeBusy      = "agent-busy"
	codeNotYet    = "not-enrolled"
	codePending   = "pending"
	codeForm      = "request-form"
	codeMismatch  = "offer-mismatch"
	codeForeign   = "page-foreign"
	codeUnknown   = "peer-unknown"
	codeForwarded = "peer-forwarded"
	codeUser      = "peer-user"
)

func busy() error {
	return decline(codeBusy, "The agent on this laptop is busy.", "Try again in a moment.")
}

// await has the running agent do something between two turns, and returns what
// became of it. Who waits in vain is declined; what was asked may happen still,
// unless it had not begun.
func (a *Agent) await(ctx context.Context, do func(context.Context) (any, error)) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, jobTime)
	defer cancel()
	done := make(chan outcome, 1)
	select {
	case a.jobs <- job{ctx, do, done}:
	case <-ctx.Done():
		return nil, busy()
	}
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		return nil, busy()
	}
}

// serve does a job on the agent's own goroutine. It returns the errors after
// which the agent must not go on.
func (a *Agent) serve(ctx context.Context, j job) error {
	if j.ctx.Err() != nil {
		return nil
	}
	own, cancel := context.WithCancel(j.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	value, err := j.do(own)
	if errors.Is(err, attest.ErrTransient) || errors.Is(err, attest.ErrBootMoved) {
		a.closeKeys() // opened again, they may have come back
	}
	j.done <- outcome{value, err}
	if errors.Is(err, errUnwritable) {
		return err
	}
	return nil
}

// receive opens the door and the loopback listener until ctx ends, and watches
// the seat. What cannot be opened is told and tried again: reports go on.
func (a *Agent) receive(ctx context.Context, wg *sync.WaitGroup) {
	a.linked.Store(a.state.Linked)
	wg.Go(func() { a.watchSeat(ctx) })
	if path := a.Settings.doorPath(); path != "" {
		wg.Go(func() { a.reopen(ctx, "door", func() error { return a.keepDoor(ctx, path) }) })
	}
	if a.Settings.LinkPort != 0 {
		wg.Go(func() { a.reopen(ctx, "loopback listener", func() error { return a.listen(ctx, a.Settings.LinkPort) }) })
	}
}

// reopenEvery is how long after a failure a listener is tried again.
const reopenEvery = 30 * time.Second

// reopen runs a listener until ctx ends.
func (a *Agent) reopen(ctx context.Context, what string, run func() error) {
	for {
		err := run()
		if ctx.Err() != nil {
			return
		}
		a.Log.Warn("not listening, trying again", "what", what, "error", err)
		timer := time.NewTimer(reopenEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}
