package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"muster/attest"
	"muster/platform/seat"
)

// How often the seat is looked at while a link was proved for who sits there, and
// how long after the server could not be told.
const (
	seatEvery = 10 * time.Second
	seatAgain = time.Minute
)

// noteLink remembers for whom a session was linked, so that it ends when they
// leave. Who was let in without a session at a seat (by link_user on a machine
// without logind; root) is not watched: their links end by age. Who was let in for
// one, and has left since, is: the next look ends the link.
func (a *Agent) noteLink(user string) error {
	boot, err := a.bootID()
	if err != nil || !a.watched(user) {
		return err
	}
	l := &linked{BootID: boot, User: user}
	if old := a.state.Linked; old == nil || *old != *l {
		a.state.Linked = l
		if err := a.save(); err != nil {
			return err
		}
	}
	a.linked.Store(l)
	return nil
}

// endOthers ends what was linked for another account, or before the system was
// started anew, and was not told yet: one link's person is watched at a time, so
// on a machine with two seats the one who links last has the link.
func (a *Agent) endOthers(ctx context.Context, user string) error {
	l := a.linked.Load()
	if l == nil {
		return nil
	}
	boot, err := a.bootID()
	if err != nil || l.BootID == boot && (l.User == user || !a.watched(user)) {
		return err
	}
	return a.endLinks(ctx, l, attest.CauseLeft)
}

// watched reports whether an account's links end with its session at the seat.
func (a *Agent) watched(user string) bool {
	return a.Settings.LinkUser == "" && !slices.Contains(owners(), user) || a.seated(user)
}

func (a *Agent) seated(user string) bool {
	_, err := a.sessionOf(user)
	return err == nil
}

var errAway = errors.New("has no active local session")

// sessionOf returns an account's active local session; errAway: it has none.
func (a *Agent) sessionOf(user string) (seat.Session, error) {
	sessions, err := a.Active()
	if err != nil {
		return seat.Session{}, err
	}
	for _, s := range sessions {
		if s.User == user {
			return s, nil
		}
	}
	return seat.Session{}, fmt.Errorf("account %s %w", user, errAway)
}

// left tells why links end now; empty: they do not, as far as the system tells.
// With the system's start everybody left: what shuts it down is not seen.
func (a *Agent) left(ctx context.Context, l *linked) string {
	if boot, err := a.bootID(); err == nil && boot != l.BootID {
		return attest.CauseLeft
	}
	s, err := a.sessionOf(l.User)
	if errors.Is(err, errAway) {
		return attest.CauseLeft
	}
	if err == nil {
		locked := false
		if locked, err = a.Locked(ctx, s.ID); err == nil && locked {
			return attest.CauseLocked
		}
	}
	if err != nil {
		a.Log.Debug("seat not known", "error", err)
	}
	return ""
}

// watchSeat tells the server when the person for whom a session was linked locks
// the screen or leaves, until ctx ends.
func (a *Agent) watchSeat(ctx context.Context) {
	timer := time.NewTimer(seatEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		wait := seatEvery
		if l := a.linked.Load(); l != nil {
			if cause := a.left(ctx, l); cause != "" {
				if _, err := a.await(ctx, func(ctx context.Context) (any, error) { return nil, a.endLinks(ctx, l, cause) }); err != nil {
					a.Log.Info("end of links not told, trying again", "reason", declinedOf(err).Code)
					wait = seatAgain
				}
			}
		}
		timer.Reset(wait)
	}
}

// endLinks tells the server, and forgets the links when it heard or does not want
// to.
func (a *Agent) endLinks(ctx context.Context, l *linked, cause string) error {
	if a.linked.Load() != l {
		return nil // linked anew meanwhile
	}
	if a.linkable() == nil {
		body, err := attest.Encode(attest.LinkEnd{Cause: cause})
		if err != nil {
			return fmt.Errorf("writing link end: %w", err)
		}
		err = a.client.post(ctx, attest.PathLinkEnd, a.identity(), body, nil)
		r := (*refusal)(nil)
		if err != nil && (!errors.As(err, &r) || r.Foreign || r.Status >= 500 || r.Code == attest.CodeRateLimited) {
			return err
		}
		a.Log.Info("links ended", "device", a.state.Enrolled.Device, "cause", cause, "reason", code(err))
	}
	a.state.Linked = nil
	if err := a.save(); err != nil {
		return err
	}
	a.linked.Store(nil)
	return nil
}
