package people

import (
	"bytes"
	"context"
	"errors"

	"muster/server/passkey"
	"muster/server/store"
)

// OpenInvitation tells whose invitation a secret is, without taking it.
func (p *People) OpenInvitation(ctx context.Context, secret string) (*Invited, error) {
	i, err := p.open(ctx, secret)
	if err != nil {
		return nil, err
	}
	return invited(i.offer, i.invitation), nil
}

// opened is an invitation that may be accepted now, and by whom.
type opened struct {
	*invitation
	offer  *store.Offer
	person *store.Person // nil when accepting makes them
	have   []*store.Passkey
}

func (p *People) open(ctx context.Context, secret string) (i *opened, err error) {
	err = p.view(ctx, func(tx *store.Tx) error {
		o, err := tx.PeekOffer(kindInvitation, secret)
		if err != nil {
			return err
		}
		i, err = accepts(tx, o)
		return err
	})
	return i, err
}

// accepts says what an invitation is worth now: no more than who made it, and
// nothing once somebody else has the name or the person got a passkey otherwise.
func accepts(tx *store.Tx, o *store.Offer) (*opened, error) {
	i, err := dataOf[invitation](o)
	if err != nil {
		return nil, err
	}
	if err := vouched(tx, o, i); err != nil {
		return nil, err
	}
	out := &opened{invitation: i, offer: o}
	if o.Person == "" {
		_, err := tx.PersonByName(i.Name)
		if err == nil {
			return nil, errNameTaken
		}
		if !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		return out, nil
	}
	if out.person, err = tx.Person(o.Person); err != nil {
		return nil, err
	}
	if out.have, err = tx.Passkeys(o.Person); err != nil {
		return nil, err
	}
	if out.person.Disabled || !i.Recovery && (len(out.have) > 0 || out.person.Role != i.Role) {
		return nil, errUsed
	}
	return out, nil
}

// vouched refuses an invitation whose maker could not make it any more: one who
// was barred or demoted leaves no door open.
func vouched(tx *store.Tx, o *store.Offer, i *invitation) error {
	if i.First {
		able, err := administrators(tx)
		if err == nil && len(able) > 0 {
			err = errUsed
		}
		return err
	}
	w, err := powerOf(tx, Actor(o.CreatedBy))
	switch {
	case err == nil && i.Recovery && (w.role != store.RoleAdministrator || w.program):
		err = errRole
	case err == nil:
		err = w.gives(i.Role)
	}
	if errors.Is(err, errRole) || errors.Is(err, errProgram) {
		return errUsed
	}
	return err
}

// user is who the passkey is made for.
func (i *opened) user() passkey.User {
	if i.person != nil {
		return userOf(i.person)
	}
	return userOf(i.invitation.person(""))
}

// BeginAccept begins the registration of the first passkey. At shows that the
// browser is on the laptop that the invitation is bound to; where it is bound to
// none, at is not looked at.
func (p *People) BeginAccept(ctx context.Context, secret string, at Presence) (*Ceremony, error) {
	i, err := p.open(ctx, secret)
	if err != nil {
		return nil, err
	}
	if c := p.arrival(i, at); c != nil {
		err := p.settle(ctx, func(tx *store.Tx) (*Refusal, error) {
			_, no, err := c.opens(tx, secret)
			return no, err
		})
		if err != nil {
			return nil, err
		}
	}
	have := i.have
	if i.Recovery {
		have = nil // they go; the authenticator that held one may make the next
	}
	return p.beginRegistration(forAccept, i.offer.ID, i.user(), have)
}

// Accept takes the invitation, once, keeps the passkey and signs in. An
// invitation to recover removes all other passkeys and sessions. One that is bound
// to a laptop uses up what at shows, and the session is linked to that laptop.
func (p *People) Accept(ctx context.Context, secret string, at Presence, sealed string, response []byte, name string, from From) (session string, who *Who, err error) {
	i, err := p.open(ctx, secret)
	if err != nil {
		return "", nil, err
	}
	r, err := p.finishRegistration(forAccept, i.offer.ID, i.user(), sealed, response)
	if err != nil {
		return "", nil, err
	}
	c := p.arrival(i, at)
	err = p.settle(ctx, func(tx *store.Tx) (*Refusal, error) {
		now, no, err := c.opens(tx, secret)
		if no != nil || err != nil {
			return no, err
		}
		// From here on a refusal is an error, which undoes all.
		if _, err := tx.TakeOffer(kindInvitation, secret); err != nil {
			return nil, err
		}
		if session, who, err = p.accept(tx, now, r, name, from); err != nil {
			return nil, err
		}
		return nil, c.arrive(tx, who)
	})
	if err != nil {
		return "", nil, err
	}
	p.settleIn(ctx, who, c)
	return session, who, nil
}

// accept makes what an invitation promises.
func (p *People) accept(tx *store.Tx, i *opened, r *registration, name string, from From) (session string, who *Who, err error) {
	person := i.person
	if person == nil {
		if person, err = create(tx, i.invitation.person(i.offer.CreatedBy), Actor(i.offer.CreatedBy)); err != nil {
			return "", nil, err
		}
	}
	cause, kind := "", "passkey-added"
	if i.Recovery {
		cause, kind = causeRecovered, "recovered"
	}
	session, who, err = p.replacePasskeys(tx, person, r, name, cause, from)
	if err != nil {
		return "", nil, err
	}
	detail := map[string]any{
		"passkey": passkeyID(r.credential.ID), "name": passkeyName(name, r.credential), "invitation": i.offer.ID, "invited_by": i.offer.CreatedBy,
		"model": r.credential.Judgement.Model, "evidence": r.credential.Judgement.Evidence, "replaced": len(i.have),
		"address": who.Session.Address, "browser": who.Session.Browser,
	}
	if err := audit(tx, who.actor(), "invitation.accept", person.Name, detail); err != nil {
		return "", nil, err
	}
	return session, who, p.notify(tx, person, kind, detail)
}

// create keeps a new person. Handle, when there is one, is what their
// authenticator was told already.
func create(tx *store.Tx, person *store.Person, by Actor) (*store.Person, error) {
	told := person.Handle
	err := tx.AddPerson(person)
	if errors.Is(err, store.ErrTaken) {
		return nil, errNameTaken
	}
	if err == nil && len(told) > 0 && !bytes.Equal(told, person.Handle) {
		err = errors.New("the store gave a person another user handle than their authenticator has")
	}
	if err != nil {
		return nil, err
	}
	return person, audit(tx, by, "person.create", person.Name, map[string]any{"id": person.ID, "role": person.Role, "groups": person.Groups})
}
