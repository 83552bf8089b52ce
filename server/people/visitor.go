package people

import (
	"context"
	"errors"
	"time"

	"muster/server/session"
	"muster/server/store"
)

// Visitor is all that the check at a gateway needs to know of a cookie's owner, as
// it stood in one transaction. It may be over: see Over.
type Visitor struct {
	App, Host string    // of an application's cookie; empty for muster's own
	Began     time.Time // when that cookie was made; zero for muster's own
	Session   *session.Session
	Person    *store.Person
	Passkey   *store.Passkey // that opened the session; nil when it was removed
	// Elevations are those of the session that have not ended, granted or not;
	// Bypasses what lives of the person. Times are the caller's to look at.
	Elevations []*store.Elevation
	Bypasses   []*store.Bypass
}

// Over tells why this visitor may use nothing, as a stable code; empty when the
// session lives. Nobody is over.
func (v *Visitor) Over(now time.Time) string {
	if v == nil || v.Session == nil || v.Person == nil {
		return errSignIn.Code
	}
	// A session of another epoch reads as ended.
	if cause := v.Session.Over(now); cause != "" {
		return cause
	}
	switch {
	case v.Person.Disabled:
		return causeDisabled
	case v.Passkey == nil:
		return causeKeyRemoved
	}
	return ""
}

// VisitorNow reads who is behind an application's cookie at one host, over or not;
// it writes nothing. The refusal sign-in means that the cookie is nobody's.
func (p *People) VisitorNow(ctx context.Context, secret, host string) (*Visitor, error) {
	return p.visitor(ctx, func(tx *store.Tx) (*Visitor, error) {
		v, s, err := tx.VisitBySecret(secret)
		if err != nil {
			return nil, err
		}
		if v.Host != host {
			return nil, errSignIn // a cookie is good at its own host
		}
		return &Visitor{App: v.App, Host: v.Host, Began: v.CreatedAt, Session: s}, nil
	})
}

// VisitorOf is VisitorNow by the session's id.
func (p *People) VisitorOf(ctx context.Context, sessionID string) (*Visitor, error) {
	return p.visitor(ctx, func(tx *store.Tx) (*Visitor, error) {
		s, err := tx.Session(sessionID)
		return &Visitor{Session: s}, err
	})
}

// VisitorBySession is VisitorNow by muster's own cookie. One that was replaced is
// nobody's, and its use ends the session, as in Who.
func (p *People) VisitorBySession(ctx context.Context, secret string) (*Visitor, error) {
	var copied *session.Session
	v, err := p.visitor(ctx, func(tx *store.Tx) (*Visitor, error) {
		s, err := tx.SessionBySecret(secret)
		if errors.Is(err, store.ErrReplaced) {
			if s.EndedAt.IsZero() {
				copied = s
			}
			return nil, errSignIn
		}
		return &Visitor{Session: s}, err
	})
	if copied != nil {
		p.copied(ctx, copied)
	}
	return v, err
}

// visitor finds one and reads what belongs to it, in one transaction.
func (p *People) visitor(ctx context.Context, find func(*store.Tx) (*Visitor, error)) (v *Visitor, err error) {
	err = p.view(ctx, func(tx *store.Tx) error {
		if v, err = find(tx); err == nil {
			err = v.read(tx)
		}
		if errors.Is(err, store.ErrNotFound) {
			return errSignIn
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (v *Visitor) read(tx *store.Tx) (err error) {
	if v.Person, err = tx.Person(v.Session.Person); err != nil {
		return err
	}
	v.Passkey, err = tx.PasskeyByID(v.Session.Credential)
	if err := ignore(err, store.ErrNotFound); err != nil {
		return err
	}
	if v.Elevations, err = tx.Elevations(v.Session.ID); err != nil {
		return err
	}
	v.Bypasses, err = tx.Bypasses("", v.Person.ID)
	return err
}
