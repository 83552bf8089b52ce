package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"muster-agent": main})
}

// TestScripts runs the real program, one process a command.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "claim": claim, "mode": mode, "door": door,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("STATE", e.WorkDir+"/state")
			return nil
		},
	})
}

// exits CODE ARGS... runs the program and wants that exit code, with everything
// else on standard output and error for later lines.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("muster-agent", args[1:]...)
	got := "exit status 0"
	if err != nil {
		got = err.Error()
	}
	if got != "exit status "+args[0] {
		ts.Fatalf("muster-agent %v: %s, want %s", args[1:], got, args[0])
	}
}

// claim NAME MEMBER VALUE wants a member of a claim in the report on standard
// output; a VALUE of "-" wants it absent or empty, and "*" anything that is there.
func claim(ts *testscript.TestScript, neg bool, args []string) {
	var report struct {
		Claims map[string]map[string]any `json:"claims"`
	}
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &report); err != nil {
		ts.Fatalf("standard output is no report: %v", err)
	}
	c, ok := report.Claims[args[0]]
	if !ok {
		ts.Fatalf("no claim %s", args[0])
	}
	got, _ := json.Marshal(c[args[1]])
	text := strings.Trim(string(got), `"`)
	match := text == args[2] || args[2] == "*" && text != "null"
	if match == neg {
		ts.Fatalf("%s %s is %s", args[0], args[1], text)
	}
}

// mode PERM FILE wants exactly these permissions.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := info.Mode().Perm(); got.String() != fs.FileMode(parseOctal(args[0])).String() {
		ts.Fatalf("%s has mode %v", args[1], got)
	}
}

func parseOctal(s string) (n uint32) {
	for _, c := range s {
		n = n<<3 | uint32(c-'0')
	}
	return n
}

// A terminal's width and one screen: usage is read there.
func TestUsageFits(t *testing.T) {
	for i, line := range strings.Split(usage, "\n") {
		if len(line) > 80 || strings.Contains(line, "\t") {
			t.Errorf("line %d is wider than a terminal: %q", i+1, line)
		}
	}
	for name := range commands() {
		if !strings.Contains(usage, name) {
			t.Errorf("usage does not tell of %s", name)
		}
	}
}
