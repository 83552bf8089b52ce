package collectors

import (
	"context"
	"fmt"
	"sync"
	"time"

	"muster/attest/posture"
)

// RunFunc runs one of the machine's commands by its name in platform's list of
// absolute paths and returns what it printed.
type RunFunc func(ctx context.Context, name string, args ...string) ([]byte, error)

// Machine is what is looked at: a directory tree and, on the running system
// only, commands. It is used by pointer and not copied.
type Machine struct {
	// Tree holds the files: "/" for the running system.
	Tree Tree
	// Run is nil when Tree is not the running system: claims that need a
	// command then answer unknown(not-this-root).
	Run RunFunc
	// Now is the clock.
	Now func() time.Time

	hanging hanging // collectors that did not come back
}

// hanging remembers, by claim, the collectors that were abandoned at their
// deadline. Until such a one comes back it is not started again: an agent that
// looks every few seconds would else collect stuck threads.
type hanging struct {
	mu   sync.Mutex
	back map[string]<-chan struct{} // closed when the collector came back; guarded by mu
}

// has reports whether the collector of a claim still hangs.
func (h *hanging) has(claim string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	back, ok := h.back[claim]
	if !ok {
		return false
	}
	select {
	case <-back:
		delete(h.back, claim)
		return false
	default:
		return true
	}
}

// add remembers a collector that was abandoned; it closes back when it ends.
func (h *hanging) add(claim string, back <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.back == nil {
		h.back = make(map[string]<-chan struct{})
	}
	h.back[claim] = back
}

// Pace says how often a claim is worth looking at again while nothing is asked.
type Pace time.Duration

// Cheap claims are read from a few small files; Brisk ones start a command that
// answers at once; Dear ones start one that may take seconds.
const (
	Cheap = Pace(5 * time.Second)
	Brisk = Pace(30 * time.Second)
	Dear  = Pace(15 * time.Minute)
)

// deadline is how long one collector may take before its claim is
// unknown(timeout); the dear ones start package managers.
const (
	cheapDeadline = 5 * time.Second
	briskDeadline = 15 * time.Second
	dearDeadline  = 60 * time.Second
)

// Lookout looks at a running machine for as long as a service runs.
type Lookout struct {
	// Machine is what is looked at.
	Machine *Machine

	mu    sync.Mutex
	brisk time.Time // guarded by mu; when the brisk claims were last looked at
}

// Look looks at the dear claims, or at the cheap ones and, when it is time, the
// brisk ones. The claims that it did not look at are unknown(not-collected).
func (l *Lookout) Look(ctx context.Context, dear bool) posture.Claims {
	now := l.Machine.Now()
	none := posture.Unfilled(now, posture.NotCollected)
	if dear {
		return Refresh(ctx, l.Machine, Dear, none)
	}
	claims := Refresh(ctx, l.Machine, Cheap, none)
	l.mu.Lock()
	due := l.brisk.IsZero() || now.Sub(l.brisk).Abs() >= time.Duration(Brisk)
	if due {
		l.brisk = now
	}
	l.mu.Unlock()
	if due {
		claims = Refresh(ctx, l.Machine, Brisk, claims)
	}
	return claims
}

// collector fills one claim. It must not keep c after ctx ends.
type collector struct {
	claim   string // wire name of the claim
	pace    Pace
	collect func(ctx context.Context, m *Machine, c *posture.Claims)
}

// Collect looks at every claim. It returns within the longest deadline whatever
// the collectors do.
func Collect(ctx context.Context, m *Machine) posture.Claims {
	return collect(ctx, m, list(), posture.Unfilled(m.Now(), posture.NotCollected), nil)
}

// Refresh looks again at the claims of one pace and keeps the others of old.
func Refresh(ctx context.Context, m *Machine, pace Pace, old posture.Claims) posture.Claims {
	return collect(ctx, m, list(), old, func(c collector) bool { return c.pace == pace })
}

func collect(ctx context.Context, m *Machine, all []collector, into posture.Claims, want func(collector) bool) posture.Claims {
	var wg sync.WaitGroup
	results := make([]posture.Claims, len(all))
	for i, c := range all {
		if want != nil && !want(c) {
			continue
		}
		wg.Go(func() { results[i] = one(ctx, m, c) })
	}
	wg.Wait()
	for i, c := range all {
		if want == nil || want(c) {
			into.Take(c.claim, &results[i])
		}
	}
	return into
}

// one runs a collector under its deadline, on a goroutine that is abandoned,
// not awaited, when it does not come back: a hung kernel file cannot hang us.
func one(ctx context.Context, m *Machine, c collector) posture.Claims {
	limit := cheapDeadline
	switch c.pace {
	case Brisk:
		limit = briskDeadline
	case Dear:
		limit = dearDeadline
	}
	return within(ctx, limit, m, c)
}

// grace is what a collector that honours its context has to say why it ended.
const grace = 250 * time.Millisecond

func within(ctx context.Context, limit time.Duration, m *Machine, c collector) posture.Claims {
	if m.hanging.has(c.claim) {
		return posture.Unfilled(m.Now(), posture.Timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan posture.Claims, 1) // room for one, so that nobody waits to say it
	back := make(chan struct{})
	go func() {
		defer close(back)
		claims := posture.Unfilled(m.Now(), posture.NotCollected)
		defer func() {
			if r := recover(); r != nil {
				claims = posture.Unfilled(m.Now(), posture.Crashed)
			}
			done <- claims
		}()
		c.collect(ctx, m, &claims)
	}()
	select {
	case claims := <-done:
		return claims
	case <-ctx.Done():
	}
	select {
	case claims := <-done:
		return claims
	case <-time.After(grace):
		m.hanging.add(c.claim, back)
		return posture.Unfilled(m.Now(), posture.Timeout)
	}
}

// notYet answers claims that have no collector on a system.
func notYet(claim string) collector {
	return collector{claim, Cheap, func(_ context.Context, m *Machine, c *posture.Claims) {
		for name, found := range c.Each() {
			if name == claim {
				*found = posture.Claim{Reason: posture.NotYet, ObservedAt: m.Now().UTC().Truncate(time.Second)}
			}
		}
	}}
}

// String tells a pace for people.
func (p Pace) String() string { return fmt.Sprintf("every %v", time.Duration(p)) }
