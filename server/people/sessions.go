package people

import (
	"context"
	"errors"
	"slices"

	"muster/server/session"
	"muster/server/store"
)

// Session is one as its person sees it.
type Session struct {
	*session.Session
	This      bool
	LinkState session.LinkState
	Laptop    string // name of the linked laptop
	Passkey   string // name of the passkey that opened it
}

// Sessions lists the person's own live ones, this one first.
func (p *People) Sessions(ctx context.Context, w *Who) (list []Session, err error) {
	var keys []*store.Passkey
	var found []*session.Session
	err = p.view(ctx, func(tx *store.Tx) (err error) {
		if keys, err = tx.Passkeys(w.Person.ID); err != nil {
			return err
		}
		found, err = live(tx, w.Person.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, s := range found {
		one := Session{Session: s, This: s.ID == w.Session.ID, LinkState: p.LinkStateOf(s)}
		if s.Link != nil {
			if d, known := p.Device(s.Link.Device); known {
				one.Laptop = d.Name
			}
		}
		if k := opener(keys, s); k != nil {
			one.Passkey = k.Name
		}
		list = append(list, one)
	}
	slices.SortStableFunc(list, func(a, b Session) int {
		switch {
		case a.This == b.This:
			return 0
		case a.This:
			return -1
		}
		return 1
	})
	return list, nil
}

// live lists sessions that may be used: the store knows of those that ended, not
// of limits.
func live(tx *store.Tx, person string) ([]*session.Session, error) {
	list, err := tx.Sessions(person)
	return slices.DeleteFunc(list, func(s *session.Session) bool {
		return s.Over(tx.Now()) != "" || s.Epoch != tx.Epoch()
	}), err
}

// EndSession ends one of the person's own.
func (p *People) EndSession(ctx context.Context, w *Who, id string) error {
	return p.update(ctx, func(tx *store.Tx) error {
		now, err := still(tx, w)
		if err != nil {
			return err
		}
		s, err := tx.Session(id)
		if errors.Is(err, store.ErrNotFound) || err == nil && s.Person != now.Person.ID {
			return errGone
		}
		if err != nil || !s.EndedAt.IsZero() {
			return err
		}
		return end(tx, now.actor(), s, causeByPerson)
	})
}

// EndSessionOf ends anyone's: administrators with fresh hands, programs with the
// scope.
func (p *People) EndSessionOf(ctx context.Context, by Actor, id, why string) error {
	if why = session.Cut(why); why == "" {
		return errWhy
	}
	return p.update(ctx, func(tx *store.Tx) error {
		if err := mayAdminister(tx, by); err != nil {
			return err
		}
		s, err := tx.Session(id)
		if err != nil || !s.EndedAt.IsZero() {
			return err
		}
		if err := tx.EndSession(id, causeByOther); err != nil {
			return err
		}
		return audit(tx, by, "session.end", id, map[string]any{"cause": causeByOther, "why": why, "person": s.Person})
	})
}

// SessionsOf lists live ones of a person, of everyone for "".
func (p *People) SessionsOf(ctx context.Context, person string) (list []*session.Session, err error) {
	err = p.view(ctx, func(tx *store.Tx) (err error) {
		list, err = live(tx, person)
		return err
	})
	return list, err
}

// sweepAtOnce is how many sessions one transaction ends: others wait for it.
const sweepAtOnce = 500

// Sweep ends the sessions that are over their limits and that nobody came back
// with, and elevations whose time is over, lets the store forget what is long over, and once a day judges the passkeys
// again, since metadata ages. Call it every hour or so.
func (p *People) Sweep(ctx context.Context) error {
	return errors.Join(p.judgeAgain(ctx), p.sweepSessions(ctx))
}

func (p *People) sweepSessions(ctx context.Context) error {
	var over []string
	err := p.view(ctx, func(tx *store.Tx) error {
		list, err := tx.Sessions("")
		for _, s := range list {
			if cause := s.Over(tx.Now()); cause == "idle" || cause == "too-old" {
				over = append(over, s.ID)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	for some := range slices.Chunk(over, sweepAtOnce) {
		if err := p.update(ctx, func(tx *store.Tx) error { return sweep(tx, some) }); err != nil {
			return err
		}
	}
	if err := p.update(ctx, func(tx *store.Tx) error { return endOverdue(tx, "") }); err != nil {
		return err
	}
	return p.update(ctx, (*store.Tx).PurgePeople)
}

// sweep ends those of some sessions that are over still.
func sweep(tx *store.Tx, ids []string) error {
	for _, id := range ids {
		s, err := tx.Session(id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		cause := s.Over(tx.Now())
		if cause == "" || !s.EndedAt.IsZero() {
			continue
		}
		if err := end(tx, "store", s, cause); err != nil {
			return err
		}
	}
	return nil
}
