package main

import (
	"context"
	"fmt"
	"io"
)

// enroll enrols once and tells where the device stands.
func enroll(ctx context.Context, args []string, stdout io.Writer) error {
	o := newOptions("enroll")
	again := o.Bool("again", false, "")
	a, err := o.agent(args)
	if err != nil {
		return err
	}
	s, err := a.Enrol(ctx, *again)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(stdout, s)
	return err
}
