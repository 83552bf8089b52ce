package agent

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/attest"
	"muster/attest/posture"
)

// withChip runs a test with a chip in a bubble of fake time.
func withChip(t *testing.T, test func(t *testing.T, r *rig)) {
	synctest.Test(t, func(t *testing.T) { test(t, newRig(t, newChip())) })
}

func lastOf(t *testing.T, r *rig) *attest.Evidence {
	t.Helper()
	got := r.server.reports()
	if len(got) == 0 {
		t.Fatal("no statement was accepted")
	}
	return got[len(got)-1]
}

func TestAfterRebootDKSignsWithAQuoteAndBringsTheNextDKb(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		stop := r.start()
		pass(time.Minute)
		stop()
		r.chip.reboot()
		r.boot = "boot-2"
		stop = r.start()
		defer stop()
		pass(5 * time.Second) // at once, not at the server's next time
		ev := lastOf(t, r)
		if ev.Header.Seq != 1 || ev.Signer != attest.DK || ev.Measured == nil || ev.Report == nil || ev.Report.BootID != "boot-2" {
			t.Fatalf("seq %d by %v, quote %v, report %v", ev.Header.Seq, ev.Signer, ev.Measured != nil, ev.Report != nil)
		}
		pass(5 * time.Minute)
		if ev = lastOf(t, r); ev.Signer != attest.DKb || ev.Measured != nil || ev.Heartbeat == nil || r.server.taken() != 1 {
			t.Errorf("later: by %v, quote %v, %d recertified: DKb serves alone", ev.Signer, ev.Measured != nil, r.server.taken())
		}
	})
}

// Without a DKb only the TPM's counts tell of a start or a resume.
func TestCountsDemandAQuote(t *testing.T) {
	for name, step := range map[string]func(*attest.Clock){
		"reset":   func(c *attest.Clock) { c.ResetCount++ },
		"restart": func(c *attest.Clock) { c.RestartCount++ },
	} {
		for _, noDKb := range []bool{false, true} {
			withChip(t, func(t *testing.T, r *rig) {
				r.chip.noDKb = noDKb
				stop := r.start()
				defer stop()
				pass(6 * time.Minute)
				if ev := lastOf(t, r); ev.Measured != nil {
					t.Fatal("a quote that nothing demands")
				}
				r.chip.mu.Lock()
				step(&r.chip.clock)
				r.chip.mu.Unlock()
				pass(5 * time.Minute)
				if ev := lastOf(t, r); ev.Measured == nil {
					t.Errorf("%s, no DKb %v: no quote", name, noDKb)
				}
			})
		}
	}
}

func TestPCR7MovesUnderARunningAgent(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		stop := r.start()
		defer stop()
		pass(time.Minute)
		r.chip.mu.Lock()
		r.chip.pcr7 = attest.Digest{7, 7}
		r.chip.mu.Unlock()
		pass(5 * time.Minute)
		ev := lastOf(t, r)
		if ev.Signer != attest.DK || ev.Measured == nil || ev.Measured.PCRs[7] != (attest.Digest{7, 7}) {
			t.Errorf("signed by %v, quote %v", ev.Signer, ev.Measured != nil)
		}
		if ev.Measured.LogSHA != sha(r.chip.log) {
			t.Error("the quote does not name the boot log")
		}
	})
}

func TestQuoteAtLeastDaily(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		r.server.nextS = 3600
		stop := r.start()
		defer stop()
		pass(49 * time.Hour)
		quotes, since := 0, time.Duration(0)
		var last time.Time
		for _, ev := range r.server.reports() {
			at := ev.IssuedAt
			if ev.Measured == nil {
				continue
			}
			if !last.IsZero() {
				since = max(since, at.Sub(last))
			}
			quotes, last = quotes+1, at
		}
		if quotes < 3 || quotes > 4 || since > attest.QuoteEvery {
			t.Errorf("%d quotes in 49 hours, %v apart", quotes, since)
		}
	})
}

func TestServersWishes(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		stop := r.start()
		defer stop()
		pass(time.Minute)
		r.server.set(func() { r.server.device.need = attest.ReportReply{NeedQuote: true, NeedReport: true} })
		pass(5 * time.Minute) // this heartbeat's reply has the wishes
		r.server.set(func() { r.server.wantLog = sha(r.chip.log) })
		pass(5 * time.Minute)
		if ev := lastOf(t, r); ev.Report == nil || ev.Measured == nil {
			t.Errorf("report %v, quote %v: the server asked for both", ev.Report != nil, ev.Measured != nil)
		}
		if len(r.server.logs) != 1 || !bytes.Equal(r.server.logs[0], r.chip.log) {
			t.Errorf("boot logs sent: %q", r.server.logs)
		}
		r.server.set(func() { r.server.wantLog = attest.Digest{1} })
		pass(5 * time.Minute)
		if len(r.server.logs) != 1 {
			t.Error("a log was sent that the server did not name")
		}
		pass(5 * time.Minute)
		if ev := lastOf(t, r); ev.Heartbeat == nil || ev.Measured != nil {
			t.Error("a wish is granted once")
		}
	})
}

func TestQuoteNeeded(t *testing.T) {
	withChip(t, func(t *testing.T, r *rig) {
		stop := r.start()
		defer stop()
		pass(time.Minute)
		once := true
		r.server.on(func(path string, _ []byte) *http.Response {
			if path == attest.PathReport && once {
				once = false
				return problem(409, string(attest.QuoteNeeded), nil)
			}
			return nil
		})
		pass(5 * time.Minute)
		if ev := lastOf(t, r); ev.Header.Seq != 1 || ev.Measured == nil {
			t.Errorf("seq %d, quote %v", ev.Header.Seq, ev.Measured != nil)
		}
	})
}

// A laptop that slept answers within seconds of waking, with what is new.
func TestWakesUp(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.server.nextS = 3600
		stop := r.start()
		defer stop()
		pass(time.Minute)
		r.sleep(20 * time.Second) // within the slack: nothing happens
		pass(10 * time.Second)
		if n := len(r.server.reports()); n != 1 {
			t.Fatalf("%d statements after a small step of the clock", n)
		}
		r.sleep(time.Hour)
		pass(6 * time.Second)
		if n := len(r.server.reports()); n != 2 {
			t.Fatalf("%d statements after sleep, want 2", n)
		}
		if r.server.paths(attest.PathNonce) != 1 {
			t.Error("want a nonce of after the sleep")
		}
		if (lastOf(t, r).Measured != nil) != (r.chip != nil) {
			t.Error("want a quote of after the sleep, where there is a TPM")
		}
	})
}

func TestClockSetBackDoesNotSilence(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		stop := r.start()
		pass(time.Minute)
		stop()
		r.sleep(-1000 * time.Hour) // while nobody looked
		stop = r.start()
		defer stop()
		pass(10 * time.Second)
		if n := len(r.server.reports()); n != 2 {
			t.Errorf("%d statements, want 2", n)
		}
	})
}

func TestRetryIsHonoured(t *testing.T) {
	for code, status := range map[string]int{attest.CodeRateLimited: 429, attest.CodeUnavailable: 503} {
		both(t, func(t *testing.T, r *rig) {
			stop := r.start()
			pass(time.Minute)
			r.server.set(func() { r.server.log = nil })
			r.server.on(func(string, []byte) *http.Response {
				return respond(status, "application/problem+json", encoded(attest.Problem{
					Type: "about:blank", Title: "later", Status: status, Code: code, RetryS: 600,
				}))
			})
			pass(30 * time.Minute)
			if n := len(r.server.log); n < 2 || n > 3 {
				t.Errorf("%d requests in 26 minutes, though the server asked for ten minutes between", n)
			}
			r.server.set(func() { r.server.intercept = nil })
			pass(20 * time.Minute)
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			sentOnce(t, r.server)
			inStep(t, r)
		})
	}
}

// What a proxy says is never taken for the server's word.
func TestForeignAnswers(t *testing.T) {
	for name, answer := range map[string]*http.Response{
		"page":        respond(403, "text/html", []byte("<h1>revoked</h1>")),
		"json":        respond(403, "application/json", []byte(`{"code":"revoked"}`)),
		"no code":     respond(403, "application/problem+json", []byte(`{"title":"revoked"}`)),
		"gone":        respond(404, "text/plain", nil),
		"moved":       respond(302, "text/plain", nil),
		"empty 200":   respond(200, "application/json", nil),
		"other reply": answer200(attest.ReportReply{Accepted: attest.Digest{1}, State: attest.Revoked, NextS: 1}),
		"endless":     respond(200, "application/json", bytes.Repeat([]byte(" "), attest.MaxMessage+1)),
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, r *rig) {
				stop := r.start()
				pass(time.Minute)
				var sent [][]byte
				r.server.on(func(path string, body []byte) *http.Response {
					if path == attest.PathReport && len(sent) < 3 {
						sent = append(sent, body)
						copied := *answer
						copied.Header = answer.Header.Clone()
						return &copied
					}
					return nil
				})
				pass(10 * time.Minute)
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				if len(sent) != 3 || !bytes.Equal(sent[0], sent[1]) || !bytes.Equal(sent[1], sent[2]) {
					t.Errorf("want the same statement until the server answers, sent %d", len(sent))
				}
				inStep(t, r)
			})
		})
	}
}

func TestRepliesMayLearn(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.server.on(func(path string, _ []byte) *http.Response {
			if path != attest.PathTenant {
				return nil
			}
			return respond(200, "application/json", []byte(`{"tenant":"`+r.server.tenant+`","origin":"`+testOrigin+`","epoch":1,"novelty":{"x":1}}`))
		})
		stop := r.start()
		defer stop()
		pass(10 * time.Second)
		if len(r.server.reports()) != 1 {
			t.Error("a member of a newer server stopped the agent")
		}
	})
}

func TestRevokedStopsAndAsksRarely(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		stop := r.start()
		defer func() { stop() }()
		pass(time.Minute)
		r.server.set(func() { r.server.device.state = attest.Revoked; r.server.log = nil })
		pass(24 * time.Hour)
		stop()
		stop = r.start()
		pass(time.Minute)
		if n := r.server.paths(attest.PathReport); n != 1 {
			t.Errorf("%d reports after revocation, want the one that learned of it", n)
		}
		if n := r.server.paths(attest.PathStatus); n < 20 || n > 60 {
			t.Errorf("asked %d times in a day whether it still is revoked", n)
		}
		s, err := r.agent().Status(t.Context(), false)
		if err != nil || s.State != attest.Revoked || s.Fit {
			t.Errorf("status %+v, %v", s, err)
		}
		r.server.set(func() { r.server.device.state = attest.Active })
		pass(2 * time.Hour)
		if got := r.server.reports(); len(got) < 2 || got[1].Report == nil {
			t.Error("does not report again after the server changed its mind")
		}
	})
}

func TestFlickeringClaimIsBounded(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		on := false
		stop := r.start()
		defer stop()
		r.change(func(c *posture.Claims) {
			if on = !on; on {
				c.Firewall.State, c.Firewall.Reason = posture.No, posture.NoFirewall
			}
		})
		pass(10 * time.Minute)
		if n := len(r.server.reports()); n < 20 || n > budgetBurst+22 {
			t.Errorf("%d statements in ten minutes of flicker", n)
		}
	})
}

func TestBYODIsEnforced(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.settings.Profile = posture.BYOD
		stop := r.start()
		defer stop()
		pass(time.Minute)
		r.server.set(func() { r.server.device.need = attest.ReportReply{NeedReport: true} })
		pass(20 * time.Minute)
		for _, e := range r.server.log {
			sent := string(e.body)
			var submit struct{ JWS string }
			if json.Unmarshal(e.body, &submit) == nil && submit.JWS != "" {
				sent += payloadOf(t, submit.JWS)
			}
			for _, private := range []string{"SER-1", "UUID-1", "host-1", "/home/jo", "dm-0"} {
				if strings.Contains(sent, private) {
					t.Errorf("%s got %q", e.path, private)
				}
			}
		}
		if ev := r.server.reports()[0]; ev.Report.Profile != posture.BYOD || ev.Report.Claims.DiskEncryption.State != posture.Yes {
			t.Errorf("profile %q, disk encryption %v", ev.Report.Profile, ev.Report.Claims.DiskEncryption.State)
		}
	})
}
