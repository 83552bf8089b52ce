package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Notice is something that a person or an operator is to be told: kept until
// delivered, in order.
type Notice struct {
	ID        uint64    `json:"id"`
	Channel   string    `json:"channel"` // mail or webhook
	To        string    `json:"to"`      // mail address; empty for a webhook
	Kind      string    `json:"kind"`    // stable: passkey-added, recovery-started
	Body      []byte    `json:"body"`    // JSON, at most 16 kB
	CreatedAt time.Time `json:"created_at"`
	Attempts  int       `json:"attempts"`
	NextAt    time.Time `json:"next_at"`
	Error     string    `json:"error,omitempty"` // of the last attempt
}

// maxNotices is how many wait in each channel.
const maxNotices = 10_000

func scanNotice(row scanner) (*Notice, error) {
	n := new(Notice)
	var created, next int64
	err := row.Scan(&n.ID, &n.Channel, &n.To, &n.Kind, &n.Body, &created, &n.Attempts, &next, &n.Error)
	n.CreatedAt, n.NextAt = instant(created), instant(next)
	return n, err
}

// AddNotice puts one into the outbox and sets ID, CreatedAt and, unless it is
// set, NextAt. At most 10,000 wait in a channel: then the oldest leaves, audited,
// of the receiver with the most, so that nobody's are pushed out by another's.
func (t *Tx) AddNotice(n *Notice) error {
	if n.Channel != "mail" && n.Channel != "webhook" || n.Kind == "" {
		return fmt.Errorf("notice of kind %q for channel %q", n.Kind, n.Channel)
	}
	if n.Body == nil {
		n.Body = []byte("{}")
	}
	if err := errors.Join(bounded("address", n.To, maxText), bounded("kind of a notice", n.Kind, maxID),
		ownData("body of a notice", n.Body)); err != nil {
		return err
	}
	if err := t.makeRoom(n.Channel); err != nil {
		return err
	}
	n.CreatedAt = t.now
	if n.NextAt.IsZero() {
		n.NextAt = t.now
	}
	if err := t.one(`INSERT INTO notices (channel, recipient, kind, body, created_at, attempts, next_at, error)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, n.Channel, n.To, n.Kind, n.Body, millis(n.CreatedAt), n.Attempts,
		millis(n.NextAt), cutText(n.Error)); err != nil {
		return err
	}
	return t.first([]any{&n.ID}, "SELECT max(id) FROM notices")
}

// makeRoom drops the oldest of a full channel's busiest receiver.
func (t *Tx) makeRoom(channel string) error {
	for {
		var waiting, oldest int64
		var kind string
		err := t.first([]any{&waiting}, "SELECT count(*) FROM notices WHERE channel = ?", channel)
		if err != nil || waiting < maxNotices {
			return err
		}
		if err := t.first([]any{&oldest, &kind}, `SELECT id, kind FROM notices WHERE channel = ?1 AND recipient =
			(SELECT recipient FROM notices WHERE channel = ?1 GROUP BY recipient ORDER BY count(*) DESC, min(id) LIMIT 1)
			ORDER BY id LIMIT 1`, channel); err != nil {
			return err
		}
		if err := t.one("DELETE FROM notices WHERE id = ?", oldest); err != nil {
			return err
		}
		detail, err := json.Marshal(map[string]string{"kind": kind, "why": "outbox is full"})
		if err != nil {
			return err
		}
		if _, err := t.Audit(Entry{Actor: "store", Action: "notice.drop", Subject: channel, Detail: detail}); err != nil {
			return err
		}
	}
}

// DueNotices are those whose time has come, oldest first.
func (t *Tx) DueNotices(limit int) ([]*Notice, error) {
	return collect(t, scanNotice, `SELECT id, channel, recipient, kind, body, created_at, attempts, next_at, error
		FROM notices WHERE next_at <= ? ORDER BY id LIMIT ?`, millis(t.now), max(limit, 0))
}

// NoticeDone forgets a delivered one.
func (t *Tx) NoticeDone(id uint64) error {
	return t.one("DELETE FROM notices WHERE id = ?", id)
}

// NoticeAgain writes Attempts, NextAt and Error.
func (t *Tx) NoticeAgain(n *Notice) error {
	return t.one("UPDATE notices SET attempts = ?, next_at = ?, error = ? WHERE id = ?",
		n.Attempts, millis(n.NextAt), cutText(n.Error), n.ID)
}
