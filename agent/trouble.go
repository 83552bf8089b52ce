package agent

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"

	"muster/attest"
	"muster/platform"
)

// tell keeps what is wrong where `status` finds it. One failure is no trouble
// yet, and the same trouble is written once.
func (a *Agent) tell(err error) error {
	t := troubleOf(err)
	if a.backoff.failures < 2 || a.state.Trouble != nil && a.state.Trouble.Code == t.Code {
		return nil
	}
	t.Since = a.Now()
	a.state.Trouble = &t
	return a.save()
}

// Codes of troubles that are not the server's own.
const (
	troubleUnreachable = "server-unreachable"
	troubleCertificate = "server-certificate"
	troubleStrange     = "server-strange"
	troubleOther       = "other-server"
	troubleBusy        = "tpm-busy"
	troublePermission  = "tpm-permission"
	troubleAbsent      = "tpm-absent"
	troubleGone        = "tpm-gone"
	troubleReplaced    = "tpm-replaced"
	troubleHierarchy   = "tpm-hierarchy-off"
	troubleLost        = "keys-lost"
	troubleFile        = "file"
	troubleFailed      = "failed"
)

// troubleOf puts an error into words for a person: what, why, what to do.
func troubleOf(err error) Trouble {
	t := Trouble{Code: troubleFailed, Text: err.Error(), Fix: fixOf(err)}
	r, certificate := (*refusal)(nil), (*tls.CertificateVerificationError)(nil)
	otherwise := ""
	switch {
	case errors.Is(err, errOtherServer):
		t.Code = troubleOther
	case errors.As(err, &r) && !r.Foreign:
		t.Code, otherwise = r.Code, r.Fix
	case errors.As(err, &r):
		t.Code, otherwise = troubleStrange, "Check the address of the server and the proxies before it."
	case errors.Is(err, attest.ErrKeyLost):
		t.Code, otherwise = troubleLost, "Run \"muster-agent enroll --again\"; the new key needs an approval."
	case errors.Is(err, attest.ErrPermission):
		t.Code, otherwise = troublePermission, "Run the agent as the system service: \"muster-agent install\", then \"muster-agent start\"."
	case errors.Is(err, attest.ErrDisabled):
		t.Code, otherwise = troubleHierarchy, "Switch the TPM's endorsement hierarchy on in the firmware's settings, and start this machine again."
	case errors.Is(err, attest.ErrAbsent):
		t.Code, otherwise = troubleAbsent, "Turn the TPM on in the firmware's settings; a machine without one needs the setting tpm: none and a server that accepts software keys."
	case errors.Is(err, attest.ErrTransient):
		t.Code, otherwise = troubleBusy, "Wait: the agent tries again by itself."
	case errors.As(err, &certificate), errors.As(err, new(x509.UnknownAuthorityError)):
		t.Code, otherwise = troubleCertificate, "Check the clock of this machine; for a private certificate authority set ca_file to its certificate."
	case errors.As(err, new(*unanswered)):
		t.Code, otherwise = troubleUnreachable, "Check the network and the address of the server; the agent tries again by itself."
	case errors.Is(err, platform.ErrNotPrivate), errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist):
		t.Code = troubleFile
	}
	if t.Fix == "" {
		t.Fix = otherwise
	}
	return t
}
