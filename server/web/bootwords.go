package web

import (
	"slices"

	"muster/attest/posture"
	"muster/server/verify"
)

// bootTable has the words of what the server itself says of how a laptop was
// started, by the names that policies have for it. Secure Boot and the kernel's
// protection have theirs among the laptop's claims.
func bootTable() map[string]claimWords {
	return map[string]claimWords{
		"boot":             {"Boot log", "It explains what the TPM measured.", "It does not explain what the TPM measured.", "Nothing explains what the TPM measured."},
		"boot_baseline":    {"Way to start", "One that was approved, or seen first.", "Not one that was approved.", "It could not be told whether it starts as before."},
		"boot_chain":       {"The start as a whole", "Everything that was measured is in order.", "Something that was measured is not in order.", "It could not be told whether everything is in order."},
		"secure_boot_keys": {"Keys in firmware", "None that others are known to have.", "Others may have one of them.", "It could not be told whose they are."},
		"boot_authorities": {"Signers of boot programs", "All of them are on the list.", "One of them is on no list.", "It could not be told who they are."},
		"boot_revocations": {"Revoked boot programs", "Refused, by a list that is young enough.", "Some would still start.", "It could not be told whether they are refused."},
		"shim_verified":    {"Verification of boot programs", "Not turned off.", "Turned off by whoever had the laptop.", "It could not be told whether it is on."},
		"boot_no_debug":    {"Debugging and test signatures", "Off.", "On.", "It could not be told whether they are off."},
	}
}

// wordsOfClaim has the words of a claim, the laptop's or the server's own.
func wordsOfClaim(name string) (claimWords, bool) {
	if words, ok := claimTable()[name]; ok {
		return words, true
	}
	words, ok := bootTable()[name]
	return words, ok
}

// stateMark puts a claim's state in its words. A state of a later version is no
// better than unknown.
func (w claimWords) stateMark(state posture.State) mark {
	switch state {
	case posture.Yes:
		return mark{"ok", w.yes}
	case posture.No:
		return mark{"bad", w.no}
	}
	return mark{"unknown", w.unknown}
}

// pcrView is one register of the TPM in words.
type pcrView struct {
	mark
	Index uint8
	Holds string
}

// pcrViews are the registers that the last quote had, in order.
func pcrViews(b *verify.Boot) (views []pcrView) {
	for index := range b.PCRs {
		views = append(views, pcrView{pcrMark(b.Status[index]), index, pcrHolds(index)})
	}
	slices.SortFunc(views, func(a, b pcrView) int { return int(a.Index) - int(b.Index) })
	return views
}

// pcrMark says how far the log explains a register (bootlog.Status). Those of the
// system move as it runs, so that a log of the start need not explain them.
func pcrMark(status string) mark {
	switch status {
	case "match":
		return mark{"ok", "Explained by the log"}
	case "mismatch":
		return mark{"bad", "Not what the log says"}
	case "unlogged":
		return mark{"unknown", "Something was measured that is not in the log"}
	case "empty":
		return mark{"info", "Nothing was measured"}
	}
	return mark{"unknown", "Kept to compare with; no log explains it"}
}

// pcrHolds says what a register holds (TCG PC Client Platform Firmware Profile
// §3.3.4; from 8 on by custom of GRUB, systemd, shim and Windows).
func pcrHolds(index uint8) string {
	words := [...]string{
		"Firmware", "Firmware’s settings", "Drivers that firmware loads", "Settings of those drivers", "Boot programs", "Their settings, and the disk’s layout",
		"The maker’s own", "Secure Boot: on or off, keys, signers", "What the boot loader did", "What the boot loader read", "Files, as they are used",
		"The kernel, or BitLocker", "The kernel’s command line, or Windows’ settings", "System extensions, or Windows’ modules", "The owner’s own keys", "The system’s identity",
	}
	if int(index) < len(words) {
		return words[index]
	}
	return "Not in use"
}

// bootView is one word on how a laptop was started, measured and told.
type bootView struct {
	claimView
	Told string // what its system says, where it says something
	Lies bool   // and that is another thing
}

// bootViews puts all of them in words: what is wrong first, what is well last.
func (s *site) bootViews(l *Laptop) (views []bootView) {
	r := l.Result
	for name, claim := range bootClaims(r) {
		words, ok := wordsOfClaim(name)
		if !ok {
			continue // a test holds the table complete
		}
		v := bootView{claimView: claimView{mark: words.stateMark(claim.State), Name: words.name}}
		if claim.State != posture.Yes && s.Advice != nil {
			if text, fix := s.Advice(name, l.Platform, *claim); text != "" {
				v.Text, v.Fix = text, fix
			}
		}
		if told := toldBy(r, name); told != nil && told.State != posture.Unknown {
			v.Told = words.stateMark(told.State).Text
			v.Lies = claim.State != posture.Unknown && claim.State != told.State
		}
		views = append(views, v)
	}
	rank := map[string]int{"bad": 0, "unknown": 1}
	slices.SortStableFunc(views, func(a, b bootView) int {
		of := func(v bootView) int {
			if n, ok := rank[v.Icon]; ok && !v.Lies {
				return n
			}
			if v.Lies {
				return 0
			}
			return len(rank)
		}
		return of(a) - of(b)
	})
	return views
}

// bootClaims yields what was measured, by its name, the whole before its parts.
func bootClaims(r *verify.Result) func(yield func(string, *posture.Claim) bool) {
	return func(yield func(string, *posture.Claim) bool) {
		if !yield("boot", &r.Boot.Claim) || !yield("boot_baseline", &r.Boot.Baseline) {
			return
		}
		for name, claim := range r.Boot.Claims.Each() {
			if !yield(name, claim) {
				return
			}
		}
	}
}

// toldBy is the system's own word beside a measured one; nil where it has none.
func toldBy(r *verify.Result, name string) *posture.Claim {
	if r.Reported == nil {
		return nil
	}
	switch name {
	case "secure_boot":
		return &r.Reported.SecureBoot
	case "boot_security":
		return &r.Reported.BootSecurity
	}
	return nil
}

// measured reports whether a TPM's quote says something of how a laptop was started.
func (l *Laptop) measured() bool { return l.Result != nil && !l.Result.QuotedAt.IsZero() }

// ownBoot are what a laptop's owner reads of its start beside the laptop's own
// claims: what is no, what the policy asks for, and one word where nothing is known.
func ownBoot(r *verify.Result, asked func(name string) bool) func(yield func(string, *posture.Claim) bool) {
	return func(yield func(string, *posture.Claim) bool) {
		for name, claim := range bootClaims(r) {
			_, own := claimTable()[name]
			known := claim.State == posture.Yes || claim.State == posture.No
			switch {
			case own: // it stands among the laptop's
			case asked(name), name == "boot":
			case name == "boot_chain", name == "boot_baseline": // its parts, and the finding, say more
				continue
			case !known && r.Boot.State != posture.Yes: // the log's word says why
				continue
			}
			if !own && !yield(name, claim) {
				return
			}
		}
	}
}

// findingViews are what was noticed of a laptop, for who can do something about it.
// What refuses stands among the reasons.
func findingViews(r *verify.Result, reasons func(code string) bool) (views []findingView) {
	for _, f := range r.Findings {
		if f.Tier == verify.Warning && !reasons(f.Code) {
			views = append(views, findingView{mark{"wait", f.Text}, findingFix(f)})
		}
	}
	return views
}

type findingView struct {
	mark
	Fix string
}

// findingFix is what a person does about a finding, where that is another thing than
// what administrators do.
func findingFix(f verify.Finding) string {
	switch f.Code {
	case verify.FindingBootLog:
		return "Restart the laptop; if this stays, update its firmware, and tell an administrator."
	case verify.FindingDrift:
		return "If firmware or system were updated, there is nothing to do: an administrator sees what changed, and approves it. If not, tell them."
	case verify.FindingTPMCleared:
		return "If this was you, there is nothing to do. If not, tell an administrator."
	}
	return f.Fix
}

// tierIcon is how a finding looks.
func tierIcon(t verify.Tier) string {
	switch t {
	case verify.Contraindicated:
		return "bad"
	case verify.Warning:
		return "wait"
	}
	return "info"
}
