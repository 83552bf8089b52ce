package seat

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// The limits of the kernel's table of TCP sockets, /proc/net/tcp and tcp6.
const (
	maxTable = 16 << 20 // bytes: some hundred thousand connections
	maxLine  = 512      // bytes of one line
)

// socket is the end of a TCP connection that a local process holds.
type socket struct {
	uid   uint32
	inode uint64
}

// tcpEstablished is the kernel's number of the state (net/tcp_states.h).
const tcpEstablished = "01"

// findSocket looks in a table for the end of a connection that has the address
// local and speaks to remote (proc(5)). found is false when the table has no such
// line. Only an established connection that a process holds counts: sockets
// without a process (closing ones) have inode 0 and, wrongly for us, user 0. Two
// lines for one connection, and a matching line of another form, are errors.
func findSocket(table []byte, local, remote netip.AddrPort) (s socket, found bool, err error) {
	if len(table) > maxTable {
		return s, false, fmt.Errorf("socket table of more than %d bytes", maxTable)
	}
	first := true
	for line := range bytes.Lines(table) {
		if first { // the heading
			first = false
			continue
		}
		if len(line) > maxLine {
			return socket{}, false, errors.New("socket table has a line that is too long")
		}
		fields := strings.Fields(string(line))
		if len(fields) < 10 {
			return socket{}, false, errors.New("socket table has a line of another form")
		}
		if !sameEnd(fields[1], local) || !sameEnd(fields[2], remote) {
			continue
		}
		if found {
			return socket{}, false, errors.New("socket table has the connection twice")
		}
		if s, err = parseSocket(fields); err != nil {
			return socket{}, false, err
		}
		found = true
	}
	return s, found, nil
}

func parseSocket(fields []string) (s socket, err error) {
	uid, err := strconv.ParseUint(fields[7], 10, 32)
	if err != nil {
		return s, errors.New("socket table has another user than a number")
	}
	inode, err := strconv.ParseUint(fields[9], 10, 64)
	if err != nil {
		return s, errors.New("socket table has another inode than a number")
	}
	if fields[3] != tcpEstablished || inode == 0 {
		return s, errors.New("the connection is closing")
	}
	return socket{uid: uint32(uid), inode: inode}, nil
}

// sameEnd reports whether a field like 0100007F:1F90 means the address. An IPv4
// address also stands in the table of IPv6, mapped.
func sameEnd(field string, want netip.AddrPort) bool {
	addr, port, ok := parseEnd(field)
	return ok && port == want.Port() && addr.Unmap() == want.Addr().Unmap()
}

// parseEnd reads an address as the kernel prints it: words of 32 bits in the
// machine's own order, and the port.
func parseEnd(field string) (addr netip.Addr, port uint16, ok bool) {
	ip, number, ok := strings.Cut(field, ":")
	if !ok || len(number) != 4 || len(ip) != 8 && len(ip) != 32 {
		return addr, 0, false
	}
	raw, err := hex.DecodeString(ip)
	n, err2 := strconv.ParseUint(number, 16, 16)
	if err != nil || err2 != nil {
		return addr, 0, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	addr, ok = netip.AddrFromSlice(raw)
	return addr, uint16(n), ok
}
