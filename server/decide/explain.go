package decide

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/common/types/ref"
)

// Explanation is a decision with everything that it rests on.
type Explanation struct {
	App string `json:"app"`
	// Device is the laptop; empty when there is none. User is who asks; empty when a
	// laptop asks by itself.
	Device   string        `json:"device"`
	User     string        `json:"user,omitempty"`
	At       time.Time     `json:"at"`
	Decision Decision      `json:"decision"`
	Rules    []RuleAccount `json:"rules"` // all of the policy, in its order
}

// RuleAccount says what one rule came to.
type RuleAccount struct {
	ID string `json:"id"`
	// Applies is yes, no, or unknown, which applies as well.
	Applies string `json:"applies"`
	// Met is yes, no or unknown; empty where the rule does not apply.
	Met string `json:"met,omitempty"`
	// Request: the rule names the request, of which nothing is known here.
	Request bool   `json:"request,omitempty"`
	For     string `json:"for,omitempty"` // the condition as written
	That    string `json:"that"`
	// Unknown has the fields because of which one of the two could not be told.
	Unknown []string `json:"unknown,omitempty"`
	// Failures are what CEL said where a condition failed.
	Failures []string `json:"failures,omitempty"`
	// Read has what was looked at, in that order, each as path = value.
	Read []string `json:"read,omitempty"`
	// Reason is what the rule adds to the decision; nil when nothing.
	Reason *Reason `json:"reason,omitempty"`
}

// Explain decides and says why, rule by rule. Its Decision is that of
// [Policy.Decide]. Rules are not looked at where they do not matter: an unknown
// application, a session that is over, a device without a report, a revoked one.
func (p *Policy) Explain(in Inputs) (e Explanation) {
	defer func() {
		if recover() != nil {
			e = Explanation{App: in.App, At: in.Now, Decision: internalError()}
		}
	}()
	e = Explanation{App: in.App, At: in.Now, Decision: p.Decide(in)}
	i, named := p.byID[in.App]
	l := p.look(&in)
	defer l.close()
	if l.laptop() {
		e.Device = in.Device.Device.ID
	}
	if in.Visitor != nil {
		e.User = in.Visitor.User.Name
	}
	over := in.Visitor != nil && in.Visitor.Session.Over != ""
	if _, last := l.standing(); !named || over || last {
		return e
	}
	l.reading.app = &p.apps[i]
	for j := range p.rules {
		account := p.rules[j].account(l.reading)
		for k := range e.Decision.Reasons {
			if e.Decision.Reasons[k].Code == account.ID {
				account.Reason = &e.Decision.Reasons[k]
			}
		}
		e.Rules = append(e.Rules, account)
	}
	return e
}

// account evaluates the rule afresh, noting what it reads.
func (r *rule) account(look reading) RuleAccount {
	a := RuleAccount{ID: r.id, Request: r.about()&aboutRequest != 0, That: strings.TrimSpace(r.condition.text)}
	seen := map[string]bool{}
	look.seen = func(path string, value ref.Val) {
		if seen[path] {
			return
		}
		seen[path] = true
		a.Read = append(a.Read, path+" = "+shown(value))
	}
	if r.scope != nil {
		a.For = strings.TrimSpace(r.scope.text)
	}
	got := r.rule(&look, r.scope == nil)
	a.Applies = word(got.scope.holds)
	if r.scope == nil {
		a.Applies = word(yes)
	}
	if got.applies {
		a.Met = word(got.that.holds)
	}
	for _, f := range []finding{got.scope, got.that} {
		a.Unknown = append(a.Unknown, f.unknown...)
		if f.err != nil {
			a.Failures = append(a.Failures, f.err.Error())
		}
	}
	return a
}

func word(t truth) string {
	switch t {
	case yes:
		return "yes"
	case no:
		return "no"
	}
	return "unknown"
}

// shown writes a value as a policy would.
func shown(v ref.Val) string {
	switch v := v.(type) {
	case nil:
		return "unknown"
	case symbol:
		return fmt.Sprint(v.Value())
	default:
		switch value := v.Value().(type) {
		case string:
			return strconv.Quote(value) // it came from the device
		case time.Duration:
			return "duration('" + value.String() + "')"
		default:
			return fmt.Sprint(value)
		}
	}
}

// Text writes the explanation for a person, about one screen.
func (e Explanation) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v", e.App, e.Decision.Outcome)
	if !e.Decision.Until.IsZero() {
		fmt.Fprintf(&b, ", until %s if nothing else changes", e.Decision.Until.UTC().Format(time.RFC3339))
	}
	b.WriteByte('\n')
	for _, r := range e.Decision.Reasons {
		fmt.Fprintf(&b, "  %s: %s\n    → %s\n", r.Code, r.Text, r.Fix)
		switch {
		case r.ReportOnly:
			b.WriteString("    does not count: the rule only reports\n")
		case !r.Grace.IsZero():
			fmt.Fprintf(&b, "    does not count before %s (grace)\n", r.Grace.UTC().Format(time.RFC3339))
		case !r.Bypass.IsZero():
			fmt.Fprintf(&b, "    does not count before %s (bypass)\n", r.Bypass.UTC().Format(time.RFC3339))
		}
	}
	for _, r := range e.Rules {
		r.text(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (a *RuleAccount) text(b *strings.Builder) {
	switch {
	case a.Applies == word(no):
		fmt.Fprintf(b, "- %s does not apply\n", a.ID)
	case a.Met == word(yes):
		fmt.Fprintf(b, "+ %s is met\n", a.ID)
	case a.Request && a.Met == word(unsure):
		fmt.Fprintf(b, "? %s depends on the request\n", a.ID)
	case a.Met == word(no):
		fmt.Fprintf(b, "x %s is not met\n", a.ID)
	default:
		fmt.Fprintf(b, "? %s could not be told, so it is not met\n", a.ID)
	}
	if a.Applies == word(unsure) {
		b.WriteString("    for could not be told, so it applies\n")
	}
	if a.For != "" {
		fmt.Fprintf(b, "    for  %s\n", strings.ReplaceAll(a.For, "\n", "\n         "))
	}
	fmt.Fprintf(b, "    that %s\n", strings.ReplaceAll(a.That, "\n", "\n         "))
	for _, r := range a.Read {
		fmt.Fprintf(b, "      %s\n", r)
	}
	for _, f := range a.Failures {
		fmt.Fprintf(b, "      failed: %s\n", f)
	}
}
