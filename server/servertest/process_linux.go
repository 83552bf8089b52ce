package servertest

import (
	"fmt"
	"os/exec"
	"syscall"
)

// dieWithParent ends the program even when the test program is killed.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// overlay shows files in place of others to the programs that this thread
// starts, and to nobody else (mount_namespaces(7)).
func overlay(files map[string]string) func() error {
	if len(files) == 0 {
		return nil
	}
	return func() error {
		if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
			return fmt.Errorf("making a mount namespace: %w", err)
		}
		if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("keeping mounts private: %w", err)
		}
		for path, instead := range files {
			if err := syscall.Mount(instead, path, "", syscall.MS_BIND, ""); err != nil {
				return fmt.Errorf("showing another %s: %w", path, err)
			}
		}
		return nil
	}
}
