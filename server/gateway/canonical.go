package gateway

import (
	"net/url"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// canonical is the one path that a request target in origin form (RFC 9112 §3.2.1)
// can mean: decoded once, without the query. ok is false where two readers may
// understand two things, and then no rule may rely on it: //, dot segments, an
// encoded slash, a backslash, path parameters, a fragment, control characters, an
// escape that is none or that hides another one, bytes that are not UTF-8, and
// every other form than origin form.
func canonical(target string) (decoded string, ok bool) {
	raw, _, _ := strings.Cut(target, "?")
	if !strings.HasPrefix(raw, "/") || strings.Contains(raw, "//") || strings.Contains(target, "#") {
		return "", false
	}
	decoded = raw
	if strings.Contains(raw, "%") {
		if decoded, ok = unescape(raw); !ok {
			return "", false
		}
	}
	if !utf8.ValidString(decoded) || strings.ContainsFunc(decoded, misread) || dotted(decoded) {
		return "", false
	}
	return decoded, true
}

// misread reports whether a character of a decoded path means different things to
// different readers.
func misread(r rune) bool {
	switch r {
	case '\\', ';', '#', '?':
		return true
	}
	return unicode.IsControl(r)
}

// dotted reports whether a decoded path has a segment of dots alone. Three and more
// are names, but not to everybody.
func dotted(p string) bool {
	for segment := range strings.SplitSeq(p, "/") {
		if segment != "" && strings.Trim(segment, ".") == "" {
			return true
		}
	}
	return false
}

// unescape decodes once. A decoded slash, and a result in which somebody who
// decodes again would find an escape, are refused.
func unescape(s string) (string, bool) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return "", false
			}
			c = hexValue(s[i+1])<<4 | hexValue(s[i+2])
			i += 2
			if c == '/' {
				return "", false
			}
		}
		b = append(b, c)
	}
	for i, c := range b {
		if c != '%' {
			continue
		}
		rest := b[i+1:]
		if len(rest) > 0 && (rest[0] == 'u' || rest[0] == 'U') || len(rest) > 1 && isHex(rest[0]) && isHex(rest[1]) {
			return "", false // %uXXXX is an escape to some
		}
	}
	return string(b), true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// maxBack bounds the path to return to.
const maxBack = 1024

// reserved is where applications' hosts reach muster.
const reserved = "/.muster/"

// backTo is the path and query of a target, fit to send a browser to on the same
// host, or "/": never another host, and never the reserved paths, which would go
// round in circles.
func backTo(target string) string {
	odd := func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) || r == '\\' || r == '#' || r == unicode.ReplacementChar
	}
	if len(target) > maxBack || !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") || strings.ContainsFunc(target, odd) {
		return "/"
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" ||
		strings.HasPrefix(u.Path, "//") || strings.ContainsFunc(u.Path, odd) || circles(u.Path) {
		return "/"
	}
	return u.String()
}

// circles reports whether a decoded path comes to the reserved ones, or to another
// host, as somebody reads it who has no regard for case, resolves dots or decodes
// again.
func circles(p string) bool {
	if dotted(p) && strings.Contains(p, "//") {
		return true
	}
	for range 2 {
		clean := strings.ToLower(path.Clean(p)) + "/"
		if strings.HasPrefix(clean, reserved) {
			return true
		}
		again, err := url.PathUnescape(p)
		if err != nil || again == p {
			return false
		}
		p = again
	}
	return false
}
