package attest_test

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"muster/attest/posture"
)

// sourceConstants parses a package's shipped files and returns its constants by
// name: their declared type's name (empty for none), value and doc.
type sourceConstant struct {
	name, typ string
	value     constant.Value
}

func sourceConstants(t testing.TB, dir string) (out []sourceConstant) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	fset, parsed := token.NewFileSet(), []*ast.File{}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, f, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, file)
	}
	// Imports other than the standard library's are not needed for constants.
	config := types.Config{Importer: importer.Default(), Error: func(error) {}}
	pkg, _ := config.Check(dir, fset, parsed, nil)
	for _, name := range pkg.Scope().Names() {
		c, ok := pkg.Scope().Lookup(name).(*types.Const)
		if !ok {
			continue
		}
		s := sourceConstant{name: name, value: c.Val()}
		if named, ok := c.Type().(*types.Named); ok {
			s.typ = named.Obj().Name()
		}
		out = append(out, s)
	}
	return out
}

// constantsOf lists the text values of a type's constants.
func constantsOf(t testing.TB, dir, typ string) (values []string) {
	t.Helper()
	for _, c := range sourceConstants(t, dir) {
		if c.typ == typ && c.value.Kind() == constant.String {
			values = append(values, constant.StringVal(c.value))
		}
	}
	if len(values) == 0 {
		t.Fatalf("%s has no constants of type %s", dir, typ)
	}
	return values
}

func specText(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// section is the text of a numbered section, up to the next of its rank.
func section(t testing.TB, spec, number string) string {
	t.Helper()
	hashes := strings.Repeat("#", 2+strings.Count(number, "."))
	_, after, ok := strings.Cut(spec, "\n"+hashes+" "+number+" ")
	if !ok {
		t.Fatalf("SPEC.md has no section %s", number)
	}
	end := regexp.MustCompile(`\n#{2,` + fmt.Sprint(len(hashes)) + `} `).FindStringIndex(after)
	if end == nil {
		return after
	}
	return after[:end[0]]
}

// TestSpecNamesEveryCode: codes, reasons, tags, typs, paths and headers of the
// source stand in SPEC.md in code quotes, paths after their method.
func TestSpecNamesEveryCode(t *testing.T) {
	spec := specText(t)
	for _, c := range sourceConstants(t, ".") {
		if c.value.Kind() != constant.String {
			continue
		}
		value := constant.StringVal(c.value)
		named := strings.Contains(spec, "`"+value+"`")
		if strings.HasPrefix(value, "/") {
			named = strings.Contains(spec, "`POST "+value) || strings.Contains(spec, "`GET "+value+"`")
		}
		if !named {
			t.Errorf("SPEC.md does not name %s = `%s`", c.name, value)
		}
	}
	reasons := section(t, spec, "4.3")
	for _, reason := range constantsOf(t, "posture", "Reason") {
		if !strings.Contains(reasons, "`"+reason+"`") {
			t.Errorf("SPEC.md §4.3 does not name `%s`", reason)
		}
	}
}

// TestSpecNamesEveryLimit: each limit's name stands in §2 on a line with its
// number, each duration in §6.
func TestSpecNamesEveryLimit(t *testing.T) {
	spec := specText(t)
	limits := 0
	for _, c := range sourceConstants(t, ".") {
		if !ast.IsExported(c.name) || c.typ != "Duration" && !strings.HasPrefix(c.name, "Max") {
			continue
		}
		limits++
		where, want := "2.1", c.value.ExactString()
		if c.typ == "Duration" {
			n, _ := constant.Int64Val(c.value)
			where, want = "6.3", fmt.Sprintf("%d s", n/1e9)
		}
		row := regexp.MustCompile(`(?m)^\|[^\n]*\b` + c.name + `\b[^\n]*\| ` + want + ` \|`)
		if !row.MatchString(section(t, spec, where)) {
			t.Errorf("SPEC.md §%s has no row for %s = %s", where, c.name, want)
		}
	}
	if limits < 15 {
		t.Fatalf("only %d limits were found", limits)
	}
}

// TestEveryClaimIsSpecified: §4.2 has a row for every claim, which names every
// member of its detail.
func TestEveryClaimIsSpecified(t *testing.T) {
	claims := section(t, specText(t), "4.2")
	members := reflect.TypeFor[posture.Claims]()
	for i := range members.NumField() {
		f := members.Field(i)
		name := f.Tag.Get("json")
		row := regexp.MustCompile("(?m)^\\| `" + name + "` \\|.*$").FindString(claims)
		if row == "" {
			t.Errorf("SPEC.md §4.2 has no row for %s", name)
			continue
		}
		detail, _ := f.Type.FieldByName("Detail")
		for _, member := range jsonNames(detail.Type) {
			if !strings.Contains(claims, "`"+member+"`") {
				t.Errorf("SPEC.md §4.2: %s has no member %s", name, member)
			}
		}
	}
}

// jsonNames lists the members of a type and of what it holds.
func jsonNames(typ reflect.Type) (names []string) {
	switch typ.Kind() {
	case reflect.Slice, reflect.Pointer:
		return jsonNames(typ.Elem())
	case reflect.Struct:
		if typ.PkgPath() == "time" {
			return nil
		}
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			names = append(append(names, name), jsonNames(typ.Field(i).Type)...)
		}
	}
	return names
}

// TestSpecSectionsExist: every section that a comment of the code refers to.
func TestSpecSectionsExist(t *testing.T) {
	spec := specText(t)
	found := 0
	for _, dir := range []string{".", "posture"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`SPEC\.md §([0-9.]*[0-9])`).FindAllStringSubmatch(string(b), -1) {
				found++
				section(t, spec, m[1])
			}
		}
	}
	if found < 10 {
		t.Fatalf("only %d references were found", found)
	}
}
