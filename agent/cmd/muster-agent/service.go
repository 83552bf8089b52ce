package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"muster/platform"
)

// install and the others are this program as a service of the system.
func install(_ context.Context, args []string, _ io.Writer) error {
	return service(args, (*platform.Service).Install)
}

func uninstall(_ context.Context, args []string, _ io.Writer) error {
	return service(args, (*platform.Service).Uninstall)
}

func start(_ context.Context, args []string, _ io.Writer) error {
	return service(args, (*platform.Service).Start)
}

func stop(_ context.Context, args []string, _ io.Writer) error {
	return service(args, (*platform.Service).Stop)
}

func restart(_ context.Context, args []string, _ io.Writer) error {
	return service(args, (*platform.Service).Restart)
}

func service(args []string, act func(*platform.Service) error) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q: the service reads its settings from files", args[0])}
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	s, err := platform.NewService(program)
	if err != nil {
		return err
	}
	return act(s)
}
