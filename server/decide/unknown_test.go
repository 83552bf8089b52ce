package decide

import (
	"fmt"
	"math/rand/v2"
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
	case stateType, sourceType, levelType, tierType:
		return symbol{f.typ, 0}
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
// whole Results, Decide. A laptop that tells less is never decided more mildly
// than the same laptop telling more, whatever that is.
func TestNoUnknownClaimAllows(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 13))
	g := &generator{rng: rng}
	severer := 0
	for range 400 {
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
		p := load(t, policy)
		for range 20 {
			more := healthy("wiki")
			tellAll(rng, &more.Device.Claims, more.Now)
			less := more
			for _, c := range less.Device.Claims.Each() {
				if rng.IntN(3) == 0 {
					c.State, c.Reason = posture.Unknown, posture.Permission
				}
			}
			a, b := p.Decide(less), p.Decide(more)
			if a.Outcome > b.Outcome {
				t.Fatalf("%s\nwith less told: %v %+v\nwith more told: %v %+v", policy, a.Outcome, a.Reasons, b.Outcome, b.Reasons)
			}
			if a.Outcome < b.Outcome {
				severer++
			}
		}
	}
	if severer < 100 {
		t.Errorf("only %d decisions changed by what was not told", severer)
	}
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
