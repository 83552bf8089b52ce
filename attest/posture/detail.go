package posture

import "time"

// MaxPackages is how many names of pending updates a report carries at most.
const MaxPackages = 50

// OS says which system runs. Yes: it was identified. Whether it is still
// supported by its vendor is judged by the server.
type OS struct {
	ID            string `json:"id,omitempty"`             // debian, windows, macos: os-release ID
	Name          string `json:"name,omitempty"`           // for people
	Version       string `json:"version,omitempty"`        // 12, 24.04, 15.1
	Codename      string `json:"codename,omitempty"`       // bookworm
	Build         string `json:"build,omitempty"`          // 26100.2314, 24B83
	Edition       string `json:"edition,omitempty"`        // Enterprise, workstation
	KernelRunning string `json:"kernel_running,omitempty"` // release of the booted kernel
	KernelNewest  string `json:"kernel_newest,omitempty"`  // newest installed kernel of the same flavour
	Architecture  string `json:"architecture,omitempty"`   // as Go names it
}

// Patches says what is still to be installed. Yes: no security update is
// pending, by package lists that are young enough, and none waits for a reboot.
type Patches struct {
	Manager         string    `json:"manager,omitempty"`          // apt, dnf, zypper, pacman, rpm-ostree
	SecurityPending *int      `json:"security_pending,omitempty"` // absent: could not be counted
	OtherPending    *int      `json:"other_pending,omitempty"`    // absent: could not be counted
	Packages        []string  `json:"packages,omitempty"`         // names of pending security updates, at most MaxPackages
	MetadataAt      time.Time `json:"metadata_at,omitzero"`       // when the package lists were last fetched
	UpdatedAt       time.Time `json:"updated_at,omitzero"`        // when a package was last installed or upgraded
	RebootPending   State     `json:"reboot_pending"`             // yes: installed, but not yet running
	KernelPending   string    `json:"kernel_pending,omitempty"`   // the installed kernel that is not running
}

// DiskEncryption is the verdict over every mounted local data file system and
// swap. Yes: every leaf below each of them is encrypted.
type DiskEncryption struct {
	Volumes []Volume `json:"volumes,omitempty"`
}

// Volume is one file system, swap area or unmounted internal disk.
type Volume struct {
	Device    string     `json:"device"`              // kernel name: dm-0, nvme0n1p2
	Mount     string     `json:"mount,omitempty"`     // mount point; empty for swap and unmounted ones
	Use       VolumeUse  `json:"use"`                 // why it is listed
	FS        string     `json:"fs,omitempty"`        // ext4, btrfs, swap, BitLocker's NTFS
	Mechanism string     `json:"mechanism,omitempty"` // luks2, luks1, dm-crypt-plain, opal, zfs, bitlocker, apfs
	Protector string     `json:"protector,omitempty"` // tpm, tpm+pin, password, recovery-key
	State     State      `json:"state"`               // yes: encrypted all the way down
	Reason    Reason     `json:"reason,omitempty"`    // why not, or why unknown
	Leaves    []string   `json:"leaves,omitempty"`    // physical devices at the bottom of the walk
	Status    DiskStatus `json:"status,omitempty"`    // for mechanisms that have a life of their own
}

// VolumeUse says why a volume is listed. Only data and swap count.
type VolumeUse string

// The uses of a volume. Boot volumes (/boot, the EFI system partition) are
// plain on healthy laptops, and unmounted or removable ones hold no open data.
const (
	UseData      VolumeUse = "data"
	UseSwap      VolumeUse = "swap"
	UseHibernate VolumeUse = "hibernate"
	UseBoot      VolumeUse = "boot"
	UseUnmounted VolumeUse = "unmounted"
	UseRemovable VolumeUse = "removable"
)

// DiskStatus is the life of an encrypted volume, where the mechanism has one.
type DiskStatus string

// Encrypting and Decrypting are under way; Suspended has a clear key on disk;
// Deferred and WaitingActivation are configured but not effective.
const (
	Encrypting        DiskStatus = "encrypting"
	Decrypting        DiskStatus = "decrypting"
	Suspended         DiskStatus = "suspended"
	Deferred          DiskStatus = "deferred"
	WaitingActivation DiskStatus = "waiting-activation"
)

// HomeEncryption tells of per-person encryption (fscrypt, eCryptfs), which is
// never disk encryption. Yes: every home directory in use is encrypted.
type HomeEncryption struct {
	Mechanism string `json:"mechanism,omitempty"` // fscrypt, ecryptfs
	Homes     int    `json:"homes,omitempty"`     // how many were looked at
	Encrypted int    `json:"encrypted,omitempty"` // how many are encrypted
}

// Firewall says whether unasked-for packets are dropped. Yes: input is refused
// by default.
type Firewall struct {
	Manager       string `json:"manager,omitempty"`       // nftables, ufw, firewalld, iptables
	DefaultInput  string `json:"default_input,omitempty"` // accept, drop, reject
	InputChains   int    `json:"input_chains,omitempty"`  // base chains at the input hook that count
	ManagerActive State  `json:"manager_active"`          // ufw or firewalld say that they are on
}

// SecureBoot says whether firmware starts only signed programs. Yes: on, and
// not in setup mode.
type SecureBoot struct {
	Enabled      State     `json:"enabled"`
	SetupMode    State     `json:"setup_mode"`
	Shim         string    `json:"shim,omitempty"`        // shim's validation: enabled, disabled (MOK state)
	DBXModified  time.Time `json:"dbx_modified,omitzero"` // when the revocation list last changed, where told
	DBXSHA256    string    `json:"dbx_sha256,omitempty"`  // of the variable's content, hexadecimal
	SBATLevel    string    `json:"sbat_level,omitempty"`  // first line of SbatLevelRT
	UEFI         State     `json:"uefi"`                  // yes: started by UEFI
	VendorKeys   State     `json:"vendor_keys"`           // yes: keys as delivered
	DeployedMode State     `json:"deployed_mode"`         // yes: DeployedMode
}

// BootSecurity says whether the running kernel defends itself against its own
// administrator. Yes: lockdown (Linux), HVCI (Windows) or SIP (macOS) is in
// force.
type BootSecurity struct {
	Lockdown         string   `json:"lockdown,omitempty"`          // none, integrity, confidentiality
	ModuleSignatures State    `json:"module_signatures"`           // yes: only signed modules load
	LSM              []string `json:"lsm,omitempty"`               // active Linux security modules, in order
	SELinux          string   `json:"selinux,omitempty"`           // enforcing, permissive, absent
	AppArmorEnforced *int     `json:"apparmor_enforced,omitempty"` // profiles in enforce mode
	AppArmorOther    *int     `json:"apparmor_other,omitempty"`    // loaded profiles in another mode
	VBSRunning       State    `json:"vbs_running"`
	HVCIRunning      State    `json:"hvci_running"`
	CredentialGuard  State    `json:"credential_guard"`
	SIP              State    `json:"sip"`
	Gatekeeper       State    `json:"gatekeeper"`
}

// TPM says what the system sees of the TPM; what it proves is in the quote.
// Yes: a TPM 2.0 is there.
type TPM struct {
	Version      string `json:"version,omitempty"` // 2.0, 1.2
	Manufacturer string `json:"manufacturer,omitempty"`
	Model        string `json:"model,omitempty"`
	Firmware     string `json:"firmware,omitempty"`
	ResourceMgr  State  `json:"resource_manager"` // yes: /dev/tpmrm0 or TBS
	LogReadable  State  `json:"log_readable"`     // yes: the boot log could be read
	LogReason    Reason `json:"log_reason,omitempty"`
}

// Hardware holds labels that help people to find a laptop. They are never
// identity: vendors leave placeholders and images clone them. Yes: at least one
// label is not a placeholder.
type Hardware struct {
	Vendor    string `json:"vendor,omitempty"`
	Model     string `json:"model,omitempty"`
	Serial    string `json:"serial,omitempty"`
	UUID      string `json:"uuid,omitempty"`
	Asset     string `json:"asset,omitempty"`
	Chassis   string `json:"chassis,omitempty"` // laptop, desktop, server, virtual
	BIOS      string `json:"bios,omitempty"`
	BIOSDate  string `json:"bios_date,omitempty"`
	Hostname  string `json:"hostname,omitempty"`
	MachineID string `json:"machine_id_hash,omitempty"` // SHA-256 under muster's tag, never the id
}

// ScreenLock: yes means that every signed-in person's screen locks by itself
// and asks for a secret.
type ScreenLock struct {
	Sessions []ScreenLockSession `json:"sessions,omitempty"`
}

// ScreenLockSession is one person's desktop.
type ScreenLockSession struct {
	Desktop string `json:"desktop,omitempty"`
	State   State  `json:"state"`
	Reason  Reason `json:"reason,omitempty"`
	AfterS  int    `json:"after_s,omitempty"` // seconds until it locks
}

// MalwareProtection: yes means that a product says that it is on and current.
type MalwareProtection struct {
	Products []MalwareProduct `json:"products,omitempty"`
}

// MalwareProduct is one protection product.
type MalwareProduct struct {
	Name         string    `json:"name"`
	Version      string    `json:"version,omitempty"`
	Running      State     `json:"running"`
	SignaturesAt time.Time `json:"signatures_at,omitzero"`
}

// AutomaticUpdates: yes means configured, and the timer that does it is active.
type AutomaticUpdates struct {
	Mechanism  string `json:"mechanism,omitempty"` // unattended-upgrades, dnf-automatic
	Configured State  `json:"configured"`
	Active     State  `json:"active"`
}

// RemoteAccess: yes means that no remote access is open to guessing or to root.
type RemoteAccess struct {
	SSHRunning   State    `json:"ssh_running"`
	SSHPassword  State    `json:"ssh_password"`        // yes: passwords are accepted
	SSHRootLogin State    `json:"ssh_root_login"`      // yes: root may log in with any method
	Listening    []string `json:"listening,omitempty"` // rdp, vnc, telnet ... on other than loopback
}

// LocalAdministrators: yes means that administrators are a known few and must
// prove themselves.
type LocalAdministrators struct {
	Administrators int   `json:"administrators,omitempty"`
	NoPassword     State `json:"no_password"` // yes: someone becomes root without a secret
}

// MDM: yes means that a management service enrolled this laptop.
type MDM struct {
	Vendor string `json:"vendor,omitempty"`
	Server string `json:"server,omitempty"` // host name only
}
