//go:build !linux

package collectors

import (
	"context"
	"errors"
)

// swapNames cannot be told here: gopsutil reads /proc/swaps on Linux only.
func swapNames(context.Context, Tree) ([]string, error) { return nil, errors.ErrUnsupported }
