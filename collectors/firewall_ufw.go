package collectors

import "strings"

// ufwStatus is what `ufw status verbose` says.
type ufwStatus struct {
	active   bool
	incoming string // allow, deny, reject; empty when not told
	ipv6     bool   // /etc/default/ufw has ufw look after IPv6 too
}

// refuses reports whether ufw says that it refuses by default for every
// protocol that this machine speaks.
func (s ufwStatus) refuses(noIPv6 bool) bool {
	return s.active && (s.incoming == "drop" || s.incoming == "reject") && (s.ipv6 || noIPv6)
}

// parseUfwStatus reads the output of `ufw status verbose` in the C locale.
func parseUfwStatus(out []byte) ufwStatus {
	var s ufwStatus
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch name {
		case "Status":
			s.active = value == "active"
		case "Default":
			word, _, _ := strings.Cut(value, " (incoming)")
			switch word {
			case "deny":
				s.incoming = "drop"
			case "reject":
				s.incoming = "reject"
			case "allow":
				s.incoming = "accept"
			}
		}
	}
	return s
}

// shellValue returns the last NAME=value of a file that a shell would read,
// without quotes; the empty string when there is none.
func shellValue(b []byte, name string) string {
	found := ""
	for line := range strings.Lines(string(b)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && key == name {
			found = strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	return found
}
