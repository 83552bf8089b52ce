package tpm

import (
	"encoding/binary"
	"errors"

	"github.com/google/go-tpm/tpm2"
)

// errShort says that a response ended before what it should hold.
var errShort = errors.New("TPM response is cut")

// plain sends a command that takes no authorisation and returns what follows the
// header of its response. Commands of so simple a form are written by hand: each
// that goes through go-tpm's reflection costs about 10 kB of program.
func (c *chip) plain(code tpm2.TPMCC, body []byte) (*fields, error) {
	b := binary.BigEndian.AppendUint16(make([]byte, 0, headerSize+len(body)), uint16(tpm2.TPMSTNoSessions))
	b = binary.BigEndian.AppendUint32(b, uint32(headerSize+len(body)))
	b = binary.BigEndian.AppendUint32(b, uint32(code))
	response, err := c.wire.Send(append(b, body...))
	if err != nil {
		return nil, err
	}
	if rc := tpm2.TPMRC(binary.BigEndian.Uint32(response[6:])); rc != tpm2.TPMRCSuccess {
		return nil, rc
	}
	return &fields{rest: response[headerSize:]}, nil
}

// words writes 32-bit numbers.
func words(values ...uint32) (b []byte) {
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// fields reads a response from its start. Past its end everything is zero, and
// short is set: it is asked once, at the end.
type fields struct {
	rest  []byte
	short bool
}

func (f *fields) take(n int) []byte {
	if len(f.rest) < n {
		f.rest, f.short = nil, true
		return make([]byte, n)
	}
	b := f.rest[:n]
	f.rest = f.rest[n:]
	return b
}

func (f *fields) uint8() uint8   { return f.take(1)[0] }
func (f *fields) uint16() uint16 { return binary.BigEndian.Uint16(f.take(2)) }
func (f *fields) uint32() uint32 { return binary.BigEndian.Uint32(f.take(4)) }
func (f *fields) uint64() uint64 { return binary.BigEndian.Uint64(f.take(8)) }

// sized reads a TPM2B.
func (f *fields) sized() []byte { return f.take(int(f.uint16())) }

// count reads the length of a list of which each element has at least so many
// bytes: none is longer than what is there.
func (f *fields) count(least int) int {
	n := f.uint32()
	if int64(n)*int64(least) > int64(len(f.rest)) {
		f.rest, f.short = nil, true
		return 0
	}
	return int(n)
}

// capability is TPM2_GetCapability (TPM 2.0 Part 3 §30.2): the list that follows
// its kind.
func (c *chip) capability(kind tpm2.TPMCap, first, count uint32) (*fields, error) {
	f, err := c.plain(tpm2.TPMCCGetCapability, words(uint32(kind), first, count))
	if err != nil {
		return nil, err
	}
	f.uint8() // whether there is more
	if got := tpm2.TPMCap(f.uint32()); f.short || got != kind {
		return nil, errShort
	}
	return f, nil
}

// handles lists what the chip holds from a handle on.
func (c *chip) handles(first, count uint32) ([]tpm2.TPMHandle, error) {
	f, err := c.capability(tpm2.TPMCapHandles, first, count)
	if err != nil {
		return nil, err
	}
	list := make([]tpm2.TPMHandle, f.count(4))
	for i := range list {
		list[i] = tpm2.TPMHandle(f.uint32())
	}
	if f.short {
		return nil, errShort
	}
	return list, nil
}

// readPublic is TPM2_ReadPublic (§12.4).
func (c *chip) readPublic(handle tpm2.TPMHandle) (public, name []byte, err error) {
	f, err := c.plain(tpm2.TPMCCReadPublic, words(uint32(handle)))
	if err != nil {
		return nil, nil, err
	}
	public, name = f.sized(), f.sized()
	if f.short {
		return nil, nil, errShort
	}
	return public, name, nil
}
