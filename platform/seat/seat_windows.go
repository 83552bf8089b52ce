package seat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Active returns the session at the console.
func Active() ([]Session, error) {
	const none = 0xFFFFFFFF
	id := windows.WTSGetActiveConsoleSessionId()
	if id == none {
		return nil, nil
	}
	var token windows.Token
	// Only the system's account may ask; nobody signed in is an error too.
	if err := windows.WTSQueryUserToken(id, &token); err != nil {
		return nil, fmt.Errorf("asking who sits here: %w", err)
	}
	defer token.Close()
	sid, err := sidOf(token)
	if err != nil {
		return nil, err
	}
	return []Session{{ID: strconv.FormatUint(uint64(id), 10), User: sid}}, nil
}

func sidOf(token windows.Token) (string, error) {
	user, err := token.GetTokenUser()
	if err != nil {
		return "", fmt.Errorf("asking for an account: %w", err)
	}
	return user.User.Sid.String(), nil
}

// TCPPeer tells which account's process holds the other end of a TCP connection
// within this machine.
func TCPPeer(client, server netip.AddrPort) (Peer, error) {
	pid, err := ownerOf(client, server)
	if err != nil {
		return Peer{}, fmt.Errorf("reading sockets: %w", err)
	}
	process, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if err != nil {
		return Peer{}, fmt.Errorf("asking for the peer: %w", err)
	}
	defer windows.CloseHandle(process)
	var token windows.Token
	if err := windows.OpenProcessToken(process, windows.TOKEN_QUERY, &token); err != nil {
		return Peer{}, fmt.Errorf("asking for the peer: %w", err)
	}
	defer token.Close()
	sid, err := sidOf(token)
	if err != nil {
		return Peer{}, err
	}
	program, err := imageOf(process)
	return Peer{User: sid, Forwarder: forwarder(program)}, err
}

// tcpRow is MIB_TCPROW_OWNER_PID of iphlpapi.h: addresses in network order, ports
// too, in the low half of their word.
type tcpRow struct {
	state, localAddr, localPort, remoteAddr, remotePort, pid uint32
}

// ownerOf asks for the table of IPv4 connections with their processes.
func ownerOf(client, server netip.AddrPort) (uint32, error) {
	const (
		allConnections = 5  // TCP_TABLE_OWNER_PID_ALL
		established    = 5  // MIB_TCP_STATE_ESTAB
		rowSize        = 24 // of tcpRow
	)
	table := windows.NewLazySystemDLL("iphlpapi.dll").NewProc("GetExtendedTcpTable")
	size := uint32(64 << 10)
	for range 8 {
		buf := make([]byte, size)
		code, _, _ := table.Call(uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0, windows.AF_INET, allConnections, 0)
		switch windows.Errno(code) {
		case windows.ERROR_INSUFFICIENT_BUFFER:
			if size > maxTable {
				return 0, fmt.Errorf("socket table of more than %d bytes", maxTable)
			}
			continue
		case 0:
		default:
			return 0, windows.Errno(code)
		}
		n := int(binary.LittleEndian.Uint32(buf))
		if n > (len(buf)-4)/rowSize {
			return 0, errors.New("socket table of another form")
		}
		for i := range n {
			row := (*tcpRow)(unsafe.Pointer(&buf[4+i*rowSize]))
			if row.state == established && end(row.localAddr, row.localPort) == client && end(row.remoteAddr, row.remotePort) == server {
				return row.pid, nil
			}
		}
		return 0, fmt.Errorf("no process holds the connection: %w", ErrUnknown)
	}
	return 0, fmt.Errorf("the socket table keeps growing: %w", ErrUnknown)
}

func end(addr, port uint32) netip.AddrPort {
	var ip [4]byte
	binary.LittleEndian.PutUint32(ip[:], addr)
	return netip.AddrPortFrom(netip.AddrFrom4(ip), uint16(port&0xff)<<8|uint16(port>>8&0xff))
}

// imageOf returns the name of a process's program, without .exe.
func imageOf(process windows.Handle) (string, error) {
	buf := make([]uint16, windows.MAX_LONG_PATH)
	n := uint32(len(buf))
	if err := windows.QueryFullProcessImageName(process, 0, &buf[0], &n); err != nil {
		return "", fmt.Errorf("asking for the peer's program: %w", err)
	}
	return programName(windows.UTF16ToString(buf[:n])), nil
}

// UnixPeer is unknown here: Windows tells the process of a unix socket's peer by
// a control code that was not tried.
func UnixPeer(*net.UnixConn) (Peer, error) {
	return Peer{}, fmt.Errorf("asking for the peer: %w", ErrUnknown)
}
