package collectors

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"muster/attest/posture"
)

// finding is what the walk says of one device or file system.
type finding struct {
	state     posture.State
	reason    posture.Reason
	mechanism string
	status    posture.DiskStatus
	leaves    []string // physical devices at the bottom, sorted
	// nowhere: nothing of it rests on a local disk (memory, the network), so it
	// neither helps nor harms the verdict.
	nowhere bool
}

func cannotTell(reason posture.Reason) finding {
	return finding{state: posture.Unknown, reason: reason}
}

// joined sums up the findings of all that one volume is spread over: it is
// encrypted only if each of them is. Of nothing at all it cannot tell.
func joined(parts []finding) finding {
	if len(parts) == 0 {
		return cannotTell(posture.Unsupported)
	}
	sum := finding{state: posture.Yes, nowhere: true}
	var leaves []string // its own: findings are remembered and share theirs
	for _, p := range parts {
		if p.nowhere {
			continue
		}
		if sum.nowhere || graver(p, sum) {
			sum = p
		}
		leaves = append(leaves, p.leaves...)
	}
	slices.Sort(leaves)
	sum.leaves = slices.Compact(leaves)
	return sum
}

// graver orders findings: one plain part makes the whole plain; else one that
// cannot be told makes it unknown.
func graver(a, b finding) bool {
	rank := func(f finding) int {
		switch f.state {
		case posture.No:
			return 2
		case posture.Yes:
			return 0
		}
		return 1
	}
	return rank(a) > rank(b)
}

// maxDepth bounds how many layers lie on each other.
const maxDepth = 32

// storage is all that the walk needs to know of a machine, and what it has
// found so far.
type storage struct {
	tree   Tree
	devs   devices
	mounts []mount
	btrfs  btrfsPools
	zfs    func(dataset string) finding
	known  map[string]finding // by device name, so that shared layers are walked once
	open   map[string]bool    // devices on the way down, to stop at a cycle
}

// device walks from a block device down to the physical ones.
func (s *storage) device(name string) finding {
	if f, ok := s.known[name]; ok {
		return f
	}
	d := s.devs.byName[name]
	if d == nil || d.err != nil {
		if d != nil {
			return cannotTell(whyUnknown(d.err))
		}
		return cannotTell(posture.Unreadable)
	}
	if s.open[name] || len(s.open) >= maxDepth {
		return cannotTell(posture.Unsupported)
	}
	s.open[name] = true
	f := s.look(d)
	delete(s.open, name)
	s.known[name] = f
	return f
}

// look judges one device by what it is and what lies below it.
func (s *storage) look(d *device) finding {
	switch {
	case d.dm:
		return s.mapped(d)
	case len(d.slaves) > 0: // MD RAID, bcache, multipath NVMe
		return s.slaves(d)
	case d.disk != "":
		return s.partition(d)
	case strings.HasPrefix(d.name, "loop"):
		if d.backing == "" {
			return cannotTell(posture.Unreadable)
		}
		return s.file(d.backing)
	case strings.HasPrefix(d.name, "zram"):
		if d.backing == "" {
			return finding{state: posture.Yes, nowhere: true}
		}
		return s.node(d.backing)
	case strings.HasPrefix(d.name, "ram"):
		return finding{state: posture.Yes, nowhere: true}
	}
	for _, layered := range []string{"dm-", "md", "bcache", "drbd", "nbd", "rbd", "zd"} {
		// What lies below them was not to be seen, or is another machine's.
		if strings.HasPrefix(d.name, layered) {
			return cannotTell(posture.Unsupported)
		}
	}
	return finding{state: posture.No, reason: posture.PlainVolume, leaves: []string{d.name}}
}

// partition judges a part of a disk: of a physical one it is the leaf itself,
// of a layered one (md126p1, loop0p2) it is whatever the disk is.
func (s *storage) partition(d *device) finding {
	disk := s.device(d.disk)
	if disk.state == posture.No && len(disk.leaves) == 1 && disk.leaves[0] == d.disk {
		disk.leaves = []string{d.name}
	}
	return disk
}

func (s *storage) slaves(d *device) finding {
	parts := make([]finding, len(d.slaves))
	for i, slave := range d.slaves {
		parts[i] = s.device(slave)
	}
	return joined(parts)
}

// mapped judges a device mapper device by the mark that its maker left in its
// uuid (cryptsetup: CRYPT-type-uuid-name). What is not a cipher is followed.
func (s *storage) mapped(d *device) finding {
	if len(d.slaves) == 0 {
		return cannotTell(posture.Unsupported)
	}
	below := s.slaves(d)
	mechanism, cipher := cipherOf(d.dmUUID)
	if !cipher {
		return below
	}
	f := finding{state: posture.Yes, mechanism: mechanism, leaves: below.leaves}
	switch {
	case mechanism == "bitlocker":
		// The volume key may lie beside it in the clear (suspended protection),
		// which only its header tells.
		f.state, f.reason = posture.Unknown, posture.Unsupported
	case s.converting(d):
		f.state, f.reason, f.status = posture.Unknown, posture.Unsupported, posture.Encrypting
	}
	return f
}

// cipherOf reads the mark of a device mapper uuid: the mechanism, and whether
// it encrypts. CRYPT-VERITY and CRYPT-INTEGRITY come from the same tool and
// encrypt nothing; LVM-, mpath-, part1- and the like are other tools'.
func cipherOf(uuid string) (mechanism string, cipher bool) {
	for _, mark := range []struct{ prefix, mechanism string }{
		{"CRYPT-LUKS2-OPAL-", "opal"}, // the drive encrypts, alone or below dm-crypt
		{"CRYPT-LUKS2-", "luks2"},
		{"CRYPT-LUKS1-", "luks1"},
		{"CRYPT-PLAIN-", "dm-crypt-plain"},
		{"CRYPT-TCRYPT-", "tcrypt"},
		{"CRYPT-LOOPAES-", "loop-aes"},
		{"CRYPT-FVAULT2-", "filevault"},
		{"CRYPT-BITLK-", "bitlocker"},
	} {
		if strings.HasPrefix(uuid, mark.prefix) {
			return mark.mechanism, true
		}
	}
	return "", false
}

// converting reports whether a volume is being encrypted, decrypted or re-keyed
// in place, so that an unknown part of it may still be plain. A cipher lies on
// one device; during a conversion cryptsetup puts several below it, helpers
// (CRYPT-SUBDEV) among them. The one for integrity tags, which ends in _dif, is
// not such a helper.
func (s *storage) converting(d *device) bool {
	if len(d.slaves) != 1 {
		return true
	}
	below := s.devs.byName[d.slaves[0]]
	return below != nil && strings.HasPrefix(below.dmUUID, "CRYPT-SUBDEV-") && !strings.HasSuffix(below.dmUUID, "_dif")
}

// node judges the device that a path below /dev means.
func (s *storage) node(name string) finding {
	d := s.devs.node(s.tree, name)
	if d == nil {
		return cannotTell(posture.Unreadable)
	}
	return s.device(d.name)
}

// file judges the file system that a file lies on. The file must be there: a
// path left over from another name space or an earlier root would lead to the
// wrong disk.
func (s *storage) file(name string) finding {
	ok, err := s.tree.Has(name)
	if err != nil {
		return cannotTell(whyUnknown(err))
	}
	i := mountOf(s.mounts, name)
	if !ok || i < 0 {
		return cannotTell(posture.Unreadable)
	}
	return s.mount(s.mounts[i])
}

// mount judges a mounted file system.
func (s *storage) mount(m mount) finding {
	switch m.kind() {
	case fsNowhere:
		return finding{state: posture.Yes, nowhere: true}
	case fsBlock:
		d := s.devs.byDev[m.dev]
		if d == nil {
			return cannotTell(posture.Unreadable)
		}
		return s.device(d.name)
	case fsBtrfs:
		return s.pool(m)
	case fsZFS:
		return s.zfs(m.source)
	case fsOverlay:
		return s.overlay(m)
	case fsFuse:
		if strings.HasPrefix(m.source, "/dev/") && m.source != "/dev/fuse" {
			return s.node(m.source)
		}
		return finding{state: posture.Yes, nowhere: true}
	}
	return cannotTell(posture.Unsupported)
}

// overlay judges the layers of an overlay: where it writes, or, if it cannot be
// written, all that it shows. In a container their paths are the host's and
// lead nowhere or back here, so that nothing can be told.
func (s *storage) overlay(m mount) finding {
	layers := m.options("upperdir")
	if len(layers) == 0 {
		for _, o := range []string{"lowerdir", "lowerdir+", "datadir+"} {
			for _, dirs := range m.options(o) {
				layers = append(layers, slices.DeleteFunc(strings.Split(dirs, ":"), func(d string) bool { return d == "" })...)
			}
		}
	}
	key := "overlay " + m.dev
	if len(layers) == 0 || s.open[key] || len(s.open) >= maxDepth {
		return cannotTell(posture.Unsupported)
	}
	s.open[key] = true
	defer delete(s.open, key)
	parts := make([]finding, len(layers))
	for i, dir := range layers {
		below := mountOf(s.mounts, dir)
		if !strings.HasPrefix(dir, "/") || below < 0 {
			return cannotTell(posture.Unsupported)
		}
		parts[i] = s.mount(s.mounts[below])
	}
	return joined(parts)
}

// btrfsPools tells which devices make up a btrfs file system.
type btrfsPools struct {
	members map[string][]string // by file system uuid
	of      map[string]string   // uuid by device name
}

// readBtrfs reads /sys/fs/btrfs; none is no error.
func readBtrfs(t Tree) (btrfsPools, error) {
	pools := btrfsPools{map[string][]string{}, map[string]string{}}
	entries, err := t.ReadDir("/sys/fs/btrfs")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return pools, err
	}
	for _, e := range entries {
		members, err := t.ReadDir("/sys/fs/btrfs/" + e.Name() + "/devices")
		if errors.Is(err, fs.ErrNotExist) {
			continue // features, not a file system
		}
		if err != nil {
			return pools, err
		}
		for _, member := range members {
			pools.members[e.Name()] = append(pools.members[e.Name()], member.Name())
			pools.of[member.Name()] = e.Name()
		}
	}
	return pools, nil
}

// pool judges a btrfs file system, of which mountinfo names one device only.
func (s *storage) pool(m mount) finding {
	d := s.devs.node(s.tree, m.source)
	if d == nil {
		return cannotTell(posture.Unreadable)
	}
	uuid, ok := s.btrfs.of[d.name]
	if !ok {
		// The others cannot be seen: this one can spoil the verdict, not save it.
		if f := s.device(d.name); f.state != posture.Yes {
			return f
		}
		return cannotTell(posture.Unreadable)
	}
	parts := make([]finding, 0, len(s.btrfs.members[uuid]))
	for _, member := range s.btrfs.members[uuid] {
		parts = append(parts, s.device(member))
	}
	return joined(parts)
}
