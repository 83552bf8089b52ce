package decide

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/attest/posture"
)

// residual is a policy with a rule of each kind that names the request.
const residual = `limits: {report_age: 30d}
apps: [{id: wiki, sensitivity: low}, {id: prod, sensitivity: high}]
require:
- {id: methods, that: "request.method in ['GET', 'HEAD'] && !request.upgrade", otherwise: restrict}
- {id: firewall, that: device.firewall.state == YES, otherwise: restrict}
- {id: abroad, for: app.sensitivity >= HIGH, that: "request.country == 'DE' || request.asn == 64500", otherwise: step_up}
- {id: fresh-writes, for: "request.path.startsWith('/admin')", that: session.user_verified_ago < duration('5m'), otherwise: step_up}
- {id: office, for: device.ownership == 'byod', that: "in_network(request.address, '10.0.0.0/8', '2001:db8::/32')"}
- {id: watched, that: "request.country != 'FR'", otherwise: report_only}
`

func TestFor(t *testing.T) {
	p := load(t, residual)
	for _, test := range []struct {
		name, app string
		change    func(*Inputs)
		request   func(*Request)
		after     time.Duration
		want      Outcome
		codes     []string
	}{
		{"all well", "wiki", nil, nil, 0, Allow, nil},
		{"another method", "wiki", nil, func(q *Request) { q.Method = "POST" }, 0, Restrict, []string{"methods"}},
		{"no method", "wiki", nil, func(q *Request) { q.Method = "" }, 0, Restrict, []string{"methods"}},
		{"a websocket", "wiki", nil, func(q *Request) { q.Upgrade = true }, 0, Restrict, []string{"methods"}},
		{"abroad does not apply", "wiki", nil, func(q *Request) { q.Country, q.ASN = "US", 1 }, 0, Allow, nil},
		{"abroad", "prod", nil, func(q *Request) { q.Country, q.ASN = "US", 1 }, 0, StepUp, []string{"abroad"}},
		{"abroad, by a known line", "prod", nil, func(q *Request) { q.Country = "" }, 0, Allow, nil},
		{"nobody knows where", "prod", nil, func(q *Request) { q.Country, q.ASN = "", 0 }, 0, StepUp, []string{"abroad"}},
		{"an ordinary path, later", "wiki", nil, nil, time.Hour, Allow, nil},
		{"a path that wants fresh hands", "wiki", nil, func(q *Request) { q.Path = "/admin/x" }, 4*time.Minute - 1, Allow, nil},
		{"and they are not", "wiki", nil, func(q *Request) { q.Path = "/admin/x" }, 4 * time.Minute, StepUp, []string{"fresh-writes"}},
		{"an ambiguous path is that path", "wiki", nil, func(q *Request) { q.Path = "" }, 4 * time.Minute, StepUp, []string{"fresh-writes"}},
		{"a laptop at the office", "wiki", func(in *Inputs) { in.Device.Device.Class = "byod" }, nil, 0, Allow, nil},
		{"mapped", "wiki", func(in *Inputs) { in.Device.Device.Class = "byod" }, func(q *Request) { q.Address = netip.MustParseAddr("::ffff:10.9.9.9") }, 0, Allow, nil},
		{"with a zone", "wiki", func(in *Inputs) { in.Device.Device.Class = "byod" }, func(q *Request) { q.Address = netip.MustParseAddr("2001:db8::1%eth0") }, 0, Allow, nil},
		{"a laptop elsewhere", "wiki", func(in *Inputs) { in.Device.Device.Class = "byod" }, func(q *Request) { q.Address = netip.MustParseAddr("11.0.0.1") }, 0, Deny, []string{"office"}},
		{"nobody knows the address", "wiki", func(in *Inputs) { in.Device.Device.Class = "byod" }, func(q *Request) { q.Address = netip.Addr{} }, 0, Deny, []string{"office"}},
		{"the order of reasons", "prod", func(in *Inputs) { in.Device.Claims.Firewall.State = posture.No }, func(q *Request) { *q = Request{Method: "PUT"} }, 4 * time.Minute, StepUp,
			[]string{"firewall", "methods", "abroad", "fresh-writes"}},
		{"refused already", "prod", func(in *Inputs) { in.Device.Device.State = "pending" }, func(q *Request) { q.Method = "PUT" }, 0, Deny, []string{"pending", "methods"}},
		{"a clock that was set back", "wiki", func(in *Inputs) {
			in.Visitor.Session.UserVerified = in.Now.Add(-5 * time.Minute)
		}, func(q *Request) { q.Path = "/admin/x" }, -time.Hour, StepUp, []string{"fresh-writes"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			in, q := visiting(test.app), asking()
			if test.change != nil {
				test.change(&in)
			}
			if test.request != nil {
				test.request(q)
			}
			r := p.Prepare(in)
			before, err := json.Marshal(r.Decision)
			if err != nil {
				t.Fatal(err)
			}
			d := r.For(q, in.Now.Add(test.after))
			if r.Final() || d.Outcome != test.want || !slices.Equal(counted(d), append([]string{}, test.codes...)) {
				t.Errorf("decided %v %+v", d.Outcome, d.Reasons)
			}
			for _, reason := range d.Reasons {
				if !sentence(reason.Text) || !sentence(reason.Fix) {
					t.Errorf("reason without words: %+v", reason)
				}
			}
			if after, err := json.Marshal(r.Decision); err != nil || string(after) != string(before) {
				t.Errorf("what was prepared changed to %s", after)
			}
		})
	}
}

// TestForNothing: without a request, a policy or a preparation nothing opens.
func TestForNothing(t *testing.T) {
	p := load(t, residual)
	in := visiting("prod")
	r := p.Prepare(in)
	if r.Decision.Outcome != Allow {
		t.Fatalf("prepared %+v", r.Decision)
	}
	if d := r.For(nil, in.Now); !reflect.DeepEqual(counted(d), []string{"methods", "abroad"}) || d.Outcome != StepUp {
		t.Errorf("no request: %+v", d)
	}
	if d := p.Decide(in); !slices.Equal(counted(d), []string{"methods", "abroad"}) || d.Outcome != StepUp {
		t.Errorf("Decide: %+v", d)
	}
	var none *Policy
	var nobody *Prepared
	for name, r := range map[string]*Prepared{
		"nobody": nobody, "zero": {}, "zero that allows": {Decision: Decision{Outcome: Allow}}, "no policy": none.Prepare(in), "zero policy": new(Policy).Prepare(in),
		"no inputs": p.Prepare(Inputs{}), "no application": p.Prepare(visiting("payroll")),
	} {
		if d := r.For(asking(), in.Now); d.Outcome != Deny {
			t.Errorf("%s: %+v", name, d)
		}
	}
	broken := *p.env
	broken.fields = nil
	q := *p
	q.env = &broken
	if d := q.Prepare(in).Decision; d.Outcome != Deny {
		t.Errorf("a defect allows: %+v", d)
	}
	late := p.Prepare(in)
	late.policy = &q
	if d := late.For(asking(), in.Now); d.Outcome != Deny {
		t.Errorf("a defect at the check allows: %+v", d)
	}
}

// TestForLater: after its end a preparation decides anew, and nothing stays allowed
// past its limit.
func TestForLater(t *testing.T) {
	p := load(t, oneApp+`require:
- {id: link-old, that: session.link.age < duration('15m'), otherwise: step_up}
- {id: methods, that: "request.method == 'GET'"}
`)
	in := visiting("wiki")
	r := p.Prepare(in)
	end := in.Visitor.Session.Link.At.Add(15 * time.Minute)
	if !r.Decision.Until.Equal(end) {
		t.Fatalf("until %v", r.Decision.Until)
	}
	for at, want := range map[time.Time]Outcome{end.Add(-1): Allow, end: StepUp, end.Add(time.Hour): Deny} {
		if d := r.For(asking(), at); d.Outcome != want {
			t.Errorf("%v after the end: %+v", at.Sub(end), d)
		}
	}
	final := load(t, that("session.link.age < duration('15m')")).Prepare(in)
	if d := final.For(asking(), end); !final.Final() || d.Outcome != Deny || final.For(nil, end.Add(-1)).Outcome != Allow {
		t.Errorf("without residual rules: %+v", d)
	}
}

// TestForUntil: what the check adds has its own end.
func TestForUntil(t *testing.T) {
	p := load(t, residual)
	in := visiting("wiki")
	r, q := p.Prepare(in), asking()
	verified := in.Visitor.Session.UserVerified
	q.Path = "/admin"
	if d := r.For(q, in.Now); !d.Until.Equal(verified.Add(5 * time.Minute)) {
		t.Errorf("until %v", d.Until)
	}
	in.Bypasses = []Bypass{{Rule: "fresh-writes", Ends: verified.Add(7 * time.Minute)}}
	r = p.Prepare(in)
	d := r.For(q, verified.Add(6*time.Minute))
	if d.Outcome != Allow || len(d.Reasons) != 1 || !d.Reasons[0].Bypass.Equal(verified.Add(7*time.Minute)) || !d.Until.Equal(verified.Add(7*time.Minute)) {
		t.Errorf("decided %+v", d)
	}
	if d := r.For(q, verified.Add(7*time.Minute)); d.Outcome != StepUp {
		t.Errorf("decided %+v", d)
	}
}

// TestResidualOnlyWhereItApplies: an application that no such rule is for is final.
func TestResidualOnlyWhereItApplies(t *testing.T) {
	p := load(t, `apps: [{id: wiki, sensitivity: low}, {id: prod, sensitivity: high}]
require:
- {id: a, for: app.sensitivity == HIGH, that: request.method == 'GET'}
- {id: b, for: device.platform == 'darwin', that: request.method == 'GET'}
`)
	in := visiting("wiki")
	if !p.Prepare(in).Final() || p.Prepare(visiting("prod")).Final() {
		t.Error("the wrong ones are final")
	}
	in.Device.Device.Platform = posture.Darwin
	if p.Prepare(in).Final() {
		t.Error("a rule for this laptop was dropped")
	}
	in.Visitor.Session.Link = Link{} // of which nobody knows the platform
	if p.Prepare(in).Final() {
		t.Error("a rule that may apply was dropped")
	}
}

func TestBypass(t *testing.T) {
	p := load(t, oneApp+`require:
- {id: firewall, that: device.firewall.state == YES}
- {id: link, that: session.link.strength >= BY_APP, otherwise: step_up}
`)
	in := visiting("wiki")
	in.Device.Claims.Firewall.State = posture.No
	in.Visitor.Session.Link.Strength = "code"
	end := in.Now.Add(time.Minute)
	for _, test := range []struct {
		name string
		have []Bypass
		want Outcome
	}{
		{"none", nil, Deny},
		{"of the firewall", []Bypass{{"firewall", end}}, StepUp},
		{"of both", []Bypass{{"firewall", end}, {"link", end.Add(time.Minute)}}, Allow},
		{"of another", []Bypass{{"firewal", end}, {"", end}}, Deny},
		{"over", []Bypass{{"firewall", in.Now}, {"firewall", time.Time{}}}, Deny},
		{"over and live", []Bypass{{"firewall", in.Now}, {"firewall", end}, {"firewall", in.Now.Add(1)}}, StepUp},
	} {
		in.Bypasses = test.have
		d := p.Decide(in)
		if d.Outcome != test.want || len(d.Reasons) != 2 {
			t.Errorf("%s: %+v", test.name, d)
		}
		if r := d.Reasons[0]; !r.Bypass.IsZero() && (!r.Bypass.Equal(end) || !d.Until.Equal(end)) {
			t.Errorf("%s: bypass until %v, decision until %v", test.name, r.Bypass, d.Until)
		}
	}
	in.Bypasses = []Bypass{{"firewall", end}, {"link", end}, {"pending", end}, {"report-stale", end}}
	in.Device.Device.State = "pending"
	if d := p.Decide(in); d.Outcome != Deny || !slices.Equal(counted(d), []string{"pending"}) {
		t.Errorf("a standing reason was passed by: %+v", d)
	}
	in.Device.Device.State = "active"
	for at, want := range map[time.Duration]Outcome{time.Minute - 1: Allow, time.Minute: Deny} {
		later := in
		later.Now = in.Now.Add(at)
		if d := p.Decide(later); d.Outcome != want {
			t.Errorf("after %v: %+v", at, d)
		}
	}
}

// TestPerson: which reasons are about who asks, and what is left for the laptop.
func TestPerson(t *testing.T) {
	bad := func(in *Inputs) { in.Device.Claims.Firewall.State = posture.No }
	blank := func(in *Inputs) { in.Device.Claims.Firewall.State = posture.Unknown }
	alone := func(in *Inputs) { in.Visitor = nil }
	unlinked := func(in *Inputs) { in.Visitor.Session.Link = Link{} }
	for _, test := range []struct {
		condition string
		change    func(*Inputs)
		person    bool
	}{
		{"session.binding == 'mtls'", nil, true},
		{"session.binding == 'mtls'", alone, true},
		{"session.link.strength == BY_CODE", unlinked, true},
		{"request.upgrade", nil, true},
		{"device.firewall.state == YES", bad, false},
		{"device.firewall.state == YES", blank, false},
		{"device.firewall.state == YES", unlinked, false},
		{"device.level == SOFTWARE", nil, false},
		{"app.sensitivity > LOW", nil, false},
		{"session.binding == 'mtls' && device.firewall.state == YES", nil, false},
		{"session.binding == 'mtls' && device.firewall.state == YES", bad, false},
		{"session.binding == 'mtls' || device.firewall.state == YES", bad, false},
		{"session.binding == 'mtls' || device.firewall.state == YES", blank, false},
		{"session.binding == 'none' && device.level == SOFTWARE", nil, false},
		{"session.binding == 'mtls' && device.level == TPM_HW", nil, false},
		{"session.binding == 'mtls' && device.level == TPM_HW", alone, false},
		{"session.binding == 'mtls' && device.level == SOFTWARE", alone, false},
		{"session.binding == 'mtls' || device.mdm.state == NO || device.firewall.state == YES", func(in *Inputs) { bad(in); alone(in) }, false},
		{"session.amr[7] == 'x'", nil, true},
		{"session.amr[7] == device.boot_security.lsm[9]", nil, false},
	} {
		in := visiting("wiki")
		if test.change != nil {
			test.change(&in)
		}
		d := load(t, that(test.condition)).Decide(in)
		if len(d.Reasons) != 1 || d.Reasons[0].Person != test.person {
			t.Errorf("%s: %+v", test.condition, d.Reasons)
			continue
		}
		of := d.OfDevice()
		if (of.Outcome == Allow) != test.person || len(d.Reasons) != 1 {
			t.Errorf("%s: of the laptop %+v", test.condition, of)
		}
	}
}

// TestOfDeviceNeverOpens: a decision that no policy made stays one.
func TestOfDeviceNeverOpens(t *testing.T) {
	for name, d := range map[string]Decision{
		"zero": {}, "internal": internalError(), "no session": NoSession("sign-in"), "no policy": new(Policy).Decide(visiting("wiki")),
		"unknown application": load(t, that(always)).Decide(visiting("payroll")),
		"without a reason":    {Policy: "x"}, "allowed by nobody": {Outcome: Allow},
	} {
		if of := d.OfDevice(); of.Outcome != Deny || of.Elevated {
			t.Errorf("%s: %+v", name, of)
		}
	}
	mixed := Decision{Outcome: Deny, Policy: "x", Elevated: true, Reasons: []Reason{
		{Code: "a", Outcome: Deny, Person: true}, {Code: "b", Outcome: Restrict}, {Code: "c", Outcome: Deny, Grace: noon()},
	}}
	if of := mixed.OfDevice(); of.Outcome != Restrict || len(of.Reasons) != 2 || of.Elevated || len(mixed.Reasons) != 3 || mixed.Reasons[0].Code != "a" {
		t.Errorf("%+v", of)
	}
}

// TestCulprit: the reason is about what is in the way, not about what the rule
// happens to name first.
func TestCulprit(t *testing.T) {
	for _, test := range []struct {
		condition string
		change    func(*Visitor)
		claim     string
		words     string
	}{
		{"passkey.attested && !passkey.backup_eligible", func(v *Visitor) { v.Passkey.BackupEligible = true }, "passkey", "copied to other machines"},
		{"passkey.attested && !passkey.backup_eligible", func(v *Visitor) { v.Passkey.Evidence = evidenceSelf }, "passkey", "what keeps the key"},
		{"session.link.age <= duration('1s') || session.binding == 'mtls'", nil, "link", "too long ago"},
		{"session.link.age <= duration('1s') || session.binding == 'mtls'", func(v *Visitor) { v.Session.Link = Link{} }, "link", "when this browser was linked"},
		{"user.name == 'alice' && session.user_verified_ago < duration('1s')", nil, "verification", "longer ago"},
		{"session.link.state == LIVE && device.firewall.state == NO", func(v *Visitor) { v.Session.Link.State = linkSuspended }, "link", "no live link"},
	} {
		in := visiting("wiki")
		if test.change != nil {
			test.change(in.Visitor)
		}
		d := load(t, that(test.condition)).Decide(in)
		if len(d.Reasons) != 1 || d.Reasons[0].Claim != test.claim || !strings.Contains(d.Reasons[0].Text, test.words) {
			t.Errorf("%s: %+v", test.condition, d.Reasons)
		}
	}
}

// TestPreparedConcurrent shares one preparation, as a server does; it is for the race
// detector.
func TestPreparedConcurrent(t *testing.T) {
	in := visiting("prod")
	in.Device.Claims.Firewall.State = posture.No
	r := load(t, residual).Prepare(in)
	requests := []*Request{asking(), {Method: "PUT", Path: "/admin"}, nil, {Country: "FR"}}
	var want []Decision
	for _, q := range requests {
		want = append(want, r.For(q, in.Now))
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 200 {
				k := i % len(requests)
				if d := r.For(requests[k], in.Now); !reflect.DeepEqual(d, want[k]) {
					t.Errorf("decided %+v", d)
				}
				r.For(requests[k], in.Now.Add(1000*time.Hour))
			}
		})
	}
	all.Wait()
}
