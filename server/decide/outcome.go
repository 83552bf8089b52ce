package decide

import (
	"fmt"
	"time"

	"muster/server/verify"
)

// Outcome is what is decided. The zero value denies. A smaller one is more
// severe, so the most severe of several is their minimum.
//
// StepUp is more severe than Restrict: the person gets nothing until they have
// stepped up, and are restricted afterwards if that reason is still there. The
// other way round a restriction would let them past the step.
type Outcome uint8

// The outcomes, most severe first (DESIGN §7).
const (
	Deny Outcome = iota
	StepUp
	Restrict
	Allow
)

var outcomeNames = [...]string{Deny: "deny", StepUp: "step_up", Restrict: "restrict", Allow: "allow"}

// String returns the wire name; a value outside the four reads as deny, which
// is what it means.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return outcomeNames[Deny]
}

// MarshalText writes the wire name; a value outside the four is an error.
func (o Outcome) MarshalText() ([]byte, error) {
	if int(o) >= len(outcomeNames) {
		return nil, fmt.Errorf("decide: no outcome %d", uint8(o))
	}
	return []byte(outcomeNames[o]), nil
}

// UnmarshalText accepts exactly the four wire names, and leaves deny otherwise.
func (o *Outcome) UnmarshalText(b []byte) error {
	*o = Deny
	for i, name := range outcomeNames {
		if string(b) == name {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("decide: outcome %q is none of allow, restrict, step_up, deny", b)
}

// Decision is the answer for one visitor, or device, and one application.
type Decision struct {
	Outcome Outcome `json:"outcome"`
	// Reasons are all that speak against it, in the order: device, findings, session,
	// elevation, rules as the policy has them, those that name the request last. Those
	// with ReportOnly, Grace or Bypass did not count. A decision other than allow has
	// at least one that did.
	Reasons []Reason `json:"reasons"`
	// Until is the first instant at which time alone changes the decision or one
	// of its reasons; zero when that never happens.
	Until time.Time `json:"until,omitzero"`
	// Policy is [Policy.Digest] of the policy that decided; empty where none had a say:
	// there is no session, or something went wrong.
	Policy string `json:"policy"`
	// Elevated: an elevation is what opened the application. Only allow and restrict
	// have it.
	Elevated bool `json:"elevated,omitempty"`
}

// Reason is one thing that speaks against letting them in.
type Reason struct {
	Code string `json:"code"` // stable: a rule's id, a finding's code, or a code of README.md
	// Claim is what it is about: a claim's wire name, level, report, quote, device,
	// link, session, verification, passkey, user, elevation or request.
	Claim string `json:"claim,omitempty"`
	Text  string `json:"text"` // what is wrong, one sentence
	Fix   string `json:"fix"`  // what to do, one sentence
	// Outcome is what the reason leads to where it counts; allow with ReportOnly.
	Outcome Outcome `json:"outcome"`
	// ReportOnly: the rule is on trial and did not count.
	ReportOnly bool `json:"report_only,omitempty"`
	// Unknown: nobody could tell, rather than: it is bad.
	Unknown bool `json:"unknown,omitempty"`
	// Grace, where set, is when the reason begins to count.
	Grace time.Time `json:"grace,omitzero"`
	// Bypass, where set, is until when an administrator lets it pass.
	Bypass time.Time `json:"bypass,omitzero"`
	// Person: it is about who asks and how, not about the laptop.
	Person bool `json:"person,omitempty"`
	// request: the rule names the request, of which a laptop by itself tells nothing.
	request bool
}

// counts reports whether the reason has a say in the outcome.
func (r *Reason) counts() bool { return !r.ReportOnly && r.Grace.IsZero() && r.Bypass.IsZero() }

// Codes of the reasons that need no rule (README.md). They are stable, and no
// rule can have one of them as id.
const (
	codeAppUnknown  = "app-unknown"  // no policy names the application
	codeNoReport    = "no-report"    // nothing was ever appraised of the device
	codePending     = "pending"      // waits for an approval
	codeRevoked     = "revoked"      // never returns
	codeReportStale = "report-stale" // older than limits.report_age
	codeInternal    = "internal"     // a defect of ours; it denies
	codeSessionIdle = "session-idle" // longer without a request than limits.sessions
	codeSessionOld  = "session-old"  // older than limits.sessions
	codeElevation   = "elevation-needed"
)

// reservedCodes are the codes above, those of the Verifier's findings and those of
// [NoSession].
func reservedCodes() []string {
	return append([]string{
		codeAppUnknown, codeNoReport, codePending, codeRevoked, codeReportStale, codeInternal,
		codeSessionIdle, codeSessionOld, codeElevation,
		verify.FindingCloned, verify.FindingClockSkew, verify.FindingTPMCleared, verify.FindingClockFell, verify.FindingBootLog, verify.FindingContradiction,
		verify.FindingWithheld, verify.FindingDrift, verify.FindingDriftExpected, verify.FindingRefused, verify.FindingResumed, verify.FindingWeakTPM, verify.FindingDMA, verify.FindingDenied,
	}, sessionCodes()...)
}
