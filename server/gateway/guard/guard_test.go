package guard

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"muster/server/decide"
	"muster/server/gateway"
)

const (
	secret = "mgw_secret"
	cookie = "__Host-muster-app=msv_0123456789012345678901234567890123456789012"
)

// scripted is a muster that says what a test wants, and keeps what it was asked.
type scripted struct {
	answer func(w http.ResponseWriter, r *http.Request)
	asked  atomic.Pointer[http.Request]
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked.Store(r.Clone(context.Background()))
	s.answer(w, r)
}

// let answers as muster does when a request may pass.
func let(w http.ResponseWriter, _ *http.Request) {
	for name, value := range map[string]string{
		"User": "alice", "Mail": "alice@example.org", "Groups": "staff,a%2Cb", "Session": "s1", "Device": "d1", "Level": "tpm-hw",
		"ACR": "phr", "AMR": "hwk,user", "Outcome": "allow", "Restrict": "", "Token": "aa.bb.cc",
	} {
		w.Header().Set("X-Muster-"+name, value)
	}
}

// but lets through with one header changed.
func but(name string, values ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		let(w, r)
		w.Header()[http.CanonicalHeaderKey("X-Muster-"+name)] = values
	}
}

// rig is an application behind a guard behind a server, and a muster.
type rig struct {
	muster *scripted
	seen   *http.Request // by the application; nil: it was not reached
	who    Identity
	body   string
	url    string
	log    bytes.Buffer
}

func newRig(t *testing.T, answer func(http.ResponseWriter, *http.Request)) *rig {
	t.Helper()
	x := &rig{muster: &scripted{answer: answer}}
	muster := httptest.NewServer(x.muster)
	t.Cleanup(muster.Close)
	x.front(t, muster.URL, nil)
	return x
}

func (x *rig) front(t *testing.T, muster string, client *http.Client) {
	t.Helper()
	g, err := New(Config{Muster: muster, App: "wiki", Secret: secret, Client: client, Log: slog.New(slog.NewTextHandler(&x.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(g.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x.seen, x.who = r, From(r.Context())
		body, _ := io.ReadAll(r.Body)
		x.body = string(body)
		_, _ = io.WriteString(w, "the wiki")
	})))
	t.Cleanup(front.Close)
	x.url = front.URL
}

// send sends a request as no browser would: header lines as they are given.
func (x *rig) send(t *testing.T, method, target string, header http.Header) (*http.Response, string) {
	t.Helper()
	x.seen, x.who = nil, Identity{}
	r, err := http.NewRequest(method, x.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.URL.Opaque = target
	r.Host = "wiki.example"
	for name, values := range header {
		r.Header[name] = values
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	reply, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply, string(body)
}

func TestLetsThrough(t *testing.T) {
	x := newRig(t, let)
	reply, body := x.send(t, "GET", "/page?a=1", http.Header{"Cookie": {"theme=dark; " + cookie + "; lang=en"}, "Authorization": {"Basic dTpw"}, "Accept": {"text/html"}, "Sec-Fetch-Mode": {"navigate"}})
	if reply.StatusCode != 200 || body != "the wiki" || x.seen == nil {
		t.Fatalf("%d %s", reply.StatusCode, body)
	}
	want := Identity{User: "alice", Mail: "alice@example.org", Groups: []string{"staff", "a,b"}, Session: "s1", Device: "d1", Level: "tpm-hw", ACR: "phr", AMR: []string{"hwk", "user"}, Token: "aa.bb.cc"}
	if !reflect.DeepEqual(x.who, want) {
		t.Errorf("%+v", x.who)
	}
	if got := x.seen.Header["Cookie"]; !reflect.DeepEqual(got, []string{"theme=dark; lang=en"}) || x.seen.Header.Get("Authorization") != "Basic dTpw" {
		t.Errorf("the application sees %v", x.seen.Header)
	}
	q := x.muster.asked.Load()
	if q.URL.Path != "/check/http/wiki" || q.Method != "GET" {
		t.Errorf("asked %s %s", q.Method, q.URL)
	}
	for name, value := range map[string]string{
		"Authorization": "Bearer " + secret, "X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/page?a=1", "X-Forwarded-Host": "wiki.example",
		"X-Forwarded-For": "127.0.0.1", "Cookie": cookie, "Accept": "text/html", "Sec-Fetch-Mode": "navigate",
	} {
		if got := q.Header[name]; len(got) != 1 || got[0] != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	if len(q.Header["X-Forwarded-Upgrade"]) != 0 {
		t.Error("no other protocol was asked for")
	}
	if From(context.Background()).User != "" {
		t.Error("somebody is there without a guard")
	}
}

// What the client says of itself reaches neither muster nor the application.
func TestHostileHeaders(t *testing.T) {
	x := newRig(t, let)
	hostile := http.Header{
		"X-Muster-User": {"root"}, "x-muster-user": {"root"}, "X_Muster_User": {"root"}, "X-Muster_User": {"root"}, "X.Muster.User": {"root"}, "X-Muster-Admin": {"1"}, "x_muster-groups": {"root"},
		"X-Forwarded-For": {"10.0.0.1", "::1"}, "X-Forwarded-Host": {"mail.example"}, "X-Forwarded-Uri": {"/public"}, "X-Forwarded-Method": {"GET"}, "Forwarded": {"for=10.0.0.1"},
		"X-Original-Method": {"GET"}, "X-Original-Uri": {"/public"}, "X-Real-Ip": {"10.0.0.1"}, "Authorization": {"Bearer mgw_stolen"}, "X-Forwarded-Upgrade": {"1"},
		"Cookie": {cookie + "; a=1", "b=2; __HOST-MUSTER-APP=x, c=3", "__Host-muster=s; __Host-muster-flow=f"},
	}
	if reply, _ := x.send(t, "DELETE", "/private", hostile); reply.StatusCode != 200 {
		t.Fatal(reply.Status)
	}
	for name := range x.seen.Header {
		if strings.HasPrefix(plain(name), "x-muster") {
			t.Errorf("the application sees %s", name)
		}
	}
	if got := x.seen.Header["Cookie"]; !reflect.DeepEqual(got, []string{"a=1; b=2"}) || x.who.User != "alice" {
		t.Errorf("%q, %+v", got, x.who)
	}
	q := x.muster.asked.Load()
	for name, value := range map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "wiki.example", "X-Forwarded-Uri": "/private", "X-Forwarded-Method": "DELETE", "Authorization": "Bearer " + secret,
	} {
		if got := q.Header[name]; len(got) != 1 || got[0] != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	for _, name := range []string{"Forwarded", "X-Original-Uri", "X-Real-Ip", "X-Forwarded-Upgrade", "X-Muster-User"} {
		if len(q.Header[name]) != 0 {
			t.Errorf("muster is told the client's %s", name)
		}
	}
	if strings.Contains(q.Header.Get("Cookie"), "a=1") {
		t.Error("muster gets cookies of others")
	}
}

// get sends a request line as it is given.
func (x *rig) get(t *testing.T, target string) (status int) {
	t.Helper()
	x.seen = nil
	conn, err := net.Dial("tcp", strings.TrimPrefix(x.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: wiki.example\r\nConnection: close\r\n\r\n", target)
	reply, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	_, _ = io.Copy(io.Discard, reply.Body) // until the handler is done
	return reply.StatusCode
}

func TestTargets(t *testing.T) {
	x := newRig(t, let)
	for target, want := range map[string]string{
		"/":                            "/",
		"/a//b/../c;d?e=%2f":           "/a//b/../c;d?e=%2f",
		"//other.example/x":            "//other.example/x",
		"/%2e%2e/%2Fx":                 "/%2e%2e/%2Fx",
		"/.muster/../x":                "/.muster/../x",
		"/.muster/%2e%2e/x":            "/.muster/%2e%2e/x",
		"/.muster//start":              "/.muster//start",
		"/.muster/":                    "/.muster/",
		"/.MUSTER/start":               "/.MUSTER/start",
		"/x/.muster/start":             "/x/.muster/start",
		"/x?/.muster/start":            "/x?/.muster/start",
		"http://wiki.example/abs?a":    "/abs?a",
		"http://other.example/abs":     "/abs",
		"http://wiki.example//abs/../": "//abs/../",
	} {
		status := x.get(t, target)
		if got := x.muster.asked.Load().Header.Get("X-Forwarded-Uri"); status != 200 || got != want || x.seen == nil {
			t.Errorf("%s: %d, asked for %s", target, status, got)
		}
	}
	if x.get(t, "http://other.example/abs"); x.muster.asked.Load().Header.Get("X-Forwarded-Host") != "other.example" {
		t.Error("the host of an absolute form counts")
	}
	// Without a path there is nothing to ask.
	for _, r := range []*http.Request{
		{Method: "CONNECT", RequestURI: "other.example:443", URL: mustParse(t, "//other.example:443"), Host: "other.example:443"},
		{Method: "OPTIONS", RequestURI: "*", URL: mustParse(t, "*")},
	} {
		w := httptest.NewRecorder()
		if _, ok := targetOf(r); ok {
			t.Errorf("%s %s has a path", r.Method, r.RequestURI)
		} else {
			new(Guard).Protect(nil).ServeHTTP(w, r)
		}
		if w.Code != 400 {
			t.Errorf("%s: %d", r.Method, w.Code)
		}
	}
}

// What muster said of a request of another path is not what this one gets: handlers
// outside that rewrite the path do not change what is asked.
func TestOutsideHandlers(t *testing.T) {
	x := newRig(t, let)
	muster := httptest.NewServer(x.muster)
	defer muster.Close()
	g, err := New(Config{Muster: muster.URL, App: "wiki", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/wiki/page", nil)
	http.StripPrefix("/wiki", g.Protect(http.NotFoundHandler())).ServeHTTP(w, r)
	if got := x.muster.asked.Load().Header.Get("X-Forwarded-Uri"); got != "/wiki/page" {
		t.Errorf("asked for %s", got)
	}
}

// Refusals are passed on as they are.
func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		header http.Header
		body   string
	}{
		"redirect":  {303, http.Header{"Location": {"https://id.example/access?host=wiki.example"}, "Vary": {"Cookie"}}, ""},
		"challenge": {401, http.Header{"Www-Authenticate": {`Bearer realm="muster", error="insufficient_user_authentication"`}, "Content-Type": {"application/problem+json"}}, `{"code":"fresh-hands"}`},
		"denied":    {403, http.Header{"Content-Type": {"application/problem+json"}}, `{"code":"disk-encrypted"}`},
		"largest":   {403, http.Header{"Content-Type": {"text/html"}}, strings.Repeat("x", maxRefusal)},
	} {
		x := newRig(t, func(w http.ResponseWriter, _ *http.Request) {
			for name, values := range test.header {
				w.Header()[name] = values
			}
			w.Header().Set("Set-Cookie", "a=1")
			w.Header().Set("X-Muster-User", "alice")
			w.WriteHeader(test.status)
			_, _ = io.WriteString(w, test.body)
		})
		reply, body := x.send(t, "GET", "/", nil)
		if reply.StatusCode != test.status || body != test.body || x.seen != nil || reply.Header.Get("Cache-Control") != "no-store" || reply.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v %.100s", name, reply.StatusCode, reply.Header, body)
		}
		for name, values := range test.header {
			if !reflect.DeepEqual(reply.Header[name], values) {
				t.Errorf("%s: %q", name, reply.Header[name])
			}
		}
		if reply.Header.Get("Set-Cookie") != "" || reply.Header.Get("X-Muster-User") != "" {
			t.Errorf("%s: passed on too much: %v", name, reply.Header)
		}
	}
}

// Whatever is not plainly muster's yes is a no.
func TestClosed(t *testing.T) {
	status := func(code int, header ...string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			let(w, r)
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
		}
	}
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"plain 200":            func(http.ResponseWriter, *http.Request) {},
		"201":                  status(201),
		"204":                  status(204),
		"206":                  status(206),
		"302":                  status(302, "Location", "https://id.example/"),
		"307":                  status(307, "Location", "/check/http/mail"),
		"303 to nowhere":       status(303),
		"303 to a path":        status(303, "Location", "/access"),
		"303 to a script":      status(303, "Location", "javascript:alert(1)"),
		"303 to elsewhere":     status(303, "Location", "ftp://id.example/"),
		"303 that reads wrong": status(303, "Location", "https://id.example:x/"),
		"400":                  status(400),
		"404":                  status(404),
		"429":                  status(429),
		"500":                  status(500),
		"502":                  status(502),
		"our secret is wrong":  status(401, "Www-Authenticate", `Bearer realm="muster gateways"`),
		"no user":              but("User"),
		"two users":            but("User", "alice", "root"),
		"no token":             but("Token"),
		"no outcome":           but("Outcome", ""),
		"outcome of two":       but("Outcome", "allow", "allow"),
		"deny":                 but("Outcome", "deny"),
		"step_up":              but("Outcome", "step_up"),
		"restrict without":     but("Outcome", "restrict"),
		"allow, restricted":    but("Restrict", "read-only"),
		"unknown restriction":  but("Restrict", "some"),
		"bad escape":           but("User", "%zz"),
		"bad escape in a list": but("Groups", "a,%"),
		"large refusal": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(403)
			_, _ = io.WriteString(w, strings.Repeat("x", maxRefusal+1))
		},
		"large headers": status(200, "X-Large", strings.Repeat("x", 64<<10)),
		"cut": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			w.WriteHeader(403)
		},
		"panic": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		x := newRig(t, answer)
		reply, body := x.send(t, "GET", "/", nil)
		var told problem
		if err := json.Unmarshal([]byte(body), &told); err != nil || told.Code != "muster-away" || told.Outcome != "deny" || len(told.Reasons) != 1 || told.Reasons[0].Fix == "" {
			t.Errorf("%s: %s, %v", name, body, err)
		}
		if reply.StatusCode != 503 || x.seen != nil || reply.Header.Get("Content-Type") != "application/problem+json" || reply.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %v", name, reply.StatusCode, reply.Header)
		}
		if !strings.Contains(x.log.String(), "muster did not decide") || strings.Contains(x.log.String()+body, secret) {
			t.Errorf("%s: the log has %s", name, x.log.String())
		}
		reply, body = x.send(t, "GET", "/", http.Header{"Accept": {"text/html,*/*"}})
		if reply.StatusCode != 503 || !strings.HasPrefix(reply.Header.Get("Content-Type"), "text/plain") || !strings.HasSuffix(body, "(muster-away)\n") {
			t.Errorf("%s: a person reads %d %q", name, reply.StatusCode, body)
		}
	}
}

func TestAway(t *testing.T) {
	muster := httptest.NewServer(http.NotFoundHandler())
	x := new(rig)
	x.front(t, muster.URL, nil)
	muster.Close()
	if reply, _ := x.send(t, "GET", "/", nil); reply.StatusCode != 503 || x.seen != nil {
		t.Error(reply.Status)
	}
	if reply, _ := x.send(t, "GET", "/.muster/start", nil); reply.StatusCode != 503 {
		t.Error(reply.Status)
	}
}

func TestLate(t *testing.T) {
	hold := make(chan struct{})
	x := newRig(t, func(http.ResponseWriter, *http.Request) { <-hold })
	t.Cleanup(func() { close(hold) })
	began := time.Now()
	reply, _ := x.send(t, "GET", "/", nil)
	if took := time.Since(began); reply.StatusCode != 503 || x.seen != nil || took < timeout/2 || took > 5*timeout {
		t.Errorf("%d after %v", reply.StatusCode, took)
	}
}

// Too much to tell is refused here, since muster would not read it.
func TestTooLarge(t *testing.T) {
	x := newRig(t, let)
	for name, header := range map[string]http.Header{
		"cookie": {"Cookie": {cookie + strings.Repeat("x", maxSent)}},
		"accept": {"Accept": {strings.Repeat("x", maxSent)}},
		"many":   {"Accept": strings.Split(strings.Repeat("xxxx,", maxSent/8), ",")},
	} {
		if reply, _ := x.send(t, "GET", "/", header); reply.StatusCode != 431 || x.seen != nil || x.muster.asked.Load() != nil {
			t.Errorf("%s: %d", name, reply.StatusCode)
		}
	}
	if reply, _ := x.send(t, "GET", "/"+strings.Repeat("x", maxSent), nil); reply.StatusCode != 431 || x.seen != nil {
		t.Error(reply.Status)
	}
	// Large cookies of others are their own affair.
	if reply, _ := x.send(t, "GET", "/", http.Header{"Cookie": {"a=" + strings.Repeat("x", maxSent)}}); reply.StatusCode != 200 {
		t.Error(reply.Status)
	}
}

// A restriction holds here, too, should whoever answered have let a write through.
func TestRestrict(t *testing.T) {
	x := newRig(t, func(w http.ResponseWriter, r *http.Request) {
		but("Restrict", "read-only")(w, r)
		w.Header().Set("X-Muster-Outcome", "restrict")
	})
	for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
		if reply, _ := x.send(t, method, "/", nil); reply.StatusCode != 200 || x.who.Restrict != "read-only" {
			t.Errorf("%s: %d %+v", method, reply.StatusCode, x.who)
		}
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "PROPFIND", "TRACE", "get"} {
		if reply, _ := x.send(t, method, "/", nil); reply.StatusCode != 403 || x.seen != nil {
			t.Errorf("%s: %d", method, reply.StatusCode)
		}
	}
	for name, header := range map[string]http.Header{
		"upgrade": {"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}, "its key": {"Sec-Websocket-Key": {"eA=="}},
	} {
		if reply, _ := x.send(t, "GET", "/", header); reply.StatusCode != 403 || x.seen != nil || x.muster.asked.Load().Header.Get("X-Forwarded-Upgrade") == "" {
			t.Errorf("%s: %d", name, reply.StatusCode)
		}
	}
}

// The check that the server really has: every outcome.
func TestWithCheck(t *testing.T) {
	look := func(_ context.Context, q *gateway.Question, _ *gateway.Credential) *gateway.Answer {
		outcome := map[string]decide.Outcome{"/allow": decide.Allow, "/step-up": decide.StepUp, "/restrict": decide.Restrict}[q.Request.Path]
		who := gateway.Identity{User: "žofie, ann", Groups: []string{"a,b", "c%d"}, Session: "s1"}
		if q.Cookie == "" {
			outcome, who = decide.StepUp, gateway.Identity{}
		}
		return gateway.NewAnswer(decide.Decision{Outcome: outcome, Reasons: []decide.Reason{{Code: "why", Outcome: outcome}}}, who)
	}
	authenticate := func(_ context.Context, shown string) (*gateway.Credential, bool) {
		return &gateway.Credential{Dialect: gateway.HTTP, Apps: []string{"wiki"}, Restricts: true}, shown == secret
	}
	muster := httptest.NewServer(gateway.Check(gateway.HTTP, look, authenticate, gateway.Places{PublicURL: "https://id.example"}))
	defer muster.Close()
	x := new(rig)
	x.front(t, muster.URL, nil)
	in := http.Header{"Cookie": {cookie}}
	page := http.Header{"Cookie": {cookie}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}}
	for _, test := range []struct {
		method, target string
		header         http.Header
		status         int
		has            string // in the body or the location
	}{
		{"GET", "/allow", in, 200, "the wiki"},
		{"POST", "/allow", in, 200, "the wiki"},
		{"GET", "/restrict", in, 200, "the wiki"},
		{"POST", "/restrict", in, 403, `"code":"restricted"`},
		{"GET", "/restrict", http.Header{"Cookie": {cookie}, "Connection": {"Upgrade"}, "Upgrade": {"x"}}, 403, `"code":"restricted"`},
		{"GET", "/step-up", in, 401, `"code":"why"`},
		{"GET", "/step-up", page, 303, "https://id.example/access?host=wiki.example&back=%2Fstep-up"},
		{"GET", "/deny", in, 403, `"code":"why"`},
		{"GET", "/%2fallow", in, 403, `"code":"why"`},
		{"GET", "/allow", nil, 401, `"code":"why"`},
		{"GET", "/allow", http.Header{"Cookie": {cookie + "; " + cookie}}, 401, `"code":"why"`},
		{"GET", "/allow?x", http.Header{"Accept": {"text/html"}}, 303, "https://wiki.example/.muster/start?back=%2Fallow%3Fx"},
	} {
		reply, body := x.send(t, test.method, test.target, test.header)
		if reply.StatusCode != test.status || !strings.Contains(body+reply.Header.Get("Location"), test.has) || (x.seen != nil) != (test.status == 200) {
			t.Errorf("%s %s: %d %s %v", test.method, test.target, reply.StatusCode, body, reply.Header)
		}
		if x.seen != nil && (x.who.User != "žofie, ann" || !reflect.DeepEqual(x.who.Groups, []string{"a,b", "c%d"})) {
			t.Errorf("%+v", x.who)
		}
	}
	// With a secret that muster does not know, visitors are not told to sign in by it.
	g, err := New(Config{Muster: muster.URL, App: "wiki", Secret: "mgw_other"})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	if g.Protect(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "/allow", nil)); w.Code != 503 || w.Header().Get("Www-Authenticate") != "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}
