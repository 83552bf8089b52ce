package tpm

import (
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

// selection selects PCRs of the SHA-256 bank, in the one form that verifiers
// accept: three bytes of bits.
func selection(pcrs ...uint8) tpm2.TPMLPCRSelection {
	wide := make([]uint, len(pcrs))
	for i, pcr := range pcrs {
		wide[i] = uint(pcr)
	}
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
		{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(wide...)},
	}}
}

// selected is that selection as TPML_PCR_SELECTION.
func selected(pcrs ...uint8) []byte {
	b := []byte{0, 0, 0, 1, 0x00, 0x0b, 3, 0, 0, 0}
	for _, pcr := range pcrs {
		b[7+pcr/8] |= 1 << (pcr % 8)
	}
	return b
}

// read returns PCR values of the SHA-256 bank. A TPM returns eight at a time, so
// values may move between: what is built on them must be checked against a quote
// or a policy.
func (c *chip) read(pcrs ...uint8) (attest.PCRs, error) {
	values := attest.PCRs{}
	for len(pcrs) > 0 {
		got, err := c.readSome(selected(pcrs...))
		if err != nil {
			return nil, err
		}
		if len(got) == 0 {
			return nil, fmt.Errorf("%w with a SHA-256 PCR bank: enable it in the firmware", attest.ErrAbsent)
		}
		if len(got) > len(pcrs) {
			return nil, fmt.Errorf("asked for %d PCRs, got %d", len(pcrs), len(got))
		}
		for i, value := range got {
			if len(value) != len(attest.Digest{}) {
				return nil, fmt.Errorf("PCR value of %d bytes", len(value))
			}
			values[pcrs[i]] = attest.Digest(value)
		}
		pcrs = pcrs[len(got):]
	}
	return values, nil
}

// readSome is TPM2_PCR_Read (TPM 2.0 Part 3 §22.4): the first values of a
// selection, as many as the TPM returns at once.
func (c *chip) readSome(selection []byte) ([][]byte, error) {
	f, err := c.plain(tpm2.TPMCCPCRRead, selection)
	if err != nil {
		return nil, err
	}
	f.uint32() // of updates
	for range f.count(3) {
		f.uint16() // bank
		f.take(int(f.uint8()))
	}
	values := make([][]byte, f.count(2))
	for i := range values {
		values[i] = f.sized()
	}
	if f.short {
		return nil, errShort
	}
	return values, nil
}
