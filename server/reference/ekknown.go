package reference

import (
	"crypto/sha256"
	_ "embed"
	"encoding/csv"
	"strings"
	"sync"
)

// EKKind says what is known of a certificate that was imported.
type EKKind string

// What an imported certificate is told as. Being known is a help to whoever
// imports, and no condition: an operator's own CA counts as much.
const (
	KnownRoot         EKKind = "known vendor root"
	KnownIntermediate EKKind = "known intermediate"
	OwnCA             EKKind = "the operator's own"
)

// ekKnown has the SHA-256 of vendors' certificates: see data/README.md.
//
//go:embed data/ek-known.csv
var ekKnown string

// knownSums reads it once; the map is not changed.
var knownSums = sync.OnceValue(func() map[[sha256.Size]byte]EKKind {
	kinds := map[string]EKKind{"roots": KnownRoot, "intermediates": KnownIntermediate}
	sums := map[[sha256.Size]byte]EKKind{}
	// A line that does not read makes nothing known; a test reads them all.
	rows, _ := csv.NewReader(strings.NewReader(ekKnown)).ReadAll()
	for _, row := range rows {
		if sum, err := ParseSum(row[len(row)-1]); err == nil && kinds[row[0]] != "" {
			sums[sum] = kinds[row[0]]
		}
	}
	return sums
})

func knownKind(der []byte) EKKind {
	if kind, ok := knownSums()[sha256.Sum256(der)]; ok {
		return kind
	}
	return OwnCA
}
