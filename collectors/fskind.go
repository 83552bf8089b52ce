package collectors

import "strings"

// fsKind says where the bytes of a mounted file system come to rest.
type fsKind int

const (
	// fsOther is a type without a block device of which we know nothing: it
	// could keep data on a disk, so it makes the verdict unknown.
	fsOther fsKind = iota
	// fsBlock lies on the block device that mountinfo names.
	fsBlock
	// fsNowhere keeps nothing on a local disk: kernel views, memory, the
	// network, and layers whose lower file system is mounted, and judged, too.
	fsNowhere
	// The rest have anonymous device numbers and their own way to the disks.
	fsBtrfs
	fsZFS
	fsOverlay
	fsFuse
)

// kind classifies a mount. A real device number means a block device, whatever
// the type says; only types that are known to be harmless are dropped.
func (m mount) kind() fsKind {
	if !strings.HasPrefix(m.dev, "0:") {
		return fsBlock
	}
	switch m.fs {
	case "btrfs":
		return fsBtrfs
	case "zfs":
		return fsZFS
	case "overlay":
		return fsOverlay
	case "autofs", "binder", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts",
		"devtmpfs", "efivarfs", "fusectl", "hugetlbfs", "mqueue", "nfsd", "nsfs", "proc", "pstore",
		"ramfs", "resctrl", "rootfs", "rpc_pipefs", "securityfs", "selinuxfs", "smackfs", "sysfs",
		"tmpfs", "tracefs", "xenfs":
		return fsNowhere
	case "9p", "afs", "ceph", "cifs", "coda", "lustre", "ncpfs", "nfs", "nfs4", "prl_fs", "smb3",
		"smbfs", "vboxsf", "virtiofs", "vmhgfs":
		return fsNowhere
	case "ecryptfs":
		return fsNowhere
	}
	if m.fs == "fuse" || strings.HasPrefix(m.fs, "fuse.") {
		return fsFuse
	}
	return fsOther
}

// isBoot reports whether a mount point is for the programs that start the
// system, which firmware must read in the clear.
func isBoot(point string) bool {
	return under(point, "/boot") || under(point, "/efi")
}

// isGuest reports whether a mount point is where desktops and people put media
// that come and go.
func isGuest(point string) bool {
	for _, dir := range []string{"/media", "/run/media", "/mnt"} {
		if under(point, dir) {
			return true
		}
	}
	return false
}
