package collectors

import (
	"maps"
	"slices"
	"strings"

	"muster/attest/posture"
)

// unmounted lists the internal devices that nothing uses. They do not count: of
// a closed one nobody can say what is in it (a locked LUKS volume looks like any
// other), and an open one that is not mounted holds no open files.
func (s *storage) unmounted(listed []posture.Volume) []posture.Volume {
	used := s.used(listed)
	var volumes []posture.Volume
	for _, name := range slices.Sorted(maps.Keys(s.devs.byName)) {
		d := s.devs.byName[name]
		if used[name] || d.dev == "" || d.size == "" || d.size == "0" || d.removable || isVirtual(d) {
			continue
		}
		if disk := s.devs.byName[d.disk]; disk != nil && disk.removable {
			continue
		}
		f := s.device(name)
		if f.state == posture.No {
			f.state, f.reason = posture.Unknown, posture.NotMounted
		}
		volumes = append(volumes, volume(f, posture.UseUnmounted, name, "", ""))
	}
	return volumes
}

// used names the devices that are mounted, swapped to, or part of another.
func (s *storage) used(listed []posture.Volume) map[string]bool {
	used := make(map[string]bool)
	for _, v := range listed {
		used[v.Device] = true
		for _, leaf := range v.Leaves {
			used[leaf] = true
		}
	}
	for _, m := range s.mounts {
		if d := s.devs.byDev[m.dev]; d != nil {
			used[d.name] = true
		}
	}
	for name := range s.btrfs.of {
		used[name] = true
	}
	for _, d := range s.devs.byName {
		used[d.disk] = true
		for _, slave := range d.slaves {
			used[slave] = true
		}
	}
	return used
}

// isVirtual reports whether a device is no disk of its own: memory, files,
// floppies, optical drives and the small boot areas of flash chips.
func isVirtual(d *device) bool {
	for _, prefix := range []string{"loop", "ram", "zram", "sr", "fd", "mtdblock"} {
		if strings.HasPrefix(d.name, prefix) {
			return true
		}
	}
	return strings.Contains(d.name, "boot")
}
