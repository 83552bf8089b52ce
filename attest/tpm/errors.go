package tpm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

// classed wraps an error in the attest sentinel that callers branch on, where
// one fits. What a response code means can depend on the command: those cases
// are decided where the command is sent, and pass here unchanged.
func classed(err error) error {
	if err == nil || isClassed(err) {
		return err
	}
	var rc tpm2.TPMRC
	if errors.As(err, &rc) {
		if isTransient(rc) {
			return fmt.Errorf("%w: %w", attest.ErrTransient, err)
		}
		return err
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w; %s", attest.ErrPermission, err, permissionRemedy)
	case errors.Is(err, fs.ErrNotExist), isGone(err):
		return fmt.Errorf("%w: %w", attest.ErrAbsent, err)
	case isBusy(err), isBroken(err), isDriverTrouble(err):
		return fmt.Errorf("%w: %w", attest.ErrTransient, err)
	}
	return err
}

func isClassed(err error) bool {
	for _, class := range []error{
		attest.ErrTransient, attest.ErrKeyLost, attest.ErrAbsent, attest.ErrPermission, attest.ErrDisabled, attest.ErrBootMoved,
	} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// isTransient tells codes that say nothing of the keys: ask again later
// (TPM 2.0 Part 2 §6.6.3). INITIALIZE stands between power and startup.
func isTransient(rc tpm2.TPMRC) bool {
	switch rc {
	case tpm2.TPMRCRetry, tpm2.TPMRCYielded, tpm2.TPMRCTesting, tpm2.TPMRCLockout,
		tpm2.TPMRCNVRate, tpm2.TPMRCNVUnavailable, tpm2.TPMRCCanceled, tpm2.TPMRCInitialize,
		tpm2.TPMRCReferenceH0, tpm2.TPMRCReferenceH1, tpm2.TPMRCReferenceS0:
		return true
	}
	return isFull(rc)
}

// isFull tells that the chip has no room for another object or session.
func isFull(err error) bool {
	for _, rc := range []tpm2.TPMRC{
		tpm2.TPMRCObjectMemory, tpm2.TPMRCSessionMemory, tpm2.TPMRCMemory,
		tpm2.TPMRCObjectHandles, tpm2.TPMRCSessionHandles, tpm2.TPMRCContextGap,
	} {
		if errors.Is(err, rc) {
			return true
		}
	}
	return false
}

// isClosed tells that a hierarchy does not take our empty authorisation, or is
// switched off.
func isClosed(err error) bool {
	return errors.Is(err, tpm2.TPMRCBadAuth) || errors.Is(err, tpm2.TPMRCAuthFail) ||
		isOff(err) || errors.Is(err, tpm2.TPMRCAuthUnavailable)
}

// isOff tells that a hierarchy is switched off (TPM2_HierarchyControl): no
// authorisation opens it before the firmware does at another start.
func isOff(err error) bool { return errors.Is(err, tpm2.TPMRCHierarchy) }

// isBroken tells that a connection or driver call ended without an answer.
func isBroken(err error) bool {
	var network net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &network)
}
