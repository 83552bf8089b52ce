package tpm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"muster/attest"
)

// operationLimit ends what a caller without a deadline waits for: an operation is
// a handful of commands, which have commandLimit each.
const operationLimit = 2 * time.Minute

var errClosed = errors.New("TPM is closed")

// job is one operation, for the owner goroutine.
type job struct {
	ctx  context.Context
	work func(*chip)
	done chan<- struct{} // closed when work was run, or was passed over
}

// start makes the goroutine that owns the chip: whatever is done with it is done
// there, one operation after another.
func start(m machine, c Config) *TPM {
	ctx, quit := context.WithCancel(context.Background())
	t := &TPM{jobs: make(chan job), quit: quit, done: make(chan struct{}), log: m.bootLog}
	own := newChip(m, c)
	go func() {
		defer close(t.done)
		defer own.wire.link.Close() // nothing was written that could be lost
		for {
			select {
			case <-ctx.Done():
				return
			case j := <-t.jobs:
				run(ctx, own, j)
			}
		}
	}()
	return t
}

// run does a job whose caller is still there; the end of the TPM ends it too.
func run(quit context.Context, c *chip, j job) {
	defer close(j.done)
	ctx, cancel := context.WithCancel(j.ctx)
	defer cancel()
	defer context.AfterFunc(quit, cancel)()
	if c.wire.ctx = ctx; ctx.Err() == nil {
		j.work(c)
	}
}

// do has the owner goroutine run an operation and waits for it, for as long as
// the context allows: a chip that hangs holds up the owner, never the caller.
func do[R any](ctx context.Context, t *TPM, what string, operation func(*chip) (R, error)) (R, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, operationLimit, fmt.Errorf("%w: no end within %v", attest.ErrTransient, operationLimit))
	defer cancel()
	var none, result R
	err := fmt.Errorf("%w: caller left", context.Canceled) // kept when the job is passed over
	done := make(chan struct{})
	work := func(c *chip) { result, err = attempt(c, operation) }
	select {
	case t.jobs <- job{ctx, work, done}:
	case <-t.done:
		return none, fmt.Errorf("%s: %w", what, errClosed)
	case <-ctx.Done():
		return none, fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	select {
	case <-done: // result and err are ours from here on
	case <-ctx.Done():
		return none, fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	if err != nil {
		return none, fmt.Errorf("%s: %w", what, classed(err))
	}
	return result, nil
}

// attempt runs an operation, a second time after making room: without a resource
// manager, what a killed program had loaded stays in the chip. A panic, which
// takes a chip that answers nonsense, becomes an error.
func attempt[R any](c *chip, operation func(*chip) (R, error)) (result R, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("TPM answer cannot be read: %v", p)
		}
	}()
	result, err = operation(c)
	if err != nil && isFull(err) && !c.shared {
		if freed := c.reclaim(); freed == nil {
			result, err = operation(c)
		}
	}
	return result, err
}

// Close ends the use of the TPM. It waits for the command at hand, if any, for a
// moment; a chip that hangs is closed when it comes back.
func (t *TPM) Close() error {
	t.quit()
	timer := time.NewTimer(dialLimit)
	defer timer.Stop()
	select {
	case <-t.done:
		return nil
	case <-timer.C:
		return fmt.Errorf("closing TPM: %w: a command has not returned", attest.ErrTransient)
	}
}
