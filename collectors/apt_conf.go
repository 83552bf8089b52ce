package collectors

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// aptUnattended reports whether apt's daily run fetches lists and has
// unattended-upgrades install from them (apt.conf(5), unattended-upgrade(8)).
func aptUnattended(t Tree) (bool, error) {
	installed, err := t.Has("/usr/bin/unattended-upgrade")
	if err != nil || !installed {
		return false, err
	}
	conf, err := readAptConf(t)
	if err != nil {
		return false, err
	}
	if enable, ok := conf.value("APT::Periodic::Enable"); ok && !aptInterval(enable) {
		return false, nil
	}
	lists, _ := conf.value("APT::Periodic::Update-Package-Lists")
	upgrade, _ := conf.value("APT::Periodic::Unattended-Upgrade")
	origins := len(conf.list("Unattended-Upgrade::Allowed-Origins")) + len(conf.list("Unattended-Upgrade::Origins-Pattern"))
	return aptInterval(lists) && aptInterval(upgrade) && origins > 0, nil
}

// aptInterval reports whether an interval of APT::Periodic ever comes: a number
// of days, one with a unit, or "always". Anything else is off.
func aptInterval(value string) bool {
	if value == "always" {
		return true
	}
	n, err := strconv.Atoi(strings.TrimRight(value, "smhd"))
	return err == nil && n > 0
}

// readAptConf reads apt's configuration in apt's order: the parts by name, then
// apt.conf, which stands over them.
func readAptConf(t Tree) (*aptConf, error) {
	conf := &aptConf{values: map[string]string{}, lists: map[string][]string{}}
	entries, err := t.ReadDir("/etc/apt/apt.conf.d")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	files := make([]string, 0, len(entries)+1)
	for _, e := range entries {
		if aptReads(e.Name()) {
			files = append(files, "/etc/apt/apt.conf.d/"+e.Name())
		}
	}
	for _, name := range append(files, "/etc/apt/apt.conf") {
		b, err := t.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := conf.parse(b); err != nil {
			return nil, err
		}
	}
	return conf, nil
}

// aptReads knows the names of parts that apt reads: without an extension or
// with .conf, of letters, digits, hyphens, underscores and dots.
func aptReads(name string) bool {
	base, extension, dotted := strings.Cut(name, ".")
	return base != "" && (!dotted || strings.HasSuffix(name, ".conf") && extension != "") &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}

// aptConf is a configuration of apt: values by name, and lists of the items
// without a name below one. Names are in lower case: apt does not tell them
// apart.
type aptConf struct {
	values map[string]string
	lists  map[string][]string
}

func (c *aptConf) value(name string) (string, bool) {
	v, ok := c.values[strings.ToLower(name)]
	return v, ok
}

func (c *aptConf) list(name string) []string { return c.lists[strings.ToLower(name)] }

// maxAptDepth bounds the scopes that may be open at once.
const maxAptDepth = 32

// parse adds the statements of one file: `name value;`, `name { ... };` and
// `value;` for items of a list. Directives other than #clear are comments to
// us, as #include is used by nobody for these settings.
func (c *aptConf) parse(b []byte) error {
	tokens, err := aptTokens(string(b))
	if err != nil {
		return err
	}
	var scopes []string
	var words []aptToken
	for _, token := range tokens {
		switch {
		case token.quoted || token.text != "{" && token.text != "}" && token.text != ";":
			words = append(words, token)
		case token.text == ";":
			c.statement(scopes, words)
			words = nil
		case token.text == "{":
			name := ""
			if len(words) > 0 {
				name = words[0].text
			}
			if scopes, words = append(scopes, name), nil; len(scopes) > maxAptDepth {
				return fmt.Errorf("%w: apt.conf nested deeper than %d", errUnparsable, maxAptDepth)
			}
		default:
			if len(scopes) == 0 || len(words) > 0 {
				return fmt.Errorf("%w: braces of apt.conf", errUnparsable)
			}
			scopes = scopes[:len(scopes)-1]
		}
	}
	if len(scopes) > 0 || len(words) > 0 {
		return fmt.Errorf("%w: apt.conf ends in a statement", errUnparsable)
	}
	return nil
}

func (c *aptConf) statement(scopes []string, words []aptToken) {
	switch {
	case len(words) == 0: // the end of a scope
	case words[0].text == "#clear" && !words[0].quoted:
		for _, word := range words[1:] {
			c.clear(aptName(scopes, word.text))
		}
	case len(words) == 1 && words[0].quoted:
		name := aptName(scopes, "")
		c.lists[name] = append(c.lists[name], words[0].text)
	case len(words) >= 2:
		name := aptName(scopes, words[0].text)
		if list, ok := strings.CutSuffix(name, "::"); ok {
			c.lists[list] = append(c.lists[list], words[1].text)
			return
		}
		c.values[name] = words[1].text
	}
}

// clear forgets a name and all below it.
func (c *aptConf) clear(name string) {
	for known := range c.values {
		if known == name || strings.HasPrefix(known, name+"::") {
			delete(c.values, known)
		}
	}
	for known := range c.lists {
		if known == name || strings.HasPrefix(known, name+"::") {
			delete(c.lists, known)
		}
	}
}

func aptName(scopes []string, name string) string {
	all := strings.Join(scopes, "::")
	if name != "" && all != "" {
		all += "::"
	}
	return strings.ToLower(all + name)
}

type aptToken struct {
	text   string
	quoted bool
}

// aptTokens splits apt.conf into words, quoted strings and the three signs, and
// leaves the comments out: //, /* */, and # unless it begins #clear.
func aptTokens(s string) ([]aptToken, error) {
	var tokens []aptToken
	for s != "" {
		switch {
		case strings.ContainsRune(" \t\r\n", rune(s[0])):
			s = s[1:]
		case strings.HasPrefix(s, "//"), s[0] == '#' && !strings.HasPrefix(s, "#clear"):
			_, s, _ = strings.Cut(s, "\n")
		case strings.HasPrefix(s, "/*"):
			_, rest, closed := strings.Cut(s[2:], "*/")
			if !closed {
				return nil, fmt.Errorf("%w: open comment in apt.conf", errUnparsable)
			}
			s = rest
		case s[0] == '"':
			text, rest, closed := strings.Cut(s[1:], `"`)
			if !closed {
				return nil, fmt.Errorf("%w: open quote in apt.conf", errUnparsable)
			}
			tokens, s = append(tokens, aptToken{text, true}), rest
		case strings.ContainsRune("{};", rune(s[0])):
			tokens, s = append(tokens, aptToken{s[:1], false}), s[1:]
		default:
			end := strings.IndexAny(s, " \t\r\n{};\"")
			if end < 0 {
				end = len(s)
			}
			tokens, s = append(tokens, aptToken{s[:end], false}), s[end:]
		}
	}
	return tokens, nil
}
