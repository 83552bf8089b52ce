package main

import (
	"context"
	"fmt"
	"io"

	"muster/agent"
)

// doctor looks at everything that reporting needs.
func doctor(ctx context.Context, args []string, stdout io.Writer) error {
	o := newOptions("doctor")
	asJSON := o.Bool("json", false, "")
	a, err := o.agent(args)
	if err != nil {
		return err
	}
	checks := a.Doctor(ctx, tpmFacts)
	if *asJSON {
		err = writeJSON(stdout, checks)
	} else {
		err = printChecks(stdout, checks)
	}
	for _, c := range checks {
		if err == nil && !c.OK {
			return errNotFit
		}
	}
	return err
}

func printChecks(w io.Writer, checks []agent.Check) error {
	for _, c := range checks {
		mark := "ok   "
		if !c.OK {
			mark = "wrong"
		}
		if _, err := fmt.Fprintf(w, "%s  %-14s  %s\n", mark, c.Name, c.Text); err != nil {
			return err
		}
		if c.Fix != "" {
			if _, err := fmt.Fprintf(w, "%23s%s\n", "", c.Fix); err != nil {
				return err
			}
		}
	}
	return nil
}
