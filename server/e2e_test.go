package server_test

import (
	"testing"

	"muster/attest"
	"muster/attest/tpmtest"
	"muster/server"
	"muster/server/servertest"
	"muster/server/verify"
)

// vaultPolicy is what an administrator writes: the vault opens to laptops whose
// keys cannot leave a TPM that its vendor vouches for, and the notice board to
// any that reports.
const vaultPolicy = `
limits:
  report_age: 10m
apps:
  - {id: vault, sensitivity: high, devices: true}
  - {id: board, sensitivity: low, devices: true}
require:
  - id: hardware-keys
    for: app.sensitivity >= HIGH
    that: device.level == TPM_HW
    otherwise: deny
`

// TestEndToEnd follows one laptop from its TPM to a gateway's answer: a real
// server, a real agent process, and swtpm as the chip, whose maker's CA the
// server knows.
func TestEndToEnd(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	srv := servertest.Start(t, func(c *server.Config) {
		c.EKRoots = []string{servertest.File(t, "ek-roots.pem", string(chip.Roots()))}
		c.Policy = servertest.File(t, "policy.yaml", vaultPolicy)
	})
	gateway := srv.Gateway("vault", "board")

	// The administrator makes a token; the laptop enrols with it. The server saw
	// the EK certificate, and the TPM proved that AK and DK live beside that EK.
	token := srv.Token(server.TokenRequest{MinLevel: verify.TPMHardware})
	laptop := srv.Laptop("laptop", chip.Setting(), token)
	standing := laptop.Enrol()
	if standing.State != attest.Active || standing.Level != "tpm-hw" || standing.Kind != attest.KindTPM {
		t.Fatalf("enrolled as %s at level %s with a %s, want active, tpm-hw, tpm", standing.State, standing.Level, standing.Kind)
	}
	if !standing.Fit || standing.Exit != 0 {
		t.Fatalf("the laptop is told that it is not fit: %+v", standing)
	}

	// It reports from now on. What the server holds is this machine's posture.
	laptop.Start()
	device := srv.NextReport(standing.Device)
	if device.Result == nil || device.Result.Claims.OS.Detail.KernelRunning == "" {
		t.Fatalf("the report does not say which kernel runs: %+v", device.Result)
	}
	if device.Result.QuotedAt.IsZero() {
		t.Fatal("no quote came with the enrolment")
	}

	// The gateway asks on each request, and is answered from memory.
	if answer := gateway.Ask(device.ID, "vault"); !answer.Allowed {
		t.Fatalf("the vault stays closed: %+v", answer)
	}
	if answer := gateway.Ask(device.ID, "elsewhere"); answer.Allowed {
		t.Fatal("an application that no policy names is open")
	}
	if answer := gateway.Ask("some-other-device", "vault"); answer.Allowed {
		t.Fatal("a device that never enrolled gets in")
	}

	// Trust ends: the very next question is denied, whatever the application, and
	// the laptop is told.
	srv.Revoke(device.ID, "left in a train")
	for _, app := range []string{"vault", "board"} {
		if answer := gateway.Ask(device.ID, app); answer.Allowed || answer.Outcome != "deny" || !answer.Has("revoked") {
			t.Fatalf("%s after the revocation: %+v, want deny for revoked", app, answer)
		}
	}
	standing = laptop.Reaches("the laptop knows that it is revoked", func(s servertest.Standing) bool {
		return s.State == attest.Revoked
	})
	if standing.Fit || standing.Exit != 3 {
		t.Fatalf("a revoked laptop calls itself fit: %+v", standing)
	}
	laptop.Stop()
}
