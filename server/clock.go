package server

import "time"

// clock returns a function that never goes back: the later of the wall clock and
// of the wall clock at the start plus what the monotonic clock counted since. A
// lease therefore ends at the earlier of its two deadlines: setting the wall
// clock back cannot stretch it, and neither can a host that sleeps, whose
// monotonic clock stands still.
func clock(now func() time.Time) func() time.Time {
	start := now()
	wall := start.Round(0)
	return func() time.Time {
		t := now()
		return later(t.Round(0), wall.Add(t.Sub(start))).UTC() // Sub is monotonic where both readings are
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
