package collectors

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
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
	for _, name := range []string{"proc/self/mountinfo", "proc/swaps"} {
		l := newLayout(t, true)
		l.laptop()
		l.on("dm-0", "/")
		m := l.machine()
		must(t, os.Remove(filepath.Join(l.dir, name)))
		must(t, syscall.Mkfifo(filepath.Join(l.dir, name), 0o600))
		got := within(context.Background(), cheapDeadline, m, collector{"disk_encryption", Cheap, collectDiskEncryption})
		if d := got.DiskEncryption; d.State != posture.Unknown || d.Reason != posture.Unreadable {
			t.Errorf("%s: %v %q", name, d.State, d.Reason)
		}
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
	m := treeOf(t, files{
		"etc/os-release": "ID=x\n", "proc/sys/kernel/osrelease": "6.1\n",
		"sys/class/tpm/tpm0/tpm_version_major": "2\n", "sys/kernel/security/tpm0/binary_bios_measurements": "x",
		"sys/class/dmi/id/product_serial": "PF3ABCDE\n", "sys/class/dmi/id/sys_vendor": "LENOVO\n",
		"sys/kernel/security/lockdown": "[none] integrity\n", "proc/self/mountinfo": "", "etc/passwd": "",
	})
	for _, name := range []string{
		"etc/os-release", "sys/kernel/security/tpm0/binary_bios_measurements", "sys/class/dmi/id/product_serial",
		"sys/kernel/security/lockdown", "proc/self/mountinfo", "etc/passwd",
	} {
		must(t, os.Chmod(filepath.Join(m.Tree.dir, name), 0))
	}
	must(t, os.Chmod(filepath.Dir(m.Tree.dir), 0o755)) // the test's own folder is root's alone
	got := posture.Unfilled(m.Now(), posture.NotCollected)
	asNobody(func() {
		for _, collect := range []func(context.Context, *Machine, *posture.Claims){
			collectOS, collectDiskEncryption, collectHomeEncryption, collectBootSecurity, collectTPM, collectHardware,
		} {
			collect(context.Background(), m, &got)
		}
	})
	for name, c := range map[string]posture.Claim{
		"os": got.OS.Claim, "disk_encryption": got.DiskEncryption.Claim, "home_encryption": got.HomeEncryption.Claim,
		"boot_security": got.BootSecurity.Claim,
	} {
		if c.State != posture.Unknown || c.Reason != posture.Permission {
			t.Errorf("%s is %v %q", name, c.State, c.Reason)
		}
	}
	if d := got.TPM.Detail; got.TPM.State != posture.Yes || d.LogReadable != posture.Unknown || d.LogReason != posture.Permission {
		t.Errorf("tpm is %v %+v", got.TPM.State, d)
	}
	if got.Hardware.State != posture.Yes || got.Hardware.Reason != posture.Permission || got.Hardware.Detail.Vendor != "LENOVO" {
		t.Errorf("hardware is %v %q %+v", got.Hardware.State, got.Hardware.Reason, got.Hardware.Detail)
	}
}

// asNobody runs f without root's right to read everything: on a thread of its
// own, which ends with it, as another user towards file systems (setfsuid(2)).
func asNobody(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if os.Geteuid() == 0 {
			_ = syscall.Setfsgid(65534) // neither call tells; the test sees whether they worked
			_ = syscall.Setfsuid(65534)
		}
		f()
	}()
	<-done
}
