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
type Blobs struct{ folder *folder }

// blobPrefix starts the names of their files.
const blobPrefix = "key-"

// Load returns what was saved under a name, or an error that is fs.ErrNotExist.
func (b Blobs) Load(name string) ([]byte, error) {
	return platform.ReadPrivate(filepath.Join(b.folder.dir, blobPrefix+name), maxState)
}

// Save replaces it, durably.
func (b Blobs) Save(name string, blob []byte) error {
	return b.folder.write(filepath.Join(b.folder.dir, blobPrefix+name), blob)
}

// clear puts all of them aside, under names that start with "lost-": an
// enrolment anew makes new keys, but nothing that could be mended is destroyed.
func (b Blobs) clear() error {
	entries, err := os.ReadDir(b.folder.dir)
	for _, e := range entries {
		if name := e.Name(); strings.HasPrefix(name, blobPrefix) {
			old := filepath.Join(b.folder.dir, name)
			err = errors.Join(err, os.Rename(old, filepath.Join(b.folder.dir, "lost-"+name)))
		}
	}
	return err
}
