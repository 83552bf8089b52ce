package platform

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The limits of managed settings.
const (
	managedBytes  = 64 << 10 // one file, or all of the registry key
	managedLayers = 64       // files in a folder
)

// Layer is one source of managed settings: one JSON object, and where it came
// from. What the members mean is the caller's to say.
type Layer struct {
	// Origin is a path or a registry key, for messages and `config`.
	Origin string
	// JSON is the object, as written or as translated; valid, not interpreted.
	JSON []byte
}

// ManagedSettings returns what an administrator has fixed for this machine, the
// weakest layer first: a later one overrides an earlier one. None is no error.
//
//   - Linux: /etc/muster/managed.d/*.json in the order of their names. Folder
//     and files must belong to root and be writable by nobody else.
//   - Windows: the values of HKLM\Software\Policies\Muster. REG_SZ is a string,
//     REG_DWORD and REG_QWORD a number, REG_MULTI_SZ a list of strings.
//   - macOS: /Library/Managed Preferences/muster.plist, in XML.
//
// One bad source fails the whole, with its name and a remedy: settings that an
// administrator made must not vanish because of a slip in them. A source that
// this account may not read is [io/fs.ErrPermission].
func ManagedSettings() ([]Layer, error) {
	layers, err := managedSettings()
	if err != nil {
		return nil, fmt.Errorf("managed settings: %w", err)
	}
	return layers, nil
}

// managedDir reads the *.json files of a folder. trusted refuses an owner or a
// mode; read opens without following a link.
func managedDir(dir string, trusted func(string, fs.FileInfo) error) ([]Layer, error) {
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is no folder: move it away", dir)
	}
	if err := trusted(dir, info); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, err
	}
	var layers []Layer
	for _, entry := range entries {
		// Editors leave hidden files and backups of other suffixes.
		name := entry.Name()
		if !strings.HasSuffix(name, ".json") || strings.HasPrefix(name, ".") {
			continue
		}
		if len(layers) == managedLayers {
			return nil, fmt.Errorf("%s has more than %d files: join some", dir, managedLayers)
		}
		data, err := readManaged(filepath.Join(dir, name), trusted)
		if err != nil {
			return nil, err
		}
		layers = append(layers, Layer{Origin: filepath.Join(dir, name), JSON: data})
	}
	return layers, nil
}

func readManaged(path string, trusted func(string, fs.FileInfo) error) ([]byte, error) {
	data, err := readTrusted(path, trusted)
	if err != nil {
		return nil, err
	}
	if err := checkObject(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

// readTrusted reads a whole file of at most managedBytes.
func readTrusted(path string, trusted func(string, fs.FileInfo) error) ([]byte, error) {
	f, info, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := trusted(path, info); err != nil {
		return nil, err
	}
	return readLimited(f, managedBytes)
}

// checkObject refuses what is not one JSON object. Only the form: the strict
// reading of members is the caller's.
func checkObject(data []byte) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return fmt.Errorf("not a JSON object: %w", err)
	}
	if object == nil {
		return errors.New("not a JSON object: null")
	}
	return nil
}

// encodeObject writes translated settings, members in the order of their names.
func encodeObject(values map[string]any) ([]byte, error) {
	data, err := json.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("write as JSON: %w", err)
	}
	if len(data) > managedBytes {
		return nil, fmt.Errorf("settings: %w (%d bytes)", ErrTooLong, managedBytes)
	}
	return data, nil
}
