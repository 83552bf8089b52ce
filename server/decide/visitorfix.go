package decide

// noSession is the decision where nobody is signed in (sign-in), or where the
// session is over, by the cause with which it ended. A cause that is not known
// here is session-over: what somebody else wrote is never repeated as a code.
func noSession(why string) Decision {
	r := sessionReason(why)
	return Decision{Outcome: r.Outcome, Reasons: []Reason{r}}
}

// codeSessionOver stands for every cause that has no words of its own.
const codeSessionOver = "session-over"

// sessionCodes are the codes of [NoSession]: sign-in, the causes of server/people
// (README.md there), of session.Over and of server/store, and session-over.
func sessionCodes() []string {
	return []string{
		"sign-in", "signed-out", "signed-out-everywhere", "ended-by-person", "ended-by-administrator",
		"passkey-removed", "passkey-undone", "passkey-model", "person-disabled", "recovered",
		"session-moved", "cookie-copied", "idle", "too-old", "expired", "clock", "unlimited", "ended", "restored",
		codeSessionOver,
	}
}

// sessionReason is why there is no session. Signing in again helps against all
// causes but one.
func sessionReason(why string) Reason {
	r := Reason{Code: why, Claim: "session", Outcome: StepUp, Person: true}
	if why == "person-disabled" {
		r.Outcome = Deny
	}
	if r.Text, r.Fix = endedByPeople(why); r.Text == "" {
		r.Text, r.Fix = endedByItself(why)
	}
	if r.Text == "" {
		r.Code, r.Text, r.Fix = codeSessionOver, "Your session is over.", signInAgain
	}
	return r
}

const signInAgain = "Sign in again with your passkey."

// endedByPeople has the causes that somebody, or what somebody did, brought about.
func endedByPeople(why string) (text, fix string) {
	switch why {
	case "sign-in":
		return "Nobody is signed in in this browser.", "Sign in with your passkey."
	case "signed-out":
		return "You signed out of this session.", signInAgain
	case "signed-out-everywhere":
		return "You signed out of all your sessions, and this was one of them.", signInAgain
	case "ended-by-person":
		return "You ended this session from another one.", "Sign in again; if that was not you, look at My sessions and My passkeys for what you do not know."
	case "ended-by-administrator":
		return "An administrator ended this session.", "Sign in again; if it ends anew, ask an administrator why."
	case "passkey-removed":
		return "The passkey that opened this session was removed.", "Sign in again with another passkey of yours; without one, ask an administrator for an invitation."
	case "passkey-undone":
		return "The passkey that opened this session was undone from an older session, as one that did not belong here.",
			"Sign in again with an older passkey of yours; if the new one was yours, add it again."
	case "passkey-model":
		return "The model of the passkey that opened this session is no longer trusted.",
			"Sign in again with a passkey of another model; My passkeys shows which one lost trust."
	case "person-disabled":
		return "Your account was disabled.", "Ask an administrator why; signing in again does not help."
	case "recovered":
		return "Your account was recovered, which ended every session.", "Sign in again with your new passkey; if you did not ask for a recovery, tell an administrator at once."
	case "session-moved":
		return "This session was linked to another laptop, so it has ended.", "Sign in again, on this laptop."
	case "cookie-copied":
		return "A copy of this session's cookie was used elsewhere, so the session has ended.",
			"Sign in again, and tell an administrator: a program on your laptop may have read the browser's cookies."
	}
	return "", ""
}

// endedByItself has the causes that need nobody.
func endedByItself(why string) (text, fix string) {
	switch why {
	case "idle":
		return "This session was not used for longer than the policy allows.", signInAgain
	case "too-old", "expired":
		return "This session has reached the age at which the policy ends it.", signInAgain
	case "clock":
		return "By the server's clock this session lies in the future, so nothing is known of its age.",
			"Sign in again; if it stays, tell an administrator that the server's clock is wrong."
	case "unlimited":
		return "Nobody said how long this session may live, so it does not.", signInAgain
	case "ended":
		return "This session was ended.", signInAgain
	case "restored":
		return "The server was restored from a backup, which ended every session.", signInAgain
	}
	return "", ""
}

// visitorStanding is a reason about a person that needs no rule, and is about one
// application; ok is false for every other code.
func visitorStanding(code string) (r Reason, ok bool) {
	r = Reason{Code: code, Claim: "session", Outcome: StepUp, Person: true}
	switch code {
	case codeSessionIdle:
		r.Text, r.Fix = "Your session was not used for longer than this application allows.", signInAgain
	case codeSessionOld:
		r.Text, r.Fix = "You signed in longer ago than this application allows.", signInAgain
	case codeElevation:
		r.Claim = "elevation"
		r.Text = "This application opens for minutes at a time, to who asks and says why."
		r.Fix = "Ask for access on the page that refused you: say why, and confirm with your passkey; where the policy wants it, another person approves."
	default:
		return Reason{}, false
	}
	return r, true
}

// visitorSayings are of who asks and how. Where the laptop's system makes no
// difference, anywhere has the fix. Some have words for one field, by its path,
// which say more than those of the whole claim.
func visitorSayings() map[string]sentences {
	return map[string]sentences{
		"link": {
			no:       "This browser has no link to a laptop that is good enough for this application.",
			unknown:  "It could not be told which laptop this browser is on.",
			linux:    linkWith + "`systemctl status muster-agent` says whether it runs.",
			windows:  linkWith + "`muster-agent status` in a terminal says whether it runs.",
			darwin:   linkWith + "`muster-agent status` in Terminal says whether it runs.",
			anywhere: linkWith + "a laptop that slept needs a minute to report first.",
		},
		"session": {
			no:       "Your session is not one that may use this application.",
			unknown:  "It could not be told who is signed in, or how.",
			anywhere: signInAgain,
		},
		"verification": {
			no:       "You have confirmed with your passkey longer ago than this application allows.",
			unknown:  "It could not be told when you last confirmed with your passkey.",
			anywhere: "Choose \"Confirm with a passkey\", and touch it or unlock it as it asks.",
		},
		"passkey": {
			no:       "The passkey that you signed in with is not good enough for this application.",
			unknown:  "What the policy asks of your passkey is not known of it.",
			linux:    "Sign in with a security key that your organisation accepts.",
			windows:  "Sign in with Windows Hello on this laptop, or with a security key that your organisation accepts.",
			darwin:   "Sign in with a security key that your organisation accepts: passkeys of iCloud Keychain are synced and unattested.",
			anywhere: "Sign in with a security key that your organisation accepts.",
		},
		"user": {
			no:       "You are not among the people who may use this application.",
			unknown:  "It could not be told whether you may use this application.",
			anywhere: "Ask an administrator to put you into the right group, if your work needs it.",
		},
		"elevation": {
			no:       "You have no access for this application now, or not the kind that it needs.",
			unknown:  "You have not asked for access to this application.",
			anywhere: "Ask for access on the page that refused you: say why, and confirm with your passkey.",
		},
		"request": {
			no:       "What you asked for, or from where, is not allowed here.",
			unknown:  "What the policy asks of this request could not be told.",
			anywhere: "Go back, or try from another network; if your work needs this, ask an administrator.",
		},
	}
}

const linkWith = "Choose \"Link this laptop\", with muster-agent running and enrolled there; "

// fieldSayings are the words of single fields.
func fieldSayings() map[string]sentences {
	return map[string]sentences{
		"device.secure_boot.source": {
			no:       "What this laptop says of Secure Boot was not measured by a TPM.",
			unknown:  "It could not be told who says that Secure Boot is on.",
			darwin:   "Ask an administrator: a Mac measures no Secure Boot, and the policy should not ask for it.",
			anywhere: "Let the laptop quote its TPM and bring its boot log: `muster-agent doctor` says what stands in the way.",
		},
		"session.link.state": {
			no:       "This browser has no live link to a laptop.",
			unknown:  "It could not be told whether this browser is linked to a laptop.",
			anywhere: linkWith + "a laptop that slept needs a minute to report first.",
		},
		"session.link.age": {
			no:       "The link between this browser and the laptop was proved too long ago.",
			unknown:  "It could not be told when this browser was linked to the laptop.",
			anywhere: "Choose \"Link this laptop\" again; it takes a moment.",
		},
		"session.link.strength": {
			no:       "This browser is linked to the laptop in a way that is too weak for this application.",
			unknown:  "It could not be told how this browser was linked to the laptop.",
			anywhere: "Choose \"Link this laptop\" and let the browser reach muster-agent, or open the link with it, instead of typing a code.",
		},
		"session.age": {
			no:       "You signed in longer ago than this application allows.",
			unknown:  "It could not be told when you signed in.",
			anywhere: signInAgain,
		},
		"session.binding": {
			no:       "Your session is not bound to this browser.",
			unknown:  "It could not be told whether your session is bound to this browser.",
			anywhere: "Use a browser that binds sessions to the laptop, as an administrator tells you.",
		},
		"passkey.attested": unattested(),
		"passkey.evidence": unattested(),
		"passkey.certification": {
			no:       "The model of your passkey is not certified as this application asks.",
			unknown:  "It is not known how the model of your passkey is certified.",
			anywhere: "Sign in with a security key that your organisation accepts; My passkeys shows the level of each.",
		},
		"passkey.backup_eligible": synced(),
		"passkey.backup_state":    synced(),
		"passkey.bad": {
			no:       "The model of your passkey is no longer trusted.",
			unknown:  "It could not be told whether the model of your passkey is trusted.",
			anywhere: "Sign in with a passkey of another model; My passkeys shows which one lost trust.",
		},
		"passkey.clone_warning": {
			no:       "Your passkey may exist twice: its counter went backwards.",
			unknown:  "It could not be told whether your passkey exists twice.",
			anywhere: "Sign in with another passkey, remove this one under My passkeys, and tell an administrator.",
		},
		"passkey.contradicts_os": {
			no:       "The passkey is built into a machine with another system than the laptop that this browser is linked to.",
			unknown:  "It could not be told whether the passkey belongs to the laptop that this browser is linked to.",
			anywhere: signInHere,
		},
		"passkey.contradicts_tpm": {
			no:       "The passkey is kept by another TPM than the one of the laptop that this browser is linked to.",
			unknown:  "It could not be told whether the passkey is kept by the TPM of the laptop that this browser is linked to.",
			anywhere: signInHere,
		},
	}
}

const signInHere = "Sign in again on the laptop itself, with its own passkey or a security key, and link it."

func unattested() sentences {
	return sentences{
		no:       "Nothing proves what keeps the key of your passkey.",
		unknown:  "It could not be told what keeps the key of your passkey.",
		windows:  "Add a passkey of Windows Hello on this laptop or of a security key, let the browser tell its make when it asks, and sign in with it.",
		anywhere: "Add a passkey on a security key, let the browser tell its make when it asks, and sign in with it.",
	}
}

func synced() sentences {
	return sentences{
		no:       "Your passkey may be copied to other machines.",
		unknown:  "It could not be told whether your passkey may be copied to other machines.",
		windows:  "Sign in with Windows Hello on this laptop, or with a security key: neither leaves its chip.",
		anywhere: "Sign in with a security key: its passkeys do not leave it.",
	}
}
