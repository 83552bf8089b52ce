package people

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"

	"muster/attest"
	"muster/server/session"
	"muster/server/store"
)

// An invitation that is bound to a laptop is accepted in a browser that this
// laptop's agent vouched for, by loopback, at most two minutes ago. What the agent
// signs is a request to link as any other, but it stands for the invitation: no
// session confirms it, and a session's request accepts no invitation.

var (
	errHere             = refuse(403, "invitation-laptop", "This invitation works only in a browser on the laptop that it was made for.", "Open its link on that laptop, where muster-agent runs, and try again.")
	errDeviceInvitation = refuse(400, "invitation-device", "There is no admitted laptop of this id to bind an invitation to.", "Take the id from the list of laptops, and see that the laptop is admitted; or leave the laptop out.")
)

// Presence shows that a browser is on a laptop: the id of a request that the
// laptop proved, and the one-time value that its agent gave to the browser. The
// zero value shows nothing.
type Presence struct{ Link, Value string }

// bindable refuses to bind an invitation to a laptop that could never accept it.
func (p *People) bindable(i Invitation) error {
	if i.Device == "" {
		return nil
	}
	d, err := p.admitted(i.Device)
	if err == nil && !takes(&d, i.Name) {
		err = errTaken
	}
	return err
}

// admitted is an active laptop. It may wait for the store, so it is asked for
// outside of transactions.
func (p *People) admitted(id string) (session.Device, error) {
	d, ok := p.Device(id)
	if !ok || d.ID == "" || d.ID != id || !d.Active {
		return session.Device{}, errDeviceInvitation
	}
	return d, nil
}

// takes reports whether the laptop is, or may become, the one that a person
// uses: its owner, anybody where it has none.
func takes(d *session.Device, name string) bool { return d.Owner == "" || d.Owner == name }

// invitationHash stands where a link's session hash does.
func invitationHash(id string) attest.Digest { return tagged("muster/invitation/1", id) }

// BeginInvitationLink asks the laptop that an invitation is bound to to vouch for
// this browser, for two minutes. An invitation has one such request at a time.
func (p *People) BeginInvitationLink(ctx context.Context, secret string, from From) (*LinkAsk, error) {
	i, err := p.open(ctx, secret)
	if err != nil {
		return nil, err
	}
	if i.Device == "" {
		return nil, errGone // it works anywhere, so there is nothing to prove
	}
	if err := p.bindable(i.Invitation); err != nil {
		return nil, err
	}
	ask := &LinkAsk{Way: session.ByLoopback}
	_, _ = rand.Read(ask.Nonce[:]) // does not return when it cannot
	err = p.update(ctx, func(tx *store.Tx) error {
		o, err := tx.PeekOffer(kindInvitation, secret)
		if err != nil {
			return err
		}
		now, err := accepts(tx, o)
		if err != nil {
			return err
		}
		ask.Expires = tx.Now().Add(linkLife)
		ask.ID, err = askLaptop(tx, o, &linkRequest{Way: ask.Way, Nonce: ask.Nonce, Name: now.Name, Invitation: o.ID, Bound: now.Device,
			Browser: session.Cut(from.Browser), Address: session.Cut(from.Address)})
		return err
	})
	if err != nil {
		return nil, err
	}
	return ask, nil
}

// askLaptop keeps a request for an invitation. One that waits is written over: who
// has the secret but no laptop fills no disk by asking.
func askLaptop(tx *store.Tx, invitation *store.Offer, r *linkRequest) (id string, err error) {
	list, err := tx.Offers(kindLink)
	if err != nil {
		return "", err
	}
	for _, o := range list {
		old, err := dataOf[linkRequest](o)
		if err != nil {
			return "", err
		}
		if old.Invitation == invitation.ID {
			o.Expires = tx.Now().Add(linkLife)
			return o.ID, rewrite(tx, o, r)
		}
	}
	o := &store.Offer{Kind: kindLink, Person: invitation.Person, CreatedBy: "invitation:" + invitation.ID, Expires: tx.Now().Add(linkLife)}
	if o.Data, err = json.Marshal(r); err != nil {
		return "", err
	}
	_, err = tx.AddOffer(o) // its secret is nobody's, as for any other
	return o.ID, err
}

// subject is what a request stands for, as the audit log names it.
func (r *linkRequest) subject(o *store.Offer) string {
	if r.Invitation != "" {
		return r.Invitation
	}
	return o.Session
}

// hash is what the laptop signs of it.
func (r *linkRequest) hash(o *store.Offer) attest.Digest {
	if r.Invitation != "" {
		return invitationHash(r.Invitation)
	}
	return session.Hash(o.Session)
}

// provable reports whether this laptop may prove the request: for an invitation
// the very one that it is bound to, whoever owns it, since the person need not be
// there yet; whose it is, accepting looks at.
func (r *linkRequest) provable(d *session.Device) bool {
	if r.Invitation != "" {
		return d.Active && d.ID != "" && d.ID == r.Bound
	}
	return mayLink(d, r.Name, r.Way)
}

// stands refuses a request whose session or invitation is over.
func (r *linkRequest) stands(tx *store.Tx, o *store.Offer) error {
	if r.Invitation == "" {
		return linkSession(tx, o)
	}
	i, err := tx.Offer(kindInvitation, r.Invitation)
	if err == nil {
		_, err = accepts(tx, i)
	}
	var over *Refusal
	if errors.Is(err, store.ErrNotFound) || errors.As(err, &over) {
		return errNotLinked
	}
	return err
}

// arrival is a laptop's word as it is brought to accept an invitation: nil where
// the invitation works anywhere.
func (p *People) arrival(i *opened, at Presence) *confirmation {
	if i.Device == "" {
		return nil
	}
	c := &confirmation{p: p, id: at.Link, digest: linkDigest(at.Link, at.Value), asked: i.Device}
	// Asked for outside of the transaction. A laptop that is not admitted any more
	// stays the zero one, which vouches for nothing.
	if d, err := p.admitted(i.Device); err == nil {
		c.device = d
	}
	return c
}

// opens is an invitation that may be accepted now, in this browser.
func (c *confirmation) opens(tx *store.Tx, secret string) (*opened, *Refusal, error) {
	o, err := tx.PeekOffer(kindInvitation, secret)
	if err != nil {
		return nil, nil, err
	}
	i, err := accepts(tx, o)
	if err != nil {
		return nil, nil, err
	}
	no, err := c.vouches(tx, i)
	return i, no, err
}

// vouches judges the word in the transaction of its effect, and leaves it for
// Accept to use up. One that is older than two minutes is no live request. A nil error and no refusal: the browser is on the laptop.
func (c *confirmation) vouches(tx *store.Tx, i *opened) (*Refusal, error) {
	if c == nil {
		if i.Device != "" {
			return errHere, nil
		}
		return nil, nil
	}
	o, r, err := readLink(tx, c.id)
	if errors.Is(err, store.ErrNotFound) {
		return errHere, nil
	}
	if err != nil {
		return nil, err
	}
	c.request = r
	switch {
	case o.Session != "" || r.Invitation == "" || r.Invitation != i.offer.ID:
		return errRelay, c.astray(tx, i, o)
	case r.Device == "":
		return errUnproved, nil
	case i.Device == "" || r.Device != i.Device || r.Bound != i.Device || !r.provable(&c.device) || r.Anchor != c.device.Anchor || r.Name != i.Name:
		return errNotLinked, tx.EndOffer(kindLink, o.ID)
	case !same(r.Value, c.digest):
		return c.wrong(tx, o, Actor("invitation:"+i.offer.ID), errHere)
	case !takes(&c.device, i.Name):
		return errTaken, nil
	}
	return nil, nil
}

// astray ends a request that is another invitation's, or a session's: what a laptop
// said of one browser was brought by another.
func (c *confirmation) astray(tx *store.Tx, i *opened, o *store.Offer) error {
	if err := tx.EndOffer(kindLink, o.ID); err != nil {
		return err
	}
	return audit(tx, Actor("invitation:"+i.offer.ID), "link.relay-refused", c.request.subject(o), map[string]any{
		"device": c.request.Device, "way": c.request.Way, "asked_by": c.request.Name, "address": c.request.Address})
}

// arrive uses the word up and links the session that the invitation began. A
// laptop that is nobody's gets its owner first, which waits for the commit.
func (c *confirmation) arrive(tx *store.Tx, w *Who) error {
	if c == nil {
		return nil
	}
	if _, err := tx.TakeOfferByID(kindLink, c.id); err != nil {
		return err
	}
	if c.owning(w) {
		c.owns = true
		return nil
	}
	return c.tie(tx, w)
}

// settleIn makes the person the owner of a laptop that has none, after the
// invitation is accepted. The registration was fresh hands. Where somebody else
// was quicker the person is in all the same, on no laptop: there is no way back,
// since the passkey is made.
func (p *People) settleIn(ctx context.Context, w *Who, c *confirmation) {
	if c == nil || !c.owns {
		return
	}
	if err := p.ownAndTie(ctx, w, c); err != nil {
		p.Log.Warn("session of an invitation not linked", "device", c.device.ID, "session", w.Session.ID, "error", err)
		return
	}
	w.Session.Link = c.link
}
