//go:build linux

package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"muster/server/gateway"
)

// identityAt checks the identity headers that reached the application: each exactly
// once, with its value, and nothing that looks like one besides. nginx sends no
// header whose value is empty.
func (l *live) identityAt(t *testing.T, got reached, want map[string]string) {
	t.Helper()
	for _, name := range gateway.IdentityHeaders() {
		values := got.header[name]
		if l.dialect == gateway.Nginx && want[name] == "" && values == nil {
			continue
		}
		if len(values) != 1 || values[0] != want[name] {
			t.Errorf("%s at the application: %q, want %q", name, values, want[name])
		}
	}
	for name := range got.header {
		plain := strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name))
		if strings.HasPrefix(plain, "x-muster") && !slices.Contains(gateway.IdentityHeaders(), name) {
			t.Errorf("%s reached the application: %q", name, got.header[name])
		}
	}
	for _, c := range got.header["Cookie"] {
		if strings.Contains(c, "muster") {
			t.Errorf("cookies at the application: %q", c)
		}
	}
}

// aliceHas are the headers of the script's identity.
func aliceHas(outcome, restrict string) map[string]string {
	return map[string]string{
		"X-Muster-User": "alice", "X-Muster-Mail": "alice@example.test", "X-Muster-Groups": "staff,ops%2C night", "X-Muster-Session": "s1",
		"X-Muster-Device": "d1", "X-Muster-Level": "tpm-hw", "X-Muster-Acr": "muster:passkey", "X-Muster-Amr": "hwk,user",
		"X-Muster-Outcome": outcome, "X-Muster-Restrict": restrict, "X-Muster-Token": "aa.bb.cc",
	}
}

// outcome is one row of gateway × decision × way of asking.
type outcome struct {
	at, line, decision string // a secret; method and target; the cookie's script
	how                []string
	status             int
	location           string   // of a redirect; HOST stands for the application's
	code               string   // of a problem document
	challenge          string   // part of WWW-Authenticate
	passed             []string // outcome and restriction at the application; nil: not reached
}

const access = musterURL + "/access?host=HOST&back="

func outcomes() []outcome {
	allow, readOnly := []string{"allow", ""}, []string{"restrict", "read-only"}
	const again, who = "insufficient_user_authentication", `Bearer realm="muster"`
	return []outcome{
		{at: plain, line: "GET /a?b=c", decision: "allow", how: asPage, status: 200, passed: allow},
		{at: plain, line: "POST /a", decision: "allow", how: asProgram, status: 200, passed: allow},
		{at: restricts, line: "DELETE /a", decision: "elevated", how: asProgram, status: 200, passed: allow},
		{at: plain, line: "GET /a?b=c&d=%2F", decision: "step_up", how: asPage, status: 303, location: access + "%2Fa%3Fb%3Dc%26d%3D%252F"},
		{at: plain, line: "GET /a", decision: "step_up", how: asProgram, status: 401, code: "disk-encrypted", challenge: again},
		{at: plain, line: "POST /a", decision: "step_up", how: asProgram, status: 401, code: "disk-encrypted", challenge: again},
		{at: restricts, line: "GET /a", decision: "restrict", how: asPage, status: 200, passed: readOnly},
		{at: restricts, line: "GET /a", decision: "restrict", how: asProgram, status: 200, passed: readOnly},
		{at: restricts, line: "HEAD /a", decision: "restrict", how: asProgram, status: 200, passed: readOnly},
		{at: restricts, line: "POST /a", decision: "restrict", how: asProgram, status: 403, code: "restricted"},
		{at: restricts, line: "POST /a", decision: "restrict", how: asPage, status: 303, location: access + "%2F"},
		{at: restricts, line: "PROPFIND /a", decision: "restrict", how: asProgram, status: 403, code: "restricted"},
		{at: plain, line: "GET /a", decision: "restrict", how: asPage, status: 303, location: access + "%2Fa"},
		{at: plain, line: "GET /a", decision: "restrict", how: asProgram, status: 403, code: "disk-encrypted"},
		{at: plain, line: "GET /a", decision: "deny", how: asPage, status: 303, location: access + "%2Fa"},
		{at: restricts, line: "GET /a", decision: "deny", how: asProgram, status: 403, code: "disk-encrypted"},
		{at: plain, line: "HEAD /a", decision: "deny", how: asProgram, status: 403},
		{at: plain, line: "PUT /a", decision: "deny", how: asProgram, status: 403, code: "disk-encrypted"},
		{at: plain, line: "GET /a", how: asPage, status: 303, location: "http://HOST/.muster/start?back=%2Fa"},
		{at: plain, line: "GET /a", how: asProgram, status: 401, code: "sign-in", challenge: who},
		{at: plain, line: "GET /a", decision: "nonsense", how: asProgram, status: 401, code: "sign-in", challenge: who},
		{at: unknown, line: "GET /a", decision: "allow", how: asPage, status: 401, code: "gateway-unknown", challenge: "muster gateways"},
		{at: unknown, line: "GET /a", decision: "allow", how: asProgram, status: 401, code: "gateway-unknown", challenge: "muster gateways"},
	}
}

// Every decision, as a browser's page and as a program, at every gateway; then a
// muster that answers wrongly, late or not at all.
func TestLiveOutcomes(t *testing.T) {
	liveGateways(t, func(t *testing.T, l *live) {
		for _, o := range outcomes() {
			l.outcome(t, o)
		}
		l.identities(t)
		l.bodies(t)
		l.statuses(t)
		l.pages(t)
		l.troubles(t)
	})
}

func (l *live) outcome(t *testing.T, o outcome) {
	t.Helper()
	name := o.line + " with " + o.decision + " at " + o.at + " " + o.how[len(o.how)-1]
	addr := l.at[o.at]
	headers := slices.Clone(o.how)
	if o.decision != "" {
		headers = append(headers, "Cookie: theme=dark; "+cookie(o.decision)+"; last=1")
	}
	body := ""
	if method, _, _ := strings.Cut(o.line, " "); method == "POST" || method == "PUT" {
		headers, body = append(headers, "Content-Length: 4"), "body"
	}
	r := raw(t, addr, request(o.line, hostAt(addr), headers...)+body)
	got := l.app.take()
	if r.status != o.status {
		t.Errorf("%s: status %d, want %d: %s", name, r.status, o.status, r.body)
	}
	location := strings.ReplaceAll(o.location, "HOST", hostAt(addr))
	if strings.HasPrefix(location, musterURL) {
		location = strings.ReplaceAll(o.location, "HOST", url.QueryEscape(hostAt(addr)))
	}
	if r.header.Get("Location") != location {
		t.Errorf("%s: to %q, want %q", name, r.header.Get("Location"), location)
	}
	if o.passed != nil {
		if len(got) != 1 {
			t.Errorf("%s: the application was reached %d times", name, len(got))
			return
		}
		l.identityAt(t, got[0], aliceHas(o.passed[0], o.passed[1]))
		if cookies := strings.Join(got[0].header["Cookie"], "|"); cookies != "theme=dark; last=1" {
			t.Errorf("%s: cookies at the application: %q", name, cookies)
		}
		return
	}
	if len(got) != 0 {
		t.Errorf("%s: the application was reached: %+v", name, got)
	}
	if r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s: a cache may keep it: %v", name, r.header)
	}
	challenges := r.header.Values("Www-Authenticate")
	if o.location == "" && (len(challenges) != btoi(o.challenge != "") || o.challenge != "" && !strings.Contains(challenges[0], o.challenge)) {
		t.Errorf("%s: challenges %q, want one with %q", name, challenges, o.challenge)
	}
	if o.code == "" {
		return
	}
	var problem struct{ Code, Type string }
	if err := json.Unmarshal([]byte(r.body), &problem); err != nil || problem.Code != o.code || r.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s: %v %s %s, want code %s", name, err, r.header.Get("Content-Type"), r.body, o.code)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// identities: what is empty arrives empty, what looks like a gateway's own language
// arrives as it is, and what is large arrives or is refused.
func (l *live) identities(t *testing.T) {
	addr := l.at[plain]
	ask := func(decision string) (response, []reached) {
		r := raw(t, addr, request("GET /", hostAt(addr), "Cookie: "+cookie(decision)))
		return r, l.app.take()
	}
	if r, got := ask("bare"); r.status != http.StatusOK || len(got) != 1 {
		t.Errorf("bare: %d, %d requests", r.status, len(got))
	} else {
		l.identityAt(t, got[0], map[string]string{"X-Muster-User": "alice", "X-Muster-Outcome": "allow", "X-Muster-Token": "aa.bb.cc"})
		if c, there := got[0].header["Cookie"]; there && strings.Join(c, "") != "" {
			t.Errorf("a cookie that is left: %q", c)
		}
	}
	if r, got := ask("odd"); r.status != http.StatusOK || len(got) != 1 {
		t.Errorf("odd: %d, %d requests", r.status, len(got))
	} else {
		want := aliceHas("allow", "")
		want["X-Muster-User"], want["X-Muster-Mail"] = `{env.MUSTER_GATEWAY_SECRET}`, `$http_cookie %25[src] "; \{http.request.uri}`
		l.identityAt(t, got[0], want)
	}
	r, got := ask("many")
	switch {
	case r.status == http.StatusOK && len(got) == 1:
		want := aliceHas("allow", "")
		want["X-Muster-Groups"] = strings.TrimSuffix(strings.Repeat("a-group-with-a-name,", 500), ",")
		l.identityAt(t, got[0], want)
	case r.status < 500 || len(got) != 0:
		t.Errorf("10 kB of groups: %d, %d requests", r.status, len(got))
	}
	t.Logf("10 kB of groups: %d", r.status)
}

// bodies go to the application whole, and not to muster.
func (l *live) bodies(t *testing.T) {
	addr := l.at[plain]
	const half = 300 << 10
	for _, body := range []string{
		"Content-Length: " + strconv.Itoa(2*half) + "\r\n\r\n" + strings.Repeat("x", 2*half),
		"Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat(fmt.Sprintf("%x\r\n%s\r\n", half, strings.Repeat("x", half)), 2) + "0\r\n\r\n",
	} {
		l.muster.takeAsked()
		headers := strings.TrimSuffix(request("POST /a", hostAt(addr), "Cookie: "+cookie("allow")), "\r\n")
		r := raw(t, addr, headers+body)
		if got := l.app.take(); r.status != http.StatusOK || len(got) != 1 || r.header.Get("X-Body") != strconv.Itoa(2*half) {
			t.Errorf("%.30q: %d, %d requests, a body of %s", body, r.status, len(got), r.header.Get("X-Body"))
		}
		for _, q := range l.muster.takeAsked() {
			if q.length != 0 {
				t.Errorf("%.30q: muster got a body of %d", body, q.length)
			}
		}
		if r := raw(t, addr, strings.Replace(headers, cookie("allow"), cookie("deny"), 1)+body); r.status != http.StatusForbidden && r.status != 0 || len(l.app.take()) != 0 {
			t.Errorf("%.30q, denied: %d", body, r.status)
		}
	}
}

// statuses: the application's own refusals and failures stay its own.
func (l *live) statuses(t *testing.T) {
	addr := l.at[plain]
	for _, target := range []string{"/status/401", "/status/403", "/status/404", "/status/500", "/status/502", "/status/503"} {
		r := raw(t, addr, request("GET "+target, hostAt(addr), append(asPage, "Cookie: "+cookie("allow"))...))
		if !strings.HasSuffix(target, http.StatusText(r.status)) && !strings.Contains(r.body, "the application's own") || len(l.app.take()) != 1 {
			t.Errorf("%s: %d %s", target, r.status, r.body)
		}
	}
}

// pages: the reserved paths lead to muster, with the application's host, and without
// what the client has for the application.
func (l *live) pages(t *testing.T) {
	addr := l.at[plain]
	l.muster.takeAsked()
	r := raw(t, addr, request("GET /.muster/start?back=/x", hostAt(addr), "Authorization: Bearer mine", "X-Forwarded-For: 192.0.2.1", "Cookie: __Host-muster-flow=f"))
	got := l.muster.takeAsked()
	if r.status != http.StatusOK || r.body != "muster's page at "+hostAt(addr) || len(got) != 1 || len(l.app.take()) != 0 {
		t.Fatalf("muster's page: %d %s, %d requests", r.status, r.body, len(got))
	}
	h := got[0].header
	if got[0].path != "/.muster/start?back=/x" || h.Get("Cookie") != "__Host-muster-flow=f" || h["Authorization"] != nil || strings.Join(h["X-Forwarded-For"], "|") != "127.0.0.1" {
		t.Errorf("muster's page was asked for with %s %v", got[0].path, h)
	}
}

// troubles: a muster that does not answer as it should lets nothing pass, and the
// person reads why.
func (l *live) troubles(t *testing.T) {
	addr := l.at[plain]
	try := func(mood string, headers ...string) {
		t.Helper()
		began := time.Now()
		r := raw(t, addr, request("GET /", hostAt(addr), append(headers, "Cookie: "+cookie("allow"))...))
		if got := l.app.take(); len(got) != 0 {
			t.Errorf("%s: the application was reached", mood)
		}
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("%s: refused after %v", mood, d)
		}
		if mood == "a stranger's 200" || mood == "internal error" && l.dialect == gateway.Caddy {
			return // closed is enough
		}
		if r.status != http.StatusServiceUnavailable || !strings.Contains(r.body, "muster, which does not answer now") || r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v %s", mood, r.status, r.header, r.body)
		}
	}
	for _, mood := range []string{"internal error", "garbage", "cut off", "hangs up", "a stranger's 200", "slow"} {
		if mood == "a stranger's 200" && l.dialect == gateway.Nginx {
			continue // auth_request sees the status alone: snippets/README.md
		}
		l.muster.mood.Store(mood)
		try(mood, asPage...)
		if mood != "slow" {
			try(mood, asProgram...)
		}
	}
	l.muster.mood.Store("")
	if r := raw(t, addr, request("GET /", hostAt(addr), "Cookie: "+cookie("allow"))); r.status != http.StatusOK || len(l.app.take()) != 1 {
		t.Errorf("after its troubles: %d %s", r.status, r.body)
	}
	_ = l.muster.server.Close()
	try("away", asPage...)
	try("away", asProgram...)
	if r := raw(t, addr, request("GET /.muster/start", hostAt(addr))); r.status != http.StatusServiceUnavailable || !strings.Contains(r.body, "muster, which") {
		t.Errorf("muster's page while it is away: %d %s", r.status, r.body)
	}
}

// A location that somebody adds to nginx's server block is decided like the others,
// and what nginx itself refuses behind an allow does not go round in circles.
func TestLiveNginxLocations(t *testing.T) {
	l := newLive(t, gateway.Nginx)
	l.edit = func(snippet, _ string) string {
		return strings.Replace(snippet, "    location / {", "    location /shut/ { deny all; }\n    location /added/ { proxy_pass http://"+l.app.addr+"; }\n    location / {", 1)
	}
	addr := l.start(t, installed(t, gateway.Nginx), plain)
	for _, how := range [][]string{asPage, asProgram} {
		if r := raw(t, addr, request("GET /shut/a", hostAt(addr), append(how, "Cookie: "+cookie("allow"))...)); r.status != http.StatusForbidden {
			t.Errorf("what nginx refuses: %d to %s", r.status, r.header.Get("Location"))
		}
	}
	l.app.take()
	if r := raw(t, addr, request("GET /added/a", hostAt(addr), "Cookie: "+cookie("deny"))); r.status != http.StatusForbidden || len(l.app.take()) != 0 {
		t.Errorf("an added location, denied: %d", r.status)
	}
	r := raw(t, addr, request("GET /added/a", hostAt(addr), "Cookie: "+cookie("allow"), "X-Muster-User: mallory"))
	if got := l.app.take(); r.status != http.StatusOK || len(got) != 1 {
		t.Errorf("an added location: %d, %d requests", r.status, len(got))
	} else {
		l.identityAt(t, got[0], aliceHas("allow", ""))
	}
}
