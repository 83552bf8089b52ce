package collectors

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// statement says how surely a packet passes a statement that is no verdict;
// false for one that we do not know.
func (r *nftRuleset) statement(key chainKey, name string, value json.RawMessage) (when, bool) {
	switch name {
	case "counter", "log", "comment", "mangle", "notrack", "ct helper", "ct timeout", "secmark", "dup",
		"set", "flow", "last":
		return everyProbe(always), true
	case "limit", "quota", "ct count", "meter":
		// Some packets pass: too many to call it a refusal, too few to drop all.
		return everyProbe(wide), true
	case "xt":
		return everyProbe(unsure), true
	case "match":
		var m struct {
			Op    string          `json:"op"`
			Left  json.RawMessage `json:"left"`
			Right json.RawMessage `json:"right"`
		}
		if json.Unmarshal(value, &m) == nil {
			return r.match(key, m.Left, m.Op, m.Right), true
		}
	}
	return everyProbe(unsure), false
}

// nftLeft is what a match looks at; one of its fields is set.
type nftLeft struct {
	Meta    *struct{ Key string }
	CT      *struct{ Key string }
	Payload *struct{ Protocol, Field string }
	FIB     *struct {
		Result string
		Flags  json.RawMessage
	}
	And []json.RawMessage `json:"&"`
}

// match says how surely `left op right` holds. What it cannot read is unsure.
func (r *nftRuleset) match(key chainKey, left json.RawMessage, op string, right json.RawMessage) when {
	var l nftLeft
	if json.Unmarshal(left, &l) != nil {
		return everyProbe(unsure)
	}
	if protocol := nftMaskedTCP(l); protocol {
		return everyProbe(wide).only(probe.tcp)
	}
	values, ok := r.values(key, right)
	if !ok || len(values) == 0 {
		return everyProbe(unsure)
	}
	var w when
	switch op {
	case "==", "in", "!=":
		w = matchEqual(l, values)
	case "<", ">", "<=", ">=":
		return matchOrder(l, op, values)
	default:
		return everyProbe(unsure)
	}
	if op == "!=" {
		return negated(l, w)
	}
	return w
}

// nftMaskedTCP reports whether l is the TCP flags under a mask.
func nftMaskedTCP(l nftLeft) bool {
	if len(l.And) == 0 {
		return false
	}
	var inner nftLeft
	return json.Unmarshal(l.And[0], &inner) == nil && inner.Payload != nil &&
		inner.Payload.Protocol == "tcp" && inner.Payload.Field == "flags"
}

// negated is w for the operator !=. A field of a protocol that the probe does
// not have matches under neither operator.
func negated(l nftLeft, w when) when {
	if l.Payload == nil {
		return w.not()
	}
	return w.not().only(carries(l.Payload.Protocol))
}

// matchEqual says how surely the field is one of the values.
func matchEqual(l nftLeft, values []nftValue) when {
	switch {
	case l.Meta != nil:
		return metaEqual(l.Meta.Key, values)
	case l.CT != nil && l.CT.Key == "state":
		return oneOf(values, []string{"new"}, []string{"established", "related", "invalid", "untracked"})
	case l.CT != nil && (l.CT.Key == "mark" || l.CT.Key == "status"):
		return everyProbe(narrow)
	case l.FIB != nil && l.FIB.Result == "type":
		return oneOf(values, []string{"local"}, []string{"broadcast", "multicast", "anycast", "unicast"})
	case l.Payload != nil:
		return payloadEqual(l.Payload.Protocol, l.Payload.Field, values)
	}
	return everyProbe(unsure)
}

// oneOf is always when a value is among yes, never when all are among no.
func oneOf(values []nftValue, yes, no []string) when {
	c := never
	for _, v := range values {
		switch {
		case slices.Contains(yes, v.word):
			return everyProbe(always)
		case !slices.Contains(no, v.word):
			c = unsure
		}
	}
	return everyProbe(c)
}

func metaEqual(field string, values []nftValue) when {
	switch field {
	case "iif", "iifname":
		for _, v := range values {
			if v.word == "" {
				return everyProbe(unsure)
			}
			if !isPrivateInterface(v.word) {
				return everyProbe(wide)
			}
		}
		return everyProbe(never)
	case "l4proto":
		return protocolEqual(values)
	case "nfproto", "protocol":
		return familyEqual(values)
	case "pkttype":
		return oneOf(values, []string{"host", "unicast"}, []string{"broadcast", "multicast", "other"})
	case "mark", "skuid", "skgid", "cgroup":
		return everyProbe(narrow)
	}
	return everyProbe(unsure)
}

func protocolEqual(values []nftValue) when {
	w := everyProbe(never)
	for _, v := range values {
		switch v.text() {
		case "tcp", "6":
			w[tcp4], w[tcp6] = always, always
		case "udp", "17":
			w[udp4], w[udp6] = always, always
		case "icmp", "1", "ipv6-icmp", "icmpv6", "58", "igmp", "2", "esp", "50", "ah", "51", "gre", "47", "sctp", "132", "udplite", "136", "dccp", "33", "comp", "108":
		default:
			return everyProbe(unsure)
		}
	}
	return w
}

func familyEqual(values []nftValue) when {
	w := everyProbe(never)
	for _, v := range values {
		switch v.text() {
		case "ipv4", "ip", "2048":
			w[tcp4], w[udp4] = always, always
		case "ipv6", "ip6", "34525":
			w[tcp6], w[udp6] = always, always
		default:
			return everyProbe(unsure)
		}
	}
	return w
}

// carries says which probes have a header of the protocol.
func carries(protocol string) func(probe) bool {
	return func(p probe) bool {
		switch protocol {
		case "tcp":
			return p.tcp()
		case "udp":
			return !p.tcp()
		case "ip":
			return !p.v6()
		case "ip6":
			return p.v6()
		case "icmp", "icmpv6", "igmp", "sctp", "esp", "ah", "udplite", "dccp", "comp":
			return false
		}
		return true
	}
}

func payloadEqual(protocol, field string, values []nftValue) when {
	keep := carries(protocol)
	switch {
	case field == "dport" || field == "sport":
		return everyProbe(portShare(values)).only(keep)
	case (protocol == "ip" && field == "protocol") || (protocol == "ip6" && field == "nexthdr"):
		return protocolEqual(values).only(keep)
	case (protocol == "ip" || protocol == "ip6") && (field == "saddr" || field == "daddr"):
		return everyProbe(addressShare(field, values)).only(keep)
	case protocol == "tcp" && field == "flags":
		return everyProbe(wide).only(keep)
	case !keep(tcp4) && !keep(udp4) && !keep(tcp6) && !keep(udp6):
		return everyProbe(never)
	case protocol == "ether" && field == "saddr":
		return everyProbe(narrow)
	}
	return everyProbe(unsure)
}

// widePorts is how many ports a rule must name to be wide: half of them.
const widePorts = 32768

// portShare tells a rule for a few ports from one that opens most of them.
func portShare(values []nftValue) certainty {
	sum := 0
	for _, v := range values {
		low, high, ok := v.numbers()
		if !ok {
			return unsure
		}
		sum += high - low + 1
	}
	if sum >= widePorts {
		return wide
	}
	return narrow
}

// wideBits is the longest prefix that still stands for most of the Internet.
const wideBits = 3

// addressShare tells a rule for some addresses from one for most of them. A
// rule for destinations is wide, since our own address is one, unless they are
// groups.
func addressShare(field string, values []nftValue) certainty {
	c := narrow
	for _, v := range values {
		switch {
		case v.prefix >= 0 && v.prefix <= wideBits, v.ranged && field == "saddr":
			return wide
		case !v.ranged && !isAddress(v.word):
			return unsure
		case field == "daddr" && !isGroup(v.word):
			c = wide
		}
	}
	return c
}

func isAddress(word string) bool {
	_, err := netip.ParseAddr(word)
	return err == nil
}

// isGroup reports whether an address is multicast or broadcast.
func isGroup(address string) bool {
	first, _, dotted := strings.Cut(address, ".")
	n, err := strconv.Atoi(first)
	if dotted && err == nil {
		return n >= 224
	}
	return strings.HasPrefix(strings.ToLower(address), "ff") && strings.Contains(address, ":")
}

// matchOrder handles comparisons, which rules use for ports only.
func matchOrder(l nftLeft, op string, values []nftValue) when {
	if l.Payload == nil || (l.Payload.Field != "dport" && l.Payload.Field != "sport") || len(values) != 1 {
		return everyProbe(unsure)
	}
	n, _, ok := values[0].numbers()
	if !ok {
		return everyProbe(unsure)
	}
	v := nftValue{ranged: true, low: 0, high: n}
	if strings.HasPrefix(op, ">") {
		v.low, v.high = n, 65535
	}
	return everyProbe(portShare([]nftValue{v})).only(carries(l.Payload.Protocol))
}

// nftValue is one value on the right of a match: a word, a number, a range of
// numbers or an address with its prefix length.
type nftValue struct {
	word      string
	low, high int
	isNumber  bool
	ranged    bool
	prefix    int // -1: none
}

func (v nftValue) text() string {
	if v.isNumber {
		return strconv.Itoa(v.low)
	}
	return v.word
}

// numbers returns the ports that v stands for.
func (v nftValue) numbers() (low, high int, ok bool) {
	if !v.isNumber && !v.ranged {
		return 0, 0, false
	}
	ok = v.low >= 0 && v.low <= v.high && v.high <= 65535
	return v.low, v.high, ok
}

// values reads the right side of a match; false when a part is not understood.
func (r *nftRuleset) values(key chainKey, raw json.RawMessage) ([]nftValue, bool) {
	elems, ok := r.elements(key, raw)
	if !ok {
		return nil, false
	}
	values := make([]nftValue, 0, len(elems))
	for _, elem := range elems {
		v, ok := parseNftValue(elem)
		if !ok {
			return nil, false
		}
		values = append(values, v)
	}
	return values, true
}

// elements opens a list, an anonymous set or a named one.
func (r *nftRuleset) elements(key chainKey, raw json.RawMessage) ([]json.RawMessage, bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return nil, false
	}
	var elems []json.RawMessage
	if raw[0] == '[' {
		return elems, json.Unmarshal(raw, &elems) == nil
	}
	var word string
	if json.Unmarshal(raw, &word) == nil && strings.HasPrefix(word, "@") {
		elems, ok := r.sets[chainKey{key.family, key.table, word[1:]}]
		return elems, ok
	}
	var set struct {
		Set *[]json.RawMessage `json:"set"`
	}
	if raw[0] == '{' && json.Unmarshal(raw, &set) == nil && set.Set != nil {
		return *set.Set, true
	}
	return []json.RawMessage{raw}, true
}

func parseNftValue(raw json.RawMessage) (nftValue, bool) {
	v := nftValue{prefix: -1}
	if json.Unmarshal(raw, &v.word) == nil {
		return v, v.word != "" && v.word[0] != '@'
	}
	if json.Unmarshal(raw, &v.low) == nil {
		v.high, v.isNumber = v.low, true
		return v, true
	}
	var object struct {
		Range  []json.RawMessage
		Prefix *struct {
			Addr string
			Len  *int
		}
		Elem *struct{ Val json.RawMessage }
	}
	if json.Unmarshal(raw, &object) != nil {
		return v, false
	}
	switch {
	case object.Prefix != nil && object.Prefix.Len != nil:
		v.word, v.prefix = object.Prefix.Addr, *object.Prefix.Len
		return v, v.word != "" && v.prefix >= 0
	case len(object.Range) == 2:
		v.ranged = true
		if json.Unmarshal(object.Range[0], &v.low) == nil && json.Unmarshal(object.Range[1], &v.high) == nil {
			return v, true
		}
		v.low, v.high = -1, -1 // a range of addresses
		return v, true
	case object.Elem != nil:
		var inner nftValue
		inner, ok := parseNftValue(object.Elem.Val)
		return inner, ok
	}
	return v, false
}
