package decide

// sessionLimits adds what limits.sessions says of a visitor. A time that is unknown,
// or lies in the future, is past every limit.
func (l *look) sessionLimits(d *Decision, a *app) {
	if l.in.Visitor == nil {
		return
	}
	s, limits, now := &l.in.Visitor.Session, &l.policy.sessions[a.sensitivity], l.in.Now
	if lapsed(s.SignedInAt, limits.absolute, now) {
		d.Reasons = append(d.Reasons, standingReason(codeSessionOld))
	}
	if lapsed(s.SeenAt, limits.idle, now) {
		d.Reasons = append(d.Reasons, standingReason(codeSessionIdle))
	}
	d.Until = earlier(d.Until, lapses(s.SignedInAt, limits.absolute, now))
	d.Until = earlier(d.Until, lapses(s.SeenAt, limits.idle, now))
}

// elevation adds what an application that opens for minutes asks for. A laptop by
// itself was granted nothing.
func (l *look) elevation(d *Decision, a *app) {
	if a.Elevation.Lasts <= 0 {
		return
	}
	var got elevated
	if v := l.in.Visitor; v != nil {
		got = v.elevated(a.ID, l.in.Now)
		d.Until = earlier(d.Until, nextElevation(&l.reading))
	}
	if got.active && (a.Elevation.Approval == "" || got.approved) {
		d.Elevated = true
		return
	}
	d.Reasons = append(d.Reasons, standingReason(codeElevation))
}
