package tpm

import (
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

// The NV indices in which a certificate chain may stand: one stream of DER, cut
// into indices in ascending order (TCG EK Credential Profile 2.5 §2.2.1.5.2).
const (
	chainFirst = 0x01c00100
	chainLast  = 0x01c001ff
)

const (
	maxNV = 2 * attest.MaxCertificate // an index is often larger than what it holds
	// leastNVBuffer is what any TPM returns at once; those that return more say so.
	leastNVBuffer = 512
)

// certificate reads the DER certificate at an NV index, without what pads it;
// nil when there is none.
func (c *chip) certificate(index uint32) ([]byte, error) {
	b, err := c.readNV(index)
	if err != nil || b == nil {
		return nil, err
	}
	return firstDER(b), nil
}

// chain reads the certificates that a manufacturer left beside the EK's.
func (c *chip) chain() ([]attest.Bytes, error) {
	handles, err := c.handles(chainFirst, chainLast-chainFirst+1)
	if err != nil {
		return nil, err
	}
	var stream []byte
	for _, handle := range handles {
		if handle < chainFirst || handle > chainLast || len(stream) > attest.MaxChain*attest.MaxCertificate {
			break
		}
		b, err := c.readNV(uint32(handle))
		if err != nil {
			return nil, err
		}
		stream = append(stream, b...)
	}
	return splitDER(stream), nil
}

// readNV reads an NV index with the index's own empty authorisation; nil when
// there is no such index, or the TPM does not let it be read so.
func (c *chip) readNV(index uint32) ([]byte, error) {
	data, err := c.mustReadNV(index)
	var rc tpm2.TPMRC
	if errors.As(err, &rc) && !isTransient(rc) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("NV index %08x: %w", index, err)
	}
	return data, nil
}

func (c *chip) mustReadNV(index uint32) ([]byte, error) {
	size, name, err := c.readNVPublic(index)
	if err != nil || size > maxNV {
		return nil, err
	}
	var data []byte
	for len(data) < int(size) {
		rsp, err := tpm2.NVRead{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(index), Name: name, Auth: tpm2.PasswordAuth(nil)},
			NVIndex:    tpm2.NamedHandle{Handle: tpm2.TPMHandle(index), Name: name},
			Size:       min(leastNVBuffer, size-uint16(len(data))),
			Offset:     uint16(len(data)),
		}.Execute(c.wire)
		if err != nil {
			return nil, err
		}
		if len(rsp.Data.Buffer) == 0 {
			return nil, errors.New("it ends early")
		}
		data = append(data, rsp.Data.Buffer...)
	}
	return data, nil
}

// TPMA_NV bits (TPM 2.0 Part 2 §13.4).
const (
	nvAuthRead = 1 << 18
	nvWritten  = 1 << 29
)

// readNVPublic is TPM2_NV_ReadPublic (Part 3 §31.6). The size is zero where there is
// nothing that we may read.
func (c *chip) readNVPublic(index uint32) (size uint16, name tpm2.TPM2BName, err error) {
	f, err := c.plain(tpm2.TPMCCNVReadPublic, words(index))
	if err != nil {
		return 0, name, err
	}
	public := &fields{rest: f.sized()}
	public.uint32() // index
	public.uint16() // name algorithm
	attributes := public.uint32()
	public.sized() // policy
	size = public.uint16()
	name.Buffer = f.sized()
	if f.short || public.short {
		return 0, name, errShort
	}
	if attributes&nvAuthRead == 0 || attributes&nvWritten == 0 {
		size = 0
	}
	return size, name, nil
}

// firstDER returns the certificate at the start of b, by its own length; nil
// when there is none of an accepted size.
func firstDER(b []byte) []byte {
	const sequence = 0x30
	if len(b) == 0 || b[0] != sequence {
		return nil
	}
	var value asn1.RawValue
	if _, err := asn1.Unmarshal(b, &value); err != nil || len(value.FullBytes) > attest.MaxCertificate {
		return nil
	}
	return value.FullBytes
}

// splitDER takes a stream of certificates apart, up to padding or nonsense.
func splitDER(b []byte) (list []attest.Bytes) {
	for len(list) < attest.MaxChain {
		der := firstDER(b)
		if der == nil {
			return list
		}
		list = append(list, der)
		b = b[len(der):]
	}
	return list
}
