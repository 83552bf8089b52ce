//go:build unix

package tpm

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// permissionRemedy ends every ErrPermission.
const permissionRemedy = "run as root, or add the user to the group that owns the device (tss on Debian)"

// device is a character device of the kernel's TPM driver.
type device struct{ file *os.File }

// openDevice opens it in blocking mode: there a write returns when the chip has
// answered, and with the driver's own error, which the non-blocking mode of some
// kernels loses.
func openDevice(path string) (*device, error) {
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	for errors.Is(err, syscall.EINTR) {
		fd, err = syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &device{os.NewFile(uintptr(fd), path)}, nil
}

func (d *device) call(command []byte) ([]byte, error) {
	if _, err := d.file.Write(command); err != nil {
		return nil, err
	}
	response := make([]byte, maxResponse)
	n, err := d.file.Read(response)
	if err != nil {
		return nil, err
	}
	return response[:n], nil
}

// Close ends the connection; a resource manager then flushes what it held.
func (d *device) Close() error { return d.file.Close() }

// isBusy tells errors after which the same command may be sent again.
func isBusy(err error) bool {
	var busy busyError
	return errors.As(err, &busy) || errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.EAGAIN)
}

// isGone tells that nothing is, or listens, at the address.
func isGone(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENODEV) ||
		errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.ENOTSOCK)
}

// isDriverTrouble tells that the driver lost touch with the chip for once.
func isDriverTrouble(err error) bool {
	return errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ETIME) || errors.Is(err, syscall.ETIMEDOUT) ||
		errors.Is(err, syscall.ECANCELED)
}
