package notice

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"muster/server/store"
)

// outbox is a real store with a clock that tests move, and what was logged.
type outbox struct {
	t     testing.TB
	ms    atomic.Int64
	store *store.Store
	log   *bytes.Buffer
}

func newOutbox(t testing.TB) *outbox {
	t.Helper()
	o := &outbox{t: t, log: new(bytes.Buffer)}
	o.ms.Store(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMilli())
	var err error
	if o.store, err = store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "data", "muster.db"), Now: o.now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.store.Close() })
	return o
}

func (o *outbox) now() time.Time       { return time.UnixMilli(o.ms.Load()).UTC() }
func (o *outbox) pass(d time.Duration) { o.ms.Add(d.Milliseconds()) }

func (o *outbox) config() Config {
	return Config{Store: o.store, Now: o.now, Log: slog.New(slog.NewTextHandler(o.log, nil))}
}

func (o *outbox) sender(c Config) *Sender {
	o.t.Helper()
	s, err := New(c)
	if err != nil {
		o.t.Fatal(err)
	}
	return s
}

// add writes a notice; to "" is the webhook.
func (o *outbox) add(to, text string) {
	o.t.Helper()
	body, err := json.Marshal(map[string]string{"kind": "test", "subject": "About " + text, "text": text, "fix": "Nothing."})
	if err != nil {
		o.t.Fatal(err)
	}
	n := &store.Notice{Channel: byMail, To: to, Kind: "test", Body: body}
	if to == "" {
		n.Channel = byWebhook
	}
	if err := o.store.Update(context.Background(), func(tx *store.Tx) error { return tx.AddNotice(n) }); err != nil {
		o.t.Fatal(err)
	}
}

// round lets both channels try once what is due.
func (o *outbox) round(s *Sender) {
	o.t.Helper()
	for _, c := range s.channels {
		if err := s.round(context.Background(), c); err != nil {
			o.t.Fatal(err)
		}
	}
}

// left is what waits, with the clock put far ahead.
func (o *outbox) left() (list []*store.Notice) {
	o.t.Helper()
	now := o.ms.Load()
	o.ms.Add((1000 * time.Hour).Milliseconds())
	defer o.ms.Store(now)
	if err := o.store.View(context.Background(), func(tx *store.Tx) (err error) {
		list, err = tx.DueNotices(1e5)
		return err
	}); err != nil {
		o.t.Fatal(err)
	}
	return list
}

func (o *outbox) audited(action string) (n int) {
	o.t.Helper()
	if err := o.store.View(context.Background(), func(tx *store.Tx) error {
		list, err := tx.AuditLog(0, 1e5)
		for _, e := range list {
			if e.Action == action {
				n++
			}
		}
		return err
	}); err != nil {
		o.t.Fatal(err)
	}
	return n
}

// receiver is a webhook's other end.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	got    []*http.Request
	bodies [][]byte
	before func(w http.ResponseWriter, r *http.Request) bool
}

func newReceiver(t testing.TB, before func(http.ResponseWriter, *http.Request) bool) *receiver {
	t.Helper()
	h := &receiver{status: http.StatusNoContent, before: before}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.before != nil && h.before(w, r) {
			return
		}
		var b bytes.Buffer
		_, _ = b.ReadFrom(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.got, h.bodies = append(h.got, r), append(h.bodies, b.Bytes())
		w.WriteHeader(h.status)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *receiver) answer(status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status = status
}

func (h *receiver) texts() (list []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.bodies {
		var c content
		_ = json.Unmarshal(b, &c)
		list = append(list, c.Text)
	}
	return list
}

const testSecret = "a secret of the tests, long enough"

func (h *receiver) settings() *Webhook {
	return &Webhook{URL: Secret(h.URL + "/hook?token=t0ken"), Secret: testSecret}
}

func TestDelay(t *testing.T) {
	for attempts, want := range map[int]time.Duration{1: time.Minute, 2: 2 * time.Minute, 3: 4 * time.Minute, 9: 256 * time.Minute,
		10: 6 * time.Hour, 11: 6 * time.Hour, 1 << 40: 6 * time.Hour} {
		if d := delay(attempts); d != want {
			t.Errorf("after %d attempts: %v, want %v", attempts, d, want)
		}
	}
}

// A receiver that is away is asked less and less often, and all that waits for it
// arrives in order when it is back; others are not held up.
func TestRetriesInOrder(t *testing.T) {
	o, p := newOutbox(t), newPost(t)
	c := o.config()
	c.SMTP = p.settings()
	s := o.sender(c)
	const alice, bob = "alice@muster.example", "bob@muster.example"
	p.answer(alice, "451 later")
	o.add(alice, "one")
	o.add(alice, "two")
	o.add(bob, "for bob")
	o.round(s)
	if got := p.got(); len(got) != 1 || got[0].to != bob {
		t.Fatalf("delivered %+v", got)
	}
	if left := o.left(); len(left) != 2 || left[0].Attempts != 1 || !left[0].NextAt.Equal(o.now().Add(time.Minute)) ||
		left[1].Attempts != 0 || !strings.Contains(left[0].Error, "later") {
		t.Fatalf("left %+v", left[0])
	}
	// One that is written while the first waits does not overtake it.
	p.answer(alice, "")
	o.add(alice, "three")
	o.pass(time.Minute - time.Millisecond)
	o.round(s)
	if len(p.got()) != 1 {
		t.Fatalf("overtaken: %+v", p.got())
	}
	o.pass(time.Millisecond)
	o.round(s)
	var texts []string
	for _, m := range p.got()[1:] {
		texts = append(texts, strings.Split(m.text, "\r\n\r\n")[1])
	}
	if !slices.Equal(texts, []string{"one\r\n", "two\r\n", "three\r\n"}) && !slices.Equal(texts, []string{"one", "two", "three"}) {
		t.Fatalf("arrived in the order %q", texts)
	}
	if left := o.left(); len(left) != 0 {
		t.Errorf("left %+v", left)
	}
}

func TestGivenUpAfterThreeDays(t *testing.T) {
	o, h := newOutbox(t), newReceiver(t, nil)
	h.answer(http.StatusInternalServerError)
	c := o.config()
	c.Webhook = h.settings()
	s := o.sender(c)
	o.add("", "one")
	began := o.now()
	for o.now().Sub(began) < giveUp+lastDelay && len(o.left()) > 0 {
		o.round(s)
		o.pass(time.Minute)
	}
	tries := len(h.texts())
	if len(o.left()) != 0 || o.audited("notice.give-up") != 1 {
		t.Errorf("%d left, %d audited", len(o.left()), o.audited("notice.give-up"))
	}
	if over := o.now().Sub(began); over < giveUp || tries < 15 || tries > 30 {
		t.Errorf("given up after %v and %d tries", over, tries)
	}
	// The next one is not held up by what was given up.
	h.answer(http.StatusOK)
	o.add("", "two")
	o.round(s)
	if texts := h.texts(); texts[len(texts)-1] != "two" || len(o.left()) != 0 {
		t.Error("the next one waits")
	}
}

// A channel that is not configured lets its notices wait, and the other work.
func TestChannelOff(t *testing.T) {
	o, h := newOutbox(t), newReceiver(t, nil)
	c := o.config()
	c.Webhook = h.settings()
	s := o.sender(c)
	o.add("alice@muster.example", "mail")
	o.add("", "hook")
	o.round(s)
	if left := o.left(); len(left) != 1 || left[0].Channel != byMail || left[0].Error == "" || len(h.texts()) != 1 {
		t.Errorf("left %+v, hooked %q", left, h.texts())
	}
}

// A webhook that does not answer does not hold up the mail, and ending does not
// wait for it. Many of one channel do not hide the few of the other.
func TestSlowReceiverBlocksNobodyElse(t *testing.T) {
	o, p := newOutbox(t), newPost(t)
	asked, release := make(chan struct{}, 1), make(chan struct{})
	h := newReceiver(t, func(w http.ResponseWriter, r *http.Request) bool {
		asked <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return true
	})
	defer close(release)
	c := o.config()
	c.SMTP, c.Webhook = p.settings(), h.settings()
	s := o.sender(c)
	s.poll = 5 * time.Millisecond
	for n := range 100 {
		o.add("", fmt.Sprint(n))
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	<-asked
	o.add("alice@muster.example", "hello")
	for deadline := time.Now().Add(9 * time.Second); len(p.got()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the mail waits for the webhook")
		}
	}
	cancel()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("Run does not end")
	}
	// What was cut off by our ending is not the receiver's fault.
	if left := o.left(); len(left) != 100 || left[0].Attempts != 0 {
		t.Errorf("%d left, the first with %d attempts", len(left), left[0].Attempts)
	}
}

func TestSecretsStayHidden(t *testing.T) {
	p := newPost(t, func(p *post) { p.user, p.password = "muster", "right password" })
	o := newOutbox(t)
	c := o.config()
	c.SMTP = p.settings()
	c.SMTP.Password = "wr0ng passw0rd"
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	c.Webhook = &Webhook{URL: Secret(dead.URL + "/hook?token=t0ken"), Secret: testSecret}
	s := o.sender(c)
	o.add("alice@muster.example", "mail")
	o.add("", "hook")
	o.round(s)
	shown := o.log.String() + fmt.Sprintf("%v %+v %#v", *c.SMTP, *c.SMTP, *c.SMTP) + fmt.Sprintf("%v %+v %#v", *c.Webhook, *c.Webhook, *c.Webhook)
	if b, err := json.Marshal(c.Webhook); err == nil {
		shown += string(b)
	}
	left := o.left()
	if len(left) != 2 {
		t.Fatalf("%d left, want both", len(left))
	}
	for _, n := range left {
		if n.Error == "" {
			t.Errorf("%s: no error", n.Channel)
		}
		shown += n.Error
	}
	for _, secret := range []string{"wr0ng passw0rd", "t0ken", testSecret} {
		if strings.Contains(shown, secret) {
			t.Errorf("%q is shown in %s", secret, shown)
		}
	}
	if !strings.Contains(o.log.String(), "notice not delivered") {
		t.Error("nothing was logged")
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{"a\r\nb\x00c": "a  b c", "\xff": "?", strings.Repeat("é", 200): strings.Repeat("é", 100), "\u2028x": "x"} {
		if got := printable(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
