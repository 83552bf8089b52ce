package verify

import (
	"reflect"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// reported is a laptop on which every claim is as wanted.
func reported() *posture.Report {
	r := &posture.Report{Platform: posture.Linux, CollectedAt: noon, Claims: posture.Unfilled(noon, posture.NotYet)}
	for _, c := range r.Claims.Each() {
		c.State, c.Reason = posture.Yes, ""
	}
	return r
}

func appraise(change func(*Input)) *Result {
	in := Input{
		Device:   Device{ID: "d", State: attest.Active, Level: TPMHardware},
		Evidence: &attest.Evidence{IssuedAt: noon, Report: reported()}, ReceivedAt: noon,
	}
	if change != nil {
		change(&in)
	}
	return Appraise(in)
}

func TestHealthyIsAffirming(t *testing.T) {
	r := appraise(nil)
	if r.Tier != Affirming || r.IssuedAt != noon || len(r.Findings) != 0 || r.Device.Platform != posture.Linux {
		t.Errorf("result is %+v", r)
	}
}

// Every claim has a tier for each of its states, and no state but yes affirms.
func TestEveryClaimIsGraded(t *testing.T) {
	claims := reported().Claims
	for name := range claims.Each() {
		for _, state := range []posture.State{posture.Unknown, posture.No} {
			r := appraise(func(in *Input) {
				for n, c := range in.Evidence.Report.Claims.Each() {
					if n == name {
						c.State, c.Reason = state, "x"
					}
				}
			})
			tier, ok := r.Tiers[name]
			if !ok || tier == Affirming {
				t.Errorf("%s: %v is graded %v", name, state, tier)
			}
			if tier > r.Tier {
				t.Errorf("%s: the whole is %v, better than its part %v", name, r.Tier, tier)
			}
			if r.Tier == Affirming && name != "os" && name != "hardware" {
				t.Errorf("%s is %v and the whole is affirming", name, state)
			}
		}
	}
	own := 0
	for range new(Boot).each() {
		own++
	}
	if n := reflect.TypeOf(claims).NumField() + own; len(appraise(nil).Tiers) != n {
		t.Errorf("%d claims, %d tiers", n, len(appraise(nil).Tiers))
	}
}

// The agent's word is never more than reported, and boot evidence that nobody
// judged is never good.
func TestNothingBecomesMeasured(t *testing.T) {
	quote := &attest.Measured{Clock: attest.Clock{ResetCount: 3}, PCRs: attest.PCRs{7: {7}}, LogSHA: attest.Digest{1}}
	r := appraise(func(in *Input) { in.Evidence.Measured = quote })
	for name, c := range r.Claims.Each() {
		if c.Source != posture.Reported {
			t.Errorf("%s is %v", name, c.Source)
		}
	}
	if r.Boot.State != posture.Unknown || r.Boot.Reason != NotJudged || r.Boot.PCR7 != (attest.Digest{7}) || r.QuotedAt != noon {
		t.Errorf("boot is %+v, quoted at %v", r.Boot, r.QuotedAt)
	}
	if r := appraise(nil); r.Boot.State != posture.Unknown || r.Boot.Reason != NoQuote {
		t.Errorf("without a quote boot is %+v", r.Boot)
	}
	r = appraise(func(in *Input) { in.Evidence.Measured = &attest.Measured{PCRs: attest.PCRs{7: {7}}} })
	if r.Boot.State != posture.Unknown || r.Boot.Reason != NoBootLog {
		t.Errorf("without a log boot is %+v", r.Boot)
	}
}

func TestHeartbeatConfirmsTheLastClaims(t *testing.T) {
	last := appraise(func(in *Input) { in.Evidence.Measured = &attest.Measured{LogSHA: attest.Digest{1}} })
	later := noon.Add(time.Minute)
	beat := func(in *Input) {
		in.Evidence = &attest.Evidence{IssuedAt: later, Heartbeat: &attest.Heartbeat{CollectedAt: later.Unix()}}
		in.ReceivedAt = later
	}
	r := appraise(func(in *Input) { beat(in); in.Last = last })
	if !reflect.DeepEqual(r.Claims, last.Claims) || r.IssuedAt != later || r.QuotedAt != noon || r.Tier != Affirming {
		t.Errorf("after a heartbeat: %+v", r)
	}
	r = appraise(beat)
	for name, c := range r.Claims.Each() {
		if c.State != posture.Unknown {
			t.Errorf("a heartbeat without a report makes %s %v", name, c.State)
		}
	}
	if r.Tier == Affirming {
		t.Error("a heartbeat without a report affirms")
	}
}

func TestOldClaimsAreUnknown(t *testing.T) {
	r := appraise(func(in *Input) {
		in.Evidence.Report.Claims.DiskEncryption.ObservedAt = noon.Add(-MaxClaimAge - time.Second)
		in.Evidence.Report.Claims.Firewall.ObservedAt = noon.Add(-MaxClaimAge)
	})
	if c := r.Claims.DiskEncryption; c.State != posture.Unknown || c.Reason != StaleClaim {
		t.Errorf("a claim that is too old is %v (%s)", c.State, c.Reason)
	}
	if c := r.Claims.Firewall; c.State != posture.Yes {
		t.Errorf("a claim of just the age is %v", c.State)
	}
}

func TestFindings(t *testing.T) {
	for code, test := range map[string]struct {
		change func(*Input)
		tier   Tier
	}{
		FindingClockSkew:  {func(in *Input) { in.ReceivedAt = noon.Add(MaxSkew + time.Second) }, Warning},
		FindingTPMCleared: {func(in *Input) { in.Evidence.Cleared = true }, Warning},
		FindingClockFell:  {func(in *Input) { in.Evidence.ClockFell = true }, Warning},
		FindingCloned:     {func(in *Input) { in.Cloned = true }, Contraindicated},
	} {
		r := appraise(test.change)
		if len(r.Findings) != 1 || r.Findings[0].Code != code || r.Tier != test.tier || r.Findings[0].Text == "" || r.Findings[0].Fix == "" {
			t.Errorf("%s: %+v, tier %v", code, r.Findings, r.Tier)
		}
	}
	r := appraise(func(in *Input) { in.ReceivedAt = noon.Add(-MaxSkew - time.Second) })
	if len(r.Findings) != 1 {
		t.Error("a clock that is ahead was not noticed")
	}
}

func TestTextForms(t *testing.T) {
	for l := range TPMHardware + 1 {
		b, err := l.MarshalText()
		var back Level
		if err != nil || back.UnmarshalText(b) != nil || back != l {
			t.Errorf("level %v: %s, %v", l, b, err)
		}
	}
	for tier := range Contraindicated + 1 {
		b, err := tier.MarshalText()
		var back Tier
		if err != nil || back.UnmarshalText(b) != nil || back != tier {
			t.Errorf("tier %v: %s, %v", tier, b, err)
		}
	}
	var l Level
	var tier Tier
	if l.UnmarshalText([]byte("TPM-HW")) == nil || tier.UnmarshalText([]byte("")) == nil {
		t.Error("a name that is none was accepted")
	}
	if _, err := Level(99).MarshalText(); err == nil {
		t.Error("a level that is none was written")
	}
	if _, err := Tier(99).MarshalText(); err == nil {
		t.Error("a tier that is none was written")
	}
}
