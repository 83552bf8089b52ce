package decide

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"muster/attest/posture"
)

// Limits on what a policy has.
const (
	maxApps  = 10_000
	maxRules = 256
	maxTests = 1_000
	maxHosts = 64  // of one application
	maxName  = 64  // bytes of an application's id
	maxText  = 400 // bytes of a sentence
	maxGroup = 128 // bytes of a group's name
)

// An elevation lasts minutes, or at most a day's work.
const (
	minElevation = time.Minute
	maxElevation = 8 * time.Hour
)

// loading is one run of Load.
type loading struct {
	reader
	policy *Policy
	ids    map[string]place // of applications and rules, with their kind
	hosts  map[string]string
	scopes []place // of each rule's for
}

// Load reads a policy (README.md) and compiles it. The file name is only for
// messages. The error is [Problems]: every defect, each with its place; then
// there is no policy.
func Load(file string, yaml []byte) (*Policy, error) {
	env, err := newEnvironment()
	if err != nil {
		return nil, err
	}
	return env.load(file, yaml)
}

func (e *environment) load(file string, yaml []byte) (*Policy, error) {
	sum := sha256.Sum256(yaml)
	l := &loading{
		reader: reader{complaints: complaints{file: file}},
		policy: &Policy{digest: hex.EncodeToString(sum[:]), byID: map[string]int{}, reportAge: defaultReportAge, sessions: defaultSessionLimits(), env: e},
		ids:    map[string]place{}, hosts: map[string]string{},
	}
	if root := l.parse(yaml); root != nil {
		l.document(root)
	}
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.policy, nil
}

func (l *loading) document(root ast.Node) {
	members := l.mapping(root, "a policy", "apps", "require", "limits", "tests")
	if members == nil {
		return
	}
	for _, need := range []string{"apps", "require"} {
		if _, ok := members[need]; !ok {
			l.add(nodePlace(root), "a policy needs %s", need)
		}
	}
	if m, ok := members["limits"]; ok {
		limits := l.mapping(m.value, "limits", "report_age", "sessions")
		if age, ok := limits["report_age"]; ok {
			l.policy.reportAge = l.duration(age, "report_age")
		}
		if sessions, ok := limits["sessions"]; ok {
			l.sessionLimits(sessions)
		}
	}
	if m, ok := members["apps"]; ok {
		for _, n := range l.entries(m, "apps", maxApps) {
			l.app(n)
		}
	}
	if m, ok := members["require"]; ok {
		for _, n := range l.entries(m, "require", maxRules) {
			l.rule(n)
		}
	}
	if m, ok := members["tests"]; ok {
		for _, n := range l.entries(m, "tests", maxTests) {
			l.test(n)
		}
	}
	l.assign()
}

func (l *loading) entries(m member, what string, most int) []ast.Node {
	nodes := l.sequence(m, what)
	if len(nodes) > most {
		l.add(m.at, "%s has %d entries and may have %d", what, len(nodes), most)
		return nil
	}
	return nodes
}

func (l *loading) app(n ast.Node) {
	members := l.mapping(n, "an application", "id", "hosts", "sensitivity", "devices", "elevation")
	if members == nil {
		return
	}
	var a app
	a.ID = l.id(n, members, "an application", "application ", appName)
	if m, ok := members["hosts"]; ok {
		for _, h := range l.entries(m, "hosts", maxHosts) {
			l.host(&a, m, h)
		}
	}
	// An application whose weight nobody wrote down would pass for a light one.
	m, ok := members["sensitivity"]
	if !ok {
		l.add(nodePlace(n), "an application needs sensitivity: low, medium, high or privileged")
	} else if i, ok := l.choice(m, "sensitivity", sensitivityNames[:]...); ok {
		a.sensitivity, a.Sensitivity = sensitivity(i), sensitivityNames[i]
	}
	if m, ok := members["devices"]; ok {
		a.Devices = l.flag(m, "devices")
	}
	if m, ok := members["elevation"]; ok {
		l.elevation(&a, m)
		if a.Devices {
			l.add(m.at, "nobody can grant a laptop by itself anything: remove devices, or elevation")
		}
	}
	l.policy.byID[a.ID] = len(l.policy.apps)
	l.policy.apps = append(l.policy.apps, a)
}

// elevation reads how an application is opened for minutes.
func (l *loading) elevation(a *app, m member) {
	terms := l.mapping(m.value, "elevation", "lasts", "approval")
	if terms == nil {
		return
	}
	lasts, ok := terms["lasts"]
	if !ok {
		l.add(nodePlace(m.value), "elevation needs lasts: for how long it opens, from %v to %v", minElevation, maxElevation)
		return
	}
	switch d := l.duration(lasts, "lasts"); {
	case d == 0: // complained of already
	case d < minElevation || d > maxElevation:
		l.add(nodePlace(lasts.value), "lasts must be from %v to %v", minElevation, maxElevation)
	default:
		a.Elevation.Lasts = d
	}
	if approval, ok := terms["approval"]; ok {
		s, _ := l.text(approval, "approval")
		if len(s.text) > maxGroup {
			l.add(s.at, "approval has %d bytes and may have %d: it is the name of a group", len(s.text), maxGroup)
		}
		a.Elevation.Approval = s.text
	}
}

// host reads one host name; no two applications share one.
func (l *loading) host(a *app, m member, n ast.Node) {
	s, ok := l.scalar(n)
	if !ok || !hostName(s.text) {
		l.add(place{max(s.at.line, m.at.line), s.at.column}, "a host is a lower-case name without scheme, port or path, as in wiki.corp.example")
		return
	}
	if other, taken := l.hosts[s.text]; taken {
		l.add(s.at, "host %s is already of application %s: a host belongs to one", s.text, short(other))
		return
	}
	l.hosts[s.text] = a.ID
	a.Hosts = append(a.Hosts, s.text)
}

// id reads the id of an entry, which no other of its kind may have.
func (l *loading) id(n ast.Node, members map[string]member, what, kind string, form func(string) string) string {
	m, ok := members["id"]
	if !ok {
		l.add(nodePlace(n), "%s needs an id", what)
		return ""
	}
	s, ok := l.text(m, "id")
	if !ok {
		return ""
	}
	if wrong := form(s.text); wrong != "" {
		l.add(s.at, "%q is no id of %s: %s", short(s.text), what, wrong)
		return ""
	}
	if first, taken := l.ids[kind+s.text]; taken {
		l.add(s.at, "%s%s is there already, in line %d: choose another id", kind, s.text, first.line)
		return s.text
	}
	l.ids[kind+s.text] = s.at
	return s.text
}

func appName(s string) string {
	if len(s) > maxName || s[0] == '.' || s[0] == '-' || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
		return "use lower-case letters, digits, dots, hyphens and underscores, at most 64, and begin with a letter or digit"
	}
	return ""
}

// ruleName refuses ids that could be taken for another reason's code.
func ruleName(s string) string {
	if !posture.Reason(s).Valid() {
		return "use lower-case words joined by hyphens, at most 40 characters"
	}
	for _, code := range reservedCodes() {
		if s == code {
			return "the code has a meaning of its own, choose another"
		}
	}
	return ""
}

func hostName(s string) bool {
	return s != "" && len(s) <= 253 && s[0] != '.' && s[0] != '-' && s[len(s)-1] != '.' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789.-") == "" && !strings.Contains(s, "..")
}

func (l *loading) rule(n ast.Node) {
	members := l.mapping(n, "a rule", "id", "for", "that", "otherwise", "grace", "grace_unknown", "text", "fix")
	if members == nil {
		return
	}
	r := rule{id: l.id(n, members, "a rule", "rule ", ruleName)}
	if m, ok := members["that"]; ok {
		var at place
		if r.condition, at = l.condition(m, "that"); r.condition != nil && r.condition.constant() {
			l.add(at, "that names no input, so it is the same for everybody: name what must hold, or remove the rule")
		}
	} else {
		l.add(nodePlace(n), "a rule needs that: the condition to meet")
	}
	var at place
	if m, ok := members["for"]; ok {
		r.scope, at = l.condition(m, "for")
	}
	l.scopes = append(l.scopes, at)
	l.consequence(&r, members)
	r.text, r.fix = l.sentence(members, "text"), l.sentence(members, "fix")
	l.policy.rules = append(l.policy.rules, r)
}

// consequence reads what an unmet rule leads to.
func (l *loading) consequence(r *rule, members map[string]member) {
	if m, ok := members["otherwise"]; ok {
		words := []string{Deny.String(), StepUp.String(), Restrict.String(), "report_only"}
		i, _ := l.choice(m, "otherwise", words...)
		switch r.reportOnly = i == len(words)-1; {
		case r.reportOnly:
			r.otherwise = Allow
		case i >= 0:
			r.otherwise = Outcome(i)
		}
	}
	if m, ok := members["grace"]; ok {
		r.grace = l.duration(m, "grace")
		if r.reportOnly {
			l.add(m.at, "a rule that only reports needs no grace: remove it")
		}
		if r.condition != nil && r.about()&^aboutDevice != 0 {
			l.add(m.at, "grace is a laptop's budget, and this rule is about who asks and how: remove grace, or split the rule")
		}
	}
	if m, ok := members["grace_unknown"]; ok {
		r.graceUnknown = l.flag(m, "grace_unknown")
		if r.grace == 0 {
			l.add(m.at, "grace_unknown needs grace beside it")
		}
	}
}

func (l *loading) sentence(members map[string]member, name string) string {
	m, ok := members[name]
	if !ok {
		return ""
	}
	s, _ := l.text(m, name)
	if s.text = strings.TrimSpace(s.text); len(s.text) > maxText {
		l.add(s.at, "%s has %d bytes and may have %d: one sentence", name, len(s.text), maxText)
	}
	return s.text
}

// condition compiles one, and puts its faults where they are in the file. It begins
// at the place that is returned.
func (l *loading) condition(m member, what string) (*condition, place) {
	s, ok := l.text(m, what)
	if !ok {
		return nil, place{}
	}
	c, faults := l.policy.env.compile(s.text)
	for _, f := range faults {
		l.add(s.find(l.source, f.line, f.column), "%s", f.text)
	}
	if c != nil {
		for _, id := range c.apps {
			if _, named := l.policy.byID[id.text]; !named {
				l.add(s.find(l.source, id.at.line, id.at.column), "no application has the id '%s': name one of apps", short(id.text))
			}
		}
	}
	return c, s.find(l.source, 1, 1)
}

// assign finds, once for all who ask, which rules can apply to which application: a
// `for` that names app alone is the same for all of them. A rule that can apply to
// none was written for something that is not there.
func (l *loading) assign() {
	if len(l.found) > 0 {
		return
	}
	p := l.policy
	reached := make([]bool, len(p.rules))
	for i := range p.apps {
		a := &p.apps[i]
		nobody := &reading{env: p.env, app: a, in: &Inputs{}}
		for j := range p.rules {
			r := &p.rules[j]
			u := use{rule: j, always: true, request: r.about()&aboutRequest != 0}
			if r.scope != nil {
				u.always = r.scope.about == 0
				// What is false whatever is not known stays false, unless it asks what is known.
				if r.scope.evaluate(nobody).holds == no && !r.scope.opens {
					continue
				}
			}
			reached[j] = true
			a.rules = append(a.rules, u)
		}
	}
	for j := range p.rules {
		if !reached[j] && len(p.apps) > 0 {
			l.add(l.scopes[j], "rule %s can never apply: its for is false for every application", p.rules[j].id)
		}
	}
}
