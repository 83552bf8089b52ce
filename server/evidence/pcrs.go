package evidence

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"muster/attest"
	"muster/attest/bootlog"
)

// maxPCRFile bounds a file of PCR values: four banks of 24 values are a quarter.
const maxPCRFile = 64 << 10

// maxOtherDigest bounds a value of a bank that is not known here.
const maxOtherDigest = 64

// bankOrder is the order in which banks are looked for: first the one that quotes
// are over, so that a log on its own is judged as the server judges it; then by
// strength.
func bankOrder() []bootlog.Bank {
	return []bootlog.Bank{bootlog.SHA256, bootlog.SHA512, bootlog.SHA384, bootlog.SHA1}
}

// bankSize is the length of a bank's digests; 0 for one that is not known.
func bankSize(b bootlog.Bank) int {
	switch b {
	case bootlog.SHA1:
		return 20
	case bootlog.SHA256:
		return 32
	case bootlog.SHA384:
		return 48
	case bootlog.SHA512:
		return 64
	}
	return 0
}

// pcrValues are the values of a file by bank.
type pcrValues struct {
	banks map[bootlog.Bank]*bootlog.Values
	// other are the banks that stand in the file and are not known here.
	other []string
}

// parsePCRs reads PCR values as JSON: {bank: {index: hexadecimal}}. Whatever is
// not of that form is an error that says where: a value that is left out unseen
// would look like one that was never given.
func parsePCRs(b []byte) (*pcrValues, error) {
	if len(b) > maxPCRFile {
		return nil, fmt.Errorf("reading PCR values: more than %d bytes", maxPCRFile)
	}
	var file map[string]map[string]string
	if err := attest.Decode(b, &file); err != nil {
		return nil, fmt.Errorf("reading PCR values: %w", err)
	}
	v := &pcrValues{banks: map[bootlog.Bank]*bootlog.Values{}}
	for name, values := range file {
		bank, unknown := bootlog.ParseBank(name)
		read, err := bankValues(values, bankSize(bank))
		if err != nil {
			return nil, fmt.Errorf("reading PCR values: bank %q, %w", shortened(name), err)
		}
		if unknown != nil {
			v.other = append(v.other, shortened(name))
			continue
		}
		v.banks[bank] = read
	}
	return v, nil
}

var errUneven = errors.New("values have different lengths")

// bankValues reads one bank. size 0 is a bank that is not known: then the form is
// checked, and the lengths are only compared with each other.
func bankValues(values map[string]string, size int) (*bootlog.Values, error) {
	read := new(bootlog.Values)
	first := size
	for text, digits := range values {
		i, err := strconv.Atoi(text)
		if err != nil || i < 0 || i >= bootlog.PCRCount || strconv.Itoa(i) != text {
			return nil, fmt.Errorf("%q: no PCR has this index: use 0 to %d", shortened(text), bootlog.PCRCount-1)
		}
		if len(digits) > 2*maxOtherDigest {
			return nil, fmt.Errorf("PCR %d: a value of %d characters", i, len(digits))
		}
		value, err := hex.DecodeString(digits)
		if err != nil {
			return nil, fmt.Errorf("PCR %d: not hexadecimal: %w", i, err)
		}
		if size != 0 && len(value) != size {
			return nil, fmt.Errorf("PCR %d: %d bytes, not %d", i, len(value), size)
		}
		if first == 0 {
			first = len(value)
		}
		if len(value) == 0 || len(value) != first {
			return nil, fmt.Errorf("PCR %d: %w", i, errUneven)
		}
		read[i] = value
	}
	return read, nil
}

// neverExtended reports whether a PCR has the value that a reset gives it: ones for
// those of a dynamic launch, zeros for all others (PFP §3.3.4, TPM 2.0 Part 1
// §34).
func neverExtended(i int, value []byte) bool {
	zeros, ones := true, i >= 17 && i <= 22
	for _, b := range value {
		zeros, ones = zeros && b == 0, ones && b == 0xff
	}
	return zeros || ones
}

// shortened bounds what somebody else wrote, for an error or a list.
func shortened(s string) string {
	const most = 40
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
