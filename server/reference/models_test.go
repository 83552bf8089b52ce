package reference

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestModelName(t *testing.T) {
	for id, want := range map[string]string{
		"08987058-cadc-4b81-b6e1-30de50dcbe96": "Windows Hello", // the first line
		"ea9b8d66-4d01-1d21-3ce4-b6b48cb575d4": "Google Password Manager",
		"fdb141b2-5d84-443e-8a35-4698c205a502": "KeePassXC", // the last
		"00000000-0000-0000-0000-000000000000": "",
		modelOne:                               "",
	} {
		if got := ModelName(model(t, id)); got != want {
			t.Errorf("%s is %q, want %q", id, got, want)
		}
	}
}

// The list is in the form that ModelName reads, each model once.
func TestModels(t *testing.T) {
	last := ""
	for line := range strings.Lines(models) {
		id, name, found := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !found || model(t, id).String() != id || id <= last {
			t.Errorf("line %q: not an AAGUID in order", line)
		}
		if name == "" || name != printable(name) || strings.TrimSpace(name) != name || !utf8.ValidString(name) {
			t.Errorf("line %q: not a name", line)
		}
		last = id
	}
	if strings.Count(models, "\n") < 40 {
		t.Errorf("only %d models", strings.Count(models, "\n"))
	}
}

func TestAAGUIDText(t *testing.T) {
	const id = "08987058-cadc-4b81-b6e1-30de50dcbe96"
	if got := model(t, strings.ToUpper(id)).String(); got != id {
		t.Errorf("read as %s", got)
	}
	if b, err := json.Marshal(map[AAGUID]AAGUID{model(t, id): model(t, id)}); err != nil || string(b) != `{"`+id+`":"`+id+`"}` {
		t.Errorf("JSON is %s, %v", b, err)
	}
	for _, bad := range []string{"", id[1:], id + "0", strings.ReplaceAll(id, "-", ""), "0898705-8cadc-4b81-b6e1-30de50dcbe96",
		"{" + id[1:35] + "}", "0898705g" + id[8:], "0898705-" + id[8:], id[:35] + "-", strings.Repeat("-", 36)} {
		a := AAGUID{1}
		if err := a.UnmarshalText([]byte(bad)); err == nil || a != (AAGUID{1}) {
			t.Errorf("%q was read as %s", bad, a)
		}
	}
}
