package agent

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
)

const (
	testOrigin = "https://muster.example"
	testSecret = "of a credential" // the imitated chip releases it for nothing
)

// testServer keeps the server's side of the contract in memory, on attest's
// verifying half. It is an http.RoundTripper: no network, so that time may be
// fake. Fields above mu are set before use.
type testServer struct {
	t      *testing.T
	nextS  int
	origin string

	mu      sync.Mutex
	tenant  string
	epoch   uint64
	device  *testDevice
	old     []*testDevice
	session attest.Digest
	begin   []byte
	// intercept, when it answers, stands in for the server; after is called when
	// the server has done its work, and may lose the reply by an error.
	intercept func(path string, body []byte) *http.Response
	after     func(path string) error
	log       []exchangeSeen
	seal      func(*attest.Identity) (blob, secret []byte) // for a real TPM
	// recertify, when it answers, is why a new DKb is refused; recertified counts
	// those that were taken.
	recertify   func() *http.Response
	recertified int
	quoteAlways bool
	enrolAs     attest.DeviceState // of enrolments
	finished    map[string][]byte  // reply by the exact finish
	refused     map[string]bool    // bodies of reports that were judged and refused
	wantLog     attest.Digest
	logs        [][]byte

	wake   chan attest.WaitReply // answers the wait that is held
	onWait func(r *http.Request) (*http.Response, error)
	waits  []waitSeen // all of them
	under  int        // held now
}

// exchangeSeen is one request as it arrived.
type exchangeSeen struct {
	path   string
	body   []byte
	at     time.Time
	device string // header
	mac    string // header
}

// testDevice is what a server knows of one device.
type testDevice struct {
	id       string
	secret   []byte
	keys     []*attest.Key
	seq      uint64
	last     attest.Digest
	base     attest.Digest
	clock    *attest.Clock
	nonces   map[attest.Digest]time.Time // expiry
	state    attest.DeviceState
	reply    []byte // of last
	accepted []*attest.Evidence
	need     attest.ReportReply // demands for the next reply
}

func newTestServer(t *testing.T) *testServer {
	return &testServer{
		t: t, nextS: 300, origin: testOrigin, tenant: strings.Repeat("ab", 16), epoch: 1, finished: map[string][]byte{},
		refused: map[string]bool{}, wake: make(chan attest.WaitReply), enrolAs: attest.Active,
	}
}

var errLost = errors.New("connection reset")

func (s *testServer) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	path := r.URL.Path
	if path == attest.PathWait {
		s.mu.Unlock()
		defer s.mu.Lock() // the deferred one above gives it back
		return s.wait(r, body)
	}
	s.log = append(s.log, exchangeSeen{path, body, time.Now(), r.Header.Get(attest.HeaderDevice), r.Header.Get(attest.HeaderMAC)})
	if s.intercept != nil {
		if resp := s.intercept(path, body); resp != nil {
			if resp.StatusCode == 0 {
				return nil, errLost
			}
			return resp, nil
		}
	}
	resp := s.serve(r, path, body)
	if s.after != nil {
		if err := s.after(path); err != nil {
			return nil, err
		}
	}
	return resp, nil
}

// waitSeen is one wait as it arrived, and when it ended.
type waitSeen struct{ at, end time.Time }

// wait holds a request as the contract says; with onWait, that answers.
func (s *testServer) wait(r *http.Request, body []byte) (*http.Response, error) {
	s.mu.Lock()
	d, onWait, n := s.find(r.Header.Get(attest.HeaderDevice)), s.onWait, len(s.waits)
	s.waits = append(s.waits, waitSeen{at: time.Now()})
	if s.under++; s.under > 1 {
		s.t.Error("two waits at once")
	}
	s.mu.Unlock()
	defer s.set(func() { s.waits[n].end, s.under = time.Now(), s.under-1 })
	if onWait != nil {
		return onWait(r)
	}
	var ask attest.WaitRequest
	switch {
	case d == nil || r.Header.Get(attest.HeaderMAC) != attest.MAC(d.secret, attest.PathWait, body).String():
		return problem(401, attest.CodeDeviceUnknown, nil), nil
	case attest.Decode(body, &ask) != nil || ask.Form() != nil:
		s.t.Errorf("a wait of another form: %s", body)
		return problem(400, string(attest.PayloadForm), nil), nil
	}
	timer := time.NewTimer(time.Duration(ask.WaitS) * time.Second)
	defer timer.Stop()
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-timer.C:
		return answer200(attest.WaitReply{}), nil
	case reply := <-s.wake:
		return answer200(reply), nil
	}
}

func (s *testServer) serve(r *http.Request, path string, body []byte) *http.Response {
	switch path {
	case attest.PathTenant:
		return answer200(attest.Tenant{Tenant: s.tenant, Origin: s.origin, Epoch: s.epoch})
	case attest.PathEnrolBegin:
		return s.enrolBegin(body)
	case attest.PathEnrolFinish:
		return s.enrolFinish(body)
	}
	d := s.find(r.Header.Get(attest.HeaderDevice))
	if d == nil || r.Header.Get(attest.HeaderMAC) != attest.MAC(d.secret, path, body).String() {
		return problem(401, attest.CodeDeviceUnknown, nil)
	}
	if d.state == attest.Revoked {
		return problem(403, attest.CodeRevoked, nil)
	}
	switch {
	case path == attest.PathNonce:
		n := d.issue(60 * time.Second)
		return answer200(attest.NonceReply{Nonce: n, ExpiresS: 60})
	case path == attest.PathReport:
		return s.report(d, body)
	case path == attest.PathStatus:
		return answer200(attest.Status{Device: d.id, State: d.state, Level: "software", Decision: decisionOf(d)})
	case strings.HasPrefix(path, attest.PathLog+"/"):
		s.logs = append(s.logs, body)
		return answer200(struct{}{})
	}
	return problem(404, "not-found", nil)
}

// find returns a device that the server has, by its id.
func (s *testServer) find(id string) *testDevice {
	for _, d := range append([]*testDevice{s.device}, s.old...) {
		if d != nil && d.id == id {
			return d
		}
	}
	return nil
}

func (s *testServer) enrolBegin(body []byte) *http.Response {
	var begin attest.EnrolBegin
	if err := attest.Decode(body, &begin); err != nil {
		return problem(400, "begin", nil)
	}
	s.begin = body
	rand.Read(s.session[:])
	challenge := attest.EnrolChallenge{
		Session: s.session[:], Nonce: attest.Digest{9}, CredentialBlob: []byte(testSecret), EncryptedSecret: []byte("secret"), ExpiresS: 60,
	}
	if s.seal != nil && begin.Identity.Kind == attest.KindTPM {
		challenge.CredentialBlob, challenge.EncryptedSecret = s.seal(&begin.Identity)
	}
	return answer200(challenge)
}

func (s *testServer) enrolFinish(body []byte) *http.Response {
	if reply, ok := s.finished[string(body)]; ok {
		return respond(200, "application/json", reply)
	}
	var finish attest.EnrolFinish
	var begin attest.EnrolBegin
	if attest.Decode(body, &finish) != nil || attest.Decode(s.begin, &begin) != nil {
		return problem(400, "finish", nil)
	}
	if !bytes.Equal(finish.Session, s.session[:]) {
		return problem(409, attest.CodeSessionEnded, nil)
	}
	keys, err := keysOf(begin.Identity)
	if err != nil {
		return problem(400, "keys", nil)
	}
	transcript := attest.EnrolTranscript(s.begin, finish.Session, attest.Digest{9}, s.origin, s.tenant)
	ev, err := attest.Open([]byte(finish.JWS), finish.Quote, &attest.Known{
		Typs: []attest.Typ{attest.TypEnrol}, Keys: keys, Now: time.Now(), Transcript: transcript,
		NonceIssued: func(attest.Digest) (time.Time, time.Time, bool) { return time.Now(), time.Now().Add(time.Minute), true },
	})
	if err != nil {
		s.t.Errorf("enrolment refused: %v", err)
		return problem(400, "evidence", nil)
	}
	if begin.Identity.Kind == attest.KindTPM {
		s.checkAnchor(&finish, keys, transcript)
	}
	if s.device != nil {
		s.old = append(s.old, s.device)
	}
	d := &testDevice{
		id: fmt.Sprintf("device-%d", len(s.old)+1), secret: bytes.Repeat([]byte{byte(len(s.old) + 1)}, 32), keys: keys,
		last: ev.Digest, base: ev.Digest, nonces: map[attest.Digest]time.Time{}, state: s.enrolAs,
	}
	d.accepted = append(d.accepted, ev)
	s.device = d
	reply := encoded(attest.EnrolReply{Device: d.id, Level: "software", Secret: d.secret, Next: d.next(s)})
	s.finished[string(body)] = reply
	return respond(200, "application/json", reply)
}

func (s *testServer) checkAnchor(f *attest.EnrolFinish, keys []*attest.Key, transcript attest.Digest) {
	if f.Proof != attest.EnrolProof([]byte(testSecret), transcript) {
		s.t.Error("proof is wrong")
	}
	if f.Quote == nil || f.CertifyDK == nil || (f.CertifyDKb == nil) != (keyFor(keys, attest.DKb) == nil) {
		s.t.Error("enrolment without quote or certification")
		return
	}
	for role, c := range map[attest.Role]*attest.Attestation{attest.DK: f.CertifyDK, attest.DKb: f.CertifyDKb} {
		if c == nil {
			continue
		}
		if _, err := attest.CheckCertify(*c, keyFor(keys, attest.AK), transcript, keyFor(keys, role).Name); err != nil {
			s.t.Errorf("certification of %v: %v", role, err)
		}
	}
}

func (s *testServer) report(d *testDevice, body []byte) *http.Response {
	var submit attest.ReportSubmit
	if err := attest.Decode(body, &submit); err != nil {
		return problem(400, "submit", nil)
	}
	ev, err := attest.Open([]byte(submit.JWS), submit.Quote, &attest.Known{
		Typs: []attest.Typ{attest.TypReport, attest.TypHeartbeat}, Device: d.id, Keys: d.keys, Now: time.Now(),
		Seq: d.seq, Prev: d.last, LastClock: d.clock, QuoteAlways: s.quoteAlways,
		NonceIssued: func(n attest.Digest) (time.Time, time.Time, bool) {
			expires, ok := d.nonces[n]
			return expires.Add(-time.Minute), expires, ok
		},
	})
	if e := (*attest.Error)(nil); errors.As(err, &e) {
		resp := s.refuse(d, e, submit.JWS)
		s.refused[string(body)] = resp.StatusCode/100 != 2
		return resp
	}
	if submit.DKb != nil {
		if resp := s.takeDKb(d, &submit, ev); resp != nil {
			s.refused[string(body)] = true
			return resp
		}
	}
	delete(d.nonces, ev.Header.Nonce)
	if ev.Heartbeat != nil && ev.Heartbeat.Base != d.base {
		s.t.Errorf("heartbeat refers to another base")
	}
	if ev.Report != nil {
		d.base = ev.Digest
	}
	if ev.Measured != nil {
		d.clock = &ev.Measured.Clock
	}
	d.seq, d.last = ev.Header.Seq, ev.Digest
	d.accepted = append(d.accepted, ev)
	d.reply = encoded(d.next(s))
	return respond(200, "application/json", d.reply)
}

// takeDKb checks a new boot key as SPEC.md §7.4 says, and takes it.
func (s *testServer) takeDKb(d *testDevice, submit *attest.ReportSubmit, ev *attest.Evidence) *http.Response {
	if s.recertify != nil {
		if resp := s.recertify(); resp != nil {
			return resp
		}
	}
	if ev.Signer != attest.DK || ev.Measured == nil || ev.Report == nil {
		s.t.Errorf("a new DKb beside a statement of %v, quote %v, report %v", ev.Signer, ev.Measured != nil, ev.Report != nil)
	}
	key, err := attest.ParseKey(attest.DKb, submit.DKb.Public)
	if err == nil {
		input := submit.JWS[:strings.LastIndexByte(submit.JWS, '.')]
		_, err = attest.CheckCertify(submit.DKb.Certify, keyFor(d.keys, attest.AK), attest.RecertifyBinding([]byte(input)), key.Name)
	}
	if err == nil {
		_, err = attest.CheckBootPolicy(key, ev.Measured)
	}
	if err != nil {
		s.t.Errorf("recertification refused: %v", err)
		return problem(400, "recertify", nil)
	}
	d.keys = append(slices.DeleteFunc(slices.Clone(d.keys), func(k *attest.Key) bool { return k.Role == attest.DKb }), key)
	s.recertified++
	return nil
}

// refuse answers as the contract says: identical bytes of the last accepted
// statement get the stored reply, what is out of step learns how to go on.
func (s *testServer) refuse(d *testDevice, e *attest.Error, jws string) *http.Response {
	switch e.Code {
	case attest.OutOfStep, attest.NonceExpired, attest.NonceUnknown:
		if h, err := attest.PeekHeader([]byte(jws)); err == nil && h.Seq == d.seq && d.reply != nil && digestOf(jws) == d.last {
			return respond(200, "application/json", d.reply)
		}
		code := string(e.Code)
		if e.Code == attest.OutOfStep {
			code = attest.CodeResync
		}
		return problem(409, code, &attest.Resync{Seq: d.seq, Last: d.last, Nonce: d.issue(60 * time.Second), NonceS: 60})
	}
	return problem(409, string(e.Code), nil)
}

func (d *testDevice) issue(life time.Duration) (n attest.Digest) {
	rand.Read(n[:])
	d.nonces[n] = time.Now().Add(life)
	return n
}

func (d *testDevice) next(s *testServer) attest.ReportReply {
	life := time.Duration(s.nextS)*time.Second + attest.NonceSlack
	reply := d.need
	reply.Accepted, reply.State, reply.NextS, reply.NonceS = d.last, d.state, s.nextS, int(life/time.Second)
	reply.Nonce, reply.Decision, reply.NeedLog = d.issue(life), decisionOf(d), s.wantLog
	d.need = attest.ReportReply{}
	return reply
}

func decisionOf(d *testDevice) attest.Decision {
	if d.state != attest.Active {
		return attest.Decision{Outcome: "deny", Reasons: []attest.Reason{{Code: "pending", Text: "This device waits.", Fix: "Ask."}}}
	}
	return attest.Decision{Outcome: "allow"}
}

// paths counts requests to a path.
func (s *testServer) paths(path string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.log {
		if e.path == path {
			n++
		}
	}
	return n
}

// reports returns the accepted statements of the present device.
func (s *testServer) reports() []*attest.Evidence {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.device == nil {
		return nil
	}
	return append([]*attest.Evidence(nil), s.device.accepted...)
}

// on has a function stand in for the server whenever it answers.
func (s *testServer) on(intercept func(path string, body []byte) *http.Response) {
	s.set(func() { s.intercept = intercept })
}

// set changes the server under its lock.
func (s *testServer) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func keyFor(keys []*attest.Key, role attest.Role) *attest.Key {
	for _, k := range keys {
		if k.Role == role {
			return k
		}
	}
	return nil
}

func keysOf(id attest.Identity) (keys []*attest.Key, err error) {
	if id.Kind == attest.KindSoft {
		k, err := attest.SoftKey(id.DK)
		return []*attest.Key{k}, err
	}
	for role, public := range map[attest.Role][]byte{attest.AK: id.AK, attest.DK: id.DK, attest.DKb: id.DKb} {
		if len(public) == 0 && role == attest.DKb {
			continue
		}
		k, err := attest.ParseKey(role, public)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func digestOf(jws string) attest.Digest {
	return sha([]byte(jws[:strings.LastIndexByte(jws, '.')]))
}

func encoded(v any) []byte {
	b, err := attest.Encode(v)
	if err != nil {
		panic(err)
	}
	return b
}

func answer200(v any) *http.Response { return respond(200, "application/json", encoded(v)) }

func problem(status int, code string, r *attest.Resync) *http.Response {
	return respond(status, "application/problem+json", encoded(attest.Problem{
		Type: "about:blank", Title: "refused", Status: status, Code: code, Detail: "test", Resync: r,
	}))
}

// lost is an answer that does not arrive.
func lost() *http.Response { return &http.Response{} }

func respond(status int, kind string, body []byte) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(bytes.NewReader(body)),
	}
}

// fitClaims are all yes, as seen now.
func fitClaims(now time.Time) posture.Claims {
	var c posture.Claims
	for _, claim := range c.Each() {
		*claim = posture.Claim{State: posture.Yes, ObservedAt: now.UTC().Truncate(time.Second)}
	}
	c.Hardware.Detail = posture.Hardware{Serial: "SER-1", UUID: "UUID-1", Hostname: "host-1"}
	c.DiskEncryption.Detail.Volumes = []posture.Volume{{Device: "dm-0", Mount: "/home/jo", Use: posture.UseData, State: posture.Yes}}
	return c
}

// payloadOf returns what a JWS states.
func payloadOf(t *testing.T, jws string) string {
	t.Helper()
	parts := strings.Split(jws, ".")
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
