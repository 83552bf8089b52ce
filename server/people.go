package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/decide"
	"muster/server/people"
	"muster/server/session"
	"muster/server/store"
	"muster/server/verify"
	"muster/server/web"
)

// openPeople makes what people sign in to: after the store, the policy and the
// fleet.
func (s *Server) openPeople(ctx context.Context) error {
	c := &s.config
	var err error
	s.people, err = people.New(people.Config{
		Store: s.store, Origin: c.PublicURL, RPID: c.RPID, Now: s.now, Log: s.log,
		Device: s.sessionDevice, Devices: s.devicesOf, Own: s.ownDevice, Readmit: s.readmitDevice, ReadmitAlone: c.ReadmitAlone,
		Limits: s.sessionLimits, Elevation: s.elevationTerms, Rule: s.namesRule, RecoveryWait: c.RecoveryWait,
		Webhook: c.Webhook.URL != "", Mail: c.SMTP.Address != "", Administrators: c.Administrators,
	}, &s.meta)
	if err != nil {
		return fmt.Errorf("opening people: %w", err)
	}
	s.pages = web.Routes(web.Config{
		People: s.people, Origin: c.PublicURL, Laptop: s.laptop, LinkPort: c.LinkPort,
		Advice: s.advise, Standing: s.standingAt, Office: s.office(), Recheck: s.holding.recheck,
		Address: func(r *http.Request) string { return peerAddress(r, c.TrustedProxies) }, Allow: s.allowPage, AllowPerson: s.personRate.allow,
		Notices: c.notices(), Now: s.now, Log: s.log,
	})
	s.api = s.apiRoutes()
	if c.visit {
		return nil // commands judge no passkey
	}
	for _, warning := range c.warnings() {
		s.log.Warn(warning)
	}
	if c.notices() == "" {
		s.log.Info("notices go nowhere, because neither mail nor a webhook is set")
	}
	return s.loadMetadata(ctx)
}

// sessionLimits are those of muster's own pages, by the policy of now.
func (s *Server) sessionLimits() session.Limits {
	idle, absolute := s.policy.Load().SessionLimits("low")
	return session.Limits{Idle: idle, Absolute: absolute}
}

// namesRule reports whether the policy of now has a rule.
func (s *Server) namesRule(id string) bool { return s.policy.Load().Names(id) }

// advise says in words what is wrong with a claim, by the policy of now.
func (s *Server) advise(claim string, platform posture.Platform, c posture.Claim) (text, fix string) {
	return s.policy.Load().Advice(claim, platform, c)
}

// allowPage counts a request of somebody who is not signed in, by address.
func (s *Server) allowPage(address string) bool { return s.pageRate.allow(network(address)) }

// sessionDevice tells what a session needs to know of a laptop. It may wait for
// the store, so it is asked outside of transactions.
func (s *Server) sessionDevice(id string) (session.Device, bool) {
	d := s.fleet.get(id)
	if d == nil {
		return session.Device{}, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := s.refresh(d); err != nil {
		s.log.Error("device not read again; it counts as unknown", "device", id, "error", err)
		return session.Device{}, false
	}
	return s.standing(d), true
}

// standing says how a device stands now. The caller holds d.mu.
func (s *Server) standing(d *device) session.Device {
	a, now := s.settled(d), s.now()
	return session.Device{
		ID: d.row.ID, Name: d.row.Name, Owner: d.row.Owner, Class: string(d.row.Class), Level: d.level().String(),
		Anchor: d.row.Keys.DKID.String(),
		Active: d.row.State == attest.Active,
		// The lease runs from the issue of the last statement's nonce, as for decisions.
		Current: d.result != nil && !d.hot.IssuedAt.IsZero() && !d.hot.IssuedAt.After(now) &&
			now.Before(d.hot.IssuedAt.Add(s.policy.Load().ReportAge())),
		Healthy: d.healthy(a),
	}
}

// healthy reports whether the laptop would be told that all is well: every
// application that devices may ask for is open to it. Where a policy opens none
// to devices, there is no such decision; then nothing that was judged may be
// contraindicated, and something must have been judged. The caller holds d.mu.
func (d *device) healthy(a *answers) bool {
	if len(a.all) > 0 {
		return a.worst.Outcome == decide.Allow
	}
	if d.row.State != attest.Active || d.result == nil {
		return false
	}
	for _, tier := range d.result.Tiers {
		if tier == verify.Contraindicated {
			return false
		}
	}
	return d.result.Tier == verify.Affirming || d.result.Tier == verify.Warning
}

// devicesOf lists a person's laptops by id.
func (s *Server) devicesOf(owner string) (list []session.Device) {
	for _, id := range s.fleet.of(owner) {
		// It may have changed hands since the list was made.
		if d, ok := s.sessionDevice(id); ok && d.Owner == owner {
			list = append(list, d)
		}
	}
	return list
}

// laptop shows a device to its owner.
func (s *Server) laptop(id string) (*web.Laptop, bool) {
	d := s.fleet.get(id)
	if d == nil {
		return nil, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := s.refresh(d); err != nil {
		s.log.Error("device not read again; it is not shown", "device", id, "error", err)
		return nil, false
	}
	row := &d.row
	l := &web.Laptop{
		Device: s.standing(d), Platform: row.Platform, State: row.State, Cause: row.Cause, CauseText: row.CauseText,
		Back:        row.State == attest.Pending && reanchors(row.Cause),
		CompareCode: attest.CompareCode(row.ID, row.Keys.DKID), LastReport: d.hot.IssuedAt, Decision: s.settled(d).told(),
	}
	if d.result != nil {
		result := *d.result
		l.Claims, l.Result = &result.Claims, &result
	}
	return l, true
}

// ownDevice gives a laptop without an owner to a person. Who has it keeps it.
func (s *Server) ownDevice(ctx context.Context, id, owner string) error {
	return s.byPerson(ctx, "person:"+owner, id, func(row *store.Device, _ *store.Hot) error {
		switch {
		case row.State != attest.Active:
			return &people.Refusal{Status: http.StatusConflict, Code: "device-not-active", Text: "This laptop is not admitted.", Fix: "Ask the administrator to approve it."}
		case row.Owner != "" && row.Owner != owner:
			return errOwned()
		}
		row.Owner = owner
		return nil
	}, "device.own", struct {
		Owner string `json:"owner"`
	}{owner})
}

// readmitDevice lets a laptop in again that waits because its keys changed, by
// the code that it shows.
func (s *Server) readmitDevice(ctx context.Context, id, code, by string) error {
	approval := Approval{Code: code}
	apply := approval.apply(by, s.now())
	return s.byPerson(ctx, by, id, func(row *store.Device, hot *store.Hot) error {
		if row.State != attest.Pending || !reanchors(row.Cause) {
			return &people.Refusal{Status: http.StatusConflict, Code: "not-waiting", Text: "This laptop does not wait because its keys changed.", Fix: "Ask the administrator how it stands."}
		}
		return apply(row, hot)
	}, "device.readmit", approval)
}

// byPerson changes a device for an actor of people's. What a person is to understand
// comes back as a Refusal of people's.
func (s *Server) byPerson(ctx context.Context, actor, id string, alter func(*store.Device, *store.Hot) error, action string, detail any) error {
	d := s.fleet.get(id)
	if d == nil {
		return store.ErrNotFound
	}
	err := s.alter(ctx, actor, d, alter, action, detail)
	if err == nil {
		s.lookNow(ctx)
	}
	var known *refusal
	switch {
	case errors.As(err, &known):
		return &people.Refusal{Status: known.Status, Code: known.Code, Text: known.Detail, Fix: known.Fix}
	case errors.Is(err, store.ErrRevoked):
		return &people.Refusal{Status: http.StatusForbidden, Code: attest.CodeRevoked, Text: "This laptop was revoked, for ever.", Fix: "Ask the administrator; another laptop is needed."}
	}
	return err
}

func errOwned() error {
	return &people.Refusal{Status: http.StatusConflict, Code: "device-owned", Text: "This laptop belongs to somebody else.", Fix: "Ask the administrator to change its owner."}
}

// FirstLink makes the link with which the first administrator registers a
// passkey; empty when somebody can administer already. It is a secret, shown
// once: an earlier one that was not used ends.
func (s *Server) FirstLink(ctx context.Context) (string, error) { return s.people.First(ctx) }

// NeedsAdministrator reports whether nobody can administer yet, without making
// a link.
func (s *Server) NeedsAdministrator(ctx context.Context) (needed bool, err error) {
	if s.config.RPID == "" {
		return false, nil // nobody could use it
	}
	needed = true
	err = s.store.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Persons()
		for _, p := range all {
			if err != nil || p.Role != store.RoleAdministrator || p.Disabled {
				continue
			}
			var passkeys []*store.Passkey
			if passkeys, err = tx.Passkeys(p.ID); len(passkeys) > 0 {
				needed = false
			}
		}
		return err
	})
	return needed, err
}
