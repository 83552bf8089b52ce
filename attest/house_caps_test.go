package attest_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
)

const (
	ruleLines     = "lines"
	ruleMedian    = "median"
	ruleInterface = "interface"
	ruleExported  = "exported names"
	ruleInit      = "init"
	ruleMutable   = "mutable variable"
)

// checkLines applies the caps on files and functions.
func (t *houseTree) checkLines() {
	var files, funcs []int
	for _, pkg := range t.sorted() {
		for _, f := range pkg.files {
			limit, what := capFileLines, "a file"
			switch {
			case f.test:
				limit, what = capTestLines, "a test file"
			case path.Base(f.path) == "main.go" && f.ast.Name.Name == "main":
				limit, what = capMainLines, "main.go"
			}
			if f.lines > limit {
				t.addAt(f.path+":"+strconv.Itoa(f.lines), ruleLines, "%d lines; %s has at most %d: split it by concern", f.lines, what, limit)
			}
			if !f.test {
				files = append(files, f.lines)
				funcs = append(funcs, t.checkFuncs(f)...)
			}
		}
	}
	if m := houseRank(files, 50); m > capFileMedian {
		t.addAt(".", ruleMedian, "the median file has %d lines, at most %d", m, capFileMedian)
	}
	if m := houseRank(funcs, 90); m > capFuncNinetieth {
		t.addAt(".", ruleMedian, "one function of ten has more than %d lines, at most %d", m, capFuncNinetieth)
	}
}

func (t *houseTree) checkFuncs(f *houseFile) (lengths []int) {
	for _, decl := range f.ast.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		lines := t.fset.Position(fn.End()).Line - t.fset.Position(fn.Pos()).Line + 1
		lengths = append(lengths, lines)
		if lines > capFuncLines {
			t.add(fn.Pos(), ruleLines, "%s has %d lines, at most %d: name its steps", fn.Name.Name, lines, capFuncLines)
		}
	}
	return lengths
}

// houseRank returns the value below which percent of the sorted values lie.
func houseRank(values []int, percent int) int {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[(len(values)-1)*percent/100]
}

// checkInterfaces counts methods, with those of embedded interfaces of the same
// package. One embedded from elsewhere counts for one.
func (t *houseTree) checkInterfaces() {
	for _, pkg := range t.sorted() {
		local := map[string]*ast.InterfaceType{}
		for _, f := range pkg.shipped() {
			ast.Inspect(f.ast, func(n ast.Node) bool {
				if spec, ok := n.(*ast.TypeSpec); ok {
					if it, ok := spec.Type.(*ast.InterfaceType); ok {
						local[spec.Name.Name] = it
					}
				}
				return true
			})
		}
		for _, f := range pkg.shipped() {
			ast.Inspect(f.ast, func(n ast.Node) bool {
				if it, ok := n.(*ast.InterfaceType); ok {
					if count := houseMethods(it, local, 0); count > capMethods {
						t.add(it.Pos(), ruleInterface, "%d methods, at most %d: take what you call, or a function", count, capMethods)
					}
				}
				return true
			})
		}
	}
}

func houseMethods(it *ast.InterfaceType, local map[string]*ast.InterfaceType, depth int) (count int) {
	for _, field := range it.Methods.List {
		switch typ := field.Type.(type) {
		case *ast.FuncType:
			count += len(field.Names)
		case *ast.Ident:
			if embedded := local[typ.Name]; embedded != nil && depth < 10 {
				count += houseMethods(embedded, local, depth+1)
			}
		case *ast.SelectorExpr:
			count++
		}
	}
	return count
}

// checkExported counts a package's exported names: types, functions, constants
// and variables. The same name for two systems counts once.
func (t *houseTree) checkExported() {
	for _, pkg := range t.sorted() {
		if _, free := houseExportedFree()[pkg.dir]; free || pkg.main() {
			continue
		}
		names := map[string]bool{}
		for _, f := range pkg.shipped() {
			for _, decl := range f.ast.Decls {
				for _, id := range houseDeclared(decl) {
					if id.IsExported() {
						names[id.Name] = true
					}
				}
			}
		}
		if len(names) > capExported {
			t.add(pkg.shipped()[0].ast.Name.Pos(), ruleExported, "%s exports %d names, at most %d: unexport, or add a reason to houseExportedFree", pkg.dir, len(names), capExported)
		}
	}
}

// houseDeclared returns the package-level names of a declaration, without methods.
func houseDeclared(decl ast.Decl) (names []*ast.Ident) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			names = append(names, d.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				names = append(names, s.Name)
			case *ast.ValueSpec:
				names = append(names, s.Names...)
			}
		}
	}
	return names
}

// checkState finds init functions and package variables that change.
func (t *houseTree) checkState() {
	vars := map[string]map[string]*ast.ValueSpec{}
	for _, pkg := range t.sorted() {
		vars[pkg.dir] = t.packageVars(pkg)
	}
	for _, pkg := range t.sorted() {
		for _, f := range pkg.files {
			w := &houseWrites{tree: t, file: f, own: vars[pkg.dir], all: vars}
			ast.Inspect(f.ast, w.visit)
		}
	}
}

// packageVars returns the variables of a package's shipped files, and notes
// init functions and variables whose type is made to be changed.
func (t *houseTree) packageVars(pkg *housePackage) map[string]*ast.ValueSpec {
	vars := map[string]*ast.ValueSpec{}
	for _, f := range pkg.shipped() {
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.add(fn.Pos(), ruleInit, "init runs unasked and unseen: call a function from main")
			}
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.VAR {
				continue
			}
			for _, spec := range gen.Specs {
				value := spec.(*ast.ValueSpec) // all that var declares
				for _, id := range value.Names {
					if id.Name != "_" { // an assertion about a type, never a variable
						vars[id.Name] = value
					}
				}
				if name := statefulType(value); name != "" {
					t.add(value.Pos(), ruleMutable, "%s has type %s, which exists to change: put it in a value that is passed in", value.Names[0].Name, name)
				}
			}
		}
	}
	return vars
}

// statefulType returns the type of sync or sync/atomic that a variable has.
func statefulType(value *ast.ValueSpec) string {
	types := []ast.Expr{value.Type}
	for _, v := range value.Values {
		if u, ok := v.(*ast.UnaryExpr); ok {
			v = u.X
		}
		if lit, ok := v.(*ast.CompositeLit); ok {
			types = append(types, lit.Type)
		}
	}
	for _, typ := range types {
		if index, ok := typ.(*ast.IndexExpr); ok {
			typ = index.X
		}
		if sel, ok := typ.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && (id.Name == "sync" || id.Name == "atomic") {
				return id.Name + "." + sel.Sel.Name
			}
		}
	}
	return ""
}

// houseWrites looks for writes to package variables in one file.
type houseWrites struct {
	tree *houseTree
	file *houseFile
	own  map[string]*ast.ValueSpec            // of the file's package
	all  map[string]map[string]*ast.ValueSpec // by folder
}

func (w *houseWrites) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			for _, left := range n.Lhs {
				w.written(left, "assigned")
			}
		}
	case *ast.IncDecStmt:
		w.written(n.X, "assigned")
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			w.written(n.Key, "assigned")
			w.written(n.Value, "assigned")
		}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			w.written(n.X, "has its address taken")
		}
	case *ast.CallExpr:
		if id, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && slices.Contains([]string{"delete", "clear", "copy"}, id.Name) {
			w.written(n.Args[0], "changed")
		}
	}
	return true
}

// written notes a write to the package variable at the root of expr, if any.
func (w *houseWrites) written(expr ast.Expr, how string) {
	for {
		switch e := expr.(type) {
		case *ast.ParenExpr:
			expr = e.X
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.SliceExpr:
			expr = e.X
		case *ast.SelectorExpr:
			if name, ok := w.foreign(e); ok {
				w.tree.add(e.Pos(), ruleMutable, "%s is %s outside its declaration: pass it in", name, how)
				return
			}
			expr = e.X
		case *ast.Ident:
			spec := w.own[e.Name]
			// Without an object it is declared in another file of the package.
			if spec != nil && (e.Obj == nil || e.Obj.Decl == spec) && !strings.HasSuffix(w.file.ast.Name.Name, "_test") {
				w.tree.add(e.Pos(), ruleMutable, "package variable %s is %s outside its declaration: pass it in", e.Name, how)
			}
			return
		default:
			return
		}
	}
}

// foreign recognises a variable of another package of ours.
func (w *houseWrites) foreign(sel *ast.SelectorExpr) (string, bool) {
	id, ok := sel.X.(*ast.Ident)
	if !ok || id.Obj != nil {
		return "", false
	}
	for _, spec := range w.file.ast.Imports {
		dir, ours := w.tree.ours(houseImport(spec))
		if !ours || w.file.localName(houseImport(spec)) != id.Name {
			continue
		}
		if _, ok := w.all[dir][sel.Sel.Name]; ok {
			return fmt.Sprintf("%s's variable %s", dir, sel.Sel.Name), true
		}
	}
	return "", false
}
