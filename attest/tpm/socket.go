package tpm

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// socketLink reaches a TPM behind a stream socket, as swtpm and virtual machine
// monitors offer it: bare commands and responses, one connection a command.
type socketLink struct {
	network, address string
}

// dialLimit bounds a connection attempt alone: sockets of TPMs are near.
const dialLimit = 5 * time.Second

func (l socketLink) exchange(command []byte, limit time.Duration) ([]byte, error) {
	deadline := time.Now().Add(limit)
	conn, err := net.DialTimeout(l.network, l.address, min(dialLimit, limit))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if _, err := conn.Write(command); err != nil {
		return nil, err
	}
	response := make([]byte, headerSize, 512)
	if _, err := io.ReadFull(conn, response); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(response[2:])
	if size < headerSize || size > maxResponse {
		return nil, fmt.Errorf("TPM response says it has %d bytes", size)
	}
	response = append(response, make([]byte, size-headerSize)...)
	if _, err := io.ReadFull(conn, response[headerSize:]); err != nil {
		return nil, err
	}
	return response, nil
}

// Close has nothing to do: no connection outlives its command.
func (socketLink) Close() error { return nil }
