package platform

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestUnit(t *testing.T) {
	got, err := Unit(unitProgram)
	if err != nil {
		t.Fatal(err)
	}
	if got != unit {
		t.Error("the shipped unit is not what is installed for the shipped path")
	}
	for _, line := range []string{
		"ExecStart=/usr/bin/muster-agent run", "NoNewPrivileges=yes", "ProtectSystem=strict", "StateDirectory=muster",
		"StateDirectoryMode=0700", "DevicePolicy=closed", "DeviceAllow=/dev/tpmrm0 rw", "MemoryDenyWriteExecute=yes",
	} {
		if !strings.Contains(got, "\n"+line+"\n") {
			t.Errorf("the unit lacks %q", line)
		}
	}
	// The service library reads the text as a template of its own.
	if strings.Contains(got, "{{") {
		t.Error("the unit holds a template's braces")
	}
	other, err := Unit("/opt/muster/agent")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(other, "\nExecStart=/opt/muster/agent run\n") || strings.Contains(other, "\nExecStart="+unitProgram) {
		t.Error("another program's path is not in its unit")
	}
}

func TestUnitRefuses(t *testing.T) {
	for _, program := range []string{"", "muster-agent", "/a b", "/a\nExecStartPre=/bin/evil", "/a%i", "/{{x}}", "/$HOME/x", `/a"b`, "/a'b"} {
		if _, err := Unit(program); err == nil {
			t.Errorf("%q was taken", program)
		}
	}
}

func TestUnitVerify(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if runtime.GOOS == "linux" && os.Getenv("MUSTER_TEST_STRICT") != "" {
			t.Fatal("no systemd-analyze here: install systemd")
		}
		t.Skip("no systemd-analyze here: install systemd")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := Unit(self)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "muster-agent.service")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func TestNewService(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("asks for the absence of systemd")
	}
	_, err := NewService("relative")
	if err == nil {
		t.Error("a relative program was taken")
	}
	if _, statErr := os.Stat("/run/systemd/system"); statErr == nil {
		return
	}
	if _, err := exec.LookPath("rpm-ostree"); err == nil {
		return // the service library takes it for systemd
	}
	if err != nil && !strings.Contains(err.Error(), "systemd") {
		t.Errorf("got %v, want the missing systemd named", err)
	}
}

func TestRunServiceEnds(t *testing.T) {
	broken := errors.New("broken")
	ctx, cancel := context.WithCancel(context.Background())
	for _, test := range []struct {
		name string
		run  func(context.Context) error
		want error
	}{
		{"by itself", func(context.Context) error { return nil }, nil},
		{"with an error", func(context.Context) error { return broken }, broken},
		{"cancelled by nobody", func(context.Context) error { return context.Canceled }, context.Canceled},
		{"when told", func(ctx context.Context) error { cancel(); <-ctx.Done(); return ctx.Err() }, nil},
	} {
		if err := RunService(ctx, test.run); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

func TestRunServiceSignal(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot interrupt itself there")
	}
	err := RunService(context.Background(), func(ctx context.Context) error {
		self, err := os.FindProcess(os.Getpid())
		if err != nil {
			return err
		}
		if err := self.Signal(os.Interrupt); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Second):
			return errors.New("the signal did not come through")
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func newManaged(run func(context.Context) error) (*managed, chan int) {
	exits := make(chan int, 1)
	ctx, cancel := context.WithCancel(context.Background())
	return &managed{ctx: ctx, cancel: cancel, run: run, exit: func(code int) { exits <- code }}, exits
}

func TestManagedStops(t *testing.T) {
	broken := errors.New("broken")
	for _, want := range []error{nil, broken} {
		m, exits := newManaged(func(ctx context.Context) error {
			<-ctx.Done()
			return want
		})
		if err := m.Start(nil); err != nil {
			t.Fatal(err)
		}
		if err := m.Stop(nil); !errors.Is(err, want) {
			t.Errorf("stop: %v, want %v", err, want)
		}
		select {
		case code := <-exits:
			t.Errorf("a wished end left the process with %d", code)
		default:
		}
	}
}

// The service manager must see a crash, or it does not start us again.
func TestManagedCrashIsSeen(t *testing.T) {
	for _, err := range []error{nil, errors.New("broken")} {
		m, exits := newManaged(func(context.Context) error { return err })
		if err := m.Start(nil); err != nil {
			t.Fatal(err)
		}
		select {
		case code := <-exits:
			if code != 1 {
				t.Errorf("exit status %d, want 1", code)
			}
		case <-time.After(10 * time.Second):
			t.Error("the process lives on without its agent")
		}
	}
}
