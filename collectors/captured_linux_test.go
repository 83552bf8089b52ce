package collectors

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"muster/attest/posture"
)

// captured is what each captured system is known to be, read off its files by
// hand (testdata/linux/README.md).
var captured = map[string]struct {
	kernel     string
	disk       posture.State
	diskReason posture.Reason
	volumes    []posture.Volume
	secureBoot posture.State
	sbReason   posture.Reason
	firmware   posture.SecureBoot
	lockdown   string
	log        posture.State
	logReason  posture.Reason
	bios       string
	hostname   string
}{
	"nosb-direct-tis": {
		kernel: "6.1.0-56-amd64", disk: posture.Unknown, diskReason: posture.NothingMounted,
		secureBoot: posture.No, sbReason: posture.SecureBootOff, firmware: setupMode,
		lockdown: "none", log: posture.Yes, bios: "0.0.0",
	},
	"nosb-grub-linuxefi": {
		kernel: "6.1.0-56-amd64", disk: posture.Unknown, diskReason: posture.NothingMounted, volumes: idleDisk,
		secureBoot: posture.No, sbReason: posture.SecureBootOff, firmware: setupModeShim,
		lockdown: "none", log: posture.Yes, bios: "0.0.0",
	},
	"nosb-shim-grub": {
		kernel: "6.1.0-56-amd64", disk: posture.Unknown, diskReason: posture.NothingMounted, volumes: idleDisk,
		secureBoot: posture.No, sbReason: posture.SecureBootOff, firmware: setupModeShim,
		lockdown: "none", log: posture.No, logReason: posture.Unsupported, bios: "0.0.0",
	},
	"d13-nosb-shim-grub": {
		kernel: "6.12.107+deb13-amd64", disk: posture.Unknown, diskReason: posture.NothingMounted, volumes: idleDisk,
		secureBoot: posture.Unknown, sbReason: posture.Unsupported,
		firmware: posture.SecureBoot{UEFI: posture.Yes, Shim: "enabled", SBATLevel: "sbat,1,2021030218"},
		lockdown: "none", log: posture.No, logReason: posture.Unsupported, bios: "2025.02-8+deb13u1",
	},
	"sb-shim-grub": {
		kernel: "6.1.0-56-amd64", disk: posture.Unknown, diskReason: posture.NothingMounted, volumes: idleDisk,
		secureBoot: posture.Yes, firmware: locked,
		lockdown: "integrity", log: posture.Yes, bios: "0.0.0",
	},
	"d13-sb-shim-grub": {
		kernel: "6.12.107+deb13-amd64", disk: posture.Unknown, diskReason: posture.NothingMounted, volumes: idleDisk,
		secureBoot: posture.Yes, firmware: locked,
		lockdown: "integrity", log: posture.Yes, bios: "2025.02-8+deb13u1",
	},
	"sb-systemd-luks": {
		kernel: "6.1.0-56-amd64", disk: posture.No, diskReason: posture.PlainVolume,
		volumes: []posture.Volume{
			{Device: "vda", Mount: "/", Use: posture.UseData, FS: "ext4", State: posture.No, Reason: posture.PlainVolume, Leaves: []string{"vda"}},
			{Device: "dm-0", Use: posture.UseUnmounted, Mechanism: "luks2", State: posture.Yes, Leaves: []string{"vdb"}},
			{Device: "vdc", Use: posture.UseUnmounted, State: posture.Unknown, Reason: posture.NotMounted, Leaves: []string{"vdc"}},
		},
		secureBoot: posture.Yes, firmware: locked,
		lockdown: "integrity", log: posture.Yes, bios: "0.0.0", hostname: "feasvm",
	},
}

var (
	idleDisk  = []posture.Volume{{Device: "vda", Use: posture.UseUnmounted, State: posture.Unknown, Reason: posture.NotMounted, Leaves: []string{"vda"}}}
	setupMode = posture.SecureBoot{Enabled: posture.No, SetupMode: posture.Yes, VendorKeys: posture.Yes, UEFI: posture.Yes}
	// shim keeps its oldest revocations while Secure Boot is off.
	setupModeShim = posture.SecureBoot{Enabled: posture.No, SetupMode: posture.Yes, VendorKeys: posture.Yes, UEFI: posture.Yes, Shim: "enabled", SBATLevel: "sbat,1,2021030218"}
	locked        = posture.SecureBoot{
		Enabled: posture.Yes, SetupMode: posture.No, VendorKeys: posture.No, UEFI: posture.Yes, Shim: "enabled", SBATLevel: "sbat,1,2025021800",
		DBXSHA256: "6cc1e93b2b3f263e5442e1717348ab721230c33d9f69a7265e8480fd7f087ff9",
	}
)

func TestCapturedSystems(t *testing.T) {
	roots, err := filepath.Glob("testdata/linux/*/sys")
	must(t, err)
	if len(roots) < 4 {
		t.Fatalf("%d captured systems in testdata/linux", len(roots))
	}
	if more := os.Getenv("MUSTER_TEST_DATA"); more != "" {
		whole, err := filepath.Glob(filepath.Join(more, "eventlogs", "*", "tree", "sys"))
		must(t, err)
		roots = append(roots, whole...)
	}
	for _, sys := range roots {
		root := filepath.Dir(sys)
		name := filepath.Base(root)
		if name == "tree" {
			name = filepath.Base(filepath.Dir(root))
		}
		t.Run(name, func(t *testing.T) { checkCaptured(t, name, root) })
	}
}

func checkCaptured(t *testing.T, name, root string) {
	want, ok := captured[name]
	if !ok {
		t.Fatal("nobody wrote down what this system is")
	}
	got := Collect(context.Background(), machineAt(t, root))
	check := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
		}
	}
	check("os", got.OS.State, posture.Yes)
	check("os detail", got.OS.Detail, posture.OS{
		ID: "debian", Name: "Debian GNU/Linux 12 (bookworm)", Version: "12", Codename: "bookworm",
		KernelRunning: want.kernel, Architecture: "amd64",
	})
	check("disk_encryption", [2]any{got.DiskEncryption.State, got.DiskEncryption.Reason}, [2]any{want.disk, want.diskReason})
	if len(got.DiskEncryption.Detail.Volumes)+len(want.volumes) > 0 {
		check("volumes", got.DiskEncryption.Detail.Volumes, want.volumes)
	}
	check("secure_boot", [2]any{got.SecureBoot.State, got.SecureBoot.Reason}, [2]any{want.secureBoot, want.sbReason})
	check("secure_boot detail", got.SecureBoot.Detail, want.firmware)
	check("lockdown", got.BootSecurity.Detail.Lockdown, want.lockdown)
	check("boot_security", got.BootSecurity.State, yesNo(want.lockdown != "none"))
	check("selinux", got.BootSecurity.Detail.SELinux, "absent")
	check("tpm", got.TPM.State, posture.Yes)
	check("tpm detail", got.TPM.Detail, posture.TPM{Version: "2.0", LogReadable: want.log, LogReason: want.logReason})
	check("hardware", got.Hardware.State, posture.Yes)
	check("hardware detail", got.Hardware.Detail, posture.Hardware{
		Vendor: "QEMU", Model: "Standard PC (Q35 + ICH9, 2009)", Chassis: "virtual", BIOS: want.bios,
		BIOSDate: got.Hardware.Detail.BIOSDate, Hostname: want.hostname,
	})
	check("home_encryption", got.HomeEncryption.Reason, posture.Unreadable) // no passwd was captured
}
