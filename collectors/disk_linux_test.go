package collectors

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"muster/attest/posture"
	"muster/platform"
)

var update = flag.Bool("update", false, "write the conformance table of README.md anew")

// conformance is every layout that is known to be told right, and how. README
// prints it.
var conformance = []struct {
	name   string
	build  func(l *layout)
	state  posture.State
	reason posture.Reason
}{
	{"LUKS2 below ext4, plain /boot and EFI partition", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
	}, posture.Yes, ""},
	{"nothing encrypted", func(l *layout) {
		l.disk("sda")
		l.part("sda", "sda1")
		l.on("sda1", "/")
	}, posture.No, posture.PlainVolume},
	{"LVM on LUKS2: root, home and swap", func(l *layout) {
		l.laptop()
		l.dm("dm-1", lvm+"aaaa", "vg-root", "dm-0")
		l.dm("dm-2", lvm+"bbbb", "vg-swap_1", "dm-0")
		l.dm("dm-3", lvm+"cccc", "vg-home", "dm-0")
		l.on("dm-1", "/")
		l.on("dm-3", "/home")
		l.swap("/dev/dm-2", "partition")
	}, posture.Yes, ""},
	{"LUKS1 on LVM", func(l *layout) {
		l.disk("sda")
		l.dm("dm-0", lvm+"aaaa", "vg-root", "sda")
		l.dm("dm-1", luks1+"root", "root", "dm-0")
		l.on("dm-1", "/")
	}, posture.Yes, ""},
	{"LUKS2 on MD RAID 1", func(l *layout) {
		l.disk("sda")
		l.disk("sdb")
		l.virtual("md0", "sda", "sdb")
		l.dm("dm-0", luks2+"root", "root", "md0")
		l.on("dm-0", "/")
	}, posture.Yes, ""},
	{"MD RAID with one leg on LUKS2 and one plain", func(l *layout) {
		l.disk("sda")
		l.disk("sdb")
		l.dm("dm-0", luks2+"leg", "leg", "sda")
		l.virtual("md0", "dm-0", "sdb")
		l.on("md0", "/")
	}, posture.No, posture.PlainVolume},
	{"partition of a plain MD RAID", func(l *layout) {
		l.disk("sda")
		l.disk("sdb")
		l.virtual("md126", "sda", "sdb")
		l.part("md126", "md126p1")
		l.on("md126p1", "/")
	}, posture.No, posture.PlainVolume},
	{"LVM over two disks, one of them plain", func(l *layout) {
		l.disk("sda")
		l.disk("sdb")
		l.dm("dm-0", luks2+"pv", "pv", "sda")
		l.dm("dm-1", lvm+"aaaa", "vg-root", "dm-0", "sdb")
		l.on("dm-1", "/")
	}, posture.No, posture.PlainVolume},
	{"root encrypted, /home plain", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
		l.disk("sdb")
		l.on("sdb", "/home")
	}, posture.No, posture.PlainVolume},
	{"plain data disk that is mounted at /boot as well", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
		l.on("sda2", "/srv")
	}, posture.No, posture.PlainVolume},
	{"btrfs over two LUKS2 devices", func(l *layout) {
		l.disk("sda")
		l.disk("sdb")
		l.dm("dm-0", luks2+"a", "a", "sda")
		l.dm("dm-1", luks2+"b", "b", "sdb")
		l.btrfs("59b74f91-0bd5-498b-bfe4-cd94ef121679", "dm-0", "dm-1")
		l.mount("0:30", "/", "btrfs", "/dev/mapper/a", "rw,subvol=/@")
		l.mount("0:30", "/home", "btrfs", "/dev/mapper/a", "rw,subvol=/@home")
	}, posture.Yes, ""},
	{"btrfs over two devices, the second plain", func(l *layout) {
		l.disk("sda")
		l.disk("sdb")
		l.dm("dm-0", luks2+"a", "a", "sda")
		l.btrfs("59b74f91-0bd5-498b-bfe4-cd94ef121679", "dm-0", "sdb")
		l.mount("0:30", "/", "btrfs", "/dev/mapper/a", "rw")
	}, posture.No, posture.PlainVolume},
	{"btrfs on LUKS2, its other devices not to be seen", func(l *layout) {
		l.disk("sda")
		l.dm("dm-0", luks2+"a", "a", "sda")
		l.mount("0:30", "/", "btrfs", "/dev/mapper/a", "rw")
	}, posture.Unknown, posture.Unreadable},
	{"LUKS2 with integrity tags below", func(l *layout) {
		l.disk("sda")
		l.dm("dm-0", "CRYPT-SUBDEV-b4f52050a04f40a2ab93e92444ffc64f-root_dif", "root_dif", "sda")
		l.dm("dm-1", luks2+"root", "root", "dm-0")
		l.on("dm-1", "/")
	}, posture.Yes, ""},
	{"dm-integrity alone", func(l *layout) {
		l.disk("sda")
		l.dm("dm-0", "CRYPT-INTEGRITY-root", "root", "sda")
		l.on("dm-0", "/")
	}, posture.No, posture.PlainVolume},
	{"dm-verity root", func(l *layout) {
		l.disk("sda")
		l.part("sda", "sda1")
		l.part("sda", "sda2")
		l.dm("dm-0", "CRYPT-VERITY-41e1b8a0-root", "root", "sda1", "sda2")
		l.on("dm-0", "/")
	}, posture.No, posture.PlainVolume},
	{"LUKS2 on multipath", func(l *layout) {
		l.disk("sda")
		l.disk("sdb")
		l.dm("dm-0", "mpath-3600140", "mpatha", "sda", "sdb")
		l.dm("dm-1", "part1-mpath-3600140", "mpatha-part1", "dm-0")
		l.dm("dm-2", luks2+"root", "root", "dm-1")
		l.on("dm-2", "/")
	}, posture.Yes, ""},
	{"LUKS2 whose drive encrypts (OPAL)", func(l *layout) {
		l.disk("nvme0n1")
		l.dm("dm-0", "CRYPT-LUKS2-OPAL-b4f52050a04f40a2ab93e92444ffc64f-root", "root", "nvme0n1")
		l.on("dm-0", "/")
	}, posture.Yes, ""},
	{"LUKS2 that is being encrypted in place", func(l *layout) {
		l.disk("sda")
		l.dm("dm-0", "CRYPT-SUBDEV-b4f52050a04f40a2ab93e92444ffc64f-root-hotzone-forward", "hz", "sda")
		l.dm("dm-1", luks2+"root", "root", "dm-0", "sda")
		l.on("dm-1", "/")
	}, posture.Unknown, posture.Unsupported},
	{"BitLocker volume opened by cryptsetup", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
		l.disk("sdb")
		l.dm("dm-1", "CRYPT-BITLK-8f595209-win", "win", "sdb")
		l.on("dm-1", "/windows")
	}, posture.Unknown, posture.Unsupported},
	{"loop device on an encrypted file system", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
		l.write("var/disk.img", "")
		l.loop("loop0", "/var/disk.img")
		l.on("loop0", "/data")
	}, posture.Yes, ""},
	{"loop device on a plain file system", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
		l.disk("sdb")
		l.on("sdb", "/srv")
		l.write("srv/disk.img", "")
		l.loop("loop0", "/srv/disk.img")
		l.on("loop0", "/data")
	}, posture.No, posture.PlainVolume},
	{"loop device whose file is gone", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
		l.loop("loop0", "/srv/disk.img (deleted)")
		l.on("loop0", "/data")
	}, posture.Unknown, posture.Unreadable},
	{"plain swap partition", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
		l.disk("sdb")
		l.swap("/dev/sdb", "partition")
	}, posture.No, posture.PlainSwap},
	{"swap with a new key at each start (dm-crypt plain)", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
		l.disk("sdb")
		l.dm("dm-1", "CRYPT-PLAIN-swap", "swap", "sdb")
		l.swap("/dev/dm-1", "partition")
	}, posture.Yes, ""},
	{"swap file on an encrypted file system", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
		l.write("swap file", "")
		l.swap(`/swap\040file`, "file")
	}, posture.Yes, ""},
	{"swap file on a plain file system", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
		l.write("boot/swapfile", "")
		l.swap("/boot/swapfile", "file")
	}, posture.No, posture.PlainSwap},
	{"swap in compressed memory (zram)", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
		l.virtual("zram0")
		l.write(l.dirs["zram0"]+"/backing_dev", "none\n")
		l.swap("/dev/zram0", "partition")
	}, posture.Yes, ""},
	{"zram that spills to a plain disk", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
		l.disk("sdb")
		l.virtual("zram0")
		l.write(l.dirs["zram0"]+"/backing_dev", "/dev/sdb\n")
		l.swap("/dev/zram0", "partition")
	}, posture.No, posture.PlainSwap},
	{"hibernation to a plain partition", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
		l.disk("sdb")
		l.write("sys/power/resume", l.devs["sdb"]+"\n")
	}, posture.No, posture.PlainSwap},
	{"plain USB stick at /media, plain SD card at /run/media", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
		l.disk("sdb")
		l.part("sdb", "sdb1")
		l.write(l.dirs["sdb"]+"/removable", "1\n")
		l.on("sdb1", "/media/stick")
		l.disk("mmcblk0")
		l.write(l.dirs["mmcblk0"]+"/device/type", "SD\n")
		l.part("mmcblk0", "mmcblk0p1")
		l.on("mmcblk0p1", "/run/media/card")
	}, posture.Yes, ""},
	{"plain removable disk that holds /home", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
		l.disk("sdb")
		l.write(l.dirs["sdb"]+"/removable", "1\n")
		l.on("sdb", "/home")
	}, posture.No, posture.PlainVolume},
	{"plain internal disk at /media", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
		l.disk("sdb")
		l.on("sdb", "/media/archive")
	}, posture.No, posture.PlainVolume},
	{"plain internal disk that is not mounted", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
		l.disk("sdb")
	}, posture.Yes, ""},
	{"root on NFS, no disk", func(l *layout) {
		l.mount("0:40", "/", "nfs4", "server:/root", "rw")
	}, posture.Unknown, posture.NothingMounted},
	{"root in memory, only /boot on a disk", func(l *layout) {
		l.mount("0:2", "/", "rootfs", "rootfs", "rw")
		l.disk("sda")
		l.on("sda", "/boot")
	}, posture.Unknown, posture.NothingMounted},
	{"container: overlay whose layers are the host's", func(l *layout) {
		l.mount("0:50", "/", "overlay", "overlay", "rw,lowerdir=/var/lib/l/A:/var/lib/l/B,upperdir=/var/lib/u/diff,workdir=/var/lib/u/work")
	}, posture.Unknown, posture.Unsupported},
	{"overlays that write to an encrypted root", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
		l.mount("0:50", "/var/lib/c/merged", "overlay", "overlay", "rw,lowerdir=l/A:l/B,upperdir=/var/lib/c/diff,workdir=/var/lib/c/work")
	}, posture.Yes, ""},
	{"read-only root composed of an encrypted file system (ostree)", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/sysroot")
		l.mount("0:45", "/run", "tmpfs", "tmpfs", "rw")
		l.mount("0:50", "/", "overlay", "composefs", "ro,lowerdir+=/run/ostree/lower,datadir+=/sysroot/ostree/repo/objects")
		l.on("dm-0", "/var")
	}, posture.Yes, ""},
	{"bcachefs", func(l *layout) {
		l.mount("0:60", "/", "bcachefs", "/dev/sda:/dev/sdb", "rw")
	}, posture.Unknown, posture.Unsupported},
	{"ZFS, below another root", func(l *layout) {
		l.mount("0:61", "/", "zfs", "rpool/root", "rw")
	}, posture.Unknown, posture.NotThisRoot},
	{"network and FUSE mounts beside an encrypted root", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
		l.mount("0:62", "/mnt/share", "cifs", "//server/share", "rw")
		l.mount("0:63", "/home/u/remote", "fuse.sshfs", "host:", "rw")
		l.mount("0:64", "/opt/shared", "virtiofs", "shared", "rw")
	}, posture.Yes, ""},
	{"a file system type nobody knows", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
		l.mount("0:65", "/data", "newfs", "/dev/sdz", "rw")
	}, posture.Unknown, posture.Unsupported},
	{"network block device", func(l *layout) {
		l.virtual("nbd0")
		l.on("nbd0", "/")
	}, posture.Unknown, posture.Unsupported},
	{"device that sysfs does not show", func(l *layout) {
		l.mount("259:3", "/", "ext4", "/dev/nvme0n1p3", "rw")
	}, posture.Unknown, posture.Unreadable},
	{"two devices with one number", func(l *layout) {
		l.laptop()
		l.on("dm-0", "/")
		l.disk("sdb")
		l.write(l.dirs["sdb"]+"/dev", l.devs["dm-0"]+"\n")
	}, posture.Unknown, posture.Unparsable},
	{"layers that lie on each other in a circle", func(l *layout) {
		l.dm("dm-0", lvm+"a", "a")
		l.dm("dm-1", lvm+"b", "b", "dm-0")
		l.slave("dm-0", "dm-1")
		l.on("dm-1", "/")
	}, posture.Unknown, posture.Unsupported},
	{"loop device in a file on itself", func(l *layout) {
		l.write("img", "")
		l.loop("loop0", "/img")
		l.on("loop0", "/")
	}, posture.Unknown, posture.Unsupported},
}

func TestLayouts(t *testing.T) {
	for _, row := range conformance {
		for _, links := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/links=%v", row.name, links), func(t *testing.T) {
				l := newLayout(t, links)
				row.build(l)
				got := disks(l.machine())
				if got.State != row.state || got.Reason != row.reason {
					t.Errorf("got %v %q, want %v %q\n%+v", got.State, got.Reason, row.state, row.reason, got.Detail)
				}
				if got.Source != posture.Reported {
					t.Errorf("source %v", got.Source)
				}
			})
		}
	}
}

func disks(m *Machine) posture.Of[posture.DiskEncryption] {
	var c posture.Claims
	collectDiskEncryption(context.Background(), m, &c)
	return c.DiskEncryption
}

// No file below sys and proc that is cut to nothing may make a verdict yes.
func TestLessIsNeverBetter(t *testing.T) {
	for _, row := range conformance {
		if row.state == posture.Yes {
			continue
		}
		t.Run(row.name, func(t *testing.T) {
			l := newLayout(t, true)
			row.build(l)
			m := l.machine()
			for _, name := range regularFiles(t, l.dir) {
				saved, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Truncate(name, 0); err != nil {
					t.Fatal(err)
				}
				if got := disks(m); got.State == posture.Yes {
					t.Errorf("emptying %s made it yes", strings.TrimPrefix(name, l.dir))
				}
				if err := os.WriteFile(name, saved, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestVolumesOfALaptop(t *testing.T) {
	l := newLayout(t, true)
	l.laptop()
	l.dm("dm-1", lvm+"aaaa", "vg-root", "dm-0")
	l.dm("dm-2", lvm+"bbbb", "vg-swap_1", "dm-0")
	l.on("dm-1", "/")
	l.mount(l.devs["dm-1"], "/home", "ext4", "/dev/mapper/vg-root", "rw")
	l.swap("/dev/dm-2", "partition")
	l.disk("sdb")
	got := disks(l.machine())
	want := []posture.Volume{
		{Device: "sda1", Mount: "/boot/efi", Use: posture.UseBoot, FS: "vfat", State: posture.No, Reason: posture.PlainVolume, Leaves: []string{"sda1"}},
		{Device: "sda2", Mount: "/boot", Use: posture.UseBoot, FS: "ext4", State: posture.No, Reason: posture.PlainVolume, Leaves: []string{"sda2"}},
		{Device: "dm-1", Mount: "/", Use: posture.UseData, FS: "ext4", Mechanism: "luks2", State: posture.Yes, Leaves: []string{"sda3"}},
		{Device: "dm-2", Use: posture.UseSwap, FS: "swap", Mechanism: "luks2", State: posture.Yes, Leaves: []string{"sda3"}},
		{Device: "sdb", Use: posture.UseUnmounted, State: posture.Unknown, Reason: posture.NotMounted, Leaves: []string{"sdb"}},
	}
	for i := range max(len(want), len(got.Detail.Volumes)) {
		if i >= len(want) || i >= len(got.Detail.Volumes) {
			t.Fatalf("%d volumes, want %d: %+v", len(got.Detail.Volumes), len(want), got.Detail.Volumes)
		}
		if g, w := fmt.Sprintf("%+v", got.Detail.Volumes[i]), fmt.Sprintf("%+v", want[i]); g != w {
			t.Errorf("volume %d:\n got %s\nwant %s", i, g, w)
		}
	}
}

// A ladder in which each step has the two devices of the next one below it has
// 2^60 ways down.
func TestDepthBomb(t *testing.T) {
	l := newLayout(t, true)
	l.disk("sda")
	l.disk("sdb")
	below := []string{"sda", "sdb"}
	for i := range 60 {
		a, b := fmt.Sprintf("md%d", 2*i), fmt.Sprintf("md%d", 2*i+1)
		l.virtual(a, below...)
		l.virtual(b, below...)
		below = []string{a, b}
	}
	l.on(below[0], "/")
	if got := disks(l.machine()); got.State == posture.Yes {
		t.Errorf("got yes")
	}
}

func TestZFS(t *testing.T) {
	build := func(t *testing.T) *Machine {
		l := newLayout(t, true)
		l.disk("sda")
		l.disk("sdb")
		l.dm("dm-0", luks2+"pv", "pv", "sda")
		l.mount("0:61", "/", "zfs", "rpool/root", "rw")
		l.mount("0:62", "/home", "zfs", "rpool/home", "rw")
		return l.machine()
	}
	const keys = "rpool/root\tencryption\taes-256-gcm\nrpool/root\tkeystatus\tavailable\n"
	for _, c := range []struct {
		name, get, list string
		err             error
		state           posture.State
		reason          posture.Reason
	}{
		{"both encrypted", keys + "rpool/home\tencryption\taes-128-ccm\nrpool/home\tkeystatus\tavailable\n", "", nil, posture.Yes, ""},
		{"home plain on a plain disk", keys + "rpool/home\tencryption\toff\nrpool/home\tkeystatus\t-\n", "rpool\t1G\n\tmirror-0\t1G\n\t/dev/sdb\t1G\n", nil, posture.No, posture.PlainVolume},
		{"home plain on LUKS", keys + "rpool/home\tencryption\toff\nrpool/home\tkeystatus\t-\n", "rpool\t1G\n\t/dev/mapper/pv\t1G\n", nil, posture.Yes, ""},
		{"home plain on LUKS and a plain disk", keys + "rpool/home\tencryption\toff\nrpool/home\tkeystatus\t-\n", "rpool\t1G\n\t/dev/dm-0\t1G\n\t/dev/sdb\t1G\n", nil, posture.No, posture.PlainVolume},
		{"a dataset without an answer", keys, "", nil, posture.Unknown, posture.Unparsable},
		{"a cut line", keys + "rpool/home\tencryption", "", nil, posture.Unknown, posture.Unparsable},
		{"an unknown cipher", keys + "rpool/home\tencryption\trot13\n", "", nil, posture.Unknown, posture.Unparsable},
		{"no zfs command", "", "", platform.ErrNoTool, posture.Unknown, posture.NoTool},
		{"it took too long", "", "", platform.ErrTimeout, posture.Unknown, posture.Timeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := build(t)
			m.Run = func(_ context.Context, name string, _ ...string) ([]byte, error) {
				if name == "zpool" {
					return []byte(c.list), nil
				}
				return []byte(c.get), c.err
			}
			if got := disks(m); got.State != c.state || got.Reason != c.reason {
				t.Errorf("got %v %q, want %v %q", got.State, got.Reason, c.state, c.reason)
			}
		})
	}
}

func TestSpoiltInputs(t *testing.T) {
	for _, c := range []struct {
		name   string
		spoil  func(l *layout)
		reason posture.Reason
	}{
		{"mountinfo cut short", func(l *layout) { l.write("proc/self/mountinfo", strings.TrimSpace(l.mounts.String())) }, posture.Unparsable},
		{"no mountinfo", func(l *layout) { must(t, os.Remove(l.dir+"/proc/self/mountinfo")) }, posture.Unreadable},
		{"empty mountinfo", func(l *layout) { l.write("proc/self/mountinfo", "") }, posture.NothingMounted},
		{"no swaps", func(l *layout) { must(t, os.Remove(l.dir+"/proc/swaps")) }, posture.Unreadable},
		{"swaps without its heading", func(l *layout) { l.write("proc/swaps", "") }, posture.Unparsable},
		{"swaps that is a link elsewhere", func(l *layout) {
			must(t, os.Rename(l.dir+"/proc/swaps", l.dir+"/proc/other"))
			must(t, os.Symlink("other", l.dir+"/proc/swaps"))
		}, posture.Unparsable},
		{"swap that nobody knows", func(l *layout) { l.write("proc/swaps", l.swaps.String()+"/dev/sdq\tpartition\t1\t0\t-2\n") }, posture.Unreadable},
		{"device without a number", func(l *layout) { l.write(l.dirs["dm-0"]+"/dev", "x\n") }, posture.Unparsable},
		{"mapped device without slaves", func(l *layout) { must(t, os.RemoveAll(l.dir+"/"+l.dirs["dm-0"]+"/slaves")) }, posture.Unsupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLayout(t, true)
			l.laptop()
			l.on("dm-0", "/")
			m := l.machine()
			if got := disks(m); got.State != posture.Yes {
				t.Fatalf("before: %v %q", got.State, got.Reason)
			}
			c.spoil(l)
			if got := disks(m); got.State != posture.Unknown || got.Reason != c.reason {
				t.Errorf("got %v %q, want unknown %q", got.State, got.Reason, c.reason)
			}
		})
	}
}

func TestConformanceTable(t *testing.T) {
	var table strings.Builder
	table.WriteString("| layout | `disk_encryption` |\n|---|---|\n")
	for _, row := range conformance {
		fmt.Fprintf(&table, "| %s | %v", row.name, row.state)
		if row.reason != "" {
			fmt.Fprintf(&table, " (%s)", row.reason)
		}
		table.WriteString(" |\n")
	}
	readme, err := os.ReadFile("README.md")
	must(t, err)
	const begin, end = "<!-- conformance -->\n", "<!-- end of conformance -->"
	before, rest, ok := bytes.Cut(readme, []byte(begin))
	old, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		t.Fatal("README.md has no place for the table")
	}
	if string(old) == table.String() {
		return
	}
	if !*update {
		t.Fatal("the table of README.md is not that of this test: go test ./collectors -run ConformanceTable -update")
	}
	must(t, os.WriteFile("README.md", []byte(string(before)+begin+table.String()+end+string(after)), 0o644))
}
