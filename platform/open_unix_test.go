//go:build unix

package platform

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestOpenTakesPagesOnly(t *testing.T) {
	for _, page := range []string{
		"", "file:///etc/passwd", "javascript:alert(1)", "-x", "muster://link/a/b", "HTTPS://muster.example", "https://a.example/ b",
		"https://a.example/\n", "https://a.example/\"", "https://a.example/\x00", "https://a.example/ü", "https://a.example/`x`", `https://a.example/\`,
	} {
		// The zero value has an empty list: what gets as far finds no tool.
		if err := (Commands{}).Open(page); err == nil || errors.Is(err, ErrNoTool) {
			t.Errorf("%q: %v", page, err)
		}
	}
	if err := (Commands{}).Open("https://muster.example/link#x"); !errors.Is(err, ErrNoTool) {
		t.Errorf("without a tool: %v", err)
	}
}

func TestOpenHandsThePageOver(t *testing.T) {
	dir := t.TempDir()
	tool, got := filepath.Join(dir, "tool"), filepath.Join(dir, "got")
	script := "#!/bin/sh\nprintf '%s' \"$#$1$MUSTER_TEST_DESKTOP\" >" + got + "\n"
	must(t, os.WriteFile(tool, []byte(script), 0o755))
	t.Setenv("MUSTER_TEST_DESKTOP", "+seen")
	c := Commands{tools: map[string][]string{opener(runtime.GOOS): {tool}}, anyOwner: true}
	must(t, c.Open("https://muster.example/$(x);y#z"))
	data, err := os.ReadFile(got)
	must(t, err)
	if string(data) != "1https://muster.example/$(x);y#z+seen" {
		t.Errorf("the program got %q", data)
	}
	must(t, os.WriteFile(tool, []byte("#!/bin/sh\nexit 3\n"), 0o755))
	if err := c.Open("https://muster.example/"); err == nil {
		t.Error("a program that could not open it counts as one that did")
	}
}
