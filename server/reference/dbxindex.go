package reference

import (
	"crypto/sha256"
	"iter"
)

// dbxIndex finds by one look-up a hash which levels have it, so that the list of a
// whole dbx, hundreds of hashes, is judged in microseconds.
type dbxIndex struct {
	levels []DBXLevel
	place  map[[sha256.Size]byte]int
	places []levelPlaces
}

// levelPlaces are where the hashes of a level are.
type levelPlaces struct{ all, lasting []int } // lasting: not superseded

func newDBXIndex(levels []DBXLevel) *dbxIndex {
	x := &dbxIndex{levels: levels, place: map[[sha256.Size]byte]int{}, places: make([]levelPlaces, len(levels))}
	for i, l := range levels {
		for h := range l.Hashes {
			at, known := x.place[h]
			if !known {
				at = len(x.place)
				x.place[h] = at
			}
			x.places[i].all = append(x.places[i].all, at)
			if !l.Superseded[h] {
				x.places[i].lasting = append(x.places[i].lasting, at)
			}
		}
	}
	return x
}

// of tells that the index is made of just these levels: a copy of a pack may have
// got others.
func (x *dbxIndex) of(levels []DBXLevel) bool {
	return x != nil && len(x.levels) == len(levels) && (len(levels) == 0 || &x.levels[0] == &levels[0])
}

// met returns the newest level of which every hash is in a list, and of the levels
// before it every one that lasts; -1: none is.
func (x *dbxIndex) met(hashes iter.Seq[[sha256.Size]byte]) int {
	found := make([]bool, len(x.place))
	for h := range hashes {
		if at, ok := x.place[h]; ok {
			found[at] = true
		}
	}
	newest := -1
	for i, p := range x.places {
		switch {
		case len(p.all) > 0 && all(found, p.all):
			newest = i
		case len(p.all) == 0 || !all(found, p.lasting):
			return newest // no later one can be met
		}
	}
	return newest
}

func all(found []bool, places []int) bool {
	for _, at := range places {
		if !found[at] {
			return false
		}
	}
	return true
}
