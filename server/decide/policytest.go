package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/goccy/go-yaml/ast"

	"muster/server/verify"
)

// test is one entry of tests.
type test struct {
	name string
	line int
	app  string
	// file has the Result in JSON; inline is the same in the policy itself. With
	// neither the device never reported.
	file   string
	inline *verify.Result
	// visitor is who asks; nil: a laptop asks by itself.
	visitor *testVisitor
	// request is what they ask for; nil leaves out the rules that name it.
	request *Request
	// age is how old the report is.
	age time.Duration
	// grace: the device has all of its budget left. Without it none.
	grace bool
	want  Outcome
	// reasons are the codes that count, sorted; nil when the test does not say.
	reasons []string
}

// TestResult is what one test of a policy came to.
type TestResult struct {
	Name string
	Line int // where the policy has the test
	// Got is what was decided.
	Got Decision
	// Problem says what differs from what was expected, one sentence; empty when
	// the test passed.
	Problem string
}

// String is one line: ok or FAIL, the line of the policy, the name, what differs.
func (r TestResult) String() string {
	if r.Problem == "" {
		return fmt.Sprintf("ok    line %d: %s", r.Line, r.Name)
	}
	return fmt.Sprintf("FAIL  line %d: %s: %s", r.Line, r.Name, r.Problem)
}

// Test runs the tests of the policy, in its order. It passed as a whole when no
// result has a Problem. readFile gets the names that
// given.device has, unchanged; the caller decides what they are relative to and
// may refuse one. A test that cannot be run has failed.
func (p *Policy) Test(readFile func(name string) ([]byte, error)) []TestResult {
	results := make([]TestResult, len(p.tests))
	for i, t := range p.tests {
		results[i] = p.run(t, readFile)
	}
	return results
}

func (p *Policy) run(t test, readFile func(string) ([]byte, error)) TestResult {
	out := TestResult{Name: t.name, Line: t.line}
	in := Inputs{App: t.app}
	device := t.inline
	if t.file != "" {
		data, err := readFile(t.file)
		if err != nil {
			out.Problem = fmt.Sprintf("the device could not be read: %v", err)
			return out
		}
		if device, err = ParseResult(data); err != nil {
			out.Problem = fmt.Sprintf("%s is no device: %v", t.file, err)
			return out
		}
	}
	if device != nil {
		in.Device, in.HasResult = *device, true
	}
	begin := in.Device.IssuedAt
	if begin.IsZero() {
		begin = inlineIssuedAt() // nothing is that long ago
	}
	in.Now = begin.Add(t.age)
	if !t.grace {
		in.Grace = p.spent(in.Now)
	}
	if t.visitor != nil {
		a, _ := p.App(t.app)
		in.Visitor = t.visitor.at(in.Now, t.app, a)
	}
	prepared := p.Prepare(in)
	out.Got = prepared.Decision
	if t.request != nil {
		out.Got = prepared.For(t.request, in.Now)
	}
	if in.Visitor == nil {
		out.Got = out.Got.OfDevice()
	}
	out.Problem = t.compare(out.Got)
	return out
}

func (t *test) compare(got Decision) string {
	var codes []string
	for _, r := range got.Reasons {
		if r.counts() {
			codes = append(codes, r.Code)
		}
	}
	slices.Sort(codes)
	switch {
	case got.Outcome != t.want:
		return fmt.Sprintf("expected %v, decided %v because of %s", t.want, got.Outcome, listed(codes))
	case t.reasons != nil && !slices.Equal(codes, t.reasons):
		return fmt.Sprintf("expected the reasons %s, found %s", listed(t.reasons), listed(codes))
	}
	return ""
}

func listed(codes []string) string {
	if len(codes) == 0 {
		return "nothing"
	}
	return strings.Join(codes, ", ")
}

// ParseResult reads a Result as tests of a policy have it: strict JSON, where
// claims that are left out are unknown.
func ParseResult(data []byte) (*verify.Result, error) {
	var r verify.Result
	if len(data) > maxPolicy {
		return nil, fmt.Errorf("read a device: %d bytes, at most %d", len(data), maxPolicy)
	}
	if err := json.Unmarshal(data, &r, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("read a device: %w", err)
	}
	return &r, nil
}

func (l *loading) test(n ast.Node) {
	members := l.mapping(n, "a test", "name", "given", "expect")
	for _, need := range []string{"name", "given", "expect"} {
		if _, ok := members[need]; !ok && members != nil {
			l.add(nodePlace(n), "a test needs %s", need)
		}
	}
	if len(members) < 3 {
		return
	}
	t := test{line: nodePlace(n).line}
	name, _ := l.text(members["name"], "name")
	t.name = name.text
	l.given(&t, members["given"])
	expect := l.mapping(members["expect"].value, "expect", "decision", "reasons")
	if m, ok := expect["decision"]; ok {
		i, _ := l.choice(m, "decision", outcomeNames[:]...)
		t.want = Outcome(max(i, 0))
	} else if expect != nil {
		l.add(members["expect"].at, "expect needs a decision")
	}
	if m, ok := expect["reasons"]; ok {
		t.reasons = []string{}
		for _, r := range l.sequence(m, "reasons") {
			if s, ok := l.scalar(r); ok && l.isCode(s) {
				t.reasons = append(t.reasons, s.text)
			}
		}
		slices.Sort(t.reasons)
	}
	l.policy.tests = append(l.policy.tests, t)
}

// isCode complains of a reason that nothing can give. Tests come after the
// rules in every run of Load, wherever the file has them.
func (l *loading) isCode(s scalar) bool {
	_, ofRule := l.ids["rule "+s.text]
	if !ofRule && !slices.Contains(reservedCodes(), s.text) {
		l.add(s.at, "no rule has the id %q, and it is no reason of its own", short(s.text))
		return false
	}
	return true
}

func (l *loading) given(t *test, m member) {
	members := l.mapping(m.value, "given", "device", "app", "age", "grace", "session", "passkey", "user", "elevation", "request")
	if a, ok := members["app"]; ok {
		s, _ := l.text(a, "app")
		t.app = s.text
	} else if members != nil {
		l.add(m.at, "given needs an app")
	}
	if a, ok := members["age"]; ok {
		t.age = l.duration(a, "age")
	}
	if g, ok := members["grace"]; ok {
		t.grace = l.flag(g, "grace")
	}
	l.visitor(t, members)
	if r, ok := members["request"]; ok {
		t.request = l.request(r)
	}
	d, ok := members["device"]
	if !ok {
		return
	}
	if s, isFile := l.scalar(d.value); isFile {
		t.file = s.text
		return
	}
	l.inline(t, d)
}

// inline reads a Result that is written in the policy: the same members as in
// JSON.
func (l *loading) inline(t *test, m member) {
	value, ok := l.plainValue(m.value, 0)
	if !ok {
		return
	}
	data, err := json.Marshal(value)
	if err == nil {
		t.inline, err = ParseResult(data)
	}
	if err != nil {
		l.add(m.at, "is no device: %s", firstLine(err.Error()))
		return
	}
	if t.inline.IssuedAt.IsZero() {
		t.inline.IssuedAt = inlineIssuedAt()
	}
}

// inlineIssuedAt is when the report of an inline device was made, unless it
// says so itself: the start of 2026.
func inlineIssuedAt() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// plainValue turns YAML into what JSON has.
func (l *loading) plainValue(n ast.Node, depth int) (any, bool) {
	if depth > maxYAMLDeep {
		l.add(nodePlace(n), "nested more than %d deep: write it flatter", maxYAMLDeep)
		return nil, false
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return l.plainMapping(n.Values, depth)
	case *ast.MappingValueNode:
		return l.plainMapping([]*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		list := make([]any, 0, len(n.Values))
		for _, v := range n.Values {
			value, ok := l.plainValue(v, depth+1)
			if !ok {
				return nil, false
			}
			list = append(list, value)
		}
		return list, true
	case *ast.BoolNode:
		return n.Value, true
	case *ast.IntegerNode:
		return n.Value, true
	}
	s, ok := l.scalar(n)
	if !ok {
		l.add(nodePlace(n), "must be a mapping, a list, a whole number, true, false or text")
	}
	return s.text, ok
}

func (l *loading) plainMapping(entries []*ast.MappingValueNode, depth int) (any, bool) {
	m := make(map[string]any, len(entries))
	for _, entry := range entries {
		key, ok := l.scalar(entry.Key)
		if !ok {
			l.add(nodePlace(entry.Key), "a key must be text")
			return nil, false
		}
		if _, twice := m[key.text]; twice {
			l.add(nodePlace(entry.Key), "%s is there twice: keep one", short(key.text))
			return nil, false
		}
		if m[key.text], ok = l.plainValue(entry.Value, depth+1); !ok {
			return nil, false
		}
	}
	return m, true
}
