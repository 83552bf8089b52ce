package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
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
	lines   []*line
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
func askInTurns(b *testing.B, all ...*asked) {
	b.Helper()
	results := make([]told, len(all))
	for _, a := range all {
		a.open(b)
	}
	for round := range askRounds + 1 {
		for turn := range all {
			i := turn
			if round%2 == 1 {
				i = len(all) - 1 - turn // what the one leaves to the next is shared, too
			}
			a := all[i]
			before, start := spent(b, a.pids...), time.Now()
			a.round(b)
			rate := askPerRound / time.Since(start).Seconds()
			if round == 0 {
				continue // warm
			}
			results[i].rates = append(results[i].rates, rate)
			results[i].spent += spent(b, a.pids...) - before
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

// line is one kept-alive connection.
type line struct {
	net.Conn
	reader *bufio.Reader
}

func (a *asked) open(b *testing.B) {
	b.Helper()
	for range connections {
		c, err := net.Dial("tcp", a.address)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { c.Close() })
		a.lines = append(a.lines, &line{c, bufio.NewReaderSize(c, 16<<10)})
	}
}

// round asks on all connections until all questions of a round are answered.
func (a *asked) round(b *testing.B) {
	b.Helper()
	var left atomic.Int64
	left.Store(askPerRound)
	var asking sync.WaitGroup
	for _, l := range a.lines {
		asking.Go(func() {
			for left.Add(-1) >= 0 {
				if err := l.ask(a.request, a.want); err != nil {
					b.Errorf("%s: %v", a.name, err)
					return
				}
			}
		})
	}
	asking.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

// ask writes a request and reads the answer, with as little work as possible: 200,
// a length, and so much of a body.
func (l *line) ask(request []byte, want string) error {
	if _, err := l.Write(request); err != nil {
		return err
	}
	status, err := l.reader.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
		rest, _ := l.reader.Peek(l.reader.Buffered())
		return fmt.Errorf("answered %s%s", status, rest)
	}
	length := -1
	for {
		header, err := l.reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(header) <= 2 {
			break
		}
		if value, ok := bytes.CutPrefix(header, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return errors.New("the answer has no length")
	}
	body, err := l.reader.Peek(length)
	if err != nil {
		return err
	}
	if !bytes.Contains(body, []byte(want)) {
		return fmt.Errorf("answered %s", body)
	}
	_, err = l.reader.Discard(length)
	return err
}
