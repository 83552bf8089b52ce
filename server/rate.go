package server

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// limiter is a token bucket for each key, in bounded memory.
type limiter struct {
	rate  float64 // tokens a second
	burst float64
	now   func() time.Time

	mu      sync.Mutex
	buckets map[string]bucket // guarded by mu; at most maxBuckets
}

type bucket struct {
	tokens float64
	at     time.Time
}

// maxBuckets bounds a limiter's memory to a few megabytes. When it is full the
// buckets that have refilled are forgotten; if none has, new keys are refused.
const maxBuckets = 50_000

func newLimiter(rate, burst float64, now func() time.Time) *limiter {
	return &limiter{rate: rate, burst: burst, now: now, buckets: make(map[string]bucket)}
}

// allow takes a token of the key's bucket.
func (l *limiter) allow(key string) bool {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.buckets[key]
	if !ok {
		if len(l.buckets) >= maxBuckets && !l.forget(now) {
			return false
		}
		b = bucket{tokens: l.burst, at: now}
	}
	b.tokens = min(l.burst, b.tokens+l.rate*now.Sub(b.at).Seconds())
	b.at = now
	if b.tokens < 1 {
		l.buckets[key] = b
		return false
	}
	b.tokens--
	l.buckets[key] = b
	return true
}

func (l *limiter) forget(now time.Time) (any bool) {
	for key, b := range l.buckets {
		if b.tokens+l.rate*now.Sub(b.at).Seconds() >= l.burst {
			delete(l.buckets, key)
			any = true
		}
	}
	return any
}

// clientAddress is what requests are counted by: the peer's address, or what a
// trusted proxy says of its own peer, an IPv6 one by its /64, which is as little
// as one subscriber has.
func clientAddress(r *http.Request, trusted []netip.Prefix) string {
	return network(peerAddress(r, trusted))
}

// network is what an address is counted by.
func network(host string) string {
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Unmap().Is4() {
		return host
	}
	prefix, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return host
	}
	return prefix.String()
}

// trusts reports whether an address is that of a trusted proxy.
func trusts(trusted []netip.Prefix, host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	for _, p := range trusted {
		if p.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

// peerAddress is the peer's address, or the last entry of X-Forwarded-For that is
// no trusted proxy.
func peerAddress(r *http.Request, trusted []netip.Prefix) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	if !trusts(trusted, host) {
		return host
	}
	entries := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(entries) - 1; i >= 0; i-- {
		entry := strings.TrimSpace(entries[i])
		if entry == "" {
			continue
		}
		if _, err := netip.ParseAddr(entry); err != nil {
			return host
		}
		if host = entry; !trusts(trusted, entry) {
			break
		}
	}
	return host
}
