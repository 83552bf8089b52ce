package web

import (
	"strings"

	"muster/attest"
	"muster/attest/posture"
)

// claimView is one claim of a laptop in words.
type claimView struct {
	mark
	Name   string // what it is about: Disk encryption
	Detail string // what was seen, where that helps
	Fix    string
	Source string // who says so
}

// claimViews puts every claim in words: what needs something first, then what
// could not be told, then what is well.
func (s *site) claimViews(l *Laptop) (wrong, unknown, well []claimView) {
	if l.Claims == nil {
		return nil, nil, nil
	}
	// What the policy says of a claim comes before what the claim is by itself: it
	// has the administrator's own words, and only it knows what is asked for.
	told := map[string]attest.Reason{}
	for _, r := range l.Decision.Reasons {
		if _, twice := told[r.Claim]; !twice {
			told[r.Claim] = r
		}
	}
	all := l.Claims.Each()
	if l.measured() {
		all = both(all, ownBoot(l.Result, func(name string) bool { _, asked := told[name]; return asked }))
	}
	for name, claim := range all {
		words, ok := wordsOfClaim(name)
		if !ok {
			words = claimWords{name: strings.ReplaceAll(name, "_", " "), yes: "In order.", no: "Not in order.", unknown: "It could not be told."}
		}
		v := claimView{mark: words.stateMark(claim.State), Name: words.name, Detail: claimDetail(name, l.Claims), Source: sourceWords(claim.Source)}
		if claim.State == posture.Yes {
			well = append(well, v)
			continue
		}
		if r, ok := told[name]; ok {
			v.Text, v.Fix = r.Text, r.Fix
		} else if s.Advice != nil {
			if text, fix := s.Advice(name, l.Platform, *claim); text != "" {
				v.Text, v.Fix = text, fix
			}
		}
		if claim.State == posture.No {
			wrong = append(wrong, v)
		} else {
			unknown = append(unknown, v)
		}
	}
	return wrong, unknown, well
}

// each is what Each of claims returns.
type each = func(yield func(string, *posture.Claim) bool)

// both yields what one does, then what the other does.
func both(one, other each) each {
	return func(yield func(string, *posture.Claim) bool) {
		for _, e := range []each{one, other} {
			for name, claim := range e {
				if !yield(name, claim) {
					return
				}
			}
		}
	}
}

// claimWords are a claim's name, and each of its states in a sentence.
type claimWords struct{ name, yes, no, unknown string }

// claimTable has them by wire name; a test holds it complete. Yes is said as it was
// observed, never as praise: whether it is enough, the policy decides.
func claimTable() map[string]claimWords {
	return map[string]claimWords{
		"os":                   {"Operating system", "Identified.", "Not identified.", "It could not be told which system runs."},
		"patches":              {"Security updates", "None is missing.", "Some are missing, or wait for a restart.", "It could not be told whether some are missing."},
		"disk_encryption":      {"Disk encryption", "Every disk is encrypted.", "Not every disk is encrypted.", "It could not be told whether the disks are encrypted."},
		"home_encryption":      {"Home directories", "Encrypted.", "Not all are encrypted.", "It could not be told whether they are encrypted."},
		"firewall":             {"Firewall", "Refuses incoming connections.", "Does not refuse incoming connections.", "It could not be told whether it is on."},
		"secure_boot":          {"Secure Boot", "On.", "Off.", "It could not be told whether it is on."},
		"boot_security":        {"Kernel protection", "On.", "Off.", "It could not be told whether it is on."},
		"tpm":                  {"Security chip (TPM)", "A TPM 2.0 is there.", "No TPM 2.0 can be used.", "It could not be told whether there is one."},
		"hardware":             {"Hardware", "Its labels can be read.", "It has no usable labels.", "Its labels could not be read."},
		"screen_lock":          {"Screen lock", "Locks by itself.", "Does not lock by itself.", "It could not be told whether it locks by itself."},
		"malware_protection":   {"Malware protection", "On and current.", "Off or out of date.", "It could not be told whether it is on."},
		"automatic_updates":    {"Automatic updates", "Updates install themselves.", "Updates do not install themselves.", "It could not be told whether updates install themselves."},
		"remote_access":        {"Remote access", "Closed to guessing.", "Open in an unsafe way.", "It could not be told whether it is open."},
		"local_administrators": {"Local administrators", "Few, and they must prove themselves.", "People become administrator too easily.", "It could not be told who is administrator."},
		"mdm":                  {"Management", "Enrolled in a management service.", "Not enrolled in a management service.", "It could not be told whether it is managed."},
	}
}

// claimDetail says what was seen, where a person is helped by it.
func claimDetail(name string, c *posture.Claims) string {
	switch name {
	case "os":
		d := c.OS.Detail
		return strings.TrimSpace(strings.TrimSpace(d.Name + " " + d.Version))
	case "patches":
		return shorten(c.Patches.Detail.Packages)
	case "disk_encryption":
		var plain []string
		for _, v := range c.DiskEncryption.Detail.Volumes {
			if v.State == posture.No && (v.Use == posture.UseData || v.Use == posture.UseSwap || v.Use == posture.UseHibernate) {
				plain = append(plain, strings.TrimSpace(v.Device+" "+v.Mount))
			}
		}
		return shorten(plain)
	case "hardware":
		return strings.TrimSpace(c.Hardware.Detail.Vendor + " " + c.Hardware.Detail.Model)
	case "remote_access":
		return shorten(c.RemoteAccess.Detail.Listening)
	case "secure_boot":
		return measuredWords(&c.SecureBoot.Claim)
	case "boot_security":
		return measuredWords(&c.BootSecurity.Claim)
	}
	return ""
}

// measuredWords says where a claim that the laptop makes of itself was measured, too.
func measuredWords(c *posture.Claim) string {
	if c.Source == posture.Measured && c.State != posture.Unknown {
		return sourceWords(c.Source)
	}
	return ""
}

// shorten lists the first few of many.
func shorten(all []string) string {
	const most = 5
	if len(all) > most {
		return strings.Join(all[:most], ", ") + " and more"
	}
	return strings.Join(all, ", ")
}

// sourceWords says who vouches for a claim.
func sourceWords(s posture.Source) string {
	switch s {
	case posture.Measured:
		return "proved by the TPM"
	case posture.Vendor:
		return "told by its management"
	}
	return "told by its system"
}

// causeReplaced is the cause of a device in whose place another was admitted.
const causeReplaced = "replaced"

// outcomeMark puts a laptop's decision in words.
func outcomeMark(l *Laptop) mark {
	switch {
	case l.State == attest.Revoked:
		return mark{"bad", "Revoked: it does not come back"}
	case l.State == attest.Pending && l.Cause == causeReplaced:
		return mark{"info", "Another laptop took its place"}
	case l.State == attest.Pending:
		return mark{"wait", "Waits for an approval"}
	case l.State != attest.Active:
		return mark{"unknown", "It is not known how this laptop stands"}
	case l.LastReport.IsZero():
		return mark{"unknown", "Has not reported yet"}
	case !l.Current:
		return mark{"unknown", "Its last report is too old"}
	}
	// Words as in attest.Decision; one that we do not know is no allow.
	switch l.Decision.Outcome {
	case "allow":
		return mark{"ok", "In order"}
	case "step_up":
		return mark{"info", "In order; some applications ask for your passkey again"}
	case "restrict":
		return mark{"bad", "Something needs fixing: access is restricted"}
	case "deny":
		return mark{"bad", "Something needs fixing: access is refused"}
	}
	return mark{"unknown", "It is not known how this laptop stands"}
}
