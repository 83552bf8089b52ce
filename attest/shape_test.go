package attest

import (
	"strings"
	"testing"
)

func TestShape(t *testing.T) {
	for text, want := range map[string]shape{
		``:                     {},
		`1`:                    {},
		`"abc"`:                {text: 3},
		`"[[[{{{"`:             {text: 7 - 1},
		`"\"["`:                {text: 3},
		`"\\"`:                 {text: 2},
		`["\\",[]]`:            {depth: 2, text: 2},
		`{"a":[{"b":"null"}]}`: {depth: 3, text: 4},
		`[null]`:               {depth: 1, null: true},
		`[true,false,-1e+9]`:   {depth: 1},
		`"open`:                {text: 4},
		`"open\`:               {text: 5},
		`]]]][`:                {depth: 0},
		`[]{}[[]]`:             {depth: 2},
	} {
		if got := shapeOf([]byte(text)); got != want {
			t.Errorf("%s has shape %+v, not %+v", text, got, want)
		}
	}
	if got := shapeOf([]byte(strings.Repeat("[", 1<<20))); got.depth != 1<<20 {
		t.Errorf("depth bomb has depth %d", got.depth)
	}
}

// TestSignatureScalars compares the constants with each other: n is odd, and half
// of it twice plus one is n.
func TestSignatureScalars(t *testing.T) {
	half, carry := halfOrder(), uint64(1)
	var twice scalar
	for i := 3; i >= 0; i-- {
		twice[i] = half[i]<<1 | carry
		carry = half[i] >> 63
	}
	if twice != order() || carry != 0 {
		t.Fatalf("twice half the order is %x", twice)
	}
	low := make([]byte, 64)
	for i, n := range half {
		for j := range 8 {
			low[32+8*i+j] = byte(n >> (56 - 8*j))
		}
	}
	low[31] = 1
	if err := signatureForm(low); err != nil || string(lowS(low)) != string(low) {
		t.Errorf("half the order is refused: %v", err)
	}
	low[63]++
	if err := signatureForm(low); err == nil || signatureForm(lowS(low)) != nil {
		t.Errorf("one more than half the order: %v", err)
	}
}
