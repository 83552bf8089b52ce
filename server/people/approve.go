package people

import (
	"context"
	"slices"
	"strings"
	"time"

	"muster/server/session"
	"muster/server/store"
)

// ProposeRecovery begins the way of two administrators: fresh hands.
func (p *People) ProposeRecovery(ctx context.Context, w *Who, person string) (*Recovery, error) {
	var shown *Recovery
	err := p.update(ctx, func(tx *store.Tx) error {
		now, err := fresh(tx, w)
		if err != nil {
			return err
		}
		if !now.Is(store.RoleAdministrator) {
			return errRole
		}
		about, err := tx.PersonByName(person)
		if err != nil {
			return err
		}
		switch {
		case about.ID == now.Person.ID:
			return errOwnRecovery
		case !tenured(now.Person, tx.Now()):
			return errNewRole
		case about.Disabled:
			return errDisabled
		}
		if err := clearWay(tx, about); err != nil {
			return err
		}
		r := &recovery{Recovery: Recovery{Person: about.Name, Way: wayAdministrators, State: waitApproval,
			BegunAt: tx.Now(), BegunBy: string(now.actor())}, Proved: true}
		o := &store.Offer{Kind: kindRecovery, Person: about.ID, CreatedBy: r.BegunBy, Expires: tx.Now().Add(recoveryAsk)}
		if err := addRecovery(tx, o, r); err != nil {
			return err
		}
		shown = r.at(o, tx.Now())
		if err := audit(tx, now.actor(), "recovery.start", about.Name, r.detail(o.ID)); err != nil {
			return err
		}
		return p.notify(tx, about, "recovery-started", r.detail(o.ID))
	})
	if err != nil {
		return nil, err
	}
	return shown, nil
}

// ApproveRecovery confirms: for a laptop's, an approver named beforehand with the
// code that the laptop shows; for administrators', a second administrator, who
// gets the link to hand over. Fresh hands. Nobody approves their own, or what
// they began.
func (p *People) ApproveRecovery(ctx context.Context, w *Who, id, code string) (link string, err error) {
	err = p.settle(ctx, func(tx *store.Tx) (*Refusal, error) {
		now, err := fresh(tx, w)
		if err != nil {
			return nil, err
		}
		o, r, err := readRecovery(tx, id)
		if err != nil {
			return nil, err
		}
		person, err := tx.Person(o.Person)
		if err != nil {
			return nil, err
		}
		switch {
		case !r.Proved:
			return errGone, nil
		case person.ID == now.Person.ID || string(now.actor()) == r.BegunBy:
			return errOwnRecovery, nil
		case !r.mayApprove(now, person):
			return errGone, nil // it is nothing to this one, not even there
		case person.Disabled:
			return errDisabled, nil
		case r.State != waitApproval:
			return errApproved, nil
		case r.Way == wayAdministrators && !tenured(now.Person, tx.Now()):
			return errNewRole, nil
		case r.Way == wayAdministrators:
			link, err = p.approveProposed(tx, now, person, o, r)
			return nil, err
		case !same(r.Code, recoveryCode(o.ID, code)):
			return p.wrongCode(tx, now, person, o, r)
		}
		return nil, p.approveLaptop(tx, now, person, o, r)
	})
	if err != nil {
		return "", err
	}
	return link, nil
}

// roleSettles is how long a role must have been held before it counts as a second
// pair of eyes: an administrator cannot make the other one of two on the spot, and
// all administrators were told when the role was given.
const roleSettles = 24 * time.Hour

// tenured reports whether an administrator counts as one of two. Who works on the
// server's machine may give the role for that at once.
func tenured(p *store.Person, now time.Time) bool {
	return p.Role == store.RoleAdministrator && (p.RoleBy == string(local) || now.Sub(p.RoleSince) >= roleSettles)
}

// wrongCode counts a wrong code; the last one cancels the recovery.
func (p *People) wrongCode(tx *store.Tx, w *Who, person *store.Person, o *store.Offer, r *recovery) (*Refusal, error) {
	r.Tries++
	if r.Tries < recoveryTries {
		return errRecoverCode, rewrite(tx, o, r)
	}
	return errUsed, p.cancel(tx, w.actor(), person, o, r, "code")
}

// approveLaptop starts the waiting time.
func (p *People) approveLaptop(tx *store.Tx, w *Who, person *store.Person, o *store.Offer, r *recovery) error {
	wait := p.RecoveryWait
	if wait <= 0 {
		wait = recoveryWait
	}
	r.State, r.Approved, r.ReadyAt = waitTime, w.Person.Name, tx.Now().Add(wait)
	o.Expires = r.ReadyAt.Add(recoveryAsk)
	if err := rewrite(tx, o, r); err != nil {
		return err
	}
	return p.approved(tx, w, person, o, r)
}

// approveProposed makes the link that two administrators agreed on. Who proposed
// it must be one still.
func (p *People) approveProposed(tx *store.Tx, w *Who, person *store.Person, o *store.Offer, r *recovery) (link string, err error) {
	proposer, err := tx.PersonByName(strings.TrimPrefix(r.BegunBy, "person:"))
	if err != nil {
		return "", err
	}
	if proposer.Disabled || proposer.Role != store.RoleAdministrator {
		return "", errUsed
	}
	if _, err := tx.TakeOfferByID(kindRecovery, o.ID); err != nil {
		return "", err
	}
	r.Approved = w.Person.Name
	secret, err := p.inviteRecovery(tx, person, w.actor(), tx.Now().Add(recoveryLink))
	if err != nil {
		return "", err
	}
	return p.link(secret), p.approved(tx, w, person, o, r)
}

func (p *People) approved(tx *store.Tx, w *Who, person *store.Person, o *store.Offer, r *recovery) error {
	if err := audit(tx, w.actor(), "recovery.approve", person.Name, r.detail(o.ID)); err != nil {
		return err
	}
	return p.notify(tx, person, "recovery-approved", r.detail(o.ID))
}

// CancelRecovery ends one: the person it is about from any live session, who
// began it, who may approve it, or an administrator. No fresh hands: it takes
// power away.
func (p *People) CancelRecovery(ctx context.Context, w *Who, id string) error {
	return p.update(ctx, func(tx *store.Tx) error {
		now, err := still(tx, w)
		if err != nil {
			return err
		}
		o, r, err := readRecovery(tx, id)
		if err != nil {
			return err
		}
		person, err := tx.Person(o.Person)
		if err != nil {
			return err
		}
		may := o.Person == now.Person.ID || string(now.actor()) == r.BegunBy ||
			slices.Contains(r.Approvers, now.Person.Name) || now.Is(store.RoleAdministrator)
		if !r.Proved || !may {
			return errGone
		}
		return p.cancel(tx, now.actor(), person, o, r, "cancelled")
	})
}

func (p *People) cancel(tx *store.Tx, by Actor, person *store.Person, o *store.Offer, r *recovery, cause string) error {
	if err := tx.EndOffer(kindRecovery, o.ID); err != nil {
		return err
	}
	detail := r.detail(o.ID)
	detail["cause"], detail["by"] = cause, string(by)
	if err := audit(tx, by, "recovery.cancel", person.Name, detail); err != nil {
		return err
	}
	return p.notify(tx, person, "recovery-cancelled", detail)
}

// finishing is a recovery that may be finished now, and its person.
type finishing struct {
	offer    *store.Offer
	recovery *recovery
	person   *store.Person
}

// finish reads what a secret may finish now. healthy tells whether the laptop is
// what it must be; it is asked for before, since a transaction waits for nobody.
func finish(tx *store.Tx, secret string, healthy bool) (*finishing, error) {
	o, r, err := bySecret(tx, secret)
	if err != nil {
		return nil, err
	}
	person, err := tx.Person(o.Person)
	if err != nil {
		return nil, err
	}
	named, err := approvers(tx, person)
	switch {
	case err != nil:
		return nil, err
	case person.Disabled:
		return nil, errUsed
	case r.at(o, tx.Now()).State != ready:
		return nil, errNotReady
	case !slices.Contains(named, r.Approved):
		return nil, errUsed // who was barred or struck off since leaves no door open
	case !healthy:
		return nil, errAway
	}
	return &finishing{o, r, person}, nil
}

// stands asks how the laptop of a recovery stands now. It must be what it was when
// the recovery began, and still the person's.
func (p *People) stands(ctx context.Context, secret string) (bool, error) {
	shown, err := p.RecoveryOf(ctx, secret)
	if err != nil {
		return false, err
	}
	d, ok := p.Device(shown.Laptop)
	return ok && d.ID == shown.Laptop && d.Owner == shown.Person && recovers(&d), nil
}

// BeginRecovered and Recovered register the passkey that replaces all others, once
// a recovery is ready and, for a laptop's, the laptop is still what it must be.
func (p *People) BeginRecovered(ctx context.Context, secret string) (*Ceremony, error) {
	f, err := p.finishing(ctx, secret)
	if err != nil {
		return nil, err
	}
	// None is excluded: what the lost passkeys' authenticator makes now replaces them.
	return p.beginRegistration(forRecover, f.offer.ID, userOf(f.person), nil)
}

func (p *People) finishing(ctx context.Context, secret string) (f *finishing, err error) {
	healthy, err := p.stands(ctx, secret)
	if err != nil {
		return nil, err
	}
	err = p.view(ctx, func(tx *store.Tx) error {
		f, err = finish(tx, secret, healthy)
		return err
	})
	return f, err
}

// Recovered is the second half: all other passkeys and sessions end.
func (p *People) Recovered(ctx context.Context, secret, sealed string, response []byte, from From) (cookie string, who *Who, err error) {
	f, err := p.finishing(ctx, secret)
	if err != nil {
		return "", nil, err
	}
	r, err := p.finishRegistration(forRecover, f.offer.ID, userOf(f.person), sealed, response)
	if err != nil {
		return "", nil, err
	}
	healthy, err := p.stands(ctx, secret)
	if err != nil {
		return "", nil, err
	}
	err = p.update(ctx, func(tx *store.Tx) error {
		f, err := finish(tx, secret, healthy)
		if err != nil {
			return err
		}
		if _, err := tx.TakeOfferByID(kindRecovery, f.offer.ID); err != nil {
			return err
		}
		if cookie, who, err = p.replacePasskeys(tx, f.person, r, "", causeRecovered, from); err != nil {
			return err
		}
		detail := f.recovery.detail(f.offer.ID)
		detail["session"], detail["address"] = who.Session.ID, session.Cut(from.Address)
		if err := audit(tx, who.actor(), "recovery.done", f.person.Name, detail); err != nil {
			return err
		}
		return p.notify(tx, f.person, "recovered", detail)
	})
	if err != nil {
		return "", nil, err
	}
	return cookie, who, nil
}
