package server

import (
	"context"
	"maps"
	"time"

	"muster/attest"
)

// How long somebody waits for a laptop.
const (
	recheckPatience = 5 * time.Second
	// wakeEvery is how seldom a laptop is woken; who asks in between gets the same
	// answer as who asked before.
	wakeEvery = 3 * time.Second
	// comeBack is how long a laptop without a held request may take to bring one: it
	// may be between two.
	comeBack = time.Second
)

// wish is for a fresh report of one laptop. Its fields are guarded
// by holding.mu.
type wish struct {
	since time.Time // reports count whose nonce was issued then or later
	last  time.Time // when somebody asked last
	woken time.Time // when the laptop was told last

	wasTold, hasCome bool
	told, came       chan struct{} // closed when those turn true
}

// tell notes that the laptop is told now.
func (a *wish) tell(now time.Time) {
	if !a.wasTold {
		a.wasTold = true
		close(a.told)
	}
	a.woken = now
}

// hopes reports whether somebody still waits for the laptop to bring a request.
func (a *wish) hopes(now time.Time) bool { return !a.wasTold && now.Sub(a.last) < comeBack }

// recheck wakes the laptop and reports whether it brought a report of after that,
// within some seconds. It is false soon when the laptop holds no request here.
func (w *holding) recheck(ctx context.Context, id string) bool {
	ctx, cancel := context.WithTimeout(ctx, recheckPatience)
	defer cancel()
	a := w.ask(id)
	if a == nil {
		return false
	}
	timer := time.NewTimer(comeBack)
	defer timer.Stop()
	select {
	case <-a.told:
	case <-timer.C:
		return false
	case <-ctx.Done():
		return false
	case <-w.stopped:
		return false
	}
	select {
	case <-a.came:
		return true
	case <-ctx.Done():
		return false
	case <-w.stopped:
		return false
	}
}

// ask joins those who wait for a laptop, and wakes it when that is due; nil: the
// server stops.
func (w *holding) ask(id string) *wish {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over() {
		return nil
	}
	now := w.now()
	maps.DeleteFunc(w.asked, func(_ string, a *wish) bool { return now.Sub(a.last) > 2*recheckPatience })
	a := w.asked[id]
	if a != nil && a.wasTold && now.Sub(a.woken) < wakeEvery {
		a.last = now
		return a
	}
	if a == nil || a.hasCome || !a.wasTold && !a.hopes(now) {
		a = &wish{since: now, told: make(chan struct{}), came: make(chan struct{})}
		w.asked[id] = a
	}
	a.last = now
	if answer := w.held[id]; answer != nil {
		delete(w.held, id)
		answer <- attest.WaitReply{ReportNow: true}
		a.tell(now)
	}
	return a
}

// reported tells those who wait that a report was accepted and can be seen, by
// when its nonce was issued: one that was signed before they asked is none of
// theirs.
func (w *holding) reported(id string, issued time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a := w.asked[id]; a != nil && !a.hasCome && !issued.Before(a.since) {
		a.hasCome = true
		close(a.came)
	}
}
