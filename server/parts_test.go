package server

import (
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The clock never goes back, never stands still, and a host that slept has not
// won a lease.
func TestClock(t *testing.T) {
	start := time.Now() // with a monotonic reading
	at := start
	c := newClock(func() time.Time { return at })
	first := c.now()
	at = start.Add(time.Minute)
	if got := c.now().Sub(first); got != time.Minute {
		t.Errorf("after a minute: %v", got)
	}
	// Readings without a monotonic part stand for a wall clock that is set.
	at = start.Round(0).Add(time.Hour)
	if got := c.now().Sub(first); got != time.Hour {
		t.Errorf("wall clock ahead, as after sleep: %v", got)
	}
	at = start.Round(0).Add(-time.Hour)
	if got := c.now().Sub(first); got != time.Hour {
		t.Errorf("wall clock set back: %v", got)
	}
	at = at.Add(time.Minute)
	if got := c.now().Sub(first); got != time.Hour+time.Minute {
		t.Errorf("a minute after it was set back: %v", got)
	}
	c.notBefore(first.Add(2 * time.Hour))
	if got := c.now().Sub(first); got != 2*time.Hour {
		t.Errorf("with a later time in the store: %v", got)
	}
	c.notBefore(first)
	if got := c.now().Sub(first); got != 2*time.Hour {
		t.Errorf("with an earlier time in the store: %v", got)
	}
}

func TestLimiter(t *testing.T) {
	at := time.Unix(1e9, 0)
	l := newLimiter(1, 3, func() time.Time { return at })
	for i, want := range []bool{true, true, true, false} {
		if got := l.allow("a"); got != want {
			t.Errorf("request %d: %v", i, got)
		}
	}
	if !l.allow("b") {
		t.Error("one key's use counted for another")
	}
	at = at.Add(time.Second)
	if !l.allow("a") || l.allow("a") {
		t.Error("a second does not give exactly one token")
	}
	at = at.Add(-time.Hour)
	if l.allow("a") {
		t.Error("a clock that went back gave tokens")
	}
}

// Memory is bounded, and full means no.
func TestLimiterIsBounded(t *testing.T) {
	at := time.Unix(1e9, 0)
	l := newLimiter(1, 1, func() time.Time { return at })
	for i := range maxBuckets {
		l.allow(strconv.Itoa(i))
	}
	if l.allow("one more") {
		t.Error("a key beyond the bound was allowed")
	}
	at = at.Add(time.Minute)
	if !l.allow("one more") || len(l.buckets) > maxBuckets {
		t.Errorf("refilled buckets were not forgotten: %d", len(l.buckets))
	}
}

// Only a trusted proxy's word about its peer is believed, and of that only the
// last step.
func TestClientAddress(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for name, test := range map[string]struct {
		peer, forwarded, want string
	}{
		"direct":                {"192.0.2.1:5", "", "192.0.2.1"},
		"direct with a claim":   {"192.0.2.1:5", "198.51.100.9", "192.0.2.1"},
		"behind the proxy":      {"10.0.0.1:5", "198.51.100.9", "198.51.100.9"},
		"client claims another": {"10.0.0.1:5", "1.2.3.4, 198.51.100.9", "198.51.100.9"},
		"two proxies":           {"10.0.0.1:5", "198.51.100.9, 10.2.2.2", "198.51.100.9"},
		"not an address":        {"10.0.0.1:5", "x", "10.0.0.1"},
		"nothing forwarded":     {"10.0.0.1:5", "", "10.0.0.1"},
		"mapped peer":           {"[::ffff:10.0.0.1]:5", "198.51.100.9", "198.51.100.9"},
		"v6 counts by network":  {"[2001:db8:1:2:3::4]:5", "", "2001:db8:1:2::/64"},
		"v6 behind the proxy":   {"10.0.0.1:5", "2001:db8:1:2:9::9", "2001:db8:1:2::/64"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = test.peer
		if test.forwarded != "" {
			r.Header.Set("X-Forwarded-For", test.forwarded)
		}
		if got := clientAddress(r, trusted); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestConfigRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		config Config
		says   string
	}{
		"a path in the URL":    {Config{PublicURL: "https://x.example/muster"}, "nothing more"},
		"a URL without scheme": {Config{PublicURL: "x.example"}, "must be scheme"},
		"half of TLS":          {Config{TLSCert: "c.pem"}, "both"},
		"plain on every net":   {Config{Listen: ":8443"}, "without TLS"},
		"plain on an address":  {Config{Listen: "192.0.2.1:80"}, "without TLS"},
		"plain on v6":          {Config{Listen: "[::]:80"}, "without TLS"},
		"a name":               {Config{Listen: "trust.example:80"}, "without TLS"},
		"too often":            {Config{ReportEvery: -1}, "report interval"},
		"too seldom":           {Config{ReportEvery: 100000}, "report interval"},
	} {
		err := test.config.complete()
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, fine := range []Config{
		{}, {Listen: "[::1]:80"}, {Listen: "localhost:80"}, {Listen: ":80", TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		{Listen: ":443", TLSCert: "c", TLSKey: "k", PublicURL: "https://x.example/"},
	} {
		if err := fine.complete(); err != nil {
			t.Errorf("%+v: %v", fine, err)
		}
	}
}
