package decide

import (
	"muster/attest/posture"
	"muster/server/verify"
)

// advice is what a person reads of a claim that is no or unknown: what is wrong,
// and what to do about it on their platform; claim may be the path of a field that
// has words of its own. The administrator's own sentences in the policy come before
// it.
func (e *environment) advice(claim string, platform posture.Platform, own posture.Reason, unknown bool) (text, fix string) {
	if claim == chainClaim && !unknown {
		claim = partOfChain(own)
	}
	s, ok := e.words[claim]
	if !ok { // the rule names no claim
		s = sentences{no: "The policy is not met.", unknown: "It could not be told whether the policy is met."}
	}
	text = s.no
	if unknown {
		text = s.unknown
		if why := whyUnknown(own); why != "" {
			text = text[:len(text)-1] + ": " + why + "."
		}
	}
	// Turning on what is on already would not make it visible.
	if fix = fixOfReason(platform, own); fix != "" {
		return text, fix
	}
	if fix = fixOfClaimReason(claim, platform, own); fix != "" {
		return text, fix
	}
	switch platform {
	case posture.Linux:
		fix = s.linux
	case posture.Windows:
		fix = s.windows
	case posture.Darwin:
		fix = s.darwin
	}
	if fix == "" {
		fix = s.anywhere
	}
	if fix == "" && platform == "" && unknown {
		// No laptop at all, rather than one of which this could not be told.
		fix = "Link this laptop first, so that it can be looked at."
	}
	if fix == "" {
		fix = "Ask an administrator what this rule needs on your laptop."
	}
	return text, fix
}

// Advice is what a person reads of a claim that no rule may have asked for: what
// is wrong, and what to do about it on their platform. Both are empty for the zero
// Policy, and for a claim that is in order.
func (p *Policy) Advice(claim string, platform posture.Platform, c posture.Claim) (text, fix string) {
	if p.env == nil || c.State == posture.Yes {
		return "", ""
	}
	return p.env.advice(claim, platform, c.Reason, c.State == posture.Unknown)
}

// sentences are a claim in words. Each fix is one sentence.
type sentences struct {
	no, unknown            string
	linux, windows, darwin string
	// anywhere is the fix where the one of the system is absent, or no laptop is
	// known.
	anywhere string
}

// standingReason is a reason that needs no rule.
func standingReason(code string) Reason {
	if r, ok := visitorStanding(code); ok {
		return r
	}
	r := Reason{Code: code, Claim: "device", Outcome: Deny}
	switch code {
	case codeAppUnknown:
		r.Claim, r.Text, r.Fix = "", "No policy names this application.", "Ask an administrator to add it to apps in the policy."
	case codeNoReport:
		r.Claim, r.Text, r.Fix, r.Unknown = "report", "This laptop has not reported yet.", "Start muster-agent, or look at what `muster-agent doctor` says.", true
	case codePending:
		r.Text, r.Fix = "This laptop waits for an approval.", "Tell an administrator the comparison code that `muster-agent status` shows."
	case codeRevoked:
		r.Text, r.Fix = "This laptop was revoked and does not come back.", "Return it to an administrator, or ask why it was revoked."
	case codeReportStale:
		r.Claim, r.Text, r.Fix, r.Unknown = "report", "The last report of this laptop is too old.", "Connect it to the network; if it is connected, look at what `muster-agent doctor` says.", true
	default:
		r.Code, r.Claim, r.Unknown = codeInternal, "", true
		r.Text, r.Fix = "The server could not decide.", "Tell an administrator: the server's log says more."
	}
	return r
}

// whyUnknown puts a reason for which a claim is unknown in words.
func whyUnknown(own posture.Reason) string {
	switch own {
	case posture.NotYet:
		return "the agent cannot look at it on this system yet"
	case posture.NotCollected:
		return "the agent did not send it"
	case posture.NotSent:
		return "the personal profile keeps it on the laptop"
	case posture.NotThisRoot:
		return "the report is of another root directory"
	case posture.Permission:
		return "the agent may not look"
	case posture.Timeout:
		return "the system did not answer in time"
	case posture.Unreadable:
		return "the system answered with an error"
	case posture.Unparsable:
		return "the system's answer was not understood"
	case posture.Unsupported:
		return "this layout cannot be judged"
	case posture.NoTool:
		return "the program that could tell is not installed"
	case posture.NotMounted:
		return "the file system that could tell is not mounted"
	case posture.NothingMounted:
		return "no local disk was found"
	case posture.Crashed:
		return "the agent has a defect there"
	case posture.StaleMetadata:
		return "the package lists are too old"
	case verify.StaleClaim:
		return "it was looked at too long ago"
	}
	return whyBoot(own)
}

// fixOfReason has the remedies that are the same for every claim.
func fixOfReason(platform posture.Platform, own posture.Reason) string {
	switch own {
	case posture.NotSent:
		return "Use a laptop of the organisation, or enrol this one with the corporate profile."
	case posture.NotThisRoot:
		return "Report from the running system, without --root."
	case posture.NotYet:
		return "Update muster-agent; until it can look at this, an administrator may accept it with is_unknown in the policy."
	case posture.NotCollected:
		return "Update muster-agent and choose \"check again\"."
	case posture.Timeout, verify.StaleClaim:
		return "Choose \"check again\"; if it stays, restart the laptop."
	case posture.Unreadable, posture.Unparsable, posture.Crashed:
		return "Update muster-agent; if it stays, send an administrator the output of `muster-agent report`."
	case posture.Permission:
		if platform == posture.Windows {
			return "Install muster-agent as a service: run `muster-agent install` in an administrator's terminal."
		}
		return "Install muster-agent as a system service: run `sudo muster-agent install`."
	case posture.RebootPending:
		return "Restart the laptop."
	}
	return ""
}

// fixOfClaimReason has the remedies that differ from the claim's usual one.
func fixOfClaimReason(claim string, platform posture.Platform, own posture.Reason) string {
	switch claim + "/" + string(own) {
	case "patches/" + string(posture.StaleMetadata):
		if platform == posture.Linux {
			return "Refresh the package lists: `sudo apt update`, or the like of your distribution."
		}
	case "patches/" + string(posture.NoTool):
		return "Install the distribution's tool that lists security updates (for Arch: pacman-contrib)."
	case "disk_encryption/" + string(posture.PlainSwap):
		return "Encrypt the swap area, or turn it off: `sudo swapoff -a`, and remove it from /etc/fstab."
	case "disk_encryption/" + string(posture.Suspended):
		return "Resume protection: Control Panel → BitLocker Drive Encryption → Resume protection."
	case "firewall/" + string(posture.NoDefaultDeny):
		if platform == posture.Linux {
			return "Refuse incoming connections by default: `sudo ufw default deny incoming`, then `sudo ufw enable`."
		}
	case "secure_boot/" + string(posture.SetupMode):
		return "Restore the factory keys in the firmware's Secure Boot menu, then turn Secure Boot on."
	case "secure_boot/" + string(posture.NoUEFI), "secure_boot/" + string(posture.NoSecureBoot):
		return "Ask for a laptop that starts by UEFI with Secure Boot; this installation cannot be changed to it in place."
	case "secure_boot/" + string(posture.NotMounted):
		return "Mount efivarfs: `sudo mount -t efivarfs efivarfs /sys/firmware/efi/efivars`."
	case "boot_security/" + string(posture.NotMounted):
		return "Mount securityfs: `sudo mount -t securityfs securityfs /sys/kernel/security`."
	case "remote_access/" + string(posture.RootLogin):
		return "Refuse root over SSH: set PermitRootLogin no in /etc/ssh/sshd_config, then restart ssh."
	case "remote_access/" + string(posture.PasswordLogin):
		return "Refuse passwords over SSH: set PasswordAuthentication no in /etc/ssh/sshd_config, then restart ssh."
	case "remote_access/" + string(posture.RemoteDesktop):
		return "Turn off the remote desktop in the system's sharing settings."
	case "automatic_updates/" + string(posture.TimerInactive):
		return "Start the timer: `sudo systemctl enable --now apt-daily-upgrade.timer`, or dnf-automatic.timer."
	case "tpm/" + string(posture.TPMTooOld):
		return "Ask for a laptop with TPM 2.0, or switch the TPM to 2.0 in the firmware's settings if it offers that."
	case bootClaim + "/" + string(verify.NoQuote):
		return "Enrol the laptop with its TPM: `muster-agent doctor` says what stands in the way."
	}
	return ""
}
