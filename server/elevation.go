package server

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"sync"
	"time"

	"muster/server/decide"
	"muster/server/people"
	"muster/server/session"
	"muster/server/store"
)

// elevated watches over privileged access: it ends by itself, and at any loss of
// trust, even one that was over before anybody asked.
type elevated struct {
	woken chan struct{} // has room for one

	looking sync.Mutex // held for one look at all of them

	mu sync.Mutex
	// laptops are those of sessions that have a live elevation, or asked for one just
	// now, with what was found of each since the last look, oldest first; guarded by
	// mu.
	laptops map[string][]decide.Inputs
	// asked is when an elevation was asked for on a laptop last; guarded by mu.
	asked map[string]time.Time
	// doomed are elevations that must end, and why, until that is stored: what was
	// seen once is not forgotten because the store was busy. Guarded by mu.
	doomed map[string]string
	// linked is when the session of a live elevation was first linked; guarded by mu.
	linked map[string]time.Time
}

// isDoomed reports whether an elevation must end and has not yet.
func (e *elevated) isDoomed(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.doomed[id] != ""
}

// doom notes that an elevation must end.
func (e *elevated) doom(id, cause string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.doomed[id] == "" {
		e.doomed[id] = cause
	}
}

// verdict is why an elevation is doomed; empty: it is not.
func (e *elevated) verdict(id string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.doomed[id]
}

// relinked reports whether the session of an elevation is linked anew since it was
// looked at first: in between it was on no laptop.
func (e *elevated) relinked(id string, first time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	before, known := e.linked[id]
	if !known {
		e.linked[id] = first
	}
	return known && !before.Equal(first)
}

// forget drops what is kept of elevations that have ended.
func (e *elevated) forget(live map[string]bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	gone := func(id string, _ string) bool { return !live[id] }
	maps.DeleteFunc(e.doomed, gone)
	maps.DeleteFunc(e.linked, func(id string, _ time.Time) bool { return !live[id] })
}

// askedOn begins to watch a laptop before anything is granted on it.
func (e *elevated) askedOn(device string, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked[device] = now
	if _, known := e.laptops[device]; !known {
		e.laptops[device] = nil
	}
}

// watchAsked is how long a laptop is watched after somebody asked: the grant and the
// first look come within.
const watchAsked = time.Minute

// maxSightings bounds what is kept of a laptop between two looks, which are a
// moment apart. More than that is itself no reason for trust.
const maxSightings = 16

func newElevated() *elevated {
	return &elevated{
		woken: make(chan struct{}, 1), laptops: make(map[string][]decide.Inputs), asked: make(map[string]time.Time),
		doomed: make(map[string]string), linked: make(map[string]time.Time),
	}
}

// wake asks for a look at all elevations soon.
func (e *elevated) wake() {
	select {
	case e.woken <- struct{}{}:
	default: // it is on its way
	}
}

// saw is told how a laptop stands each time that this is found anew.
func (e *elevated) saw(device string, in *decide.Inputs) {
	e.mu.Lock()
	defer e.mu.Unlock()
	seen, watched := e.laptops[device]
	if !watched {
		return
	}
	if len(seen) == maxSightings {
		seen[maxSightings-1] = decide.Inputs{} // nothing is known of it, which denies
	} else {
		seen = append(seen, *in)
	}
	e.laptops[device] = seen
	e.wake()
}

// take returns what was seen since the last time, and begins anew.
func (e *elevated) take() map[string][]decide.Inputs {
	e.mu.Lock()
	defer e.mu.Unlock()
	seen := e.laptops
	e.laptops = make(map[string][]decide.Inputs, len(seen))
	for id := range seen {
		e.laptops[id] = nil
	}
	return seen
}

// watch says which laptops matter from now on.
func (e *elevated) watch(laptops map[string]bool, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, at := range e.asked {
		if now.Sub(at) < watchAsked {
			laptops[id] = true
		} else {
			delete(e.asked, id)
		}
	}
	for id := range e.laptops {
		if !laptops[id] {
			delete(e.laptops, id)
		}
	}
	for id := range laptops {
		if _, known := e.laptops[id]; !known {
			e.laptops[id] = nil
		}
	}
}

// Elevations are looked at when something changed, and every second for what
// changes with time; not more often than that pause.
const (
	elevationTick  = time.Second
	elevationPause = 20 * time.Millisecond
)

// watchElevations ends elevations until ctx ends.
func (s *Server) watchElevations(ctx context.Context) {
	tick := time.NewTicker(elevationTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.elevated.woken:
		}
		if err := s.lookAtElevations(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("elevations not looked at; they end by themselves", "error", err)
		}
		time.Sleep(elevationPause)
	}
}

// lookAtElevations ends those whose time or trust is over.
func (s *Server) lookAtElevations(ctx context.Context) error {
	s.elevated.looking.Lock()
	defer s.elevated.looking.Unlock()
	var live []*store.Elevation
	err := s.store.View(ctx, func(tx *store.Tx) (err error) {
		live, err = tx.Elevations("")
		return err
	})
	if err != nil {
		return err
	}
	seen := s.elevated.take()
	laptops, ids := make(map[string]bool), make(map[string]bool)
	for _, e := range live {
		ids[e.ID] = true
		cause, laptop := s.lost(ctx, e, seen)
		if cause == "" {
			laptops[laptop] = true
			continue
		}
		s.elevated.doom(e.ID, cause)
		s.visitors.changed(store.Change{Kind: store.SessionChanged, Subject: e.Session}) // it counts no more
		if lost := s.people.LoseElevation(ctx, e.ID, cause); lost != nil {
			err = errors.Join(err, lost)
		}
	}
	s.elevated.forget(ids)
	s.elevated.watch(laptops, s.now())
	return err
}

// lookNow looks at all elevations before a change of trust is answered: what is
// taken back later was gone all the same.
func (s *Server) lookNow(ctx context.Context) {
	if err := s.lookAtElevations(ctx); err != nil {
		s.log.Error("elevations not looked at; they are again in a moment", "error", err)
	}
}

// Causes of an end that are no reason's code: the session is on no laptop any more,
// or is anew; the policy has other terms by now (as people has it).
const (
	causeLinkLost = "link-lost"
	causeTerms    = "terms-changed"
)

// lost tells why an elevation must end, or which laptop to watch for it. One that
// waits for approval ends for the same reasons.
func (s *Server) lost(ctx context.Context, e *store.Elevation, seen map[string][]decide.Inputs) (cause, laptop string) {
	if cause := cmp.Or(s.elevated.verdict(e.ID), e.Over(s.now())); cause != "" {
		return cause, ""
	}
	if a, _ := s.policy.Load().App(e.App); a.Elevation.Lasts != e.Lasts || a.Elevation.Approval != e.Approval {
		return causeTerms, ""
	}
	st, v, refused := s.sessionNow(ctx, e.Session, e.App)
	if refused != nil {
		return refused.Decision().Reasons[0].Code, ""
	}
	in, _ := s.inputsOf(&standing{of: st.of}, v.seenAt(), e.App, time.Time{})
	if in.Visitor.Session.Over != "" {
		return in.Visitor.Session.Over, ""
	}
	if in.Visitor.Session.Link.State != string(session.LinkLive) {
		return cmp.Or(ofLaptop(&st.prepared.Decision), causeLinkLost), ""
	}
	if cause := distrust(&st.prepared.Decision); cause != "" {
		return cause, ""
	}
	laptop = st.of.session.Link.Device
	if s.elevated.relinked(e.ID, st.of.session.Link.First) {
		return causeLinkLost, ""
	}
	for _, was := range seen[laptop] {
		then := *in
		then.Device, then.HasResult, then.Grace, then.Now = was.Device, was.HasResult, was.Grace, was.Now
		if cause := distrust(&st.policy.Prepare(then).Decision); cause != "" {
			return cause, ""
		}
	}
	return "", laptop
}

// ofLaptop is the code of the first reason that the laptop itself gives.
func ofLaptop(d *decide.Decision) string {
	for _, r := range d.Reasons {
		if r.Outcome == decide.Deny && r.Counts() && (r.Claim == "device" || r.Claim == "report") {
			return r.Code
		}
	}
	return ""
}

// distrust is the code of the first reason that denies; a step that the person can
// take on the spot is no loss of trust.
func distrust(d *decide.Decision) string {
	for _, r := range d.Reasons {
		if r.Outcome == decide.Deny && r.Counts() {
			return r.Code
		}
	}
	if d.Outcome == decide.Deny {
		return "denied"
	}
	return ""
}

// elevationTerms tells on what terms a session may get an application, and refuses
// where it stays closed for another reason (people.Config.Elevation). Hands are not
// looked at: who asks must have fresh ones, and who waits for an approval need not
// keep them.
func (s *Server) elevationTerms(one *session.Session, app string) (people.ElevationTerms, error) {
	a, named := s.policy.Load().App(app)
	if !named || a.Elevation.Lasts == 0 {
		return people.ElevationTerms{}, nil // there is none to be had
	}
	if one.Link != nil {
		s.elevated.askedOn(one.Link.Device, s.now()) // before anything is judged
	}
	st, v, refused := s.sessionNow(context.Background(), one.ID, app)
	if refused != nil {
		return people.ElevationTerms{}, misfit(http.StatusConflict, "elevation-closed", "It could not be told whether this application would open.", "Try again.")
	}
	in, _ := s.inputsOf(&standing{of: st.of}, v.seenAt(), app, time.Time{})
	if in.Visitor.Session.Link.State != string(session.LinkLive) {
		return people.ElevationTerms{}, misfit(http.StatusConflict, "elevation-unlinked", "Privileged access is for a browser on a laptop that is known.", "Link this laptop first.")
	}
	for _, r := range st.prepared.Decision.Reasons {
		if r.Counts() && r.Claim != "elevation" && r.Claim != "verification" {
			return people.ElevationTerms{}, misfit(http.StatusConflict, "elevation-closed", "The application stays closed for another reason: "+r.Text, r.Fix)
		}
	}
	return people.ElevationTerms{Lasts: a.Elevation.Lasts, Approval: a.Elevation.Approval}, nil
}
