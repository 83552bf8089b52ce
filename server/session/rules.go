package session

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"
	"unicode"

	"muster/server/passkey"
)

// Authentication context classes (OpenID Connect Core §2, acr), ours: a passkey
// with user verification; one whose authenticator's model is proved beside.
const (
	acrPasskey  = "muster:passkey"
	ACRAttested = "muster:passkey-attested"
)

// clockSlack is how far in the future a session may seem to have begun: replicas'
// clocks differ a little. Beyond it the clock is wrong, and nothing is known.
const clockSlack = time.Minute

// Over tells why a session is over: the code that it ended with, or idle,
// too-old, clock (it lies in the future) or unlimited (it has no limits, so
// nobody said how long it may live). Empty when it is live. The store's epoch is
// its reader's to compare.
func (s *Session) Over(now time.Time) string {
	last := s.SeenAt
	for _, t := range []time.Time{s.CreatedAt, s.VerifiedAt} {
		if t.After(last) {
			last = t
		}
	}
	switch {
	case !s.EndedAt.IsZero() && s.Cause != "":
		return s.Cause
	case !s.EndedAt.IsZero():
		return "ended"
	case s.Limits.Idle <= 0 || s.Limits.Absolute <= 0:
		return "unlimited"
	case s.CreatedAt.Sub(now) > clockSlack || last.Sub(now) > clockSlack:
		return "clock"
	case now.Sub(s.CreatedAt) >= s.Limits.Absolute:
		return "too-old"
	case now.Sub(last) >= s.Limits.Idle:
		return "idle"
	}
	return ""
}

// Shared reports whether the laptop is for whoever sits at it.
func (d *Device) Shared() bool { return d.Class == "shared" }

// Vouches is the owner rule: a laptop vouches for its owner; a shared one for
// whoever sits at it; one without an owner for whoever does, who becomes its owner.
// A code can be talked out of somebody, so it counts for the owner alone.
func (d *Device) Vouches(person string, way Strength) bool {
	switch {
	case d.ID == "" || person == "":
		return false
	case d.Shared() || d.Owner == "":
		return way != ByCode
	}
	return d.Owner == person
}

// LinkState tells what the session's link is worth with its laptop as it stands
// now; nil: nobody knows such a laptop. What is proved of another laptop, by keys
// that are dead, or by one that vouches for somebody else by now is nothing.
func (s *Session) LinkState(d *Device) LinkState {
	switch {
	case s.Link == nil || !s.EndedAt.IsZero():
		return LinkAbsent
	case d == nil || d.ID != s.Link.Device || d.Anchor != s.Link.Anchor || !d.Vouches(s.Link.Person, s.Link.Strength):
		return LinkAbsent
	case !d.Active || !d.Current:
		return LinkSuspended
	}
	return LinkLive
}

// Age is how long ago the link was proved. ok is false when it cannot be told:
// then no limit on it is met.
func (l *Link) Age(now time.Time) (age time.Duration, ok bool) {
	if l == nil || l.At.IsZero() {
		return 0, false
	}
	age = now.Sub(l.At)
	return max(age, 0), age >= -clockSlack
}

// Means tells how somebody signed in with the passkey. amr is by RFC 8176 §2: hwk
// when its key cannot leave the authenticator, swk when it may be synced; user for
// the test of user presence; mfa, since with user verification the passkey is a
// possession that knowledge or a body unlocks. acr is one of ours.
func Means(c *passkey.Credential) (amr []string, acr string) {
	amr, acr = []string{"hwk", "user", "mfa"}, acrPasskey
	if c.BackupEligible {
		amr[0] = "swk"
	}
	if c.Judgement.Evidence == passkey.Attested && c.Judgement.Bad == "" {
		acr = ACRAttested
	}
	return amr, acr
}

// Hash is what a laptop signs for to link a session: SHA-256 of a tag and L(id)
// (SPEC.md §2). It tells nothing of the cookie.
func Hash(id string) [sha256.Size]byte {
	b := binary.BigEndian.AppendUint32([]byte("muster/session/1"), uint32(len(id)))
	return sha256.Sum256(append(b, id...))
}

// maxShown bounds what a browser says of itself, in bytes.
const maxShown = 200

// Cut makes a stranger's words, as a user agent, fit to be kept and shown: at
// most 200 bytes of printable text, every other character a space.
func Cut(text string) string {
	if len(text) > maxShown {
		text = text[:maxShown]
	}
	text = strings.ToValidUTF8(text, "")
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	return strings.TrimSpace(text)
}
