package decide

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"muster/attest/posture"
	"muster/server/verify"
)

// TestFieldsComplete: every claim of the Report has its fields and its words.
func TestFieldsComplete(t *testing.T) {
	e, err := language()
	if err != nil {
		t.Fatal(err)
	}
	var r verify.Result
	every := map[string]*posture.Claim{"boot": &r.Boot.Claim, "boot_baseline": &r.Boot.Baseline}
	maps.Insert(every, r.Boot.Claims.Each())
	maps.Insert(every, r.Claims.Each()) // where both have one, the Result's is what counts
	if len(every) != len(claims()) {
		t.Errorf("%d claims, of %d there are", len(claims()), len(every))
	}
	for name, c := range every {
		if e.claims[name] == nil || e.claims[name](&r) != c {
			t.Errorf("claim %s is not its own", name)
		}
		for _, member := range []string{"state", "reason", "source", "tier", "age"} {
			if _, ok := e.index["device."+name+"."+member]; !ok {
				t.Errorf("no device.%s.%s", name, member)
			}
		}
	}
	for _, f := range e.fields {
		for _, platform := range []posture.Platform{posture.Linux, posture.Windows, posture.Darwin} {
			text, fix := e.advice(f.claim, platform, "", false)
			unknown, _ := e.advice(f.claim, platform, "", true)
			if !sentence(text) || !sentence(fix) || !sentence(unknown) || text == unknown || strings.HasPrefix(fix, "Ask an administrator what") {
				t.Errorf("%s on %s: %q %q %q", f.claim, platform, text, unknown, fix)
			}
		}
		if len(e.index) != len(e.fields) {
			t.Fatal("a field is there twice")
		}
	}
}

func sentence(s string) bool {
	return strings.HasSuffix(s, ".") && s[0] >= 'A' && s[0] <= 'Z' && !strings.Contains(s, "\n")
}

// TestReasonsHaveWords reads the reasons for unknown from the source of posture,
// bootlog and verify: each must be put in words, so that a new one is not forgotten.
func TestReasonsHaveWords(t *testing.T) {
	found := 0
	begins := func(doc string) bool {
		for _, of := range []string{"Reasons for which a claim is unknown", "Reasons that only the Verifier", "Reasons of the claim boot.", "Reasons of boot claims that are unknown", "Why a fact is not known"} {
			if strings.HasPrefix(doc, of) {
				return true
			}
		}
		return false
	}
	for _, file := range []string{"../../attest/posture/reason.go", "../../attest/bootlog/fact.go", "../verify/appraise.go", "../verify/boot.go", "../verify/bootclaim.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || !begins(gen.Doc.Text()) {
				continue
			}
			for _, spec := range gen.Specs {
				text, ok := spec.(*ast.ValueSpec).Values[0].(*ast.BasicLit)
				if !ok {
					continue // bootlog's under another name
				}
				code, err := strconv.Unquote(text.Value)
				if err != nil {
					t.Fatal(err)
				}
				found++
				if whyUnknown(posture.Reason(code)) == "" {
					t.Errorf("%s has no words", code)
				}
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d reasons were found", found)
	}
}

// TestChainHasParts reads the reasons of boot claims that are no from the source of
// verify: where boot_chain fails for one, a person reads what to do about it.
func TestChainHasParts(t *testing.T) {
	e, err := language()
	if err != nil {
		t.Fatal(err)
	}
	f, err := parser.ParseFile(token.NewFileSet(), "../verify/bootclaim.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	reasons := []string{string(posture.SecureBootOff), string(posture.SetupMode), string(verify.LogMismatch), string(verify.LogIncomplete)}
	for _, decl := range f.Decls {
		if gen, ok := decl.(*ast.GenDecl); ok && strings.HasPrefix(gen.Doc.Text(), "Reasons of boot claims that are no.") {
			for _, spec := range gen.Specs {
				code, err := strconv.Unquote(spec.(*ast.ValueSpec).Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				if posture.Reason(code) != verify.NoHVCI { // of boot_security, which is no part
					reasons = append(reasons, code)
				}
			}
		}
	}
	if len(reasons) < 14 {
		t.Errorf("only %d reasons were found", len(reasons))
	}
	for _, reason := range reasons {
		part := partOfChain(posture.Reason(reason))
		if part == chainClaim || e.claims[part] == nil {
			t.Errorf("%s is of no part: %q", reason, part)
		}
		text, fix := e.advice(chainClaim, posture.Linux, posture.Reason(reason), false)
		if wantText, wantFix := e.advice(part, posture.Linux, posture.Reason(reason), false); text != wantText || fix != wantFix || !sentence(fix) {
			t.Errorf("%s: %q %q", reason, text, fix)
		}
	}
	if text, _ := e.advice(chainClaim, posture.Linux, verify.NoBootLog, true); !strings.Contains(text, "the boot log is missing") {
		t.Errorf("unknown: %q", text)
	}
}

// TestFindingsAreReserved: no rule can have the code of a finding as its id.
func TestFindingsAreReserved(t *testing.T) {
	found := 0
	for _, file := range []string{"../verify/appraise.go", "../verify/boot.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(spec.Names[0].Name, "Finding") {
				return true
			}
			code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if found++; err != nil || !slices.Contains(reservedCodes(), code) {
				t.Errorf("%s: %v", code, err)
			}
			return true
		})
	}
	if found < 10 {
		t.Errorf("only %d findings were found", found)
	}
}

// TestStandingReasons: every code that needs no rule has its own words.
func TestStandingReasons(t *testing.T) {
	for _, code := range []string{codeAppUnknown, codeNoReport, codePending, codeRevoked, codeReportStale, codeInternal} {
		if r := standingReason(code); r.Code != code || !sentence(r.Text) || !sentence(r.Fix) || r.Outcome != Deny {
			t.Errorf("%+v", r)
		}
	}
}

// TestUnknownClaimHidesDetail fills every detail of every claim and then makes
// the claims unknown: nothing of them may be known any more.
func TestUnknownClaimHidesDetail(t *testing.T) {
	var r verify.Result
	fill(reflect.ValueOf(&r.Claims).Elem())
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	look := reading{in: &Inputs{HasResult: true}, now: now, known: aboutDevice}
	known := func(state posture.State) (n int) {
		for _, c := range r.Claims.Each() {
			c.State = state
		}
		look.in.Device = r
		for _, f := range fields() {
			if isClaim := f.about == aboutDevice && strings.Count(f.path, ".") == 2; isClaim && f.value(&look) != nil {
				n++
				if state != posture.Yes && state != posture.No {
					t.Errorf("%s is known while its claim is %d", f.path, state)
				}
			}
		}
		return n
	}
	if n := known(posture.Yes); n < 90 {
		t.Errorf("only %d fields are known of a device that tells all", n)
	}
	known(posture.Unknown)
	known(posture.State(7)) // out of range is unknown as well
}

// TestZeroDetailIsUnknown: a claim that is yes and says nothing more has no
// detail that could be compared.
func TestZeroDetailIsUnknown(t *testing.T) {
	var r verify.Result
	for _, c := range r.Claims.Each() {
		c.State = posture.Yes
	}
	look := reading{in: &Inputs{Device: r, HasResult: true}, now: noon(), known: aboutDevice}
	proper := map[string]bool{"state": true, "reason": true, "source": true}
	for _, f := range fields() {
		parts := strings.Split(f.path, ".")
		if f.about == aboutDevice && len(parts) == 3 && !proper[parts[2]] && f.value(&look) != nil {
			t.Errorf("%s is known of a detail that is empty", f.path)
		}
	}
}

// fill gives everything below v a value that is not zero.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.String:
		v.SetString("x")
	case reflect.Int:
		v.SetInt(1)
	case reflect.Uint8:
		v.SetUint(1)
	}
}

func TestVersions(t *testing.T) {
	for _, test := range []struct {
		have, want string
		atLeast    bool
	}{
		{"14.2", "14.2", true}, {"14.10", "14.2", true}, {"9", "14", false}, {"14", "14.0", true}, {"14", "14.0.1", false},
		{"15.2-beta1", "15.2", false}, {"15.2-beta1", "15.1", true}, {"6.12-rc3", "6.12", false}, {"6.12.0-rc3", "6.12-rc1", true},
		{"15.2b1", "15.2", false}, {"15.2~1", "15.2", false}, {"6.1.0-28-amd64", "6.1.0", true}, {"6.1.0-28-amd64", "6.1.0-29", false},
		{"10.0.26100.2314", "10.0.26100", true}, {"26100", "26100", true}, {"12", "11.9", true},
	} {
		h, okHave := parseVersion(test.have)
		w, okWant := parseVersion(test.want)
		if !okHave || !okWant || h.atLeast(w) != test.atLeast {
			t.Errorf("%s at least %s: %v %v %v", test.have, test.want, h.atLeast(w), okHave, okWant)
		}
	}
	for _, none := range []string{"", "x", "-1", ".1", "v12", "99999999999999999999999", strings.Repeat("1.", 100)} {
		if v, ok := parseVersion(none); ok {
			t.Errorf("%q is the version %v", none, v)
		}
	}
}
