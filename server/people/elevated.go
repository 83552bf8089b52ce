package people

import (
	"context"
	"errors"
	"slices"

	"muster/server/session"
	"muster/server/store"
)

// ApproveElevation grants somebody else's; it needs fresh hands, and the group that
// the policy names, or the role of administrator. The policy is asked again: it, or
// what the asker's session showed, may be another by now. That the asker's hands
// are not fresh any more is no loss.
func (p *People) ApproveElevation(ctx context.Context, w *Who, id string) error {
	var asker *session.Session
	var app string
	err := p.view(ctx, func(tx *store.Tx) error {
		now, err := fresh(tx, w)
		if err != nil {
			return err
		}
		_, who, err := approvable(tx, now, id)
		if err != nil {
			return err
		}
		asker, app = who.session, who.app
		return nil
	})
	if err != nil {
		return err
	}
	terms, err := p.terms(asker, app)
	var no *Refusal
	switch {
	case errors.Is(err, errNoElevation): // any more: other terms than were asked for
	case errors.As(err, &no):
		return errTrustLost // what it says is to the asker, who is not here
	case err != nil:
		return err
	}
	return p.settle(ctx, func(tx *store.Tx) (*Refusal, error) {
		now, err := fresh(tx, w)
		if err != nil {
			return nil, err
		}
		e, who, err := approvable(tx, now, id)
		if err != nil {
			return nil, err
		}
		if e.Approval != terms.Approval || e.Lasts != terms.Lasts {
			return errTerms, endElevation(tx, "store", e, causeTerms)
		}
		if err := audit(tx, now.actor(), "elevation.approve", e.ID, elevationDetail(e, who.person.Name)); err != nil {
			return nil, err
		}
		_, err = p.grant(tx, now.actor(), who.person, e, now.Person.ID)
		return nil, err
	})
}

// asking is who asks for an elevation, and what for.
type asking struct {
	session *session.Session
	person  *store.Person
	app     string
}

// approvable is an elevation that this one may approve now: of another person,
// whose session lives.
func approvable(tx *store.Tx, w *Who, id string) (*store.Elevation, *asking, error) {
	e, err := tx.Elevation(id)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case e.Person == w.Person.ID:
		return nil, nil, errElevateOwn
	case !w.decides(e):
		return nil, nil, errGone // it is nothing to this one, not even there
	case !e.GrantedAt.IsZero() && e.Over(tx.Now()) == "":
		return nil, nil, errGranted
	case e.Over(tx.Now()) != "":
		return nil, nil, errUsed
	}
	s, err := tx.Session(e.Session)
	if err != nil {
		return nil, nil, err
	}
	asker, err := living(tx, s)
	if errors.Is(err, errSignIn) {
		return nil, nil, errUsed // it is the asker who is not signed in
	}
	if err != nil {
		return nil, nil, err
	}
	return e, &asking{s, asker.Person, e.App}, nil
}

// EndElevation ends one's own; administrators and who may approve it end anyone's,
// which declines one that waits. No fresh hands: it takes power away.
func (p *People) EndElevation(ctx context.Context, w *Who, id string) error {
	return p.update(ctx, func(tx *store.Tx) error {
		now, err := still(tx, w)
		if err != nil {
			return err
		}
		e, err := tx.Elevation(id)
		if err != nil {
			return err
		}
		cause := causeByApprover
		switch {
		case e.Person == now.Person.ID:
			cause = causeByPerson
		case !now.decides(e):
			return errGone
		case e.GrantedAt.IsZero():
			cause = causeDeclined
		}
		return endElevation(tx, now.actor(), e, cause)
	})
}

// LoseElevation ends one because trust was lost: cause is a reason code. The server
// calls it.
func (p *People) LoseElevation(ctx context.Context, id, cause string) error {
	return p.update(ctx, func(tx *store.Tx) error {
		e, err := tx.Elevation(id)
		if err != nil {
			return err
		}
		return endElevation(tx, "store", e, cause)
	})
}

// endElevation ends one and says so in the audit log; ended already is no change.
// One whose time is over ended by that.
func endElevation(tx *store.Tx, by Actor, e *store.Elevation, cause string) error {
	if !e.EndedAt.IsZero() {
		return nil
	}
	if over := e.Over(tx.Now()); over != "" {
		by, cause = "store", over
	}
	if err := tx.EndElevation(e.ID, cause); err != nil {
		return err
	}
	person, err := tx.Person(e.Person)
	if err != nil {
		return err
	}
	return audit(tx, by, "elevation.end", e.ID, map[string]any{"cause": session.Cut(cause), "person": person.Name,
		"session": e.Session, "app": e.App})
}

// endOverdue ends those of a session whose time is over; of all for "".
func endOverdue(tx *store.Tx, session string) error {
	list, err := tx.Elevations(session)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(e *store.Elevation) bool { return e.Over(tx.Now()) == "" })
	for _, e := range list[:min(len(list), sweepAtOnce)] {
		if err := endElevation(tx, "store", e, e.Over(tx.Now())); err != nil {
			return err
		}
	}
	return nil
}
