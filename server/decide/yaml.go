package decide

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits on a policy file, checked before anything is parsed that could recurse.
const (
	maxPolicy   = 1 << 20 // bytes
	maxNesting  = 16      // brackets, or entries begun on one line
	maxIndent   = 200     // columns before a line's first word
	maxTokens   = 400_000
	maxYAMLDeep = 32 // of the tree as read
)

// reader reads one strict YAML document. What it cannot read it complains of and
// returns as absent, so that one run finds every defect.
type reader struct {
	complaints
	source []string // lines
}

// parse returns the document's root; nil after a complaint.
func (r *reader) parse(data []byte) (root ast.Node) {
	defer func() {
		// The parser is not ours; nothing it does may end the server.
		if p := recover(); p != nil {
			r.add(place{1, 1}, "the YAML parser gave up (%v): write the file more plainly", p)
			root = nil
		}
	}()
	if len(data) > maxPolicy {
		r.add(place{1, 1}, "the policy has %d bytes and may have %d: split the applications among servers or drop comments", len(data), maxPolicy)
		return nil
	}
	// Line ends of Windows are one; a carriage return alone, which YAML takes for
	// a line end and editors do not, is refused below.
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	r.source = strings.Split(text, "\n")
	if !r.shallow() {
		return nil
	}
	tokens := lexer.Tokenize(text)
	if !r.plainTokens(tokens) {
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return nil
	}
	var documents []ast.Node
	for _, doc := range file.Docs {
		if doc != nil && doc.Body != nil {
			documents = append(documents, doc.Body)
		}
	}
	switch len(documents) {
	case 0:
		r.add(place{1, 1}, "the policy is empty: it needs apps and require")
		return nil
	case 1:
		return documents[0]
	}
	r.add(nodePlace(documents[1]), "a policy is one YAML document: remove the ---")
	return nil
}

// shallow refuses indentation without end before the scanner sees it, and bytes
// that no editor writes.
func (r *reader) shallow() bool {
	for i, line := range r.source {
		if j := strings.IndexFunc(line, func(c rune) bool { return (c < ' ' && c != '\t') || c == 0xfffd || c == 0xfeff }); j >= 0 {
			r.add(place{i + 1, len([]rune(line[:j])) + 1}, "a control character, or bytes that are not UTF-8: remove them")
			return false
		}
		if indent := len(line) - len(strings.TrimLeft(line, " ")); indent > maxIndent && indent < len(line) {
			r.add(place{i + 1, maxIndent}, "indented by more than %d columns: write it flatter", maxIndent)
			return false
		}
	}
	return true
}

// plainTokens refuses what makes a file mean more than it shows (anchors,
// aliases, merges, tags, directives), and depth.
func (r *reader) plainTokens(tokens token.Tokens) bool {
	if len(tokens) > maxTokens {
		r.add(place{1, 1}, "the policy has more than %d words: it is too large", maxTokens)
		return false
	}
	deep, begun, line := 0, 0, 0
	for _, t := range tokens {
		at := tokenPlace(t)
		if at.line != line {
			line, begun = at.line, 0
		}
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType, token.DirectiveType:
			r.add(at, "anchors, aliases, merges, tags and directives are refused: write it out")
			return false
		case token.InvalidType:
			r.add(at, "is not YAML: %s", firstLine(t.Error))
			return false
		case token.SequenceStartType, token.MappingStartType:
			deep++
		case token.SequenceEndType, token.MappingEndType:
			deep--
		case token.SequenceEntryType, token.MappingKeyType:
			begun++
		}
		if deep > maxNesting || begun > maxNesting {
			r.add(at, "nested more than %d deep: write it flatter", maxNesting)
			return false
		}
	}
	return true
}

func (r *reader) syntax(err error) {
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil {
		r.add(tokenPlace(at.GetToken()), "is not YAML: %s", firstLine(at.GetMessage()))
		return
	}
	r.add(place{1, 1}, "is not YAML: %s", firstLine(err.Error()))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func tokenPlace(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{1, 1}
	}
	return place{t.Position.Line, t.Position.Column}
}

// nodePlace is where a node begins, for a mapping its first key.
func nodePlace(n ast.Node) place {
	if n == nil {
		return place{1, 1}
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return nodePlace(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return nodePlace(n.Key)
	}
	return tokenPlace(n.GetToken())
}

// member is one key of a mapping and what it has.
type member struct {
	key   string
	at    place // of the key
	value ast.Node
}

// mapping reads the members of one, each known and at most once. What is absent
// is not in the map that it returns.
func (r *reader) mapping(n ast.Node, what string, known ...string) map[string]member {
	var entries []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{n}
	default:
		r.add(nodePlace(n), "%s must be a mapping with the members %s", what, strings.Join(known, ", "))
		return nil
	}
	members := make(map[string]member, len(entries))
	for _, entry := range entries {
		m := member{at: nodePlace(entry.Key), value: entry.Value}
		if key, ok := r.scalar(entry.Key); ok {
			m.key = key.text
		}
		switch _, twice := members[m.key]; {
		case !slices.Contains(known, m.key):
			r.add(m.at, "%s has no member %q: it has %s", what, short(m.key), strings.Join(known, ", "))
		case twice:
			r.add(m.at, "%s has %s twice: keep one", what, m.key)
		default:
			members[m.key] = m
		}
	}
	return members
}

// short keeps a file's own words from filling a message.
func short(s string) string {
	const most = 40
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}

// sequence reads the elements of a list.
func (r *reader) sequence(m member, what string) []ast.Node {
	list, ok := m.value.(*ast.SequenceNode)
	if !ok {
		r.add(m.at, "%s must be a list", what)
		return nil
	}
	return list.Values
}

// scalar reads a node that is one word or text, however it is written.
func (r *reader) scalar(n ast.Node) (scalar, bool) {
	if n == nil {
		return scalar{}, false
	}
	s := scalar{at: nodePlace(n)}
	switch n := n.(type) {
	case *ast.LiteralNode:
		s.style, s.text = block, n.Value.Value
		return s, true
	case *ast.StringNode:
		s.text = n.Value
		switch n.GetToken().Type {
		case token.SingleQuoteType:
			s.style = singleQuoted
		case token.DoubleQuoteType:
			s.style = doubleQuoted
		}
		return s, true
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode:
		s.text = n.GetToken().Value
		return s, true
	}
	return s, false
}

// text reads a scalar that is not empty.
func (r *reader) text(m member, what string) (scalar, bool) {
	s, ok := r.scalar(m.value)
	if !ok || strings.TrimSpace(s.text) == "" {
		r.add(m.at, "%s must be text", what)
		return s, false
	}
	return s, true
}

// choice reads one of a few words and returns its place among them.
func (r *reader) choice(m member, what string, words ...string) (int, bool) {
	s, ok := r.text(m, what)
	if !ok {
		return 0, false
	}
	i := slices.Index(words, s.text)
	if i < 0 {
		r.add(s.at, "%s is one of %s, not %q", what, strings.Join(words, ", "), short(s.text))
	}
	return i, i >= 0
}

// flag reads true or false.
func (r *reader) flag(m member, what string) bool {
	b, ok := m.value.(*ast.BoolNode)
	if !ok {
		r.add(m.at, "%s must be true or false", what)
		return false
	}
	return b.Value
}

// duration reads 90m, 24h or 7d: more than nothing, at most ten years.
func (r *reader) duration(m member, what string) time.Duration {
	s, ok := r.text(m, what)
	if !ok {
		return 0
	}
	d, err := parseDuration(s.text)
	if err != nil || d <= 0 || d > maxAge {
		r.add(s.at, "%s must be a time like 90m, 24h or 7d, not %q", what, short(s.text))
		return 0
	}
	return d
}

func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("read %q as days: %w", short(s), err)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	return time.ParseDuration(s)
}
