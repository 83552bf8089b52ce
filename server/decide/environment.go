package decide

import (
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"muster/attest/posture"
	"muster/server/verify"
)

// Limits on one condition. A policy is written by an administrator, but it may
// come through an API, and a slow rule would be paid for at every report.
const (
	maxExpression = 4 << 10 // characters
	maxDepth      = 32      // nested expressions
	maxNodes      = 1 << 10 // of the tree, after macros
	maxRegex      = 200     // instructions of a compiled regular expression
	maxCost       = 20_000  // CEL cost units of one evaluation: about half a millisecond
)

// Functions of the language that CEL does not have.
const (
	isUnknown      = "is_unknown"
	isPresent      = "@present" // what has() becomes
	versionAtLeast = "version_at_least"
)

// What an application is known by.
const (
	appID          = "app.id"
	appSensitivity = "app.sensitivity"
)

// environment is the policy language: CEL's own environment, and the fields by
// the names under which CEL asks for them.
type environment struct {
	inputs *sync.Pool // of *Inputs, for one decision each
	cel    *cel.Env
	fields []field
	index  map[string]int                                 // path to place in fields
	names  map[string]bool                                // constants and the first words of fields
	claims map[string]func(*verify.Result) *posture.Claim // by wire name
	// words are what people read of each claim.
	words map[string]sentences
}

// newEnvironment builds it. An error is a defect of ours.
func newEnvironment() (*environment, error) {
	e := &environment{
		inputs: new(sync.Pool),
		fields: fields(), index: map[string]int{}, names: map[string]bool{"app": true},
		claims: map[string]func(*verify.Result) *posture.Claim{},
		words:  sayings(),
	}
	options := []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(standardSubset())),
		cel.Macros(append(e.macros(), cel.AllMacro, cel.ExistsMacro, cel.ExistsOneMacro, cel.FilterMacro, cel.MapMacro)...),
		cel.ParserExpressionSizeLimit(maxExpression), cel.ParserRecursionLimit(maxDepth),
		cel.ExpressionNodeLimit(maxNodes), cel.RegexProgramSizeLimit(maxRegex),
		cel.HomogeneousAggregateLiterals(),
		cel.Variable(appID, cel.StringType), cel.Variable(appSensitivity, sensitivityType),
	}
	options = append(options, comparisons()...)
	options = append(options, functions()...)
	options = append(options, networkFunction())
	for i, f := range e.fields {
		e.index[f.path] = i
		options = append(options, cel.Variable(f.path, f.typ))
	}
	for _, c := range claims() {
		e.claims[c.name] = c.of
	}
	for word := range subjects() {
		e.names[word] = true
	}
	for _, c := range constants() {
		e.names[c.name] = true
		options = append(options, cel.Constant(c.name, c.typ, c.symbol))
	}
	var err error
	if e.cel, err = cel.NewCustomEnv(options...); err != nil {
		return nil, fmt.Errorf("build the policy language: %w", err)
	}
	return e, nil
}

func (e *environment) isField(path string) bool {
	_, ok := e.index[path]
	return ok
}

// field finds one that is certainly there.
func (e *environment) field(path string) *field { return &e.fields[e.index[path]] }

// saying is under what the words for a field are: its path, where it has words of
// its own, else its claim.
func (e *environment) saying(f *field) string {
	if f == nil {
		return ""
	}
	if _, own := e.words[f.path]; own {
		return f.path
	}
	return f.claim
}

// standardSubset is what is taken of CEL's library: logic, equality, lists,
// whole numbers, strings. Conversions, dynamic types, dates and the order of
// strings stay out: each has been a way to compare what cannot be compared.
func standardSubset() *env.LibrarySubset {
	function := func(name string, ids ...string) *env.Function {
		f := env.NewFunction(name)
		for _, id := range ids {
			f.Overloads = append(f.Overloads, env.NewOverload(id, nil, nil))
		}
		return f
	}
	return env.NewLibrarySubset().SetDisableMacros(true).AddIncludedFunctions(
		function(operators.LogicalAnd), function(operators.LogicalOr), function(operators.LogicalNot),
		function(operators.Conditional), function(operators.NotStrictlyFalse),
		function(operators.Equals), function(operators.NotEquals),
		function(operators.In, overloads.InList),
		function(operators.Index, overloads.IndexList),
		function(operators.Add, overloads.AddInt64, overloads.AddList), // lists: filter and map are made of it
		function(operators.Subtract, overloads.SubtractInt64),
		function(operators.Negate, overloads.NegateInt64),
		function(overloads.Size, overloads.SizeString, overloads.SizeStringInst, overloads.SizeList, overloads.SizeListInst),
		function(overloads.Contains), function(overloads.StartsWith), function(overloads.EndsWith), function(overloads.Matches),
		function(overloads.TypeConvertDuration, overloads.StringToDuration),
	)
}

// comparisons declares <, <=, > and >= for what has an order.
func comparisons() []cel.EnvOption {
	ordered := []*cel.Type{cel.IntType, cel.DurationType, sourceType, tierType, levelType, sensitivityType, strengthType, certificationType}
	declare := func(operator, id string, holds func(int) bool) cel.EnvOption {
		var options []cel.FunctionOpt
		for _, t := range ordered {
			options = append(options, cel.Overload(id+"_"+t.String(), []*cel.Type{t, t}, cel.BoolType))
		}
		return cel.Function(operator, append(options, cel.SingletonBinaryBinding(func(a, b ref.Val) ref.Val {
			cmp, ok := order(a, b)
			if !ok {
				return types.NewErr("no order between %v and %v", a.Type(), b.Type())
			}
			return types.Bool(holds(cmp))
		}))...)
	}
	return []cel.EnvOption{
		declare(operators.Less, "less", func(c int) bool { return c < 0 }),
		declare(operators.LessEquals, "less_equals", func(c int) bool { return c <= 0 }),
		declare(operators.Greater, "greater", func(c int) bool { return c > 0 }),
		declare(operators.GreaterEquals, "greater_equals", func(c int) bool { return c >= 0 }),
	}
}

// functions declares those that are not CEL's. Only is_unknown sees an unknown;
// every other function is strict, so that an unknown argument makes it unknown.
func functions() []cel.EnvOption {
	anything := []*cel.Type{cel.TypeParamType("A")}
	return []cel.EnvOption{
		cel.Function(isUnknown, cel.Overload(isUnknown, anything, cel.BoolType, cel.OverloadIsNonStrict(),
			cel.UnaryBinding(func(v ref.Val) ref.Val {
				if types.IsError(v) {
					return v
				}
				return types.Bool(types.IsUnknown(v))
			}))),
		cel.Function(isPresent, cel.Overload(isPresent, anything, cel.BoolType,
			cel.UnaryBinding(func(ref.Val) ref.Val { return types.True }))),
		cel.Function(versionAtLeast, cel.Overload(versionAtLeast, []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType,
			cel.BinaryBinding(func(have, want ref.Val) ref.Val {
				h, okHave := parseVersion(string(have.(types.String)))
				w, okWant := parseVersion(string(want.(types.String)))
				if !okHave || !okWant {
					return types.NewErr("%v is not a version", have)
				}
				return types.Bool(h.atLeast(w))
			}))),
	}
}

// macros are has(x), which is unknown where x is and true elsewhere, and
// is_unknown(device.firewall), which means the claim's state.
func (e *environment) macros() []cel.Macro {
	return []cel.Macro{
		cel.GlobalMacro(operators.Has, 1, func(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
			return f.NewCall(isPresent, e.stateOf(f, args[0])), nil
		}),
		cel.GlobalMacro(isUnknown, 1, func(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
			if state := e.stateOf(f, args[0]); state != args[0] {
				return f.NewCall(isUnknown, state), nil
			}
			return nil, nil // no macro after all: the function is meant
		}),
	}
}

// stateOf turns the name of a claim into that of its state.
func (e *environment) stateOf(f cel.MacroExprFactory, arg ast.Expr) ast.Expr {
	path, ok := dotted(arg)
	if name, found := strings.CutPrefix(path, "device."); ok && found && e.claims[name] != nil {
		return f.NewSelect(arg, "state")
	}
	return arg
}

// dotted spells a chain of plain selections: device.disk_encryption.state.
func dotted(e ast.Expr) (string, bool) {
	switch e.Kind() {
	case ast.IdentKind:
		return e.AsIdent(), true
	case ast.SelectKind:
		sel := e.AsSelect()
		operand, ok := dotted(sel.Operand())
		return operand + "." + sel.FieldName(), ok && !sel.IsTestOnly()
	}
	return "", false
}

// reserved reports whether a word may not name the variable of all(), exists()
// and their like: it would hide an input.
func (e *environment) reserved(word string) bool { return e.names[word] }

// root is the first word of a dotted name.
func root(name string) string {
	word, _, _ := strings.Cut(strings.TrimPrefix(name, "."), ".")
	return word
}
