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
	cheap, dear *outlook
	wg          sync.WaitGroup
}

// outlook is one of the two.
type outlook struct {
	look  func(ctx context.Context, now bool) posture.Claims // now: somebody asked
	every time.Duration
	seen  chan sight    // the latest; room for one
	again chan struct{} // asks for a look now; room for one
}

// sight is what was seen by a look that began then, by Up.
type sight struct {
	claims posture.Claims
	began  time.Duration
	dear   bool
}

// watch looks until ctx ends; wait for wg then.
func (a *Agent) watch(ctx context.Context) *watcher {
	w := &watcher{
		cheap: newOutlook(cheapEvery, func(ctx context.Context, now bool) posture.Claims {
			if now {
				return a.LookNow(ctx)
			}
			return a.Look(ctx, false)
		}),
		dear: newOutlook(dearEvery, func(ctx context.Context, _ bool) posture.Claims { return a.Look(ctx, true) }),
	}
	for _, o := range []*outlook{w.cheap, w.dear} {
		w.wg.Go(func() { o.keep(ctx, a.Up, o == w.dear) })
	}
	return w
}

func newOutlook(every time.Duration, look func(context.Context, bool) posture.Claims) *outlook {
	return &outlook{look: look, every: every, seen: make(chan sight, 1), again: make(chan struct{}, 1)}
}

func (o *outlook) keep(ctx context.Context, up func() time.Duration, dear bool) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := false
		select {
		case <-ctx.Done():
			return
		case <-o.again:
			now = true
		case <-timer.C:
		}
		s := sight{began: up(), dear: dear}
		s.claims = o.look(ctx, now)
		if ctx.Err() != nil {
			return // cut short: what it says is not what is
		}
		select {
		case <-o.seen: // nobody took the last one: this one is newer
		default:
		}
		o.seen <- s // the only sender, so there is room
		timer.Reset(o.every)
	}
}

// hurry has these claims looked at now.
func (o *outlook) hurry() {
	select {
	case o.again <- struct{}{}:
	default: // asked already
	}
}

// first waits for the first look at everything.
func (w *watcher) first(ctx context.Context) (posture.Claims, error) {
	var claims posture.Claims
	for _, o := range []*outlook{w.cheap, w.dear} {
		select {
		case <-ctx.Done():
			return claims, ctx.Err()
		case s := <-o.seen:
			merge(&claims, s.claims)
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
