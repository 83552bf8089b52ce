package server

import (
	"sync"
	"time"
)

// clock never goes back: it is the later of the wall clock and of what it last
// told plus what the monotonic clock counted since. A lease therefore ends at
// the earlier of its two deadlines: setting the wall clock back cannot stretch
// it, and neither can a host that sleeps, whose monotonic clock stands still.
type clock struct {
	read func() time.Time

	mu   sync.Mutex
	at   time.Time // guarded by mu; the last reading, with its monotonic part
	told time.Time // guarded by mu; what was told then, wall time in UTC
}

func newClock(read func() time.Time) *clock {
	at := read()
	return &clock{read: read, at: at, told: at.Round(0).UTC()}
}

// now is the server's time.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.read()
	counted := at.Sub(c.at) // monotonic where both readings are
	c.at, c.told = at, later(at.Round(0).UTC(), c.told.Add(max(counted, 0)))
	return c.told
}

// notBefore moves the clock to a time that is known to have been: the newest in
// the store. A wall clock that was set back while the server did not run cannot
// stretch a lease either.
func (c *clock) notBefore(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = later(c.told, t.Round(0).UTC())
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
