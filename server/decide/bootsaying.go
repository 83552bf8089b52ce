package decide

import (
	"muster/attest/posture"
	"muster/server/verify"
)

// bootClaims are the Verifier's own, of how the laptop was started.
func bootClaims() []claim {
	type result = *verify.Result
	type proper = *posture.Claim
	return []claim{
		{bootClaim, func(r result) proper { return &r.Boot.Claim }},
		{"boot_baseline", func(r result) proper { return &r.Boot.Baseline }},
		{chainClaim, func(r result) proper { return &r.Boot.Claims.BootChain }},
		{"secure_boot_keys", func(r result) proper { return &r.Boot.Claims.SecureBootKeys }},
		{"boot_authorities", func(r result) proper { return &r.Boot.Claims.Authorities }},
		{"boot_revocations", func(r result) proper { return &r.Boot.Claims.Revocations }},
		{"shim_verified", func(r result) proper { return &r.Boot.Claims.ShimVerified }},
		{"boot_no_debug", func(r result) proper { return &r.Boot.Claims.NoDebug }},
	}
}

const (
	chainClaim = "boot_chain"

	bringLog  = "Let the laptop quote its TPM and bring its boot log: `muster-agent doctor` says what stands in the way."
	noMacBoot = "Ask an administrator: a Mac measures nothing of its start, and the policy should not ask for it."
)

// bootSayings are of how the laptop was started.
func bootSayings() map[string]sentences {
	return map[string]sentences{
		bootClaim: {
			no:       "What the TPM measured at this start is not what the boot log says.",
			unknown:  "It could not be told how this laptop was started.",
			darwin:   noMacBoot,
			anywhere: bringLog,
		},
		"boot_baseline": {
			no:       "This laptop starts in another way than the one that was approved.",
			unknown:  "It could not be told whether this laptop starts as before.",
			darwin:   noMacBoot,
			anywhere: "Tell an administrator what was updated: they see what changed, and approve it.",
		},
		chainClaim: {
			no:       "Something in the way this laptop was started is not as it must be.",
			unknown:  "It could not be told whether everything that started this laptop may be trusted.",
			linux:    "Turn on Secure Boot in the firmware's settings (`sudo systemctl reboot --firmware-setup` opens them), install the updates of firmware and system, and restart.",
			darwin:   noMacBoot,
			anywhere: "Turn on Secure Boot, install the updates of firmware and system, and restart.",
		},
		"secure_boot_keys": {
			no:       "The keys in this laptop's firmware are not safe: others may have them.",
			unknown:  "It could not be told whose keys are in this laptop's firmware.",
			darwin:   noMacBoot,
			anywhere: "Update the firmware, then restore the factory keys in its Secure Boot menu.",
		},
		"boot_authorities": {
			no:       "A program that nobody known signed took part in the start.",
			unknown:  "It could not be told who signed the programs that started this laptop.",
			darwin:   noMacBoot,
			anywhere: "Start the system as it was installed, without keys or loaders of your own; else ask an administrator to put the signer on the list.",
		},
		"boot_revocations": {
			no:       "This laptop still starts programs that were revoked.",
			unknown:  "It could not be told which programs this laptop refuses to start.",
			linux:    "Update the revocation list: `sudo fwupdmgr update`, and install the updates of shim and GRUB; then restart.",
			windows:  "Install the updates, which bring the revocation list: Settings → Windows Update; then restart.",
			darwin:   noMacBoot,
			anywhere: "Install the updates of firmware and system, and restart.",
		},
		"shim_verified": {
			no:       "The verification of boot programs was turned off on this laptop.",
			unknown:  "It could not be told whether boot programs are verified.",
			linux:    "Turn it on again: `sudo mokutil --enable-validation`, then restart and confirm.",
			darwin:   noMacBoot,
			anywhere: "Turn the verification on again, and restart.",
		},
		"boot_no_debug": {
			no:       "This laptop was started so that it can be debugged, takes test signatures, or runs in safe mode.",
			unknown:  "It could not be told whether this laptop can be debugged.",
			windows:  "Turn debugging, test signing and safe mode off: `bcdedit /debug off`, `bcdedit /bootdebug off`, `bcdedit /set testsigning off`, `bcdedit /deletevalue safeboot`; then restart.",
			darwin:   noMacBoot,
			anywhere: "Turn off debugging in firmware and system, and restart.",
		},
	}
}

// partOfChain names the claim in which boot_chain failed, so that a person reads
// what to do rather than that something is wrong; itself where the reason is of none.
func partOfChain(own posture.Reason) string {
	switch own {
	case posture.SecureBootOff, posture.SetupMode:
		return "secure_boot"
	case verify.NoKeys, verify.TestKeys:
		return "secure_boot_keys"
	case verify.UnknownAuthority:
		return "boot_authorities"
	case verify.DBXOld, verify.SBATOld, verify.SBATMissing:
		return "boot_revocations"
	case verify.ShimOff:
		return "shim_verified"
	case verify.FirmwareDebug, verify.SystemDebug, verify.TestSigning, verify.SafeMode, verify.SetupSystem:
		return "boot_no_debug"
	case verify.LogMismatch, verify.LogIncomplete:
		return bootClaim
	}
	return chainClaim
}

// whyBoot says why something about the start is unknown.
func whyBoot(own posture.Reason) string {
	switch own {
	case verify.NotJudged:
		return "the boot log is still on its way"
	case verify.LogWithheld:
		return "the laptop does not send the boot log that it named"
	case verify.NoBootLog:
		return "the boot log is missing"
	case verify.NoQuote:
		return "there is no quote of a TPM"
	case verify.LogUnreadable:
		return "the boot log cannot be read"
	case verify.LogUnexplained, verify.LogMismatch, verify.LogIncomplete:
		return "the boot log does not explain what the TPM measured"
	case verify.PCREmpty:
		return "firmware measured nothing of its own"
	case verify.KernelUnknown:
		return "nothing that was measured says so"
	case verify.OwnerKeys:
		return "the kernel may take modules by keys that were enrolled on this laptop"
	case verify.NotLogged:
		return "the boot log does not say it"
	case verify.FirmwareFailed:
		return "firmware reported an error while it started"
	case verify.NotBound, verify.NoSeparator, verify.BootOdd:
		return "what the boot log says of it is not confirmed by the TPM"
	case verify.BootEarlier:
		return "Windows was resumed, and what was measured is of an earlier start: shut it down wholly and start it"
	case verify.BootForeign:
		return "others than Microsoft signed what started before Windows"
	}
	return ""
}
