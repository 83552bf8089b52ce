package posture

import (
	"iter"
	"time"
)

// Report is everything that a laptop says of itself at one moment. It is signed
// as the exact bytes that are sent (SPEC.md §3) and parsed by attest.Open alone.
type Report struct {
	// Agent is the version of the program that made it.
	Agent string `json:"agent"`
	// Platform is linux, windows or darwin.
	Platform Platform `json:"platform"`
	// Profile says which claims may leave the laptop.
	Profile Profile `json:"profile"`
	// BootID changes with every start of the system: 1 to 64 bytes of
	// printable ASCII.
	BootID string `json:"boot_id"`
	// CollectedAt is when the youngest claim was looked at, UTC, whole seconds.
	CollectedAt time.Time `json:"collected_at"`
	// Claims has one member per claim, always all of them.
	Claims Claims `json:"claims"`
}

// Claims are all that muster asks of a laptop. A member that nobody filled in
// is unknown; README and SPEC.md §4.2 say what yes means for each.
type Claims struct {
	OS                  Of[OS]                  `json:"os"`
	Patches             Of[Patches]             `json:"patches"`
	DiskEncryption      Of[DiskEncryption]      `json:"disk_encryption"`
	HomeEncryption      Of[HomeEncryption]      `json:"home_encryption"`
	Firewall            Of[Firewall]            `json:"firewall"`
	SecureBoot          Of[SecureBoot]          `json:"secure_boot"`
	BootSecurity        Of[BootSecurity]        `json:"boot_security"`
	TPM                 Of[TPM]                 `json:"tpm"`
	Hardware            Of[Hardware]            `json:"hardware"`
	ScreenLock          Of[ScreenLock]          `json:"screen_lock"`
	MalwareProtection   Of[MalwareProtection]   `json:"malware_protection"`
	AutomaticUpdates    Of[AutomaticUpdates]    `json:"automatic_updates"`
	RemoteAccess        Of[RemoteAccess]        `json:"remote_access"`
	LocalAdministrators Of[LocalAdministrators] `json:"local_administrators"`
	MDM                 Of[MDM]                 `json:"mdm"`
}

// Each yields the wire name and the claim proper of every member, in the order
// of the wire form. The pointers are into c.
func (c *Claims) Each() iter.Seq2[string, *Claim] {
	members := []struct {
		name  string
		claim *Claim
	}{
		{"os", &c.OS.Claim},
		{"patches", &c.Patches.Claim},
		{"disk_encryption", &c.DiskEncryption.Claim},
		{"home_encryption", &c.HomeEncryption.Claim},
		{"firewall", &c.Firewall.Claim},
		{"secure_boot", &c.SecureBoot.Claim},
		{"boot_security", &c.BootSecurity.Claim},
		{"tpm", &c.TPM.Claim},
		{"hardware", &c.Hardware.Claim},
		{"screen_lock", &c.ScreenLock.Claim},
		{"malware_protection", &c.MalwareProtection.Claim},
		{"automatic_updates", &c.AutomaticUpdates.Claim},
		{"remote_access", &c.RemoteAccess.Claim},
		{"local_administrators", &c.LocalAdministrators.Claim},
		{"mdm", &c.MDM.Claim},
	}
	return func(yield func(string, *Claim) bool) {
		for _, m := range members {
			if !yield(m.name, m.claim) {
				return
			}
		}
	}
}

// Unfilled returns Claims that are all unknown for one reason at one time.
func Unfilled(at time.Time, reason Reason) Claims {
	var c Claims
	for _, claim := range c.Each() {
		*claim = Claim{Reason: reason, ObservedAt: at.UTC().Truncate(time.Second)}
	}
	return c
}

// Platform names an operating system as Go does.
type Platform string

// The platforms that an agent runs on.
const (
	Linux   Platform = "linux"
	Windows Platform = "windows"
	Darwin  Platform = "darwin"
)

// Name is what people call the system.
func (p Platform) Name() string {
	switch p {
	case Linux:
		return "Linux"
	case Windows:
		return "Windows"
	case Darwin:
		return "macOS"
	}
	return "another system"
}

// Profile says which claims may leave the laptop.
type Profile string

// Corporate sends every claim. BYOD sends a fixed smaller set, which the agent
// enforces whatever a server asks (see [Claims.Reduce]).
const (
	Corporate Profile = "corporate"
	BYOD      Profile = "byod"
)

// Reduce empties, for a personal laptop, each claim that is not needed to judge
// its safety and every detail that names a person, a disk or a serial number.
// What it empties becomes unknown with reason not-sent.
func (c *Claims) Reduce() {
	hide(&c.Hardware)
	hide(&c.RemoteAccess)
	hide(&c.LocalAdministrators)
	hide(&c.MalwareProtection)
	hide(&c.HomeEncryption)
	hide(&c.MDM)
	c.DiskEncryption.Detail = DiskEncryption{}
	c.Firewall.Detail = Firewall{}
	c.Patches.Detail.Packages = nil
	c.ScreenLock.Detail = ScreenLock{}
	c.TPM.Detail.Model = ""
}

func hide[Detail any](c *Of[Detail]) {
	*c = Unseen[Detail](c.ObservedAt, NotSent)
}

// Take copies one member, by its wire name, from another set of claims. A name
// that is none changes nothing.
func (c *Claims) Take(name string, from *Claims) {
	switch name {
	case "os":
		c.OS = from.OS
	case "patches":
		c.Patches = from.Patches
	case "disk_encryption":
		c.DiskEncryption = from.DiskEncryption
	case "home_encryption":
		c.HomeEncryption = from.HomeEncryption
	case "firewall":
		c.Firewall = from.Firewall
	case "secure_boot":
		c.SecureBoot = from.SecureBoot
	case "boot_security":
		c.BootSecurity = from.BootSecurity
	case "tpm":
		c.TPM = from.TPM
	case "hardware":
		c.Hardware = from.Hardware
	case "screen_lock":
		c.ScreenLock = from.ScreenLock
	case "malware_protection":
		c.MalwareProtection = from.MalwareProtection
	case "automatic_updates":
		c.AutomaticUpdates = from.AutomaticUpdates
	case "remote_access":
		c.RemoteAccess = from.RemoteAccess
	case "local_administrators":
		c.LocalAdministrators = from.LocalAdministrators
	case "mdm":
		c.MDM = from.MDM
	}
}
