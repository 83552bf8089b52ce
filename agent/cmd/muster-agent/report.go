package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"muster/agent"
	"muster/attest/posture"
	"muster/collectors"
)

// report prints what would be sent.
func report(ctx context.Context, args []string, stdout io.Writer) error {
	o := newOptions("report")
	root := o.String("root", "/", "")
	if err := o.parse(args); err != nil {
		return err
	}
	profile, err := o.profile(*root)
	if err != nil {
		return err
	}
	machine, err := newMachine(*root)
	if err != nil {
		return usageError{fmt.Errorf("report: %w", err)}
	}
	bootID, err := agent.BootID(*root)
	if err != nil {
		return err
	}
	system := posture.Platform(runtime.GOOS)
	if !machine.Tree.Live() {
		system = posture.Linux
	}
	r := agent.MakeReport(programVersion(), system, profile, bootID, collectors.Collect(ctx, machine))
	return writeJSON(stdout, r)
}

// profile is the one that the agent of this machine would use; the settings of
// this machine say nothing of another root.
func (o *options) profile(root string) (posture.Profile, error) {
	given := posture.Profile(o.Lookup("profile").Value.String())
	if given != "" {
		if given != posture.Corporate && given != posture.BYOD {
			return "", usageError{fmt.Errorf("report: profile %q is neither corporate nor byod", given)}
		}
		return given, nil
	}
	if filepath.Clean(root) != "/" {
		return posture.Corporate, nil
	}
	settings, err := o.settings()
	if errors.Is(err, fs.ErrPermission) {
		fmt.Fprintf(os.Stderr, "muster-agent: warning: %v; printing profile corporate\n", err)
		return posture.Corporate, nil
	}
	if err != nil {
		return "", err
	}
	return settings.Profile, nil
}
