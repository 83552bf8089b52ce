package decide

import (
	"strconv"
	"strings"
)

// version is a dotted version as operating systems write them: 12, 15.1,
// 10.0.26100.2314, 6.1.0-28-amd64.
type version struct {
	parts []uint64
	// before: a pre-release (15.2-beta1, 6.12-rc3), which is older than the
	// release that it is named for.
	before bool
}

const maxVersion = 128 // bytes

// parseVersion reads numbers joined by dots, then numbers joined by hyphens
// (a distribution's revision), then anything else, which is not compared except
// that it may mark a pre-release. A version without a number at its start is
// none: ok is false.
func parseVersion(s string) (v version, ok bool) {
	if len(s) > maxVersion {
		return v, false
	}
	for rest := s; rest != ""; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 {
			v.before = prerelease(rest)
			break
		}
		n, err := strconv.ParseUint(rest[:digits], 10, 64)
		if err != nil {
			return version{}, false
		}
		v.parts = append(v.parts, n)
		rest = rest[digits:]
		if rest == "" {
			break
		}
		if rest[0] != '.' && rest[0] != '-' {
			v.before = prerelease(rest)
			break
		}
		rest = rest[1:]
	}
	return v, len(v.parts) > 0
}

// prerelease reports whether the letters after the numbers say so. A tilde
// sorts before everything in Debian's and RPM's order.
func prerelease(suffix string) bool {
	suffix = strings.ToLower(suffix)
	for _, mark := range []string{"~", "alpha", "beta", "pre", "rc", "dev", "a", "b"} {
		after, found := strings.CutPrefix(suffix, mark)
		if !found {
			continue
		}
		// a and b alone mark only with a number: 6.1.0-28-amd64 is a release.
		if len(mark) > 1 || mark == "~" || (after != "" && after[0] >= '0' && after[0] <= '9') {
			return true
		}
	}
	return false
}

// atLeast reports whether v is w or newer. Missing numbers are zero: 14 is at
// least 14.0.
func (v version) atLeast(w version) bool {
	for i := range max(len(v.parts), len(w.parts)) {
		var a, b uint64
		if i < len(v.parts) {
			a = v.parts[i]
		}
		if i < len(w.parts) {
			b = w.parts[i]
		}
		if a != b {
			return a > b
		}
	}
	return !v.before || w.before
}
