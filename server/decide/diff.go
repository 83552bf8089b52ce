package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Change is one difference in meaning between two policies.
type Change struct {
	What string `json:"what"` // application wiki, rule patched, limits
	How  string `json:"how"`  // one sentence: added; removed; otherwise restrict → deny; ...
}

// Diff tells how a policy differs from another in what it means, not in how it is
// written: applications, rules in order, limits. What is in both policies, or only
// in the second, comes in the order of the second; what was removed comes after it.
// A nil policy is one without anything.
func Diff(from, to *Policy) []Change {
	if from == nil {
		from = new(Policy)
	}
	if to == nil {
		to = new(Policy)
	}
	d := &comparison{changes: []Change{}}
	d.apps(from, to)
	d.rules(from.rules, to.rules)
	d.limits(from, to)
	return d.changes
}

// comparison collects changes.
type comparison struct {
	what    string
	changes []Change
}

func (d *comparison) add(format string, args ...any) {
	d.changes = append(d.changes, Change{d.what, fmt.Sprintf(format, args...)})
}

// differ notes a member that has another value.
func (d *comparison) differ(name, from, to string) {
	if from != to {
		d.add("%s %s → %s", name, from, to)
	}
}

func (d *comparison) apps(from, to *Policy) {
	for i := range to.apps {
		a := &to.apps[i]
		d.what = "application " + a.ID
		if j, had := from.byID[a.ID]; had {
			d.app(&from.apps[j], a)
		} else {
			d.add("added: hosts %s, sensitivity %s, %s, %s", hostsOf(a), a.Sensitivity, devicesOf(a), termsOf(a.Elevation))
		}
	}
	for i := range from.apps {
		if _, has := to.byID[from.apps[i].ID]; !has {
			d.what = "application " + from.apps[i].ID
			d.add("removed")
		}
	}
}

func (d *comparison) app(from, to *app) {
	d.differ("hosts", hostsOf(from), hostsOf(to))
	d.differ("sensitivity", from.Sensitivity, to.Sensitivity)
	d.differ("devices", devicesOf(from), devicesOf(to))
	d.differ("elevation", termsOf(from.Elevation), termsOf(to.Elevation))
}

// hostsOf is the same in whatever order they are written.
func hostsOf(a *app) string {
	if len(a.Hosts) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(slices.Values(a.Hosts)), " ")
}

func devicesOf(a *app) string {
	if a.Devices {
		return "laptops may ask by themselves"
	}
	return "people only"
}

func termsOf(t ElevationTerms) string {
	switch {
	case t.Lasts <= 0:
		return "open without elevation"
	case t.Approval == "":
		return "opened for " + spell(t.Lasts)
	}
	return "opened for " + spell(t.Lasts) + " with approval of " + t.Approval
}

func (d *comparison) rules(from, to []rule) {
	stayed := inOrder(from, to)
	for i := range to {
		r := &to[i]
		d.what = "rule " + r.id
		j := slices.IndexFunc(from, func(o rule) bool { return o.id == r.id })
		if j < 0 {
			d.add("added: for %s, that %s, otherwise %s, grace %s", scopeOf(r), conditionOf(r), otherwiseOf(r), graceOf(r))
			continue
		}
		if !stayed[r.id] && i == 0 {
			d.add("moved: it comes first now")
		} else if !stayed[r.id] {
			d.add("moved: it comes after %s now", to[i-1].id)
		}
		d.rule(&from[j], r)
	}
	for i := range from {
		if !slices.ContainsFunc(to, func(o rule) bool { return o.id == from[i].id }) {
			d.what = "rule " + from[i].id
			d.add("removed")
		}
	}
}

func (d *comparison) rule(from, to *rule) {
	if tight(scopeOf(from)) != tight(scopeOf(to)) {
		d.differ("for", scopeOf(from), scopeOf(to))
	}
	if tight(conditionOf(from)) != tight(conditionOf(to)) {
		d.differ("that", conditionOf(from), conditionOf(to))
	}
	d.differ("otherwise", otherwiseOf(from), otherwiseOf(to))
	d.differ("grace", graceOf(from), graceOf(to))
	d.differ("text", wordsOf(from.text), wordsOf(to.text))
	d.differ("fix", wordsOf(from.fix), wordsOf(to.fix))
}

func scopeOf(r *rule) string {
	if r.scope == nil {
		return "always"
	}
	return condense(r.scope.text)
}

func conditionOf(r *rule) string { return condense(r.condition.text) }

func otherwiseOf(r *rule) string {
	if r.reportOnly {
		return "report_only"
	}
	return r.otherwise.String()
}

func graceOf(r *rule) string {
	switch {
	case r.grace == 0:
		return "none"
	case r.graceUnknown:
		return spell(r.grace) + " for what is unknown as well"
	}
	return spell(r.grace)
}

func wordsOf(s string) string {
	if s == "" {
		return "the usual words"
	}
	return fmt.Sprintf("%q", s)
}

// inOrder are the rules that both policies have in the same order: the largest
// set of those, the earliest in the second policy where there are several. The
// others have moved.
func inOrder(from, to []rule) map[string]bool {
	place := map[string]int{}
	for i, r := range from {
		place[r.id] = i
	}
	var common []string
	for _, r := range to {
		if _, had := place[r.id]; had {
			common = append(common, r.id)
		}
	}
	// best[i] is how many stay in order from common[i] on, itself included.
	best := make([]int, len(common))
	for i := len(common) - 1; i >= 0; i-- {
		for j := i + 1; j < len(common); j++ {
			if place[common[j]] > place[common[i]] {
				best[i] = max(best[i], best[j])
			}
		}
		best[i]++
	}
	stayed := map[string]bool{}
	most, last := 0, -1
	if len(best) > 0 {
		most = slices.Max(best)
	}
	for i, id := range common {
		if best[i] == most && most > 0 && place[id] > last {
			stayed[id], most, last = true, most-1, place[id]
		}
	}
	return stayed
}

func (d *comparison) limits(from, to *Policy) {
	d.what = "limits"
	d.differ("report_age", spell(from.reportAge), spell(to.reportAge))
	for i, name := range sensitivityNames {
		d.differ("sessions."+name+".idle", spell(from.sessions[i].idle), spell(to.sessions[i].idle))
		d.differ("sessions."+name+".absolute", spell(from.sessions[i].absolute), spell(to.sessions[i].absolute))
	}
}

// spell writes a duration as a policy does: 90m, 24h, 3d.
func spell(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day && d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}

// condense writes a condition as one line for people: without comments, and with
// one blank where there are some. Inside of quotes nothing is touched.
func condense(text string) string { return joined(text, func(rune, rune) bool { return true }) }

// tight is the same with only those blanks that keep two words apart: what differs
// by the others means the same.
func tight(text string) string {
	word := func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }
	return joined(text, func(a, b rune) bool { return word(a) && word(b) })
}

// joined drops comments, and puts one blank for several where keep wants one
// between the characters around.
func joined(text string, keep func(before, after rune) bool) string {
	var out []rune
	runes := []rune(text)
	blank := false
	for i := 0; i < len(runes); {
		c := runes[i]
		switch {
		case c == '/' && i+1 < len(runes) && runes[i+1] == '/':
			for i < len(runes) && runes[i] != '\n' {
				i++
			}
			blank = true
			continue
		case unicode.IsSpace(c):
			blank = true
			i++
			continue
		}
		if blank && len(out) > 0 && keep(out[len(out)-1], c) {
			out = append(out, ' ')
		}
		blank = false
		end := i + 1
		if c == '\'' || c == '"' {
			end = endOfQuote(runes, i)
		}
		out = append(out, runes[i:end]...)
		i = end
	}
	return string(out)
}

// endOfQuote is where a string of CEL that begins at a place ends: one or three
// quotes, and backslashes that take the next character away unless it is raw.
func endOfQuote(runes []rune, begin int) int {
	quote, marks := runes[begin], 1
	if begin+2 < len(runes) && runes[begin+1] == quote && runes[begin+2] == quote {
		marks = 3
	}
	raw := isRaw(runes, begin)
	for i := begin + marks; i < len(runes); i++ {
		if runes[i] == '\\' && !raw {
			i++
			continue
		}
		closing := 0
		for closing < marks && i+closing < len(runes) && runes[i+closing] == quote {
			closing++
		}
		if closing == marks {
			return i + marks
		}
	}
	return len(runes)
}

// isRaw looks for the r of a raw string before its quote; a name that ends with r
// never stands before a quote.
func isRaw(runes []rune, quote int) bool {
	for i := quote - 1; i >= 0 && i >= quote-2; i-- {
		switch runes[i] {
		case 'r', 'R':
			return true
		case 'b', 'B':
		default:
			return false
		}
	}
	return false
}
