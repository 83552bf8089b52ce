package web

import (
	"fmt"
	"strings"
	"time"

	"muster/server/passkey"
	"muster/server/session"
	"muster/server/store"
)

// doneWords says what was done. Only these codes say anything: the query of an
// address is anybody's to write.
func doneWords(code string) string {
	switch code {
	case "passkey-added":
		return "The passkey was added. You can sign in with it from now on."
	case "passkey-renamed":
		return "The passkey has its new name."
	case "passkey-removed":
		return "The passkey was removed, and the sessions that it opened have ended. Your browser has been asked to stop offering it."
	case "session-ended":
		return "That session has ended. Its browser is asked to sign in again at its next step."
	case "signed-out":
		return "You are signed out of this browser."
	case "signed-out-everywhere":
		return "You are signed out everywhere."
	case "verified":
		return "Thank you. For the next five minutes you can go on without confirming again."
	case "linked":
		return "This browser is linked to your laptop."
	case "checked":
		return "The laptop has just reported. This is how it stands now."
	case "not-checked":
		return "The laptop did not answer within five seconds. Make sure that it is on and connected, then check again."
	case "readmitted":
		return "The laptop is yours again. Its next report shows how it stands."
	case "readmission-waits":
		return "Noted. An approver now has to confirm it; until then the laptop stays pending."
	case "readmission-approved":
		return "The laptop is admitted again."
	case "person-changed":
		return "The changes are saved and in force."
	case "person-disabled":
		return "The person is disabled. All of their sessions have ended, and they cannot sign in."
	case "person-enabled":
		return "The person may sign in again with their passkeys."
	case "recovery-proposed":
		return "The recovery is proposed. A second administrator now confirms it under Approvals."
	case "recovery-approved":
		return "The recovery is approved. It goes on after its waiting time."
	case "recovery-cancelled":
		return "The recovery is cancelled. Nothing was changed."
	case "invitation-withdrawn":
		return "The invitation is withdrawn. Its link no longer works."
	case "elevation-asked":
		return "Asked. It waits for an approval."
	case "elevation-granted":
		return "Granted. It ends by itself."
	case "elevation-approved":
		return "Approved. They have access now; it ends by itself."
	case "elevation-declined":
		return "It is ended. They have no access by it."
	case "elevation-ended":
		return "Your access has ended."
	}
	return doneOfficeWords(code)
}

// doneOfficeWords says what administrators did.
func doneOfficeWords(code string) string {
	switch code {
	case "device-approved":
		return "The laptop is admitted. Its next report shows how it stands."
	case "device-revoked":
		return "The laptop is revoked. It is refused from now on, for ever."
	case "start-approved":
		return "This way to start is approved. It counts from now on."
	case "start-approved-everywhere":
		return "This way to start is approved, here and wherever it waited."
	case "start-refused":
		return "This way to start is refused. While the laptop starts so, it opens nothing."
	case "policy-used":
		return "The policy is in use. Every check from now on is by it."
	case "bypass-added":
		return "The rule is let pass from now on, and ends being so by itself."
	case "bypass-ended":
		return "The bypass has ended. The rule counts again."
	case "program-ended":
		return "The token has ended. The program that holds it is refused from now on."
	}
	return ""
}

// ago puts a time that is past in words, roughly; the page has the exact one too.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := now.Sub(t)
	if d < time.Minute {
		return "just now"
	}
	return span(d) + " ago"
}

// in puts a time to come in words.
func in(now, t time.Time) string {
	d := t.Sub(now)
	if d < time.Minute {
		return "within a minute"
	}
	return "in " + span(d)
}

// span is a duration in its largest useful unit, rounded down.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	count := func(n time.Duration, unit string) string {
		if n == 1 {
			return "1 " + unit
		}
		return fmt.Sprintf("%d %ss", n, unit)
	}
	switch {
	case d < time.Hour:
		return count(d/time.Minute, "minute")
	case d < 2*day:
		return count(d/time.Hour, "hour")
	case d < 60*day:
		return count(d/day, "day")
	}
	return count(d/(30*day), "month")
}

// count puts a number and what it counts in words.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// browserName makes two words of a user agent: enough to know one's own browser.
// It is what the browser says of itself, and no evidence.
func browserName(agent string) string {
	first := func(pairs ...string) string {
		for i := 0; i < len(pairs); i += 2 {
			if strings.Contains(agent, pairs[i]) {
				return pairs[i+1]
			}
		}
		return ""
	}
	// The order matters: Edge says that it is Chrome, and Chrome that it is Safari.
	name := first("Edg/", "Edge", "OPR/", "Opera", "Firefox/", "Firefox", "Chromium/", "Chromium", "Chrome/", "Chrome", "CriOS/", "Chrome", "Safari/", "Safari")
	system := first("Windows", "Windows", "iPhone", "iPhone", "iPad", "iPad", "Mac OS X", "macOS", "Android", "Android", "CrOS", "ChromeOS", "Linux", "Linux")
	switch {
	case name == "" && system == "":
		return "Unknown browser"
	case name == "":
		return "A browser on " + system
	case system == "":
		return name
	}
	return name + " on " + system
}

// levelWords says what an assurance level proves.
func levelWords(level string) string {
	switch level {
	case "tpm-hw":
		return "Proved by its security chip (TPM)"
	case "tpm-listed":
		return "Proved by a security chip (TPM) that your organisation listed"
	case "vtpm":
		return "Proved by a virtual security chip"
	case "secure-enclave":
		return "Keyed by its Secure Enclave, model not proved"
	case "tpm-unverified":
		return "Keyed by a security chip that nobody vouches for"
	case "software":
		return "A key in a file: proves nothing about the hardware"
	}
	return "Assurance unknown"
}

// actorWords is an actor of the audit log for people.
func (s *site) actorWords(a string) string {
	switch kind, name, _ := strings.Cut(a, ":"); kind {
	case "person":
		return name
	case "device":
		return "laptop " + s.laptopName(name)
	case "program":
		return "a program"
	}
	return "an administrator of this server"
}

// roleWords names a role for people.
func roleWords(r store.Role) string {
	switch r {
	case store.RoleAdministrator:
		return "Administrator"
	case store.RoleHelpDesk:
		return "Help desk"
	case store.RoleAuditor:
		return "Auditor"
	case store.RolePerson:
		return "Person"
	}
	return "Unknown role"
}

// strengthWords says what a way of linking is worth, best first.
func strengthWords(s session.Strength) string {
	switch s {
	case session.ByLoopback:
		return "Strong: this page reached the agent on this very laptop"
	case session.ByApp:
		return "Good: the agent was opened from this page and you confirmed it"
	case session.ByCode:
		return "Basic: a code was typed. Some applications ask for more"
	}
	return "Not known"
}

// mark is a state as text and icon, never as colour alone.
type mark struct {
	Icon string // ok, bad, unknown, wait, info: a template icon-NAME and a class
	Text string
}

// evidenceMark says what is proved of a passkey's authenticator.
func evidenceMark(j passkey.Judgement) mark {
	switch {
	case j.Bad != "":
		return mark{"bad", "Its maker or FIDO reports a problem with this model (" + j.Bad + "). Replace it."}
	case j.Evidence == passkey.Attested && j.Level > 0:
		return mark{"ok", fmt.Sprintf("Model proved, FIDO certified level %d", j.Level)}
	case j.Evidence == passkey.Attested:
		return mark{"ok", "Model proved"}
	}
	return mark{"info", "Model not proved: " + evidenceWhy(j.Why)}
}

// evidenceWhy puts passkey.Judgement.Why in words. Unproved is no blame: most good
// passkeys are.
func evidenceWhy(code string) string {
	switch code {
	case "no-attestation":
		return "this passkey brings no certificate, which is usual for phones and password managers."
	case "self-attestation":
		return "it vouches only for itself."
	case "no-metadata":
		return "this server has no list of known models yet."
	case "metadata-expired":
		return "this server's list of known models is out of date."
	case "not-in-metadata":
		return "it is not on FIDO's list of known models."
	case "chain-untrusted", "attestation-type-unlisted":
		return "its certificate is not one that FIDO's list names."
	case "attestation-wrong":
		return "its certificate does not fit it."
	}
	return "nothing vouches for it."
}

// syncWords says where a passkey lives.
func syncWords(c passkey.Credential) string {
	switch {
	case c.BackupEligible && c.Use.BackupState:
		return "Synced to your other devices"
	case c.BackupEligible:
		return "Can be synced, not synced yet"
	}
	return "On one device only, not synced"
}

// piece is a part of a sentence; Code is what one types.
type piece struct {
	Text string
	Code bool
}

// spans splits a sentence at backticks, as remedies write commands.
func spans(text string) []piece {
	var all []piece
	for i, part := range strings.Split(text, "`") {
		if part != "" {
			all = append(all, piece{part, i%2 == 1})
		}
	}
	return all
}
