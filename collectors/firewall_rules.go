package collectors

import "slices"

// A probe is one kind of packet that nobody asked for: the first of a
// connection, from a stranger, through a network card, to a port that no rule
// names.
type probe uint8

// The probes. A firewall refuses by default when it refuses all four.
const (
	tcp4 probe = iota
	udp4
	tcp6
	udp6
	probes
)

func (p probe) v6() bool  { return p >= tcp6 }
func (p probe) tcp() bool { return p == tcp4 || p == tcp6 }

// certainty is how surely a rule's condition holds for a probe. A rule's
// conditions are joined by "and", which is the lowest of them.
type certainty uint8

// From never to always. Narrow conditions hold for few such packets (one port,
// some senders); unsure ones we cannot read; wide ones hold for most of them
// (one network card, half of the ports).
const (
	never certainty = iota
	narrow
	unsure
	wide
	always
)

// not is the certainty of the opposite condition.
func (c certainty) not() certainty {
	switch c {
	case never:
		return always
	case always:
		return never
	case narrow:
		return wide
	default:
		return c
	}
}

// when holds one certainty a probe.
type when [probes]certainty

// everyProbe is the same certainty for all of them.
func everyProbe(c certainty) when { return when{c, c, c, c} }

func (w when) and(o when) when {
	for i := range w {
		w[i] = min(w[i], o[i])
	}
	return w
}

// only keeps w for the probes that keep says, and is never for the others.
func (w when) only(keep func(probe) bool) when {
	for p := range probes {
		if !keep(p) {
			w[p] = never
		}
	}
	return w
}

func (w when) not() when {
	for i := range w {
		w[i] = w[i].not()
	}
	return w
}

// ruleVerdict is what a rule does with a packet.
type ruleVerdict uint8

// The verdicts. None passes on to the next rule; Obscure may be any of them.
const (
	verdictNone ruleVerdict = iota
	verdictAccept
	verdictDrop
	verdictReject
	verdictJump
	verdictGoto
	verdictReturn
	verdictObscure
)

// filterRule is one rule, whatever program wrote it.
type filterRule struct {
	when    when
	verdict ruleVerdict
	target  string // of a jump or goto
}

// chainKey names a chain: names are unique in a table only.
type chainKey struct{ family, table, name string }

// filterChain is a list of rules; a base chain has a hook and a policy.
type filterChain struct {
	input  bool        // type filter at the input hook
	policy ruleVerdict // of a base chain
	rules  []filterRule
}

// filterRules are all chains of a machine.
type filterRules map[chainKey]*filterChain

// maxChains and maxRules bound what is kept of a ruleset; nothing on a laptop
// comes near, and a larger one is refused as unparsable.
const (
	maxChains = 4096
	maxRules  = 65536
)

// ending is a set of the ways in which a packet's walk through a chain may end.
type ending uint8

const (
	fallsThrough ending = 1 << iota
	isDropped
	isRejected
	isAccepted
	isObscure
)

// maxJumps is the kernel's own limit of nested chains (NFT_JUMP_STACK_SIZE).
const maxJumps = 16

// inputVerdict is what the rules do with one probe: accept, drop, reject, or
// obscure when that could not be told. Every base chain sees the packet, so one
// that surely refuses is enough.
func (rules filterRules) inputVerdict(p probe) ruleVerdict {
	obscure := false
	for key, chain := range rules {
		if !chain.input || !familySees(key.family, p) {
			continue
		}
		w := walker{rules: rules, probe: p, known: map[chainKey]ending{}}
		switch end := w.chain(key, 0); {
		case end == isDropped:
			return verdictDrop
		case end&^(isDropped|isRejected) == 0:
			return verdictReject
		case end&isObscure != 0:
			obscure = true
		}
	}
	if obscure {
		return verdictObscure
	}
	return verdictAccept
}

func familySees(family string, p probe) bool {
	switch family {
	case "inet":
		return true
	case "ip":
		return !p.v6()
	case "ip6":
		return p.v6()
	}
	return false
}

// inputChains counts the base chains that see input.
func (rules filterRules) inputChains() int {
	n := 0
	for _, chain := range rules {
		if chain.input {
			n++
		}
	}
	return n
}

// walker follows one probe. Each chain is walked once, so that the work is
// bounded by the number of rules.
type walker struct {
	rules filterRules
	probe probe
	known map[chainKey]ending
}

// chain returns how the packet may leave the chain; at a base chain, whose
// policy takes what falls through, it never falls through.
func (w *walker) chain(key chainKey, depth int) ending {
	if end, ok := w.known[key]; ok {
		return end
	}
	chain, ok := w.rules[key]
	if !ok || depth > maxJumps {
		return isObscure
	}
	// What is found again below itself is a loop, which the kernel refuses.
	w.known[key] = isObscure
	end := w.walk(key, chain, depth)
	if chain.input && end&fallsThrough != 0 {
		end = end&^fallsThrough | policyEnding(chain.policy)
	}
	w.known[key] = end
	return end
}

func policyEnding(policy ruleVerdict) ending {
	switch policy {
	case verdictDrop:
		return isDropped
	case verdictAccept:
		return isAccepted
	}
	return isObscure
}

func (w *walker) walk(key chainKey, chain *filterChain, depth int) ending {
	var ends ending
	for _, rule := range chain.rules {
		c := rule.when[w.probe]
		if c <= narrow {
			continue
		}
		end := w.rule(key, rule, depth)
		if c == unsure && end&isAccepted != 0 {
			end = end&^isAccepted | isObscure
		}
		goesOn := end&goesOnBelow != 0
		ends |= end &^ goesOnBelow
		if c == always && !goesOn {
			return ends
		}
	}
	return ends | fallsThrough
}

// goesOnBelow marks, inside one walk only, that the next rule sees the packet.
const goesOnBelow ending = 1 << 7

// rule returns how the packet may end if the rule's condition holds.
func (w *walker) rule(key chainKey, rule filterRule, depth int) ending {
	key.name = rule.target
	switch rule.verdict {
	case verdictAccept:
		return isAccepted
	case verdictDrop:
		return isDropped
	case verdictReject:
		return isRejected
	case verdictReturn:
		return fallsThrough
	case verdictGoto:
		return w.chain(key, depth+1)
	case verdictJump:
		end := w.chain(key, depth+1)
		if end&fallsThrough != 0 {
			end = end&^fallsThrough | goesOnBelow
		}
		return end
	case verdictObscure:
		return isObscure | goesOnBelow
	}
	return goesOnBelow
}

// privateInterfaces are names of loopback, containers, virtual machines and
// private networks: what comes through them comes from no stranger.
func privateInterfaces() []string {
	return []string{
		"virbr", "vnet", "docker", "br-", "veth", "podman", "cni", "lxcbr", "lxdbr", "incusbr",
		"tun", "tap", "wg", "tailscale", "zt", "nebula",
	}
}

// isPrivateInterface reports whether an interface name, which may end in a wildcard,
// stands for interfaces that strangers do not reach.
func isPrivateInterface(name string) bool {
	return name == "lo" || slices.ContainsFunc(privateInterfaces(), func(prefix string) bool {
		return len(name) > len(prefix) && name[:len(prefix)] == prefix
	})
}
