package people

import (
	"context"
	"errors"
	"fmt"
	"time"

	"muster/server/passkey"
	"muster/server/session"
	"muster/server/store"
)

// Ceremony is a WebAuthn ceremony that waits for its response. Sealed belongs
// into a cookie of the browser that began it.
type Ceremony struct {
	Options []byte // JSON for the browser's credential API
	Sealed  string // base64url
}

// BeginSignIn begins a sign-in with any passkey. It stores nothing.
func (p *People) BeginSignIn(ctx context.Context) (*Ceremony, error) {
	if p.party == nil {
		return nil, errNoName
	}
	options, c, err := p.party.BeginSignIn()
	if err != nil {
		return nil, fmt.Errorf("beginning sign-in: %w", err)
	}
	return p.seal(forSignIn, "", options, c)
}

// assertion is a response that was checked, before anything is kept of it.
type assertion struct {
	ceremony   *passkey.Ceremony
	credential *passkey.Credential
	use        *passkey.Use
}

// assert checks a response: the slow part, outside of transactions. Of a person
// only that one's passkeys count; "" is anyone's.
func (p *People) assert(ctx context.Context, to purpose, subject, person, sealed string, response []byte) (*assertion, error) {
	if p.party == nil {
		return nil, errNoName
	}
	c, err := p.unseal(to, subject, sealed)
	if err != nil {
		return nil, err
	}
	var broken error // the store could not tell: no reason to blame the passkey
	credential, use, err := p.party.FinishSignIn(c, response, func(id []byte) (found *passkey.Credential, u passkey.User, err error) {
		err = p.Store.View(ctx, func(tx *store.Tx) error {
			// A disabled person's signature is checked like anyone's, and refused when
			// it is kept: how long a refusal takes tells nothing of that.
			k, owner, err := keyAndOwner(tx, id)
			if err != nil {
				return err
			}
			if person != "" && owner.ID != person {
				return errPasskey
			}
			found, u = &k.Credential, userOf(owner)
			return nil
		})
		if err != nil && !errors.Is(err, errPasskey) {
			broken = err
		}
		return found, u, err
	})
	if broken != nil {
		return nil, fmt.Errorf("reading passkey: %w", broken)
	}
	if err != nil {
		return nil, p.refused(err, string(to))
	}
	return &assertion{c, credential, use}, nil
}

// keyAndOwner reads a passkey and whose it is.
func keyAndOwner(tx *store.Tx, credential []byte) (*store.Passkey, *store.Person, error) {
	k, err := tx.PasskeyByID(credential)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, errPasskey
	}
	if err != nil {
		return nil, nil, err
	}
	person, err := tx.Person(k.Person)
	return k, person, err
}

// keep notes a checked assertion, once, and reads its passkey and owner anew: they
// may have ended while it was checked. A model that lost trust is told to who has
// shown the key, and to nobody else.
func (a *assertion) keep(tx *store.Tx) (*store.Passkey, *store.Person, error) {
	k, person, err := keyAndOwner(tx, a.credential.ID)
	if err != nil {
		return nil, nil, err
	}
	if person.Disabled {
		return nil, nil, errPasskey
	}
	if k.Judgement.Bad != "" {
		return nil, nil, errModel
	}
	if err := spend(tx, a.ceremony); err != nil {
		return nil, nil, err
	}
	k.Use = *a.use
	return k, person, tx.UsePasskey(k.ID, a.use)
}

// SignIn makes a session of an assertion, once, and returns its cookie's secret.
// Unknown credentials, disabled persons and wrong signatures are refused alike.
func (p *People) SignIn(ctx context.Context, sealed string, response []byte, from From) (secret string, who *Who, err error) {
	a, err := p.assert(ctx, forSignIn, "", "", sealed, response)
	if err != nil {
		return "", nil, err
	}
	err = p.update(ctx, func(tx *store.Tx) error {
		k, person, err := a.keep(tx)
		if err != nil {
			return err
		}
		secret, who, err = p.newSession(tx, person, &k.Credential, a.use, from)
		return err
	})
	if err != nil {
		return "", nil, err
	}
	return secret, who, nil
}

const (
	// seenEvery is how exactly visits are noted.
	seenEvery = time.Minute
	// noteWait bounds how long noting one may hold up an answer.
	noteWait = 500 * time.Millisecond
)

// Who returns the one whose cookie it is. A session that ended, is over its
// limits or of another epoch, or whose person is disabled, is refused with code
// sign-in. It notes the visit, at most once a minute.
func (p *People) Who(ctx context.Context, secret string, from From) (*Who, error) {
	var w *Who
	var over string
	err := p.view(ctx, func(tx *store.Tx) error {
		s, err := tx.SessionBySecret(secret)
		if errors.Is(err, store.ErrReplaced) && s.EndedAt.IsZero() {
			w, over = &Who{Session: s}, causeCopied
		}
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrReplaced) {
			return errSignIn
		}
		if err != nil {
			return err
		}
		if s.EndedAt.IsZero() {
			over = s.Over(tx.Now())
		}
		w = &Who{Session: s}
		alive, err := living(tx, s)
		if err == nil {
			w = alive
		}
		return err
	})
	switch {
	case err == nil:
		p.note(ctx, w.Session, "")
		return w, nil
	case over == causeCopied:
		p.copied(ctx, w.Session)
	case over == "idle" || over == "too-old":
		// For ever, even if the clock is put back.
		p.note(ctx, w.Session, over)
	}
	return nil, err
}

// causeCopied ends a session of which somebody has an old cookie.
const causeCopied = "cookie-copied"

// copied ends a session whose replaced cookie was used: the browser that has the
// new one does not send it, so there are two of them, and nobody can tell which is
// the person's. It may also be a browser that never heard of the new one; then its
// person signs in again, which is cheap.
func (p *People) copied(ctx context.Context, s *session.Session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteWait)
	defer cancel()
	err := p.update(ctx, func(tx *store.Tx) error {
		now, err := tx.Session(s.ID)
		if err != nil || !now.EndedAt.IsZero() {
			return err
		}
		person, err := tx.Person(now.Person)
		if err != nil {
			return err
		}
		return end(tx, Actor("person:"+person.Name), now, causeCopied)
	})
	if err != nil {
		p.Log.Error("session of a copied cookie not ended; the copy is refused", "session", s.ID, "error", err)
	}
}

// Renew gives the session another cookie, whose secret it returns; the one before
// it is good for a minute more, and whoever brings it later ends the session. Call
// it when a laptop vouched again: so a copied cookie lives no longer than a link
// may be old.
func (p *People) Renew(ctx context.Context, w *Who) (secret string, err error) {
	err = p.update(ctx, func(tx *store.Tx) error {
		now, err := still(tx, w)
		if err != nil {
			return err
		}
		secret, err = tx.RenewSession(now.Session.ID)
		return err
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// note writes down that a session was used, or that it is over. That it cannot be
// written is no reason to refuse who was found live: then the session is over
// sooner.
func (p *People) note(ctx context.Context, s *session.Session, over string) {
	if over == "" && p.Now().Sub(s.SeenAt) < seenEvery {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, noteWait)
	defer cancel()
	err := p.Store.Update(ctx, func(tx *store.Tx) error {
		// What is written must be what is there, not what was read before.
		now, err := tx.Session(s.ID)
		if err != nil || !now.EndedAt.IsZero() {
			return err
		}
		if over := now.Over(tx.Now()); over != "" {
			return end(tx, "store", now, over)
		}
		if tx.Now().Sub(now.SeenAt) < seenEvery {
			return nil
		}
		now.SeenAt = tx.Now()
		return tx.UpdateSession(now)
	})
	if err != nil {
		p.Log.Warn("visit not noted", "session", s.ID, "error", err)
	}
}

// end ends one session and says so in the audit log.
func end(tx *store.Tx, by Actor, s *session.Session, cause string) error {
	if err := tx.EndSession(s.ID, cause); err != nil {
		return err
	}
	return audit(tx, by, "session.end", s.ID, map[string]any{"cause": cause, "person": s.Person})
}

// BeginVerify and Verify make the hands of a session fresh, by any passkey of
// its person that is not weaker than the one that opened it.
func (p *People) BeginVerify(ctx context.Context, w *Who) (*Ceremony, error) {
	if p.party == nil {
		return nil, errNoName
	}
	var keys []*store.Passkey
	err := p.view(ctx, func(tx *store.Tx) error {
		all, err := tx.Passkeys(w.Person.ID)
		for _, k := range all {
			if k.Judgement.Bad == "" && !weaker(k, opener(all, w.Session)) {
				keys = append(keys, k)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errSignIn
	}
	options, c, err := p.party.BeginVerify(userOf(w.Person), credentials(keys, w.Session.Credential))
	if err != nil {
		return nil, fmt.Errorf("beginning verification: %w", err)
	}
	return p.seal(forVerify, w.Session.ID, options, c)
}

// Verify is the second half.
func (p *People) Verify(ctx context.Context, w *Who, sealed string, response []byte) error {
	a, err := p.assert(ctx, forVerify, w.Session.ID, w.Person.ID, sealed, response)
	if err != nil {
		return err
	}
	return p.update(ctx, func(tx *store.Tx) error {
		now, err := still(tx, w)
		if err != nil {
			return err
		}
		k, person, err := a.keep(tx)
		if err != nil {
			return err
		}
		if person.ID != now.Person.ID {
			return errPasskey
		}
		opened, err := tx.PasskeyByID(now.Session.Credential)
		if errors.Is(err, store.ErrNotFound) {
			return errSignIn // its sessions ended with it
		}
		if err != nil {
			return err
		}
		if weaker(k, opened) {
			return errWeaker
		}
		now.Session.VerifiedAt, now.Session.SeenAt = tx.Now(), tx.Now()
		if err := tx.UpdateSession(now.Session); err != nil {
			return err
		}
		w.Session, w.Person = now.Session, now.Person
		return audit(tx, now.actor(), "session.verify", now.Session.ID, map[string]any{"passkey": passkeyID(k.ID), "clone_warning": a.use.CloneWarning})
	})
}

// weaker reports whether a passkey proves less than another. A session keeps what
// its opening passkey proved, so a weaker one must not stand in for it.
func weaker(k, than *store.Passkey) bool {
	if than == nil {
		return true
	}
	a, b := &k.Judgement, &than.Judgement
	return b.Evidence == passkey.Attested && a.Evidence != passkey.Attested ||
		k.BackupEligible && !than.BackupEligible || a.Level < b.Level
}

// SignOut ends the session; SignOutEverywhere all of the person's.
func (p *People) SignOut(ctx context.Context, w *Who) error {
	return p.update(ctx, func(tx *store.Tx) error {
		s, err := tx.Session(w.Session.ID)
		if err != nil || !s.EndedAt.IsZero() {
			return err
		}
		return end(tx, w.actor(), s, causeSignedOut)
	})
}

// SignOutEverywhere ends every session of the person, this one too.
func (p *People) SignOutEverywhere(ctx context.Context, w *Who) error {
	return p.update(ctx, func(tx *store.Tx) error {
		if _, err := still(tx, w); err != nil {
			return err
		}
		ended, err := tx.EndSessions(w.Person.ID, "", causeEverywhere)
		if err != nil {
			return err
		}
		return audit(tx, w.actor(), "session.end-all", w.Person.Name, map[string]any{"cause": causeEverywhere, "ended": ended})
	})
}
