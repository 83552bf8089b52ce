package people

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestReadme compares README.md with the refusals and causes that the source has.
func TestReadme(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(b)
	told := map[string]string{}
	for line := range strings.Lines(readme) {
		cells := strings.Split(line, "|")
		if len(cells) == 5 && strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			if status := strings.TrimSpace(cells[2]); len(status) == 3 {
				told[strings.Trim(cells[1], " `")] = status
			}
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	_, causes, _ := strings.Cut(readme, "## Causes")
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if id, ok := n.Fun.(*ast.Ident); ok && id.Name == "refuse" && len(n.Args) == 4 {
					checkRefusal(t, n, told, found)
				}
			case *ast.ValueSpec:
				for i, id := range n.Names {
					if strings.HasPrefix(id.Name, "cause") && i < len(n.Values) && !strings.Contains(causes, "`"+literal(n.Values[i])+"`") {
						t.Errorf("README.md does not tell of cause %s", literal(n.Values[i]))
					}
				}
			}
			return true
		})
	}
	for code := range told {
		if !found[code] {
			t.Errorf("README.md tells of %s, which nothing refuses with", code)
		}
	}
	if len(found) < 20 {
		t.Errorf("found only %d codes", len(found))
	}
}

// checkRefusal checks a call of refuse with a literal code: what is refused is
// told with its status, a sentence and a fix.
func checkRefusal(t *testing.T, call *ast.CallExpr, told map[string]string, found map[string]bool) {
	t.Helper()
	code := literal(call.Args[1])
	if code == "" {
		return // another refusal's, with more words
	}
	found[code] = true
	if status := call.Args[0].(*ast.BasicLit).Value; told[code] != status {
		t.Errorf("README.md has status %q of %s, which is %s", told[code], code, status)
	}
	for _, arg := range call.Args[2:] {
		if lit := literal(arg); lit != "" && !strings.HasSuffix(lit, ".") {
			t.Errorf("%s: %q is no sentence", code, lit)
		}
	}
}

// literal is the value of a string literal; empty when it is none.
func literal(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, err := strconv.Unquote(lit.Value)
	if err != nil {
		return ""
	}
	return s
}
