package people

import (
	"context"
	"errors"
	"strings"
	"time"

	"muster/attest/posture"
	"muster/server/session"
	"muster/server/store"
)

// maxBypass is how far ahead a bypass may end: what lasts longer is a change of the
// policy.
const maxBypass = 30 * 24 * time.Hour

var (
	errBypassOf    = refuse(400, "bypass-of", "A bypass is for one laptop or for one person.", "Name exactly one of the two.")
	errBypassRule  = refuse(400, "bypass-rule", "No rule of the policy has this id.", "Take it from the policy: small letters, digits and hyphens.")
	errBypassUntil = refuse(400, "bypass-until", "A bypass ends within 30 days, and not in the past.", "Choose an earlier day; what is to last longer belongs into the policy.")
	errBypassLives = refuse(409, "bypass-lives", "This rule is let pass there already.", "End that bypass first.")
)

// LetPass makes a bypass of one rule, for one device (id) or one person (name),
// until a time at most 30 days ahead: administrators with fresh hands, or the local
// administrator. Exactly one of device and person is given. Hands are looked at
// before.
func (p *People) LetPass(ctx context.Context, by Actor, device, person, rule, why string, until time.Time) (*store.Bypass, error) {
	if why = session.Cut(why); why == "" {
		return nil, errWhy
	}
	switch {
	case (device == "") == (person == ""):
		return nil, errBypassOf
	case rule == "" || !posture.Reason(rule).Valid(), p.Rule != nil && !p.Rule(rule):
		return nil, errBypassRule
	}
	b := &store.Bypass{Device: device, Rule: rule, Why: why, CreatedBy: string(by), Expires: until}
	err := p.update(ctx, func(tx *store.Tx) error {
		w, err := powerOf(tx, by)
		if err != nil {
			return err
		}
		if w.role != store.RoleAdministrator || w.program {
			return errRole // a program has no hands
		}
		if now := tx.Now(); !until.After(now) || until.Sub(now) > maxBypass {
			return errBypassUntil
		}
		return p.addBypass(tx, by, b, person)
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (p *People) addBypass(tx *store.Tx, by Actor, b *store.Bypass, name string) error {
	if name != "" {
		of, err := tx.PersonByName(name)
		if err != nil {
			return err
		}
		b.Person = of.ID
	}
	err := tx.AddBypass(b)
	switch {
	case errors.Is(err, store.ErrTaken):
		return errBypassLives
	case errors.Is(err, store.ErrRevoked):
		return errGone // for what is barred nothing is let pass
	case err != nil:
		return err
	}
	detail := bypassDetail(b, name)
	if err := audit(tx, by, "bypass.add", b.ID, detail); err != nil {
		return err
	}
	return p.tellBypass(tx, by, detail)
}

// tellBypass tells who let something pass, and administrators, as of a role that
// was given.
func (p *People) tellBypass(tx *store.Tx, by Actor, detail map[string]any) error {
	giver, ok := strings.CutPrefix(string(by), "person:")
	if !ok {
		return nil
	}
	person, err := tx.PersonByName(giver)
	if err != nil {
		return err
	}
	return p.notify(tx, person, "bypass-added", detail)
}

// bypassDetail is what the audit log and notices keep of one.
func bypassDetail(b *store.Bypass, name string) map[string]any {
	of := "the laptop " + b.Device
	if name != "" {
		of = "the person " + name
	}
	return map[string]any{"id": b.ID, "of": of, "device": b.Device, "person": name, "rule": b.Rule, "why": b.Why,
		"until": b.Expires.UTC().Format(time.RFC3339), "by": b.CreatedBy}
}

// Bypasses lists what lives, for administrators and auditors.
func (p *People) Bypasses(ctx context.Context) (list []*store.Bypass, err error) {
	err = p.view(ctx, func(tx *store.Tx) (err error) {
		list, err = tx.Bypasses("", "")
		return err
	})
	return list, err
}

// EndBypass ends one: administrators. No fresh hands: it takes power away.
func (p *People) EndBypass(ctx context.Context, by Actor, id string) error {
	return p.update(ctx, func(tx *store.Tx) error {
		if err := mayAdminister(tx, by); err != nil {
			return err
		}
		b, err := tx.Bypass(id)
		if err != nil || !b.EndedAt.IsZero() {
			return err
		}
		if err := tx.EndBypass(id); err != nil {
			return err
		}
		name := ""
		if b.Person != "" {
			of, err := tx.Person(b.Person)
			if err != nil {
				return err
			}
			name = of.Name
		}
		return audit(tx, by, "bypass.end", id, bypassDetail(b, name))
	})
}
