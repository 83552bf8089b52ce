package tpm

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

// answering is a chip that answers every command with these parameters.
func answering(parameters []byte) *chip {
	response := binary.BigEndian.AppendUint32([]byte{0x80, 1}, uint32(headerSize+len(parameters)))
	response = append(append(response, 0, 0, 0, 0), parameters...)
	link := fakeLink(func([]byte) ([]byte, error) { return response, nil })
	c := newChip(machine{link: link}, Config{})
	c.wire.ctx, c.wire.limit = context.Background(), time.Second
	return c
}

func clockParameters() []byte {
	b := binary.BigEndian.AppendUint64(nil, 5)
	b = binary.BigEndian.AppendUint64(b, 7)
	return append(b, 0, 0, 0, 3, 0, 0, 0, 2, 1)
}

func TestPlainAnswersAreWhole(t *testing.T) {
	if got, err := answering(clockParameters()).clock(); err != nil || got != (attest.Clock{Clock: 7, ResetCount: 3, RestartCount: 2, Safe: true}) {
		t.Errorf("clock %+v, %v", got, err)
	}
	whole := map[string]struct {
		parameters []byte
		read       func(*chip) error
	}{
		"clock": {clockParameters(), func(c *chip) error { _, err := c.clock(); return err }},
		"handles": {append([]byte{0, 0, 0, 0, 1}, words(2, 0x80000000, 0x80000001)...),
			func(c *chip) error { _, err := c.handles(0x80000000, 9); return err }},
		"properties": {append([]byte{0, 0, 0, 0, 6}, words(1, uint32(tpm2.TPMPTManufacturer), 0x49424d20)...),
			func(c *chip) error { _, err := c.describe(); return err }},
		"PCR": {append(append(words(9), selected(7)...), append([]byte{0, 0, 0, 1, 0, 32}, make([]byte, 32)...)...),
			func(c *chip) error { _, err := c.read(7); return err }},
		"NV public": {append([]byte{0, 14, 1, 0xc0, 0, 2, 0, 11, 0x20, 4, 0, 0, 0, 0, 1, 0}, 0, 2, 6, 6),
			func(c *chip) error { _, _, err := c.readNVPublic(1); return err }},
		"public": {[]byte{0, 1, 5, 0, 2, 6, 6}, func(c *chip) error { _, _, err := c.readPublic(1); return err }},
	}
	for name, w := range whole {
		if err := w.read(answering(w.parameters)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for cut := range len(w.parameters) {
			if err := w.read(answering(w.parameters[:cut])); err == nil {
				t.Errorf("%s cut to %d bytes is read", name, cut)
			}
		}
	}
	many := append([]byte{0, 0, 0, 0, 1}, words(0xffffffff, 1)...)
	if list, err := answering(many).handles(0, 9); err == nil || cap(list) > 0 {
		t.Errorf("four thousand million handles in one answer: %v", err)
	}
	other := append([]byte{0, 0, 0, 0, 6}, words(0)...)
	if _, err := answering(other).handles(0, 9); err == nil {
		t.Error("properties pass for handles")
	}
	if _, err := answering(append(words(0, 0), 0, 0, 0, 0)).read(7); !errors.Is(err, attest.ErrAbsent) {
		t.Errorf("no SHA-256 bank: %v", err)
	}
}

// No answer of a chip, however strange, panics, is taken for more than it holds,
// or yields a PCR value of another length.
func FuzzPlainAnswers(f *testing.F) {
	f.Add(clockParameters())
	f.Add(append([]byte{0, 0, 0, 0, 1}, words(2, 0x80000000, 0x80000001)...))
	f.Add(append([]byte{0, 0, 0, 0, 6}, words(1, uint32(tpm2.TPMPTManufacturer), 0x49424d20)...))
	f.Add(append(append(words(9), selected(7)...), append([]byte{0, 0, 0, 1, 0, 32}, make([]byte, 32)...)...))
	f.Add([]byte{0, 1, 5, 0, 2, 6, 6})
	f.Add(append([]byte{0, 14, 1, 0xc0, 0, 2, 0, 11, 0x20, 4, 0, 0, 0, 0, 1, 0}, 0, 2, 6, 6))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxResponse-headerSize {
			return
		}
		c := answering(b)
		if _, err := c.clock(); err == nil && len(b) < 25 {
			t.Error("a clock out of nothing")
		}
		if list, err := c.handles(0, 64); err == nil && 4*len(list) > len(b) {
			t.Errorf("%d handles in %d bytes", len(list), len(b))
		}
		if public, name, err := c.readPublic(1); err == nil && 4+len(public)+len(name) > len(b) {
			t.Error("a public area that is longer than the answer")
		}
		if values, err := c.read(7); err == nil && len(values) != 1 {
			t.Errorf("%d values of one PCR", len(values))
		}
		if size, _, err := c.readNVPublic(1); err == nil && size > 0 && len(b) < 18 {
			t.Error("an NV index out of nothing")
		}
		_, _ = c.describe()
	})
}
