package bootlog

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// algorithms is the table of a crypto-agile log's header: how long the digests of
// each algorithm are.
type algorithms struct {
	count int
	known [MaxBanks]algorithm
}

type algorithm struct {
	bank Bank
	size int
}

// Spec ID Event03 (PFP §10.4.5.1): signature, platform class, version and errata and
// width of UINTN, number of algorithms, algorithms, vendor's information.
const (
	agileSignature = "Spec ID Event03\x00"
	agileFixed     = 16 + 4 + 4 + 4
)

// read takes the table out of the body of a log's first event; agile is false when
// that is not the header of a crypto-agile log. What follows the table (the vendor's
// information) is of no use.
func (t *algorithms) read(body []byte) (agile bool, err error) {
	if !bytes.HasPrefix(body, []byte(agileSignature)) {
		return false, nil
	}
	if len(body) < agileFixed {
		return false, fmt.Errorf("%w: header of %d bytes", ErrForm, len(body))
	}
	n := binary.LittleEndian.Uint32(body[agileFixed-4:])
	if n == 0 || n > MaxBanks || len(body)-agileFixed < 4*int(n) {
		return false, fmt.Errorf("%w: header with %d algorithms", ErrForm, n)
	}
	for i := range int(n) {
		a := body[agileFixed+4*i:]
		bank := Bank(binary.LittleEndian.Uint16(a))
		size := int(binary.LittleEndian.Uint16(a[2:]))
		if s := bank.size(); size == 0 || size > maxDigest || (s != 0 && s != size) || t.sizeOf(bank) != bank.size() {
			return false, fmt.Errorf("%w: header with algorithm %s of %d bytes", ErrForm, bank, size)
		}
		t.known[i] = algorithm{bank, size}
		t.count++
	}
	return true, nil
}

// sizeOf is the length of a digest; 0 when neither the table nor this package
// knows the algorithm.
func (t *algorithms) sizeOf(bank Bank) int {
	for _, a := range t.known[:t.count] {
		if a.bank == bank {
			return a.size
		}
	}
	return bank.size()
}

// banks are the table's algorithms that this package knows.
func (t *algorithms) banks() []Bank {
	banks := make([]Bank, 0, t.count)
	for _, a := range t.known[:t.count] {
		if a.bank.size() != 0 {
			banks = append(banks, a.bank)
		}
	}
	return banks
}

// readEvent reads a TCG_PCR_EVENT2 (PFP §10.2.2) and returns where it ends.
func (t *algorithms) readEvent(b []byte, at int) (e Event, end int, err error) {
	if len(b)-at < 12 {
		return e, 0, cut(at)
	}
	e.PCR = binary.LittleEndian.Uint32(b[at:])
	e.Type = binary.LittleEndian.Uint32(b[at+4:])
	count := binary.LittleEndian.Uint32(b[at+8:])
	if count > MaxBanks {
		return e, 0, fmt.Errorf("%w: %d digests at byte %d", ErrForm, count, at)
	}
	at += 12
	first := at
	for range count {
		if len(b)-at < 2 {
			return e, 0, cut(at)
		}
		bank := Bank(binary.LittleEndian.Uint16(b[at:]))
		size := t.sizeOf(bank)
		if size == 0 {
			return e, 0, fmt.Errorf("%w: unknown algorithm %s at byte %d", ErrForm, bank, at)
		}
		if at += 2; size > len(b)-at {
			return e, 0, cut(at)
		}
		at += size
	}
	e.digests = b[first:at:at]
	if len(b)-at < 4 {
		return e, 0, cut(at)
	}
	size := binary.LittleEndian.Uint32(b[at:])
	at += 4
	if uint64(size) > uint64(len(b)-at) {
		return e, 0, cut(at)
	}
	end = at + int(size)
	e.Body = b[at:end:end]
	return e, end, nil
}

// find returns the digest of a bank among an event's digests, which readEvent
// checked; nil when there is none. The first of several counts: the replay tells
// whether it was the right one.
func (t *algorithms) find(digests []byte, bank Bank) []byte {
	for len(digests) > 2 {
		b := Bank(binary.LittleEndian.Uint16(digests))
		size := t.sizeOf(b)
		if b == bank {
			return digests[2 : 2+size : 2+size]
		}
		digests = digests[2+size:]
	}
	return nil
}
