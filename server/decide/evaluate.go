package decide

import (
	"fmt"
	"slices"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"muster/attest/posture"
	"muster/server/verify"
)

// truth is what a condition came to. The zero value says that nobody could tell.
type truth uint8

const (
	unsure truth = iota
	yes
	no
)

// finding is what one evaluation of a condition gave.
type finding struct {
	holds truth
	// unknown has the fields because of which it is unsure.
	unknown []string
	// err is why it failed; then it is unsure too.
	err error
}

// reading is one look at a device for an application: what CEL asks for inputs.
type reading struct {
	env    *environment
	app    *app
	result *verify.Result
	now    time.Time
	// seen, where set, is told of every field that was asked for.
	seen func(path string, value ref.Val)
}

// ResolveName answers CEL (cel.Activation). A field that is not known is a CEL
// unknown, never an absent or zero value.
func (r *reading) ResolveName(name string) (any, bool) {
	i, ok := r.env.index[name]
	if !ok {
		return r.ofApp(name)
	}
	value := r.env.fields[i].value(r.result, r.now)
	if r.seen != nil {
		r.seen(name, value)
	}
	if value == nil {
		return r.env.blank[name], true
	}
	return value, true
}

func (r *reading) ofApp(name string) (any, bool) {
	switch name {
	case appID:
		return types.String(r.app.ID), true
	case appSensitivity:
		return symbol{sensitivityType, uint8(r.app.sensitivity)}, true
	}
	return nil, false
}

// Parent is none (cel.Activation).
func (r *reading) Parent() cel.Activation { return nil }

// evaluate runs the condition. Only CEL's own true and false are an answer.
func (c *condition) evaluate(r cel.Activation) finding {
	value, _, err := c.program.Eval(r)
	if err != nil {
		return finding{err: fmt.Errorf("evaluate %q: %w", short(c.text), err)}
	}
	switch v := value.(type) {
	case types.Bool:
		if v {
			return finding{holds: yes}
		}
		return finding{holds: no}
	case *types.Unknown:
		return finding{unknown: namesOf(v)}
	}
	return finding{err: fmt.Errorf("evaluate %q: came to %v", short(c.text), value)}
}

// namesOf lists the fields that an unknown is made of, in the order of the
// vocabulary.
func namesOf(u *types.Unknown) (names []string) {
	for _, id := range u.IDs() {
		trails, _ := u.GetAttributeTrails(id)
		for _, t := range trails {
			if !slices.Contains(names, t.Variable()) {
				names = append(names, t.Variable())
			}
		}
	}
	return names
}

// ruling is what one rule came to for one device and application.
type ruling struct {
	applies bool
	scope   finding
	that    finding
}

// unmet reports whether the rule speaks against the device.
func (r *ruling) unmet() bool { return r.applies && r.that.holds != yes }

// rule evaluates one. A `for` that is not certainly false applies.
func (r *rule) rule(look cel.Activation, always bool) ruling {
	var got ruling
	if got.applies = always; !always {
		got.scope = r.scope.evaluate(look)
		got.applies = got.scope.holds != no
	}
	if got.applies {
		got.that = r.condition.evaluate(look)
	}
	return got
}

// culprit is the claim that a reason is about, with the reason that the claim
// itself has: the first that is unknown where that is why, else the first that
// is no, else the first that the rule names.
func (r *reading) culprit(c *condition, f finding) (claim string, own posture.Reason) {
	paths := f.unknown
	if len(paths) == 0 {
		paths = c.reads
	}
	for _, path := range paths {
		name := r.env.fields[r.env.index[path]].claim
		proper := r.proper(name)
		if claim == "" || (proper != nil && proper.State == posture.No && len(f.unknown) == 0) {
			claim, own = name, ""
			if proper != nil {
				own = proper.Reason
			}
			if proper != nil && proper.State == posture.No {
				break
			}
		}
	}
	return claim, own
}

// proper returns the claim of a name; nil for level, report, quote and device.
func (r *reading) proper(name string) *posture.Claim {
	if of := r.env.claims[name]; of != nil {
		return of(r.result)
	}
	return nil
}
