package tpm_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"muster/attest/tpm"
	"muster/attest/tpmtest"
)

// TestWindowsUnderWine runs the Windows tests of this package under wine, whose
// tbs.dll (testdata/tbs) speaks to swtpm: first as Windows 10 and later have it,
// then without the call for several logs.
func TestWindowsUnderWine(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds, and nothing of it is Linux code")
	}
	t.Parallel()
	needWine(t)
	dir := t.TempDir()
	program := filepath.Join(dir, "tpm.test.exe")
	build := exec.Command("go", "test", "-c", "-o", program, ".")
	build.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the Windows tests: %v\n%s", err, out)
	}
	chip, owned := tpmtest.Start(t), tpmtest.Start(t)
	owned.SetEndorsementAuth("", "endorsement secret")
	w := &windows{
		program: program,
		env: []string{
			"MUSTER_TBS_PORT=" + door(t, chip), "MUSTER_TBS_OWNED_PORT=" + door(t, owned),
			`MUSTER_TBS_LOGS=Z:` + strings.ReplaceAll(placeLogs(t), "/", `\`),
		},
	}

	w.system32 = buildBaseServices(t)
	said := w.run(t, "TestBaseServices.*|TestKeptLogs|TestHostileLogs|TestGrowingLogs", 6)
	id := identity(t, open(t, tpm.Config{Setting: chip.Setting(), Tenant: tenant, Secret: secret(1)}))
	for name, public := range map[string][]byte{"AK": id.AK, "DK": id.DK, "DKb": id.DKb} {
		if !strings.Contains(said, fmt.Sprintf(": %s %x\n", name, public)) {
			t.Errorf("Windows has another %s in the same chip", name)
		}
	}

	w.system32 = buildBaseServices(t, "-DOLD_WINDOWS")
	w.run(t, "TestOldBootLog|TestBaseServicesEnrol", 2)
}

// windows runs a Windows program.
type windows struct {
	program  string
	system32 string // folder of DLLs
	env      []string
}

// passed is how a test's end is told by -test.v.
var passed = regexp.MustCompile(`(?m)^--- (PASS|SKIP|FAIL): `)

// run runs tests of the program, of which so many must pass and none be skipped,
// and returns what they said.
func (w *windows) run(t *testing.T, tests string, want int) string {
	t.Helper()
	cmd := exec.Command(wineScript, "run", w.program, "-test.v", "-test.timeout=120s", "-test.run=^("+tests+")$")
	cmd.Env = append(append(os.Environ(), w.env...), "MUSTER_WINE_SYSTEM32="+w.system32, "MUSTER_TEST_STRICT=1")
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	said := strings.ReplaceAll(string(out), "\r\n", "\n")
	if err != nil {
		t.Fatalf("under wine: %v\n%s", err, said)
	}
	ends := passed.FindAllStringSubmatch(said, -1)
	for _, end := range ends {
		if end[1] != "PASS" {
			t.Fatalf("under wine:\n%s", said)
		}
	}
	if len(ends) != want {
		t.Fatalf("%d tests of %s ran, not %d\n%s", len(ends), tests, want, said)
	}
	return said
}

const (
	wineScript = "../../.ci/wine"
	mingw      = "x86_64-w64-mingw32-gcc"
)

func needWine(t *testing.T) {
	t.Helper()
	const missing = "no wine or no %s here: run .ci/wine"
	_, err := exec.LookPath(mingw)
	if err == nil {
		err = exec.Command(wineScript, "check").Run()
	}
	switch {
	case err == nil:
	case os.Getenv("MUSTER_TEST_STRICT") == "1":
		t.Fatalf(missing, mingw)
	default:
		t.Skipf(missing, mingw)
	}
}

// buildBaseServices compiles the tbs.dll of testdata/tbs into a folder of its own.
func buildBaseServices(t *testing.T, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	args := append([]string{"-shared", "-O1", "-Wall", "-Wextra", "-Werror", "-s"}, flags...)
	args = append(args, "-o", filepath.Join(dir, "tbs.dll"), "testdata/tbs/tbs.c", "-lws2_32")
	if out, err := exec.Command(mingw, args...).CombinedOutput(); err != nil {
		t.Fatalf("building tbs.dll: %v\n%s", err, out)
	}
	return dir
}

// placeLogs makes a folder of three real logs, as types 0, 2 and 3.
func placeLogs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for kind, of := range map[string]string{"0": "sb-systemd-luks", "2": "sb-shim-grub", "3": "nosb-grub-linuxefi"} {
		b, err := os.ReadFile(filepath.Join("../bootlog/testdata", of, "binary_bios_measurements"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, kind+".log"), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// door lets programs that have no Unix sockets reach a chip, over a port of the
// loopback which it returns.
func door(t *testing.T, chip *tpmtest.TPM) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			pass(conn, chip) // a chip has one command at a time
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

// pass passes one command. What goes wrong here shows as a connection that ends.
func pass(conn net.Conn, chip *tpmtest.TPM) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return
	}
	command := make([]byte, 10)
	if _, err := io.ReadFull(conn, command); err != nil {
		return
	}
	size := binary.BigEndian.Uint32(command[2:])
	if size < 10 || size > 4096 {
		return
	}
	command = append(command, make([]byte, size-10)...)
	if _, err := io.ReadFull(conn, command[10:]); err != nil {
		return
	}
	if response, err := chip.Send(command); err == nil {
		_, _ = conn.Write(response) // as above
	}
}
