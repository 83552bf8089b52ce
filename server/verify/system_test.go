package verify

import (
	"slices"
	"testing"

	"muster/attest/bootlog"
	"muster/attest/posture"
)

// Which system was started is told only by what vouched for it, and only where that
// was verified to the end.
func TestMeasuredSystem(t *testing.T) {
	type account = *bootlog.Account
	vouch := func(names ...string) func(account) {
		return func(a account) {
			a.Authorities.Value = nil
			for _, name := range names {
				a.Authorities.Value = append(a.Authorities.Value, bootlog.Authority{Variable: "db", Certificate: cert(name)})
			}
		}
	}
	for name, test := range map[string]struct {
		from   func() account
		change func(account)
		want   posture.Platform
	}{
		"Linux":                         {good, func(account) {}, posture.Linux},
		"Windows":                       {windows, func(account) {}, posture.Windows},
		"a distribution that is lax":    {good, vouch("uefi 2011", "lax distribution"), posture.Linux},
		"a firmware's driver":           {good, func(a account) { a.Authorities.Value = append(a.Authorities.Value, bootlog.Authority{Early: true}) }, posture.Linux},
		"Secure Boot off":               {good, func(a account) { a.SecureBoot.Value = false }, ""},
		"Secure Boot not told":          {good, func(a account) { a.SecureBoot = bootlog.Fact[bool]{} }, ""},
		"verification turned off":       {good, func(a account) { a.MOKOff.Value = true }, ""},
		"verification not told":         {good, func(a account) { a.MOKOff = bootlog.Fact[bool]{} }, ""},
		"authorities not told":          {good, func(a account) { a.Authorities.Known = false }, ""},
		"nobody vouched":                {good, vouch(), ""},
		"no distribution":               {good, vouch("uefi 2011"), ""},
		"somebody's own key":            {good, vouch("uefi 2011", "distribution", "somebody"), ""},
		"a program by its hash":         {good, func(a account) { a.Authorities.Value = append(a.Authorities.Value, bootlog.Authority{}) }, ""},
		"GRUB that starts Windows":      {good, vouch("uefi 2011", "distribution", "windows 2011"), ""},
		"Windows that is not Windows'":  {windows, vouch("windows 2011", "distribution"), ""},
		"Windows, as a distribution's":  {windows, vouch("uefi 2011", "distribution"), ""},
		"Windows' CA without its words": {windows, func(a account) { a.Windows = bootlog.Fact[bootlog.Windows]{Reason: bootlog.NotLogged} }, ""},
	} {
		a := test.from()
		test.change(a)
		r := appraise(measured(a))
		if r.Boot.Platform != test.want {
			t.Errorf("%s: %q", name, r.Boot.Platform)
		}
	}
	if r := appraise(func(in *Input) { measured(good())(in); in.Boot.References = nil }); r.Boot.Platform != "" {
		t.Errorf("without references: %q", r.Boot.Platform)
	}
}

func TestOtherSystem(t *testing.T) {
	says := func(p posture.Platform, a *bootlog.Account) *Result {
		return appraise(func(in *Input) { measured(a)(in); in.Evidence.Report.Platform = p })
	}
	off := good()
	off.SecureBoot.Value = false
	for name, test := range map[string]struct {
		r    *Result
		lies bool
	}{
		"Linux is Linux":              {says(posture.Linux, good()), false},
		"Windows is Windows":          {says(posture.Windows, windows()), false},
		"says Windows, and is Linux":  {says(posture.Windows, good()), true},
		"says Linux, and is Windows":  {says(posture.Linux, windows()), true},
		"says macOS, and is Linux":    {says(posture.Darwin, good()), true},
		"of a system nobody knows":    {says("plan9", good()), true},
		"says nothing":                {says("", good()), false},
		"where nothing else is known": {says(posture.Windows, off), false},
	} {
		found := slices.ContainsFunc(test.r.Findings, func(f Finding) bool {
			return f.Code == FindingContradiction && f.Tier == Contraindicated
		})
		if found != test.lies && name != "where nothing else is known" || test.lies && test.r.Tier != Contraindicated {
			t.Errorf("%s: %v, %v", name, test.r.Tier, test.r.Findings)
		}
		if found && name == "where nothing else is known" && slices.ContainsFunc(test.r.Findings, func(f Finding) bool { return f.Text[:10] == "The laptop" }) {
			t.Errorf("%s: %v", name, test.r.Findings)
		}
	}

	// What was judged late finds it, too, and what is judged again loses it.
	first := says(posture.Windows, off)
	in := BootInput{Account: good(), References: references()}
	again := Rejudge(first, &in)
	if again.Boot.Platform != posture.Linux || again.Tier != Contraindicated {
		t.Errorf("judged again: %q, %v", again.Boot.Platform, again.Findings)
	}
	in.Account, in.Missing = nil, NoBootLog
	if back := Rejudge(again, &in); back.Boot.Platform != "" || slices.Contains(codesOf(back), FindingContradiction) {
		t.Errorf("without a log: %q, %v", back.Boot.Platform, back.Findings)
	}
}
