package tpmtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Authority is a local CA that certifies the endorsement keys of the TPMs that
// are started with [From] it.
type Authority struct {
	dir string // holds the three settings files of swtpm_setup and the CA's state
}

// NewAuthority prepares a CA; its keys are made with the first TPM.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	need(t)
	a := &Authority{dir: shortDir(t)}
	settings := map[string][]string{
		"setup.conf": {
			"create_certs_tool = " + tool(t, "swtpm_localca"),
			"create_certs_tool_config = " + a.path("localca.conf"),
			"create_certs_tool_options = " + a.path("options.conf"),
		},
		"localca.conf": {
			"statedir = " + a.dir,
			"signingkey = " + a.path("signkey.pem"),
			"issuercert = " + a.path("issuercert.pem"),
			"certserial = " + a.path("certserial"),
		},
		"options.conf": {
			// Without these no platform certificate is made, and no EK certificate.
			"--platform-manufacturer Muster",
			"--platform-version 2.1",
			"--platform-model Test",
		},
	}
	for name, lines := range settings {
		if err := os.WriteFile(a.path(name), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// Roots returns the CA's certificates as PEM, the root and the issuing one:
// what a verifier takes as EK roots. There are none before the first TPM.
func (a *Authority) Roots(t testing.TB) []byte {
	t.Helper()
	var roots []byte
	for _, name := range []string{"issuercert.pem", "swtpm-localca-rootca-cert.pem"} {
		b, err := os.ReadFile(a.path(name))
		if err != nil {
			t.Fatal(err)
		}
		roots = append(append(roots, bytes.TrimSpace(b)...), '\n')
	}
	return roots
}

// manufacture makes the state of a new TPM in dir: seeds, EKs, certificates.
func (a *Authority) manufacture(t testing.TB, dir string) {
	t.Helper()
	args := []string{
		"--tpm2", "--tpmstate", dir, "--config", a.path("setup.conf"),
		"--create-ek-cert", "--create-platform-cert", "--lock-nvram",
		"--pcr-banks", "sha256", "--overwrite",
	}
	if os.Geteuid() == 0 {
		args = append(args, "--runas", "root")
	}
	out, err := exec.Command(tool(t, "swtpm_setup"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("swtpm_setup: %v\n%s", err, out)
	}
}

func (a *Authority) path(name string) string { return filepath.Join(a.dir, name) }

// need skips or fails a test where swtpm is missing.
func need(t testing.TB) {
	t.Helper()
	for _, name := range []string{"swtpm", "swtpm_setup", "swtpm_localca"} {
		if _, err := lookup(name); err != nil {
			const missing = "no %s here: install the Debian packages swtpm and swtpm-tools"
			if os.Getenv("MUSTER_TEST_STRICT") == "1" {
				t.Fatalf(missing, name)
			}
			t.Skipf(missing, name)
		}
	}
}

// lookup finds a program by name; Debian keeps swtpm_localca out of some PATHs.
func lookup(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return filepath.Abs(path)
	}
	for _, dir := range []string{"/usr/bin", "/usr/share/swtpm", "/usr/local/bin"} {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed", name)
}

func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// shortDir is t.TempDir with a short name: socket addresses end at 107 bytes.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tpm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if len(dir) > 90 {
		t.Fatalf("temporary folder %s is too long for a socket in it", dir)
	}
	return dir
}
