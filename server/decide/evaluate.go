package decide

import (
	"fmt"
	"slices"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"muster/attest/posture"
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

// reading is one look at somebody, and a laptop, for an application: what CEL asks
// for inputs.
type reading struct {
	env     *environment
	app     *app
	in      *Inputs
	request *Request // nil until the check
	now     time.Time
	// known is of whom anything is; all other fields are unknown.
	known subject
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
	f := &r.env.fields[i]
	value := f.value(r)
	if r.seen != nil {
		r.seen(name, value)
	}
	if value == nil {
		return f.blank, true
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

// evaluate runs the condition. Only CEL's own true and false are an answer. An
// *interpreter.ExecutionFrame may be used for many conditions that are not costly:
// of those CEL keeps nothing in it.
func (c *condition) evaluate(r cel.Activation) finding {
	if frame, shared := r.(*interpreter.ExecutionFrame); shared && c.costly {
		r = frame.Scope()
	}
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

// culprit is the field that a reason is about, with the reason that its claim itself
// has: the first that is unknown, where that is why; else of the part that is false
// the first whose claim is no, else its first.
func (r *reading) culprit(c *condition, f finding) (of *field, own posture.Reason) {
	paths := c.reads
	if len(f.unknown) > 0 {
		paths = nil
		for _, path := range c.reads { // in the order in which the rule names them
			if slices.Contains(f.unknown, path) {
				paths = append(paths, path)
			}
		}
	} else if len(c.parts) > 1 && f.holds == no {
		paths = r.falsePart(c)
	}
	for _, path := range paths {
		this := r.env.field(path)
		proper := r.proper(this)
		if of == nil || (proper != nil && proper.State == posture.No && len(f.unknown) == 0) {
			of, own = this, ""
			if proper != nil {
				own = proper.Reason
			}
			if proper != nil && proper.State == posture.No {
				break
			}
		}
	}
	return of, own
}

// falsePart is what the part reads at which a condition turned out false: CEL looks
// from left to right and stops there.
func (r *reading) falsePart(c *condition) []string {
	again, last := *r, ""
	again.seen = func(path string, _ ref.Val) { last = path }
	c.evaluate(&again)
	for _, part := range c.parts {
		if slices.Contains(part, last) {
			return part
		}
	}
	return c.reads
}

// proper returns the claim of a field; nil for level, report, quote, device and
// all that is not of a laptop, and where there is no laptop.
func (r *reading) proper(f *field) *posture.Claim {
	if of := r.env.claims[f.claim]; of != nil && r.known&aboutDevice != 0 {
		return of(&r.in.Device)
	}
	return nil
}

// aboutPerson reports whether the rule asks who asks and how, and nothing of the
// laptop. A mixed rule counts as the laptop's: one that asks by itself could else get
// past a rule of which it meets no part.
func (r *rule) aboutPerson() bool {
	about := r.condition.about
	return about&(aboutVisitor|aboutRequest) != 0 && about&aboutDevice == 0
}
