package collectors

import (
	"strings"
	"testing"
	"unicode/utf8"

	"muster/attest/posture"
)

func TestHardware(t *testing.T) {
	const dmi = "sys/class/dmi/id/"
	got := collected(t, files{
		dmi + "sys_vendor":           "LENOVO\n",
		dmi + "product_name":         "21CB\n",
		dmi + "product_serial":       "To Be Filled By O.E.M.\n",
		dmi + "chassis_serial":       "PF3ABCDE\n",
		dmi + "product_uuid":         "4C4C4544-0042-3510-8052-B4C04F4D3732\n",
		dmi + "chassis_asset_tag":    "No Asset Information\n",
		dmi + "chassis_type":         "10\n",
		"proc/sys/kernel/hostname":   "anna-laptop\n",
		"proc/cpuinfo":               "processor\t: 0\nflags\t\t: fpu vme\n",
		"etc/machine-id":             "0123456789abcdef0123456789abcdef\n",
		dmi + "bios_version":         "N3AET80W\x00\x1b[31m\n",
		"sys/firmware/efi/unrelated": "",
	}, collectHardware).Hardware
	want := posture.Hardware{
		Vendor: "LENOVO", Model: "21CB", Serial: "PF3ABCDE", UUID: "4c4c4544-0042-3510-8052-b4c04f4d3732",
		Chassis: "laptop", BIOS: "N3AET80W[31m", Hostname: "anna-laptop",
		// printf 'muster/machine-id/10123456789abcdef0123456789abcdef' | sha256sum
		MachineID: "c311226d4a3d1b7c0ba63a2875754ba63c1bebdfbc070146bb4e79fa3355157b",
	}
	if got.State != posture.Yes || got.Reason != "" || got.Detail != want {
		t.Errorf("got %v %q %+v", got.State, got.Reason, got.Detail)
	}
}

func TestHardwareWithoutLabels(t *testing.T) {
	got := collected(t, files{
		"sys/class/dmi/id/sys_vendor":     "System manufacturer\n",
		"sys/class/dmi/id/product_name":   "System Product Name\n",
		"sys/class/dmi/id/product_serial": "00000000\n",
		"sys/class/dmi/id/product_uuid":   "03000200-0400-0500-0006-000700080009\n",
		"proc/sys/kernel/hostname":        "(none)\n",
		"etc/machine-id":                  "uninitialized\n",
	}, collectHardware).Hardware
	if got.State != posture.Unknown || got.Reason != posture.Unsupported || got.Detail != (posture.Hardware{}) {
		t.Errorf("got %v %q %+v", got.State, got.Reason, got.Detail)
	}
}

func TestPlaceholders(t *testing.T) {
	for _, s := range []string{
		"", " ", "0", "00000000", "FFFFFFFF", "........", "None", "none.", "Default string", "To be filled by O.E.M.",
		"Not Specified", "System Serial Number", "123456789", "\x00\x00", "INVALID", "N/A", "localhost", "(none)",
	} {
		if got := realLabel(s); got != "" {
			t.Errorf("%q is a label: %q", s, got)
		}
	}
	for _, s := range []string{
		"00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
		"03000200-0400-0500-0006-000700080009", "not-a-uuid", "4c4c4544-0042-3510-8052-b4c04f4d373g",
	} {
		if got := realUUID(s); got != "" {
			t.Errorf("%q is a UUID: %q", s, got)
		}
	}
	if got := label("ok \xff\x00\u202e" + strings.Repeat("é", 200)); len(got) > maxLabel || !utf8.ValidString(got) || !strings.HasPrefix(got, "ok é") {
		t.Errorf("label %q", got)
	}
}

func TestVirtual(t *testing.T) {
	for flags, want := range map[string]string{"fpu hypervisor lahf_lm": "virtual", "fpu lahf_lm": "laptop", "nohypervisor": "laptop"} {
		got := collected(t, files{
			"proc/cpuinfo":                  "flags\t\t: " + flags + "\n",
			"sys/class/dmi/id/chassis_type": "9\n",
		}, collectHardware).Hardware.Detail.Chassis
		if got != want {
			t.Errorf("%s: %q, want %q", flags, got, want)
		}
	}
}

func TestTPM(t *testing.T) {
	const dir = "sys/class/tpm/tpm0/"
	const log = "sys/kernel/security/tpm0/binary_bios_measurements"
	for _, c := range []struct {
		name   string
		files  files
		state  posture.State
		reason posture.Reason
		detail posture.TPM
	}{
		{"2.0 with all", files{dir + "tpm_version_major": "2\n", "dev/tpmrm0": "", log: "x"}, posture.Yes, "",
			posture.TPM{Version: "2.0", ResourceMgr: posture.Yes, LogReadable: posture.Yes}},
		{"2.0 without a log", files{dir + "tpm_version_major": "2\n", "sys/kernel/security/lsm": ""}, posture.Yes, "",
			posture.TPM{Version: "2.0", LogReadable: posture.No, LogReason: posture.Unsupported}},
		{"2.0, empty log", files{dir + "tpm_version_major": "2\n", log: ""}, posture.Yes, "",
			posture.TPM{Version: "2.0", LogReadable: posture.No, LogReason: posture.Unreadable}},
		{"2.0, securityfs not mounted", files{dir + "tpm_version_major": "2\n"}, posture.Yes, "",
			posture.TPM{Version: "2.0", LogReason: posture.NotMounted}},
		{"1.2", files{dir + "tpm_version_major": "1\n"}, posture.No, posture.TPMTooOld,
			posture.TPM{Version: "1.2", LogReason: posture.NotMounted}},
		{"1.2 and 2.0", files{dir + "tpm_version_major": "1\n", "sys/class/tpm/tpm1/tpm_version_major": "2\n"}, posture.Yes, "",
			posture.TPM{Version: "2.0", LogReason: posture.NotMounted}},
		{"no version", files{dir + "dev": "10:224\n"}, posture.Unknown, posture.Unreadable, posture.TPM{LogReason: posture.NotMounted}},
		{"none", files{"sys/class/net/x": ""}, posture.No, posture.NoTPM, posture.TPM{}},
		{"no driver", files{"sys/class/net/x": "", "sys/firmware/acpi/tables/TPM2": "x"}, posture.Unknown, posture.Unsupported, posture.TPM{}},
		{"no sysfs", files{"etc/x": ""}, posture.Unknown, posture.Unreadable, posture.TPM{}},
		{"something else of that name", files{"sys/class/tpm/tpmfoo/tpm_version_major": "2\n"}, posture.No, posture.NoTPM, posture.TPM{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := collected(t, c.files, collectTPM).TPM
			if got.State != c.state || got.Reason != c.reason || got.Detail != c.detail {
				t.Errorf("got %v %q %+v", got.State, got.Reason, got.Detail)
			}
		})
	}
}
