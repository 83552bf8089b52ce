package bootlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
)

// oldEvent is one event of SHA-1's format.
func oldEvent(pcr, kind uint32, measured, body []byte) []byte {
	var sum [maxDigest]byte
	le := binary.LittleEndian
	b := le.AppendUint32(le.AppendUint32(nil, pcr), kind)
	b = append(b, SHA1.sum(&sum, measured)...)
	return append(le.AppendUint32(b, uint32(len(body))), body...)
}

// header is the first event of a crypto-agile log with a table of algorithms.
func header(table ...uint16) []byte {
	le := binary.LittleEndian
	body := append([]byte(agileSignature), 0, 0, 0, 0, 0, 2, 0, 2)
	body = le.AppendUint32(body, uint32(len(table)/2))
	for _, x := range table {
		body = le.AppendUint16(body, x)
	}
	return oldEvent(0, noAction, nil, append(body, 0))
}

func TestParseFormats(t *testing.T) {
	head := header(0x04, 20, 0x0b, 32, 0x12, 32)
	event := func(algs ...uint16) []byte {
		le := binary.LittleEndian
		b := le.AppendUint32(le.AppendUint32(nil, 7), kindSeparator)
		b = le.AppendUint32(b, uint32(len(algs)))
		for _, a := range algs {
			size := map[uint16]int{0x04: 20, 0x0b: 32, 0x0c: 48, 0x12: 32}[a]
			b = append(le.AppendUint16(b, a), bytes.Repeat([]byte{byte(a)}, size)...)
		}
		return append(le.AppendUint32(b, 4), 0, 0, 0, 0)
	}
	tests := []struct {
		name   string
		log    []byte
		agile  bool
		banks  []Bank
		events int
	}{
		{"agile, header alone", head, true, []Bank{SHA1, SHA256}, 1},
		{"agile", slices.Concat(head, event(0x04, 0x0b, 0x12), event(0x0b)), true, []Bank{SHA1, SHA256}, 3},
		{"an event without a digest", slices.Concat(head, event(), event(0x0b)), true, []Bank{SHA1, SHA256}, 3},
		{"an algorithm that the table forgot", slices.Concat(head, event(0x0c)), true, []Bank{SHA1, SHA256}, 2},
		{"padding of zeros", slices.Concat(head, event(0x0b), make([]byte, 4000)), true, []Bank{SHA1, SHA256}, 2},
		{"padding of ones", slices.Concat(head, event(0x0b), bytes.Repeat([]byte{0xff}, 4001)), true, []Bank{SHA1, SHA256}, 2},
		{"SHA-1, no header", oldEvent(0, 8, []byte("x"), []byte("x")), false, []Bank{SHA1}, 1},
		{"SHA-1, header", append(oldEvent(0, noAction, nil, []byte("Spec ID Event02\x00")), oldEvent(7, 4, nil, nil)...), false, []Bank{SHA1}, 2},
		{"SHA-1, padding", append(oldEvent(0, 8, nil, []byte("xy")), make([]byte, 100)...), false, []Bank{SHA1}, 1},
		{"a PCR that no TPM has", append(bytes.Clone(head), write([]made{bound(0xffffffff, 6, nil)})[len(header(0x0b, 32)):]...), true, []Bank{SHA1, SHA256}, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := parsed(t, test.log)
			if l.Agile != test.agile || !slices.Equal(l.Banks, test.banks) || len(l.Events) != test.events {
				t.Errorf("agile %v, banks %v, %d events", l.Agile, l.Banks, len(l.Events))
			}
		})
	}
	e := &parsed(t, slices.Concat(head, event(0x12, 0x0b))).Events[1]
	l := parsed(t, slices.Concat(head, event(0x12, 0x0b)))
	if d := l.Digest(e, SHA256); !bytes.Equal(d, bytes.Repeat([]byte{0x0b}, 32)) || l.Digest(e, SHA1) != nil || l.Digest(e, 0x1234) != nil {
		t.Errorf("digest %x", d)
	}
}

func TestParseRefuses(t *testing.T) {
	head := header(0x0b, 32)
	whole := write([]made{parting(7), bound(7, kindAction, []byte("some body"))})
	bodyOf := func(n uint32, b []byte) []byte {
		c := bytes.Clone(whole[:len(head)])
		c = append(c, 7, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0x0b, 0)
		c = append(c, bytes.Repeat([]byte{1}, 32)...)
		return append(binary.LittleEndian.AppendUint32(c, n), b...)
	}
	le := binary.LittleEndian
	count := func(n uint32) []byte {
		return append(le.AppendUint32(append(bytes.Clone(head), 7, 0, 0, 0, 4, 0, 0, 0), n), bytes.Repeat([]byte{0x0b}, 400)...)
	}
	tests := []struct {
		name, says string
		log        []byte
	}{
		{"nothing", "cut at byte 0", nil},
		{"one byte", "cut at byte 0", []byte{1}},
		{"a first event that is cut", "cut at byte 32", oldEvent(0, 8, nil, []byte("body"))[:34]},
		{"a header without its table", "header of 20 bytes", oldEvent(0, noAction, nil, []byte(agileSignature+"abcd"))},
		{"no algorithm", "header with 0 algorithms", header()},
		{"too many algorithms", "header with 9 algorithms", header(1, 1, 2, 1, 3, 1, 20, 1, 5, 1, 6, 1, 7, 1, 8, 1, 9, 1)},
		{"a table that is cut", "header with 2 algorithms", oldEvent(0, noAction, nil, slices.Concat([]byte(agileSignature), make([]byte, 8), []byte{2, 0, 0, 0, 4, 0, 20, 0}))},
		{"SHA-256 of 20 bytes", "sha256 of 20 bytes", header(0x0b, 20)},
		{"an algorithm of no bytes", "0x0012 of 0 bytes", header(0x12, 0)},
		{"an algorithm of 65 bytes", "0x0012 of 65 bytes", header(0x12, 65)},
		{"an algorithm twice, of two sizes", "0x0012 of 48 bytes", header(0x12, 32, 0x12, 48)},
		{"an unknown algorithm", "unknown algorithm 0x0999", append(le.AppendUint16(append(bytes.Clone(head), 7, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0), 0x0999), make([]byte, 40)...)},
		{"more digests than banks", "9 digests", count(9)},
		{"four billion digests", "4294967295 digests", count(0xffffffff)},
		{"a body that is longer than the log", "cut at byte", bodyOf(5, []byte{1, 2, 3, 4})},
		{"a body of four gigabytes", "cut at byte", bodyOf(0xffffffff, []byte{1, 2, 3, 4})},
		{"bytes after the end", "event 3: not a whole TCG event log: cut", append(bytes.Clone(whole), 1)},
		{"mixed padding", "event 3", append(bytes.Clone(whole), 0, 0, 0xff, 0xff)},
		{"too long", "more than", make([]byte, MaxLog+1)},
		{"too many events", "more than 8192 events", append(bytes.Clone(head), bytes.Repeat(whole[len(head):], MaxEvents/2+1)...)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l, err := Parse(test.log)
			if l != nil || !errors.Is(err, ErrForm) {
				t.Fatalf("%v, %v", l, err)
			}
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v does not say %q", err, test.says)
			}
		})
	}
	// Every cut of a log is refused, or is between two events.
	for cut := range len(whole) {
		l, err := Parse(whole[:cut])
		if err == nil && len(l.Events) == 3 {
			t.Errorf("cut at %d of %d is a whole log", cut, len(whole))
		}
		if err != nil && !errors.Is(err, ErrForm) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
}

// TestParseMany asserts the largest log that is read.
func TestParseMany(t *testing.T) {
	events := make([]made, MaxEvents-1)
	for i := range events {
		events[i] = made{pcr: uint32(i % 30), kind: 6}
	}
	if l := parsed(t, write(events)); len(l.Events) != MaxEvents {
		t.Error(len(l.Events))
	}
}

func TestBankNames(t *testing.T) {
	for _, bank := range []Bank{SHA1, SHA256, SHA384, SHA512} {
		text, err := bank.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseBank(string(text)); err != nil || got != bank {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, name := range []string{"", "SHA256", "sha-256", "0x000b", "sm3"} {
		if got, err := ParseBank(name); err == nil || got != 0 {
			t.Errorf("%q: %v", name, got)
		}
	}
	if got := Bank(0x12).String(); got != "0x0012" {
		t.Error(got)
	}
	for status, name := range []string{"not-told", "match", "mismatch", "unlogged", "empty"} {
		if text, err := Status(status).MarshalText(); err != nil || string(text) != name {
			t.Errorf("%d: %s, %v", status, text, err)
		}
	}
}
