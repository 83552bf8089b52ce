package attest_test

import (
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

const (
	rulePackageDoc = "package doc"
	ruleDoc        = "doc"
	ruleName       = "name"
	ruleError      = "error text"
	ruleText       = "text"
)

// checkDocs wants a doc for every package and every exported name.
func (t *houseTree) checkDocs() {
	for _, pkg := range t.sorted() {
		shipped := pkg.shipped()
		if len(shipped) == 0 {
			continue
		}
		if !slices.ContainsFunc(shipped, func(f *houseFile) bool { return packageDoc(f.ast) }) {
			t.add(shipped[0].ast.Name.Pos(), rulePackageDoc, "%s has no package doc that begins \"Package %s\" (of a program: any): what it is, guarantees, and does not",
				pkg.dir, shipped[0].ast.Name.Name)
		}
		for _, f := range shipped {
			for _, decl := range f.ast.Decls {
				t.checkDecl(decl)
			}
		}
	}
}

func packageDoc(f *ast.File) bool {
	text := f.Doc.Text()
	if f.Name.Name == "main" {
		return text != ""
	}
	return strings.HasPrefix(text, "Package "+f.Name.Name+" ")
}

func (t *houseTree) checkDecl(decl ast.Decl) {
	const want = "exported without a doc: contract, units, errors, source"
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && exportedReceiver(d) && d.Doc.Text() == "" {
			t.add(d.Pos(), ruleDoc, "%s is %s", d.Name.Name, want)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && s.Doc.Text() == "" && (d.Lparen.IsValid() || d.Doc.Text() == "") {
					t.add(s.Pos(), ruleDoc, "%s is %s", s.Name.Name, want)
				}
			case *ast.ValueSpec:
				for _, id := range s.Names {
					if id.IsExported() && s.Doc.Text() == "" && s.Comment.Text() == "" && d.Doc.Text() == "" {
						t.add(id.Pos(), ruleDoc, "%s is %s", id.Name, want)
					}
				}
			}
		}
	}
}

// exportedReceiver reports whether a function has no receiver or an exported
// one: methods of other types are seen by nobody.
func exportedReceiver(fn *ast.FuncDecl) bool {
	if fn.Recv == nil {
		return true
	}
	typ := fn.Recv.List[0].Type
	for {
		switch e := typ.(type) {
		case *ast.StarExpr:
			typ = e.X
		case *ast.IndexExpr:
			typ = e.X
		case *ast.IndexListExpr:
			typ = e.X
		case *ast.Ident:
			return e.IsExported()
		default:
			return true
		}
	}
}

// checkNames looks for names that say nothing, and error texts that do.
func (t *houseTree) checkNames() {
	for _, pkg := range t.sorted() {
		for _, f := range pkg.files {
			if word := bannedIn(f.path); word != "" {
				t.addAt(f.path+":1", ruleName, "%q in the path: name it for its main noun", word)
			}
			if word := bannedIn(f.ast.Name.Name); word != "" {
				t.add(f.ast.Name.Pos(), ruleName, "package name with %q: name it for what it is", word)
			}
			// Types only: a TPM's resource manager is a word of its standard.
			ast.Inspect(f.ast, func(n ast.Node) bool {
				if spec, ok := n.(*ast.TypeSpec); ok && bannedIn(spec.Name.Name) != "" {
					t.add(spec.Pos(), ruleName, "%s has %q in its name: say what it is or does", spec.Name.Name, bannedIn(spec.Name.Name))
				}
				return true
			})
			if !f.test {
				t.checkErrorTexts(f)
			}
		}
	}
}

func (t *houseTree) checkErrorTexts(f *houseFile) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if ok && lit.Kind == token.STRING && strings.Contains(strings.ToLower(lit.Value), "failed to") {
			t.add(lit.Pos(), ruleError, "\"failed to\": say what we were doing, then the cause")
		}
		return true
	})
}

// bannedIn returns the banned word among the words of a path or a name, and
// also finds one glued to a package's name, as in testutil.
func bannedIn(name string) string {
	for _, part := range nameWords(name) {
		for _, word := range houseBannedWords() {
			if part == word || len(word) >= 4 && strings.HasSuffix(part, word) && word != "impl" && word != "common" {
				return word
			}
		}
	}
	return ""
}

// nameWords splits at what is no letter, and before upper case letters that
// follow lower case ones.
func nameWords(name string) []string {
	var spaced strings.Builder
	previous := ' '
	for _, r := range strings.TrimSuffix(name, path.Ext(name)) {
		if unicode.IsUpper(r) && unicode.IsLower(previous) {
			spaced.WriteRune(' ')
		}
		spaced.WriteRune(r)
		previous = r
	}
	return strings.FieldsFunc(strings.ToLower(spaced.String()), func(r rune) bool { return !unicode.IsLetter(r) })
}

// checkTexts looks for texts that belong to no project.
func (t *houseTree) checkTexts() {
	for name, text := range t.texts {
		for number, line := range strings.Split(string(text), "\n") {
			lower := strings.ToLower(line)
			for banned, why := range houseBannedTexts() {
				if strings.Contains(lower, banned) {
					t.addAt(name+":"+strconv.Itoa(number+1), ruleText, "%q %s", banned, why)
				}
			}
		}
	}
}
