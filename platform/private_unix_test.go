//go:build unix

package platform

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// strange is an account that is neither root nor, most likely, us.
const strange = 54321

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	const why = "only root can give files away: run the tests as root"
	if os.Getenv("MUSTER_TEST_STRICT") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func TestReadPrivateRefuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		spoil  func(t *testing.T, path string)
		remedy string
	}{
		{"readable by the group", func(t *testing.T, p string) { must(t, os.Chmod(p, 0o640)) }, "chmod 600"},
		{"readable by others", func(t *testing.T, p string) { must(t, os.Chmod(p, 0o604)) }, "chmod 600"},
		{"writable by others", func(t *testing.T, p string) { must(t, os.Chmod(p, 0o602)) }, "chmod 600"},
		{"a symbolic link to a good file", func(t *testing.T, p string) {
			must(t, os.Rename(p, p+".real"))
			must(t, os.Symlink(p+".real", p))
		}, "symbolic link"},
		{"a folder", func(t *testing.T, p string) { must(t, os.Remove(p)); must(t, os.Mkdir(p, 0o700)) }, "no regular file"},
		{"a pipe without a writer", func(t *testing.T, p string) {
			must(t, os.Remove(p))
			must(t, syscall.Mkfifo(p, 0o600))
		}, "no regular file"},
		{"another's", func(t *testing.T, p string) { needRoot(t); must(t, os.Chown(p, strange, strange)) }, "chown"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(privateDir(t), "f")
			must(t, WritePrivate(path, []byte("secret")))
			if _, err := ReadPrivate(path, 100); err != nil {
				t.Fatalf("before it was spoilt: %v", err)
			}
			test.spoil(t, path)
			done := make(chan error, 1)
			go func() {
				got, err := ReadPrivate(path, 100)
				if got != nil {
					t.Errorf("read %q", got)
				}
				done <- err
			}()
			select {
			case err := <-done:
				if !errors.Is(err, ErrNotPrivate) || !strings.Contains(err.Error(), test.remedy) {
					t.Errorf("got %v, want ErrNotPrivate with %q", err, test.remedy)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("hangs")
			}
		})
	}
}

func TestPrivateDirRefuses(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
	}{
		{"open to the group", func(t *testing.T, d string) { must(t, os.Chmod(d, 0o710)) }},
		{"open to others", func(t *testing.T, d string) { must(t, os.Chmod(d, 0o1777)) }},
		{"a symbolic link", func(t *testing.T, d string) {
			must(t, os.Rename(d, d+".real"))
			must(t, os.Symlink(d+".real", d))
		}},
		{"a file", func(t *testing.T, d string) { must(t, os.Remove(d)); must(t, os.WriteFile(d, nil, 0o600)) }},
		{"another's", func(t *testing.T, d string) { needRoot(t); must(t, os.Chown(d, strange, strange)) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := privateDir(t)
			test.spoil(t, dir)
			if err := MakePrivateDir(dir); err == nil {
				t.Error("MakePrivateDir took it")
			}
			if err := WritePrivate(filepath.Join(dir, "f"), []byte("x")); err == nil {
				t.Error("WritePrivate took it")
			}
			if _, err := Lock(filepath.Join(dir, "l")); err == nil {
				t.Error("Lock took it")
			}
		})
	}
}

func TestPrivateModes(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "a", "b")
	must(t, MakePrivateDir(dir))
	path := filepath.Join(dir, "f")
	must(t, WritePrivate(path, []byte("x")))
	for name, want := range map[string]fs.FileMode{filepath.Dir(dir): 0o700, dir: 0o700, path: 0o600} {
		info, err := os.Stat(name)
		must(t, err)
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %04o, want %04o even with an open umask", name, got, want)
		}
	}
}

// A writer replaces what stands at the path; it never writes through it.
func TestWritePrivateReplacesALink(t *testing.T) {
	dir := privateDir(t)
	victim := filepath.Join(t.TempDir(), "victim")
	must(t, os.WriteFile(victim, []byte("theirs"), 0o644))
	path := filepath.Join(dir, "f")
	must(t, os.Symlink(victim, path))
	must(t, WritePrivate(path, []byte("ours")))
	got, err := os.ReadFile(victim)
	must(t, err)
	if string(got) != "theirs" {
		t.Errorf("the link's target now reads %q", got)
	}
	if _, err := ReadPrivate(path, 10); err != nil {
		t.Error(err)
	}
}

func TestCheckProgram(t *testing.T) {
	needRoot(t)
	open := filepath.Join(t.TempDir(), "open")
	must(t, os.MkdirAll(open, 0o755))
	program := filepath.Join(open, "p")
	must(t, os.WriteFile(program, nil, 0o755))
	if err := checkProgram(program); err != nil {
		t.Fatalf("root's own program in root's folders: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(program, link))

	must(t, os.Chmod(open, 0o777))
	for _, path := range []string{program, link} {
		if err := checkProgram(path); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s in a folder that all can write: %v, want fs.ErrPermission", path, err)
		}
	}
	must(t, os.Chmod(open, 0o755))
	must(t, os.Chown(program, strange, strange))
	if err := checkProgram(program); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("another's program: %v, want fs.ErrPermission", err)
	}
}
