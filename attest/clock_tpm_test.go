package attest_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/tpm"
	"muster/attest/tpmtest"
)

// clockedTPM is a real TPM whose clock is followed as a verifier does.
type clockedTPM struct {
	*tpmtest.TPM
	t    *testing.T
	x    *tpm.TPM
	ak   *attest.Key
	last attest.Clock
	at   time.Time
}

func startClocked(t *testing.T) *clockedTPM {
	t.Helper()
	c := &clockedTPM{TPM: tpmtest.Start(t), t: t}
	x, err := tpm.Open(t.Context(), tpm.Config{Setting: c.Setting(), Tenant: vectorTenant, Secret: make([]byte, tpm.SecretSize)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	id, err := x.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c.ak, err = attest.ParseKey(attest.AK, id.AK); err != nil {
		t.Fatal(err)
	}
	c.x, c.at = x, time.Now()
	c.last = c.quoted()
	return c
}

// quoted is the clock of a quote that is made now, under the AK of before.
func (c *clockedTPM) quoted() attest.Clock {
	c.t.Helper()
	q, err := c.x.Quote(c.t.Context(), attest.Digest{1})
	if err != nil {
		c.t.Fatal(err)
	}
	m, err := attest.CheckQuote(q, c.ak, attest.Digest{1})
	if err != nil {
		c.t.Fatal(err)
	}
	return m.Clock
}

// is quotes after something happened, and keeps the clock as the last.
func (c *clockedTPM) is(what string, want attest.Order) {
	c.t.Helper()
	issued := time.Now()
	now := c.quoted()
	if got := now.Since(c.last, time.Since(c.at)); got != want {
		c.t.Errorf("%s: %v, not %v: %+v after %+v", what, got, want, now, c.last)
	}
	c.last, c.at = now, issued
}

// setClock is TPM2_ClockSet (Part 3 §29.2) by the owner, whose auth is empty.
func (c *clockedTPM) setClock(to time.Duration) {
	c.t.Helper()
	auth := "\x40\x00\x00\x09\x00\x00\x00\x00\x00" // TPM_RS_PW
	body := "\x40\x00\x00\x01\x00\x00\x00\x09" + auth + string(binary.BigEndian.AppendUint64(nil, uint64(to.Milliseconds())))
	command := binary.BigEndian.AppendUint32([]byte{0x80, 0x02}, uint32(10+len(body)))
	response, err := c.Send(append(binary.BigEndian.AppendUint32(command, 0x128), body...))
	if err != nil || binary.BigEndian.Uint32(response[6:]) != 0 {
		c.t.Fatalf("setting the clock: %v, %x", err, response)
	}
}

// TestClockOfTPM takes a real TPM through what laptops do.
func TestClockOfTPM(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	const days = 24 * time.Hour
	c.is("nothing", attest.Forward)
	c.Suspend()
	c.is("suspended", attest.Forward)
	c.setClock(10 * days)
	c.is("ten days", attest.Forward)
	c.Reboot()
	c.is("started", attest.Forward)
	c.Crash()
	c.Crash()
	c.is("crashed twice", attest.Forward)
	c.setClock(10*days + 50*time.Minute) // which libtpms does not write by itself
	c.last = c.quoted()
	c.Crash()
	if now := c.quoted(); now.Safe || now.Clock >= c.last.Clock {
		t.Fatalf("the clock has not fallen: %+v after %+v", now, c.last)
	}
	c.is("fell by less than 70 minutes", attest.Forward)
	c.setClock(10*days + 80*time.Minute)
	c.last = c.quoted()
	c.Crash()
	c.is("fell by more", attest.Fell)
	for range 3 {
		c.Reboot()
	}
	c.Clear()
	c.is("cleared", attest.Cleared)
	c.setClock(5 * days)
	c.last, c.at = c.quoted(), time.Now()
	c.Clear()
	for range 4 {
		c.Reboot()
	}
	if c.last.ResetCount >= 4 {
		t.Fatal("the count is not overtaken: the test shows nothing")
	}
	c.is("cleared, then started more often than before", attest.Cleared)
	c.Clear()
	c.Crash()
	c.Suspend()
	c.is("cleared, crashed and suspended", attest.Cleared)
	c.Reboot()
	c.is("and started again", attest.Forward)
}

// TestClockOfRollback puts an older state of a real TPM back, as the snapshot of a
// virtual machine does.
func TestClockOfRollback(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	state := filepath.Join(filepath.Dir(strings.TrimPrefix(c.Setting(), "unix:")), "tpm2-00.permall")
	c.setClock(240 * time.Hour)
	c.Reboot() // which writes it
	c.Stop()
	saved, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	c.Restart()
	c.is("stopped and started", attest.Forward)
	c.setClock(480 * time.Hour)
	c.is("ten days later", attest.Forward)
	rollBack := func() {
		t.Helper()
		c.Stop()
		if err := os.WriteFile(state, saved, 0o600); err != nil {
			t.Fatal(err)
		}
		c.Restart()
	}
	rollBack()
	accepted, at := c.last, c.at
	c.is("rolled back to one start before", attest.Back)
	c.last, c.at = accepted, at
	c.Suspend()
	c.is("and resumed", attest.Back)
	for range 12 { // the counts of the snapshot overtake the last quote's
		c.Reboot()
	}
	c.last, c.at = accepted, at
	c.is("rolled back and started often", attest.Fell)
}

// TestRestartKeepsDKb: TPM2_Shutdown(STATE) before a start makes it a TPM Restart,
// which keeps the reset count: DKb signs in the next boot too, and a quote shows
// the restart (SPEC.md §9).
func TestRestartKeepsDKb(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	before := c.last
	if response, err := c.Send([]byte("\x80\x01\x00\x00\x00\x0c\x00\x00\x01\x45\x00\x01")); err != nil || response[9] != 0 {
		t.Fatalf("shutting down: %v, %x", err, response)
	}
	c.Stop()
	c.Restart()
	if _, err := c.x.Sign(t.Context(), attest.DKb, [32]byte{1}); err != nil {
		t.Errorf("DKb after a TPM Restart: %v", err)
	}
	c.is("restarted", attest.Forward)
	if c.last.ResetCount != before.ResetCount || c.last.RestartCount != before.RestartCount+1 {
		t.Errorf("%+v after %+v", c.last, before)
	}
	c.Reboot()
	if _, err := c.x.Sign(t.Context(), attest.DKb, [32]byte{1}); !errors.Is(err, attest.ErrBootMoved) {
		t.Errorf("DKb after a start: %v", err)
	}
}
