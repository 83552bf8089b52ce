package collectors

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/attest/posture"
)

// nftState judges a ruleset by itself: what nft printed and nothing else.
func nftState(b []byte) posture.State {
	rules, _, err := parseNft(b)
	f := firewallFacts{rules: rules, missing: err}
	state, _, _ := f.judge()
	return state
}

// wordsAndNumbers marks the bytes of string values and numbers. Names and
// amounts are the ruleset's own; without one byte they are other names and
// amounts, and a rule for half of the ports may become one for a few.
func wordsAndNumbers(b []byte) []bool {
	marks := make([]bool, len(b))
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err != nil {
			return marks
		}
		end := int(d.InputOffset())
		size := 0
		switch v := token.(type) {
		case string:
			start := stringStart(b, end)
			rest := bytes.TrimLeft(b[end:], " \t\r\n")
			if len(rest) == 0 || rest[0] != ':' {
				size = end - start
			}
		case json.Number:
			size = len(v)
		}
		for i := end - size; i < end; i++ {
			marks[i] = true
		}
	}
}

// stringStart finds the opening quote of the string that ends before end.
func stringStart(b []byte, end int) int {
	for i := end - 2; i >= 0; i-- {
		if b[i] != '"' {
			continue
		}
		slashes := 0
		for j := i - 1; j >= 0 && b[j] == '\\'; j-- {
			slashes++
		}
		if slashes%2 == 0 {
			return i
		}
	}
	return 0
}

func seeds(t testing.TB, pattern string) [][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "firewall", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no seeds %s: %v", pattern, err)
	}
	var all [][]byte
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// FuzzNFT: whatever bytes come, removing one never makes the firewall better.
func FuzzNFT(f *testing.F) {
	for _, seed := range seeds(f, "nft-*.json") {
		f.Add(seed, uint(len(seed)/2))
	}
	f.Fuzz(func(t *testing.T, b []byte, at uint) {
		if len(b) == 0 || len(b) > 64<<10 {
			return
		}
		whole := nftState(b)
		i := int(at % uint(len(b)))
		if wordsAndNumbers(b)[i] {
			return
		}
		cut := append(bytes.Clone(b[:i]), b[i+1:]...)
		if whole != posture.Yes && nftState(cut) == posture.Yes {
			t.Errorf("without byte %d: yes, was %v\n%s", i, whole, b)
		}
	})
}

// TestNftWithoutAByte removes every byte of every captured ruleset, those in
// words too; digits alone are spared, and so are the longest rulesets.
func TestNftWithoutAByte(t *testing.T) {
	for _, b := range seeds(t, "nft-*.json") {
		if nftState(b) == posture.Yes || len(b) > 1000 {
			continue
		}
		// What comes before the first chain is the same in all of them.
		for i := max(0, bytes.Index(b, []byte(`{"chain"`))); i < len(b); i++ {
			if b[i] >= '0' && b[i] <= '9' {
				continue
			}
			cut := append(bytes.Clone(b[:i]), b[i+1:]...)
			if nftState(cut) == posture.Yes {
				t.Errorf("without byte %d (%q): yes\n%s", i, b[max(0, i-40):min(len(b), i+40)], b)
			}
		}
	}
}

// TestNftCut: no beginning of a ruleset is good, or bad: it is not understood.
func TestNftCut(t *testing.T) {
	for _, b := range seeds(t, "nft-*.json") {
		b = bytes.TrimSpace(b)
		for i := 0; i < len(b); i += 7 {
			if got := nftState(b[:i]); got != posture.Unknown {
				t.Fatalf("first %d bytes: %v", i, got)
			}
		}
	}
}

func TestNftHostile(t *testing.T) {
	meta := `{"metainfo":{"json_schema_version":1}}`
	table := `{"table":{"family":"inet","name":"t","handle":1}}`
	chain := func(name, more string) string {
		return `{"chain":{"family":"inet","table":"t","name":"` + name + `"` + more + `}}`
	}
	base := `,"type":"filter","hook":"input","prio":0,"policy":"drop"`
	rule := func(chain, expr string) string {
		return `{"rule":{"family":"inet","table":"t","chain":"` + chain + `","expr":[` + expr + `]}}`
	}
	doc := func(items ...string) string { return `{"nftables":[` + strings.Join(items, ",") + `]}` }
	deep := strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
	for name, tt := range map[string]struct {
		doc  string
		want posture.State
	}{
		"whole":            {doc(meta, table, chain("in", base)), posture.Yes},
		"dormant":          {doc(meta, strings.Replace(table, `"handle":1`, `"flags":["dormant"]`, 1), chain("in", base)), posture.No},
		"owned":            {doc(meta, strings.Replace(table, `"handle":1`, `"flags":"owner"`, 1), chain("in", base)), posture.Yes},
		"no schema":        {doc(table, chain("in", base)), posture.Unknown},
		"other schema":     {doc(`{"metainfo":{"json_schema_version":2}}`, table, chain("in", base)), posture.Unknown},
		"chain twice":      {doc(meta, table, chain("in", base), chain("in", base)), posture.Unknown},
		"no table":         {doc(meta, chain("in", base)), posture.Unknown},
		"unknown item":     {doc(meta, table, chain("in", base), `{"rul":{}}`), posture.Unknown},
		"two members":      {doc(meta, table, chain("in", base), rule("in", `{"accept":null,"drop":null}`)), posture.Unknown},
		"empty rule":       {doc(meta, table, chain("in", base), rule("in", ``)), posture.Unknown},
		"jump to nowhere":  {doc(meta, table, chain("in", base), rule("in", `{"jump":{"target":"x"}}`)), posture.Unknown},
		"jump to itself":   {doc(meta, table, chain("in", base), rule("in", `{"jump":{"target":"in"}}`)), posture.Unknown},
		"loop":             {doc(meta, table, chain("in", base), chain("a", ""), chain("b", ""), rule("in", `{"jump":{"target":"a"}}`), rule("a", `{"jump":{"target":"b"}}`), rule("b", `{"goto":{"target":"a"}}`)), posture.Unknown},
		"queue":            {doc(meta, table, chain("in", base), rule("in", `{"queue":{"num":1}}`)), posture.Unknown},
		"unknown accepts":  {doc(meta, table, chain("in", base), rule("in", `{"sorcery":1},{"accept":null}`)), posture.Unknown},
		"unknown drops":    {doc(meta, table, chain("in", base), rule("in", `{"sorcery":1},{"drop":null}`)), posture.Unknown},
		"unknown at end":   {doc(meta, table, chain("in", base), rule("in", `{"sorcery":1}`)), posture.Unknown},
		"trailing":         {doc(meta, table, chain("in", base)) + `{}`, posture.Unknown},
		"deep":             {doc(meta, table, chain("in", base), deep), posture.Unknown},
		"missing set":      {doc(meta, table, chain("in", base), rule("in", `{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":"@s"}},{"accept":null}`)), posture.Unknown},
		"number too large": {doc(meta, table, chain("in", base), rule("in", `{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":99999999999999999999}},{"accept":null}`)), posture.Unknown},
		"range backwards":  {doc(meta, table, chain("in", base), rule("in", `{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":{"range":[65535,1]}}},{"accept":null}`)), posture.Unknown},
	} {
		if got := nftState([]byte(tt.doc)); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// TestNftLarge: the work grows with the rules, whatever they jump to.
func TestNftLarge(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"nftables":[{"metainfo":{"json_schema_version":1}},{"table":{"family":"inet","name":"t"}},` +
		`{"chain":{"family":"inet","table":"t","name":"c0","type":"filter","hook":"input","policy":"drop"}}`)
	for i := 1; i < 15; i++ {
		b.WriteString(`,{"chain":{"family":"inet","table":"t","name":"c` + string(rune('a'+i)) + `"}}`)
	}
	for range 20 {
		for i := range 14 {
			from := "c" + string(rune('a'+i))
			if i == 0 {
				from = "c0"
			}
			b.WriteString(`,{"rule":{"family":"inet","table":"t","chain":"` + from + `","expr":[{"jump":{"target":"c` + string(rune('b'+i)) + `"}}]}}`)
		}
	}
	b.WriteString(`]}`)
	if got := nftState([]byte(b.String())); got != posture.Yes {
		t.Errorf("20 jumps a chain, 14 deep: %v", got)
	}
}

// TestIptablesHostile: what is cut, quoted or invented is never a refusal that
// was not there.
func TestIptablesHostile(t *testing.T) {
	head := "*filter\n:INPUT DROP [0:0]\n"
	for name, tt := range map[string]struct {
		save string
		want posture.State
	}{
		"whole":         {head + "COMMIT\n", posture.Yes},
		"no COMMIT":     {head, posture.Unknown},
		"open quote":    {head + "-A INPUT -m comment --comment \"x -j ACCEPT\nCOMMIT\n", posture.Unknown},
		"quoted target": {head + "-A INPUT -m comment --comment \"\\\" -j ACCEPT\" -j DROP\nCOMMIT\n", posture.Yes},
		"other line":    {head + "-I INPUT -j ACCEPT\nCOMMIT\n", posture.Unknown},
		"no such chain": {head + "-A INPUTS -j ACCEPT\nCOMMIT\n", posture.Unknown},
		"no such jump":  {head + "-A INPUT -j NOWHERE\nCOMMIT\n", posture.Unknown},
		"card":          {head + "-A INPUT -i eth0 -j ACCEPT\nCOMMIT\n", posture.No},
		"not loopback":  {"*filter\n:INPUT ACCEPT [0:0]\n-A INPUT ! -i lo -j DROP\nCOMMIT\n", posture.Yes},
		"wild card":     {head + "-A INPUT -i virbr+ -j ACCEPT\nCOMMIT\n", posture.Yes},
		"any card":      {head + "-A INPUT -i + -j ACCEPT\nCOMMIT\n", posture.No},
		"all ports":     {head + "-A INPUT -p tcp -m tcp --dport 1:65535 -j ACCEPT\nCOMMIT\n", posture.No},
		"bad ports":     {head + "-A INPUT -p tcp -m tcp --dport 1:x -j ACCEPT\nCOMMIT\n", posture.Unknown},
		"half of all":   {head + "-A INPUT -s 128.0.0.0/1 -j ACCEPT\nCOMMIT\n", posture.No},
		"some":          {head + "-A INPUT -s 192.0.2.0/24 -j ACCEPT\nCOMMIT\n", posture.Yes},
		"all but some":  {head + "-A INPUT ! -s 192.0.2.0/24 -j ACCEPT\nCOMMIT\n", posture.No},
		"limited":       {head + "-A INPUT -m limit --limit 10/sec -j ACCEPT\nCOMMIT\n", posture.No},
		"raw table":     {"*raw\n:PREROUTING DROP [0:0]\nCOMMIT\n", posture.No},
		"empty":         {"", posture.No},
	} {
		rules, err := parseIptables("ip", []byte(tt.save))
		f := firewallFacts{rules: rules, missing: err, noIPv6: true}
		if got, _, _ := f.judge(); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
