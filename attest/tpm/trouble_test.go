package tpm_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/tpm"
	"muster/attest/tpmtest"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for setting, want := range map[string]error{
		"":                                      nil,
		"none":                                  nil,
		"Auto":                                  nil,
		"unix:":                                 nil,
		"tcp:":                                  nil,
		"device:":                               nil,
		"http:localhost":                        nil,
		"unix:" + filepath.Join(dir, "missing"): attest.ErrAbsent,
		"unix:" + filepath.Join(dir, "file"):    attest.ErrAbsent,
		"tcp:127.0.0.1:1":                       attest.ErrAbsent,
		"device:" + filepath.Join(dir, "none"):  attest.ErrAbsent,
		"device:" + filepath.Join(dir, "file"):  attest.ErrAbsent,
	} {
		x, err := tpm.Open(t.Context(), tpm.Config{Setting: setting})
		if x != nil || err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", setting, err, want)
		}
	}
}

func TestHungTPMHoldsUpNoCaller(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	x := open(t, tpm.Config{Setting: chip.Setting()})
	id := identity(t, x)
	chip.Hang()
	woken := false
	defer func() {
		if !woken {
			chip.Wake()
		}
	}()
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		began := time.Now()
		_, err := x.Sign(ctx, attest.DK, [32]byte{1})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("signing: %v", err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Fatalf("caller was held up for %v", took)
		}
	}
	chip.Wake()
	woken = true
	signs(t, x, attest.DK, id.DK)
	if n := handles(t, chip, 0x80000000); n != 0 {
		t.Errorf("callers that left have left %d objects", n)
	}
}

func TestGoneTPMIsAbsentAndComesBack(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	x := open(t, tpm.Config{Setting: chip.Setting()})
	id := identity(t, x)
	chip.Stop()
	if _, err := x.Sign(t.Context(), attest.DK, [32]byte{1}); !errors.Is(err, attest.ErrAbsent) {
		t.Errorf("signing without a TPM: %v", err)
	}
	if _, err := x.Clock(t.Context()); !errors.Is(err, attest.ErrAbsent) {
		t.Errorf("clock without a TPM: %v", err)
	}
	chip.Restart()
	signs(t, x, attest.DK, id.DK)
}

func TestClosedTPM(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	x, err := tpm.Open(t.Context(), tpm.Config{Setting: chip.Setting(), Tenant: tenant, Secret: secret(1)})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := x.Sign(t.Context(), attest.DK, [32]byte{1}); err == nil {
		t.Error("a closed TPM signs")
	}
}

func TestWithoutSecretOnlyTheChipIsKnown(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	x, err := tpm.Open(t.Context(), tpm.Config{Setting: chip.Setting()})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if ek, err := x.Endorsement(t.Context()); err != nil || len(ek.Certificate) == 0 {
		t.Errorf("endorsement key: %v", err)
	}
	if info, err := x.Info(t.Context()); err != nil || info.Manufacturer != "IBM" || !strings.Contains(info.Firmware, ".") {
		t.Errorf("properties: %+v, %v", info, err)
	}
	if _, err := x.BootLog(); !errors.Is(err, attest.ErrAbsent) {
		t.Errorf("boot log of a TPM on a socket: %v", err)
	}
	if _, err := x.Identity(t.Context()); !errors.Is(err, attest.ErrKeyLost) {
		t.Errorf("identity: %v", err)
	}
	if _, err := x.Quote(t.Context(), attest.Digest{1}); !errors.Is(err, attest.ErrKeyLost) {
		t.Errorf("quote: %v", err)
	}
}

func TestManyCallersAtOnce(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	x := open(t, tpm.Config{Setting: chip.Setting()})
	id := identity(t, x)
	ak := parse(t, attest.AK, id.AK)
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			qualifying := attest.Digest{1, byte(i)}
			quote, err := x.Quote(t.Context(), qualifying)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := attest.CheckQuote(quote, ak, qualifying); err != nil {
				t.Error(err)
			}
			for _, role := range []attest.Role{attest.DK, attest.DKb} {
				if _, err := x.Sign(t.Context(), role, [32]byte{byte(i)}); err != nil {
					t.Error(err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
			defer cancel()
			if _, err := x.Identity(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if n := handles(t, chip, 0x80000000); n != 0 {
		t.Errorf("%d objects stay", n)
	}
}

func TestTCP(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			command := make([]byte, 4096)
			n, _ := conn.Read(command)
			response, err := chip.Send(command[:n])
			if err == nil {
				_, _ = conn.Write(response)
			}
			conn.Close()
		}
	}()
	x := open(t, tpm.Config{Setting: "tcp:" + listener.Addr().String()})
	signs(t, x, attest.DKb, identity(t, x).DKb)
}
