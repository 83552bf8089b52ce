package decide

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
)

// condition is a compiled `for` or `that`. It never changes.
type condition struct {
	text    string
	program cel.Program
	// reads are the fields that it names, in order, each once.
	reads []string
	// parts are the same for each part of it that && joins, as it is written.
	parts [][]string
	// about is of whom they tell.
	about subject
	// byApp: it names app, or what depends on it, so it must be evaluated for each
	// application.
	byApp bool
	// opens: it asks whether something is unknown, so that to know more can change
	// what it came to.
	opens bool
	// costly: what it costs is not bounded by how it is written, so that CEL counts.
	costly bool
	// lapses are its comparisons of ages.
	lapses []lapse
	// apps are the ids of applications that app.id is compared with.
	apps []written
}

// constant reports whether it is the same whoever asks for whatever.
func (c *condition) constant() bool { return c.about == 0 && !c.byApp }

// written is a text at a place of a condition.
type written struct {
	text string
	at   fault // without a text
}

// fault is a defect of a condition at a place in its text.
type fault struct {
	line, column int // both from 1, in characters
	text         string
}

// maxAge bounds a constant that an age is compared with, so that no sum of it
// and a time leaves what time.Time can hold.
const maxAge = 10 * 365 * 24 * time.Hour

// compile checks a condition and makes a program of it, or says everything that
// is wrong with it.
func (e *environment) compile(text string) (*condition, []fault) {
	parsed, issues := e.cel.Parse(text)
	if issues.Err() != nil {
		return nil, e.faultsOf(text, issues)
	}
	if faults := e.refuseWords(parsed.NativeRep()); faults != nil {
		return nil, faults
	}
	checked, issues := e.cel.Check(parsed)
	if issues.Err() != nil {
		return nil, e.faultsOf(text, issues)
	}
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) {
		return nil, []fault{{1, 1, fmt.Sprintf("is of type %s: write a condition that is true or false", cel.FormatCELType(t))}}
	}
	c := &condition{text: text}
	w := &walk{env: e, tree: checked.NativeRep(), into: c}
	w.visit(ast.NavigateAST(w.tree))
	w.part(ast.NavigateAST(w.tree))
	if w.faults != nil {
		return nil, w.faults
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if c.costly {
		options = append(options, cel.CostLimit(maxCost))
	}
	var err error
	c.program, err = e.cel.Program(checked, options...)
	if err != nil {
		return nil, []fault{{1, 1, err.Error()}}
	}
	return c, nil
}

// faultsOf takes CEL's own errors, with a remedy where the message lacks one.
func (e *environment) faultsOf(text string, issues *cel.Issues) []fault {
	var faults []fault
	for _, err := range issues.Errors() {
		f := fault{line: 1, column: 1, text: err.Message}
		if err.Location != nil && err.Location.Line() > 0 {
			f.line, f.column = err.Location.Line(), err.Location.Column()+1
		}
		_, rest, undeclared := strings.Cut(f.text, "undeclared reference to '")
		if name, _, _ := strings.Cut(rest, "'"); undeclared {
			f.column = startOfName(text, name, f.line, f.column)
			if claim, ok := strings.CutPrefix(name, "device."); ok && e.claims[claim] != nil {
				f.text = fmt.Sprintf("%s is a whole claim: write %s.state, or another of its members", name, name)
			}
		}
		if strings.HasPrefix(f.text, "found no matching overload for '_<") || strings.HasPrefix(f.text, "found no matching overload for '_>") {
			if strings.Contains(f.text, "(string, string)") {
				f.text += ": strings have no useful order, compare versions with version_at_least(device.os.version, '14.2')"
			}
		}
		faults = append(faults, f)
	}
	if len(faults) == 0 {
		faults = []fault{{1, 1, issues.Err().Error()}}
	}
	return faults
}

// startOfName moves a place inside a dotted name, which CEL gives as its last
// dot, to where the name begins.
func startOfName(text, name string, line, column int) int {
	lines := strings.Split(text, "\n")
	if line < 1 || line > len(lines) {
		return column
	}
	runes := []rune(lines[line-1])
	width := len([]rune(name))
	for i := max(column-width, 0); i < column && i+width <= len(runes); i++ {
		if string(runes[i:i+width]) == name {
			return i + 1
		}
	}
	return column
}

// refuseWords looks for what the type checker would not say in so many words:
// variables that would hide an input, and what is not part of the language.
func (e *environment) refuseWords(tree *ast.AST) []fault {
	var faults []fault
	at := func(x ast.Expr, format string, args ...any) {
		loc := tree.SourceInfo().GetStartLocation(x.ID())
		faults = append(faults, fault{max(loc.Line(), 1), loc.Column() + 1, fmt.Sprintf(format, args...)})
	}
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(x ast.Expr) {
		switch x.Kind() {
		case ast.ComprehensionKind:
			for _, word := range []string{x.AsComprehension().IterVar(), x.AsComprehension().IterVar2()} {
				if e.reserved(word) {
					at(x, "%q is taken: name the variable otherwise", word)
				}
			}
		case ast.MapKind, ast.StructKind:
			at(x, "maps and messages are not part of the policy language: use a list")
		}
	}))
	return faults
}

// walk collects what a checked condition reads, and refuses what the types
// allow and the language does not.
type walk struct {
	env    *environment
	tree   *ast.AST
	into   *condition
	faults []fault
}

func (w *walk) refuse(x ast.Expr, format string, args ...any) {
	f := w.place(x)
	f.text = fmt.Sprintf(format, args...)
	if name, ok := dotted(x); ok {
		f.column = startOfName(w.into.text, name, f.line, f.column)
	}
	w.faults = append(w.faults, f)
}

// place is where an expression begins.
func (w *walk) place(x ast.Expr) fault {
	loc := w.tree.SourceInfo().GetStartLocation(x.ID())
	return fault{line: max(loc.Line(), 1), column: loc.Column() + 1}
}

func (w *walk) visit(x ast.NavigableExpr) {
	switch x.Kind() {
	case ast.ComprehensionKind:
		w.into.costly = true
	case ast.IdentKind:
		w.name(x)
	case ast.LiteralKind:
		w.literal(x)
	case ast.CallKind:
		w.call(x)
	}
	for _, child := range x.Children() {
		w.visit(child)
	}
}

// name notes an input. The checker has made one identifier of each dotted name.
func (w *walk) name(x ast.NavigableExpr) {
	name := strings.TrimPrefix(x.AsIdent(), ".")
	switch i, isField := w.env.index[name]; {
	case isField:
		w.noteRead(name)
		f := &w.env.fields[i]
		w.into.about |= f.about
		if f.since != nil {
			w.age(x, name)
		}
		if f.turns != nil { // by the application's elevations
			w.into.byApp = true
			w.into.lapses = append(w.into.lapses, lapse{field: i, turns: true})
		}
	case name == appID || name == appSensitivity:
		w.into.byApp = true
	case name == unknownName:
		w.refuse(x, "nothing is ever equal to UNKNOWN: write is_unknown(device.firewall) for the claim that you mean")
	}
}

// part notes what each operand of the outermost && reads: of a condition that is
// false, the first that is false is what went wrong.
func (w *walk) part(x ast.NavigableExpr) {
	if x.Kind() == ast.CallKind && x.AsCall().FunctionName() == operators.LogicalAnd {
		for _, operand := range x.Children() {
			w.part(operand)
		}
		return
	}
	var reads []string
	for _, name := range ast.MatchDescendants(x, ast.KindMatcher(ast.IdentKind)) {
		if path := strings.TrimPrefix(name.AsIdent(), "."); w.env.isField(path) {
			reads = append(reads, path)
		}
	}
	w.into.parts = append(w.into.parts, reads)
}

func (w *walk) noteRead(name string) {
	for _, have := range w.into.reads {
		if have == name {
			return
		}
	}
	w.into.reads = append(w.into.reads, name)
}

// literal refuses what makes dynamic types.
func (w *walk) literal(x ast.NavigableExpr) {
	switch x.AsLiteral().(type) {
	case types.Bool, types.Int, types.String:
	default:
		w.refuse(x, "only strings, whole numbers, true and false can be written down")
	}
}

func (w *walk) call(x ast.NavigableExpr) {
	call := x.AsCall()
	args := call.Args()
	switch call.FunctionName() {
	case isUnknown, isPresent:
		w.into.opens = w.into.opens || call.FunctionName() == isUnknown
		if path, ok := dotted(args[0]); !ok || !w.env.isField(strings.TrimPrefix(path, ".")) {
			w.refuse(x, "takes one name of an input, as in is_unknown(device.firewall)")
		}
	case inNetwork:
		for _, arg := range args[1:] {
			if text, ok := literalString(arg); !ok {
				w.refuse(arg, "a network must be written down, as in '10.0.0.0/8'")
			} else if _, err := parseNetwork(text); err != nil {
				w.refuse(arg, "%v", err)
			}
		}
	case versionAtLeast:
		want, ok := literalString(args[1])
		if _, isVersion := parseVersion(want); !ok || !isVersion {
			w.refuse(args[1], "the version to compare with must be written down, as in '14.2'")
		}
	case overloads.Matches:
		w.into.costly = true
		pattern := args[len(args)-1] // a call and a member call have it last
		if _, ok := literalString(pattern); !ok {
			w.refuse(pattern, "a regular expression must be written down as one string")
		}
	case overloads.TypeConvertDuration:
		if _, err := writtenDuration(x); err != nil {
			w.refuse(x, "%v", err)
		}
	case operators.Equals, operators.NotEquals:
		w.known(args[0], args[1])
		w.known(args[1], args[0])
	case operators.In:
		if args[1].Kind() == ast.ListKind {
			for _, element := range args[1].AsList().Elements() {
				w.known(args[0], element)
			}
		}
	}
}

// known refuses a string that the field beside it can never be, and notes one that
// must be an application.
func (w *walk) known(name, value ast.Expr) {
	path, ok := dotted(name)
	path = strings.TrimPrefix(path, ".")
	i, isField := w.env.index[path]
	text, isText := literalString(value)
	if ok && isText && path == appID {
		w.into.apps = append(w.into.apps, written{text, w.place(value)})
		return
	}
	if !ok || !isField || !isText || len(w.env.fields[i].values) == 0 {
		return
	}
	for _, v := range w.env.fields[i].values {
		if v == text {
			return
		}
	}
	w.refuse(value, "%s is never '%s': it is one of %s", path, text, strings.Join(w.env.fields[i].values, ", "))
}

func literalString(x ast.Expr) (string, bool) {
	if x.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := x.AsLiteral().(types.String)
	return string(s), ok
}

var errDuration = errors.New("a duration is written as duration('36h'), in h, m and s, and at most ten years")

// writtenDuration reads duration('1h') with a literal inside.
func writtenDuration(x ast.Expr) (time.Duration, error) {
	if x.Kind() != ast.CallKind || x.AsCall().FunctionName() != overloads.TypeConvertDuration || len(x.AsCall().Args()) != 1 {
		return 0, errDuration
	}
	text, ok := literalString(x.AsCall().Args()[0])
	d, err := time.ParseDuration(text)
	if !ok || err != nil || d.Abs() > maxAge {
		return 0, errDuration
	}
	return d, nil
}
