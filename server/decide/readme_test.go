package decide

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func readme(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), "\n"); n > 300 {
		t.Errorf("README.md has %d lines", n)
	}
	return string(data)
}

// rows are the cells of the table that begins with a header.
func rows(t *testing.T, text, header string) (rows [][]string) {
	t.Helper()
	_, table, found := strings.Cut(text, "| "+header+" |")
	if !found {
		t.Fatalf("no table of %s", header)
	}
	table, _, _ = strings.Cut(table, "\n\n")
	for _, line := range strings.Split(table, "\n")[2:] {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows
}

// TestReadme runs the example of README.md.
func TestReadme(t *testing.T) {
	_, rest, _ := strings.Cut(readme(t), "```yaml\n")
	example, _, found := strings.Cut(rest, "```\n")
	if !found {
		t.Fatal("no example")
	}
	p := load(t, example)
	results := p.Test(func(name string) ([]byte, error) { return os.ReadFile(filepath.FromSlash(name)) })
	if len(results) != 4 {
		t.Errorf("%d tests ran", len(results))
	}
	for _, r := range results {
		if r.Problem != "" {
			t.Error(r)
		}
	}
}

// TestReadmeFields compares its lists of fields with the vocabulary, both ways.
func TestReadmeFields(t *testing.T) {
	text := readme(t)
	told := map[string]bool{}
	for _, row := range rows(t, text, "field | what it is") {
		told[row[0]] = true
	}
	for _, row := range rows(t, text, "claim | details") {
		for _, claim := range strings.Split(row[0], ", ") {
			words, _, _ := strings.Cut(row[1], "(")
			for _, word := range strings.Fields(words) {
				told["device."+claim+"."+word] = true
			}
			for _, member := range []string{"state", "reason", "source", "tier", "age"} {
				told["device."+claim+"."+member] = true
			}
		}
	}
	_, own, _ := strings.Cut(text, "**Fields of device**")
	own, _, _ = strings.Cut(own, "\n\n")
	for _, word := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(own, -1) {
		told["device."+word[1]] = true
	}
	for _, f := range fields() {
		if !told[f.path] {
			t.Errorf("README.md does not tell of %s", f.path)
		}
		for _, value := range f.values {
			if !strings.Contains(text, value) {
				t.Errorf("README.md does not tell that %s can be %s", f.path, value)
			}
		}
		delete(told, f.path)
	}
	for path := range told {
		if !strings.HasSuffix(path, ".none") {
			t.Errorf("README.md tells of %s, which is not there", path)
		}
	}
}

// TestReadmeWords: every constant, function and code is told of, and every code of
// its table can be had.
func TestReadmeWords(t *testing.T) {
	text := readme(t)
	_, constantsTold, _ := strings.Cut(text, "**Constants**")
	constantsTold, _, _ = strings.Cut(constantsTold, "\n\n")
	words := strings.FieldsFunc(constantsTold, func(r rune) bool { return strings.ContainsRune(" \n·<:.", r) })
	for _, c := range constants() {
		if !slices.Contains(words, c.name) && c.name != unknownName {
			t.Errorf("README.md does not tell of %s", c.name)
		}
	}
	if len(words) != len(constants())-1 {
		t.Errorf("README.md tells of %d constants, there are %d", len(words), len(constants())-1)
	}
	_, functions, _ := strings.Cut(text, "**Functions**")
	functions, _, _ = strings.Cut(functions, "\n\n")
	for _, f := range standardSubset().IncludeFunctions {
		name := strings.Trim(strings.ReplaceAll(f.Name, "_", " "), " @")
		switch f.Name {
		case "_[_]", "_?_:_", "@not_strictly_false", "-_":
			continue // written as [0], ?: and -; part of all() and exists()
		}
		if !strings.Contains(functions, name) {
			t.Errorf("README.md does not tell of the function %s", f.Name)
		}
	}
	for _, name := range []string{isUnknown, versionAtLeast, inNetwork, "has", "all", "exists", "exists_one", "filter", "map", "duration", "<", "?:"} {
		if !strings.Contains(functions, name) {
			t.Errorf("README.md does not tell of the function %s", name)
		}
	}
	var codes []string
	for _, row := range rows(t, text, "codes | outcome | when") {
		for _, code := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(row[0], -1) {
			codes = append(codes, code[1])
			if got := outcomeOf(code[1]).String(); got != row[1] {
				t.Errorf("README.md: %s leads to %s, it leads to %s", code[1], row[1], got)
			}
			if !slices.Contains(reservedCodes(), code[1]) {
				t.Errorf("README.md tells of the code %s, which is not there", code[1])
			}
		}
	}
	for _, code := range append(sessionCodes(), reservedCodes()[:9]...) {
		if !slices.Contains(codes, code) {
			t.Errorf("README.md does not tell of the code %s", code)
		}
	}
}

func outcomeOf(code string) Outcome {
	if slices.Contains(sessionCodes(), code) {
		return NoSession(code).Outcome
	}
	return standingReason(code).Outcome
}

// TestReadmeTests: what a test can say is told of, member by member.
func TestReadmeTests(t *testing.T) {
	told := map[string]string{}
	for _, row := range rows(t, readme(t), "given | what it is") {
		told[row[0]] = row[1]
	}
	// The reader's own complaint lists what it takes.
	for _, of := range []struct{ member, text string }{
		{"given", "app: wiki\n    none: 1"}, {"session", "app: wiki\n    session: {none: 1}"}, {"link", "app: wiki\n    session: {link: {none: 1}}"},
		{"passkey", "app: wiki\n    session: {}\n    passkey: {none: 1}"}, {"tpm", "app: wiki\n    session: {}\n    passkey: {tpm: {none: 1}}"},
		{"user", "app: wiki\n    session: {}\n    user: {none: 1}"}, {"elevation", "app: wiki\n    session: {}\n    elevation: {none: 1}"},
		{"request", "app: wiki\n    request: {none: 1}"},
	} {
		env, err := language()
		if err != nil {
			t.Fatal(err)
		}
		_, err = env.load("p", []byte(visitorPolicy+"    "+of.text+"\n"))
		if err == nil {
			t.Fatalf("%s takes none", of.member)
		}
		_, list, found := strings.Cut(err.Error(), of.member+` has no member "none": it has `)
		if !found {
			t.Fatalf("%s: %v", of.member, err)
		}
		list, _, _ = strings.Cut(list, "\n")
		for _, name := range strings.Split(list, ", ") {
			where := map[string]string{"link": "session", "tpm": "passkey"}[of.member]
			if where == "" {
				where = of.member
			}
			_, ok := told[name]
			if of.member != "given" {
				ok = regexp.MustCompile(`\b` + name + `\b`).MatchString(told[where])
			}
			if !ok {
				t.Errorf("README.md does not tell that %s can have %s", of.member, name)
			}
		}
	}
}
