package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// asked is one of those that are asked the same over kept-alive connections. Client
// and contenders share the machine, whose processors are busy throughout: the rate
// is what the whole of it costs, CPU what the contender's own process does.
type asked struct {
	name    string
	address string
	request []byte
	want    string // part of every body
	pids    []int  // what it consists of; none: its CPU is not told
}

// A round is a few hundred milliseconds of each contender in turn.
const (
	askRounds   = 21
	askPerRound = 4000
	connections = 16 // what the shipped snippet for nginx keeps open
)

// told is what the rounds of one contender gave.
type told struct {
	rates []float64     // requests a second
	spent time.Duration // CPU of its processes
}

func (t *told) rate() float64 {
	slices.Sort(t.rates)
	return t.rates[len(t.rates)/2]
}

// askInTurns measures contenders in interleaved rounds; the first one is what the
// others are held against. It ignores b.N: one call is the whole measurement.
func askInTurns(b *testing.B, all ...asked) {
	b.Helper()
	results := make([]told, len(all))
	for i := range all {
		defer open(b, &all[i], connections)()
	}
	for round := range askRounds + 1 {
		for i := range all {
			before := processorTimes(b, all[i].pids)
			start := time.Now()
			askAll(b, &all[i])
			rate := askPerRound / time.Since(start).Seconds()
			if round == 0 {
				continue // warm
			}
			results[i].rates = append(results[i].rates, rate)
			results[i].spent += processorTimes(b, all[i].pids) - before
		}
	}
	first := results[0].rate()
	for i, a := range all {
		rate := results[i].rate()
		b.ReportMetric(rate, a.name+"/s")
		b.ReportMetric(rate/first, a.name+"-ratio")
		line := fmt.Sprintf("%-28s %8.0f /s %5.1f %%", a.name, rate, 100*rate/first)
		if len(a.pids) > 0 {
			each := float64(results[i].spent.Nanoseconds()) / 1e3 / (askRounds * askPerRound)
			b.ReportMetric(each, a.name+"-CPU-µs")
			line += fmt.Sprintf("  %5.1f µs of CPU each", each)
		}
		b.Log(line)
	}
	b.ReportMetric(0, "ns/op")
}

// lines are a contender's open connections.
var lines sync.Map // *asked → []*line

type line struct {
	net.Conn
	reader *bufio.Reader
}

func open(b *testing.B, a *asked, n int) (closeAll func()) {
	b.Helper()
	var all []*line
	for range n {
		c, err := net.Dial("tcp", a.address)
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, &line{c, bufio.NewReaderSize(c, 8<<10)})
	}
	lines.Store(a, all)
	return func() {
		for _, l := range all {
			l.Close()
		}
	}
}
