//go:build linux

package gateway_test

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"muster/server/decide"
	"muster/server/gateway"
)

// What an attack may lead to.
const (
	refusedOnly = "refused" // the application is not reached
	allowedOnly = "allowed" // it is reached once, as it was decided
	either      = "either"  // the gateway may refuse it by itself; else as allowed
)

// attack is raw bytes against a gateway. HOST in them is the application's name
// there.
type attack struct {
	name, text, may string
}

// tried is an attack that was made, and what muster was asked for it.
type tried struct {
	attack
	questions []asked
}

// get is a request with headers, allowed if its cookie is. CASE is the number of
// the attack, by which the application's notes are told apart.
func get(line string, headers ...string) string {
	return request(line, "HOST", append(slices.Clone(headers), "X-Case: CASE")...)
}

// allowed is a request with a cookie that gets allow.
func allowed(line string, headers ...string) string {
	return get(line, append([]string{"Cookie: " + cookie("allow")}, headers...)...)
}

// TestLiveAttacks: whatever a client writes, the application is reached only by what
// was decided for it, and never sees an identity that muster did not give.
func TestLiveAttacks(t *testing.T) {
	liveGateways(t, func(t *testing.T, l *live) {
		for _, group := range [][]attack{dialectAttacks(), identityAttacks(l.dialect), pathAttacks(), hostAttacks(l.dialect), framingAttacks(), methodAttacks(), cookieAttacks(), sizeAttacks()} {
			for _, a := range group {
				l.attack(t, a)
			}
		}
		l.authorizations(t)
	})
}

func (l *live) attack(t *testing.T, a attack) {
	t.Helper()
	addr, number := l.at[restricts], strconv.Itoa(len(l.cases))
	l.muster.takeAsked()
	text := strings.NewReplacer("HOST", hostAt(addr), "CASE", number).Replace(a.text)
	if head, body, ok := strings.Cut(text, "\r\n\r\n"); ok {
		text = strings.Replace(head, "LENGTH", strconv.Itoa(len(body)), 1) + "\r\n\r\n" + body
	}
	r := raw(t, addr, text)
	l.cases = append(l.cases, tried{a, l.muster.takeAsked()})
	got := l.reached(t)
	if a.may == allowedOnly && (len(got[number]) != 1 || r.status != http.StatusOK) {
		t.Errorf("%s: %d %s, %d requests reached the application", a.name, r.status, r.body, len(got[number]))
	}
	if len(got) == 0 && r.status == http.StatusOK && r.body != "" && !strings.Contains(r.body, "muster's page") {
		t.Errorf("%s: %s of nobody", a.name, r.body)
	}
	l.questionsSound(t, a.name, l.cases[len(l.cases)-1].questions)
}

// reached takes what reached the application, and judges it by the attacks that it
// came of.
func (l *live) reached(t *testing.T) map[string][]reached {
	t.Helper()
	got := map[string][]reached{}
	for _, r := range l.app.take() {
		number := r.header.Get("X-Case")
		got[number] = append(got[number], r)
	}
	for number, list := range got {
		i, err := strconv.Atoi(number)
		if err != nil || i >= len(l.cases) {
			t.Errorf("%s, or one before: nobody was allowed this: %+v", l.cases[len(l.cases)-1].name, list)
			continue
		}
		if a := l.cases[i]; a.may == refusedOnly {
			t.Errorf("%s: the application was reached: %+v", a.name, list)
		} else {
			l.sound(t, a.name, list, a.questions)
		}
	}
	return got
}

// questionsSound: what reaches muster is a check with the gateway's own credential,
// or a reserved page without any.
func (l *live) questionsSound(t *testing.T, name string, questions []asked) {
	t.Helper()
	check := "/check/" + string(l.dialect) + "/" + liveApp
	for _, q := range questions {
		credential := strings.Join(q.header["Authorization"], "|")
		switch {
		case (q.path == check || q.path == check+"/refused") && credential == "Bearer "+restricts:
		case credential == "" && strings.HasPrefix(q.path, "/.muster/"):
		default:
			t.Errorf("%s: muster was asked %s with %q", name, q.path, credential)
		}
	}
}

// sound: each request at the application is one that was decided, for the pinned
// application, as the application sees it.
func (l *live) sound(t *testing.T, name string, got []reached, questions []asked) {
	t.Helper()
	var passed []gateway.Question
	for _, q := range questions {
		for _, decision := range []string{"allow", "bare", "restrict"} {
			if q.question.Cookie != "" && strings.HasSuffix(cookie(decision), q.question.Cookie) {
				passed = append(passed, q.question)
			}
		}
	}
	if len(got) > len(passed) {
		t.Fatalf("%s: %d requests at the application, %d allowed: %+v", name, len(got), len(passed), got)
	}
	for i, r := range got {
		q := passed[i]
		if q.App != liveApp || q.Host != strings.ToLower(r.host) || q.Request.Method != r.method || !q.Request.Address.IsLoopback() {
			t.Errorf("%s: decided %+v, the application got %s at %s", name, q, r.method, r.host)
		}
		if c := strings.ToLower(strings.Join(r.header["Connection"], ",")); strings.Contains(c, "-") && c != "keep-alive" {
			t.Errorf("%s: the application got Connection: %s", name, c)
		}
		if u := r.header["Upgrade"]; u != nil && (!q.Request.Upgrade || len(u) != 1 || !strings.EqualFold(u[0], "websocket")) {
			t.Errorf("%s: the application got Upgrade: %q, decided %+v", name, u, q.Request)
		}
		if !pathDecided(q.Request, r.target) {
			t.Errorf("%s: decided for path %q, the application got %q", name, q.Request.Path, r.target)
		}
		for _, h := range []string{"X-Http-Method-Override", "X-Original-Url", "X-Original-Uri", "X-Rewrite-Url", "X-Forwarded-Uri", "X-Forwarded-Method", "Forwarded"} {
			if v := r.header[h]; v != nil {
				t.Errorf("%s: the application got %s: %q", name, h, v)
			}
		}
		if v := r.header["X-Forwarded-For"]; len(v) != 1 || v[0] != "127.0.0.1" {
			t.Errorf("%s: the application got X-Forwarded-For: %q", name, v)
		}
		want := map[string]string{"X-Muster-User": "alice", "X-Muster-Outcome": "allow", "X-Muster-Token": "aa.bb.cc"}
		if q.Cookie != strings.TrimPrefix(cookie("bare"), "__Host-muster-app=") {
			want = aliceHas("allow", "")
		}
		l.identityAt(t, r, want)
	}
}

// pathDecided: the path of a decision is what the application got, or unknown.
func pathDecided(r decide.Request, target string) bool {
	if r.Path == "" {
		return true
	}
	path, _, _ := strings.Cut(target, "?")
	decoded, err := url.PathUnescape(path)
	lower := strings.ToLower(path)
	if strings.HasSuffix(lower, "/.") || strings.HasSuffix(lower, "/..") {
		return false
	}
	for _, doubtful := range []string{"//", ";", "#", "\\", "%2f", "%5c", "%25", "/./", "/../", "%2e%2e", "%00", "%23", "%3b"} {
		if strings.Contains(lower, doubtful) {
			return false
		}
	}
	return err == nil && decoded == r.Path
}

// What other gateways say to muster, said by a client.
func dialectAttacks() []attack {
	forged := []string{
		"X-Original-Method: GET", "X-Original-URI: /open", "X-Original-URL: /open", "X-Rewrite-URL: /open", "X-Forwarded-Method: GET", "X-Forwarded-Uri: /open",
		"X-Forwarded-Host: mail.example.test", "X-Forwarded-For: 192.0.2.1", "X-Real-IP: 192.0.2.1", "Forwarded: for=192.0.2.1;host=mail.example.test",
		"X_Original_URI: /open", "X_Forwarded_Uri: /open", "X_Forwarded_Method: GET", "X_Forwarded_For: 192.0.2.1", "X-HTTP-Method-Override: GET",
		"X-Forwarded-Upgrade: websocket", "X-Original-Upgrade: websocket", "Host-Override: mail.example.test", "Content-Length: 0",
	}
	twice := slices.Concat(forged, forged[:len(forged)-1])
	return []attack{
		{"other dialects' headers", allowed("POST /closed", forged...), allowedOnly},
		{"other dialects' headers twice", allowed("POST /closed", twice...), allowedOnly},
		{"other dialects' headers, denied", get("POST /closed", append(twice, "Cookie: "+cookie("deny"))...), refusedOnly},
		{"a POST that says it is a GET", get("POST /closed", append(forged, "Cookie: "+cookie("restrict"))...), refusedOnly},
		{"the dialect's own headers are muster's page's, too", get("GET /.muster/start", forged[:len(forged)-1]...), refusedOnly},
	}
}

// The names that an application may take for X-Muster-User.
func identityAttacks(d gateway.Dialect) []attack {
	names := []string{"X-Muster-User", "x-muster-user", "X-MUSTER-USER", "X_Muster_User", "x_muster_user", "X-Muster_User", "X_Muster-User", "X.Muster.User", "X-Muster.User"}
	if d != gateway.Nginx { // it can take away only names that it is told
		names = append(names, "X-Muster-Role", "X-Muster-", "x-muster-user-id")
	}
	var list []attack
	every := []string{}
	for _, name := range names {
		h := name + ": mallory"
		every = append(every, h, h)
		list = append(list,
			attack{name, allowed("GET /", h), either},
			attack{name + " where muster has none", get("GET /", "Cookie: "+cookie("bare"), h, strings.Replace(h, "ser:", "ser-x:", 1)), either},
			attack{name + " without a session", get("GET /", h), refusedOnly})
	}
	for _, name := range gateway.IdentityHeaders() {
		every = append(every, name+": mallory", strings.ReplaceAll(name, "-", "_")+": mallory")
	}
	if d == gateway.Nginx {
		list = slices.DeleteFunc(list, func(a attack) bool { return strings.HasSuffix(a.name, "has none") })
	}
	return append(list,
		attack{"every identity header", allowed("GET /", every...), allowedOnly},
		attack{"every identity header where muster has none", get("GET /", append(every, "Cookie: "+cookie("bare"))...), allowedOnly},
		attack{"a space before the colon", allowed("GET /", "X-Muster-User : mallory"), either},
		attack{"a folded line", allowed("GET /", "X-A: b", " X-Muster-User: mallory"), either},
		attack{"a bare line feed", allowed("GET /", "X-A: b\nX-Muster-User: mallory"), either},
		attack{"a bare carriage return", allowed("GET /", "X-A: b\rX-Muster-User: mallory"), either},
		attack{"a NUL", allowed("GET /", "X-Muster-User\x00: mallory"), either},
		attack{"identity named hop by hop", strings.Replace(allowed("GET /"), "Connection: close", "Connection: close, X-Muster-User, X-Muster-Restrict, X-Muster-Outcome, X-Forwarded-For, Cookie, Authorization, X-Forwarded-Uri, X-Original-Uri", 1), allowedOnly},
		attack{"a trailer", allowed("POST /", "Transfer-Encoding: chunked", "Trailer: X-Muster-User") + "1\r\nx\r\n0\r\nX-Muster-User: mallory\r\n\r\n", either},
	)
}

// Paths that gateway, muster and application may read differently.
func pathAttacks() []attack {
	var list []attack
	for _, p := range []string{
		"//", "//a//b", "/a//b", "/./a", "/a/.", "/a/..", "/../a", "/a/../../b", "/..;/a", "/a;b=c", "/a/..;/b", "/a%2fb", "/a%2Fb", "/a/..%2fb", "/a%2f..%2fb",
		"/%2e%2e/a", "/%2e/a", "/a#b", "/a%23b", "/a#/../b", "/a%00b", "/a\\b", "/a%5cb", "/%252e%252e/a", "/a%252fb", "/a%zz", "/a%", "/%c0%af", "/\xff", "/a?b#c", "/a??b", "/a?b=//c/../d",
		"/admin/", "/ADMIN", "/adm%69n", "/a%20b", "/a+b", "/%E2%98%83", "/a:b@c", "/...", "/a/.../b", "?a", "*", "a", "",
	} {
		list = append(list,
			attack{"path " + p, allowed("GET " + p), either},
			attack{"path " + p + ", denied", get("GET "+p, "Cookie: "+cookie("deny")), refusedOnly},
			attack{"path " + p + " of nobody", get("GET " + p), refusedOnly})
	}
	// The reserved paths are open to anybody: nothing of the application may be.
	for _, p := range []string{
		"/.muster/../a", "/.muster/..", "/.muster/..;/a", "/.muster/..%2fa", "/.muster/%2e%2e/a", "/.muster/%2e%2e%2fa", "/.muster/.%2e/a", "/.muster//../a", "/.muster/..\\a", "/.muster/..%5ca",
		"/%2emuster/a", "/.muste%72/a", "/%2Emuster/../a", "//.muster/a", "/./.muster/a", "/a/../.muster/b", "/a/..%2f.muster/b", "/.MUSTER/a", "/.muster;/a", "/.muster%2fa", "/.muster%2f..%2fa", "/.muster#/../a",
		"/.muster/a#/../../b", "/.muster", "/.muster?/../a", "/.muster-check", "/.muster-check/", "/@muster_refused", "/.muster/../check/nginx/wiki", "/.muster/..%2fcheck/nginx/wiki", "/.muster%2f../check/caddy/wiki",
		"/check%2f..%2f.muster/a", "/check/caddy/wiki/../../../.muster/a", "/check/caddy/wiki%2f..%2f..%2f..%2f.muster/a", "/.muster/%252e%252e/check/haproxy/wiki",
		"/check/nginx/wiki", "/check/caddy/wiki", "/check/haproxy/wiki", "/check/nginx/wiki/refused",
	} {
		list = append(list,
			attack{"reserved path " + p, get("GET " + p), refusedOnly},
			attack{"reserved path " + p + " with a secret", get("GET "+p, "Authorization: Bearer "+plain), refusedOnly},
			attack{"reserved path " + p + ", denied", get("POST "+p, "Cookie: "+cookie("deny"), "Content-Length: 0"), refusedOnly},
			attack{"reserved path " + p + ", allowed", allowed("GET " + p), either})
	}
	return list
}

// Hosts: the application is pinned, and sees the host that was decided about.
func hostAttacks(d gateway.Dialect) []attack {
	list := []attack{
		{"absolute form", allowed("GET http://HOST/a?b"), allowedOnly},
		{"absolute form of nobody", get("GET http://HOST/a"), refusedOnly},
		{"absolute form, upper case", allowed("GET HTTP://HOST/a"), either},
		{"absolute form with another host", allowed("GET http://mail.example.test/a"), either},
		{"absolute form with another host of nobody", get("GET http://mail.example.test/a"), refusedOnly},
		{"absolute form with a user", allowed("GET http://x@HOST/a"), either},
		{"absolute form without a path", allowed("GET http://HOST"), either},
		{"absolute form of a reserved path", get("GET http://HOST/.muster/../a"), refusedOnly},
		{"absolute form, https", allowed("GET https://HOST/a"), either},
		{"absolute form, strange scheme", allowed("GET file://HOST/a"), either},
		{"absolute form and another Host", strings.Replace(allowed("GET http://HOST/a"), "Host: HOST", "Host: mail.example.test", 1), either},
		{"another application's Host", strings.Replace(allowed("GET /a"), "Host: HOST", "Host: mail.example.test", 1), either},
		{"another application's Host of nobody", strings.Replace(get("GET /a"), "Host: HOST", "Host: mail.example.test", 1), refusedOnly},
		{"two Hosts", strings.Replace(allowed("GET /a"), "Host: HOST", "Host: HOST\r\nHost: mail.example.test", 1), either},
		{"two equal Hosts", strings.Replace(allowed("GET /a"), "Host: HOST", "Host: HOST\r\nHost: HOST", 1), either},
		{"two Hosts, the other first", strings.Replace(allowed("GET /a"), "Host: HOST", "Host: mail.example.test\r\nHost: HOST", 1), either},
		{"Host in a list", strings.Replace(allowed("GET /a"), "Host: HOST", "Host: HOST, mail.example.test", 1), either},
		{"no Host", strings.Replace(allowed("GET /a"), "Host: HOST\r\n", "", 1), refusedOnly},
		{"empty Host", strings.Replace(allowed("GET /a"), "Host: HOST", "Host: ", 1), refusedOnly},
		{"Host with a user", strings.Replace(allowed("GET /a"), "Host: HOST", "Host: x@HOST", 1), refusedOnly},
		{"Host with a path", strings.Replace(allowed("GET /a"), "Host: HOST", "Host: HOST/x", 1), refusedOnly},
		{"Host with a space", strings.Replace(allowed("GET /a"), "Host: HOST", "Host: HOST x", 1), refusedOnly},
		{"Host in upper case", strings.Replace(allowed("GET /a"), "Host: HOST", "Host: "+strings.ToUpper("wiki.example.test")+":1", 1), either},
		{"HTTP/1.0 without a Host", "GET /a HTTP/1.0\r\nCookie: " + cookie("allow") + "\r\n\r\n", refusedOnly},
	}
	if d == gateway.Nginx { // one server block answers to every name, and its application is pinned
		for i, a := range list {
			if a.name == "absolute form with another host" || a.name == "absolute form and another Host" {
				list[i].may = refusedOnly // the line could have chosen another server block than Host
			}
		}
		list = append(list, attack{"another Host is another host of the same application", strings.Replace(allowed("GET /a"), "Host: HOST", "Host: mail.example.test", 1), allowedOnly})
	}
	return list
}

// Where a request ends. The second one is nobody's, so nobody may get there.
func framingAttacks() []attack {
	const hidden = "GET /hidden HTTP/1.1\r\nHost: HOST\r\nX-Muster-User: mallory\r\n\r\n"
	long := func(headers ...string) string {
		return strings.Replace(allowed("POST /a", headers...), "Connection: close\r\n", "", 1)
	}
	length := "Content-Length: 6"
	return []attack{
		{"pipelined behind an allowed one", strings.Replace(allowed("GET /a"), "Connection: close\r\n", "", 1) + hidden, either},
		{"chunked and a length", long("Transfer-Encoding: chunked", length) + "0\r\n\r\n" + hidden, either},
		{"a length and chunked", long(length, "Transfer-Encoding: chunked") + "0\r\n\r\n" + hidden, either},
		{"two lengths", long("Content-Length: 0", "Content-Length: LENGTH") + hidden, either},
		{"lengths in a list", long("Content-Length: 0, LENGTH") + hidden, either},
		{"a signed length", long("Content-Length: +0") + hidden, either},
		{"chunked, oddly written", long("Transfer-Encoding: xchunked") + hidden, either},
		{"chunked with a space", long("Transfer-Encoding : chunked", "Content-Length: 0") + hidden, either},
		{"chunked with a tab", long("Transfer-Encoding:\tchunked") + "0\r\n\r\n" + hidden, either},
		{"chunked twice", long("Transfer-Encoding: chunked", "Transfer-Encoding: identity") + "0\r\n\r\n" + hidden, either},
		{"chunked and more", long("Transfer-Encoding: chunked, gzip", length) + "0\r\n\r\n" + hidden, either},
		{"chunked with an underscore", long("Transfer_Encoding: chunked", "Content-Length: 0") + hidden, either},
		{"a chunk of a strange size", long("Transfer-Encoding: chunked") + "0x1\r\nA\r\n0\r\n\r\n" + hidden, either},
		{"a body of a GET", strings.Replace(allowed("GET /a", "Content-Length: LENGTH"), "Connection: close\r\n", "", 1) + hidden, either},
		{"a body behind a refusal", get("POST /a", "Content-Length: LENGTH") + hidden, refusedOnly},
		{"expect", allowed("POST /a", "Expect: 100-continue", "Content-Length: 0"), either},
		{"a connection that goes on as h2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + hidden, refusedOnly},
	}
}

// Methods that are none, or mean something to proxies.
func methodAttacks() []attack {
	var list []attack
	for _, m := range []string{"TRACE", "OPTIONS", "PUT", "DELETE", "PATCH", "PROPFIND", "M-SEARCH", "get", "Get", "GE T", "G\tET", "PURGE", "TRACK", "DEBUG"} {
		list = append(list,
			attack{"method " + m, allowed(m + " /a"), either},
			attack{"method " + m + " of nobody", get(m + " /a"), refusedOnly},
			attack{"method " + m + ", denied", get(m+" /a", "Cookie: "+cookie("deny")), refusedOnly})
		if m != "OPTIONS" {
			list = append(list, attack{"method " + m + ", to read only", get(m+" /a", "Cookie: "+cookie("restrict"), "X-HTTP-Method-Override: GET", "X-Original-Method: GET"), refusedOnly})
		}
	}
	return append(list,
		attack{"CONNECT", allowed("CONNECT HOST"), either},
		attack{"CONNECT of nobody", get("CONNECT HOST"), refusedOnly},
		attack{"CONNECT to another", get("CONNECT mail.example.test:443"), refusedOnly},
		attack{"CONNECT a path", get("CONNECT /a"), refusedOnly},
		attack{"OPTIONS *", get("OPTIONS *"), refusedOnly},
		attack{"HEAD", allowed("HEAD /a"), allowedOnly},
		attack{"HEAD of nobody", get("HEAD /a"), refusedOnly},
	)
}

// Cookies: two of a name are none, and muster's never reach the application.
func cookieAttacks() []attack {
	mine := "Cookie: " + cookie("allow")
	return []attack{
		{"two of the name", get("GET /", mine+"; "+cookie("allow")), refusedOnly},
		{"two of the name, one denied", get("GET /", "Cookie: "+cookie("deny")+"; "+cookie("allow")), refusedOnly},
		{"two of the name in two headers", get("GET /", mine, mine), refusedOnly},
		{"in quotes", get("GET /", `Cookie: __Host-muster-app="`+strings.TrimPrefix(cookie("allow"), "__Host-muster-app=")+`"`), refusedOnly},
		{"with an underscore", get("GET /", "Cookie_: "+cookie("allow")), refusedOnly},
		{"in the address", get("GET /?" + cookie("allow")), refusedOnly},
		{"another prefix", get("GET /", "Cookie: "+strings.TrimPrefix(cookie("allow"), "__Host-")), refusedOnly},
		{"a comma between", get("GET /", "Cookie: a=b, "+cookie("allow")), refusedOnly},
		{"no space between", get("GET /", "Cookie: a=b;"+cookie("allow")+";c=d"), allowedOnly},
		{"all of muster's", get("GET /", mine+"; __Host-muster=mss_s; __Host-muster-session=s; __Host-muster-flow=f; z=1"), allowedOnly},
		{"more than there are", get("GET /", mine+"; __Host-muster=1; __Host-muster-b=2; __Host-muster-c=3; __Host-muster-d=4; __Host-muster-e=5; z=1"), allowedOnly},
		{"in two headers", get("GET /", "Cookie: a=1; __Host-muster-flow=f", mine, "Cookie: b=2"), allowedOnly},
		{"last", get("GET /", "Cookie: a=1; "+cookie("allow")+"; "), allowedOnly},
		{"without a value", get("GET /", mine+"; __Host-muster-flow; a"), allowedOnly},
	}
}

// Sizes: too much is an error, and never a way round.
func sizeAttacks() []attack {
	kilo := func(n int) string { return strings.Repeat("x", n<<10) }
	many := make([]string, 300)
	for i := range many {
		many[i] = "X-H: " + kilo(0) + "v"
	}
	return []attack{
		{"7 kB of cookies", get("GET /", "Cookie: a="+kilo(7)+"; "+cookie("allow")), allowedOnly},
		{"14 kB of cookies", get("GET /", "Cookie: a="+kilo(14)+"; "+cookie("allow")), either},
		{"32 kB of cookies", get("GET /", "Cookie: a="+kilo(32)+"; "+cookie("allow")), either},
		{"32 kB of cookies, denied", get("GET /", "Cookie: a="+kilo(32)+"; "+cookie("deny")), refusedOnly},
		{"32 kB of header of nobody", get("GET /", "X-H: "+kilo(32)), refusedOnly},
		{"32 kB of header", allowed("GET /", "X-H: "+kilo(32)), either},
		{"200 kB of header", allowed("GET /", "X-H: "+kilo(200)), either},
		{"2 MB of header", allowed("GET /", "X-H: "+kilo(2048)), refusedOnly},
		{"300 headers", allowed("GET /", many...), either},
		{"7 kB of path", allowed("GET /" + kilo(7)), either},
		{"20 kB of path", allowed("GET /" + kilo(20)), refusedOnly},
		{"7 kB of forged identity", allowed("GET /", "X-Muster-User: "+kilo(7)), either},
	}
}

// authorizations: the client's Authorization is the application's, and never opens a
// gateway that muster does not know.
func (l *live) authorizations(t *testing.T) {
	for _, value := range []string{"Bearer " + plain, "Bearer " + restricts, "Basic YTpi", "Bearer a, Bearer b"} {
		l.muster.takeAsked()
		addr := l.at[restricts]
		r := raw(t, addr, request("GET /", hostAt(addr), "Authorization: "+value, "Cookie: "+cookie("allow")))
		got := l.app.take()
		if r.status != http.StatusOK || len(got) != 1 || strings.Join(got[0].header["Authorization"], "|") != value {
			t.Errorf("%s: %d, the application got %+v", value, r.status, got)
		}
		l.questionsSound(t, value, l.muster.takeAsked())
		addr = l.at[unknown]
		if r := raw(t, addr, request("GET /", hostAt(addr), "Authorization: "+value, "Cookie: "+cookie("allow"))); r.status != http.StatusUnauthorized || len(l.app.take()) != 0 {
			t.Errorf("%s opens a gateway that muster does not know: %d", value, r.status)
		}
	}
	l.muster.takeAsked()
	addr := l.at[restricts]
	_ = raw(t, addr, request("GET /", hostAt(addr), "Authorization: Bearer "+plain, "Authorization: Bearer "+unknown, "Cookie: "+cookie("allow")))
	l.questionsSound(t, "two Authorizations", l.muster.takeAsked())
	l.app.take()
}
