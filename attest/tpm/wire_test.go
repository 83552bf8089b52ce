package tpm

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
	"muster/attest/tpmtest"
)

// fakeLink answers commands with a function.
type fakeLink func(command []byte) ([]byte, error)

func (f fakeLink) exchange(command []byte, _ time.Duration) ([]byte, error) { return f(command) }
func (fakeLink) Close() error                                               { return nil }

// coded is a response that is a code alone.
func coded(rc tpm2.TPMRC) []byte {
	return binary.BigEndian.AppendUint32([]byte{0x80, 1, 0, 0, 0, 10}, uint32(rc))
}

func readClock() []byte { return []byte{0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x81} }

func send(f fakeLink, limit time.Duration) ([]byte, error) {
	w := &wire{link: f, limit: limit, ctx: context.Background()}
	return w.Send(readClock())
}

func TestWireSendsAgainWhatItIsAskedTo(t *testing.T) {
	for name, again := range map[string]func() ([]byte, error){
		"RETRY":   func() ([]byte, error) { return coded(tpm2.TPMRCRetry), nil },
		"YIELDED": func() ([]byte, error) { return coded(tpm2.TPMRCYielded), nil },
		"TESTING": func() ([]byte, error) { return coded(tpm2.TPMRCTesting), nil },
	} {
		sent := 0
		response, err := send(func([]byte) ([]byte, error) {
			if sent++; sent <= 4 {
				return again()
			}
			return coded(0), nil
		}, commandLimit)
		if err != nil || len(response) != headerSize || sent != 5 {
			t.Errorf("%s: sent %d times, %x, %v", name, sent, response, err)
		}
		began := time.Now()
		response, err = send(func([]byte) ([]byte, error) { return again() }, 100*time.Millisecond)
		if response != nil || !errors.Is(err, attest.ErrTransient) {
			t.Errorf("%s for ever: %x, %v", name, response, err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s for ever takes %v", name, took)
		}
	}
	var rc tpm2.TPMRC
	_, err := send(func([]byte) ([]byte, error) { return coded(tpm2.TPMRCRetry), nil }, 50*time.Millisecond)
	if !errors.As(err, &rc) || rc != tpm2.TPMRCRetry {
		t.Errorf("the code is not in the error: %v", err)
	}
}

func TestWireSendsOnceWhatIsFinal(t *testing.T) {
	for _, rc := range []tpm2.TPMRC{tpm2.TPMRCFailure, tpm2.TPMRCLockout, tpm2.TPMRCNVRate, 0x9a2, 0x80280400} {
		sent := 0
		response, err := send(func([]byte) ([]byte, error) { sent++; return coded(rc), nil }, commandLimit)
		if err != nil || sent != 1 || len(response) != headerSize {
			t.Errorf("%v: sent %d times, %x, %v", rc, sent, response, err)
		}
	}
}

func TestWireRefusesHalfResponses(t *testing.T) {
	for name, response := range map[string][]byte{
		"nothing":      nil,
		"cut":          coded(0)[:9],
		"longer":       append(coded(0), 0),
		"size too big": {0x80, 1, 0, 0, 0, 11, 0, 0, 0, 0},
		"huge":         make([]byte, maxResponse+1),
		"strange tag":  {0x12, 0x34, 0, 0, 0, 10, 0, 0, 0, 0},
	} {
		got, err := send(func([]byte) ([]byte, error) { return response, nil }, commandLimit)
		if got != nil || err == nil {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
	_, err := send(func([]byte) ([]byte, error) { return []byte{0, 0xc4, 0, 0, 0, 10, 0, 0, 0, 30}, nil }, commandLimit)
	if !errors.Is(err, attest.ErrAbsent) {
		t.Errorf("a TPM 1.2: %v", err)
	}
}

func TestWireFlushesForACallerWhoLeft(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	sent := 0
	w := &wire{link: fakeLink(func([]byte) ([]byte, error) { sent++; return coded(0), nil }), limit: commandLimit, ctx: ctx}
	if _, err := w.Send(readClock()); !errors.Is(err, context.Canceled) || sent != 0 {
		t.Errorf("sent %d commands, %v", sent, err)
	}
	if _, err := (tpm2.FlushContext{FlushHandle: tpm2.TPMHandle(0x80000000)}).Execute(w); err != nil || sent != 1 {
		t.Errorf("flushed %d objects, %v", sent, err)
	}
}

// slow is a driver whose calls end when they are let go.
type slow chan []byte

func (s slow) call([]byte) ([]byte, error) { return <-s, nil }
func (slow) Close() error                  { return nil }

func TestDriverNeverHasTwoCommands(t *testing.T) {
	driver := make(slow)
	l := &driverLink{driver: driver}
	for range 2 {
		if _, err := l.exchange(readClock(), 10*time.Millisecond); !errors.Is(err, attest.ErrTransient) {
			t.Fatal(err)
		}
	}
	driver <- []byte("late") // the first command's; the second was never given to the driver
	go func() { driver <- []byte("ours") }()
	response, err := l.exchange(readClock(), 5*time.Second)
	if err != nil || string(response) != "ours" {
		t.Fatalf("%q, %v", response, err)
	}
	if _, err := l.exchange(readClock(), time.Millisecond); err == nil {
		t.Fatal("no deadline")
	}
	closed := make(chan error, 1)
	go func() { closed <- l.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("closing waits for a driver that hangs")
	}
	driver <- nil
}

// TestRetriesUnderEveryCommand runs a whole enrolment on a chip that answers
// each command with "again" first.
func TestRetriesUnderEveryCommand(t *testing.T) {
	chip := tpmtest.Start(t)
	asked := 0
	x := start(machine{link: fakeLink(func(command []byte) ([]byte, error) {
		if asked++; asked%2 == 1 {
			return coded(tpm2.TPMRCRetry), nil
		}
		return chip.Send(command)
	}), bootLog: noBootLog}, Config{Tenant: "t", Secret: make([]byte, SecretSize)})
	defer x.Close()
	if _, err := x.Identity(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, role := range []attest.Role{attest.DK, attest.DKb} {
		if _, err := x.Sign(t.Context(), role, [32]byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := x.Quote(t.Context(), attest.Digest{1}); err != nil {
		t.Fatal(err)
	}
}

// TestCounterRefused has a TPM without TPM2_PolicyCounterTimer.
func TestCounterRefused(t *testing.T) {
	chip := tpmtest.Start(t)
	for _, refusal := range []tpm2.TPMRC{tpm2.TPMRCCommandCode, 0x000b0143, 0x80280400} {
		x := start(machine{link: fakeLink(func(command []byte) ([]byte, error) {
			if tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])) == tpm2.TPMCCPolicyCounterTimer {
				return coded(refusal), nil
			}
			return chip.Send(command)
		})}, Config{Tenant: "t", Secret: make([]byte, SecretSize)})
		defer x.Close()
		id, err := x.Identity(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		quote, err := x.Quote(t.Context(), attest.Digest{1})
		if err != nil {
			t.Fatal(err)
		}
		key, err := attest.ParseKey(attest.DKb, id.DKb)
		if err != nil {
			t.Fatal(err)
		}
		if want := attest.BootPolicy(quote.PCRs[7], 0, false); string(key.Policy) != string(want[:]) {
			t.Errorf("%v: policy is not that of PCR 7 alone", refusal)
		}
		if _, err := x.Sign(t.Context(), attest.DKb, [32]byte{1}); err != nil {
			t.Errorf("%v: %v", refusal, err)
		}
	}
}

// TestPCRsThatMove extends a PCR between a quote and the reading of its values,
// and between a policy and its use.
func TestPCRsThatMove(t *testing.T) {
	chip := tpmtest.Start(t)
	moves := 0
	x := start(machine{link: fakeLink(func(command []byte) ([]byte, error) {
		response, err := chip.Send(command)
		switch tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])) {
		case tpm2.TPMCCQuote, tpm2.TPMCCPolicyPCR:
			if moves > 0 {
				moves--
				chip.ExtendPCR(11, byte(moves))
			}
		}
		return response, err
	})}, Config{Tenant: "t", Secret: make([]byte, SecretSize)})
	defer x.Close()
	if _, err := x.Identity(t.Context()); err != nil {
		t.Fatal(err)
	}
	operations := map[string]func() error{
		"quote": func() error { _, err := x.Quote(t.Context(), attest.Digest{1}); return err },
		"DKb":   func() error { _, err := x.Sign(t.Context(), attest.DKb, [32]byte{1}); return err },
	}
	for name, operation := range operations {
		if moves = attempts - 1; operation() != nil || moves != 0 {
			t.Errorf("%s is given up too early, with %d moves to come", name, moves)
		}
		moves = attempts
		if err := operation(); !errors.Is(err, attest.ErrTransient) {
			t.Errorf("%s while PCRs keep moving: %v", name, err)
		}
	}
}

func TestNonsenseFromTheChipIsAnError(t *testing.T) {
	chip := tpmtest.Start(t)
	var cut int
	x := start(machine{link: fakeLink(func(command []byte) ([]byte, error) {
		response, err := chip.Send(command)
		if err == nil && len(response) > cut && cut > headerSize {
			response = response[:cut]
			binary.BigEndian.PutUint32(response[2:], uint32(cut))
		}
		return response, err
	})}, Config{Tenant: "t", Secret: make([]byte, SecretSize)})
	defer x.Close()
	if _, err := x.Identity(t.Context()); err != nil {
		t.Fatal(err)
	}
	for cut = headerSize + 1; cut < 120; cut += 3 {
		if signature, err := x.Sign(t.Context(), attest.DK, [32]byte{1}); err == nil {
			t.Fatalf("cut at %d: signed %x", cut, signature)
		}
	}
}

// TestSignaturesKeepTheirZeros: TPMs leave leading zeros of r and s out.
func TestSignaturesKeepTheirZeros(t *testing.T) {
	sign := func(r, s []byte) ([]byte, error) {
		return fixed(&tpm2.TPMTSignature{SigAlg: tpm2.TPMAlgECDSA, Signature: tpm2.NewTPMUSignature(
			tpm2.TPMAlgECDSA, &tpm2.TPMSSignatureECC{
				Hash:       tpm2.TPMAlgSHA256,
				SignatureR: tpm2.TPM2BECCParameter{Buffer: r}, SignatureS: tpm2.TPM2BECCParameter{Buffer: s},
			})})
	}
	signature, err := sign([]byte{1, 2}, make([]byte, 32))
	if err != nil || len(signature) != 64 || signature[30] != 1 || signature[31] != 2 || signature[32] != 0 {
		t.Errorf("%x, %v", signature, err)
	}
	for _, size := range []int{33, 500} {
		if signature, err := sign(make([]byte, size), []byte{1}); err == nil {
			t.Errorf("r of %d bytes: %x", size, signature)
		}
	}
}

// TestEKThatChanged has the chip come back with another EK and the same AK.
func TestEKThatChanged(t *testing.T) {
	t.Parallel()
	x := start(machine{link: fakeLink(tpmtest.Start(t).Send)}, Config{Tenant: "t", Secret: make([]byte, SecretSize)})
	defer x.Close()
	if _, err := x.Identity(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := do(t.Context(), x, "changing EK", func(c *chip) (any, error) {
		c.ek.Public = append([]byte{}, c.ek.Public...)
		c.ek.Public[len(c.ek.Public)-1] ^= 1
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Activate(t.Context(), make([]byte, 64), make([]byte, 64)); !errors.Is(err, attest.ErrKeyLost) {
		t.Errorf("activate: %v", err)
	}
}

// TestPanicIsAnError: no answer of a chip ends the agent.
func TestPanicIsAnError(t *testing.T) {
	x := start(machine{link: fakeLink(func([]byte) ([]byte, error) { panic("nonsense") })}, Config{})
	defer x.Close()
	for range 2 {
		if _, err := x.Clock(t.Context()); err == nil || isClassed(err) {
			t.Errorf("clock: %v", err)
		}
	}
}

// TestCloseDoesNotWaitForAChipThatHangs and lets callers go.
func TestCloseDoesNotWaitForAChipThatHangs(t *testing.T) {
	t.Parallel()
	driver, called := make(slow), make(chan error, 1)
	x := start(machine{link: &driverLink{driver: driver}}, Config{})
	go func() {
		_, err := x.Clock(t.Context())
		called <- err
	}()
	time.Sleep(20 * time.Millisecond)
	began := time.Now()
	if err := x.Close(); !errors.Is(err, attest.ErrTransient) || time.Since(began) > 4*dialLimit {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	driver <- coded(tpm2.TPMRCFailure)
	if err := <-called; err == nil {
		t.Error("a failed chip has a clock")
	}
	<-x.done
}

// TestCloseEndsWaiting: a chip that is busy for ever is given up at once.
func TestCloseEndsWaiting(t *testing.T) {
	called := make(chan error, 1)
	x := start(machine{link: fakeLink(func([]byte) ([]byte, error) { return coded(tpm2.TPMRCRetry), nil })}, Config{})
	go func() {
		_, err := x.Clock(t.Context())
		called <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	if err := <-called; err == nil {
		t.Error("a busy chip has a clock")
	}
}

// TestEKLeftInAClosedHierarchy has no certificate to vouch for it.
func TestEKLeftInAClosedHierarchy(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	chip.SetEndorsementAuth("", "theirs")
	x := start(machine{link: fakeLink(func(command []byte) ([]byte, error) {
		if tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])) == tpm2.TPMCCNVReadPublic {
			return coded(tpm2.TPMRCHandle | 0x100), nil
		}
		return chip.Send(command)
	})}, Config{EK: attest.EKP384H3})
	defer x.Close()
	ek, err := x.Endorsement(t.Context())
	if err != nil || ek.Certificate != nil || ek.Template != attest.EKP384H3 {
		t.Errorf("%+v, %v", ek, err)
	}
	y := start(machine{link: fakeLink(chip.Send)}, Config{EK: attest.EKP256L2})
	defer y.Close()
	if _, err := y.Endorsement(t.Context()); !errors.Is(err, attest.ErrPermission) {
		t.Errorf("an EK that is not there: %v", err)
	}
}
