package posture

// Reason is a stable code: lower-case words joined by hyphens, at most
// [MaxReason] bytes. A code, once released, keeps its meaning for ever.
type Reason string

// MaxReason is the longest reason code, in bytes.
const MaxReason = 40

// Valid reports whether r has the form of a code; the empty reason is valid.
func (r Reason) Valid() bool {
	if r == "" {
		return true
	}
	if len(r) > MaxReason || r[0] < 'a' || r[0] > 'z' || r[len(r)-1] == '-' {
		return false
	}
	for _, c := range []byte(r) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// Reasons for which a claim is unknown. They are different on purpose: a
// missing collector, a timeout, a parse error, an unsupported layout and a
// permission problem have different remedies.
const (
	// NotYet: this version has no collector for the claim on this system.
	NotYet Reason = "not-yet"
	// NotCollected: the claim was never filled in.
	NotCollected Reason = "not-collected"
	// NotSent: the profile (byod) keeps it on the laptop.
	NotSent Reason = "not-sent"
	// NotThisRoot: it needs a command of the running system, and the report is
	// of another root directory.
	NotThisRoot Reason = "not-this-root"
	// Permission: only root can see it.
	Permission Reason = "permission"
	// Timeout: the collector did not answer within its deadline.
	Timeout Reason = "timeout"
	// Unreadable: a file or command answered with an error.
	Unreadable Reason = "unreadable"
	// Unparsable: there was an answer that we could not understand.
	Unparsable Reason = "unparsable"
	// Unsupported: the layout or system is one that we know we cannot judge.
	Unsupported Reason = "unsupported"
	// NoTool: the program that could tell is not installed.
	NoTool Reason = "no-tool"
	// NotMounted: the file system that could tell (efivarfs, securityfs) is not
	// mounted.
	NotMounted Reason = "not-mounted"
	// NothingMounted: no local data file system was found to judge.
	NothingMounted Reason = "nothing-mounted"
	// Crashed: the collector panicked; that is our defect.
	Crashed Reason = "crashed"
	// StaleMetadata: the package lists are too old to say that nothing is
	// pending.
	StaleMetadata Reason = "stale-metadata"
)

// Reasons for which a claim is no.
const (
	PlainVolume      Reason = "plain-volume"
	PlainSwap        Reason = "plain-swap"
	UpdatesPending   Reason = "updates-pending"
	RebootPending    Reason = "reboot-pending"
	NoFirewall       Reason = "no-firewall"
	NoDefaultDeny    Reason = "no-default-deny"
	SecureBootOff    Reason = "secure-boot-off"
	SetupMode        Reason = "setup-mode"
	NoSecureBoot     Reason = "no-secure-boot"
	NoUEFI           Reason = "no-uefi"
	NoLockdown       Reason = "no-lockdown"
	NoTPM            Reason = "no-tpm"
	TPMTooOld        Reason = "tpm-1-2"
	NotConfigured    Reason = "not-configured"
	TimerInactive    Reason = "timer-inactive"
	PasswordLogin    Reason = "password-login"
	RootLogin        Reason = "root-login"
	RemoteDesktop    Reason = "remote-desktop"
	NoPolicyEnforced Reason = "no-policy-enforced"
)
