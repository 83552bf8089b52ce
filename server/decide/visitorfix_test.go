package decide

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"muster/attest/posture"
)

func TestNoSession(t *testing.T) {
	seen := map[string]bool{}
	for _, code := range sessionCodes() {
		d := noSession(code)
		want := StepUp
		if code == "person-disabled" {
			want = Deny
		}
		if d.Outcome != want || len(d.Reasons) != 1 {
			t.Fatalf("%s: %+v", code, d)
		}
		r := d.Reasons[0]
		if r.Code != code || r.Claim != "session" || !r.Person || !r.counts() || r.Outcome != want || !sentence(r.Text) || !sentence(r.Fix) {
			t.Errorf("%+v", r)
		}
		seen[r.Code] = true
	}
	if len(seen) != len(sessionCodes()) {
		t.Error("a code is there twice")
	}
}

// TestNoSessionOfStrangers: a cause that nobody here knows is not repeated, and
// never allows.
func TestNoSessionOfStrangers(t *testing.T) {
	for _, why := range []string{"", " ", "Idle", "idle ", "allow", "sign-in\n", "<script>", strings.Repeat("x", 1<<16), "session-idle", "elevation-needed", "internal"} {
		d := noSession(why)
		if d.Outcome != StepUp || len(d.Reasons) != 1 || d.Reasons[0].Code != codeSessionOver || d.Reasons[0].Outcome != StepUp {
			t.Errorf("%q: %+v", why[:min(len(why), 20)], d)
		}
	}
}

// TestCausesHaveWords reads from their sources the causes with which sessions end:
// each is a code with its own words, so that a new one is not forgotten.
func TestCausesHaveWords(t *testing.T) {
	causes := causesIn(t, "../people/*.go", func(name string) bool { return strings.HasPrefix(name, "cause") })
	causes = append(causes, causesIn(t, "../store/session.go", func(name string) bool { return name == "causeRestored" || name == "causeOver" })...)
	causes = append(causes, returnedBy(t, "../session/rules.go", "Over")...)
	readme, err := os.ReadFile("../people/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, found := strings.Cut(string(readme), "## Causes with which sessions end\n\n")
	list, _, _ = strings.Cut(list, "\n\n")
	if !found {
		t.Error("people/README.md has no causes")
	}
	for _, m := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(list, -1) {
		causes = append(causes, m[1])
	}
	slices.Sort(causes)
	if causes = slices.Compact(causes); len(causes) < 18 {
		t.Errorf("only %v were found", causes)
	}
	for _, why := range causes {
		if got := noSession(why).Reasons[0].Code; got != why || !slices.Contains(sessionCodes(), why) {
			t.Errorf("cause %s has no words of its own: it reads as %s", why, got)
		}
	}
}

// causesIn lists the texts of the constants of some files that have a wanted name.
func causesIn(t *testing.T, pattern string, wanted func(string) bool) (causes []string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v %v", pattern, files, err)
	}
	for _, file := range files {
		// Elevations end with causes of their own.
		if strings.HasSuffix(file, "_test.go") || strings.HasPrefix(filepath.Base(file), "elevat") {
			continue
		}
		ast.Inspect(parsed(t, file), func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i, name := range spec.Names {
				if wanted(name.Name) && i < len(spec.Values) {
					causes = append(causes, literals(t, spec.Values[i])...)
				}
			}
			return true
		})
	}
	return causes
}

// returnedBy lists the texts that a function returns, but for the empty one.
func returnedBy(t *testing.T, file, function string) (causes []string) {
	t.Helper()
	ast.Inspect(parsed(t, file), func(n ast.Node) bool {
		if f, ok := n.(*ast.FuncDecl); ok && f.Name.Name != function {
			return false
		}
		if r, ok := n.(*ast.ReturnStmt); ok {
			causes = append(causes, literals(t, r)...)
		}
		return true
	})
	return slices.DeleteFunc(causes, func(s string) bool { return s == "" })
}

func parsed(t *testing.T, file string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func literals(t *testing.T, in ast.Node) (texts []string) {
	t.Helper()
	ast.Inspect(in, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			text, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, text)
		}
		return true
	})
	return texts
}

// TestVisitorStanding: what needs no rule has a sentence and a fix, and is about a
// person; what is about a laptop is not found here.
func TestVisitorStanding(t *testing.T) {
	for _, code := range []string{"session-idle", "session-old", "elevation-needed"} {
		r := standingReason(code)
		if r.Code != code || r.Outcome != StepUp || !r.Person || !r.counts() || !sentence(r.Text) || !sentence(r.Fix) {
			t.Errorf("%+v", r)
		}
	}
	for _, code := range []string{codeRevoked, codeInternal, "", "x"} {
		if r, ok := visitorStanding(code); ok || r.Outcome != Deny {
			t.Errorf("%s: %+v", code, r)
		}
	}
}

// TestVisitorWords: whoever has no laptop, or one of any system, reads what is
// wrong and what to do, of each claim about people and of each field that has
// words of its own.
func TestVisitorWords(t *testing.T) {
	e, err := language()
	if err != nil {
		t.Fatal(err)
	}
	said := visitorSayings()
	for path, s := range fieldSayings() {
		said[path] = s
		if _, ok := e.index[path]; !ok {
			t.Errorf("%s has words and is no field", path)
		}
	}
	for _, claim := range []string{"link", "session", "verification", "passkey", "user", "elevation", "request"} {
		if _, ok := said[claim]; !ok {
			t.Errorf("%s has no words", claim)
		}
	}
	for claim := range said {
		for _, platform := range []posture.Platform{"", posture.Linux, posture.Windows, posture.Darwin, "plan9"} {
			text, fix := e.advice(claim, platform, "", false)
			unknown, _ := e.advice(claim, platform, "", true)
			if !sentence(text) || !sentence(fix) || !sentence(unknown) || text == unknown || strings.HasPrefix(fix, "Ask an administrator what") {
				t.Errorf("%s on %q: %q %q %q", claim, platform, text, unknown, fix)
			}
		}
	}
}

// TestNoLaptopWords: of a laptop that is not there nobody asks to turn on a
// firewall.
func TestNoLaptopWords(t *testing.T) {
	e, err := language()
	if err != nil {
		t.Fatal(err)
	}
	if _, fix := e.advice("firewall", "", "", true); !strings.HasPrefix(fix, "Link this laptop first") {
		t.Errorf("%q", fix)
	}
	if _, fix := e.advice("firewall", "", "", false); !strings.HasPrefix(fix, "Ask an administrator what") {
		t.Errorf("%q", fix)
	}
}
