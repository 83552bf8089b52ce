package decide

import "time"

// GraceBook is what is kept of a device between reports: one spell per rule that
// has grace and is not as good as new. It is a value: store it as JSON, give it
// in with [Inputs.Grace], replace it by what [Policy.NextGrace] returns.
type GraceBook map[string]Spell

// Spell is one rule's budget for one device.
type Spell struct {
	// BadSince is when the failure began that grace covers; zero outside one.
	BadSince time.Time `json:"bad_since,omitzero"`
	// GoodSince is when the rule was last met after a failure; zero while it is
	// not met.
	GoodSince time.Time `json:"good_since,omitzero"`
	// SpentMS is how much of the budget earlier failures used, in milliseconds.
	SpentMS int64 `json:"spent_ms,omitempty"`
}

// refillAfter is how long a rule must be met before its budget is whole again.
// Without it a device that fails for a moment each day would never be refused.
const refillAfter = 7 * 24 * time.Hour

// state of a rule, as its budget sees it.
type spellState uint8

const (
	met spellState = iota
	// uncovered: not met in a way that gets no grace. The budget rests.
	uncovered
	// covered: not met, and grace covers it. It is the worst of the three: the
	// budget runs while one application profits from it.
	covered
)

func (r *rule) spellState(that finding) spellState {
	switch {
	case that.holds == yes:
		return met
	case that.holds == no || r.graceUnknown:
		return covered
	}
	return uncovered
}

// next is the spell after the rule was seen in a state at a time.
func (s Spell) next(state spellState, now time.Time, budget time.Duration) Spell {
	// A clock that was set back, or a stored value out of range, must not make
	// the budget larger.
	if s.BadSince.After(now) {
		s.BadSince = now
	}
	if s.GoodSince.After(now) {
		s.GoodSince = now
	}
	s.SpentMS = min(max(s.SpentMS, 0), budget.Milliseconds())
	if !s.GoodSince.IsZero() && now.Sub(s.GoodSince) >= refillAfter {
		s = Spell{}
	}
	if state == covered {
		if s.BadSince.IsZero() {
			s.BadSince = now
		}
		s.GoodSince = time.Time{}
		return s
	}
	if !s.BadSince.IsZero() {
		// Rounded up, so that no number of short failures is free.
		used := (now.Sub(s.BadSince) + time.Millisecond - 1).Milliseconds()
		s.SpentMS = min(s.SpentMS+used, budget.Milliseconds())
		s.BadSince = time.Time{}
	}
	switch {
	case state == uncovered:
		s.GoodSince = time.Time{}
	case s.SpentMS > 0 && s.GoodSince.IsZero():
		s.GoodSince = now
	}
	return s
}

// end is when the budget of a spell that is under way is used up.
func (s Spell) end(budget time.Duration) time.Time {
	return s.BadSince.Add(budget - time.Duration(s.SpentMS)*time.Millisecond)
}

// graceEnd is when an unmet rule begins to count; zero when it does already. Grace
// is a laptop's budget: without a laptop there is none.
func (l *look) graceEnd(r *rule, that finding) time.Time {
	if r.grace == 0 || l.reading.known&aboutDevice == 0 || r.spellState(that) != covered {
		return time.Time{}
	}
	return l.in.Grace[r.id].next(covered, l.in.Now, r.grace).end(r.grace)
}

// NextGrace is the book after this look at the device: call it once per stored
// Result and store what it returns with it. It may be called before or after
// [Policy.Decide], which comes to the same either way. A rule is as bad as it is
// for the worst application; without a fresh Result, or when something goes
// wrong, the book stays as it is.
func (p *Policy) NextGrace(in Inputs) (book GraceBook) {
	defer func() {
		if recover() != nil {
			book = in.Grace
		}
	}()
	l := p.look(&in)
	defer l.close()
	if l.reading.known&aboutDevice == 0 || l.stale() {
		return in.Grace
	}
	l.same = make(map[int]ruling, len(p.rules))
	worst := map[int]spellState{}
	for i := range p.apps {
		l.reading.app = &p.apps[i]
		for _, u := range p.apps[i].rules {
			r := &p.rules[u.rule]
			if r.grace == 0 {
				continue
			}
			state := met
			if got := l.ruling(u); got.applies {
				state = r.spellState(got.that)
			}
			worst[u.rule] = max(worst[u.rule], state)
		}
	}
	book = GraceBook{}
	for i, state := range worst {
		r := &p.rules[i]
		if spell := in.Grace[r.id].next(state, in.Now, r.grace); spell != (Spell{}) {
			book[r.id] = spell
		}
	}
	return book
}

// spent is a book without any grace left, which tests of a policy use.
func (p *Policy) spent(now time.Time) GraceBook {
	book := GraceBook{}
	for _, r := range p.rules {
		if r.grace > 0 {
			book[r.id] = Spell{BadSince: now, SpentMS: r.grace.Milliseconds()}
		}
	}
	return book
}
