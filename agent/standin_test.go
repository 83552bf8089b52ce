package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/platform"
)

// gone enrols a laptop with its TPM, takes that away, and lets so much time pass.
// The server holds whatever comes next pending.
func gone(t *testing.T, r *rig, err error, d time.Duration) (stop func() error) {
	t.Helper()
	stop = r.start()
	pass(6 * time.Minute)
	r.server.set(func() { r.server.enrolAs = attest.Pending })
	r.chip.breaks(fmt.Errorf("opening: %w", err))
	pass(d)
	return stop
}

// begins returns the first messages of enrolments, as they arrived.
func begins(s *testServer) (list []exchangeSeen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.log {
		if e.path == attest.PathEnrolBegin {
			list = append(list, e)
		}
	}
	return list
}

// sentAs fails when a first message was not sent as a device, with its MAC; an
// empty id: as nobody.
func sentAs(t *testing.T, s *testServer, e exchangeSeen, id string) {
	t.Helper()
	mac := ""
	s.mu.Lock()
	defer s.mu.Unlock()
	if id != "" {
		mac = attest.MAC(s.find(id).secret, e.path, e.body).String()
	}
	if e.device != id || e.mac != mac {
		t.Errorf("sent as %q with MAC %q, want %q with %q", e.device, e.mac, id, mac)
	}
}

func standInFiles(t *testing.T, r *rig) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(r.settings.StateDir, standInPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestTPMGone(t *testing.T) {
	for class, code := range map[error]string{attest.ErrAbsent: troubleGone, attest.ErrDisabled: troubleHierarchy} {
		withChip(t, func(t *testing.T, r *rig) {
			r.withToken(t)
			stop := gone(t, r, class, 40*time.Minute)
			defer func() { stop() }()
			list := begins(r.server)
			if len(list) != 2 {
				t.Fatalf("%d enrolments, want 2", len(list))
			}
			sentAs(t, r.server, list[1], "device-1")
			var begin attest.EnrolBegin
			if err := json.Unmarshal(list[1].body, &begin); err != nil || begin.Identity.Kind != attest.KindSoft || begin.Token != "" {
				t.Errorf("%v: kind %q, token %q", err, begin.Identity.Kind, begin.Token)
			}
			s := r.state()
			if !s.StandIn || s.Parked == nil || s.Parked.Enrolled.Device != "device-1" || s.Enrolled.Device != "device-2" || s.Trouble != nil {
				t.Fatalf("state %+v", s)
			}
			if got := r.server.reports(); len(got) < 4 || got[len(got)-1].Signer != attest.DK {
				t.Errorf("%d statements of the stand-in", len(got))
			}
			st := status(t, r, true)
			if st.Device != "device-2" || st.Kind != attest.KindSoft || st.Fit || st.Code == "" || st.Changed == nil || st.Changed.Code != code {
				t.Errorf("status %+v", st)
			}
			if text := st.String(); !strings.Contains(text, "device-1") || !strings.Contains(text, "firmware") || !strings.Contains(text, "software key") {
				t.Errorf("status tells\n%s", text)
			}
			if c := find(r.agent().checkState(), "keys"); c.OK || c.Fix == "" {
				t.Errorf("doctor: %+v", c)
			}
			inStep(t, r)

			r.chip.breaks(nil)
			pass(resumeEvery + time.Minute)
			s = r.state()
			if s.StandIn || s.Parked != nil || s.Changed != nil || s.Again || s.Enrolled.Device != "device-1" {
				t.Fatalf("the TPM is back: %+v", s)
			}
			if st := status(t, r, true); !st.Fit || st.Level != "software" || st.Changed != nil { // the rig's level of all
				t.Errorf("status %+v", st)
			}
			if files := standInFiles(t, r); len(files) > 0 {
				t.Errorf("the software key stays: %q", files)
			}
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			inStep(t, r)
			sentOnce(t, r.server)
			if enrolments(r) != 2 {
				t.Errorf("%d enrolments, want 2", enrolments(r))
			}
		})
	}
}

// A start looks for the TPM at once, and goes on without where it is not there.
func TestTPMIsLookedForAtEachStart(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		stop := gone(t, r, attest.ErrAbsent, 20*time.Minute)
		stop()
		stop = r.start()
		pass(6 * time.Minute)
		stop()
		if s := r.state(); s.Enrolled.Device != "device-2" || s.Trouble != nil {
			t.Fatalf("after a start without TPM: %+v", s)
		}
		inStep(t, r)
		r.chip.breaks(nil)
		r.anotherBoot()
		stop = r.start()
		pass(30 * time.Second)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if s := r.state(); s.Enrolled.Device != "device-1" {
			t.Fatalf("after a start with it: %+v", s)
		}
		inStep(t, r)
		oneDKb(t, r)
	})
}

func TestTPMMissedForAMoment(t *testing.T) {
	for _, away := range []time.Duration{10 * time.Second, goneFor - 30*time.Second} {
		withChip(t, func(t *testing.T, r *rig) {
			stop := r.start()
			defer stop()
			pass(time.Minute)
			stop()
			r.chip.breaks(attest.ErrAbsent) // the driver loads late
			stop = r.start()
			pass(away)
			if r.state().StandIn {
				t.Errorf("given up after %v", away)
			}
			r.chip.breaks(nil)
			pass(30 * time.Minute)
			stop()
			if enrolments(r) != 1 {
				t.Errorf("%d enrolments", enrolments(r))
			}
			inStep(t, r)
		})
	}
}

// What is not a TPM that is gone, under tpm: auto, never ends in a software key.
func TestNeverSoftwareOtherwise(t *testing.T) {
	for _, c := range []struct {
		name, setting string
		err           error
	}{
		{"permission", tpmAuto, attest.ErrPermission},
		{"busy", tpmAuto, attest.ErrTransient},
		{"a defect", tpmAuto, errors.New("nonsense")},
		{"by its path", "device:/dev/tpmrm0", attest.ErrAbsent},
		{"by its path, off", "device:/dev/tpmrm0", attest.ErrDisabled},
		{"a socket", "unix:/run/tpm", attest.ErrAbsent},
	} {
		withChip(t, func(t *testing.T, r *rig) {
			r.settings.TPM = c.setting
			stop := gone(t, r, c.err, 3*time.Hour)
			defer stop()
			s := r.state()
			if enrolments(r) != 1 || s.StandIn || s.Trouble == nil || c.setting != tpmAuto && s.Trouble.Fix == "" {
				t.Errorf("%s: %d enrolments, trouble %+v", c.name, enrolments(r), s.Trouble)
			}
		})
	}
	withChip(t, func(t *testing.T, r *rig) { // before any enrolment
		r.chip.breaks(attest.ErrAbsent)
		stop := r.start()
		defer stop()
		pass(3 * time.Hour)
		if s := r.state(); r.server.paths(attest.PathEnrolBegin) != 0 || s.Trouble == nil || s.Trouble.Code != troubleAbsent || s.Trouble.Fix == "" {
			t.Errorf("a laptop that never had a TPM: %+v", s.Trouble)
		}
	})
}

// A setting that names the TPM ends a stand-in that began under auto.
func TestSettingEndsTheStandIn(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		stop := gone(t, r, attest.ErrAbsent, 20*time.Minute)
		stop()
		r.settings.TPM = "device:/dev/tpmrm0"
		before := r.server.paths(attest.PathReport)
		stop = r.start()
		defer stop()
		pass(time.Hour)
		if s := r.state(); r.server.paths(attest.PathReport) != before || s.Trouble == nil || s.Trouble.Code != troubleAbsent {
			t.Errorf("reports with a software key under device:, trouble %+v", s.Trouble)
		}
		r.chip.breaks(nil)
		pass(10 * time.Minute)
		stop()
		inStep(t, r)
		if s := r.state(); s.Enrolled.Device != "device-1" {
			t.Errorf("as %s", s.Enrolled.Device)
		}
	})
}

// A TPM that opens and then cannot quote is no TPM that is back.
func TestTPMThatCannotQuoteIsNotBack(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		stop := gone(t, r, attest.ErrAbsent, 20*time.Minute)
		defer stop()
		r.chip.mu.Lock()
		r.chip.fail, r.chip.noQuote = nil, fmt.Errorf("quoting: %w with a bank", attest.ErrAbsent)
		r.chip.mu.Unlock()
		pass(4 * time.Hour)
		if s := r.state(); !s.StandIn || s.Enrolled.Device != "device-2" || enrolments(r) != 2 {
			t.Errorf("%d enrolments, as %s", enrolments(r), s.Enrolled.Device)
		}
	})
}

// The mainboard was swapped while the TPM was gone: the agent enrols with the new
// one, as the successor of the old.
func TestAnotherTPMComesBack(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		stop := gone(t, r, attest.ErrAbsent, 20*time.Minute)
		defer stop()
		r.chip.mu.Lock()
		r.chip.rekey()
		r.chip.fail = nil
		r.chip.mu.Unlock()
		pass(resumeEvery + 10*time.Minute)
		s := r.state()
		if s.Enrolled.Device != "device-3" || s.Enrolled.Keys.Kind != attest.KindTPM || s.Parked != nil || s.StandIn {
			t.Fatalf("state %+v", s)
		}
		list := begins(r.server)
		sentAs(t, r.server, list[len(list)-1], "device-1")
		if st := status(t, r, true); st.Changed == nil || st.Changed.Code != troubleLost || !strings.Contains(st.Changed.Text, "device-1") {
			t.Errorf("status tells %+v", st.Changed)
		}
		if files := standInFiles(t, r); len(files) > 0 {
			t.Errorf("the software key stays: %q", files)
		}
		stop()
		inStep(t, r)
	})
}

// Where the server admitted the stand-in in the TPM's place, the person keeps what
// that is admitted to until the old device is approved again.
func TestServerTookTheStandIn(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		stop := gone(t, r, attest.ErrAbsent, 20*time.Minute)
		defer stop()
		r.server.set(func() {
			r.server.find("device-1").state = attest.Pending // replaced
			r.server.device.state = attest.Active
		})
		r.chip.breaks(nil)
		pass(3 * resumeEvery)
		s := r.state()
		if s.Enrolled.Device != "device-2" || s.Changed == nil || s.Changed.Code != troubleReplaced || s.Changed.Fix == "" || s.Trouble != nil {
			t.Fatalf("as %s, changed %+v, trouble %+v", s.Enrolled.Device, s.Changed, s.Trouble)
		}
		inStep(t, r)
		r.server.set(func() { r.server.find("device-1").state = attest.Active })
		pass(resumeEvery + time.Minute)
		if s := r.state(); s.Enrolled.Device != "device-1" || s.Changed != nil {
			t.Errorf("after the approval: as %s, changed %+v", s.Enrolled.Device, s.Changed)
		}
		inStep(t, r)
	})
}

func TestServerForgotTheParkedDevice(t *testing.T) {
	for code, change := range map[string]func(*testDevice){
		attest.CodeDeviceUnknown: func(d *testDevice) { d.id = "deleted" },
		attest.CodeRevoked:       func(d *testDevice) { d.state = attest.Revoked },
	} {
		withChip(t, func(t *testing.T, r *rig) {
			stop := gone(t, r, attest.ErrAbsent, 20*time.Minute)
			defer func() { stop() }()
			r.server.set(func() { change(r.server.find("device-1")) })
			r.chip.breaks(nil)
			pass(5 * resumeEvery)
			s := r.state()
			if s.Enrolled.Device != "device-2" || s.Enrolled.Revoked || s.Parked.Ended != code || !strings.Contains(s.Changed.Fix, "--again") {
				t.Fatalf("%s: as %s, parked %+v, changed %+v", code, s.Enrolled.Device, s.Parked, s.Changed)
			}
			if n := r.server.paths(attest.PathStatus); n != 1 {
				t.Errorf("%s: asked %d times", code, n)
			}
			inStep(t, r)
			stop()
			if st, err := r.agent().Enrol(t.Context(), true); err != nil || st.Device != "device-3" || st.Kind != attest.KindTPM {
				t.Fatalf("%s: enrolled again: %+v, %v", code, st, err)
			}
			list := begins(r.server)
			sentAs(t, r.server, list[len(list)-1], "device-2")
			if s := r.state(); s.Parked != nil || s.StandIn || len(standInFiles(t, r)) > 0 {
				t.Errorf("%s: left over: %+v", code, s)
			}
			stop = r.start()
			pass(6 * time.Minute)
			stop()
			inStep(t, r)
		})
	}
}

// A wish for another enrolment that fails leaves the stand-in as it was.
func TestEnrolByHandWithoutTPM(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		stop := gone(t, r, attest.ErrAbsent, 20*time.Minute)
		stop()
		if _, err := r.agent().Enrol(t.Context(), true); !errors.Is(err, attest.ErrAbsent) || len(Hints(err)) == 0 {
			t.Errorf("enrolled again: %v", err)
		}
		if s := r.state(); !s.StandIn || s.Again || s.Enrolled.Device != "device-2" || s.Parked.Enrolled.Device != "device-1" {
			t.Errorf("state %+v", s)
		}
		stop = r.start()
		pass(6 * time.Minute)
		stop()
		inStep(t, r)
	})
}

// The software key is lost while it stands in: another one does, and the TPM's
// enrolment is not touched.
func TestStandInLosesItsKey(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		stop := gone(t, r, attest.ErrAbsent, 20*time.Minute)
		stop()
		own := filepath.Join(r.settings.StateDir, blobPrefix+"tpm-dk")
		if err := os.WriteFile(own, []byte("wrapped"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, file := range standInFiles(t, r) {
			if err := os.WriteFile(file, []byte("damaged"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		stop = r.start()
		pass(10 * time.Minute)
		s := r.state()
		if s.Enrolled.Device != "device-3" || s.Enrolled.Keys.Kind != attest.KindSoft || s.Parked.Enrolled.Device != "device-1" {
			t.Errorf("state %+v", s)
		}
		if _, err := os.Stat(own); err != nil {
			t.Errorf("the TPM's own blob: %v", err)
		}
		r.chip.breaks(nil)
		pass(resumeEvery + time.Minute)
		stop()
		if s := r.state(); s.Enrolled.Device != "device-1" {
			t.Errorf("as %s", s.Enrolled.Device)
		}
		inStep(t, r)
	})
}

// A statement that may have been sent with the TPM's keys is parked with them, and
// repeated in its bytes.
func TestPendingStatementIsParked(t *testing.T) {
	for _, arrives := range []bool{false, true} {
		withChip(t, func(t *testing.T, r *rig) {
			stop := r.start()
			defer stop()
			pass(time.Minute)
			dark := func(path string) bool { return path == attest.PathReport }
			if arrives {
				r.server.set(func() {
					r.server.after = func(path string) error {
						if dark(path) {
							return errLost
						}
						return nil
					}
				})
			} else {
				r.server.on(func(path string, _ []byte) *http.Response {
					if dark(path) {
						return lost()
					}
					return nil
				})
			}
			pass(5 * time.Minute)
			stop()
			was := r.state().Pending
			if was == nil {
				t.Fatal("nothing is pending")
			}
			// The machine starts without its TPM: the pending statement is answered, or
			// not, before that is seen.
			r.chip.breaks(attest.ErrAbsent)
			r.server.set(func() { r.server.enrolAs = attest.Pending })
			stop = r.start()
			pass(30 * time.Minute)
			r.server.set(func() { r.server.after, r.server.intercept = nil, nil })
			pass(30 * time.Minute)
			r.chip.breaks(nil)
			pass(2 * resumeEvery)
			stop()
			sentOnce(t, r.server)
			inStep(t, r)
			if s := r.state(); s.Enrolled.Device != "device-1" {
				t.Errorf("as %s", s.Enrolled.Device)
			}
		})
	}
}

// The agent dies at any write while it parks, or while it takes up again: what is
// left is one enrolment with the TPM, whole.
func TestKilledWhileParked(t *testing.T) {
	for _, back := range []bool{false, true} {
		for _, written := range []bool{false, true} {
			for cut := 1; cut <= 4; cut++ {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, newChip())
					n, dead := 0, false
					deadly := func(path string, data []byte) error {
						if n++; n < cut {
							return platform.WritePrivate(path, data)
						}
						if n == cut && written {
							dead = true
							return errors.Join(platform.WritePrivate(path, data), errKilled)
						}
						dead = true
						return errKilled
					}
					var stop func() error
					if back {
						stop = gone(t, r, attest.ErrAbsent, 20*time.Minute)
						stop()
						r.chip.breaks(nil)
						r.write = deadly
						stop = r.start()
						pass(30 * time.Minute)
					} else {
						stop = r.start()
						pass(time.Minute)
						r.server.set(func() { r.server.enrolAs = attest.Pending })
						r.chip.breaks(attest.ErrAbsent)
						stop()
						r.write = deadly
						stop = r.start()
						pass(40 * time.Minute)
					}
					if err := stop(); err != nil && !errors.Is(err, errKilled) {
						t.Fatal(err)
					}
					if !dead {
						t.Fatalf("back %v: only %d writes: the cut at %d tests nothing", back, n, cut)
					}
					r.write = platform.WritePrivate
					if !back {
						stop = r.start()
						pass(40 * time.Minute)
						stop()
						if s := r.state(); !s.StandIn || s.Parked == nil || s.Parked.Enrolled.Device != "device-1" {
							t.Errorf("cut %d, written %v: parked %+v", cut, written, s.Parked)
						}
						inStep(t, r)
						r.chip.breaks(nil)
					}
					stop = r.start()
					pass(20 * time.Minute)
					stop()
					if s := r.state(); s.Enrolled.Device != "device-1" || s.StandIn || s.Parked != nil {
						t.Errorf("back %v, cut %d, written %v: %+v", back, cut, written, s)
					}
					inStep(t, r)
					sentOnce(t, r.server)
					if enrolments(r) != 2 || len(standInFiles(t, r)) > 0 {
						t.Errorf("back %v, cut %d, written %v: %d enrolments, files %q", back, cut, written, enrolments(r), standInFiles(t, r))
					}
				})
			}
		}
	}
}

// Who enrols anew says who it was, to the server that knew it, and to no other.
func TestFormerIdentity(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		enrols := func() {
			t.Helper()
			if _, err := r.agent().Enrol(t.Context(), true); err != nil {
				t.Fatal(err)
			}
		}
		enrols()
		enrols()
		list := begins(r.server)
		sentAs(t, r.server, list[0], "")
		sentAs(t, r.server, list[1], "device-1")

		r.server.set(func() { r.server.tenant = strings.Repeat("cd", 16) })
		enrols()
		list = begins(r.server)
		sentAs(t, r.server, list[len(list)-1], "")

		r.settings.Server, r.server.origin = "https://new.example", "https://new.example"
		enrols()
		list = begins(r.server)
		sentAs(t, r.server, list[len(list)-1], "")

		once := true
		r.server.on(func(path string, _ []byte) *http.Response {
			if path == attest.PathEnrolBegin && once {
				once = false
				return problem(401, attest.CodeDeviceUnknown, nil)
			}
			return nil
		})
		enrols()
		list = begins(r.server)
		sentAs(t, r.server, list[len(list)-2], "device-4")
		sentAs(t, r.server, list[len(list)-1], "")
		if !bytes.Equal(list[len(list)-2].body, list[len(list)-1].body) {
			t.Error("asked in two forms")
		}
	})
}

// A new mainboard's TPM may have a certificate for another EK than the old one's:
// the template of old is kept only with the keys of old.
func TestEKIsChosenAnewForAnotherTPM(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		if _, err := r.agent().Enrol(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		var places []KeyPlace
		r.chip.mu.Lock()
		r.chip.onOpen = func(p KeyPlace) { places = append(places, p) }
		r.chip.mu.Unlock()
		if _, err := r.agent().Enrol(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if len(places) != 1 || places[0].EK != attest.EKP256L2 || places[0].DK.IsZero() {
			t.Errorf("the same TPM: %+v", places)
		}
		r.chip.mu.Lock()
		r.chip.rekey()
		r.chip.mu.Unlock()
		places = nil
		if _, err := r.agent().Enrol(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if n := len(places); n != 2 || places[1].EK != "" || !places[1].DK.IsZero() || !bytes.Equal(places[0].Secret, places[1].Secret) {
			t.Errorf("another TPM: %+v", places)
		}
	})
}

// The claims go on being looked at while the stand-in reports.
func TestStandInReportsChanges(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		stop := gone(t, r, attest.ErrAbsent, 20*time.Minute)
		defer stop()
		r.change(func(c *posture.Claims) { c.Firewall.State, c.Firewall.Reason = posture.No, posture.NoFirewall })
		pass(15 * time.Second)
		if ev := lastOf(t, r); ev.Report == nil || ev.Report.Claims.Firewall.State != posture.No {
			t.Error("a change was not reported")
		}
	})
}
