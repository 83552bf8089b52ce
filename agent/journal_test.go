package agent

import (
	"bytes"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/platform"
)

// sentOnce fails when one sequence number was ever sent with two contents,
// unless the server had refused the first.
func sentOnce(t *testing.T, s *testServer) {
	t.Helper()
	type statement struct {
		device string
		seq    uint64
	}
	bodies := map[statement][]byte{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.log {
		var submit attest.ReportSubmit
		if e.path != attest.PathReport || attest.Decode(e.body, &submit) != nil {
			continue
		}
		h, err := attest.PeekHeader([]byte(submit.JWS))
		if err != nil {
			t.Fatal(err)
		}
		key := statement{h.Device, h.Seq}
		if was, ok := bodies[key]; ok && !bytes.Equal(was, e.body) && !s.refused[string(was)] {
			t.Errorf("statement %v was sent in two forms", key)
		}
		bodies[key] = e.body
	}
}

// inStep fails when agent and server remember different things.
func inStep(t *testing.T, r *rig) {
	t.Helper()
	s := r.state()
	if s.Enrolled == nil {
		t.Fatal("not enrolled")
	}
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	d := r.server.find(s.Enrolled.Device)
	if d == nil {
		t.Fatalf("the server does not know %s", s.Enrolled.Device)
	}
	if s.Enrolled.Seq != d.seq || s.Enrolled.Last != d.last || s.Enrolled.Base.Digest != d.base {
		t.Errorf("agent is at %d %v, server at %d %v", s.Enrolled.Seq, s.Enrolled.Last, d.seq, d.last)
	}
	if s.Pending != nil || s.Enrolling != nil || s.Trouble != nil {
		t.Errorf("left over: pending %v, enrolling %v, trouble %v", s.Pending, s.Enrolling, s.Trouble)
	}
}

var errKilled = errors.New("killed")

// A life with every kind of event, cut at one point and begun again: whatever
// the point, both sides end in step, one device, each statement in one form.
func TestKilledAtAnyWrite(t *testing.T) {
	for _, written := range []bool{false, true} {
		for cut := 1; cut <= 9; cut++ {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, newChip())
				writes := 0
				r.write = func(path string, data []byte) error {
					if writes++; writes != cut {
						return platform.WritePrivate(path, data)
					}
					if written {
						if err := platform.WritePrivate(path, data); err != nil {
							return err
						}
					}
					return errKilled
				}
				if died := life(t, r, false); !died {
					t.Fatalf("only %d writes: the cut at %d tests nothing", writes, cut)
				}
				life(t, r, true)
				sentOnce(t, r.server)
				inStep(t, r)
				if len(r.server.old) > 0 {
					t.Errorf("cut %d, written %v: enrolled %d times", cut, written, len(r.server.old)+1)
				}
			})
		}
	}
}

// life runs an agent through enrolment, a change and heartbeats. It tells
// whether the agent died before its time.
func life(t *testing.T, r *rig, change bool) (died bool) {
	t.Helper()
	stop := r.start()
	pass(20 * time.Second)
	r.change(func(c *posture.Claims) {
		c.Firewall.State, c.Firewall.Reason = posture.No, posture.NoFirewall
		if change {
			c.Firewall.Reason = posture.NoDefaultDeny
		}
	})
	pass(10 * time.Minute)
	err := stop()
	if err != nil && !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	return err != nil
}

// The same for every request: it never arrives, or its reply is lost, and the
// agent dies at that moment.
func TestKilledAtAnyRequest(t *testing.T) {
	for _, arrives := range []bool{false, true} {
		for cut := 1; cut <= 7; cut++ {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, newChip())
				var stop func() error
				requests, dead := 0, false
				die := func() bool { requests++; dead = dead || requests == cut; return dead }
				if arrives {
					r.server.after = func(string) error {
						if die() {
							return errLost
						}
						return nil
					}
				} else {
					r.server.on(func(string, []byte) *http.Response {
						if die() {
							return lost()
						}
						return nil
					})
				}
				// From its death on nothing that this agent does has an effect.
				r.write = func(path string, data []byte) error {
					if dead {
						return errKilled
					}
					return platform.WritePrivate(path, data)
				}
				stop = r.start()
				pass(30 * time.Second)
				r.change(func(c *posture.Claims) { c.Firewall.State, c.Firewall.Reason = posture.No, posture.NoFirewall })
				pass(15 * time.Minute)
				if err := stop(); err != nil && !errors.Is(err, errKilled) {
					t.Fatal(err)
				}
				if !dead {
					t.Fatalf("only %d requests: the cut at %d tests nothing", requests, cut)
				}
				r.server.after, r.server.intercept, r.write = nil, nil, platform.WritePrivate
				life(t, r, true)
				inStep(t, r)
				if len(r.server.old) > 0 {
					t.Errorf("cut %d, arrives %v: enrolled %d times", cut, arrives, len(r.server.old)+1)
				}
				sentOnce(t, r.server)
			})
		}
	}
}

func TestLostReplyIsRepeatedInIdenticalBytes(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		lose := 3
		r.server.after = func(path string) error {
			if (path == attest.PathReport || path == attest.PathEnrolFinish) && lose > 0 {
				lose--
				return errLost
			}
			return nil
		}
		stop := r.start()
		pass(2 * time.Minute) // the enrolment's reply was lost three times
		r.server.set(func() { lose = 3 })
		pass(8 * time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if lose > 0 {
			t.Fatal("nothing was lost")
		}
		sentOnce(t, r.server)
		inStep(t, r)
		if got := r.server.reports(); len(got) < 2 {
			t.Errorf("%d statements were accepted", len(got))
		}
		if n := r.server.paths(attest.PathEnrolBegin); n != 1 {
			t.Errorf("began to enrol %d times", n)
		}
	})
}

func TestServerThatForgotIsResynced(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		stop := r.start()
		defer stop()
		pass(11 * time.Minute)
		r.server.set(func() { // as a restored backup: an older statement is the last
			d := r.server.device
			d.seq, d.last, d.reply = d.accepted[1].Header.Seq, d.accepted[1].Digest, nil
			clear(d.nonces)
		})
		pass(5 * time.Minute)
		var at []time.Time
		for _, e := range r.server.log {
			if e.path == attest.PathReport {
				at = append(at, e.at)
			}
		}
		if n := len(at); at[n-1].Sub(at[n-2]) > 0 {
			t.Errorf("went on %v after the server told how", at[n-1].Sub(at[n-2]))
		}
		got := r.server.reports()
		last := got[len(got)-1]
		if last.Header.Seq != 2 || last.Report == nil {
			t.Fatalf("after resync: seq %d, report %v; want a full report with seq 2", last.Header.Seq, last.Report != nil)
		}
		if (last.Measured != nil) != (r.chip != nil) {
			t.Error("a resync is answered with a quote where there is a TPM")
		}
		synctest.Wait()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		inStep(t, r)
	})
}

func TestExpiredNonceIsAnsweredWithTheNewOne(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		stop := r.start()
		pass(time.Minute)
		r.server.set(func() { clear(r.server.device.nonces) })
		pass(5 * time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		got := r.server.reports()
		if len(got) != 2 || got[1].Report == nil {
			t.Fatalf("%d statements; want the enrolment and one full report", len(got))
		}
		inStep(t, r)
	})
}

// A pending statement survives a server that is away for a day, and is sent
// before anything newer.
func TestServerAwayForADay(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		stop := r.start()
		pass(time.Minute)
		away := true
		r.server.on(func(string, []byte) *http.Response {
			if away {
				return lost()
			}
			return nil
		})
		pass(24 * time.Hour)
		if s := r.state(); s.Trouble == nil || s.Pending == nil {
			t.Fatalf("trouble %v, pending %v: want both", s.Trouble, s.Pending)
		}
		before := len(r.server.log)
		if before > 24*60 {
			t.Errorf("%d tries in a day", before)
		}
		r.server.set(func() { away = false })
		pass(6 * time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		inStep(t, r)
	})
}
