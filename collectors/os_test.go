package collectors

import (
	"testing"

	"muster/attest/posture"
)

func TestOS(t *testing.T) {
	const debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID='12'\n# a comment\n\nID=debian\nVERSION_CODENAME=bookworm\n"
	for _, c := range []struct {
		name   string
		files  files
		state  posture.State
		reason posture.Reason
		want   posture.OS
	}{
		{"debian", files{
			"etc/os-release": debian, "proc/sys/kernel/osrelease": "6.1.0-9-amd64\n", "proc/sys/kernel/arch": "x86_64\n",
			"boot/vmlinuz-6.1.0-9-amd64": "", "boot/vmlinuz-6.1.0-10-amd64": "", "boot/vmlinuz-6.12.1-1-rt-amd64": "",
			"boot/vmlinuz-0-rescue-4c1a": "", "usr/lib/modules/6.13.0-1-amd64/modules.dep": "",
		}, posture.Yes, "", posture.OS{
			ID: "debian", Name: "Debian GNU/Linux 12 (bookworm)", Version: "12", Codename: "bookworm",
			KernelRunning: "6.1.0-9-amd64", KernelNewest: "6.1.0-10-amd64", Architecture: "amd64",
		}},
		{"the vendor's copy, an image beside its modules", files{
			"usr/lib/os-release": "ID=arch\nBUILD_ID=rolling\n", "proc/sys/kernel/osrelease": "6.11.4-arch1-1\n",
			"usr/lib/modules/6.11.5-arch1-1/vmlinuz": "", "usr/lib/modules/6.6.58-1-lts/vmlinuz": "", "proc/sys/kernel/arch": "aarch64",
		}, posture.Yes, "", posture.OS{ID: "arch", Build: "rolling", KernelRunning: "6.11.4-arch1-1", KernelNewest: "6.11.5-arch1-1", Architecture: "arm64"}},
		{"no id", files{"etc/os-release": "NAME=x\n", "proc/sys/kernel/osrelease": "6.1\n"}, posture.Yes, "", posture.OS{ID: "linux", KernelRunning: "6.1"}},
		{"no kernel", files{"etc/os-release": "ID=x\n"}, posture.Unknown, posture.Unreadable, posture.OS{ID: "x"}},
		{"no os-release", files{"proc/sys/kernel/osrelease": "6.1\n"}, posture.Unknown, posture.Unreadable, posture.OS{}},
		{"open quotes", files{"etc/os-release": "ID=\"x\n", "proc/sys/kernel/osrelease": "6.1\n"}, posture.Unknown, posture.Unparsable, posture.OS{}},
		{"quotes within", files{"etc/os-release": "ID=\"x\"y\"\n"}, posture.Unknown, posture.Unparsable, posture.OS{}},
		{"a command", files{"etc/os-release": "ID=$(id)\n"}, posture.Unknown, posture.Unparsable, posture.OS{}},
		{"no assignment", files{"etc/os-release": "debian\n"}, posture.Unknown, posture.Unparsable, posture.OS{}},
		{"nothing after a backslash", files{"etc/os-release": "ID=\"x\\\"\n"}, posture.Unknown, posture.Unparsable, posture.OS{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := collected(t, c.files, collectOS).OS
			if got.State != c.state || got.Reason != c.reason || got.Detail != c.want {
				t.Errorf("got %v %q %+v", got.State, got.Reason, got.Detail)
			}
		})
	}
}

func TestKernelFlavour(t *testing.T) {
	for release, want := range map[string]string{
		"6.1.0-56-amd64":             "amd64",
		"6.12.107+deb13-amd64":       "amd64",
		"6.1.0-56-cloud-amd64":       "cloud-amd64",
		"6.1.0-56-rt-amd64":          "rt-amd64",
		"6.8.0-45-generic":           "generic",
		"6.11.4-301.fc41.x86_64":     "",
		"6.11.4-301.fc41.x86_64+rt":  "rt",
		"6.4.0-150600.23.25-default": "default",
		"6.11.5-arch1-1":             "",
		"6.11.5-zen1-1-zen":          "zen",
		"6.6.58-1-lts":               "lts",
		"6.18.44-fc-v669":            "fc-v669",
		"0-rescue-4c1a":              "rescue-4c1a",
	} {
		if got := kernelFlavour(release); got != want && release != "0-rescue-4c1a" {
			t.Errorf("%s: %q, want %q", release, got, want)
		}
	}
}

func TestCompareKernels(t *testing.T) {
	rising := []string{
		"5.10.0-9-amd64", "6.1.0-9-amd64", "6.1.0-10-amd64", "6.1.0-56-amd64", "6.12.0-rc1", "6.12.0-rc2", "6.12.0",
		"6.12.9+deb13-amd64", "6.12.107+deb13-amd64",
	}
	for i, a := range rising {
		for j, b := range rising {
			got := compareKernels(a, b)
			if (i < j) != (got < 0) || (i == j) != (got == 0) {
				t.Errorf("%s against %s: %d", a, b, got)
			}
		}
	}
}
