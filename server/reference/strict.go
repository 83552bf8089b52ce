package reference

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

var errNotCanonical = errors.New("it is not in the form that muster writes: a member is unknown, there twice, missing, or spelt otherwise")

// readStrict reads JSON into wire, of which every type writes what it reads: the
// text must be, but for white space, exactly what wire writes again. So nothing
// can stand in it that is not understood, nor two ways of saying one thing.
func readStrict(text []byte, wire any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(wire); err != nil {
		return fmt.Errorf("reading JSON: %s", quote(err.Error()))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errBehind
	}
	again, err := json.Marshal(wire)
	if err != nil {
		return fmt.Errorf("reading JSON: %w", err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return fmt.Errorf("reading JSON: %w", err)
	}
	if !bytes.Equal(compact.Bytes(), again) {
		return errNotCanonical
	}
	return nil
}

// listed makes an empty list of none: JSON has one form for it then.
func listed[E any](list []E) []E {
	if list == nil {
		return []E{}
	}
	return list
}

// hexSum is a SHA-256 as text: 64 small hexadecimal digits.
type hexSum [32]byte

// MarshalText returns the text form; it never errs.
func (h hexSum) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%x", h[:]), nil }

// UnmarshalText reads the text form.
func (h *hexSum) UnmarshalText(text []byte) error {
	sum, err := ParseSum(string(text))
	*h = sum
	return err
}
