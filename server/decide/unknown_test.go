package decide

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"muster/attest/posture"
)

// evaluator is how a condition is judged in a world: the real one, or a wrong
// one that shows that the test below can fail.
type evaluator func(c *condition, w world) truth

func real(c *condition, w world) truth { return c.evaluate(w).holds }

// tally counts what the property met.
type tally struct {
	conditions, worlds int
	// opened: yes although something was unknown, rightly.
	opened int
	// kept: not yes although some completion is: the price of not knowing.
	kept       int
	violations []string
}

// check generates conditions and worlds. What the property says: with unknowns a
// condition is yes only if it is yes whatever the unknowns turn out to be, and
// no only if it is no whatever they turn out to be.
func check(t testing.TB, judge evaluator, conditions int) (n tally) {
	t.Helper()
	env, err := language()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, uint64(conditions)))
	g := &generator{rng: rng}
	for n.conditions < conditions && len(n.violations) < 20 {
		text := g.bool(1 + rng.IntN(4))
		c, faults := env.compile(text)
		if faults != nil {
			// The broken pattern, and [] used as a list of two types, are refused.
			if !strings.Contains(text, "matches('(')") && !strings.Contains(text, "[].") {
				t.Fatalf("%s: %+v", text, faults)
			}
			continue
		}
		n.conditions++
		if len(c.reads) > 5 {
			continue
		}
		for range 4 {
			n.property(judge, c, partial(rng, env, c.reads))
		}
	}
	return n
}

func (n *tally) property(judge evaluator, c *condition, w world) {
	n.worlds++
	got := judge(c, w)
	blank := len(w.values) < len(c.reads)
	any := false
	for _, full := range completions(w, c.reads) {
		// The reference is the real evaluator without any unknown.
		want := real(c, full)
		any = any || want == yes
		if got != unsure && got != want {
			n.violations = append(n.violations, fmt.Sprintf("%s\n  is %s with %v\n  but %s with %v", c.text, word(got), w, word(want), full))
			return
		}
	}
	switch {
	case got == yes && blank:
		n.opened++
	case got != yes && any:
		n.kept++
	}
}

// TestNoUnknownAllows is the rule of the house over generated conditions.
func TestNoUnknownAllows(t *testing.T) {
	conditions := 3_000
	if s := os.Getenv("MUSTER_GENERATED"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		conditions = n
	}
	n := check(t, real, conditions)
	for _, v := range n.violations {
		t.Error(v)
	}
	t.Logf("%d conditions in %d worlds: %d held in spite of unknowns, %d did not hold because of them", n.conditions, n.worlds, n.opened, n.kept)
	if n.opened < n.worlds/50 || n.kept < n.worlds/50 {
		t.Error("the worlds do not try the property")
	}
}

// TestTheTestCanFail judges with evaluators that each make one of the mistakes
// that the property is about.
func TestTheTestCanFail(t *testing.T) {
	for name, judge := range map[string]evaluator{
		"unknown is the zero value": func(c *condition, w world) truth {
			zero := world{w.env, map[string]ref.Val{}}
			for _, path := range c.reads {
				if zero.values[path] = w.values[path]; zero.values[path] == nil {
					zero.values[path] = zeroOf(&w.env.fields[w.env.index[path]])
				}
			}
			return real(c, zero)
		},
		"unknown is good enough": func(c *condition, w world) truth {
			if got := real(c, w); got != unsure {
				return got
			}
			return yes
		},
		"unknown is no": func(c *condition, w world) truth {
			if got := real(c, w); got != unsure {
				return got
			}
			return no
		},
		"unknown is the best value": func(c *condition, w world) truth {
			return real(c, completions(w, c.reads)[0])
		},
	} {
		if n := check(t, judge, 400); len(n.violations) == 0 {
			t.Errorf("%s: was not noticed in %d worlds", name, n.worlds)
		}
	}
}

// zeroOf is what a struct that nobody filled in would hold.
func zeroOf(f *field) ref.Val {
	switch f.typ {
	case stateType, sourceType, levelType, tierType, linkType, strengthType, certificationType:
		return symbol{f.typ, 0}
	case addressType:
		return address{}
	case cel.BoolType:
		return types.False
	case cel.StringType:
		return types.String("")
	case cel.IntType:
		return types.Int(0)
	case cel.DurationType:
		return types.Duration{}
	}
	return types.NewStringList(types.DefaultTypeAdapter, nil)
}

// TestNoUnknownClaimAllows is the same through the front door: whole policies,
// whole Results and visitors, Prepare and For. Whoever tells less is never decided
// more mildly than the same telling more, whatever that is; and no request makes
// milder what was decided without it.
func TestNoUnknownClaimAllows(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 13))
	g := &generator{rng: rng}
	severer, tightened, residuals := 0, 0, 0
	for range 600 {
		policy := oneApp + "require:\n"
		for i := range 1 + rng.IntN(3) {
			policy += fmt.Sprintf("- id: rule-%d\n  otherwise: %s\n  that: |\n    %s\n", i, g.pick("deny", "step_up", "restrict"), g.bool(3))
			if rng.IntN(2) == 0 {
				policy += "  for: |\n    " + g.bool(2) + "\n"
			}
		}
		if strings.Contains(policy, "matches('(')") || strings.Contains(policy, "[].") {
			continue // may be refused
		}
		p, ok := perhaps(t, policy)
		if !ok {
			continue
		}
		for range 20 {
			more, asked := visiting("wiki"), asking()
			tellAll(rng, &more.Device.Claims, more.Now)
			tellVisitor(rng, more.Visitor, asked, more.Now)
			less, askedLess := tellLess(rng, more, asked)
			prepared := p.Prepare(more)
			a, b := p.Prepare(less).For(askedLess, less.Now), prepared.For(asked, more.Now)
			if a.Outcome > b.Outcome {
				t.Fatalf("%s\nwith less told: %v %+v\nwith more told: %v %+v", policy, a.Outcome, a.Reasons, b.Outcome, b.Reasons)
			}
			if b.Outcome > prepared.Decision.Outcome || len(b.Reasons) < len(prepared.Decision.Reasons) {
				t.Fatalf("%s\nthe request loosens %+v to %+v", policy, prepared.Decision, b)
			}
			if d := p.Decide(more); d.Outcome > b.Outcome {
				t.Fatalf("%s\nwithout a request %+v, with one %+v", policy, d, b)
			}
			if a.Outcome < b.Outcome {
				severer++
			}
			if b.Outcome < prepared.Decision.Outcome {
				tightened++
			}
			if !prepared.Final() {
				residuals++
			}
		}
	}
	t.Logf("%d decisions changed by what was not told, %d of %d by the request", severer, tightened, residuals)
	if severer < 100 || tightened < 100 || residuals < 300 {
		t.Error("the policies do not try the property")
	}
}

// tellLess leaves out some of what was told: claims, parts of the visitor and of the
// request, or all of one.
func tellLess(rng *rand.Rand, in Inputs, q *Request) (Inputs, *Request) {
	some := func() bool { return rng.IntN(4) == 0 }
	for _, c := range in.Device.Claims.Each() {
		if some() {
			c.State, c.Reason = posture.Unknown, posture.Permission
		}
	}
	v, asked := *in.Visitor, *q
	for _, forget := range []func(){
		func() { v.Session.Link.Strength = "" }, func() { v.Session.Link.At = time.Time{} }, func() { v.Session.AMR = nil },
		func() { v.Session.ACR = "" }, func() { v.Session.UserVerified = time.Time{} }, func() { v.Passkey = Passkey{} },
		func() { v.Passkey.CreatedAt = time.Time{} }, func() { v.User = User{} }, func() { asked.Path = "" }, func() { asked.Country = "" },
		func() { asked.ASN = 0 }, func() { asked.Address = netip.Addr{} },
	} {
		if some() {
			forget()
		}
	}
	in.Visitor = &v
	switch rng.IntN(6) {
	case 0:
		in.Visitor = nil
	case 1:
		return in, nil
	}
	return in, &asked
}

// tellVisitor fills in a visitor and a request at random, all of them known.
func tellVisitor(rng *rand.Rand, v *Visitor, q *Request, now time.Time) {
	text := func(of ...string) string { return of[rng.IntN(len(of))] }
	ago := func() time.Time { return now.Add(-time.Duration(rng.IntN(3)) * time.Hour / 2) }
	flag := func() bool { return rng.IntN(2) == 0 }
	v.Session.Link.Strength, v.Session.Link.At = text("code", "app", "loopback"), ago()
	v.Session.UserVerified, v.Session.AMR, v.Session.ACR = ago(), []string{text("a", "12")}, text("a", "12")
	v.Passkey = Passkey{
		Evidence: text(evidenceSelf, evidenceAttested), AAGUID: text("a", "12"), Certification: rng.IntN(4), Bad: text("", "a"),
		BackupEligible: flag(), CreatedAt: ago(),
	}
	v.User.Name = text("a", "12")
	if v.User.Groups = nil; flag() {
		v.User.Groups, v.Passkey.Weak = []string{text("a", "12")}, []string{text("a", "b")}
	}
	if flag() {
		v.Elevations = []Elevation{{App: "wiki", Granted: ago().Add(-1), Ends: now.Add(time.Hour)}}
	}
	*q = Request{
		Method: "GET", Path: text("a", "12"), Country: text("a", "12"), ASN: uint32(1 + rng.IntN(2)), Upgrade: flag(),
		Address: netip.MustParseAddr(text("10.0.0.1", "192.168.0.1", "1.1.1.1")),
	}
}

// TestEveryFieldAndOperator: a rule about one field, in every form that its type
// has, is not met where the field is unknown, and applies as `for`.
func TestEveryFieldAndOperator(t *testing.T) {
	env, err := language()
	if err != nil {
		t.Fatal(err)
	}
	forms := map[string][]string{
		stateType.String():        {"%s == YES", "%s != YES", "%s == NO", "%s != NO", "%s in [YES, NO]", "!(%s in [YES])", "!(%s == NO)", "%s == %s"},
		linkType.String():         {"%s == LIVE", "%s != ABSENT", "!(%s in [ABSENT])"},
		cel.BoolType.String():     {"%s", "!%s", "%s == false", "%s != true", "%s || !%s", "%s ? true : true"},
		cel.DurationType.String(): {"%s < duration('9h')", "%s <= duration('9h')", "%s > duration('0s')", "%s >= duration('-9h')", "!(%s > duration('9h'))"},
		cel.IntType.String():      {"%s == 0", "%s != 7", "%s < 7", "%s >= -7", "%s + 1 > -9", "-%s < 9", "%s in [0, 1]"},
		addressType.String():      {"in_network(%s, '0.0.0.0/0', '::/0')", "!in_network(%s, '10.0.0.0/8')", "%s == %s", "%s != %s"},
		cel.ListType(cel.StringType).String(): {"size(%s) == 0", "size(%s) >= 0", "'a' in %s", "!('a' in %s)", "%s == []", "%s.all(x, x != 'a')", "!%s.exists(x, x == 'a')",
			"%s.filter(x, x == 'a').size() < 9", "!%s.exists_one(x, x == 'a')", "%s.map(x, x) != ['a']", "%s[0] != 'a'"},
	}
	text := []string{"%s == ''", "%s != 'a'", "!(%s == 'a')", "size(%s) >= 0", "%s.startsWith('')", "!%s.endsWith('a')", "!%s.contains('a')", "!%s.matches('a')",
		"!(%s in ['a'])", "!version_at_least(%s, '1')", "version_at_least(%s, '0')"}
	ordered := map[string]string{
		sourceType.String(): "MEASURED", tierType.String(): "AFFIRMING", levelType.String(): "TPM_HW",
		strengthType.String(): "BY_CODE", certificationType.String(): "FIDO_NONE",
	}
	tried := 0
	for i := range env.fields {
		f := &env.fields[i]
		with := forms[f.typ.String()]
		switch word := ordered[f.typ.String()]; {
		case word != "":
			for _, operator := range []string{"==", "!=", "<", "<=", ">", ">="} {
				with = append(with, "%s "+operator+" "+word)
			}
		case f.typ == cel.StringType && len(f.values) > 0:
			with = []string{"%s == '" + f.values[0] + "'", "%s != '" + f.values[0] + "'", "!(%s in ['" + f.values[0] + "'])", "size(%s) >= 0", "%s.matches('')"}
		case f.typ == cel.StringType:
			with = text
		}
		if len(with) == 0 {
			t.Errorf("%s of type %s: no form is known", f.path, f.typ)
		}
		for _, form := range append(with, "has(%s)", "!has(%s)", "[1, 2].exists(i, has(%s))") {
			tried++
			condition := strings.ReplaceAll(form, "%s", f.path)
			c, faults := env.compile(condition)
			if faults != nil {
				t.Errorf("%s: %+v", condition, faults)
				continue
			}
			if got := c.evaluate(&reading{env: env, app: &app{}, in: &Inputs{Now: noon()}, now: noon()}); got.holds != unsure {
				t.Errorf("%s is %s of nobody", condition, word(got.holds))
			}
			r := rule{condition: c, scope: c}
			if got := r.rule(&reading{env: env, app: &app{}, in: &Inputs{}}, false); !got.applies || !got.unmet() {
				t.Errorf("%s: %+v", condition, got)
			}
		}
	}
	if tried < 700 {
		t.Errorf("only %d forms were tried", tried)
	}
}

// perhaps loads a generated policy, which may have a rule that is the same for
// everybody, or applies to nobody.
func perhaps(t *testing.T, policy string) (*Policy, bool) {
	t.Helper()
	env, err := language()
	if err != nil {
		t.Fatal(err)
	}
	p, err := env.load("policy.yaml", []byte(policy))
	if err != nil && !strings.Contains(err.Error(), "names no input") && !strings.Contains(err.Error(), "can never apply") {
		t.Fatalf("%v\n%s", err, policy)
	}
	return p, err == nil
}

// tellAll fills claims at random, each of them known.
func tellAll(rng *rand.Rand, c *posture.Claims, now time.Time) {
	for _, claim := range c.Each() {
		claim.State = posture.State(1 + rng.IntN(2))
		claim.Source = posture.Source(rng.IntN(3))
		claim.Reason = posture.Reason([]string{"", "a", "b"}[rng.IntN(3)])
	}
	text := func() string { return []string{"", "a", "12"}[rng.IntN(3)] }
	c.OS.Detail.ID, c.OS.Detail.Version = text(), text()
	pending := rng.IntN(3)
	c.Patches.Detail = posture.Patches{SecurityPending: &pending, RebootPending: posture.State(rng.IntN(3)), MetadataAt: now.Add(-time.Duration(rng.IntN(3)) * time.Hour)}
	for range rng.IntN(3) {
		c.Patches.Detail.Packages = append(c.Patches.Detail.Packages, text())
		c.BootSecurity.Detail.LSM = append(c.BootSecurity.Detail.LSM, text())
	}
}
