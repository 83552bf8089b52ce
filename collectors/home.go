package collectors

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	"muster/attest/posture"
)

// People's accounts lie between these numbers (login.defs: UID_MIN, UID_MAX).
const (
	firstPerson = 1000
	lastPerson  = 60000
)

// maxHomes bounds how many home directories are looked at.
const maxHomes = 256

// collectHomeEncryption looks at each person's home directory: an eCryptfs
// mount, or a directory with an fscrypt policy.
func collectHomeEncryption(_ context.Context, m *Machine, c *posture.Claims) {
	found, state, reason := homeEncryption(m)
	c.HomeEncryption = posture.Observed(m.Now(), state, reason, found)
}

func homeEncryption(m *Machine) (found posture.HomeEncryption, state posture.State, reason posture.Reason) {
	homes, mounts, err := readHomes(m.Tree)
	if err != nil {
		return found, posture.Unknown, whyUnknown(err)
	}
	unknown := posture.Reason("")
	for _, home := range homes {
		there, err := m.Tree.Has(home)
		if err == nil && !there {
			continue
		}
		found.Homes++
		mechanism := ""
		if i := mountOf(mounts, home); i >= 0 && mounts[i].fs == "ecryptfs" {
			mechanism = "ecryptfs"
		} else if encrypted, err := fscrypted(m.Tree, home); err != nil {
			unknown = whyUnknown(err)
		} else if encrypted {
			mechanism = "fscrypt"
		}
		if mechanism != "" {
			found.Mechanism = mechanism
			found.Encrypted++
		}
	}
	switch {
	case found.Homes == 0:
		return found, posture.Unknown, posture.NothingMounted
	case found.Encrypted == found.Homes:
		return found, posture.Yes, ""
	case unknown != "":
		return found, posture.Unknown, unknown
	}
	return found, posture.No, posture.NotConfigured
}

// readHomes lists the home directories of people, each once, and the mounts.
func readHomes(t Tree) ([]string, []mount, error) {
	passwd, err := t.ReadFile("/etc/passwd")
	if err != nil {
		return nil, nil, err
	}
	homes, err := parseHomes(passwd)
	if err != nil {
		return nil, nil, err
	}
	info, err := t.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, nil, err
	}
	mounts, err := parseMountinfo(info)
	return homes, mounts, err
}

// parseHomes takes the home directories of people out of passwd(5). Lines that
// begin with a plus or minus sign ask a directory service and name no home.
func parseHomes(b []byte) ([]string, error) {
	var homes []string
	seen := make(map[string]bool)
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.ContainsAny(line[:1], "#+-") {
			continue
		}
		fields := strings.Split(line, ":")
		if len(fields) != 7 {
			return nil, fmt.Errorf("passwd: %d fields: %w", len(fields), errUnparsable)
		}
		uid, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("passwd: user number: %w", errUnparsable)
		}
		home := path.Clean(fields[5])
		if uid < firstPerson || uid > lastPerson || !strings.HasPrefix(home, "/") || home == "/" || seen[home] {
			continue
		}
		seen[home] = true
		homes = append(homes, home)
	}
	if len(homes) > maxHomes {
		return nil, fmt.Errorf("passwd: %d homes: %w", len(homes), errUnparsable)
	}
	return homes, nil
}
