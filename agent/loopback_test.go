package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"muster/attest"
	"muster/platform/seat"
)

// pages is a loopback listener in front of a stub of the agent.
type pages struct {
	host   string
	proved atomic.Int32
	peer   atomic.Pointer[error] // what is said of who connects; nil: welcome
	fail   atomic.Pointer[error]
}

func newPages(t *testing.T) *pages {
	t.Helper()
	p := new(pages)
	p.listen(t, &quota{most: 1000, per: time.Hour}, &quota{most: 1000, per: time.Hour})
	return p
}

func (p *pages) listen(t *testing.T, knocks, links *quota) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.host = l.Addr().String()
	door := &loopbackDoor{
		origin: testOrigin, host: p.host, up: func() time.Duration { return 0 }, knocks: knocks, links: links,
		peer: func(client, server netip.AddrPort) (string, error) {
			if server.String() != p.host || client.Addr() != server.Addr() {
				t.Errorf("asked about %v and %v", client, server)
			}
			if e := p.peer.Load(); e != nil {
				return "", *e
			}
			return "1000", nil
		},
		prove: func(_ context.Context, user, link string, nonce attest.Digest) (string, error) {
			p.proved.Add(1)
			if user != "1000" || link != "link-1" || nonce != (attest.Digest{1}) {
				t.Errorf("proving %q %q %v", user, link, nonce)
			}
			if e := p.fail.Load(); e != nil {
				return "", *e
			}
			return "one-time", nil
		},
	}
	server := pageServer(door, loopbackRead)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
}

func knockBody() string { return `{"link":"link-1","nonce":"` + attest.Digest{1}.String() + `"}` }

// browserRequest is what a page of the server has its browser send.
func (p *pages) browserRequest() *rawRequest {
	return &rawRequest{line: "POST /link HTTP/1.1", body: knockBody(), headers: map[string]string{
		"Host": p.host, "Origin": testOrigin, "Content-Type": "text/plain;charset=UTF-8",
		"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty",
	}}
}

// rawRequest is sent byte by byte, past what an HTTP client would mend.
type rawRequest struct {
	line    string
	headers map[string]string
	extra   string
	body    string
}

func (r *rawRequest) with(change func(*rawRequest)) *rawRequest {
	change(r)
	return r
}

func (r *rawRequest) header(name, value string) *rawRequest {
	r.headers[name] = value
	return r
}

func (r *rawRequest) without(name string) *rawRequest {
	delete(r.headers, name)
	return r
}

// text is the request as it is sent.
func (r *rawRequest) text() string {
	var b strings.Builder
	b.WriteString(r.line + "\r\n")
	for name, value := range r.headers {
		b.WriteString(name + ": " + value + "\r\n")
	}
	fmt.Fprintf(&b, "%sContent-Length: %d\r\n\r\n%s", r.extra, len(r.body), r.body)
	return b.String()
}

func (r *rawRequest) send(t *testing.T, host string) *http.Response {
	t.Helper()
	c, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, r.text()); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	method, _, _ := strings.Cut(r.line, " ")
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s: %v", r.line, err)
	}
	return resp
}

func bodyOf(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLoopbackAnswersItsServersPage(t *testing.T) {
	p := newPages(t)
	for name, r := range map[string]*rawRequest{
		"Chromium":                       p.browserRequest(),
		"same site":                      p.browserRequest().header("Sec-Fetch-Site", "same-site"),
		"a browser without these":        p.browserRequest().without("Sec-Fetch-Site").without("Sec-Fetch-Mode").without("Sec-Fetch-Dest"),
		"a content type without charset": p.browserRequest().header("Content-Type", "text/plain"),
	} {
		resp := r.send(t, p.host)
		body := bodyOf(t, resp)
		if resp.StatusCode != 200 || body != `{"confirm":"one-time"}` {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
		h := resp.Header
		if h.Get("Access-Control-Allow-Origin") != testOrigin || h.Get("Vary") != "Origin" || h.Get("Cache-Control") != "no-store" ||
			h.Get("Cross-Origin-Resource-Policy") != "same-origin" || h.Get("Access-Control-Allow-Credentials") != "" || h.Get("Content-Type") != "application/json" {
			t.Errorf("%s: headers %v", name, h)
		}
	}
	if p.proved.Load() != 4 {
		t.Errorf("proved %d times", p.proved.Load())
	}
}

// What no page of our server sends gets a status and nothing else: no header by
// which a script sees it, no word, and no look at who sent it.
func TestLoopbackIsSilentToStrangers(t *testing.T) {
	p := newPages(t)
	looked := errors.New("looked up")
	p.peer.Store(&looked)
	_, port, _ := net.SplitHostPort(p.host)
	for name, c := range map[string]struct {
		r      *rawRequest
		status int
	}{
		"evil origin":           {p.browserRequest().header("Origin", "https://evil.example"), 403},
		"no origin":             {p.browserRequest().without("Origin"), 403},
		"null origin":           {p.browserRequest().header("Origin", "null"), 403},
		"empty origin":          {p.browserRequest().header("Origin", ""), 403},
		"two origins":           {p.browserRequest().with(func(r *rawRequest) { r.extra = "Origin: https://evil.example\r\n" }), 403},
		"origins in one":        {p.browserRequest().header("Origin", testOrigin+" https://evil.example"), 403},
		"longer name":           {p.browserRequest().header("Origin", testOrigin+".evil.example"), 403},
		"sub domain":            {p.browserRequest().header("Origin", "https://x.muster.example"), 403},
		"other case":            {p.browserRequest().header("Origin", "https://MUSTER.example"), 403},
		"other port":            {p.browserRequest().header("Origin", testOrigin+":8443"), 403},
		"plain http":            {p.browserRequest().header("Origin", "http://muster.example"), 403},
		"origin with a path":    {p.browserRequest().header("Origin", testOrigin+"/"), 403},
		"rebound name":          {p.browserRequest().header("Host", "evil.example:"+port), 403},
		"rebound to our name":   {p.browserRequest().header("Host", "muster.example"), 403},
		"localhost":             {p.browserRequest().header("Host", "localhost:"+port), 403},
		"no port":               {p.browserRequest().header("Host", "127.0.0.1"), 403},
		"other port of ours":    {p.browserRequest().header("Host", "127.0.0.1:1"), 403},
		"other loopback":        {p.browserRequest().header("Host", "127.0.0.2:"+port), 403},
		"number of the address": {p.browserRequest().header("Host", "2130706433:"+port), 403},
		"absolute, rebound":     {p.browserRequest().with(func(r *rawRequest) { r.line = "POST http://evil.example/link HTTP/1.1" }), 403},
		"absolute, ours":        {p.browserRequest().with(func(r *rawRequest) { r.line = "POST http://" + p.host + "/link HTTP/1.1" }), 404},
		"GET":                   {p.browserRequest().with(func(r *rawRequest) { r.line = "GET /link HTTP/1.1" }), 405},
		"HEAD":                  {p.browserRequest().with(func(r *rawRequest) { r.line, r.body = "HEAD /link HTTP/1.1", "" }), 405},
		"PUT":                   {p.browserRequest().with(func(r *rawRequest) { r.line = "PUT /link HTTP/1.1" }), 405},
		"preflight": {p.browserRequest().header("Access-Control-Request-Method", "POST").header("Access-Control-Request-Private-Network", "true").
			with(func(r *rawRequest) { r.line = "OPTIONS /link HTTP/1.1" }), 405},
		"preflight of all":    {p.browserRequest().with(func(r *rawRequest) { r.line = "OPTIONS * HTTP/1.1" }), 404},
		"another path":        {p.browserRequest().with(func(r *rawRequest) { r.line = "POST / HTTP/1.1" }), 404},
		"path below":          {p.browserRequest().with(func(r *rawRequest) { r.line = "POST /link/ HTTP/1.1" }), 404},
		"two slashes":         {p.browserRequest().with(func(r *rawRequest) { r.line = "POST //link HTTP/1.1" }), 404},
		"query":               {p.browserRequest().with(func(r *rawRequest) { r.line = "POST /link?x HTTP/1.1" }), 404},
		"a form is submitted": {p.browserRequest().header("Sec-Fetch-Mode", "navigate").header("Sec-Fetch-Dest", "document"), 403},
		"no-cors":             {p.browserRequest().header("Sec-Fetch-Mode", "no-cors"), 403},
		"a frame":             {p.browserRequest().header("Sec-Fetch-Dest", "iframe"), 403},
		"typed by hand":       {p.browserRequest().header("Sec-Fetch-Site", "none"), 403},
		"from ourselves":      {p.browserRequest().header("Sec-Fetch-Site", "same-origin"), 403},
		"two modes":           {p.browserRequest().with(func(r *rawRequest) { r.extra = "Sec-Fetch-Mode: cors\r\n" }), 403},
	} {
		resp := c.r.send(t, p.host)
		if resp.StatusCode != c.status || resp.Header.Get("Access-Control-Allow-Origin") != "" || bodyOf(t, resp) != "" {
			t.Errorf("%s: %d, headers %v", name, resp.StatusCode, resp.Header)
		}
		for header := range resp.Header {
			if strings.HasPrefix(header, "Access-Control-") {
				t.Errorf("%s: %s", name, header)
			}
		}
	}
	if p.proved.Load() != 0 {
		t.Errorf("proved %d times", p.proved.Load())
	}
}

func TestLoopbackRefusesBodies(t *testing.T) {
	p := newPages(t)
	nonce := attest.Digest{1}.String()
	for name, c := range map[string]struct {
		r      *rawRequest
		status int
	}{
		"JSON by its header": {p.browserRequest().header("Content-Type", "application/json"), 415},
		"a form":             {p.browserRequest().header("Content-Type", "application/x-www-form-urlencoded"), 415},
		"no type":            {p.browserRequest().without("Content-Type"), 415},
		"two types":          {p.browserRequest().with(func(r *rawRequest) { r.extra = "Content-Type: text/plain\r\n" }), 415},
		"big":                {p.browserRequest().with(func(r *rawRequest) { r.body = knockBody() + strings.Repeat(" ", loopbackBody) }), 413},
		"empty":              {p.browserRequest().with(func(r *rawRequest) { r.body = "" }), 400},
		"no nonce":           {p.browserRequest().with(func(r *rawRequest) { r.body = `{"link":"link-1"}` }), 400},
		"no link":            {p.browserRequest().with(func(r *rawRequest) { r.body = `{"nonce":"` + nonce + `"}` }), 400},
		"zero nonce":         {p.browserRequest().with(func(r *rawRequest) { r.body = `{"link":"a","nonce":"` + attest.Digest{}.String() + `"}` }), 400},
		"path for an id":     {p.browserRequest().with(func(r *rawRequest) { r.body = `{"link":"../a","nonce":"` + nonce + `"}` }), 400},
		"a member too much":  {p.browserRequest().with(func(r *rawRequest) { r.body = `{"recover":true,` + knockBody()[1:] }), 400},
		"a member twice":     {p.browserRequest().with(func(r *rawRequest) { r.body = `{"link":"a",` + knockBody()[1:] }), 400},
		"two values":         {p.browserRequest().with(func(r *rawRequest) { r.body = knockBody() + knockBody() }), 400},
		"list":               {p.browserRequest().with(func(r *rawRequest) { r.body = "[" + knockBody() + "]" }), 400},
		"null":               {p.browserRequest().with(func(r *rawRequest) { r.body = "null" }), 400},
		"form's value":       {p.browserRequest().with(func(r *rawRequest) { r.body = "x=" + knockBody() }), 400},
	} {
		resp := c.r.send(t, p.host)
		var no linkNo
		err := json.Unmarshal([]byte(bodyOf(t, resp)), &no)
		if resp.StatusCode != c.status || err != nil || no.Code != codeForm || no.Text == "" {
			t.Errorf("%s: %d %+v, %v", name, resp.StatusCode, no, err)
		}
	}
	if p.proved.Load() != 0 {
		t.Errorf("proved %d times", p.proved.Load())
	}
}

// What a page hears of a failure is a code and a fixed sentence.
func TestLoopbackTellsNothingOfTheLaptop(t *testing.T) {
	const secret = "/var/lib/muster alice-laptop"
	p := newPages(t)
	for name, c := range map[string]struct {
		peer, fail error
		status     int
		code, text string
	}{
		"another account": {peer: decline(codeUser, "Only you.", secret), status: 403, code: codeUser, text: "Only you."},
		"not known":       {peer: decline(codeUnknown, "Not told.", secret), status: 403, code: codeUnknown, text: "Not told."},
		"pending":         {fail: decline(codePending, "Waits.", secret), status: 403, code: codePending, text: "Waits."},
		"busy":            {fail: busy(), status: 503, code: codeBusy, text: "The agent on this laptop is busy."},
		"the server's no": {fail: &refusal{Problem: attest.Problem{Code: "not-owner", Detail: "Not yours.", Fix: secret, Status: 403}}, status: 403, code: "not-owner", text: "Not yours."},
		"a proxy's page":  {fail: &refusal{Foreign: true, Problem: attest.Problem{Status: 502, Detail: secret}}, status: 403, code: troubleStrange, text: "The agent on this laptop could not do this."},
		"a file":          {fail: errors.New(secret), status: 503, code: troubleFailed, text: "The agent on this laptop could not do this."},
		"the network":     {fail: &unanswered{errors.New(secret)}, status: 503, code: troubleUnreachable, text: "The agent on this laptop could not do this."},
	} {
		p.peer.Store(nil)
		p.fail.Store(nil)
		if c.peer != nil {
			p.peer.Store(&c.peer)
		}
		if c.fail != nil {
			p.fail.Store(&c.fail)
		}
		resp := p.browserRequest().send(t, p.host)
		body := bodyOf(t, resp)
		want := fmt.Sprintf(`{"code":%q,"text":%q}`, c.code, c.text)
		if resp.StatusCode != c.status || body != want {
			t.Errorf("%s: %d %s, want %s", name, resp.StatusCode, body, want)
		}
		if resp.Header.Get("Access-Control-Allow-Origin") != testOrigin {
			t.Errorf("%s: the page cannot read it", name)
		}
	}
}

func TestLoopbackIsRateLimited(t *testing.T) {
	p := new(pages)
	p.listen(t, &quota{most: 5, per: time.Minute}, &quota{most: 3, per: time.Minute})
	var statuses []int
	for range 7 {
		statuses = append(statuses, p.browserRequest().send(t, p.host).StatusCode)
	}
	if got := fmt.Sprint(statuses); got != "[200 200 200 429 429 429 429]" || p.proved.Load() != 3 {
		t.Errorf("%s, proved %d times", got, p.proved.Load())
	}
	// What strangers send takes nothing from the page's own.
	p = new(pages)
	p.listen(t, &quota{most: 1, per: time.Minute}, &quota{most: 1, per: time.Minute})
	for range 20 {
		p.browserRequest().header("Origin", "https://evil.example").send(t, p.host)
	}
	if resp := p.browserRequest().send(t, p.host); resp.StatusCode != 200 {
		t.Errorf("after strangers: %d", resp.StatusCode)
	}
}

func TestQuota(t *testing.T) {
	q := &quota{most: 2, per: time.Minute}
	for i, c := range []struct {
		who string
		at  time.Duration
		ok  bool
	}{
		{"a", 0, true}, {"a", 10 * time.Second, true}, {"a", 59 * time.Second, false}, {"b", 59 * time.Second, true},
		{"a", 60 * time.Second, true}, {"a", 61 * time.Second, false}, {"a", 70 * time.Second, true},
	} {
		if got := q.take(c.who, c.at); got != c.ok {
			t.Errorf("%d: %s at %v: %v", i, c.who, c.at, got)
		}
	}
	for i := range maxQuota + 10 {
		q.take(fmt.Sprint("n", i), 2*time.Hour)
	}
	if len(q.when) != maxQuota {
		t.Errorf("%d accounts are counted", len(q.when))
	}
	if (&quota{}).take("a", 0) {
		t.Error("the zero value lets something through")
	}
}

// The listener itself: slow senders are cut off, and few connections are open.
func TestLoopbackSlowAndMany(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const read, few = 500 * time.Millisecond, 4
	answered := atomic.Int32{}
	server := pageServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, status, err := readKnock(w, r); err == nil || status == 0 {
			t.Error("half a body is read as a whole one")
		}
		answered.Add(1)
	}), read)
	go func() { _ = server.Serve(&fewConns{Listener: l, room: make(chan struct{}, few)}) }()
	defer server.Close()
	began := time.Now()
	var conns []net.Conn
	for i := range 2 * few {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST /link HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n")
		if i%2 == 1 {
			fmt.Fprintf(c, "Content-Length: 100\r\n\r\n{")
		}
		conns = append(conns, c)
	}
	for i, c := range conns {
		_ = c.SetReadDeadline(began.Add(20 * read))
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Fatalf("connection %d is not cut off: %v", i, err)
		}
	}
	// Two rounds: the second few waited until the first were cut off.
	if took := time.Since(began); took < 2*read-read/5 || answered.Load() != few {
		t.Errorf("the last was cut off after %v, %d were heard", took, answered.Load())
	}
}

func TestAdmit(t *testing.T) {
	r := newRig(t, nil)
	a := r.agent()
	at := []seat.Session{{ID: "3", User: "1000"}, {ID: "4", User: "1001"}}
	for name, c := range map[string]struct {
		peer   seat.Peer
		err    error
		seated []seat.Session
		user   string // setting
		always []string
		code   string // empty: welcome
	}{
		"who sits here":                  {peer: seat.Peer{User: "1000"}, seated: at},
		"at the other seat":              {peer: seat.Peer{User: "1001"}, seated: at},
		"another account":                {peer: seat.Peer{User: "1002"}, seated: at, code: codeUser},
		"nobody sits here":               {peer: seat.Peer{User: "1000"}, seated: []seat.Session{}, code: codeUser},
		"root is nobody special":         {peer: seat.Peer{User: "0"}, seated: at, code: codeUser},
		"root at the door":               {peer: seat.Peer{User: "0"}, seated: at, always: owners()},
		"root at the door, no logind":    {peer: seat.Peer{User: "0"}, always: owners()},
		"seat not told":                  {peer: seat.Peer{User: "1000"}, code: codeUnknown},
		"peer not told":                  {err: seat.ErrUnknown, seated: at, code: codeUnknown},
		"peer told with an error":        {peer: seat.Peer{User: "1000"}, err: errors.New("x"), seated: at, code: codeUnknown},
		"peer of no account":             {seated: at, code: codeUnknown},
		"no account is not any account":  {seated: []seat.Session{{ID: "3"}}, code: codeUnknown},
		"forwarded":                      {peer: seat.Peer{User: "1000", Forwarder: "sshd"}, seated: at, code: codeForwarded},
		"forwarded for root at the door": {peer: seat.Peer{User: "0", Forwarder: "ssh"}, seated: at, always: owners(), code: codeForwarded},
		"by the setting":                 {peer: seat.Peer{User: "1002"}, user: "1002"},
		"the setting is all":             {peer: seat.Peer{User: "1000"}, seated: at, user: "1002", code: codeUser},
		"the setting names nobody":       {peer: seat.Peer{User: "1000"}, seated: at, user: "no-such-account-here", code: codeUnknown},
	} {
		r.seated, r.settings.LinkUser = c.seated, c.user
		err := a.admit(c.peer, c.err, c.always...)
		if c.code == "" && err != nil || c.code != "" && (err == nil || declinedOf(err).Code != c.code) {
			t.Errorf("%s: %v, want %q", name, err, c.code)
		}
	}
}
