package agent

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
	"muster/attest/tpm"
	"muster/attest/tpmtest"
)

// realRig is a laptop whose TPM is swtpm, and whose agent takes one step when the
// test says so: time is real, and the clocks are moved.
type realRig struct {
	*rig
	tpm   *tpmtest.TPM
	up    time.Duration
	agent *Agent
	close func()
}

func newRealRig(t *testing.T) *realRig {
	x := &realRig{rig: newRig(t, nil), tpm: tpmtest.Start(t)}
	x.settings.TPM = tpmAuto
	x.rig.open = func(ctx context.Context, p KeyPlace) (attest.Attester, error) {
		return tpm.Open(ctx, tpm.Config{Setting: x.tpm.Setting(), Tenant: p.Tenant, Secret: p.Secret, EK: p.EK, DK: p.DK, Wrapped: p.Blobs})
	}
	x.server.seal = func(id *attest.Identity) (blob, secret []byte) {
		public, err := tpm2.Unmarshal[tpm2.TPMTPublic](id.EK.Public)
		if err != nil {
			t.Fatal(err)
		}
		key, err := tpm2.ImportEncapsulationKey(public)
		if err != nil {
			t.Fatal(err)
		}
		ak, err := attest.ParseKey(attest.AK, id.AK)
		if err != nil {
			t.Fatal(err)
		}
		if blob, secret, err = tpm2.CreateCredential(rand.Reader, key, ak.Name, []byte(testSecret)); err != nil {
			t.Fatal(err)
		}
		return blob, secret
	}
	x.begin()
	t.Cleanup(func() { x.close() })
	return x
}

// begin starts another process, as it were.
func (x *realRig) begin() {
	x.t.Helper()
	if x.close != nil {
		x.close()
	}
	x.agent = x.rig.agent()
	began := x.up
	x.agent.Up = func() time.Duration { return x.up - began }
	var err error
	if x.close, err = x.agent.open(); err != nil {
		x.t.Fatal(err)
	}
	merge(&x.agent.claims, fitClaims(time.Now()))
}

// next takes the step that is due after a time, and what follows it at once. It
// returns how many requests that took.
func (x *realRig) next(d time.Duration) int {
	x.t.Helper()
	x.up += d
	x.sleep(d)
	x.server.set(func() { x.server.log = nil })
	for range 4 {
		wait, err := x.agent.step(x.t.Context())
		if err != nil {
			if _, err = x.agent.failed(err); err != nil {
				x.t.Fatal(err)
			}
		} else if wait > 0 {
			break
		}
	}
	return len(x.server.log)
}

// by fails when the last accepted statement is another than meant.
func (x *realRig) by(what string, role attest.Role, quote bool, recertified int) {
	x.t.Helper()
	ev := lastOf(x.t, x.rig)
	if ev.Signer != role || (ev.Measured != nil) != quote || x.server.taken() != recertified {
		x.t.Fatalf("%s: signed by %v, quote %v, recertified %d times; want %v, %v, %d",
			what, ev.Signer, ev.Measured != nil, x.server.taken(), role, quote, recertified)
	}
}

func TestRealTPMIsRecertified(t *testing.T) {
	t.Parallel()
	x := newRealRig(t)
	x.next(time.Second)
	x.next(5 * time.Minute)
	x.by("a heartbeat", attest.DKb, false, 0)

	x.tpm.ExtendPCR(7, 1)
	if n := x.next(5 * time.Minute); n > 2 {
		t.Errorf("%d requests: want at most one more than a heartbeat's", n)
	}
	x.by("PCR 7 extended while running", attest.DK, true, 1)
	x.next(5 * time.Minute)
	x.by("the next", attest.DKb, false, 1)

	x.tpm.Reboot()
	x.boot = "boot-2"
	x.begin()
	if n := x.next(time.Second); n > 2 {
		t.Errorf("%d requests after a start", n)
	}
	x.by("reboot", attest.DK, true, 2)
	x.next(5 * time.Minute)
	x.by("the next", attest.DKb, false, 2)

	x.tpm.Crash() // under the running agent, as a resume from hibernation looks
	x.next(5 * time.Minute)
	x.by("reset while running", attest.DK, true, 3)

	x.tpm.Suspend()
	x.next(5 * time.Minute)
	x.by("suspend", attest.DKb, true, 3) // a quote, and the same key

	x.begin()
	x.next(5 * time.Minute)
	x.by("another process of the same boot", attest.DKb, false, 3)

	x.tpm.Clear()
	x.next(5 * time.Minute)
	x.by("cleared", attest.DK, true, 4)
	x.next(5 * time.Minute)
	x.by("the next", attest.DKb, false, 4)
	inStep(t, x.rig)
	if enrolments(x.rig) != 1 {
		t.Errorf("enrolled %d times", enrolments(x.rig))
	}
}

// endorsementOff is TPM2_HierarchyControl (TPM 2.0 Part 3 §24.2) by the platform.
func endorsementOff(t *testing.T, chip *tpmtest.TPM) {
	t.Helper()
	command := binary.BigEndian.AppendUint32([]byte{0x80, 2, 0, 0, 0, 32, 0, 0, 1, 0x21}, uint32(tpm2.TPMRHPlatform))
	command = append(command, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0) // TPM_RS_PW, empty
	command = append(binary.BigEndian.AppendUint32(command, uint32(tpm2.TPMRHEndorsement)), 0)
	response, err := chip.Send(command)
	if err != nil || binary.BigEndian.Uint32(response[6:]) != 0 {
		t.Fatalf("switching the hierarchy off: %x, %v", response, err)
	}
}

func TestRealTPMGoesAndComesBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		goes func(*tpmtest.TPM)
		back func(*tpmtest.TPM)
		code string
	}{
		"gone":          {(*tpmtest.TPM).Stop, (*tpmtest.TPM).Restart, troubleGone},
		"hierarchy off": {func(chip *tpmtest.TPM) { endorsementOff(t, chip) }, (*tpmtest.TPM).Reboot, troubleHierarchy},
	} {
		t.Run(name, func(t *testing.T) {
			x := newRealRig(t)
			x.next(time.Second)
			x.next(5 * time.Minute)
			x.server.set(func() { x.server.enrolAs = attest.Pending })
			c.goes(x.tpm)
			for range 7 {
				x.next(2 * time.Minute)
			}
			s := x.state()
			if !s.StandIn || s.Parked == nil || s.Enrolled.Keys.Kind != attest.KindSoft || s.Changed == nil || s.Changed.Code != c.code {
				t.Fatalf("state %+v, trouble %+v", s, s.Trouble)
			}
			x.next(5 * time.Minute)
			x.by("the stand-in", attest.DK, false, 0)
			inStep(t, x.rig)

			c.back(x.tpm)
			x.next(resumeEvery)
			s = x.state()
			if s.StandIn || s.Parked != nil || s.Enrolled.Device != "device-1" {
				t.Fatalf("state %+v", s)
			}
			inStep(t, x.rig)
			oneReal(t, x)
			x.next(5 * time.Minute)
			inStep(t, x.rig)
		})
	}
}

// oneReal fails when the statement after the TPM came back is not what a new boot's
// is: by DK, with a quote and the next DKb.
func oneReal(t *testing.T, x *realRig) {
	t.Helper()
	got := x.server.find("device-1").accepted
	if ev := got[len(got)-1]; ev.Signer != attest.DK || ev.Measured == nil || ev.Report == nil || x.server.taken() != 1 {
		t.Errorf("after it came back: by %v, quote %v, recertified %d times", ev.Signer, ev.Measured != nil, x.server.taken())
	}
}
