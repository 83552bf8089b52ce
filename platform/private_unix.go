//go:build unix

package platform

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func makePrivateDir(dir string) error { return os.MkdirAll(dir, 0o700) }

func checkPrivateDir(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("private folder: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no folder (%s): %w: move it away", dir, info.Mode().Type(), ErrNotPrivate)
	}
	if err := checkOwner(dir, info, os.Geteuid()); err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("folder %s is open to others (mode %04o): %w: run chmod 700 %s",
			dir, info.Mode().Perm(), ErrNotPrivate, dir)
	}
	return nil
}

// createPrivate makes a new file with an unused name; mode 0600, exclusive.
func createPrivate(dir, base string) (*os.File, error) {
	return os.CreateTemp(dir, "."+base+".*")
}

func openPrivate(path string) (*os.File, error) {
	f, info, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	if err := checkOwner(path, info, os.Geteuid()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if info.Mode().Perm()&0o077 != 0 {
		err := fmt.Errorf("file %s is open to others (mode %04o): %w: run chmod 600 %s",
			path, info.Mode().Perm(), ErrNotPrivate, path)
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// openRegular opens path for reading and returns what is open. It follows no
// symbolic link in the last element, and does not wait for a pipe's writer.
func openRegular(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, nil, fmt.Errorf("%s is a symbolic link: %w: replace it by the file itself", path, ErrNotPrivate)
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	if !info.Mode().IsRegular() {
		err := fmt.Errorf("%s is no regular file (%s): %w: move it away", path, info.Mode().Type(), ErrNotPrivate)
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// checkOwner refuses what belongs to neither the account own nor root.
func checkOwner(path string, info fs.FileInfo, own int) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s has no known owner: %w", path, ErrNotPrivate)
	}
	if uid := int(stat.Uid); uid != 0 && uid != own {
		return fmt.Errorf("%s belongs to user %d: %w: run chown %d %s", path, uid, ErrNotPrivate, own, path)
	}
	return nil
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
