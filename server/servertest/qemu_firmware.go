package servertest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf16"
)

// switchSecureBoot sets the variable behind the switch of OVMF's menu, in the
// flash of the firmware's variables: an AUTHENTICATED_VARIABLE_HEADER of 60 bytes,
// the name in UTF-16 with its end, then the data (edk2,
// MdeModulePkg/Include/Guid/VariableFormat.h). Variables have no checksum.
func switchSecureBoot(flash []byte, on bool) error {
	const (
		header   = 60
		stateAt  = 2
		sizeAt   = header - 16 - 4 // before the vendor's GUID
		variable = 0x55aa
		added    = 0x3f
	)
	var name []byte
	for _, unit := range utf16.Encode([]rune("SecureBootEnable\x00")) {
		name = binary.LittleEndian.AppendUint16(name, unit)
	}
	value := byte(0)
	if on {
		value = 1
	}
	for at := 0; ; at += len(name) {
		next := bytes.Index(flash[at:], name)
		if next < 0 {
			return errors.New("the firmware's variables have no SecureBootEnable")
		}
		at += next
		if at < header || at+len(name) >= len(flash) {
			continue
		}
		// Older values stay in the flash; one is in force.
		head := flash[at-header:]
		if binary.LittleEndian.Uint16(head) == variable && head[stateAt] == added && binary.LittleEndian.Uint32(head[sizeAt:]) == 1 {
			flash[at+len(name)] = value
			return nil
		}
	}
}

// screen is a machine's serial console: kept whole, and shown line by line without
// what only a terminal understands.
type screen struct {
	name string
	show io.Writer

	mu   sync.Mutex
	text strings.Builder // guarded by mu
	line []byte          // guarded by mu; not yet shown
}

// Write takes what comes over the line, a few bytes at a time.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(b)
	s.line = append(s.line, b...)
	for {
		line, rest, whole := bytes.Cut(s.line, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		s.line = rest
		if text := plain(line); text != "" {
			fmt.Fprintf(s.show, "%s: %s\n", s.name, text)
		}
	}
}

func (s *screen) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), text)
}

// plain takes control sequences (ECMA-48 §5.4) and other controls from a line.
func plain(line []byte) string {
	var out strings.Builder
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == 0x1b && i+1 < len(line) && line[i+1] == '[':
			for i += 2; i < len(line) && (line[i] < 0x40 || line[i] > 0x7e); i++ {
			}
		case c >= 0x20 && c < 0x7f:
			out.WriteByte(c)
		}
	}
	return strings.TrimSpace(out.String())
}
