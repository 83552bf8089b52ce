package localserve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// agentPackage is what the go tool builds when there is no agent beside us.
const agentPackage = "muster/agent/cmd/muster-agent"

// agentProgram is a real agent with a private folder of its own.
type agentProgram struct {
	path   string
	env    []string
	stderr io.Writer
}

// findAgent returns the agent beside this program, or one built into dir.
func findAgent(ctx context.Context, dir string, stderr io.Writer) (string, error) {
	name := "muster-agent"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), name)
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			return beside, nil
		}
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		return "", fmt.Errorf("there is no %s beside this program and no go tool to build it: %w", name, err)
	}
	fmt.Fprintln(stderr, "Building muster-agent ...")
	path := filepath.Join(dir, name)
	build := exec.CommandContext(ctx, goTool, "build", "-o", path, agentPackage)
	build.Stdout, build.Stderr = stderr, stderr
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("building muster-agent (run this in the source tree): %w", err)
	}
	return path, nil
}

// newAgent prepares an agent that knows nothing but what is given here.
func newAgent(path, dir, url, tokenFile string, stderr io.Writer) *agentProgram {
	env := []string{
		"MUSTER_SERVER=" + url, "MUSTER_TOKEN_FILE=" + tokenFile,
		"MUSTER_STATE_DIR=" + filepath.Join(dir, "agent"), "MUSTER_LOG_LEVEL=warn",
	}
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "MUSTER_") {
			env = append(env, pair)
		}
	}
	return &agentProgram{path: path, env: env, stderr: stderr}
}

// link has the agent answer pages of this person's browsers.
func (a *agentProgram) link(port int) {
	a.env = append(a.env, "MUSTER_LINK_PORT="+strconv.Itoa(port))
	if uid := os.Getuid(); uid >= 0 { // Windows has none
		a.env = append(a.env, "MUSTER_LINK_USER="+strconv.Itoa(uid))
	}
}

// command runs the agent with its own settings file, so that this machine's is
// not read.
func (a *agentProgram) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, a.path, args...)
	c.Env, c.Stderr = a.env, a.stderr
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 5 * time.Second
	return c
}

// finding is one line of muster-agent doctor --json.
type finding struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Text string `json:"text"`
	Fix  string `json:"fix"`
}

// usableTPM asks the agent whether it can use the machine's TPM.
func (a *agentProgram) usableTPM(ctx context.Context) (finding, error) {
	c := a.command(ctx, "doctor", "--json", "--tpm", "auto")
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, io.Discard
	var exit *exec.ExitError
	if err := c.Run(); err != nil && !errors.As(err, &exit) {
		return finding{}, fmt.Errorf("running muster-agent doctor: %w", err)
	}
	var findings []finding
	if err := json.Unmarshal(out.Bytes(), &findings); err != nil {
		return finding{}, fmt.Errorf("reading what muster-agent doctor says: %w", err)
	}
	for _, f := range findings {
		if f.Name == "tpm" {
			return f, nil
		}
	}
	return finding{}, errors.New("muster-agent doctor says nothing of a TPM")
}

// enrol runs muster-agent enroll, which brings the first report.
func (a *agentProgram) enrol(ctx context.Context) error {
	c := a.command(ctx, "enroll")
	c.Stdout = io.Discard // the trial tells it
	if err := c.Run(); err != nil {
		return fmt.Errorf("enrolling this machine: %w", err)
	}
	return nil
}
