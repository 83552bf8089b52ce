package collectors

import (
	"io/fs"
	"path/filepath"
	"testing"
)

// regularFiles lists the regular files below dir.
func regularFiles(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	must(t, filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			names = append(names, name)
		}
		return err
	}))
	return names
}
