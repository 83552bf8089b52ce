package collectors

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"strings"

	"muster/attest/posture"
)

// machineIDTag keeps the hash apart from every other hash of a machine-id, so
// that a report cannot be joined with what other programs publish
// (machine-id(5) asks for that).
const machineIDTag = "muster/machine-id/1"

// collectHardware reads the labels by which people find a laptop: the SMBIOS
// tables' strings as the kernel shows them, or a device tree's.
func collectHardware(_ context.Context, m *Machine, c *posture.Claims) {
	var found posture.Hardware
	dmi := dmiReader{tree: m.Tree}
	for _, l := range []struct {
		to    *string
		files []string
		real  func(string) string
	}{
		{&found.Vendor, []string{"sys_vendor", "board_vendor"}, realLabel},
		{&found.Model, []string{"product_name", "board_name"}, realLabel},
		{&found.Serial, []string{"product_serial", "chassis_serial", "board_serial"}, realLabel},
		{&found.UUID, []string{"product_uuid"}, realUUID},
		{&found.Asset, []string{"chassis_asset_tag", "board_asset_tag"}, realLabel},
		{&found.BIOS, []string{"bios_version"}, realLabel},
		{&found.BIOSDate, []string{"bios_date"}, realLabel},
	} {
		*l.to = dmi.first(l.real, l.files...)
	}
	if found.Model == "" {
		found.Model = realLabel(deviceTree(m.Tree, "model"))
	}
	if found.Serial == "" {
		found.Serial = realLabel(deviceTree(m.Tree, "serial-number"))
	}
	found.Chassis = chassis(m.Tree, found, dmi.first(label, "chassis_type"))
	name, _ := m.Tree.ReadWord("/proc/sys/kernel/hostname")
	found.Hostname = realLabel(name)
	found.MachineID = machineID(m.Tree)

	state, reason := posture.Yes, posture.Reason("")
	if dmi.err != nil {
		reason = whyUnknown(dmi.err) // yes by the rest, and why some are missing
	}
	if found.Vendor+found.Model+found.Serial+found.UUID+found.Asset+found.Hostname+found.MachineID == "" {
		state = posture.Unknown
		if reason == "" {
			reason = posture.Unsupported
		}
	}
	c.Hardware = posture.Observed(m.Now(), state, reason, found)
}

// dmiReader reads below /sys/class/dmi/id and keeps the first error that is not
// absence: the kernel shows serial numbers to root only.
type dmiReader struct {
	tree Tree
	err  error
}

// first returns the first of several labels that is real.
func (d *dmiReader) first(real func(string) string, files ...string) string {
	for _, file := range files {
		s, err := d.tree.ReadWord("/sys/class/dmi/id/" + file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && d.err == nil {
			d.err = err
		}
		if s = real(s); s != "" {
			return s
		}
	}
	return ""
}

// deviceTree reads a string of the flattened device tree, which ends in a zero
// byte; boards without SMBIOS have one.
func deviceTree(t Tree, name string) string {
	s, _ := t.ReadWord("/sys/firmware/devicetree/base/" + name)
	return s
}

// machineID hashes the system's id under muster's own tag: the id itself is
// confidential and stays.
func machineID(t Tree) string {
	id, err := t.ReadWord("/etc/machine-id")
	if err != nil || len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" || strings.Trim(id, "0") == "" {
		return "" // not there, or not yet drawn ("uninitialized")
	}
	sum := sha256.Sum256([]byte(machineIDTag + id))
	return hex.EncodeToString(sum[:])
}

// chassis puts the kind of machine into one word, by the SMBIOS chassis type
// (DMTF DSP0134 §7.4.1), unless it is no machine at all.
func chassis(t Tree, found posture.Hardware, code string) string {
	if isGuestMachine(t, found) {
		return "virtual"
	}
	switch code {
	case "8", "9", "10", "14", "30", "31", "32":
		return "laptop"
	case "3", "4", "5", "6", "7", "13", "15", "16", "24", "34", "35", "36":
		return "desktop"
	case "17", "23", "25", "28", "29":
		return "server"
	}
	return ""
}

// isGuestMachine reports whether this is a virtual machine: the processor says
// so (x86), or the labels are a hypervisor's.
func isGuestMachine(t Tree, found posture.Hardware) bool {
	cpu, _ := t.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(cpu)) {
		if flags, ok := strings.CutPrefix(line, "flags"); ok {
			if strings.Contains(flags+" ", " hypervisor ") {
				return true
			}
			break // all processors of a machine are alike in this
		}
	}
	switch found.Vendor {
	case "QEMU", "VMware, Inc.", "innotek GmbH", "Xen", "Bochs", "Parallels International GmbH.":
		return true
	}
	switch found.Model {
	case "KVM", "VirtualBox", "Virtual Machine", "Google Compute Engine", "OpenStack Nova":
		return true
	}
	return false
}
