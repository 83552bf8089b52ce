package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"muster/attest"
	"muster/server"
	"muster/server/servertest"
	"muster/server/store"
)

var kills = flag.Int("kills", 100, "how often TestServerKilled and TestSessionsKilled kill the server")

const reporters = 20

// TestServerKilled kills the server again and again while devices report as fast
// as they may. What was answered with 2xx must be there after the next start,
// and nothing may be accepted twice.
func TestServerKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector sees nothing of a process that is killed")
	}
	began := time.Now()
	srv := servertest.Launch(t, func(c *server.Config) {
		// Each device has an address of its own, as behind a proxy.
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	token := srv.Token(server.TokenRequest{Uses: reporters})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	fleet := make([]*reporter, reporters)
	var acks atomic.Int64
	unanswered := 0
	var wg sync.WaitGroup
	for i := range fleet {
		d, err := srv.SoftDevice(token, fmt.Sprintf("10.0.0.%d", i+1), nil)
		if err != nil {
			t.Fatal(err)
		}
		fleet[i] = &reporter{SoftDevice: d, acks: &acks, wrong: stop}
		wg.Go(func() { fleet[i].live(ctx) })
	}
	for n := 0; n < *kills && ctx.Err() == nil; n++ {
		// The moment is chance, but never before something was acknowledged: a
		// server that is killed before it works shows nothing.
		at := acks.Load() + 1 + rand.Int64N(10*reporters)
		deadline := time.Now().Add(time.Minute)
		for acks.Load() < at && ctx.Err() == nil && time.Now().Before(deadline) {
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
		}
		srv.Kill()
		if n%10 == 0 {
			unanswered += checkKept(t, srv, fleet)
		}
		srv.Start()
	}
	stop()
	wg.Wait()
	srv.Kill()
	unanswered += checkKept(t, srv, fleet)

	var acknowledged, repeated, cut int
	for _, r := range fleet {
		if r.err != nil {
			t.Errorf("device %s: %v", r.ID, r.err)
		}
		acknowledged, repeated, cut = acknowledged+r.accepted, repeated+r.repeated, cut+r.cut
	}
	if acknowledged < *kills || cut == 0 {
		t.Errorf("too little happened to show anything: %d reports acknowledged, %d requests cut off", acknowledged, cut)
	}
	t.Logf("%d kills in %v: %d reports acknowledged, all kept; %d requests cut off; %d statements found accepted and not yet answered; %d sent again, answered with the same bytes",
		*kills, time.Since(began).Round(time.Second), acknowledged, cut, unanswered, repeated)
}

// reporter is a device that reports without pause and remembers what was
// acknowledged.
type reporter struct {
	acks  *atomic.Int64
	wrong func() // ends the test
	err   error  // what the server did wrong

	mu sync.Mutex // held between requests, never during one
	*servertest.SoftDevice
	pending     attest.Digest // sent and not acknowledged; zero: none
	body, reply []byte        // of the last acknowledged statement

	accepted int // statements answered with 2xx
	repeated int // of them, those sent again and answered with the same bytes
	cut      int // requests that reached a server that was killed then
}

func (r *reporter) live(ctx context.Context) {
	for ctx.Err() == nil && r.err == nil {
		if r.err = r.step(ctx); r.err != nil {
			r.wrong()
		}
	}
}

// step reports once, until the server answers, and then now and then says the
// same once more.
func (r *reporter) step(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	full := r.accepted%3 == 0
	body, digest, err := r.Compose(full)
	if err != nil {
		return err
	}
	r.pending = digest
	reply, cut, err := r.ask(ctx, body)
	if err != nil || reply == nil {
		return err
	}
	if err := r.Took(reply, digest, full); err != nil {
		return err
	}
	r.pending = attest.Digest{}
	r.body, r.reply = body, reply
	r.accepted++
	r.acks.Add(1)
	if !cut && rand.IntN(8) > 0 {
		return nil
	}
	again, _, err := r.ask(ctx, r.body)
	if err != nil || again == nil {
		return err
	}
	if !bytes.Equal(again, r.reply) {
		return fmt.Errorf("statement %d: the same bytes got another answer: %s, then %s", r.Seq, r.reply, again)
	}
	r.repeated++
	return nil
}

// ask sends the same bytes until the server answers; cut tells that it was
// killed meanwhile. It returns nothing when the test ends first. Any refusal is
// a loss: each statement follows from what the server acknowledged.
func (r *reporter) ask(ctx context.Context, body []byte) (reply []byte, cut bool, err error) {
	for ctx.Err() == nil {
		r.mu.Unlock()
		status, reply, err := r.Post(attest.PathReport, body)
		r.mu.Lock()
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			time.Sleep(5 * time.Millisecond)
		case err != nil:
			r.cut++
			cut = true
		case status == http.StatusOK:
			return reply, cut, nil
		case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
			time.Sleep(50 * time.Millisecond)
		default:
			var p attest.Problem
			_ = json.Unmarshal(reply, &p)
			return nil, cut, fmt.Errorf("statement %d after %d acknowledged: %d %s", r.Seq+1, r.accepted, status, reply)
		}
	}
	return nil, cut, nil
}

// checkKept compares the database of a dead server with what the devices were
// told. It returns how many statements it holds that nobody was told of.
func checkKept(t *testing.T, srv *servertest.Server, fleet []*reporter) (unanswered int) {
	t.Helper()
	ctx := context.Background()
	s, err := store.Open(ctx, store.Config{Path: filepath.Join(srv.Config.DataDir, "muster.db"), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.VerifyAudit(ctx); err != nil {
		t.Errorf("audit log: %v", err)
	}
	err = s.View(ctx, func(tx *store.Tx) (errs error) {
		for _, r := range fleet {
			ahead, err := r.kept(tx)
			errs = errors.Join(errs, err)
			unanswered += ahead
		}
		return errs
	})
	if err != nil {
		t.Error(err)
	}
	return unanswered
}

// kept checks that the database stands where the device stands, or one statement
// further when that was not answered yet, and holds each report once.
func (r *reporter) kept(tx *store.Tx) (ahead int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	hot, err := tx.Hot(r.ID)
	if err != nil {
		return 0, err
	}
	switch {
	case hot.Seq == r.Seq && hot.Last == r.Last:
	case hot.Seq == r.Seq+1 && hot.Last == r.pending && !r.pending.IsZero():
		ahead = 1
	default:
		return 0, fmt.Errorf("device %s stands at %d, %d were acknowledged", r.ID, hot.Seq, r.Seq)
	}
	if hot.Resyncs > 0 {
		return 0, fmt.Errorf("device %s was out of step %d times", r.ID, hot.Resyncs)
	}
	reports, err := tx.Reports(r.ID, 1000)
	if err != nil {
		return 0, err
	}
	seen := map[uint64]bool{}
	for _, report := range reports {
		if seen[report.Seq] {
			return 0, fmt.Errorf("device %s has report %d twice", r.ID, report.Seq)
		}
		seen[report.Seq] = true
	}
	return ahead, nil
}
