package collectors

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// sshAccess is how sshd lets people in, at the most generous that any of its
// settings for any person is.
type sshAccess struct {
	password bool // a password, or PAM's questions, is enough
	root     bool // root may log in by whatever method there is
	ports    []uint16
}

// sshSettings asks sshd for its effective settings, which needs root, or else
// reads its files. What Match blocks allow to some is read from the files in
// both cases: sshd tells it only for a given person.
func sshSettings(ctx context.Context, m *Machine) (sshAccess, error) {
	files, err := readSshd(m.Tree)
	if err != nil {
		return sshAccess{}, err
	}
	if out, err := m.run(ctx, "sshd", "-T"); err == nil {
		effective := newSshdConfig()
		if err := effective.parse(string(out), nil); err != nil {
			return sshAccess{}, err
		}
		effective.matched = files.matched
		return effective.access(), nil
	}
	return files.access(), nil
}

// sshdConfig is what counts of sshd_config(5).
type sshdConfig struct {
	global  map[string]string // first value of a keyword outside Match
	matched []string          // "keyword value" inside any Match
	ports   []uint16
	files   int
	inMatch bool
}

func newSshdConfig() *sshdConfig { return &sshdConfig{global: map[string]string{}} }

// maxSshdFiles bounds the files that Include brings.
const maxSshdFiles = 64

func readSshd(t Tree) (*sshdConfig, error) {
	c := newSshdConfig()
	name := "/etc/ssh/sshd_config"
	b, err := t.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		name = "/usr/etc/ssh/sshd_config" // openSUSE
		b, err = t.ReadFile(name)
	}
	if err != nil {
		return nil, err
	}
	return c, c.parse(string(b), func(pattern string) error { return c.include(t, pattern) })
}

// include reads the files of one pattern in the order of their names. What is
// in a Match block there ends with the file.
func (c *sshdConfig) include(t Tree, pattern string) error {
	if !strings.HasPrefix(pattern, "/") {
		pattern = "/etc/ssh/" + pattern
	}
	dir, last := path.Split(pattern)
	entries, err := t.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		ok, err := path.Match(last, e.Name())
		if err != nil || strings.ContainsAny(dir, "*?[") {
			return fmt.Errorf("%w: pattern of Include", errUnparsable)
		}
		if !ok {
			continue
		}
		if c.files++; c.files > maxSshdFiles {
			return fmt.Errorf("%w: more than %d included files", errUnparsable, maxSshdFiles)
		}
		b, err := t.ReadFile(dir + e.Name())
		if err != nil {
			return err
		}
		outer := c.inMatch
		if err := c.parse(string(b), func(pattern string) error { return c.include(t, pattern) }); err != nil {
			return err
		}
		c.inMatch = outer
	}
	return nil
}

// parse reads keyword lines; include is nil for the output of sshd -T, which
// has none.
func (c *sshdConfig) parse(s string, include func(string) error) error {
	lines := 0
	for line := range strings.Lines(s) {
		keyword, value := sshdLine(line)
		if keyword == "" {
			continue
		}
		lines++
		switch keyword {
		case "include":
			if include == nil {
				continue
			}
			for pattern := range strings.FieldsSeq(value) {
				if err := include(strings.Trim(pattern, `"`)); err != nil {
					return err
				}
			}
		case "match":
			c.inMatch = true
		case "port", "listenaddress":
			c.listens(keyword, value)
		default:
			if c.inMatch {
				c.matched = append(c.matched, keyword+" "+value)
			} else if _, known := c.global[keyword]; !known {
				c.global[keyword] = value
			}
		}
	}
	if include == nil && lines == 0 {
		return fmt.Errorf("%w: sshd -T said nothing", errUnparsable)
	}
	return nil
}

// sshdLine splits "Keyword value" or "Keyword=value", without comments and
// quotes. Keywords and the values that we read are in lower case; older names
// become the newer ones.
func sshdLine(line string) (keyword, value string) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", ""
	}
	end := strings.IndexAny(line, " \t=")
	if end < 0 {
		return strings.ToLower(line), ""
	}
	keyword = strings.ToLower(line[:end])
	value = strings.TrimLeft(line[end:], " \t=")
	if keyword == "challengeresponseauthentication" {
		keyword = "kbdinteractiveauthentication"
	}
	if keyword != "include" {
		value, _, _ = strings.Cut(value, " #")
		value = strings.ToLower(strings.Trim(strings.TrimSpace(value), `"`))
	}
	return keyword, value
}

func (c *sshdConfig) listens(keyword, value string) {
	if keyword == "listenaddress" {
		at := strings.LastIndexByte(value, ':')
		if at < 0 || strings.Count(value, ":") > 1 && !strings.Contains(value, "]:") {
			return // an address without a port
		}
		value = value[at+1:]
	}
	value, _, _ = strings.Cut(value, " ")
	if n, err := strconv.ParseUint(value, 10, 16); err == nil && n > 0 {
		c.ports = append(c.ports, uint16(n))
	}
}

// access judges the settings. A keyword that is not there has OpenSSH's own
// default; a value that we do not know is taken as the generous one.
func (c *sshdConfig) access() sshAccess {
	is := func(keyword, unset string, values ...string) bool {
		value, ok := c.global[keyword]
		if !ok {
			value = unset
		}
		for _, v := range values {
			if value == v {
				return true
			}
		}
		return false
	}
	password := !is("passwordauthentication", "yes", "no")
	// PAM asks for the password by keyboard-interactive, whatever
	// PasswordAuthentication says.
	asked := !is("kbdinteractiveauthentication", "yes", "no") && !is("usepam", "no", "no")
	root := !is("permitrootlogin", "prohibit-password", "no", "prohibit-password", "without-password", "forced-commands-only")
	enough := passwordIsEnough(c.global["authenticationmethods"])
	for _, line := range c.matched {
		keyword, value, _ := strings.Cut(line, " ")
		switch keyword {
		case "passwordauthentication":
			password = password || value != "no"
		case "kbdinteractiveauthentication":
			asked = asked || value != "no" && !is("usepam", "no", "no")
		case "permitrootlogin":
			root = root || value == "yes"
		case "authenticationmethods":
			enough = enough || passwordIsEnough(value)
		}
	}
	return sshAccess{password: (password || asked) && enough, root: root, ports: c.ports}
}

// passwordIsEnough reports whether AuthenticationMethods lets a password alone
// in: one of its lists has nothing else.
func passwordIsEnough(methods string) bool {
	if methods == "" || methods == "any" {
		return true
	}
	for list := range strings.FieldsSeq(methods) {
		only := true
		for method := range strings.SplitSeq(list, ",") {
			method, _, _ = strings.Cut(method, ":")
			only = only && (method == "password" || method == "keyboard-interactive")
		}
		if only {
			return true
		}
	}
	return false
}
