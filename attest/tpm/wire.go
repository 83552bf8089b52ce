package tpm

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

// A link carries commands to a TPM, one at a time, from one goroutine.
type link interface {
	// exchange sends a command and returns the response, whatever its code, or an
	// error within about the limit.
	exchange(command []byte, limit time.Duration) ([]byte, error)
	Close() error
}

// Bounds of one command, retries included. Peers' retries are a fixed number,
// which ends before a self test does.
const (
	commandLimit = 30 * time.Second
	firstWait    = 10 * time.Millisecond
	longestWait  = time.Second

	headerSize  = 10   // tag, size, code (TPM 2.0 Part 1 §18)
	maxResponse = 4096 // TPM_PT_MAX_RESPONSE_SIZE of PC clients
)

// wire is go-tpm's transport over a link: it retries what a TPM asks to be
// retried, under one deadline, and returns either a whole response or an error.
type wire struct {
	link  link
	limit time.Duration   // for one command
	ctx   context.Context // of the operation at hand; set by the owner goroutine
}

// Send implements transport.TPM. The operation's context is looked at between
// commands only: a command that was sent is waited for, since what it loaded
// must be flushed, and flushing goes on after the caller has left.
func (w *wire) Send(command []byte) ([]byte, error) {
	ctx := w.ctx
	if len(command) >= headerSize && tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])) == tpm2.TPMCCFlushContext {
		ctx = context.WithoutCancel(ctx)
	}
	var waited time.Duration
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		response, err := w.link.exchange(command, w.limit-waited)
		if err == nil {
			err = askedToRetry(response)
		}
		if err == nil {
			return response, nil
		}
		if !isBusy(err) {
			return nil, classed(err)
		}
		if waited += wait; waited >= w.limit {
			return nil, fmt.Errorf("%w for %v: %w", attest.ErrTransient, w.limit, err)
		}
		sleep(ctx, wait)
	}
}

// askedToRetry checks the frame of a response and returns its code when the
// command shall be sent again: the chip is busy, has paused, or tests itself.
func askedToRetry(response []byte) error {
	if len(response) < headerSize || len(response) > maxResponse ||
		binary.BigEndian.Uint32(response[2:]) != uint32(len(response)) {
		return fmt.Errorf("TPM response of %d bytes is not whole", len(response))
	}
	switch tag := tpm2.TPMST(binary.BigEndian.Uint16(response)); tag {
	case tpm2.TPMSTNoSessions, tpm2.TPMSTSessions:
	case tpm2.TPMSTRspCommand:
		return fmt.Errorf("%w 2.0: the chip answers as a TPM 1.2", attest.ErrAbsent)
	default:
		return fmt.Errorf("TPM response has tag %#04x", uint16(tag))
	}
	switch rc := tpm2.TPMRC(binary.BigEndian.Uint32(response[6:])); rc {
	case tpm2.TPMRCRetry, tpm2.TPMRCYielded, tpm2.TPMRCTesting:
		return busyError(rc)
	}
	return nil
}

// busyError is a response code with which a TPM asks for the command again.
type busyError tpm2.TPMRC

func (e busyError) Error() string { return tpm2.TPMRC(e).Error() }

// Unwrap lets callers find the response code.
func (e busyError) Unwrap() error { return tpm2.TPMRC(e) }

// sleep waits, or returns early when the context ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
