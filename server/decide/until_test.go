package decide

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"muster/attest/posture"
)

// longLimits end nothing while the tests below look.
const longLimits = `limits:
  report_age: 3000d
  sessions:
    low: {idle: 3000d, absolute: 3000d}
`

// setters give each age of the language its time.
func setters() map[string]func(*Inputs, time.Time) {
	type inputs = *Inputs
	set := map[string]func(*Inputs, time.Time){
		"device.age":                  func(in inputs, t time.Time) { in.Device.IssuedAt = t },
		"device.quote_age":            func(in inputs, t time.Time) { in.Device.QuotedAt = t },
		"device.patches.metadata_age": func(in inputs, t time.Time) { in.Device.Claims.Patches.Detail.MetadataAt = t },
		"device.patches.updated_age":  func(in inputs, t time.Time) { in.Device.Claims.Patches.Detail.UpdatedAt = t },
		"device.secure_boot.dbx_age":  func(in inputs, t time.Time) { in.Device.Claims.SecureBoot.Detail.DBXModified = t },
		"session.age":                 func(in inputs, t time.Time) { in.Visitor.Session.SignedInAt = t },
		"session.user_verified_ago":   func(in inputs, t time.Time) { in.Visitor.Session.UserVerified = t },
		"session.link.age":            func(in inputs, t time.Time) { in.Visitor.Session.Link.At = t },
		"passkey.age":                 func(in inputs, t time.Time) { in.Visitor.Passkey.CreatedAt = t },
		"elevation.age": func(in inputs, t time.Time) {
			in.Visitor.Elevations = []Elevation{{App: "wiki", Granted: t, Ends: t.Add(40 * time.Minute)}}
		},
	}
	var none Inputs
	for name := range none.Device.Claims.Each() {
		set["device."+name+".age"] = func(in inputs, t time.Time) {
			for n, c := range in.Device.Claims.Each() {
				if n == name {
					c.ObservedAt = t
				}
			}
		}
	}
	for _, c := range bootClaims() {
		set["device."+c.name+".age"] = func(in inputs, t time.Time) {
			*c.of(&in.Device) = posture.Claim{State: posture.Yes, ObservedAt: t}
		}
	}
	return set
}

// plainly is the model: what a comparison comes to at a time, without any of our code.
func plainly(path, operator string, at, now time.Time, limit time.Duration) bool {
	age := now.Sub(at)
	if path == "elevation.age" && (age < 0 || age >= 40*time.Minute) || age < -futureSlack {
		return false
	}
	return map[string]bool{"<": age < limit, "<=": age <= limit, ">": age > limit, ">=": age >= limit}[operator]
}

// TestUntilOfEachAge walks each age, compared in each way, through all its changes:
// until just before Until nothing changes, at Until something does, and never is
// allowed what the plain model refuses.
func TestUntilOfEachAge(t *testing.T) {
	env, err := language()
	if err != nil {
		t.Fatal(err)
	}
	set, limit := setters(), 25*time.Minute
	mirror := map[string]string{"<": ">", "<=": ">=", ">": "<", ">=": "<="}
	changes := 0
	for i := range env.fields {
		path := env.fields[i].path
		if env.fields[i].since == nil {
			continue
		}
		if set[path] == nil {
			t.Errorf("no test sets %s", path)
			continue
		}
		for _, operator := range []string{"<", "<=", ">", ">="} {
			for _, condition := range []string{path + " " + operator + " duration('25m')", "duration('25m') " + mirror[operator] + " " + path} {
				p := load(t, longLimits+that(condition))
				for _, ago := range []time.Duration{0, time.Minute, limit, limit + 1, time.Hour, -time.Minute, -futureSlack, -futureSlack - 1, -time.Hour} {
					in := visiting("wiki")
					at := in.Now.Add(-ago)
					set[path](&in, at)
					for d := p.Decide(in); ; {
						if (d.Outcome == Allow) != plainly(path, operator, at, in.Now, limit) {
							t.Fatalf("%s, age %v: %v", condition, in.Now.Sub(at), d)
						}
						if d.Until.IsZero() || d.Until.Sub(in.Now) > 100*time.Hour {
							break
						}
						before := in
						before.Now = d.Until.Add(-1)
						if got := p.Decide(before); !reflect.DeepEqual(got, d) {
							t.Fatalf("%s, age %v: changed before %v: %v, then %v", condition, in.Now.Sub(at), d.Until.Sub(at), d, got)
						}
						in.Now = d.Until
						after := p.Decide(in)
						if reflect.DeepEqual(after.Reasons, d.Reasons) {
							t.Fatalf("%s: nothing changed at %v: %v", condition, d.Until.Sub(at), d)
						}
						d = after
						changes++
					}
				}
			}
		}
	}
	if changes < 1000 {
		t.Errorf("only %d changes were seen", changes)
	}
}

// TestUntilOfAnything: whatever a policy says and whoever asks, between now and Until
// time changes nothing; and what was prepared stays as tight as what is decided anew.
func TestUntilOfAnything(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	g := &generator{rng: rng}
	ends := 0
	for range 400 {
		text := strings.Replace(oneApp, "devices: true", "elevation: {lasts: 1h}", 1) + "require:\n"
		for i := range 1 + rng.IntN(3) {
			text += fmt.Sprintf("- {id: rule-%d, that: \"%s\", otherwise: %s}\n", i, g.bool(3), g.pick("deny", "step_up", "restrict"))
		}
		if strings.Contains(text, "matches('(')") || strings.Contains(text, "[].") {
			continue
		}
		p, ok := perhaps(t, text)
		if !ok {
			continue
		}
		for range 10 {
			in, q := visiting("wiki"), asking()
			tellAll(rng, &in.Device.Claims, in.Now)
			tellVisitor(rng, in.Visitor, q, in.Now)
			if rng.IntN(3) == 0 {
				in.Bypasses = []Bypass{{"rule-0", in.Now.Add(time.Duration(rng.IntN(40)) * time.Minute)}}
			}
			r := p.Prepare(in)
			if until := r.Decision.Until; !until.After(in.Now) {
				t.Fatalf("%s\nuntil %v", text, until.Sub(in.Now))
			}
			ends++
			span := r.Decision.Until.Sub(in.Now)
			for _, between := range []time.Duration{1, time.Duration(rng.Int64N(int64(span))), time.Duration(rng.Int64N(int64(span))), span - 1} {
				if between >= span {
					continue
				}
				later := in
				later.Now = in.Now.Add(between)
				if got := p.Prepare(later).Decision; !reflect.DeepEqual(got, r.Decision) {
					t.Fatalf("%s\nit changed %v after, before %v: %+v, then %+v", text, between, span, r.Decision, got)
				}
			}
			for _, after := range []time.Duration{0, time.Duration(rng.Int64N(int64(2 * time.Hour))), span} {
				later := in
				later.Now = in.Now.Add(after)
				got, want := r.For(q, later.Now), p.Prepare(later).For(q, later.Now)
				if r.Final() && !later.Now.Before(r.Decision.Until) {
					want = internalError() // its inputs are gone
				}
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("%s\nprepared %v before: %+v, now %+v", text, after, got, want)
				}
			}
		}
	}
	if ends < 1000 {
		t.Errorf("only %d ends were looked at", ends)
	}
}
