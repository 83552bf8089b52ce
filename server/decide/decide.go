package decide

import (
	"time"

	"muster/server/verify"
)

// Decide answers for one device and one application. It is pure: the same policy
// and inputs give the same Decision. It does not fail: what goes wrong denies,
// with the code internal.
func (p *Policy) Decide(in Inputs) (d Decision) {
	defer func() {
		if recover() != nil {
			d = internalError()
		}
	}()
	return p.look(&in).decide(in.App)
}

// DecideAll answers for one device and every application that devices may ask
// for, by id; it costs less than asking one by one. Inputs.App is not used.
func (p *Policy) DecideAll(in Inputs) (all map[string]Decision) {
	defer func() {
		if recover() != nil {
			for id := range all {
				all[id] = internalError()
			}
		}
	}()
	all = map[string]Decision{}
	for _, a := range p.apps {
		if a.Devices {
			all[a.ID] = Decision{} // denies, should the loop below not come so far
		}
	}
	l := p.look(&in)
	for id := range all {
		all[id] = l.decide(id)
	}
	return all
}

// internalError is the answer where ours is the defect.
func internalError() Decision {
	return Decision{Reasons: []Reason{standingReason(codeInternal)}}
}

// look is one device under one policy, for any application.
type look struct {
	policy  *Policy
	in      *Inputs
	reading reading
	// same has what rules came to that are the same for every application.
	same map[int]ruling
}

func (p *Policy) look(in *Inputs) *look {
	return &look{
		policy: p, in: in,
		reading: reading{env: p.env, result: &in.Device, now: in.Now},
	}
}

func (l *look) decide(id string) Decision {
	d := Decision{Outcome: Allow, Reasons: []Reason{}, Policy: l.policy.digest}
	i, named := l.policy.byID[id]
	if !named {
		d.Outcome, d.Reasons = Deny, []Reason{standingReason(codeAppUnknown)}
		return d
	}
	standing, last := l.standing()
	d.Reasons = append(d.Reasons, standing...)
	if !last {
		d.Until = l.lease()
		a := &l.policy.apps[i]
		l.reading.app = a
		for _, u := range a.rules {
			l.apply(&d, u)
		}
	}
	for i := range d.Reasons {
		if r := &d.Reasons[i]; r.counts() {
			d.Outcome = min(d.Outcome, r.Outcome)
		}
	}
	return d
}

// standing has the reasons that need no rule. With last the rules do not matter:
// there is nothing to judge, or nothing that could help.
func (l *look) standing() (reasons []Reason, last bool) {
	if !l.in.HasResult {
		return []Reason{standingReason(codeNoReport)}, true
	}
	r := &l.in.Device
	switch r.Device.State {
	case "active":
	case "revoked":
		return []Reason{standingReason(codeRevoked)}, true
	default:
		reasons = append(reasons, standingReason(codePending))
	}
	if l.stale() {
		reasons = append(reasons, standingReason(codeReportStale))
	}
	for _, f := range r.Findings {
		if f.Tier == verify.Contraindicated {
			reasons = append(reasons, Reason{Code: f.Code, Claim: "device", Text: f.Text, Fix: f.Fix})
		}
	}
	return reasons, false
}

// stale reports whether the lease of the report has ended. It runs from the
// nonce's issue, by the server's clock; one that lies ahead of that clock is not
// believed.
func (l *look) stale() bool {
	issued := l.in.Device.IssuedAt
	return issued.IsZero() || issued.After(l.in.Now.Add(futureSlack)) ||
		!l.in.Now.Before(issued.Add(l.policy.reportAge))
}

// lease is when that changes.
func (l *look) lease() time.Time {
	issued := l.in.Device.IssuedAt
	if issued.IsZero() {
		return time.Time{}
	}
	return earlier(afterNow(issued.Add(-futureSlack), l.in.Now), afterNow(issued.Add(l.policy.reportAge), l.in.Now))
}

// apply adds what one rule says.
func (l *look) apply(d *Decision, u use) {
	r := &l.policy.rules[u.rule]
	for _, c := range []*condition{r.scope, r.condition} {
		if c == nil || (c == r.scope && u.always) {
			continue
		}
		for _, lapse := range c.lapses {
			d.Until = earlier(d.Until, lapse.next(&l.policy.env.fields[lapse.field], &l.in.Device, l.in.Now))
		}
	}
	got := l.ruling(u)
	if !got.unmet() {
		return
	}
	reason := l.reason(r, got.that)
	if end := l.graceEnd(r, got.that); end.After(l.in.Now) {
		reason.Grace = end
		d.Until = earlier(d.Until, end)
	}
	d.Reasons = append(d.Reasons, reason)
}

// ruling evaluates a rule, once for all applications where they make no
// difference.
func (l *look) ruling(u use) ruling {
	r := &l.policy.rules[u.rule]
	if !u.always || r.condition.byApp {
		return r.rule(&l.reading, u.always)
	}
	got, done := l.same[u.rule]
	if !done {
		if l.same == nil {
			l.same = make(map[int]ruling, len(l.policy.rules))
		}
		got = r.rule(&l.reading, true)
		l.same[u.rule] = got
	}
	return got
}

// reason says in words why a rule is not met.
func (l *look) reason(r *rule, that finding) Reason {
	claim, own := l.reading.culprit(r.condition, that)
	reason := Reason{
		Code: r.id, Claim: claim, Outcome: r.otherwise, ReportOnly: r.reportOnly,
		Unknown: that.holds == unsure, Text: r.text, Fix: r.fix,
	}
	text, fix := l.policy.env.advice(claim, l.in.Device.Device.Platform, own, reason.Unknown)
	if reason.Text == "" {
		reason.Text = text
	}
	if reason.Fix == "" {
		reason.Fix = fix
	}
	return reason
}
