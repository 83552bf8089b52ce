package main

import (
	"context"
	"fmt"
	"io"
)

// status tells what the server last said and what to fix.
func status(ctx context.Context, args []string, stdout io.Writer) error {
	o := newOptions("status")
	asJSON, offline := o.Bool("json", false, ""), o.Bool("offline", false, "")
	a, err := o.agent(args)
	if err != nil {
		return err
	}
	s, err := a.Status(ctx, !*offline)
	if err != nil || s.Device == "" {
		// Not ours to read, or not where this account's agent would keep it: the
		// machine's agent may run.
		if told, doorErr := a.Settings.Door().Status(ctx, !*offline); doorErr == nil {
			s, err = told, nil
		}
	}
	if err != nil {
		return err
	}
	if *asJSON {
		err = writeJSON(stdout, s)
	} else {
		_, err = fmt.Fprint(stdout, s)
	}
	if err == nil && !s.Fit {
		return errNotFit
	}
	return err
}
