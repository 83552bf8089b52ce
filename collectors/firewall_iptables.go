package collectors

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// parseIptables reads the filter table of iptables-save (family ip) or
// ip6tables-save (family ip6) into the same form as nft's. An empty input is a
// machine without such tables.
func parseIptables(family string, b []byte) (filterRules, error) {
	rules := filterRules{}
	table, open, count := "", false, 0
	for raw := range bytes.Lines(b) {
		line := strings.TrimSpace(string(raw))
		if count++; count > maxRules {
			return nil, errRuleLimit
		}
		var err error
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '*':
			table, open = line[1:], true
		case line == "COMMIT":
			open = false
		case table != "filter" || !open:
			// Other tables rewrite packets; what they drop only closes more.
		case line[0] == ':':
			err = addIptablesChain(rules, family, line[1:])
		case strings.HasPrefix(line, "-A "):
			err = addIptablesRule(rules, family, line)
		default:
			err = fmt.Errorf("%w: line %d of iptables-save", errUnparsable, count)
		}
		if err != nil {
			return nil, err
		}
	}
	if open {
		return nil, fmt.Errorf("%w: iptables-save ends without COMMIT", errUnparsable)
	}
	return rules, nil
}

// isIptablesNft reports whether iptables-save was the one that shows
// nf_tables; the other shows the older kernel interface.
func isIptablesNft(save []byte) bool {
	first, _, _ := bytes.Cut(save, []byte("\n"))
	return bytes.Contains(first, []byte("(nf_tables)"))
}

// addIptablesChain reads "NAME POLICY [packets:bytes]", the colon gone.
func addIptablesChain(rules filterRules, family, line string) error {
	fields := strings.Fields(line)
	if len(fields) < 2 || len(rules) == maxChains {
		return fmt.Errorf("%w: chain of iptables-save", errUnparsable)
	}
	key := chainKey{family, "filter", fields[0]}
	if _, twice := rules[key]; twice {
		return fmt.Errorf("%w: chain of iptables-save twice", errUnparsable)
	}
	chain := &filterChain{input: fields[0] == "INPUT"}
	switch fields[1] {
	case "DROP":
		chain.policy = verdictDrop
	case "ACCEPT":
		chain.policy = verdictAccept
	default:
		chain.policy = verdictObscure
	}
	rules[key] = chain
	return nil
}

// iptablesRule is the state while one -A line is read.
type iptablesRule struct {
	family string
	words  []string
	rule   filterRule
	not    bool
}

func addIptablesRule(rules filterRules, family, line string) error {
	words, err := iptablesWords(line)
	if err != nil {
		return err
	}
	if len(words) < 2 {
		return fmt.Errorf("%w: rule of iptables-save", errUnparsable)
	}
	chain, ok := rules[chainKey{family, "filter", words[1]}]
	if !ok {
		return fmt.Errorf("%w: rule without its chain", errUnparsable)
	}
	r := iptablesRule{family: family, words: words[2:], rule: filterRule{when: everyProbe(always)}}
	for len(r.words) > 0 {
		r.option()
	}
	chain.rules = append(chain.rules, r.rule)
	return nil
}

// next takes the next word, or "" at the end.
func (r *iptablesRule) next() string {
	if len(r.words) == 0 {
		return ""
	}
	word := r.words[0]
	r.words = r.words[1:]
	return word
}

// skip drops the words up to the next option: arguments of what was not read.
func (r *iptablesRule) skip() {
	for len(r.words) > 0 && !strings.HasPrefix(r.words[0], "-") && r.words[0] != "!" {
		r.words = r.words[1:]
	}
}

func (r *iptablesRule) require(w when) {
	if r.not {
		w = w.not()
	}
	r.not = false
	r.rule.when = r.rule.when.and(w)
}

// option reads one option with its arguments.
func (r *iptablesRule) option() {
	switch name := r.next(); name {
	case "!":
		r.not = true
	case "-m":
		r.next() // the options of the match say what it does
	case "-j", "-g":
		r.verdict(name, r.next())
	case "--comment":
		r.next()
	case "-i":
		r.require(metaEqual("iifname", []nftValue{{word: wildcard(r.next()), prefix: -1}}))
	case "-p":
		r.require(protocolEqual(iptablesValues(r.next())))
	case "-s":
		r.require(everyProbe(iptablesAddress("saddr", r.next())))
	case "-d":
		r.require(everyProbe(iptablesAddress("daddr", r.next())))
	case "--dport", "--sport", "--dports", "--sports", "--ports":
		r.require(everyProbe(portShare(iptablesValues(r.next()))))
	case "--ctstate", "--state":
		words := iptablesValues(strings.ToLower(r.next()))
		r.require(oneOf(words, []string{"new"}, []string{"established", "related", "invalid", "untracked", "snat", "dnat"}))
	case "--dst-type":
		words := iptablesValues(strings.ToLower(r.next()))
		r.require(oneOf(words, []string{"local"}, []string{"broadcast", "multicast", "anycast", "unicast"}))
	case "--pkt-type":
		words := iptablesValues(strings.ToLower(r.next()))
		r.require(oneOf(words, []string{"unicast", "host"}, []string{"broadcast", "multicast"}))
	case "--icmp-type", "--icmpv6-type":
		r.next()
		r.require(everyProbe(never))
	case "--limit", "--hashlimit-upto", "--tcp-flags", "--syn":
		r.skip()
		r.require(everyProbe(wide))
	case "--limit-burst":
		r.next()
	case "--mac-source", "--mark", "--rttl", "--uid-owner":
		r.skip()
		r.require(everyProbe(narrow))
	default:
		r.skip()
		r.require(everyProbe(unsure))
	}
}

// verdict reads a target. The options that follow one belong to it and change
// nothing, so that they are not read.
func (r *iptablesRule) verdict(option, target string) {
	r.words = nil
	switch target {
	case "ACCEPT":
		r.rule.verdict = verdictAccept
	case "DROP":
		r.rule.verdict = verdictDrop
	case "REJECT":
		r.rule.verdict = verdictReject
	case "RETURN":
		r.rule.verdict = verdictReturn
	case "LOG", "NFLOG", "ULOG", "AUDIT", "MARK", "CONNMARK", "SET", "TCPMSS":
	case "QUEUE", "NFQUEUE", "":
		r.rule.verdict = verdictObscure
	default:
		// A chain, or an extension: the walk finds no chain then, and is unsure.
		r.rule.verdict, r.rule.target = verdictJump, target
		if option == "-g" {
			r.rule.verdict = verdictGoto
		}
	}
}

func wildcard(name string) string {
	if prefix, ok := strings.CutSuffix(name, "+"); ok {
		return prefix + "*"
	}
	return name
}

// iptablesValues reads a list: words, numbers and low:high.
func iptablesValues(list string) []nftValue {
	var values []nftValue
	for word := range strings.SplitSeq(list, ",") {
		v := nftValue{word: word, prefix: -1}
		low, high, ranged := strings.Cut(word, ":")
		if n, err := strconv.Atoi(low); err == nil {
			v.word, v.low, v.high, v.isNumber = "", n, n, true
			if ranged {
				v.isNumber, v.ranged = false, true
				v.high, err = strconv.Atoi(high)
				if err != nil {
					v.low, v.high = -1, -1
				}
			}
		}
		values = append(values, v)
	}
	return values
}

// iptablesAddress reads ADDRESS/PREFIX or ADDRESS/MASK.
func iptablesAddress(field, word string) certainty {
	address, mask, found := strings.Cut(word, "/")
	v := nftValue{word: address, prefix: -1}
	if found {
		n, err := strconv.Atoi(mask)
		if err != nil {
			return unsure
		}
		v.prefix = n
	}
	return addressShare(field, []nftValue{v})
}

// iptablesWords splits a line at blanks; a word in double quotes may hold
// blanks and escaped characters.
func iptablesWords(line string) ([]string, error) {
	var words []string
	var word []byte
	quoted, started := false, false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '"':
			quoted, started = !quoted, true
		case c == '\\' && quoted && i+1 < len(line):
			i++
			word = append(word, line[i])
		case c == ' ' && !quoted:
			if started {
				words = append(words, string(word))
			}
			word, started = word[:0], false
		default:
			word, started = append(word, c), true
		}
	}
	if quoted {
		return nil, fmt.Errorf("%w: open quote in iptables-save", errUnparsable)
	}
	if started {
		words = append(words, string(word))
	}
	return slices.Clip(words), nil
}
