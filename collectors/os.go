package collectors

import (
	"context"
	"errors"
	"io/fs"
	"runtime"

	"muster/attest/posture"
)

// collectOS says which distribution and kernel this is, by the files that the
// distribution and the kernel keep for that.
func collectOS(_ context.Context, m *Machine, c *posture.Claims) {
	b, err := m.Tree.ReadFile("/etc/os-release")
	if errors.Is(err, fs.ErrNotExist) {
		b, err = m.Tree.ReadFile("/usr/lib/os-release")
	}
	var values map[string]string
	if err == nil {
		values, err = parseOSRelease(b)
	}
	if err != nil {
		c.OS = posture.Unseen[posture.OS](m.Now(), whyUnknown(err))
		return
	}
	found := posture.OS{
		ID:           label(values["ID"]),
		Name:         label(values["PRETTY_NAME"]),
		Version:      label(values["VERSION_ID"]),
		Codename:     label(values["VERSION_CODENAME"]),
		Build:        label(values["BUILD_ID"]),
		Edition:      label(values["VARIANT_ID"]),
		Architecture: architecture(m.Tree),
	}
	if found.ID == "" {
		found.ID = "linux" // what os-release(5) says to take
	}
	release, err := m.Tree.ReadWord("/proc/sys/kernel/osrelease")
	if err != nil {
		c.OS = posture.Observed(m.Now(), posture.Unknown, whyUnknown(err), found)
		return
	}
	found.KernelRunning = label(release)
	if newest, err := newestKernel(m.Tree, release); err == nil {
		found.KernelNewest = label(newest)
	}
	c.OS = posture.Observed(m.Now(), posture.Yes, "", found)
}

// architecture gives the kernel's architecture by Go's name. Kernels before 6.1
// do not tell it in a file; of the running one we then know what this program
// was built for.
func architecture(t Tree) string {
	arch, err := t.ReadWord("/proc/sys/kernel/arch")
	if err != nil {
		if t.Live() {
			return runtime.GOARCH
		}
		return ""
	}
	switch arch {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	case "i386", "i486", "i586", "i686":
		return "386"
	}
	return label(arch)
}
