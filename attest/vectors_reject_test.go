package attest_test

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/go-json-experiment/json"

	"muster/attest"
)

// With -update, TestVectorsAreCurrent writes the vectors.
var update = flag.Bool("update", false, "write testdata/vectors")

// tree is a vector as plain JSON values.
func tree(t testing.TB, v any) (out map[string]any) {
	t.Helper()
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// fromTree reads a vector back, strictly.
func fromTree(t testing.TB, tr map[string]any) *vector {
	t.Helper()
	b, err := json.Marshal(tr)
	if err != nil {
		t.Fatal(err)
	}
	v := new(vector)
	if err := json.Unmarshal(b, v, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	return v
}

func rejections() []rejection {
	return slices.Concat(statementRejections(), payloadRejections(), tpmRejections())
}

// make applies a rejection's edit to a copy and finds what changed.
func (r rejection) make(t testing.TB, from made) *reject {
	t.Helper()
	out := &reject{About: r.about, Check: r.check, From: r.from, Code: string(r.code), Changes: r.changes}
	if r.edit != nil {
		was := tree(t, from.vector)
		v, l := fromTree(t, was), *from.lab
		r.edit(v, &l)
		out.Changes = difference("", was, tree(t, v))
	}
	if len(out.Changes) == 0 {
		t.Fatalf("%s changes nothing", r.name)
	}
	return out
}

// TestVectorsAreCurrent makes every vector again and compares the files.
func TestVectorsAreCurrent(t *testing.T) {
	want := map[string]any{}
	accepted := acceptVectors()
	for name, m := range accepted {
		want[name] = m.vector
	}
	for _, r := range rejections() {
		if _, twice := want[r.name]; twice {
			t.Fatalf("two vectors named %s", r.name)
		}
		from, ok := accepted[r.from]
		if !ok {
			t.Fatalf("%s: no accepted vector %s", r.name, r.from)
		}
		want[r.name] = r.make(t, from)
	}
	if *update {
		if err := os.MkdirAll(vectorDir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, v := range want {
			writeVector(t, name, v)
		}
	}
	for name, v := range want {
		if got := readVector[map[string]any](t, name); !reflect.DeepEqual(got, tree(t, v)) {
			t.Errorf("%s.json is not what this test makes (-update writes it)", name)
		}
	}
	files, err := filepath.Glob(vectorDir + "/*.json")
	if err != nil || len(files) != len(want) {
		t.Errorf("%d files for %d vectors (%v)", len(files), len(want), err)
	}
}

// TestVectorsRejected: each change is refused for its reason, and accepted again
// when it is undone.
func TestVectorsRejected(t *testing.T) {
	names, codes, checks := vectorNames(t, true), map[string]bool{}, map[string]int{}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			r := readVector[reject](t, name)
			codes[r.Code] = true
			checks[r.Check]++
			tr := readVector[map[string]any](t, r.From)
			if err := applyAll(tr, r.Changes, false); err != nil {
				t.Fatal(err)
			}
			changed := fromTree(t, tr)
			_, err := changed.judge()
			t.Logf("%s: %v", r.About, err)
			if codeOf(err) != attest.Code(r.Code) {
				t.Fatalf("%s: refused as %q (%v), not as %q", r.About, codeOf(err), err, r.Code)
			}
			if err := applyAll(tr, r.Changes, true); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(tr, readVector[map[string]any](t, r.From)) {
				t.Fatal("undone, it is not the accepted vector")
			}
			if _, err := fromTree(t, tr).judge(); err != nil {
				t.Fatalf("undone, it is refused: %v", err)
			}
		})
	}
	for _, code := range constantsOf(t, ".", "Code") {
		if !codes[code] {
			t.Errorf("no vector is refused as %s", code)
		}
	}
	counted := 0 // at most three of one check
	for _, n := range checks {
		counted += min(n, 3)
	}
	if counted < 60 {
		t.Errorf("%d rejected vectors count, not 60", counted)
	}
	t.Logf("%d rejected vectors of %d checks, %d count", len(names), len(checks), counted)
}
