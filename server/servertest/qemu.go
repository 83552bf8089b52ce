package servertest

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"muster/attest/tpmtest"
)

// Machine is a whole laptop in QEMU: UEFI firmware with its variables, a TPM, a
// disk from which shim, GRUB and a kernel start, and another disk with the agent,
// its settings and its state. All of it outlives a boot. It is used from the
// test's goroutine.
//
// The guest's time is some ten times dearer than the host's: nothing is
// accelerated, so that it runs wherever tests do.
type Machine struct {
	t     testing.TB
	name  string
	dir   string
	files laptopFiles
	chip  string // folder of the TPM's memory
	boots int

	qemu   *process // of the last boot, as all below
	tpm    *process
	screen *screen
	power  io.WriteCloser // a line here is the power button
}

// Boot is how a machine starts.
type Boot struct {
	// SecureBoot is the switch in the firmware's menu; its keys are Microsoft's
	// either way.
	SecureBoot bool
	// Tampered: somebody changed GRUB on the disk. It still runs, if it may.
	Tampered bool
	// Lies: the system shows its programs that Secure Boot is on.
	Lies bool
	// NoLog: GRUB starts the kernel without its EFI entry, as its plain "linux" does
	// without Secure Boot; then the kernel has no boot log.
	NoLog bool
}

// Texts on the console.
const (
	saidUp      = "muster laptop is up"
	saidRefused = "Security Violation" // shim's, of a program that nobody vouches for
)

// startUp bounds the time from power to the agent's start: some fifteen seconds on
// a quiet machine.
const startUp = 3 * time.Minute

// Machine builds a laptop around a chip, which is the machine's from now on. Its
// agent knows the server's address and certificate, for which the server was
// started with [Outside], and has a token. The test is skipped where what it
// needs is missing.
func (s *Server) Machine(name string, chip *tpmtest.TPM, token string) *Machine {
	s.t.Helper()
	m := &Machine{t: s.t, name: name, dir: folder(s.t), files: needLaptop(s.t), chip: chip.Unplug()}
	m.must(m.makeStartDisk(), m.makeStateDisk(s, token))
	vars, err := os.ReadFile(m.files.vars)
	m.must(err, os.WriteFile(m.path("vars.fd"), vars, 0o600))
	return m
}

// On presses the power button and returns at once; see [Machine.Up] and
// [Machine.Refused].
func (m *Machine) On(b Boot) {
	m.t.Helper()
	m.must(m.prepare(b))
	m.boots++
	m.startTPM()
	cmd := exec.Command(m.files.qemu, m.hardware()...)
	m.screen = &screen{name: fmt.Sprintf("%s, boot %d", m.name, m.boots), show: m.t.Output()}
	cmd.Stdout, cmd.Stderr = m.screen, m.screen
	var err error
	m.power, err = cmd.StdinPipe()
	m.must(err)
	m.qemu = spawn(m.t, "qemu", cmd, nil)
}

// Up waits until the agent runs.
func (m *Machine) Up() {
	m.t.Helper()
	m.shows("the agent runs", saidUp)
}

// Refused waits until shim has refused to start GRUB, and takes the power away.
func (m *Machine) Refused() {
	m.t.Helper()
	m.shows("shim refuses GRUB", saidRefused)
	if m.Shows(saidUp) {
		m.t.Fatal("the machine is up all the same")
	}
	m.qemu.kill()
	m.settle()
}

// Shows reports whether the console had a text since the last power-on.
func (m *Machine) Shows(text string) bool { return m.screen.has(text) }

// Off shuts the system down in order and waits.
func (m *Machine) Off() {
	m.t.Helper()
	_, err := io.WriteString(m.power, "off\n")
	m.must(err)
	select {
	case <-m.qemu.ended:
	case <-time.After(patience):
		m.t.Fatalf("%s does not shut down", m.name)
	}
	m.settle()
}

// settle waits until the TPM's process, which notices that its machine has gone,
// has left its memory to the next boot.
func (m *Machine) settle() {
	m.t.Helper()
	select {
	case <-m.tpm.ended:
	case <-time.After(patience):
		m.t.Fatalf("the TPM of %s does not end", m.name)
	}
}

func (m *Machine) shows(what, text string) {
	m.t.Helper()
	deadline := time.Now().Add(startUp)
	for !m.screen.has(text) {
		switch {
		case m.qemu.gone():
			m.t.Fatalf("%s went off before: %s", m.name, what)
		case time.Now().After(deadline):
			m.t.Fatalf("%s: waited %v in vain until %s", m.name, startUp, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// prepare sets the firmware's switch and changes the disk.
func (m *Machine) prepare(b Boot) error {
	vars, err := os.ReadFile(m.path("vars.fd"))
	if err != nil {
		return err
	}
	if err := switchSecureBoot(vars, b.SecureBoot); err != nil {
		return err
	}
	if err := os.WriteFile(m.path("vars.fd"), vars, 0o600); err != nil {
		return err
	}
	return m.changeStartDisk(b)
}

// startTPM runs the chip for one boot; it ends when QEMU lets it go.
func (m *Machine) startTPM() {
	m.t.Helper()
	socket := m.path("tpm")
	m.must(os.RemoveAll(socket))
	cmd := exec.Command(m.files.swtpm, "socket", "--tpm2", "--tpmstate", "dir="+m.chip,
		"--ctrl", "type=unixio,path="+socket, "--terminate")
	said := &screen{name: "swtpm", show: m.t.Output()}
	cmd.Stdout, cmd.Stderr = said, said
	m.tpm = spawn(m.t, "swtpm", cmd, nil)
	Wait(m.t, "swtpm listens", func() bool {
		if m.tpm.gone() {
			m.t.Fatal("swtpm ended")
		}
		_, err := os.Stat(socket)
		return err == nil
	})
}

// hardware is QEMU's command line: a PC with SMM, without which firmware could not
// keep its variables from the system, and with nothing that is not needed.
func (m *Machine) hardware() []string {
	const flash = "if=pflash,format=raw,unit=%d,readonly=%s,file=%s"
	const disk = "if=none,format=raw,cache=unsafe,id=%s,file=%s"
	return []string{
		"-nodefaults", "-no-user-config", "-accel", "tcg", "-machine", "q35,smm=on",
		"-cpu", "qemu64,+rdrand", "-m", "512", "-smp", "1", "-no-reboot",
		"-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1",
		"-drive", fmt.Sprintf(flash, 0, "on", m.files.code),
		"-drive", fmt.Sprintf(flash, 1, "off", m.path("vars.fd")),
		"-drive", fmt.Sprintf(disk, "start", m.path("start.img")),
		"-device", "virtio-blk-pci,drive=start,bootindex=0",
		"-drive", fmt.Sprintf(disk, "state", m.path("state.img")), "-device", "virtio-blk-pci,drive=state",
		"-chardev", "socket,id=tpm,path=" + m.path("tpm"), "-tpmdev", "emulator,id=tpm,chardev=tpm", "-device", "tpm-tis,tpmdev=tpm",
		"-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=",
		"-display", "none", "-monitor", "none", "-serial", "stdio",
	}
}

func (m *Machine) path(name string) string { return filepath.Join(m.dir, name) }

func (m *Machine) must(errs ...error) {
	m.t.Helper()
	for _, err := range errs {
		if err != nil {
			m.t.Fatalf("%s: %v", m.name, err)
		}
	}
}
