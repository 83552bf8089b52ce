package attest_test

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

const (
	ruleUnknown = "unknown package"
	ruleImport  = "import"
	rulePure    = "pure"
	ruleGuarded = "guarded package"
	ruleForeign = "foreign module"
	ruleTests   = "tests only"
	ruleDepth   = "import depth"
	ruleDoor    = "one door"
)

// checkImports compares every import of shipped code with the table.
func (t *houseTree) checkImports(table []houseRow) {
	rows := map[string]houseRow{}
	for _, row := range table {
		rows[row.dir] = row
	}
	for _, pkg := range t.sorted() {
		for _, f := range pkg.files {
			for _, spec := range f.ast.Imports {
				if name := houseImport(spec); name == "C" {
					t.add(spec.Pos(), ruleGuarded, "import \"C\": %s", houseGuarded()[name])
				}
			}
		}
		shipped := pkg.shipped()
		if len(shipped) == 0 {
			continue
		}
		row, known := rows[pkg.dir]
		if !known {
			t.add(shipped[0].ast.Name.Pos(), ruleUnknown,
				"%s has no row: add it to the table of DESIGN section 2 and to houseTable, with a reason, in a commit of its own", pkg.dir)
			continue
		}
		for _, f := range shipped {
			for _, spec := range f.ast.Imports {
				t.checkImport(spec, row, rows)
			}
		}
	}
}

func (t *houseTree) checkImport(spec *ast.ImportSpec, row houseRow, rows map[string]houseRow) {
	name := houseImport(spec)
	if dir, ok := t.ours(name); ok {
		switch {
		case rows[dir].tests && !row.tests:
			t.add(spec.Pos(), ruleTests, "%s imports %s, which only _test.go files may: %s", row.dir, dir, rows[dir].why)
		case !slices.Contains(row.muster, dir):
			t.add(spec.Pos(), ruleImport, "%s may not import %s, only [%s]: %s", row.dir, dir, strings.Join(row.muster, " "), row.why)
		}
		return
	}
	if first, _, _ := strings.Cut(name, "/"); strings.Contains(first, ".") {
		if !allowsForeign(row, name) {
			t.add(spec.Pos(), ruleForeign, "%s may not import %s, only [%s]: %s", row.dir, name, strings.Join(row.foreign, " "), row.why)
		}
		return
	}
	// "C" is refused for every file already, tests included.
	if why, guarded := houseGuarded()[name]; guarded && name != "C" && !slices.Contains(row.guarded, name) {
		t.add(spec.Pos(), ruleGuarded, "%s may not import %s: %s", row.dir, name, why)
	}
	if row.pure && slices.Contains(housePure(), name) {
		t.add(spec.Pos(), rulePure, "%s is pure and may not import %s: pass the value or an fs.FS in", row.dir, name)
	}
}

// allowsForeign reports whether a row names the package or a folder above it.
func allowsForeign(row houseRow, name string) bool {
	return slices.ContainsFunc(row.foreign, func(m string) bool { return name == m || strings.HasPrefix(name, m+"/") })
}

// checkDepth measures the longest chain of imports between our packages from a
// program down.
func (t *houseTree) checkDepth() {
	chains := map[string][]string{}
	for _, pkg := range t.sorted() {
		if !pkg.main() {
			continue
		}
		if chain := t.chain(pkg.dir, chains, nil); len(chain)-1 > capDepth {
			t.add(pkg.shipped()[0].ast.Name.Pos(), ruleDepth, "%d imports deep, at most %d: %s", len(chain)-1, capDepth, strings.Join(chain, " > "))
		}
	}
}

// chain returns the longest chain from dir. An import cycle, which the compiler
// refuses, ends it.
func (t *houseTree) chain(dir string, known map[string][]string, above []string) []string {
	if chain, ok := known[dir]; ok {
		return chain
	}
	best := []string{dir}
	pkg := t.packages[dir]
	if pkg == nil || slices.Contains(above, dir) {
		return best
	}
	above = append(above, dir)
	for _, f := range pkg.shipped() {
		for _, spec := range f.ast.Imports {
			next, ok := t.ours(houseImport(spec))
			if !ok {
				continue
			}
			if below := t.chain(next, known, above); len(below)+1 > len(best) {
				best = append([]string{dir}, below...)
			}
		}
	}
	known[dir] = best
	return best
}

// checkDoor finds shipped code outside attest that decodes into a Report. It
// sees variables, parameters and literals of that type in the same function,
// and type arguments; what syntax does not show, the rows for the JSON packages
// narrow down.
func (t *houseTree) checkDoor() {
	for _, pkg := range t.sorted() {
		if pkg.dir == "attest" || pkg.dir == "attest/posture" {
			continue
		}
		for _, f := range pkg.shipped() {
			local := f.localName(t.module + "/attest/posture")
			if local == "" {
				continue
			}
			for _, decl := range f.ast.Decls {
				if fn, ok := decl.(*ast.FuncDecl); ok && fn.Body != nil {
					t.checkDoorIn(fn, local)
				}
			}
		}
	}
}

func (t *houseTree) checkDoorIn(fn *ast.FuncDecl, local string) {
	reports := reportVars(fn, local)
	touches := func(expr ast.Expr) (found bool) {
		ast.Inspect(expr, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				found = found || reports[n.Name]
			case *ast.SelectorExpr:
				found = found || isReport(n, local)
			}
			return !found
		})
		return found
	}
	ast.Inspect(fn, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || !houseDecodes(call.Fun) {
			return true
		}
		if slices.ContainsFunc(append(slices.Clone(call.Args), call.Fun), touches) {
			t.add(call.Pos(), ruleDoor, "decodes a posture.Report: attest.Open is the only way from bytes to a Report")
		}
		return true
	})
}

// reportVars returns the names in a function that hold a Report.
func reportVars(fn *ast.FuncDecl, local string) map[string]bool {
	names := map[string]bool{}
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			for _, id := range n.Names {
				names[id.Name] = names[id.Name] || isReport(n.Type, local)
			}
		case *ast.ValueSpec:
			for _, id := range n.Names {
				names[id.Name] = names[id.Name] || n.Type != nil && isReport(n.Type, local)
			}
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if id, ok := left.(*ast.Ident); ok && n.Tok == token.DEFINE && i < len(n.Rhs) {
					names[id.Name] = names[id.Name] || makesReport(n.Rhs[i], local)
				}
			}
		}
		return true
	})
	return names
}

// isReport reports whether a type is Report, or a pointer to or list of it.
func isReport(expr ast.Expr, local string) bool {
	switch e := expr.(type) {
	case *ast.StarExpr:
		return isReport(e.X, local)
	case *ast.ArrayType:
		return isReport(e.Elt, local)
	case *ast.SelectorExpr:
		id, ok := e.X.(*ast.Ident)
		return ok && id.Name == local && e.Sel.Name == "Report"
	}
	return false
}

// makesReport reports whether a value is a new Report: a literal, its address,
// or new(posture.Report).
func makesReport(expr ast.Expr, local string) bool {
	switch e := expr.(type) {
	case *ast.UnaryExpr:
		return makesReport(e.X, local)
	case *ast.CompositeLit:
		return e.Type != nil && isReport(e.Type, local)
	case *ast.CallExpr:
		id, ok := e.Fun.(*ast.Ident)
		return ok && id.Name == "new" && len(e.Args) == 1 && isReport(e.Args[0], local)
	}
	return false
}

// houseDecodes reports whether a function's name says that it decodes.
func houseDecodes(fun ast.Expr) bool {
	switch f := fun.(type) {
	case *ast.Ident:
		return decodingName(f.Name)
	case *ast.SelectorExpr:
		return decodingName(f.Sel.Name)
	case *ast.IndexExpr:
		return houseDecodes(f.X)
	}
	return false
}

func decodingName(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "unmarshal") || strings.HasPrefix(name, "decode")
}
