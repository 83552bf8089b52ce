package tpm_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
	"muster/attest/tpm"
	"muster/attest/tpmtest"
)

// same compares two public areas and says what should have been.
func same(t *testing.T, what string, a, b []byte, want bool) {
	t.Helper()
	if bytes.Equal(a, b) != want {
		t.Fatalf("%s: the same key is %v, want %v", what, !want, want)
	}
}

func TestWhichKeysComeBack(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	c := tpm.Config{Setting: chip.Setting(), Tenant: tenant, Secret: secret(1)}
	first := identity(t, open(t, c))

	again := identity(t, open(t, c))
	same(t, "AK of another process", first.AK, again.AK, true)
	same(t, "DK of another process", first.DK, again.DK, true)
	same(t, "DKb of another process", first.DKb, again.DKb, true)
	same(t, "EK of another process", first.EK.Public, again.EK.Public, true)

	chip.Reboot()
	rebooted := identity(t, open(t, c))
	same(t, "AK after a reboot", first.AK, rebooted.AK, true)
	same(t, "DK after a reboot", first.DK, rebooted.DK, true)
	same(t, "DKb after a reboot", first.DKb, rebooted.DKb, false)

	c.Secret = secret(2)
	other := identity(t, open(t, c))
	same(t, "AK with another S", first.AK, other.AK, true)
	same(t, "DK with another S", first.DK, other.DK, false)
	same(t, "DKb with another S", rebooted.DKb, other.DKb, false)

	c.Tenant, c.Secret = "another tenant", secret(1)
	other = identity(t, open(t, c))
	same(t, "AK for another tenant", first.AK, other.AK, false)
	same(t, "DK for another tenant", first.DK, other.DK, false)

	chip.Clear()
	c.Tenant = tenant
	cleared := identity(t, open(t, c))
	same(t, "AK after a clear", first.AK, cleared.AK, true)
	same(t, "EK after a clear", first.EK.Public, cleared.EK.Public, true)

	stranger := tpmtest.Start(t)
	c.Setting = stranger.Setting()
	elsewhere := identity(t, open(t, c))
	same(t, "AK of another chip", first.AK, elsewhere.AK, false)
	same(t, "DK of another chip", first.DK, elsewhere.DK, false)
}

func TestAnotherDKThanTheEnrolledOneIsLost(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	c := tpm.Config{Setting: chip.Setting(), Tenant: tenant, Secret: secret(1)}
	c.DK = parse(t, attest.DK, identity(t, open(t, c)).DK).ID
	signs(t, open(t, c), attest.DK, identity(t, open(t, c)).DK)

	c.Secret = secret(2)
	x := open(t, c)
	if _, err := x.Identity(t.Context()); !errors.Is(err, attest.ErrKeyLost) {
		t.Errorf("identity: %v", err)
	}
	for _, role := range []attest.Role{attest.DK, attest.DKb} {
		if _, err := x.Sign(t.Context(), role, [32]byte{1}); !errors.Is(err, attest.ErrKeyLost) {
			t.Errorf("signing with %v: %v", role, err)
		}
	}
	if _, err := x.Certify(t.Context(), attest.DK, attest.Digest{1}); !errors.Is(err, attest.ErrKeyLost) {
		t.Errorf("certifying: %v", err)
	}
}

func TestChipSwappedUnderARunningAgentIsLost(t *testing.T) {
	t.Parallel()
	a, b := tpmtest.Start(t), tpmtest.Start(t)
	x := open(t, tpm.Config{Setting: a.Setting()})
	identity(t, x)
	a.Become(b)
	for _, role := range []attest.Role{attest.DK, attest.DKb} {
		if _, err := x.Sign(t.Context(), role, [32]byte{1}); !errors.Is(err, attest.ErrKeyLost) {
			t.Errorf("signing with %v: %v", role, err)
		}
	}
	if _, err := x.Quote(t.Context(), attest.Digest{1}); !errors.Is(err, attest.ErrKeyLost) {
		t.Errorf("quote: %v", err)
	}
	if _, err := x.Activate(t.Context(), make([]byte, 64), make([]byte, 64)); !errors.Is(err, attest.ErrKeyLost) {
		t.Errorf("activate: %v", err)
	}
}

func TestDKbSignsInItsBootAlone(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	x := open(t, tpm.Config{Setting: chip.Setting()})
	id := identity(t, x)
	signs(t, x, attest.DKb, id.DKb)

	stays := map[string]func(){
		"PCR 10 was extended": func() { chip.ExtendPCR(10, 1) },
		"PCR 4 was extended":  func() { chip.ExtendPCR(4, 1) },
		"suspend":             chip.Suspend,
	}
	for what, happens := range stays {
		happens()
		t.Log(what)
		signs(t, x, attest.DKb, id.DKb)
		same(t, "DKb after "+what, id.DKb, identity(t, x).DKb, true)
	}

	moves := []struct {
		what    string
		happens func()
	}{
		{"PCR 7 was extended", func() { chip.ExtendPCR(7, 1) }},
		{"reboot", chip.Reboot},
		{"crash", chip.Crash},
		{"reboot, then clear", func() { chip.Reboot(); chip.Clear() }},
	}
	for _, m := range moves {
		m.happens()
		if _, err := x.Sign(t.Context(), attest.DKb, [32]byte{1}); !errors.Is(err, attest.ErrBootMoved) {
			t.Fatalf("%s: DKb signed, or: %v", m.what, err)
		}
		signs(t, x, attest.DK, id.DK)
		next := identity(t, x)
		same(t, "DKb after "+m.what, id.DKb, next.DKb, false)
		same(t, "DK after "+m.what, id.DK, next.DK, true)
		signs(t, x, attest.DKb, next.DKb)
		id = next
	}
}

func TestDKbPolicyIsThatOfTheQuotedState(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	chip.ExtendPCR(7, 9)
	x := open(t, tpm.Config{Setting: chip.Setting()})
	id := identity(t, x)
	quote, err := x.Quote(t.Context(), attest.Digest{1})
	if err != nil {
		t.Fatal(err)
	}
	measured, err := attest.CheckQuote(quote, parse(t, attest.AK, id.AK), attest.Digest{1})
	if err != nil {
		t.Fatal(err)
	}
	clock, err := x.Clock(t.Context())
	if err != nil || clock.ResetCount != measured.Clock.ResetCount {
		t.Fatalf("clock %+v, quoted %+v, %v", clock, measured.Clock, err)
	}
	policy := parse(t, attest.DKb, id.DKb).Policy
	want := attest.BootPolicy(measured.PCRs[7], measured.Clock.ResetCount, true)
	if !bytes.Equal(policy, want[:]) {
		t.Fatalf("policy is %x, want %x", policy, want)
	}
	for name, other := range map[string]attest.Digest{
		"without the counter": attest.BootPolicy(measured.PCRs[7], measured.Clock.ResetCount, false),
		"of the next boot":    attest.BootPolicy(measured.PCRs[7], measured.Clock.ResetCount+1, true),
		"of another PCR 7":    attest.BootPolicy(measured.PCRs[4], measured.Clock.ResetCount, true),
	} {
		if bytes.Equal(policy, other[:]) {
			t.Errorf("policy is also that %s", name)
		}
	}
}

// handles lists what a chip holds from a handle on, within its kind.
func handles(t *testing.T, chip *tpmtest.TPM, first uint32) (n int) {
	t.Helper()
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: 64}.Execute(chip)
	if err != nil {
		t.Fatal(err)
	}
	list, err := rsp.CapabilityData.Data.Handles()
	if err != nil {
		t.Fatal(err)
	}
	return len(list.Handle)
}

func TestNothingStaysBehind(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	const transient, loaded, active, persistent, nv = 0x80000000, 0x02000000, 0x03000000, 0x81000000, 0x01000000
	persistentBefore, nvBefore := handles(t, chip, persistent), handles(t, chip, nv)
	x := open(t, tpm.Config{Setting: chip.Setting(), Tenant: tenant, Secret: secret(1)})
	operations := map[string]func() error{
		"identity": func() error { _, err := x.Identity(t.Context()); return err },
		"DK":       func() error { _, err := x.Sign(t.Context(), attest.DK, [32]byte{1}); return err },
		"DKb":      func() error { _, err := x.Sign(t.Context(), attest.DKb, [32]byte{1}); return err },
		"quote":    func() error { _, err := x.Quote(t.Context(), attest.Digest{1}); return err },
		"certify":  func() error { _, err := x.Certify(t.Context(), attest.DKb, attest.Digest{1}); return err },
		"activate a credential of nobody": func() error {
			if _, err := x.Activate(t.Context(), make([]byte, 60), make([]byte, 60)); err == nil {
				return errors.New("activated")
			}
			return nil
		},
		"DKb of another boot": func() error {
			identity(t, x)
			chip.ExtendPCR(7, 3)
			if _, err := x.Sign(t.Context(), attest.DKb, [32]byte{1}); !errors.Is(err, attest.ErrBootMoved) {
				return err
			}
			return nil
		},
	}
	for name, operation := range operations {
		if err := operation(); err != nil && !(name == "DKb" && errors.Is(err, attest.ErrBootMoved)) {
			t.Fatalf("%s: %v", name, err)
		}
		for what, first := range map[string]uint32{"objects": transient, "sessions": loaded, "saved sessions": active} {
			if n := handles(t, chip, first); n != 0 {
				t.Errorf("%s left %d %s in the chip", name, n, what)
			}
		}
	}
	if p, n := handles(t, chip, persistent), handles(t, chip, nv); p != persistentBefore || n != nvBefore {
		t.Errorf("%d persistent objects and %d NV indices, before %d and %d", p, n, persistentBefore, nvBefore)
	}
	// The hierarchies still take an empty authorisation.
	for _, hierarchy := range []tpm2.TPMHandle{tpm2.TPMRHOwner, tpm2.TPMRHEndorsement} {
		if _, err := (tpm2.CreatePrimary{PrimaryHandle: hierarchy, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}).Execute(chip); err != nil {
			t.Errorf("hierarchy %x: %v", hierarchy, err)
		}
	}
}

func TestRoomIsMadeAfterAKilledProgram(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	for {
		_, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}.Execute(chip)
		if errors.Is(err, tpm2.TPMRCObjectMemory) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	x := open(t, tpm.Config{Setting: chip.Setting()})
	signs(t, x, attest.DKb, identity(t, x).DKb)
}
