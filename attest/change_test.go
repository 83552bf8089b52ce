package attest_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// reject is one refused case of testdata/vectors: an accepted one and a change.
type reject struct {
	About   string   `json:"about"`
	Check   string   `json:"check"`
	From    string   `json:"from"`
	Changes []change `json:"change"`
	Code    string   `json:"code"`
}

// change replaces something of a vector's JSON at a path (RFC 6901). A splice
// cuts text out of a string at a character offset and puts other text there,
// Times times when that is not 0; otherwise the whole member is replaced, absent
// standing for no such member.
type change struct {
	Path  string `json:"path"`
	At    *int   `json:"at,omitempty"`
	Cut   string `json:"cut,omitempty"`
	Put   string `json:"put,omitempty"`
	Times int    `json:"times,omitzero"`
	Was   any    `json:"was,omitempty"`
	Now   any    `json:"now,omitempty"`
}

// apply makes the change, or takes it back, and fails when what it replaces is
// not there.
func (c change) apply(tree map[string]any, undo bool) error {
	parent, last := tree, c.Path[1:]
	for {
		head, rest, more := strings.Cut(last, "/")
		if !more {
			break
		}
		next, ok := parent[head].(map[string]any)
		if !ok {
			return fmt.Errorf("%s: nothing at %s", c.Path, head)
		}
		parent, last = next, rest
	}
	if c.At != nil {
		return c.splice(parent, last, undo)
	}
	was, now := c.Was, c.Now
	if undo {
		was, now = now, was
	}
	if !reflect.DeepEqual(parent[last], was) {
		return fmt.Errorf("%s is %v, not %v", c.Path, parent[last], was)
	}
	if now == nil {
		delete(parent, last)
	} else {
		parent[last] = now
	}
	return nil
}

func (c change) splice(parent map[string]any, last string, undo bool) error {
	cut, put := c.Cut, strings.Repeat(c.Put, max(1, c.Times))
	if undo {
		cut, put = put, cut
	}
	text, ok := parent[last].(string)
	if !ok || *c.At > len(text) || !strings.HasPrefix(text[*c.At:], cut) {
		return fmt.Errorf("%s has not %.40q at %d", c.Path, cut, *c.At)
	}
	parent[last] = text[:*c.At] + put + text[*c.At+len(cut):]
	return nil
}

// applyAll makes the changes in order, or takes them back in reverse.
func applyAll(tree map[string]any, changes []change, undo bool) error {
	changes = slices.Clone(changes)
	if undo {
		slices.Reverse(changes)
	}
	for _, c := range changes {
		if err := c.apply(tree, undo); err != nil {
			return err
		}
	}
	return nil
}

// difference finds the changes that make one tree of another.
func difference(path string, was, now any) (changes []change) {
	if reflect.DeepEqual(was, now) {
		return nil
	}
	a, okA := was.(map[string]any)
	b, okB := now.(map[string]any)
	if okA && okB {
		keys := maps.Clone(a)
		maps.Copy(keys, b)
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			changes = append(changes, difference(path+"/"+key, a[key], b[key])...)
		}
		return changes
	}
	s, okS := was.(string)
	u, okU := now.(string)
	if okS && okU {
		return splices(path, s, u)
	}
	return []change{{Path: path, Was: was, Now: now}}
}

// splices compares two strings, the dot-separated parts of a JWS one by one,
// the last first so that offsets stay true.
func splices(path, was, now string) (changes []change) {
	a, b := strings.Split(was, "."), strings.Split(now, ".")
	if len(a) != len(b) {
		a, b = []string{was}, []string{now}
	}
	end := len(was)
	for i := len(a) - 1; i >= 0; i-- {
		start := end - len(a[i])
		if a[i] != b[i] {
			head := prefixLen(a[i], b[i])
			tail := min(suffixLen(a[i], b[i]), len(a[i])-head, len(b[i])-head)
			at := start + head
			changes = append(changes, change{Path: path, At: &at, Cut: a[i][head : len(a[i])-tail], Put: b[i][head : len(b[i])-tail]})
		}
		end = start - 1
	}
	return changes
}

func prefixLen(a, b string) (n int) {
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

func suffixLen(a, b string) (n int) {
	for n < min(len(a), len(b)) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}
