//go:build !linux

package servertest

import (
	"errors"
	"os/exec"
)

func dieWithParent(*exec.Cmd) {}

func overlay(files map[string]string) func() error {
	if len(files) == 0 {
		return nil
	}
	return func() error { return errors.ErrUnsupported }
}
