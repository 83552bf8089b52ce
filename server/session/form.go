package session

import "strings"

// Bounds of what a browser is sent back to, in bytes.
const (
	maxHost = 255
	maxBack = 2 << 10
)

// IsHost reports whether s can be a Host header: a name or an address in lower
// case, with or without a port.
func IsHost(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte(".-:[]", c) < 0 {
			return false
		}
	}
	return s != "" && len(s) <= maxHost
}

// IsBack reports whether s is a path of its own host in every browser: browsers
// read "\" as "/", leave out tabs and line breaks, and take "//" for another host.
func IsBack(s string) bool {
	if len(s) > maxBack || !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || strings.HasPrefix(s, `/\`) {
		return false
	}
	for _, c := range []byte(s) {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}
