package bench

import (
	"slices"
	"testing"
	"time"
)

// contender is one of those that are measured against each other.
type contender struct {
	name string
	run  func() error
}

// Rounds are short and interleaved, so that what else the machine does hits all
// contenders alike; the median round is what is told.
const (
	rounds   = 301
	perRound = 8
)

// sideBySide measures contenders in turns and reports, for each, the median time
// of one run and its ratio to the first. It ignores b.N: one call is the whole
// measurement.
func sideBySide(b *testing.B, all ...contender) {
	b.Helper()
	times := make([][]time.Duration, len(all))
	for range rounds {
		for i, c := range all {
			start := time.Now()
			for range perRound {
				if err := c.run(); err != nil {
					b.Fatalf("%s: %v", c.name, err)
				}
			}
			times[i] = append(times[i], time.Since(start)/perRound)
		}
	}
	var first float64
	for i, c := range all {
		slices.Sort(times[i])
		median := float64(times[i][rounds/2].Nanoseconds()) / 1e3
		if i == 0 {
			first = median
		}
		b.ReportMetric(median, c.name+"-µs")
		b.ReportMetric(median/first, c.name+"-ratio")
		b.Logf("%-28s %8.2f µs  %5.2f x %s", c.name, median, median/first, all[0].name)
	}
	b.ReportMetric(0, "ns/op")
}
