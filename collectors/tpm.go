package collectors

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"muster/attest/posture"
)

// collectTPM says which TPM the kernel drives and whether the boot log that
// belongs to it can be read.
func collectTPM(_ context.Context, m *Machine, c *posture.Claims) {
	t := m.Tree
	name, version, err := findTPM(t)
	switch {
	case err != nil:
		c.TPM = posture.Unseen[posture.TPM](m.Now(), whyUnknown(err))
		return
	case name == "":
		state, reason := noTPM(t)
		c.TPM = posture.Observed(m.Now(), state, reason, posture.TPM{})
		return
	}
	found := posture.TPM{Version: version, ResourceMgr: resourceManager(t, name)}
	found.LogReadable, found.LogReason = bootLog(t, name)
	switch version {
	case "2.0":
		c.TPM = posture.Observed(m.Now(), posture.Yes, "", found)
	case "1.2":
		c.TPM = posture.Observed(m.Now(), posture.No, posture.TPMTooOld, found)
	default:
		c.TPM = posture.Observed(m.Now(), posture.Unknown, posture.Unreadable, found)
	}
}

// findTPM returns the first TPM of the highest version, or no name.
func findTPM(t Tree) (name, version string, err error) {
	entries, err := t.ReadDir("/sys/class/tpm")
	if errors.Is(err, fs.ErrNotExist) {
		_, err = t.Stat("/sys/class") // its absence says nothing where sysfs is not
		return "", "", err
	}
	if err != nil {
		return "", "", err
	}
	for _, e := range entries {
		if number, ok := strings.CutPrefix(e.Name(), "tpm"); !ok || !decimal(number) {
			continue
		}
		if v := tpmVersion(t, "/sys/class/tpm/"+e.Name()); name == "" || v > version {
			name, version = e.Name(), v
		}
	}
	return name, version, nil
}

// tpmVersion reads the version from the file that kernels since 5.6 have; older
// ones have a caps file for TPM 1.2 only.
func tpmVersion(t Tree, dir string) string {
	switch major, _ := t.ReadWord(dir + "/tpm_version_major"); major {
	case "2":
		return "2.0"
	case "1":
		return "1.2"
	}
	caps, _ := t.ReadFile(dir + "/caps")
	if strings.Contains(string(caps), "TCG version: 1.2") {
		return "1.2"
	}
	return ""
}

// noTPM tells a machine without a TPM from a kernel without its driver:
// firmware's table for it is there all the same.
func noTPM(t Tree) (posture.State, posture.Reason) {
	table, err := t.Has("/sys/firmware/acpi/tables/TPM2")
	if err != nil {
		return posture.Unknown, whyUnknown(err)
	}
	if table {
		return posture.Unknown, posture.Unsupported
	}
	return posture.No, posture.NoTPM
}

// resourceManager looks for the device that several programs can share. A tree
// that is not the running system may lack /dev.
func resourceManager(t Tree, name string) posture.State {
	rm := "tpmrm" + strings.TrimPrefix(name, "tpm")
	for _, place := range []string{"/sys/class/tpmrm/" + rm, "/dev/" + rm} {
		if ok, err := t.Has(place); ok && err == nil {
			return posture.Yes
		}
	}
	if t.Live() {
		return posture.No
	}
	return posture.Unknown
}

// bootLog says whether the log is there and may be read; it belongs to root.
func bootLog(t Tree, name string) (posture.State, posture.Reason) {
	f, err := t.Open(securityfs + "/" + name + "/binary_bios_measurements")
	if errors.Is(err, fs.ErrNotExist) {
		mounted, err := securityfsMounted(t)
		switch {
		case err != nil:
			return posture.Unknown, whyUnknown(err)
		case !mounted:
			return posture.Unknown, posture.NotMounted
		}
		return posture.No, posture.Unsupported // the kernel was given none
	}
	if err != nil {
		return posture.Unknown, whyUnknown(err)
	}
	defer f.Close()
	if n, _ := f.Read(make([]byte, 1)); n == 0 {
		return posture.No, posture.Unreadable
	}
	return posture.Yes, ""
}
