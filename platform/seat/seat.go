// Package seat tells who sits at this machine and who is at the other end of a
// local connection: which account owns a TCP connection to our loopback listener
// or to our unix socket, which account has the active local session, and whether
// that session is locked.
//
// It guarantees:
//
//   - Unknown is never yes: what the system does not tell, or tells in a form
//     that is not expected, is an error ([ErrUnknown] where the system has no way
//     to tell), and no account.
//   - Files of the system are read by bounded parsers that are pure and fuzzed.
//   - A connection that a program for remote access makes (a forwarded port) is
//     told apart where the system lets us see it; see [Peer.Forwarder].
//
// It does not decide who may ask what: the agent does. It does not prove that a
// person sits there, and it protects nothing from root or from a program of the
// same account.
//
// Linux is judged by /proc and by logind's files, which logind calls private:
// they have kept these members since 2012, and anything unexpected is an error.
// Windows compiles and was not tried. macOS tells the owner of a unix socket, and
// neither the owner of a TCP connection nor the active person.
package seat

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"strings"
)

// ErrUnknown says that this system does not tell, or did not tell this time.
var ErrUnknown = errors.New("the system does not tell")

// Peer is who made a local connection.
type Peer struct {
	// User is the account: a number on unix, a SID on Windows.
	User string
	// Forwarder is the program for remote access that made the connection, or may
	// have made it; empty: none did. The person may then be anywhere.
	Forwarder string
}

// Session is one local session at a seat.
type Session struct {
	ID   string // logind's, of letters and digits
	User string // as in Peer
}

// Account returns the account that an administrator named, by name or number, in
// the form of [Peer.User].
func Account(name string) (string, error) {
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return strconv.FormatUint(n, 10), nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return "", fmt.Errorf("looking up account %q: %w", name, err)
	}
	return u.Uid, nil
}

// forwarders are programs that carry other machines' connections to this one. A
// person can use others; this list only stops the accident and the plain attempt.
func forwarders() []string {
	return []string{"sshd", "sshd-session", "sshd-auth", "ssh", "dropbear", "dbclient"}
}

// forwarder returns the program's name when it is one of those.
func forwarder(program string) string {
	for _, name := range forwarders() {
		// Some rewrite their name: "sshd: bob@pts/0".
		if program == name || strings.HasPrefix(program, name+":") {
			return name
		}
	}
	return ""
}

// Locked reports whether a session's screen is locked, as its desktop tells
// logind. run runs a program of platform's list. A desktop that does not tell is
// never locked.
func Locked(ctx context.Context, run func(context.Context, string, ...string) ([]byte, error), session string) (bool, error) {
	if !sessionID(session) {
		return false, fmt.Errorf("asking logind: session id %q: %w", session, ErrUnknown)
	}
	out, err := run(ctx, "loginctl", "show-session", "--property=LockedHint", "--", session)
	if err != nil {
		return false, fmt.Errorf("asking logind: %w", err)
	}
	return parseLocked(out)
}

// parseLocked reads what loginctl says of one property.
func parseLocked(out []byte) (bool, error) {
	switch strings.TrimSuffix(string(out), "\n") {
	case "LockedHint=yes":
		return true, nil
	case "LockedHint=no":
		return false, nil
	}
	return false, fmt.Errorf("reading logind's answer: no LockedHint: %w", ErrUnknown)
}

// programName returns the last part of a Windows path, in lower case and without
// .exe.
func programName(path string) string {
	name := strings.ToLower(path[strings.LastIndexAny(path, `\/`)+1:])
	return strings.TrimSuffix(name, ".exe")
}
