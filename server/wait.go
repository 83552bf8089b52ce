package server

import (
	"context"
	"net/http"
	"sync"
	"time"

	"muster/attest"
)

// Held requests. One costs a connection's memory and nothing else: no store, no
// look at the device's claims.
const (
	// maxHeld bounds them over all devices.
	maxHeld = 20_000
	// holdMost is below the minute after which proxies, and our own readTimeout,
	// end an exchange.
	holdMost = 55 * time.Second
	// Seconds after which to come again: when there is no room, and when this
	// server stops. Agents spread it up to twofold.
	againFull, againStop = 60, 10
)

// holding are the requests that laptops leave open to hear at once that somebody
// wants a fresh report, and those who want one. It may be used from any goroutine.
type holding struct {
	room int
	now  func() time.Time

	mu      sync.Mutex
	held    map[string]chan<- attest.WaitReply // guarded by mu; by device; each takes one answer
	asked   map[string]*wish                   // guarded by mu; by device, see recheck.go
	stopped chan struct{}                      // closed, under mu, when nothing is held any more
}

func newHolding(now func() time.Time) *holding {
	return &holding{
		room: maxHeld, now: now, stopped: make(chan struct{}),
		held: make(map[string]chan<- attest.WaitReply), asked: make(map[string]*wish),
	}
}

// serve handles POST /v1/wait.
func (w *holding) serve(r *http.Request, d *device, body []byte) (any, error) {
	var ask attest.WaitRequest
	if err := read(body, &ask); err != nil {
		return nil, err
	}
	if err := ask.Form(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	id, state := d.row.ID, d.row.State
	d.mu.Unlock()
	if state == attest.Revoked {
		return nil, revoked()
	}
	return w.hold(r.Context(), id, time.Duration(ask.WaitS)*time.Second), nil
}

// hold returns when somebody wants a report of the device, when the time is over,
// when another request of the device takes this one's place, or when the server
// stops.
func (w *holding) hold(ctx context.Context, id string, most time.Duration) *attest.WaitReply {
	answer := make(chan attest.WaitReply, 1)
	if reply := w.enter(id, answer); reply != nil {
		return reply
	}
	timer := time.NewTimer(min(most, holdMost))
	defer timer.Stop()
	select {
	case reply := <-answer:
		return &reply
	case <-timer.C:
	case <-ctx.Done():
	}
	w.leave(id, answer)
	select {
	case reply := <-answer: // it came just now
		return &reply
	default:
		return new(attest.WaitReply)
	}
}

// enter makes a request the device's held one, unless it has an answer already.
func (w *holding) enter(id string, answer chan attest.WaitReply) *attest.WaitReply {
	w.mu.Lock()
	defer w.mu.Unlock()
	older, now := w.held[id], w.now()
	switch a := w.asked[id]; {
	case w.over():
		return &attest.WaitReply{AgainS: againStop}
	case a != nil && a.hopes(now):
		a.tell(now)
		return &attest.WaitReply{ReportNow: true}
	case older == nil && len(w.held) >= w.room:
		return &attest.WaitReply{AgainS: againFull}
	}
	if older != nil {
		older <- attest.WaitReply{}
	}
	w.held[id] = answer
	return nil
}

// leave takes a request away if it is still the held one.
func (w *holding) leave(id string, answer chan attest.WaitReply) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held[id] == (chan<- attest.WaitReply)(answer) {
		delete(w.held, id)
	}
}

// stop answers all that are held, and whoever comes after.
func (w *holding) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over() {
		return
	}
	close(w.stopped)
	for _, answer := range w.held {
		answer <- attest.WaitReply{AgainS: againStop}
	}
	clear(w.held)
}

// over reports whether the server stops. The caller holds mu.
func (w *holding) over() bool {
	select {
	case <-w.stopped:
		return true
	default:
		return false
	}
}
