package platform

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/kardianos/service"
)

// serviceName is the agent's name to the service manager: muster-agent.service
// on Linux, a launchd label on macOS, a service key on Windows.
const serviceName = "muster-agent"

// unit is the agent's systemd unit, as a package ships it.
//
//go:embed muster-agent.service
var unit string

// unitProgram is where the shipped unit expects the agent.
const unitProgram = "/usr/bin/muster-agent"

// Unit returns the hardened systemd unit for an agent at program, an absolute
// path without blanks, quotes, percent signs or line breaks. A distribution's
// package takes it as it is for /usr/bin/muster-agent.
func Unit(program string) (string, error) {
	if !filepath.IsAbs(program) || strings.ContainsAny(program, " \t\r\n\"'\\%${}") {
		return "", fmt.Errorf("make unit: program %q: want an absolute path of plain characters", program)
	}
	return strings.Replace(unit, "ExecStart="+unitProgram+" ", "ExecStart="+program+" ", 1), nil
}

// Service is the agent as a service of this machine. Its methods need the
// rights of an administrator.
type Service struct {
	program string
	control service.Service
}

// NewService returns the service that runs program, an absolute path, with the
// argument run. Nothing is changed yet. It fails on Linux without systemd: the
// hardening is in its unit, and there is none for another service manager.
func NewService(program string) (*Service, error) {
	if runtime.GOOS == "linux" && service.Platform() != "linux-systemd" {
		return nil, errors.New("find the service manager: systemd does not run here: have yours run \"muster-agent run\"")
	}
	config, err := serviceConfig(program)
	if err != nil {
		return nil, err
	}
	control, err := service.New(unmanaged{}, config)
	if err != nil {
		return nil, fmt.Errorf("find the service manager: %w", err)
	}
	return &Service{program: program, control: control}, nil
}

func serviceConfig(program string) (*service.Config, error) {
	config := &service.Config{
		Name:        serviceName,
		DisplayName: "muster agent",
		Description: "Reports what is true of this machine, signed with its TPM.",
		Executable:  program,
		Arguments:   []string{"run"},
		Option: service.KeyValue{
			"RunAtLoad": true, // launchd: start at boot
			// Windows: start again ten seconds after a crash, for ever.
			"OnFailure": "restart", "OnFailureDelayDuration": "10s", "OnFailureResetPeriod": 600,
		},
	}
	if runtime.GOOS == "linux" {
		text, err := Unit(program)
		if err != nil {
			return nil, err
		}
		config.Option["SystemdScript"] = text
	}
	return config, nil
}

// Install registers the service and has it start with the system; it does not
// start it now. It fails when the service is there already, and refuses a
// program that somebody but root could change, itself or by a folder above it:
// the service would run it as root. (Windows: its folder's access list decides.)
func (s *Service) Install() error {
	if err := checkProgram(s.program); err != nil {
		return fmt.Errorf("install %s: %w", serviceName, err)
	}
	return s.do("install", s.control.Install)
}

// Uninstall removes the service from the service manager. State stays.
func (s *Service) Uninstall() error { return s.do("uninstall", s.control.Uninstall) }

// Start starts the installed service.
func (s *Service) Start() error { return s.do("start", s.control.Start) }

// Stop stops the running service and waits until it has stopped.
func (s *Service) Stop() error { return s.do("stop", s.control.Stop) }

// Restart stops and starts the service.
func (s *Service) Restart() error { return s.do("restart", s.control.Restart) }

func (s *Service) do(verb string, act func() error) error {
	if err := fixPath(); err != nil {
		return fmt.Errorf("%s %s: %w", verb, serviceName, err)
	}
	if err := act(); err != nil {
		if errors.Is(err, os.ErrPermission) || !privileged() {
			return fmt.Errorf("%s %s: %w: run it as an administrator", verb, serviceName, err)
		}
		return fmt.Errorf("%s %s: %w", verb, serviceName, err)
	}
	return nil
}

// RunService runs the agent until run returns, whoever started it: a person in
// a terminal, systemd, launchd, or the service control manager of Windows. The
// context that run gets ends when ctx does, at an interrupt or SIGTERM, or when
// the service manager says stop; run should then return within 20 seconds. It
// returns what run returned, but nil for the context's own end.
//
// Under Windows' service manager an agent that ends with an error ends the
// process with status 1: only so does the manager start it again.
func RunService(ctx context.Context, run func(context.Context) error) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if runtime.GOOS == "windows" && !service.Interactive() {
		return runManaged(ctx, run)
	}
	return finished(ctx, run(ctx))
}

// finished takes the answer to a wish to stop for success.
func finished(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func runManaged(ctx context.Context, run func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	control, err := service.New(&managed{ctx: ctx, cancel: cancel, run: run, exit: os.Exit}, &service.Config{Name: serviceName})
	if err != nil {
		return fmt.Errorf("find the service manager: %w", err)
	}
	return control.Run()
}

// managed is the agent in the hands of a service manager.
type managed struct {
	ctx    context.Context // of the program; ends at Stop
	cancel context.CancelFunc
	run    func(context.Context) error
	exit   func(int) // os.Exit
	done   chan error
}

// Start implements service.Interface; it must not block.
func (m *managed) Start(service.Service) error {
	m.done = make(chan error, 1)
	go func() {
		err := finished(m.ctx, m.run(m.ctx))
		m.done <- err
		// Without a wish to stop, ending is a crash, error or not.
		if m.ctx.Err() == nil {
			m.exit(1)
		}
	}()
	return nil
}

// Stop implements service.Interface.
func (m *managed) Stop(service.Service) error {
	m.cancel()
	return <-m.done
}

// unmanaged stands where only the service manager is wanted, not its calls.
type unmanaged struct{}

// Start implements service.Interface.
func (unmanaged) Start(service.Service) error { return errors.ErrUnsupported }

// Stop implements service.Interface.
func (unmanaged) Stop(service.Service) error { return errors.ErrUnsupported }
