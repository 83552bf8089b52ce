package tpmtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Command codes and arguments (TPM 2.0 Part 2 §6.5.2, §6.10).
const (
	startup             = 0x00000144
	shutdown            = 0x00000145
	clearTPM            = 0x00000126
	hierarchyChangeAuth = 0x00000129
	extend              = 0x00000182

	typeClear = "\x00\x00"
	typeState = "\x00\x01"

	handleEndorsement = 0x4000000b
	handlePlatform    = 0x4000000c
)

// Send passes one command to the chip, over a connection of its own, and returns
// the whole response whatever its code: a transport of go-tpm.
func (x *TPM) Send(command []byte) ([]byte, error) {
	conn, err := net.Dial("unix", x.socket())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(command); err != nil {
		return nil, err
	}
	response := make([]byte, 10, 4096)
	if _, err := io.ReadFull(conn, response); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(response[2:])
	if size < 10 || size > 4096 {
		return nil, fmt.Errorf("response of %d bytes", size)
	}
	response = response[:size]
	_, err = io.ReadFull(conn, response[10:])
	return response, err
}

// ExtendPCR extends a PCR of the SHA-256 bank with 32 bytes of one value.
func (x *TPM) ExtendPCR(index uint32, value byte) {
	x.t.Helper()
	x.Extend(index, [32]byte(bytes.Repeat([]byte{value}, 32)))
}

// Extend extends a PCR of the SHA-256 bank with a digest.
func (x *TPM) Extend(index uint32, digest [32]byte) {
	x.t.Helper()
	const oneSHA256 = "\x00\x00\x00\x01\x00\x0b" // TPML_DIGEST_VALUES
	x.mustAuthorised(extend, index, "", oneSHA256+string(digest[:]))
}

// Clear clears the chip as its owner's menu in the firmware does: what hangs on
// the owner hierarchy is lost, the endorsement seed stays.
func (x *TPM) Clear() {
	x.t.Helper()
	x.mustAuthorised(clearTPM, handlePlatform, "", "")
}

// SetEndorsementAuth changes the authorisation of the endorsement hierarchy from
// one value to another, as some installations of Windows do.
func (x *TPM) SetEndorsementAuth(from, to string) {
	x.t.Helper()
	x.mustAuthorised(hierarchyChangeAuth, handleEndorsement, from, sized(to))
}

// must sends a command without authorisation, which must succeed.
func (x *TPM) must(code uint32, body string) {
	x.t.Helper()
	x.succeed(0x8001, code, body)
}

// mustAuthorised sends a command on one handle with a password.
func (x *TPM) mustAuthorised(code, handle uint32, password, body string) {
	x.t.Helper()
	auth := be32(0x40000009) + sized("") + "\x00" + sized(password) // TPM_RS_PW
	x.succeed(0x8002, code, be32(handle)+be32(uint32(len(auth)))+auth+body)
}

func (x *TPM) succeed(tag uint16, code uint32, body string) {
	x.t.Helper()
	command := binary.BigEndian.AppendUint16(nil, tag)
	command = append(command, be32(uint32(10+len(body)))+be32(code)+body...)
	response, err := x.Send(command)
	if err == nil && binary.BigEndian.Uint32(response[6:]) != 0 {
		err = errors.New("refused")
	}
	if err != nil {
		x.t.Fatalf("command %#x: %v, %x", code, err, response)
	}
}

func be32(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

func sized(s string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(len(s)))) + s
}
