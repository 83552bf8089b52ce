package collectors

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"muster/attest/posture"
	"muster/platform"
)

var patchesNow = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// patchesMachine is a tree of the given files, each as old as age says, and
// commands that answer from captured files. A capture NAME.out may have a
// NAME.status with the exit status and the first line of standard error.
func patchesMachine(t *testing.T, age time.Duration, files map[string]string, answer func(name string, args []string) string) *Machine {
	t.Helper()
	dir := t.TempDir()
	at := patchesNow.Add(-age)
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := NewTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := &Machine{Tree: tree, Now: func() time.Time { return patchesNow }}
	if answer != nil {
		m.Run = func(_ context.Context, name string, args ...string) ([]byte, error) {
			return capturedOutput(t, answer(name, args))
		}
	}
	return m
}

func capturedOutput(t *testing.T, name string) ([]byte, error) {
	t.Helper()
	if name == "" {
		return nil, platform.ErrNoTool
	}
	out, err := os.ReadFile(filepath.Join("testdata", name+".out"))
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(filepath.Join("testdata", name+".status"))
	if errors.Is(err, os.ErrNotExist) {
		return out, nil
	}
	code, words, _ := strings.Cut(string(status), "\n")
	n, err := strconv.Atoi(code)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(words, "\n")
	return out, &platform.ExitError{Tool: name, Code: n, Stderr: first}
}

func patchesOf(t *testing.T, m *Machine) posture.Of[posture.Patches] {
	t.Helper()
	var c posture.Claims
	collectPatches(t.Context(), m, &c)
	return c.Patches
}

// release is a Release file of a security archive, dated some time before now.
func release(ago time.Duration) string {
	return "Origin: Debian\nLabel: Debian-Security\nSuite: oldstable-security\nDate: " +
		patchesNow.Add(-ago).Format("Mon, 2 Jan 2006 15:04:05 UTC") + "\nValid-Until: " +
		patchesNow.Add(7*24*time.Hour-ago).Format("Mon, 2 Jan 2006 15:04:05 UTC") + "\n"
}

const day = 24 * time.Hour

func debian(ago time.Duration) map[string]string {
	return map[string]string{
		"etc/os-release":              "ID=debian\nVERSION_ID=\"12\"\n",
		"proc/sys/kernel/osrelease":   "6.1.0-13-amd64\n",
		"boot/vmlinuz-6.1.0-13-amd64": "", "boot/vmlinuz-6.1.0-9-amd64": "",
		"var/lib/apt/lists/security_InRelease": release(ago),
	}
}

func with(files map[string]string, pairs ...string) map[string]string {
	for i := 0; i < len(pairs); i += 2 {
		files[pairs[i]] = pairs[i+1]
	}
	return files
}

func without(files map[string]string, name string) map[string]string {
	delete(files, name)
	return files
}

func TestPatchesApt(t *testing.T) {
	for _, tt := range []struct {
		name, out       string
		age             time.Duration
		files           map[string]string
		state           posture.State
		reason          posture.Reason
		security, other int // -1: not told
		packages        []string
	}{
		{"nothing pending", "none", day, debian(day), posture.Yes, "", 0, 0, nil},
		{"security", "security", day, debian(day), posture.No, posture.UpdatesPending, 1, 0, []string{"weak"}},
		{"other only", "other", day, debian(day), posture.Yes, "", 0, 1, nil},
		{"newer elsewhere", "shadowed", day, debian(day), posture.No, posture.UpdatesPending, 2, 1, []string{"shadowed", "weak"}},
		{"held", "held", day, debian(day), posture.No, posture.UpdatesPending, 1, 0, []string{"held"}},
		{"kept back", "stuck", day, debian(day), posture.Unknown, posture.Unsupported, 0, 0, nil},
		{"new kernel", "new-kernel", day, debian(day), posture.No, posture.UpdatesPending, 2, 0, []string{"kernel-2", "kernel-meta"}},
		{"stale", "none", 9 * day, debian(9 * day), posture.Unknown, posture.StaleMetadata, 0, 0, nil},
		{"stale, but pending", "security", 9 * day, debian(9 * day), posture.No, posture.UpdatesPending, 1, 0, []string{"weak"}},
		{"fetched again, unchanged", "none", day, debian(9 * day), posture.Unknown, posture.StaleMetadata, 0, 0, nil},
		{"from the future", "none", -9 * day, debian(-9 * day), posture.Unknown, posture.StaleMetadata, 0, 0, nil},
		{"no lists", "none", day, without(debian(day), "var/lib/apt/lists/security_InRelease"), posture.Unknown, posture.StaleMetadata, -1, 0, nil},
		{"no security archive", "no-security-archive", day, without(with(debian(day), "var/lib/apt/lists/main_InRelease", "Label: Debian\nSuite: oldstable\n"),
			"var/lib/apt/lists/security_InRelease"), posture.Unknown, posture.Unsupported, -1, 1, nil},
		{"an old date on a young file", "none", day, with(debian(day), "var/lib/apt/lists/more_Release",
			strings.Replace(release(20*day), "Valid-Until", "X", 1)), posture.Yes, "", 0, 0, nil},
		{"no such release", "no-such-release", day, debian(day), posture.Unknown, posture.Unreadable, -1, -1, nil},
		{"newer kernel", "none", day, with(debian(day), "boot/vmlinuz-6.1.0-14-amd64", ""), posture.No, posture.RebootPending, 0, 0, nil},
		{"flag", "none", day, with(debian(day), "run/reboot-required", ""), posture.No, posture.RebootPending, 0, 0, nil},
		{"kernel not told", "none", day, without(debian(day), "proc/sys/kernel/osrelease"), posture.Unknown, posture.Unreadable, 0, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := patchesMachine(t, tt.age, tt.files, func(name string, args []string) string {
				if name != "apt-get" || args[len(args)-1] != "dist-upgrade" {
					t.Errorf("ran %s %v", name, args)
				}
				return "apt/" + tt.out
			})
			got := patchesOf(t, m)
			if got.State != tt.state || got.Reason != tt.reason {
				t.Errorf("got %v %q, want %v %q", got.State, got.Reason, tt.state, tt.reason)
			}
			if told(got.Detail.SecurityPending) != tt.security || told(got.Detail.OtherPending) != tt.other || !slices.Equal(got.Detail.Packages, tt.packages) {
				t.Errorf("pending %d %d %v, want %d %d %v", told(got.Detail.SecurityPending), told(got.Detail.OtherPending),
					got.Detail.Packages, tt.security, tt.other, tt.packages)
			}
		})
	}
}

func told(n *int) int {
	if n == nil {
		return -1
	}
	return *n
}

// TestPatchesAptNote: Ubuntu's note of a successful run makes lists young only
// while the security archive itself is not silent for long.
func TestPatchesAptNote(t *testing.T) {
	for _, tt := range []struct {
		ago   time.Duration
		state posture.State
	}{{10 * day, posture.Yes}, {29 * day, posture.Yes}, {31 * day, posture.Unknown}} {
		ubuntu := "Origin: Ubuntu\nLabel: Ubuntu\nSuite: jammy-security\nDate: " + patchesNow.Add(-tt.ago).Format(time.RFC1123) + "\n"
		files := with(debian(0), "var/lib/apt/lists/security_InRelease", ubuntu, "var/lib/apt/periodic/update-success-stamp", "")
		m := patchesMachine(t, tt.ago, files, func(string, []string) string { return "apt/none" })
		stamp := filepath.Join(m.Tree.dir, "var/lib/apt/periodic/update-success-stamp")
		if err := os.Chtimes(stamp, patchesNow, patchesNow.Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		if got := patchesOf(t, m); got.State != tt.state {
			t.Errorf("silent for %v: %v %q, want %v", tt.ago, got.State, got.Reason, tt.state)
		}
	}
}

// TestPatchesUnread: each way of not knowing has its own reason.
func TestPatchesUnread(t *testing.T) {
	for _, tt := range []struct {
		err    error
		reason posture.Reason
	}{
		{platform.ErrNoTool, posture.NoTool},
		{platform.ErrTimeout, posture.Timeout},
		{platform.ErrTooLong, posture.Unreadable},
		{os.ErrPermission, posture.Permission},
		{&platform.ExitError{Code: 100, Stderr: "E: Unmet dependencies."}, posture.Unreadable},
		{&platform.ExitError{Code: 100, Stderr: "E: Could not open lock file (13: Permission denied)"}, posture.Permission},
	} {
		m := patchesMachine(t, day, debian(day), nil)
		m.Run = func(context.Context, string, ...string) ([]byte, error) { return nil, tt.err }
		if got := patchesOf(t, m); got.State != posture.Unknown || got.Reason != tt.reason {
			t.Errorf("%v: %v %q, want %q", tt.err, got.State, got.Reason, tt.reason)
		}
	}
	got := patchesOf(t, patchesMachine(t, day, debian(day), nil))
	if got.State != posture.Unknown || got.Reason != posture.NotThisRoot || !got.Detail.MetadataAt.Equal(patchesNow.Add(-day)) {
		t.Errorf("another root: %+v", got)
	}
	got = patchesOf(t, patchesMachine(t, day, with(debian(day), "boot/vmlinuz-6.1.0-14-amd64", ""), nil))
	if got.State != posture.No || got.Reason != posture.RebootPending || got.Detail.KernelPending != "6.1.0-14-amd64" {
		t.Errorf("another root with a newer kernel: %+v", got)
	}
	got = patchesOf(t, patchesMachine(t, day, map[string]string{"etc/os-release": "ID=gentoo\n"}, nil))
	if got.State != posture.Unknown || got.Reason != posture.Unsupported {
		t.Errorf("no known manager: %+v", got)
	}
}

// TestAptCut: no part of an output looks like fewer updates.
func TestAptCut(t *testing.T) {
	for _, name := range []string{"debian12", "security", "shadowed", "new-kernel"} {
		b, err := os.ReadFile("testdata/apt/" + name + ".out")
		if err != nil {
			t.Fatal(err)
		}
		whole, err := parseAptSimulation(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := 0; i < len(b); i += 3 {
			part, err := parseAptSimulation(b[:i])
			if err == nil && (len(part.security) != len(whole.security) || part.other != whole.other) {
				t.Fatalf("%s: the first %d bytes say %d and %d", name, i, len(part.security), part.other)
			}
		}
		lines := strings.SplitAfter(string(b), "\n")
		for i, line := range lines {
			if !strings.HasPrefix(line, "Inst ") && !strings.Contains(line, "not upgraded") {
				continue
			}
			if _, err := parseAptSimulation([]byte(strings.Join(append(slices.Clone(lines[:i]), lines[i+1:]...), ""))); err == nil {
				t.Errorf("%s: not missed: %s", name, line)
			}
		}
	}
}

func TestAptSimulationHostile(t *testing.T) {
	for _, out := range []string{
		"", "\x00\xff", "Inst", "Inst \n0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n",
		"Inst a [1] (2\n1 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n",
		"Inst a [1] ()\n1 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n",
		"0 aktualisiert, 0 neu installiert, 0 zu entfernen und 0 nicht aktualisiert.\n",
		"-1 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.\n",
		strings.Repeat("0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n", 2),
		strings.Repeat("Inst a [1] (2 Debian:12/oldstable [all])\n", 100000),
	} {
		if u, err := parseAptSimulation([]byte(out)); !errors.Is(err, errUnparsable) {
			t.Errorf("%.60q: %+v, %v", out, u, err)
		}
	}
}

func TestAptInst(t *testing.T) {
	for line, want := range map[string]bool{
		"a [1] (2 Debian-Security:12/oldstable-security [amd64])":                                    true,
		"a [1] (2 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64]) [b:amd64 ]": true,
		"a (2 Ubuntu:22.04/jammy-updates, Ubuntu:22.04/jammy-security [amd64])":                      true,
		"a [1] (2 UbuntuESMApps:22.04/jammy-apps-security [amd64])":                                  true,
		"a [1] (2 Ubuntu:22.04/jammy-updates [amd64])":                                               false,
		"a [1] (2 Google LLC:1.0/stable [amd64])":                                                    false,
		"a [1] (2 security:1/security-tools [amd64])":                                                false,
	} {
		if _, got, err := parseAptInst(line); err != nil || got != want {
			t.Errorf("%s: %v %v", line, got, err)
		}
	}
}

// TestAptReleaseCaptured reads the heads of Debian's own Release files.
func TestAptReleaseCaptured(t *testing.T) {
	for name, security := range map[string]bool{"debian-security": true, "debian": false} {
		b, err := os.ReadFile("testdata/apt/InRelease." + name)
		if err != nil {
			t.Fatal(err)
		}
		r := parseAptRelease(b)
		if r.suite == "" || r.date.IsZero() || isSecurityArchive(r.label, r.suite) != security {
			t.Errorf("%s: %+v", name, r)
		}
		if security && r.validUntil.Sub(r.date) != staleAfter {
			t.Errorf("%s is valid for %v, we say %v", name, r.validUntil.Sub(r.date), staleAfter)
		}
	}
}
