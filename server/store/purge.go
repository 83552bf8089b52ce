package store

import "time"

// keptEnded is how long it can be read of an ended session that it ended, and why.
const keptEnded = 90 * 24 * time.Hour

// PurgePeople forgets expired offers and spent values, and sessions, API tokens,
// elevations and bypasses that ended ninety days ago. It ends sessions whose
// absolute limit has passed, and elevations whose time is over; idle sessions are
// their reader's to end.
func (t *Tx) PurgePeople() error {
	now, old := millis(t.now), millis(t.now.Add(-keptEnded))
	if _, err := t.endSessions("WHERE ended_at = 0 AND over_at <= ?", causeOver, now); err != nil {
		return err
	}
	if _, err := t.endElevations(`WHERE ended_at = 0
		AND (granted_at = 0 AND expires_at <= ?1 OR granted_at <> 0 AND ends_at <= ?1)`, "", now); err != nil {
		return err
	}
	for _, purge := range []struct {
		query string
		until int64
	}{
		{"DELETE FROM offers WHERE expires_at <= ?", now},
		{"DELETE FROM spent WHERE expires_at <= ?", now},
		{"DELETE FROM elevations WHERE ended_at > 0 AND ended_at <= ?", old},
		{"DELETE FROM bypasses WHERE ended_at > 0 AND ended_at <= ?1 OR expires_at <= ?1", old},
		{"DELETE FROM sessions WHERE ended_at > 0 AND ended_at <= ?", old},
		{"DELETE FROM api_tokens WHERE ended_at > 0 AND ended_at <= ?1 OR expires_at <= ?1", old},
	} {
		if _, err := t.exec(purge.query, purge.until); err != nil {
			return err
		}
	}
	return nil
}
