package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/passkey"
	"muster/server/people"
	"muster/server/session"
	"muster/server/store"
	"muster/server/verify"
)

const linkOrigin = "https://id.muster.example"

// linkRig is a server with alice's active laptop, whose key the test holds, and
// sessions of hers and of bob's.
type linkRig struct {
	*Server
	t   *testing.T
	key *ecdsa.PrivateKey
}

const linkLaptop = "laptop-alice"

func newLinkRig(t *testing.T) *linkRig {
	t.Helper()
	r := &linkRig{t: t, Server: newTestServer(t, Config{PublicURL: linkOrigin, RPID: "muster.example"})}
	var err error
	if r.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	point, err := r.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	row := &store.Device{
		ID: linkLaptop, State: attest.Active, Class: verify.ClassCorporate, Platform: posture.Linux, Owner: "alice",
		Keys: store.Keys{Kind: attest.KindSoft, DK: point, DKID: attest.KeyID(&r.key.PublicKey)},
	}
	r.mustUpdate(t, func(tx *store.Tx) error { return tx.InsertDevice(row) })
	if err := r.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.deviceRate = newLimiter(1e6, 1e6, r.now) // these tests ask more than a laptop may
	return r
}

// sign makes a session of a person, and the person.
func (r *linkRig) sign(name string) *people.Who {
	r.t.Helper()
	w := &people.Who{Person: &store.Person{ID: "p_" + name, Name: name, Display: name, Role: store.RolePerson, CreatedBy: "test"}}
	now := r.now()
	w.Session = &session.Session{Person: w.Person.ID, Credential: []byte("key of " + name), VerifiedAt: now, Binding: "none",
		Limits: session.Limits{Idle: time.Hour, Absolute: time.Hour}, Address: "192.0.2.7", Browser: "Browser of " + name}
	r.mustUpdate(r.t, func(tx *store.Tx) error {
		if err := tx.AddPerson(w.Person); err != nil {
			return err
		}
		key := passkey.Credential{ID: w.Session.Credential, PublicKey: []byte("public"), Algorithm: -7, Attestation: []byte("a"),
			ClientData: []byte("c"), Judgement: passkey.Judgement{Evidence: passkey.None, Format: "none"}}
		if err := tx.AddPasskey(&store.Passkey{Credential: key, Person: w.Person.ID, Name: "Passkey"}); err != nil {
			return err
		}
		_, err := tx.AddSession(w.Session)
		return err
	})
	return w
}

func (r *linkRig) begin(w *people.Who, way session.Strength) *people.LinkAsk {
	r.t.Helper()
	ask, err := r.people.BeginLink(r.t.Context(), w, way, people.From{Address: w.Session.Address, Browser: w.Session.Browser})
	if err != nil {
		r.t.Fatal(err)
	}
	return ask
}

// post sends a message as the laptop, and reads the answer into reply when it is
// 200, else returns its code.
func (r *linkRig) post(path string, message, reply any) (status int, code string) {
	r.t.Helper()
	body, ok := message.([]byte)
	if !ok {
		var err error
		if body, err = attest.Encode(message); err != nil {
			r.t.Fatal(err)
		}
	}
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, r.request(path, body))
	if w.Code == http.StatusOK {
		if reply != nil {
			if err := json.Unmarshal(w.Body.Bytes(), reply); err != nil {
				r.t.Fatal(err)
			}
		}
		return w.Code, ""
	}
	var p attest.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Code == "" || p.Fix == "" || w.Header().Get("Content-Type") != "application/problem+json" {
		r.t.Errorf("%s: %d %s, %v: no problem document with a fix", path, w.Code, w.Body, err)
	}
	if p.Resync != nil {
		r.t.Errorf("%s: a statement outside the sequence is answered with a resync", path)
	}
	return w.Code, p.Code
}

func (r *linkRig) request(path string, body []byte) *http.Request {
	q := httptest.NewRequest("POST", path, strings.NewReader(string(body)))
	q.RemoteAddr = "127.0.0.1:1"
	secret := r.fleet.get(linkLaptop).secret.Load()
	q.Header.Set(attest.HeaderDevice, linkLaptop)
	q.Header.Set(attest.HeaderMAC, attest.MAC(secret[:], path, body).String())
	return q
}

func (r *linkRig) freshNonce() attest.Digest {
	r.t.Helper()
	var reply attest.NonceReply
	if status, code := r.post(attest.PathNonce, attest.NonceRequest{}, &reply); status != http.StatusOK {
		r.t.Fatalf("nonce: %d %s", status, code)
	}
	return reply.Nonce
}

// proof signs what an offer says, with changes.
func (r *linkRig) proof(o attest.LinkOffer, change func(*attest.Header, *attest.LinkProof)) attest.LinkSubmit {
	r.t.Helper()
	h := attest.Header{Typ: attest.TypLink, Kid: attest.KeyID(&r.key.PublicKey), Device: linkLaptop, Nonce: r.freshNonce()}
	p := attest.LinkProof{Link: o.Link, Nonce: o.Nonce, SessionHash: o.SessionHash, Origin: linkOrigin, Time: r.now().Unix()}
	if change != nil {
		change(&h, &p)
	}
	payload, err := attest.Encode(p)
	if err != nil {
		r.t.Fatal(err)
	}
	s, err := attest.Sign(context.Background(), func(_ context.Context, digest [32]byte) ([]byte, error) {
		x, y, err := ecdsa.Sign(rand.Reader, r.key, digest[:])
		if err != nil {
			return nil, err
		}
		return append(x.FillBytes(make([]byte, 32)), new(big.Int).Set(y).FillBytes(make([]byte, 32))...), nil
	}, h, payload)
	if err != nil {
		r.t.Fatal(err)
	}
	return attest.LinkSubmit{JWS: string(s.Compact)}
}

func (r *linkRig) offer(ask *people.LinkAsk) attest.LinkOffer {
	r.t.Helper()
	var offers attest.LinkOffers
	status, code := r.post(attest.PathLinkAsk, attest.LinkAsk{Link: ask.ID, Nonce: ask.Nonce, Way: string(ask.Way)}, &offers)
	if status != http.StatusOK || len(offers.Offers) != 1 {
		r.t.Fatalf("%d %s: %+v", status, code, offers)
	}
	return offers.Offers[0]
}

func TestLinkOverTheWire(t *testing.T) {
	r := newLinkRig(t)
	w := r.sign("alice")
	for _, way := range []session.Strength{session.ByLoopback, session.ByApp} {
		ask := r.begin(w, way)
		o := r.offer(ask)
		if o.Link != ask.ID || o.Nonce != ask.Nonce || o.Person != "alice" || o.SessionHash != session.Hash(w.Session.ID) {
			t.Errorf("%s: offered %+v", way, o)
		}
		seq := r.fleet.get(linkLaptop).hot.Seq
		var reply attest.LinkReply
		if status, code := r.post(attest.PathLink, r.proof(o, nil), &reply); status != http.StatusOK {
			t.Fatalf("%s: %d %s", way, status, code)
		}
		value := reply.Confirm
		if way == session.ByApp {
			_, value, _ = strings.Cut(reply.URL, "#"+ask.ID+".")
			if !strings.HasPrefix(reply.URL, linkOrigin+"/") {
				t.Errorf("page %s", reply.URL)
			}
		}
		link, err := r.people.ConfirmLink(t.Context(), w, ask.ID, value)
		if err != nil || link.Device != linkLaptop || link.Strength != way || link.Address != "127.0.0.1" {
			t.Errorf("%s: %+v, %v", way, link, err)
		}
		if got := r.fleet.get(linkLaptop).hot.Seq; got != seq {
			t.Errorf("%s: the sequence moved from %d to %d", way, seq, got)
		}
	}
	// Nobody waits for a code: an empty list, not null.
	rec := httptest.NewRecorder()
	r.Handler().ServeHTTP(rec, r.request(attest.PathLinkAsk, []byte(`{"way":"code"}`)))
	if rec.Code != 200 || rec.Body.String() != `{"offers":[]}` {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if status, code := r.post(attest.PathLinkEnd, attest.LinkEnd{Cause: attest.CauseLocked}, nil); status != http.StatusOK {
		t.Errorf("end: %d %s", status, code)
	}
}

// Each proof differs from a good one in one thing.
func TestLinkProofsRefused(t *testing.T) {
	r := newLinkRig(t)
	w := r.sign("alice")
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*attest.Header, *attest.LinkProof)
		code   string
	}{
		"another device":     {func(h *attest.Header, _ *attest.LinkProof) { h.Device = "laptop-bob" }, string(attest.DeviceMismatch)},
		"a report":           {func(h *attest.Header, _ *attest.LinkProof) { h.Typ = attest.TypReport }, string(attest.TypRefused)},
		"an ephemeral key":   {func(h *attest.Header, _ *attest.LinkProof) { h.Typ = attest.TypEphemeral }, string(attest.TypRefused)},
		"in the sequence":    {func(h *attest.Header, _ *attest.LinkProof) { h.Seq = 1 }, string(attest.HeaderForm)},
		"another key":        {func(h *attest.Header, _ *attest.LinkProof) { h.Kid = attest.KeyID(&stranger.PublicKey) }, string(attest.KeyUnknown)},
		"a nonce of nobody":  {func(h *attest.Header, _ *attest.LinkProof) { h.Nonce = attest.Digest{7} }, string(attest.NonceUnknown)},
		"the link's nonce":   {func(h *attest.Header, p *attest.LinkProof) { h.Nonce = p.Nonce }, string(attest.NonceUnknown)},
		"another origin":     {func(_ *attest.Header, p *attest.LinkProof) { p.Origin = "https://evil.example" }, attest.CodeOriginWrong},
		"origin with a path": {func(_ *attest.Header, p *attest.LinkProof) { p.Origin = linkOrigin + "/" }, attest.CodeOriginWrong},
		"no session":         {func(_ *attest.Header, p *attest.LinkProof) { p.SessionHash = attest.Digest{} }, string(attest.PayloadForm)},
		"another session":    {func(_ *attest.Header, p *attest.LinkProof) { p.SessionHash = attest.Digest{9} }, "link-refused"},
		"another request":    {func(_ *attest.Header, p *attest.LinkProof) { p.Link = "o_other" }, "link-refused"},
		"signed early":       {func(_ *attest.Header, p *attest.LinkProof) { p.Time -= 1000 }, "link-refused"},
	} {
		o := r.offer(r.begin(w, session.ByLoopback))
		if status, code := r.post(attest.PathLink, r.proof(o, c.change), nil); status/100 != 4 || code != c.code {
			t.Errorf("%s: %d %s, want %s", name, status, code, c.code)
		}
	}
	good := r.proof(r.offer(r.begin(w, session.ByLoopback)), nil)
	for name, bad := range map[string]string{
		"one bit":   good.JWS[:len(good.JWS)-2] + "A" + good.JWS[len(good.JWS)-1:],
		"cut":       good.JWS[:len(good.JWS)-1],
		"no proof":  "",
		"a header":  strings.Split(good.JWS, ".")[0],
		"two dots":  "..",
		"trailing":  good.JWS + "\n",
		"no digest": strings.Replace(good.JWS, ".", ".e30", 1),
	} {
		if status, code := r.post(attest.PathLink, attest.LinkSubmit{JWS: bad}, nil); status/100 != 4 || bad == good.JWS {
			t.Errorf("%s: %d %s", name, status, code)
		}
	}
	if status, code := r.post(attest.PathLink, good, nil); status != http.StatusOK {
		t.Errorf("the good one, after all of them: %d %s", status, code)
	}
}

func TestLinkMessagesRefused(t *testing.T) {
	r := newLinkRig(t)
	for path, bodies := range map[string][]string{
		attest.PathLinkAsk: {
			"", "null", "[]", "{}", `{"recover":true,"way":"code"}`, `{"way":"loopback"}`, `{"link":"a","way":"app"}`, `{"way":"code","session":"s"}`,
			`{"way":"code","way":"code"}`, `{"Way":"code"}`, `{"way":"code"}{}`, `{"link":"a\nb","nonce":"` + attest.Digest{1}.String() + `","way":"app"}`,
		},
		attest.PathLink:    {"", "null", `{"jws":1}`, `{"jws":"a","dkb":{}}`, `{"jws":"a","quote":null}`, "{}x"},
		attest.PathLinkEnd: {"", "{}", `{"cause":""}`, `{"cause":"Locked"}`, `{"cause":"locked","session":"s"}`},
	} {
		for _, body := range bodies {
			if status, code := r.post(path, []byte(body), nil); status != http.StatusBadRequest || code != string(attest.PayloadForm) {
				t.Errorf("%s %s: %d %s", path, body, status, code)
			}
		}
	}
	// Nobody speaks for a device without its secret.
	for _, path := range []string{attest.PathLinkAsk, attest.PathLink, attest.PathLinkEnd} {
		for name, spoil := range map[string]func(*http.Request){
			"no MAC":         func(q *http.Request) { q.Header.Del(attest.HeaderMAC) },
			"another's MAC":  func(q *http.Request) { q.Header.Set(attest.HeaderMAC, attest.Digest{1}.String()) },
			"another device": func(q *http.Request) { q.Header.Set(attest.HeaderDevice, "laptop-bob") },
		} {
			q := r.request(path, []byte(`{"cause":"locked"}`))
			spoil(q)
			w := httptest.NewRecorder()
			if r.Handler().ServeHTTP(w, q); w.Code != http.StatusUnauthorized {
				t.Errorf("%s, %s: %d", path, name, w.Code)
			}
		}
	}
}

// One statement proves once: the same bytes again, also at once and also when the
// first answer was lost, find their nonce used.
func TestLinkProofOnceOfAThousand(t *testing.T) {
	r := newLinkRig(t)
	w := r.sign("alice")
	o := r.offer(r.begin(w, session.ByLoopback))
	body, err := attest.Encode(r.proof(o, nil))
	if err != nil {
		t.Fatal(err)
	}
	h := r.Handler()
	var won, other atomic.Int32
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r.request(attest.PathLink, body))
			switch {
			case rec.Code == http.StatusOK:
				won.Add(1)
			case rec.Code != http.StatusConflict || !strings.Contains(rec.Body.String(), string(attest.NonceUnknown)):
				other.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || other.Load() != 0 {
		t.Errorf("%d won, %d were answered otherwise", won.Load(), other.Load())
	}
	// Used up on disk, not only in memory.
	err = r.store.View(t.Context(), func(tx *store.Tx) error {
		hot, err := tx.Hot(linkLaptop)
		if err == nil && slices.ContainsFunc(hot.Nonces, func(n store.Nonce) bool { return strings.Contains(string(body), n.Value.String()) }) {
			t.Error("the nonce is stored as live")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A proof that people refuse uses the nonce up all the same.
func TestLinkNonceIsUsedUpByARefusal(t *testing.T) {
	r := newLinkRig(t)
	o := r.offer(r.begin(r.sign("alice"), session.ByLoopback))
	submit := r.proof(o, func(_ *attest.Header, p *attest.LinkProof) { p.SessionHash = attest.Digest{9} })
	if _, code := r.post(attest.PathLink, submit, nil); code != "link-refused" {
		t.Fatal(code)
	}
	if _, code := r.post(attest.PathLink, submit, nil); code != string(attest.NonceUnknown) {
		t.Errorf("again: %s", code)
	}
}

func TestLinkNeedsAnActiveDevice(t *testing.T) {
	for state, want := range map[attest.DeviceState]string{attest.Pending: attest.CodeNotActive, attest.Revoked: attest.CodeRevoked} {
		r := newLinkRig(t)
		w := r.sign("alice")
		ask := r.begin(w, session.ByLoopback)
		submit := r.proof(r.offer(ask), nil)
		set := func(row *store.Device, _ *store.Hot) error {
			row.State = state
			return nil
		}
		if _, err := r.change(t.Context(), localActor, linkLaptop, set, "device.test", nil); err != nil {
			t.Fatal(err)
		}
		for path, message := range map[string]any{
			attest.PathLinkAsk: attest.LinkAsk{Link: ask.ID, Nonce: ask.Nonce, Way: string(ask.Way)},
			attest.PathLink:    submit, attest.PathLinkEnd: attest.LinkEnd{Cause: attest.CauseLeft},
		} {
			if status, code := r.post(path, message, nil); status != http.StatusForbidden || code != want {
				t.Errorf("%s, %s: %d %s, want %s", state, path, status, code, want)
			}
		}
	}
}

// Another person's request is not told apart from one that does not exist.
func TestLinkOfAnotherPerson(t *testing.T) {
	r := newLinkRig(t)
	ask := r.begin(r.sign("bob"), session.ByLoopback)
	for name, a := range map[string]attest.LinkAsk{
		"another's":   {Link: ask.ID, Nonce: ask.Nonce, Way: attest.WayLoopback},
		"unknown":     {Link: "o_none", Nonce: ask.Nonce, Way: attest.WayLoopback},
		"wrong nonce": {Link: ask.ID, Nonce: attest.Digest{1}, Way: attest.WayLoopback},
	} {
		if status, code := r.post(attest.PathLinkAsk, a, nil); status != http.StatusForbidden || code != "link-refused" {
			t.Errorf("%s: %d %s", name, status, code)
		}
	}
}

// A TPM device brings a quote where a report would need one.
func TestLinkQuoteRules(t *testing.T) {
	now := time.Now()
	judged := &device{hot: store.Hot{Clock: new(attest.Clock)}, result: new(verify.Result)}
	for name, c := range map[string]struct {
		d    *device
		ev   attest.Evidence
		code attest.Code
	}{
		"software":         {&device{row: store.Device{Keys: store.Keys{Kind: attest.KindSoft}}, hot: store.Hot{Resync: true}}, attest.Evidence{}, ""},
		"fresh":            {&device{hot: store.Hot{QuotedAt: now}}, attest.Evidence{}, ""},
		"old":              {&device{hot: store.Hot{QuotedAt: now.Add(-attest.QuoteEvery)}}, attest.Evidence{}, attest.QuoteNeeded},
		"never":            {&device{}, attest.Evidence{}, attest.QuoteNeeded},
		"out of step":      {&device{hot: store.Hot{QuotedAt: now, Resync: true}}, attest.Evidence{}, attest.QuoteNeeded},
		"old, with one":    {judged, attest.Evidence{Measured: new(attest.Measured)}, ""},
		"never judged":     {&device{hot: store.Hot{Clock: new(attest.Clock)}}, attest.Evidence{Measured: new(attest.Measured)}, attest.QuoteNeeded},
		"never quoted":     {&device{result: new(verify.Result)}, attest.Evidence{Measured: new(attest.Measured)}, attest.QuoteNeeded},
		"cleared, with it": {&device{}, attest.Evidence{Measured: new(attest.Measured), Cleared: true}, attest.ClockBack},
	} {
		if c.d.row.Keys.Kind == "" {
			c.d.row.Keys.Kind = attest.KindTPM
		}
		err := c.d.quotedFor(&c.ev, now)
		if got, _ := err.(*attest.Error); (got == nil) != (c.code == "") || got != nil && got.Code != c.code {
			t.Errorf("%s: %v, want %q", name, err, c.code)
		}
	}
}
