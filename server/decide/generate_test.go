package decide

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"muster/attest/posture"
	"muster/server/verify"
)

// generator writes conditions over all inputs without is_unknown: every operator,
// function and macro of the language. The cross-checks of passkeys are left out: they
// are false, not unknown, where one side is.
type generator struct {
	rng *rand.Rand
	// locals are the string variables of the comprehensions around.
	locals []string
}

func (g *generator) pick(from ...string) string { return from[g.rng.IntN(len(from))] }

// The fields that are drawn from: few, so that one meets another.
func (g *generator) state() string {
	return g.pick("device.firewall.state", "device.mdm.state", "device.patches.reboot_pending")
}
func (g *generator) word() string {
	return g.pick("'a'", "'b'", "'12'", "''")
}
func (g *generator) list() string {
	return g.pick("device.boot_security.lsm", "device.patches.packages", "user.groups", "session.amr", "passkey.weak", "['a', '12']", "[]", "["+g.text(0)+", 'b']")
}

func (g *generator) text(depth int) string {
	if len(g.locals) > 0 && g.rng.IntN(2) == 0 {
		return g.pick(g.locals...)
	}
	if depth > 0 && g.rng.IntN(4) == 0 {
		return fmt.Sprintf("(%s ? %s : %s)", g.bool(depth-1), g.text(depth-1), g.text(0))
	}
	return g.pick("device.os.version", "device.os.id", "device.firewall.reason", "user.name", "session.acr", "passkey.bad", "passkey.aaguid",
		"request.path", "request.country", g.word())
}

func (g *generator) number(depth int) string {
	if depth > 0 {
		switch g.rng.IntN(5) {
		case 0:
			return fmt.Sprintf("(%s %s %s)", g.number(depth-1), g.pick("+", "-"), g.number(depth-1))
		case 1:
			return fmt.Sprintf("size(%s)", g.list())
		case 2:
			return fmt.Sprintf("-%s", g.number(0))
		case 3:
			return g.text(depth-1) + ".size()"
		}
	}
	return g.pick("0", "1", "2", "device.patches.security_pending", "request.asn")
}

// bool writes a condition of at most the given depth.
func (g *generator) bool(depth int) string { return "(" + g.open(depth) + ")" }

func (g *generator) open(depth int) string {
	if depth <= 0 {
		return g.atom()
	}
	a := func() string { return g.bool(depth - 1) }
	switch g.rng.IntN(14) {
	case 0, 1:
		return "!" + a()
	case 2, 3:
		return a() + " && " + a()
	case 4, 5:
		return a() + " || " + a()
	case 6:
		return a() + " ? " + a() + " : " + a()
	case 7:
		return a() + g.pick(" == ", " != ") + a()
	case 8:
		return a() + " in [" + a() + ", " + a() + "]"
	case 9, 10:
		return g.comprehension(depth)
	case 11:
		return fmt.Sprintf("%s %s %s", g.number(depth), g.comparison(), g.number(depth-1))
	case 12:
		return fmt.Sprintf("%s %s %s", g.text(depth), g.pick("==", "!="), g.text(depth-1))
	}
	return g.atom()
}

func (g *generator) comparison() string { return g.pick("==", "!=", "<", "<=", ">", ">=") }

func (g *generator) comprehension(depth int) string {
	list, v := g.list(), fmt.Sprintf("v%d", len(g.locals))
	g.locals = append(g.locals, v)
	inner := g.bool(depth - 1)
	g.locals = g.locals[:len(g.locals)-1]
	switch g.rng.IntN(5) {
	case 0:
		return fmt.Sprintf("%s.filter(%s, %s).size() %s 1", list, v, inner, g.comparison())
	case 1:
		return fmt.Sprintf("%s.map(%s, %s).exists(b, %sb)", list, v, inner, g.pick("", "!"))
	}
	return fmt.Sprintf("%s.%s(%s, %s)", list, g.pick("all", "exists", "exists_one"), v, inner)
}

func (g *generator) atom() string {
	if g.rng.IntN(3) == 0 {
		return g.visitor()
	}
	switch g.rng.IntN(13) {
	case 0:
		return g.pick("true", "false")
	case 1, 2:
		return g.state() + g.pick(" == YES", " != YES", " == NO", " != NO", " in [NO]", " in [YES, NO]")
	case 3:
		return g.state() + g.pick(" == ", " != ") + g.state()
	case 4:
		return "has(" + g.pick("device.mdm", "device.os.id", "device.boot_security.lsm", "device.patches.metadata_age") + ")"
	case 5:
		return g.text(0) + g.pick(".startsWith", ".endsWith", ".contains") + "(" + g.text(0) + ")"
	case 6:
		return g.text(0) + ".matches('" + g.pick("", "^a$", "[0-9]+", "(") + "')"
	case 7:
		return g.text(0) + " in " + g.list()
	case 8:
		return fmt.Sprintf("device.patches.metadata_age %s duration('1h')", g.pick("<", "<=", ">", ">="))
	case 9:
		return fmt.Sprintf("device.secure_boot.source %s %s", g.comparison(), g.pick("REPORTED", "VENDOR", "MEASURED"))
	case 10:
		return fmt.Sprintf("version_at_least(%s, '%s')", g.text(0), g.pick("9", "12", "12.1"))
	case 11:
		return g.list() + g.pick("[0]", "[1]") + g.pick(" == ", " != ") + g.word()
	}
	return g.list() + g.pick(" == ", " != ") + g.list()
}

// visitor writes a condition over what comes with sign-in and with the request.
func (g *generator) visitor() string {
	network := "'10.0.0.0/8'" + g.pick("", ", '192.168.0.0/16'")
	return g.pick(
		"passkey.attested", "passkey.backup_eligible", "request.upgrade", "elevation.active",
		"session.link.state"+g.pick(" == ", " != ")+g.pick("LIVE", "ABSENT"),
		"session.link.state"+g.pick(" in [LIVE]", " in [ABSENT, SUSPENDED]"),
		"session.link.strength "+g.comparison()+g.pick(" BY_CODE", " BY_APP", " BY_LOOPBACK"),
		"passkey.certification "+g.comparison()+g.pick(" FIDO_NONE", " FIDO_L2"),
		"session.link.age "+g.order()+" duration('1h')", "session.user_verified_ago "+g.order()+" duration('1h')",
		"passkey.age "+g.order()+" duration('1h')", "elevation.age "+g.order()+" duration('1h')",
		"passkey.attested"+g.pick(" == ", " != ")+g.pick("true", "false", "passkey.backup_eligible"),
		"passkey.evidence"+g.pick(" == ", " != ")+g.pick("'self'", "'attested'"),
		"request.address"+g.pick(" == ", " != ")+"request.address",
		"in_network(request.address, "+network+")",
		"(request.upgrade ? in_network(request.address, "+network+") : passkey.attested)",
		"device.level >= SOFTWARE",
	)
}

func (g *generator) order() string { return g.pick("<", "<=", ">", ">=") }

// world gives each field a value; nil and absent are unknown. It takes the place
// of a Result, so that every combination can be tried.
type world struct {
	env    *environment
	values map[string]ref.Val
}

func (w world) ResolveName(name string) (any, bool) {
	if v := w.values[name]; v != nil {
		return v, true
	}
	if i, ok := w.env.index[name]; ok {
		return w.env.fields[i].blank, true
	}
	return nil, false
}

func (w world) Parent() cel.Activation { return nil }

// domain has some values that a field can have.
func domain(f *field) []ref.Val {
	strings := func(s ...string) ref.Val { return types.NewStringList(types.DefaultTypeAdapter, s) }
	switch f.typ {
	case stateType:
		return []ref.Val{symbol{stateType, uint8(posture.Yes)}, symbol{stateType, uint8(posture.No)}}
	case sourceType:
		return []ref.Val{symbol{sourceType, uint8(posture.Reported)}, symbol{sourceType, uint8(posture.Measured)}}
	case levelType:
		return []ref.Val{symbol{levelType, uint8(verify.Software)}, symbol{levelType, uint8(verify.TPMHardware)}}
	case linkType:
		return []ref.Val{symbol{linkType, rankAbsent}, symbol{linkType, rankLive}}
	case strengthType:
		return []ref.Val{symbol{strengthType, rankCode}, symbol{strengthType, rankLoopback}}
	case certificationType:
		return []ref.Val{symbol{certificationType, 0}, symbol{certificationType, 2}}
	case addressType:
		return []ref.Val{address{netip.MustParseAddr("10.0.0.1")}, address{netip.MustParseAddr("192.168.0.1")}}
	case cel.BoolType:
		return []ref.Val{types.False, types.True}
	case cel.StringType:
		if len(f.values) > 0 {
			return []ref.Val{types.String(f.values[0]), types.String(f.values[len(f.values)-1])}
		}
		return []ref.Val{types.String("a"), types.String("12")}
	case cel.IntType:
		return []ref.Val{types.Int(0), types.Int(1)}
	case cel.DurationType:
		return []ref.Val{types.Duration{Duration: time.Hour - 1}, types.Duration{Duration: time.Hour}}
	}
	return []ref.Val{strings(), strings("a"), strings("12", "a")}
}

// completions are all worlds that agree with a partial one and leave nothing of
// the given fields unknown.
func completions(w world, paths []string) []world {
	all := []world{{w.env, map[string]ref.Val{}}}
	for _, path := range paths {
		values := domain(&w.env.fields[w.env.index[path]])
		if v := w.values[path]; v != nil {
			values = []ref.Val{v}
		}
		var next []world
		for _, v := range values {
			for _, have := range all {
				more := map[string]ref.Val{path: v}
				for k, o := range have.values {
					more[k] = o
				}
				next = append(next, world{w.env, more})
			}
		}
		all = next
	}
	return all
}

// partial draws a world in which some of the fields are unknown.
func partial(rng *rand.Rand, env *environment, paths []string) world {
	w := world{env, map[string]ref.Val{}}
	for _, path := range paths {
		if values := domain(&env.fields[env.index[path]]); rng.IntN(2) == 0 {
			w.values[path] = values[rng.IntN(len(values))]
		}
	}
	return w
}

func (w world) String() string {
	var b strings.Builder
	for path, v := range w.values {
		fmt.Fprintf(&b, "%s = %s; ", path, shown(v))
	}
	return b.String()
}
