package gateway

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// names are a dialect's four headers.
func names(d Dialect) []string {
	g, _ := grammarOf(d)
	return []string{g.method, g.target, g.host, g.address}
}

// Each header is there once: of two, one is the client's.
func TestEachHeaderOnce(t *testing.T) {
	for _, d := range dialects() {
		g := newRig(t, d)
		g.answer = func(*Question) *Answer { t.Error("looked up"); return allowed() }
		for _, name := range names(d) {
			h := honest(d)
			h.Del(name)
			g.refuses("no "+name, g.path(), h, http.StatusForbidden, "request-unreadable")
			for _, second := range []string{"", honest(d).Get(name), "x"} {
				h = honest(d)
				h.Add(name, second)
				g.refuses("two "+name, g.path(), h, http.StatusForbidden, "request-unreadable")
			}
			twin := honest(d)
			twin[strings.ReplaceAll(name, "-", "_")] = twin[name]
			delete(twin, name)
			g.refuses("underscores for "+name, g.path(), twin, http.StatusForbidden, "request-unreadable")
		}
	}
}

// What is not a request is refused, whatever the policy says.
func TestUnreadable(t *testing.T) {
	for _, d := range dialects() {
		g := newRig(t, d)
		g.answer = func(*Question) *Answer { t.Error("looked up"); return allowed() }
		all := names(d)
		for i, values := range [][]string{
			{"", "get", "Get", "GET ", " GET", "GET\tx", "GET,POST", "G3T", "-GET", "GÉT", strings.Repeat("A", maxMethod+1)},
			{"", "/" + strings.Repeat("a", maxTarget)},
			{"", "wiki.corp.example, evil.example", "wiki..example", ".example", "wiki.", "wiki example", "wiki:", "wiki:0", "wiki:080", "wiki:65536",
				"wiki:80:80", "wiki:-1", "user@wiki", "wiki/x", "wiki?x", "wiki#x", "http://wiki", "wíki", "[::1", "[::1]x", "[]", "[127.0.0.1]", "[fe80::1%25eth0]",
				"::1", "[::1]:x", "[::1]]", "wiki%2eexample", `wiki\example`, strings.Repeat("a", maxHost+1)},
			{"", "unknown", "203.0.113.9,", "203.0.113.9, ", "203.0.113.9:80", "203.0.113.999", "[2001:db8::1]", "fe80::1%eth0", "a, b", "0x7f.1",
				strings.Repeat("203.0.113.9, ", maxFrom/10) + "203.0.113.9"},
		} {
			for _, v := range values {
				h := honest(d)
				h[all[i]] = []string{v}
				g.refuses(all[i]+" "+v[:min(len(v), 30)], g.path(), h, http.StatusForbidden, "request-unreadable")
			}
		}
	}
}

// What a client sends under another dialect's names changes nothing.
func TestOtherDialectsHeadersAreNotRead(t *testing.T) {
	foreign := map[string]string{
		"X-Forwarded-Method": "DELETE", "X-Forwarded-Uri": "/admin", "X-Original-Method": "DELETE", "X-Original-Uri": "/admin",
		"X-Original-Upgrade": "websocket", "X-Forwarded-Upgrade": "websocket", "Upgrade": "websocket",
		"X-Original-Host": "evil.example", "X-Original-Url": "/admin", "X-Rewrite-Url": "/admin", "X-Real-Ip": "198.51.100.1", "Forwarded": "for=198.51.100.1;host=evil.example",
		"X-Forwarded-Server": "evil.example", "X-Forwarded-Proto": "http", "X-Forwarded-Port": "1", "X-Forwarded-Prefix": "/admin",
		"X-Client-Ip": "198.51.100.1", "True-Client-Ip": "198.51.100.1", "X-Envoy-Original-Path": "/admin", ":path": "/admin", "X-Original_uri": "/admin",
		"X_Forwarded_For": "198.51.100.1", "X-Muster-User": "root", "X-Muster-Outcome": "allow",
	}
	for _, d := range dialects() {
		g := newRig(t, d)
		g.ask(g.path(), honest(d))
		want := *g.asked
		own, _ := grammarOf(d)
		for name, value := range foreign {
			if slices.Contains(append(names(d), own.upgrade), name) {
				continue
			}
			h := honest(d)
			h[name] = []string{value, value}
			if w := g.ask(g.path(), h); w.Code != http.StatusOK || *g.asked != want {
				t.Errorf("%s: %s changes the question: %d %+v", d, name, w.Code, g.asked)
			}
		}
	}
}

// A path that two readers may understand differently is unknown, and not refused.
func TestAmbiguousPathIsUnknown(t *testing.T) {
	for _, d := range dialects() {
		g := newRig(t, d)
		for _, target := range ambiguous() {
			h := honest(d)
			h[names(d)[1]] = []string{target}
			w := g.ask(g.path(), h)
			switch {
			case target == "" && w.Code == http.StatusOK:
				t.Errorf("%s: no target is a question", d)
			case target != "" && (w.Code != http.StatusOK || g.asked.Request.Path != ""):
				t.Errorf("%s: %q: %d %+v", d, target, w.Code, g.asked)
			}
		}
	}
}

func TestHostAndAddress(t *testing.T) {
	g := newRig(t, Traefik)
	for _, test := range []struct{ host, wantHost, from, wantFrom string }{
		{"Wiki.Corp.Example:8443", "wiki.corp.example:8443", "198.51.100.7, 203.0.113.9", "203.0.113.9"},
		{"[2001:DB8::1]:443", "[2001:db8::1]:443", "::ffff:203.0.113.9", "203.0.113.9"},
		{"[::1]", "[::1]", "x, y,2001:db8::7", "2001:db8::7"},
		{"my_host", "my_host", "\t203.0.113.9 ", "203.0.113.9"},
		{"192.0.2.1:1", "192.0.2.1:1", "10.0.0.1", "10.0.0.1"},
	} {
		h := honest(Traefik)
		h.Set("X-Forwarded-Host", test.host)
		h.Set("X-Forwarded-For", test.from)
		w := g.ask(g.path(), h)
		if w.Code != http.StatusOK || g.asked.Host != test.wantHost || g.asked.Request.Address.String() != test.wantFrom {
			t.Errorf("%+v: %d %+v", test, w.Code, g.asked)
		}
	}
}

// One cookie of the name and of the form, or none.
func TestCookie(t *testing.T) {
	const other = "msv_" + "ABCDEFGHIJ0123456789ABCDEFGHIJ0123456789ABC"
	g := newRig(t, Nginx)
	for _, test := range []struct {
		lines []string
		want  string
	}{
		{[]string{"__Host-muster-app=" + visitCookie}, visitCookie},
		{[]string{"a=b;__Host-muster-app=" + visitCookie + ";c"}, visitCookie},
		{[]string{"a=b", "__Host-muster-app=" + visitCookie, "c=d"}, visitCookie}, // HTTP/2 splits them
		{[]string{"__host-muster-app=" + other + "; __Host-muster-app=" + visitCookie}, visitCookie},
		{nil, ""},
		{[]string{""}, ""},
		{[]string{"__Host-muster-app=" + visitCookie + "; __Host-muster-app=" + visitCookie}, ""},
		{[]string{"__Host-muster-app=" + visitCookie, "__Host-muster-app=" + other}, ""},
		{[]string{"__Host-muster-app=x; __Host-muster-app=" + visitCookie}, ""},
		{[]string{"__Host-muster-app; __Host-muster-app=" + visitCookie}, ""},
		{[]string{"__Host-muster-app=" + visitCookie + "x"}, ""},
		{[]string{"__Host-muster-app=" + visitCookie[:46]}, ""},
		{[]string{`__Host-muster-app="` + visitCookie + `"`}, ""},
		{[]string{"__Host-muster-app= " + visitCookie}, ""},
		{[]string{"__Host-muster-app =" + visitCookie}, ""},
		{[]string{"__Host-muster-app=ms_" + visitCookie[4:]}, ""},
		{[]string{"__Host-muster-app=MSV_" + visitCookie[4:]}, ""},
		{[]string{"__Host-muster-app=msv_" + strings.Repeat("ä", 21) + "a"}, ""},
		{[]string{"__Host-muster-app=" + visitCookie[:46] + "="}, ""},
		{[]string{"__Host-muster-session=" + visitCookie}, ""},
		{[]string{"muster-app=" + visitCookie}, ""},
		{[]string{"x__Host-muster-app=" + visitCookie}, ""},
		{[]string{"a=b, __Host-muster-app=" + visitCookie}, ""},
	} {
		h := honest(Nginx)
		h["Cookie"] = test.lines
		if w := g.ask(g.path(), h); w.Code != http.StatusOK || g.asked.Cookie != test.want {
			t.Errorf("%q: %d, %q", test.lines, w.Code, g.asked.Cookie)
		}
	}
}

func TestNavigation(t *testing.T) {
	const html = "text/html,application/xhtml+xml,*/*;q=0.8"
	for _, test := range []struct {
		name   string
		method string
		header map[string]string
		want   bool
		back   string
	}{
		{"page", "GET", map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": html}, true, "/page?x=1"},
		{"form", "POST", map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, true, "/"},
		{"old browser", "GET", map[string]string{"Accept": html}, true, "/page?x=1"},
		{"old browser's script", "GET", map[string]string{"Accept": html, "X-Requested-With": "XMLHttpRequest"}, false, "/"},
		{"iframe", "GET", map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe", "Accept": html}, false, "/"},
		{"frame", "GET", map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "frame", "Accept": html}, false, "/"},
		{"object", "GET", map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "object", "Accept": html}, false, "/"},
		{"fetch", "GET", map[string]string{"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Accept": html}, false, "/"},
		{"image", "GET", map[string]string{"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image", "Accept": html}, false, "/"},
		{"half of it", "GET", map[string]string{"Sec-Fetch-Mode": "navigate", "Accept": html}, false, "/"},
		{"the other half", "GET", map[string]string{"Sec-Fetch-Dest": "document", "Accept": html}, false, "/"},
		{"empty", "GET", map[string]string{"Sec-Fetch-Mode": "", "Sec-Fetch-Dest": "", "Accept": html}, false, "/"},
		{"program", "GET", map[string]string{"Accept": "application/json"}, false, "/"},
		{"anything", "GET", map[string]string{"Accept": "*/*"}, false, "/"},
		{"nothing", "GET", nil, false, "/"},
		{"HEAD", "HEAD", map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, false, "/"},
		{"PUT", "PUT", map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, false, "/"},
		{"websocket", "GET", map[string]string{"Accept": html, "Sec-Websocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}, false, "/"},
	} {
		for _, d := range dialects() {
			g := newRig(t, d)
			h := honest(d)
			h.Set(names(d)[0], test.method)
			for name, value := range test.header {
				h.Set(name, value)
			}
			if w := g.ask(g.path(), h); w.Code != http.StatusOK || g.asked.Navigation != test.want || g.asked.Back != test.back {
				t.Errorf("%s: %s: %d %+v", d, test.name, w.Code, g.asked)
			}
		}
	}
	h := honest(Caddy)
	h["Sec-Fetch-Mode"], h["Sec-Fetch-Dest"] = []string{"navigate", "cors"}, []string{"document"}
	g := newRig(t, Caddy)
	if g.ask(g.path(), h); g.asked.Navigation {
		t.Error("two modes are a navigation")
	}
}

// What Traefik v3 sends (pkg/middlewares/auth/forward.go): all headers of the
// client but those that end at a hop, and its own X-Forwarded-*, each set once. Of a
// client's own it keeps only what it trusts. Upgrade is gone; the WebSocket key is
// there.
func TestTraefikReplay(t *testing.T) {
	replay := func() http.Header {
		return http.Header{
			"Accept":          {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
			"Accept-Encoding": {"gzip, deflate, br, zstd"}, "Accept-Language": {"en-GB,en;q=0.5"},
			"Authorization": {"Bearer " + secret}, // by a headers middleware in front
			"Cookie":        {"__Host-muster-app=" + visitCookie}, "Priority": {"u=0, i"},
			"Sec-Fetch-Dest": {"document"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Site": {"none"}, "Sec-Fetch-User": {"?1"},
			"Upgrade-Insecure-Requests": {"1"}, "User-Agent": {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
			"X-Forwarded-For": {"203.0.113.9"}, "X-Forwarded-Host": {"wiki.corp.example"}, "X-Forwarded-Method": {"GET"},
			"X-Forwarded-Port": {"443"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Server": {"edge1"}, "X-Forwarded-Uri": {"/page?x=1"},
			"X-Real-Ip": {"203.0.113.9"},
		}
	}
	g := newRig(t, Traefik)
	if w := g.ask(g.path(), replay()); w.Code != http.StatusOK || !g.asked.Navigation || g.asked.Back != "/page?x=1" || g.asked.Request.Upgrade {
		t.Errorf("a page: %d %+v", w.Code, g.asked)
	}
	socket := replay()
	for _, name := range []string{"Sec-Fetch-Dest", "Sec-Fetch-Mode", "Accept"} {
		socket.Del(name)
	}
	socket.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	socket.Set("Sec-WebSocket-Version", "13")
	if w := g.ask(g.path(), socket); w.Code != http.StatusOK || !g.asked.Request.Upgrade || g.asked.Navigation {
		t.Errorf("a websocket: %d %+v", w.Code, g.asked)
	}
	trusting := replay() // trustForwardHeader behind another proxy: what that one said comes first
	trusting.Set("X-Forwarded-For", "198.51.100.1, 203.0.113.9")
	if g.ask(g.path(), trusting); g.asked == nil || g.asked.Request.Address.String() != "203.0.113.9" {
		t.Errorf("behind a proxy: %+v", g.asked)
	}
	short := replay() // authRequestHeaders leaves out what is not listed
	for _, name := range []string{"Accept", "Cookie", "Sec-Fetch-Dest", "Sec-Fetch-Mode"} {
		short.Del(name)
	}
	if w := g.ask(g.path(), short); w.Code != http.StatusOK || g.asked.Cookie != "" || g.asked.Navigation {
		t.Errorf("a short list: %d %+v", w.Code, g.asked)
	}
}

// FuzzQuestion: what is read of a request keeps its bounds, and is refused or
// well-formed.
func FuzzQuestion(f *testing.F) {
	f.Add("GET", "/page?x=1", "wiki.corp.example", "203.0.113.9", "__Host-muster-app="+visitCookie, "navigate", "document", "text/html")
	f.Add("POST", "//", "[::1]:443", "a, ::1", "", "", "", "*/*")
	f.Add("get", "", "a b", "", "__Host-muster-app=x", "cors", "empty", "")
	f.Add("M-SEARCH", "http://x/", "x:0", "fe80::1%1", ";;=;__Host-muster-app", "navigate", "iframe", "text/html")
	f.Fuzz(func(t *testing.T, method, target, host, from, cookie, mode, dest, accept string) {
		s := Seen{Method: method, Target: target, Host: host, Address: from, Header: http.Header{
			"Cookie": {cookie}, "Sec-Fetch-Mode": {mode}, "Sec-Fetch-Dest": {dest}, "Accept": {accept},
		}}
		q, err := s.Question("wiki")
		if err != nil {
			if q != nil {
				t.Fatal("an error and a question")
			}
			return
		}
		if q.App != "wiki" || !q.Request.Address.IsValid() || q.Request.Method != method || !validMethod(method) ||
			len(q.Host) > maxHost || strings.ContainsAny(q.Host, " ,/\\@\"'<>%?#\r\n\x00") || q.Host != strings.ToLower(q.Host) ||
			!strings.HasPrefix(q.Back, "/") || len(q.Back) > 4*maxBack || q.Cookie != "" && !visitForm(q.Cookie) ||
			q.Request.Path != "" && q.Request.Path[0] != '/' || q.Navigation && method != "GET" && method != "POST" {
			t.Fatalf("%+v", q)
		}
	})
}
