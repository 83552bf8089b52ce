//go:build unix

package tpm

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

func TestErrorsHaveTheirClass(t *testing.T) {
	path := func(err error) error { return &fs.PathError{Op: "open", Path: "/dev/tpmrm0", Err: err} }
	for _, c := range []struct {
		err, want error
	}{
		{path(syscall.EACCES), attest.ErrPermission},
		{path(syscall.EPERM), attest.ErrPermission},
		{path(syscall.ENOENT), attest.ErrAbsent},
		{path(syscall.ENODEV), attest.ErrAbsent},
		{path(syscall.EBUSY), attest.ErrTransient},
		{path(syscall.EIO), attest.ErrTransient},
		{os.ErrDeadlineExceeded, attest.ErrTransient},
		{tpm2.TPMRCLockout, attest.ErrTransient},
		{tpm2.TPMRCNVRate, attest.ErrTransient},
		{tpm2.TPMRCInitialize, attest.ErrTransient},
		{tpm2.TPMRCObjectMemory, attest.ErrTransient},
	} {
		if got := classed(c.err); !errors.Is(got, c.want) || !errors.Is(got, c.err) {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
	for _, err := range []error{tpm2.TPMRCFailure, tpm2.TPMRCIntegrity, context.Canceled, errors.New("else")} {
		if got := classed(err); isClassed(got) {
			t.Errorf("%v became %v", err, got)
		}
	}
}

func TestWireSendsAgainToABusyDevice(t *testing.T) {
	busy := &fs.PathError{Op: "write", Path: "/dev/tpm0", Err: syscall.EBUSY}
	sent := 0
	response, err := send(func([]byte) ([]byte, error) {
		if sent++; sent <= 3 {
			return nil, busy
		}
		return coded(0), nil
	}, commandLimit)
	if err != nil || len(response) != headerSize || sent != 4 {
		t.Errorf("sent %d times, %x, %v", sent, response, err)
	}
	_, err = send(func([]byte) ([]byte, error) { return nil, busy }, 50*time.Millisecond)
	if !errors.Is(err, attest.ErrTransient) || !errors.Is(err, syscall.EBUSY) {
		t.Errorf("busy for ever: %v", err)
	}
}
