package tpm

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"muster/attest"
)

// The devices of the kernel: with its resource manager, and without.
const (
	managedDevice = "/dev/tpmrm0"
	bareDevice    = "/dev/tpm0"
)

func reachOwn() (machine, error) { return reachFirst(managedDevice, bareDevice) }

// reachFirst prefers the resource manager. The bare device, of which there is one
// user at a time, serves only where the kernel has no resource manager: one that
// we may not open is an error.
func reachFirst(managed, bare string) (machine, error) {
	m, err := reachDevice(managed)
	if !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	if m, bareErr := reachDevice(bare); !errors.Is(bareErr, fs.ErrNotExist) {
		return m, bareErr
	}
	return machine{}, err
}

func reachDevice(path string) (machine, error) {
	info, err := os.Stat(path)
	if err != nil {
		return machine{}, err
	}
	if info.Mode()&fs.ModeCharDevice == 0 {
		return machine{}, fmt.Errorf("%w: %s is no device", attest.ErrAbsent, path)
	}
	d, err := openDevice(path)
	if err != nil {
		return machine{}, err
	}
	name, managed := strings.CutPrefix(filepath.Base(path), "tpmrm")
	if !managed {
		name = strings.TrimPrefix(name, "tpm")
	}
	log := filepath.Join("/sys/kernel/security", "tpm"+name, "binary_bios_measurements")
	return machine{
		link: &driverLink{driver: d}, shared: managed,
		bootLog: func() ([]byte, error) { return readLog(log) },
	}, nil
}

// readLog reads a file whose size the kernel does not tell.
func readLog(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, attest.MaxBootLog+1))
}
