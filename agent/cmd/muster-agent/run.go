package main

import (
	"context"
	"io"

	"muster/platform"
)

// run is what the service does.
func run(ctx context.Context, args []string, _ io.Writer) error {
	o := newOptions("run")
	if err := o.parse(args); err != nil {
		return err
	}
	settings, err := o.settings()
	if err != nil {
		return err
	}
	a, err := newAgent(settings)
	if err != nil {
		return err
	}
	return platform.RunService(ctx, a.Run)
}
