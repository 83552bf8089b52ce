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
