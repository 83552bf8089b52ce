package decide

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const diffBase = `limits: {report_age: 1h}
apps:
- {id: wiki, hosts: [b.example, a.example], sensitivity: low, devices: true}
- {id: mail, hosts: [mail.example], sensitivity: medium}
require:
- {id: one, that: device.firewall.state == YES, otherwise: restrict}
- {id: two, for: app.sensitivity >= MEDIUM, that: device.disk_encryption.state == YES, grace: 24h}
- {id: three, that: "device.os.id == 'a  b' || device.os.id == 'debian'"}
`

func TestDiff(t *testing.T) {
	for _, test := range []struct {
		name string
		edit []string // old, new, old, new, ...
		want []string
	}{
		{"nothing", nil, nil},
		{"how it is written", []string{
			"{report_age: 1h}", "{report_age: 60m} # the same",
			"[b.example, a.example]", "[a.example, b.example]",
			"that: device.firewall.state == YES", "that: \"device.firewall.state==YES // why\"",
			"for: app.sensitivity >= MEDIUM", "for: app.sensitivity    >=   MEDIUM",
			"grace: 24h", "grace: 1d",
		}, nil},
		{"blanks inside quotes", []string{"'a  b'", "'a b'"}, []string{
			"rule three: that device.os.id == 'a  b' || device.os.id == 'debian' → device.os.id == 'a b' || device.os.id == 'debian'"}},
		{"applications", []string{"a.example", "c.example", "sensitivity: low", "sensitivity: high", ", devices: true", ""}, []string{
			"application wiki: hosts a.example b.example → b.example c.example",
			"application wiki: sensitivity low → high",
			"application wiki: devices laptops may ask by themselves → people only",
		}},
		{"another application", []string{"id: mail, hosts: [mail.example]", "id: post"}, []string{
			"application post: added: hosts none, sensitivity medium, people only, open without elevation",
			"application mail: removed",
		}},
		{"rules", []string{"otherwise: restrict", "otherwise: report_only, text: Why.", "grace: 24h", "grace: 1h, grace_unknown: true, fix: Do."}, []string{
			"rule one: otherwise restrict → report_only",
			`rule one: text the usual words → "Why."`,
			"rule two: grace 24h → 1h for what is unknown as well",
			`rule two: fix the usual words → "Do."`,
		}},
		{"scope", []string{"for: app.sensitivity >= MEDIUM, ", ""}, []string{"rule two: for app.sensitivity >= MEDIUM → always"}},
		{"severity", []string{", otherwise: restrict", ""}, []string{"rule one: otherwise restrict → deny"}},
		{"another rule", []string{"id: two", "id: deux"}, []string{
			"rule deux: added: for app.sensitivity >= MEDIUM, that device.disk_encryption.state == YES, otherwise deny, grace 24h",
			"rule two: removed",
		}},
		{"limits", []string{"{report_age: 1h}", "{report_age: 2d, sessions: {low: {idle: 1h}, privileged: {absolute: 90m}}}"}, []string{
			"limits: report_age 1h → 2d", "limits: sessions.low.idle 12h → 1h", "limits: sessions.privileged.absolute 4h → 90m",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := diffBase
			for i := 0; i < len(test.edit); i += 2 {
				if !strings.Contains(text, test.edit[i]) {
					t.Fatalf("no %q to replace", test.edit[i])
				}
				text = strings.Replace(text, test.edit[i], test.edit[i+1], 1)
			}
			got := changesOf(Diff(load(t, diffBase), load(t, text)))
			if !slices.Equal(got, test.want) {
				t.Errorf("found\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(test.want, "\n  "))
			}
		})
	}
}

func changesOf(changes []Change) (lines []string) {
	for _, c := range changes {
		lines = append(lines, c.What+": "+c.How)
	}
	return lines
}

// TestDiffElevation has the terms under which an application opens.
func TestDiffElevation(t *testing.T) {
	const apps = "apps: [{id: prod, sensitivity: privileged%s}]\nrequire: []\n"
	terms := []string{"", ", elevation: {lasts: 15m}", ", elevation: {lasts: 15m, approval: leads}"}
	words := []string{"open without elevation", "opened for 15m", "opened for 15m with approval of leads"}
	for i := range terms {
		for j := range terms {
			got := changesOf(Diff(load(t, fmt.Sprintf(apps, terms[i])), load(t, fmt.Sprintf(apps, terms[j]))))
			want := []string{"application prod: elevation " + words[i] + " → " + words[j]}
			if i == j {
				want = nil
			}
			if !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		}
	}
}

// TestDiffOrder moves rules: each that moved is told, and no more than needed.
func TestDiffOrder(t *testing.T) {
	policy := func(ids string) *Policy {
		text := oneApp + "require:\n"
		for _, id := range strings.Fields(ids) {
			text += "- {id: " + id + ", that: device.firewall.state == YES}\n"
		}
		return load(t, text)
	}
	for _, test := range []struct{ from, to, want string }{
		{"a b c d", "a b c d", ""},
		{"a b c d", "d a b c", "rule d: moved: it comes first now"},
		{"a b c d", "b c d a", "rule a: moved: it comes after d now"},
		{"a b c d", "a c b d", "rule b: moved: it comes after c now"},
		{"a b c d", "a c d", "rule b: removed"},
		{"a b", "b a", "rule a: moved: it comes after b now"},
	} {
		got := changesOf(Diff(policy(test.from), policy(test.to)))
		if strings.Join(got, "; ") != test.want {
			t.Errorf("%s to %s: %v, want %s", test.from, test.to, got, test.want)
		}
	}
}

// TestDiffOrderIsLeast shuffles rules, and compares how many moved with the
// longest run that keeps its order, found by trying all of them.
func TestDiffOrderIsLeast(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	for range 300 {
		n := 1 + rng.IntN(7)
		from, to := make([]rule, n), make([]rule, n)
		order := rng.Perm(n)
		for i := range n {
			from[i].id, to[i].id = fmt.Sprint(i), fmt.Sprint(order[i])
		}
		longest := 0
		for set := range 1 << n {
			last, size := -1, 0
			for i, place := range order {
				if set&(1<<i) == 0 {
					continue
				}
				if place < last {
					size = -n
				}
				last, size = place, size+1
			}
			longest = max(longest, size)
		}
		stayed := inOrder(from, to)
		last := -1
		for _, place := range order {
			if stayed[fmt.Sprint(place)] {
				if place < last {
					t.Fatalf("%v: %v are not in order", order, stayed)
				}
				last = place
			}
		}
		if len(stayed) != longest {
			t.Fatalf("%v: %d stayed, %d could", order, len(stayed), longest)
		}
	}
}

// TestDiffNothing: no policy is one without anything, and a policy differs from it
// by all that it has; twice the same answer, which JSON has as a list.
func TestDiffNothing(t *testing.T) {
	p, _, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	added, removed := Diff(nil, p), Diff(p, nil)
	if len(added) < len(p.apps)+len(p.rules) || len(added) != len(removed) {
		t.Errorf("%d added, %d removed", len(added), len(removed))
	}
	if !reflect.DeepEqual(added, Diff(new(Policy), p)) {
		t.Error("not the same twice")
	}
	if same := Diff(p, p); same == nil || len(same) != 0 {
		t.Errorf("a policy differs from itself: %v", same)
	}
}

func TestCondense(t *testing.T) {
	for _, test := range []struct{ text, line, tight string }{
		{"", "", ""},
		{"  a\n  &&  b ", "a && b", "a&&b"},
		{"a // b\n&& c", "a && c", "a&&c"},
		{"a //", "a", "a"},
		{"x in  ['a']", "x in ['a']", "x in['a']"},
		{"x == 'a // b'  && y", "x == 'a // b' && y", "x=='a // b'&&y"},
		{`x == "it's  "  && y`, `x == "it's  " && y`, `x=="it's  "&&y`},
		{`x == 'it\'s  '  && y`, `x == 'it\'s  ' && y`, `x=='it\'s  '&&y`},
		{`x == r'\'  && y`, `x == r'\' && y`, `x==r'\'&&y`},
		{"x == '''a'  b'''  && y", "x == '''a'  b''' && y", "x=='''a'  b'''&&y"},
		{"x == ''  && y", "x == '' && y", "x==''&&y"},
		{"x == 'never  closed", "x == 'never  closed", "x=='never  closed"},
	} {
		if line, dense := condense(test.text), tight(test.text); line != test.line || dense != test.tight {
			t.Errorf("%q: %q and %q, want %q and %q", test.text, line, dense, test.line, test.tight)
		}
	}
}

// FuzzCondense: however a condition is written, what is made of it means the same
// written once more, and blanks around it make no difference.
func FuzzCondense(f *testing.F) {
	for _, text := range []string{"a  &&\n b", "x in ['a  b'] // c", `r'\' + "\""`, "'''a'b'''", "''", "'", `"\`, "a / / b", "//", "a\u00a0b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		line := condense(text)
		if again := condense(line); again != line && !strings.Contains(line, "//") {
			t.Errorf("%q becomes %q", line, again)
		}
		if got := condense(" \n" + text); got != line {
			t.Errorf("%q and %q", got, line)
		}
		if tight(line) != tight(text) && !strings.Contains(line, "//") {
			t.Errorf("%q and %q", tight(line), tight(text))
		}
	})
}
