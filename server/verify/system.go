package verify

import (
	"muster/attest/bootlog"
	"muster/attest/posture"
	"muster/server/reference"
)

// system tells which system was started, where what was measured says it: Windows'
// own loader, behind Microsoft's CAs for Windows alone, or programs behind a
// distribution's CA. Empty is not told: an owner's own keys, a distribution whose CA
// is not on the list, a start that nothing verified.
func system(a *bootlog.Account, refs *reference.Boot, c *BootClaims) posture.Platform {
	j := judge{a: a, refs: refs}
	switch {
	case c.SecureBoot.State != yes || c.ShimVerified.State != yes:
		return "" // anything may have run after the last one that vouched
	case j.a.Windows.Known && j.onlyWindows():
		return posture.Windows
	case !j.a.Windows.Known && j.onlyDistributions(func(reference.BootAuthority) bool { return true }):
		return posture.Linux
	}
	return ""
}

// otherSystem finds a laptop that says it runs another system than the one that was
// measured: the two are bound to one start by the key that signed both.
func (r *Result) otherSystem() {
	measured, said := r.Boot.Platform, r.Device.Platform
	if measured == "" || said == "" || measured == said {
		return
	}
	r.find(FindingContradiction, Contraindicated, "The laptop says that it runs "+said.Name()+", and "+measured.Name()+" was measured.",
		"The system does not tell the truth about how it was started: let the laptop be looked at.")
}
