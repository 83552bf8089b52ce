// Command muster-agent tells a muster-server, with a key that cannot leave this
// machine's TPM, what is true of this machine. It is wiring: package agent has
// the work, and each command its file here.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"muster/agent"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitNotFit = 3
)

// errNotFit ends a command that has said all in its output.
var errNotFit = errors.New("not fit")

// usageError is a command line that we do not understand.
type usageError struct{ error }

// commands by name; each gets the arguments after its name.
func commands() map[string]func(context.Context, []string, io.Writer) error {
	return map[string]func(context.Context, []string, io.Writer) error{
		"run": run, "enroll": enroll, "report": report, "status": status, "doctor": doctor,
		"link": link, "recover": recovery, "config": config, "version": version,
		"install": install, "uninstall": uninstall, "start": start, "stop": stop, "restart": restart,
	}
}

func main() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }

func execute(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	if args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(stdout, usage)
		return exitDone
	}
	command, ok := commands()[args[0]]
	if !ok {
		return failed(stderr, usageError{fmt.Errorf("no command %q", args[0])})
	}
	return failed(stderr, command(context.Background(), args[1:], stdout))
}

// failed tells an error to a person and returns its exit code.
func failed(stderr io.Writer, err error) int {
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errNotFit):
		return exitNotFit
	}
	fmt.Fprintf(stderr, "muster-agent: error: %v\n", err)
	for _, line := range agent.Hints(err) {
		fmt.Fprintf(stderr, "muster-agent: hint: %s\n", line)
	}
	if errors.As(err, new(usageError)) {
		fmt.Fprintln(stderr, `muster-agent: hint: "muster-agent help" lists commands and options`)
		return exitUsage
	}
	if errors.As(err, new(*agent.SettingsError)) {
		return exitUsage
	}
	return exitFailed
}
