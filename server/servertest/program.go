package servertest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// programsEnv names the folder of the built programs.
const programsEnv = "MUSTER_TEST_PROGRAMS"

// Main runs a package's tests, with a folder for the programs that lives as long
// as they do, and returns the exit code. TestMain calls it.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "muster")
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.Setenv(programsEnv, dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// The programs are built when first needed, once per test process.
var (
	serverProgram = sync.OnceValues(func() (string, error) { return build("server/cmd/muster-server") })
	agentProgram  = sync.OnceValues(func() (string, error) { return build("agent/cmd/muster-agent") })
)

// Programs returns the paths of muster-server and muster-agent.
func Programs(t testing.TB) (server, agent string) {
	t.Helper()
	server, err := serverProgram()
	agent, err2 := agentProgram()
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return server, agent
}

func build(pkg string) (string, error) {
	dir := os.Getenv(programsEnv)
	if dir == "" {
		return "", errors.New("this package needs a TestMain that calls servertest.Main")
	}
	path := filepath.Join(dir, filepath.Base(pkg))
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	// In muster's own module, whichever module the tests are in: its go.sum has
	// what the programs need.
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "muster").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module: %w", err)
	}
	compile := exec.Command("go", "build", "-o", path, "muster/"+pkg)
	compile.Dir = strings.TrimSpace(string(module))
	if out, err := compile.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	return path, nil
}

// patience bounds every wait: generous, since a busy machine is no failure.
const patience = 60 * time.Second

// Wait polls until a condition holds, and fails the test when it never does.
func Wait(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain for: %s", patience, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// process is a running program of ours.
type process struct {
	t     testing.TB
	name  string
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has gone; cmd.ProcessState is set then
}

// spawn starts a program that ends with the test at the latest. before, when it
// is not nil, runs on the thread that starts it: what it changes of the thread
// the program inherits, and nothing else does.
func spawn(t testing.TB, name string, cmd *exec.Cmd, before func() error) *process {
	t.Helper()
	p := &process{t: t, name: name, cmd: cmd, ended: make(chan struct{})}
	dieWithParent(cmd)
	started := make(chan error, 1)
	go func() {
		// The thread must live as long as the child that dies with it; it is not
		// unlocked, so that it ends with this goroutine.
		runtime.LockOSThread()
		defer close(p.ended)
		var err error
		if before != nil {
			err = before()
		}
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		if err == nil {
			_ = cmd.Wait() // the state says it
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	t.Cleanup(p.kill)
	return p
}

// kill ends the program at once, as loss of power would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have gone
	<-p.ended
}

// stop asks the program to end and waits; one that does not end well fails the
// test.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		p.t.Fatalf("stopping %s: %v", p.name, err)
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.kill()
		p.t.Fatalf("%s does not stop", p.name)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Fatalf("%s stopped with exit code %d", p.name, code)
	}
}

// gone reports whether the program has ended.
func (p *process) gone() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// said is what a program writes: kept for the test, and shown when it fails.
type said struct {
	name string
	show io.Writer

	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

// Write takes what the program says.
func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(b)
	for line := range bytes.Lines(b) {
		fmt.Fprintf(s.show, "%s: %s\n", s.name, bytes.TrimRight(line, "\n"))
	}
	return len(b), nil
}

func (s *said) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), text)
}
