package servertest

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// guestInit is what the guest's kernel starts.
//
//go:embed qemu_init.sh
var guestInit []byte

// startDiskSize is in bytes: shim, GRUB, a kernel and an initramfs of 5 MB. FAT
// wants more than it holds.
const startDiskSize = 40 << 20

// makeStartDisk makes the disk that the firmware starts from: FAT without
// partitions, which UEFI takes as well.
func (m *Machine) makeStartDisk() error {
	initramfs, err := m.initramfs()
	if err != nil {
		return err
	}
	tree := m.path("start")
	boot, image := filepath.Join(tree, "EFI", "BOOT"), m.path("start.img")
	err = errors.Join(
		os.MkdirAll(boot, 0o700), os.MkdirAll(filepath.Join(tree, "EFI", "debian"), 0o700),
		copyFile(m.files.shim, filepath.Join(boot, "BOOTX64.EFI")),
		copyFile(m.files.kernel, filepath.Join(tree, "vmlinuz")),
		os.WriteFile(filepath.Join(tree, "initramfs"), initramfs, 0o600),
		os.WriteFile(image, nil, 0o600), os.Truncate(image, startDiskSize))
	if err != nil {
		return err
	}
	if err := tool(m.files.mformat, "-i", image, "::"); err != nil {
		return err
	}
	return tool(m.files.mcopy, "-i", image, "-s", filepath.Join(tree, "EFI"), filepath.Join(tree, "vmlinuz"), filepath.Join(tree, "initramfs"), "::/")
}

// changeStartDisk puts the GRUB of one boot on the disk, and its settings.
func (m *Machine) changeStartDisk(b Boot) error {
	grub, err := os.ReadFile(m.files.grub)
	if err != nil {
		return err
	}
	if b.Tampered {
		if err := tamper(grub); err != nil {
			return err
		}
	}
	// linuxefi and initrdefi go by the kernel's EFI entry, also without Secure Boot.
	by, words := "efi", "console=ttyS0 quiet panic=-1"
	if b.NoLog {
		by = ""
	}
	if b.Lies {
		words += " " + liesWord
	}
	settings := fmt.Sprintf("set timeout=0\nlinux%s /vmlinuz %s\ninitrd%s /initramfs\nboot\n", by, words, by)
	for to, content := range map[string][]byte{"::/EFI/BOOT/grubx64.efi": grub, "::/EFI/debian/grub.cfg": []byte(settings)} {
		file := m.path("put")
		if err := os.WriteFile(file, content, 0o600); err != nil {
			return err
		}
		if err := tool(m.files.mcopy, "-o", "-i", m.path("start.img"), file, to); err != nil {
			return err
		}
	}
	return nil
}

// liesWord on the kernel's command line tells qemu_init.sh of [Boot.Lies].
const liesWord = "laptop.lies"

// tamper changes one byte of a PE program that is covered by its signature and
// that nothing runs: in the message of its DOS header.
func tamper(program []byte) error {
	const message = "run in DOS mode"
	at := bytes.Index(program, []byte(message))
	if at < 0 {
		return errors.New("GRUB has no DOS message to change")
	}
	program[at] = 'R'
	return nil
}

// stateFolder is the agent's private folder, on the guest's disk.
const stateFolder = "state"

// makeStateDisk makes the disk with the agent, its settings and its state.
func (m *Machine) makeStateDisk(s *Server, token string) error {
	agent, err := guestAgent()
	if err != nil {
		return err
	}
	settings, err := json.Marshal(map[string]string{
		"server": s.Config.PublicURL, "ca_file": "/disk/ca.pem", "token_file": "/disk/token", "state_dir": "/disk/" + stateFolder,
	})
	if err != nil {
		return err
	}
	tree, image := m.path("disk"), m.path("state.img")
	err = errors.Join(
		os.MkdirAll(filepath.Join(tree, stateFolder), 0o700),
		copyFile(agent, filepath.Join(tree, "muster-agent")), os.Chmod(filepath.Join(tree, "muster-agent"), 0o700),
		copyFile(s.Config.TLSCert, filepath.Join(tree, "ca.pem")),
		os.WriteFile(filepath.Join(tree, "agent.json"), settings, 0o600),
		os.WriteFile(filepath.Join(tree, "token"), []byte(token+"\n"), 0o600))
	if err != nil {
		return err
	}
	// Nothing that needs another module of the kernel.
	return tool(m.files.mke2fs, "-q", "-t", "ext4", "-O", "^metadata_csum,^64bit", "-d", tree, image, "48M")
}

// Evidence returns what the kernel and the TPM said of the last boot: the boot
// log, empty where there was none, and the PCRs of the SHA-256 bank in
// hexadecimal, by index. The machine must be off.
func (m *Machine) Evidence() (log []byte, pcrs map[string]string) {
	m.t.Helper()
	out := m.path("evidence")
	m.must(os.RemoveAll(out), tool(m.files.debugfs, "-R", "rdump /evidence "+m.dir, m.path("state.img")))
	log, err := os.ReadFile(filepath.Join(out, "log"))
	m.must(err)
	values, err := os.ReadFile(filepath.Join(out, "pcrs"))
	m.must(err)
	pcrs = map[string]string{}
	for line := range bytes.Lines(values) {
		index, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte(":"))
		pcrs[string(index)] = string(bytes.ToLower(value))
	}
	return log, pcrs
}

// initramfs is what the kernel starts from: a shell, its script and the modules.
func (m *Machine) initramfs() ([]byte, error) {
	if err := static(m.files.busybox); err != nil {
		return nil, err
	}
	busybox, err := os.ReadFile(m.files.busybox)
	if err != nil {
		return nil, err
	}
	var a newc
	for _, dir := range []string{"bin", "dev", "disk", "etc", "modules", "proc", "sys", "tmp"} {
		a.add(dir, newcDir|0o755, nil)
	}
	a.add("init", newcFile|0o755, guestInit)
	a.add("bin/busybox", newcFile|0o755, busybox)
	a.add("etc/os-release", newcFile|0o644, []byte("ID=test\nVERSION_ID=1\n"))
	for _, path := range m.files.modules {
		module, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		a.add("modules/"+filepath.Base(path), newcFile|0o644, module)
	}
	return a.end(), nil
}

// newc writes a cpio archive as the kernel unpacks it
// (Documentation/driver-api/early-userspace/buffer-format.rst).
type newc struct {
	b     bytes.Buffer
	files int
}

// Kinds of files (inode(7)).
const (
	newcDir    = 0o040000
	newcFile   = 0o100000
	newcDevice = 0o020000
)

func (a *newc) add(name string, mode uint32, data []byte) { a.put(name, mode, 0, 0, data) }

func (a *newc) put(name string, mode, major, minor uint32, data []byte) {
	a.files++
	a.b.WriteString("070701")
	// ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor,
	// rdevminor, namesize, check.
	for _, field := range []uint32{uint32(a.files), mode, 0, 0, 1, 0, uint32(len(data)), 0, 0, major, minor, uint32(len(name) + 1), 0} {
		fmt.Fprintf(&a.b, "%08x", field)
	}
	a.b.WriteString(name + "\x00")
	a.pad()
	a.b.Write(data)
	a.pad()
}

func (a *newc) pad() {
	for a.b.Len()%4 != 0 {
		a.b.WriteByte(0)
	}
}

// end adds the console, which the kernel opens before there is a /dev, and the
// trailer.
func (a *newc) end() []byte {
	a.put("dev/console", newcDevice|0o600, 5, 1, nil)
	a.add("TRAILER!!!", 0, nil)
	return a.b.Bytes()
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}
