package seat

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Active returns the sessions that are shown at this machine's seats now, one at
// most on an ordinary laptop. [ErrUnknown]: there is no logind here.
func Active() ([]Session, error) { return activeBelow("/") }

func activeBelow(root string) ([]Session, error) {
	dir := filepath.Join(root, "run/systemd/sessions")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading logind's sessions: %w", ErrUnknown)
	}
	if err != nil {
		return nil, fmt.Errorf("reading logind's sessions: %w", err)
	}
	if len(entries) > maxSessions {
		return nil, fmt.Errorf("reading logind's sessions: more than %d", maxSessions)
	}
	var active []Session
	for _, e := range entries {
		if !sessionID(e.Name()) || !e.Type().IsRegular() {
			continue // a pipe (3.ref), or a file that is being written
		}
		data, err := readBounded(filepath.Join(dir, e.Name()), maxSessionFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it ended between the two looks
		}
		if err != nil {
			return nil, fmt.Errorf("reading logind's sessions: %w", err)
		}
		r, err := parseSession(data)
		if err != nil {
			return nil, fmt.Errorf("reading logind's session %s: %w", e.Name(), err)
		}
		if r.present() {
			active = append(active, Session{ID: e.Name(), User: r.uid})
		}
	}
	return active, nil
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(data) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return data, err
}

// TCPPeer tells who holds the other end of a TCP connection within this machine:
// client is that end's address, server ours.
func TCPPeer(client, server netip.AddrPort) (Peer, error) { return tcpPeerBelow("/", client, server) }

func tcpPeerBelow(root string, client, server netip.AddrPort) (Peer, error) {
	var held socket
	found := false
	for _, name := range []string{"tcp", "tcp6"} {
		table, err := readBounded(filepath.Join(root, "proc/net", name), maxTable)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return Peer{}, fmt.Errorf("reading sockets: %w", err)
		}
		s, ok, err := findSocket(table, client, server)
		if err != nil {
			return Peer{}, fmt.Errorf("reading sockets: %w", err)
		}
		if ok && found {
			return Peer{}, errors.New("reading sockets: one connection in two tables")
		}
		if ok {
			held, found = s, true
		}
	}
	if !found {
		return Peer{}, fmt.Errorf("reading sockets: no process holds the connection: %w", ErrUnknown)
	}
	program, err := forwarderOf(root, held)
	if err != nil {
		return Peer{}, err
	}
	return Peer{User: strconv.FormatUint(uint64(held.uid), 10), Forwarder: program}, nil
}

// maxProcesses bounds how many processes are looked at.
const maxProcesses = 32 << 10

// forwarderOf returns the program for remote access that holds a socket. Where
// the system hides who holds it (the service has no CAP_SYS_PTRACE), any sshd
// that works for the socket's account counts: its forwarded ports are made as
// that account. Not a single process of the account in sight is an error: then
// the system hides them.
func forwarderOf(root string, s socket) (string, error) {
	entries, err := os.ReadDir(filepath.Join(root, "proc"))
	if err != nil {
		return "", fmt.Errorf("reading processes: %w", err)
	}
	if len(entries) > maxProcesses {
		return "", fmt.Errorf("reading processes: more than %d", maxProcesses)
	}
	link := "socket:[" + strconv.FormatUint(s.inode, 10) + "]"
	suspect, mine := "", false
	holders := 0
	for _, e := range entries {
		if _, err := strconv.ParseUint(e.Name(), 10, 31); err != nil {
			continue
		}
		dir := filepath.Join(root, "proc", e.Name())
		p, err := readProcess(dir)
		if err != nil {
			continue // it ended, or is hidden
		}
		if p.uid == s.uid {
			mine = true
			if name := forwarder(p.name); strings.HasPrefix(name, "sshd") || name == "dropbear" {
				suspect = name
			}
		}
		if holds(dir, link) {
			holders++
			if name := forwarder(p.name); name != "" {
				return name, nil
			}
		}
	}
	switch {
	case holders > 0:
		return "", nil
	case !mine:
		return "", fmt.Errorf("reading processes: none of the connection's account is seen: %w", ErrUnknown)
	}
	return suspect, nil
}

// maxFiles bounds how many open files of one process are looked at.
const maxFiles = 16 << 10

// holds reports whether a process has an open file that is the link; false also
// where we may not see it.
func holds(dir, link string) bool {
	f, err := os.Open(filepath.Join(dir, "fd"))
	if err != nil {
		return false
	}
	defer f.Close()
	names, err := f.Readdirnames(maxFiles)
	if err != nil {
		return false
	}
	for _, name := range names {
		if target, err := os.Readlink(filepath.Join(dir, "fd", name)); err == nil && target == link {
			return true
		}
	}
	return false
}

// UnixPeer tells who connected to our unix socket, and whether that is itself a
// program for remote access: OpenSSH carries unix sockets to other machines, too.
// A command that a person runs by remote login is not told apart, and neither is a
// forwarder where the system hides processes.
func UnixPeer(c *net.UnixConn) (Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("asking for the peer: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || credErr != nil {
		return Peer{}, fmt.Errorf("asking for the peer: %w", errors.Join(err, credErr))
	}
	// The kernel answers pid 0 and the overflow user for who is outside our
	// namespaces.
	if cred.Pid == 0 {
		return Peer{}, fmt.Errorf("asking for the peer: %w", ErrUnknown)
	}
	// A process that is gone gets no answer: nothing is lost by not knowing it.
	p, _ := readProcess(filepath.Join("/proc", strconv.Itoa(int(cred.Pid))))
	return Peer{User: strconv.FormatUint(uint64(cred.Uid), 10), Forwarder: forwarder(p.name)}, nil
}

func readProcess(dir string) (process, error) {
	data, err := readBounded(filepath.Join(dir, "status"), maxStatus)
	if err != nil {
		return process{}, err
	}
	return parseStatus(data)
}
