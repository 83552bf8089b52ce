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
	case !j.a.Windows.Known && j.onlyDistributions():
		return posture.Linux
	}
	return ""
}

// onlyDistributions reports whether what vouched after firmware were distributions'
// CAs, at least one, and Microsoft's CA for others, which vouches for their shim. A
// chain that ends in Windows shows a CA of Windows' besides.
func (j *judge) onlyDistributions() bool {
	n := 0
	for _, a := range j.a.Authorities.Value {
		if a.Early {
			continue
		}
		if a.Certificate == nil {
			return false
		}
		switch known, ok := j.refs.Authority(a.Certificate.SHA256); {
		case ok && known.Kind == reference.DistributionCA:
			n++
		case !ok || known.Kind != reference.UEFICA:
			return false
		}
	}
	return j.a.Authorities.Known && n > 0
}

// otherSystem finds a laptop that says it runs another system than the one that was
// measured: the two are bound to one start by the key that signed both.
func (r *Result) otherSystem() {
	measured, said := r.Boot.Platform, r.Device.Platform
	if measured == "" || said == "" || measured == said {
		return
	}
	r.find(FindingContradiction, Contraindicated, "The laptop says that it runs "+systemName(said)+", and "+systemName(measured)+" was measured.",
		"The system does not tell the truth about how it was started: let the laptop be looked at.")
}

func systemName(p posture.Platform) string {
	switch p {
	case posture.Linux:
		return "Linux"
	case posture.Windows:
		return "Windows"
	case posture.Darwin:
		return "macOS"
	}
	return "another system"
}
