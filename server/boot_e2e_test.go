package server_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"muster/attest"
	"muster/attest/posture"
	"muster/attest/tpmtest"
	"muster/server"
	"muster/server/servertest"
	"muster/server/verify"
)

// fixture is an enrolled laptop with its TPM, a server that knows the TPM's maker, and
// a gateway in front of the vault.
type fixture struct {
	t       *testing.T
	chip    *tpmtest.TPM
	srv     *servertest.Server
	laptop  *servertest.Laptop
	gateway *servertest.Gateway
	device  string
}

func enrolled(t *testing.T, options ...func(*server.Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, chip: tpmtest.Start(t)}
	f.srv = servertest.Start(t, append(options, knows(t, f.chip))...)
	f.gateway = f.srv.Gateway("vault", "board")
	f.laptop = f.srv.Laptop("laptop", f.chip.Setting(), f.srv.Token(server.TokenRequest{MinLevel: verify.TPMHardware}))
	f.device = f.laptop.Enrol().Device
	if !f.opens("vault") {
		t.Fatalf("the vault is closed to a new laptop: %+v", f.gateway.Ask(f.device, "vault"))
	}
	return f
}

// knows is an option: the server has the CA of a chip's maker, and vaultPolicy.
func knows(t *testing.T, chip *tpmtest.TPM) func(*server.Config) {
	return func(c *server.Config) {
		c.EKRoots = []string{servertest.File(t, "ek-roots.pem", string(chip.Roots()))}
		c.Policy = servertest.File(t, "policy.yaml", vaultPolicy)
	}
}

func (f *fixture) opens(app string) bool { return f.gateway.Ask(f.device, app).Allowed }

// quoted waits for a report with a quote that is younger than the one before.
func (f *fixture) quoted(before server.DeviceView) (now server.DeviceView) {
	f.t.Helper()
	servertest.Wait(f.t, "a new quote", func() bool {
		now = f.srv.Device(f.device)
		return now.Result.QuotedAt.After(before.Result.QuotedAt)
	})
	return now
}

// signsAlone waits for two reports without a quote: the server knows this boot's key.
func (f *fixture) signsAlone() {
	f.t.Helper()
	f.srv.NextReport(f.device)
	quoted := f.srv.Device(f.device).Result.QuotedAt
	for range 2 {
		f.srv.NextReport(f.device)
	}
	if now := f.srv.Device(f.device).Result.QuotedAt; !now.Equal(quoted) {
		f.t.Fatalf("quotes go on: %v after %v", now, quoted)
	}
}

// A reboot takes this boot's key. The agent signs with DK, brings a quote and
// another boot key, and nobody has to do anything.
func TestReboot(t *testing.T) {
	t.Parallel()
	f := enrolled(t)
	before := f.srv.Device(f.device)
	f.chip.Reboot()
	f.laptop.Start()
	after := f.quoted(before)
	if got, want := after.Result.Boot.Clock.ResetCount, before.Result.Boot.Clock.ResetCount+1; got != want {
		t.Fatalf("resetCount %d, want %d", got, want)
	}
	// The same under a running agent: power was lost and came back.
	f.chip.Crash()
	after = f.quoted(after)
	if got, want := after.Result.Boot.Clock.ResetCount, before.Result.Boot.Clock.ResetCount+2; got != want {
		t.Fatalf("resetCount %d after the crash, want %d", got, want)
	}
	f.signsAlone()
	// An emulated chip loses its clock with its power, which is told.
	lost := func(x verify.Finding) bool {
		return x.Code == verify.FindingClockFell || x.Code == verify.FindingTPMCleared
	}
	others := slices.DeleteFunc(slices.Clone(after.Result.Findings), lost)
	if after.State != attest.Active || len(others) > 0 || !f.opens("vault") {
		t.Fatalf("after two reboots: %s, %+v, %+v", after.State, after.Result.Findings, after.Decision)
	}
	if n := len(f.srv.Devices()); n != 1 {
		t.Fatalf("%d devices", n)
	}
}

// Suspend and resume keep this boot's key, and bring a quote all the same.
func TestSuspend(t *testing.T) {
	t.Parallel()
	f := enrolled(t)
	before := f.srv.Device(f.device)
	f.chip.Suspend()
	f.laptop.Start()
	after := f.quoted(before)
	if after.Result.Boot.Clock.RestartCount != before.Result.Boot.Clock.RestartCount+1 || !f.opens("vault") {
		t.Fatalf("after suspend: clock %+v, %+v", after.Result.Boot.Clock, after.Decision)
	}
}

// PCR 7 moves while the system runs: this boot's key answers no more, DK does,
// and the server sees the new value.
func TestBootPolicyMoves(t *testing.T) {
	t.Parallel()
	f := enrolled(t)
	before := f.srv.Device(f.device)
	f.laptop.Start()
	f.srv.NextReport(f.device)
	f.chip.ExtendPCR(7, 1)
	after := f.quoted(before)
	if after.Result.Boot.PCR7 == before.Result.Boot.PCR7 {
		t.Fatal("the server does not see that PCR 7 moved")
	}
	if after.State != attest.Active || !f.opens("vault") {
		t.Fatalf("after PCR 7 moved: %s, %+v", after.State, after.Decision)
	}
	if b := after.Result.Boot.Baseline; b.State != posture.No || b.Reason != verify.BootDrifted {
		t.Fatalf("PCR 7 moved and the start is %v (%s)", b.State, b.Reason)
	}
	f.signsAlone()
}

// A cleared TPM keeps the endorsement keys: the device is the same, goes on by
// itself, and the server notices.
func TestTPMCleared(t *testing.T) {
	t.Parallel()
	f := enrolled(t)
	f.chip.Reboot() // a machine that was never reset since its making would be none
	before := f.srv.Device(f.device)
	f.laptop.Start()
	before = f.quoted(before)
	f.laptop.Stop()
	f.chip.Clear()
	f.srv.Config.ReportEvery = 300 // the first report stays the last
	f.srv.Restart()
	f.laptop.Start()
	after := f.quoted(before)
	cleared := func(x verify.Finding) bool { return x.Code == verify.FindingTPMCleared && x.Tier == verify.Warning }
	if !slices.ContainsFunc(after.Result.Findings, cleared) {
		t.Fatalf("findings %+v, want %s", after.Result.Findings, verify.FindingTPMCleared)
	}
	if after.State != attest.Active || !f.opens("vault") {
		t.Fatalf("after the clear: %s, %+v", after.State, after.Decision)
	}
}

// Another TPM behind the same disk is another machine: it cannot speak as the
// device, and waits for an approval of its own.
func TestAnotherTPM(t *testing.T) {
	t.Parallel()
	f := enrolled(t)
	before := f.srv.Device(f.device)
	other := tpmtest.Start(t)
	f.chip.Become(other)
	f.laptop.Start()
	var stranger server.DeviceView
	servertest.Wait(t, "a second device", func() bool {
		for _, d := range f.srv.Devices() {
			if d.ID != f.device {
				stranger = d
			}
		}
		return stranger.ID != ""
	})
	if stranger.State != attest.Pending || stranger.EKSHA256 == before.EKSHA256 {
		t.Fatalf("the other TPM enrolled as %+v, want pending with an EK of its own", stranger)
	}
	if f.gateway.Ask(stranger.ID, "board").Allowed {
		t.Fatal("a machine that nobody approved gets in")
	}
	after := f.srv.Device(f.device)
	if after.State != attest.Active || !after.LastReport.Equal(before.LastReport) || after.EKSHA256 != before.EKSHA256 {
		t.Fatalf("the device was touched: before %+v, after %+v", before, after)
	}
	standing := f.laptop.Status()
	servertest.Wait(t, "the laptop to take the answer", func() bool {
		standing = f.laptop.Status()
		return standing.Device == stranger.ID
	})
	if standing.State != attest.Pending || standing.Code != stranger.CompareCode || standing.Exit != 3 {
		t.Fatalf("the laptop says %+v, want pending with the code %s", standing, stranger.CompareCode)
	}
}

// The local secret is gone: the same machine, but not provably the same system.
// It waits under its old id until somebody compares the code.
func TestSecretLost(t *testing.T) {
	t.Parallel()
	f := enrolled(t)
	if err := os.Remove(filepath.Join(f.laptop.Dir, "s")); err != nil {
		t.Fatal(err)
	}
	f.laptop.Start()
	f.reanchors()
}

// The disk was wiped and the machine enrolled with a new token: a token does not
// make an old machine new. Whoever kept the old disk has nothing.
func TestReinstalled(t *testing.T) {
	t.Parallel()
	f := enrolled(t)
	old := f.laptop.Copy("old disk")
	if err := os.RemoveAll(f.laptop.Dir); err != nil {
		t.Fatal(err)
	}
	f.laptop.UseToken(f.srv.Token(server.TokenRequest{MinLevel: verify.TPMHardware}))
	if standing := f.laptop.Enrol(); standing.Device != f.device || standing.State != attest.Pending {
		t.Fatalf("enrolled again as %s, %s; want %s, pending", standing.Device, standing.State, f.device)
	}
	f.laptop.Start()
	f.reanchors()
	f.laptop.Stop()

	before := f.srv.Device(f.device)
	old.UseToken("") // its token is used up
	standing := old.Status()
	if standing.Asked || standing.Fit || standing.Trouble == nil || standing.Trouble.Code != attest.CodeDeviceUnknown {
		t.Fatalf("the server still talks to the old disk: %+v", standing)
	}
	old.Start()
	servertest.Wait(t, "the old disk is refused a report", func() bool { return old.Said("reason=" + attest.CodeDeviceUnknown) })
	old.Stop()
	after := f.srv.Device(f.device)
	if !after.LastReport.Equal(before.LastReport) || after.CompareCode != before.CompareCode {
		t.Fatal("the old disk spoke for the device")
	}
}

// reanchors follows a device that lost its system's key until it is back.
func (f *fixture) reanchors() {
	f.t.Helper()
	standing := f.laptop.Reaches("the device waits for an approval", func(s servertest.Standing) bool {
		return s.State == attest.Pending
	})
	if standing.Device != f.device || standing.Code == "" || standing.Fit {
		f.t.Fatalf("the laptop says %+v, want a code for device %s", standing, f.device)
	}
	view := f.srv.NextReport(f.device) // it reports, and is answered "pending"
	if view.State != attest.Pending || view.Cause != "re-anchor" || view.CompareCode != standing.Code {
		f.t.Fatalf("the server holds %+v, want a re-anchor with code %s", view, standing.Code)
	}
	if answer := f.gateway.Ask(f.device, "vault"); answer.Allowed || !answer.Has("pending") {
		f.t.Fatalf("before the approval: %+v, want deny for pending", answer)
	}
	if err := f.srv.Approve(f.device, "WRNG-CODE"); err == nil || !strings.Contains(err.Error(), "code-differs") {
		f.t.Fatalf("approving with a wrong code: %v, want code-differs", err)
	}
	if f.opens("vault") {
		f.t.Fatal("a refused approval opened the vault")
	}
	if err := f.srv.Approve(f.device, standing.Code); err != nil {
		f.t.Fatal(err)
	}
	if !f.opens("vault") {
		f.t.Fatalf("the approval did not bring the device back: %+v", f.gateway.Ask(f.device, "vault"))
	}
	f.laptop.Reaches("the laptop knows that it is back", func(s servertest.Standing) bool { return s.Fit })
	if n := len(f.srv.Devices()); n != 1 {
		f.t.Fatalf("%d devices, want the one", n)
	}
}
