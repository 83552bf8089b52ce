package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"muster/platform"
)

// Blobs keeps, in private files of the state folder, what belongs to keys that a
// TPM cannot make again by itself.
type Blobs struct {
	folder *folder
	prefix string
}

// The names of their files start with one of these: a stand-in's key must never
// displace those of the enrolment that it stands in for.
const (
	blobPrefix    = "key-"
	standInPrefix = "standin-"
)

// Load returns what was saved under a name, or an error that is fs.ErrNotExist.
func (b Blobs) Load(name string) ([]byte, error) {
	return platform.ReadPrivate(filepath.Join(b.folder.dir, b.prefix+name), maxState)
}

// Save replaces it, durably.
func (b Blobs) Save(name string, blob []byte) error {
	return b.folder.write(filepath.Join(b.folder.dir, b.prefix+name), blob)
}

// clear puts all of them aside, under names that start with "lost-": an
// enrolment anew makes new keys, but nothing that could be mended is destroyed.
func (b Blobs) clear() error {
	return b.each(func(path string) error {
		return os.Rename(path, filepath.Join(b.folder.dir, "lost-"+filepath.Base(path)))
	})
}

// remove destroys all of them.
func (b Blobs) remove() error { return b.each(os.Remove) }

func (b Blobs) each(do func(path string) error) error {
	entries, err := os.ReadDir(b.folder.dir)
	for _, e := range entries {
		if name := e.Name(); strings.HasPrefix(name, b.prefix) {
			err = errors.Join(err, do(filepath.Join(b.folder.dir, name)))
		}
	}
	return err
}
