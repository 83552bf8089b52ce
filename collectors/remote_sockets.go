package collectors

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// maxSockets bounds the lines that are read of one list of sockets.
const maxSockets = 65536

// tcpListen is the state of a socket that waits for connections
// (include/net/tcp_states.h).
const tcpListen = "0A"

// parseListening reads /proc/net/tcp or /proc/net/tcp6 (proc_net_tcp in the
// kernel's documentation) and returns the ports of listening sockets that are
// not bound to loopback.
func parseListening(b []byte) ([]uint16, error) {
	var ports []uint16
	count := 0
	for line := range bytes.Lines(b) {
		if count++; count > maxSockets {
			return nil, fmt.Errorf("%w: more than %d sockets", errUnparsable, maxSockets)
		}
		fields := strings.Fields(string(line))
		if count == 1 {
			if len(fields) < 4 || fields[1] != "local_address" {
				return nil, fmt.Errorf("%w: no title over the sockets", errUnparsable)
			}
			continue
		}
		if len(fields) < 4 {
			return nil, fmt.Errorf("%w: line of sockets", errUnparsable)
		}
		if fields[3] != tcpListen {
			continue
		}
		address, port, err := parseSocket(fields[1])
		if err != nil {
			return nil, err
		}
		if !address.Unmap().IsLoopback() {
			ports = append(ports, port)
		}
	}
	if count == 0 {
		return nil, fmt.Errorf("%w: an empty list of sockets", errUnparsable)
	}
	return ports, nil
}

// parseSocket reads "0100007F:0016": an address as the kernel's words of four
// bytes print on the little-endian machines that we run on, and a port.
func parseSocket(s string) (netip.Addr, uint16, error) {
	address, port, _ := strings.Cut(s, ":")
	raw, err := hex.DecodeString(address)
	if err != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.Addr{}, 0, fmt.Errorf("%w: address of a socket", errUnparsable)
	}
	for i := 0; i < len(raw); i += 4 {
		raw[i], raw[i+1], raw[i+2], raw[i+3] = raw[i+3], raw[i+2], raw[i+1], raw[i]
	}
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.Addr{}, 0, fmt.Errorf("%w: port of a socket", errUnparsable)
	}
	ip, _ := netip.AddrFromSlice(raw) // the length is one of the two
	return ip, uint16(n), nil
}
