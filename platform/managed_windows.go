package platform

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/windows/registry"
)

// managedSettings reads the policy key. Only administrators can write below
// HKLM\Software\Policies; the 64-bit view is asked, whatever we are.
func managedSettings() ([]Layer, error) {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, policyKey, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if errors.Is(err, registry.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", windowsManaged, err)
	}
	defer key.Close()
	names, err := key.ReadValueNames(-1)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", windowsManaged, err)
	}
	values := make([]registryValue, 0, len(names))
	for _, name := range names {
		buf := make([]byte, managedBytes)
		n, kind, err := key.GetValue(name, buf)
		if err != nil {
			return nil, fmt.Errorf("read %s\\%s: %w", windowsManaged, name, err)
		}
		values = append(values, registryValue{name: name, kind: kind, data: buf[:n]})
	}
	object, err := registryObject(values)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", windowsManaged, err)
	}
	return []Layer{{Origin: windowsManaged, JSON: object}}, nil
}

// openRegular and its callers serve files that the other systems trust by mode;
// here managed settings are in the registry alone.
func openRegular(path string) (*os.File, fs.FileInfo, error) {
	return nil, nil, fmt.Errorf("read %s: %w", path, errors.ErrUnsupported)
}
