package mutanttest

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

// Subject is whole evidence and its judge.
type Subject struct {
	Name  string
	Bytes []byte
	// Judge looks at a mutant as a server does. It returns an error when the mutant
	// is better than the whole in anything. It may not keep the bytes.
	Judge func(mutant []byte) error
	// Read is what is bounded in time and memory: Judge without the comparing; nil
	// for Judge itself. It makes no use of what it read of other mutants.
	Read func(mutant []byte)
}

// Bounds of what one mutant may cost.
const (
	// MaxTime is what the worst mutant is held against, on a machine that does
	// nothing else; a test fails at ten times that.
	MaxTime = 5 * time.Millisecond
	// MaxGrowth is how much is allocated at most for each byte, beside MaxBase.
	MaxGrowth = 10
	// MaxBase is what a result takes that has nothing to tell.
	MaxBase = 16 << 10
)

// allocEvery is how many mutants there are for one whose memory is measured: that
// stops the world.
const allocEvery = 64

// worst is what was measured of one subject.
type worst struct {
	mutants int
	time    time.Duration
	at      string
	growth  float64 // bytes allocated for each of the input, MaxBase not counted
}

// Sweep judges mutants of each subject: all of them, or, when sample is positive, so
// many of each, the same in every run. It must not run beside other tests, whose
// memory would count.
func Sweep(t testing.TB, sample int, subjects ...Subject) {
	t.Helper()
	total := 0
	for _, s := range subjects {
		start := time.Now()
		w := s.sweep(t, sample)
		total += w.mutants
		t.Logf("%-60s %6d bytes %8d mutants %8v, worst %8v (%s), memory %.1f times the input",
			s.Name, len(s.Bytes), w.mutants, time.Since(start).Round(time.Millisecond), w.time.Round(time.Microsecond), w.at, w.growth)
		if w.growth > MaxGrowth {
			t.Errorf("%s: a mutant allocates %.1f times its size", s.Name, w.growth)
		}
		if sample <= 0 && w.time > 10*MaxTime {
			t.Errorf("%s: %s takes %v", s.Name, w.at, w.time)
		}
	}
	t.Logf("%d subjects, %d mutants", len(subjects), total)
}

func (s *Subject) sweep(t testing.TB, sample int) (w worst) {
	if err := s.Judge(s.Bytes); err != nil {
		t.Errorf("%s: the whole is better than itself: %v", s.Name, err)
		return w
	}
	into, better := room(s.Bytes), false
	try := func(at int, e edit) bool {
		mutant, ok := mutate(into, s.Bytes, at, e)
		if !ok {
			return false
		}
		if err := s.try(mutant, &w, fmt.Sprintf("byte %d, %v", at, e)); err != nil {
			t.Errorf("%s: byte %d of %d, %v: %v", s.Name, at, len(s.Bytes), e, err)
			better = true
		}
		return true
	}
	if sample > 0 {
		r := rand.New(rand.NewPCG(uint64(len(s.Bytes)), 5))
		for n := 0; n < sample && !better; {
			if try(r.IntN(len(s.Bytes)), edit(r.IntN(int(edits)))) {
				n++
			}
		}
		return w
	}
	for at := range s.Bytes {
		for e := range edits {
			try(at, e)
		}
		if better {
			break
		}
	}
	return w
}

// try judges one mutant and measures it.
func (s *Subject) try(mutant []byte, w *worst, what string) error {
	w.mutants++
	start := time.Now()
	err := s.Judge(mutant)
	took := time.Since(start)
	read := s.Read
	if read == nil {
		read = func(b []byte) { _ = s.Judge(b) }
	}
	// What other programs did meanwhile does not happen every time.
	for range 32 {
		if took <= w.time {
			break
		}
		start = time.Now()
		read(mutant)
		took = min(took, time.Since(start))
	}
	if took > w.time {
		w.time, w.at = took, what
	}
	if w.mutants%allocEvery == 1 {
		w.growth = max(w.growth, growth(mutant, read))
	}
	return err
}

// growth measures what reading allocates for each byte beside MaxBase, as the least
// of some: the runtime allocates too, now and then.
func growth(mutant []byte, read func([]byte)) (least float64) {
	for i := range 8 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		read(mutant)
		runtime.ReadMemStats(&after)
		n := max(0, float64(after.TotalAlloc-before.TotalAlloc)-MaxBase) / float64(max(1, len(mutant)))
		if least = min(least, n); i == 0 {
			least = n
		}
		if least <= MaxGrowth {
			break
		}
	}
	return least
}
