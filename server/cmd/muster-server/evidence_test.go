package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"muster/attest"
	"muster/attest/tpmtest"
	"muster/server"
	"muster/server/servertest"
	"muster/server/verify"
)

// TestEvidence runs testdata/evidence/*.txtar against the built programs. Beside the
// commands of TestScripts they have:
//
//	holds MEMBER=VALUE...   what was just printed is JSON, and has this text there; / parts the names
//	decided KIND            a server decided about a laptop with a softkey or tpm, and has stopped: its id is
//	                        $DEVICE, its folder $MUSTER_DATA_DIR; roots.pem has the CA of the TPM
//	damage FILE OLD NEW     a text in the file, which is there, becomes another
func TestEvidence(t *testing.T) {
	program, _ := servertest.Programs(t)
	logs, err := filepath.Abs(filepath.Join("..", "..", "..", "attest", "bootlog", "testdata"))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/evidence",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(program)+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("MUSTER_DATA_DIR", filepath.Join(env.WorkDir, "data"))
			env.Setenv("LOGS", logs)
			return nil
		},
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "members": members, "mode": mode, "holds": holds, "damage": damage, "decided": decided(t)},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

func holds(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: holds MEMBER=VALUE...")
	}
	var all any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &all))
	for _, arg := range args {
		path, want, _ := strings.Cut(arg, "=")
		got := all
		for _, name := range strings.Split(path, "/") {
			object, _ := got.(map[string]any)
			got = object[name]
		}
		b, err := json.Marshal(got)
		ts.Check(err)
		if text, ok := got.(string); ok {
			b = []byte(text)
		}
		if string(b) != want {
			ts.Fatalf("%s is %s, not %s", path, b, want)
		}
	}
}

func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: damage FILE OLD NEW")
	}
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(text, args[1], args[2], 1)), 0o600))
}

func decided(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 1 {
			ts.Fatalf("usage: decided KIND")
		}
		var srv *servertest.Server
		switch args[0] {
		case "softkey":
			srv = servertest.Start(t)
			device, err := srv.SoftDevice(srv.Token(server.TokenRequest{MinLevel: verify.Software}), "", nil)
			ts.Check(err)
			body, _, err := device.Compose(true)
			ts.Check(err)
			if status, reply, err := device.Post(attest.PathReport, body); err != nil || status != http.StatusOK {
				ts.Fatalf("report: %d %s %v", status, reply, err)
			}
			ts.Setenv("DEVICE", device.ID)
		case "tpm":
			chip := tpmtest.Start(t)
			ts.Check(os.WriteFile(ts.MkAbs("roots.pem"), chip.Roots(), 0o600))
			srv = servertest.Start(t, func(c *server.Config) { c.EKRoots = []string{ts.MkAbs("roots.pem")} })
			laptop := srv.Laptop("laptop", chip.Setting(), srv.Token(server.TokenRequest{MinLevel: verify.TPMHardware}))
			id := laptop.Enrol().Device
			laptop.Start()
			srv.NextReport(id)
			laptop.Stop()
			ts.Setenv("DEVICE", id)
		default:
			ts.Fatalf("no laptop %q", args[0])
		}
		srv.Stop()
		ts.Setenv("MUSTER_DATA_DIR", srv.Config.DataDir)
	}
}
