package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// BootID names the running start of the system whose files are below root: of
// this machine for "" and "/", else of a captured Linux tree, which may not tell
// ("unknown").
func BootID(root string) (string, error) {
	if root == "" || filepath.Clean(root) == "/" {
		return hostBootID()
	}
	id, err := linuxBootID(root)
	if errors.Is(err, fs.ErrNotExist) {
		return "unknown", nil
	}
	return id, err
}

// linuxBootID reads the kernel's random boot id (random(4)).
func linuxBootID(root string) (string, error) {
	data, err := os.ReadFile(filepath.Join(root, "proc/sys/kernel/random/boot_id"))
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(data))
	if id == "" || len(id) > 64 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("boot id has another form than 1 to 64 printable characters")
	}
	return id, nil
}
