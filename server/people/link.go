package people

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"muster/attest"
	"muster/server/session"
	"muster/server/store"
)

// LinkAsk is a request to link, as the page gets it.
type LinkAsk struct {
	ID      string           `json:"id"`
	Nonce   attest.Digest    `json:"nonce"`
	Way     session.Strength `json:"way"`
	Expires time.Time        `json:"expires"`
}

const (
	kindLink store.OfferKind = "link"
	// linkLife is how long a request waits for its laptop, and a proof for its
	// browser.
	linkLife = 2 * time.Minute
	// linkSlack is how far a laptop's clock may be from ours.
	linkSlack = 2 * time.Minute
	// linkTries is how many wrong values end a request.
	linkTries = 5
	// maxLinks is how many requests a session may make in two minutes.
	maxLinks = 100
	// maxCodeLinks bounds what an agent is shown at once.
	maxCodeLinks = 16
)

var (
	errWay       = refuse(400, "way-unknown", "There is no such way to link a laptop.", "Use loopback, app or code.")
	errNotLinked = refuse(403, "link-refused", "This laptop does not vouch for that request: it is over, or somebody else asks.", "Start again from the page, signed in as the laptop's owner.")
	errInactive  = refuse(403, "link-inactive", "This laptop is not admitted, so it vouches for nobody.", "Ask an administrator to approve it; muster-agent status tells more.")
	errCodeHere  = refuse(403, "link-code-shared", "A laptop that many people share cannot be linked by code.", "Use the button on the page, in a browser on this laptop.")
	errLinks     = refuse(429, "link-limit", "This browser asked too often to be linked.", "Wait two minutes, then start again.")
	errStronger  = refuse(409, "link-stronger", "This session is linked in a stronger way already.", "Use the button on the page to prove it again.")
)

// linkRequest is a request to link a session: what the page asked, and what the
// laptop proved. The nonce is no secret: without the session's cookie it is
// worth nothing.
type linkRequest struct {
	Way     session.Strength `json:"way"`
	Nonce   attest.Digest    `json:"nonce"`
	Name    string           `json:"name"` // who asks
	Browser string           `json:"browser"`
	Address string           `json:"address"`

	// Invitation is what it stands for instead of a session, Bound the laptop that
	// alone may prove it then.
	Invitation string `json:"invitation,omitempty"`
	Bound      string `json:"bound,omitempty"`

	// Set by the proof, once.
	Device string        `json:"device,omitempty"`
	Anchor string        `json:"anchor,omitempty"`
	Agent  string        `json:"agent,omitempty"` // the address that it came from
	Proved time.Time     `json:"proved,omitzero"`
	Value  attest.Digest `json:"value,omitzero"` // digest of what the browser must bring
	Tries  int           `json:"tries,omitempty"`
}

// BeginLink makes a request to link this session, by one way, for two
// minutes. A session has one at a time. The person at the laptop is shown where
// it comes from.
func (p *People) BeginLink(ctx context.Context, w *Who, way session.Strength, from From) (*LinkAsk, error) {
	if way != session.ByLoopback && way != session.ByApp && way != session.ByCode {
		return nil, errWay
	}
	ask := &LinkAsk{Way: way}
	_, _ = rand.Read(ask.Nonce[:]) // does not return when it cannot
	err := p.update(ctx, func(tx *store.Tx) error {
		now, err := still(tx, w)
		if err != nil {
			return err
		}
		if l := now.Session.Link; l != nil && l.Strength != session.ByCode && way == session.ByCode {
			return errStronger
		}
		lately, err := tx.OffersIn(kindLink, now.Session.ID)
		if err != nil {
			return err
		}
		if lately >= maxLinks {
			return errLinks
		}
		if err := endLinkRequests(tx, func(o *store.Offer, _ *linkRequest) bool { return o.Session == now.Session.ID }); err != nil {
			return err
		}
		ask.Expires = tx.Now().Add(linkLife)
		o := &store.Offer{Kind: kindLink, Person: now.Person.ID, Session: now.Session.ID,
			CreatedBy: string(now.actor()), Expires: ask.Expires}
		if o.Data, err = json.Marshal(&linkRequest{Way: way, Nonce: ask.Nonce, Name: now.Person.Name,
			Browser: session.Cut(from.Browser), Address: session.Cut(from.Address)}); err != nil {
			return err
		}
		_, err = tx.AddOffer(o) // its secret is nobody's: the id and the nonce are the keys
		ask.ID = o.ID
		return err
	})
	if err != nil {
		return nil, err
	}
	return ask, nil
}

// readLink reads a live request; ErrNotFound.
func readLink(tx *store.Tx, id string) (*store.Offer, *linkRequest, error) {
	o, err := tx.Offer(kindLink, id)
	if err != nil {
		return nil, nil, err
	}
	r, err := dataOf[linkRequest](o)
	return o, r, err
}

func endLinkRequests(tx *store.Tx, which func(*store.Offer, *linkRequest) bool) error {
	list, err := tx.Offers(kindLink)
	if err != nil {
		return err
	}
	for _, o := range list {
		r, err := dataOf[linkRequest](o)
		if err != nil {
			return err
		}
		if which(o, r) {
			if err := tx.EndOffer(kindLink, o.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// mayLink is the owner rule, for a laptop that is admitted.
func mayLink(d *session.Device, name string, way session.Strength) bool {
	return d.Active && d.Vouches(name, way)
}

// OfferLink tells a laptop's agent what it is asked to sign: for a request that
// it names with its nonce, or, with id empty, the requests by code of its owner.
// An unknown request and a wrong nonce are refused alike, and so is a request of
// somebody else's: that one is over, since it may be a relay.
func (p *People) OfferLink(ctx context.Context, d session.Device, ask attest.LinkAsk) (*attest.LinkOffers, error) {
	if !d.Active {
		return nil, errInactive
	}
	if ask.Recover {
		return nil, errGone // that is OfferRecovery's
	}
	if ask.Link == "" {
		return p.offerCodes(ctx, &d)
	}
	var offers *attest.LinkOffers
	var other bool
	err := p.view(ctx, func(tx *store.Tx) error {
		o, r, err := readLink(tx, ask.Link)
		if errors.Is(err, store.ErrNotFound) {
			return errNotLinked
		}
		if err != nil {
			return err
		}
		if !same(r.Nonce, ask.Nonce) || string(r.Way) != ask.Way || r.Device != "" {
			return errNotLinked
		}
		if other = !r.provable(&d); other {
			return errNotLinked
		}
		if err := r.stands(tx, o); err != nil {
			return err
		}
		offers = &attest.LinkOffers{Offers: []attest.LinkOffer{linkOfferOf(o, r)}}
		return nil
	})
	if other {
		return nil, p.settle(ctx, func(tx *store.Tx) (*Refusal, error) { return p.endForeign(tx, &d, ask.Link) })
	}
	if err != nil {
		return nil, err
	}
	return offers, nil
}

// endForeign ends a request that a laptop was asked for that is somebody else's.
func (p *People) endForeign(tx *store.Tx, d *session.Device, id string) (*Refusal, error) {
	o, r, err := readLink(tx, id)
	if errors.Is(err, store.ErrNotFound) {
		return errNotLinked, nil
	}
	if err != nil {
		return nil, err
	}
	if err := tx.EndOffer(kindLink, id); err != nil {
		return nil, err
	}
	return errNotLinked, audit(tx, Actor("device:"+d.ID), "link.refuse", r.subject(o), map[string]any{
		"device": d.ID, "owner": d.Owner, "person": r.Name, "way": r.Way, "reason": "owner"})
}

// linkSession refuses a request whose session is over.
func linkSession(tx *store.Tx, o *store.Offer) error {
	s, err := tx.Session(o.Session)
	if err == nil {
		_, err = living(tx, s)
	}
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, errSignIn) {
		return errNotLinked
	}
	return err
}

func linkOfferOf(o *store.Offer, r *linkRequest) attest.LinkOffer {
	return attest.LinkOffer{Link: o.ID, Nonce: r.Nonce, SessionHash: r.hash(o), Person: r.Name,
		Browser: r.Browser, Address: r.Address, AskedAt: o.CreatedAt}
}

// offerCodes lists what waits for a code of this laptop: its owner's, newest
// first. A shared laptop has none: who types a code there is not told apart from
// who is on the telephone.
func (p *People) offerCodes(ctx context.Context, d *session.Device) (*attest.LinkOffers, error) {
	if d.Shared() {
		return nil, errCodeHere
	}
	offers := &attest.LinkOffers{Offers: []attest.LinkOffer{}}
	err := p.view(ctx, func(tx *store.Tx) error {
		list, err := tx.Offers(kindLink)
		if err != nil {
			return err
		}
		for _, o := range list {
			r, err := dataOf[linkRequest](o)
			if err != nil {
				return err
			}
			if r.Way != session.ByCode || r.Device != "" || !mayLink(d, r.Name, r.Way) {
				continue
			}
			err = linkSession(tx, o)
			if errors.Is(err, errNotLinked) {
				continue
			}
			if err != nil {
				return err
			}
			if offers.Offers = append(offers.Offers, linkOfferOf(o, r)); len(offers.Offers) == maxCodeLinks {
				break
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return offers, nil
}

// ProveLink takes an agent's proof, once, and returns what the person's own
// browser must bring to confirm it. The signature was checked; what it says is
// checked here, and refused alike whatever is wrong.
func (p *People) ProveLink(ctx context.Context, d session.Device, proof *attest.LinkProof, from From) (*attest.LinkReply, error) {
	if !d.Active {
		return nil, errInactive
	}
	if proof == nil || proof.Origin != p.Origin || p.Now().Sub(time.Unix(proof.Time, 0)).Abs() > linkSlack {
		return nil, errNotLinked
	}
	var reply *attest.LinkReply
	err := p.update(ctx, func(tx *store.Tx) error {
		o, r, err := readLink(tx, proof.Link)
		if errors.Is(err, store.ErrNotFound) {
			reply, err = p.proveRecovery(tx, &d, proof, from)
			return err
		}
		if err != nil {
			return err
		}
		if !same(r.Nonce, proof.Nonce) || !same(r.hash(o), proof.SessionHash) || r.Device != "" || !r.provable(&d) {
			return errNotLinked
		}
		if err := r.stands(tx, o); err != nil {
			return err
		}
		value := linkValue(r.Way)
		r.Device, r.Anchor, r.Agent, r.Proved = d.ID, d.Anchor, session.Cut(from.Address), tx.Now()
		r.Value = linkDigest(o.ID, value)
		o.Expires = tx.Now().Add(linkLife)
		if err := rewrite(tx, o, r); err != nil {
			return err
		}
		reply = p.linkReply(o.ID, value, r.Way)
		return audit(tx, Actor("device:"+d.ID), "link.prove", r.subject(o), map[string]any{
			"device": d.ID, "person": r.Name, "way": r.Way, "address": r.Agent})
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// linkReply hands the value to the agent in the form that its way asks for.
func (p *People) linkReply(id, value string, way session.Strength) *attest.LinkReply {
	reply := &attest.LinkReply{ExpireS: int(linkLife / time.Second)}
	switch way {
	case session.ByCode:
		reply.Code = value
	case session.ByApp:
		reply.URL = p.Origin + "/link/confirm#" + id + "." + value
	default:
		reply.Confirm = value
	}
	return reply
}

// linkValue is what the browser must bring: 32 random bytes, or for a person's
// fingers eight digits in two groups.
func linkValue(way session.Strength) string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // does not return when it cannot
	if way != session.ByCode {
		return base64.RawURLEncoding.EncodeToString(b[:])
	}
	n := binary.BigEndian.Uint64(b[:]) % 1e8
	return fmt.Sprintf("%04d-%04d", n/1e4, n%1e4)
}

// linkDigest is how a value is kept. A code is written as its digits, however it
// was typed.
func linkDigest(id, value string) attest.Digest {
	if len(value) <= 2*maxLabel {
		if digits := strings.NewReplacer(" ", "", "-", "").Replace(value); len(digits) == 8 {
			value = digits
		}
	}
	return tagged("muster/confirm/1", id, value)
}

// tagged is SHA-256 of a tag and L(part)... (SPEC.md §2).
func tagged(tag string, parts ...string) attest.Digest {
	b := []byte(tag)
	for _, part := range parts {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(part))), part...)
	}
	return sha256.Sum256(b)
}

// same compares in constant time; nothing is the same as none.
func same(a, b attest.Digest) bool {
	return !a.IsZero() && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
