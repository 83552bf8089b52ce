package people

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"time"
	"unicode/utf8"

	"muster/server/passkey"
	"muster/server/session"
	"muster/server/store"
)

// Passkey is one as its owner sees it.
type Passkey struct {
	*store.Passkey
	// Undo: it was added in the last 24 hours, and the asking session is older than
	// that: it may therefore remove it without fresh hands.
	Undo bool
	// This one opened the asking session.
	This bool
}

const (
	// maxPasskeys is how many a person may have.
	maxPasskeys = 20
	// undoFor is how long an older session may undo a new passkey.
	undoFor = 24 * time.Hour
	// maxLabel bounds the names that people give to their things, in characters.
	maxLabel = 64
)

// passkeyID is how the audit log and notices name a credential.
func passkeyID(id []byte) string { return base64.RawURLEncoding.EncodeToString(id) }

// passkeyName is what a new passkey is called: as its owner says, else its model.
func passkeyName(name string, c *passkey.Credential) string {
	for _, s := range []string{name, c.Judgement.Model} {
		if s = session.Cut(s); s != "" {
			return string([]rune(s)[:min(maxLabel, utf8.RuneCountInString(s))])
		}
	}
	return "Passkey"
}

// opener is the passkey that opened a session; nil when it is not there.
func opener(keys []*store.Passkey, s *session.Session) *store.Passkey {
	return keyOf(keys, s.Credential)
}

func keyOf(keys []*store.Passkey, credential []byte) *store.Passkey {
	for _, k := range keys {
		if bytes.Equal(k.ID, credential) {
			return k
		}
	}
	return nil
}

// undoable reports whether a session may undo a passkey: a thief who came to
// fresh hands is undone by any session that was there before.
func undoable(k *store.Passkey, s *session.Session, now time.Time) bool {
	age := now.Sub(k.CreatedAt)
	return age >= 0 && age < undoFor && s.CreatedAt.Before(k.CreatedAt)
}

// settled reports whether a passkey is the person's beyond undoing: it came with
// the account, or nobody undid it for a day.
func settled(k *store.Passkey, now time.Time) bool {
	return k.CreatedIn == "" || now.Sub(k.CreatedAt) >= undoFor
}

// pushedOut reports whether removing a passkey would leave new ones alone: a thief
// who came to fresh hands adds one, and with it could remove all that would undo
// it. One that signs in no more undoes nothing.
func pushedOut(k *store.Passkey, all []*store.Passkey, now time.Time) bool {
	sound := func(k *store.Passkey) bool { return settled(k, now) && k.Judgement.Bad == "" }
	return sound(k) && !slices.ContainsFunc(all, func(other *store.Passkey) bool { return other != k && sound(other) })
}

// Passkeys lists the person's own, oldest first.
func (p *People) Passkeys(ctx context.Context, w *Who) (list []Passkey, err error) {
	err = p.view(ctx, func(tx *store.Tx) error {
		keys, err := tx.Passkeys(w.Person.ID)
		for _, k := range keys {
			list = append(list, Passkey{k, undoable(k, w.Session, tx.Now()), bytes.Equal(k.ID, w.Session.Credential)})
		}
		return err
	})
	return list, err
}

// mayAdd reads the passkeys of one who may add another.
func mayAdd(tx *store.Tx, w *Who) (*Who, []*store.Passkey, error) {
	now, err := fresh(tx, w)
	if err != nil {
		return nil, nil, err
	}
	have, err := tx.Passkeys(now.Person.ID)
	if err == nil && len(have) >= maxPasskeys {
		err = errTooManyKeys
	}
	return now, have, err
}

// BeginAdd and Add register another passkey. Fresh hands; announced.
func (p *People) BeginAdd(ctx context.Context, w *Who) (*Ceremony, error) {
	var now *Who
	var have []*store.Passkey
	err := p.view(ctx, func(tx *store.Tx) (err error) {
		now, have, err = mayAdd(tx, w)
		return err
	})
	if err != nil {
		return nil, err
	}
	return p.beginRegistration(forAdd, now.Session.ID, userOf(now.Person), have)
}

// Add is the second half. An empty name becomes the model's, or "Passkey".
func (p *People) Add(ctx context.Context, w *Who, sealed string, response []byte, name string) (*Passkey, error) {
	r, err := p.finishRegistration(forAdd, w.Session.ID, userOf(w.Person), sealed, response)
	if err != nil {
		return nil, err
	}
	var k *store.Passkey
	err = p.update(ctx, func(tx *store.Tx) error {
		now, _, err := mayAdd(tx, w)
		if err != nil {
			return err
		}
		if k, err = p.keepPasskey(tx, now.Person, r, name, now.Session.ID); err != nil {
			return err
		}
		if err := audit(tx, now.actor(), "passkey.add", passkeyID(k.ID), describe(k)); err != nil {
			return err
		}
		return p.notify(tx, now.Person, "passkey-added", describe(k))
	})
	if err != nil {
		return nil, err
	}
	return &Passkey{k, false, false}, nil
}

// describe is what logs and notices say of a passkey.
func describe(k *store.Passkey) map[string]any {
	return map[string]any{
		"passkey": passkeyID(k.ID), "name": k.Name, "model": k.Judgement.Model, "evidence": k.Judgement.Evidence,
		"session": k.CreatedIn, "at": k.CreatedAt,
	}
}

// own reads one of the person's own passkeys, and how many there are.
func own(tx *store.Tx, person string, credential []byte) (*store.Passkey, []*store.Passkey, error) {
	all, err := tx.Passkeys(person)
	if err != nil {
		return nil, nil, err
	}
	k := keyOf(all, credential)
	if k == nil {
		return nil, nil, errGone
	}
	return k, all, nil
}

// NamePasskey renames one of the person's own: 1 to 64 characters.
func (p *People) NamePasskey(ctx context.Context, w *Who, credential []byte, name string) error {
	if !label(name) {
		return errLabel
	}
	return p.update(ctx, func(tx *store.Tx) error {
		now, err := still(tx, w)
		if err != nil {
			return err
		}
		k, _, err := own(tx, now.Person.ID, credential)
		if err != nil {
			return err
		}
		if err := tx.NamePasskey(k.ID, name); err != nil {
			return err
		}
		return audit(tx, now.actor(), "passkey.name", passkeyID(k.ID), map[string]any{"name": name, "was": k.Name})
	})
}

// RemovePasskey ends one of the person's own, and the sessions that it opened:
// with fresh hands, or by Undo. The last one stays, and the last that is older than
// a day. It returns the ids that are left, for the browser's
// signalAllAcceptedCredentials.
func (p *People) RemovePasskey(ctx context.Context, w *Who, credential []byte) (left [][]byte, err error) {
	err = p.update(ctx, func(tx *store.Tx) error {
		now, err := still(tx, w)
		if err != nil {
			return err
		}
		k, all, err := own(tx, now.Person.ID, credential)
		if err != nil {
			return err
		}
		undo := undoable(k, now.Session, tx.Now())
		if !undo && !now.Fresh(tx.Now()) {
			return errVerify
		}
		if len(all) == 1 {
			return errLastKey
		}
		if pushedOut(k, all, tx.Now()) {
			return errNewKeys
		}
		left = nil
		for _, other := range all {
			if other != k {
				left = append(left, other.ID)
			}
		}
		return p.remove(tx, now, k, undo)
	})
	if err != nil {
		return nil, err
	}
	return left, nil
}

// remove ends a passkey. One that is removed within a day takes the session with it
// in which it was added, whoever removes it: that one's cookie may be with a thief.
func (p *People) remove(tx *store.Tx, w *Who, k *store.Passkey, undo bool) error {
	cause := causeKeyRemoved
	if undo {
		cause = causeUndone
	}
	ended, err := tx.RemovePasskey(k.ID, cause)
	if err != nil {
		return err
	}
	if !settled(k, tx.Now()) && k.CreatedIn != w.Session.ID {
		s, err := tx.Session(k.CreatedIn)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return err
		case s.Person == w.Person.ID && s.EndedAt.IsZero():
			if err := end(tx, w.actor(), s, cause); err != nil {
				return err
			}
		}
	}
	detail := describe(k)
	detail["cause"], detail["sessions"] = cause, ended
	if err := audit(tx, w.actor(), "passkey.remove", passkeyID(k.ID), detail); err != nil {
		return err
	}
	return p.notify(tx, w.Person, "passkey-removed", detail)
}
