package main

import (
	"context"
	"io"
	"runtime/debug"

	"muster/platform"
)

// gcPercent keeps a service that idles nearly always small: the few
// milliseconds that it costs are none of the person's.
const gcPercent = 40

// run is what the service does.
func run(ctx context.Context, args []string, _ io.Writer) error {
	o := newOptions("run")
	a, err := o.agent(args)
	if err != nil {
		return err
	}
	debug.SetGCPercent(gcPercent)
	return platform.RunService(ctx, a.Run)
}
