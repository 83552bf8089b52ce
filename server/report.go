package server

import (
	"context"
	"crypto/hmac"
	"errors"
	"net/http"
	"slices"
	"time"

	"muster/attest"
	"muster/server/store"
	"muster/server/verify"
)

// authentic reports whether a request bears this device's MAC.
func (d *device) authentic(path string, body []byte, mac string) bool {
	want, err := attest.ParseDigest(mac)
	if err != nil {
		return false
	}
	secret := d.secret.Load() // without d.mu, which is held while a report is stored
	if secret == nil {
		return false
	}
	got := attest.MAC(secret[:], path, body)
	return hmac.Equal(got[:], want[:])
}

// known is what attest.Open needs of a device. The caller holds d.mu.
func (d *device) known(now time.Time) *attest.Known {
	return &attest.Known{
		Typs:   []attest.Typ{attest.TypReport, attest.TypHeartbeat},
		Device: d.row.ID, Keys: d.keys, Now: now,
		Seq: d.hot.Seq, Prev: d.hot.Last, LastClock: d.hot.Clock,
		LastQuoteAt: d.hot.QuotedAt,
		QuoteAlways: d.row.Keys.Kind == attest.KindTPM && !d.row.Keys.DKbCounter,
		NonceIssued: func(n attest.Digest) (issued, expires time.Time, ok bool) {
			for _, live := range d.hot.Nonces {
				if live.Value == n {
					return live.Issued, live.Expires, true
				}
			}
			return issued, expires, false
		},
	}
}

// report handles POST /v1/report: one statement, judged, decided, stored, then
// answered (SPEC.md §7.3).
func (s *Server) report(r *http.Request, d *device, body []byte) (any, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := s.refresh(d); err != nil {
		return nil, err
	}
	if d.row.State == attest.Revoked {
		return nil, revoked()
	}
	request := requestDigest(body)
	if len(d.hot.Reply) > 0 && request == d.hot.Request {
		return stored(d.hot.Reply), nil
	}
	submit := new(attest.ReportSubmit)
	if err := read(body, submit); err != nil {
		return nil, err
	}
	now := s.now()
	ev, err := attest.Open([]byte(submit.JWS), submit.Quote, d.known(now))
	if err == nil {
		err = d.acceptable(ev, now)
	}
	if err != nil {
		return nil, s.mend(r.Context(), d, err, submit)
	}
	key, err := d.recertified(submit, ev)
	if err != nil {
		return nil, err
	}
	return s.accept(r.Context(), d, ev, submit, key, request, now)
}

// bootKey is a new DKb that came with a statement.
type bootKey struct {
	key          *attest.Key
	public       []byte
	counterBound bool
}

// recertified checks the DKb that a statement brings; nil when it brings none. The
// caller holds d.mu.
func (d *device) recertified(submit *attest.ReportSubmit, ev *attest.Evidence) (*bootKey, error) {
	if submit.DKb == nil {
		return nil, nil
	}
	var ak *attest.Key
	for _, k := range d.keys {
		if k.Role == attest.AK {
			ak = k
		}
	}
	key, counterBound, err := attest.OpenRecertify([]byte(submit.JWS), submit.DKb, ev, ak)
	if err != nil {
		return nil, err
	}
	return &bootKey{key: key, public: submit.DKb.Public, counterBound: counterBound}, nil
}

// with returns a device's keys with another DKb.
func (k *bootKey) with(keys []*attest.Key) []*attest.Key {
	others := slices.DeleteFunc(slices.Clone(keys), func(old *attest.Key) bool { return old.Role == attest.DKb })
	return append(others, k.key)
}

// acceptable checks what needs the server's own memory of the device.
func (d *device) acceptable(ev *attest.Evidence, now time.Time) error {
	if d.row.Keys.Kind == attest.KindTPM && ev.Measured == nil {
		bootID := ""
		if ev.Report != nil {
			bootID = ev.Report.BootID
		} else {
			bootID = ev.Heartbeat.BootID
		}
		switch {
		case bootID != d.hot.BootID:
			return &attest.Error{Code: attest.QuoteNeeded, Detail: "the system was started anew"}
		case d.hot.Resync:
			return &attest.Error{Code: attest.QuoteNeeded, Detail: "the statements were out of step"}
		case now.Sub(d.hot.QuotedAt) >= attest.QuoteEvery:
			return &attest.Error{Code: attest.QuoteNeeded, Detail: "the last quote is too old"}
		}
	}
	if ev.Heartbeat != nil && (d.result == nil || d.hot.Resync || ev.Heartbeat.Base != d.hot.Base || ev.Heartbeat.BootID != d.hot.BootID) {
		return &attest.Error{Code: attest.OutOfStep, Detail: "heartbeat of another base report"}
	}
	return nil
}

// mend answers what a device can mend by itself: it stores a fresh nonce and
// says where to go on. Every signed statement out of step counts towards cloned,
// once; one that answers no live nonce may be an old one that somebody sent
// again, and changes nothing that the device notices.
func (s *Server) mend(ctx context.Context, d *device, err error, submit *attest.ReportSubmit) error {
	var refused *attest.Error
	if !errors.As(err, &refused) || statusOf(refused.Code) != http.StatusConflict {
		return err
	}
	hot := d.hot
	code, old := string(refused.Code), false
	if refused.Code == attest.OutOfStep {
		code, old = attest.CodeResync, !d.awaits([]byte(submit.JWS))
		hot.Resync = hot.Resync || !old
		if !d.saw(submit.JWS) {
			hot.Resyncs++
			hot.ResyncedAt = s.now()
		}
	}
	nonce, err := s.offerNonce(&hot, old)
	if err != nil {
		return err
	}
	if err := s.putHot(ctx, d, &hot); err != nil {
		return err
	}
	s.log.Info("statement to be mended", "device", d.row.ID, "reason", refused.Code, "detail", cut(refused.Detail))
	p := refuse(http.StatusConflict, code, "", fixOf(refused.Code))
	p.Resync = &attest.Resync{Seq: hot.Seq, Last: hot.Last, Nonce: nonce.Value, NonceS: int(nonce.Expires.Sub(s.now()) / time.Second)}
	return p
}

// recent is how many statements of a device are remembered by their digest, so
// that one that is sent again is not taken for another system's.
const recent = 16

// saw reports whether a statement was among the recent ones, and remembers it.
// The caller holds d.mu.
func (d *device) saw(jws string) bool {
	digest := requestDigest([]byte(jws))
	if slices.Contains(d.seen, digest) {
		return true
	}
	if len(d.seen) == recent {
		d.seen = append(d.seen[:0], d.seen[1:]...)
	}
	d.seen = append(d.seen, digest)
	return false
}

// awaits reports whether a statement answers a live nonce of the device. The
// caller holds d.mu.
func (d *device) awaits(jws []byte) bool {
	h, err := attest.PeekHeader(jws)
	return err == nil && slices.ContainsFunc(d.hot.Nonces, func(n store.Nonce) bool { return n.Value == h.Nonce })
}

// putHot stores a device's hot row and then keeps it. The caller holds d.mu.
func (s *Server) putHot(ctx context.Context, d *device, hot *store.Hot) error {
	err := s.store.Update(ctx, func(tx *store.Tx) error { return tx.PutHot(hot) })
	if err == nil {
		d.hot = *hot
	}
	return s.mayBeStale(ctx, d, err)
}

// mayBeStale reads a device again when the store says that it holds another one,
// and returns the error: the statement is tried again by its sender. The caller
// holds d.mu.
func (s *Server) mayBeStale(ctx context.Context, d *device, err error) error {
	if !errors.Is(err, store.ErrStale) {
		return err
	}
	again := s.reread(ctx, d)
	return errors.Join(err, again)
}

// Clones: two copies of one device alternate, so that every statement of one is
// out of step for the other and each resync of one makes the next of the other.
// An honest device falls out of step once, after a restored backup or a lost
// disk write, and then goes on: its count is forgotten after a calm day.
const (
	clonedAfter = 4
	calm        = 24 * time.Hour
)

// accept judges and decides, stores all of it in one commit, and only then lets
// anybody see it.
func (s *Server) accept(ctx context.Context, d *device, ev *attest.Evidence, submit *attest.ReportSubmit, key *bootKey, request attest.Digest, now time.Time) (any, error) {
	next, err := s.advance(ctx, d, ev, key, request, now)
	if err != nil {
		return nil, err
	}
	reply := &attest.ReportReply{
		Accepted: ev.Digest, State: d.row.State, NonceS: s.nonceSeconds(), NextS: s.config.ReportEvery,
		Nonce:     next.hot.Nonces[len(next.hot.Nonces)-1].Value,
		NeedQuote: d.row.Keys.Kind == attest.KindTPM && now.Sub(next.hot.QuotedAt) > attest.QuoteEvery-time.Hour,
		Decision:  next.answers.told(),
	}
	if reply.NeedLog, err = s.missingLog(ctx, d, next.hot.Log); err != nil {
		return nil, err
	}
	if next.hot.Reply, err = attest.Encode(reply); err != nil {
		return nil, err
	}
	if err := s.mayBeStale(ctx, d, s.storeAccepted(ctx, d, next, ev, submit)); err != nil {
		return nil, err
	}
	next.become(d)
	d.saw(submit.JWS)
	s.holding.reported(d.row.ID, ev.IssuedAt)
	return stored(next.hot.Reply), nil
}

// after is a device as it will be once a statement is stored.
type after struct {
	*device
	answers *answers
	key     *bootKey // its new DKb; nil when it stays
	start   *start   // how it started; nil without a quote
}

// advance computes the next state without touching d.
func (s *Server) advance(ctx context.Context, d *device, ev *attest.Evidence, key *bootKey, request attest.Digest, now time.Time) (*after, error) {
	next := &after{device: &device{row: d.row, hot: d.hot, grace: d.grace, bypasses: d.bypasses, tpm: d.tpm}, key: key}
	if key != nil {
		next.row.Keys.DKb, next.row.Keys.DKbCounter = key.public, key.counterBound
	}
	hot := &next.hot
	hot.Seq, hot.Last, hot.Request, hot.IssuedAt = ev.Header.Seq, ev.Digest, request, ev.IssuedAt
	hot.Resync = false
	if now.Sub(hot.ResyncedAt) > calm {
		hot.Resyncs = 0
	}
	if ev.Report != nil {
		hot.Base, hot.BootID = ev.Digest, ev.Report.BootID
	}
	if m := ev.Measured; m != nil {
		clock := m.Clock
		hot.QuotedAt, hot.Clock, hot.Log = ev.IssuedAt, &clock, m.LogSHA
	}
	hot.Nonces = without(hot.Nonces, ev.Header.Nonce)
	if _, err := s.addNonce(hot); err != nil {
		return nil, err
	}
	in := verify.Input{Device: registration(&d.row), Evidence: ev, Last: d.result, Cloned: hot.Resyncs >= clonedAfter, ReceivedAt: now}
	var err error
	switch late := d.result != nil && d.result.Boot.Reason == verify.NotJudged && d.withholds(now); {
	case ev.Measured != nil:
		err = s.store.View(ctx, func(tx *store.Tx) (err error) {
			next.result, next.start, err = s.appraise(tx, d, in)
			return err
		})
	case late:
		err = s.store.View(ctx, func(tx *store.Tx) (err error) {
			next.result, next.start, err = s.rejudge(tx, d, verify.Appraise(in))
			return err
		})
	default: // nothing of the store is needed
		next.result = verify.Appraise(in)
	}
	if err != nil {
		return nil, err
	}
	next.grace = s.policy.Load().NextGrace(s.inputs(next.device, now))
	next.answers = s.decideFor(next.device, now)
	return next, nil
}

// become makes d what was stored.
func (a *after) become(d *device) {
	d.row, d.hot, d.result, d.grace = a.row, a.hot, a.result, a.grace
	if a.key != nil {
		d.keys = a.key.with(d.keys)
	}
	if d.turned(a.answers) {
		d.told(a.answers)
	}
	d.withheld = a.result.Boot.Reason == verify.LogWithheld
	d.answers.Store(a.answers)
}

func without(nonces []store.Nonce, used attest.Digest) []store.Nonce {
	var left []store.Nonce
	for _, n := range nonces {
		if n.Value != used {
			left = append(left, n)
		}
	}
	return left
}

func revoked() error {
	return refuse(http.StatusForbidden, attest.CodeRevoked, "This device was revoked, for ever.", "Ask the administrator; another laptop is needed.")
}
