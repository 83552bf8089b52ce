package notice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"muster/server/store"
)

// Config is what a Sender works with.
type Config struct {
	Store *store.Store
	// SMTP and Webhook are nil when notices do not go there; what waits for such a
	// channel then waits until it is given up.
	SMTP    *SMTP
	Webhook *Webhook
	Now     func() time.Time
	Log     *slog.Logger
	// HTTP carries webhooks; nil: a transport of our own.
	HTTP http.RoundTripper
}

// Secret is a text that no log and no error shows.
type Secret string

// hidden stands where a secret would.
const hidden = "(secret)"

// String hides it.
func (Secret) String() string { return hidden }

// GoString hides it.
func (Secret) GoString() string { return hidden }

// MarshalText hides it.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue hides it.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// The channels of store.Notice.
const (
	byMail    = "mail"
	byWebhook = "webhook"
)

// When a delivery did not work it is tried again after a minute, two, four, and
// so on up to six hours, until three days after the notice was written.
const (
	firstDelay = time.Minute
	lastDelay  = 6 * time.Hour
	giveUp     = 72 * time.Hour
)

// poll is how often the outbox is looked at; timeout bounds one delivery.
const (
	poll    = 2 * time.Second
	timeout = 10 * time.Second
)

// Sender delivers. Run is to be called once.
type Sender struct {
	Config
	poll     time.Duration
	channels []*channel
}

// channel is one way out, with a goroutine of its own: what is slow on one does
// not hold up the other.
type channel struct {
	name string
	send func(context.Context, *store.Notice) error
	// blocked tells until when a receiver's notices wait, because the first of
	// them could not be delivered. Of the channel's goroutine alone.
	blocked map[string]time.Time
}

// New checks the settings; it connects nowhere.
func New(c Config) (*Sender, error) {
	s := &Sender{Config: c, poll: poll}
	m, err := newMailer(c.SMTP)
	if err != nil {
		return nil, fmt.Errorf("notices by mail: %w", err)
	}
	w, err := newHook(c)
	if err != nil {
		return nil, fmt.Errorf("notices by webhook: %w", err)
	}
	s.channels = []*channel{
		{name: byMail, send: m.send, blocked: map[string]time.Time{}},
		{name: byWebhook, send: func(ctx context.Context, n *store.Notice) error {
			return w.send(ctx, n, c.Now().Unix())
		}, blocked: map[string]time.Time{}},
	}
	return s, nil
}

// errOff is what a channel that is not configured answers.
var errOff = errors.New("this channel is not configured")

// Run delivers until ctx ends.
func (s *Sender) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, c := range s.channels {
		wg.Go(func() { s.run(ctx, c) })
	}
	wg.Wait()
}

func (s *Sender) run(ctx context.Context, c *channel) {
	tick := time.NewTicker(s.poll)
	defer tick.Stop()
	for {
		if err := s.round(ctx, c); err != nil && ctx.Err() == nil {
			s.Log.Warn("notices wait", "channel", c.name, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// round tries everything of a channel that is due. An error is the store's: what
// was sent and could not be noted is sent again.
func (s *Sender) round(ctx context.Context, c *channel) error {
	for {
		list, err := s.due(ctx, c)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, n := range list {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := s.deliver(ctx, c, n); err != nil {
				return err
			}
		}
	}
}

// due reads what is due on one channel, oldest first. The outbox lists all
// channels together, so it reads on until something of this one is found.
func (s *Sender) due(ctx context.Context, c *channel) (mine []*store.Notice, err error) {
	for limit := 64; ; limit *= 4 {
		var all []*store.Notice
		err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
			all, err = tx.DueNotices(limit)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, n := range all {
			if n.Channel == c.name {
				mine = append(mine, n)
			}
		}
		if len(mine) > 0 || len(all) < limit {
			return mine, nil
		}
	}
}

// deliver tries one notice and notes what came of it.
func (s *Sender) deliver(ctx context.Context, c *channel, n *store.Notice) error {
	now := s.Now()
	if until := c.blocked[n.To]; now.Before(until) {
		// An earlier one to the same receiver waits: this one waits behind it.
		n.NextAt = until
		return s.Store.Update(ctx, func(tx *store.Tx) error { return tx.NoticeAgain(n) })
	}
	err := c.send(ctx, n)
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // we are ending, which is not the receiver's fault
	}
	if err == nil {
		delete(c.blocked, n.To)
		// Noted even if we are ending, or it would be sent again.
		return s.Store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error { return tx.NoticeDone(n.ID) })
	}
	n.Attempts, n.Error = n.Attempts+1, printable(err.Error())
	s.Log.Warn("notice not delivered", "notice", n.ID, "kind", n.Kind, "channel", c.name,
		"attempts", n.Attempts, "error", n.Error)
	if now.Sub(n.CreatedAt) >= giveUp {
		delete(c.blocked, n.To)
		return s.Store.Update(ctx, func(tx *store.Tx) error { return given(tx, n) })
	}
	n.NextAt = now.Add(delay(n.Attempts)).Truncate(time.Millisecond)
	c.blocked[n.To] = n.NextAt
	return s.Store.Update(ctx, func(tx *store.Tx) error { return tx.NoticeAgain(n) })
}

// delay is how long to wait after so many attempts.
func delay(attempts int) time.Duration {
	d := firstDelay
	for i := 1; i < attempts && d < lastDelay; i++ {
		d *= 2
	}
	return min(d, lastDelay)
}

// given forgets a notice that nobody took, and says so where it is not forgotten.
func given(tx *store.Tx, n *store.Notice) error {
	detail, err := json.Marshal(map[string]any{
		"kind": n.Kind, "channel": n.Channel, "to": n.To, "attempts": n.Attempts, "error": n.Error,
	})
	if err != nil {
		return err
	}
	_, err = tx.Audit(store.Entry{Actor: "notice", Action: "notice.give-up", Subject: fmt.Sprint(n.ID), Detail: detail})
	if err != nil {
		return err
	}
	return tx.NoticeDone(n.ID)
}

// content is what of a notice's body a mail shows.
type content struct {
	Subject string `json:"subject"`
	Text    string `json:"text"`
	Fix     string `json:"fix"`
}

// errorBytes bounds what is kept of a receiver's answer.
const errorBytes = 200

// printable is a foreign text on one line, cut.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > errorBytes {
		s = strings.ToValidUTF8(s[:errorBytes], "")
	}
	return strings.TrimSpace(s)
}
