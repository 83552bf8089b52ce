package attest_test

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// houseTree is every Go file of the module, whatever system or tag it is for,
// and the texts beside them. Modules inside it are not part of it.
type houseTree struct {
	fset     *token.FileSet
	module   string // its import path
	packages map[string]*housePackage
	texts    map[string][]byte // by path
	breaches []houseBreach
}

// housePackage is a folder of Go files.
type housePackage struct {
	dir   string // "." for the root
	files []*houseFile
}

// houseFile is one Go file.
type houseFile struct {
	path  string
	test  bool // is, or belongs to, a test
	lines int
	ast   *ast.File
}

// houseBreach is one breach of the house's rules.
type houseBreach struct {
	at   string // file:line
	rule string
	why  string
}

// String gives the message of a failing test.
func (b houseBreach) String() string { return fmt.Sprintf("%s: [%s] %s", b.at, b.rule, b.why) }

// readHouse parses the module whose root is fsys.
func readHouse(fsys fs.FS) (*houseTree, error) {
	mod, err := fs.ReadFile(fsys, "go.mod")
	if err != nil {
		return nil, err
	}
	module, _, _ := strings.Cut(strings.TrimPrefix(string(mod), "module "), "\n")
	tree := &houseTree{fset: token.NewFileSet(), module: strings.TrimSpace(module),
		packages: map[string]*housePackage{}, texts: map[string][]byte{}}
	err = fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return tree.enter(fsys, name)
		}
		if strings.Contains("/"+name+"/", "/testdata/") || !entry.Type().IsRegular() {
			return nil
		}
		return tree.read(fsys, name)
	})
	return tree, err
}

// enter says by fs.SkipDir which folders are not the module's.
func (t *houseTree) enter(fsys fs.FS, dir string) error {
	if dir == "." || dir == ".ci" || dir == ".github" {
		return nil
	}
	if base := path.Base(dir); base[0] == '.' || base[0] == '_' || base == "testdata" {
		return fs.SkipDir
	}
	if _, err := fs.Stat(fsys, path.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func (t *houseTree) read(fsys fs.FS, name string) error {
	isGo := strings.HasSuffix(name, ".go")
	if !isGo && !slices.Contains([]string{".md", ".sh", ".yml", ".service", ".html", ".sql"}, path.Ext(name)) && path.Dir(name) != ".ci" {
		return nil
	}
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return err
	}
	if !strings.HasSuffix(name, ".sum") {
		t.texts[name] = text
	}
	if !isGo {
		return nil
	}
	file, err := parser.ParseFile(t.fset, name, text, parser.ParseComments)
	if err != nil {
		return err
	}
	dir := path.Dir(name)
	pkg := t.packages[dir]
	if pkg == nil {
		pkg = &housePackage{dir: dir}
		t.packages[dir] = pkg
	}
	pkg.files = append(pkg.files, &houseFile{path: name, ast: file,
		test: strings.HasSuffix(name, "_test.go"), lines: bytes.Count(text, []byte("\n"))})
	return nil
}

// add notes a breach at a node.
func (t *houseTree) add(pos token.Pos, rule, format string, args ...any) {
	p := t.fset.Position(pos)
	t.addAt(fmt.Sprintf("%s:%d", p.Filename, p.Line), rule, format, args...)
}

func (t *houseTree) addAt(at, rule, format string, args ...any) {
	t.breaches = append(t.breaches, houseBreach{at, rule, fmt.Sprintf(format, args...)})
}

// sorted returns the packages in the order of their folders.
func (t *houseTree) sorted() []*housePackage {
	return slices.SortedFunc(maps.Values(t.packages), func(a, b *housePackage) int { return cmp.Compare(a.dir, b.dir) })
}

// shipped returns the files that are not tests.
func (p *housePackage) shipped() []*houseFile {
	return slices.DeleteFunc(slices.Clone(p.files), func(f *houseFile) bool { return f.test })
}

// main reports whether it is a program.
func (p *housePackage) main() bool {
	return slices.ContainsFunc(p.shipped(), func(f *houseFile) bool { return f.ast.Name.Name == "main" })
}

// ours returns the folder of an import path of this module.
func (t *houseTree) ours(importPath string) (dir string, ok bool) {
	if importPath == t.module {
		return ".", true
	}
	return strings.CutPrefix(importPath, t.module+"/")
}

// houseImport returns the path that an import names.
func houseImport(spec *ast.ImportSpec) string {
	// The parser has checked that it is a string.
	name, _ := strconv.Unquote(spec.Path.Value)
	return name
}

// localName returns the name by which a file speaks of the import path, or "".
func (f *houseFile) localName(importPath string) string {
	for _, spec := range f.ast.Imports {
		if houseImport(spec) != importPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(importPath)
	}
	return ""
}

// checkHouse applies every rule and returns the breaches in order.
func (t *houseTree) checkHouse(table []houseRow) []houseBreach {
	t.checkImports(table)
	t.checkDepth()
	t.checkDoor()
	t.checkLines()
	t.checkInterfaces()
	t.checkExported()
	t.checkState()
	t.checkDocs()
	t.checkNames()
	t.checkTexts()
	slices.SortFunc(t.breaches, func(a, b houseBreach) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.rule, b.rule), cmp.Compare(a.why, b.why))
	})
	return slices.Compact(t.breaches)
}
