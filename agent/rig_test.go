package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/attest/softkey"
	"muster/platform"
	"muster/platform/seat"
)

// rig is one laptop: its state folder, chip, claims and clocks outlive the
// agents that run on it.
type rig struct {
	t        *testing.T
	server   *testServer
	chip     *chip // nil: software key
	settings *Settings
	boot     string
	open     func(context.Context, KeyPlace) (attest.Attester, error) // a real TPM; nil: chip

	mu     sync.Mutex
	claims func(*posture.Claims) // what differs from fit
	asleep time.Duration         // how far the wall clock is ahead of the other
	random float64
	slow   time.Duration // how long the dear look takes
	looked bool          // at the remote access, once
	write  func(path string, data []byte) error
	logs   *slog.Logger

	seated []seat.Session // who sits at the laptop; nil: the system does not tell
	locked map[string]bool
	peer   seat.Peer // who connects; the zero value: the system does not tell
}

func newRig(t *testing.T, c *chip) *rig {
	tpm := "auto"
	if c == nil {
		tpm = tpmNone
	}
	return &rig{
		t: t, server: newTestServer(t), chip: c, boot: "boot-1", random: 0.5, write: platform.WritePrivate,
		logs: slog.New(slog.DiscardHandler),
		settings: &Settings{
			Server: testOrigin, TPM: tpm, Profile: posture.Corporate, StateDir: filepath.Join(t.TempDir(), "state"),
		},
	}
}

// look leaves the remote access out while nobody asks, as a laptop does that looked
// at it lately.
func (r *rig) look(_ context.Context, dear, now bool) posture.Claims {
	r.mu.Lock()
	defer r.mu.Unlock()
	all, mine := fitClaims(time.Now()), posture.Unfilled(time.Now(), posture.NotCollected)
	if r.claims != nil {
		r.claims(&all)
	}
	for name := range all.Each() {
		if (name == "patches") == dear && (name != "remote_access" || now || !r.looked) {
			mine.Take(name, &all)
		}
	}
	r.looked = r.looked || !dear
	return mine
}

// change makes claims differ from fit from now on.
func (r *rig) change(f func(*posture.Claims)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claims = f
}

// sleep puts the laptop to sleep: timers and Up stand still.
func (r *rig) sleep(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asleep += d
}

// agent starts a new process, as it were.
func (r *rig) agent() *Agent {
	began := time.Now()
	a := New(Config{
		Settings: r.settings, Version: "test", HTTP: r.server, Log: r.logs,
		Look: func(ctx context.Context, dear bool) posture.Claims {
			if dear {
				r.mu.Lock()
				slow := r.slow
				r.mu.Unlock()
				time.Sleep(slow)
			}
			return r.look(ctx, dear, false)
		},
		LookNow: func(ctx context.Context) posture.Claims { return r.look(ctx, false, true) },
		OpenKeys: func(ctx context.Context, place KeyPlace) (attest.Attester, error) {
			if r.open != nil && place.TPM != tpmNone {
				return r.open(ctx, place)
			}
			if r.chip != nil && place.TPM != tpmNone {
				return r.chip.open(ctx, place)
			}
			return softkey.Open(
				func() ([]byte, error) { return place.Blobs.Load("soft") },
				func(b []byte) error { return place.Blobs.Save("soft", b) })
		},
		BootID: func() (string, error) { return r.boot, nil },
		Now: func() time.Time {
			r.mu.Lock()
			defer r.mu.Unlock()
			return time.Now().Add(r.asleep)
		},
		Up: func() time.Duration { return time.Since(began) },
		Random: func() float64 {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.random
		},
		TCPPeer:  func(netip.AddrPort, netip.AddrPort) (seat.Peer, error) { return r.peerNow() },
		UnixPeer: func(*net.UnixConn) (seat.Peer, error) { return r.peerNow() },
		Active: func() ([]seat.Session, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.seated == nil {
				return nil, seat.ErrUnknown
			}
			return r.seated, nil
		},
		Locked: func(_ context.Context, session string) (bool, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			locked, ok := r.locked[session]
			if !ok {
				return false, seat.ErrUnknown
			}
			return locked, nil
		},
	})
	a.write = func(path string, data []byte) error { return r.write(path, data) }
	return a
}

func (r *rig) peerNow() (seat.Peer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.peer == (seat.Peer{}) {
		return r.peer, seat.ErrUnknown
	}
	return r.peer, nil
}

// set changes the laptop under its lock.
func (r *rig) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// start runs an agent; stop ends it and returns what Run did.
func (r *rig) start() (stop func() error) {
	_, stop = r.run()
	return stop
}

// run is start for those who ask the running agent.
func (r *rig) run() (a *Agent, stop func() error) {
	a = r.agent()
	return a, runs(a)
}

func runs(a *Agent) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	return sync.OnceValue(func() error {
		cancel()
		err := <-done
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	})
}

// pass lets time go by and everything settle.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// state reads what the agent would remember.
func (r *rig) state() *state {
	r.t.Helper()
	s, err := (&folder{dir: r.settings.StateDir}).load()
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}
