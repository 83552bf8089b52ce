package seat

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

const sessionOf1000 = `# This is private data. Do not parse.
UID=1000
USER=alice
ACTIVE=1
IS_DISPLAY=1
STATE=active
REMOTE=0
TYPE=wayland
ORIGINAL_TYPE=tty
CLASS=user
SCOPE=session-3.scope
FIFO=/run/systemd/sessions/3.ref
SEAT=seat0
TTY=tty2
SERVICE=gdm-password
VTNR=2
LEADER=1234
AUDIT=3
REALTIME=1700000000000000
MONOTONIC=90000000
`

func TestParseSession(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		present bool
	}{
		"as logind writes it":  {sessionOf1000, true},
		"quoted and in words":  {`UID="1000"` + "\nACTIVE=yes\nREMOTE=no\nSTATE=active\nCLASS=user\nSEAT=seat0\n", true},
		"an administrator's":   {strings.Replace(sessionOf1000, "CLASS=user", "CLASS=user-early", 1), true},
		"not shown":            {strings.Replace(sessionOf1000, "ACTIVE=1", "ACTIVE=0", 1), false},
		"online, not active":   {strings.Replace(sessionOf1000, "STATE=active", "STATE=online", 1), false},
		"closing":              {strings.Replace(sessionOf1000, "STATE=active", "STATE=closing", 1), false},
		"from another machine": {strings.Replace(sessionOf1000, "REMOTE=0", "REMOTE=1", 1), false},
		"at no seat":           {strings.Replace(sessionOf1000, "SEAT=seat0\n", "", 1), false},
		"a greeter":            {strings.Replace(sessionOf1000, "CLASS=user", "CLASS=greeter", 1), false},
		"a timer's":            {strings.Replace(sessionOf1000, "CLASS=user", "CLASS=background", 1), false},
		"its manager":          {strings.Replace(sessionOf1000, "CLASS=user", "CLASS=manager", 1), false},
		"of no class":          {strings.Replace(sessionOf1000, "CLASS=user\n", "", 1), false},
	} {
		r, err := parseSession([]byte(c.text))
		if err != nil || r.present() != c.present || r.uid != "1000" {
			t.Errorf("%s: %+v, %v; want present %v", name, r, err, c.present)
		}
	}
	for name, text := range map[string]string{
		"empty":            "",
		"no user":          strings.Replace(sessionOf1000, "UID=1000\n", "", 1),
		"no REMOTE":        strings.Replace(sessionOf1000, "REMOTE=0\n", "", 1),
		"two users":        sessionOf1000 + "UID=0\n",
		"two activities":   strings.Replace(sessionOf1000, "ACTIVE=1", "ACTIVE=0\nACTIVE=1", 1),
		"user by name":     strings.Replace(sessionOf1000, "UID=1000", "UID=alice", 1),
		"user too great":   strings.Replace(sessionOf1000, "UID=1000", "UID=4294967296", 1),
		"negative user":    strings.Replace(sessionOf1000, "UID=1000", "UID=-1", 1),
		"truth of a third": strings.Replace(sessionOf1000, "ACTIVE=1", "ACTIVE=2", 1),
		"line without =":   sessionOf1000 + "ACTIVE\n",
		"too long":         sessionOf1000 + "#" + strings.Repeat("x", maxSessionFile),
	} {
		if r, err := parseSession([]byte(text)); err == nil {
			t.Errorf("%s: read as %+v", name, r)
		}
	}
}

const tableHead = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

// row is a line of /proc/net/tcp on a little-endian machine.
func row(local, remote, state string, uid, inode any) string {
	return fmt.Sprintf("   1: %s %s %s 00000000:00000000 00:00000000 00000000  %v        0 %v 1 0000000000000000 20 4 30 10 -1\n", local, remote, state, uid, inode)
}

const (
	clientEnd  = "0100007F:C350" // 127.0.0.1:50000
	serverEnd  = "0100007F:1F90" // 127.0.0.1:8080
	clientEnd6 = "0000000000000000FFFF00000100007F:C350"
	serverEnd6 = "0000000000000000FFFF00000100007F:1F90"
)

func ends() (client, server netip.AddrPort) {
	return netip.MustParseAddrPort("127.0.0.1:50000"), netip.MustParseAddrPort("127.0.0.1:8080")
}

func TestFindSocket(t *testing.T) {
	client, server := ends()
	others := row("00000000:1F90", "00000000:0000", "0A", 0, 77) + row(serverEnd, clientEnd, "01", 0, 78) + row("0100007F:C351", serverEnd, "01", 5, 79)
	for name, mine := range map[string]string{"tcp": row(clientEnd, serverEnd, "01", 1000, 555), "tcp6, mapped": row(clientEnd6, serverEnd6, "01", 1000, 555)} {
		s, found, err := findSocket([]byte(tableHead+others+mine+others), client, server)
		if err != nil || !found || s != (socket{1000, 555}) {
			t.Errorf("%s: %+v, %v, %v", name, s, found, err)
		}
	}
	if s, found, err := findSocket([]byte(tableHead+others), client, server); found || err != nil {
		t.Errorf("our own end is taken for the peer's: %+v, %v, %v", s, found, err)
	}
	for name, table := range map[string]string{
		// What nobody holds any more says user 0: it must not pass for root.
		"time wait":      row(clientEnd, serverEnd, "06", 0, 0),
		"orphan":         row(clientEnd, serverEnd, "01", 0, 0),
		"closing":        row(clientEnd, serverEnd, "08", 1000, 555),
		"twice":          row(clientEnd, serverEnd, "01", 1000, 555) + row(clientEnd, serverEnd, "01", 0, 556),
		"user as text":   row(clientEnd, serverEnd, "01", "root", 555),
		"user too great": row(clientEnd, serverEnd, "01", "4294967296", 555),
		"inode as text":  row(clientEnd, serverEnd, "01", 1000, "x"),
		"cut":            "   1: " + clientEnd + " " + serverEnd + " 01\n",
		"long line":      strings.TrimSuffix(row(clientEnd, serverEnd, "01", 1000, 555), "\n") + strings.Repeat(" 0", maxLine) + "\n",
		"an empty line":  "\n" + row(clientEnd, serverEnd, "01", 1000, 555),
	} {
		if s, found, err := findSocket([]byte(tableHead+table), client, server); err == nil || found {
			t.Errorf("%s: found %+v (%v), %v", name, s, found, err)
		}
	}
}

func TestParseEnd(t *testing.T) {
	for in, want := range map[string]string{
		clientEnd: "127.0.0.1:50000", clientEnd6: "[::ffff:127.0.0.1]:50000",
		"00000000000000000000000001000000:0050": "[::1]:80",
		"0100007F:":                             "", "0100007F": "", "0100007F:1F9": "", "0100007F:1F90:": "", "0100007:1F90": "", "0100007G:1F90": "", ":": "",
	} {
		addr, port, ok := parseEnd(in)
		if got := netip.AddrPortFrom(addr, port).String(); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %s, %v; want %q", in, got, ok, want)
		}
	}
}

func TestParseStatus(t *testing.T) {
	const good = "Name:\tsshd-session\nUmask:\t0022\nUid:\t0\t1000\t0\t0\nGid:\t0\t0\t0\t0\n"
	if p, err := parseStatus([]byte(good)); err != nil || p != (process{"sshd-session", 1000}) {
		t.Errorf("%+v, %v", p, err)
	}
	for _, bad := range []string{"", "Name:\tx\n", "Uid:\t0\t0\t0\t0\n", "Name:\tx\nUid:\t0\n", "Name:\tx\nUid:\t0\t-1\t0\t0\n", good + strings.Repeat("x", maxStatus)} {
		if p, err := parseStatus([]byte(bad)); err == nil {
			t.Errorf("%.40q is read as %+v", bad, p)
		}
	}
}

func TestForwarder(t *testing.T) {
	for program, want := range map[string]string{
		"sshd": "sshd", "sshd-session": "sshd-session", "sshd: bob@pts/0": "sshd", "ssh": "ssh", "ssh: x": "ssh",
		"firefox": "", "sshfs": "", "ssh-agent": "", "": "", "Sshd": "",
	} {
		if got := forwarder(program); got != want {
			t.Errorf("%q is %q, want %q", program, got, want)
		}
	}
	for path, want := range map[string]string{
		`C:\Windows\System32\OpenSSH\sshd.exe`: "sshd", `\Device\HarddiskVolume3\X\SSH.EXE`: "ssh", "": "", `C:\`: "", "firefox.exe": "firefox",
	} {
		if got := programName(path); got != want {
			t.Errorf("%q is %q, want %q", path, got, want)
		}
	}
}

func TestLocked(t *testing.T) {
	answer, failure := "", error(nil)
	asked := ""
	run := func(_ context.Context, name string, args ...string) ([]byte, error) {
		asked = name + " " + strings.Join(args, " ")
		return []byte(answer), failure
	}
	for out, want := range map[string]bool{"LockedHint=yes\n": true, "LockedHint=no\n": false} {
		answer = out
		if got, err := Locked(t.Context(), run, "c2"); err != nil || got != want {
			t.Errorf("%q: %v, %v", out, got, err)
		}
	}
	if asked != "loginctl show-session --property=LockedHint -- c2" {
		t.Errorf("ran %s", asked)
	}
	for _, out := range []string{"", "LockedHint=\n", "LockedHint=yes\nLockedHint=no\n", "no such session"} {
		answer = out
		if _, err := Locked(t.Context(), run, "2"); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v", out, err)
		}
	}
	failure = errors.New("gone")
	if _, err := Locked(t.Context(), run, "2"); !errors.Is(err, failure) {
		t.Errorf("a failing program: %v", err)
	}
	asked = ""
	for _, id := range []string{"", "-x", "a b", "../1", "1.ref", strings.Repeat("1", 33)} {
		if _, err := Locked(t.Context(), run, id); !errors.Is(err, ErrUnknown) || asked != "" {
			t.Errorf("session %q was asked for: %v", id, err)
		}
	}
}

func TestAccount(t *testing.T) {
	if got, err := Account("0065534"); err != nil || got != "65534" {
		t.Errorf("%q, %v", got, err)
	}
	for _, name := range []string{"", "-1", "4294967296", "no-such-account-here"} {
		if got, err := Account(name); err == nil {
			t.Errorf("%q is account %q", name, got)
		}
	}
}

func FuzzSessions(f *testing.F) {
	f.Add([]byte(sessionOf1000))
	f.Add([]byte("UID=\"\nACTIVE=1\n"))
	f.Add([]byte("=\n==\nUID=0\nACTIVE=1\nREMOTE=0\nSTATE=active\nCLASS=user\nSEAT=s\nUID=1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseSession(data)
		if err != nil {
			return
		}
		if r.uid == "" || len(r.uid) > 10 {
			t.Errorf("user %q", r.uid)
		}
		if r.present() && (r.remote || !r.active || r.seat == "") {
			t.Errorf("present: %+v", r)
		}
	})
}

func FuzzPeers(f *testing.F) {
	client, server := ends()
	f.Add([]byte(tableHead + row(clientEnd, serverEnd, "01", 1000, 555)))
	f.Add([]byte(tableHead + row(clientEnd6, serverEnd6, "01", 0, 0) + "\n"))
	f.Add([]byte("\n\n"))
	f.Add([]byte("Name:\tsshd\nUid:\t0\t0\t0\t0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, found, err := findSocket(data, client, server)
		if found && (err != nil || s.inode == 0) || !found && s != (socket{}) {
			t.Errorf("%+v, %v, %v", s, found, err)
		}
		if p, err := parseStatus(data); err == nil && p.name == "" && len(data) == 0 {
			t.Error("a process out of nothing")
		}
		_, _ = parseLocked(data)
	})
}
