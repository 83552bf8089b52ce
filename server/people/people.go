package people

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"muster/server/passkey"
	"muster/server/reference"
	"muster/server/session"
	"muster/server/store"
)

// Config is what People works with. None may be nil unless it says so.
type Config struct {
	Store *store.Store
	// Origin is the public URL, RPID the WebAuthn RP ID; an RPID of "" means that
	// nobody can sign in, because the public URL has no name: see ErrNoName.
	Origin, RPID string
	Now          func() time.Time
	Log          *slog.Logger
	// Device tells how a laptop stands now, Devices of all that a person owns.
	Device  func(id string) (session.Device, bool)
	Devices func(owner string) []session.Device
	// Own gives a laptop without an owner to a person; Readmit approves one that
	// waits because its keys changed, by the code that it shows.
	Own     func(ctx context.Context, device, owner string) error
	Readmit func(ctx context.Context, device, code, by string) error
	// ReadmitAlone: an owner's word is enough to readmit; else an approver confirms.
	ReadmitAlone bool
	// Limits bound muster's own sessions that begin now.
	Limits func() session.Limits
	// Elevation tells on what terms a session gets an application for minutes; the
	// error is a *Refusal where it may not, as it stands. It is called outside of
	// transactions. nil: no application is opened so.
	Elevation func(s *session.Session, app string) (ElevationTerms, error)
	// Rule tells whether the policy has a rule of an id; nil: any may be let pass.
	Rule func(id string) bool
	// RecoveryWait is how long a recovery by laptop waits after its approval.
	RecoveryWait time.Duration
	// Webhook tells that notices go to a webhook too; mail goes to persons who
	// have an address, where Mail is set.
	Webhook, Mail bool
	// Administrators are addresses that hear of what concerns the whole.
	Administrators []string
}

// People is the service. It may be used from any goroutine.
type People struct {
	Config
	party    *passkey.Party // nil without an RP ID
	metadata atomic.Pointer[reference.MDS]
	judging  sync.Mutex  // one SetMetadata at a time
	judgedAt time.Time   // guarded by judging; when all passkeys were judged last
	aead     cipher.AEAD // of ceremonies
}

// New returns the service for a store; meta is the store's.
func New(c Config, meta *store.Meta) (*People, error) {
	p := &People{Config: c}
	mac := hmac.New(sha256.New, meta.ServerKey[:])
	mac.Write([]byte("muster/ceremony/1"))
	mac.Write(binary.BigEndian.AppendUint64(nil, meta.Epoch))
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		return nil, fmt.Errorf("making ceremony cipher: %w", err)
	}
	if p.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, fmt.Errorf("making ceremony cipher: %w", err)
	}
	if c.RPID == "" {
		return p, nil
	}
	p.party, err = passkey.New(passkey.Config{RPID: c.RPID, Origin: c.Origin, Name: "muster", Metadata: p.metadata.Load, Now: c.Now})
	return p, err
}

// From is where a request comes from: for people to read, and for risk.
type From struct {
	Address string // of the client
	Browser string // user agent
}

// Who is the one who asks: a live session and its person, who is not disabled.
type Who struct {
	Session *session.Session
	Person  *store.Person
}

// Fresh reports whether hands are fresh: see session.FreshFor.
func (w *Who) Fresh(now time.Time) bool { return session.Fresh(w.Session, now) }

// Is reports whether the person has one of the roles.
func (w *Who) Is(roles ...store.Role) bool {
	for _, r := range roles {
		if w.Person.Role == r {
			return true
		}
	}
	return false
}

// Actor is how the audit log names who did something: person:NAME, program:ID,
// local administrator.
type Actor string

func (w *Who) actor() Actor { return Actor("person:" + w.Person.Name) }

// Causes of an ending, as sessions and the audit log keep them.
const (
	causeSignedOut  = "signed-out"
	causeEverywhere = "signed-out-everywhere"
	causeByPerson   = "ended-by-person"
	causeByOther    = "ended-by-administrator"
	causeKeyRemoved = "passkey-removed"
	causeUndone     = "passkey-undone"
	causeModel      = "passkey-model"
	causeDisabled   = "person-disabled"
)

// update runs one transaction; what callers branch on becomes a Refusal.
func (p *People) update(ctx context.Context, fn func(*store.Tx) error) error {
	return told(p.Store.Update(ctx, fn))
}

func (p *People) view(ctx context.Context, fn func(*store.Tx) error) error {
	return told(p.Store.View(ctx, fn))
}

// ignore is err unless it is that one.
func ignore(err, that error) error {
	if errors.Is(err, that) {
		return nil
	}
	return err
}

// audit writes one line; detail is never a secret.
func audit(tx *store.Tx, by Actor, action, subject string, detail any) error {
	b, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	_, err = tx.Audit(store.Entry{Actor: string(by), Action: action, Subject: subject, Detail: b})
	return err
}
