package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/attest"
	"muster/platform/seat"
)

func status(t *testing.T, r *rig, ask bool) *Standing {
	t.Helper()
	s, err := r.agent().Status(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStatus(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		if s := status(t, r, true); s.Device != "" || s.Fit || !strings.Contains(s.String(), "not enrolled") {
			t.Errorf("before enrolment: %+v", s)
		}
		stop := r.start()
		pass(time.Minute)
		if s := status(t, r, true); !s.Asked || !s.Fit || s.Code != "" || s.State != attest.Active {
			t.Errorf("active: %+v", s)
		}
		if s := status(t, r, false); s.Asked || !s.Fit {
			t.Errorf("by memory: %+v", s)
		}
		r.server.set(func() { r.server.device.state = attest.Pending })
		s := status(t, r, true)
		want := attest.CompareCode("device-1", keyFor(r.server.device.keys, attest.DK).ID)
		if s.Fit || s.State != attest.Pending || s.Code != want || !strings.Contains(s.String(), want) || !strings.Contains(s.String(), "Ask.") {
			t.Errorf("pending: %+v\n%s", s, s)
		}
		r.server.set(func() { r.server.device.state = attest.Revoked })
		if s := status(t, r, true); s.Fit || s.State != attest.Revoked {
			t.Errorf("revoked: %+v", s)
		}
		r.server.set(func() { r.server.device.state = attest.Active })
		stop()
		r.server.on(func(string, []byte) *http.Response { return lost() })
		if s := status(t, r, true); s.Fit || s.Trouble == nil || s.Asked {
			t.Errorf("server away: %+v", s)
		}
		// By memory it is fit until its answer is too old: unknown is not yes.
		pass(3 * time.Minute)
		if s := status(t, r, false); !s.Fit {
			t.Errorf("after four minutes: %+v", s)
		}
		pass(3 * time.Minute)
		if s := status(t, r, false); s.Fit {
			t.Errorf("fit by an answer of seven minutes ago, good for six: %+v", s)
		}
	})
}

// Only allow is fit; an outcome of a newer server, or none, is not.
func TestFitIsAllowAlone(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		stop := r.start()
		defer stop()
		pass(time.Minute)
		for outcome, fit := range map[string]bool{"allow": true, "": false, "deny": false, "step_up": false, "restrict": false, "Allow": false, "new": false} {
			r.server.on(func(string, []byte) *http.Response {
				return answer200(attest.Status{Device: "device-1", State: attest.Active, Decision: attest.Decision{Outcome: outcome}})
			})
			if s := status(t, r, true); s.Fit != fit {
				t.Errorf("%q: fit %v", outcome, s.Fit)
			}
		}
		r.server.on(func(string, []byte) *http.Response {
			return answer200(attest.Status{Device: "device-1", Decision: attest.Decision{Outcome: "allow"}})
		})
		if s := status(t, r, true); s.Fit {
			t.Error("fit without a state")
		}
	})
}

func TestEnrolOnce(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		s, err := r.agent().Enrol(t.Context(), false)
		if err != nil || s.Device != "device-1" || !s.Fit {
			t.Fatalf("%+v, %v", s, err)
		}
		if s, err = r.agent().Enrol(t.Context(), false); err != nil || s.Device != "device-1" {
			t.Errorf("a second time: %+v, %v", s, err)
		}
		if s, err = r.agent().Enrol(t.Context(), true); err != nil || s.Device != "device-2" {
			t.Errorf("again: %+v, %v", s, err)
		}
		r.server.on(func(path string, _ []byte) *http.Response {
			if path == attest.PathEnrolBegin {
				return problem(403, attest.CodeTokenRefused, nil)
			}
			return nil
		})
		if _, err = r.agent().Enrol(t.Context(), true); err == nil {
			t.Error("enrolled with a refused token")
		}
		if st := r.state(); st.Enrolled.Device != "device-2" || st.Again {
			t.Errorf("a refused enrolment cost the one that was there: %+v", st)
		}
	})
}

func TestEnrolTellsWhatToDo(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		for _, class := range []error{attest.ErrPermission, attest.ErrAbsent} {
			r.chip.fail = fmt.Errorf("opening: %w", class)
			_, err := r.agent().Enrol(t.Context(), false)
			if !errors.Is(err, class) || len(Hints(err)) == 0 {
				t.Errorf("%v: %v, hints %q", class, err, Hints(err))
			}
		}
		r.chip.fail = nil
		r.server.origin = "https://other.example"
		if _, err := r.agent().Enrol(t.Context(), false); err == nil || len(Hints(err)) == 0 || r.server.paths(attest.PathEnrolBegin) != 0 {
			t.Errorf("server with another name: %v", err)
		}
		if len(r.server.reports()) != 0 {
			t.Error("enrolled")
		}
	})
}

// A server that is away for a moment does not fail an enrolment by hand.
func TestEnrolWaitsAMoment(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		lose := 3
		r.server.on(func(string, []byte) *http.Response {
			if lose--; lose >= 0 {
				return lost()
			}
			return nil
		})
		if s, err := r.agent().Enrol(t.Context(), false); err != nil || s.Device == "" {
			t.Errorf("%+v, %v", s, err)
		}
		r.server.on(func(string, []byte) *http.Response { return lost() })
		began := time.Now()
		if _, err := r.agent().Enrol(t.Context(), true); err == nil || time.Since(began) > 2*enrolPatience {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func find(checks []Check, name string) Check {
	for _, c := range checks {
		if c.Name == name {
			return c
		}
	}
	return Check{Text: "not looked at"}
}

func TestDoctor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newChip())
		facts := &TPMFacts{EK: &attest.EndorsementKey{Template: attest.EKP256L2}, EKHash: attest.Digest{1}, Log: attest.ErrPermission}
		look := func(context.Context, string) (*TPMFacts, error) { return facts, nil }
		doctor := func() []Check { return r.agent().Doctor(t.Context(), look) }
		checks := doctor()
		for name, ok := range map[string]bool{
			"settings": true, "server": true, "state": false, "token": true, "tpm": true, "ek hash": true,
			"ek certificate": false, "boot log": false, "service": false, "link": false,
		} {
			if c := find(checks, name); c.OK != ok || c.Text == "" || (c.Fix == "") != ok {
				t.Errorf("%s: %+v", name, c)
			}
		}
		r.seated = []seat.Session{{ID: "3", User: "1000"}}
		stop := r.start()
		defer stop()
		pass(time.Minute)
		facts.EK.Certificate, facts.Log = []byte("der"), nil
		checks = doctor()
		for _, name := range []string{"state", "enrolment", "ek certificate", "boot log", "service", "link"} {
			if c := find(checks, name); !c.OK {
				t.Errorf("%s: %+v", name, c)
			}
		}
		r.settings.LinkPort = 1024 // nobody listens there
		if c := find(doctor(), "link"); c.OK || c.Fix == "" {
			t.Errorf("nobody listens: %+v", c)
		}
		r.server.on(func(string, []byte) *http.Response {
			resp := answer200(attest.Tenant{Tenant: "aa", Origin: testOrigin, Epoch: 1})
			resp.Header.Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
			return resp
		})
		if c := find(doctor(), "clock"); c.OK || c.Fix == "" {
			t.Errorf("an hour off: %+v", c)
		}
		if n := r.server.paths(attest.PathEnrolBegin); n != 1 {
			t.Error("doctor enrolled")
		}
	})
}
