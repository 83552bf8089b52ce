package decide

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/verify"
)

// visiting is alice, who signed in a minute ago with an attested security key, in a
// browser that is linked to a healthy laptop.
func visiting(app string) Inputs {
	in := healthy(app)
	at := in.Now.Add(-time.Minute)
	in.Device.Claims.TPM.Detail = posture.TPM{Manufacturer: "INTC", Model: "SPT", Firmware: "7.2.3.1"}
	in.Visitor = &Visitor{
		Session: Session{
			ID: "s1", SignedInAt: at, SeenAt: at, UserVerified: at, AMR: []string{"hwk", "user", "mfa"}, ACR: "muster:passkey", Binding: "none",
			Link: Link{State: linkLive, Strength: "loopback", At: at},
		},
		Passkey: Passkey{
			Evidence: evidenceAttested, AAGUID: "00000000-0000-0000-0000-000000000001", Format: "packed", Certification: 2,
			CreatedAt: at.Add(-24 * time.Hour),
		},
		User: User{Name: "alice", Role: "person", Groups: []string{"ops", "staff"}},
	}
	return in
}

// with is a visitor of whom something differs.
func with(change func(*Visitor)) Inputs {
	in := visiting("wiki")
	change(in.Visitor)
	return in
}

// asking is a request of which all is known.
func asking() *Request {
	return &Request{Method: "GET", Path: "/docs/a", Address: netip.MustParseAddr("10.1.2.3"), Country: "DE", ASN: 64500}
}

func TestVisitorConditions(t *testing.T) {
	for _, test := range []struct {
		condition string
		want      bool
	}{
		{"session.link.state == LIVE", true},
		{"session.link.state in [ABSENT, SUSPENDED]", false},
		{"session.link.strength >= BY_LOOPBACK", true},
		{"session.link.strength == BY_APP", false},
		{"session.link.age < duration('2m')", true},
		{"session.link.age < duration('1m')", false},
		{"session.age <= duration('1m')", true},
		{"session.user_verified_ago < duration('5m')", true},
		{"duration('30s') > session.user_verified_ago", false},
		{"'hwk' in session.amr", true},
		{"session.amr.all(m, m != 'swk')", true},
		{"session.acr == 'muster:passkey'", true},
		{"session.binding == 'none'", true},
		{"session.binding in ['dbsc', 'mtls']", false},
		{"passkey.attested && !passkey.backup_eligible && passkey.certification >= FIDO_L2", true},
		{"passkey.certification > FIDO_L2", false},
		{"passkey.evidence == 'attested'", true},
		{"passkey.aaguid == '00000000-0000-0000-0000-000000000001'", true},
		{"passkey.format != 'tpm'", true},
		{"passkey.backup_state || passkey.clone_warning || passkey.platform", false},
		{"passkey.bad == '' && size(passkey.weak) == 0", true},
		{"passkey.age > duration('23h')", true},
		{"!passkey.contradicts_os && !passkey.contradicts_tpm", true},
		{"user.name == 'alice' && user.role == 'person' && 'ops' in user.groups", true},
		{"'administrators' in user.groups", false},
		{"device.owner == ''", true},
		{"elevation.active", false},
		{"!elevation.active && !elevation.approved", true},
		{"is_unknown(elevation.age)", true},
		{"elevation.age < duration('1h')", false},
		// Nobody asks for anything yet.
		{"request.method == 'GET'", false},
		{"request.method != 'GET'", false},
		{"!request.upgrade", false},
		{"is_unknown(request.address)", true},
	} {
		t.Run(test.condition, func(t *testing.T) {
			d := load(t, that(test.condition)).Decide(visiting("wiki"))
			if got := d.Outcome == Allow; got != test.want {
				t.Errorf("decided %v %+v", d.Outcome, d.Reasons)
			}
		})
	}
}

// TestVisitorUnknown: what nobody filled in, or what nobody can know, meets nothing,
// whichever way it is asked for.
func TestVisitorUnknown(t *testing.T) {
	far := noon().Add(futureSlack + 1)
	for _, test := range []struct {
		field  string
		change func(*Visitor)
	}{
		{"session.link.strength", func(v *Visitor) { v.Session.Link.State = linkSuspended }},
		{"session.link.strength", func(v *Visitor) { v.Session.Link.Strength = "shouted" }},
		{"session.link.age", func(v *Visitor) { v.Session.Link.State = linkSuspended }},
		{"session.link.age", func(v *Visitor) { v.Session.Link.State = "LIVE" }},
		{"session.link.age", func(v *Visitor) { v.Session.Link.At = time.Time{} }},
		{"session.link.age", func(v *Visitor) { v.Session.Link.At = far }},
		{"session.user_verified_ago", func(v *Visitor) { v.Session.UserVerified = time.Time{} }},
		{"session.user_verified_ago", func(v *Visitor) { v.Session.UserVerified = far }},
		{"session.amr", func(v *Visitor) { v.Session.AMR = nil }},
		{"session.acr", func(v *Visitor) { v.Session.ACR = "" }},
		{"session.binding", func(v *Visitor) { v.Session.Binding = "" }},
		{"session.binding", func(v *Visitor) { v.Session.Binding = "strong" }},
		{"passkey.evidence", func(v *Visitor) { v.Passkey = Passkey{} }},
		{"passkey.attested", func(v *Visitor) { v.Passkey.Evidence = "ATTESTED" }},
		{"passkey.backup_eligible", func(v *Visitor) { v.Passkey = Passkey{} }},
		{"passkey.bad", func(v *Visitor) { v.Passkey = Passkey{} }},
		{"passkey.weak", func(v *Visitor) { v.Passkey = Passkey{} }},
		{"passkey.aaguid", func(v *Visitor) { v.Passkey.Evidence = evidenceSelf }},
		{"passkey.format", func(v *Visitor) { v.Passkey.Format = "" }},
		{"passkey.certification", func(v *Visitor) { v.Passkey.Certification = 4 }},
		{"passkey.certification", func(v *Visitor) { v.Passkey.Certification = -1 }},
		{"passkey.age", func(v *Visitor) { v.Passkey.CreatedAt = far }},
		{"user.role", func(v *Visitor) { v.User.Role = "root" }},
		{"user.groups", func(v *Visitor) { v.User.Name = "" }},
		{"device.level", func(v *Visitor) { v.Session.Link.State = linkSuspended }},
		{"device.level", func(v *Visitor) { v.Session.Link = Link{} }},
		{"device.platform", func(v *Visitor) { v.Session.Link = Link{} }},
		{"device.ownership", func(v *Visitor) { v.Session.Link.State = "bogus" }},
		{"device.findings", func(v *Visitor) { v.Session.Link = Link{} }},
		{"device.firewall.state", func(v *Visitor) { v.Session.Link = Link{} }},
		{"device.age", func(v *Visitor) { v.Session.Link = Link{} }},
	} {
		t.Run(test.field, func(t *testing.T) {
			in := with(test.change)
			l := load(t, that("is_unknown("+test.field+")")).look(&in)
			l.reading.app = &l.policy.apps[0]
			if v := l.policy.env.field(test.field).value(&l.reading); v != nil {
				t.Errorf("is %v", v)
			}
			whole := visiting("wiki")
			all := load(t, that("is_unknown("+test.field+")")).look(&whole)
			all.reading.app = &all.policy.apps[0]
			if all.policy.env.field(test.field).value(&all.reading) == nil {
				t.Error("it is never known")
			}
		})
	}
}

// TestNobody: without a visitor, a device or a request nothing of them is known,
// the facts that the server itself registered included.
func TestNobody(t *testing.T) {
	env, err := language()
	if err != nil {
		t.Fatal(err)
	}
	full := visiting("wiki")
	full.Visitor.Elevations = []Elevation{{App: "wiki", Granted: noon().Add(-1), Ends: noon().Add(time.Hour)}}
	noDevice, noVisitor := full, full
	noDevice.HasResult, noVisitor.Visitor = false, nil
	known := map[subject]int{}
	for i := range env.fields {
		f := &env.fields[i]
		for _, test := range []struct {
			in      *Inputs
			request *Request
			without subject
		}{{&noDevice, asking(), aboutDevice}, {&noVisitor, asking(), aboutVisitor}, {&full, nil, aboutRequest}, {&full, asking(), 0}} {
			r := reading{env: env, app: &app{App: App{ID: "wiki"}}, in: test.in, request: test.request, now: test.in.Now, known: test.in.known()}
			if test.request != nil {
				r.known |= aboutRequest
			}
			v := f.value(&r)
			if f.about == test.without && v != nil {
				t.Errorf("%s is %v", f.path, v)
			}
			if test.without == 0 && v != nil {
				known[f.about]++
			}
		}
	}
	if known[aboutDevice] < 40 || known[aboutVisitor] != 28 || known[aboutRequest] != 6 {
		t.Errorf("of somebody of whom all is told these are known: %v", known)
	}
}

// TestLinkAndLaptop: whose laptop it is that must be in order.
func TestLinkAndLaptop(t *testing.T) {
	p := load(t, oneApp+`require:
- {id: disk, that: device.disk_encryption.state == YES, otherwise: restrict}
`)
	link := func(state string) func(*Inputs) { return func(in *Inputs) { in.Visitor.Session.Link.State = state } }
	gone := func(in *Inputs) { in.HasResult = false }
	state := func(s attest.DeviceState) func(*Inputs) { return func(in *Inputs) { in.Device.Device.State = s } }
	old := func(in *Inputs) { in.Device.IssuedAt = in.Now.Add(-time.Hour) }
	copied := func(in *Inputs) {
		in.Device.Findings = []verify.Finding{{Code: "cloned", Tier: verify.Contraindicated, Text: "t", Fix: "f"}}
	}
	for _, test := range []struct {
		name    string
		changes []func(*Inputs)
		want    Outcome
		codes   []string
	}{
		{"linked", nil, Allow, nil},
		{"asleep", []func(*Inputs){link("suspended")}, Restrict, []string{"disk"}},
		{"no link", []func(*Inputs){link("absent")}, Restrict, []string{"disk"}},
		{"no link, and a laptop that is no good", []func(*Inputs){link("absent"), state("revoked"), old, copied}, Restrict, []string{"disk"}},
		{"a word that nobody knows is no link", []func(*Inputs){link("ok"), state("revoked")}, Restrict, []string{"disk"}},
		{"no link, no laptop", []func(*Inputs){link(""), gone}, Restrict, []string{"disk"}},
		{"linked to one that never reported", []func(*Inputs){gone}, Deny, []string{"no-report"}},
		{"revoked", []func(*Inputs){state("revoked")}, Deny, []string{"revoked"}},
		{"revoked asleep", []func(*Inputs){link("suspended"), state("revoked")}, Deny, []string{"revoked"}},
		{"pending", []func(*Inputs){state("pending")}, Deny, []string{"pending"}},
		{"old", []func(*Inputs){old}, Deny, []string{"report-stale"}},
		{"old asleep", []func(*Inputs){link("suspended"), old}, Deny, []string{"report-stale", "disk"}},
		{"copied asleep", []func(*Inputs){link("suspended"), copied}, Deny, []string{"cloned", "disk"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := visiting("wiki")
			for _, change := range test.changes {
				change(&in)
			}
			d := p.Decide(in)
			if d.Outcome != test.want || !slices.Equal(counted(d), append([]string{}, test.codes...)) {
				t.Errorf("decided %v %+v", d.Outcome, d.Reasons)
			}
			for _, r := range d.Reasons {
				if r.Code == "disk" && (r.Claim != "link" || !r.Unknown || !strings.Contains(r.Text, "no live link") || !strings.Contains(r.Fix, "Link this laptop")) {
					t.Errorf("the person reads %+v", r)
				}
			}
		})
	}
}

// TestSessionStanding: an application's own limits, at their edges.
func TestSessionStanding(t *testing.T) {
	p := load(t, `limits: {sessions: {low: {idle: 1h, absolute: 2h}, high: {idle: 10m, absolute: 30m}}, report_age: 30d}
apps: [{id: wiki, sensitivity: low}, {id: git, sensitivity: high}]
require: []
`)
	for _, test := range []struct {
		app          string
		signed, seen time.Duration // ago
		want         []string
		until        time.Duration
	}{
		{"wiki", 0, 0, nil, time.Hour},
		{"wiki", 90 * time.Minute, time.Minute, nil, 30 * time.Minute},
		{"wiki", 2*time.Hour - 1, 0, nil, 1},
		{"wiki", 2 * time.Hour, 0, []string{"session-old"}, time.Hour},
		{"wiki", time.Hour, time.Hour - 1, nil, 1},
		{"wiki", time.Hour, time.Hour, []string{"session-idle"}, time.Hour},
		{"git", 30 * time.Minute, 0, []string{"session-old"}, 10 * time.Minute},
		{"git", 9 * time.Hour, 10 * time.Minute, []string{"session-old", "session-idle"}, 0},
		{"wiki", -futureSlack, -futureSlack, nil, time.Hour + futureSlack},
		{"wiki", -futureSlack - 1, 0, []string{"session-old"}, 1},
		{"wiki", 0, -futureSlack - time.Second, []string{"session-idle"}, time.Second},
	} {
		in := visiting(test.app)
		in.Visitor.Session.SignedInAt, in.Visitor.Session.SeenAt = in.Now.Add(-test.signed), in.Now.Add(-test.seen)
		in.Device.IssuedAt = in.Now
		d := p.Decide(in)
		if !slices.Equal(counted(d), append([]string{}, test.want...)) || (d.Outcome != Allow) != (test.want != nil) {
			t.Errorf("%+v: decided %v %v", test, d.Outcome, counted(d))
		}
		until := d.Until
		if test.until == 0 {
			until = until.Add(-29*24*time.Hour - 24*time.Hour) // only the report's own end is left
		}
		if got := until.Sub(in.Now); got != test.until {
			t.Errorf("%+v: until %v", test, got)
		}
		for _, r := range d.Reasons {
			if r.Outcome != StepUp || !r.Person || r.Claim != "session" || !sentence(r.Text) || !sentence(r.Fix) {
				t.Errorf("%+v", r)
			}
		}
	}
	for _, never := range []func(*Session){func(s *Session) { s.SignedInAt = time.Time{} }, func(s *Session) { s.SeenAt = time.Time{} }} {
		in := visiting("wiki")
		never(&in.Visitor.Session)
		if d := p.Decide(in); d.Outcome != StepUp {
			t.Errorf("a session of which nothing is known: %+v", d)
		}
	}
}

// TestSessionOver: nothing but the cause is told, and no policy had a say.
func TestSessionOver(t *testing.T) {
	p := load(t, that(always))
	in := with(func(v *Visitor) { v.Session.Over = "signed-out" })
	if d := p.Decide(in); !reflect.DeepEqual(d, NoSession("signed-out")) || d.Outcome != StepUp {
		t.Errorf("decided %+v", d)
	}
	if d := p.Prepare(in).For(asking(), in.Now.Add(time.Hour)); !reflect.DeepEqual(d, NoSession("signed-out")) {
		t.Errorf("decided %+v", d)
	}
	if e := p.Explain(in); e.Rules != nil || e.User != "alice" {
		t.Errorf("explained %+v", e)
	}
	in.Visitor.Session.Over = "person-disabled"
	if d := p.Decide(in); d.Outcome != Deny {
		t.Errorf("decided %+v", d)
	}
	in.App = "payroll"
	if d := p.Decide(in); d.Outcome != Deny || d.Reasons[0].Code != codeAppUnknown {
		t.Errorf("decided %+v", d)
	}
	if d := NoSession("signed-out").OfDevice(); d.Outcome != Deny || len(d.Reasons) != 0 {
		t.Errorf("of the laptop: %+v", d)
	}
}

// TestElevation: what opens, until when, and what does not.
func TestElevation(t *testing.T) {
	p := load(t, `limits: {report_age: 30d}
apps:
- {id: wiki, sensitivity: low}
- {id: prod, sensitivity: low, elevation: {lasts: 15m}}
- {id: vault, sensitivity: low, elevation: {lasts: 1h, approval: ops}}
require: [{id: firewall, that: device.firewall.state == YES, otherwise: restrict}]
`)
	if a, _ := p.App("vault"); a.Elevation != (ElevationTerms{Lasts: time.Hour, Approval: "ops"}) {
		t.Errorf("terms %+v", a.Elevation)
	}
	now := noon()
	of := func(app string, from, to time.Duration, approved bool) Elevation {
		return Elevation{App: app, Granted: now.Add(from), Ends: now.Add(to), Approved: approved}
	}
	const minute = time.Minute
	for _, test := range []struct {
		name, app string
		have      []Elevation
		open      bool
		until     time.Duration
	}{
		{"none is asked for", "wiki", nil, false, 0},
		{"none", "prod", nil, false, 0},
		{"live", "prod", []Elevation{of("prod", -minute, minute, false)}, true, minute},
		{"from now", "prod", []Elevation{of("prod", 0, minute, false)}, true, minute},
		{"over", "prod", []Elevation{of("prod", -minute, 0, false)}, false, 0},
		{"not yet", "prod", []Elevation{of("prod", 1, minute, false)}, false, 1},
		{"of another", "prod", []Elevation{of("vault", -minute, minute, true)}, false, 0},
		{"never granted", "prod", []Elevation{{App: "prod", Ends: now.Add(minute)}}, false, 0},
		{"without an end", "prod", []Elevation{{App: "prod", Granted: now.Add(-1)}}, false, 0},
		{"backwards", "prod", []Elevation{of("prod", minute, -minute, false)}, false, 0},
		{"nobody approved", "vault", []Elevation{of("vault", -minute, minute, false)}, false, minute},
		{"approved", "vault", []Elevation{of("vault", -minute, minute, true)}, true, minute},
		{"approved, and over", "vault", []Elevation{of("vault", -minute, 0, true), of("vault", -minute, minute, false)}, false, minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := visiting(test.app)
			in.Visitor.Elevations = test.have
			d := p.Decide(in)
			want := Allow
			if test.app != "wiki" && !test.open {
				want = StepUp
			}
			if d.Outcome != want || d.Elevated != test.open {
				t.Errorf("decided %+v", d)
			}
			if want == StepUp && (d.Reasons[0].Code != codeElevation || !d.Reasons[0].Person || d.Reasons[0].Claim != "elevation") {
				t.Errorf("reasons %+v", d.Reasons)
			}
			if test.until != 0 && d.Until.Sub(now) != test.until {
				t.Errorf("until %v", d.Until.Sub(now))
			}
			in.Device.Claims.Firewall.State = posture.No
			if d := p.Decide(in); d.Elevated != test.open || d.Outcome != min(want, Restrict) {
				t.Errorf("restricted: %+v", d)
			}
			in.Device.Device.State = "pending"
			if d := p.Decide(in); d.Elevated || d.Outcome != Deny {
				t.Errorf("refused: %+v", d)
			}
		})
	}
	alone := healthy("prod")
	if d := p.Decide(alone); d.Outcome != StepUp {
		t.Errorf("a laptop by itself: %+v", d)
	}
}

// TestElevationFields are of the application that is asked for, one after the other.
func TestElevationFields(t *testing.T) {
	p := load(t, `limits: {report_age: 30d}
apps: [{id: a, sensitivity: low, devices: true}, {id: b, sensitivity: low, devices: true}]
require:
- {id: active, that: elevation.active, otherwise: step_up}
- {id: approved, that: elevation.approved, otherwise: restrict}
- {id: young, that: elevation.age < duration('5m'), otherwise: report_only}
`)
	in := visiting("")
	now := in.Now
	in.Visitor.Elevations = []Elevation{
		{App: "a", Granted: now.Add(-10 * time.Minute), Ends: now.Add(20 * time.Minute), Approved: true},
		{App: "a", Granted: now.Add(-time.Minute), Ends: now.Add(10 * time.Minute)},
	}
	all := p.DecideAll(in)
	if d := all["a"]; d.Outcome != Allow || len(d.Reasons) != 0 || !d.Until.Equal(now.Add(4*time.Minute)) {
		t.Errorf("a: %+v", d)
	}
	if d := all["b"]; d.Outcome != StepUp || len(d.Reasons) != 3 {
		t.Errorf("b: %+v", d)
	}
}

// TestExplainVisitor: an explanation shows who asks, and what depends on the request.
func TestExplainVisitor(t *testing.T) {
	p := load(t, oneApp+`require:
- {id: hardware, that: passkey.certification >= FIDO_L3, otherwise: step_up}
- {id: linked, that: session.link.state == LIVE && session.link.age < duration('1h')}
- {id: ops, that: "'admins' in user.groups", otherwise: restrict}
- {id: office, for: device.ownership == 'corporate', that: "in_network(request.address, '10.0.0.0/8')"}
`)
	in := visiting("wiki")
	in.Bypasses = []Bypass{{"ops", in.Now.Add(time.Hour)}}
	e := p.Explain(in)
	if !reflect.DeepEqual(e.Decision, p.Decide(in)) || e.User != "alice" || e.Device != "d1" || !e.Rules[3].Request || e.Rules[0].Request {
		t.Errorf("explained %+v", e)
	}
	var b strings.Builder
	if err := e.Text(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"x hardware is not met", "passkey.certification = FIDO_L2", "+ linked is met", "session.link.state = LIVE", "session.link.age = duration('1m0s')",
		"x ops is not met", "user.groups = [ops staff]", "(bypass)", "? office depends on the request", "request.address = unknown",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	in.Visitor.Session.Link = Link{}
	if e := p.Explain(in); e.Device != "" || e.Rules[3].Applies != "unknown" {
		t.Errorf("without a link %+v", e)
	}
}
