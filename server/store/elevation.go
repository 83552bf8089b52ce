package store

import (
	"errors"
	"fmt"
	"time"
)

// Causes of elevations that the store ended by itself.
const (
	causeSessionOver  = "session-over"  // with their session
	causeNotApproved  = "not-approved"  // nobody approved it in time
	causeElevationEnd = "elevation-end" // its minutes are over
)

// Elevation is privileged access of one session to one application for some
// minutes: asked for, granted, ended. It never comes back once ended.
type Elevation struct {
	ID      string `json:"id"` // el_...
	Session string `json:"session"`
	Person  string `json:"person"`
	App     string `json:"app"`
	Why     string `json:"why"` // the person's own words
	// Approval is the group of which another person must approve, as the policy said
	// when it was asked for; empty: nobody.
	Approval string        `json:"approval,omitempty"`
	Lasts    time.Duration `json:"lasts"` // from the grant
	AskedAt  time.Time     `json:"asked_at"`
	// Expires is until when it may be approved.
	Expires    time.Time `json:"expires"`
	GrantedAt  time.Time `json:"granted_at,omitzero"`
	EndsAt     time.Time `json:"ends_at,omitzero"`
	ApprovedBy string    `json:"approved_by,omitempty"` // person id
	EndedAt    time.Time `json:"ended_at,omitzero"`
	Cause      string    `json:"cause,omitempty"` // why it ended: a stable code
}

// Over tells why an elevation is over: the code that it ended with, or not-approved
// or elevation-end by its times. Empty when it waits or is granted.
func (e *Elevation) Over(now time.Time) string {
	switch {
	case !e.EndedAt.IsZero() && e.Cause != "":
		return e.Cause
	case !e.EndedAt.IsZero():
		return "ended"
	case e.GrantedAt.IsZero() && !now.Before(e.Expires):
		return causeNotApproved
	case !e.GrantedAt.IsZero() && !now.Before(e.EndsAt):
		return causeElevationEnd
	}
	return ""
}

const elevationSelect = `SELECT e.id, e.session, e.person, e.app, e.why, e.approval, e.lasts, e.asked_at, e.expires_at,
	e.granted_at, e.ends_at, coalesce(e.approved_by, ''), e.ended_at, e.cause, s.epoch
	FROM elevations e JOIN sessions s ON s.id = e.session `

func (t *Tx) scanElevation(row scanner) (*Elevation, error) {
	e := new(Elevation)
	var lasts, asked, expires, granted, ends, ended int64
	var epoch uint64
	if err := row.Scan(&e.ID, &e.Session, &e.Person, &e.App, &e.Why, &e.Approval, &lasts, &asked, &expires,
		&granted, &ends, &e.ApprovedBy, &ended, &e.Cause, &epoch); err != nil {
		return nil, err
	}
	e.Lasts = time.Duration(lasts) * time.Millisecond
	e.AskedAt, e.Expires, e.GrantedAt = instant(asked), instant(expires), instant(granted)
	e.EndsAt, e.EndedAt = instant(ends), instant(ended)
	if ended == 0 && epoch != t.epoch {
		e.EndedAt, e.Cause = t.now, causeRestored
	}
	return e, nil
}

// AddElevation keeps one that is asked for; it sets ID and AskedAt. ErrRevoked when
// its session has ended; ErrTaken when the session has a live one for that
// application. One whose time is over is ended to make room.
func (t *Tx) AddElevation(e *Elevation) error {
	if err := e.fit(t.now); err != nil {
		return err
	}
	if err := t.sessionLives(e.Session); err != nil {
		return err
	}
	if _, err := t.endElevations(`WHERE session = ?1 AND app = ?2 AND ended_at = 0
		AND (granted_at = 0 AND expires_at <= ?3 OR granted_at <> 0 AND ends_at <= ?3)`,
		"", e.Session, e.App, millis(t.now)); err != nil {
		return err
	}
	e.ID, e.AskedAt = newID("el_"), t.now
	e.GrantedAt, e.EndsAt, e.ApprovedBy, e.EndedAt, e.Cause = time.Time{}, time.Time{}, "", time.Time{}, ""
	t.changed(SessionChanged, e.Session)
	return t.one(`INSERT INTO elevations (id, session, person, app, why, approval, lasts, asked_at, expires_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, e.ID, e.Session, e.Person, e.App, e.Why, e.Approval,
		e.Lasts.Milliseconds(), millis(e.AskedAt), millis(e.Expires))
}

// fit refuses what the store does not keep of one.
func (e *Elevation) fit(now time.Time) error {
	if e.App == "" || e.Lasts < time.Millisecond || !e.Expires.After(now) {
		return errors.New("elevation without application or time")
	}
	return errors.Join(bounded("application", e.App, maxText), bounded("reason", e.Why, 4*maxText),
		bounded("group", e.Approval, maxText))
}

// Elevation reads one, ended or not; ErrNotFound.
func (t *Tx) Elevation(id string) (*Elevation, error) {
	return pick(t, t.scanElevation, elevationSelect+"WHERE e.id = ?", id)
}

// Elevations lists those that have not ended, newest first, of a session; of all
// for "". Times are not looked at, but those of ended sessions are left out.
func (t *Tx) Elevations(session string) ([]*Elevation, error) {
	const live = "WHERE e.ended_at = 0 AND s.ended_at = 0 AND s.epoch = ? "
	if session == "" {
		return collect(t, t.scanElevation, elevationSelect+live+"ORDER BY e.n DESC", t.epoch)
	}
	return collect(t, t.scanElevation, elevationSelect+live+"AND e.session = ? ORDER BY e.n DESC", t.epoch, session)
}

// ElevationsAsked counts what a session asked for since a time, ended or not.
func (t *Tx) ElevationsAsked(session string, since time.Time) (n int, err error) {
	err = t.first([]any{&n}, "SELECT count(*) FROM elevations WHERE session = ? AND asked_at > ?", session, millis(since))
	return n, err
}

// GrantElevation opens it from now until now + Lasts. by is the person who
// approved, or empty. ErrRevoked when it, or its session, has ended, or nobody
// approved it in time; ErrTaken when it was granted before.
func (t *Tx) GrantElevation(id, by string) (*Elevation, error) {
	e, err := t.Elevation(id)
	if err != nil {
		return nil, err
	}
	if err := t.sessionLives(e.Session); err != nil {
		return nil, err
	}
	switch {
	case !e.GrantedAt.IsZero() && e.EndedAt.IsZero():
		return nil, fmt.Errorf("elevation was granted: %w", ErrTaken)
	case e.Over(t.now) != "":
		return nil, fmt.Errorf("elevation is over: %w", ErrRevoked)
	}
	var approver any
	if by != "" {
		if err := t.enabled(by); err != nil {
			return nil, fmt.Errorf("approving elevation: %w", err)
		}
		approver = by
	}
	e.GrantedAt, e.EndsAt, e.ApprovedBy = t.now, t.now.Add(e.Lasts), by
	t.changed(SessionChanged, e.Session)
	return e, t.one("UPDATE elevations SET granted_at = ?, ends_at = ?, approved_by = ? WHERE id = ?",
		millis(e.GrantedAt), millis(e.EndsAt), approver, id)
}

// EndElevation ends one for ever; ended already is no change. It changes the
// session (SessionChanged), as AddElevation and GrantElevation do.
func (t *Tx) EndElevation(id, cause string) error {
	ended, err := t.endElevations("WHERE id = ? AND ended_at = 0", cutCause(cause), id)
	if err != nil || ended > 0 {
		return err
	}
	_, err = t.Elevation(id)
	return err
}

// endElevations ends those that a condition finds; it must leave out the ended. With
// no cause, it is that their time is over.
func (t *Tx) endElevations(where, cause string, args ...any) (ended int, err error) {
	type row struct {
		id, session string
		granted     bool
	}
	list, err := collect(t, func(s scanner) (*row, error) {
		r := new(row)
		return r, s.Scan(&r.id, &r.session, &r.granted)
	}, "SELECT id, session, granted_at <> 0 FROM elevations "+where, args...)
	if err != nil {
		return 0, err
	}
	for _, r := range list {
		why := cause
		switch {
		case why == "" && r.granted:
			why = causeElevationEnd
		case why == "":
			why = causeNotApproved
		}
		if err := t.one("UPDATE elevations SET ended_at = ?, cause = ? WHERE id = ?", millis(t.now), why, r.id); err != nil {
			return 0, err
		}
		t.changed(SessionChanged, r.session)
	}
	return len(list), nil
}
