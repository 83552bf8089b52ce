package decide

import (
	"testing"
	"time"

	"muster/attest/posture"
	"muster/server/verify"
)

func TestNeverGraceWithoutLaptop(t *testing.T) {
	p := load(t, `
apps: [{id: wiki, sensitivity: high}]
require:
  - {id: disk, that: device.disk_encryption.state == YES, otherwise: deny, grace: 24h, grace_unknown: true}
`)
	in := visiting("wiki")
	in.Visitor.Session.Link = Link{}
	in.Device, in.HasResult, in.Grace = verify.Result{}, false, nil
	for day := range 60 {
		at := in
		at.Now = in.Now.Add(time.Duration(day) * 24 * time.Hour)
		at.Visitor.Session.SignedInAt, at.Visitor.Session.SeenAt = at.Now, at.Now
		if d := p.Prepare(at).Decision; day > 2 && d.Outcome == Allow {
			t.Fatalf("day %d, without any laptop: %v %+v", day, d.Outcome, d.Reasons)
		}
	}
}

func TestNeverAlone(t *testing.T) {
	for name, test := range map[string]struct {
		rule   string
		change func(*Inputs)
	}{
		"level or bound session": {"device.level >= VTPM || session.binding == 'mtls'", func(in *Inputs) { in.Device.Device.Level = verify.Software }},
		"bound session or level": {"session.binding == 'mtls' || device.level >= VTPM", func(in *Inputs) { in.Device.Device.Level = verify.Software }},
		"ownership or role":      {"device.ownership == 'corporate' || user.role == 'administrator'", func(in *Inputs) { in.Device.Device.Class = "byod" }},
		"measured or attested": {"device.secure_boot.source >= MEASURED || passkey.attested", func(in *Inputs) {
			in.Device.Claims.SecureBoot.Claim = posture.Claim{State: posture.Yes, Source: posture.Reported}
		}},
		"quote or hands": {"device.quote_age < duration('26h') || session.user_verified_ago < duration('5m')", func(in *Inputs) { in.Device.QuotedAt = in.Now.Add(-1000 * time.Hour) }},
		"request first":  {"in_network(request.address, '10.0.0.0/8') || user.role == 'administrator'", nil},
		"request last":   {"user.role == 'administrator' || in_network(request.address, '10.0.0.0/8')", nil},
	} {
		p := load(t, `
apps: [{id: wiki, sensitivity: low, devices: true}]
require:
  - {id: rule, that: "`+test.rule+`", otherwise: deny}
`)
		in := visiting("wiki")
		in.Visitor = nil
		if test.change != nil {
			test.change(&in)
		}
		d := p.Decide(in)
		alone := d.Alone()
		if alone.Outcome == Allow {
			t.Errorf("%s: a laptop by itself that meets no part of the rule is allowed", name)
		}
	}
}
