package decide

import (
	"fmt"
	"strings"
	"testing"

	"muster/attest/posture"
)

// tenRules is a policy as administrators write them, all of whose rules apply.
func tenRules() string {
	var b strings.Builder
	b.WriteString("apps: [{id: wiki, sensitivity: high, devices: true}]\nrequire:\n")
	for i, condition := range []string{
		"device.level > SOFTWARE", "device.disk_encryption.state == YES", "device.patches.state == YES", "device.firewall.state == YES",
		"device.secure_boot.state == YES", "device.remote_access.state == YES", "device.patches.metadata_age < duration('72h')",
		"device.os.id == 'debian' && version_at_least(device.os.version, '12')", "device.ownership == 'corporate' || device.mdm.state == YES",
		"device.quote_age < duration('26h')",
	} {
		fmt.Fprintf(&b, "- id: rule-%d\n  for: app.sensitivity >= MEDIUM\n  grace: 24h\n  that: |\n    %s\n", i, condition)
	}
	return b.String()
}

// BenchmarkDecide is one device and one application under ten rules that apply.
func BenchmarkDecide(b *testing.B) {
	p := load(b, tenRules())
	good, bad := healthy("wiki"), healthy("wiki")
	blank := healthy("wiki")
	blank.Device.Claims = posture.Unfilled(noon(), posture.NotCollected)
	for _, c := range bad.Device.Claims.Each() {
		c.State = posture.No
	}
	for _, bench := range []struct {
		name string
		in   Inputs
		want Outcome
	}{{"all-met", good, Allow}, {"all-no", bad, Allow}, {"all-unknown", blank, Deny}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := p.Decide(bench.in); d.Outcome != bench.want {
					b.Fatalf("decided %+v", d)
				}
			}
		})
	}
}

// BenchmarkDecideAll is what the report path pays: every application of the
// default policy, and the book of grace.
func BenchmarkDecideAll(b *testing.B) {
	p, _, err := Default()
	if err != nil {
		b.Fatal(err)
	}
	in := healthy("")
	b.ReportAllocs()
	for b.Loop() {
		if len(p.DecideAll(in)) != 4 {
			b.Fatal("not every application")
		}
		p.NextGrace(in)
	}
}

func BenchmarkLoadDefault(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Default(); err != nil {
			b.Fatal(err)
		}
	}
}
