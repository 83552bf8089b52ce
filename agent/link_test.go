package agent

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/attest"
	"muster/platform/seat"
)

// linkServer is the link's side of a testServer, with one request to link.
type linkServer struct {
	*testServer
	offers []attest.LinkOffer
	reply  attest.LinkReply
	codes  []string // refuse the next proofs with these

	asks   []attest.LinkAsk
	proofs []*attest.Evidence
	ends   []string
	endBad int // status of answers to ends; 0: they are taken
}

func testOffer() attest.LinkOffer {
	return attest.LinkOffer{
		Link: "link-1", Nonce: attest.Digest{1}, SessionHash: attest.Digest{2},
		Person: "alice", Browser: "Browser/1", Address: "192.0.2.7", AskedAt: time.Now(),
	}
}

func testAsk(way string) attest.LinkAsk {
	return attest.LinkAsk{Link: "link-1", Nonce: attest.Digest{1}, Way: way}
}

func newLinkServer(s *testServer) *linkServer {
	l := &linkServer{testServer: s, offers: []attest.LinkOffer{testOffer()}, reply: attest.LinkReply{Confirm: "one-time"}}
	s.on(l.answer)
	return l
}

// answer stands in for the server; it is called under its lock.
func (l *linkServer) answer(path string, body []byte) *http.Response {
	switch path {
	case attest.PathLinkAsk:
		var ask attest.LinkAsk
		if err := errors.Join(attest.Decode(body, &ask), ask.Form()); err != nil {
			l.t.Errorf("ask: %v", err)
		}
		l.asks = append(l.asks, ask)
		return answer200(attest.LinkOffers{Offers: l.offers})
	case attest.PathLink:
		return l.prove(body)
	case attest.PathLinkEnd:
		var end attest.LinkEnd
		if err := errors.Join(attest.Decode(body, &end), end.Form()); err != nil {
			l.t.Errorf("end: %v", err)
		}
		if l.endBad != 0 {
			return problem(l.endBad, attest.CodeUnavailable, nil)
		}
		l.ends = append(l.ends, end.Cause)
		return answer200(struct{}{})
	}
	return nil
}

func (l *linkServer) prove(body []byte) *http.Response {
	d := l.device
	var submit attest.LinkSubmit
	if err := attest.Decode(body, &submit); err != nil {
		l.t.Errorf("proof: %v", err)
	}
	ev, err := attest.Open([]byte(submit.JWS), submit.Quote, &attest.Known{
		Typs: []attest.Typ{attest.TypLink}, Device: d.id, Keys: d.keys, Now: time.Now(), Seq: d.seq, Prev: d.last, LastClock: d.clock,
		NonceIssued: func(n attest.Digest) (time.Time, time.Time, bool) {
			expires, ok := d.nonces[n]
			return expires.Add(-time.Minute), expires, ok
		},
	})
	if err != nil {
		l.t.Errorf("proof refused: %v", err)
		return problem(400, "evidence", nil)
	}
	delete(d.nonces, ev.Header.Nonce)
	l.proofs = append(l.proofs, ev)
	if len(l.codes) > 0 {
		code := l.codes[0]
		l.codes = l.codes[1:]
		return problem(409, code, nil)
	}
	return answer200(l.reply)
}

// proveNow has a running agent prove.
func proveNow(a *Agent, ask attest.LinkAsk) (*attest.LinkReply, error) {
	v, err := a.await(context.Background(), func(ctx context.Context) (any, error) { return a.prove(ctx, ask, "1000") })
	if err != nil {
		return nil, err
	}
	return v.(*attest.LinkReply), nil
}

func wantCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	if err == nil || declinedOf(err).Code != code {
		t.Errorf("%s: %v, want code %s", what, err, code)
	}
}

func TestLinkIsProvedBetweenReports(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		l := newLinkServer(r.server)
		a, stop := r.run()
		pass(time.Minute)
		for range 3 {
			reply, err := proveNow(a, testAsk(attest.WayLoopback))
			if err != nil || reply.Confirm != "one-time" {
				t.Fatalf("%+v, %v", reply, err)
			}
		}
		pass(5 * time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if len(l.proofs) != 3 || len(l.asks) != 3 || l.asks[0] != testAsk(attest.WayLoopback) {
			t.Fatalf("%d proofs, asks %+v", len(l.proofs), l.asks)
		}
		p := l.proofs[0]
		want := attest.LinkProof{Link: "link-1", Nonce: attest.Digest{1}, SessionHash: attest.Digest{2}, Origin: testOrigin, Time: p.Link.Time}
		if *p.Link != want || time.Since(time.Unix(p.Link.Time, 0)) > 10*time.Minute || p.Header.Seq != 0 {
			t.Errorf("proved %+v of %+v", p.Link, p.Header)
		}
		if p.Measured != nil || (p.Signer == attest.DKb) != (r.chip != nil) {
			t.Errorf("signed by %v, quote %v", p.Signer, p.Measured != nil)
		}
		// Reports go on in step, with the nonce that was held for them.
		if got := r.server.reports(); len(got) != 2 || got[1].Heartbeat == nil {
			t.Errorf("%d statements", len(got))
		}
		if n := r.server.paths(attest.PathNonce); n != 3 {
			t.Errorf("%d nonces asked for, want one a proof", n)
		}
	})
}

// A boot key that the server does not know yet: DK signs, and brings a quote.
func TestLinkByDKBringsAQuote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newChip())
		l := newLinkServer(r.server)
		a, stop := r.run()
		defer stop()
		pass(time.Minute)
		if _, err := a.await(t.Context(), func(context.Context) (any, error) { a.keys.moved = true; return nil, nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := proveNow(a, testAsk(attest.WayApp)); err != nil {
			t.Fatal(err)
		}
		if p := l.proofs[0]; p.Signer != attest.DK || p.Measured == nil {
			t.Errorf("signed by %v, quote %v", p.Signer, p.Measured != nil)
		}
	})
}

// What the server says to sign must be what was asked for.
func TestLinkSignsNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		l := newLinkServer(r.server)
		a, stop := r.run()
		defer stop()
		pass(time.Minute)
		changed := func(f func(*attest.LinkOffer)) []attest.LinkOffer {
			o := testOffer()
			f(&o)
			return []attest.LinkOffer{o}
		}
		for name, offers := range map[string][]attest.LinkOffer{
			"another request": changed(func(o *attest.LinkOffer) { o.Link = "link-2" }),
			"another nonce":   changed(func(o *attest.LinkOffer) { o.Nonce = attest.Digest{9} }),
			"no session":      changed(func(o *attest.LinkOffer) { o.SessionHash = attest.Digest{} }),
			"two":             {testOffer(), testOffer()},
			"none":            {},
		} {
			l.set(func() { l.offers = offers })
			_, err := proveNow(a, testAsk(attest.WayLoopback))
			wantCode(t, name, err, codeMismatch)
		}
		l.set(func() { l.offers = changed(func(o *attest.LinkOffer) { o.Nonce = attest.Digest{} }) })
		_, err := proveNow(a, attest.LinkAsk{Recover: true})
		wantCode(t, "a recovery without a nonce", err, codeMismatch)
		for name, ask := range map[string]attest.LinkAsk{
			"half": {Link: "link-1", Way: attest.WayApp}, "no way": {Link: "link-1", Nonce: attest.Digest{1}},
			"both": {Link: "link-1", Nonce: attest.Digest{1}, Recover: true},
		} {
			before := len(l.asks)
			if _, err := proveNow(a, ask); err == nil || declinedOf(err).Code != codeForm || len(l.asks) != before {
				t.Errorf("%s: %v, %d asked", name, err, len(l.asks)-before)
			}
		}
		if len(l.proofs) != 0 || r.server.paths(attest.PathLink) != 0 {
			t.Errorf("%d proofs were signed", len(l.proofs))
		}
	})
}

func TestLinkRepliesThatAreNotPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		l := newLinkServer(r.server)
		a, stop := r.run()
		defer stop()
		pass(time.Minute)
		for _, page := range []string{
			"https://muster.example.evil/x", "https://muster.example", "http://muster.example/x", "https://muster.example@evil.example/",
			"javascript:alert(1)//https://muster.example/", "//muster.example/x", "https://MUSTER.example/x", "https://muster.example:8443/x",
		} {
			l.set(func() { l.reply = attest.LinkReply{URL: page} })
			_, err := proveNow(a, testAsk(attest.WayApp))
			wantCode(t, page, err, codeForeign)
		}
		for name, reply := range map[string]attest.LinkReply{
			"empty":          {},
			"line break":     {Confirm: "a\nb"},
			"escape":         {Code: "\x1b[2J"},
			"blank in a URL": {URL: testOrigin + "/a b"},
			"long":           {Confirm: strings.Repeat("x", maxSecret+1)},
		} {
			l.set(func() { l.reply = reply })
			if got, err := proveNow(a, testAsk(attest.WayApp)); err == nil {
				t.Errorf("%s: passed on %+v", name, got)
			}
		}
		l.set(func() { l.reply = attest.LinkReply{URL: testOrigin + "/link#x"} })
		if got, err := proveNow(a, testAsk(attest.WayApp)); err != nil || got.URL != testOrigin+"/link#x" {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// What the agent can mend it mends, once; what it cannot it passes on.
func TestLinkRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newChip())
		l := newLinkServer(r.server)
		a, stop := r.run()
		defer stop()
		pass(time.Minute)
		for _, c := range []struct {
			codes  []string
			proofs int
			want   string
		}{
			{[]string{string(attest.NonceExpired)}, 2, ""},
			{[]string{string(attest.NonceUnknown), string(attest.NonceUnknown)}, 2, string(attest.NonceUnknown)},
			{[]string{string(attest.QuoteNeeded)}, 2, ""},
			{[]string{string(attest.QuoteNeeded), string(attest.QuoteNeeded)}, 2, string(attest.QuoteNeeded)},
			{[]string{"not-owner"}, 1, "not-owner"},
			{[]string{attest.CodeOriginWrong}, 1, attest.CodeOriginWrong},
		} {
			l.set(func() { l.codes, l.proofs = c.codes, nil })
			_, err := proveNow(a, testAsk(attest.WayLoopback))
			if c.want == "" && err != nil || c.want != "" && (err == nil || declinedOf(err).Code != c.want) {
				t.Errorf("%v: %v, want %q", c.codes, err, c.want)
			}
			if len(l.proofs) != c.proofs {
				t.Errorf("%v: %d proofs, want %d", c.codes, len(l.proofs), c.proofs)
			}
			if last := l.proofs[len(l.proofs)-1]; c.codes[0] == string(attest.QuoteNeeded) && last.Measured == nil {
				t.Errorf("%v: no quote came", c.codes)
			}
		}
	})
}

func TestLinkNeedsAnActiveDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		newLinkServer(r.server)
		idle := r.agent()
		_, err := proveNow(idle, testAsk(attest.WayLoopback)) // does not run
		wantCode(t, "no agent", err, codeBusy)

		a, stop := r.run()
		pass(time.Minute)
		for _, state := range []attest.DeviceState{attest.Pending, attest.Revoked, "", "strange"} {
			want := codePending
			if state == attest.Revoked {
				want = attest.CodeRevoked
			}
			_, err := a.await(t.Context(), func(ctx context.Context) (any, error) {
				a.state.Enrolled.Answer.State = state
				return a.prove(ctx, testAsk(attest.WayLoopback), "1000")
			})
			wantCode(t, string(state), err, want)
		}
		_, err = a.await(t.Context(), func(ctx context.Context) (any, error) {
			a.state.Enrolled.Answer.State, a.state.Enrolled.Server = attest.Active, "https://other.example"
			defer func() { a.state.Enrolled.Server = testOrigin }()
			return a.prove(ctx, testAsk(attest.WayLoopback), "1000")
		})
		wantCode(t, "enrolled elsewhere", err, troubleOther)
		_, err = a.await(t.Context(), func(ctx context.Context) (any, error) {
			kept := a.state.Enrolled
			defer func() { a.state.Enrolled = kept }()
			a.state.Enrolled = nil
			return a.prove(ctx, testAsk(attest.WayLoopback), "1000")
		})
		wantCode(t, "not enrolled", err, codeNotYet)
		if n := r.server.paths(attest.PathLinkAsk) + r.server.paths(attest.PathLink); n != 0 {
			t.Errorf("%d requests to link", n)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// An agent in the middle of an exchange answers within its time or says so.
func TestLinkWaitsOnlySoLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		newLinkServer(r.server)
		a, stop := r.run()
		defer stop()
		pass(time.Minute)
		release := make(chan struct{})
		go a.await(context.Background(), func(context.Context) (any, error) { <-release; return nil, nil })
		synctest.Wait()
		ran := false
		began := time.Now()
		_, err := a.await(t.Context(), func(context.Context) (any, error) { ran = true; return nil, nil })
		wantCode(t, "busy", err, codeBusy)
		if took := time.Since(began); took != jobTime {
			t.Errorf("took %v", took)
		}
		close(release)
		pass(time.Second)
		if ran {
			t.Error("what nobody waits for any more was done")
		}
	})
}

func TestLockEndsLinks(t *testing.T) {
	at := []seat.Session{{ID: "3", User: "1000"}}
	for name, c := range map[string]struct {
		then func(*rig)
		want string
	}{
		"locked":            {func(r *rig) { r.locked["3"] = true }, attest.CauseLocked},
		"left":              {func(r *rig) { r.seated = []seat.Session{} }, attest.CauseLeft},
		"another sits here": {func(r *rig) { r.seated = []seat.Session{{ID: "4", User: "1001"}} }, attest.CauseLeft},
		"unlocked":          {func(r *rig) {}, ""},
		"lock not told":     {func(r *rig) { r.locked = nil }, ""},
		"seat not told":     {func(r *rig) { r.seated = nil }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				r.seated, r.locked = at, map[string]bool{"3": false}
				l := newLinkServer(r.server)
				a, stop := r.run()
				defer stop()
				pass(time.Minute)
				if _, err := proveNow(a, testAsk(attest.WayLoopback)); err != nil {
					t.Fatal(err)
				}
				pass(time.Minute)
				if len(l.ends) != 0 {
					t.Fatalf("ended before anything happened: %v", l.ends)
				}
				r.set(func() { c.then(r) })
				pass(time.Minute)
				if got := strings.Join(l.ends, ","); got != c.want {
					t.Errorf("ended %q, want %q", got, c.want)
				}
				if (a.linked.Load() == nil) != (c.want != "") {
					t.Error("the watch goes on after an end, or stops without one")
				}
			})
		})
	}
}

// Without a link nothing is told; a server that does not answer is told later;
// a start of the agent forgets nothing.
func TestLockIsToldUntilHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.seated, r.locked = []seat.Session{{ID: "3", User: "1000"}}, map[string]bool{"3": true}
		l := newLinkServer(r.server)
		a, stop := r.run()
		pass(5 * time.Minute)
		if r.server.paths(attest.PathLinkEnd) != 0 {
			t.Error("told of a lock though nothing was linked")
		}
		l.set(func() { l.endBad = 503 })
		if _, err := proveNow(a, testAsk(attest.WayLoopback)); err != nil {
			t.Fatal(err)
		}
		pass(10 * time.Minute)
		if n := r.server.paths(attest.PathLinkEnd); n < 5 || n > 11 || len(l.ends) != 0 {
			t.Errorf("told %d times in ten minutes", n)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		l.set(func() { l.endBad = 0 })
		stop = r.start()
		pass(time.Minute)
		if len(l.ends) != 1 || r.state().Linked != nil {
			t.Errorf("after a start of the agent: %v, %+v", l.ends, r.state().Linked)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// A system that was shut down has no time to tell who left: it tells when it is
// back, whoever sits there then, and before anybody is linked anew.
func TestLockOfAnotherBoot(t *testing.T) {
	for name, then := range map[string]func(*Agent){
		"nobody links":         func(*Agent) { pass(5 * time.Minute) },
		"the same links first": func(a *Agent) { pass(time.Second); _, _ = proveNow(a, testAsk(attest.WayLoopback)) },
	} {
		t.Run(name, func(t *testing.T) { testAnotherBoot(t, then) })
	}
}

func testAnotherBoot(t *testing.T, then func(*Agent)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.seated, r.locked = []seat.Session{{ID: "3", User: "1000"}}, map[string]bool{"3": false}
		l := newLinkServer(r.server)
		a, stop := r.run()
		pass(time.Minute)
		if _, err := proveNow(a, testAsk(attest.WayLoopback)); err != nil {
			t.Fatal(err)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if r.state().Linked == nil {
			t.Fatal("the link is not remembered")
		}
		r.boot = "boot-2"
		a, stop = r.run()
		then(a)
		if got := strings.Join(l.ends, ","); got != attest.CauseLeft {
			t.Errorf("ended %q", got)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// Who left while the agent was busy is not there any more when it proves.
func TestLeftBeforeTheProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.seated = []seat.Session{{ID: "4", User: "1001"}}
		l := newLinkServer(r.server)
		a, stop := r.run()
		defer stop()
		pass(time.Minute)
		if _, err := proveNow(a, testAsk(attest.WayLoopback)); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if got := strings.Join(l.ends, ","); got != attest.CauseLeft {
			t.Errorf("ended %q", got)
		}
	})
}

// Who comes next links before it could be told that the first one left.
func TestNextPersonEndsLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.seated, r.locked = []seat.Session{{ID: "3", User: "1000"}}, map[string]bool{"3": false, "4": false}
		l := newLinkServer(r.server)
		a, stop := r.run()
		defer stop()
		pass(time.Minute)
		link := func(user string) error {
			_, err := a.await(t.Context(), func(ctx context.Context) (any, error) { return a.prove(ctx, testAsk(attest.WayLoopback), user) })
			return err
		}
		if err := link("1000"); err != nil {
			t.Fatal(err)
		}
		// Root at the door takes nobody's place.
		if err := link("0"); err != nil || len(l.ends) != 0 {
			t.Fatalf("root: %v, ended %v", err, l.ends)
		}
		r.set(func() { r.seated = []seat.Session{{ID: "4", User: "1001"}} })
		l.set(func() { l.endBad = 503 })
		if err := link("1001"); err == nil || len(l.proofs) != 2 {
			t.Errorf("linked while the first one's links cannot be ended: %v", err)
		}
		l.set(func() { l.endBad = 0 })
		if err := link("1001"); err != nil || strings.Join(l.ends, ",") != attest.CauseLeft || len(l.proofs) != 3 {
			t.Errorf("%v, ended %v", err, l.ends)
		}
		pass(time.Minute)
		if n := a.linked.Load(); len(l.ends) != 1 || n == nil || n.User != "1001" {
			t.Errorf("ended %v, watched is %+v", l.ends, n)
		}
	})
}

// A link that could not be remembered could never be ended: it is not given out.
func TestLinkOnADiskThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.seated, r.locked = []seat.Session{{ID: "3", User: "1000"}}, map[string]bool{"3": false}
		newLinkServer(r.server)
		a, stop := r.run()
		pass(time.Minute)
		r.write = func(string, []byte) error { return errors.New("disk full") }
		if reply, err := proveNow(a, testAsk(attest.WayLoopback)); err == nil {
			t.Errorf("given out: %+v", reply)
		}
		if err := stop(); !errors.Is(err, errUnwritable) {
			t.Errorf("the agent goes on: %v", err)
		}
	})
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"Browser/1.0 (ä)": "Browser/1.0 (ä)", "\x1b[31m": "?[31m", "a\u202eb": "a?b", "a\nb": "a?b", "\xff": "?", "": "",
		strings.Repeat("ä", maxPlain): strings.Repeat("ä", maxPlain/2),
	} {
		if got := plain(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}

func FuzzLinkURL(f *testing.F) {
	good := linkScheme + "link-1/" + attest.Digest{1}.String()
	for _, s := range []string{
		good, good + "/", good + "?x", strings.ToUpper(good), linkScheme + "/" + attest.Digest{1}.String(), linkScheme + "a/" + attest.Digest{}.String(),
		"muster:link/a/b", linkScheme + "../" + attest.Digest{1}.String(), linkScheme + "-x/" + attest.Digest{1}.String(), "", linkScheme,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		link, nonce, err := parseLinkURL(s)
		if err != nil {
			if link != "" || !nonce.IsZero() {
				t.Errorf("%q: refused with %q", s, link)
			}
			return
		}
		if s != linkScheme+link+"/"+nonce.String() || nonce.IsZero() || !linkID(link) {
			t.Errorf("%q is read as %q %v", s, link, nonce)
		}
	})
}

func TestLinkURL(t *testing.T) {
	nonce := attest.Digest{1}.String()
	link, got, err := parseLinkURL("muster://link/aB_9-/" + nonce)
	if err != nil || link != "aB_9-" || got != (attest.Digest{1}) {
		t.Errorf("%q %v, %v", link, got, err)
	}
	for _, bad := range []string{
		"", "muster://link/", "muster://link/a", "muster://link/a/", "muster://link//" + nonce, "muster://link/a/" + nonce + "/", "muster://link/a/" + nonce + "#x",
		"muster://link/a b/" + nonce, "muster://link/a%2f/" + nonce, "MUSTER://link/a/" + nonce, "muster://linker/a/" + nonce, " muster://link/a/" + nonce,
		"muster://link/" + strings.Repeat("a", attest.MaxID+1) + "/" + nonce, "muster://link/a/" + nonce[1:], "muster://link/a/" + attest.Digest{}.String(),
		"https://muster.example/link/a/" + nonce, "muster://link/a/" + nonce + "=",
	} {
		_, _, err := parseLinkURL(bad)
		wantCode(t, bad, err, codeForm)
	}
}
