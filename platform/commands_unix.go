//go:build unix

package platform

import (
	"fmt"
	"io/fs"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// commandPath is the PATH that foreign programs find their own programs by.
const commandPath = "/usr/sbin:/usr/bin:/sbin:/bin"

func commandEnv() []string { return []string{"LC_ALL=C", "PATH=" + commandPath} }

func rootDir() string { return "/" }

// isolate gives the program a process group of its own, and has the context's
// end kill the whole of it: children too, and without asking.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
}

// endGroup kills what a program left behind in its group. It is called only
// when something still holds the program's output, so the group's number is
// not another's yet, unless what holds it has left the group; then there is
// nothing that we know to kill.
func endGroup(cmd *exec.Cmd) {
	// The group may be gone by now: that is what we want.
	_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
}

// checkSystemOwned refuses a file that somebody but root could have changed.
func checkSystemOwned(path string, info fs.FileInfo) error {
	if err := checkOwner(path, info, 0); err != nil {
		return fmt.Errorf("%w: %w", fs.ErrPermission, err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by others (mode %04o): %w: run chmod go-w %s",
			path, info.Mode().Perm(), fs.ErrPermission, path)
	}
	return nil
}
