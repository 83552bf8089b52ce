package agent

import (
	"errors"
	"time"
)

// Waiting after what went wrong: full jitter below a doubling bound, so that a
// fleet that lost its server does not come back as one.
const (
	backoffFirst = 2 * time.Second
	backoffCap   = 5 * time.Minute
	retryCap     = time.Hour // longest wait that a server may ask for
)

// backoff counts failures in a row.
type backoff struct {
	failures int
	random   func() float64 // uniform in [0, 1)
}

// next returns how long to wait after one more failure. A server's retry_s is a
// lower bound.
func (b *backoff) next(err error) time.Duration {
	bound := backoffCap
	if b.failures < 8 { // 2 s << 8 is beyond the cap
		bound = min(bound, backoffFirst<<b.failures)
	}
	b.failures++
	wait := time.Duration(b.random() * float64(bound))
	if r := (*refusal)(nil); errors.As(err, &r) && r.RetryS > 0 {
		wait += clampSeconds(r.RetryS, 0, retryCap)
	}
	return max(wait, 100*time.Millisecond)
}

func (b *backoff) reset() { b.failures = 0 }
