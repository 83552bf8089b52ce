package bootlog

import "encoding/binary"

// SIPA events are tagged: TCG_PCClientTaggedEvent (PFP §10.4.2.1), an id, a length and
// that many bytes, which in an aggregation are such events again.
const (
	taggedHead = 4 + 4
	// maxNesting is deeper than any real log: a trust boundary holds aggregations.
	maxNesting = 6

	// The parts of an id (wbcl.h): two flags, a class and a number.
	sipaUnmeasured  = 0x80000000
	sipaAggregation = 0x40000000
	sipaClass       = 0x000f0000
	sipaContainer   = 0x00010000
)

// taggedEvents calls each for every event of b that is no aggregation, in order, with
// the id of the aggregation around it; 0 for none. ok is false, and some were called
// for, when b is not such events from its first byte to its last.
func taggedEvents(b []byte, each func(id, around uint32, data []byte)) (ok bool) {
	var ends [maxNesting]int
	var ids [maxNesting]uint32
	ends[0] = len(b)
	depth, at := 0, 0
	for {
		for depth > 0 && at == ends[depth] {
			depth--
		}
		left := ends[depth] - at
		if left == 0 {
			return true
		}
		if left < taggedHead {
			return false
		}
		id, size := binary.LittleEndian.Uint32(b[at:]), binary.LittleEndian.Uint32(b[at+4:])
		if uint64(size) > uint64(left-taggedHead) {
			return false
		}
		at += taggedHead
		end := at + int(size)
		if !isAggregation(id) {
			each(id, ids[depth], b[at:end:end])
			at = end
			continue
		}
		if depth++; depth == maxNesting {
			return false
		}
		ends[depth], ids[depth] = end, id
	}
}

// isAggregation tells ids of events that hold events. What was not measured is not
// looked into.
func isAggregation(id uint32) bool {
	return id&(sipaUnmeasured|sipaAggregation|sipaClass) == sipaAggregation|sipaContainer
}
