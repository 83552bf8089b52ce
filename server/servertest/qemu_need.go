package servertest

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// laptopFiles are the programs and files that a [Machine] is made of.
type laptopFiles struct {
	qemu, swtpm, mformat, mcopy, mke2fs, debugfs string // programs of this machine

	code, vars, shim, grub, kernel, busybox string
	modules                                 []string // of the kernel, in the order in which they go in
}

// laptopRootEnv names the folder that .ci/laptop fills.
const laptopRootEnv = "MUSTER_LAPTOP_ROOT"

// needLaptop finds everything, or skips or fails the test.
func needLaptop(t testing.TB) laptopFiles {
	t.Helper()
	files, missing := findLaptop()
	if missing != "" {
		if os.Getenv("MUSTER_TEST_STRICT") == "1" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	return files
}

func findLaptop() (f laptopFiles, missing string) {
	for _, one := range []struct {
		path          *string
		program, from string
	}{
		{&f.qemu, "qemu-system-x86_64", "qemu-system-x86"},
		{&f.swtpm, "swtpm", "swtpm"},
		{&f.mformat, "mformat", "mtools"},
		{&f.mcopy, "mcopy", "mtools"},
		{&f.mke2fs, "mke2fs", "e2fsprogs"},
		{&f.debugfs, "debugfs", "e2fsprogs"},
	} {
		path, err := findProgram(one.program)
		if err != nil {
			return f, fmt.Sprintf("no %s here: install the Debian package %s", one.program, one.from)
		}
		*one.path = path
	}
	root := os.Getenv(laptopRootEnv)
	if root == "" {
		root = "/var/cache/muster-laptop"
	}
	if _, err := os.Stat(filepath.Join(root, "VERSIONS")); err != nil {
		return f, fmt.Sprintf("no shim, GRUB and kernel in %s: run bash .ci/laptop", root)
	}
	for path, name := range map[*string]string{
		&f.code: "code.fd", &f.vars: "vars.fd", &f.shim: "shimx64.efi", &f.grub: "grubx64.efi", &f.kernel: "vmlinuz", &f.busybox: "busybox",
	} {
		*path = filepath.Join(root, name)
	}
	// Glob sorts them by the numbers in their names.
	f.modules, _ = filepath.Glob(filepath.Join(root, "modules", "*.ko"))
	return f, ""
}

// findProgram also looks where systems keep what administrators run.
func findProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath(filepath.Join("/usr/sbin", name))
	}
	return path, err
}

// guestAgent is the agent's program for the guest, built when first needed.
var guestAgent = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.Getenv(programsEnv), "guest-agent")
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", path, "muster/agent/cmd/muster-agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the guest's agent: %w\n%s", err, out)
	}
	return path, static(path)
})

// static reports a program that needs libraries, of which the guest has none.
func static(path string) error {
	program, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer program.Close()
	for _, part := range program.Progs {
		if part.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is not static", path)
		}
	}
	return nil
}

// tool runs a program of this machine to its end.
func tool(program string, args ...string) error {
	cmd := exec.Command(program, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(program), err, bytes.TrimSpace(out))
	}
	return nil
}
