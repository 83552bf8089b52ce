package collectors

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"muster/attest/posture"
)

// maxVolumes bounds the detail, not the verdict: a report has 64 kB.
const maxVolumes = 64

// collectDiskEncryption judges every mounted local data file system, every swap
// area and where hibernation writes, each down to the physical devices.
func collectDiskEncryption(ctx context.Context, m *Machine, c *posture.Claims) {
	s, swaps, err := readStorage(ctx, m)
	if err != nil {
		c.DiskEncryption = posture.Unseen[posture.DiskEncryption](m.Now(), whyUnknown(err))
		return
	}
	volumes := s.fileSystems()
	volumes = append(volumes, s.swaps(swaps)...)
	volumes = append(volumes, s.hibernation(volumes)...)
	state, reason := verdict(volumes)
	volumes = append(volumes, s.unmounted(volumes)...)
	volumes = slices.DeleteFunc(volumes, isEcho)
	volumes = volumes[:min(len(volumes), maxVolumes)]
	c.DiskEncryption = posture.Observed(m.Now(), state, reason, posture.DiskEncryption{Volumes: volumes})
}

// readStorage reads all that the walk needs. Each error makes the whole claim
// unknown: what could not be read could have been the plain disk.
func readStorage(ctx context.Context, m *Machine) (*storage, []string, error) {
	b, err := m.Tree.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, nil, err
	}
	s := &storage{tree: m.Tree, known: make(map[string]finding), open: make(map[string]bool)}
	if s.mounts, err = parseMountinfo(b); err != nil {
		return nil, nil, err
	}
	if s.devs, err = readDevices(m.Tree); err != nil {
		return nil, nil, err
	}
	if s.btrfs, err = readBtrfs(m.Tree); err != nil {
		return nil, nil, err
	}
	s.zfs = readZFS(ctx, m, s)
	swaps, err := swapNames(ctx, m.Tree)
	return s, swaps, err
}

// verdict joins the volumes that count: one plain is no, else one unknown is
// unknown, and without a data file system nothing was judged.
func verdict(volumes []posture.Volume) (posture.State, posture.Reason) {
	unknown, data := posture.Reason(""), false
	no := posture.Reason("")
	for _, v := range volumes {
		if v.Use != posture.UseData && v.Use != posture.UseSwap && v.Use != posture.UseHibernate {
			continue
		}
		data = data || v.Use == posture.UseData
		switch v.State {
		case posture.Yes:
		case posture.No:
			// A plain data volume is the graver news.
			if no == "" || v.Use == posture.UseData {
				no = v.Reason
			}
		default:
			unknown = cmp.Or(unknown, v.Reason, posture.Unsupported)
		}
	}
	switch {
	case no != "":
		return posture.No, no
	case unknown != "":
		return posture.Unknown, unknown
	case !data:
		return posture.Unknown, posture.NothingMounted
	}
	return posture.Yes, ""
}

// volume puts a finding into the words of the report.
func volume(f finding, use posture.VolumeUse, device, mount, fs string) posture.Volume {
	return posture.Volume{
		Device: label(device), Mount: label(mount), Use: use, FS: label(fs), Mechanism: f.mechanism,
		State: f.state, Reason: f.reason, Leaves: f.leaves, Status: f.status,
	}
}

// fileSystems judges every mounted file system once, wherever and however often
// it is mounted.
func (s *storage) fileSystems() []posture.Volume {
	type group struct {
		first  mount
		points []string
	}
	groups := make(map[string]*group)
	var order []string
	for _, m := range s.mounts {
		key := m.dev
		if m.kind() == fsZFS {
			key = m.source
		}
		if groups[key] == nil {
			groups[key] = &group{first: m}
			order = append(order, key)
		}
		groups[key].points = append(groups[key].points, m.point)
	}
	var volumes []posture.Volume
	for _, key := range order {
		g := groups[key]
		f := s.mount(g.first)
		if f.nowhere {
			continue
		}
		slices.SortFunc(g.points, func(a, b string) int { return cmp.Or(len(a)-len(b), cmp.Compare(a, b)) })
		volumes = append(volumes, volume(f, s.use(g.points, f), s.nameOf(g.first), g.points[0], g.first.fs))
	}
	return volumes
}

// isEcho reports whether a volume only repeats what is said of a file system
// that is listed: overlays (a container host has hundreds) and read-only images
// in files (snaps, dozens). They count in the verdict all the same.
func isEcho(v posture.Volume) bool {
	if v.State == posture.Unknown || v.Mount == "/" {
		return false
	}
	return v.FS == "overlay" || v.FS == "squashfs" && strings.HasPrefix(v.Device, "loop")
}

// use says whether a mounted file system counts. To be let off, every place
// where it is mounted must be one of those, so that no data hides behind a
// second mount of the same volume.
func (s *storage) use(points []string, f finding) posture.VolumeUse {
	every := func(is func(string) bool) bool {
		return !slices.ContainsFunc(points, func(p string) bool { return !is(p) })
	}
	switch {
	case every(isBoot):
		return posture.UseBoot
	case every(isGuest) && s.removable(f.leaves):
		return posture.UseRemovable
	}
	return posture.UseData
}

// removable reports whether all of the physical devices come and go.
func (s *storage) removable(leaves []string) bool {
	for _, name := range leaves {
		d := s.devs.byName[name]
		if d == nil {
			return false
		}
		if disk := s.devs.byName[d.disk]; disk != nil {
			d = disk
		}
		if !d.removable {
			return false
		}
	}
	return len(leaves) > 0
}

// nameOf gives the kernel's name of what is mounted, or the source's own.
func (s *storage) nameOf(m mount) string {
	if d := s.devs.byDev[m.dev]; d != nil {
		return d.name
	}
	if d := s.devs.node(s.tree, m.source); d != nil {
		return d.name
	}
	return m.source
}

// swaps judges the swap areas; memory that calls itself one (zram) is none.
func (s *storage) swaps(names []string) []posture.Volume {
	var volumes []posture.Volume
	for _, name := range names {
		device, where, f := name, "", finding{}
		if d := s.devs.node(s.tree, name); d != nil {
			device, f = d.name, s.device(d.name)
		} else if under(name, "/dev") {
			f = cannotTell(posture.Unreadable)
		} else {
			where, f = name, s.file(name)
			if i := mountOf(s.mounts, name); i >= 0 {
				device = s.nameOf(s.mounts[i])
			}
		}
		if f.nowhere {
			continue
		}
		if f.state == posture.No {
			f.reason = posture.PlainSwap
		}
		volumes = append(volumes, volume(f, posture.UseSwap, device, where, "swap"))
	}
	return volumes
}

// hibernation judges the device that the kernel would resume from, if one is
// set and it is not among the volumes already: an image of memory may lie there
// from before.
func (s *storage) hibernation(listed []posture.Volume) []posture.Volume {
	dev, err := s.tree.ReadWord("/sys/power/resume")
	if dev == "0:0" || errors.Is(err, fs.ErrNotExist) {
		return nil // none is set; without the file, the kernel cannot hibernate
	}
	d := s.devs.byDev[dev]
	if d == nil {
		return []posture.Volume{volume(cannotTell(posture.Unreadable), posture.UseHibernate, dev, "", "")}
	}
	if slices.ContainsFunc(listed, func(v posture.Volume) bool {
		return v.Device == d.name && (v.Use == posture.UseData || v.Use == posture.UseSwap)
	}) {
		return nil
	}
	f := s.device(d.name)
	if f.nowhere {
		return nil
	}
	if f.state == posture.No {
		f.reason = posture.PlainSwap
	}
	return []posture.Volume{volume(f, posture.UseHibernate, d.name, "", "")}
}
