package collectors

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// device is one block device as sysfs shows it (Linux
// Documentation/ABI/stable/sysfs-block).
type device struct {
	name      string
	dir       string   // its directory in sysfs, all links followed
	dev       string   // major:minor
	slaves    []string // the devices right below it, by name
	disk      string   // for a partition, the disk that it is part of
	dm        bool     // made by the device mapper
	dmName    string   // its name in /dev/mapper
	dmUUID    string   // its owner's mark: CRYPT-LUKS2-..., LVM-..., mpath-...
	backing   string   // for a loop device the file; for zram the disk it spills to
	size      string   // in sectors; "0" for a loop device that is not bound
	removable bool     // media that come and go
	err       error    // why something of it could not be read
}

// devices are all block devices of a machine.
type devices struct {
	byName map[string]*device
	byDev  map[string]*device
}

// maxDevices bounds what is walked.
const maxDevices = 8192

// readDevices reads what sysfs tells of each block device.
func readDevices(t Tree) (devices, error) {
	found, err := deviceDirs(t)
	if err != nil {
		return devices{}, err
	}
	if len(found) > maxDevices {
		return devices{}, fmt.Errorf("block devices: %d of them: %w", len(found), errUnparsable)
	}
	all := devices{make(map[string]*device, len(found)), make(map[string]*device, len(found))}
	for name, dir := range found {
		d := readDevice(t, name, dir)
		all.byName[name] = d
		// The hidden paths of an NVMe disk have no number. A number that is none
		// could be that of any mount.
		if there, err := t.Has(dir + "/dev"); err != nil || there && !isDev(d.dev) {
			return devices{}, fmt.Errorf("block device %s: number %q: %w", name, d.dev, cmp.Or(err, errUnparsable))
		}
		if other := all.byDev[d.dev]; other != nil {
			twice := fmt.Errorf("block devices %s and %s: both are %s: %w", name, other.name, d.dev, errUnparsable)
			d.err, other.err = errors.Join(d.err, twice), errors.Join(other.err, twice)
		}
		if d.dev != "" {
			all.byDev[d.dev] = d
		}
	}
	for _, d := range all.byName {
		d.disk = all.diskOf(t, d)
	}
	return all, nil
}

// deviceDirs maps the names of block devices to their directories: by
// /sys/class/block, or, where that was not captured (it holds links only), by
// the dev files of /sys/block and one level below it, where partitions are.
func deviceDirs(t Tree) (map[string]string, error) {
	found := make(map[string]string)
	entries, err := t.ReadDir("/sys/class/block")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if dir, err := t.Resolve("/sys/class/block/" + e.Name()); err == nil {
			found[e.Name()] = dir
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	disks, err := t.ReadDir("/sys/block")
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	for _, disk := range disks {
		dir, err := t.Resolve("/sys/block/" + disk.Name())
		if err != nil {
			continue
		}
		found[disk.Name()] = dir
		parts, err := t.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, part := range parts {
			// Other folders there (device, slaves) lead to other devices.
			if !strings.HasPrefix(part.Name(), disk.Name()) {
				continue
			}
			if ok, err := t.Has(dir + "/" + part.Name() + "/dev"); ok && err == nil {
				found[part.Name()] = dir + "/" + part.Name()
			}
		}
	}
	return found, nil
}

// readDevice reads the attributes of one device. An attribute that is there and
// cannot be read is an error of the device, never the same as a missing one.
func readDevice(t Tree, name, dir string) *device {
	d := &device{name: name, dir: dir}
	word := func(attr string) string {
		s, err := t.ReadWord(dir + "/" + attr)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && d.err == nil {
			d.err = err
		}
		return s
	}
	d.dev = word("dev")
	d.size = word("size")
	if d.dm, d.err = has(t, dir+"/dm", d.err); d.dm {
		d.dmName, d.dmUUID = word("dm/name"), word("dm/uuid")
	}
	switch {
	case strings.HasPrefix(name, "loop"):
		d.backing = word("loop/backing_file")
	case strings.HasPrefix(name, "zram"):
		switch d.backing = word("backing_dev"); d.backing {
		case "none":
			d.backing = ""
		case "": // a kernel that cannot spill has no such file; an empty one says nothing
			if there, err := t.Has(dir + "/backing_dev"); there || err != nil {
				d.err = errors.Join(d.err, err, fmt.Errorf("%s: no backing device: %w", name, errUnparsable))
			}
		}
	}
	// An SD card says that it is one; its reader does not say removable.
	d.removable = word("removable") == "1" || strings.Contains(dir, "/usb") || word("device/type") == "SD"
	slaves, err := t.ReadDir(dir + "/slaves")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.err = errors.Join(d.err, err)
	}
	for _, s := range slaves {
		d.slaves = append(d.slaves, s.Name())
	}
	return d
}

// has is [Tree.Has] that keeps the first of several errors.
func has(t Tree, name string, earlier error) (bool, error) {
	ok, err := t.Has(name)
	return ok, errors.Join(earlier, err)
}

// diskOf names the disk that a partition is part of, or nothing: its directory
// lies in the disk's; where links were lost, its name begins with the disk's.
func (all devices) diskOf(t Tree, d *device) string {
	if parent := all.byName[path.Base(path.Dir(d.dir))]; parent != nil && parent != d {
		return parent.name
	}
	if part, err := t.Has(d.dir + "/partition"); !part || err != nil {
		return ""
	}
	digits := strings.TrimRight(d.name, "0123456789")
	for _, disk := range []string{strings.TrimSuffix(digits, "p"), digits} {
		if disk != d.name && all.byName[disk] != nil {
			return disk
		}
	}
	return ""
}

// node finds the device that a path below /dev means. Links are followed where
// the tree has them; else the kernel's name, the device mapper's, or LVM's
// (group and volume, each with its own dashes doubled) is taken from the path.
func (all devices) node(t Tree, name string) *device {
	rest, ok := strings.CutPrefix(name, "/dev/")
	if !ok {
		return nil
	}
	if real, err := t.Resolve(name); err == nil {
		if d := all.byName[path.Base(real)]; d != nil && path.Dir(real) == "/dev" {
			return d
		}
	}
	if d := all.byName[rest]; d != nil {
		return d
	}
	mapped, ok := strings.CutPrefix(rest, "mapper/")
	if !ok {
		group, volume, two := strings.Cut(rest, "/")
		if !two {
			return nil
		}
		mapped = strings.ReplaceAll(group, "-", "--") + "-" + strings.ReplaceAll(volume, "-", "--")
	}
	for _, d := range all.byName {
		if d.dm && d.dmName == mapped {
			return d
		}
	}
	return nil
}
