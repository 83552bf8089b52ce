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

// read returns PCR values of the SHA-256 bank. A TPM returns eight at a time, so
// values may move between: what is built on them must be checked against a quote
// or a policy.
func (c *chip) read(pcrs ...uint8) (attest.PCRs, error) {
	values := attest.PCRs{}
	for len(pcrs) > 0 {
		rsp, err := tpm2.PCRRead{PCRSelectionIn: selection(pcrs...)}.Execute(c.wire)
		if err != nil {
			return nil, err
		}
		got := rsp.PCRValues.Digests
		if len(got) == 0 {
			return nil, fmt.Errorf("%w with a SHA-256 PCR bank: enable it in the firmware", attest.ErrAbsent)
		}
		if len(got) > len(pcrs) {
			return nil, fmt.Errorf("asked for %d PCRs, got %d", len(pcrs), len(got))
		}
		for i, value := range got {
			if len(value.Buffer) != len(attest.Digest{}) {
				return nil, fmt.Errorf("PCR value of %d bytes", len(value.Buffer))
			}
			values[pcrs[i]] = attest.Digest(value.Buffer)
		}
		pcrs = pcrs[len(got):]
	}
	return values, nil
}
