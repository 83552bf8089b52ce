package attest_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"muster/attest"
)

// clockFall is the interval of SPEC.md §5.2, written down once more.
const clockFall = 4_194_304

func TestClockOrder(t *testing.T) {
	ascending := []attest.Clock{
		{}, {Clock: 1}, {RestartCount: 1}, {RestartCount: 1, Clock: 5}, {ResetCount: 1}, {ResetCount: 1, Clock: 9, Safe: true},
		{ResetCount: 1, RestartCount: 1}, {ResetCount: 2}, {ResetCount: 1 << 31, Clock: 1 << 63},
	}
	for i, a := range ascending {
		for j, b := range ascending {
			if a.Before(b) != (i < j) {
				t.Errorf("%+v before %+v is %v", a, b, a.Before(b))
			}
		}
	}
}

// TestClockSince has each combination of a reset and a restart count that are
// lower, equal or greater, for clocks on both sides of each edge.
func TestClockSince(t *testing.T) {
	const (
		day  = 24 * time.Hour
		fits = uint64((day + time.Minute) * 4 / 3 / time.Millisecond) // the greatest clock that fits into a day
		back = attest.Back
		on   = attest.Forward
		gone = attest.Cleared
		fell = attest.Fell
	)
	old := attest.Clock{Clock: 2 * fits, ResetCount: 9, RestartCount: 5, Safe: true}
	young := attest.Clock{Clock: 1000, ResetCount: 9, RestartCount: 5, Safe: true}
	for _, c := range []struct {
		last           attest.Clock
		reset, restart int // added to the last
		clock          uint64
		safe           bool
		want           attest.Order
	}{
		{old, 0, 0, old.Clock, true, on},
		{old, 0, 0, old.Clock - 1, true, back},
		{old, 0, 0, old.Clock - 1, false, back}, // a fall goes with a reset
		{old, 0, 0, fits + 1, true, back},
		{old, 0, 0, fits, true, gone}, // cleared, and the counts came to what they were
		{old, 0, 1, old.Clock, false, on},
		{old, 0, 1, old.Clock - 1, false, back},
		{old, 0, 1, fits, false, gone},
		{old, 0, -1, old.Clock + 1, true, back},
		{old, 0, -1, fits + 1, true, back},
		{old, 0, -1, fits, true, gone},
		{old, 1, -5, old.Clock, true, on},
		{old, 1, -5, old.Clock - 1, true, fell}, // safe: no greater clock was reported
		{old, 1, -5, old.Clock - 1, false, on},
		{old, 1, -5, old.Clock - clockFall, false, on},
		{old, 1, -5, old.Clock - clockFall - 1, false, fell},
		{old, 1, 9, fits + 1, true, fell},
		{old, 1, -5, fits, true, gone}, // cleared, then started more often than before
		{old, 1, 0, old.Clock, true, on},
		{old, 1, 9, old.Clock - 1, false, on},
		{old, -1, 0, old.Clock + 1, true, back},
		{old, -1, 9, old.Clock - 1, false, back},
		{old, -9, -5, fits + 1, true, back}, // the counts of a Clear, the clock of a snapshot
		{old, -9, -5, fits, true, gone},
		{old, -9, -5, 0, true, gone},
		{young, -9, -5, 5000, true, gone}, // cleared, and powered for longer than before
		{young, -1, 0, 5000, false, gone},
		{young, 0, -1, 5000, true, gone},
		{young, 1, -5, 999, false, on}, // power was lost, or cleared: not to be told
		{young, 1, -5, 999, true, gone},
		{young, 1, -5, 5000, true, on}, // cleared and powered for longer, or not: not to be told
	} {
		now := attest.Clock{Clock: c.clock, Safe: c.safe,
			ResetCount: uint32(int(c.last.ResetCount) + c.reset), RestartCount: uint32(int(c.last.RestartCount) + c.restart)}
		if got := now.Since(c.last, day); got != c.want {
			t.Errorf("%+v after %+v is %v, not %v", now, c.last, got, c.want)
		}
	}
	for elapsed, want := range map[time.Duration]attest.Order{
		math.MinInt64: attest.Cleared, -1: attest.Cleared, 0: attest.Back, math.MaxInt64: attest.Cleared,
	} {
		if got := (attest.Clock{Clock: 80_001}).Since(old, elapsed); got != want {
			t.Errorf("within %v: %v, not %v", elapsed, got, want)
		}
	}
	if got := (attest.Clock{Clock: math.MaxUint64}).Since(old, math.MaxInt64); got != attest.Back {
		t.Errorf("the greatest clock: %v", got)
	}
}

// TestClockSinceUnknown: without the time of the last quote the order of the
// counts decides, and only the first boot after a Clear passes.
func TestClockSinceUnknown(t *testing.T) {
	last := attest.Clock{Clock: 5000, ResetCount: 2, RestartCount: 2, Safe: true}
	for _, c := range []struct {
		now  attest.Clock
		want attest.Order
	}{
		{last, attest.Forward},
		{attest.Clock{Clock: 4999, ResetCount: 2, RestartCount: 2}, attest.Back},
		{attest.Clock{Clock: 6000, ResetCount: 2, RestartCount: 1}, attest.Back},
		{attest.Clock{Clock: 1, ResetCount: 3}, attest.Forward},
		{attest.Clock{Clock: 1, ResetCount: 1}, attest.Back},
		{attest.Clock{Clock: 9999, RestartCount: 9}, attest.Cleared},
	} {
		if got := c.now.Since(last, -1); got != c.want {
			t.Errorf("%+v is %v, not %v", c.now, got, c.want)
		}
	}
	first := attest.Clock{Clock: 5000}
	if got := (attest.Clock{Clock: 4000}).Since(first, -1); got != attest.Back {
		t.Errorf("in the first boot: %v", got)
	}
	if attest.Order(0) != attest.Back {
		t.Error("the zero order is not refused")
	}
	if got := fmt.Sprint(attest.Back, attest.Forward, attest.Cleared, attest.Fell); got != "back forward cleared fell" {
		t.Errorf("orders are %s", got)
	}
}

// clockModel is a TPM's clock as Part 1 §36 and Part 3 §9 tell it, in a laptop, at
// a time of the world.
type clockModel struct {
	now      uint64 // milliseconds of the world
	clock    float64
	recorded float64 // in memory that lasts
	interval float64 // between two records, at most clockFall
	rate     float64 // of the oscillator, as adjusted
	lazy     bool    // the clock is recorded by TPM2_Shutdown alone, as libtpms nearly does
	reset    uint32
	restart  uint32
	safe     bool
}

// read is what a quote states now.
func (m *clockModel) read() attest.Clock {
	return attest.Clock{Clock: uint64(m.clock), ResetCount: m.reset, RestartCount: m.restart, Safe: m.safe}
}

// run is time under power. A record proves that no greater value was reported.
func (m *clockModel) run(ms uint64) {
	m.now += ms
	m.clock += float64(ms) * m.rate
	if whole := math.Floor(m.clock/m.interval) * m.interval; whole > m.recorded {
		if m.safe = true; !m.lazy {
			m.recorded = whole
		}
	}
}

func (m *clockModel) boot() { m.reset, m.restart = m.reset+1, 0 }

// shutdown is TPM2_Shutdown of either kind.
func (m *clockModel) shutdown() { m.recorded = m.clock }

// lose is a stop without it.
func (m *clockModel) lose() { m.clock, m.safe = m.recorded, false }

// clear is TPM2_Clear.
func (m *clockModel) clear() { m.clock, m.recorded, m.reset, m.restart, m.safe = 0, 0, 0, 0, true }

// step does one thing that happens to laptops, rarely a Clear, and tells whether
// it was one.
func (m *clockModel) step(r *rand.Rand) (cleared bool) {
	const second, hour = 1000, 3_600_000
	span := func(most uint64) uint64 { return r.Uint64N(most) }
	switch r.IntN(16) {
	case 0, 1, 2: // a working day, in pieces
		m.run(span(10 * hour))
	case 3: // shut down, off, started
		m.shutdown()
		m.now += span(72 * hour)
		m.boot()
	case 4, 5: // suspended and resumed
		m.shutdown()
		m.now += span(20 * hour)
		m.restart++
	case 6: // hibernated: TPM2_Shutdown(CLEAR), as Fast Startup does
		m.shutdown()
		m.now += span(20 * hour)
		m.boot()
	case 7: // hibernated after TPM2_Shutdown(STATE): a TPM Restart
		m.shutdown()
		m.now += span(20 * hour)
		m.restart++
	case 8: // crashed
		m.lose()
		m.boot()
	case 9: // the battery ran empty; the laptop lay in a drawer
		m.lose()
		m.now += span(40 * 24 * hour)
		m.boot()
	case 10: // crashes in a row
		for range 1 + r.IntN(4) {
			m.run(span(90 * second))
			m.lose()
			m.boot()
		}
	case 11: // new TPM firmware, without TPM2_Shutdown
		m.run(60 * second)
		m.lose()
		m.boot()
	case 12: // the rate is adjusted
		m.rate = 0.7 + 0.62*r.Float64()
	case 13: // D-RTM starts count as restarts
		m.restart += uint32(r.IntN(3))
	case 14: // firmware updates: many starts within minutes
		for range r.IntN(8) {
			m.run(span(60 * second))
			m.shutdown()
			m.boot()
		}
	case 15:
		if r.IntN(4) > 0 {
			break
		}
		m.clear()
		for range r.IntN(30) { // at once, or started some times before the next quote
			m.run(span(300 * second))
			if r.IntN(3) == 0 {
				m.lose()
			}
			m.boot()
		}
		return true
	}
	m.run(span(600 * second))
	return false
}

// clockServer is what a verifier keeps, and the world's truth since its last
// accepted quote.
type clockServer struct {
	last           attest.Clock
	issued         uint64
	cleared        bool // a Clear happened since
	rolled         bool // the state is one from before the last quote
	noticed        int  // quotes that told a Clear
	unnoticed      int  // Clears that the clock cannot tell
	refused, young int  // rollbacks that are refused; that tell as a Clear
	fallen         int  // rollbacks that tell as a clock that fell
	overtaken      int  // rollbacks that the clock cannot tell
	lazy           int  // falls of a lazy TPM that are no reason to refuse it
	quotes         int
}

// quote asks for one, and holds the answer against the truth.
func (s *clockServer) quote(t *testing.T, m *clockModel, r *rand.Rand) {
	issued := m.now
	m.run(r.Uint64N(40_000)) // the report is made, and sent
	now := m.read()
	m.run(r.Uint64N(20_000))
	elapsed := time.Duration(m.now-s.issued) * time.Millisecond
	if setBack := time.Duration(r.Int64N(60_000)) * time.Millisecond; r.IntN(8) == 0 {
		elapsed = max(0, elapsed-setBack)
	}
	got := now.Since(s.last, elapsed)
	behind := now.Clock < s.last.Clock
	// What no verifier can tell from a TPM that went on.
	started := now.ResetCount > s.last.ResetCount
	looksForward := (started || now.ResetCount == s.last.ResetCount && now.RestartCount >= s.last.RestartCount) &&
		(!behind || started && !now.Safe && s.last.Clock-now.Clock <= clockFall)
	switch {
	case s.rolled:
		switch got {
		case attest.Back:
			s.refused++
		case attest.Fell:
			s.fallen++
		case attest.Cleared:
			s.young++
			if float64(now.Clock) > 4.0/3*(elapsed.Seconds()+60)*1000 {
				t.Fatalf("a state that is older than the last quote tells as a Clear: %+v after %+v, %v later", now, s.last, elapsed)
			}
		case attest.Forward:
			s.overtaken++
			if !looksForward {
				t.Fatalf("a rollback passes: %+v after %+v, %v later", now, s.last, elapsed)
			}
		}
	case m.lazy && behind && started && got != attest.Back: // it is accepted
		s.lazy++
	case s.cleared:
		switch got {
		case attest.Back, attest.Fell:
			t.Fatalf("a Clear is %v: %+v after %+v, %v later", got, now, s.last, elapsed)
		case attest.Cleared:
			s.noticed++
		case attest.Forward:
			s.unnoticed++
			if !looksForward {
				t.Fatalf("a Clear is not noticed: %+v after %+v, %v later", now, s.last, elapsed)
			}
		}
	case got != attest.Forward:
		t.Fatalf("an honest start is %v: %+v after %+v, %v later", got, now, s.last, elapsed)
	}
	s.quotes++
	s.last, s.issued, s.cleared, s.rolled = now, issued, false, false
}

// TestClockModel: over random histories of laptops no honest one is refused, and
// none whose TPM keeps to the specification is called cleared or fallen; every
// Clear is noticed that the clock can tell, and every rollback that it can tell is
// refused or shows.
func TestClockModel(t *testing.T) {
	const histories, steps = 100_000, 24
	r := rand.New(rand.NewPCG(36, 2))
	var all clockServer
	for range histories {
		virtual := r.IntN(4) == 0
		m := &clockModel{interval: math.Exp2(float64(12 + r.IntN(11))), rate: 1, safe: true, lazy: virtual && r.IntN(2) == 0}
		for range r.IntN(40) { // some life before the enrolment
			m.step(r)
		}
		s := &clockServer{last: m.read(), issued: m.now}
		saved, was := *m, *s
		for range steps {
			switch n := r.IntN(12); {
			case n < 5:
				s.quote(t, m, r)
			case virtual && n == 5:
				saved, was = *m, *s
			case virtual && n == 6:
				now := m.now
				s.rolled, s.cleared = was.rolled || was.quotes != s.quotes, was.cleared
				*m = saved
				if m.now = now; r.IntN(2) == 0 { // goes on as it was, or is started
					m.lose()
					m.boot()
				}
			default:
				s.cleared = m.step(r) || s.cleared
			}
		}
		all.noticed += s.noticed
		all.unnoticed += s.unnoticed
		all.refused += s.refused
		all.young += s.young
		all.fallen += s.fallen
		all.overtaken += s.overtaken
		all.lazy += s.lazy
		all.quotes += s.quotes
	}
	t.Logf("%d histories, %d quotes: Clears %d noticed, %d overtook; rollbacks %d refused, %d as young as a Clear, %d fell, %d overtook; %d falls of virtual TPMs",
		histories, all.quotes, all.noticed, all.unnoticed, all.refused, all.young, all.fallen, all.overtaken, all.lazy)
	for _, n := range []int{all.noticed, all.unnoticed, all.refused, all.young, all.fallen, all.overtaken, all.lazy} {
		if n < 100 {
			t.Error("the histories show too little")
		}
	}
}
