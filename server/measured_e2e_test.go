package server_test

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"muster/attest"
	"muster/attest/bootlog"
	"muster/attest/posture"
	"muster/attest/tpmtest"
	"muster/server"
	"muster/server/servertest"
	"muster/server/verify"
)

// Boot logs of real starts: with Secure Boot, and without.
const (
	startOn  = "d13-sb-shim-grub"
	startOff = "nosb-grub-linuxefi"
)

func logOf(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "attest", "bootlog", "testdata", name, "binary_bios_measurements"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// measure has a TPM that was just reset measure what a log says.
func measure(t *testing.T, chip *tpmtest.TPM, log []byte) {
	t.Helper()
	l, err := bootlog.Parse(log)
	if err != nil {
		t.Fatal(err)
	}
	const noAction = 3
	for i := range l.Events {
		e := &l.Events[i]
		if d := l.Digest(e, bootlog.SHA256); e.Type != noAction && e.PCR < 16 {
			chip.Extend(e.PCR, [32]byte(d))
		}
	}
}

// booted is a laptop that was started as a log says.
type booted struct {
	t    *testing.T
	chip *tpmtest.TPM
	srv  *servertest.Server
	*servertest.ChipDevice
}

func bootedBy(t *testing.T, log string) *booted {
	t.Helper()
	b := &booted{t: t, chip: tpmtest.Start(t)}
	b.srv = servertest.Start(t, knows(t, b.chip))
	b.ChipDevice = b.srv.ChipDevice(b.chip, b.srv.Token(server.TokenRequest{MinLevel: verify.TPMHardware}))
	b.Log = logOf(t, log)
	measure(t, b.chip, b.Log)
	if err := b.Enrol(); err != nil {
		t.Fatal(err)
	}
	return b
}

// restart starts the machine again; a log of what it then measures.
func (b *booted) restart(log []byte) {
	b.t.Helper()
	b.chip.Reboot()
	measure(b.t, b.chip, log)
	b.Log, b.BootID = log, b.BootID+"+"
}

// result sends a report and returns what the server makes of it.
func (b *booted) result() *verify.Result {
	b.t.Helper()
	_, problem, err := b.Report(servertest.Statement{})
	if problem != nil && problem.Code == attest.CodeResync {
		_, problem, err = b.Report(servertest.Statement{Role: attest.DK, Quote: true, Recertify: true})
	}
	if err != nil || problem != nil {
		b.t.Fatalf("report: %v, %+v", err, problem)
	}
	return b.srv.Device(b.ID).Result
}

func found(r *verify.Result, code string) bool {
	return slices.ContainsFunc(r.Findings, func(f verify.Finding) bool { return f.Code == code })
}

// says makes the laptop report that Secure Boot is so.
func (b *booted) says(state posture.State) {
	claims := posture.Unfilled(b.srv.Device(b.ID).LastReport, posture.NotCollected)
	claims.SecureBoot.State, claims.SecureBoot.Reason, claims.SecureBoot.Detail.Enabled = state, posture.SecureBootOff, state
	b.Claims = &claims
}

// A start with Secure Boot is measured yes, whatever the laptop says or does not;
// started again in the same way nothing drifts, and this boot's key signs alone. A
// start without it is measured no, and is another way to start.
func TestMeasuredStarts(t *testing.T) {
	t.Parallel()
	b := bootedBy(t, startOn)
	first := b.srv.Device(b.ID).Result
	if c := first.Claims.SecureBoot; c.State != posture.Yes || c.Source != posture.Measured || first.Boot.State != posture.Yes {
		t.Fatalf("Secure Boot is %v by %v; the log: %v (%s)", c.State, c.Source, first.Boot.State, first.Boot.Reason)
	}
	if c := first.Boot.Baseline; c.State != posture.Yes || found(first, verify.FindingDrift) {
		t.Fatalf("the first start is %v (%s)", c.State, c.Reason)
	}
	b.restart(logOf(t, startOn))
	again := b.result()
	if again.Boot.SetKey != first.Boot.SetKey || again.Boot.Clock.ResetCount != first.Boot.Clock.ResetCount+1 || again.Boot.Baseline.State != posture.Yes {
		t.Fatalf("the same start is another: %+v", again.Boot)
	}
	quoted := again.QuotedAt
	if r := b.result(); !r.QuotedAt.Equal(quoted) || r.Claims.SecureBoot.Source != posture.Measured {
		t.Fatalf("this boot's key does not sign alone, or what was measured is gone: %+v", r.Claims.SecureBoot)
	}
	b.says(posture.Yes)
	b.restart(logOf(t, startOff))
	off := b.result()
	if c := off.Claims.SecureBoot; c.State != posture.No || c.Source != posture.Measured || c.Reason != posture.SecureBootOff {
		t.Fatalf("without Secure Boot it is %v by %v (%s)", c.State, c.Source, c.Reason)
	}
	if !found(off, verify.FindingContradiction) || !found(off, verify.FindingDrift) || off.Tier != verify.Contraindicated {
		t.Fatalf("a laptop that lies has findings %+v, tier %v", off.Findings, off.Tier)
	}
	if off.Reported.SecureBoot.State != posture.Yes {
		t.Fatal("its own word is gone")
	}
}

// Logs that were not measured make nothing better: of another start, forged, cut, or
// none; and bytes that the quote did not name are refused.
func TestLogsThatLie(t *testing.T) {
	t.Parallel()
	b := bootedBy(t, startOff)
	on, off := logOf(t, startOn), logOf(t, startOff)
	if err := b.SendLog(sha256.Sum256(on), on); err == nil {
		t.Fatal("a log that no quote named was taken")
	}
	forged := slices.Clone(off)
	forged[len(forged)/2] ^= 1
	for name, test := range map[string]struct {
		log    []byte
		state  posture.State
		reason posture.Reason
	}{
		"of another start": {on, posture.No, verify.LogMismatch},
		"cut":              {off[:len(off)-1], posture.Unknown, verify.LogUnreadable},
		"one bit":          {forged, posture.Unknown, ""},
		"no log at all":    {[]byte("x"), posture.Unknown, verify.LogUnreadable},
		"none":             {nil, posture.Unknown, verify.NoBootLog},
	} {
		b.Log = test.log
		if _, problem, err := b.Report(servertest.Statement{Role: attest.DK, Quote: true}); err != nil || problem != nil {
			t.Fatalf("%s: %v, %+v", name, err, problem)
		}
		r := b.srv.Device(b.ID).Result
		if c := r.Claims.SecureBoot; c.State == posture.Yes || c.Source == posture.Measured && name != "one bit" {
			t.Errorf("%s: Secure Boot is %v by %v", name, c.State, c.Source)
		}
		if test.reason != "" && (r.Boot.State != test.state || r.Boot.Reason != test.reason) {
			t.Errorf("%s: boot is %v (%s), want %v (%s)", name, r.Boot.State, r.Boot.Reason, test.state, test.reason)
		}
		if name != "one bit" && r.Boot.Claims.BootChain.State == posture.Yes {
			t.Errorf("%s: the chain is good", name)
		}
		if len(r.Boot.PCRs) == 0 {
			t.Errorf("%s: the values are gone", name)
		}
	}
}

// A stolen laptop, started from another disk: the same TPM and the same registers,
// but not the local secret. Nothing that it can sign is the device's, and what it
// enrols waits as a change of anchor, whatever token it brings.
func TestLiveSystemOnStolenLaptop(t *testing.T) {
	t.Parallel()
	b := bootedBy(t, startOn)
	before := b.srv.Device(b.ID)
	live := b.srv.ChipDevice(b.chip, b.srv.Token(server.TokenRequest{MinLevel: verify.TPMHardware}))
	live.Secret[0] ^= 1
	live.Log, live.BootID = b.Log, "live"
	b.chip.Reboot()
	measure(t, b.chip, b.Log)

	// With everything that the network and the TPM give: the device's id and its place.
	thief := *b.ChipDevice
	thief.Secret = live.Secret
	for name, st := range map[string]servertest.Statement{
		"boot key":         {Role: attest.DKb},
		"system key":       {Role: attest.DK, Quote: true},
		"another boot key": {Role: attest.DK, Quote: true, Recertify: true},
	} {
		copied := thief
		if _, problem, err := copied.Report(st); err != nil || problem == nil || problem.Code != string(attest.KeyUnknown) {
			t.Errorf("%s of the live system: %+v, %v", name, problem, err)
		}
	}
	if err := live.Enrol(); err != nil {
		t.Fatal(err)
	}
	after := b.srv.Device(b.ID)
	if live.ID != b.ID || after.State != attest.Pending || after.Cause != "re-anchor" {
		t.Fatalf("the live system is device %s, %s (%s); the laptop was %s", live.ID, after.State, after.Cause, b.ID)
	}
	if after.LastReport.Before(before.LastReport) || b.srv.Gateway("vault").Ask(live.ID, "vault").Allowed {
		t.Fatal("it gets in")
	}
}

// Each change of the TPM below a known system makes a device of its own, which waits
// with its cause; the former one goes on until the new one is admitted in its place.
func TestMovedAnchors(t *testing.T) {
	t.Parallel()
	for cause, change := range map[string]func(d *servertest.ChipDevice){
		"tpm-changed": func(d *servertest.ChipDevice) { d.Serial = "S-1" },
		"disk-moved":  func(d *servertest.ChipDevice) { d.Serial = "S-2" },
	} {
		t.Run(cause, func(t *testing.T) {
			t.Parallel()
			b := &booted{t: t, chip: tpmtest.Start(t)}
			other := tpmtest.Start(t)
			b.srv = servertest.Start(t, func(c *server.Config) {
				c.EKRoots = []string{servertest.File(t, "a.pem", string(b.chip.Roots())), servertest.File(t, "b.pem", string(other.Roots()))}
				c.Policy = servertest.File(t, "policy.yaml", vaultPolicy)
			})
			token := func() string { return b.srv.Token(server.TokenRequest{MinLevel: verify.TPMHardware, Owner: "alice"}) }
			b.ChipDevice = b.srv.ChipDevice(b.chip, token())
			b.Serial, b.Log = "S-1", logOf(t, startOn)
			measure(t, b.chip, b.Log)
			if err := b.Enrol(); err != nil {
				t.Fatal(err)
			}
			moved := b.srv.ChipDevice(other, token())
			moved.Former = b.ChipDevice
			change(moved)
			if err := moved.Enrol(); err != nil {
				t.Fatal(err)
			}
			view := b.srv.Device(moved.ID)
			if moved.ID == b.ID || view.State != attest.Pending || view.Cause != cause || view.Owner != "alice" {
				t.Fatalf("it is %s, %s (%s), owner %q", view.ID, view.State, view.Cause, view.Owner)
			}
			if b.result(); b.srv.Device(b.ID).State != attest.Active {
				t.Fatal("the former one was put out by it")
			}
			if err := b.srv.Approve(moved.ID, view.CompareCode); err != nil {
				t.Fatal(err)
			}
			if former := b.srv.Device(b.ID); former.State != attest.Pending || former.Cause != "replaced" {
				t.Fatalf("after the approval the former one is %s (%s)", former.State, former.Cause)
			}
			if now := b.srv.Device(moved.ID); now.State != attest.Active {
				t.Fatalf("the new one is %s", now.State)
			}
		})
	}
}

// A former device is believed by its MAC alone.
func TestFormerIsProved(t *testing.T) {
	t.Parallel()
	b := bootedBy(t, startOn)
	liar := *b.ChipDevice
	other := tpmtest.Start(t)
	moved := b.srv.ChipDevice(other, "")
	liar.ForgetMAC()
	moved.Former = &liar
	if err := moved.Enrol(); err != nil {
		t.Fatal(err)
	}
	if view := b.srv.Device(moved.ID); view.Cause == "disk-moved" || view.Cause == "tpm-changed" {
		t.Fatalf("without the secret it is taken for the former device: %s", view.Cause)
	}
	// A revoked laptop's disk stays out in another machine.
	b.srv.Revoke(b.ID, "stolen")
	moved = b.srv.ChipDevice(tpmtest.Start(t), "")
	moved.Former = b.ChipDevice
	if err := moved.Enrol(); err == nil {
		t.Fatal("the disk of a revoked laptop enrolled in another machine")
	}
}
