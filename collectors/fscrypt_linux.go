package collectors

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fscrypted reports whether a directory has an encryption policy
// (Linux Documentation/filesystems/fscrypt.rst, FS_IOC_GET_ENCRYPTION_POLICY_EX).
// It asks the running kernel about the running system's directory only.
func fscrypted(t Tree, dir string) (bool, error) {
	if !t.Live() {
		return false, errNotThisRoot
	}
	real, err := t.resolve(dir)
	if err != nil {
		return false, err
	}
	f, err := os.Open(real)
	if err != nil {
		return false, err
	}
	defer f.Close()
	// The size of the larger policy, then room for it; the kernel overwrites
	// the size with that of the policy it has.
	policy := struct {
		size uint64
		room [24]byte
	}{size: 24}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.FS_IOC_GET_ENCRYPTION_POLICY_EX, uintptr(unsafe.Pointer(&policy)))
	switch {
	case errno == 0:
		return true, nil
	case errors.Is(errno, unix.ENODATA), errors.Is(errno, unix.ENOTTY), errors.Is(errno, unix.EOPNOTSUPP):
		return false, nil // no policy, or a file system that cannot have one
	}
	return false, fmt.Errorf("reading the encryption policy: %w", errno)
}
