package tpmtest

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// TPM is a running chip. Its methods fail the test when the chip does not obey.
type TPM struct {
	t         testing.TB
	authority *Authority
	dir       string // the two sockets
	state     string // the folder with the chip's seeds and memory
	process   *os.Process
	ended     chan struct{} // closed when the process has gone
}

// Option changes what Start makes.
type Option func(*TPM)

// From has the EKs certified by an authority that other TPMs share.
func From(a *Authority) Option { return func(x *TPM) { x.authority = a } }

// Start makes and starts a new TPM that ends with the test.
func Start(t testing.TB, options ...Option) *TPM {
	t.Helper()
	need(t)
	x := &TPM{t: t}
	for _, option := range options {
		option(x)
	}
	if x.authority == nil {
		x.authority = NewAuthority(t)
	}
	x.dir = shortDir(t)
	x.state = x.dir
	x.authority.manufacture(t, x.state)
	x.run()
	t.Cleanup(x.Stop)
	return x
}

// Setting is the chip's address as an agent's tpm setting: "unix:PATH".
func (x *TPM) Setting() string { return "unix:" + x.socket() }

// Roots returns the PEM certificates to which the chip's EK certificates chain.
func (x *TPM) Roots() []byte {
	x.t.Helper()
	return x.authority.Roots(x.t)
}

// Reboot resets the chip as a machine's restart does: resetCount grows by one,
// the PCRs start again, nothing loaded stays.
func (x *TPM) Reboot() {
	x.t.Helper()
	x.must(shutdown, typeClear)
	x.power()
	x.must(startup, typeClear)
}

// Crash is Reboot without an orderly shutdown before it.
func (x *TPM) Crash() {
	x.t.Helper()
	x.power()
	x.must(startup, typeClear)
}

// Suspend takes the chip through suspend to RAM and back: restartCount grows by
// one, the PCRs stay.
func (x *TPM) Suspend() {
	x.t.Helper()
	x.must(shutdown, typeState)
	x.power()
	x.must(startup, typeState)
}

// Stop ends the chip's process; [TPM.Setting] then refuses connections. Start it
// again with [TPM.Restart].
func (x *TPM) Stop() {
	x.t.Helper()
	if x.process == nil {
		return
	}
	// An answer may be missing: the process ends while it gives it.
	_, _ = x.control(controlShutdown)
	select {
	case <-x.ended:
	case <-time.After(2 * time.Second):
		if err := x.process.Kill(); err != nil {
			x.t.Errorf("ending swtpm: %v", err)
		}
		<-x.ended
	}
	x.process = nil
}

// Restart starts a stopped chip, as a power cycle.
func (x *TPM) Restart() {
	x.t.Helper()
	x.run()
}

// Become puts another chip, which ends, at this one's address: a swapped
// mainboard.
func (x *TPM) Become(other *TPM) {
	x.t.Helper()
	x.Stop()
	other.Stop()
	x.state, x.authority = other.state, other.authority
	x.run()
}

// Hang stops the chip's process in its tracks until [TPM.Wake]: connections open,
// answers never come.
func (x *TPM) Hang() {
	x.t.Helper()
	if err := freeze(x.process); err != nil {
		x.t.Fatal(err)
	}
}

// Wake ends Hang.
func (x *TPM) Wake() {
	x.t.Helper()
	if err := thaw(x.process); err != nil {
		x.t.Fatal(err)
	}
}

func (x *TPM) socket() string { return filepath.Join(x.dir, "s") }

func (x *TPM) run() {
	x.t.Helper()
	cmd := exec.Command(tool(x.t, "swtpm"), "socket", "--tpm2",
		"--tpmstate", "dir="+x.state,
		"--server", "type=unixio,path="+x.socket(),
		"--ctrl", "type=unixio,path="+filepath.Join(x.dir, "c"),
		"--flags", "not-need-init,startup-clear")
	log, err := os.OpenFile(filepath.Join(x.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		x.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	dieWithParent(cmd)
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		// The kernel's parent of the child is this thread: it must live as long.
		runtime.LockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		x.t.Fatal(err)
	}
	x.process, x.ended = cmd.Process, ended
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if conn, err := net.Dial("unix", x.socket()); err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(log.Name())
			x.t.Fatalf("swtpm does not answer\n%s", said)
		}
	}
}

// Commands of swtpm's control channel.
const (
	controlInit     = 2
	controlShutdown = 3
)

// power is the _TPM_Init signal: power went and came.
func (x *TPM) power() {
	x.t.Helper()
	if _, err := x.control(controlInit, 0, 0, 0, 0); err != nil {
		x.t.Fatalf("resetting swtpm: %v", err)
	}
}

func (x *TPM) control(command uint32, body ...byte) (result uint32, err error) {
	conn, err := net.Dial("unix", filepath.Join(x.dir, "c"))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return 0, err
	}
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, command), body...)); err != nil {
		return 0, err
	}
	var answer [4]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return 0, err
	}
	if result = binary.BigEndian.Uint32(answer[:]); result != 0 {
		return result, fmt.Errorf("control command %d answers %#x", command, result)
	}
	return 0, nil
}
