package mutanttest

import (
	"fmt"
	"math/bits"
	"slices"
)

// edit is one way to change a byte: a flip of bit 0 to 7, or one of those below.
type edit uint8

const (
	zeroed edit = 8 + iota
	filled      // with ones
	removed
	doubled
	edits
)

func (e edit) String() string {
	if e < zeroed {
		return fmt.Sprintf("bit %d flipped", uint8(e))
	}
	return [...]string{"zeroed", "filled", "removed", "doubled"}[e-zeroed]
}

// mutate writes the mutant of whole at one byte over into, and tells whether it is
// one: neither whole itself nor what another edit makes too.
func mutate(into, whole []byte, at int, e edit) (mutant []byte, ok bool) {
	was := whole[at]
	same := at > 0 && whole[at-1] == was // removing or doubling either is one thing
	switch e {
	case zeroed:
		if bits.OnesCount8(was) < 2 {
			return nil, false
		}
	case filled:
		if bits.OnesCount8(was) > 6 {
			return nil, false
		}
	case removed, doubled:
		if same {
			return nil, false
		}
	}
	if e == removed {
		return append(append(into[:0], whole[:at]...), whole[at+1:]...), true
	}
	if e == doubled {
		return append(append(into[:0], whole[:at+1]...), whole[at:]...), true
	}
	mutant = append(into[:0], whole...)
	switch e {
	case zeroed:
		mutant[at] = 0
	case filled:
		mutant[at] = 0xff
	default:
		mutant[at] ^= 1 << e
	}
	return mutant, true
}

// room is a buffer that any mutant fits into.
func room(whole []byte) []byte { return slices.Grow([]byte(nil), len(whole)+1) }
