package server

import (
	"context"
	"net/http"
	"net/url"

	"muster/server/decide"
	"muster/server/gateway"
	"muster/server/people"
	"muster/server/session"
	"muster/server/store"
	"muster/server/verify"
	"muster/server/web"
)

// office is what administrators' pages act on.
func (s *Server) office() *web.Office {
	return &web.Office{
		Devices: s.officeDevices,
		Approve: func(ctx context.Context, by people.Actor, id, code, owner, class string) error {
			a := Approval{Code: code, Class: verify.Class(class), Owner: owner}
			return s.byPerson(ctx, string(by), id, a.apply(string(by), s.now()), "device.approve", a)
		},
		Revoke: func(ctx context.Context, by people.Actor, id, why string) error {
			v := Revocation{Why: session.Cut(why)}
			return s.byPerson(ctx, string(by), id, v.apply, "device.revoke", v)
		},
		Device:      s.detail,
		DecideStart: s.officeDecides,

		Policy:    s.policyText,
		Simulate:  s.Simulate,
		UsePolicy: s.UsePolicy,
		Audit: func(ctx context.Context, before uint64, most int) (list []*store.Entry, err error) {
			err = s.store.View(ctx, func(tx *store.Tx) error {
				found, err := tx.AuditBefore(before, most)
				for i := range found {
					list = append(list, &found[i])
				}
				return err
			})
			return list, err
		},
	}
}

// officeDevices shows every laptop, those that wait first, then by name.
func (s *Server) officeDevices() (list []web.OfficeDevice) {
	for _, v := range s.Devices() {
		one, known := s.laptop(v.ID)
		if !known {
			continue
		}
		list = append(list, web.OfficeDevice{Laptop: *one, Serial: v.Serial, EnrolledAt: v.EnrolledAt, Group: v.Group, RevokedWhy: v.RevokedWhy})
	}
	return list
}

// policyText is the running policy and where it comes from.
func (s *Server) policyText() (digest, text, file string) {
	p := s.policy.Load()
	active, err := s.activePolicy(context.Background())
	if err != nil || active == nil {
		s.log.Error("policy in use not read", "error", err)
		return p.Digest(), "", s.config.Policy
	}
	return p.Digest(), string(active.YAML), s.config.Policy
}

// standingAt tells how the session behind muster's own cookie stands with the
// application at a host (web.StandingFunc).
func (s *Server) standingAt(ctx context.Context, cookie, host, back string, from people.From) (*web.Standing, bool) {
	app, form, ok := s.appAt(host)
	if !ok {
		return nil, false
	}
	a, named := s.policy.Load().App(app)
	if !named {
		return nil, false
	}
	back = backPath(back)
	out := &web.Standing{App: a, Host: form, Decision: *nobody.Decision(), Terms: a.Elevation,
		Again: s.scheme() + "://" + form + pathVisitStart + "?" + url.Values{"back": {back}}.Encode()}
	if cookie == "" {
		return out, true
	}
	found, err := s.people.VisitorBySession(ctx, cookie)
	if err != nil {
		if !isNobody(err) {
			s.log.Error("session not read; it stands as nobody's", "error", err)
			out.Decision = *unavailable.Decision()
		}
		return out, true
	}
	st, _, refused := s.sessionNow(ctx, found.Session.ID, app)
	if refused != nil {
		out.Decision = *refused.Decision()
		return out, true
	}
	out.Decision = *s.forRequest(st, pageRequest(app, form, back, from)).Decision()
	if who := st.answer.Identity(); who.Device != "" {
		out.Device = who.Device
		if d := s.fleet.get(who.Device); d != nil {
			d.mu.Lock()
			out.Platform = d.row.Platform
			d.mu.Unlock()
		}
	}
	return out, true
}

// pageRequest is the request for which somebody who was refused came back: a page of
// the application, opened from here.
func pageRequest(app, host, back string, from people.From) *decide.Request {
	seen := gateway.Seen{Method: http.MethodGet, Target: back, Host: host, Address: from.Address}
	q, err := seen.Question(app)
	if err != nil {
		return &decide.Request{Method: http.MethodGet} // the rest is unknown
	}
	return &q.Request
}
