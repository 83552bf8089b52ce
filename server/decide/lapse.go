package decide

import (
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// lapse is one comparison of an age with a constant: all that time alone can
// change about a condition.
type lapse struct {
	field int           // place in environment.fields
	age   time.Duration // what it is compared with
	after bool          // it turns just after that age, not at it
	// presence: no comparison, but has() or is_unknown(): it turns only when a
	// time ceases to be too far ahead.
	presence bool
	// turns: the field itself says when it changes.
	turns bool
}

// age notes the comparison that an age stands in. Anywhere else it is refused:
// then nobody could say when the decision changes next.
func (w *walk) age(x ast.NavigableExpr, name string) {
	const remedy = "compare it with <, <=, > or >= and a constant, as in %s < duration('24h')"
	parent, ok := x.Parent()
	if !ok || parent.Kind() != ast.CallKind {
		w.refuse(x, "an age is compared with constants only: "+remedy, name)
		return
	}
	call := parent.AsCall()
	var after bool
	mirrored := len(call.Args()) == 2 && call.Args()[1].ID() == x.ID()
	switch call.FunctionName() {
	case isUnknown, isPresent:
		w.into.lapses = append(w.into.lapses, lapse{field: w.env.index[name], presence: true})
		return
	case operators.Less, operators.GreaterEquals:
		after = mirrored
	case operators.LessEquals, operators.Greater:
		after = !mirrored
	default:
		w.refuse(x, "an age is compared with constants only: "+remedy, name)
		return
	}
	other := call.Args()[1]
	if mirrored {
		other = call.Args()[0]
	}
	d, err := writtenDuration(other)
	if err != nil {
		w.refuse(other, "an age is compared with constants only: "+remedy, name)
		return
	}
	w.into.lapses = append(w.into.lapses, lapse{field: w.env.index[name], age: d, after: after})
}

// next is the first instant after now at which the comparison turns; zero when
// it never does.
func (l lapse) next(r *reading) time.Time {
	f := &r.env.fields[l.field]
	if r.known&f.about == 0 {
		return time.Time{}
	}
	if l.turns {
		return f.turns(r)
	}
	at := f.since(r)
	if at.IsZero() {
		return time.Time{}
	}
	// Until then the time is too far ahead to be known.
	known := afterNow(at.Add(-futureSlack), r.now)
	if l.presence {
		return known
	}
	turn := at.Add(l.age)
	if l.after {
		turn = turn.Add(time.Nanosecond)
	}
	return earlier(known, afterNow(turn, r.now))
}

// afterNow drops an instant that has passed.
func afterNow(t, now time.Time) time.Time {
	if !t.After(now) {
		return time.Time{}
	}
	return t
}

// earlier returns the first of two instants, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
