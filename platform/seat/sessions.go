package seat

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The limits of logind's files.
const (
	maxSessions    = 256     // files that are looked at
	maxSessionFile = 8 << 10 // bytes of one
)

// record is what a file of /run/systemd/sessions says of one session, of the
// members that we need. Absent is the zero value.
type record struct {
	uid    string
	active bool
	remote bool
	state  string // opening, online, active, closing
	class  string // user, greeter, lock-screen, background, manager, ...
	seat   string // seat0, ...
}

// parseSession reads one file: lines KEY=VALUE, where a value may stand in double
// quotes, and comments. Unknown members are passed over; one of ours that stands
// twice, or has another form, is an error.
func parseSession(data []byte) (r record, err error) {
	if len(data) > maxSessionFile {
		return r, fmt.Errorf("session file of %d bytes", len(data))
	}
	seen := make(map[string]bool)
	for line := range bytes.Lines(data) {
		text := strings.TrimSuffix(string(line), "\n")
		if text == "" || text[0] == '#' || text[0] == ';' {
			continue
		}
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return r, errors.New("session file has a line without =")
		}
		if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		ours, err := r.take(key, value)
		if err != nil {
			return r, err
		}
		if ours && seen[key] {
			return r, fmt.Errorf("session file has %s twice", key)
		}
		seen[key] = true
	}
	if !seen["UID"] || !seen["ACTIVE"] || !seen["REMOTE"] || !seen["STATE"] {
		return r, errors.New("session file lacks UID, ACTIVE, REMOTE or STATE")
	}
	return r, nil
}

// take sets one member; ours tells whether it is one that we read.
func (r *record) take(key, value string) (ours bool, err error) {
	switch key {
	case "UID":
		var n uint64
		n, err = strconv.ParseUint(value, 10, 32)
		r.uid = strconv.FormatUint(n, 10)
	case "ACTIVE":
		r.active, err = flag(value)
	case "REMOTE":
		r.remote, err = flag(value)
	case "STATE":
		r.state = value
	case "CLASS":
		r.class = value
	case "SEAT":
		r.seat = value
	default:
		return false, nil
	}
	if err != nil {
		return true, fmt.Errorf("session file has another %s than expected: %w", key, err)
	}
	return true, nil
}

// flag reads a truth value in either of the forms that logind has used.
func flag(value string) (bool, error) {
	switch value {
	case "1", "yes":
		return true, nil
	case "0", "no":
		return false, nil
	}
	return false, errors.New("neither 1 nor 0")
}

// present reports whether the session is a person's, at a seat of this machine,
// and the one that is shown there now.
func (r *record) present() bool {
	person := r.class == "user" || strings.HasPrefix(r.class, "user-")
	return person && r.active && !r.remote && r.state == "active" && r.seat != ""
}

// sessionID reports whether a name is one that logind gives to sessions.
func sessionID(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return s != "" && len(s) <= 32
}
