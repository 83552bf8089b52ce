package guard

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func mustParse(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestNewRefuses(t *testing.T) {
	good := Config{Muster: "https://id.example", App: "wiki", Secret: secret}
	if g, err := New(good); err != nil || g.check != "https://id.example/check/http/wiki" {
		t.Fatal(err)
	}
	for _, muster := range []string{"http://localhost:8080", "http://id.muster.localhost:8080/", "http://127.0.0.1:1", "http://[::1]:1", "https://id.example:8443/"} {
		c := good
		c.Muster = muster
		if _, err := New(c); err != nil {
			t.Errorf("%s: %v", muster, err)
		}
	}
	for name, change := range map[string]func(*Config){
		"no address":       func(c *Config) { c.Muster = "" },
		"a host":           func(c *Config) { c.Muster = "id.example" },
		"in the open":      func(c *Config) { c.Muster = "http://id.example" },
		"nearly local":     func(c *Config) { c.Muster = "http://localhost.example" },
		"nearly local too": func(c *Config) { c.Muster = "http://notlocalhost" },
		"a private one":    func(c *Config) { c.Muster = "http://10.0.0.1" },
		"other scheme":     func(c *Config) { c.Muster = "ftp://id.example" },
		"with a path":      func(c *Config) { c.Muster = "https://id.example/muster" },
		"with a query":     func(c *Config) { c.Muster = "https://id.example/?" },
		"with a password":  func(c *Config) { c.Muster = "https://u:hidden@id.example" },
		"unreadable":       func(c *Config) { c.Muster = "https://u:hidden@id.example:x" },
		"no app":           func(c *Config) { c.App = "" },
		"all apps":         func(c *Config) { c.App = "*" },
		"app is a path":    func(c *Config) { c.App = "a/b" },
		"app goes up":      func(c *Config) { c.App = ".." },
		"app is escaped":   func(c *Config) { c.App = "a%2fb" },
		"no secret":        func(c *Config) { c.Secret = "" },
		"two lines":        func(c *Config) { c.Secret = "mgw_hidden\r\nX: y" },
		"long secret":      func(c *Config) { c.Secret = strings.Repeat("m", 257) },
	} {
		c := good
		change(&c)
		if g, err := New(c); err == nil || g != nil {
			t.Errorf("%s: made", name)
		} else if strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: the error shows a secret: %v", name, err)
		}
	}
	own := good
	own.Muster, own.Client = "http://muster", new(http.Client)
	if _, err := New(own); err != nil {
		t.Errorf("with a client of one's own: %v", err)
	}
}

// A client that is given brings its transport and nothing that mixes people up.
func TestClient(t *testing.T) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	var cookies []string
	x := &rig{muster: &scripted{answer: func(w http.ResponseWriter, r *http.Request) {
		cookies = append(cookies, r.Header.Get("Cookie"))
		http.SetCookie(w, &http.Cookie{Name: "kept", Value: "of another person"})
		let(w, r)
	}}}
	// Over TLS and HTTP/2, where Upgrade may not be sent.
	muster := httptest.NewUnstartedServer(x.muster)
	muster.EnableHTTP2, muster.Config.ErrorLog = true, slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	muster.StartTLS()
	t.Cleanup(muster.Close)
	client := muster.Client()
	client.Jar = jar
	x.front(t, muster.URL, client)
	for range 2 {
		reply, _ := x.send(t, "GET", "/", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}})
		if reply.StatusCode != 200 || x.muster.asked.Load().ProtoMajor != 2 || x.muster.asked.Load().Header.Get("X-Forwarded-Upgrade") == "" {
			t.Errorf("%d %v", reply.StatusCode, x.muster.asked.Load().Header)
		}
	}
	if !slices.Equal(cookies, []string{"", ""}) || client.Jar != jar {
		t.Errorf("%q", cookies)
	}
	// A certificate that nobody vouches for is no muster.
	y := new(rig)
	y.front(t, muster.URL, nil)
	if reply, _ := y.send(t, "GET", "/", nil); reply.StatusCode != 503 || y.seen != nil {
		t.Error(reply.Status)
	}
}

// Muster's own paths go there with the host as it is, and with nothing else of the
// application's.
func TestReserved(t *testing.T) {
	x := newRig(t, func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "__Host-muster-flow", Value: "f"})
		w.Header().Set("Location", "https://id.example/visit")
		w.WriteHeader(http.StatusSeeOther)
	})
	header := http.Header{
		"Cookie": {"theme=dark; __Host-muster-flow=f; " + cookie}, "Authorization": {"Basic dTpw"}, "X-Muster-User": {"root"}, "X_muster_user": {"root"},
		"X-Forwarded-For": {"10.0.0.1"}, "X-Forwarded-Host": {"mail.example"}, "Forwarded": {"for=10.0.0.1"}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "User-Agent": {"browser"},
	}
	reply, _ := x.send(t, "GET", "/.muster/start?back=%2Fx%3Fa%3Db%2Fc", header)
	if reply.StatusCode != 303 || reply.Header.Get("Location") != "https://id.example/visit" || !strings.HasPrefix(reply.Header.Get("Set-Cookie"), "__Host-muster-flow=f") || x.seen != nil {
		t.Errorf("%d %v", reply.StatusCode, reply.Header)
	}
	q := x.muster.asked.Load()
	if q.RequestURI != "/.muster/start?back=%2Fx%3Fa%3Db%2Fc" || q.Host != "wiki.example" || q.Header.Get("User-Agent") != "browser" {
		t.Errorf("%s %s %v", q.Host, q.RequestURI, q.Header)
	}
	if got := q.Header["X-Forwarded-For"]; !slices.Equal(got, []string{"127.0.0.1"}) {
		t.Errorf("from %q", got)
	}
	if got := q.Header["Cookie"]; !slices.Equal(got, []string{"__Host-muster-flow=f; " + cookie}) {
		t.Errorf("cookies %q", got)
	}
	for name := range q.Header {
		if name == "Authorization" || name == "Upgrade" || name == "Forwarded" || name == "X-Forwarded-Host" || strings.HasPrefix(plain(name), "x-muster") {
			t.Errorf("%s is passed on", name)
		}
	}
	for _, target := range []string{"/.muster/%73tart", "/.muster/../admin", "/.muster/x/..", "/.muster/./start", "/.muster//start", "/.muster/..%2fadmin", `/.muster/..\admin`, "/.muster/;/start", "/.muster", "/.muster/", "/.muster/start/"} {
		if reserved(target) {
			t.Errorf("%s goes past the check", target)
		}
	}
}

func TestSortCookies(t *testing.T) {
	for _, test := range []struct{ line, ours, others string }{
		{"", "", ""},
		{"a=1; b=2", "", "a=1; b=2"},
		{"__Host-muster-app=x", "__Host-muster-app=x", ""},
		{" a=1 ;;__Host-muster=x;\tb=2", "__Host-muster=x", "a=1; b=2"},
		{"a=1, __Host-muster-app=x; b=2", "a=1, __Host-muster-app=x", "b=2"},
		{"__HOST-MUSTER-APP=x", "__HOST-MUSTER-APP=x", ""},
		{`q="a; __Host-muster-app=x"`, `__Host-muster-app=x"`, `q="a`},
	} {
		if ours, others := sortCookies([]string{test.line}); ours != test.ours || others != test.others {
			t.Errorf("%q: %q, %q", test.line, ours, others)
		}
	}
}

// FuzzIdentity: what reads as an identity had an outcome that lets through, and a
// restriction that is known.
func FuzzIdentity(f *testing.F) {
	f.Add("alice", "staff,a%2Cb", "allow", "")
	f.Add("", "", "restrict", "read-only")
	f.Add("%zz", ",", "deny", "x")
	f.Fuzz(func(t *testing.T, user, groups, outcome, restrict string) {
		h := http.Header{}
		for _, name := range []string{"Mail", "Session", "Device", "Level", "Acr", "Amr", "Token"} {
			h.Set("X-Muster-"+name, "")
		}
		h["X-Muster-User"], h["X-Muster-Groups"] = []string{user}, []string{groups}
		h["X-Muster-Outcome"], h["X-Muster-Restrict"] = []string{outcome}, []string{restrict}
		who, err := identity(h)
		if ok := outcome == "allow" && restrict == "" || outcome == "restrict" && restrict == "read-only"; err == nil && !ok || err != nil && who.User != "" {
			t.Errorf("%q %q: %+v, %v", outcome, restrict, who, err)
		}
	})
}

// FuzzRequest: whatever a client sends, the application sees nothing of muster's, and
// only plain paths go past the check.
func FuzzRequest(f *testing.F) {
	f.Add("/", "X_Muster_User", cookie+"; a=1")
	f.Add("/.muster/start?x", "x-muster-user", "a=1,__Host-muster-app=x")
	f.Add("/.muster/%2e%2e/x", "X.MUSTER.user", "=;;=")
	f.Fuzz(func(t *testing.T, target, name, line string) {
		if p, _, _ := strings.Cut(target, "?"); reserved(target) && (strings.Contains(p, "..") && strings.Contains(p, "/../") || strings.Contains(p, "%")) {
			t.Errorf("%q goes past the check", target)
		}
		r := &http.Request{Header: http.Header{name: {"root"}, "Cookie": {line}}}
		seen := strip(r, Identity{})
		if strings.Contains(strings.ToLower(strings.Join(seen.Header["Cookie"], "")), cookiePrefix) {
			t.Errorf("%q leaves %q", line, seen.Header["Cookie"])
		}
		for left := range seen.Header {
			if strings.HasPrefix(strings.ToLower(strings.ReplaceAll(left, "_", "-")), headerPrefix) {
				t.Errorf("%q is left", left)
			}
		}
	})
}

func BenchmarkProtect(b *testing.B) {
	muster := httptest.NewServer(http.HandlerFunc(let))
	defer muster.Close()
	g, err := New(Config{Muster: muster.URL, App: "wiki", Secret: secret})
	if err != nil {
		b.Fatal(err)
	}
	h := g.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, From(r.Context()).User) }))
	r := httptest.NewRequest("GET", "/", nil)
	for b.Loop() {
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
}

func Example() {
	muster := httptest.NewServer(http.HandlerFunc(let)) // in place of https://id.example
	defer muster.Close()

	g, err := New(Config{Muster: muster.URL, App: "wiki", Secret: "mgw_of_this_application"})
	if err != nil {
		fmt.Println(err)
		return
	}
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := From(r.Context())
		fmt.Fprintf(w, "Hello %s, on a laptop of level %s.", who.User, who.Level)
	})
	front := httptest.NewServer(g.Protect(app))
	defer front.Close()

	reply, err := http.Get(front.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer reply.Body.Close()
	text, _ := io.ReadAll(reply.Body)
	fmt.Println(string(text))
	// Output: Hello alice, on a laptop of level tpm-hw.
}

// What would carry requests that nobody asks about does not pass; WebSockets do.
func TestStripTunnels(t *testing.T) {
	for name, test := range map[string]struct {
		header  http.Header
		upgrade string
	}{
		"websocket":     {http.Header{"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"WebSocket"}}, "WebSocket"},
		"h2c":           {http.Header{"Connection": {"Upgrade, HTTP2-Settings"}, "Upgrade": {"h2c"}, "Http2-Settings": {"AAMAAABkAAQAAP__"}}, ""},
		"both":          {http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket, h2c"}}, ""},
		"twice":         {http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket", "h2c"}}, ""},
		"something":     {http.Header{"Connection": {"Upgrade"}, "Upgrade": {"tls/1.0"}}, ""},
		"empty":         {http.Header{"Connection": {"Upgrade"}, "Upgrade": {""}}, ""},
		"names headers": {http.Header{"Connection": {"Upgrade, X-Muster-User"}, "Upgrade": {"websocket"}}, "websocket"},
	} {
		r := httptest.NewRequest("POST", "/", strings.NewReader("x"))
		r.Header = test.header
		r.Header["Trailer"], r.Trailer = []string{"X-Muster-User"}, http.Header{"X-Muster-User": nil}
		got := strip(r, Identity{})
		if got.Header.Get("Upgrade") != test.upgrade || len(got.Header["Upgrade"]) > 1 {
			t.Errorf("%s: Upgrade %q", name, got.Header["Upgrade"])
		}
		if want := map[bool]string{true: "Upgrade", false: ""}[test.upgrade != ""]; got.Header.Get("Connection") != want {
			t.Errorf("%s: Connection %q", name, got.Header["Connection"])
		}
		if got.Header["Http2-Settings"] != nil || got.Trailer != nil || got.Header["Trailer"] != nil {
			t.Errorf("%s: %v, trailer %v", name, got.Header, got.Trailer)
		}
	}
}
