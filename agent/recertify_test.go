package agent

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/platform"
)

// oneDKb fails when agent, server and chip mean different boot keys.
func oneDKb(t *testing.T, r *rig) {
	t.Helper()
	key, err := attest.ParseKey(attest.DKb, r.chip.public(attest.DKb))
	if err != nil {
		t.Fatal(err)
	}
	s := r.state().Enrolled
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	if known := keyFor(r.server.find(s.Device).keys, attest.DKb); s.Keys.DKb != key.ID || known.ID != key.ID {
		t.Errorf("DKb is %v, agent knows %v, server %v", key.ID, s.Keys.DKb, known.ID)
	}
}

// taken counts the boot keys that the server took.
func (s *testServer) taken() (n int) {
	s.set(func() { n = s.recertified })
	return n
}

// anotherBoot is what a machine that starts again changes.
func (r *rig) anotherBoot() {
	r.chip.reboot()
	r.set(func() { r.boot += "x" })
}

// brought counts reports that brought a new DKb.
func brought(s *testServer) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.log {
		if e.path == attest.PathReport && bytes.Contains(e.body, []byte(`"dkb":`)) {
			n++
		}
	}
	return n
}

func TestMovedBootIsRecertified(t *testing.T) {
	for name, move := range map[string]func(r *rig){
		"PCR 7 moves":          func(r *rig) { r.chip.extend() },
		"the TPM is reset":     func(r *rig) { r.chip.reboot() },
		"both":                 func(r *rig) { r.chip.reboot(); r.chip.extend() },
		"and while it is made": func(r *rig) { r.chip.extend(); r.chip.mu.Lock(); r.chip.moves = 1; r.chip.mu.Unlock() },
	} {
		t.Run(name, func(t *testing.T) {
			withChip(t, func(t *testing.T, r *rig) {
				stop := r.start()
				defer stop()
				pass(6 * time.Minute)
				move(r)
				r.server.set(func() { r.server.log = nil })
				pass(5 * time.Minute) // the next heartbeat's time
				ev := lastOf(t, r)
				if ev.Signer != attest.DK || ev.Measured == nil || ev.Report == nil || r.server.taken() != 1 {
					t.Fatalf("by %v, quote %v, report %v, recertified %d", ev.Signer, ev.Measured != nil, ev.Report != nil, r.server.taken())
				}
				r.server.set(func() {
					if n := len(r.server.log); n > 2 {
						t.Errorf("%d requests: want at most one more than a heartbeat's", n)
					}
				})
				pass(5 * time.Minute)
				if ev := lastOf(t, r); ev.Signer != attest.DKb || ev.Measured != nil {
					t.Errorf("the next: by %v, quote %v", ev.Signer, ev.Measured != nil)
				}
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				inStep(t, r)
				oneDKb(t, r)
				if brought(r.server) != 1 {
					t.Errorf("brought %d times", brought(r.server))
				}
			})
		})
	}
}

// A boot state that never stands still costs the boot key, not the reports.
func TestEverMovingPCR7DoesNotSilence(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		stop := r.start()
		defer stop()
		pass(6 * time.Minute)
		r.chip.mu.Lock()
		r.chip.moves = 1 << 20
		r.chip.mu.Unlock()
		r.chip.extend()
		before := len(r.server.reports())
		pass(20 * time.Minute)
		if n := len(r.server.reports()) - before; n < 4 {
			t.Errorf("%d statements in 20 minutes", n)
		}
		if ev := lastOf(t, r); ev.Signer != attest.DK || ev.Measured == nil {
			t.Errorf("by %v, quote %v", ev.Signer, ev.Measured != nil)
		}
	})
}

// A server that does not take the new key gets DK with quotes, and is asked again
// after hours and at the next start.
func TestRefusedDKb(t *testing.T) {
	for name, refuse := range map[string]func() *http.Response{
		"not accepted":    func() *http.Response { return problem(501, attest.CodeNotAccepted, nil) },
		"policy-wrong":    func() *http.Response { return problem(400, string(attest.PolicyWrong), nil) },
		"template-wrong":  func() *http.Response { return problem(403, string(attest.TemplateWrong), nil) },
		"an older server": func() *http.Response { return problem(400, string(attest.PayloadForm), nil) },
		"a new code":      func() *http.Response { return problem(422, "boot-key-refused", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			withChip(t, func(t *testing.T, r *rig) {
				stop := r.start()
				pass(time.Minute)
				stop()
				r.anotherBoot()
				r.server.set(func() { r.server.recertify = refuse })
				stop = r.start()
				defer func() { stop() }()
				pass(5 * time.Second)
				if ev := lastOf(t, r); ev.Header.Seq != 1 || ev.Signer != attest.DK || ev.Measured == nil {
					t.Fatalf("seq %d, by %v, quote %v: want the report at once, without", ev.Header.Seq, ev.Signer, ev.Measured != nil)
				}
				if name != "not accepted" && name != "a new code" { // the rest takes long, and is the same
					pass(20 * time.Minute)
					stop()
					if n := brought(r.server); n != 1 || len(r.server.reports()) < 5 {
						t.Errorf("brought %d times, %d statements", n, len(r.server.reports()))
					}
					inStep(t, r)
					return
				}
				pass(recertifyAgain - time.Hour)
				if n := brought(r.server); n != 1 {
					t.Errorf("brought %d times within hours", n)
				}
				reports := len(r.server.reports())
				pass(90 * time.Minute)
				if n := brought(r.server); n != 2 {
					t.Errorf("brought %d times after hours, want 2", n)
				}
				if n := len(r.server.reports()) - reports; n < 17 {
					t.Errorf("%d statements in 90 minutes", n)
				}
				if s := r.state(); s.Trouble != nil || s.Enrolled.Keys.DKb.IsZero() {
					t.Errorf("trouble %+v, DKb %v", s.Trouble, s.Enrolled.Keys.DKb)
				}
				stop()
				r.anotherBoot()
				stop = r.start()
				pass(5 * time.Second)
				if n := brought(r.server); n != 3 {
					t.Errorf("brought %d times after another start, want 3", n)
				}
				r.server.set(func() { r.server.recertify = nil })
				pass(recertifyAgain + time.Hour)
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				if ev := lastOf(t, r); ev.Signer != attest.DKb || r.server.taken() != 1 {
					t.Errorf("by %v: the server takes it by now", ev.Signer)
				}
				sentOnce(t, r.server)
				inStep(t, r)
				oneDKb(t, r)
			})
		})
	}
}

// What the server judges before the new key does not cost the key.
func TestResyncBeforeRecertification(t *testing.T) {
	for code, status := range map[string]int{
		attest.CodeResync: 409, string(attest.NonceExpired): 409, attest.CodeRateLimited: 429, attest.CodeUnavailable: 503,
	} {
		withChip(t, func(t *testing.T, r *rig) {
			stop := r.start()
			pass(time.Minute)
			stop()
			r.anotherBoot()
			refusals := 2
			r.server.set(func() {
				r.server.recertify = func() *http.Response {
					if refusals--; refusals < 0 {
						return nil
					}
					d := r.server.device
					return problem(status, code, &attest.Resync{Seq: d.seq, Last: d.last, Nonce: d.issue(time.Minute), NonceS: 60})
				}
			})
			stop = r.start()
			pass(time.Minute)
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if r.server.taken() != 1 || refusals >= 0 {
				t.Errorf("%s: recertified %d times, %d refusals left", code, r.server.taken(), refusals)
			}
			inStep(t, r)
			oneDKb(t, r)
		})
	}
}

// A server that was restored to where it knew another boot key learns this one.
func TestServerForgotTheDKb(t *testing.T) {
	for _, none := range []bool{false, true} {
		withChip(t, func(t *testing.T, r *rig) {
			old := r.server
			stop := r.start()
			pass(time.Minute)
			before := old.device.keys
			stop()
			r.anotherBoot()
			stop = r.start()
			pass(6 * time.Minute)
			r.server.set(func() {
				d := r.server.device
				d.keys, d.seq, d.last, d.reply = before, d.accepted[1].Header.Seq, d.accepted[1].Digest, nil
				if none {
					d.keys = []*attest.Key{keyFor(before, attest.AK), keyFor(before, attest.DK)}
				}
			})
			pass(11 * time.Minute)
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if ev := lastOf(t, r); ev.Signer != attest.DKb || r.server.taken() != 2 {
				t.Errorf("none %v: by %v, recertified %d times", none, ev.Signer, r.server.taken())
			}
			inStep(t, r)
			oneDKb(t, r)
		})
	}
}

func TestWithoutDKbNothingIsRecertified(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		r.chip.noDKb = true
		stop := r.start()
		pass(time.Minute)
		stop()
		r.anotherBoot()
		stop = r.start()
		pass(11 * time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if ev := lastOf(t, r); ev.Signer != attest.DK || ev.Measured != nil || brought(r.server) != 0 {
			t.Errorf("by %v, quote %v, brought %d times", ev.Signer, ev.Measured != nil, brought(r.server))
		}
		inStep(t, r)
	})
}

// A DKb that outlives its boot brings a quote each time, without being told each
// time.
func TestDKbWithoutCounterBringsQuotes(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		r.chip.pcrOnly, r.server.quoteAlways = true, true
		stop := r.start()
		pass(time.Minute)
		stop()
		r.anotherBoot()
		stop = r.start()
		pass(30 * time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		for _, ev := range r.server.reports()[1:] {
			if ev.Signer != attest.DKb || ev.Measured == nil {
				t.Errorf("seq %d by %v, quote %v", ev.Header.Seq, ev.Signer, ev.Measured != nil)
			}
		}
		refused := 0
		for _, was := range r.server.refused {
			if was {
				refused++
			}
		}
		if refused > 1 || brought(r.server) != 0 {
			t.Errorf("%d were refused for want of a quote, %d brought a new key though it is the same", refused, brought(r.server))
		}
		inStep(t, r)
	})
}

// The agent dies at any write or request while it brings the new key: both sides
// end with one boot key, and each statement in one form.
func TestKilledWhileRecertifying(t *testing.T) {
	for _, kind := range []string{"before a write", "after a write", "request lost", "reply lost"} {
		for cut := 1; cut <= 4; cut++ {
			if cut > 2 && strings.Contains(kind, "l") && cut > 3 {
				continue // there are no more requests
			}
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, newChip())
				stop := r.start()
				pass(time.Minute)
				stop()
				r.anotherBoot()
				n, dead := 0, false
				die := func() bool { n++; dead = dead || n == cut; return dead }
				r.write = func(path string, data []byte) error {
					writes := strings.HasSuffix(kind, "write")
					switch {
					case !writes && dead:
						return errKilled
					case !writes || !die():
						return platform.WritePrivate(path, data)
					case kind == "after a write" && n == cut:
						return errors.Join(platform.WritePrivate(path, data), errKilled)
					}
					return errKilled
				}
				switch kind {
				case "request lost":
					r.server.on(func(string, []byte) *http.Response {
						if die() {
							return lost()
						}
						return nil
					})
				case "reply lost":
					r.server.after = func(string) error {
						if die() {
							return errLost
						}
						return nil
					}
				}
				stop = r.start()
				pass(10 * time.Second)
				r.change(func(c *posture.Claims) { c.Firewall.State, c.Firewall.Reason = posture.No, posture.NoFirewall })
				pass(10 * time.Minute)
				if err := stop(); err != nil && !errors.Is(err, errKilled) {
					t.Fatal(err)
				}
				if !dead {
					t.Fatalf("%s: only %d: the cut at %d tests nothing", kind, n, cut)
				}
				r.server.after, r.server.intercept, r.write = nil, nil, platform.WritePrivate
				stop = r.start()
				pass(11 * time.Minute)
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				sentOnce(t, r.server)
				inStep(t, r)
				oneDKb(t, r)
				if len(r.server.old) > 0 {
					t.Errorf("%s, cut %d: enrolled anew", kind, cut)
				}
				if ev := lastOf(t, r); ev.Signer != attest.DKb {
					t.Errorf("%s, cut %d: at last by %v", kind, cut, ev.Signer)
				}
			})
		}
	}
}

// A TPM whose clock the server refuses was cleared, or is another state of it: the
// agent enrols anew, once, and tells.
func TestClockBackEnrolsAnewOnce(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		stop := r.start()
		pass(time.Minute)
		stop()
		r.anotherBoot()
		stop = r.start()
		pass(time.Minute)
		stop()
		r.chip.mu.Lock()
		r.chip.clock.ResetCount = 1 // of 4
		r.chip.mu.Unlock()
		r.server.set(func() { r.server.enrolAs = attest.Pending })
		stop = r.start()
		defer stop()
		pass(10 * time.Minute)
		if enrolments(r) != 2 {
			t.Fatalf("%d enrolments, want 2", enrolments(r))
		}
		s := status(t, r, false)
		if s.Changed == nil || s.Changed.Code != troubleLost || s.Changed.Fix == "" || !strings.Contains(s.String(), "device-1") {
			t.Errorf("status tells %+v\n%s", s.Changed, s)
		}
		r.server.set(func() { r.server.device.state = attest.Active })
		pass(10 * time.Minute)
		if s := status(t, r, false); s.Changed != nil {
			t.Errorf("after the approval: %+v", s.Changed)
		}
		stop()
		inStep(t, r)
	})
}

// A link that is proved between PCR 7's move and the next report is signed by DK,
// brings no key, and hurries the report that does.
func TestLinkAfterPCR7Moved(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		l := newLinkServer(r.server)
		a, stop := r.run()
		defer stop()
		pass(time.Minute)
		r.chip.extend()
		if _, err := proveNow(a, testAsk(attest.WayApp)); err != nil {
			t.Fatal(err)
		}
		if p := l.proofs[0]; p.Signer != attest.DK || p.Measured == nil {
			t.Errorf("signed by %v, quote %v", p.Signer, p.Measured != nil)
		}
		pass(time.Second)
		if ev := lastOf(t, r); ev.Header.Seq != 1 || r.server.taken() != 1 {
			t.Errorf("seq %d, recertified %d times: want it at once", ev.Header.Seq, r.server.taken())
		}
		if _, err := proveNow(a, testAsk(attest.WayApp)); err != nil {
			t.Fatal(err)
		}
		if p := l.proofs[1]; p.Signer != attest.DKb || p.Measured != nil {
			t.Errorf("then by %v, quote %v", p.Signer, p.Measured != nil)
		}
	})
}
