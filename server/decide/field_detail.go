package decide

import (
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"muster/attest/posture"
	"muster/server/verify"
)

// detailOf makes the fields of one claim's detail. Each is unknown while the
// claim is, and where the detail is absent: an empty string or list, a number
// that is zero because it was omitted, a time that is zero.
type detailOf[D any] struct {
	claim string
	of    func(*verify.Result) *posture.Of[D]
}

func (d detailOf[D]) field(name string, typ *cel.Type, read func(*D) ref.Val) field {
	return field{path: "device." + d.claim + "." + name, claim: d.claim, typ: typ, read: func(r *reading) ref.Val {
		if of := d.of(&r.in.Device); told(of.State) {
			return read(&of.Detail)
		}
		return nil
	}}
}

func (d detailOf[D]) text(name string, read func(*D) string) field {
	return d.field(name, cel.StringType, func(detail *D) ref.Val { return textValue(read(detail)) })
}

func (d detailOf[D]) state(name string, read func(*D) posture.State) field {
	return d.field(name, stateType, func(detail *D) ref.Val { return stateValue(read(detail)) })
}

// count is of a number that is absent when nil.
func (d detailOf[D]) count(name string, read func(*D) *int) field {
	return d.field(name, cel.IntType, func(detail *D) ref.Val {
		if n := read(detail); n != nil {
			return types.Int(*n)
		}
		return nil
	})
}

// number is of a number that is absent when zero.
func (d detailOf[D]) number(name string, read func(*D) int) field {
	return d.field(name, cel.IntType, func(detail *D) ref.Val {
		if n := read(detail); n != 0 {
			return types.Int(n)
		}
		return nil
	})
}

// list is of strings; an empty one says nothing, since it reads the same as one
// that nobody filled in.
func (d detailOf[D]) list(name string, read func(*D) []string) field {
	return d.field(name, cel.ListType(cel.StringType), func(detail *D) ref.Val {
		if l := read(detail); len(l) > 0 {
			return types.NewStringList(types.DefaultTypeAdapter, l)
		}
		return nil
	})
}

// age is the time since one that the detail names.
func (d detailOf[D]) age(name string, read func(*D) time.Time) field {
	return field{path: "device." + d.claim + "." + name, claim: d.claim, typ: cel.DurationType, since: func(r *reading) time.Time {
		if of := d.of(&r.in.Device); told(of.State) {
			return read(&of.Detail)
		}
		return time.Time{}
	}}
}

func textValue(s string) ref.Val {
	if s == "" {
		return nil
	}
	return types.String(s)
}

// details are the fields of all details that a rule may rest on. Labels and
// names for people (serial numbers, mount points, products) are left out: they
// identify nothing that could be relied on.
func details() []field {
	var list []field
	for _, part := range [][]field{systemDetails(), storageDetails(), networkDetails(), bootDetails(), peopleDetails()} {
		list = append(list, part...)
	}
	return list
}

func systemDetails() []field {
	os := detailOf[posture.OS]{"os", func(r *verify.Result) *posture.Of[posture.OS] { return &r.Claims.OS }}
	patches := detailOf[posture.Patches]{"patches", func(r *verify.Result) *posture.Of[posture.Patches] { return &r.Claims.Patches }}
	updates := detailOf[posture.AutomaticUpdates]{"automatic_updates", func(r *verify.Result) *posture.Of[posture.AutomaticUpdates] {
		return &r.Claims.AutomaticUpdates
	}}
	return []field{
		os.text("id", func(d *posture.OS) string { return d.ID }),
		os.text("version", func(d *posture.OS) string { return d.Version }),
		os.text("codename", func(d *posture.OS) string { return d.Codename }),
		os.text("build", func(d *posture.OS) string { return d.Build }),
		os.text("edition", func(d *posture.OS) string { return d.Edition }),
		os.text("kernel", func(d *posture.OS) string { return d.KernelRunning }),
		os.text("architecture", func(d *posture.OS) string { return d.Architecture }),
		patches.text("manager", func(d *posture.Patches) string { return d.Manager }),
		patches.count("security_pending", func(d *posture.Patches) *int { return d.SecurityPending }),
		patches.count("other_pending", func(d *posture.Patches) *int { return d.OtherPending }),
		patches.field("packages", cel.ListType(cel.StringType), pendingPackages),
		patches.state("reboot_pending", func(d *posture.Patches) posture.State { return d.RebootPending }),
		patches.age("metadata_age", func(d *posture.Patches) time.Time { return d.MetadataAt }),
		patches.age("updated_age", func(d *posture.Patches) time.Time { return d.UpdatedAt }),
		updates.text("mechanism", func(d *posture.AutomaticUpdates) string { return d.Mechanism }),
		updates.state("configured", func(d *posture.AutomaticUpdates) posture.State { return d.Configured }),
		updates.state("active", func(d *posture.AutomaticUpdates) posture.State { return d.Active }),
	}
}

// pendingPackages is known only when it names all of them: the list is cut at
// fifty, and a personal laptop sends none.
func pendingPackages(d *posture.Patches) ref.Val {
	if d.SecurityPending == nil || *d.SecurityPending != len(d.Packages) {
		return nil
	}
	return types.NewStringList(types.DefaultTypeAdapter, d.Packages)
}

func storageDetails() []field {
	disk := detailOf[posture.DiskEncryption]{"disk_encryption", func(r *verify.Result) *posture.Of[posture.DiskEncryption] {
		return &r.Claims.DiskEncryption
	}}
	home := detailOf[posture.HomeEncryption]{"home_encryption", func(r *verify.Result) *posture.Of[posture.HomeEncryption] {
		return &r.Claims.HomeEncryption
	}}
	return []field{
		disk.list("mechanisms", func(d *posture.DiskEncryption) []string {
			return ofVolumes(d, func(v *posture.Volume) string { return v.Mechanism })
		}),
		disk.list("protectors", func(d *posture.DiskEncryption) []string {
			return ofVolumes(d, func(v *posture.Volume) string { return v.Protector })
		}),
		home.text("mechanism", func(d *posture.HomeEncryption) string { return d.Mechanism }),
	}
}

// ofVolumes collects one word of every volume that counts (data, swap and
// hibernation), or nothing when one of them lacks it: a list without its unknown
// members would satisfy all().
func ofVolumes(d *posture.DiskEncryption, word func(*posture.Volume) string) []string {
	var words []string
	for i := range d.Volumes {
		switch v := &d.Volumes[i]; v.Use {
		case posture.UseBoot, posture.UseUnmounted, posture.UseRemovable:
		default:
			w := word(v)
			if w == "" {
				return nil
			}
			words = append(words, w)
		}
	}
	return words
}

func networkDetails() []field {
	firewall := detailOf[posture.Firewall]{"firewall", func(r *verify.Result) *posture.Of[posture.Firewall] { return &r.Claims.Firewall }}
	remote := detailOf[posture.RemoteAccess]{"remote_access", func(r *verify.Result) *posture.Of[posture.RemoteAccess] { return &r.Claims.RemoteAccess }}
	return []field{
		firewall.text("manager", func(d *posture.Firewall) string { return d.Manager }),
		firewall.text("default_input", func(d *posture.Firewall) string { return d.DefaultInput }),
		firewall.state("manager_active", func(d *posture.Firewall) posture.State { return d.ManagerActive }),
		remote.state("ssh_running", func(d *posture.RemoteAccess) posture.State { return d.SSHRunning }),
		remote.state("ssh_password", func(d *posture.RemoteAccess) posture.State { return d.SSHPassword }),
		remote.state("ssh_root_login", func(d *posture.RemoteAccess) posture.State { return d.SSHRootLogin }),
		remote.list("listening", func(d *posture.RemoteAccess) []string { return d.Listening }),
	}
}

func bootDetails() []field {
	secure := detailOf[posture.SecureBoot]{"secure_boot", func(r *verify.Result) *posture.Of[posture.SecureBoot] { return &r.Claims.SecureBoot }}
	boot := detailOf[posture.BootSecurity]{"boot_security", func(r *verify.Result) *posture.Of[posture.BootSecurity] { return &r.Claims.BootSecurity }}
	tpm := detailOf[posture.TPM]{"tpm", func(r *verify.Result) *posture.Of[posture.TPM] { return &r.Claims.TPM }}
	return []field{
		secure.state("enabled", func(d *posture.SecureBoot) posture.State { return d.Enabled }),
		secure.state("setup_mode", func(d *posture.SecureBoot) posture.State { return d.SetupMode }),
		secure.text("shim", func(d *posture.SecureBoot) string { return d.Shim }),
		secure.state("uefi", func(d *posture.SecureBoot) posture.State { return d.UEFI }),
		secure.state("vendor_keys", func(d *posture.SecureBoot) posture.State { return d.VendorKeys }),
		secure.state("deployed_mode", func(d *posture.SecureBoot) posture.State { return d.DeployedMode }),
		secure.age("dbx_age", func(d *posture.SecureBoot) time.Time { return d.DBXModified }),
		boot.text("lockdown", func(d *posture.BootSecurity) string { return d.Lockdown }),
		boot.state("module_signatures", func(d *posture.BootSecurity) posture.State { return d.ModuleSignatures }),
		boot.list("lsm", func(d *posture.BootSecurity) []string { return d.LSM }),
		boot.text("selinux", func(d *posture.BootSecurity) string { return d.SELinux }),
		boot.count("apparmor_enforced", func(d *posture.BootSecurity) *int { return d.AppArmorEnforced }),
		boot.state("vbs_running", func(d *posture.BootSecurity) posture.State { return d.VBSRunning }),
		boot.state("hvci_running", func(d *posture.BootSecurity) posture.State { return d.HVCIRunning }),
		boot.state("credential_guard", func(d *posture.BootSecurity) posture.State { return d.CredentialGuard }),
		boot.state("sip", func(d *posture.BootSecurity) posture.State { return d.SIP }),
		boot.state("gatekeeper", func(d *posture.BootSecurity) posture.State { return d.Gatekeeper }),
		tpm.text("version", func(d *posture.TPM) string { return d.Version }),
		tpm.text("manufacturer", func(d *posture.TPM) string { return d.Manufacturer }),
		tpm.text("firmware", func(d *posture.TPM) string { return d.Firmware }),
	}
}

func peopleDetails() []field {
	admins := detailOf[posture.LocalAdministrators]{"local_administrators", func(r *verify.Result) *posture.Of[posture.LocalAdministrators] {
		return &r.Claims.LocalAdministrators
	}}
	malware := detailOf[posture.MalwareProtection]{"malware_protection", func(r *verify.Result) *posture.Of[posture.MalwareProtection] {
		return &r.Claims.MalwareProtection
	}}
	mdm := detailOf[posture.MDM]{"mdm", func(r *verify.Result) *posture.Of[posture.MDM] { return &r.Claims.MDM }}
	return []field{
		admins.number("administrators", func(d *posture.LocalAdministrators) int { return d.Administrators }),
		admins.state("no_password", func(d *posture.LocalAdministrators) posture.State { return d.NoPassword }),
		malware.list("products", func(d *posture.MalwareProtection) []string {
			names := make([]string, len(d.Products))
			for i, p := range d.Products {
				names[i] = p.Name
			}
			return names
		}),
		mdm.text("vendor", func(d *posture.MDM) string { return d.Vendor }),
		mdm.text("server", func(d *posture.MDM) string { return d.Server }),
	}
}
