package collectors

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"muster/attest/posture"
)

const securityfs = "/sys/kernel/security"

// collectBootSecurity asks the kernel what it refuses even to root.
func collectBootSecurity(_ context.Context, m *Machine, c *posture.Claims) {
	var found posture.BootSecurity
	state, reason := readLockdown(m.Tree, &found)
	found.ModuleSignatures = moduleSignatures(m.Tree, state)
	lsm, err := m.Tree.ReadWord(securityfs + "/lsm")
	if err == nil && lsm != "" {
		found.LSM = strings.Split(label(lsm), ",")
	}
	found.SELinux = selinux(m.Tree, found.LSM)
	if b, err := m.Tree.ReadFile(securityfs + "/apparmor/profiles"); err == nil {
		if enforced, other, err := parseProfiles(b); err == nil {
			found.AppArmorEnforced, found.AppArmorOther = &enforced, &other
		}
	}
	c.BootSecurity = posture.Observed(m.Now(), state, reason, found)
}

// readLockdown reads the kernel's lockdown, kernel_lockdown(7).
func readLockdown(t Tree, found *posture.BootSecurity) (posture.State, posture.Reason) {
	line, err := t.ReadWord(securityfs + "/lockdown")
	if errors.Is(err, fs.ErrNotExist) {
		mounted, err := securityfsMounted(t)
		switch {
		case err != nil:
			return posture.Unknown, whyUnknown(err)
		case !mounted:
			return posture.Unknown, posture.NotMounted
		}
		return posture.No, posture.NoLockdown // a kernel built without it
	}
	if err != nil {
		return posture.Unknown, whyUnknown(err)
	}
	if found.Lockdown, err = parseLockdown(line); err != nil {
		return posture.Unknown, posture.Unparsable
	}
	if found.Lockdown == "none" {
		return posture.No, posture.NoLockdown
	}
	return posture.Yes, ""
}

// securityfsMounted reports whether the kernel shows its security files: an
// empty folder is a mount point without its file system.
func securityfsMounted(t Tree) (bool, error) {
	entries, err := t.ReadDir(securityfs)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return len(entries) > 0, err
}

// parseLockdown finds the one level in brackets: "none [integrity] confidentiality".
func parseLockdown(line string) (string, error) {
	chosen := ""
	for word := range strings.FieldsSeq(line) {
		if !strings.ContainsAny(word, "[]") {
			continue
		}
		level := strings.TrimSuffix(strings.TrimPrefix(word, "["), "]")
		if word != "["+level+"]" || chosen != "" || !slices.Contains([]string{"none", "integrity", "confidentiality"}, level) {
			return "", fmt.Errorf("lockdown: %w", errUnparsable)
		}
		chosen = level
	}
	if chosen == "" {
		return "", fmt.Errorf("lockdown: %w", errUnparsable)
	}
	return chosen, nil
}

// moduleSignatures says whether unsigned modules are refused: by the kernel's
// own setting, or because lockdown does.
func moduleSignatures(t Tree, lockdown posture.State) posture.State {
	if lockdown == posture.Yes {
		return posture.Yes
	}
	switch enforced, _ := t.ReadWord("/sys/module/module/parameters/sig_enforce"); enforced {
	case "Y":
		return posture.Yes
	case "N":
		return posture.No
	}
	return posture.Unknown
}

// selinux says what SELinux does; absent only where the list of modules is
// known and lacks it.
func selinux(t Tree, lsm []string) string {
	switch enforce, _ := t.ReadWord("/sys/fs/selinux/enforce"); enforce {
	case "1":
		return "enforcing"
	case "0":
		return "permissive"
	}
	if len(lsm) > 0 && !slices.Contains(lsm, "selinux") {
		return "absent"
	}
	return ""
}

// parseProfiles counts AppArmor's loaded profiles, "name (mode)" a line: those
// in enforce mode and the others. That AppArmor is on says nothing by itself.
func parseProfiles(b []byte) (enforced, other int, err error) {
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		open := strings.LastIndex(line, " (")
		if open <= 0 || !strings.HasSuffix(line, ")") {
			return 0, 0, fmt.Errorf("apparmor profiles: %w", errUnparsable)
		}
		if line[open:] == " (enforce)" {
			enforced++
		} else {
			other++
		}
	}
	return enforced, other, nil
}
