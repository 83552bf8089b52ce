package tpm

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"muster/attest"
	"muster/attest/tpmtest"
)

func TestBareDeviceOnlyWithoutResourceManager(t *testing.T) {
	dir := t.TempDir()
	missing, other := filepath.Join(dir, "tpmrm0"), filepath.Join(dir, "tpm0")
	if _, err := reachFirst(missing, other); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("neither: %v", err)
	}
	// A character device stands for the chip: it opens, and that is all.
	m, err := reachFirst(missing, os.DevNull)
	if err != nil || m.shared {
		t.Errorf("bare device: %v", err)
	}
	if err := os.WriteFile(missing, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := reachFirst(missing, os.DevNull); !errors.Is(err, attest.ErrAbsent) {
		t.Errorf("a resource manager that cannot be used is passed over: %v", err)
	}
}

func TestBootLogIsReadToItsLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	x := &TPM{log: func() ([]byte, error) { return readLog(path) }}
	if _, err := x.BootLog(); !errors.Is(err, attest.ErrAbsent) {
		t.Errorf("no log: %v", err)
	}
	for size, fits := range map[int]bool{10: true, attest.MaxBootLog: true, attest.MaxBootLog + 1: false, 2 * attest.MaxBootLog: false} {
		if err := os.WriteFile(path, bytes.Repeat([]byte{7}, size), 0o600); err != nil {
			t.Fatal(err)
		}
		log, err := x.BootLog()
		if (err == nil) != fits || fits && len(log) != size {
			t.Errorf("log of %d bytes: read %d, %v", size, len(log), err)
		}
	}
	x.log = func() ([]byte, error) { return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission} }
	if _, err := x.BootLog(); !errors.Is(err, attest.ErrPermission) {
		t.Errorf("log that may not be read: %v", err)
	}
}

// TestDevice puts a chip behind a descriptor that, as a device does, has one
// response for each write.
func TestDevice(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	driver := os.NewFile(uintptr(ends[1]), "driver")
	served := make(chan struct{})
	go func() {
		defer close(served)
		command := make([]byte, 4096)
		for {
			n, err := driver.Read(command)
			if n == 0 || err != nil {
				return
			}
			response, err := chip.Send(command[:n])
			if err != nil {
				return
			}
			if _, err := driver.Write(response); err != nil {
				return
			}
		}
	}()
	x := start(machine{link: &driverLink{driver: &device{os.NewFile(uintptr(ends[0]), "device")}}},
		Config{Tenant: "t", Secret: make([]byte, SecretSize)})
	if _, err := x.Identity(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := x.Quote(t.Context(), attest.Digest{1}); err != nil {
		t.Error(err)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	<-served
	if err := driver.Close(); err != nil {
		t.Error(err)
	}
}

// TestForbiddenDevice opens a file that belongs to another user.
func TestForbiddenDevice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tpmrm0")
	if err := os.WriteFile(path, nil, 0); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error)
	go func() {
		if os.Geteuid() == 0 {
			// This thread is nobody for files, and ends with the goroutine.
			runtime.LockOSThread()
			const nobody = 65534
			syscall.RawSyscall(syscall.SYS_SETFSUID, nobody, 0, 0)
		}
		_, err := openDevice(path)
		opened <- classed(err)
	}()
	err := <-opened
	if !errors.Is(err, attest.ErrPermission) || !strings.Contains(err.Error(), "run as root") {
		t.Errorf("device of another user: %v", err)
	}
}
