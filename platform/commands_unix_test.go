//go:build unix

package platform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary play the foreign programs: the environment is
// fixed, so the part is named by the first argument.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "act" {
		act(os.Args[2], os.Args[3:])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func act(part string, args []string) {
	switch part {
	case "show":
		dir, _ := os.Getwd()
		in, err := io.ReadAll(os.Stdin)
		fmt.Printf("%s\n%q %v\n%s", dir, in, err, strings.Join(os.Environ(), "\n"))
	case "fail":
		fmt.Print("partial")
		fmt.Fprint(os.Stderr, "\nE: no lock\nmore\n", strings.Repeat("x", 1<<20))
		os.Exit(7)
	case "flood":
		for block := make([]byte, 1<<16); ; {
			os.Stdout.Write(block)
		}
	case "much":
		os.Stdout.Write(make([]byte, commandOutput+1))
	case "full":
		os.Stdout.Write(make([]byte, commandOutput))
	case "suicide":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		time.Sleep(time.Minute)
	case "hang":
		// Deaf, with a child that is deaf too and holds the same pipe.
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
		start(false, "hold", args[0]+".child")
		hold(args[0])
	case "leave":
		start(false, "hold", args[0])
		await(args[0])
		fmt.Print("done")
	case "escape":
		start(true, "hold", args[0])
		await(args[0])
		fmt.Print("done")
	case "hold":
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
		hold(args[0])
	}
}

// start starts another part that inherits the pipes, in a session of its own if
// wanted.
func start(session bool, args ...string) {
	cmd := exec.Command(os.Args[0], append([]string{"act"}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: session}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
}

// hold keeps a lock, by which the test sees that the process lives.
func hold(path string) {
	if _, err := Lock(path); err != nil {
		panic(err)
	}
	time.Sleep(30 * time.Second)
}

// await waits until somebody holds the lock.
func await(path string) {
	for range 1000 {
		release, err := Lock(path)
		if err != nil {
			return
		}
		_ = release()
		time.Sleep(5 * time.Millisecond)
	}
	panic("nobody took " + path)
}

func actors(t *testing.T) Commands {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	return Commands{tools: map[string][]string{"self": {"/nonexistent/self", self}}, anyOwner: true}
}

// mustEnd waits until nobody holds the lock any more.
func mustEnd(t *testing.T, path string) {
	t.Helper()
	for range 200 {
		release, err := Lock(path)
		if err == nil {
			must(t, release())
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("the holder of %s still lives", filepath.Base(path))
}

func TestRunShowsAProgramNothingOfOurs(t *testing.T) {
	t.Setenv("LD_PRELOAD_LIKE", "evil")
	out, err := actors(t).Run(context.Background(), "self", "act", "show")
	must(t, err)
	if want := "/\n\"\" <nil>\nLC_ALL=C\nPATH=" + commandPath; string(out) != want {
		t.Errorf("the program sees\n%s\nwant\n%s", out, want)
	}
}

func TestRunExit(t *testing.T) {
	out, err := actors(t).Run(context.Background(), "self", "act", "fail")
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Code != 7 || exit.Stderr != "E: no lock" {
		t.Fatalf("got %v, want status 7 and the first line", err)
	}
	if string(out) != "partial" {
		t.Errorf("output %q, want what it wrote", out)
	}
	_, err = actors(t).Run(context.Background(), "self", "act", "suicide")
	if !errors.As(err, &exit) || exit.Code != -1 {
		t.Errorf("killed by a signal: %v, want status -1", err)
	}
}

func TestRunOutputLimit(t *testing.T) {
	out, err := actors(t).Run(context.Background(), "self", "act", "full")
	if err != nil || len(out) != commandOutput {
		t.Errorf("exactly the limit: %d bytes, %v", len(out), err)
	}
	for _, part := range []string{"much", "flood"} {
		out, err := actors(t).Run(context.Background(), "self", "act", part)
		if !errors.Is(err, ErrTooLong) || out != nil {
			t.Errorf("%s: %d bytes, %v; want ErrTooLong and nothing", part, len(out), err)
		}
	}
}

func TestRunKillsAHungProgramWithItsChildren(t *testing.T) {
	lock := filepath.Join(privateDir(t), "lock")
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	begin := time.Now()
	_, err := actors(t).Run(ctx, "self", "act", "hang", lock)
	if !errors.Is(err, ErrTimeout) {
		t.Errorf("got %v, want ErrTimeout", err)
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("took %v", took)
	}
	mustEnd(t, lock)
	mustEnd(t, lock+".child")
}

// A program that ends but leaves its output open to a child must not hold us.
func TestRunDoesNotWaitForWhatIsLeftBehind(t *testing.T) {
	for _, part := range []string{"leave", "escape"} {
		t.Run(part, func(t *testing.T) {
			lock := filepath.Join(privateDir(t), "lock")
			begin := time.Now()
			_, err := actors(t).Run(context.Background(), "self", "act", part, lock)
			if !errors.Is(err, exec.ErrWaitDelay) {
				t.Errorf("got %v, want exec.ErrWaitDelay: the output may go on", err)
			}
			if took := time.Since(begin); took > pipeTime+3*time.Second {
				t.Errorf("took %v", took)
			}
			if part == "leave" {
				mustEnd(t, lock)
			}
		})
	}
}

func TestRunCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := actors(t).Run(ctx, "self", "act", "show"); !errors.Is(err, context.Canceled) || errors.Is(err, ErrTimeout) {
		t.Errorf("got %v, want the caller's own context.Canceled", err)
	}
}

func TestRunKnowsItsListOnly(t *testing.T) {
	for _, name := range []string{"sh", "/bin/sh", "../bin/sh", "", "self"} {
		if _, err := Host().Run(context.Background(), name); !errors.Is(err, ErrNoTool) {
			t.Errorf("%q: %v, want ErrNoTool", name, err)
		}
	}
	if _, err := (Commands{}).Run(context.Background(), "apt-get"); !errors.Is(err, ErrNoTool) {
		t.Errorf("the zero value: %v, want ErrNoTool", err)
	}
}

func TestRunRefusesAToolThatOthersCanChange(t *testing.T) {
	needRoot(t)
	tool := filepath.Join(t.TempDir(), "tool")
	must(t, os.WriteFile(tool, []byte("not a program"), 0o755))
	c := Commands{tools: map[string][]string{"tool": {tool}}}
	for name, spoil := range map[string]func() error{
		"writable by all": func() error { return os.Chmod(tool, 0o757) },
		"another's":       func() error { return errors.Join(os.Chmod(tool, 0o755), os.Chown(tool, strange, 0)) },
	} {
		must(t, spoil())
		if _, err := c.Run(context.Background(), "tool"); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v, want fs.ErrPermission", name, err)
		}
	}
	must(t, os.Chown(tool, 0, 0))
	must(t, os.Chmod(tool, 0o644))
	if _, err := c.Run(context.Background(), "tool"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("not executable: %v, want fs.ErrPermission", err)
	}
	must(t, os.Remove(tool))
	must(t, os.Mkdir(tool, 0o755))
	if _, err := c.Run(context.Background(), "tool"); !errors.Is(err, ErrNoTool) {
		t.Errorf("a folder: %v, want ErrNoTool", err)
	}
}

func TestTools(t *testing.T) {
	for name, paths := range tools("linux") {
		if len(paths) == 0 {
			t.Errorf("%s has no path", name)
		}
		for _, path := range paths {
			if !filepath.IsAbs(path) || filepath.Base(path) != name || filepath.Clean(path) != path {
				t.Errorf("%s: %s is not an absolute path to it", name, path)
			}
			if slices.Contains([]string{"/usr/local", "/home", "/opt"}, filepath.Dir(filepath.Dir(path))) {
				t.Errorf("%s is in a folder that the system's packages do not own", path)
			}
		}
	}
}
