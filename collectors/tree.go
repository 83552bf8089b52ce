package collectors

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Tree is a directory that is read as if it were the root of a system. Symbolic
// links, absolute ones too, are followed inside it, so that a captured tree
// never answers with a file of the machine that reads it.
type Tree struct {
	dir string // "/" or the directory that stands for it, clean and absolute
}

// maxFile is the most that is read of one file; nothing that a collector needs
// is larger.
const maxFile = 4 << 20

// maxEntries is the most that is listed of one directory.
const maxEntries = 1 << 16

// maxLinks bounds the symbolic links followed for one path.
const maxLinks = 40

// NewTree returns the tree below dir.
func NewTree(dir string) (Tree, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Tree{}, fmt.Errorf("resolving root %s: %w", dir, err)
	}
	info, err := os.Stat(abs)
	if err != nil {
		return Tree{}, fmt.Errorf("opening root: %w", err)
	}
	if !info.IsDir() {
		return Tree{}, fmt.Errorf("root %s is not a directory", dir)
	}
	return Tree{dir: abs}, nil
}

// Live reports whether t is the running system.
func (t Tree) Live() bool { return t.dir == "/" }

// Open opens a regular file. Anything else, a FIFO or a device above all, is
// refused: reading it could take for ever or change something.
func (t Tree) Open(name string) (*os.File, error) {
	real, err := t.resolve(name)
	if err != nil {
		return nil, err
	}
	info, err := os.Lstat(real)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("opening %s: not a regular file", name)
	}
	return os.Open(real)
}

// ReadFile returns the content of a regular file, at most 4 MiB of it; a longer
// one is an error.
func (t Tree) ReadFile(name string) ([]byte, error) {
	f, err := t.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("reading %s: more than %d bytes", name, maxFile)
	}
	return b, nil
}

// ReadWord returns the content of a file of one value, as sysfs has them,
// without the white space around it.
func (t Tree) ReadWord(name string) (string, error) {
	b, err := t.ReadFile(name)
	return strings.TrimSpace(string(b)), err
}

// ReadDir lists a directory, sorted by name; one with more than 65,536 entries
// is an error.
func (t Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	real, err := t.resolve(name)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(real)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(entries) > maxEntries {
		return nil, fmt.Errorf("listing %s: more than %d entries", name, maxEntries)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// Has reports whether name leads to something. That it cannot be told (a parent
// that we may not enter) is an error, not absence.
func (t Tree) Has(name string) (bool, error) {
	_, err := t.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Stat describes what name leads to.
func (t Tree) Stat(name string) (fs.FileInfo, error) {
	real, err := t.resolve(name)
	if err != nil {
		return nil, err
	}
	return os.Lstat(real)
}

// Resolve returns the path inside the tree that name leads to after all links.
func (t Tree) Resolve(name string) (string, error) {
	real, err := t.resolve(name)
	if err != nil {
		return "", err
	}
	rel, err := filepath.Rel(t.dir, real)
	if err != nil {
		return "", err
	}
	return path.Join("/", filepath.ToSlash(rel)), nil
}

var errLinks = errors.New("too many symbolic links")

// resolve follows every link of name inside the tree and returns the path
// outside it.
func (t Tree) resolve(name string) (string, error) {
	rest := strings.Split(path.Clean("/"+name), "/")
	at, links := "/", 0
	for len(rest) > 0 {
		next := rest[0]
		rest = rest[1:]
		if next == "" || next == "." {
			continue
		}
		if next == ".." {
			at = path.Dir(at)
			continue
		}
		step := path.Join(at, next)
		info, err := os.Lstat(filepath.Join(t.dir, filepath.FromSlash(step)))
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = step
			continue
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "open", Path: name, Err: errLinks}
		}
		target, err := os.Readlink(filepath.Join(t.dir, filepath.FromSlash(step)))
		if err != nil {
			return "", err
		}
		if strings.HasPrefix(target, "/") {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return filepath.Join(t.dir, filepath.FromSlash(at)), nil
}
