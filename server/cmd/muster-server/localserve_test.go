package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"muster/attest/tpmtest"
	"muster/server/servertest"
)

// TestLocalserveLevels runs the whole product in one command with a real TPM:
// who vouches for it decides its level, and with nobody it waits.
func TestLocalserveLevels(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	roots := servertest.File(t, "roots.pem", string(chip.Roots()))
	for _, test := range []struct {
		name, state, level, decision, reason string
		args                                 []string
	}{
		{"hardware", "active", "tpm-hw", "", "", []string{"--ek-roots", roots}},
		{"virtual", "active", "vtpm", "", "", []string{"--vtpm-roots", roots}},
		{"unknown", "pending", "tpm-unverified", "deny", "pending", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			program, _ := servertest.Programs(t)
			dir := t.TempDir()
			cmd := exec.Command(program, append([]string{"localserve", "--once", "--json", "--tpm", chip.Setting()}, test.args...)...)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			cmd.Env = append(os.Environ(), "TMPDIR="+dir)
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v\n%s", err, &stderr)
			}
			var said struct {
				State, Level, Decision string
				Reasons                []struct{ Code, Text, Fix string }
			}
			if err := json.Unmarshal(stdout.Bytes(), &said); err != nil {
				t.Fatal(err)
			}
			if said.State != test.state || said.Level != test.level {
				t.Fatalf("%s at %s, want %s at %s", said.State, said.Level, test.state, test.level)
			}
			if test.decision != "" && said.Decision != test.decision {
				t.Fatalf("decision %s, want %s", said.Decision, test.decision)
			}
			if test.reason != "" && (len(said.Reasons) == 0 || said.Reasons[0].Code != test.reason || said.Reasons[0].Fix == "") {
				t.Fatalf("reasons %+v, want %s and its fix", said.Reasons, test.reason)
			}
			left, err := os.ReadDir(dir)
			if err != nil || len(left) > 0 {
				t.Fatalf("left behind: %v %v", left, err)
			}
		})
	}
}
