package collectors

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/attest/posture"
	"muster/platform"
)

// TestAptConfAsApt: our reading of apt's configuration is apt's own.
func TestAptConfAsApt(t *testing.T) {
	dirs, err := filepath.Glob("testdata/updates/apt/*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	for _, dir := range dirs {
		tree, err := NewTree(dir)
		if err != nil {
			t.Fatal(err)
		}
		conf, err := readAptConf(tree)
		if err != nil {
			t.Errorf("%s: %v", dir, err)
			continue
		}
		dump, err := tree.ReadFile("/dump")
		if err != nil {
			t.Fatal(err)
		}
		lists := map[string][]string{}
		for line := range strings.Lines(string(dump)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			value = strings.Trim(value, `";`)
			if list, ok := strings.CutSuffix(name, "::"); ok {
				lists[list] = append(lists[list], value)
			} else if got, ok := conf.value(name); value != "" && got != value {
				t.Errorf("%s: %s is %q %v, apt says %q", dir, name, got, ok, value)
			}
		}
		for _, name := range []string{"Unattended-Upgrade::Origins-Pattern", "Unattended-Upgrade::Allowed-Origins"} {
			if got := conf.list(name); !slices.Equal(got, lists[name]) {
				t.Errorf("%s: %s is %q, apt says %q", dir, name, got, lists[name])
			}
		}
	}
}

// updatesMachine has the files of a captured configuration and more, and
// systemd with the given units active.
func updatesMachine(t *testing.T, conf string, more map[string]string, active ...string) *Machine {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if conf != "" {
		if err := os.CopyFS(dir, os.DirFS("testdata/updates/apt/"+conf)); err != nil {
			t.Fatal(err)
		}
		more = with(map[string]string{"usr/bin/unattended-upgrade": ""}, flat(more)...)
	}
	for name, content := range more {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "etc/os-release"), []byte("ID=debian\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "run/systemd/system"), 0o755); err != nil {
		t.Fatal(err)
	}
	tree, err := NewTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	return &Machine{Tree: tree, Now: func() time.Time { return patchesNow },
		Run: func(_ context.Context, name string, args ...string) ([]byte, error) {
			if name != "systemctl" || len(args) != 2 || args[0] != "is-active" {
				t.Errorf("ran %s %v", name, args)
			}
			if slices.Contains(active, args[1]) {
				return []byte("active\n"), nil
			}
			return []byte("inactive\n"), &platform.ExitError{Tool: name, Code: 3}
		}}
}

func flat(m map[string]string) []string {
	var pairs []string
	for k, v := range m {
		pairs = append(pairs, k, v)
	}
	return pairs
}

func updatesOf(t *testing.T, m *Machine) posture.Of[posture.AutomaticUpdates] {
	t.Helper()
	var c posture.Claims
	collectAutomaticUpdates(t.Context(), m, &c)
	return c.AutomaticUpdates
}

func TestAutomaticUpdates(t *testing.T) {
	both := []string{"apt-daily.timer", "apt-daily-upgrade.timer"}
	for _, tt := range []struct {
		name      string
		conf      string
		files     map[string]string
		active    []string
		state     posture.State
		reason    posture.Reason
		mechanism string
	}{
		{"apt", "usual", nil, both, posture.Yes, "", "unattended-upgrades"},
		{"apt, nested", "nested", nil, both, posture.Yes, "", "unattended-upgrades"},
		{"apt, part that apt does not read", "ignored-part", nil, both, posture.Yes, "", "unattended-upgrades"},
		{"apt, overridden", "overridden", nil, both, posture.No, posture.NotConfigured, ""},
		{"apt, switched off", "switched-off", nil, both, posture.No, posture.NotConfigured, ""},
		{"apt, no origins", "cleared", nil, both, posture.No, posture.NotConfigured, ""},
		{"apt, lists never fetched", "main-file", nil, both, posture.No, posture.NotConfigured, ""},
		{"apt, no timer", "usual", nil, nil, posture.No, posture.TimerInactive, "unattended-upgrades"},
		{"apt, one timer of two", "usual", nil, both[:1], posture.No, posture.TimerInactive, "unattended-upgrades"},
		{"nothing", "", nil, both, posture.No, posture.NotConfigured, ""},
		{"dnf", "", map[string]string{"etc/dnf/automatic.conf": "[commands]\napply_updates = yes\n"}, []string{"dnf-automatic.timer"}, posture.Yes, "", "dnf-automatic"},
		{"dnf 5", "", map[string]string{"etc/dnf/automatic.conf": "[commands]\napply_updates = True\n"}, []string{"dnf5-automatic.timer"}, posture.Yes, "", "dnf-automatic"},
		{"dnf only tells", "", map[string]string{"etc/dnf/automatic.conf": "[commands]\napply_updates = no\n"}, []string{"dnf-automatic.timer"}, posture.No, posture.NotConfigured, ""},
		{"dnf, settings over the brought ones", "", map[string]string{
			"usr/share/dnf5/dnf5-plugins/automatic.conf": "[commands]\napply_updates = yes\n", "etc/dnf/automatic.conf": "[commands]\napply_updates = no\n",
		}, []string{"dnf5-automatic.timer"}, posture.No, posture.NotConfigured, ""},
		{"dnf installs by its unit", "", map[string]string{"usr/lib/systemd/system/dnf-automatic-install.timer": ""}, []string{"dnf-automatic-install.timer"}, posture.Yes, "", "dnf-automatic-install"},
		{"rpm-ostree", "", map[string]string{"etc/rpm-ostreed.conf": "[Daemon]\nAutomaticUpdatePolicy=stage\n"}, []string{"rpm-ostreed-automatic.timer"}, posture.Yes, "", "rpm-ostree"},
		{"rpm-ostree only checks", "", map[string]string{"etc/rpm-ostreed.conf": "[Daemon]\nAutomaticUpdatePolicy=check\n"}, []string{"rpm-ostreed-automatic.timer"}, posture.No, posture.NotConfigured, ""},
		{"packagekit", "", map[string]string{"etc/sysconfig/packagekit-background": "ENABLED=yes\nCHECK_ONLY=no\n"}, []string{"packagekit-background.timer"}, posture.Yes, "", "packagekit"},
		{"packagekit only checks", "", map[string]string{"etc/sysconfig/packagekit-background": "ENABLED=yes\n"}, []string{"packagekit-background.timer"}, posture.No, posture.NotConfigured, ""},
		{"transactional-update", "", map[string]string{"usr/lib/systemd/system/transactional-update.timer": ""}, nil, posture.No, posture.TimerInactive, "transactional-update"},
		{"broken settings", "", map[string]string{"etc/dnf/automatic.conf": "apply_updates = yes\n"}, []string{"dnf-automatic.timer"}, posture.Unknown, posture.Unparsable, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := updatesOf(t, updatesMachine(t, tt.conf, tt.files, tt.active...))
			if got.State != tt.state || got.Reason != tt.reason || got.Detail.Mechanism != tt.mechanism {
				t.Errorf("got %+v, want %v %q %q", got, tt.state, tt.reason, tt.mechanism)
			}
		})
	}
}

func TestAutomaticUpdatesUnread(t *testing.T) {
	for _, tt := range []struct {
		out    string
		err    error
		reason posture.Reason
	}{
		{"", platform.ErrNoTool, posture.NoTool},
		{"", platform.ErrTimeout, posture.Timeout},
		{"", &platform.ExitError{Code: 1, Stderr: "Failed to connect to bus: Permission denied"}, posture.Permission},
		{"", &platform.ExitError{Code: 1, Stderr: "Failed to connect to bus"}, posture.Unreadable},
		{"nonsense\n", nil, posture.Unparsable},
		{"", nil, posture.Unparsable},
	} {
		m := updatesMachine(t, "usual", nil)
		m.Run = func(context.Context, string, ...string) ([]byte, error) { return []byte(tt.out), tt.err }
		if got := updatesOf(t, m); got.State != posture.Unknown || got.Reason != tt.reason || got.Detail.Configured != posture.Yes {
			t.Errorf("%q %v: %+v, want %q", tt.out, tt.err, got, tt.reason)
		}
	}
	m := updatesMachine(t, "usual", nil)
	m.Run = nil
	if got := updatesOf(t, m); got.State != posture.Unknown || got.Reason != posture.NotThisRoot {
		t.Errorf("another root: %+v", got)
	}
	m = updatesMachine(t, "", map[string]string{})
	if err := os.Remove(filepath.Join(m.Tree.dir, "etc/os-release")); err != nil {
		t.Fatal(err)
	}
	if got := updatesOf(t, m); got.State != posture.Unknown || got.Reason != posture.Unsupported {
		t.Errorf("a system that we do not know: %+v", got)
	}
	m = updatesMachine(t, "overridden", nil)
	m.Run = nil
	if got := updatesOf(t, m); got.State != posture.No || got.Reason != posture.NotConfigured {
		t.Errorf("another root, off: %+v", got)
	}
	for _, tt := range []struct {
		cron   string
		state  posture.State
		reason posture.Reason
	}{{"usr/sbin/cron", posture.Unknown, posture.Unsupported}, {"x", posture.No, posture.TimerInactive}} {
		m = updatesMachine(t, "usual", map[string]string{"etc/cron.daily/apt-compat": "", tt.cron: ""}, "apt-daily.timer", "apt-daily-upgrade.timer")
		if err := os.Remove(filepath.Join(m.Tree.dir, "run/systemd/system")); err != nil {
			t.Fatal(err)
		}
		if got := updatesOf(t, m); got.State != tt.state || got.Reason != tt.reason {
			t.Errorf("without systemd, %s: %+v", tt.cron, got)
		}
	}
}

// TestAptConfHostile: what is not apt.conf is an error, never a setting.
func TestAptConfHostile(t *testing.T) {
	for _, s := range []string{
		`APT::Periodic::Enable "1`, `APT { Periodic {`, `}`, `/* `, `APT::Periodic::Enable "1"`, strings.Repeat("a{", 1000),
		`APT { x }`,
	} {
		conf := &aptConf{values: map[string]string{}, lists: map[string][]string{}}
		if err := conf.parse([]byte(s)); !errors.Is(err, errUnparsable) {
			t.Errorf("%.40q: %v", s, err)
		}
	}
	for value, on := range map[string]bool{"1": true, "always": true, "12h": true, "0": false, "": false, "no": false, "-1": false, "never": false} {
		if aptInterval(value) != on {
			t.Errorf("interval %q: %v", value, !on)
		}
	}
}

func FuzzAptConf(f *testing.F) {
	_ = filepath.WalkDir("testdata/updates/apt", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if b, err := os.ReadFile(path); err == nil {
				f.Add(b)
			}
		}
		return nil
	})
	// What is commented out sets nothing.
	f.Fuzz(func(t *testing.T, b []byte) {
		var s strings.Builder
		for line := range strings.Lines(string(b)) {
			s.WriteString("//" + line)
		}
		conf := &aptConf{values: map[string]string{}, lists: map[string][]string{}}
		if err := conf.parse([]byte(s.String())); err != nil || len(conf.values)+len(conf.lists) > 0 {
			t.Errorf("%q: %v %v", s.String(), err, conf)
		}
		_ = (&aptConf{values: map[string]string{}, lists: map[string][]string{}}).parse(b)
	})
}
