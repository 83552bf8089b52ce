package collectors

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"muster/attest/posture"
)

// files are the contents of a small tree by path.
type files map[string]string

// treeOf writes them and returns the machine that has them.
func treeOf(t *testing.T, all files) *Machine {
	t.Helper()
	dir := t.TempDir()
	for name, content := range all {
		real := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(real), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(real, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return machineAt(t, dir)
}

// machineAt is the machine whose root is dir.
func machineAt(t *testing.T, dir string) *Machine {
	t.Helper()
	tree, err := NewTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	return &Machine{Tree: tree, Now: func() time.Time { return time.Unix(1_800_000_000, 0) }}
}

// collected runs one collector over a small tree.
func collected(t *testing.T, all files, collect func(context.Context, *Machine, *posture.Claims)) posture.Claims {
	t.Helper()
	m := treeOf(t, all)
	c := posture.Unfilled(m.Now(), posture.NotCollected)
	collect(context.Background(), m, &c)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
