package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"muster/agent"
	"muster/platform"
)

// options are the flags of one command.
type options struct {
	*flag.FlagSet
	config string
}

func newOptions(name string) *options {
	o := &options{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError)}
	o.SetOutput(io.Discard) // errors are told once, by main
	for _, name := range []string{"server", "token-file", "tpm", "profile", "state-dir", "ca-file", "log-level", "link-port", "link-user"} {
		o.String(name, "", "")
	}
	o.StringVar(&o.config, "config", "", "")
	return o
}

// parse reads a command's arguments, all of which are flags.
func (o *options) parse(args []string) error {
	if err := o.Parse(args); err != nil {
		return usageError{fmt.Errorf("%s: %w", o.Name(), err)}
	}
	if o.NArg() > 0 {
		return usageError{fmt.Errorf("%s: unexpected argument %q", o.Name(), o.Arg(0))}
	}
	return nil
}

// settings joins the flags that were given with all other sources.
func (o *options) settings() (*agent.Settings, error) {
	paths, err := platform.HostPaths()
	if err != nil {
		return nil, err
	}
	managed, err := platform.ManagedSettings()
	if err != nil {
		return nil, &agent.SettingsError{Err: err}
	}
	given := make(map[string]string)
	o.Visit(func(f *flag.Flag) {
		given[strings.ReplaceAll(f.Name, "-", "_")] = f.Value.String()
	})
	return agent.LoadSettings(agent.Sources{
		Managed: managed, Flags: given, Env: os.LookupEnv, File: o.config, Paths: paths,
	})
}

// agent reads a command's arguments and makes the agent that they, and all other
// sources of settings, describe.
func (o *options) agent(args []string) (*agent.Agent, error) {
	if err := o.parse(args); err != nil {
		return nil, err
	}
	settings, err := o.settings()
	if err != nil {
		return nil, err
	}
	return newAgent(settings)
}
