package main

import (
	"context"
	"fmt"
	"io"
)

// config prints every setting and where it came from.
func config(_ context.Context, args []string, stdout io.Writer) error {
	o := newOptions("config")
	asJSON := o.Bool("json", false, "")
	if err := o.parse(args); err != nil {
		return err
	}
	settings, err := o.settings()
	if err != nil {
		return err
	}
	if *asJSON {
		return writeJSON(stdout, settings.Values())
	}
	for _, v := range settings.Values() {
		if _, err := fmt.Fprintf(stdout, "%-10s  %-32s  %s\n", v.Name, v.Value, v.Origin); err != nil {
			return err
		}
	}
	return nil
}
