package platform

import (
	"os"

	"golang.org/x/sys/windows"
)

// privileged reports whether this process acts for the system.
func privileged() bool { return windows.GetCurrentProcessToken().IsElevated() }

// hostEnv answers ProgramData from the system and not from the environment: an
// elevated process inherits that from the person who started it.
func hostEnv(name string) string {
	if name != "ProgramData" {
		return os.Getenv(name)
	}
	dir, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, windows.KF_FLAG_DEFAULT)
	if err != nil {
		return ""
	}
	return dir
}
