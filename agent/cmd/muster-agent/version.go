package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// release is the version of this program.
const release = "0.1.0"

// version prints it.
func version(_ context.Context, _ []string, stdout io.Writer) error {
	_, err := fmt.Fprintf(stdout, "muster-agent %s %s/%s\n", programVersion(), runtime.GOOS, runtime.GOARCH)
	return err
}

// programVersion is the release and, where the build knows it, the commit.
func programVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return release + "+" + s.Value[:12]
		}
	}
	return release
}
