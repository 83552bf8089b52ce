package collectors

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"muster/attest/posture"
)

func TestTreeStaysInside(t *testing.T) {
	m := treeOf(t, files{"etc/inside": "inside\n", "proc/1/x": "one\n"})
	dir := m.Tree.dir
	for name, target := range map[string]string{
		"etc/absolute": "/etc/inside",
		"etc/relative": "../etc/inside",
		"etc/above":    "../../../../../../etc/inside",
		"etc/chain":    "absolute",
		"proc/self":    "1",
		"etc/outside":  "/etc/passwd",
		"etc/loop":     "loop",
	} {
		must(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	for name, want := range map[string]string{
		"/etc/absolute": "inside", "/etc/relative": "inside", "/etc/above": "inside", "/etc/chain": "inside",
		"etc/../../etc/inside": "inside", "/proc/self/x": "one",
	} {
		if got, err := m.Tree.ReadWord(name); got != want || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"/etc/outside", "/etc/loop", "/etc", "/nothing"} {
		if b, err := m.Tree.ReadFile(name); err == nil {
			t.Errorf("%s: read %q", name, b)
		}
	}
	if got, err := m.Tree.Resolve("/proc/self/x"); got != "/proc/1/x" || err != nil {
		t.Errorf("resolved to %q, %v", got, err)
	}
}

func TestTreeIsBounded(t *testing.T) {
	m := treeOf(t, files{"big": strings.Repeat("x", maxFile+1), "fits": strings.Repeat("x", maxFile)})
	if _, err := m.Tree.ReadFile("/big"); err == nil {
		t.Error("read more than 4 MiB")
	}
	if b, err := m.Tree.ReadFile("/fits"); len(b) != maxFile || err != nil {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// A FIFO where a file should be: nobody ever writes to it, so that opening it
// would wait for ever.
func TestFIFOIsRefused(t *testing.T) {
	l := newLayout(t, true)
	l.laptop()
	l.on("dm-0", "/")
	m := l.machine()
	for _, name := range []string{"proc/self/mountinfo", "proc/swaps"} {
		must(t, os.Remove(filepath.Join(l.dir, name)))
		must(t, syscall.Mkfifo(filepath.Join(l.dir, name), 0o600))
		start := time.Now()
		if got := disks(m); got.State != posture.Unknown || got.Reason != posture.Unreadable {
			t.Errorf("%s: %v %q", name, got.State, got.Reason)
		}
		if took := time.Since(start); took > cheapDeadline {
			t.Errorf("%s: took %v", name, took)
		}
		l.machine().Tree.dir = l.dir // writes both files anew
		must(t, os.Remove(filepath.Join(l.dir, name)))
		l.write(name, "")
	}
}

// A collector that opens the FIFO all the same is left behind at its deadline.
func TestHungReadIsLeftBehind(t *testing.T) {
	m := treeOf(t, nil)
	fifo := filepath.Join(m.Tree.dir, "fifo")
	must(t, syscall.Mkfifo(fifo, 0o600))
	got := within(context.Background(), 20*time.Millisecond, m, collector{"os", Cheap, func(_ context.Context, m *Machine, c *posture.Claims) {
		b, _ := os.ReadFile(fifo)
		c.OS = posture.Observed(m.Now(), posture.Yes, "", posture.OS{ID: string(b)})
	}})
	if got.OS.State != posture.Unknown || got.OS.Reason != posture.Timeout {
		t.Errorf("got %v %q", got.OS.State, got.OS.Reason)
	}
	// Let it end, with what would have been an answer.
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	must(t, err)
	must(t, w.Close())
	for m.hanging.has("os") {
		time.Sleep(time.Millisecond)
	}
}

func TestPermission(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything; run the tests as another user for this one")
	}
	m := treeOf(t, files{
		"etc/os-release": "ID=x\n", "proc/sys/kernel/osrelease": "6.1\n",
		"sys/class/tpm/tpm0/tpm_version_major": "2\n", "sys/kernel/security/tpm0/binary_bios_measurements": "x",
		"sys/class/dmi/id/product_serial": "PF3ABCDE\n", "sys/class/dmi/id/sys_vendor": "LENOVO\n",
		"sys/kernel/security/lockdown": "[none] integrity\n",
	})
	for _, name := range []string{"etc/os-release", "sys/kernel/security/tpm0/binary_bios_measurements", "sys/class/dmi/id/product_serial", "sys/kernel/security/lockdown"} {
		must(t, os.Chmod(filepath.Join(m.Tree.dir, name), 0))
	}
	got := Collect(context.Background(), m)
	if got.OS.State != posture.Unknown || got.OS.Reason != posture.Permission {
		t.Errorf("os is %v %q", got.OS.State, got.OS.Reason)
	}
	if got.BootSecurity.State != posture.Unknown || got.BootSecurity.Reason != posture.Permission {
		t.Errorf("boot_security is %v %q", got.BootSecurity.State, got.BootSecurity.Reason)
	}
	if d := got.TPM.Detail; got.TPM.State != posture.Yes || d.LogReadable != posture.Unknown || d.LogReason != posture.Permission {
		t.Errorf("tpm is %v %+v", got.TPM.State, d)
	}
	if got.Hardware.State != posture.Yes || got.Hardware.Reason != posture.Permission || got.Hardware.Detail.Vendor != "LENOVO" {
		t.Errorf("hardware is %v %q %+v", got.Hardware.State, got.Hardware.Reason, got.Hardware.Detail)
	}
}
