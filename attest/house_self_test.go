package attest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// cleanHouse is a small tree that keeps every rule.
func cleanHouse() fstest.MapFS {
	files := map[string]string{
		"go.mod":                       "module muster\n\ngo 1.26\n",
		"attest/posture/posture.go":    "// Package posture is.\npackage posture\n\n// Report is.\ntype Report struct{}\n",
		"attest/attest.go":             "// Package attest is.\npackage attest\n\nimport \"muster/attest/posture\"\n\n// R is.\ntype R = posture.Report\n",
		"agent/agent.go":               "// Package agent is.\npackage agent\n\nimport (\n\t_ \"encoding/json\"\n\t_ \"muster/attest\"\n)\n",
		"agent/cmd/muster-agent/m.go":  "// Muster-agent is.\npackage main\n\nimport _ \"muster/agent\"\n\nfunc main() {}\n",
		"agent/agent_test.go":          "package agent\n\nimport (\n\t_ \"os/exec\"\n\t_ \"muster/server\"\n\t_ \"example.org/anything\"\n)\n",
		"server/server.go":             "// Package server is.\npackage server\n\nvar _ = 1\n\nfunc f() { _ = 1 }\n",
		"server/bench/go.mod":          "module bench\n",
		"server/bench/bench.go":        "package bench\n\nimport \"C\"\n",
		"server/testdata/x/broken.go":  "this is not Go",
		".cache/x.go":                  "nor is this",
		"attest/tpmtest/tpmtest.go":    "// Package tpmtest is.\npackage tpmtest\n\nimport _ \"os/exec\"\n",
		"attest/posture/p_windows.go":  "package posture\n",
		"server/store/README.md":       "plain\n",
		"server/verify/verify_test.go": "package verify\n\nimport _ \"muster/attest/tpmtest\"\n",
	}
	tree := fstest.MapFS{}
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return tree
}

func TestHouseRulesPassACleanTree(t *testing.T) {
	tree, err := readHouse(cleanHouse())
	if err != nil {
		t.Fatal(err)
	}
	for _, breach := range tree.checkHouse(houseTable()) {
		t.Error(breach)
	}
}

// houseCase is one change to the clean tree, and the one breach that it makes.
type houseCase struct {
	name, rule, at string
	path, text     string
}

func houseImporting(pkg string, paths ...string) string {
	text := "// Package " + pkg + " is.\npackage " + pkg + "\n\n"
	for _, p := range paths {
		text += fmt.Sprintf("import _ %q\n", p)
	}
	return text
}

func houseBlank(n int) string { return strings.Repeat("\n", n) }

func houseImportCases() []houseCase {
	return []houseCase{
		{"no row", ruleUnknown, "server/odd/odd.go:2", "server/odd/odd.go", houseImporting("odd")},
		{"no row, at the root", ruleUnknown, "odd.go:2", "odd.go", houseImporting("odd")},
		{"server imports agent", ruleImport, "server/x.go:4", "server/x.go", houseImporting("server", "muster/agent")},
		{"agent imports server", ruleImport, "agent/x.go:4", "agent/x.go", houseImporting("agent", "muster/server")},
		{"another system's file", ruleImport, "agent/x_windows.go:4", "agent/x_windows.go", houseImporting("agent", "muster/collectors")},
		{"behind a tag", ruleImport, "agent/x.go:6", "agent/x.go", "//go:build never\n\n" + houseImporting("agent", "muster/collectors")},
		{"a module with no row", ruleForeign, "agent/x.go:4", "agent/x.go", houseImporting("agent", "github.com/evil/x")},
		{"a module of another row", ruleForeign, "server/x.go:4", "server/x.go", houseImporting("server", "cel.dev/cel-go/cel")},
		{"a module whose name begins alike", ruleForeign, "attest/x.go:4", "attest/x.go", houseImporting("attest", "github.com/google/go-tpm/tpm2x")},
		{"TPM commands in the contract", ruleForeign, "attest/x.go:4", "attest/x.go", houseImporting("attest", "github.com/google/go-tpm/tpmutil")},
		{"commands outside platform", ruleGuarded, "agent/x.go:4", "agent/x.go", houseImporting("agent", "os/exec")},
		{"lenient JSON in the contract", ruleGuarded, "attest/x.go:4", "attest/x.go", houseImporting("attest", "encoding/json")},
		{"cgo, even in a test", ruleGuarded, "agent/x_test.go:3", "agent/x_test.go", "package agent\n\nimport \"C\"\n"},
		{"cgo", ruleGuarded, "agent/x.go:4", "agent/x.go", houseImporting("agent", "C")},
		{"a leaf that reads files", rulePure, "attest/posture/x.go:4", "attest/posture/x.go", houseImporting("posture", "os")},
		{"a fixture that ships", ruleTests, "agent/x.go:4", "agent/x.go", houseImporting("agent", "muster/attest/tpmtest")},
		{"decodes a report", ruleDoor, "agent/x.go:8", "agent/x.go", "package agent\n\nimport (\n\t\"encoding/json\"\n\t\"muster/attest/posture\"\n)\n\nfunc f(b []byte) { var r posture.Report; _ = json.Unmarshal(b, &r) }\n"},
		{"decodes a new report", ruleDoor, "agent/x.go:5", "agent/x.go", "package agent\n\nimport p \"muster/attest/posture\"\n\nfunc f(d interface{ Decode(any) error }) { r := new(p.Report); _ = d.Decode(r) }\n"},
		{"decodes by type argument", ruleDoor, "agent/x.go:5", "agent/x.go", "package agent\n\nimport \"muster/attest/posture\"\n\nfunc f(b []byte) { decodeJSON[posture.Report](b) }\n"},
	}
}

func houseCapCases() []houseCase {
	const head = "package agent\n\n"
	exported := head + "// Group.\nconst (\n"
	for i := range capExported + 1 {
		exported += fmt.Sprintf("\tE%d = %d\n", i, i)
	}
	short := head + strings.Repeat("func f() {\n"+houseBlank(capFuncNinetieth)+"}\n", 10)
	return []houseCase{
		{"a long file", ruleLines, "agent/x.go:501", "agent/x.go", "package agent\n" + houseBlank(capFileLines)},
		{"a long test", ruleLines, "agent/x_test.go:801", "agent/x_test.go", "package agent\n" + houseBlank(capTestLines)},
		{"a long main", ruleLines, "agent/cmd/muster-agent/main.go:81", "agent/cmd/muster-agent/main.go", "package main\n" + houseBlank(capMainLines)},
		{"a long function", ruleLines, "agent/x.go:3", "agent/x.go", head + "func f() {\n" + houseBlank(capFuncLines-1) + "}\n"},
		{"many longish functions", ruleMedian, ".", "agent/x.go", short},
		{"a wide interface", ruleInterface, "agent/x.go:3", "agent/x.go", head + "type i interface{ A(); B(); C(); D() }\n"},
		{"a wide interface by embedding", ruleInterface, "agent/x.go:4", "agent/x.go", head + "type i interface{ A(); B() }\ntype j interface{ i; C(); D() }\n"},
		{"an interface without a name", ruleInterface, "agent/x.go:3", "agent/x.go", head + "func f(interface{ A(); B(); C(); D() }) {}\n"},
		{"many names", ruleExported, "agent/agent.go:2", "agent/x.go", exported + ")\n"},
		{"init", ruleInit, "agent/x.go:3", "agent/x.go", head + "func init() {}\n"},
		{"assigned", ruleMutable, "agent/x.go:5", "agent/x.go", head + "var v int\n\nfunc f() { v = 1 }\n"},
		{"counted", ruleMutable, "agent/x.go:5", "agent/x.go", head + "var v int\n\nfunc f() { v++ }\n"},
		{"address taken", ruleMutable, "agent/x.go:5", "agent/x.go", head + "var v int\n\nfunc f() *int { return &v }\n"},
		{"a member assigned", ruleMutable, "agent/x.go:5", "agent/x.go", head + "var v struct{ a []int }\n\nfunc f() { v.a[0] = 1 }\n"},
		{"a map written", ruleMutable, "agent/x.go:5", "agent/x.go", head + "var v = map[int]int{}\n\nfunc f() { v[1] = 1 }\n"},
		{"a map emptied", ruleMutable, "agent/x.go:5", "agent/x.go", head + "var v = map[int]int{}\n\nfunc f() { clear(v) }\n"},
		{"by a range", ruleMutable, "agent/x.go:5", "agent/x.go", head + "var v int\n\nfunc f() { for v = range 3 {} }\n"},
		{"by a test", ruleMutable, "agent/x_test.go:3", "agent/x_test.go", head + "func f() { unset = 1 }\n"},
		{"a lock", ruleMutable, "agent/x.go:3", "agent/x.go", head + "var v sync.Mutex\n"},
		{"an atomic", ruleMutable, "agent/x.go:3", "agent/x.go", head + "var v = &atomic.Pointer[int]{}\n"},
		{"another package's", ruleMutable, "agent/cmd/muster-agent/x.go:5", "agent/cmd/muster-agent/x.go", "package main\n\nimport \"muster/agent\"\n\nfunc f() { agent.Unset = 1 }\n"},
	}
}

func houseDocCases() []houseCase {
	const head = "package agent\n\n"
	return []houseCase{
		{"no package doc", rulePackageDoc, "server/gateway/g.go:1", "server/gateway/g.go", "package gateway\n"},
		{"a doc of another package", rulePackageDoc, "server/gateway/g.go:2", "server/gateway/g.go", "// Package other is.\npackage gateway\n"},
		{"a program without a doc", rulePackageDoc, "server/cmd/muster-server/g.go:1", "server/cmd/muster-server/g.go", "package main\n"},
		{"function", ruleDoc, "agent/x.go:3", "agent/x.go", head + "func F() {}\n"},
		{"method", ruleDoc, "agent/x.go:5", "agent/x.go", head + "// T is.\ntype T[A any] struct{}\nfunc (*T[A]) F() {}\n"},
		{"type", ruleDoc, "agent/x.go:3", "agent/x.go", head + "type T struct{}\n"},
		{"type in a group with a doc", ruleDoc, "agent/x.go:5", "agent/x.go", head + "// Group.\ntype (\n\tT struct{}\n)\n"},
		{"constant", ruleDoc, "agent/x.go:4", "agent/x.go", head + "const (\n\tA = 1\n\t// B is.\n\tB = 2\n\tC = 3 // is\n)\n"},
		{"a file of helpers", ruleName, "agent/http_util.go:1", "agent/http_util.go", "package agent\n"},
		{"a test of helpers", ruleName, "agent/helpers_test.go:1", "agent/helpers_test.go", "package agent\n"},
		{"a glued package name", ruleName, "agent/x.go:1", "agent/x.go", "package httputil\n"},
		{"a manager", ruleName, "agent/x.go:3", "agent/x.go", head + "type keyManager struct{}\n"},
		{"a polite error", ruleError, "agent/x.go:3", "agent/x.go", head + "const e = `Failed to read`\n"},
		{"a registry's host", ruleText, "server/store/README.md:2", "server/store/README.md", "see\nhttps://proxy" + ".golang.org\n"},
		{"a machine's folder", ruleText, ".ci/run:1", ".ci/run", "cd /work" + "/main\n"},
	}
}

// TestHouseRulesCanFail applies each change alone and wants exactly its breach,
// at its line.
func TestHouseRulesCanFail(t *testing.T) {
	seen := map[string]bool{}
	for _, test := range slices.Concat(houseImportCases(), houseCapCases(), houseDocCases()) {
		seen[test.rule] = true
		t.Run(test.rule+"/"+test.name, func(t *testing.T) {
			files := cleanHouse()
			files["agent/vars.go"] = &fstest.MapFile{Data: []byte("package agent\n\n// Unset stays so.\nvar Unset, unset int\n\nfunc _(unset int) { unset = 1; Unset := 2; _ = &Unset }\n")}
			files[test.path] = &fstest.MapFile{Data: []byte(test.text)}
			tree, err := readHouse(files)
			if err != nil {
				t.Fatal(err)
			}
			breaches := tree.checkHouse(houseTable())
			if len(breaches) != 1 || breaches[0].rule != test.rule || breaches[0].at != test.at || breaches[0].why == "" {
				t.Errorf("got %v, want one of [%s] at %s", breaches, test.rule, test.at)
			}
		})
	}
	for _, rule := range []string{ruleUnknown, ruleImport, rulePure, ruleGuarded, ruleForeign, ruleTests, ruleDoor, ruleLines, ruleMedian,
		ruleInterface, ruleExported, ruleInit, ruleMutable, rulePackageDoc, ruleDoc, ruleName, ruleError, ruleText} {
		if !seen[rule] {
			t.Errorf("no case shows that [%s] can fail", rule)
		}
	}
}

// A chain of packages is deeper than the table's: it gets a table of its own.
func TestHouseDepthCanFail(t *testing.T) {
	for depth, want := range map[int]int{capDepth: 0, capDepth + 1: 1} {
		files := fstest.MapFS{"go.mod": {Data: []byte("module muster\n")}}
		table := []houseRow{{dir: "p0", muster: []string{"p1"}, why: "test"}}
		files["p0/main.go"] = &fstest.MapFile{Data: []byte("// Main is.\npackage main\n\nimport _ \"muster/p1\"\n")}
		for i := 1; i <= depth; i++ {
			var next []string
			if i < depth {
				next = []string{fmt.Sprintf("muster/p%d", i+1)}
			}
			table = append(table, houseRow{dir: fmt.Sprintf("p%d", i), muster: []string{fmt.Sprintf("p%d", i+1)}, why: "test"})
			files[fmt.Sprintf("p%d/p.go", i)] = &fstest.MapFile{Data: []byte(houseImporting("p", next...))}
		}
		tree, err := readHouse(files)
		if err != nil {
			t.Fatal(err)
		}
		breaches := tree.checkHouse(table)
		if len(breaches) != want || want == 1 && breaches[0].rule != ruleDepth {
			t.Errorf("depth %d: %v, want %d breaches", depth, breaches, want)
		}
	}
}

func TestHouseMedianFileCanFail(t *testing.T) {
	files := cleanHouse()
	for i := range 20 {
		files[fmt.Sprintf("agent/f%d.go", i)] = &fstest.MapFile{Data: []byte("package agent\n" + houseBlank(capFileMedian))}
	}
	tree, err := readHouse(files)
	if err != nil {
		t.Fatal(err)
	}
	if breaches := tree.checkHouse(houseTable()); len(breaches) != 1 || breaches[0].rule != ruleMedian {
		t.Errorf("got %v, want the median", breaches)
	}
}

func TestHouseRefusesBrokenGo(t *testing.T) {
	files := cleanHouse()
	files["agent/x_plan9.go"] = &fstest.MapFile{Data: []byte("package")}
	if _, err := readHouse(files); err == nil {
		t.Error("a file that does not parse was passed over")
	}
}
