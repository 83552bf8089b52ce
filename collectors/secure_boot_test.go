package collectors

import (
	"testing"

	"muster/attest/posture"
)

func TestSecureBoot(t *testing.T) {
	const (
		on   = "\x06\x00\x00\x00\x01"
		off  = "\x06\x00\x00\x00\x00"
		dir  = "sys/firmware/efi/efivars/"
		sb   = dir + "SecureBoot-" + efiGlobal
		sm   = dir + "SetupMode-" + efiGlobal
		mok  = dir + "MokSBStateRT-" + efiShim
		boot = dir + "BootOrder-" + efiGlobal
	)
	for _, c := range []struct {
		name   string
		files  files
		state  posture.State
		reason posture.Reason
	}{
		{"on", files{sb: on, sm: off}, posture.Yes, ""},
		{"off", files{sb: off, sm: off}, posture.No, posture.SecureBootOff},
		{"off, in setup mode", files{sb: off, sm: on}, posture.No, posture.SecureBootOff},
		{"on, in setup mode", files{sb: on, sm: on}, posture.No, posture.SetupMode},
		{"on, setup mode not told", files{sb: on}, posture.Unknown, posture.Unreadable},
		{"on, shim lets everything through", files{sb: on, sm: off, mok: on}, posture.No, posture.SecureBootOff},
		{"on, shim verifies", files{sb: on, sm: off, mok: off}, posture.Yes, ""},
		{"firmware without it", files{boot: off}, posture.Unknown, posture.Unsupported},
		{"efivarfs not mounted", files{"sys/firmware/efi/fw_platform_size": "64\n"}, posture.Unknown, posture.NotMounted},
		{"legacy BIOS", files{"sys/firmware/memmap/0/type": "x"}, posture.No, posture.NoUEFI},
		{"no sysfs", files{"etc/os-release": ""}, posture.Unknown, posture.Unreadable},
		{"neither 0 nor 1", files{sb: "\x06\x00\x00\x00\x02", sm: off}, posture.Unknown, posture.Unparsable},
		{"attributes alone", files{sb: "\x06\x00\x00\x00", sm: off}, posture.Unknown, posture.Unparsable},
		{"two bytes", files{sb: on + "\x00", sm: off}, posture.Unknown, posture.Unparsable},
		{"empty", files{sb: "", sm: off}, posture.Unknown, posture.Unparsable},
		{"setup mode of two bytes", files{sb: on, sm: off + "\x00"}, posture.Unknown, posture.Unparsable},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := secureBoot(treeOf(t, c.files)); got.State != c.state || got.Reason != c.reason {
				t.Errorf("got %v %q, want %v %q: %+v", got.State, got.Reason, c.state, c.reason, got.Detail)
			}
		})
	}
}

func TestBootSecurity(t *testing.T) {
	const lockdown, sig = "sys/kernel/security/lockdown", "sys/module/module/parameters/sig_enforce"
	for _, c := range []struct {
		name    string
		files   files
		state   posture.State
		reason  posture.Reason
		modules posture.State
	}{
		{"integrity", files{lockdown: "none [integrity] confidentiality\n"}, posture.Yes, "", posture.Yes},
		{"confidentiality", files{lockdown: "none integrity [confidentiality]\n", sig: "N\n"}, posture.Yes, "", posture.Yes},
		{"none", files{lockdown: "[none] integrity confidentiality\n", sig: "N\n"}, posture.No, posture.NoLockdown, posture.No},
		{"none, signed modules only", files{lockdown: "[none] integrity\n", sig: "Y\n"}, posture.No, posture.NoLockdown, posture.Yes},
		{"kernel without lockdown", files{"sys/kernel/security/lsm": "capability"}, posture.No, posture.NoLockdown, posture.Unknown},
		{"securityfs not mounted", files{"sys/kernel/x": ""}, posture.Unknown, posture.NotMounted, posture.Unknown},
		{"no level in brackets", files{lockdown: "none integrity\n"}, posture.Unknown, posture.Unparsable, posture.Unknown},
		{"two levels in brackets", files{lockdown: "[none] [integrity]\n"}, posture.Unknown, posture.Unparsable, posture.Unknown},
		{"half a bracket", files{lockdown: "none integrity] confidentiality\n"}, posture.Unknown, posture.Unparsable, posture.Unknown},
		{"a level nobody knows", files{lockdown: "none [total]\n"}, posture.Unknown, posture.Unparsable, posture.Unknown},
		{"empty", files{lockdown: ""}, posture.Unknown, posture.Unparsable, posture.Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := collected(t, c.files, collectBootSecurity).BootSecurity
			if got.State != c.state || got.Reason != c.reason || got.Detail.ModuleSignatures != c.modules {
				t.Errorf("got %v %q, modules %v", got.State, got.Reason, got.Detail.ModuleSignatures)
			}
		})
	}
}

func TestBootSecurityDetail(t *testing.T) {
	got := collected(t, files{
		"sys/kernel/security/lsm":               "lockdown,capability,selinux,apparmor",
		"sys/fs/selinux/enforce":                "0",
		"sys/kernel/security/apparmor/profiles": "/usr/bin/man (enforce)\nfirefox (complain)\n/a b (c) (enforce)\nsnap (kill)\n",
	}, collectBootSecurity).BootSecurity.Detail
	if len(got.LSM) != 4 || got.SELinux != "permissive" || *got.AppArmorEnforced != 2 || *got.AppArmorOther != 2 {
		t.Errorf("got %+v", got)
	}
	for _, bad := range []string{"x\n", "(enforce)\n", "a (enforce\n", "a (enforce)\n\n"} {
		if _, _, err := parseProfiles([]byte(bad)); err == nil {
			t.Errorf("%q was understood", bad)
		}
	}
}
