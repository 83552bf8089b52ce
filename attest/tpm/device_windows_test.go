package tpm_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"muster/attest"
	"muster/attest/tpm"
)

// needBaseServices skips where the TPM Base Services of the test are not: a real
// Windows' TPM is not a test's.
func needBaseServices(t *testing.T) {
	t.Helper()
	if os.Getenv("MUSTER_TBS_PORT") != "" {
		return
	}
	const missing = "runs below TestWindowsUnderWine, on Linux"
	if os.Getenv("MUSTER_TEST_STRICT") == "1" {
		t.Fatal(missing)
	}
	t.Skip(missing)
}

// TestBaseServicesEnrol prints the keys: Linux has the same of the same chip.
func TestBaseServicesEnrol(t *testing.T) {
	needBaseServices(t)
	id := enrols(t, open(t, tpm.Config{Setting: "auto"}))
	if id.EK.Template != attest.EKP384H3 || len(id.EK.Certificate) == 0 {
		t.Errorf("EK is %s with a certificate of %d bytes, not swtpm's P-384 one", id.EK.Template, len(id.EK.Certificate))
	}
	t.Logf("AK %x", id.AK)
	t.Logf("DK %x", id.DK)
	t.Logf("DKb %x", id.DKb)
}

func TestBaseServicesAuthorise(t *testing.T) {
	needBaseServices(t)
	t.Setenv("MUSTER_TBS_PORT", os.Getenv("MUSTER_TBS_OWNED_PORT"))
	// Without the authorisation the hierarchy is closed, and there is no store.
	x := open(t, tpm.Config{Setting: "auto"})
	if _, err := x.Identity(t.Context()); err == nil {
		t.Error("a closed hierarchy made keys")
	}
	t.Setenv("MUSTER_TBS_OWNERAUTH", "endorsement secret")
	enrols(t, open(t, tpm.Config{Setting: "auto"}))
	t.Setenv("MUSTER_TBS_OWNERAUTH", "another secret")
	x = open(t, tpm.Config{Setting: "auto"})
	if _, err := x.Identity(t.Context()); err == nil {
		t.Error("another authorisation made keys")
	}
}

func TestBaseServicesRefuse(t *testing.T) {
	needBaseServices(t)
	x := open(t, tpm.Config{Setting: "auto"})
	identity(t, x)
	t.Setenv("MUSTER_TBS_BLOCK", "0x158") // TPM2_Quote
	_, err := x.Quote(t.Context(), attest.Digest{1})
	if !errors.Is(err, attest.ErrPermission) || !strings.Contains(err.Error(), "BlockedCommands") {
		t.Errorf("blocked command: %v", err)
	}
	t.Setenv("MUSTER_TBS_BLOCK", "")
	if _, err := x.Quote(t.Context(), attest.Digest{1}); err != nil {
		t.Errorf("after the policy: %v", err)
	}

	t.Setenv("MUSTER_TBS_PORT", "1") // nothing listens there
	if _, err := x.Quote(t.Context(), attest.Digest{1}); !errors.Is(err, attest.ErrTransient) {
		t.Errorf("chip that does not answer: %v", err)
	}
	t.Setenv("MUSTER_TBS_PORT", "")
	if _, err := tpm.Open(t.Context(), tpm.Config{Setting: "auto"}); !errors.Is(err, attest.ErrAbsent) {
		t.Errorf("no TPM: %v", err)
	}
}
