package decide

import (
	"fmt"
	"net/netip"
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

// visitorRules are ten rules about all three: the person, the passkey, the laptop.
const visitorRules = `apps: [{id: wiki, sensitivity: high}]
require:
- {id: link-absent, that: session.link.state == LIVE, otherwise: step_up}
- {id: link-weak, for: app.sensitivity >= MEDIUM && session.link.state == LIVE, that: session.link.strength >= BY_APP, otherwise: step_up}
- {id: link-old, that: "session.link.age <= duration('15m') || session.binding in ['dbsc', 'mtls']", otherwise: step_up}
- {id: hands-old, for: app.sensitivity >= HIGH, that: session.user_verified_ago < duration('8h'), otherwise: step_up}
- {id: passkey-other-system, that: "!passkey.contradicts_os"}
- {id: hardware-passkey, that: passkey.attested && !passkey.backup_eligible && passkey.certification >= FIDO_L2, otherwise: step_up}
- {id: protected-keys, for: app.sensitivity >= MEDIUM, that: device.level > SOFTWARE}
- {id: disk-encrypted, for: app.sensitivity >= MEDIUM, that: device.disk_encryption.state == YES, grace: 24h}
- {id: patched, for: app.sensitivity >= MEDIUM, that: device.patches.state == YES, grace: 3d}
- {id: secure-boot, for: app.sensitivity >= HIGH, that: device.secure_boot.state == YES}
`

// requestRules are two that name the request.
const requestRules = `- {id: office, that: "in_network(request.address, '10.0.0.0/8', '192.168.0.0/16')", otherwise: step_up}
- {id: methods, for: "!request.path.startsWith('/forms/')", that: "request.method in ['GET', 'HEAD', 'OPTIONS'] && !request.upgrade", otherwise: restrict}
`

// BenchmarkPrepare is what a change of any input costs for one application, and
// BenchmarkFor what a check costs where rules name the request.
func BenchmarkPrepare(b *testing.B) {
	p := load(b, visitorRules)
	good, bad := visiting("wiki"), visiting("wiki")
	bad.Visitor.Session.Link = Link{}
	for _, bench := range []struct {
		name string
		in   Inputs
		want Outcome
	}{{"all-met", good, Allow}, {"no-link", bad, StepUp}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if r := p.Prepare(bench.in); r.Decision.Outcome != bench.want || !r.Final() {
					b.Fatalf("decided %+v", r.Decision)
				}
			}
		})
	}
}

func BenchmarkFor(b *testing.B) {
	in := visiting("wiki")
	r := load(b, visitorRules+requestRules).Prepare(in)
	elsewhere := asking()
	elsewhere.Method, elsewhere.Address = "PUT", netip.MustParseAddr("192.0.2.1")
	for _, bench := range []struct {
		name    string
		request *Request
		want    Outcome
	}{{"met", asking(), Allow}, {"unmet", elsewhere, StepUp}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := r.For(bench.request, in.Now); d.Outcome != bench.want {
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
		if len(p.DecideAll(in)) < 3 {
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
