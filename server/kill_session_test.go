package server_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"muster/server"
	"muster/server/people"
	"muster/server/servertest"
)

const (
	// signers sign in and out without pause, each as a person of their own.
	signers = 4
	// Of each signer so many sessions are looked at after every kill.
	keptLive, keptEnded = 8, 16
)

// TestSessionsKilled kills the server again and again while people sign in and
// out. A session whose cookie was answered must be there after the next start,
// and one whose end was answered must stay ended.
func TestSessionsKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector sees nothing of a process that is killed")
	}
	srv := servertest.Launch(t, servertest.Named(), func(c *server.Config) {
		// Each request has an address of its own, as behind a proxy, for the rates.
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	var acks atomic.Int64
	var pause sync.RWMutex // held for reading while a signer acts
	var over atomic.Bool
	all := make([]*signer, signers)
	var wg sync.WaitGroup
	for i := range all {
		name := fmt.Sprintf("signer-%d", i)
		all[i] = &signer{Person: srv.Accepts(srv.Invite(people.Invitation{Name: name})), acks: &acks, over: &over, net: i}
		wg.Go(func() {
			for !over.Load() && all[i].err == nil {
				pause.RLock()
				all[i].step()
				pause.RUnlock()
			}
		})
	}
	began := time.Now()
	for n := 0; n < *kills; n++ {
		// The moment is chance, but never before something was acknowledged.
		at, deadline := acks.Load()+1+rand.Int64N(8*signers), time.Now().Add(time.Minute)
		for acks.Load() < at && time.Now().Before(deadline) {
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
		}
		srv.Kill()
		srv.Start()
		pause.Lock()
		for _, s := range all {
			s.check(t)
		}
		pause.Unlock()
		if t.Failed() {
			break
		}
	}
	over.Store(true)
	wg.Wait()
	var in, out, cut int
	for _, s := range all {
		if s.err != nil {
			t.Errorf("%v", s.err)
		}
		in, out, cut = in+s.in, out+s.out, cut+s.cut
	}
	if in < *kills || out == 0 || cut == 0 {
		t.Errorf("too little happened to show anything: %d sign-ins, %d sign-outs, %d requests cut off", in, out, cut)
	}
	var audit server.AuditCheck
	if err := srv.Control("POST", "/audit/verify", nil, &audit); err != nil || audit.Broken != "" {
		t.Errorf("audit log: %v %s", err, audit.Broken)
	}
	t.Logf("%d kills in %v: %d sign-ins acknowledged, none lost; %d sign-outs acknowledged, none undone; %d requests cut off",
		*kills, time.Since(began).Round(time.Second), in, out, cut)
}

// signer is a person who signs in and out in one browser after the other.
type signer struct {
	*servertest.Person
	acks *atomic.Int64
	over *atomic.Bool
	net  int // of their addresses

	live, ended  []*servertest.Person // browsers whose sign-in or sign-out was answered
	in, out, cut int
	asked        int
	err          error // what the server did wrong
}

// browser is a fresh one, at an address of its own.
func (s *signer) browser() *servertest.Person {
	b := s.OtherBrowser()
	s.asked++
	b.Address = fmt.Sprintf("10.%d.%d.%d", s.net, s.asked>>8&255, s.asked&255)
	return b
}

// step signs in, or out where enough sessions live. What the kill cuts off may
// have happened or not: nobody was told, so it is not looked at again.
func (s *signer) step() {
	if len(s.live) > keptLive || len(s.live) > 2 && rand.IntN(2) == 0 {
		i := rand.IntN(len(s.live))
		b := s.live[i]
		s.live = append(s.live[:i], s.live[i+1:]...)
		cookies := maps.Clone(b.Cookies)
		reply, err := b.Try(http.MethodPost, "/sign-out", "application/x-www-form-urlencoded", nil)
		if !s.answered("sign-out", reply, err, http.StatusSeeOther) {
			return
		}
		s.out++
		b.Cookies = cookies // the browser forgot it; a thief does not
		if s.ended = append(s.ended, b); len(s.ended) > keptEnded {
			s.ended = s.ended[1:]
		}
		return
	}
	b := s.browser()
	reply, err := b.TrySignIn()
	if !s.answered("sign-in", reply, err, http.StatusOK) {
		return
	}
	s.in++
	s.live = append(s.live, b)
}

// answered reports whether the server did what was asked and said so.
func (s *signer) answered(what string, reply servertest.Reply, err error, want int) bool {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		time.Sleep(2 * time.Millisecond)
	case err != nil:
		s.cut++
	case reply.Status == http.StatusServiceUnavailable:
	case reply.Status != want:
		s.err = fmt.Errorf("%s: %d %s", what, reply.Status, reply.Body)
	default:
		s.acks.Add(1)
		return true
	}
	return false
}

// check asks the server that was started again about every session.
func (s *signer) check(t *testing.T) {
	t.Helper()
	for _, b := range s.live {
		if r := b.Get("/sessions"); r.Status != http.StatusOK {
			t.Errorf("a session that was acknowledged is lost: %d", r.Status)
		}
	}
	for _, b := range s.ended {
		cookies := maps.Clone(b.Cookies)
		if r := b.Get("/sessions"); r.Status == http.StatusOK {
			t.Error("a session that was ended is alive again")
		}
		b.Cookies = cookies
	}
}
