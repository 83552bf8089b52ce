package people

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"muster/attest"
	"muster/server/session"
	"muster/server/store"
	"muster/server/verify"
)

// Recovery is one under way.
type Recovery struct {
	ID     string `json:"id"`
	Person string `json:"person"` // name
	Way    string `json:"way"`    // laptop or administrators
	// State: wait-approval, wait-time, ready.
	State    string    `json:"state"`
	Laptop   string    `json:"laptop,omitempty"` // device id
	BegunAt  time.Time `json:"begun_at"`
	BegunBy  string    `json:"begun_by"`
	Approved string    `json:"approved,omitempty"` // by whom
	ReadyAt  time.Time `json:"ready_at,omitzero"`
	Expires  time.Time `json:"expires"`
}

// What Way and State say.
const (
	wayLaptop         = "laptop"
	wayAdministrators = "administrators"
	waitApproval      = "wait-approval"
	waitTime          = "wait-time"
	ready             = "ready"
)

const (
	kindRecovery store.OfferKind = "recovery"
	// recoveryAsk is how long a recovery waits for its approval, and again for its
	// person once it is ready.
	recoveryAsk = 72 * time.Hour
	// recoveryLink is how long the link that two administrators made is good.
	recoveryLink = 24 * time.Hour
	// recoveryWait is the waiting time where none is configured: none is no choice.
	recoveryWait = 24 * time.Hour
	// recoveryTries is how many wrong codes cancel one; recoveriesDaily is how many
	// a person's laptops may begin in 24 hours.
	recoveryTries   = 5
	recoveriesDaily = 3
)

// causeRecovered ends what a person had before a recovery.
const causeRecovered = "recovered"

var (
	errNotHealthy  = refuse(403, "recovery-laptop", "Only an admitted and healthy laptop with a hardware TPM, which belongs to one person, can recover passkeys.", "See muster-agent status for what to fix, or ask two administrators to recover your account.")
	errNoApprover  = refuse(403, "recovery-no-approver", "Nobody was named beforehand who may approve this recovery.", "Ask two administrators to recover your account.")
	errRunning     = refuse(409, "recovery-running", "A recovery of this person's passkeys is under way already.", "Finish or cancel that one first.")
	errTooOften    = refuse(429, "recovery-too-often", "Three recoveries were begun in 24 hours.", "Wait until tomorrow, or ask two administrators.")
	errRecoverCode = refuse(403, "recovery-code", "This is not the code that the laptop shows.", "Ask the person to read it to you again, over a channel on which you know them.")
	errOwnRecovery = refuse(403, "recovery-own", "Nobody recovers themselves, or approves what they began.", "Ask another administrator.")
	errNewRole     = refuse(403, "role-new", "You are an administrator for less than a day: for this you do not count as one of two yet.", "Come back tomorrow, or ask another administrator.")
	errNotReady    = refuse(409, "recovery-waits", "This recovery is not ready yet.", "Come back at the time that the page shows.")
	errAway        = refuse(409, "recovery-laptop-now", "The laptop that began this recovery is not healthy now.", "Fix what muster-agent status shows on it, and try again.")
	errApproved    = refuse(409, "recovery-approved", "This recovery was approved before.", "There is nothing to do.")
	errDisabled    = refuse(409, "person-disabled", "This person is disabled, and has no recovery.", "Enable the person first.")
)

// recovery is what is kept of one.
type recovery struct {
	Recovery
	// Proved: the laptop signed for it, or an administrator proposed it. Before,
	// nobody is told that it exists.
	Proved bool `json:"proved"`
	// Approvers are those who were named when it began: who is named later has not
	// been named beforehand.
	Approvers []string      `json:"approvers,omitempty"`
	Nonce     attest.Digest `json:"nonce,omitzero"`
	// Secret is the digest of what the browser brings, Code of what the laptop
	// shows.
	Secret attest.Digest `json:"secret,omitzero"`
	Code   attest.Digest `json:"code,omitzero"`
	Tries  int           `json:"tries,omitempty"`
}

// at is the recovery as it is shown.
func (r *recovery) at(o *store.Offer, now time.Time) *Recovery {
	shown := r.Recovery
	shown.ID, shown.Expires = o.ID, o.Expires
	if shown.State == waitTime && !now.Before(shown.ReadyAt) {
		shown.State = ready
	}
	return &shown
}

// detail is what logs and notices say of it.
func (r *recovery) detail(id string) map[string]any {
	d := map[string]any{"recovery": id, "person": r.Person, "way": r.Way, "begun_by": r.BegunBy}
	if r.Laptop != "" {
		d["device"] = r.Laptop
	}
	if r.Approved != "" {
		d["approved"] = r.Approved
	}
	if !r.ReadyAt.IsZero() {
		d["ready_at"] = r.ReadyAt.UTC().Format(time.RFC3339)
	}
	return d
}

// readRecovery reads a live one; ErrNotFound.
func readRecovery(tx *store.Tx, id string) (*store.Offer, *recovery, error) {
	o, err := tx.Offer(kindRecovery, id)
	if err != nil {
		return nil, nil, err
	}
	r, err := dataOf[recovery](o)
	return o, r, err
}

func addRecovery(tx *store.Tx, o *store.Offer, r *recovery) (err error) {
	if o.Data, err = json.Marshal(r); err != nil {
		return err
	}
	_, err = tx.AddOffer(o) // its secret is nobody's: the browser gets one when the laptop has proved
	return err
}

// recovers reports whether a laptop can vouch for its owner's recovery. A vtpm or
// an EK that nobody vouches for may be software, and then a copied disk would be
// the laptop; at a shared one sits anybody.
func recovers(d *session.Device) bool {
	level := d.Level == verify.TPMHardware.String() || d.Level == verify.TPMListed.String()
	return d.ID != "" && d.Owner != "" && d.Active && d.Current && d.Healthy && level && !d.Shared()
}

// approvers are those of a person who may approve now: named, there, enabled, and
// somebody else.
func approvers(tx *store.Tx, person *store.Person) (names []string, err error) {
	for _, name := range person.Approvers {
		a, err := tx.PersonByName(name)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !a.Disabled && a.ID != person.ID {
			names = append(names, a.Name)
		}
	}
	return names, nil
}

// clearWay ends what a person's laptops asked for without proving it. A recovery
// that is under way stays, and there is one at a time.
func clearWay(tx *store.Tx, person *store.Person) error {
	list, err := tx.Offers(kindRecovery)
	if err != nil {
		return err
	}
	for _, o := range list {
		if o.Person != person.ID {
			continue
		}
		r, err := dataOf[recovery](o)
		if err != nil {
			return err
		}
		if r.Proved {
			return errRunning
		}
		if err := tx.EndOffer(kindRecovery, o.ID); err != nil {
			return err
		}
	}
	return nil
}

// OfferRecovery answers a laptop's agent whose owner lost their passkeys: what to
// sign. Only an active, current, healthy laptop with a TPM, owned by a person who
// has an approver, gets one.
func (p *People) OfferRecovery(ctx context.Context, d session.Device, from From) (*attest.LinkOffers, error) {
	if !recovers(&d) {
		return nil, errNotHealthy
	}
	var offer attest.LinkOffer
	err := p.update(ctx, func(tx *store.Tx) error {
		person, named, err := recoverable(tx, &d)
		if err != nil {
			return err
		}
		if err := clearWay(tx, person); err != nil {
			return err
		}
		r := &recovery{Recovery: Recovery{Person: person.Name, Way: wayLaptop, State: waitApproval, Laptop: d.ID,
			BegunAt: tx.Now(), BegunBy: "device:" + d.ID}, Approvers: named}
		_, _ = rand.Read(r.Nonce[:]) // does not return when it cannot
		o := &store.Offer{Kind: kindRecovery, Person: person.ID, CreatedBy: r.BegunBy, Expires: tx.Now().Add(linkLife)}
		if err := addRecovery(tx, o, r); err != nil {
			return err
		}
		offer = attest.LinkOffer{Link: o.ID, Nonce: r.Nonce, SessionHash: recoveryHash(o.ID), Person: person.Name,
			Address: session.Cut(from.Address), AskedAt: tx.Now()}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &attest.LinkOffers{Offers: []attest.LinkOffer{offer}}, nil
}

// recoverable is a laptop's owner, when they can recover, and who may approve.
func recoverable(tx *store.Tx, d *session.Device) (*store.Person, []string, error) {
	person, err := tx.PersonByName(d.Owner)
	if errors.Is(err, store.ErrNotFound) || err == nil && person.Disabled {
		return nil, nil, errNotHealthy
	}
	if err != nil {
		return nil, nil, err
	}
	named, err := approvers(tx, person)
	if err == nil && len(named) == 0 {
		err = errNoApprover
	}
	return person, named, err
}

// recoveryHash stands where a link's session hash does.
func recoveryHash(id string) attest.Digest { return tagged("muster/recovery/1", id) }

// proveRecovery takes a laptop's proof: from now on the recovery exists.
func (p *People) proveRecovery(tx *store.Tx, d *session.Device, proof *attest.LinkProof, from From) (*attest.LinkReply, error) {
	o, r, err := readRecovery(tx, proof.Link)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNotLinked
	}
	if err != nil {
		return nil, err
	}
	if r.Proved || r.Way != wayLaptop || r.Laptop != d.ID || r.Person != d.Owner ||
		!same(r.Nonce, proof.Nonce) || !same(recoveryHash(o.ID), proof.SessionHash) {
		return nil, errNotLinked
	}
	if !recovers(d) {
		return nil, errNotHealthy
	}
	person, _, err := recoverable(tx, d)
	if err != nil {
		return nil, err
	}
	if err := daily(tx, person); err != nil {
		return nil, err
	}
	secret, code := linkValue(session.ByLoopback), compareCode()
	r.Proved, r.BegunAt = true, tx.Now()
	r.Secret, r.Code = recoverySecret(o.ID, secret), recoveryCode(o.ID, code)
	o.Expires = tx.Now().Add(recoveryAsk)
	if err := rewrite(tx, o, r); err != nil {
		return nil, err
	}
	detail := r.detail(o.ID)
	detail["address"] = session.Cut(from.Address)
	if err := audit(tx, Actor(r.BegunBy), "recovery.start", person.Name, detail); err != nil {
		return nil, err
	}
	if err := p.notify(tx, person, "recovery-started", detail); err != nil {
		return nil, err
	}
	return &attest.LinkReply{Code: code, URL: p.Origin + "/recover#" + o.ID + "." + secret,
		ExpireS: int(recoveryAsk / time.Second)}, nil
}

// daily takes one of a person's places for today: each is free again 24 hours
// after it was taken.
func daily(tx *store.Tx, person *store.Person) error {
	for n := range recoveriesDaily {
		place := tagged("muster/recoveries/1", person.ID, fmt.Sprint(n))
		err := tx.Spend(place, tx.Now().Add(24*time.Hour))
		if !errors.Is(err, store.ErrTaken) {
			return err
		}
	}
	return errTooOften
}

func recoverySecret(id, value string) attest.Digest { return tagged("muster/recover/1", id, value) }

// recoveryCode is how a code is kept, however it was typed.
func recoveryCode(id, code string) attest.Digest {
	if len(code) <= 2*maxLabel {
		code = strings.ToUpper(strings.NewReplacer(" ", "", "-", "").Replace(code))
	}
	return tagged("muster/recovery-code/1", id, code)
}

// compareCode is eight letters in two groups, as attest.CompareCode's, but drawn.
func compareCode() string {
	const letters = "ABCDEFGHJKMNPQRSTUVWXYZ23456789" // none that look alike
	var b [8]byte
	_, _ = rand.Read(b[:]) // does not return when it cannot
	n := binary.BigEndian.Uint64(b[:])
	var code [8]byte
	for i := range code {
		code[i] = letters[n%uint64(len(letters))]
		n /= uint64(len(letters))
	}
	return string(code[:4]) + "-" + string(code[4:])
}

// bySecret reads the live recovery of a laptop whose browser brings its secret.
func bySecret(tx *store.Tx, secret string) (*store.Offer, *recovery, error) {
	id, value, ok := strings.Cut(secret, ".")
	if !ok || len(value) != base64.RawURLEncoding.EncodedLen(32) {
		return nil, nil, errUsed
	}
	o, r, err := readRecovery(tx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && !(r.Proved && same(r.Secret, recoverySecret(id, value))) {
		return nil, nil, errUsed
	}
	return o, r, err
}

// RecoveryOf tells a browser that holds a recovery's secret how it stands.
func (p *People) RecoveryOf(ctx context.Context, secret string) (shown *Recovery, err error) {
	err = p.view(ctx, func(tx *store.Tx) error {
		o, r, err := bySecret(tx, secret)
		if err == nil {
			shown = r.at(o, tx.Now())
		}
		return err
	})
	return shown, err
}

// mayApprove reports whether somebody may confirm a recovery of a person.
func (r *recovery) mayApprove(w *Who, person *store.Person) bool {
	if w.Person.ID == person.ID || string(w.actor()) == r.BegunBy {
		return false
	}
	if r.Way == wayAdministrators {
		return w.Is(store.RoleAdministrator)
	}
	// Named beforehand, and not struck off since.
	return slices.Contains(r.Approvers, w.Person.Name) && slices.Contains(person.Approvers, w.Person.Name)
}

// Recoveries are those that concern the asking person: their own, and those that
// they may approve.
func (p *People) Recoveries(ctx context.Context, w *Who) (own, toApprove []*Recovery, err error) {
	err = p.view(ctx, func(tx *store.Tx) error {
		now, err := still(tx, w)
		if err != nil {
			return err
		}
		list, err := tx.Offers(kindRecovery)
		if err != nil {
			return err
		}
		for _, o := range list {
			r, err := dataOf[recovery](o)
			if err != nil {
				return err
			}
			person, err := tx.Person(o.Person)
			if err != nil {
				return err
			}
			switch {
			case !r.Proved:
			case o.Person == now.Person.ID:
				own = append(own, r.at(o, tx.Now()))
			case r.State == waitApproval && r.mayApprove(now, person):
				toApprove = append(toApprove, r.at(o, tx.Now()))
			}
		}
		return nil
	})
	return own, toApprove, err
}
