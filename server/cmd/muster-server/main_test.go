package main

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"muster/server/servertest"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

// TestScripts runs testdata/script/*.txtar against the built programs. Beside
// testscript's own commands they have:
//
//	exits CODE PROGRAM ARG...   the program ends with exactly this code
//	lacks FILE                  what was just printed does not contain the file's text
//	members NAME...             what was just printed is one JSON object with exactly these
//	await FILE                  the file appears
//	mode FILE PERM              the file's permissions, octal
//	stamp FILE                  @now@ in the file becomes the time
//	metadata ROOTS NUMBER=FILE...   FIDO metadata of a test's CA, with these numbers; old:N is past its last day
func TestScripts(t *testing.T) {
	program, _ := servertest.Programs(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(program)+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("MUSTER_DATA_DIR", filepath.Join(env.WorkDir, "data"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "lacks": lacks, "members": members, "await": await, "mode": mode, "stamp": stamp, "metadata": metadata(t),
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d\n%s%s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

func lacks(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: lacks FILE")
	}
	text := strings.TrimSpace(ts.ReadFile(args[0]))
	if text == "" || strings.Contains(ts.ReadFile("stdout")+ts.ReadFile("stderr"), text) {
		ts.Fatalf("the output contains %s, or that is empty", args[0])
	}
}

func members(ts *testscript.TestScript, neg bool, args []string) {
	var object map[string]json.RawMessage
	// A second value, or anything else on standard output, is an error here.
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &object))
	got := slices.Sorted(maps.Keys(object))
	slices.Sort(args)
	if neg || !slices.Equal(got, args) {
		ts.Fatalf("members %v, want %v", got, args)
	}
}

func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await FILE")
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no %s", args[0])
		}
	}
}

func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode FILE PERM")
	}
	want, err := strconv.ParseUint(args[1], 8, 32)
	ts.Check(err)
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := info.Mode().Perm(); got != os.FileMode(want) {
		ts.Fatalf("%s has mode %04o, want %04o", args[0], got, want)
	}
}

func stamp(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: stamp FILE")
	}
	text := strings.ReplaceAll(ts.ReadFile(args[0]), "@now@", time.Now().UTC().Format(time.RFC3339))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

func metadata(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < 2 {
			ts.Fatalf("usage: metadata ROOTS NUMBER=FILE...")
		}
		m := servertest.NewMetadata(t)
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(m.Roots()), 0o600))
		for _, arg := range args[1:] {
			text, file, _ := strings.Cut(arg, "=")
			due := time.Now().AddDate(0, 1, 0)
			if rest, old := strings.CutPrefix(text, "old:"); old {
				text, due = rest, time.Now().AddDate(0, -2, 0)
			}
			number, err := strconv.Atoi(text)
			ts.Check(err)
			ts.Check(os.WriteFile(ts.MkAbs(file), []byte(m.BLOB(number, due)), 0o600))
		}
	}
}
