package seat

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

// maxStatus bounds /proc/PID/status, in bytes.
const maxStatus = 16 << 10

// process is what we need to know of one.
type process struct {
	name string // first 15 bytes of the program's name; the program may change it
	uid  uint32 // effective
}

// parseStatus reads /proc/PID/status (proc(5)).
func parseStatus(data []byte) (p process, err error) {
	if len(data) > maxStatus {
		return p, errors.New("process status is too long")
	}
	named, owned := false, false
	for line := range bytes.Lines(data) {
		key, value, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), ":")
		switch {
		case key == "Name" && !named:
			p.name, named = strings.TrimSpace(value), true
		case key == "Uid" && !owned:
			fields := strings.Fields(value) // real, effective, saved, file system
			if len(fields) != 4 {
				return p, errors.New("process status has another Uid than four numbers")
			}
			n, err := strconv.ParseUint(fields[1], 10, 32)
			if err != nil {
				return p, errors.New("process status has another Uid than four numbers")
			}
			p.uid, owned = uint32(n), true
		}
	}
	if !named || !owned {
		return p, errors.New("process status lacks Name or Uid")
	}
	return p, nil
}
