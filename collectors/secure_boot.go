package collectors

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"muster/attest/posture"
)

// Where the kernel shows firmware's variables, and their vendors (UEFI 2.10
// §3.3 and §32.6.1; shim's own).
const (
	efivars    = "/sys/firmware/efi/efivars"
	efiGlobal  = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
	efiImageDB = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
	efiShim    = "605dab50-e046-4300-abb6-3dd810dd8b23"
)

// collectSecureBoot reads firmware's own variables.
func collectSecureBoot(_ context.Context, m *Machine, c *posture.Claims) {
	c.SecureBoot = secureBoot(m)
}

func secureBoot(m *Machine) posture.Of[posture.SecureBoot] {
	var found posture.SecureBoot
	answer := func(state posture.State, reason posture.Reason) posture.Of[posture.SecureBoot] {
		return posture.Observed(m.Now(), state, reason, found)
	}
	if _, err := m.Tree.Stat("/sys/firmware"); err != nil {
		return answer(posture.Unknown, whyUnknown(err))
	}
	uefi, err := m.Tree.Has("/sys/firmware/efi")
	if err != nil {
		return answer(posture.Unknown, whyUnknown(err))
	}
	if found.UEFI = yesNo(uefi); !uefi {
		return answer(posture.No, posture.NoUEFI)
	}
	variables, err := m.Tree.ReadDir(efivars)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return answer(posture.Unknown, whyUnknown(err))
	}
	if len(variables) == 0 { // no firmware is without any
		return answer(posture.Unknown, posture.NotMounted)
	}
	if err := readSecureBoot(m.Tree, &found); err != nil {
		return answer(posture.Unknown, whyUnknown(err))
	}
	return answer(judgeSecureBoot(found))
}

// judgeSecureBoot says yes only when firmware checks (SecureBoot = 1), its keys
// are locked (SetupMode = 0), and shim was not told to let everything through.
func judgeSecureBoot(found posture.SecureBoot) (posture.State, posture.Reason) {
	switch {
	case found.Enabled == posture.Unknown:
		// Firmware that has variables but not this one cannot do it: that is
		// not the same as having it turned off.
		return posture.Unknown, posture.Unsupported
	case found.Enabled == posture.No:
		return posture.No, posture.SecureBootOff
	case found.SetupMode == posture.Yes:
		return posture.No, posture.SetupMode
	case found.SetupMode == posture.Unknown:
		return posture.Unknown, posture.Unreadable
	case found.Shim == "disabled":
		return posture.No, posture.SecureBootOff
	}
	return posture.Yes, ""
}

// readSecureBoot fills in what the variables say; an absent one leaves its
// field unknown.
func readSecureBoot(t Tree, found *posture.SecureBoot) error {
	for _, flag := range []struct {
		name string
		to   *posture.State
	}{
		{"SecureBoot", &found.Enabled},
		{"SetupMode", &found.SetupMode},
		{"VendorKeys", &found.VendorKeys},
		{"DeployedMode", &found.DeployedMode},
	} {
		var err error
		if *flag.to, err = efiFlag(t, flag.name, efiGlobal); err != nil {
			return err
		}
	}
	var err error
	if found.Shim, err = shimState(t); err != nil {
		return err
	}
	dbx, err := efiVariable(t, "dbx", efiImageDB)
	if err != nil {
		return err
	}
	if dbx != nil {
		sum := sha256.Sum256(dbx)
		found.DBXSHA256 = hex.EncodeToString(sum[:])
	}
	sbat, err := efiVariable(t, "SbatLevelRT", efiShim)
	first, _, _ := strings.Cut(string(sbat), "\n")
	found.SBATLevel = label(first)
	return err
}

// shimState tells whether shim verifies what it starts. Its MokSBStateRT is
// there, and 1, only when somebody turned that off; without any of shim's
// variables there was no shim.
func shimState(t Tree) (string, error) {
	off, err := efiFlag(t, "MokSBStateRT", efiShim)
	if err != nil || off == posture.Yes {
		return "disabled", err
	}
	if off == posture.No {
		return "enabled", nil
	}
	list, err := t.Has(efivars + "/MokListRT-" + efiShim)
	if err != nil || !list {
		return "", err
	}
	return "enabled", nil
}

// efiFlag reads a variable of one byte, 0 or 1.
func efiFlag(t Tree, name, vendor string) (posture.State, error) {
	value, err := efiVariable(t, name, vendor)
	if err != nil || value == nil {
		return posture.Unknown, err
	}
	if len(value) != 1 || value[0] > 1 {
		return posture.Unknown, fmt.Errorf("variable %s: no flag: %w", name, errUnparsable)
	}
	return yesNo(value[0] == 1), nil
}

// efiVariable returns the content of a variable without the four bytes of
// attributes that efivarfs puts before it; nil when there is no such variable.
func efiVariable(t Tree, name, vendor string) ([]byte, error) {
	b, err := t.ReadFile(efivars + "/" + name + "-" + vendor)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(b) < 4 {
		return nil, fmt.Errorf("variable %s: %d bytes: %w", name, len(b), errUnparsable)
	}
	return b[4:], nil
}
