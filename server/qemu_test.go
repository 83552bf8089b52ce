package server_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/attest/tpmtest"
	"muster/server"
	"muster/server/servertest"
	"muster/server/store"
	"muster/server/verify"
)

// measured is a whole laptop and what the server makes of it.
type measured struct {
	t       *testing.T
	srv     *servertest.Server
	machine *servertest.Machine
	device  string
	resets  uint32 // resetCount of the last boot that was quoted
	boots   int
}

// TestMeasuredBoot follows one laptop through six starts: real firmware, Debian's
// boot chain, and the agent as it ships. What the server claims of a start has come
// from the machine's boot log, under a quote of its TPM.
func TestMeasuredBoot(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a machine that nothing accelerates")
	}
	t.Parallel()
	chip := tpmtest.Start(t)
	m := &measured{t: t, srv: servertest.Start(t, knows(t, chip), servertest.Outside(t))}
	m.machine = m.srv.Machine("laptop", chip, m.srv.Token(server.TokenRequest{MinLevel: verify.TPMHardware}))

	// It enrols at the first start, which is what later ones are compared with.
	on := m.start("secure-boot", servertest.Boot{SecureBoot: true})
	if on.State != attest.Active || on.Level != verify.TPMHardware {
		t.Fatalf("enrolled as %s at level %s", on.State, on.Level)
	}
	m.isSound("the first start", on)

	// GRUB was changed: shim does not start it, and nobody hears of this boot.
	m.machine.On(servertest.Boot{SecureBoot: true, Tampered: true})
	m.machine.Refused()
	if now := m.srv.Device(m.device); !now.LastReport.Equal(on.LastReport) {
		t.Errorf("a report of %v, though the machine did not come up", now.LastReport)
	}

	// Somebody switched Secure Boot off in the firmware's menu.
	off := m.start("secure-boot-off", servertest.Boot{})
	m.isOff("Secure Boot off", off)
	m.drifted("Secure Boot off", off, verify.ComponentAuthorities)
	m.says("Secure Boot off", off, posture.No)

	// Now the changed GRUB runs, and what it started lies to the agent. What ran can
	// be told all the same.
	tampered := m.start("tampered-grub", servertest.Boot{Tampered: true, Lies: true})
	m.isOff("tampered GRUB", tampered)
	m.drifted("tampered GRUB", tampered, verify.ComponentApplications)
	m.says("tampered GRUB", tampered, posture.Yes)
	if tampered.Result.Boot.SetKey == off.Result.Boot.SetKey {
		t.Error("a changed GRUB is the same way to start")
	}

	// A kernel without a boot log: nothing is known of the start, and still its
	// registers tell it from the first one.
	m.isBlind(m.start("no-log", servertest.Boot{NoLog: true}))

	// All was put back: nobody has to approve what was seen first.
	again := m.start("secure-boot-again", servertest.Boot{SecureBoot: true})
	m.isSound("put back", again)
	if again.Result.Boot.SetKey != on.Result.Boot.SetKey || again.EnrolledAt != on.EnrolledAt || len(m.srv.Devices()) != 1 {
		t.Errorf("put back it is another device or start: %+v", again)
	}
	m.kept(map[attest.Digest]store.BaselineState{
		on.Result.Boot.SetKey: store.BaselineNew, off.Result.Boot.SetKey: store.BaselineDrifted, tampered.Result.Boot.SetKey: store.BaselineDrifted,
	}, on, off, tampered, again)
}

// start boots the machine, waits until the server has judged a quote of this boot
// with its log and heard from this boot's key alone, and shuts it down.
func (m *measured) start(name string, b servertest.Boot) (view server.DeviceView) {
	m.t.Helper()
	began := time.Now()
	m.boots++
	m.machine.On(b)
	m.machine.Up()
	up := time.Since(began)
	servertest.Wait(m.t, "the machine is enrolled", func() bool {
		if devices := m.srv.Devices(); m.device == "" && len(devices) == 1 {
			m.device = devices[0].ID
		}
		return m.device != ""
	})
	servertest.Wait(m.t, "a quote of this boot, judged with its log", func() bool {
		view = m.srv.Device(m.device)
		r := view.Result
		return r != nil && r.Boot.Clock != nil && r.Boot.Clock.ResetCount > m.resets && r.Boot.Reason != verify.NotJudged
	})
	m.resets = view.Result.Boot.Clock.ResetCount
	later := m.srv.NextReport(m.device)
	if !later.Result.QuotedAt.Equal(view.Result.QuotedAt) {
		m.t.Errorf("%s: another quote at %v, though this boot's key was certified beside the first at %v", name, later.Result.QuotedAt, view.Result.QuotedAt)
	}
	m.machine.Off()
	log, pcrs := m.machine.Evidence()
	m.keep(name, log, pcrs)
	m.matches(name, later, log, pcrs)
	m.t.Logf("%s: %.1f s to the agent, %.1f s in all", name, up.Seconds(), time.Since(began).Seconds())
	return m.srv.Device(m.device)
}

// matches compares what the server holds with what the guest's kernel had.
func (m *measured) matches(name string, view server.DeviceView, log []byte, pcrs map[string]string) {
	m.t.Helper()
	b := view.Result.Boot
	if want := sum(log); b.LogSHA256 != want {
		m.t.Errorf("%s: the log is %v, want %v of %d bytes", name, b.LogSHA256, want, len(log))
	}
	for _, i := range attest.Selection() {
		if got, want := hex.EncodeToString(digest(b.PCRs[i])), pcrs[strconv.Itoa(int(i))]; got != want {
			m.t.Errorf("%s: quoted PCR %d is %s, the kernel reads %s", name, i, got, want)
		}
	}
}

func digest(d attest.Digest) []byte { return d[:] }

// sum names a log; a missing one has no name.
func sum(log []byte) attest.Digest {
	if len(log) == 0 {
		return attest.Digest{}
	}
	return sha256.Sum256(log)
}

// is checks one measured claim.
func (m *measured) is(name, claim string, got posture.Claim, state posture.State, reason posture.Reason) {
	m.t.Helper()
	if got.State != state || got.Reason != reason || got.Source != posture.Measured {
		m.t.Errorf("%s: %s is %+v, want %s %q, measured", name, claim, got, state, reason)
	}
}

// isSound checks a start with Secure Boot of which nothing is to be said.
func (m *measured) isSound(name string, view server.DeviceView) {
	m.t.Helper()
	r := view.Result
	m.is(name, "boot", r.Boot.Claim, posture.Yes, "")
	m.is(name, "secure_boot", r.Claims.SecureBoot.Claim, posture.Yes, "")
	c := &r.Boot.Claims
	if c.BootChain.State == posture.Yes {
		m.is(name, "boot_security", c.BootSecurity, posture.Yes, "")
	} else {
		m.is(name, "boot_security", c.BootSecurity, posture.Unknown, c.BootChain.Reason)
	}
	m.is(name, "secure_boot_keys", c.SecureBootKeys, posture.Yes, "")
	m.is(name, "boot_authorities", c.Authorities, posture.Yes, "")
	m.is(name, "shim_verified", c.ShimVerified, posture.Yes, "")
	m.is(name, "boot_no_debug", c.NoDebug, posture.Yes, "")
	// How far revocations have come is the firmware package's affair; nothing else may
	// stand against the chain.
	m.is(name, "boot_chain", c.BootChain, c.Revocations.State, c.Revocations.Reason)
	m.is(name, "boot_baseline", r.Boot.Baseline, posture.Yes, "")
	m.says(name, view, posture.Yes)
	if len(r.Findings) > 0 {
		m.t.Errorf("%s: findings %+v, want none", name, r.Findings)
	}
}

// says checks the laptop's own word on Secure Boot, and that it is a finding when it
// is not what was measured.
func (m *measured) says(name string, view server.DeviceView, own posture.State) {
	m.t.Helper()
	r := view.Result
	if r.Reported == nil || r.Reported.SecureBoot.State != own || r.Reported.SecureBoot.Source != posture.Reported {
		m.t.Errorf("%s: the laptop's own word beside it is %+v, want %s, reported", name, r.Reported, own)
	}
	lies := own != r.Claims.SecureBoot.State
	if m.has(view, verify.FindingContradiction) != lies {
		m.t.Errorf("%s: findings %+v, though a contradiction is %t", name, r.Findings, lies)
	}
}

// isOff checks a start without Secure Boot.
func (m *measured) isOff(name string, view server.DeviceView) {
	m.t.Helper()
	r := view.Result
	m.is(name, "boot", r.Boot.Claim, posture.Yes, "")
	m.is(name, "secure_boot", r.Claims.SecureBoot.Claim, posture.No, posture.SecureBootOff)
	m.is(name, "boot_chain", r.Boot.Claims.BootChain, posture.No, posture.SecureBootOff)
}

// isBlind checks a start of which there is no log.
func (m *measured) isBlind(view server.DeviceView) {
	m.t.Helper()
	r := view.Result
	m.is("no log", "boot", r.Boot.Claim, posture.Unknown, verify.NoBootLog)
	m.is("no log", "measured secure_boot", r.Boot.Claims.SecureBoot, posture.Unknown, verify.NoBootLog)
	m.is("no log", "boot_chain", r.Boot.Claims.BootChain, posture.Unknown, verify.NoBootLog)
	if c := r.Claims.SecureBoot; c.Source != posture.Reported || c.State == posture.Yes {
		m.t.Errorf("no log: secure_boot is %+v, want the laptop's own word, which is no yes", c.Claim)
	}
	m.drifted("no log", view, verify.ComponentRaw)
}

// drifted checks that a start is seen as another, for the component that moved.
func (m *measured) drifted(name string, view server.DeviceView, component string) {
	m.t.Helper()
	b := view.Result.Boot
	m.is(name, "boot_baseline", b.Baseline, posture.No, verify.BootDrifted)
	if !slices.ContainsFunc(b.Changes, func(c verify.BootChange) bool { return c.Component == component && !c.Expected }) {
		m.t.Errorf("%s: changes %+v, want one of %s", name, b.Changes, component)
	}
	if !m.has(view, verify.FindingDrift) {
		m.t.Errorf("%s: findings %+v, want %s", name, view.Result.Findings, verify.FindingDrift)
	}
}

func (m *measured) has(view server.DeviceView, code string) bool {
	return slices.ContainsFunc(view.Result.Findings, func(f verify.Finding) bool { return f.Code == code })
}

// kept checks what the database of the stopped server holds: the starts, the log of
// each that had one, and the events.
func (m *measured) kept(states map[attest.Digest]store.BaselineState, views ...server.DeviceView) {
	m.t.Helper()
	m.srv.Stop()
	ctx := context.Background()
	s, err := store.Open(ctx, store.Config{Path: filepath.Join(m.srv.Config.DataDir, "muster.db"), Now: time.Now})
	if err != nil {
		m.t.Fatal(err)
	}
	defer s.Close()
	err = s.View(ctx, func(tx *store.Tx) error {
		baselines, err := tx.Baselines(m.device)
		if err != nil {
			return err
		}
		if len(baselines) != len(states)+1 { // and the one without a log
			m.t.Errorf("%d ways to start, want %d", len(baselines), len(states)+1)
		}
		for _, b := range baselines {
			if want, known := states[b.Key]; known && b.State != want {
				m.t.Errorf("way to start %v is %s, want %s", b.Key, b.State, want)
			}
		}
		for _, view := range views {
			if _, _, err := tx.BootLog(view.Result.Boot.LogSHA256); err != nil {
				m.t.Errorf("log %v: %v", view.Result.Boot.LogSHA256, err)
			}
		}
		entries, err := tx.AuditLog(0, 1000)
		drifts := 0
		for _, e := range entries {
			if e.Action == "device.boot-drifted" && e.Subject == m.device {
				drifts++
			}
		}
		if drifts != 2 { // the start without a log has the registers of the one before GRUB was changed
			m.t.Errorf("%d drift events in the audit log, want one for each of the two other starts", drifts)
		}
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

// keep writes a boot's log and PCR values where MUSTER_TEST_LOGS names a folder, as
// muster-server evidence bootlog reads them.
func (m *measured) keep(name string, log []byte, pcrs map[string]string) {
	m.t.Helper()
	dir := os.Getenv("MUSTER_TEST_LOGS")
	if dir == "" {
		return
	}
	dir = filepath.Join(dir, fmt.Sprintf("%d-%s", m.boots, name))
	values, err := json.MarshalIndent(map[string]map[string]string{"sha256": pcrs}, "", " ")
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "pcrs.json"), append(values, '\n'), 0o644)
	}
	if err == nil && len(log) > 0 {
		err = os.WriteFile(filepath.Join(dir, "binary_bios_measurements"), log, 0o644)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}
