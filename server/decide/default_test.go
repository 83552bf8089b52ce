package decide

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/cel"

	"muster/attest/posture"
	"muster/server/verify"
)

func defaults(t testing.TB) *Policy {
	t.Helper()
	p, _, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func noFile(string) ([]byte, error) { return nil, errors.New("no file is needed") }

// TestDefault runs the tests that the shipped policy brings: they hold, and each
// rule, and each reason about people that needs none, refuses somebody in one. Of
// rules on trial, each is seen at least.
func TestDefault(t *testing.T) {
	p := defaults(t)
	results := p.Test(noFile)
	refused, seen := map[string]bool{}, map[string]bool{}
	allowed := map[string]bool{}
	for i, r := range results {
		if r.Problem != "" {
			t.Errorf("default.yaml:%d: %s: %s", r.Line, r.Name, r.Problem)
		}
		if p.tests[i].reasons == nil {
			t.Errorf("default.yaml:%d: %s: does not say why", r.Line, r.Name)
		}
		if r.Got.Outcome == Allow {
			allowed[p.tests[i].app] = true
		}
		for _, reason := range r.Got.Reasons {
			seen[reason.Code] = true
			if reason.counts() && r.Got.Outcome != Allow {
				refused[reason.Code] = true
			}
		}
	}
	codes := []string{codeAppUnknown, codeNoReport, codePending, codeRevoked, codeReportStale, "session-idle", "session-old", "elevation-needed", "passkey-model"}
	for _, r := range p.rules {
		if !r.reportOnly {
			codes = append(codes, r.id)
		} else if !seen[r.id] {
			t.Errorf("no test shows %s", r.id)
		}
	}
	for _, code := range codes {
		if !refused[code] {
			t.Errorf("no test shows that %s refuses", code)
		}
	}
	for _, a := range p.apps {
		if !allowed[a.ID] {
			t.Errorf("no test shows that %s opens", a.ID)
		}
	}
}

// TestDefaultWhatItAsks: the parts that a careful administrator would look for.
func TestDefaultWhatItAsks(t *testing.T) {
	p := defaults(t)
	for _, a := range p.Apps() {
		if a.Devices == (a.ID == "prod-admin") {
			t.Errorf("%s: devices %v", a.ID, a.Devices)
		}
		if (a.Elevation.Lasts == 15*time.Minute) != (a.ID == "prod-admin") {
			t.Errorf("%s: elevation %v", a.ID, a.Elevation)
		}
	}
	for _, r := range p.rules {
		// Whoever lacks something of their own can go and get it.
		if r.about() == aboutVisitor && r.otherwise == Deny && !strings.HasPrefix(r.id, "passkey-other-") {
			t.Errorf("%s denies a person, who could step up", r.id)
		}
		if r.about()&aboutRequest != 0 {
			t.Errorf("%s names the request", r.id)
		}
	}
}

// TestDefaultWithoutLaptop: whoever is signed in and has no laptop, or one that
// sleeps, gets nothing, and is asked to link it.
func TestDefaultWithoutLaptop(t *testing.T) {
	p := defaults(t)
	for _, state := range []string{"", "absent", "suspended", "LIVE"} {
		for _, a := range p.Apps() {
			in := content(a.ID)
			in.Visitor.Session.Link.State = state
			if state != "suspended" {
				in.HasResult, in.Device = false, verify.Result{}
			}
			d := p.Decide(in)
			if d.Outcome == Allow || d.Outcome == Restrict || !slices.Contains(counted(d), "link-absent") {
				t.Errorf("%s with link %q: %v %v", a.ID, state, d.Outcome, counted(d))
			}
			if a.ID == "wiki" && (d.Outcome != StepUp || len(counted(d)) != 1) {
				t.Errorf("the wiki with link %q: %v %v", state, d.Outcome, counted(d))
			}
		}
	}
}

// TestDefaultOfLaptops: a laptop that asks by itself is judged by its own part, and
// never opens what a person on it would not get by that part either.
func TestDefaultOfLaptops(t *testing.T) {
	p := defaults(t)
	all := p.DecideAll(healthy(""))
	if len(all) != 3 {
		t.Errorf("laptops may ask for %d applications", len(all))
	}
	for id, d := range all {
		if own := d.OfDevice(); own.Outcome != Allow {
			t.Errorf("%s: %v", id, counted(own))
		}
		if d.Outcome == Allow {
			t.Errorf("%s opens to nobody", id)
		}
	}
	bad := healthy("")
	bad.Device.Claims.DiskEncryption.State = posture.No
	bad.Grace = p.spent(bad.Now)
	for id, d := range p.DecideAll(bad) {
		if own := d.OfDevice(); (own.Outcome == Deny) != (id != "wiki") {
			t.Errorf("%s: %v %v", id, own.Outcome, counted(own))
		}
	}
}

// content is somebody whom every application of the default policy lets in.
func content(app string) Inputs {
	in := healthy(app)
	now := in.Now
	in.Device.Claims.TPM.Detail.Manufacturer = "INTC"
	in.Visitor = &Visitor{
		Session: Session{
			ID: "s1", SignedInAt: now.Add(-time.Minute), SeenAt: now, UserVerified: now.Add(-time.Minute),
			AMR: []string{"hwk", "user", "mfa"}, ACR: "muster:passkey-attested", Binding: "none",
			Link: Link{State: linkLive, Strength: "loopback", At: now.Add(-time.Minute)},
		},
		Passkey:    Passkey{Evidence: "attested", Format: "packed", Certification: 2, AAGUID: "00000000-0000-0000-0000-000000000001", CreatedAt: now.Add(-time.Hour)},
		User:       User{Name: "alice", Role: "person", Groups: []string{"staff"}},
		Elevations: []Elevation{{App: "prod-admin", Granted: now.Add(-time.Minute), Ends: now.Add(14 * time.Minute)}},
	}
	return in
}

// blind is a world in which one field is unknown, and all others are as they are.
type blind struct {
	*reading
	field string
	asked *bool
}

func (b blind) ResolveName(name string) (any, bool) {
	if name == b.field {
		*b.asked = true
		return b.env.fields[b.env.index[name]].blank, true
	}
	return b.reading.ResolveName(name)
}

func (b blind) Parent() cel.Activation { return nil }

// bases are those whom every application lets in, on each system: with a link that
// is young, and with an old one and a session that is bound.
func bases(app string) (list []Inputs) {
	for platform, os := range map[posture.Platform]posture.OS{
		posture.Linux: {ID: "debian", Version: "12"}, posture.Windows: {ID: "windows", Build: "26100"}, posture.Darwin: {ID: "macos", Version: "15.1"},
	} {
		for _, bound := range []bool{false, true} {
			in := content(app)
			in.Device.Device.Platform, in.Device.Claims.OS.Detail = platform, os
			if bound {
				in.Visitor.Session.Binding, in.Visitor.Session.Link.At = "dbsc", in.Now.Add(-time.Hour)
			}
			list = append(list, in)
		}
	}
	return list
}

// TestDefaultUnknownNeverAllows is generated from the policy: for every rule of
// every application, and every field that the rule names, who is otherwise let in
// does not meet the rule while that one field is unknown, and the rule applies. It
// goes through conditions, so that each operator of the policy meets an unknown on
// each of its sides.
func TestDefaultUnknownNeverAllows(t *testing.T) {
	p := defaults(t)
	tried := map[string]bool{}
	for i := range p.apps {
		for _, in := range bases(p.apps[i].ID) {
			if d := p.Decide(in); d.Outcome != Allow {
				t.Fatalf("%s on %s: %v", in.App, in.Device.Device.Platform, counted(d))
			}
			look := p.look(&in)
			look.reading.app = &p.apps[i]
			for _, u := range p.apps[i].rules {
				r := &p.rules[u.rule]
				for _, path := range r.condition.reads {
					world := blind{&look.reading, path, new(bool)}
					got := r.condition.evaluate(world).holds
					// A bound session need have no young link.
					if got == yes && *world.asked && !(path == "session.link.age" && in.Visitor.Session.Binding == "dbsc") {
						t.Errorf("%s: %s is met while %s is unknown", in.App, r.id, path)
					}
					tried[r.id+" "+path] = tried[r.id+" "+path] || *world.asked
				}
				if r.scope == nil {
					continue
				}
				for _, path := range r.scope.reads {
					if got := r.rule(blind{&look.reading, path, new(bool)}, u.always); !got.applies {
						t.Errorf("%s: %s does not apply while %s is unknown", in.App, r.id, path)
					}
				}
			}
		}
	}
	for _, r := range p.rules {
		for _, path := range r.condition.reads {
			if !tried[r.id+" "+path] {
				t.Errorf("%s was never tried without %s", r.id, path)
			}
		}
	}
}

// TestDefaultUnknownClaim is the same from outside: a claim, or a part of who asks,
// that becomes unknown closes each application with a rule that names it.
func TestDefaultUnknownClaim(t *testing.T) {
	p := defaults(t)
	hidden := 0
	for _, c := range unknowns() {
		for i := range p.apps {
			a := &p.apps[i]
			in := content(a.ID)
			c.hide(&in)
			named := slices.ContainsFunc(a.rules, func(u use) bool {
				r := &p.rules[u.rule]
				return !r.reportOnly && slices.ContainsFunc(r.condition.reads, c.names)
			})
			if !named {
				continue
			}
			hidden++
			if d := p.Decide(in); d.Outcome == Allow {
				t.Errorf("%s opens while %s is unknown", a.ID, c.name)
			}
			if d := p.Prepare(in).For(&Request{Method: "GET", Path: "/"}, in.Now); d.Outcome == Allow {
				t.Errorf("%s opens to a request while %s is unknown", a.ID, c.name)
			}
		}
	}
	if hidden < 40 {
		t.Errorf("only %d pairs of claim and application were tried", hidden)
	}
}

// unknownInput is a claim and how it becomes unknown.
type unknownInput struct {
	name  string
	names func(path string) bool
	hide  func(*Inputs)
}

func unknowns() []unknownInput {
	var list []unknownInput
	exactly := func(paths ...string) func(string) bool {
		return func(path string) bool { return slices.Contains(paths, path) }
	}
	below := func(prefix string) func(string) bool {
		return func(path string) bool { return strings.HasPrefix(path, prefix) }
	}
	for _, c := range claims() {
		for _, reason := range []posture.Reason{posture.Permission, ""} {
			list = append(list, unknownInput{c.name, below("device." + c.name + "."), func(in *Inputs) {
				own := c.of(&in.Device)
				own.State, own.Reason = posture.Unknown, reason
			}})
		}
		list = append(list, unknownInput{c.name + " out of range", below("device." + c.name + "."), func(in *Inputs) { c.of(&in.Device).State = 9 }})
	}
	session := func(f func(*Session)) func(*Inputs) { return func(in *Inputs) { f(&in.Visitor.Session) } }
	passkey := func(f func(*Passkey)) func(*Inputs) { return func(in *Inputs) { f(&in.Visitor.Passkey) } }
	return append(list, []unknownInput{
		{"level", exactly("device.level"), func(in *Inputs) { in.Device.Device.Level = 99 }},
		{"quote", exactly("device.quote_age"), func(in *Inputs) { in.Device.QuotedAt = time.Time{} }},
		{"quote of tomorrow", exactly("device.quote_age"), func(in *Inputs) { in.Device.QuotedAt = in.Now.Add(24 * time.Hour) }},
		{"device", below("device."), func(in *Inputs) { in.HasResult, in.Device = false, verify.Result{} }},
		{"link", below("session.link."), session(func(s *Session) { s.Link = Link{} })},
		{"link in a word of its own", below("session.link."), session(func(s *Session) { s.Link.State = "Live" })},
		{"link strength", exactly("session.link.strength"), session(func(s *Session) { s.Link.Strength = "" })},
		{"link strength in a word of its own", exactly("session.link.strength"), session(func(s *Session) { s.Link.Strength = "strong" })},
		{"link age", exactly("session.link.age"), session(func(s *Session) { s.Link.At = time.Time{} })},
		{"link age and binding", exactly("session.link.age", "session.binding"), session(func(s *Session) { s.Link.At, s.Binding = time.Time{}, "" })},
		{"link of tomorrow", exactly("session.link.age"), session(func(s *Session) { s.Link.At = noon().Add(24 * time.Hour) })},
		{"verification", exactly("session.user_verified_ago"), session(func(s *Session) { s.UserVerified = time.Time{} })},
		{"verification of tomorrow", exactly("session.user_verified_ago"), session(func(s *Session) { s.UserVerified = noon().Add(24 * time.Hour) })},
		{"passkey", below("passkey."), passkey(func(k *Passkey) { *k = Passkey{} })},
		{"evidence", exactly("passkey.attested"), passkey(func(k *Passkey) { k.Evidence = "" })},
		{"evidence in a word of its own", exactly("passkey.attested"), passkey(func(k *Passkey) { k.Evidence = "basic" })},
		{"certification", exactly("passkey.certification"), passkey(func(k *Passkey) { k.Certification = 7 })},
	}...)
}
