package collectors

import (
	"fmt"
	"strings"
)

// parseOSRelease reads os-release(5): NAME=value lines with shell quoting,
// comments and blank lines. A line that is none of these is an error.
func parseOSRelease(b []byte) (map[string]string, error) {
	values := make(map[string]string)
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, quoted, ok := strings.Cut(line, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("os-release: no assignment: %w", errUnparsable)
		}
		value, ok := unquote(quoted)
		if !ok {
			return nil, fmt.Errorf("os-release: quotes of %s: %w", label(name), errUnparsable)
		}
		values[name] = value
	}
	return values, nil
}

// unquote undoes the shell's quoting of one word, as far as os-release allows
// it: all in single quotes, all in double quotes with backslashes, or none.
func unquote(s string) (string, bool) {
	if s == "" {
		return "", true
	}
	switch quote := s[0]; quote {
	case '\'', '"':
		if len(s) < 2 || s[len(s)-1] != quote {
			return "", false
		}
		inner := s[1 : len(s)-1]
		if quote == '\'' {
			return inner, !strings.Contains(inner, "'")
		}
		return unslash(inner)
	}
	return s, !strings.ContainsAny(s, " \t\"'`$;")
}

// unslash undoes backslashes; a double quote without one ends too early.
func unslash(s string) (string, bool) {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return "", false
		case '\\':
			if i++; i == len(s) {
				return "", false
			}
		}
		out.WriteByte(s[i])
	}
	return out.String(), true
}
