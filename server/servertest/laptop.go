package servertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"muster/attest"
)

// Laptop is one machine: a state folder, a TPM, a token, and the muster-agent
// that works with them. It is used from the test's goroutine.
type Laptop struct {
	// Dir is the agent's state folder.
	Dir string
	// TPM is the agent's setting: none, unix:PATH.
	TPM string
	// Env are further settings, as MUSTER_LINK_PORT=8447.
	Env []string

	t       testing.TB
	said    *said
	agent   string // path of the program
	server  string // URL
	token   string // path of the token file; empty: none
	config  string // an empty settings file, so that this machine's is not read
	files   map[string]string
	running *process
}

// Standing is what muster-agent status says.
type Standing struct {
	Device   string             `json:"device"`
	State    attest.DeviceState `json:"state"`
	Level    string             `json:"level"`
	Kind     attest.Kind        `json:"kind"`
	Code     string             `json:"code"` // for the approver
	Decision attest.Decision    `json:"decision"`
	Asked    bool               `json:"asked"` // the server answered just now
	Fit      bool               `json:"fit"`
	Trouble  *struct {
		Code string `json:"code"`
		Text string `json:"text"`
		Fix  string `json:"fix"`
	} `json:"trouble"`
	Exit int `json:"-"` // exit code: 0 fit, 3 not fit
}

// Has reports whether a reason with this code is among the decision's.
func (s Standing) Has(code string) bool { return hasReason(s.Decision.Reasons, code) }

// Laptop makes a machine that knows the server's address and how to reach its
// TPM, and has a token unless that is empty.
func (s *Server) Laptop(name, tpm, token string) *Laptop {
	s.t.Helper()
	l := &Laptop{
		Dir: filepath.Join(folder(s.t), "state"), TPM: tpm, t: s.t, said: &said{name: name, show: s.t.Output()},
		server: s.Config.PublicURL, config: File(s.t, "agent.json", "{}\n"), files: map[string]string{},
	}
	_, l.agent = Programs(s.t)
	l.UseToken(token)
	// A distribution that nobody knows has no package manager to ask, which would
	// take most of the time of a test; where this cannot be, it is asked.
	if l.show(osRelease, "ID=test\nVERSION_ID=1\n") != nil {
		clear(l.files)
	}
	return l
}

// osRelease is where a system says what it is (os-release(5)).
const osRelease = "/etc/os-release"

// UseToken gives the machine another token, or none.
func (l *Laptop) UseToken(token string) {
	l.t.Helper()
	if l.token = ""; token != "" {
		l.token = File(l.t, "token", token+"\n")
	}
}

// command prepares muster-agent with the machine's settings.
func (l *Laptop) command(args ...string) *exec.Cmd {
	cmd := exec.Command(l.agent, append(args, "--config", l.config)...)
	cmd.Env = append(withoutSettings(),
		"MUSTER_SERVER="+l.server, "MUSTER_TPM="+l.TPM, "MUSTER_STATE_DIR="+l.Dir, "MUSTER_TOKEN_FILE="+l.token)
	cmd.Env = append(cmd.Env, l.Env...)
	cmd.Stderr = l.said
	return cmd
}

// output is what a command of the agent did.
type output struct {
	Code           int
	Stdout, Stderr string
}

// Do runs a command of the agent to its end.
func (l *Laptop) Do(args ...string) output {
	l.t.Helper()
	return l.Answer("", args...)
}

// Answer is Do for a command that asks its person, who types the answers.
func (l *Laptop) Answer(answers string, args ...string) output {
	l.t.Helper()
	cmd := l.command(args...)
	cmd.Stdin = strings.NewReader(answers)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, io.MultiWriter(&stderr, l.said)
	p := spawn(l.t, "muster-agent", cmd, overlay(l.files))
	select {
	case <-p.ended:
	case <-time.After(2 * patience):
		p.kill()
		l.t.Fatalf("muster-agent %v does not end", args)
	}
	return output{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// Enrol enrols the machine, which must succeed.
func (l *Laptop) Enrol(args ...string) Standing {
	l.t.Helper()
	if out := l.Do(append([]string{"enroll"}, args...)...); out.Code != 0 {
		l.t.Fatalf("muster-agent enroll: exit code %d\n%s", out.Code, out.Stderr)
	}
	return l.Status()
}

// Status tells where the machine stands; the server is asked.
func (l *Laptop) Status() (s Standing) {
	l.t.Helper()
	out := l.Do("status", "--json")
	if err := json.Unmarshal([]byte(out.Stdout), &s); err != nil {
		l.t.Fatalf("muster-agent status: exit code %d: %v\n%s", out.Code, err, out.Stdout)
	}
	s.Exit = out.Code
	return s
}

// Reaches waits until the machine's status is as wished.
func (l *Laptop) Reaches(what string, holds func(Standing) bool) (s Standing) {
	l.t.Helper()
	Wait(l.t, what, func() bool {
		s = l.Status()
		return holds(s)
	})
	return s
}

// Start runs the agent as the service does.
func (l *Laptop) Start() {
	l.t.Helper()
	l.running = spawn(l.t, "muster-agent", l.command("run"), overlay(l.files))
}

// Stop ends the running agent in order.
func (l *Laptop) Stop() {
	l.t.Helper()
	l.running.stop()
}

// Kill ends the running agent at once.
func (l *Laptop) Kill() { l.running.kill() }

// Said reports whether the agent's log has a text.
func (l *Laptop) Said(text string) bool { return l.said.has(text) }

// Upgrade makes the machine another release of its system, also for an agent that
// runs. It skips the test where a process cannot be shown other files than the
// machine's own.
func (l *Laptop) Upgrade(release string) {
	l.t.Helper()
	if len(l.files) == 0 {
		const missing = "no private view of this machine's files: run as root on Linux"
		if os.Getenv("MUSTER_TEST_STRICT") == "1" {
			l.t.Fatal(missing)
		}
		l.t.Skip(missing)
	}
	if err := l.show(osRelease, "ID=test\nVERSION_ID="+release+"\n"); err != nil {
		l.t.Fatal(err)
	}
}

// show makes the machine's programs see a file with another content. Shown
// again, it keeps its inode and changes for those that run.
func (l *Laptop) show(path, content string) error {
	instead, known := l.files[path]
	if !known {
		instead = File(l.t, filepath.Base(path), "")
		l.files[path] = instead
		if err := overlayPossible(l.files); err != nil {
			return err
		}
	}
	return os.WriteFile(instead, []byte(content), 0o644)
}

// Copy makes a second machine with the same state folder's content, as a cloned
// disk.
func (l *Laptop) Copy(name string) *Laptop {
	l.t.Helper()
	c := *l
	c.Dir, c.said = filepath.Join(folder(l.t), "state"), &said{name: name, show: l.t.Output()}
	if err := errors.Join(os.Mkdir(c.Dir, 0o700), os.CopyFS(c.Dir, os.DirFS(l.Dir)), private(c.Dir)); err != nil {
		l.t.Fatal(err)
	}
	return &c
}

// private takes from others what a copy may have given them.
func private(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.Chmod(filepath.Join(dir, e.Name()), 0o600))
	}
	return err
}

// overlayPossible reports why a private view of files cannot be had here.
func overlayPossible(files map[string]string) error {
	why := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and ends with this goroutine, changed as it is
		why <- overlay(files)()
	}()
	return <-why
}
