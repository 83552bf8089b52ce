package decide

import (
	"slices"
	"time"
)

// Prepared is a decision for one visitor, or device, and one application, before
// the request is known. It never changes, and is safe for concurrent use.
type Prepared struct {
	// Decision leaves out the rules that name the request. It holds until its Until.
	Decision Decision
	policy   *Policy
	in       *Inputs
	residual []use // rules that name the request and may apply; evaluated by For
}

// Prepare decides as far as the request has no say. It does not fail: what goes
// wrong denies, with the code internal.
func (p *Policy) Prepare(in Inputs) (r *Prepared) {
	defer func() {
		if recover() != nil {
			r = &Prepared{Decision: internalError()}
		}
	}()
	l := p.look(&in)
	l.prepare = true
	d := l.decide(in.App)
	l.close()
	r = &Prepared{Decision: d, policy: p, residual: l.residual}
	if !r.Final() {
		kept := in // a few kilobytes, for the rules that are left
		r.in = &kept
	}
	return r
}

// mayApply reports whether a rule that names the request can apply at all. Only
// what neither the request nor time can change is settled before.
func (l *look) mayApply(u use) bool {
	scope := l.policy.rules[u.rule].scope
	if u.always || scope.about&aboutRequest != 0 || len(scope.lapses) > 0 {
		return true
	}
	return scope.evaluate(l.frame).holds != no
}

// Final reports whether the request has no say at all.
func (r *Prepared) Final() bool { return len(r.residual) == 0 }

// For is the decision for a request that is made now; nil: nothing is known of it.
// It is never less severe than r.Decision. After r.Decision.Until it decides anew
// where the request has a say, and denies where it has none: prepare again.
func (r *Prepared) For(req *Request, now time.Time) (d Decision) {
	defer func() {
		if recover() != nil {
			d = internalError()
		}
	}()
	if r.policy == nil { // nobody prepared it, or that went wrong
		return Decision{Reasons: slices.Clone(r.Decision.Reasons)}
	}
	until := r.Decision.Until
	switch over := !until.IsZero() && !now.Before(until); {
	case r.in == nil && over:
		return internalError() // its inputs are gone: the caller kept it too long
	case r.in == nil:
		return r.Decision
	case over:
		in := *r.in
		in.Now = now
		return r.policy.Prepare(in).For(req, now)
	case now.Before(r.in.Now):
		now = r.in.Now // a clock that was set back must not make anything younger
	}
	return r.with(req, now)
}

// with adds what the rules say that name the request.
func (r *Prepared) with(req *Request, now time.Time) Decision {
	d := r.Decision
	d.Reasons = slices.Clip(d.Reasons) // others read them, so what is added goes elsewhere
	l := &look{policy: r.policy, in: r.in, reading: reading{
		env: r.policy.env, app: &r.policy.apps[r.policy.byID[r.in.App]], in: r.in, request: req, now: now, known: r.in.known(),
	}}
	if req != nil {
		l.reading.known |= aboutRequest
	}
	l.open()
	for _, u := range r.residual {
		l.apply(&d, u)
	}
	l.close()
	d.settle()
	return d
}

// NoSession is the decision where nobody is signed in, or the session is over:
// step_up, or deny where signing in again would not help. Why is the session's
// cause (session.Over), or sign-in. Its reason has that code, a sentence and a fix.
func NoSession(why string) Decision { return noSession(why) }

// OfDevice is the decision without the reasons that are about a person or a
// request: what the laptop itself is told. Where no policy had a say, it is deny.
func (d Decision) OfDevice() Decision {
	return d.without(func(r *Reason) bool { return r.Person })
}

// Alone is the decision for a laptop that asks by itself: without the reasons that
// are about a person alone. A rule that names the request, of which it can tell
// nothing, counts.
func (d Decision) Alone() Decision {
	return d.without(func(r *Reason) bool { return r.Person && !r.request })
}

func (d Decision) without(drop func(*Reason) bool) Decision {
	reasons := make([]Reason, 0, len(d.Reasons))
	for i := range d.Reasons {
		if !drop(&d.Reasons[i]) {
			reasons = append(reasons, d.Reasons[i])
		}
	}
	dropped := len(reasons) < len(d.Reasons)
	d.Reasons, d.Elevated = reasons, false
	switch {
	case d.Policy == "":
		d.Outcome = Deny
	case dropped:
		d.Outcome = Allow
		d.settle()
	}
	return d
}

// ElevationTerms say how an application is opened for minutes.
type ElevationTerms struct {
	Lasts time.Duration `json:"lasts"` // 0: the application asks for no elevation
	// Approval is the group of which another person must approve; administrators may
	// as well. Empty: nobody need approve.
	Approval string `json:"approval,omitempty"`
}
