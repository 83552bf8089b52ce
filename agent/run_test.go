package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"muster/attest"
	"muster/attest/posture"
)

// both runs a test with a software key and with a chip.
func both(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Run("softkey", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, newRig(t, nil)) })
	})
	t.Run("tpm", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, newRig(t, newChip())) })
	})
}

func TestEnrolThenHeartbeats(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		stop := r.start()
		pass(11 * time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		got := r.server.reports()
		// Enrolled at 0, then at 285 s and 570 s: a twentieth early with random 0.5.
		if len(got) != 3 {
			t.Fatalf("%d statements, want 3", len(got))
		}
		for i, ev := range got[1:] {
			if ev.Heartbeat == nil {
				t.Errorf("statement %d is no heartbeat", i+1)
			}
			if want := map[bool]attest.Role{true: attest.DKb, false: attest.DK}[r.chip != nil]; ev.Signer != want {
				t.Errorf("statement %d by %v, want %v", i+1, ev.Signer, want)
			}
			if ev.Measured != nil {
				t.Errorf("statement %d brings a quote that nobody asked for", i+1)
			}
		}
		if n := r.server.paths(attest.PathNonce); n != 0 {
			t.Errorf("asked %d times for a nonce though replies brought them", n)
		}
	})
}

func TestChangeIsReportedWithinSeconds(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		stop := r.start()
		defer stop()
		pass(time.Minute)
		r.change(func(c *posture.Claims) { c.Firewall.State, c.Firewall.Reason = posture.No, posture.NoFirewall })
		pass(6 * time.Second)
		got := r.server.reports()
		last := got[len(got)-1]
		if len(got) != 2 || last.Report == nil || last.Report.Claims.Firewall.State != posture.No {
			t.Fatalf("%d statements, last %+v: the change was not reported", len(got), last)
		}
		if r.server.paths(attest.PathNonce) != 1 {
			t.Error("a change is as fresh as its nonce: want a new one")
		}
	})
}
