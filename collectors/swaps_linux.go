package collectors

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/shirou/gopsutil/v3/common"
	"github.com/shirou/gopsutil/v3/mem"
)

// swapNames lists the swap areas in use by their names in /proc/swaps: device
// nodes and files. No list is an error; an empty list is none.
//
// gopsutil reads that one file, refuses a heading or a line that it does not
// understand, and is told by its context below which root to look.
func swapNames(ctx context.Context, t Tree) ([]string, error) {
	// Reading it once ourselves first: the file must be a regular one of sane
	// size, reached by links inside the tree only.
	if _, err := t.ReadFile("/proc/swaps"); err != nil {
		return nil, err
	}
	real, err := t.resolve("/proc/swaps")
	if err != nil {
		return nil, err
	}
	if filepath.Base(real) != "swaps" {
		return nil, fmt.Errorf("swaps: a link to %s: %w", filepath.Base(real), errUnparsable)
	}
	env := common.EnvMap{common.HostProcEnvKey: filepath.Dir(real)}
	devices, err := mem.SwapDevicesWithContext(context.WithValue(ctx, common.EnvKey, env))
	if err != nil {
		return nil, fmt.Errorf("swaps: %w: %w", errUnparsable, err)
	}
	names := make([]string, len(devices))
	for i, d := range devices {
		name, ok := unescape(d.Name)
		if !ok || name == "" || name[0] != '/' {
			return nil, fmt.Errorf("swaps: line %d: %w", i+2, errUnparsable)
		}
		names[i] = name
	}
	return names, nil
}
