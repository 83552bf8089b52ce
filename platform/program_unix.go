//go:build unix

package platform

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// checkProgram refuses a program that somebody but root could change, itself or
// by exchanging a folder on the way to it.
func checkProgram(program string) error {
	real, err := filepath.EvalSymlinks(program)
	if err != nil {
		return err
	}
	for path := real; ; path = filepath.Dir(path) {
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		// In a sticky folder only its owner exchanges what root owns.
		if sticky := info.IsDir() && info.Mode()&fs.ModeSticky != 0; sticky {
			err = checkOwner(path, info, 0)
		} else {
			err = checkSystemOwned(path, info)
		}
		if err != nil {
			return fmt.Errorf("%w: or move the program to /usr/local/bin", err)
		}
		if path == filepath.Dir(path) {
			return nil
		}
	}
}

// fixPath makes the service library find the service manager's own tool, which
// it looks up by name, in the system's folders and not in the caller's.
func fixPath() error { return os.Setenv("PATH", commandPath) }
