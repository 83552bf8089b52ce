package collectors

import (
	"fmt"
	"strings"
)

// maxSections bounds the sections that are kept of one file.
const maxSections = 1024

// parseINI reads sections of name = value lines, as the configuration of dnf,
// zypper and pacman has them. Names are taken in lower case, and the last
// value of a name stands. A name alone has the value "true".
func parseINI(b []byte) (map[string]map[string]string, error) {
	sections := map[string]map[string]string{}
	var at map[string]string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if line[0] == '[' {
			name, closed := strings.CutSuffix(line[1:], "]")
			if !closed || len(sections) == maxSections {
				return nil, fmt.Errorf("%w: section of a configuration file", errUnparsable)
			}
			if at = sections[name]; at == nil {
				at = map[string]string{}
				sections[name] = at
			}
			continue
		}
		if at == nil {
			return nil, fmt.Errorf("%w: a value before the first section", errUnparsable)
		}
		name, value, found := strings.Cut(line, "=")
		if !found {
			value = "true"
		}
		at[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
	}
	return sections, nil
}

// iniTrue reports whether a value means yes to dnf and zypper.
func iniTrue(value string) bool {
	switch strings.ToLower(value) {
	case "1", "true", "yes", "on":
		return true
	}
	return false
}
