package agent

import (
	"encoding/binary"
	"fmt"
	"syscall"
)

// hostBootID reads the counter that the kernel raises at each start.
func hostBootID() (string, error) {
	const path = `SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters`
	var key syscall.Handle
	if err := syscall.RegOpenKeyEx(syscall.HKEY_LOCAL_MACHINE, syscall.StringToUTF16Ptr(path), 0, syscall.KEY_READ, &key); err != nil {
		return "", fmt.Errorf("opening boot counter: %w", err)
	}
	defer syscall.RegCloseKey(key)
	var value [4]byte
	kind, size := uint32(0), uint32(len(value))
	err := syscall.RegQueryValueEx(key, syscall.StringToUTF16Ptr("BootId"), nil, &kind, &value[0], &size)
	if err != nil {
		return "", fmt.Errorf("reading boot counter: %w", err)
	}
	if kind != syscall.REG_DWORD || size != uint32(len(value)) {
		return "", fmt.Errorf("reading boot counter: value of kind %d and %d bytes", kind, size)
	}
	return fmt.Sprintf("boot-%d", binary.LittleEndian.Uint32(value[:])), nil
}
