package decide

import (
	"time"

	"cel.dev/cel-go/interpreter"

	"muster/attest/posture"
	"muster/server/verify"
)

// Decide answers for one visitor, or device, and one application, without a
// request: rules that name it are not met. It is pure: the same policy and inputs
// give the same Decision. It does not fail: what goes wrong denies, with the code
// internal.
func (p *Policy) Decide(in Inputs) (d Decision) {
	defer func() {
		if recover() != nil {
			d = internalError()
		}
	}()
	l := p.look(&in)
	d = l.decide(in.App)
	l.close()
	return d
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
	l.same, l.said = make(map[int]ruling, len(p.rules)), map[int]Reason{}
	for id := range all {
		all[id] = l.decide(id)
	}
	l.close()
	return all
}

// internalError is the answer where ours is the defect.
func internalError() Decision {
	return Decision{Reasons: []Reason{standingReason(codeInternal)}}
}

// look is somebody, or a laptop by itself, under one policy, for any application.
type look struct {
	policy  *Policy
	in      *Inputs
	held    *Inputs // in, where it is lent by the environment: gone after close
	reading reading
	frame   *interpreter.ExecutionFrame // of reading, for CEL
	// same has what rules came to that are the same for every application, and said
	// the reasons of those that are not met; nil when only one is asked for.
	same map[int]ruling
	said map[int]Reason
	// prepare: rules that name the request go to residual instead.
	prepare  bool
	residual []use
}

func (p *Policy) look(in *Inputs) *look {
	held, _ := p.env.inputs.Get().(*Inputs)
	if held == nil {
		held = new(Inputs)
	}
	*held = *in // a few kilobytes, which need no memory of their own each time
	l := &look{policy: p, in: held, held: held, reading: reading{env: p.env, in: held, now: in.Now, known: in.known()}}
	return l.open()
}

// open makes the frame; close gives it back. One that a panic kept is lost, which
// is right.
func (l *look) open() *look {
	l.frame, _ = interpreter.NewExecutionFrame(&l.reading) // refuses only what is no activation
	return l
}

func (l *look) close() {
	l.frame.Close()
	if l.held != nil {
		*l.held = Inputs{}
		l.policy.env.inputs.Put(l.held)
	}
}

func (l *look) decide(id string) Decision {
	d := Decision{Outcome: Allow, Reasons: []Reason{}, Policy: l.policy.digest}
	i, named := l.policy.byID[id]
	if !named {
		d.Outcome, d.Reasons = Deny, []Reason{standingReason(codeAppUnknown)}
		return d
	}
	if v := l.in.Visitor; v != nil && v.Session.Over != "" {
		return NoSession(v.Session.Over)
	}
	standing, last := l.standing()
	d.Reasons = append(d.Reasons, standing...)
	if !last {
		a := &l.policy.apps[i]
		l.reading.app = a
		d.Until = l.lease()
		l.sessionLimits(&d, a)
		l.elevation(&d, a)
		for _, u := range a.rules {
			l.apply(&d, u)
		}
	}
	d.settle()
	return d
}

// settle finds the outcome from the reasons that count.
func (d *Decision) settle() {
	for i := range d.Reasons {
		if r := &d.Reasons[i]; r.counts() {
			d.Outcome = min(d.Outcome, r.Outcome)
		}
	}
	d.Elevated = d.Elevated && d.Outcome >= Restrict
}

// standing has the reasons about the laptop that need no rule. With last the rules
// do not matter: there is nothing to judge, or nothing that could help. A visitor
// without a link has no laptop; one that sleeps still counts.
func (l *look) standing() (reasons []Reason, last bool) {
	if !l.laptop() {
		return nil, false
	}
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

// laptop reports whether there must be one.
func (l *look) laptop() bool { return l.in.Visitor == nil || l.in.Visitor.Session.Link.present() }

// stale reports whether the lease of the report has ended. It runs from the
// nonce's issue, by the server's clock; one that lies ahead of that clock is not
// believed.
func (l *look) stale() bool { return lapsed(l.in.Device.IssuedAt, l.policy.reportAge, l.in.Now) }

// lapsed reports whether something that lasts so long since a time is over; it is,
// where that time is unknown or lies in the future.
func lapsed(since time.Time, lasts time.Duration, now time.Time) bool {
	return since.IsZero() || since.After(now.Add(futureSlack)) || !now.Before(since.Add(lasts))
}

// lapses is when that changes next.
func lapses(since time.Time, lasts time.Duration, now time.Time) time.Time {
	if since.IsZero() {
		return time.Time{}
	}
	return earlier(afterNow(since.Add(-futureSlack), now), afterNow(since.Add(lasts), now))
}

// lease is when staleness changes.
func (l *look) lease() time.Time {
	if !l.laptop() {
		return time.Time{}
	}
	return lapses(l.in.Device.IssuedAt, l.policy.reportAge, l.in.Now)
}

// apply adds what one rule says.
func (l *look) apply(d *Decision, u use) {
	if u.request && l.prepare {
		if l.mayApply(u) {
			l.residual = append(l.residual, u)
		}
		return
	}
	r := &l.policy.rules[u.rule]
	for _, c := range [...]*condition{r.scope, r.condition} {
		if c == nil || (c == r.scope && u.always) {
			continue
		}
		for _, lapse := range c.lapses {
			d.Until = earlier(d.Until, lapse.next(&l.reading))
		}
	}
	got := l.ruling(u)
	if !got.unmet() {
		return
	}
	reason, said := l.said[u.rule]
	if !said {
		reason = l.reason(r, got.that)
		if l.said != nil && l.shared(u) {
			l.said[u.rule] = reason
		}
	}
	d.Until = earlier(earlier(d.Until, reason.Grace), reason.Bypass)
	if cap(d.Reasons) == 0 { // who misses one rule mostly misses several
		d.Reasons = make([]Reason, 0, 4)
	}
	d.Reasons = append(d.Reasons, reason)
}

// bypassed is until when an administrator lets the rule pass; zero for not.
func (l *look) bypassed(r *rule) (end time.Time) {
	latest := func(list []Bypass) {
		for _, b := range list {
			if b.Rule == r.id && b.Ends.After(l.reading.now) && b.Ends.After(end) {
				end = b.Ends
			}
		}
	}
	latest(l.in.Bypasses)
	if r.condition.about&aboutDevice != 0 {
		latest(l.in.DeviceBypasses)
	}
	return end
}

// shared reports whether a rule comes to the same for every application that it is
// for.
func (l *look) shared(u use) bool { return u.always && !l.policy.rules[u.rule].condition.byApp }

// ruling evaluates a rule, once for all applications where they make no
// difference.
func (l *look) ruling(u use) ruling {
	r := &l.policy.rules[u.rule]
	if l.same == nil || !l.shared(u) {
		return r.rule(l.frame, u.always)
	}
	got, done := l.same[u.rule]
	if !done {
		got = r.rule(l.frame, true)
		l.same[u.rule] = got
	}
	return got
}

// reason says in words why a rule is not met, and whether that counts.
func (l *look) reason(r *rule, that finding) Reason {
	reason := Reason{
		Code: r.id, Outcome: r.otherwise, ReportOnly: r.reportOnly, Bypass: l.bypassed(r),
		Unknown: that.holds == unsure, Text: r.text, Fix: r.fix, Person: r.aboutPerson(), request: r.about()&aboutRequest != 0,
	}
	if end := l.graceEnd(r, that); end.After(l.in.Now) {
		reason.Grace = end
	}
	of, own := l.reading.culprit(r.condition, that)
	unknown := reason.Unknown
	if of != nil {
		if of.about == aboutDevice && l.reading.known&aboutDevice == 0 && l.in.Visitor != nil {
			// What is missing is not the claim, but the laptop that would make it: the
			// person can mend that on the spot, and the rule's own words do not fit.
			of, unknown = l.policy.env.field("session.link.state"), false
			reason.Text, reason.Fix = "", ""
			if reason.Outcome == Deny {
				reason.Outcome = StepUp
			}
		}
		reason.Claim = of.claim
	}
	if reason.Text != "" && reason.Fix != "" {
		return reason
	}
	var platform posture.Platform
	if l.reading.known&aboutDevice != 0 {
		platform = l.in.Device.Device.Platform
	}
	text, fix := l.policy.env.advice(l.policy.env.saying(of), platform, own, unknown)
	if reason.Text == "" {
		reason.Text = text
	}
	if reason.Fix == "" {
		reason.Fix = fix
	}
	return reason
}
