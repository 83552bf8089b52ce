// Muster-server enrols devices, verifies their reports and answers gateways.
// This package is wiring only; README says how it is used.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"muster/server"
)

// Exit codes: done, failed, wrong usage, not fit.
const (
	exitFailed = 1
	exitUsage  = 2
	exitNotFit = 3
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	var commands commands
	parser, err := kong.New(&commands, kong.Name("muster-server"),
		kong.Description("Decides, for each session, from which laptop and in which state it may go on."),
		kong.Configuration(settingsFile, "/etc/muster/server.json"),
		kong.DefaultEnvars("MUSTER"), kong.Vars{"data_dir": defaultDataDir()},
		kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Help(printHelp))
	if err != nil {
		fmt.Fprintln(os.Stderr, "muster-server:", err)
		return exitFailed
	}
	code := -1
	parser.Exit = func(c int) { code = c }
	parsed, err := parser.Parse(args)
	if code >= 0 {
		return code // help was asked for
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "muster-server:", err)
		fmt.Fprintln(os.Stderr, "Run \"muster-server --help\".")
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	parsed.BindTo(ctx, (*context.Context)(nil))
	err = parsed.Run(&commands.Settings)
	var notFit notFitError
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &notFit):
		fmt.Fprintln(os.Stderr, "muster-server:", err)
		return exitNotFit
	case errors.As(err, &usage), errors.Is(err, server.ErrConfig):
		fmt.Fprintln(os.Stderr, "muster-server:", err)
		return exitUsage
	default:
		fmt.Fprintln(os.Stderr, "muster-server:", err)
		return exitFailed
	}
}
