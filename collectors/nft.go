package collectors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The JSON form is that of libnftables-json(5), schema version 1.

// nftSchema is the only version of the JSON form that is read.
const nftSchema = 1

// maxNftDepth is how deep the JSON may nest; real rulesets need about twelve.
const maxNftDepth = 32

var (
	errNftForm   = fmt.Errorf("%w: not the JSON of nft list ruleset", errUnparsable)
	errRuleLimit = fmt.Errorf("%w: more chains or rules than are read", errUnparsable)
)

// nftItem is one member of the list; exactly one field is set.
type nftItem struct {
	MetaInfo *struct {
		Schema int `json:"json_schema_version"`
	}
	Table *map[string]json.RawMessage
	Chain *nftChain
	Rule  *nftRule
	Set   *nftSet
	Map   *nftSet
}

// UnmarshalJSON refuses an item of a kind that is not in the schema: a rule
// that is overlooked may be the one that lets everybody in.
func (i *nftItem) UnmarshalJSON(b []byte) error {
	name, value, err := oneMember(b)
	if err != nil {
		return err
	}
	switch name {
	case "metainfo":
		return json.Unmarshal(value, &i.MetaInfo)
	case "table":
		return json.Unmarshal(value, &i.Table)
	case "chain":
		return json.Unmarshal(value, &i.Chain)
	case "rule":
		return json.Unmarshal(value, &i.Rule)
	case "set":
		return json.Unmarshal(value, &i.Set)
	case "map":
		return json.Unmarshal(value, &i.Map)
	case "element", "flowtable", "counter", "quota", "limit", "secmark", "synproxy",
		"ct helper", "ct timeout", "ct expectation", "tunnel", "meter":
		return nil // decide nothing
	}
	return fmt.Errorf("%w: an item of an unknown kind", errNftForm)
}

type nftChain struct {
	Family string `json:"family"`
	Table  string `json:"table"`
	Name   string `json:"name"`
	Type   string `json:"type"`
	Hook   string `json:"hook"`
	Policy string `json:"policy"`
}

type nftRule struct {
	Family string            `json:"family"`
	Table  string            `json:"table"`
	Chain  string            `json:"chain"`
	Expr   []json.RawMessage `json:"expr"`
}

type nftSet struct {
	Family string            `json:"family"`
	Table  string            `json:"table"`
	Name   string            `json:"name"`
	Elem   []json.RawMessage `json:"elem"`
}

// nftRuleset is a ruleset while it is read.
type nftRuleset struct {
	chains  filterRules
	sets    map[chainKey][]json.RawMessage
	count   int
	foreign bool // holds rules of iptables-nft that only iptables-save can read
}

// parseNft reads what `nft -j list ruleset` prints. The second result says that
// some rules are iptables' own and opaque here. Objects that are no tables,
// chains, rules or sets (counters, helpers, flow tables) decide nothing.
func parseNft(b []byte) (filterRules, bool, error) {
	items, err := nftItems(b)
	if err != nil {
		return nil, false, err
	}
	r := nftRuleset{chains: filterRules{}, sets: map[chainKey][]json.RawMessage{}}
	tables := map[chainKey]nftTable{}
	for _, item := range items {
		switch {
		case item.Table != nil:
			key, table := readNftTable(*item.Table)
			tables[key] = table
		case item.Chain != nil:
			err = r.addChain(item.Chain, tables)
		case item.Set != nil:
			r.addSet(item.Set)
		case item.Map != nil:
			r.addSet(item.Map)
		}
		if err != nil {
			return nil, false, err
		}
	}
	// Rules may name chains and sets that come after them.
	for _, item := range items {
		if item.Rule == nil {
			continue
		}
		if err := r.addRule(item.Rule); err != nil {
			return nil, false, err
		}
	}
	return r.chains, r.foreign, nil
}

func nftItems(b []byte) ([]nftItem, error) {
	if err := jsonDepth(b, maxNftDepth); err != nil {
		return nil, err
	}
	var doc struct {
		Items []nftItem `json:"nftables"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&doc); err != nil {
		return nil, fmt.Errorf("%w: %w", errNftForm, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: something follows it", errNftForm)
	}
	if len(doc.Items) == 0 || doc.Items[0].MetaInfo == nil || doc.Items[0].MetaInfo.Schema != nftSchema {
		return nil, fmt.Errorf("%w: no metainfo of schema %d", errNftForm, nftSchema)
	}
	return doc.Items, nil
}

// jsonDepth refuses what nests deeper than limit, before anything is built of
// it.
func jsonDepth(b []byte, limit int) error {
	d := json.NewDecoder(bytes.NewReader(b))
	for depth := 0; ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errNftForm, err)
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			if depth++; depth > limit {
				return fmt.Errorf("%w: nested deeper than %d", errNftForm, limit)
			}
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

// nftTable says whether the chains of a table are at work.
type nftTable uint8

const (
	tableWorks nftTable = iota + 1
	tableDormant
	// tableObscure has a flag or member that we do not know. nft 1.0.6 prints
	// the table's name in place of a flag.
	tableObscure
)

func readNftTable(members map[string]json.RawMessage) (chainKey, nftTable) {
	var key chainKey
	state := tableWorks
	for name, value := range members {
		switch name {
		case "family":
			_ = json.Unmarshal(value, &key.family) // a wrong type leaves chains without a table
		case "name":
			_ = json.Unmarshal(value, &key.table)
		case "handle", "comment":
		case "flags":
			state = max(state, nftFlags(value))
		default:
			state = tableObscure
		}
	}
	return key, state
}

// nftFlags reads a table's flags: a word or a list of words.
func nftFlags(value json.RawMessage) nftTable {
	var words []string
	if json.Unmarshal(value, &words) != nil {
		words = make([]string, 1)
		if json.Unmarshal(value, &words[0]) != nil {
			return tableObscure
		}
	}
	state := tableWorks
	for _, word := range words {
		switch word {
		case "dormant":
			state = max(state, tableDormant)
		case "owner", "persist":
		default:
			state = tableObscure
		}
	}
	return state
}

func (r *nftRuleset) addChain(c *nftChain, tables map[chainKey]nftTable) error {
	key := chainKey{c.Family, c.Table, c.Name}
	table, ok := tables[chainKey{c.Family, c.Table, ""}]
	if _, twice := r.chains[key]; twice || !ok {
		return fmt.Errorf("%w: chain %q twice or without its table", errNftForm, c.Name)
	}
	if len(r.chains) == maxChains {
		return errRuleLimit
	}
	chain := &filterChain{input: c.Type == "filter" && c.Hook == "input" && table != tableDormant}
	switch c.Policy {
	case "drop":
		chain.policy = verdictDrop
	case "accept":
		chain.policy = verdictAccept
	default:
		chain.policy = verdictObscure
	}
	if table == tableObscure {
		chain.rules = []filterRule{{when: everyProbe(always), verdict: verdictObscure}}
	}
	r.chains[key] = chain
	return nil
}

func (r *nftRuleset) addSet(s *nftSet) {
	r.sets[chainKey{s.Family, s.Table, s.Name}] = s.Elem
}

// addRule appends the rules that one nft rule stands for: a verdict map is as
// many as it has elements.
func (r *nftRuleset) addRule(n *nftRule) error {
	key := chainKey{n.Family, n.Table, n.Chain}
	chain, ok := r.chains[key]
	if !ok || len(n.Expr) == 0 {
		return fmt.Errorf("%w: rule without its chain or without a statement", errNftForm)
	}
	w := everyProbe(always)
	for _, raw := range n.Expr {
		if r.count++; r.count > maxRules {
			return errRuleLimit
		}
		name, value, err := oneMember(raw)
		if err != nil {
			return err
		}
		if name == "xt" {
			r.foreign = true
		}
		if name == "vmap" {
			chain.rules = append(chain.rules, r.verdictMap(key, w, value)...)
			continue
		}
		rule, ends := nftVerdict(name, value)
		if ends {
			rule.when = w
			chain.rules = append(chain.rules, rule)
			continue
		}
		passes, known := r.statement(key, name, value)
		if !known {
			// It may be a verdict of a later nft.
			chain.rules = append(chain.rules, filterRule{when: w, verdict: verdictObscure})
		}
		w = w.and(passes)
	}
	return nil
}

// oneMember takes an object with exactly one member apart.
func oneMember(raw json.RawMessage) (string, json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	open, err := d.Token()
	if err != nil || open != json.Delim('{') {
		return "", nil, fmt.Errorf("%w: a statement is no object", errNftForm)
	}
	token, err := d.Token()
	name, ok := token.(string)
	if err != nil || !ok {
		return "", nil, fmt.Errorf("%w: a statement without a name", errNftForm)
	}
	var value json.RawMessage
	if err := d.Decode(&value); err != nil || d.More() {
		return "", nil, fmt.Errorf("%w: a statement with two names", errNftForm)
	}
	return name, value, nil
}

// nftVerdict reads a statement that ends a rule.
func nftVerdict(name string, value json.RawMessage) (filterRule, bool) {
	switch name {
	case "accept":
		return filterRule{verdict: verdictAccept}, true
	case "drop":
		return filterRule{verdict: verdictDrop}, true
	case "reject":
		return filterRule{verdict: verdictReject}, true
	case "return":
		return filterRule{verdict: verdictReturn}, true
	case "continue":
		return filterRule{verdict: verdictNone}, true
	case "queue":
		return filterRule{verdict: verdictObscure}, true
	case "jump", "goto":
		var to struct {
			Target string `json:"target"`
		}
		if json.Unmarshal(value, &to) != nil {
			return filterRule{verdict: verdictObscure}, true
		}
		if name == "goto" {
			return filterRule{verdict: verdictGoto, target: to.Target}, true
		}
		return filterRule{verdict: verdictJump, target: to.Target}, true
	case "xt":
		return xtVerdict(value)
	}
	return filterRule{}, false
}

// xtVerdict reads a target of iptables-nft, of which only the name is told.
func xtVerdict(value json.RawMessage) (filterRule, bool) {
	var xt struct{ Type, Name string }
	if json.Unmarshal(value, &xt) != nil || xt.Type != "target" {
		return filterRule{}, false
	}
	switch xt.Name {
	case "REJECT":
		return filterRule{verdict: verdictReject}, true
	case "LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "SET", "AUDIT":
		return filterRule{}, true
	}
	return filterRule{verdict: verdictObscure}, true
}

// verdictMap makes one rule of each element of a vmap statement.
func (r *nftRuleset) verdictMap(key chainKey, w when, value json.RawMessage) []filterRule {
	obscure := []filterRule{{when: w.and(everyProbe(unsure)), verdict: verdictObscure}}
	var vmap struct {
		Key  json.RawMessage `json:"key"`
		Data json.RawMessage `json:"data"`
	}
	if json.Unmarshal(value, &vmap) != nil {
		return obscure
	}
	elems, ok := r.elements(key, vmap.Data)
	if !ok || len(elems) == 0 {
		return obscure
	}
	var rules []filterRule
	for _, elem := range elems {
		var pair []json.RawMessage
		if json.Unmarshal(elem, &pair) != nil || len(pair) != 2 {
			return obscure
		}
		name, value, err := oneMember(pair[1])
		if err != nil {
			return obscure
		}
		rule, ends := nftVerdict(name, value)
		if r.count++; !ends || r.count > maxRules {
			return obscure
		}
		rule.when = w.and(r.match(key, vmap.Key, "==", pair[0]))
		rules = append(rules, rule)
	}
	return rules
}
