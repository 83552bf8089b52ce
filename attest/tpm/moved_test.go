package tpm_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
	"muster/attest/tpm"
	"muster/attest/tpmtest"
)

// recertified does what an agent does for a statement after the boot moved, and
// checks it as a server does (SPEC.md §7.4).
func recertified(t *testing.T, x *tpm.TPM, ak *attest.Key) *attest.Key {
	t.Helper()
	dkb := parse(t, attest.DKb, identity(t, x).DKb)
	input := []byte("a signing input")
	quote, err := x.Quote(t.Context(), attest.QuoteBinding(input))
	if err != nil {
		t.Fatal(err)
	}
	measured, err := attest.CheckQuote(quote, ak, attest.QuoteBinding(input))
	if err != nil {
		t.Fatal(err)
	}
	binding := attest.RecertifyBinding(input)
	certify, err := x.Certify(t.Context(), attest.DKb, binding)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := attest.CheckCertify(certify, ak, binding, dkb.Name); err != nil {
		t.Error(err)
	}
	if bound, err := attest.CheckBootPolicy(dkb, measured); err != nil || !bound {
		t.Errorf("the new DKb is bound to the count: %v, %v", bound, err)
	}
	return dkb
}

// What a running process learns of a moved boot it can mend without being opened
// again: the next DKb is made, certified for a statement and bound to its quote.
func TestDKbIsMadeAnewInARunningProcess(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	x := open(t, tpm.Config{Setting: chip.Setting()})
	first := identity(t, x)
	ak := parse(t, attest.AK, first.AK)
	seen := map[attest.Digest]bool{parse(t, attest.DKb, first.DKb).ID: true}
	for _, m := range []struct {
		what    string
		happens func()
	}{
		{"PCR 7 was extended", func() { chip.ExtendPCR(7, 1) }},
		{"PCR 7 was extended again", func() { chip.ExtendPCR(7, 2) }},
		{"reboot", chip.Reboot},
		{"reboot with another PCR 7", func() { chip.Reboot(); chip.ExtendPCR(7, 3) }},
		{"crash", chip.Crash},
		{"cleared and started again", func() { chip.Clear(); chip.Reboot() }},
	} {
		m.happens()
		if _, err := x.Sign(t.Context(), attest.DKb, [32]byte{1}); !errors.Is(err, attest.ErrBootMoved) {
			t.Fatalf("%s: DKb signed, or: %v", m.what, err)
		}
		// Until it is asked for the next one, it certifies the old one and no other.
		if _, err := x.Certify(t.Context(), attest.DKb, attest.Digest{1}); err != nil {
			t.Errorf("%s: certifying the old one: %v", m.what, err)
		}
		dkb := recertified(t, x, ak)
		if seen[dkb.ID] {
			t.Errorf("%s: DKb is one of before", m.what)
		}
		seen[dkb.ID] = true
		signs(t, x, attest.DKb, identity(t, x).DKb)
	}
	// What moved between the key's making and the quote shows in its policy.
	dkb := parse(t, attest.DKb, identity(t, x).DKb)
	chip.ExtendPCR(7, 9)
	quote, err := x.Quote(t.Context(), attest.Digest{1})
	if err != nil {
		t.Fatal(err)
	}
	measured, err := attest.CheckQuote(quote, ak, attest.Digest{1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := attest.CheckBootPolicy(dkb, measured); err == nil {
		t.Error("a DKb of before PCR 7 moved passes for one of after")
	}
}

// switchHierarchy is TPM2_HierarchyControl by the platform (TPM 2.0 Part 3 §24.2).
func switchHierarchy(t *testing.T, chip *tpmtest.TPM, hierarchy tpm2.TPMHandle, on bool) {
	t.Helper()
	state := byte(0)
	if on {
		state = 1
	}
	command := binary.BigEndian.AppendUint32([]byte{0x80, 2, 0, 0, 0, 32, 0, 0, 1, 0x21}, uint32(tpm2.TPMRHPlatform))
	command = append(command, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0) // TPM_RS_PW, empty
	command = append(binary.BigEndian.AppendUint32(command, uint32(hierarchy)), state)
	response, err := chip.Send(command)
	if err == nil && (len(response) < 10 || binary.BigEndian.Uint32(response[6:]) != 0) {
		err = fmt.Errorf("refused: %x", response)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestHierarchySwitchedOff(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	c := tpm.Config{Setting: chip.Setting(), Tenant: tenant, Secret: secret(1), Wrapped: blobs{}}
	x := open(t, c)
	id := identity(t, x)
	switchHierarchy(t, chip, tpm2.TPMRHEndorsement, false)
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, attest.ErrDisabled) || errors.Is(err, attest.ErrPermission) || errors.Is(err, attest.ErrKeyLost) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := x.Sign(t.Context(), attest.DK, [32]byte{1})
	refused("signing in a running process", err)
	_, err = x.Quote(t.Context(), attest.Digest{1})
	refused("quote in a running process", err)
	for name, config := range map[string]tpm.Config{
		"before an enrolment": c,
		"without a store":     {Setting: c.Setting, Tenant: c.Tenant, Secret: c.Secret},
		"after an enrolment":  {Setting: c.Setting, Tenant: c.Tenant, Secret: c.Secret, Wrapped: c.Wrapped, EK: id.EK.Template, DK: parse(t, attest.DK, id.DK).ID},
	} {
		_, err = open(t, config).Identity(t.Context())
		refused(name, err)
	}
	if len(c.Wrapped.(blobs)) != 0 {
		t.Error("keys were made below another hierarchy though this one may come back")
	}
	switchHierarchy(t, chip, tpm2.TPMRHEndorsement, true)
	same(t, "DK when the hierarchy is back", id.DK, identity(t, open(t, c)).DK, true)
	signs(t, x, attest.DK, id.DK)
}

func TestOwnerHierarchySwitchedOff(t *testing.T) {
	t.Parallel()
	chip, c := closedChip(t)
	x := open(t, c)
	id := identity(t, x)
	switchHierarchy(t, chip, tpm2.TPMRHOwner, false)
	if _, err := x.Sign(t.Context(), attest.DK, [32]byte{1}); !errors.Is(err, attest.ErrDisabled) {
		t.Errorf("wrapped keys: %v", err)
	}
	chip.Reboot() // the firmware switches it on at each start
	same(t, "DK when the hierarchy is back", id.DK, identity(t, open(t, c)).DK, true)
}
