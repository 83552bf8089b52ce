package collectors

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"
	"time"

	"muster/attest/posture"
	"muster/platform"
)

// Every list has every claim once, in the order of the wire form, so that a new
// claim cannot be forgotten on any system.
func TestEveryListIsComplete(t *testing.T) {
	var claims posture.Claims
	var want []string
	for name := range claims.Each() {
		want = append(want, name)
	}
	for system, list := range map[string][]collector{"linux": linuxList(), "windows": windowsList(), "darwin": darwinList()} {
		var got []string
		for _, c := range list {
			got = append(got, c.claim)
			if c.collect == nil || c.pace != Cheap && c.pace != Brisk && c.pace != Dear {
				t.Errorf("%s: %s has no collector or no pace", system, c.claim)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got %v\nwant %v", system, got, want)
		}
	}
}

// A collector fills its own claim, and over a tree in which there is nothing at
// all it never says yes and always says why.
func TestNothingIsNeverYes(t *testing.T) {
	for system, list := range map[string][]collector{"linux": linuxList(), "windows": windowsList(), "darwin": darwinList()} {
		m := treeOf(t, files{"empty": ""})
		claims := collect(context.Background(), m, list, posture.Unfilled(m.Now(), posture.NotCollected), nil)
		for name, c := range claims.Each() {
			if c.State == posture.Yes || c.Reason == "" || c.Reason == posture.NotCollected || c.Reason == posture.Crashed || !c.Reason.Valid() {
				t.Errorf("%s: %s is %v %q", system, name, c.State, c.Reason)
			}
			if !c.ObservedAt.Equal(m.Now().UTC()) {
				t.Errorf("%s: %s was observed at %v", system, name, c.ObservedAt)
			}
		}
	}
}

func TestNotYet(t *testing.T) {
	for _, system := range [][]collector{windowsList(), darwinList()} {
		m := treeOf(t, nil)
		claims := collect(context.Background(), m, system, posture.Unfilled(m.Now(), posture.NotCollected), nil)
		for name, c := range claims.Each() {
			if c.State != posture.Unknown || c.Reason != posture.NotYet {
				t.Errorf("%s is %v %q", name, c.State, c.Reason)
			}
		}
	}
}

func sayYes(_ context.Context, m *Machine, c *posture.Claims) {
	c.TPM = posture.Observed(m.Now(), posture.Yes, "", posture.TPM{})
}

func TestPanicStaysInItsClaim(t *testing.T) {
	m := treeOf(t, nil)
	list := []collector{
		{"os", Cheap, func(_ context.Context, m *Machine, c *posture.Claims) {
			c.OS = posture.Observed(m.Now(), posture.Yes, "", posture.OS{ID: "half"})
			panic("defect")
		}},
		{"tpm", Cheap, sayYes},
	}
	got := collect(context.Background(), m, list, posture.Unfilled(m.Now(), posture.NotCollected), nil)
	if got.OS.State != posture.Unknown || got.OS.Reason != posture.Crashed || got.OS.Detail != (posture.OS{}) {
		t.Errorf("os is %v %q %+v", got.OS.State, got.OS.Reason, got.OS.Detail)
	}
	if got.TPM.State != posture.Yes {
		t.Errorf("tpm is %v", got.TPM.State)
	}
}

func TestHangStaysInItsClaim(t *testing.T) {
	m := treeOf(t, nil)
	release, starts := make(chan struct{}), 0
	hang := collector{"os", Cheap, func(context.Context, *Machine, *posture.Claims) {
		starts++
		<-release // as a read of a file that never ends: deaf to its context
	}}
	got := within(context.Background(), time.Millisecond, m, hang)
	if got.OS.State != posture.Unknown || got.OS.Reason != posture.Timeout {
		t.Errorf("os is %v %q", got.OS.State, got.OS.Reason)
	}
	// It is not started a second time while it hangs, and others are not held up.
	if got := within(context.Background(), time.Hour, m, hang); got.OS.Reason != posture.Timeout {
		t.Errorf("the second time %q", got.OS.Reason)
	}
	if got := within(context.Background(), time.Hour, m, collector{"tpm", Cheap, sayYes}); got.TPM.State != posture.Yes {
		t.Errorf("tpm is %v", got.TPM.State)
	}
	close(release)
	for m.hanging.has("os") {
		time.Sleep(time.Millisecond)
	}
	if got := within(context.Background(), time.Hour, m, hang); got.OS.Reason != posture.NotCollected || starts != 2 {
		t.Errorf("after it came back: %q, %d starts", got.OS.Reason, starts)
	}
}

func TestCancelledCollectorSaysWhy(t *testing.T) {
	m := treeOf(t, nil)
	heeds := collector{"os", Cheap, func(ctx context.Context, m *Machine, c *posture.Claims) {
		<-ctx.Done()
		c.OS = posture.Unseen[posture.OS](m.Now(), whyUnknown(ctx.Err()))
	}}
	if got := within(context.Background(), time.Millisecond, m, heeds); got.OS.Reason != posture.Timeout {
		t.Errorf("got %q", got.OS.Reason)
	}
	if m.hanging.has("os") {
		t.Error("it is taken for hanging")
	}
}

func TestRefreshKeepsTheOtherPace(t *testing.T) {
	m := treeOf(t, nil)
	old := posture.Unfilled(m.Now(), posture.NotCollected)
	old.Patches = posture.Observed(m.Now(), posture.Yes, "", posture.Patches{Manager: "apt"})
	got := Refresh(context.Background(), m, Cheap, old)
	for _, c := range list() {
		if c.claim == "patches" && c.pace == Dear && got.Patches.State != posture.Yes {
			t.Errorf("patches became %v %q", got.Patches.State, got.Patches.Reason)
		}
	}
	if got.OS.Reason == posture.NotCollected {
		t.Error("os was not looked at")
	}
}

func TestWhyUnknown(t *testing.T) {
	for err, want := range map[error]posture.Reason{
		fs.ErrPermission:         posture.Permission,
		fs.ErrNotExist:           posture.Unreadable,
		platform.ErrNoTool:       posture.NoTool,
		platform.ErrTimeout:      posture.Timeout,
		context.DeadlineExceeded: posture.Timeout,
		context.Canceled:         posture.Timeout,
		errNotThisRoot:           posture.NotThisRoot,
		errUnparsable:            posture.Unparsable,
		errors.ErrUnsupported:    posture.Unsupported,
		errors.New("else"):       posture.Unreadable,
	} {
		if got := whyUnknown(fmt.Errorf("reading: %w", err)); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

// A service looks at every claim: the cheap ones each time, the brisk ones when
// it is time, the dear ones when told.
func TestLookout(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	tree, err := NewTree(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l := &Lookout{Machine: &Machine{Tree: tree, Now: func() time.Time { return at }}}
	looked := func(dear bool) map[Pace]int {
		claims := l.Look(context.Background(), dear)
		seen := map[string]bool{}
		for name, c := range claims.Each() {
			seen[name] = c.Reason != posture.NotCollected
		}
		count := map[Pace]int{}
		for _, c := range list() {
			if seen[c.claim] {
				count[c.pace]++
			}
		}
		return count
	}
	want := map[Pace]int{}
	for _, c := range list() {
		want[c.pace]++
	}
	for i, step := range []struct {
		after             time.Duration
		dear              bool
		cheap, brisk, all bool
	}{
		{0, false, true, true, false},
		{5 * time.Second, false, true, false, false},
		{25 * time.Second, false, true, true, false},
		{0, true, false, false, true},
		{-time.Hour, false, true, true, false}, // a clock that was set back hides nothing
	} {
		at = at.Add(step.after)
		got := looked(step.dear)
		if (got[Cheap] == want[Cheap]) != step.cheap || (want[Brisk] > 0 && (got[Brisk] == want[Brisk]) != step.brisk) || (want[Dear] > 0 && (got[Dear] == want[Dear]) != step.all) {
			t.Errorf("step %d: looked at %v of %v", i, got, want)
		}
	}
}
