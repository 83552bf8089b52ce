package agent

import (
	"context"
	"sync"
	"time"

	"muster/attest/posture"
)

// How often claims are looked at while nothing is asked: the cheap ones come
// from a few small files, the dear ones start a program that may take seconds.
const (
	cheapEvery = 5 * time.Second
	dearEvery  = 15 * time.Minute
)

// watcher looks at the claims, cheap and dear ones each on their own goroutine, so that a slow
// package manager does not hide that the firewall went off.
type watcher struct {
	cheap, dear chan posture.Claims // the latest of each; room for one
	again       chan struct{}       // asks for the dear ones now; room for one
	wg          sync.WaitGroup
}

// watch looks until ctx ends; wait for wg then.
func (a *Agent) watch(ctx context.Context) *watcher {
	w := &watcher{
		cheap: make(chan posture.Claims, 1),
		dear:  make(chan posture.Claims, 1),
		again: make(chan struct{}, 1),
	}
	w.wg.Go(func() { w.look(ctx, a.cheap, cheapEvery, w.cheap, nil) })
	w.wg.Go(func() { w.look(ctx, a.dear, dearEvery, w.dear, w.again) })
	return w
}

func (a *Agent) cheap(ctx context.Context) posture.Claims { return a.Look(ctx, false) }
func (a *Agent) dear(ctx context.Context) posture.Claims  { return a.Look(ctx, true) }

func (w *watcher) look(ctx context.Context, look func(context.Context) posture.Claims, every time.Duration, out chan posture.Claims, again <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again:
		case <-timer.C:
		}
		claims := look(ctx)
		if ctx.Err() != nil {
			return // cut short: what it says is not what is
		}
		select {
		case <-out: // nobody took the last one: this one is newer
		default:
		}
		out <- claims // the only sender, so there is room
		timer.Reset(every)
	}
}

// hurry has the dear claims looked at now.
func (w *watcher) hurry() {
	select {
	case w.again <- struct{}{}:
	default: // asked already
	}
}

// first waits for the first look at everything.
func (w *watcher) first(ctx context.Context) (posture.Claims, error) {
	var claims posture.Claims
	for _, seen := range []chan posture.Claims{w.cheap, w.dear} {
		select {
		case <-ctx.Done():
			return claims, ctx.Err()
		case c := <-seen:
			merge(&claims, c)
		}
	}
	return claims, nil
}

// merge takes from seen what was looked at. What nobody ever looked at stays
// unknown(not-collected).
func merge(into *posture.Claims, seen posture.Claims) {
	looked := make(map[string]bool)
	for name, c := range seen.Each() {
		looked[name] = c.Reason != posture.NotCollected
	}
	for name, c := range into.Each() {
		if looked[name] || c.ObservedAt.IsZero() {
			into.Take(name, &seen)
		}
	}
}

// sleepSlack is how far the wall clock may move against the one that stands
// still in sleep before that counts as a sleep, or as a clock that was set.
const sleepSlack = 30 * time.Second

// sleeps tells of sleeps by two clocks. The zero value starts at the first look.
type sleeps struct {
	wall time.Time // without monotonic reading
	up   time.Duration
}

// slept reports whether the clocks moved apart since the last call.
func (s *sleeps) slept(wall time.Time, up time.Duration) bool {
	wall = wall.Round(0) // else Sub would use the clock that stands still
	first := s.wall.IsZero()
	apart := wall.Sub(s.wall) - (up - s.up)
	s.wall, s.up = wall, up
	return !first && (apart > sleepSlack || apart < -sleepSlack)
}

// budget bounds reports of changes, so that a claim that flickers does not keep
// the TPM and the server busy. The zero value is full.
type budget struct {
	spent int
	since time.Duration // when the count was last brought up to date, by Up
}

const (
	budgetBurst = 10
	budgetEvery = 30 * time.Second // one more each
)

// wait returns how long until there is something to spend; zero: now.
func (b *budget) wait(up time.Duration) time.Duration {
	back := int((up - b.since) / budgetEvery)
	if back >= b.spent {
		b.spent, b.since = 0, up
	} else if back > 0 {
		b.spent -= back
		b.since += time.Duration(back) * budgetEvery
	}
	if b.spent < budgetBurst {
		return 0
	}
	return b.since + budgetEvery - up
}

// spend takes one; wait said that there was one.
func (b *budget) spend() { b.spent++ }
