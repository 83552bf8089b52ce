package seat

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// Active is unknown here: the console's owner is told by a framework that needs
// cgo.
func Active() ([]Session, error) { return nil, fmt.Errorf("asking who sits here: %w", ErrUnknown) }

// TCPPeer is unknown here, for the same reason.
func TCPPeer(netip.AddrPort, netip.AddrPort) (Peer, error) {
	return Peer{}, fmt.Errorf("asking for the peer: %w", ErrUnknown)
}

// UnixPeer tells who connected to our unix socket.
func UnixPeer(c *net.UnixConn) (Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("asking for the peer: %w", err)
	}
	var cred *unix.Xucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	}); err != nil || credErr != nil {
		return Peer{}, fmt.Errorf("asking for the peer: %w", errors.Join(err, credErr))
	}
	return Peer{User: strconv.FormatUint(uint64(cred.Uid), 10)}, nil
}
