package bootlog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// tag makes a tagged event, or an aggregation of such.
func tag(id uint32, parts ...[]byte) []byte {
	data := slices.Concat(parts...)
	b := binary.LittleEndian.AppendUint32(nil, id)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

// spelled is what taggedEvents tells, in words.
func spelled(b []byte) (said string, ok bool) {
	var all []string
	ok = taggedEvents(b, func(id, around uint32, data []byte) {
		all = append(all, fmt.Sprintf("%x/%x:%x", around, id, data))
	})
	return strings.Join(all, " "), ok
}

func TestTaggedEvents(t *testing.T) {
	leaf := tag(0x50003, []byte{1})
	nested := func(depth int) []byte {
		b := leaf
		for range depth {
			b = tag(sipaTrustBoundary, b)
		}
		return b
	}
	tests := []struct {
		name string
		b    []byte
		want string
		ok   bool
	}{
		{"nothing", nil, "", true},
		{"one", leaf, "0/50003:01", true},
		{"two", slices.Concat(leaf, tag(0x20002)), "0/50003:01 0/20002:", true},
		{"in a boundary", tag(sipaTrustBoundary, leaf), "40010001/50003:01", true},
		{"in two", tag(sipaTrustBoundary, tag(sipaELAM, leaf), leaf), "40010002/50003:01 40010001/50003:01", true},
		{"empty boundary", tag(sipaTrustBoundary), "", true},
		{"empty boundaries", slices.Concat(tag(sipaTrustBoundary, tag(sipaELAM)), leaf), "0/50003:01", true},
		{"as deep as may be", nested(maxNesting - 1), "40010001/50003:01", true},
		{"not measured, so not looked into", tag(0xc0010004, []byte{1, 2, 3}), "0/c0010004:010203", true},
		{"a container that is no aggregation", tag(0x00010001, leaf), "0/10001:" + fmt.Sprintf("%x", leaf), true},
		{"an aggregation that is no container", tag(0x40020001, leaf), "0/40020001:" + fmt.Sprintf("%x", leaf), true},

		{"too deep", nested(maxNesting), "", false},
		{"cut head", leaf[:7], "", false},
		{"cut data", leaf[:8], "", false},
		{"a byte too many", append(bytes.Clone(leaf), 0), "0/50003:01", false},
		{"longest length", binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, 0x50003), 0xffffffff), "", false},
		{"longest aggregation", binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, sipaTrustBoundary), 0xffffffff), "", false},
		{"inner beyond outer", append(tag(sipaTrustBoundary, tag(0x50003, []byte{1, 2}))[:17], 9, 9, 9), "", false},
	}
	for _, test := range tests {
		if test.name == "inner beyond outer" {
			binary.LittleEndian.PutUint32(test.b[4:], 9) // the outer one ends within the inner
		}
		said, ok := spelled(test.b)
		if ok != test.ok || said != test.want {
			t.Errorf("%s: %q, %v; want %q, %v", test.name, said, ok, test.want, test.ok)
		}
	}
}

func TestTaggedEventsAllocateNothing(t *testing.T) {
	b := tag(sipaTrustBoundary, tag(sipaELAM, tag(1, make([]byte, 99))), tag(0x50003, []byte{1}))
	n := 0
	if got := testing.AllocsPerRun(50, func() {
		taggedEvents(b, func(_, _ uint32, data []byte) { n += len(data) })
	}); got != 0 || n == 0 {
		t.Errorf("%v allocations, %d bytes seen", got, n)
	}
}

// recursive is taggedEvents written the short way, for input that fits its stack.
func recursive(b []byte, around uint32, depth int, each func(id, around uint32, data []byte)) bool {
	if depth == maxNesting {
		return false
	}
	for len(b) > 0 {
		if len(b) < taggedHead || uint64(binary.LittleEndian.Uint32(b[4:])) > uint64(len(b)-taggedHead) {
			return false
		}
		id, end := binary.LittleEndian.Uint32(b), taggedHead+int(binary.LittleEndian.Uint32(b[4:]))
		data := b[taggedHead:end]
		b = b[end:]
		if id&0xc00f0000 != 0x40010000 {
			each(id, around, data)
		} else if !recursive(data, id, depth+1, each) {
			return false
		}
	}
	return true
}

func FuzzTaggedEvents(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(tag(0x50003, []byte{1}))
	f.Add(tag(sipaTrustBoundary, tag(sipaELAM, tag(sipaELAMKeyName, []byte("W\x00"))), tag(0x50002, []byte{1})))
	f.Add(tag(sipaTrustBoundary, tag(sipaTrustBoundary), []byte{1, 2, 3}))
	f.Add(bytes.Repeat([]byte{1, 0, 1, 0x40, 0, 0, 0, 0}, 20))
	f.Add(tag(0xc0010004, tag(sipaTrustBoundary, []byte{1})))
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		var want, got []string
		spell := func(to *[]string) func(id, around uint32, data []byte) {
			return func(id, around uint32, data []byte) {
				*to = append(*to, fmt.Sprintf("%x/%x:%x", around, id, data))
			}
		}
		wanted := recursive(b, 0, 0, spell(&want))
		ok := taggedEvents(b, spell(&got))
		if ok != wanted || !slices.Equal(got, want) {
			t.Fatalf("%v %q\nwant %v %q", ok, got, wanted, want)
		}
	})
}
