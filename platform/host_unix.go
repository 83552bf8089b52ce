//go:build unix

package platform

import "os"

// privileged reports whether this process acts for the system.
func privileged() bool { return os.Geteuid() == 0 }

func hostEnv(name string) string { return os.Getenv(name) }
