package decide

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadme runs the example of README.md, and compares its list of fields with
// the vocabulary.
func TestReadme(t *testing.T) {
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(data)
	_, rest, _ := strings.Cut(readme, "```yaml\n")
	example, _, found := strings.Cut(rest, "```\n")
	if !found {
		t.Fatal("no example")
	}
	results := load(t, example).Test(func(name string) ([]byte, error) { return os.ReadFile(filepath.FromSlash(name)) })
	if len(results) != 3 {
		t.Errorf("%d tests ran", len(results))
	}
	for _, r := range results {
		if r.Problem != "" {
			t.Error(r)
		}
	}
	told := map[string]bool{}
	for _, line := range strings.Split(readme, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 4 {
			continue
		}
		for _, claim := range strings.Split(strings.TrimSpace(cells[1]), ", ") {
			words, _, _ := strings.Cut(cells[2], "(")
			for _, word := range strings.Fields(words) {
				told["device."+claim+"."+word] = true
			}
			for _, member := range []string{"state", "reason", "source", "tier", "age"} {
				told["device."+claim+"."+member] = true
			}
		}
	}
	_, own, _ := strings.Cut(readme, "**Fields of device**")
	own, _, _ = strings.Cut(own, "\n\n")
	for _, f := range fields() {
		name := strings.TrimPrefix(f.path, "device.")
		if !told[f.path] && !strings.Contains(own, "`"+name+"`") {
			t.Errorf("README.md does not tell of %s", f.path)
		}
		delete(told, f.path)
	}
	for path := range told {
		if !strings.HasSuffix(path, ".none") && !strings.Contains(path, "---") && !strings.HasPrefix(path, "device.claim.") {
			t.Errorf("README.md tells of %s, which is not there", path)
		}
	}
	for _, code := range reservedCodes()[:6] {
		if !strings.Contains(readme, "`"+code+"`") {
			t.Errorf("README.md does not tell of the reason %s", code)
		}
	}
	for _, c := range constants() {
		if !strings.Contains(readme, c.name) {
			t.Errorf("README.md does not tell of %s", c.name)
		}
	}
}
