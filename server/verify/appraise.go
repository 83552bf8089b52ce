package verify

import (
	"time"

	"muster/attest"
	"muster/attest/posture"
)

// Reasons that only the Verifier gives.
const (
	// StaleClaim: the claim was looked at too long before the report was made.
	StaleClaim posture.Reason = "stale-observation"
)

// What is tolerated of a laptop's clock and of the age of a claim.
const (
	MaxClaimAge = 6 * time.Hour
	MaxSkew     = 10 * time.Minute
)

// Finding codes.
const (
	FindingClockSkew  = "clock-skew"
	FindingTPMCleared = "tpm-cleared"
	FindingClockFell  = "tpm-clock-fell"
	FindingCloned     = "cloned"
)

// Input is all that an appraisal rests on.
type Input struct {
	Device Device
	// Evidence is what attest.Open returned.
	Evidence *attest.Evidence
	// Boot is what a quote beside the statement is judged by.
	Boot BootInput
	// Last is the Result before this one; nil for the first.
	Last *Result
	// Cloned tells that two chains of reports kept interleaving.
	Cloned bool
	// ReceivedAt is the server's time of arrival.
	ReceivedAt time.Time
}

// Appraise judges opened Evidence. A heartbeat confirms the claims of Last; a
// statement that is neither report nor heartbeat yields a Result in which
// everything is unknown.
func Appraise(in Input) *Result {
	ev := in.Evidence
	r := &Result{Device: in.Device, IssuedAt: ev.IssuedAt}
	var collected time.Time
	switch {
	case ev.Report != nil:
		r.Claims, collected = ev.Report.Claims, ev.Report.CollectedAt
		r.Device.Platform = ev.Report.Platform
		stale(&r.Claims, collected)
	case ev.Heartbeat != nil && in.Last != nil:
		r.Claims, collected = in.Last.Claims, time.Unix(ev.Heartbeat.CollectedAt, 0)
		r.asReported(in.Last)
	default:
		r.Claims = posture.Unfilled(in.ReceivedAt, posture.NotCollected)
		collected = in.ReceivedAt
	}
	r.boot(&in)
	r.join()
	r.notice(in, collected)
	r.bootFindings()
	r.grade()
	return r
}

// stale makes claims unknown that were looked at long before the report.
func stale(claims *posture.Claims, collected time.Time) {
	for _, c := range claims.Each() {
		if c.State != posture.Unknown && collected.Sub(c.ObservedAt) > MaxClaimAge {
			c.State, c.Reason = posture.Unknown, StaleClaim
		}
	}
}

// boot judges the evidence of a quote, or carries the last one's forward: until the
// next quote nothing of it can have changed.
func (r *Result) boot(in *Input) {
	if in.Last != nil {
		r.Boot, r.QuotedAt, r.Cap, r.Denied = in.Last.Boot, in.Last.QuotedAt, in.Last.Cap, in.Last.Denied
	}
	if m := in.Evidence.Measured; m != nil {
		last := r.Boot
		r.QuotedAt = in.Evidence.IssuedAt
		r.Boot.quoted(m, bootID(in.Evidence))
		r.judgeBoot(&in.Boot)
		r.weak(&in.Boot)
		r.Boot.Resumed = resumed(&last, &r.Boot)
		r.Boot.Cleared = r.Boot.Cleared || in.Evidence.Cleared
		r.Boot.ClockFell = r.Boot.ClockFell || in.Evidence.ClockFell
	} else if in.Last == nil {
		r.judgeBoot(&in.Boot)
	}
}

func bootID(ev *attest.Evidence) string {
	switch {
	case ev.Report != nil:
		return ev.Report.BootID
	case ev.Heartbeat != nil:
		return ev.Heartbeat.BootID
	}
	return ""
}

// notice adds findings.
func (r *Result) notice(in Input, collected time.Time) {
	if skew := collected.Sub(in.ReceivedAt); skew > MaxSkew || skew < -MaxSkew {
		r.find(FindingClockSkew, Warning, "The laptop's clock differs from the server's by "+skew.Abs().Round(time.Second).String()+".",
			"Turn on network time on the laptop.")
	}
	if in.Evidence.Cleared || r.Boot.Cleared {
		r.find(FindingTPMCleared, Warning, "The TPM was cleared since the last report.",
			"If nobody in charge did this, revoke the device and enrol it again.")
	}
	if in.Evidence.ClockFell || r.Boot.ClockFell {
		r.find(FindingClockFell, Warning, "The TPM's clock went back over a start, as a virtual TPM's does that lost its power, or was set back to an earlier state.",
			"If it is a virtual machine, see that nobody set it back to a snapshot; on a laptop, let it be looked at.")
	}
	if in.Cloned {
		r.find(FindingCloned, Contraindicated, "Two systems report with this device's keys and state.",
			"Find the copy; then approve the device again, or enrol it anew.")
	}
}

func (r *Result) find(code string, tier Tier, text, fix string) {
	r.Findings = append(r.Findings, Finding{Code: code, Tier: tier, Text: text, Fix: fix})
}

// severity is how bad it is that a claim is no. A claim that only informs has
// none.
func severity(claim string) Tier {
	switch claim {
	case "disk_encryption", "malware_protection":
		return Contraindicated
	case "os", "hardware":
		return None
	}
	return Warning
}

// grade sets a tier for each claim and for the whole: the worst of all, or
// affirming when every claim that is graded affirms. What nobody could tell is
// none, which is not affirming.
func (r *Result) grade() {
	r.Tiers = make(map[string]Tier)
	all, worst := true, None
	for name, c := range r.Claims.Each() {
		graded := severity(name)
		tier := None
		switch {
		case graded == None:
		case c.State == posture.Yes:
			tier = Affirming
		case c.State == posture.No:
			tier = graded
		}
		r.Tiers[name] = tier
		all = all && (tier != None || graded == None)
		worst = max(worst, tier)
	}
	for name, c := range r.Boot.each() {
		r.Tiers[name] = [...]Tier{posture.Unknown: None, posture.Yes: Affirming, posture.No: Warning}[c.State%3]
		if name == "boot_chain" || name == "boot_baseline" {
			worst = max(worst, r.Tiers[name]) // no of them counts; unknown of them is told, and holds nothing back
		}
	}
	for _, f := range r.Findings {
		worst = max(worst, f.Tier)
	}
	if r.Tier = worst; worst == Affirming && !all {
		r.Tier = None
	}
}
