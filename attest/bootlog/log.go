package bootlog

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Limits on a log.
const (
	MaxLog         = 4 << 20
	MaxEvents      = 8192
	MaxBanks       = 8
	MaxCommandLine = 4096
	// PCRCount is how many PCRs a PC Client TPM has.
	PCRCount = 24
)

// Bank names a bank of PCRs by its hash: TPM_ALG_ID (TPM 2.0 Part 2 §6.3).
type Bank uint16

// The banks that are replayed; digests of others are skipped.
const (
	SHA1   Bank = 0x0004
	SHA256 Bank = 0x000b
	SHA384 Bank = 0x000c
	SHA512 Bank = 0x000d
)

// Status is how far a log explains one PCR. The zero value is not told.
type Status uint8

// Match: the events replay to the value. Mismatch: they do not. Unlogged: the PCR
// was extended and the log has no event of it. Empty: never extended, and no event
// says that it was.
const (
	NotTold Status = iota
	Match
	Mismatch
	Unlogged
	Empty
)

// Log is a read log. Bodies and digests point into the bytes that were parsed.
type Log struct {
	// Agile tells the crypto-agile format from SHA-1's.
	Agile bool
	Banks []Bank // in the log's order, known ones
	// Events are all events as logged; in the crypto-agile format the first is the
	// header, which has no digest of any bank.
	Events []Event

	table algorithms // empty in SHA-1's format
}

// Event is one measurement (TCG_PCR_EVENT2, PFP §10.2.2). Nothing of it but the
// digests was measured.
type Event struct {
	PCR  uint32 // as logged; no PCR of a TPM when PCRCount or more
	Type uint32 // as logged: never believed
	Body []byte

	digests []byte // as logged, one after the other
}

// Values are the PCR values of one bank; nil where none was given.
type Values [PCRCount][]byte

// ErrForm: the bytes are no log, or a log that is cut, or beyond a limit.
var ErrForm = errors.New("not a whole TCG event log")

// noAction is EV_NO_ACTION (PFP §10.4.1): what is logged and was not extended. It is
// the one type that is looked at, and the replay proves it: an event that is dropped
// by this label was not in the PCR, or the value does not come out.
const noAction = 0x00000003

// headSHA1 is the length of TCG_PCClientPCREvent before its body (PFP §10.2.1).
const headSHA1 = 4 + 4 + 20 + 4

// Parse reads the structure of a log of either format. It checks no digest.
// Bodies are not looked into, so that what is odd in one spoils nothing else. Bytes
// of zero, or of 0xFF, after the last event are padding. Errors are [ErrForm] with
// the place.
func Parse(b []byte) (*Log, error) {
	if len(b) > MaxLog {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrForm, len(b), MaxLog)
	}
	l := &Log{}
	head, at, err := readSHA1(b, 0)
	if err != nil {
		return nil, fmt.Errorf("event 0: %w", err)
	}
	if l.Agile, err = l.table.read(head.Body); err != nil {
		return nil, err
	}
	l.Banks = []Bank{SHA1}
	if l.Agile {
		// The header's digest is of nothing, and of no bank.
		head.digests = nil
		l.Banks = l.table.banks()
	}
	end := len(b) - padding(b)
	// The first pass counts, so that the second allocates once.
	count, err := l.walk(b, at, end)
	if err != nil {
		return nil, err
	}
	l.Events = make([]Event, 1, 1+count)
	l.Events[0] = head
	_, err = l.walk(b, at, end)
	return l, err
}

// walk counts the events that begin from at on and before end; it keeps them when
// there is room for them already.
func (l *Log) walk(b []byte, at, end int) (count int, err error) {
	keep := cap(l.Events) > 0
	for at < end {
		if count++; count >= MaxEvents {
			return 0, fmt.Errorf("%w: more than %d events", ErrForm, MaxEvents)
		}
		var e Event
		if l.Agile {
			e, at, err = l.table.readEvent(b, at)
		} else {
			e, at, err = readSHA1(b, at)
		}
		if err != nil {
			return 0, fmt.Errorf("event %d: %w", count, err)
		}
		if keep {
			l.Events = append(l.Events, e)
		}
	}
	return count, nil
}

// padding counts the bytes of zero, or of 0xFF, at the end. The last event's body
// may end in such bytes too: they are padding only where an event would begin.
func padding(b []byte) int {
	n := 0
	for n < len(b) {
		c := b[len(b)-1-n]
		if c != b[len(b)-1] || (c != 0x00 && c != 0xff) {
			break
		}
		n++
	}
	return n
}

// readSHA1 reads a TCG_PCClientPCREvent (PFP §10.2.1) and returns where it ends.
func readSHA1(b []byte, at int) (e Event, end int, err error) {
	if len(b)-at < headSHA1 {
		return e, 0, cut(at)
	}
	h := b[at : at+headSHA1]
	e.PCR = binary.LittleEndian.Uint32(h)
	e.Type = binary.LittleEndian.Uint32(h[4:])
	e.digests = h[8:28:28]
	size := binary.LittleEndian.Uint32(h[28:])
	at += headSHA1
	if uint64(size) > uint64(len(b)-at) {
		return e, 0, cut(at)
	}
	end = at + int(size)
	e.Body = b[at:end:end]
	return e, end, nil
}

// cut is the error of a log that ends before an event does.
func cut(at int) error { return fmt.Errorf("%w: cut at byte %d", ErrForm, at) }

// Digest returns an event's digest in a bank; nil when it has none.
func (l *Log) Digest(e *Event, bank Bank) []byte {
	if !l.Agile {
		if bank != SHA1 {
			return nil
		}
		return e.digests
	}
	return l.table.find(e.digests, bank)
}
