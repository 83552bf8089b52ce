package tpm

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"muster/attest"
)

// baseServices opens the TPM Base Services that a test on Linux put here, and tells
// the folder of the logs which they give.
func openBaseServices(t *testing.T) (d *device, logs string) {
	t.Helper()
	if os.Getenv("MUSTER_TBS_PORT") == "" {
		const missing = "runs below TestWindowsUnderWine, on Linux"
		if os.Getenv("MUSTER_TEST_STRICT") == "1" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	d, err := openDevice()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, os.Getenv("MUSTER_TBS_LOGS")
}

func readWhole(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestKeptLogs needs a Windows that has Tbsi_Get_TCG_Log_Ex.
func TestKeptLogs(t *testing.T) {
	d, logs := openBaseServices(t)
	seen := map[string]logKind{}
	for kind, name := range map[logKind]string{currentLog: "0.log", bootedLog: "2.log", resumedLog: "3.log"} {
		want := readWhole(t, filepath.Join(logs, name))
		got, err := d.keptLog(kind)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("log %d: %d bytes, %v; want the %d of %s", kind, len(got), err, len(want), name)
		}
		if other, ok := seen[string(got)]; ok {
			t.Errorf("logs %d and %d are the same: the test tells nothing", kind, other)
		}
		seen[string(got)] = kind
	}
	x := &TPM{log: d.bootLog}
	if got, err := x.BootLog(); err != nil || seen[string(got)] != currentLog || len(got) == 0 {
		t.Errorf("the boot log is not the current one: %d bytes, %v", len(got), err)
	}
}

// TestOldBootLog is for a Windows that has not.
func TestOldBootLog(t *testing.T) {
	d, logs := openBaseServices(t)
	if _, err := d.keptLog(bootedLog); !errors.Is(err, attest.ErrAbsent) {
		t.Errorf("missing call: %v", err)
	}
	x := &TPM{log: d.bootLog}
	if got, err := x.BootLog(); err != nil || !bytes.Equal(got, readWhole(t, filepath.Join(logs, "0.log"))) {
		t.Errorf("boot log: %d bytes, %v", len(got), err)
	}
	hostileLogs(t, d)
}

func TestHostileLogs(t *testing.T) {
	d, _ := openBaseServices(t)
	hostileLogs(t, d)
}

// hostileLogs gives logs that are missing, empty, at and beyond the limit.
func hostileLogs(t *testing.T, d *device) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("MUSTER_TBS_LOGS", dir)
	x := &TPM{log: d.bootLog}
	if _, err := x.BootLog(); !errors.Is(err, attest.ErrAbsent) {
		t.Errorf("no log: %v", err)
	}
	for size, fits := range map[int]bool{0: false, 1: true, attest.MaxBootLog: true, attest.MaxBootLog + 1: false} {
		if err := os.WriteFile(filepath.Join(dir, "0.log"), bytes.Repeat([]byte{7}, size), 0o600); err != nil {
			t.Fatal(err)
		}
		log, err := x.BootLog()
		if (err == nil) != fits || fits && len(log) != size {
			t.Errorf("log of %d bytes: read %d, %v", size, len(log), err)
		}
	}
}

// TestGrowingLogs asks for logs that change while they are asked for.
func TestGrowingLogs(t *testing.T) {
	for name, test := range map[string]struct {
		sizes []uint32 // of the log at each call
		want  int      // 0: an error
	}{
		"still":          {[]uint32{5, 5}, 5},
		"grows once":     {[]uint32{5, 9, 9}, 9},
		"shrinks":        {[]uint32{9, 5}, 5},
		"never stops":    {[]uint32{1, 2, 3, 4, 5, 6, 7, 8, 9}, 0},
		"grows too much": {[]uint32{5, attest.MaxBootLog + 1}, 0},
		"vanishes":       {[]uint32{5, 0}, 0},
	} {
		calls, room := 0, 0
		log, err := grown(func(buffer *byte, size *uint32) error {
			now := test.sizes[min(calls, len(test.sizes)-1)]
			calls++
			if buffer != nil {
				room = int(*size)
			}
			*size = now
			if buffer != nil && int(now) > room {
				return tbsInsufficientBuffer
			}
			return nil
		})
		if (err == nil) != (test.want != 0) || len(log) != test.want {
			t.Errorf("%s: %d bytes, %v", name, len(log), err)
		}
		if calls > 5 {
			t.Errorf("%s: asked %d times", name, calls)
		}
	}
}
