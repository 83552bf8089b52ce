package platform

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrLocked is wrapped when another process holds the lock.
var ErrLocked = errors.New("held by another process")

// Lock takes the advisory lock on the file at path, which it makes, and returns
// the function that gives it back. The folder must be private. The system gives
// the lock back when the process ends, however it ends; the file stays, since
// removing it would let two processes lock two files of one name. When another
// process has it, Lock does not wait: it fails with [ErrLocked].
func Lock(path string) (release func() error, err error) {
	if err := checkPrivateDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := lockFile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return f.Close, nil
}
