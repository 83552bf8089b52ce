package people

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"muster/attest"
	"muster/server/session"
	"muster/server/store"
)

const (
	kindVisit store.OfferKind = "visit"
	// visitLife is how long a browser has to carry a code from host to host.
	visitLife = time.Minute
	// maxVisits is how many codes a session gets in that time: a browser that opens
	// yesterday's tabs asks for some dozens at once.
	maxVisits = 100
)

var (
	errBack   = refuse(400, "back-refused", "The address to go back to is not a path of that application.", "Open the application again.")
	errVisits = refuse(429, "visit-limit", "This browser opened too many applications in a minute.", "Wait a minute, then open the application again.")
	errHost   = refuse(400, "host-refused", "This is not the host of an application.", "Open the application again.")
)

// visit is what a redirect code stands for.
type visit struct {
	App  string        `json:"app"`
	Host string        `json:"host"`
	Flow attest.Digest `json:"flow"`
	Back string        `json:"back"`
}

// VisitCode makes the one-time code with which an application's host gets a
// cookie of its own, within a minute. flow is the SHA-256 of what that host gave
// the browser before: the code is worth nothing to another browser. back is a
// path of the host to return to.
func (p *People) VisitCode(ctx context.Context, w *Who, app, host string, flow attest.Digest, back string) (code string, err error) {
	switch {
	case app == "" || !session.IsHost(host) || flow.IsZero():
		return "", errHost
	case !session.IsBack(back):
		return "", errBack
	}
	data, err := json.Marshal(visit{app, host, flow, back})
	if err != nil {
		return "", fmt.Errorf("making redirect code: %w", err)
	}
	err = p.update(ctx, func(tx *store.Tx) error {
		now, err := still(tx, w)
		if err != nil {
			return err
		}
		lately, err := tx.OffersIn(kindVisit, now.Session.ID)
		if err != nil {
			return err
		}
		if lately >= maxVisits {
			return errVisits
		}
		code, err = tx.AddOffer(&store.Offer{Kind: kindVisit, Person: now.Person.ID, Session: now.Session.ID,
			Data: data, CreatedBy: string(now.actor()), Expires: tx.Now().Add(visitLife)})
		return err
	})
	if err != nil {
		return "", err
	}
	return code, nil
}

// Visit takes a code, once, and returns the secret of the application's cookie
// and where to go back to. Whatever is wrong with a code, it is refused alike; one
// that was shown by another host or browser has leaked, and is over.
func (p *People) Visit(ctx context.Context, code, host string, flow attest.Digest) (secret, back string, err error) {
	// Who guesses costs a read and no write, so that nobody need be counted by an
	// address, which here is mostly a gateway's.
	err = p.view(ctx, func(tx *store.Tx) error {
		_, err := tx.PeekOffer(kindVisit, code)
		return err
	})
	if err != nil {
		return "", "", err
	}
	err = p.settle(ctx, func(tx *store.Tx) (*Refusal, error) {
		o, err := tx.TakeOffer(kindVisit, code)
		if err != nil {
			return nil, err
		}
		v, err := dataOf[visit](o)
		if err != nil {
			return nil, err
		}
		// The form was checked when it was made; what is sent to a browser is checked
		// where it leaves, too.
		if v.Host != host || subtle.ConstantTimeCompare(v.Flow[:], flow[:]) != 1 || !session.IsBack(v.Back) {
			return errUsed, nil
		}
		s, err := tx.Session(o.Session)
		if errors.Is(err, store.ErrNotFound) {
			return errUsed, nil
		}
		if err != nil {
			return nil, err
		}
		w, err := living(tx, s)
		if errors.Is(err, errSignIn) {
			return errUsed, nil
		}
		if err != nil {
			return nil, err
		}
		secret, err = tx.AddVisit(&store.Visit{Session: s.ID, App: v.App, Host: v.Host, CreatedAt: tx.Now()})
		if err != nil {
			return nil, err
		}
		back = v.Back
		return nil, audit(tx, w.actor(), "visit.begin", s.ID, map[string]any{"app": v.App, "host": v.Host})
	})
	if err != nil {
		return "", "", err
	}
	return secret, back, nil
}

// LinkStateOf tells what a session's link is worth now.
func (p *People) LinkStateOf(s *session.Session) session.LinkState {
	if s == nil || s.Link == nil {
		return session.LinkAbsent
	}
	d, ok := p.Device(s.Link.Device)
	if !ok {
		return session.LinkAbsent
	}
	return s.LinkState(&d)
}

// settle runs one transaction in which even a refusal may leave something behind:
// a code that is over, a try that is counted. An error of fn undoes all, as in
// update.
func (p *People) settle(ctx context.Context, fn func(*store.Tx) (*Refusal, error)) error {
	var no *Refusal
	err := p.update(ctx, func(tx *store.Tx) (err error) {
		no, err = fn(tx)
		return err
	})
	if err == nil && no != nil {
		return no
	}
	return err
}
