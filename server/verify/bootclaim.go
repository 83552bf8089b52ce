package verify

import (
	"iter"
	"time"

	"muster/attest/bootlog"
	"muster/attest/posture"
	"muster/server/reference"
)

// BootClaims are what the Verifier says of one start, each by its meaning and
// never by a golden value. The zero value is all unknown.
type BootClaims struct {
	// SecureBoot: firmware enforced it, whoever's keys it had.
	SecureBoot posture.Claim `json:"secure_boot"`
	// SecureBootKeys: PK, KEK and db are known, and none is a test key or lies in
	// strangers' hands.
	SecureBootKeys posture.Claim `json:"secure_boot_keys"`
	// Authorities: every CA that vouched for a program is on the list.
	Authorities posture.Claim `json:"boot_authorities"`
	// Revocations: dbx and, where programs of others than Microsoft started, SBAT are
	// at the level asked for.
	Revocations posture.Claim `json:"boot_revocations"`
	// ShimVerified: shim verified what it started, or was not used; the machine's
	// owner did not turn it off.
	ShimVerified posture.Claim `json:"shim_verified"`
	// NoDebug: neither firmware nor the system can be debugged, and Windows runs as
	// itself: without test signatures, not in safe mode, not as a setup environment.
	NoDebug posture.Claim `json:"boot_no_debug"`
	// BootSecurity: the running kernel defends itself (Linux: lockdown by its
	// authority, and no keys of the machine's owner; Windows: HVCI).
	BootSecurity posture.Claim `json:"boot_security"`
	// BootChain: the log explains firmware, boot programs and policy, and all of the
	// above but BootSecurity holds.
	BootChain posture.Claim `json:"boot_chain"`
}

// BootLevels are how far revocations must have come, by the names of levels in the
// pack; empty asks for the oldest. A name that the pack lacks is met by nothing.
type BootLevels struct {
	DBX  string `json:"dbx,omitempty"`
	SBAT string `json:"sbat,omitempty"`
}

// Reasons of boot claims that are unknown; the first ones as bootlog has them.
const (
	NotLogged   = posture.Reason(bootlog.NotLogged)
	NotBound    = posture.Reason(bootlog.Unbound)
	NoSeparator = posture.Reason(bootlog.NoSeparator)
	BootOdd     = posture.Reason(bootlog.Unreadable)
	BootEarlier = posture.Reason(bootlog.OfEarlierStart)
	BootForeign = posture.Reason(bootlog.Foreign)
	// FirmwareFailed: firmware ended with an error (PFP §3.3.4.1).
	FirmwareFailed = posture.Reason(bootlog.FirmwareError)
	// LogUnexplained: the log does not explain the PCR that would say it.
	LogUnexplained = posture.Reason(bootlog.NotReplayed)
	// KernelUnknown: nothing that was measured says how the kernel defends itself.
	KernelUnknown posture.Reason = "kernel-not-measured"
	// OwnerKeys: shim's list may hold keys by which the kernel takes modules that its
	// maker did not sign (mokutil, DKMS).
	OwnerKeys posture.Reason = "owner-keys"
)

// Reasons of boot claims that are no.
const (
	NoKeys           posture.Reason = "no-platform-key"
	TestKeys         posture.Reason = "test-keys"
	UnknownAuthority posture.Reason = "authority-unknown"
	DBXOld           posture.Reason = "dbx-too-old"
	SBATOld          posture.Reason = "sbat-too-old"
	SBATMissing      posture.Reason = "sbat-missing"
	ShimOff          posture.Reason = "shim-verification-off"
	FirmwareDebug    posture.Reason = "firmware-debug"
	SystemDebug      posture.Reason = "system-debug"
	TestSigning      posture.Reason = "test-signing"
	NoHVCI           posture.Reason = "hvci-off"
	SafeMode         posture.Reason = "safe-mode"
	SetupSystem      posture.Reason = "setup-environment"
)

// JudgeBoot turns what a log says, as far as PCR values confirm it, into claims. at
// is the time of the quote of those values. It is pure; a nil account or pack
// leaves everything unknown that it is needed for.
func JudgeBoot(account *bootlog.Account, refs *reference.Boot, at time.Time) BootClaims {
	return judgeBoot(account, refs, BootLevels{}, at)
}

func judgeBoot(a *bootlog.Account, refs *reference.Boot, levels BootLevels, at time.Time) BootClaims {
	if a == nil {
		return noBoot(at, NoBootLog)
	}
	if refs == nil {
		refs = new(reference.Boot)
	}
	j := judge{a: a, refs: refs, levels: levels, at: at.UTC().Truncate(time.Second)}
	c := BootClaims{
		SecureBoot: j.secureBoot(), SecureBootKeys: j.keys(), Authorities: j.authorities(),
		ShimVerified: j.shim(), NoDebug: j.noDebug(),
	}
	c.Revocations = j.revocations(&c)
	// What stands behind firmware's separator was extended by whatever ran: without
	// Secure Boot that may be anything.
	for _, claim := range [...]*posture.Claim{&c.Authorities, &c.ShimVerified, &c.Revocations} {
		if claim.State == yes && c.SecureBoot.State != yes {
			claim.State, claim.Reason = posture.Unknown, c.SecureBoot.Reason
		}
	}
	c.BootChain = j.bootChain(&c)
	c.BootSecurity = j.bootSecurity(&c)
	return c
}

// noBoot is what is said of a start without a log that could be read.
func noBoot(at time.Time, why posture.Reason) (c BootClaims) {
	unknown := posture.Claim{Reason: why, Source: posture.Measured, ObservedAt: at.UTC().Truncate(time.Second)}
	for _, claim := range c.Each() {
		*claim = unknown
	}
	return c
}

// Each yields the wire name and the claim of every member, in order.
func (c *BootClaims) Each() func(yield func(string, *posture.Claim) bool) {
	return func(yield func(string, *posture.Claim) bool) {
		for _, m := range []struct {
			name  string
			claim *posture.Claim
		}{
			{"secure_boot", &c.SecureBoot}, {"secure_boot_keys", &c.SecureBootKeys},
			{"boot_authorities", &c.Authorities}, {"boot_revocations", &c.Revocations},
			{"shim_verified", &c.ShimVerified}, {"boot_no_debug", &c.NoDebug},
			{"boot_security", &c.BootSecurity}, {"boot_chain", &c.BootChain},
		} {
			if !yield(m.name, m.claim) {
				return
			}
		}
	}
}

// judge is one judgement under way.
type judge struct {
	a      *bootlog.Account
	refs   *reference.Boot
	levels BootLevels
	at     time.Time
}

func (j *judge) say(state posture.State, reason posture.Reason) posture.Claim {
	return posture.Claim{State: state, Reason: reason, Source: posture.Measured, ObservedAt: j.at}
}

func (j *judge) unknown(reason bootlog.Reason) posture.Claim {
	if reason == "" {
		reason = bootlog.NotLogged
	}
	return j.say(posture.Unknown, posture.Reason(reason))
}

// secureBoot: SecureBoot was measured as 1. Firmware without a platform key cannot
// enforce anything, whatever that variable says.
func (j *judge) secureBoot() posture.Claim {
	switch {
	case !j.a.SecureBoot.Known:
		return j.unknown(j.a.SecureBoot.Reason)
	case !j.a.SecureBoot.Value:
		return j.say(posture.No, posture.SecureBootOff)
	case j.a.PK.Known && len(j.a.PK.Value.Certificates)+j.a.PK.Value.Hashes+j.a.PK.Value.Others == 0:
		return j.say(posture.No, posture.SetupMode)
	}
	for _, i := range chainPCRs {
		// Firmware that left one empty may have left them all. That the log has events of
		// it, which are then not true, makes it no better.
		if j.a.PCRs[i] == bootlog.Empty || j.a.Untouched[i] {
			return j.say(posture.Unknown, PCREmpty)
		}
	}
	return j.say(posture.Yes, "")
}

// keys: whoever has the private half of a key in PK, KEK or db decides what starts.
func (j *judge) keys() posture.Claim {
	for _, f := range []*bootlog.Fact[bootlog.Keys]{&j.a.PK, &j.a.KEK, &j.a.DB} {
		for _, c := range f.Value.Certificates {
			if _, test := j.refs.Test(c.SHA256, c.Subject); f.Known && test {
				return j.say(posture.No, TestKeys)
			}
		}
	}
	for _, f := range []*bootlog.Fact[bootlog.Keys]{&j.a.PK, &j.a.KEK, &j.a.DB} {
		if !f.Known {
			return j.unknown(f.Reason)
		}
		if f.Value.Others > 0 {
			return j.unknown(bootlog.Unreadable) // a key that nobody could read
		}
	}
	if len(j.a.PK.Value.Certificates) == 0 {
		return j.say(posture.No, NoKeys)
	}
	return j.say(posture.Yes, "")
}

// authorities: all that vouched are CAs on the list. A program that db lists by its
// own hash is on none.
func (j *judge) authorities() posture.Claim {
	if !j.a.Authorities.Known {
		return j.unknown(j.a.Authorities.Reason)
	}
	for _, a := range j.a.Authorities.Value {
		if a.Certificate == nil {
			return j.say(posture.No, UnknownAuthority)
		}
		if _, ok := j.refs.Authority(a.Certificate.SHA256); !ok {
			return j.say(posture.No, UnknownAuthority)
		}
	}
	if len(j.a.Authorities.Value) == 0 {
		return j.unknown(bootlog.NotLogged) // nobody vouched: nothing was verified
	}
	return j.say(posture.Yes, "")
}

// vouching yields what the pack knows of each authority after firmware's own; ok is
// false for one that it does not know.
func (j *judge) vouching() iter.Seq2[reference.BootAuthority, bool] {
	return func(yield func(a reference.BootAuthority, ok bool) bool) {
		for _, by := range j.a.Authorities.Value {
			if by.Early {
				continue
			}
			var a reference.BootAuthority
			ok := false
			if by.Certificate != nil {
				a, ok = j.refs.Authority(by.Certificate.SHA256)
			}
			if !yield(a, ok) {
				return
			}
		}
	}
}

// onlyWindows reports whether Microsoft's own CAs alone vouched for what started
// after firmware.
func (j *judge) onlyWindows() bool {
	n := 0
	for a, ok := range j.vouching() {
		if !ok || a.Kind != reference.WindowsCA {
			return false
		}
		n++
	}
	return j.a.Authorities.Known && n > 0
}

// onlyDistributions reports whether what vouched after firmware were distributions'
// CAs that suit, at least one, and Microsoft's CA for others, which vouches for their
// shim. A chain that ends in Windows shows a CA of Windows' besides.
func (j *judge) onlyDistributions(suits func(reference.BootAuthority) bool) bool {
	n := 0
	for a, ok := range j.vouching() {
		switch {
		case ok && a.Kind == reference.DistributionCA && suits(a):
			n++
		case !ok || a.Kind != reference.UEFICA:
			return false
		}
	}
	return j.a.Authorities.Known && n > 0
}

// revocations: dbx holds every hash of the level asked for, and so do the
// generations of SBAT where anything but Windows started.
func (j *judge) revocations(c *BootClaims) posture.Claim {
	if !j.a.DBX.Known {
		return j.unknown(j.a.DBX.Reason)
	}
	if !j.dbxMeets() {
		return j.say(posture.No, DBXOld)
	}
	if j.onlyWindows() {
		return j.say(posture.Yes, "")
	}
	switch {
	case j.a.SBAT.Known && j.sbatMeets():
		return j.say(posture.Yes, "")
	case j.a.SBAT.Known:
		return j.say(posture.No, SBATOld)
	case j.a.Authorities.Known && j.a.SBAT.Reason == bootlog.NotLogged && c.SecureBoot.State == posture.Yes:
		return j.say(posture.No, SBATMissing) // all of PCR 7 was understood, and it is not there
	}
	return j.unknown(j.a.SBAT.Reason)
}

func (j *judge) dbxMeets() bool {
	met, _, ok := j.refs.DBXLevelOf(j.a.DBX.Value.Hashes())
	if !ok || j.levels.DBX == "" {
		return ok
	}
	for _, l := range j.refs.DBX {
		if l.Name == j.levels.DBX {
			return !met.Date.Before(l.Date)
		}
	}
	return false
}

func (j *judge) sbatMeets() bool {
	met, _, ok := j.refs.SBATLevelOf(j.a.SBAT.Value)
	if !ok || j.levels.SBAT == "" {
		return ok
	}
	for _, l := range j.refs.SBAT {
		if l.Name == j.levels.SBAT {
			return !met.Date.Before(l.Date)
		}
	}
	return false
}

// shim: the owner's switch that turns verification off was measured as off, or not
// at all in a PCR that the log explains.
func (j *judge) shim() posture.Claim {
	switch {
	case !j.a.MOKOff.Known:
		return j.unknown(j.a.MOKOff.Reason)
	case j.a.MOKOff.Value:
		return j.say(posture.No, ShimOff)
	}
	return j.say(posture.Yes, "")
}

func (j *judge) noDebug() posture.Claim {
	w := &j.a.Windows
	switch {
	case j.a.UEFIDebug.Known && j.a.UEFIDebug.Value:
		return j.say(posture.No, FirmwareDebug)
	case w.Known && (isYes(w.Value.BootDebug) || isYes(w.Value.KernelDebug)):
		return j.say(posture.No, SystemDebug)
	case w.Known && (isYes(w.Value.TestSigning) || isYes(w.Value.DriverSigningOff)):
		return j.say(posture.No, TestSigning)
	case w.Known && isYes(w.Value.WinPE):
		return j.say(posture.No, SetupSystem)
	case w.Known && isYes(w.Value.SafeMode):
		return j.say(posture.No, SafeMode)
	case !j.a.UEFIDebug.Known:
		return j.unknown(j.a.UEFIDebug.Reason)
	case !w.Known && w.Reason != bootlog.NotLogged:
		return j.unknown(w.Reason)
	case w.Known: // a resume measures less than a start: what it leaves open stays open
		for _, f := range [...]bootlog.Fact[bool]{w.Value.BootDebug, w.Value.KernelDebug, w.Value.TestSigning} {
			if !f.Known {
				return j.unknown(f.Reason)
			}
		}
	}
	return j.say(posture.Yes, "")
}

func isYes(f bootlog.Fact[bool]) bool { return f.Known && f.Value }

// bootSecurity: for Windows what its loader measured of HVCI; for Linux, that every
// program was signed by CAs whose kernels lock themselves down under Secure Boot,
// and that shim has no other key: such a kernel takes modules by the owner's keys.
// The second says what the signer promised, not what the kernel does now. Both need
// the whole chain: a program that measures nothing, signed by a CA for others, could
// write the rest of PCR 7 as it likes, and is kept out by revocations and PCR 4.
func (j *judge) bootSecurity(c *BootClaims) posture.Claim {
	w := &j.a.Windows
	switch {
	case w.Known && w.Value.HVCI.Known && !w.Value.HVCI.Value:
		return j.say(posture.No, NoHVCI)
	case c.BootChain.State != yes:
		return j.say(posture.Unknown, c.BootChain.Reason)
	case w.Known && w.Value.HVCI.Known:
		return j.say(posture.Yes, "")
	case w.Known || !j.locksDown():
		return j.say(posture.Unknown, KernelUnknown)
	case !j.a.MOK.Known || !j.onlyMakers(&j.a.MOK.Value):
		return j.say(posture.Unknown, OwnerKeys)
	}
	return j.say(posture.Yes, "")
}

// onlyMakers reports whether all of shim's list are keys of distributions whose
// kernels lock themselves down.
func (j *judge) onlyMakers(keys *bootlog.Keys) bool {
	for _, c := range keys.Certificates {
		if a, ok := j.refs.Authority(c.SHA256); !ok || a.Kind != reference.DistributionCA || !a.LocksDown {
			return false
		}
	}
	return keys.Hashes+keys.Others == 0
}

// locksDown: behind Microsoft's CA for others, only distributions vouched that lock
// down, and at least one did.
func (j *judge) locksDown() bool {
	return j.onlyDistributions(func(a reference.BootAuthority) bool { return a.LocksDown })
}

// chainPCRs must be explained: firmware's code, its drivers, the programs that it
// started, the Secure Boot policy.
var chainPCRs = [...]uint8{0, 2, 4, 7}

// bootChain is no for the first no of its parts, in their order, else unknown for
// the first unknown.
func (j *judge) bootChain(c *BootClaims) posture.Claim {
	whole := explained(j.a)
	parts := [...]posture.Claim{
		{State: whole.State, Reason: whole.Reason},
		c.SecureBoot, c.SecureBootKeys, c.Authorities, c.Revocations, c.ShimVerified, c.NoDebug,
	}
	for _, bad := range [...]posture.State{posture.No, posture.Unknown} {
		for _, p := range parts {
			if p.State == bad {
				return j.say(bad, p.Reason)
			}
		}
	}
	return j.say(posture.Yes, "")
}

// explained tells whether a log accounts for chainPCRs.
func explained(a *bootlog.Account) posture.Claim {
	for _, i := range chainPCRs {
		switch a.PCRs[i] {
		case bootlog.Mismatch:
			return posture.Claim{State: posture.No, Reason: LogMismatch}
		case bootlog.Unlogged:
			return posture.Claim{State: posture.No, Reason: LogIncomplete}
		case bootlog.NotTold:
			return posture.Claim{Reason: LogUnexplained}
		case bootlog.Empty:
			return posture.Claim{Reason: PCREmpty}
		}
	}
	return posture.Claim{State: posture.Yes}
}
