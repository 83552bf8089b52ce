package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/platform"
	"muster/platform/seat"
)

// Config is everything that an [Agent] works with. Each seam is one function;
// none may be nil.
type Config struct {
	Settings *Settings
	// Version is the program's own, for reports.
	Version string
	// Look looks at the claims that cost little, or at the dear ones; the others
	// stay unknown(not-collected). It is called from two goroutines.
	Look func(ctx context.Context, dear bool) posture.Claims
	// LookNow is Look without dear, at those claims too that it leaves out while it
	// looked at them lately: somebody waits.
	LookNow func(ctx context.Context) posture.Claims
	// OpenKeys opens the device's keys, or makes them. What it returns may also
	// be an io.Closer, and may answer BootLog() ([]byte, error) with the
	// measured-boot log of the machine whose TPM holds the keys.
	OpenKeys func(context.Context, KeyPlace) (attest.Attester, error)
	// BootID names this start of the system: 1 to 64 bytes of printable ASCII.
	BootID func() (string, error)
	// HTTP is the way to the server, see [Transport].
	HTTP http.RoundTripper
	// Log gets what an operator must know; no secret is ever given to it.
	Log *slog.Logger
	// Now is the wall clock, Up a clock that stands still while the laptop
	// sleeps. Together they tell of a sleep. They are called from several goroutines.
	Now func() time.Time
	Up  func() time.Duration
	// Random is uniform in [0, 1); it spreads a fleet, nothing secret hangs on it.
	Random func() float64

	// TCPPeer, UnixPeer, Active and Locked are those of package seat. They are
	// called from several goroutines.
	TCPPeer  func(client, server netip.AddrPort) (seat.Peer, error)
	UnixPeer func(*net.UnixConn) (seat.Peer, error)
	Active   func() ([]seat.Session, error)
	Locked   func(ctx context.Context, session string) (bool, error)
}

// KeyPlace says which keys are meant, and where.
type KeyPlace struct {
	TPM string // the setting tpm
	// Tenant is the server's: keys differ by it. Empty, with Secret nil: the TPM
	// is only looked at.
	Tenant string
	Secret []byte // S: ties DK to this installed system; nil for tpm: none
	// EK and DK (a key id) are those in use since enrolment; zero before.
	EK attest.EKTemplate
	DK attest.Digest
	// Dir is the private folder, Blobs keeps what belongs to keys in it.
	Dir   string
	Blobs Blobs
}

// Agent is one device. It is used from one goroutine; what other goroutines ask of
// it while it runs goes through jobs.
type Agent struct {
	Config
	write  func(path string, data []byte) error
	client *client
	folder *folder
	state  *state
	keys   *keyring       // nil: not open
	claims posture.Claims // as last seen, not reduced

	backoff  backoff
	holdUp   time.Duration // nothing is sent before, by Up
	unknowns int           // device-unknown in a row
	// tokenless: the token was refused, enrol without one.
	tokenless bool
	sleeps    sleeps
	budget    budget
	wanted    *wanted // nil: nobody waits for a report
	waiter    waiter

	absence  absence
	resumeAt time.Duration // the TPM is looked for again, by Up

	jobs   chan job
	linked atomic.Pointer[linked] // nil: nothing that a lock of the screen would end
}

// New returns an agent. Nothing is opened or read before it is used.
func New(config Config) *Agent {
	return &Agent{
		Config:  config,
		write:   platform.WritePrivate,
		client:  &client{origin: config.Settings.Server, http: config.HTTP},
		backoff: backoff{random: config.Random},
		waiter:  waiter{answers: make(chan waited, 1), backoff: backoff{random: config.Random}},
		jobs:    make(chan job),
	}
}

// open takes the state folder; close gives it back.
func (a *Agent) open() (close func(), err error) {
	if err := a.Settings.NeedServer(); err != nil {
		return nil, err
	}
	folder, release, err := openFolder(a.Settings.StateDir, a.write)
	if err != nil {
		return nil, err
	}
	a.folder = folder
	if a.state, err = folder.load(); err != nil {
		release() // the error that matters is the first
		return nil, err
	}
	if !a.state.StandIn { // else left by an end between two steps
		if err := a.standInBlobs().remove(); err != nil {
			a.Log.Warn("forgetting a software key", "error", err)
		}
	}
	return func() {
		a.closeKeys()
		if err := release(); err != nil {
			a.Log.Warn("giving back the lock", "error", err)
		}
	}, nil
}

// save makes the state durable; the error ends what was under way, before
// anything is sent on the strength of it.
func (a *Agent) save() error { return a.folder.save(a.state) }

// identity authenticates requests as the enrolled device.
func (a *Agent) identity() *identity {
	return &identity{a.state.Enrolled.Device, a.state.Enrolled.Secret}
}

// bootID checks what the seam says, since a report without one is refused.
func (a *Agent) bootID() (string, error) {
	id, err := a.BootID()
	if err != nil {
		return "", fmt.Errorf("reading boot id: %w", err)
	}
	if id == "" || len(id) > 64 {
		return "", fmt.Errorf("reading boot id: %d bytes", len(id))
	}
	return id, nil
}
