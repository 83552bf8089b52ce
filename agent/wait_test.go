package agent

import (
	"math"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
)

func TestBackoffBounds(t *testing.T) {
	for _, random := range []float64{0, 0.5, math.Nextafter(1, 0)} {
		b := backoff{random: func() float64 { return random }}
		for i := range 40 {
			bound := backoffCap
			if i < 8 {
				bound = min(backoffCap, 2*time.Second<<i)
			}
			got := b.next(errLost)
			if got <= 0 || got > bound || got < time.Duration(random*float64(bound)) {
				t.Errorf("failure %d with random %v: %v, bound %v", i, random, got, bound)
			}
		}
		b.reset()
		if got := b.next(errLost); got > 2*time.Second {
			t.Errorf("after reset: %v", got)
		}
	}
}

func TestBackoffHonoursTheServer(t *testing.T) {
	b := backoff{random: func() float64 { return 0 }}
	for retry, want := range map[int]time.Duration{
		1: time.Second, 600: 10 * time.Minute, math.MaxInt: retryCap, -5: 0, math.MaxInt / int(time.Second): retryCap,
	} {
		got := b.next(&refusal{Problem: attest.Problem{RetryS: retry}})
		if got < want || got > want+100*time.Millisecond {
			t.Errorf("retry_s %d: %v, want %v", retry, got, want)
		}
	}
}

func TestNextIn(t *testing.T) {
	for _, random := range []float64{0, 0.3, math.Nextafter(1, 0)} {
		for seconds, want := range map[int]time.Duration{
			300: 300 * time.Second, 0: time.Second, -1: time.Second, math.MinInt: time.Second, math.MaxInt: attest.QuoteEvery,
		} {
			if got := nextIn(seconds, random); got > want || got < want*9/10 {
				t.Errorf("next_s %d with random %v: %v, want at most a tenth before %v", seconds, random, got, want)
			}
		}
	}
}

func TestSlept(t *testing.T) {
	start := time.Now() // with a monotonic reading, which must not count
	var s sleeps
	for i, c := range []struct {
		wall time.Time
		up   time.Duration
		want bool
	}{
		{start, 0, false},
		{start.Add(time.Hour), time.Hour, false},
		{start.Add(2 * time.Hour), time.Hour + 5*time.Second, true},
		{start.Add(2*time.Hour + 25*time.Second), time.Hour + 10*time.Second, false},
		{start, time.Hour + 15*time.Second, true},
	} {
		if got := s.slept(c.wall, c.up); got != c.want {
			t.Errorf("look %d: %v", i, got)
		}
	}
}

func TestBudget(t *testing.T) {
	var b budget
	for range budgetBurst {
		if b.wait(0) != 0 {
			t.Fatal("nothing left within the burst")
		}
		b.spend()
	}
	if got := b.wait(0); got != budgetEvery {
		t.Errorf("after the burst: %v", got)
	}
	if b.wait(budgetEvery) != 0 {
		t.Error("nothing came back")
	}
	b.spend()
	if b.wait(budgetEvery) == 0 {
		t.Error("more came back than one")
	}
	if b.wait(time.Hour) != 0 || b.spent != 0 {
		t.Errorf("%d still spent after an hour", b.spent)
	}
}

// The fingerprint moves with every state and detail and with nothing else.
func TestPrintOf(t *testing.T) {
	at := time.Unix(1700000000, 0)
	of := func(at time.Time, change func(*posture.Report)) attest.Digest {
		r := MakeReport("1", posture.Linux, posture.Corporate, "b", fitClaims(at))
		if change != nil {
			change(r)
		}
		d, err := printOf(r)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	same := of(at, nil)
	if of(at.Add(time.Hour), nil) != same {
		t.Error("moves with the time of looking")
	}
	for name, change := range map[string]func(*posture.Report){
		"state":   func(r *posture.Report) { r.Claims.MDM.State = posture.No },
		"reason":  func(r *posture.Report) { r.Claims.MDM.Reason = "x" },
		"detail":  func(r *posture.Report) { r.Claims.Patches.Detail.Packages = []string{"a"} },
		"time in": func(r *posture.Report) { r.Claims.Patches.Detail.MetadataAt = at },
		"boot":    func(r *posture.Report) { r.BootID = "c" },
		"profile": func(r *posture.Report) { r.Profile = posture.BYOD },
		"agent":   func(r *posture.Report) { r.Agent = "2" },
	} {
		if of(at, change) == same {
			t.Errorf("%s does not move it", name)
		}
	}
}

// Merging keeps what was seen, and what nobody saw stays unknown with a time.
func TestMerge(t *testing.T) {
	now := time.Unix(1700000000, 0)
	var into posture.Claims
	seen := posture.Unfilled(now, posture.NotCollected)
	seen.Firewall.Claim = posture.Claim{State: posture.Yes, ObservedAt: now}
	merge(&into, seen)
	other := posture.Unfilled(now.Add(time.Minute), posture.NotCollected)
	other.Patches.Claim = posture.Claim{State: posture.No, Reason: posture.UpdatesPending, ObservedAt: now.Add(time.Minute)}
	merge(&into, other)
	if into.Firewall.State != posture.Yes || into.Patches.State != posture.No {
		t.Errorf("firewall %v, patches %v", into.Firewall.State, into.Patches.State)
	}
	for name, c := range into.Each() {
		if c.ObservedAt.IsZero() || c.State == posture.Unknown && c.Reason != posture.NotCollected {
			t.Errorf("%s: %+v", name, c)
		}
	}
	// What cannot be told any more replaces what was.
	gone := posture.Unfilled(now, posture.NotCollected)
	gone.Firewall.Claim = posture.Claim{Reason: posture.Timeout, ObservedAt: now}
	if merge(&into, gone); into.Firewall.State != posture.Unknown {
		t.Error("an old yes outlived a timeout")
	}
}
