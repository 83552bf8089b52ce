package people

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"muster/attest"
	"muster/server/passkey"
	"muster/server/session"
	"muster/server/store"
)

// purpose says what a ceremony was begun for. Its response is good for nothing
// else.
type purpose string

const (
	forSignIn  purpose = "sign-in" // subject: none
	forVerify  purpose = "verify"  // subject: the session
	forAdd     purpose = "add"     // subject: the session
	forAccept  purpose = "accept"  // subject: the invitation
	forRecover purpose = "recover" // subject: the recovery
)

const (
	// maxSealed bounds a sealed ceremony, in characters: browsers keep cookies of
	// at most 4096 bytes with name and value (RFC 6265 §6.1).
	maxSealed = 3900
	// maxNamed bounds the ids that a ceremony names, in bytes; one alone may have
	// 1023 (WebAuthn §5.8.5).
	maxNamed = 1300
)

// bound is what a sealed ceremony is tied to: a ceremony of another purpose or
// subject does not open, so that none can be taken for another.
func bound(to purpose, subject string) []byte {
	b := []byte("muster/ceremony/1")
	for _, part := range []string{string(to), subject} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(part))), part...)
	}
	return b
}

// seal hides a ceremony from the browser that keeps it. The server keeps nothing.
func (p *People) seal(to purpose, subject string, options []byte, c *passkey.Ceremony) (*Ceremony, error) {
	plain, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("sealing ceremony: %w", err)
	}
	sealed := base64.RawURLEncoding.EncodeToString(p.aead.Seal(nil, nil, plain, bound(to, subject)))
	if len(sealed) > maxSealed {
		return nil, fmt.Errorf("sealing ceremony: %d characters do not fit into a cookie", len(sealed))
	}
	return &Ceremony{Options: options, Sealed: sealed}, nil
}

// unseal opens a ceremony of exactly this purpose and subject, and not too old.
// Whatever is wrong, it is refused alike.
func (p *People) unseal(to purpose, subject, sealed string) (*passkey.Ceremony, error) {
	if len(sealed) > maxSealed || strings.ContainsAny(sealed, "\r\n") {
		return nil, errCeremony
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil {
		return nil, errCeremony
	}
	plain, err := p.aead.Open(nil, nil, b, bound(to, subject))
	if err != nil {
		return nil, errCeremony
	}
	c := new(passkey.Ceremony)
	if err := json.Unmarshal(plain, c); err != nil {
		return nil, errCeremony
	}
	if len(c.Challenge) == 0 || !p.Now().Before(c.Expires) {
		return nil, errCeremony
	}
	return c, nil
}

// spend uses a ceremony's challenge up, in the transaction of its effect. That it
// has not expired is looked at here again: the store forgets what was spent then.
func spend(tx *store.Tx, c *passkey.Ceremony) error {
	if !tx.Now().Before(c.Expires) {
		return errCeremony
	}
	tagged := append([]byte("muster/challenge/1"), c.Challenge...)
	err := tx.Spend(attest.Digest(sha256.Sum256(tagged)), c.Expires)
	if errors.Is(err, store.ErrTaken) {
		return errUsed
	}
	return err
}

// userOf is a person as WebAuthn knows one.
func userOf(person *store.Person) passkey.User {
	display := person.Display
	if display == "" {
		display = person.Name
	}
	return passkey.User{Handle: person.Handle, Name: person.Name, Display: display}
}

// credentials are the passkeys that a ceremony names: those used last, first of
// all the given one, as far as their ids fit into a cookie. Only somebody with
// many authenticators of long ids has more.
func credentials(keys []*store.Passkey, first []byte) (list []*passkey.Credential) {
	keys = slices.Clone(keys)
	slices.SortStableFunc(keys, func(a, b *store.Passkey) int {
		if bytes.Equal(a.ID, first) != bytes.Equal(b.ID, first) {
			if bytes.Equal(a.ID, first) {
				return -1
			}
			return 1
		}
		return b.Use.At.Compare(a.Use.At)
	})
	length := 0
	for _, k := range keys {
		if length += len(k.ID); length > maxNamed {
			break
		}
		list = append(list, &k.Credential)
	}
	return list
}

// beginRegistration begins the registration of a passkey for a user who has
// some already.
func (p *People) beginRegistration(to purpose, subject string, u passkey.User, have []*store.Passkey) (*Ceremony, error) {
	if p.party == nil {
		return nil, errNoName
	}
	options, c, err := p.party.BeginRegistration(u, credentials(have, nil))
	if err != nil {
		return nil, fmt.Errorf("beginning registration: %w", err)
	}
	return p.seal(to, subject, options, c)
}

// registration is a response that was checked, before anything is kept of it.
type registration struct {
	ceremony   *passkey.Ceremony
	credential *passkey.Credential
}

// finishRegistration checks a response: the slow part, outside of transactions.
func (p *People) finishRegistration(to purpose, subject string, u passkey.User, sealed string, response []byte) (*registration, error) {
	if p.party == nil {
		return nil, errNoName
	}
	c, err := p.unseal(to, subject, sealed)
	if err != nil {
		return nil, err
	}
	credential, err := p.party.FinishRegistration(u, c, response)
	if err != nil {
		return nil, p.refused(err, "registration")
	}
	if credential.Judgement.Bad != "" {
		return nil, errModel
	}
	return &registration{c, credential}, nil
}

// keepPasskey keeps a checked registration, once. createdIn is the session in
// which it was added; empty for one by invitation or recovery.
func (p *People) keepPasskey(tx *store.Tx, person *store.Person, r *registration, name, createdIn string) (*store.Passkey, error) {
	if err := spend(tx, r.ceremony); err != nil {
		return nil, err
	}
	// A pack that came into use meanwhile judged every passkey but this one.
	if r.credential.Judgement.Pack != number(p.metadata.Load()) {
		if r.credential.Judgement = p.party.Judge(r.credential); r.credential.Judgement.Bad != "" {
			return nil, errModel
		}
	}
	k := &store.Passkey{Credential: *r.credential, Person: person.ID, Name: passkeyName(name, r.credential), CreatedIn: createdIn, CreatedAt: tx.Now()}
	err := tx.AddPasskey(k)
	if errors.Is(err, store.ErrTaken) || errors.Is(err, store.ErrRevoked) {
		return nil, errKnownKey
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// replacePasskeys keeps a checked registration in the place of all passkeys that
// a person has, ends all of their sessions, and signs in. Cause is a stable code.
func (p *People) replacePasskeys(tx *store.Tx, person *store.Person, r *registration, name, cause string, from From) (secret string, who *Who, err error) {
	old, err := tx.Passkeys(person.ID)
	if err != nil {
		return "", nil, err
	}
	k, err := p.keepPasskey(tx, person, r, name, "")
	if err != nil {
		return "", nil, err
	}
	for _, o := range old {
		if _, err := tx.RemovePasskey(o.ID, cause); err != nil {
			return "", nil, err
		}
	}
	if _, err := tx.EndSessions(person.ID, "", cause); err != nil {
		return "", nil, err
	}
	return p.newSession(tx, person, &k.Credential, &k.Use, from)
}

// newSession signs a person in who has just shown a passkey.
func (p *People) newSession(tx *store.Tx, person *store.Person, c *passkey.Credential, u *passkey.Use, from From) (secret string, who *Who, err error) {
	now := tx.Now()
	s := &session.Session{
		Person: person.ID, Credential: c.ID, CreatedAt: now, VerifiedAt: now, SeenAt: now, Limits: p.Limits(),
		Address: session.Cut(from.Address), Browser: session.Cut(from.Browser), Attachment: u.Attachment,
		Binding: "none", Epoch: tx.Epoch(),
	}
	s.AMR, s.ACR = session.Means(c)
	if secret, err = tx.AddSession(s); err != nil {
		return "", nil, err
	}
	by := Actor("person:" + person.Name)
	err = audit(tx, by, "session.begin", s.ID, map[string]any{
		"address": s.Address, "acr": s.ACR, "amr": s.AMR, "passkey": passkeyID(c.ID), "clone_warning": u.CloneWarning,
	})
	return secret, &Who{Session: s, Person: person}, err
}

// still reads the one who asks anew: what was true when the request came in may
// have ended before its effect.
func still(tx *store.Tx, w *Who) (*Who, error) {
	s, err := tx.Session(w.Session.ID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errSignIn
	}
	if err != nil {
		return nil, err
	}
	return living(tx, s)
}

// fresh is still for an act that adds power.
func fresh(tx *store.Tx, w *Who) (*Who, error) {
	now, err := still(tx, w)
	if err != nil {
		return nil, err
	}
	if !now.Fresh(tx.Now()) {
		return nil, errVerify
	}
	return now, nil
}

// living is the one behind a session, if it may be used.
func living(tx *store.Tx, s *session.Session) (*Who, error) {
	if s.Epoch != tx.Epoch() || s.Over(tx.Now()) != "" {
		return nil, errSignIn
	}
	person, err := tx.Person(s.Person)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errSignIn
	}
	if err != nil {
		return nil, err
	}
	if person.Disabled {
		return nil, errSignIn
	}
	return &Who{Session: s, Person: person}, nil
}

// refused turns what a Party says into a refusal; why goes to the log alone. What
// is not the response's fault stays an error.
func (p *People) refused(err error, what string) error {
	var known *Refusal
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, passkey.ErrRefused):
		p.Log.Info("passkey refused", "action", what, "reason", session.Cut(err.Error()))
		return errPasskey
	}
	return fmt.Errorf("checking passkey: %w", err)
}
