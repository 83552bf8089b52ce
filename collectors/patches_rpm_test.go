package collectors

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/attest/posture"
)

func fedora() map[string]string {
	return map[string]string{
		"etc/os-release":            "ID=fedora\n",
		"proc/sys/kernel/osrelease": "6.11.4-301.fc41.x86_64\n",
		"etc/yum.repos.d/demo.repo": "[demo]\nname=demo\nenabled=1\n[off]\nenabled=0\n[away]\nskip_if_unavailable=True\n",
		"var/cache/dnf/demo-594ddd2e217a55c7/repodata/repomd.xml":             "",
		"var/cache/dnf/demo-594ddd2e217a55c7/repodata/2b51-updateinfo.xml.gz": "",
	}
}

const dnfInfo = "var/cache/dnf/demo-594ddd2e217a55c7/repodata/2b51-updateinfo.xml.gz"

func TestPatchesDnf(t *testing.T) {
	for _, tt := range []struct {
		name, out       string
		age             time.Duration
		files           map[string]string
		state           posture.State
		reason          posture.Reason
		security, other int
	}{
		{"nothing pending", "none", day, fedora(), posture.Yes, "", 0, 0},
		{"security", "security", day, fedora(), posture.No, posture.UpdatesPending, 1, 1},
		{"other only", "other", day, fedora(), posture.Yes, "", 0, 1},
		{"no advisories", "noinfo", day, without(fedora(), dnfInfo), posture.Unknown, posture.Unsupported, -1, 2},
		{"no advisories, nothing pending", "none", day, without(fedora(), dnfInfo), posture.Yes, "", -1, 0},
		{"no cache", "nocache", day, fedora(), posture.Unknown, posture.Unreadable, -1, -1},
		{"stale", "none", 8 * day, fedora(), posture.Unknown, posture.StaleMetadata, 0, 0},
		{"one repository never fetched", "none", day, with(fedora(), "etc/yum.repos.d/more.repo", "[more]\n"), posture.Unknown, posture.StaleMetadata, 0, 0},
		{"no repositories", "none", day, without(fedora(), "etc/yum.repos.d/demo.repo"), posture.Unknown, posture.StaleMetadata, -1, 0},
		{"broken configuration", "none", day, with(fedora(), "etc/yum.repos.d/more.repo", "enabled=1\n"), posture.Unknown, posture.Unparsable, -1, -1},
		{"newer kernel", "none", day, with(fedora(), "boot/vmlinuz-6.11.10-300.fc41.x86_64", ""), posture.No, posture.RebootPending, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := patchesOf(t, patchesMachine(t, tt.age, tt.files, func(name string, args []string) string {
				if name != "dnf" || !slices.Contains(args, "-C") {
					t.Errorf("ran %s %v", name, args)
				}
				if slices.Contains(args, "updateinfo") {
					return "dnf/" + tt.out + "-security"
				}
				return "dnf/" + tt.out + "-check-update"
			}))
			if got.State != tt.state || got.Reason != tt.reason || told(got.Detail.SecurityPending) != tt.security || told(got.Detail.OtherPending) != tt.other {
				t.Errorf("got %v %q %d %d, want %v %q %d %d", got.State, got.Reason, told(got.Detail.SecurityPending),
					told(got.Detail.OtherPending), tt.state, tt.reason, tt.security, tt.other)
			}
		})
	}
}

func TestDnfAdvisories(t *testing.T) {
	for name, tt := range map[string]struct {
		out  string
		want []string
	}{
		"dnf 4": {"MUSTER-2026-1 Important/Sec. muster-weak-1.1-1.noarch\n", []string{"muster-weak"}},
		"dnf 5, older": {"Name                   Type Severity                    Package              Issued\n" +
			"FEDORA-2024-635a54eb7e secu Importan   glib2-2.80.2-1.fc40.x86_64 2024-05-12 04:16:43\n" +
			"FEDORA-2024-735a54eb7e secu Importan   glib2-2.80.3-1.fc40.x86_64 2024-06-12 04:16:43\n", []string{"glib2"}},
		"dnf 5":         {"Name Type Severity Package Issued\nA-1 security None a-b-1:2-3.x86_64 2024-05-12 04:16:43\n", []string{"a-b"}},
		"nothing":       {"", nil},
		"title alone":   {"Name Type Severity Package Issued\n", nil},
		"cut":           {"A-1 security None a-b-1:2-3.x86_64 2024\n", []string{"!"}},
		"words":         {"Error in something\n", []string{"!"}},
		"other columns": {"A-1 security a-1-1.noarch now\n", []string{"!"}},
	} {
		got, err := parseDnfAdvisories([]byte(tt.out))
		if len(tt.want) == 1 && tt.want[0] == "!" {
			if !errors.Is(err, errUnparsable) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
			continue
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, tt.want)
		}
	}
}

func TestDnfUpdates(t *testing.T) {
	for name, tt := range map[string]struct {
		out  string
		want int // -1: an error
	}{
		"two":       {"\na.x86_64   1-2   updates\nb.noarch 2:3-4 updates\n", 2},
		"obsoletes": {"a.x86_64 1-2 updates\nObsoleting Packages\nc.x86_64 1-2 updates\n    d.x86_64 1-1 @System\n", 1},
		"title":     {"Available upgrades\na.x86_64 1-2 updates\n", 1},
		"reminder":  {"Security: kernel-core-6.1 is an installed security update\n", 0},
		"words":     {"Something went wrong here\n", -1},
		"short":     {"a.x86_64 1-2\n", -1},
	} {
		got, err := parseDnfUpdates([]byte(tt.out))
		if tt.want < 0 != (err != nil) || err == nil && len(got) != tt.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func suse() map[string]string {
	return map[string]string{
		"etc/os-release":                              "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n",
		"proc/sys/kernel/osrelease":                   "6.4.0-150600.23.25-default\n",
		"etc/zypp/repos.d/demo.repo":                  "[demo]\nname=demo\nenabled=1\n",
		"var/cache/zypp/raw/demo/repodata/repomd.xml": "",
	}
}

func TestPatchesZypper(t *testing.T) {
	for _, tt := range []struct {
		name, out       string
		age             time.Duration
		files           map[string]string
		state           posture.State
		reason          posture.Reason
		security, other int
	}{
		{"nothing pending", "none", day, suse(), posture.Yes, "", 0, 0},
		{"security", "security", day, suse(), posture.No, posture.UpdatesPending, 1, 1},
		{"other only", "other", day, suse(), posture.Yes, "", 0, 1},
		{"no patches", "noinfo", day, suse(), posture.Unknown, posture.Unsupported, -1, 2},
		{"stale", "none", 8 * day, suse(), posture.Unknown, posture.StaleMetadata, 0, 0},
		{"never fetched", "none", day, without(suse(), "var/cache/zypp/raw/demo/repodata/repomd.xml"), posture.Unknown, posture.StaleMetadata, 0, 0},
		{"flag", "none", day, with(suse(), "run/reboot-needed", ""), posture.No, posture.RebootPending, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := patchesOf(t, patchesMachine(t, tt.age, tt.files, func(name string, args []string) string {
				if name != "zypper" || !slices.Contains(args, "--no-refresh") {
					t.Errorf("ran %s %v", name, args)
				}
				if slices.Contains(args, "list-updates") {
					return "zypper/" + tt.out + "-updates"
				}
				return "zypper/" + tt.out + "-patches"
			}))
			if got.State != tt.state || got.Reason != tt.reason || told(got.Detail.SecurityPending) != tt.security || told(got.Detail.OtherPending) != tt.other {
				t.Errorf("got %v %q %d %d, want %v %q %d %d", got.State, got.Reason, told(got.Detail.SecurityPending),
					told(got.Detail.OtherPending), tt.state, tt.reason, tt.security, tt.other)
			}
		})
	}
}

func TestZypperCut(t *testing.T) {
	b, err := os.ReadFile("testdata/zypper/security-patches.out")
	if err != nil {
		t.Fatal(err)
	}
	end := strings.Index(string(b), "</stream>") + len("</stream>")
	for i := range end {
		if list, err := parseZypper(b[:i]); !errors.Is(err, errUnparsable) {
			t.Fatalf("the first %d bytes: %+v, %v", i, list, err)
		}
	}
}

func TestPatchesPacman(t *testing.T) {
	arch := func() map[string]string {
		return map[string]string{
			"etc/os-release": "ID=arch\n", "proc/sys/kernel/osrelease": "6.6.7-arch1-1\n",
			"usr/lib/modules/6.6.7-arch1-1/vmlinuz": "", "var/lib/pacman/sync/core.db": "",
		}
	}
	for _, tt := range []struct {
		name, out string
		age       time.Duration
		files     map[string]string
		state     posture.State
		reason    posture.Reason
	}{
		{"nothing pending", "none", day, arch(), posture.Yes, ""},
		{"pending", "pending", day, arch(), posture.No, posture.UpdatesPending},
		{"stale", "none", 8 * day, arch(), posture.Unknown, posture.StaleMetadata},
		{"never fetched", "nodb", day, without(arch(), "var/lib/pacman/sync/core.db"), posture.Unknown, posture.Unreadable},
		{"broken", "broken", day, arch(), posture.Unknown, posture.Unreadable},
		{"newer kernel", "none", day, without(with(arch(), "usr/lib/modules/6.6.8-arch1-1/vmlinuz", ""), "usr/lib/modules/6.6.7-arch1-1/vmlinuz"), posture.No, posture.RebootPending},
	} {
		got := patchesOf(t, patchesMachine(t, tt.age, tt.files, func(string, []string) string { return "pacman/" + tt.out }))
		if got.State != tt.state || got.Reason != tt.reason {
			t.Errorf("%s: %v %q, want %v %q", tt.name, got.State, got.Reason, tt.state, tt.reason)
		}
	}
}

func TestPatchesOstree(t *testing.T) {
	files := map[string]string{"run/ostree-booted": "", "proc/sys/kernel/osrelease": "6.11.4-301.fc41.x86_64\n"}
	for _, tt := range []struct {
		out    string
		state  posture.State
		reason posture.Reason
	}{
		{"current", posture.Yes, ""},
		{"staged", posture.No, posture.RebootPending},
		{"known", posture.No, posture.UpdatesPending},
		{"old", posture.Unknown, posture.StaleMetadata},
		{"not-booted", posture.Unknown, posture.Unparsable},
	} {
		got := patchesOf(t, patchesMachine(t, day, files, func(string, []string) string { return "ostree/" + tt.out }))
		if got.State != tt.state || got.Reason != tt.reason {
			t.Errorf("%s: %v %q, want %v %q", tt.out, got.State, got.Reason, tt.state, tt.reason)
		}
	}
}
