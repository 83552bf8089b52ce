package platform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// The limits of a foreign program. An earlier deadline of the caller's holds.
const (
	// commandTime is how long a program may run.
	commandTime = 60 * time.Second
	// commandOutput is how many bytes it may write to standard output.
	commandOutput = 4 << 20

	// stderrLimit bounds what is kept of standard error; the rest is dropped.
	stderrLimit = 4 << 10
	// pipeTime is how long a program that has ended, or was killed, may keep
	// its output open through what it left behind.
	pipeTime = 2 * time.Second
)

// ErrNoTool is wrapped when no program of that name is on this machine, or none
// is on the list. A collector takes it for "not installed".
var ErrNoTool = errors.New("no such tool")

// ErrTimeout is wrapped when a program was killed because its time was up.
// Nothing of its output is used.
var ErrTimeout = errors.New("killed: time was up")

// ExitError says that a program ran and ended by itself with a status other
// than 0. [Commands.Run] returns the output beside it: for some programs
// another status is an answer (dnf check-update ends with 100).
type ExitError struct {
	// Tool is the absolute path that ran.
	Tool string
	// Code is the exit status, or -1 when a signal ended the program.
	Code int
	// Stderr is the first line of standard error, cut at 200 bytes.
	Stderr string
}

// Error implements error.
func (e *ExitError) Error() string {
	if e.Stderr == "" {
		return fmt.Sprintf("%s ended with status %d", e.Tool, e.Code)
	}
	return fmt.Sprintf("%s ended with status %d: %s", e.Tool, e.Code, e.Stderr)
}

// Commands runs the foreign programs on its list and no others. The zero value
// has an empty list. Collectors take its Run as a function value.
type Commands struct {
	tools map[string][]string
	// anyOwner lets tests run their own binary, which root does not own.
	anyOwner bool
}

// Host returns the programs that may run on this machine.
func Host() Commands { return Commands{tools: tools(runtime.GOOS)} }

// tools is the list: name, and the absolute paths tried in that order. An entry
// is here because a collector's source of truth is that program alone; loginctl,
// because only logind knows whether a screen is locked; the opener is for
// [Commands.Open].
func tools(goos string) map[string][]string {
	switch goos {
	case "darwin":
		return map[string][]string{opener(goos): {"/usr/bin/open"}}
	case "linux":
	default:
		return nil
	}
	in := func(name string, dirs ...string) []string {
		for i, dir := range dirs {
			dirs[i] = dir + "/" + name
		}
		return dirs
	}
	bin := func(name string) []string { return in(name, "/usr/bin", "/bin") }
	sbin := func(name string) []string { return in(name, "/usr/sbin", "/sbin", "/usr/bin") }
	return map[string][]string{
		"apt-get":        bin("apt-get"),
		"checkupdates":   bin("checkupdates"),
		"dnf":            bin("dnf"),
		"firewall-cmd":   bin("firewall-cmd"),
		"ip6tables-save": sbin("ip6tables-save"),
		"iptables-save":  sbin("iptables-save"),
		"loginctl":       bin("loginctl"),
		"nft":            sbin("nft"),
		"pacman":         bin("pacman"),
		"rpm-ostree":     bin("rpm-ostree"),
		"sshd":           sbin("sshd"),
		"systemctl":      bin("systemctl"),
		"ufw":            sbin("ufw"),
		"zfs":            sbin("zfs"),
		"zpool":          sbin("zpool"),
		"zypper":         bin("zypper"),
		opener(goos):     bin(opener(goos)),
	}
}

// Run runs the program that name stands for on the list and returns what it
// wrote to standard output. No shell is involved, standard input is empty, the
// environment is LC_ALL=C and a fixed PATH, the folder is the root.
//
// The program and all that it started are killed when ctx ends, when a minute is
// over, or when it writes more than 4 MiB. Errors: [ErrNoTool]; [io/fs.ErrPermission] when it may not be started, or when
// somebody but root could have changed it; [ErrTimeout]; [ErrTooLong]; an
// [*ExitError], the only one that comes with output; ctx's own error when the
// caller gave up.
func (c Commands) Run(ctx context.Context, name string, args ...string) ([]byte, error) {
	tool, err := c.find(name)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ctx, stop := context.WithTimeoutCause(ctx, commandTime, ErrTimeout)
	defer stop()

	stdout := &limited{max: commandOutput, full: func() { cancel(ErrTooLong) }}
	stderr := &limited{max: stderrLimit}
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Env = commandEnv()
	cmd.Dir = rootDir()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = pipeTime
	isolate(cmd)
	err = cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		endGroup(cmd)
	}
	if ctx.Err() != nil && err != nil {
		return nil, fmt.Errorf("run %s: %w", tool, ended(ctx))
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return stdout.buf.Bytes(), &ExitError{Tool: tool, Code: exit.ExitCode(), Stderr: firstLine(stderr.buf.Bytes())}
	}
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", tool, err)
	}
	// Full means cut, even when the program ended before it was killed.
	if stdout.cut {
		return nil, fmt.Errorf("run %s: %w", tool, ErrTooLong)
	}
	return stdout.buf.Bytes(), nil
}

// ended says why ctx is over, in this package's words. A deadline of the
// caller's is a timeout too; a cancellation is the caller's own affair.
func ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.DeadlineExceeded) {
		return ErrTimeout
	}
	return cause
}

// find returns the first path of the list that is there and can be trusted.
func (c Commands) find(name string) (string, error) {
	for _, path := range c.tools[name] {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		if !info.Mode().IsRegular() {
			continue
		}
		if !c.anyOwner {
			if err := checkSystemOwned(path, info); err != nil {
				return "", err
			}
		}
		return path, nil
	}
	return "", ErrNoTool
}

// limited keeps the first max bytes and calls full once when more come. It
// never refuses a write: a program that gets an error may behave otherwise.
type limited struct {
	buf  bytes.Buffer
	max  int
	cut  bool
	full func()
}

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.max-l.buf.Len())
	l.buf.Write(p[:n])
	if n < len(p) && !l.cut {
		l.cut = true
		if l.full != nil {
			l.full()
		}
	}
	return len(p), nil
}

func firstLine(stderr []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(stderr)), "\n")
	if len(line) > 200 {
		line = line[:200]
	}
	return strings.ToValidUTF8(strings.TrimSpace(line), "?")
}
