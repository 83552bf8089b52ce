package collectors

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// layout builds the files of a machine's disks below a directory, as sysfs and
// procfs would show them.
type layout struct {
	t      *testing.T
	dir    string
	links  bool // class/block holds links, as live; else plain directories, as captured
	minor  int
	dirs   map[string]string // by device, its directory
	devs   map[string]string // by device, major:minor
	mounts strings.Builder
	swaps  strings.Builder
}

func newLayout(t *testing.T, links bool) *layout {
	l := &layout{t: t, dir: t.TempDir(), links: links, dirs: map[string]string{}, devs: map[string]string{}}
	l.swaps.WriteString("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n")
	l.mount("0:5", "/dev", "devtmpfs", "dev", "rw")
	l.mount("0:20", "/proc", "proc", "proc", "rw")
	return l
}

func (l *layout) write(name, content string) {
	l.t.Helper()
	real := filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Dir(real), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(real, []byte(content), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

func (l *layout) link(target, name string) {
	l.t.Helper()
	real := filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Dir(real), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Symlink(target, real); err != nil {
		l.t.Fatal(err)
	}
}

// add makes a device in dir below the place where disks are.
func (l *layout) add(major int, name, dir string) {
	l.minor++
	l.devs[name] = fmt.Sprintf("%d:%d", major, l.minor)
	if l.links {
		dir = "sys/devices/" + dir
		l.link("/"+dir, "sys/class/block/"+name)
	} else {
		dir = "sys/block/" + dir[strings.LastIndex(dir, "block/")+len("block/"):]
	}
	l.dirs[name] = dir
	l.write(dir+"/dev", l.devs[name]+"\n")
	l.write(dir+"/size", "1024\n")
}

func (l *layout) disk(name string) {
	l.add(8, name, "pci0000:00/block/"+name)
	l.write(l.dirs[name]+"/removable", "0\n")
}

func (l *layout) part(disk, name string) {
	parent := strings.TrimPrefix(strings.TrimPrefix(l.dirs[disk], "sys/devices/"), "sys/")
	l.add(8, name, parent+"/"+name)
	l.write(l.dirs[name]+"/partition", "1\n")
}

func (l *layout) slave(name, below string) {
	if l.links {
		l.link("/"+l.dirs[below], l.dirs[name]+"/slaves/"+below)
	} else {
		l.write(l.dirs[name]+"/slaves/"+below+"/dev", l.devs[below]+"\n")
	}
}

func (l *layout) virtual(name string, slaves ...string) {
	l.add(9, name, "virtual/block/"+name)
	for _, s := range slaves {
		l.slave(name, s)
	}
}

func (l *layout) dm(name, uuid, mapped string, slaves ...string) {
	l.virtual(name, slaves...)
	l.write(l.dirs[name]+"/dm/uuid", uuid+"\n")
	l.write(l.dirs[name]+"/dm/name", mapped+"\n")
}

func (l *layout) loop(name, file string) {
	l.virtual(name)
	l.write(l.dirs[name]+"/loop/backing_file", file+"\n")
}

func (l *layout) btrfs(uuid string, members ...string) {
	for _, m := range members {
		l.write("sys/fs/btrfs/"+uuid+"/devices/"+m+"/dev", l.devs[m]+"\n")
	}
	l.write("sys/fs/btrfs/features/raid1c34", "0\n")
}

func (l *layout) mount(dev, point, fs, source, super string) {
	fmt.Fprintf(&l.mounts, "%d 1 %s / %s rw,relatime shared:1 - %s %s %s\n", 20+l.mounts.Len(), dev, point, fs, source, super)
}

// on mounts a device as ext4.
func (l *layout) on(device, point string) {
	l.mount(l.devs[device], point, "ext4", "/dev/"+device, "rw")
}

func (l *layout) swap(name, kind string) {
	fmt.Fprintf(&l.swaps, "%s\t%s\t1000\t0\t-2\n", name, kind)
}

// machine finishes the tree; every part of it can still be spoilt by write.
func (l *layout) machine() *Machine {
	l.t.Helper()
	l.write("proc/self/mountinfo", l.mounts.String())
	l.write("proc/swaps", l.swaps.String())
	return machineAt(l.t, l.dir)
}

const (
	luks2 = "CRYPT-LUKS2-b4f52050a04f40a2ab93e92444ffc64f-"
	luks1 = "CRYPT-LUKS1-b4f52050a04f40a2ab93e92444ffc64f-"
	lvm   = "LVM-0vHPvyVhm1qqzXwB4Za5bSwvSgYkAOmF"
)

// laptop is a disk with a plain boot and EFI partition and a third one, and
// LUKS2 on that, dm-0.
func (l *layout) laptop() {
	l.disk("sda")
	l.part("sda", "sda1")
	l.part("sda", "sda2")
	l.part("sda", "sda3")
	l.mount(l.devs["sda1"], "/boot/efi", "vfat", "/dev/sda1", "rw")
	l.on("sda2", "/boot")
	l.dm("dm-0", luks2+"root", "root", "sda3")
}
