package store

import (
	"errors"
	"fmt"
	"time"

	"muster/attest"
)

// OfferKind says what a one-time thing is for. A secret of one kind is nothing
// to another.
type OfferKind string

// Offer is a one-time thing: an invitation, a redirect code, a request to link,
// a recovery. Data is its owner's, JSON of at most 16 kB without secrets. How
// many live at once is the callers' to limit.
type Offer struct {
	ID        string    `json:"id"`
	Kind      OfferKind `json:"kind"`
	Person    string    `json:"person,omitempty"`  // whom it is for: an id
	Session   string    `json:"session,omitempty"` // in which session it may be taken; empty: any
	Data      []byte    `json:"data,omitempty"`
	CreatedAt time.Time `json:"created_at"` // set by AddOffer
	CreatedBy string    `json:"created_by"` // a person's id, or as the audit log names who did it
	Expires   time.Time `json:"expires"`
	TakenAt   time.Time `json:"taken_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
}

const offerSelect = `SELECT id, kind, coalesce(person, ''), coalesce(session, ''), data, created_at, created_by,
	expires_at, taken_at, ended_at FROM offers `

func scanOffer(row scanner) (*Offer, error) {
	o := new(Offer)
	var created, expires, taken, ended int64
	err := row.Scan(&o.ID, &o.Kind, &o.Person, &o.Session, &o.Data, &created, &o.CreatedBy, &expires,
		&taken, &ended)
	if len(o.Data) == 0 {
		o.Data = nil
	}
	o.CreatedAt, o.Expires = instant(created), instant(expires)
	o.TakenAt, o.EndedAt = instant(taken), instant(ended)
	return o, err
}

// liveOffer is the condition for an offer that may be taken; it wants the time
// and the epoch.
const liveOffer = "taken_at = 0 AND ended_at = 0 AND expires_at > ? AND epoch = ?"

// nullable is how references are stored: NULL for none.
func nullable(id string) any {
	if id == "" {
		return nil
	}
	return id
}

// fit refuses what cannot be offered.
func (o *Offer) fit(now time.Time) error {
	if o.Kind == "" || !o.Expires.After(now) {
		return errors.New("offer without kind, or expired")
	}
	if o.Data == nil {
		o.Data = []byte{}
	}
	return errors.Join(bounded("id of an offer", o.ID, maxID), bounded("kind of an offer", string(o.Kind), maxID),
		bounded("creator", o.CreatedBy, maxText), ownData("data of an offer", o.Data))
}

// AddOffer keeps one and returns its secret, mso_ and 43 characters, which
// cannot be had again. It sets ID unless there is one. Person and session must
// be there: ErrNotFound; ErrRevoked when the one is disabled or the other ended.
func (t *Tx) AddOffer(o *Offer) (secret string, err error) {
	if err := o.fit(t.now); err != nil {
		return "", err
	}
	if o.Person != "" {
		if err := t.enabled(o.Person); err != nil {
			return "", err
		}
	}
	if o.Session != "" {
		if err := t.sessionLives(o.Session); err != nil {
			return "", err
		}
	}
	if o.ID == "" {
		o.ID = newID("o_")
	}
	o.CreatedAt, o.TakenAt, o.EndedAt = t.now, time.Time{}, time.Time{}
	secret, hash := newSecret(offerPrefix)
	return secret, t.one(`INSERT INTO offers (id, hash, kind, person, session, data, epoch, created_at,
		created_by, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, o.ID, hash[:], string(o.Kind),
		nullable(o.Person), nullable(o.Session), o.Data, t.epoch, millis(o.CreatedAt), o.CreatedBy,
		millis(o.Expires))
}

// PeekOffer reads the live one of a secret without taking it; ErrTokenRefused.
func (t *Tx) PeekOffer(kind OfferKind, secret string) (*Offer, error) {
	hash, ok := hashSecret(offerPrefix, secret)
	if !ok {
		return nil, ErrTokenRefused
	}
	o, err := pick(t, scanOffer, offerSelect+"WHERE hash = ? AND kind = ? AND "+liveOffer,
		hash[:], string(kind), millis(t.now), t.epoch)
	if errors.Is(err, ErrNotFound) {
		err = ErrTokenRefused
	}
	return o, err
}

// TakeOffer takes it, once: ErrTokenRefused when there is none, or it was taken
// or ended, has expired, or is of another epoch. In which session it is taken is
// the caller's to check, in the same function.
func (t *Tx) TakeOffer(kind OfferKind, secret string) (*Offer, error) {
	o, err := t.PeekOffer(kind, secret)
	if err != nil {
		return nil, err
	}
	return t.take(o)
}

// Offer reads a live one by id; ErrNotFound.
func (t *Tx) Offer(kind OfferKind, id string) (*Offer, error) {
	return pick(t, scanOffer, offerSelect+"WHERE id = ? AND kind = ? AND "+liveOffer,
		id, string(kind), millis(t.now), t.epoch)
}

// TakeOfferByID is TakeOffer for who need not know the secret.
func (t *Tx) TakeOfferByID(kind OfferKind, id string) (*Offer, error) {
	o, err := t.Offer(kind, id)
	if errors.Is(err, ErrNotFound) {
		err = ErrTokenRefused
	}
	if err != nil {
		return nil, err
	}
	return t.take(o)
}

// take marks a live one as taken; its condition stands in the statement too, so
// that whatever was read, one wins.
func (t *Tx) take(o *Offer) (*Offer, error) {
	n, err := t.exec("UPDATE offers SET taken_at = ? WHERE id = ? AND "+liveOffer,
		millis(t.now), o.ID, millis(t.now), t.epoch)
	if err == nil && n != 1 {
		err = ErrTokenRefused
	}
	if err != nil {
		return nil, err
	}
	o.TakenAt = t.now
	return o, nil
}

// Offers lists the live ones of a kind, newest first.
func (t *Tx) Offers(kind OfferKind) ([]*Offer, error) {
	return collect(t, scanOffer, offerSelect+"WHERE kind = ? AND "+liveOffer+" ORDER BY n DESC",
		string(kind), millis(t.now), t.epoch)
}

// OffersIn counts what was offered in a session and has not expired, taken and
// ended ones too: how much somebody asked for lately.
func (t *Tx) OffersIn(kind OfferKind, session string) (n int, err error) {
	err = t.first([]any{&n}, "SELECT count(*) FROM offers WHERE session = ? AND kind = ? AND expires_at > ?",
		session, string(kind), millis(t.now))
	return n, err
}

// UpdateOffer writes Data and Expires of a live one; ErrNotFound else.
func (t *Tx) UpdateOffer(o *Offer) error {
	if err := o.fit(t.now); err != nil {
		return err
	}
	return t.one("UPDATE offers SET data = ?, expires_at = ? WHERE id = ? AND kind = ? AND "+liveOffer,
		o.Data, millis(o.Expires), o.ID, string(o.Kind), millis(t.now), t.epoch)
}

// EndOffer ends a live one untaken; ErrNotFound else.
func (t *Tx) EndOffer(kind OfferKind, id string) error {
	return t.one("UPDATE offers SET ended_at = ? WHERE id = ? AND kind = ? AND "+liveOffer,
		millis(t.now), id, string(kind), millis(t.now), t.epoch)
}

// Spend notes that a value was used; ErrTaken when it was before. It is
// forgotten after expires, so until then the value must be refused by itself.
// One that has expired is refused. What was spent after a backup was made is
// forgotten when it is restored: values must be bound to the epoch.
func (t *Tx) Spend(value attest.Digest, expires time.Time) error {
	if value.IsZero() || !expires.After(t.now) {
		return errors.New("spending no value, or one that has expired")
	}
	if err := t.one("INSERT INTO spent (value, expires_at) VALUES (?, ?)", value[:], millis(expires)); err != nil {
		return fmt.Errorf("spending: %w", err)
	}
	return nil
}
