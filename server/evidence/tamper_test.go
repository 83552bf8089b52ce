package evidence

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// uncovered are the members of a whole file that may be changed unnoticed, by
// pattern, and why. Everything else is tied to something.
func uncovered() map[string]string {
	return map[string]string{
		"exported/at":      "when the file was made, by the server's word",
		"exported/version": "what made it, by its own word",
		"exported/head":    "only a head that was noted elsewhere can tell", "exported/head_seq": "the same",
		"exported":     "none of it is evidence",
		"device/state": "as registered when exported; the Result has it as of the decision", "device/class": "the same", "device/group": "the same", "device/owner": "the same",
		"device/created_at": "the server's own note", "device/approved_at": "the same", "device/approved_by": "the same", "device/cause": "the same",
		"device/dkb":                        "the boot key of now; the ones that signed are certified in the file",
		"enrolment/at":                      "the server's clock; the window of the challenge bounds it",
		"enrolment/finish/quote/log_sha256": "no TPM signs it, and the log of the first start is not in the file",
		"enrolment/session/*":               "what the server says that it knew, where nothing else shows it: the time, the cause",
		"statements/*/received_at":          "the server's clock; the nonce's issue bounds it",
	}
}

func isUncovered(at string) bool {
	for pattern := range uncovered() {
		if ok, _ := path.Match(pattern, at); ok {
			return true
		}
	}
	return false
}

// edit is one change of a file.
type edit struct {
	at, what string
	file     []byte
}

// texts are the members that hold JSON as text: they are taken apart too.
func isText(at string) bool {
	for _, pattern := range []string{
		"enrolment/begin", "enrolment/finish", "enrolment/session", "statements/*/quote", "statements/*/dkb", "statements/*/result",
		"decision/detail", "before", "baselines/*/set",
	} {
		if ok, _ := path.Match(pattern, at); ok {
			return true
		}
	}
	return false
}

// edits makes every change of a tree of JSON: each member changed in several ways,
// and removed.
func edits(t testing.TB, b []byte, each func(edit)) {
	var root any
	if err := json.Unmarshal(b, &root); err != nil {
		t.Fatal(err)
	}
	var walk func(at string, v any, put func(any) any)
	walk = func(at string, v any, put func(any) any) {
		change := func(what string, to any) {
			file, err := json.Marshal(put(to))
			if err != nil {
				t.Fatal(err)
			}
			put(v)
			each(edit{at, what, file})
		}
		switch v := v.(type) {
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(v)) {
				was, below := v[name], strings.TrimPrefix(at+"/"+name, "/")
				walk(below, was, func(to any) any { v[name] = to; return put(v) })
				delete(v, name)
				file, _ := json.Marshal(put(v)) // it was read from JSON
				v[name] = was
				each(edit{below, "removed", file})
			}
		case []any:
			for i := range v {
				walk(at+"/"+strconv.Itoa(i), v[i], func(to any) any { v[i] = to; return put(v) })
			}
			if len(v) > 0 {
				change("shorter", v[:len(v)-1])
				change("doubled", append(slices.Clone(v), v[0]))
			}
		case string:
			for what, to := range strangeTexts(v) {
				change(what, to)
			}
			if isText(at) && strings.HasPrefix(v, "{") {
				var inner any
				if err := json.Unmarshal([]byte(v), &inner); err != nil {
					t.Fatalf("%s: %v", at, err)
				}
				walk(at, inner, func(to any) any {
					text, _ := json.Marshal(to) // it was read from JSON
					return put(string(text))
				})
				put(v)
			}
		case float64:
			change("larger", v+1)
			change("zero", 0)
		case bool:
			change("turned", !v)
		}
	}
	walk("", root, func(to any) any {
		if to != nil {
			root = to
		}
		return root
	})
}

func strangeTexts(s string) map[string]any {
	other := map[string]any{"empty": "", "longer": s + "A"}
	if s == "" {
		delete(other, "empty")
		return other
	}
	for name, at := range map[string]int{"middle": len(s) / 2, "last": len(s) - 1} {
		b := []byte(s)
		if b[at] == 'A' {
			b[at] = 'B'
		} else {
			b[at] = 'A'
		}
		other[name+" letter"] = string(b)
	}
	if s == "restrict" {
		other["another outcome"] = "allow"
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		other["later"] = at.Add(time.Hour).Format(time.RFC3339Nano)
		other["earlier"] = at.Add(-time.Hour).Format(time.RFC3339Nano)
	}
	return other
}

// shape is what a verdict comes to, without its sentences.
func (v *Verdict) shape() string {
	var b strings.Builder
	for _, c := range v.Checks {
		fmt.Fprintf(&b, "%s=%s ", c.Point, c.Standing)
	}
	return b.String()
}

// Every member of a file is tied to something: changed or removed, it is noticed,
// unless it is listed with the reason why nobody can.
func TestEveryChangeIsNoticed(t *testing.T) {
	t.Parallel()
	m := honest(t)
	file := must[[]byte](t)(m.file.Encode())
	want := must[*Verdict](t)(Verify(file, m.roots, nil))
	var same any
	if err := json.Unmarshal(file, &same); err != nil {
		t.Fatal(err)
	}
	if again, _ := json.Marshal(same); must[*Verdict](t)(Verify(again, m.roots, nil)).shape() != want.shape() {
		t.Fatal("the same file written otherwise is not the same")
	}
	var list []edit
	edits(t, file, func(e edit) { list = append(list, e) })
	if testing.Short() {
		list = slices.DeleteFunc(list, func(e edit) bool { return len(e.at)%4 != 0 })
	}
	var mu sync.Mutex
	unnoticed := map[string][]string{}
	var done sync.WaitGroup
	work := make(chan edit)
	for range 2 {
		done.Go(func() {
			for e := range work {
				v, err := Verify(e.file, m.roots, nil)
				if err == nil && v.Whole() && v.shape() == want.shape() {
					mu.Lock()
					unnoticed[e.at] = append(unnoticed[e.at], e.what)
					mu.Unlock()
				}
			}
		})
	}
	for _, e := range list {
		work <- e
	}
	close(work)
	done.Wait()
	for _, at := range slices.Sorted(maps.Keys(unnoticed)) {
		if !isUncovered(at) {
			t.Errorf("%s may be changed unnoticed: %v", at, unnoticed[at])
		}
	}
	t.Logf("%d changes", len(list))
}
