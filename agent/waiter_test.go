package agent

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/attest"
	"muster/attest/posture"
)

// bubble runs a test with a software key in fake time.
func bubble(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newRig(t, nil)) })
}

// reportNow answers the wait that is held.
func (r *rig) reportNow() {
	r.t.Helper()
	synctest.Wait()
	select {
	case r.server.wake <- attest.WaitReply{ReportNow: true}:
	default:
		r.t.Fatal("no wait is held")
	}
}

// answering has every wait answered so.
func (r *rig) answering(answer func(r *http.Request) (*http.Response, error)) {
	r.server.set(func() { r.server.onWait = answer })
}

func (r *rig) waits() []waitSeen {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	return append([]waitSeen(nil), r.server.waits...)
}

func noRemoteAccess(c *posture.Claims) {
	c.RemoteAccess.State, c.RemoteAccess.Reason = posture.No, posture.PasswordLogin
}

func pendingUpdates(c *posture.Claims) {
	c.Patches.State, c.Patches.Reason = posture.No, posture.UpdatesPending
}

// One wait follows the other, from the enrolment on, and ends with the agent.
func TestWaitIsKept(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		stop := r.start()
		pass(10 * time.Minute)
		began := time.Now()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("the agent took %v to stop", took)
		}
		got := r.waits()
		if len(got) < 12 || len(got) > 13 {
			t.Fatalf("%d waits in ten minutes", len(got))
		}
		for i, w := range got[1:] {
			if gap := w.at.Sub(got[i].end); gap > 0 {
				t.Errorf("none was held for %v", gap)
			}
		}
		if n := len(r.server.reports()); n != 3 { // as without them
			t.Errorf("%d statements, want 3", n)
		}
	})
}

// Somebody waits: a full report on a fresh nonce comes at once, of claims that were
// looked at after they asked, those too that are left out otherwise.
func TestReportNow(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.server.nextS = 3600
		stop := r.start()
		defer stop()
		pass(12 * time.Second)
		r.change(noRemoteAccess)
		pass(20 * time.Second)
		if n := len(r.server.reports()); n != 1 {
			t.Fatalf("%d statements: the test shows nothing", n)
		}
		for i, want := range []posture.State{posture.No, posture.No, posture.Yes} {
			if i == 2 {
				r.change(nil)
			}
			began, nonces := time.Now(), r.server.paths(attest.PathNonce)
			r.reportNow()
			synctest.Wait()
			got := r.server.reports()
			ev := got[len(got)-1]
			if len(got) != 2+i || ev.Report == nil || ev.Report.Claims.RemoteAccess.State != want {
				t.Fatalf("%d statements, the last %+v, want %v in full", len(got), ev, want)
			}
			if at := ev.Report.CollectedAt; at.Before(began.Truncate(time.Second)) {
				t.Errorf("collected %v before it was asked for", began.Sub(at))
			}
			if r.server.paths(attest.PathNonce) != nonces+1 {
				t.Error("not on a fresh nonce")
			}
			pass(10 * time.Second)
		}
	})
}

// A package manager that takes its time makes nobody wait for more than seconds: its
// change follows.
func TestReportNowDoesNotWaitForAll(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.server.nextS = 3600
		stop := r.start()
		defer stop()
		pass(time.Minute)
		r.set(func() { r.slow = 20 * time.Second })
		r.change(func(c *posture.Claims) { noRemoteAccess(c); pendingUpdates(c) })
		r.reportNow()
		pass(wantedTime - time.Millisecond)
		if n := len(r.server.reports()); n != 1 {
			t.Fatalf("%d statements before the time was over", n)
		}
		pass(2 * time.Millisecond)
		ev := lastOf(t, r)
		if ev.Report == nil || ev.Report.Claims.RemoteAccess.State != posture.No || ev.Report.Claims.Patches.State != posture.Yes {
			t.Fatalf("after three seconds: %+v", ev.Report)
		}
		pass(18 * time.Second)
		if ev = lastOf(t, r); ev.Report == nil || ev.Report.Claims.Patches.State != posture.No {
			t.Error("what took longer was not reported after it")
		}
		if n := len(r.server.reports()); n != 3 {
			t.Errorf("%d statements", n)
		}
	})
}

// A look that began before somebody asked is no answer to them.
func TestWantedTakesNewLooksOnly(t *testing.T) {
	n := &wanted{since: time.Minute}
	n.saw(sight{began: time.Minute - 1})
	n.saw(sight{began: time.Minute - 1, dear: true})
	if n.cheap || n.dear || n.wait(time.Minute) != wantedTime {
		t.Errorf("%+v", n)
	}
	n.saw(sight{began: time.Minute})
	if n.wait(time.Minute+time.Second) != wantedTime-time.Second {
		t.Error("half of it was enough")
	}
	n.saw(sight{began: time.Minute, dear: true})
	if n.wait(time.Minute) != 0 {
		t.Error("all of it was not enough")
	}
	n = nil
	if n.saw(sight{}); n.wait(0) != 0 {
		t.Error("nobody asked, and something waits")
	}
}

// Whatever the server does, the laptop asks and reports within its own bounds, its
// reports are not late, and nobody's log is filled.
func TestHostileWaits(t *testing.T) {
	reply := func(r attest.WaitReply) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Millisecond)
			return answer200(r), nil
		}
	}
	body := func(status int, kind string, b []byte) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) { return respond(status, kind, b), nil }
	}
	const storm = budgetBurst + 22 // in ten minutes
	for name, test := range map[string]struct {
		answer         func(*http.Request) (*http.Response, error)
		waits, reports int // at most
	}{
		"report now, always":   {reply(attest.WaitReply{ReportNow: true}), storm, 3 + storm},
		"at once, and nothing": {reply(attest.WaitReply{}), 15, 3},
		"less than at once":    {reply(attest.WaitReply{AgainS: math.MinInt}), 15, 3},
		"in a second, always":  {reply(attest.WaitReply{AgainS: 1}), 600, 3},
		"never again":          {reply(attest.WaitReply{AgainS: math.MaxInt}), 1, 3},
		"report now, never again": {reply(attest.WaitReply{ReportNow: true, AgainS: math.MaxInt}),
			1, 4},
		"no such path":   {body(404, "text/plain", nil), 15, 3},
		"elsewhere":      {body(302, "text/plain", nil), 15, 3},
		"refused":        {func(*http.Request) (*http.Response, error) { return problem(401, attest.CodeDeviceUnknown, nil), nil }, 15, 3},
		"revoked":        {func(*http.Request) (*http.Response, error) { return problem(403, attest.CodeRevoked, nil), nil }, 15, 3},
		"a page":         {body(200, "text/html", []byte("<p>report_now</p>")), 15, 3},
		"nothing":        {body(200, "application/json", nil), 15, 3},
		"another type":   {body(200, "application/json", []byte(`{"report_now":"true"}`)), 15, 3},
		"a large number": {body(200, "application/json", []byte(`{"again_s":1e400}`)), 15, 3},
		"twice":          {body(200, "application/json", []byte(`{"report_now":false,"report_now":true}`)), 15, 3},
		"endless":        {body(200, "application/json", bytes.Repeat([]byte(" "), attest.MaxMessage+1)), 15, 3},
		"broken off":     {func(*http.Request) (*http.Response, error) { return nil, errLost }, 15, 3},
		"silent":         {func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }, 9, 3},
		"a proxy's word": {func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Minute)
			return respond(504, "text/html", nil), nil
		}, 11, 3},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				var log bytes.Buffer
				r.logs = slog.New(slog.NewTextHandler(&log, nil))
				r.answering(test.answer)
				stop := r.start()
				pass(10 * time.Minute)
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				if n := len(r.waits()); n < 1 || n > test.waits {
					t.Errorf("%d waits, want at most %d", n, test.waits)
				}
				got := r.server.reports()
				if len(got) < 3 || len(got) > test.reports {
					t.Errorf("%d statements, want at most %d", len(got), test.reports)
				}
				for i, ev := range got[1:] {
					if late := ev.IssuedAt.Sub(got[i].IssuedAt); late > 301*time.Second {
						t.Errorf("a report was %v after the one before", late)
					}
				}
				if said := log.String(); strings.Contains(said, "server's word") || strings.Count(said, "somebody waits") > storm {
					t.Errorf("the log has\n%s", said)
				}
				if s := r.state(); s.Trouble != nil || s.Enrolled.Revoked || s.Again {
					t.Errorf("it changed what the agent remembers: %+v", s)
				}
				sentOnce(t, r.server)
			})
		})
	}
}

// The storm costs no more looks at what is dear than reports.
func TestStormOfLooks(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.answering(func(*http.Request) (*http.Response, error) { return answer200(attest.WaitReply{ReportNow: true}), nil })
		a := r.agent()
		looks, look := 0, a.Look
		a.Look = func(ctx context.Context, dear bool) posture.Claims {
			if dear {
				r.set(func() { looks++ })
			}
			return look(ctx, dear)
		}
		stop := runs(a)
		pass(10 * time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if looks > budgetBurst+23 {
			t.Errorf("%d looks in ten minutes", looks)
		}
	})
}

// Changes and what is wanted have budgets of their own: neither keeps the other back.
func TestTwoBudgets(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.server.nextS = 3600
		stop := r.start()
		defer stop()
		on := false
		r.change(func(c *posture.Claims) {
			if on = !on; on {
				c.Firewall.State, c.Firewall.Reason = posture.No, posture.NoFirewall
			}
		})
		pass(2 * time.Minute) // the budget of changes is spent
		r.change(nil)
		n := len(r.server.reports())
		for i := range budgetBurst {
			r.reportNow()
			pass(time.Millisecond)
			if got := len(r.server.reports()); got != n+1+i {
				t.Fatalf("%d statements after %d wishes", got-n, i+1)
			}
		}
		pass(time.Second)
		if w := r.waits(); w[len(w)-1].end.IsZero() {
			t.Error("a wait is held though nothing could be done for it")
		}
		pass(time.Minute)
		r.reportNow() // as soon as there is budget again
		r.change(noRemoteAccess)
		n = len(r.server.reports())
		pass(31 * time.Second)
		if got := len(r.server.reports()); got <= n {
			t.Error("the change was not reported")
		}
	})
}

// A server without room says when to come again; agents spread that.
func TestWaitAgain(t *testing.T) {
	for _, random := range []float64{0, 0.5, math.Nextafter(1, 0)} {
		bubble(t, func(t *testing.T, r *rig) {
			r.random = random
			r.answering(func(*http.Request) (*http.Response, error) { return answer200(attest.WaitReply{AgainS: 60}), nil })
			stop := r.start()
			defer stop()
			pass(10 * time.Minute)
			got := r.waits()
			if len(got) < 2 {
				t.Fatal("it never came again")
			}
			for i, w := range got[1:] {
				gap, want := w.at.Sub(got[i].at), time.Minute+time.Duration(random*float64(time.Minute))
				if gap < want || gap > want+time.Second {
					t.Errorf("random %v: came after %v, want %v", random, gap, want)
				}
			}
		})
	}
}

// A wait that was held and failed is followed by another within seconds; one that
// fails at once backs off, and comes back when the server does.
func TestWaitAfterFailure(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.answering(func(*http.Request) (*http.Response, error) {
			time.Sleep(30 * time.Second)
			return nil, errors.New("connection reset")
		})
		stop := r.start()
		defer stop()
		pass(5 * time.Minute)
		got := r.waits()
		for i, w := range got[1:] {
			if gap := w.at.Sub(got[i].end); gap > waitApart {
				t.Errorf("none was held for %v", gap)
			}
		}
		r.answering(func(*http.Request) (*http.Response, error) { return nil, errLost })
		pass(10 * time.Minute)
		r.answering(nil)
		pass(backoffCap)
		r.reportNow()
	})
}

// Who is not enrolled, or is revoked, waits for nothing.
func TestNobodyWaitsUnenrolled(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.server.on(func(path string, _ []byte) *http.Response {
			if path == attest.PathEnrolFinish {
				return lost()
			}
			return nil
		})
		stop := r.start()
		defer stop()
		pass(20 * time.Minute)
		if n := len(r.waits()); n != 0 {
			t.Fatalf("%d waits before the enrolment", n)
		}
		r.server.on(nil)
		pass(10 * time.Minute)
		if len(r.waits()) == 0 {
			t.Fatal("no wait after the enrolment")
		}
		r.server.set(func() { r.server.device.state = attest.Revoked })
		r.reportNow() // it learns of it by its report
		pass(time.Second)
		n := len(r.waits())
		if last := r.waits()[n-1]; last.end.IsZero() {
			t.Error("a revoked laptop's wait is held on")
		}
		pass(30 * time.Minute)
		if len(r.waits()) != n {
			t.Error("a revoked laptop waits")
		}
		r.server.set(func() { r.server.device.state = attest.Active })
		pass(time.Hour)
		r.reportNow()
	})
}

// After a sleep the connection of before is not trusted.
func TestWaitAfterSleep(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		stop := r.start()
		defer stop()
		pass(time.Minute)
		n := len(r.waits())
		r.sleep(time.Hour)
		pass(cheapEvery + waitApart)
		got := r.waits()
		if len(got) != n+1 || got[n-1].end.IsZero() || got[n-1].end.Sub(got[n-1].at) > 20*time.Second {
			t.Errorf("%+v", got)
		}
		r.reportNow()
	})
}

// That somebody waits tells that the server is there: what had to wait is tried
// again, once.
func TestReportNowTriesAgain(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		stop := r.start()
		pass(time.Minute)
		r.server.on(func(path string, _ []byte) *http.Response {
			if path != attest.PathReport {
				return nil
			}
			return respond(503, "application/problem+json", encoded(attest.Problem{
				Type: "about:blank", Title: "later", Status: 503, Code: attest.CodeUnavailable, RetryS: 3000,
			}))
		})
		pass(10 * time.Minute)
		n := r.server.paths(attest.PathReport)
		r.reportNow()
		pass(time.Second)
		if got := r.server.paths(attest.PathReport); got != n+1 {
			t.Errorf("tried %d times", got-n)
		}
		r.server.on(nil)
		pass(time.Hour)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		sentOnce(t, r.server)
		inStep(t, r)
	})
}
