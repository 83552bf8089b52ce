//go:build unix

package platform

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ours is checkSystemOwned for whoever runs the test.
func ours(path string, info fs.FileInfo) error {
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by others", path)
	}
	return checkOwner(path, info, os.Geteuid())
}

func TestManagedDir(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"20-b.json": `{"b":2}`, "10-a.json": ` {"a":[1,{"x":null}]} `, "9.json": `{}`,
		"10-a.json~": `no`, ".hidden.json": `no`, "readme.txt": `no`,
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	layers, err := managedDir(dir, ours)
	must(t, err)
	var got []string
	for _, l := range layers {
		got = append(got, filepath.Base(l.Origin)+"="+strings.TrimSpace(string(l.JSON)))
	}
	want := `10-a.json={"a":[1,{"x":null}]} 20-b.json={"b":2} 9.json={}`
	if strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
}

func TestManagedDirMissing(t *testing.T) {
	layers, err := managedDir(filepath.Join(t.TempDir(), "none"), ours)
	if err != nil || layers != nil {
		t.Errorf("got %v, %v; want nothing", layers, err)
	}
}

// One bad file fails the whole: what an administrator demanded must not vanish.
func TestManagedDirRefuses(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, dir, file string){
		"broken JSON":        func(t *testing.T, _, f string) { must(t, os.WriteFile(f, []byte(`{"a":`), 0o644)) },
		"a list":             func(t *testing.T, _, f string) { must(t, os.WriteFile(f, []byte(`[]`), 0o644)) },
		"null":               func(t *testing.T, _, f string) { must(t, os.WriteFile(f, []byte(`null`), 0o644)) },
		"two objects":        func(t *testing.T, _, f string) { must(t, os.WriteFile(f, []byte(`{}{}`), 0o644)) },
		"empty":              func(t *testing.T, _, f string) { must(t, os.WriteFile(f, nil, 0o644)) },
		"too long":           func(t *testing.T, _, f string) { must(t, os.WriteFile(f, make([]byte, managedBytes+1), 0o644)) },
		"file for the group": func(t *testing.T, _, f string) { must(t, os.Chmod(f, 0o664)) },
		"folder for all":     func(t *testing.T, d, _ string) { must(t, os.Chmod(d, 0o777)) },
		"file of another":    func(t *testing.T, _, f string) { needRoot(t); must(t, os.Chown(f, strange, 0)) },
		"folder of another":  func(t *testing.T, d, _ string) { needRoot(t); must(t, os.Chown(d, strange, 0)) },
		"a link": func(t *testing.T, d, f string) {
			must(t, os.Rename(f, f+".real"))
			must(t, os.Symlink(f+".real", f))
		},
		"a folder with that name": func(t *testing.T, _, f string) { must(t, os.Remove(f)); must(t, os.Mkdir(f, 0o755)) },
		"the folder is a link": func(t *testing.T, d, _ string) {
			must(t, os.Rename(d, d+".real"))
			must(t, os.Symlink(d+".real", d))
		},
		"too many files": func(t *testing.T, d, _ string) {
			for i := range managedLayers {
				must(t, os.WriteFile(filepath.Join(d, fmt.Sprint(i, ".json")), []byte("{}"), 0o644))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "managed.d")
			must(t, os.Mkdir(dir, 0o755))
			must(t, os.WriteFile(filepath.Join(dir, "a.json"), []byte(`{}`), 0o644))
			file := filepath.Join(dir, "b.json")
			must(t, os.WriteFile(file, []byte(`{}`), 0o644))
			if _, err := managedDir(dir, ours); err != nil {
				t.Fatalf("before it was spoilt: %v", err)
			}
			spoil(t, dir, file)
			if layers, err := managedDir(dir, ours); err == nil {
				t.Errorf("taken: %v", layers)
			} else if !strings.Contains(err.Error(), "managed.d") {
				t.Errorf("%v does not say where", err)
			}
		})
	}
}
