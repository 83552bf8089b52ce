package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"muster/server/session"
)

// Causes of sessions that the store ended by itself.
const (
	causeRestored = "restored" // a backup was restored: a new epoch began
	causeOver     = "expired"  // its absolute limit had passed when PurgePeople came
)

// sessionDetail is what is fixed at sign-in, as JSON.
type sessionDetail struct {
	Limits     session.Limits `json:"limits"`
	Address    string         `json:"address,omitempty"`
	Browser    string         `json:"browser,omitempty"`
	Attachment string         `json:"attachment,omitempty"`
	AMR        []string       `json:"amr,omitempty"`
	ACR        string         `json:"acr,omitempty"`
	Binding    string         `json:"binding,omitempty"`
}

const sessionColumns = `s.id, s.person, s.credential, s.epoch, s.created_at, s.ended_at, s.cause, s.detail,
	h.verified_at, h.seen_at, h.link`

const sessionSelect = "SELECT " + sessionColumns + " FROM sessions s JOIN session_hot h ON h.n = s.n "

// scanSession reads one, and what stands behind it in the row into more.
func (t *Tx) scanSession(row scanner, more ...any) (*session.Session, error) {
	s := new(session.Session)
	var created, ended, verified, seen int64
	var detail string
	var link []byte
	if err := row.Scan(append([]any{&s.ID, &s.Person, &s.Credential, &s.Epoch, &created, &ended, &s.Cause,
		&detail, &verified, &seen, &link}, more...)...); err != nil {
		return nil, err
	}
	s.CreatedAt, s.EndedAt = instant(created), instant(ended)
	s.VerifiedAt, s.SeenAt = instant(verified), instant(seen)
	if ended == 0 && s.Epoch != t.epoch {
		s.EndedAt, s.Cause = t.now, causeRestored
	}
	var d sessionDetail
	if err := json.Unmarshal([]byte(detail), &d); err != nil {
		return nil, err
	}
	s.Limits, s.Address, s.Browser, s.Attachment = d.Limits, d.Address, d.Browser, d.Attachment
	s.AMR, s.ACR, s.Binding = d.AMR, d.ACR, d.Binding
	if link == nil {
		return s, nil
	}
	return s, json.Unmarshal(link, &s.Link)
}

// AddSession keeps a new session and returns the secret of its cookie, mss_ and
// 43 characters, of which only the hash is kept. It sets ID, CreatedAt and Epoch,
// and SeenAt unless it is set. The credential must be a passkey of the person:
// ErrNotFound; ErrRevoked for a disabled one.
func (t *Tx) AddSession(s *session.Session) (secret string, err error) {
	if err := t.enabled(s.Person); err != nil {
		return "", err
	}
	var owner string
	if err := t.first([]any{&owner}, "SELECT person FROM passkeys WHERE id = ?", s.Credential); err != nil {
		return "", fmt.Errorf("passkey of a session: %w", err)
	}
	if owner != s.Person {
		return "", fmt.Errorf("passkey of a session is another person's: %w", ErrNotFound)
	}
	s.ID, s.CreatedAt, s.Epoch, s.EndedAt, s.Cause = newID("s_"), t.now, t.epoch, time.Time{}, ""
	if s.SeenAt.IsZero() {
		s.SeenAt = t.now
	}
	detail, err := packJSON("session", sessionDetail{s.Limits, s.Address, s.Browser, s.Attachment, s.AMR,
		s.ACR, s.Binding}, maxDetail)
	if err != nil {
		return "", err
	}
	link, err := packLink(s.Link)
	if err != nil {
		return "", err
	}
	secret, hash := newSecret(sessionPrefix)
	t.changed(SessionChanged, s.ID)
	if err := t.one(`INSERT INTO sessions (id, hash, person, credential, epoch, created_at, over_at, detail)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, s.ID, hash[:], s.Person, s.Credential, s.Epoch,
		millis(s.CreatedAt), millis(s.CreatedAt.Add(s.Limits.Absolute)), detail); err != nil {
		return "", err
	}
	return secret, t.one(`INSERT INTO session_hot (n, verified_at, seen_at, link)
		SELECT n, ?, ?, ? FROM sessions WHERE id = ?`, millis(s.VerifiedAt), millis(s.SeenAt), link, s.ID)
}

func packLink(l *session.Link) (any, error) {
	if l == nil {
		return nil, nil
	}
	return packJSON("link", l, maxDetail)
}

// SessionBySecret reads the one with that cookie, ended or not; ErrNotFound. With
// ErrReplaced it returns the session as well: its browser has another cookie for
// longer than replacedFor, so that somebody else may have this copy.
func (t *Tx) SessionBySecret(secret string) (*session.Session, error) {
	hash, ok := hashSecret(sessionPrefix, secret)
	if !ok {
		return nil, ErrNotFound
	}
	s, err := t.session("WHERE s.hash = ?", hash[:])
	if !errors.Is(err, ErrNotFound) {
		return s, err
	}
	var until int64
	s, err = pick(t, func(row scanner) (*session.Session, error) { return t.scanSession(row, &until) },
		"SELECT "+sessionColumns+", s.old_until FROM sessions s JOIN session_hot h ON h.n = s.n WHERE s.old_hash = ?", hash[:])
	if err == nil && !instant(until).After(t.now) {
		err = ErrReplaced
	}
	return s, err
}

// replacedFor is how long a cookie that was replaced is still good: requests of
// other tabs are under way.
const replacedFor = time.Minute

// RenewSession gives a live session another cookie, whose secret it returns; an
// ended one is ErrRevoked. Only the last cookie before it is remembered.
func (t *Tx) RenewSession(id string) (secret string, err error) {
	if err := t.sessionLives(id); err != nil {
		return "", err
	}
	secret, hash := newSecret(sessionPrefix)
	t.changed(SessionChanged, id)
	return secret, t.one("UPDATE sessions SET old_hash = hash, old_until = ?, hash = ? WHERE id = ?",
		millis(t.now.Add(replacedFor)), hash[:], id)
}

// Session reads one by id.
func (t *Tx) Session(id string) (*session.Session, error) {
	return t.session("WHERE s.id = ?", id)
}

func (t *Tx) session(where string, arg any) (*session.Session, error) {
	return pick(t, t.plainSession, sessionSelect+where, arg)
}

func (t *Tx) plainSession(row scanner) (*session.Session, error) { return t.scanSession(row) }

// Sessions lists a person's that have not ended, newest first; of everyone for
// "". Limits are not looked at.
func (t *Tx) Sessions(person string) ([]*session.Session, error) {
	const live = "WHERE s.ended_at = 0 AND s.epoch = ? "
	if person == "" {
		return collect(t, t.plainSession, sessionSelect+live+"ORDER BY s.n DESC", t.epoch)
	}
	return collect(t, t.plainSession, sessionSelect+live+"AND s.person = ? ORDER BY s.n DESC", t.epoch, person)
}

// UpdateSession writes VerifiedAt, SeenAt and Link of a session that was read in
// this function; an ended one is ErrRevoked.
func (t *Tx) UpdateSession(s *session.Session) error {
	if err := t.sessionLives(s.ID); err != nil {
		return err
	}
	link, err := packLink(s.Link)
	if err != nil {
		return err
	}
	t.changed(SessionChanged, s.ID)
	return t.one(`UPDATE session_hot SET verified_at = ?, seen_at = ?, link = ?
		WHERE n = (SELECT n FROM sessions WHERE id = ?)`, millis(s.VerifiedAt), millis(s.SeenAt), link, s.ID)
}

// sessionLives refuses an ended session, and one of another epoch: ErrRevoked.
func (t *Tx) sessionLives(id string) error {
	var live bool
	err := t.first([]any{&live}, "SELECT ended_at = 0 AND epoch = ? FROM sessions WHERE id = ?", t.epoch, id)
	if err != nil {
		return fmt.Errorf("session: %w", err)
	}
	if !live {
		return fmt.Errorf("session has ended: %w", ErrRevoked)
	}
	return nil
}

// EndSession ends one for ever, with the applications' cookies that hang on it, its
// elevations and the offers that only it may take; ended already is no change. Cause is a
// stable code.
func (t *Tx) EndSession(id, cause string) error {
	ended, err := t.endSessions("WHERE id = ? AND ended_at = 0", cause, id)
	if err != nil || ended > 0 {
		return err
	}
	_, err = t.Session(id)
	return err
}

// EndSessions ends all of a person's but one (keep may be empty).
func (t *Tx) EndSessions(person, keep, cause string) (ended int, err error) {
	return t.endSessions("WHERE person = ? AND ended_at = 0 AND id <> ?", cause, person, keep)
}

// endSessions ends those that a condition finds; it must leave out the ended.
func (t *Tx) endSessions(where, cause string, args ...any) (ended int, err error) {
	var ids []string
	if err := t.query(func(row scanner) error {
		var id string
		err := row.Scan(&id)
		ids = append(ids, id)
		return err
	}, "SELECT id FROM sessions "+where, args...); err != nil {
		return 0, err
	}
	for _, id := range ids {
		if _, err := t.endElevations("WHERE session = ? AND ended_at = 0", causeSessionOver, id); err != nil {
			return 0, err
		}
		if err := t.one("UPDATE sessions SET ended_at = ?, cause = ? WHERE id = ?",
			millis(t.now), cutCause(cause), id); err != nil {
			return 0, err
		}
		if _, err := t.exec(`UPDATE offers SET ended_at = ? WHERE session = ? AND taken_at = 0
			AND ended_at = 0`, millis(t.now), id); err != nil {
			return 0, err
		}
		t.changed(SessionChanged, id)
	}
	return len(ids), nil
}

// Visit is a session's cookie at one application's host: good for that
// application's checks and nothing else.
type Visit struct {
	Session   string    `json:"session"`
	App       string    `json:"app"`
	Host      string    `json:"host"`
	CreatedAt time.Time `json:"created_at"`
}

// AddVisit keeps one and returns the secret of its cookie, msv_ and 43
// characters. A session has at most one for each host: a new one ends the old.
// ErrRevoked when the session has ended.
func (t *Tx) AddVisit(v *Visit) (secret string, err error) {
	if v.Host == "" || v.App == "" {
		return "", errors.New("visit without host or application")
	}
	if err := errors.Join(bounded("host", v.Host, maxText), bounded("application", v.App, maxText)); err != nil {
		return "", err
	}
	if err := t.sessionLives(v.Session); err != nil {
		return "", err
	}
	if _, err := t.exec("DELETE FROM visits WHERE session = (SELECT n FROM sessions WHERE id = ?) AND host = ?",
		v.Session, v.Host); err != nil {
		return "", err
	}
	v.CreatedAt = t.now
	secret, hash := newSecret(visitPrefix)
	t.changed(SessionChanged, v.Session)
	return secret, t.one(`INSERT INTO visits (hash, session, host, app, created_at)
		SELECT ?, n, ?, ?, ? FROM sessions WHERE id = ?`, hash[:], v.Host, v.App, millis(v.CreatedAt), v.Session)
}

// VisitBySecret reads the one with that cookie, with its session (ended or not).
func (t *Tx) VisitBySecret(secret string) (*Visit, *session.Session, error) {
	hash, ok := hashSecret(visitPrefix, secret)
	if !ok {
		return nil, nil, ErrNotFound
	}
	v := new(Visit)
	s, err := pick(t, func(row scanner) (*session.Session, error) {
		var created int64
		s, err := t.scanSession(row, &v.App, &v.Host, &created)
		v.CreatedAt = instant(created)
		return s, err
	}, "SELECT "+sessionColumns+`, v.app, v.host, v.created_at FROM visits v
		JOIN sessions s ON s.n = v.session JOIN session_hot h ON h.n = s.n WHERE v.hash = ?`, hash[:])
	if err != nil {
		return nil, nil, err
	}
	v.Session = s.ID
	return v, s, nil
}
