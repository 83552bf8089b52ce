package people

import (
	"context"
	"errors"
	"time"

	"muster/attest"
	"muster/server/session"
	"muster/server/store"
)

var (
	errUnproved = refuse(409, "link-unproved", "The laptop has not answered yet.", "Follow what the laptop shows, then confirm here.")
	errValue    = refuse(403, "link-value", "This is not the code that the laptop shows.", "Type it again; after five wrong ones start anew.")
	errRelay    = refuse(403, "link-relay-refused", "This laptop was asked to vouch for another browser.", "Start from the page in this browser. If somebody sent you here, tell an administrator.")
	errMoved    = refuse(401, "session-moved", "This session was linked to another laptop, so it has ended.", "Sign in again, on this laptop.")
	errTaken    = refuse(409, "link-owned", "This laptop belongs to somebody else now.", "Ask an administrator whose it is.")
)

// causeMoved ends a session that is on another laptop than before.
const causeMoved = "session-moved"

// linkedFor is how long it is remembered that a person used a laptop: a link to
// one of which nothing is remembered is told.
const linkedFor = 400 * 24 * time.Hour

// ConfirmLink ties the session to the laptop that proved the request. value is
// the agent's one-time value, or the code as it was typed. A linked session that
// proves another laptop is ended: its cookie moved.
//
// A request that another session confirms is over: somebody's laptop vouched for
// somebody else's browser. Fresh hands are asked for only where the person becomes
// the laptop's owner, which lasts longer than the session: a stolen cookie must
// not bring a laptop of its own. Else what a link adds is that of the laptop, which
// its own key has just proved, and re-proving goes unseen by the person.
func (p *People) ConfirmLink(ctx context.Context, w *Who, id, value string) (*session.Link, error) {
	var device string
	err := p.view(ctx, func(tx *store.Tx) error {
		_, r, err := readLink(tx, id)
		if err == nil {
			device = r.Device
		}
		return err
	})
	if errors.Is(err, errGone) {
		return nil, errUsed
	}
	if err != nil {
		return nil, err
	}
	c := &confirmation{p: p, id: id, digest: linkDigest(id, value), asked: device}
	if device != "" {
		// Asked for outside of the transaction, which waits for nobody. A laptop that
		// nobody knows any more stays the zero one, which may vouch for nothing.
		if d, ok := p.Device(device); ok && d.ID == device {
			c.device = d
		}
	}
	err = p.settle(ctx, func(tx *store.Tx) (*Refusal, error) { return c.take(tx, w) })
	if err == nil && c.owns {
		err = p.ownAndTie(ctx, w, c)
	}
	if err != nil {
		return nil, err
	}
	return c.link, nil
}

// confirmation is one call of ConfirmLink.
type confirmation struct {
	p      *People
	id     string
	digest attest.Digest
	asked  string         // the laptop of the request when it was looked at
	device session.Device // how that one stood

	request *linkRequest
	owns    bool // the laptop gets an owner before the session gets its link
	link    *session.Link
}

// take judges the request and takes it, once.
func (c *confirmation) take(tx *store.Tx, w *Who) (*Refusal, error) {
	now, err := still(tx, w)
	if err != nil {
		return nil, err
	}
	o, r, err := readLink(tx, c.id)
	if errors.Is(err, store.ErrNotFound) {
		return errUsed, nil
	}
	if err != nil {
		return nil, err
	}
	c.request = r
	switch {
	case o.Session != now.Session.ID || r.Invitation != "":
		return errRelay, c.relayed(tx, now, o)
	case r.Device == "" || r.Device != c.asked:
		return errUnproved, nil
	case !mayLink(&c.device, r.Name, r.Way) || r.Anchor != c.device.Anchor || r.Name != now.Person.Name:
		return errNotLinked, tx.EndOffer(kindLink, o.ID)
	case !same(r.Value, c.digest):
		return c.wrong(tx, o, now.actor(), errUsed)
	case c.owning(now) && !now.Fresh(tx.Now()):
		return errVerify, nil // the request waits for it
	}
	if _, err := tx.TakeOfferByID(kindLink, o.ID); err != nil {
		return nil, err
	}
	old := now.Session.Link
	switch {
	case old != nil && old.Device != r.Device:
		return errMoved, c.moved(tx, now)
	case old != nil && r.Way == session.ByCode && old.Strength != session.ByCode:
		return errStronger, nil
	case c.owning(now):
		c.owns = true
		return nil, nil
	}
	return nil, c.tie(tx, now)
}

// owning reports whether the link makes the person the laptop's owner. A session
// that is on another laptop comes to own none: it has moved.
func (c *confirmation) owning(w *Who) bool {
	moved := w.Session.Link != nil && w.Session.Link.Device != c.device.ID
	return c.device.Owner == "" && !c.device.Shared() && !moved
}

// wrong counts a wrong value; the last one ends the request, which over tells.
func (c *confirmation) wrong(tx *store.Tx, o *store.Offer, by Actor, over *Refusal) (*Refusal, error) {
	c.request.Tries++
	if c.request.Tries < linkTries {
		return errValue, rewrite(tx, o, c.request)
	}
	if err := tx.EndOffer(kindLink, o.ID); err != nil {
		return nil, err
	}
	return over, audit(tx, by, "link.guess-refused", c.request.subject(o), map[string]any{
		"device": c.request.Device, "tries": c.request.Tries})
}

// relayed ends a request whose answer came back through another session than
// asked, and tells the laptop's owner; for a laptop without one, who sat at it.
func (c *confirmation) relayed(tx *store.Tx, w *Who, o *store.Offer) error {
	if err := tx.EndOffer(kindLink, o.ID); err != nil {
		return err
	}
	detail := map[string]any{"device": c.request.Device, "laptop": c.device.Name, "way": c.request.Way,
		"asked_by": c.request.Name, "address": c.request.Address, "confirmed_in": w.Session.ID}
	if err := audit(tx, w.actor(), "link.relay-refused", c.request.subject(o), detail); err != nil {
		return err
	}
	if c.request.Device == "" {
		return nil // no laptop vouched for anything
	}
	whom := w.Person
	if c.device.Owner != "" {
		owner, err := tx.PersonByName(c.device.Owner)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err == nil {
			whom = owner
		}
	}
	return c.p.notify(tx, whom, "link-relay-refused", detail)
}

// moved ends a session that proved another laptop than before.
func (c *confirmation) moved(tx *store.Tx, w *Who) error {
	detail := map[string]any{"cause": causeMoved, "person": w.Person.ID, "session": w.Session.ID,
		"was": w.Session.Link.Device, "device": c.request.Device, "laptop": c.device.Name, "address": c.request.Agent}
	if err := tx.EndSession(w.Session.ID, causeMoved); err != nil {
		return err
	}
	if err := audit(tx, w.actor(), "session.end", w.Session.ID, detail); err != nil {
		return err
	}
	return c.p.notify(tx, w.Person, causeMoved, detail)
}

// ownAndTie makes the person the owner of a laptop that has none, and then ties
// the session. Between the two the request is taken already: what stops here
// leaves no link.
func (p *People) ownAndTie(ctx context.Context, w *Who, c *confirmation) error {
	if err := p.Own(ctx, c.device.ID, w.Person.Name); err != nil {
		return err
	}
	// Two persons may have come at once; who it belongs to is asked, not assumed.
	d, ok := p.Device(c.device.ID)
	if !ok || !d.Active || d.Owner != w.Person.Name {
		return errTaken
	}
	return p.update(ctx, func(tx *store.Tx) error {
		now, err := still(tx, w)
		if err != nil {
			return err
		}
		if l := now.Session.Link; l != nil && l.Device != d.ID {
			return errUsed // another confirmation of this session came first
		}
		return c.tie(tx, now)
	})
}

// tie writes the link. Its age counts from the proof, not from the confirmation.
func (c *confirmation) tie(tx *store.Tx, w *Who) error {
	r := c.request
	link := &session.Link{Device: r.Device, Anchor: r.Anchor, Person: w.Person.Name, Strength: r.Way,
		First: tx.Now(), At: r.Proved, Address: r.Agent}
	if old := w.Session.Link; old != nil && old.Anchor == link.Anchor {
		link.First = old.First
	}
	w.Session.Link = link
	if err := tx.UpdateSession(w.Session); err != nil {
		return err
	}
	c.link = link
	detail := map[string]any{"device": r.Device, "laptop": c.device.Name, "way": r.Way,
		"address": r.Address, "agent_address": r.Agent}
	if err := audit(tx, w.actor(), "link.confirm", w.Session.ID, detail); err != nil {
		return err
	}
	err := tx.Spend(tagged("muster/linked/1", w.Person.ID, r.Device), tx.Now().Add(linkedFor))
	if errors.Is(err, store.ErrTaken) {
		return nil // linked before, and told then
	}
	if err != nil {
		return err
	}
	return c.p.notify(tx, w.Person, "laptop-linked", detail)
}

// Unlink ends the links of a shared laptop's sessions, whose system session was
// locked or left; on any other it does nothing. The sessions live on, without a
// laptop.
func (p *People) Unlink(ctx context.Context, d session.Device) error {
	if !d.Shared() || d.ID == "" {
		return nil
	}
	return p.update(ctx, func(tx *store.Tx) error {
		// What was proved and not confirmed yet would be a link a moment later.
		err := endLinkRequests(tx, func(_ *store.Offer, r *linkRequest) bool { return r.Device == d.ID })
		if err != nil {
			return err
		}
		list, err := tx.Sessions("")
		if err != nil {
			return err
		}
		for _, s := range list {
			if s.Link == nil || s.Link.Device != d.ID {
				continue
			}
			was := s.Link.Strength
			s.Link = nil
			if err := tx.UpdateSession(s); err != nil {
				return err
			}
			if err := audit(tx, Actor("device:"+d.ID), "link.end", s.ID, map[string]any{"device": d.ID, "way": was}); err != nil {
				return err
			}
		}
		return nil
	})
}

// Laptops are the person's own, and the one that this session is linked to, as
// long as that one vouches for them.
func (p *People) Laptops(w *Who) []session.Device {
	list := p.Devices(w.Person.Name)
	link := w.Session.Link
	if p.LinkStateOf(w.Session) == session.LinkAbsent {
		return list
	}
	for i := range list {
		if list[i].ID == link.Device {
			return list
		}
	}
	if d, ok := p.Device(link.Device); ok {
		list = append(list[:len(list):len(list)], d)
	}
	return list
}
