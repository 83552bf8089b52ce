package agent

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/platform"
)

// withToken gives the laptop an enrolment token.
func (r *rig) withToken(t *testing.T) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("tok-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.settings.tokenFile = path
}

// enrolments counts the devices that the server made.
func enrolments(r *rig) (n int) {
	r.server.set(func() { n = len(r.server.old) + 1 })
	return n
}

func TestUnknownDevice(t *testing.T) {
	for _, c := range []struct {
		name    string
		token   bool
		server  func(*testServer)
		enrols  bool
		trouble string
	}{
		{name: "deleted, no token", trouble: attest.CodeDeviceUnknown},
		{name: "deleted, token at hand", token: true, enrols: true},
		{name: "restored from before", server: func(s *testServer) { s.epoch++ }, enrols: true},
		{name: "another tenant", server: func(s *testServer) { s.tenant = "ff" }, trouble: troubleOther},
		{name: "another tenant, token at hand", token: true, server: func(s *testServer) { s.tenant, s.epoch = "ff", 9 }, trouble: troubleOther},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, r *rig) {
				if c.token {
					r.withToken(t)
				}
				stop := r.start()
				pass(time.Minute)
				r.server.set(func() {
					r.server.device.id = "nobody"
					if c.server != nil {
						c.server(r.server)
					}
				})
				pass(time.Hour)
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				if got := enrolments(r) == 2; got != c.enrols {
					t.Errorf("enrolled anew: %v, want %v", got, c.enrols)
				}
				s := r.state()
				if c.enrols {
					inStep(t, r)
				} else if s.Trouble == nil || s.Trouble.Code != c.trouble || s.Trouble.Fix == "" {
					t.Errorf("trouble %+v, want %q with a fix", s.Trouble, c.trouble)
				}
				if !c.enrols && s.Enrolled.Device != "device-1" {
					t.Error("the old enrolment was given up")
				}
			})
		})
	}
}

// The setting server names another address than the enrolment.
func TestServerMoves(t *testing.T) {
	for _, c := range []struct {
		name, tenant  string
		token, enrols bool
		stays         bool
	}{
		{name: "another name of the same", stays: true},
		{name: "another server", tenant: "ff"},
		{name: "another server, token at hand", tenant: "ff", token: true, enrols: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, r *rig) {
				stop := r.start()
				pass(time.Minute)
				stop()
				if c.token {
					r.withToken(t)
				}
				r.settings.Server, r.server.origin = "https://new.example", "https://new.example"
				if c.tenant != "" {
					r.server.tenant = c.tenant
				}
				stop = r.start()
				pass(20 * time.Minute)
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				if got := enrolments(r) == 2; got != c.enrols {
					t.Errorf("enrolled anew: %v, want %v", got, c.enrols)
				}
				s := r.state()
				if c.stays || c.enrols {
					inStep(t, r)
					return
				}
				if s.Trouble == nil || s.Trouble.Code != troubleOther || s.Trouble.Fix == "" || s.Enrolled.Server != testOrigin {
					t.Errorf("trouble %+v, server %s", s.Trouble, s.Enrolled.Server)
				}
				if n := r.server.paths(attest.PathReport); n != 0 {
					t.Errorf("%d reports went to a server that is not ours", n)
				}
			})
		})
	}
}

// One wrong answer does not send a laptop with a token back to the start.
func TestUnknownOnceIsForgiven(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.withToken(t)
		stop := r.start()
		pass(time.Minute)
		errs := 2
		r.server.on(func(path string, _ []byte) *http.Response {
			if path == attest.PathReport && errs > 0 {
				errs--
				return problem(401, attest.CodeDeviceUnknown, nil)
			}
			return nil
		})
		pass(10 * time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if errs > 0 || enrolments(r) != 1 {
			t.Errorf("%d refusals left, %d enrolments", errs, enrolments(r))
		}
		inStep(t, r)
	})
}

func TestLostKeysEnrolAnewOnce(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		r.withToken(t)
		stop := r.start()
		pass(time.Minute)
		stop()
		s := bytes.Clone(r.chip.secret)
		r.chip.rekey() // another mainboard
		r.server.after = func(path string) error {
			if path == attest.PathEnrolFinish {
				r.server.device.state = attest.Pending // re-anchor
			}
			return nil
		}
		stop = r.start()
		pass(10 * time.Minute)
		stop()
		if enrolments(r) != 2 {
			t.Fatalf("%d enrolments, want 2", enrolments(r))
		}
		inStep(t, r)
		if !bytes.Equal(s, r.chip.secret) {
			t.Error("S was not kept")
		}
		r.chip.rekey() // again, before anybody approved
		stop = r.start()
		pass(time.Hour)
		stop()
		st := r.state()
		if enrolments(r) != 2 || st.Trouble == nil || st.Trouble.Code != troubleLost || st.Trouble.Fix == "" {
			t.Errorf("%d enrolments, trouble %+v", enrolments(r), st.Trouble)
		}
	})
}

// S that is gone is a lost key, never made anew in silence.
func TestLostSecret(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		stop := r.start()
		pass(time.Minute)
		stop()
		old := bytes.Clone(r.chip.secret)
		if err := os.Remove(filepath.Join(r.settings.StateDir, secretFile)); err != nil {
			t.Fatal(err)
		}
		r.chip.rekey() // as another S would
		stop = r.start()
		pass(10 * time.Minute)
		stop()
		if enrolments(r) != 2 || bytes.Equal(old, r.chip.secret) || len(r.chip.secret) != secretSize {
			t.Errorf("%d enrolments with secret of %d bytes", enrolments(r), len(r.chip.secret))
		}
	})
}

// A used-up token must not keep a laptop with a new mainboard from asking for an
// approval.
func TestLostKeysWithUsedToken(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		r.withToken(t)
		stop := r.start()
		pass(time.Minute)
		stop()
		r.chip.rekey()
		r.server.on(func(path string, body []byte) *http.Response {
			if path == attest.PathEnrolBegin && bytes.Contains(body, []byte("tok-1")) {
				return problem(403, attest.CodeTokenRefused, nil)
			}
			return nil
		})
		stop = r.start()
		defer stop()
		pass(10 * time.Minute)
		if enrolments(r) != 2 {
			t.Errorf("%d enrolments, want 2", enrolments(r))
		}
	})
}

func TestTPMTrouble(t *testing.T) {
	for class, want := range map[error]string{
		attest.ErrTransient: troubleBusy, attest.ErrPermission: troublePermission,
		attest.ErrAbsent: troubleAbsent, attest.ErrDisabled: troubleHierarchy,
	} {
		withChip(t, func(t *testing.T, r *rig) {
			r.settings.TPM = "device:/dev/tpmrm0" // with auto, see TestTPMGone
			stop := r.start()
			pass(time.Minute)
			fail := fmt.Errorf("asking: %w", class)
			r.chip.mu.Lock()
			r.chip.fail = fail
			r.chip.mu.Unlock()
			pass(time.Hour)
			if s := r.state(); s.Trouble == nil || s.Trouble.Code != want || s.Trouble.Fix == "" {
				t.Errorf("%v: trouble %+v, want %q", class, s.Trouble, want)
			}
			if r.server.paths(attest.PathNonce) > 40 {
				t.Errorf("%d nonces were wasted", r.server.paths(attest.PathNonce))
			}
			r.change(func(c *posture.Claims) { c.Firewall.State, c.Firewall.Reason = posture.No, posture.NoFirewall })
			r.chip.mu.Lock()
			r.chip.fail = nil
			r.chip.mu.Unlock()
			pass(6 * time.Minute)
			if ev := r.server.reports()[1]; ev.Report == nil || ev.Report.Claims.Firewall.State != posture.No {
				t.Errorf("%v: the claims stood still while the TPM was away", class)
			}
			stop()
			inStep(t, r)
			if enrolments(r) != 1 || r.state().StandIn {
				t.Error("fell to another key")
			}
		})
	}
}

func TestOneAgentAFolder(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		stop := r.start()
		defer stop()
		pass(time.Minute)
		err := r.start()()
		if err == nil || len(Hints(err)) == 0 {
			t.Errorf("a second agent in the folder: %v", err)
		}
	})
}

// What is damaged is told and left as it is.
func TestDamagedState(t *testing.T) {
	for name, spoil := range map[string]func(b []byte) []byte{
		"cut":      func(b []byte) []byte { return b[:len(b)/2] },
		"empty":    func([]byte) []byte { return nil },
		"trailing": func(b []byte) []byte { return append(b, "{}"...) },
		"newer":    func(b []byte) []byte { return bytes.Replace(b, []byte(`"version":1`), []byte(`"version":2`), 1) },
		"unknown":  func(b []byte) []byte { return bytes.Replace(b, []byte(`"version"`), []byte(`"x":1,"version"`), 1) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				stop := r.start()
				pass(time.Minute)
				stop()
				path := filepath.Join(r.settings.StateDir, stateFile)
				good, err := platform.ReadPrivate(path, maxState)
				if err != nil {
					t.Fatal(err)
				}
				bad := spoil(bytes.Clone(good))
				if err := os.WriteFile(path, bad, 0o600); err != nil {
					t.Fatal(err)
				}
				before := len(r.server.log)
				if err := r.start()(); err == nil || len(Hints(err)) == 0 {
					t.Errorf("Run answers %v; want an error with what to do", err)
				}
				if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, bad) {
					t.Errorf("the damaged file was changed: %v", err)
				}
				if len(r.server.log) != before {
					t.Error("something was sent")
				}
			})
		})
	}
}

func TestDamagedSecretIsKept(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		if err := platform.MakePrivateDir(r.settings.StateDir); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(r.settings.StateDir, secretFile)
		for _, bad := range [][]byte{{}, make([]byte, 31), make([]byte, 33), make([]byte, 4096)} {
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := r.agent().Enrol(t.Context(), false); err == nil {
				t.Errorf("enrolled with a secret of %d bytes", len(bad))
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, bad) {
				t.Errorf("the damaged secret was changed: %v", err)
			}
		}
	})
}

// Every file of the state folder is private, and what is secret is in none that
// is not.
func TestStateIsPrivate(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		stop := r.start()
		pass(time.Minute)
		stop()
		entries, err := os.ReadDir(r.settings.StateDir)
		if err != nil || len(entries) < 3 {
			t.Fatalf("%d files, %v", len(entries), err)
		}
		for _, e := range entries {
			if info, err := e.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: mode %v, %v", e.Name(), info.Mode(), err)
			}
		}
		if info, err := os.Stat(r.settings.StateDir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("folder: %v", err)
		}
	})
}
