package platform

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ErrNotPrivate is wrapped by refusals to use a file or folder that somebody
// else could have read or changed. The text says which, why, and the remedy.
var ErrNotPrivate = errors.New("not private")

// ErrTooLong is wrapped when a file or a command's output is longer than its
// limit. Nothing of it is used then: a cut answer may read like another one.
var ErrTooLong = errors.New("longer than allowed")

// MakePrivateDir makes dir, and its missing parents, so that only this account
// (on Windows also SYSTEM and Administrators) can enter it. An existing folder
// is left as it is: one that others can enter, that belongs to somebody else,
// or that is a symbolic link is refused with [ErrNotPrivate].
func MakePrivateDir(dir string) error {
	if err := makePrivateDir(dir); err != nil {
		return fmt.Errorf("make private folder: %w", err)
	}
	return checkPrivateDir(dir)
}

// WritePrivate replaces the file at path with data, or leaves it as it was: it
// writes a temporary file beside it, syncs it, renames it into place and syncs
// the folder, so that a nil return means durable and a crash leaves the old or
// the new content. The file can be read by this account only. The folder must
// already be private; see [MakePrivateDir].
func WritePrivate(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := checkPrivateDir(dir); err != nil {
		return err
	}
	f, err := createPrivate(dir, filepath.Base(path))
	if err != nil {
		return fmt.Errorf("write private file: %w", err)
	}
	if err := fill(f, data); err != nil {
		return errors.Join(fmt.Errorf("write private file %s: %w", path, err), os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return errors.Join(fmt.Errorf("write private file: %w", err), os.Remove(f.Name()))
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("write private file %s: sync its folder: %w", path, err)
	}
	return nil
}

// fill writes, syncs and closes f.
func fill(f *os.File, data []byte) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// ReadPrivate returns the content of a private file of at most limit bytes. It
// refuses, with [ErrNotPrivate], a file that is no regular file, is reached by
// a symbolic link in its last element, belongs to neither this account nor the
// system, or is open to others; and with [ErrTooLong] a longer one. A missing
// file is [io/fs.ErrNotExist]. What is checked is what is read: the checks are
// made on the open file.
func ReadPrivate(path string, limit int) ([]byte, error) {
	f, err := openPrivate(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readLimited(f, limit)
}

// readLimited reads f to its end, which must come within limit bytes.
func readLimited(f *os.File, limit int) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	if len(data) > limit {
		return nil, fmt.Errorf("read %s: %w (%d bytes)", f.Name(), ErrTooLong, limit)
	}
	return data, nil
}
