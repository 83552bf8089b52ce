package server

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"muster/attest"
)

// waiting is a held request of a test, and how it ended.
type waiting struct {
	done  chan struct{}
	reply *attest.WaitReply // once done is closed
	at    time.Time
}

func (w *holding) start(ctx context.Context, id string, most time.Duration) *waiting {
	x := &waiting{done: make(chan struct{})}
	go func() {
		defer close(x.done)
		x.reply = w.hold(ctx, id, most)
		x.at = time.Now()
	}()
	synctest.Wait()
	return x
}

func (x *waiting) ended() bool {
	synctest.Wait()
	select {
	case <-x.done:
		return true
	default:
		return false
	}
}

// is fails unless the request ended with this answer.
func (x *waiting) is(t *testing.T, what string, want attest.WaitReply) {
	t.Helper()
	if !x.ended() {
		t.Fatalf("%s: still held", what)
	}
	if *x.reply != want {
		t.Errorf("%s: %+v, want %+v", what, *x.reply, want)
	}
}

// checking is a recheck of a test.
type checking struct {
	done chan struct{}
	came bool // once done is closed
	took time.Duration
}

func (w *holding) check(id string) *checking {
	x := &checking{done: make(chan struct{})}
	began := time.Now()
	go func() {
		defer close(x.done)
		x.came = w.recheck(context.Background(), id)
		x.took = time.Since(began)
	}()
	synctest.Wait()
	return x
}

// is fails unless the recheck ends so, after so long.
func (x *checking) is(t *testing.T, what string, came bool, took time.Duration) {
	t.Helper()
	<-x.done
	if x.came != came || x.took != took {
		t.Errorf("%s: %v after %v, want %v after %v", what, x.came, x.took, came, took)
	}
}

func (w *holding) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.held)
}

func held(t *testing.T, test func(t *testing.T, w *holding)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newHolding(time.Now)
		test(t, w)
		w.stop()
	})
}

func TestHoldEnds(t *testing.T) {
	now := attest.WaitReply{ReportNow: true}
	t.Run("by time", func(t *testing.T) {
		held(t, func(t *testing.T, w *holding) {
			for asked, want := range map[time.Duration]time.Duration{time.Second: time.Second, 50 * time.Second: 50 * time.Second, attest.MaxWait: holdMost} {
				began := time.Now()
				x := w.start(t.Context(), "a", asked)
				<-x.done
				x.is(t, "over", attest.WaitReply{})
				if took := x.at.Sub(began); took != want {
					t.Errorf("asked for %v, held %v, want %v", asked, took, want)
				}
			}
		})
	})
	t.Run("by a wish", func(t *testing.T) {
		held(t, func(t *testing.T, w *holding) {
			a, b := w.start(t.Context(), "a", time.Minute), w.start(t.Context(), "b", 50*time.Second)
			w.check("a")
			a.is(t, "woken", now)
			if b.ended() {
				t.Error("another laptop was woken")
			}
			if n := w.count(); n != 1 {
				t.Errorf("%d are held, want that of the other", n)
			}
			<-b.done
		})
	})
	t.Run("by a newer one", func(t *testing.T) {
		held(t, func(t *testing.T, w *holding) {
			old := w.start(t.Context(), "a", time.Minute)
			x := w.start(t.Context(), "a", time.Minute)
			old.is(t, "the older", attest.WaitReply{})
			w.leave("a", make(chan attest.WaitReply)) // as the older does whose time is over just now
			w.check("a")
			x.is(t, "the newer", now)
		})
	})
	t.Run("by the laptop", func(t *testing.T) {
		held(t, func(t *testing.T, w *holding) {
			ctx, gone := context.WithCancel(t.Context())
			x := w.start(ctx, "a", time.Minute)
			gone()
			x.is(t, "gone", attest.WaitReply{})
			if w.count() != 0 {
				t.Error("it is held on")
			}
		})
	})
	t.Run("by the end", func(t *testing.T) {
		held(t, func(t *testing.T, w *holding) {
			x, r := w.start(t.Context(), "a", time.Minute), w.check("b")
			w.stop()
			w.stop() // again does no harm
			x.is(t, "held", attest.WaitReply{AgainS: againStop})
			r.is(t, "who waited", false, 0)
			w.start(t.Context(), "b", time.Minute).is(t, "later", attest.WaitReply{AgainS: againStop})
			w.check("b").is(t, "who comes later", false, 0)
		})
	})
}

// There is room for so many; who is held already only takes their own place.
func TestHoldIsBounded(t *testing.T) {
	if newHolding(time.Now).room != maxHeld {
		t.Error("another room than the constant")
	}
	held(t, func(t *testing.T, w *holding) {
		w.room = 3
		ctx, gone := context.WithCancel(t.Context())
		first := w.start(ctx, "0", time.Minute)
		w.start(t.Context(), "1", time.Minute)
		last := w.start(t.Context(), "2", 50*time.Second)
		full := attest.WaitReply{AgainS: againFull}
		w.start(t.Context(), "3", time.Minute).is(t, "one too many", full)
		if again := w.start(t.Context(), "1", 50*time.Second); again.ended() {
			t.Error("a laptop has no place of its own")
		}
		w.start(t.Context(), "3", time.Minute).is(t, "still too many", full)
		gone()
		first.is(t, "gone", attest.WaitReply{})
		if next := w.start(t.Context(), "3", 50*time.Second); next.ended() {
			t.Error("the place of who left is not free")
		}
		<-last.done
		time.Sleep(time.Minute)
		if n := w.count(); n != 0 {
			t.Errorf("%d are held after all ended", n)
		}
	})
}

// Only a report that was signed after somebody asked is what they waited for.
func TestRecheck(t *testing.T) {
	held(t, func(t *testing.T, w *holding) {
		w.start(t.Context(), "a", time.Minute)
		before := time.Now()
		time.Sleep(time.Second)
		r := w.check("a")
		w.reported("a", before)
		w.reported("b", time.Now())
		time.Sleep(time.Second)
		w.reported("a", before)
		synctest.Wait()
		select {
		case <-r.done:
			t.Error("a report of before was taken")
		default:
		}
		w.reported("a", time.Now())
		w.reported("a", time.Now()) // and another, which nobody waits for
		r.is(t, "a report of after", true, time.Second)
	})
	held(t, func(t *testing.T, w *holding) {
		w.start(t.Context(), "a", time.Minute)
		w.check("a").is(t, "a laptop that is told and does nothing", false, recheckPatience)
	})
	held(t, func(t *testing.T, w *holding) { // the answer of one time is none of the next
		w.start(t.Context(), "a", time.Minute)
		r := w.check("a")
		w.reported("a", time.Now())
		r.is(t, "the first", true, 0)
		w.start(t.Context(), "a", time.Minute)
		time.Sleep(wakeEvery)
		w.check("a").is(t, "the second", false, recheckPatience)
	})
	held(t, func(t *testing.T, w *holding) {
		w.check("a").is(t, "a laptop that holds nothing", false, comeBack)
		x := w.start(t.Context(), "a", 50*time.Second)
		if x.ended() {
			t.Error("it was woken for somebody who is gone")
		}
		<-x.done
	})
	held(t, func(t *testing.T, w *holding) { // between two of its requests
		r := w.check("a")
		time.Sleep(comeBack / 2)
		w.start(t.Context(), "a", time.Minute).is(t, "it comes back", attest.WaitReply{ReportNow: true})
		w.reported("a", time.Now())
		r.is(t, "who asked in between", true, comeBack/2)
	})
	held(t, func(t *testing.T, w *holding) {
		ctx, gone := context.WithTimeout(t.Context(), time.Second)
		defer gone()
		w.start(t.Context(), "a", time.Minute)
		began := time.Now()
		if w.recheck(ctx, "a") || time.Since(began) != time.Second {
			t.Errorf("who left waited %v", time.Since(began))
		}
	})
}

// A laptop is woken once in some seconds, however many ask; who asks in between
// gets the answer of who asked before.
func TestWakesAreBounded(t *testing.T) {
	held(t, func(t *testing.T, w *holding) {
		var wakes atomic.Int32
		ctx, gone := context.WithCancel(t.Context())
		defer gone()
		go func() { // a laptop that comes back at once, and reports
			for ctx.Err() == nil {
				if w.hold(ctx, "a", time.Minute).ReportNow {
					wakes.Add(1)
					time.Sleep(100 * time.Millisecond)
					w.reported("a", time.Now())
				}
			}
		}()
		synctest.Wait()
		var all sync.WaitGroup
		for range 100 {
			for range 3 {
				all.Go(func() {
					if !w.recheck(ctx, "a") {
						t.Error("somebody was told that it does not answer")
					}
				})
			}
			time.Sleep(200 * time.Millisecond)
		}
		all.Wait()
		if n := wakes.Load(); n < 5 || n > 7 {
			t.Errorf("woken %d times in 20 s by 300", n)
		}
		time.Sleep(time.Minute)
		w.check("b")
		synctest.Wait()
		if len(w.asked) != 1 {
			t.Errorf("%d wishes are remembered", len(w.asked))
		}
	})
}

// A laptop that missed the first word gets another, and whoever waited since hears.
func TestWokenAgain(t *testing.T) {
	held(t, func(t *testing.T, w *holding) {
		w.start(t.Context(), "a", time.Minute)
		first := w.check("a")
		time.Sleep(wakeEvery)
		x := w.start(t.Context(), "a", time.Minute)
		second := w.check("a")
		x.is(t, "again", attest.WaitReply{ReportNow: true})
		time.Sleep(time.Second)
		w.reported("a", time.Now())
		first.is(t, "who asked first", true, wakeEvery+time.Second)
		second.is(t, "who asked again", true, time.Second)
	})
}

// Any order of what may happen: each request is answered, each recheck ends in
// time, nothing is left over. Run with -race.
func TestHoldingAtRandom(t *testing.T) {
	held(t, func(t *testing.T, w *holding) {
		w.room = 5
		var all sync.WaitGroup
		random := rand.New(rand.NewPCG(1, 2))
		for range 3000 {
			id, most, leave := fmt.Sprint(random.IntN(8)), time.Duration(random.IntN(5000))*time.Millisecond, random.IntN(3) == 0
			switch random.IntN(4) {
			case 0, 1:
				all.Go(func() {
					ctx, gone := context.WithCancel(t.Context())
					defer gone()
					if leave {
						time.AfterFunc(most/2, gone)
					}
					began := time.Now()
					if w.hold(ctx, id, most); time.Since(began) > most {
						t.Errorf("held %v for %v", time.Since(began), most)
					}
				})
			case 2:
				all.Go(func() {
					began := time.Now()
					if w.recheck(t.Context(), id); time.Since(began) > recheckPatience {
						t.Errorf("somebody waited %v", time.Since(began))
					}
				})
			case 3:
				w.reported(id, time.Now())
			}
			time.Sleep(time.Duration(random.IntN(50)) * time.Millisecond)
			if n := w.count(); n > w.room {
				t.Errorf("%d are held", n)
			}
		}
		w.stop()
		all.Wait()
		if n := w.count(); n != 0 {
			t.Errorf("%d left over", n)
		}
	})
}

// A wait that is not one is refused at once, and so is a revoked laptop's.
func TestWaitIsRefused(t *testing.T) {
	s := newTestServer(t, Config{})
	d := newLaptop(t, s)
	w := newHolding(time.Now)
	r := httptest.NewRequest("POST", attest.PathWait, nil)
	for _, body := range []string{
		``, `{}`, `null`, `[]`, `{"wait_s":0}`, `{"wait_s":-1}`, `{"wait_s":61}`, `{"wait_s":1e1}`, `{"wait_s":9223372036854775808}`,
		`{"wait_s":"1"}`, `{"Wait_S":1}`, `{"wait_s":1,"wait_s":1}`, `{"wait_s":1,"device":"x"}`, `{"wait_s":1}x`,
	} {
		if _, err := w.serve(r, d, []byte(body)); told(s.log, err).Code != string(attest.PayloadForm) {
			t.Errorf("%s: %v", body, err)
		}
	}
	s.revokeForTest(t, d.row.ID)
	if _, err := s.status(nil, d, nil); err != nil { // reads the device again
		t.Fatal(err)
	}
	if _, err := w.serve(r, d, []byte(`{"wait_s":60}`)); told(s.log, err).Code != attest.CodeRevoked {
		t.Errorf("revoked: %v", err)
	}
	if w.count() != 0 {
		t.Error("something is held")
	}
}
