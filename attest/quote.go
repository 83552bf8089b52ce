package attest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
)

// Attestation is one statement of a TPM: the exact TPMS_ATTEST and the AK's
// signature over its SHA-256 as 64 bytes, r then s.
type Attestation struct {
	Attest    Bytes `json:"attest"`
	Signature Bytes `json:"signature"`
}

// Quote is an Attestation of PCR values together with those values.
type Quote struct {
	Attestation
	// PCRs are the values of the SHA-256 bank, exactly those of the selection.
	PCRs PCRs `json:"pcrs"`
	// LogSHA256 names the boot log that explains them; zero when there is none.
	LogSHA256 Digest `json:"log_sha256,omitzero"`
}

// PCRs are SHA-256 values by PCR index.
type PCRs map[uint8]Digest

// Selection returns the PCRs that every quote covers, in order: 0 to 9 and 11 to
// 15. PCR 10 moves with the kernel's integrity log and is never asked for.
func Selection() []uint8 {
	return []uint8{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15}
}

// selectionBytes is that selection as TPML_PCR_SELECTION.
var selectionBytes = [...]byte{0, 0, 0, 1, 0x00, 0x0b, 3, 0xff, 0xfb, 0x00}

// Statement is what a TPM said in a TPMS_ATTEST (TPM 2.0 Part 2 §10.12.8).
type Statement struct {
	Type      uint16 // TPM_ST_ATTEST_QUOTE or TPM_ST_ATTEST_CERTIFY
	Signer    []byte // qualified name of the signing key
	Extra     []byte // QualifyingData
	Clock     Clock
	Firmware  uint64
	Selection []byte // quote: TPML_PCR_SELECTION, as signed
	Digest    []byte // quote: pcrDigest
	Name      []byte // certify: Name of the certified key
}

// The two structures that we ask for (TPM 2.0 Part 2 §6.9).
const (
	magicGenerated = 0xff544347
	attestQuote    = 0x8018
	attestCertify  = 0x8017
)

// ParseStatement reads one whole TPMS_ATTEST of a quote or certify. It checks
// what go-tpm v0.9.8 does not: the magic value, the type and that nothing
// trails. The result points into b.
func ParseStatement(b []byte) (*Statement, error) {
	if len(b) > MaxAttest {
		return nil, refuse(TooLarge, "attest structure of %d bytes", len(b))
	}
	if len(b) < 6 {
		return nil, refuse(AttestForm, "attest structure of %d bytes", len(b))
	}
	if binary.BigEndian.Uint32(b) != magicGenerated {
		return nil, refuse(AttestMagic, "magic is %x", b[:4])
	}
	s := &Statement{Type: binary.BigEndian.Uint16(b[4:])}
	var ok bool
	if s.Signer, b, ok = sized(b[6:]); !ok {
		return nil, refuse(AttestForm, "qualified signer is cut")
	}
	if s.Extra, b, ok = sized(b); !ok || len(b) < 25 || b[16] > 1 {
		return nil, refuse(AttestForm, "extra data or clock is cut")
	}
	s.Clock = Clock{
		Clock:        binary.BigEndian.Uint64(b),
		ResetCount:   binary.BigEndian.Uint32(b[8:]),
		RestartCount: binary.BigEndian.Uint32(b[12:]),
		Safe:         b[16] == 1,
	}
	s.Firmware = binary.BigEndian.Uint64(b[17:])
	b = b[25:]
	switch s.Type {
	case attestQuote:
		ok = s.quoted(b)
	case attestCertify:
		ok = s.certified(b)
	default:
		return nil, refuse(AttestType, "type is %04x", s.Type)
	}
	if !ok {
		return nil, refuse(AttestForm, "attested part is not whole")
	}
	return s, nil
}

func (s *Statement) quoted(b []byte) (ok bool) {
	if len(b) < 4 {
		return false
	}
	n, end := int(binary.BigEndian.Uint32(b)), 4
	if n > 16 {
		return false
	}
	for range n {
		if len(b) < end+3 || len(b) < end+3+int(b[end+2]) {
			return false
		}
		end += 3 + int(b[end+2])
	}
	s.Selection = b[:end]
	s.Digest, b, ok = sized(b[end:])
	return ok && len(b) == 0
}

func (s *Statement) certified(b []byte) (ok bool) {
	if s.Name, b, ok = sized(b); !ok {
		return false
	}
	_, b, ok = sized(b) // qualified name
	return ok && len(b) == 0
}

// Measured is what a checked quote proves.
type Measured struct {
	Clock    Clock
	Firmware uint64
	PCRs     PCRs
	LogSHA   Digest
}

// CheckQuote establishes that the AK's TPM stated exactly these PCR values for
// exactly this QualifyingData (SPEC.md §5.2).
func CheckQuote(q *Quote, ak *Key, qualifying Digest) (*Measured, error) {
	s, err := checked(q.Attestation, ak, attestQuote, qualifying)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(s.Selection, selectionBytes[:]) {
		return nil, refuse(PCRSelection, "selection is %x", s.Selection)
	}
	selection := Selection()
	if len(q.PCRs) != len(selection) {
		return nil, refuse(PCRValues, "%d values for %d PCRs", len(q.PCRs), len(selection))
	}
	values := make([]byte, 0, len(selection)*sha256.Size)
	for _, i := range selection {
		value, ok := q.PCRs[i]
		if !ok {
			return nil, refuse(PCRValues, "PCR %d has no value", i)
		}
		values = append(values, value[:]...)
	}
	if sum := sha256.Sum256(values); !bytes.Equal(sum[:], s.Digest) {
		return nil, refuse(PCRDigest, "values do not hash to the quoted digest")
	}
	return &Measured{Clock: s.Clock, Firmware: s.Firmware, PCRs: q.PCRs, LogSHA: q.LogSHA256}, nil
}

// CheckCertify establishes that the AK's TPM holds the key with that Name
// (TPM 2.0 Part 3 §18.2).
func CheckCertify(a Attestation, ak *Key, qualifying Digest, name []byte) (Clock, error) {
	s, err := checked(a, ak, attestCertify, qualifying)
	if err != nil {
		return Clock{}, err
	}
	if len(name) == 0 || !bytes.Equal(s.Name, name) {
		return Clock{}, refuse(CertifyName, "certified name is %x", s.Name)
	}
	return s.Clock, nil
}

// checked verifies form, type, signature and binding, in this order.
func checked(a Attestation, ak *Key, want uint16, qualifying Digest) (*Statement, error) {
	s, err := ParseStatement(a.Attest)
	if err != nil {
		return nil, err
	}
	if s.Type != want {
		return nil, refuse(AttestType, "type is %04x, not %04x", s.Type, want)
	}
	if ak == nil || ak.Role != AK {
		return nil, refuse(KeyRole, "no AK to check with")
	}
	sum := sha256.Sum256(a.Attest)
	if !verifyRaw(ak.Public, sum, a.Signature) {
		return nil, refuse(QuoteSignature, "not signed by the AK")
	}
	if qualifying.IsZero() || !bytes.Equal(s.Extra, qualifying[:]) {
		return nil, refuse(QuoteUnbound, "QualifyingData is %x", s.Extra)
	}
	return s, nil
}

// CheckLog establishes that a boot log is the one that a quote came with. Whether
// it explains the quoted values is for its judge to say.
func CheckLog(log []byte, announced Digest) error {
	if len(log) > MaxBootLog {
		return refuse(TooLarge, "boot log of %d bytes", len(log))
	}
	if announced.IsZero() || sha256.Sum256(log) != announced {
		return refuse(LogDigest, "boot log is not the announced one")
	}
	return nil
}
