package collectors

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"muster/attest/posture"
	"muster/platform"
)

// collectFirewall asks the kernel's own rules, through the tools that print
// them, what becomes of packets that nobody asked for. What ufw or firewalld
// say of themselves is detail: only rules refuse packets.
func collectFirewall(ctx context.Context, m *Machine, c *posture.Claims) {
	f := readFirewall(ctx, m)
	state, reason, detail := f.judge()
	c.Firewall = posture.Observed(m.Now(), state, reason, detail)
}

// firewallFacts are what was read, before anything is judged.
type firewallFacts struct {
	rules   filterRules
	missing error // why a part of the rules could not be read, or nil
	noIPv6  bool  // this machine cannot be reached by IPv6
	manager string
	active  posture.State // of the manager
	status  ufwStatus
}

func readFirewall(ctx context.Context, m *Machine) firewallFacts {
	f := firewallFacts{rules: filterRules{}}
	f.readManager(ctx, m)
	f.noIPv6 = m.Run != nil && ipv6Off(m.Tree)
	nft, nftErr := m.run(ctx, "nft", "-j", "list", "ruleset")
	foreign := false
	if nftErr == nil {
		f.rules, foreign, nftErr = parseNft(nft)
	}
	legacy := legacyTables(m.Tree)
	if nftErr == nil && !foreign && !legacy {
		return f
	}
	if nftErr != nil && !errors.Is(nftErr, platform.ErrNoTool) {
		// Other tools meet the same refusal, and half a view is none.
		f.missing = nftErr
		return f
	}
	f.readIptables(ctx, m, nftErr, legacy)
	return f
}

// readIptables adds what iptables-save shows. One program shows one of the two
// kernel interfaces; rules in the one that it does not show stay unread.
func (f *firewallFacts) readIptables(ctx context.Context, m *Machine, nftErr error, legacy bool) {
	v4, err4 := readSave(ctx, m, "iptables-save", "ip")
	v6, err6 := readSave(ctx, m, "ip6tables-save", "ip6")
	if err := errors.Join(err4, err6); err != nil {
		if nftErr == nil || legacy || !kernelLacks(m.Tree, "nf_tables", "ip_tables", "ip6_tables") {
			f.missing = err
		}
		return
	}
	switch {
	case legacy && (v4.nft || v6.nft):
		f.missing = fmt.Errorf("iptables-legacy-save: %w", platform.ErrNoTool)
	case nftErr != nil && !kernelLacks(m.Tree, "nf_tables"):
		f.missing = nftErr
	}
	f.add(v4)
	f.add(v6)
}

// add puts saved rules beside those of nft, or in the place of what nft printed
// when they are the same ones in a form that can be read.
func (f *firewallFacts) add(save savedRules) {
	if save.nft {
		f.rules.drop(save.family, "filter")
	}
	for key, chain := range save.rules {
		if !save.nft {
			key.table = legacyTable
		}
		f.rules[key] = chain
	}
}

// legacyTable keeps the older interface's filter table apart from the one of
// that name in nf_tables. Both are at work.
const legacyTable = "legacy filter"

func (rules filterRules) drop(family, table string) {
	maps.DeleteFunc(rules, func(key chainKey, _ *filterChain) bool {
		return key.family == family && key.table == table
	})
}

// savedRules is what one of the two save programs printed.
type savedRules struct {
	family string
	rules  filterRules
	nft    bool
}

func readSave(ctx context.Context, m *Machine, tool, family string) (savedRules, error) {
	out, err := m.run(ctx, tool)
	if err != nil {
		return savedRules{}, err
	}
	rules, err := parseIptables(family, out)
	return savedRules{family: family, rules: rules, nft: isIptablesNft(out)}, err
}

// judge turns the facts into the claim. Yes needs a sure refusal of each probe;
// rules that we could not read never help, since a chain that accepts does not
// undo one that refuses.
func (f firewallFacts) judge() (posture.State, posture.Reason, posture.Firewall) {
	detail := posture.Firewall{
		Manager:       f.manager,
		InputChains:   f.rules.inputChains(),
		ManagerActive: f.active,
	}
	if detail.Manager == "" && detail.InputChains > 0 {
		detail.Manager = f.rules.manager()
	}
	worst := verdictDrop
	for p := range probes {
		if p.v6() && f.noIPv6 {
			continue
		}
		worst = moreOpen(worst, f.rules.inputVerdict(p))
	}
	switch {
	case worst == verdictDrop, worst == verdictReject:
		detail.DefaultInput = map[ruleVerdict]string{verdictDrop: "drop", verdictReject: "reject"}[worst]
		return posture.Yes, "", detail
	case f.missing != nil && f.status.refuses(f.noIPv6) && errors.Is(f.missing, platform.ErrNoTool):
		detail.DefaultInput = f.status.incoming
		return posture.Yes, "", detail
	case f.missing != nil:
		return posture.Unknown, whyNoAnswer(f.missing), detail
	case worst == verdictObscure:
		return posture.Unknown, posture.Unsupported, detail
	}
	detail.DefaultInput = "accept"
	if detail.InputChains == 0 {
		return posture.No, posture.NoFirewall, detail
	}
	return posture.No, posture.NoDefaultDeny, detail
}

// moreOpen orders verdicts of probes: what is open beats what is obscure beats
// what is refused.
func moreOpen(a, b ruleVerdict) ruleVerdict {
	order := []ruleVerdict{verdictDrop, verdictReject, verdictObscure, verdictAccept}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

// manager guesses who wrote the rules, for people.
func (rules filterRules) manager() string {
	for key := range rules {
		if key.table == legacyTable {
			return "iptables"
		}
	}
	return "nftables"
}

// readManager finds out which of the two well-known programs is set up here.
func (f *firewallFacts) readManager(ctx context.Context, m *Machine) {
	if conf, err := m.Tree.ReadFile("/etc/ufw/ufw.conf"); err == nil {
		if shellValue(conf, "ENABLED") == "yes" {
			f.manager = "ufw"
			if out, err := m.run(ctx, "ufw", "status", "verbose"); err == nil {
				f.status = parseUfwStatus(out)
				defaults, _ := m.Tree.ReadFile("/etc/default/ufw") // without it IPv6 is not covered
				f.status.ipv6 = shellValue(defaults, "IPV6") == "yes"
				f.active = yesNo(f.status.active)
			}
			return
		}
	}
	if _, err := m.Tree.Stat("/etc/firewalld/firewalld.conf"); err != nil {
		return
	}
	out, err := m.run(ctx, "firewall-cmd", "--state")
	switch {
	case err == nil && strings.TrimSpace(string(out)) == "running":
		f.manager, f.active = "firewalld", posture.Yes
	case exitCode(err) == firewalldStopped:
		f.active = posture.No
	}
}

// firewalldStopped is firewall-cmd's status for a daemon that does not run
// (firewall-cmd(1), exit codes, NOT_RUNNING).
const firewalldStopped = 252

// legacyTables reports whether the older kernel interface holds tables. Only
// root may read the list; where it cannot be read, nft could not either.
func legacyTables(t Tree) bool {
	for _, name := range []string{"/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"} {
		if b, err := t.ReadFile(name); err == nil && strings.Contains(string(b), "filter") {
			return true
		}
	}
	return false
}

// kernelLacks reports whether the kernel can be shown to have none of the
// modules: neither loaded nor built in.
func kernelLacks(t Tree, modules ...string) bool {
	release, err := t.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return false
	}
	builtin, err := t.ReadFile("/lib/modules/" + strings.TrimSpace(string(release)) + "/modules.builtin")
	if err != nil || len(builtin) == 0 {
		return false
	}
	loaded, err := t.ReadFile("/proc/modules")
	if err != nil {
		return false
	}
	for _, name := range modules {
		if strings.Contains(string(builtin), "/"+name+".ko") || strings.Contains("\n"+string(loaded), "\n"+name+" ") {
			return false
		}
	}
	return true
}

// ipv6Off reports whether nobody can reach this machine by IPv6: the kernel
// speaks none, or it is switched off and no interface but loopback has an
// address.
func ipv6Off(t Tree) bool {
	addresses, err := t.ReadFile("/proc/net/if_inet6")
	if errors.Is(err, fs.ErrNotExist) {
		_, err := t.Stat("/proc/net/dev") // else /proc is not there
		return err == nil
	}
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(addresses)) {
		if fields := strings.Fields(line); len(fields) == 0 || fields[len(fields)-1] != "lo" {
			return false
		}
	}
	for _, scope := range []string{"all", "default"} {
		b, err := t.ReadFile("/proc/sys/net/ipv6/conf/" + scope + "/disable_ipv6")
		if err != nil || strings.TrimSpace(string(b)) != "1" {
			return false
		}
	}
	return true
}
