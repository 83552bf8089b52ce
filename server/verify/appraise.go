package verify

import (
	"strconv"
	"time"

	"muster/attest"
	"muster/attest/posture"
)

// Reasons that only the Verifier gives.
const (
	// StaleClaim: the claim was looked at too long before the report was made.
	StaleClaim posture.Reason = "stale-observation"
	// NotJudged: boot evidence came and is kept, but nobody judged it.
	NotJudged posture.Reason = "not-judged"
	// NoBootLog: a quote came without a boot log to explain it.
	NoBootLog posture.Reason = "boot-evidence-missing"
	// NoQuote: no quote came since the device enrolled, or it has no TPM.
	NoQuote posture.Reason = "no-quote"
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
	FindingCloned     = "cloned"
)

// Input is all that an appraisal rests on.
type Input struct {
	Device Device
	// Evidence is what attest.Open returned.
	Evidence *attest.Evidence
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
	default:
		r.Claims = posture.Unfilled(in.ReceivedAt, posture.NotCollected)
		collected = in.ReceivedAt
	}
	r.boot(in)
	r.notice(in, collected)
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

// boot carries the quote forward and says how far the boot evidence goes.
func (r *Result) boot(in Input) {
	if in.Last != nil {
		r.Boot, r.QuotedAt = in.Last.Boot, in.Last.QuotedAt
	}
	if m := in.Evidence.Measured; m != nil {
		clock := m.Clock
		r.QuotedAt = in.Evidence.IssuedAt
		r.Boot = Boot{
			PCR7: m.PCRs[7], LogSHA256: m.LogSHA, Clock: &clock,
			Firmware: strconv.FormatUint(m.Firmware, 16),
		}
	}
	// Until a log is judged nothing is said to be good.
	r.Boot.State, r.Boot.Reason, r.Boot.ObservedAt = posture.Unknown, NotJudged, r.QuotedAt
	switch {
	case r.QuotedAt.IsZero():
		r.Boot.Reason = NoQuote
	case r.Boot.LogSHA256.IsZero():
		r.Boot.Reason = NoBootLog
	}
}

// notice adds findings.
func (r *Result) notice(in Input, collected time.Time) {
	if skew := collected.Sub(in.ReceivedAt); skew > MaxSkew || skew < -MaxSkew {
		r.find(FindingClockSkew, Warning, "The laptop's clock differs from the server's by "+skew.Abs().Round(time.Second).String()+".",
			"Turn on network time on the laptop.")
	}
	if in.Evidence.Cleared {
		r.find(FindingTPMCleared, Warning, "The TPM was cleared since the last report.",
			"If nobody in charge did this, revoke the device and enrol it again.")
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
	for _, f := range r.Findings {
		worst = max(worst, f.Tier)
	}
	if r.Tier = worst; worst == Affirming && !all {
		r.Tier = None
	}
}
