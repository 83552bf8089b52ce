//go:build linux

package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"muster/server/decide"
	"muster/server/gateway"
	"muster/server/gateway/snippets"
)

// The live tests run the gateways of Debian 12, configured by nothing but the
// snippets that ship, between a client that writes raw bytes and an application
// that notes what reaches it. Behind stands the real Check with scripted decisions.

const (
	musterURL = "http://id.example.test" // muster's own origin, for redirects
	liveApp   = "wiki"
)

// The three gateways of a dialect: its credential enforces restrict, does not, or
// is none.
const (
	restricts = "mgw_restricts"
	plain     = "mgw_plain"
	unknown   = "mgw_unknown"
)

// asked is what arrived at muster.
type asked struct {
	question gateway.Question // zero where nothing was decided
	path     string
	length   int64 // of the body; -1: unknown
	header   http.Header
}

// scripted is muster: Check, with the decision in the cookie, on a listener.
type scripted struct {
	dialect gateway.Dialect
	server  *http.Server
	addr    string
	mood    atomic.Value // string: how it answers; empty: properly
	mu      sync.Mutex
	asked   []*asked // owner: mu, what they point to as well
}

// askedKey finds the note of a request in its context.
type askedKey struct{}

// cookie is an application's cookie that gets a decision.
func cookie(decision string) string {
	return "__Host-muster-app=msv_" + decision + strings.Repeat("-", 43-len(decision))
}

func newScripted(t *testing.T, dialect gateway.Dialect) *scripted {
	t.Helper()
	m := &scripted{dialect: dialect}
	m.mood.Store("")
	check := gateway.Check(dialect, m.look, m.authenticate, gateway.Places{PublicURL: musterURL, Mint: func(*gateway.Answer, *gateway.Credential, string) string { return "aa.bb.cc" }})
	mux := http.NewServeMux()
	mux.Handle("/check/"+string(dialect)+"/", check)
	mux.HandleFunc("/.muster/", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "muster's page at "+r.Host)
	})
	mux.HandleFunc("/", http.NotFound)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.addr = listener.Addr().String()
	m.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note := &asked{path: r.RequestURI, length: r.ContentLength, header: r.Header.Clone()}
		m.mu.Lock()
		m.asked = append(m.asked, note)
		m.mu.Unlock()
		if !m.moody(w, r) {
			mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), askedKey{}, note)))
		}
	})}
	go func() { _ = m.server.Serve(listener) }()
	t.Cleanup(func() { _ = m.server.Close() })
	return m
}

// moody answers badly where it should.
func (m *scripted) moody(w http.ResponseWriter, r *http.Request) bool {
	raw := ""
	switch m.mood.Load() {
	case "":
		return false
	case "internal error":
		http.Error(w, "defect", http.StatusInternalServerError)
		return true
	case "slow":
		select {
		case <-r.Context().Done():
		case <-time.After(10 * time.Second):
		}
		return true
	case "a stranger's 200":
		_, _ = io.WriteString(w, "welcome to the airport")
		return true
	case "garbage":
		raw = "\x16\x03\x01 nonsense\r\n\r\n"
	case "cut off":
		raw = "HTTP/1.1 200 OK\r\nX-Muster-Outcome: allow\r\nX-Muster-Us"
	case "hangs up":
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_, _ = io.WriteString(conn, raw)
		_ = conn.Close()
	}
	return true
}

func (m *scripted) authenticate(_ context.Context, secret string) (*gateway.Credential, bool) {
	c := &gateway.Credential{Name: "g", Dialect: m.dialect, Apps: []string{liveApp}, Restricts: secret == restricts, Audience: "a"}
	return c, secret == restricts || secret == plain
}

// look decides by the cookie. What is in no script is not signed in.
func (m *scripted) look(ctx context.Context, q *gateway.Question, _ *gateway.Credential) *gateway.Answer {
	if note, ok := ctx.Value(askedKey{}).(*asked); ok {
		m.mu.Lock()
		note.question = *q
		m.mu.Unlock()
	}
	who := gateway.Identity{User: "alice", Mail: "alice@example.test", Groups: []string{"staff", "ops, night"}, Session: "s1",
		Device: "d1", Level: "tpm-hw", AMR: []string{"hwk", "user"}, ACR: "muster:passkey"}
	because := func(o decide.Outcome) *gateway.Answer {
		return gateway.NewAnswer(decide.Decision{Outcome: o, Reasons: []decide.Reason{{Code: "disk-encrypted", Text: "Disk encryption is off.", Fix: "Turn it on.", Outcome: o}}}, who)
	}
	switch strings.TrimRight(strings.TrimPrefix(q.Cookie, "msv_"), "-") {
	case "allow", "elevated":
		return gateway.NewAnswer(decide.Decision{Outcome: decide.Allow}, who)
	case "bare":
		return gateway.NewAnswer(decide.Decision{Outcome: decide.Allow}, gateway.Identity{User: "alice"})
	case "odd":
		who.User, who.Mail = `{env.MUSTER_GATEWAY_SECRET}`, `$http_cookie %[src] "; \{http.request.uri}`
		return gateway.NewAnswer(decide.Decision{Outcome: decide.Allow}, who)
	case "many":
		who.Groups = strings.Split(strings.Repeat("a-group-with-a-name,", 500), ",")
		return gateway.NewAnswer(decide.Decision{Outcome: decide.Allow}, who)
	case "step_up":
		return because(decide.StepUp)
	case "restrict":
		return because(decide.Restrict)
	case "deny":
		return because(decide.Deny)
	}
	return gateway.NewAnswer(decide.Decision{Outcome: decide.StepUp, Reasons: []decide.Reason{{Code: "sign-in", Text: "Nobody is signed in.", Fix: "Sign in.", Outcome: decide.StepUp}}}, gateway.Identity{})
}

func (m *scripted) takeAsked() []asked {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]asked, len(m.asked))
	for i, note := range m.asked {
		list[i] = *note
	}
	m.asked = nil
	return list
}

// reached is a request that got to the application.
type reached struct {
	method, target, host string
	header               http.Header
}

// application notes what reaches it, says so, and speaks back on sockets.
type application struct {
	addr string
	mu   sync.Mutex
	got  []reached // owner: mu
}

func newApplication(t *testing.T) *application {
	t.Helper()
	a := &application{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.addr = listener.Addr().String()
	server := &http.Server{ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 1 << 20, Handler: http.HandlerFunc(a.serve)}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return a
}

func (a *application) serve(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.got = append(a.got, reached{r.Method, r.RequestURI, r.Host, r.Header.Clone()})
	a.mu.Unlock()
	n, _ := io.Copy(io.Discard, r.Body)
	w.Header().Set("X-Body", strconv.FormatInt(n, 10))
	var status int
	if _, err := fmt.Sscanf(r.URL.Path, "/status/%d", &status); err == nil {
		http.Error(w, "the application's own", status)
		return
	}
	if r.Header.Get("Upgrade") == "" {
		_, _ = io.WriteString(w, "the application's page")
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+r.Header.Get("Upgrade")+
		"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n") // RFC 6455 §1.3, of the clients' key
	_, _ = io.Copy(conn, buffered)
}

func (a *application) take() []reached {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.got
	a.got = nil
	return list
}

// live is one dialect's gateways in front of one application.
type live struct {
	dialect gateway.Dialect
	muster  *scripted
	app     *application
	at      map[string]string // secret → address of the gateway that has it
	edit    func(snippet, addr string) string
	tls     bool // clients come by TLS, as the snippet has it
	// cases are the attacks so far; a request that an attack leads to may come late.
	cases []tried
	// origin and ca replace muster's plain address, where they are set.
	origin, ca string
}

// liveGateways runs a test with each gateway.
func liveGateways(t *testing.T, test func(*testing.T, *live)) {
	t.Parallel()
	for _, dialect := range []gateway.Dialect{gateway.Nginx, gateway.Caddy, gateway.HAProxy} {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			test(t, newLive(t, dialect, restricts, plain, unknown))
		})
	}
}

func newLive(t *testing.T, dialect gateway.Dialect, secrets ...string) *live {
	t.Helper()
	program := installed(t, dialect)
	l := &live{dialect: dialect, muster: newScripted(t, dialect), app: newApplication(t), at: map[string]string{}, edit: func(s, _ string) string { return s }}
	for _, secret := range secrets {
		l.at[secret] = l.start(t, program, secret)
	}
	return l
}

// installed finds a gateway's program.
func installed(t *testing.T, dialect gateway.Dialect) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/bin") {
		path := filepath.Join(dir, string(dialect))
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	missing := string(dialect) + " is not installed: apt-get install " + map[gateway.Dialect]string{
		gateway.Nginx: "nginx-light", gateway.Caddy: "caddy", gateway.HAProxy: "haproxy"}[dialect]
	if os.Getenv("MUSTER_TEST_STRICT") == "1" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// start runs a gateway at a port of its own. Somebody else may take the port
// between our finding it free and the gateway's binding it; then it takes another.
func (l *live) start(t *testing.T, program, secret string) string {
	t.Helper()
	var said string
	for range 3 {
		addr := freeAddress(t)
		args, env := l.configure(t, addr, secret)
		if said = run(t, program, args, env, addr); said == "" {
			return addr
		}
	}
	t.Fatalf("%s does not start: %s", program, said)
	return ""
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// hostAt is the application's name behind a gateway.
func hostAt(addr string) string {
	return "wiki.example.test:" + addr[strings.LastIndexByte(addr, ':')+1:]
}

// configure writes the snippets and the secret into a folder, as their heads say,
// with the few lines around them that a gateway has anyway.
func (l *live) configure(t *testing.T, addr, secret string) (args, env []string) {
	t.Helper()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	v := snippets.Values{
		Muster: "http://" + l.muster.addr, App: liveApp, Host: hostAt(addr), Upstream: l.app.addr, Listen: addr,
		SecretFile: filepath.Join(dir, "secret"), LuaFile: filepath.Join(dir, "muster.lua"),
	}
	if l.origin != "" {
		v.Muster, v.CAFile = l.origin, l.ca
	}
	if l.tls {
		v.Listen = ""
	}
	render := func(dialect string) string {
		text, err := snippets.Render(dialect, v)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text, secret) {
			t.Fatal("the snippet holds the secret")
		}
		return text
	}
	text := l.edit(render(string(l.dialect)), addr)
	switch l.dialect {
	case gateway.Nginx:
		file("secret", `proxy_set_header Authorization "Bearer `+secret+"\";\n")
		user := ""
		if os.Geteuid() == 0 {
			user = "user root;\n" // the folder is root's alone
		}
		main := file("nginx.conf", user+"worker_processes 1;\nerror_log stderr crit;\npid "+dir+"/pid;\nevents { }\nhttp {\naccess_log off;\n"+
			"client_body_temp_path "+dir+"/b;\nproxy_temp_path "+dir+"/p;\nfastcgi_temp_path "+dir+"/f;\nuwsgi_temp_path "+dir+"/u;\nscgi_temp_path "+dir+"/s;\n"+
			"include "+file("wiki.conf", text)+";\n}\n")
		return []string{"-e", "stderr", "-p", dir, "-c", main, "-g", "daemon off;"}, nil
	case gateway.Caddy:
		main := file("Caddyfile", "{\n\tadmin off\n\tauto_https off\n}\n\n"+text)
		return []string{"run", "--config", main, "--adapter", "caddyfile"}, []string{"MUSTER_GATEWAY_SECRET=" + secret, "HOME=" + dir, "XDG_CONFIG_HOME=" + dir}
	}
	file("secret", secret+"\n")
	file("muster.lua", render(snippets.HAProxyLua))
	return []string{"-db", "-f", file("haproxy.cfg", text)}, nil
}

// run starts a program and waits until it listens; otherwise it returns what the
// program said. The program ends with the test.
func run(t *testing.T, program string, args, env []string, addr string) string {
	t.Helper()
	var said bytes.Buffer
	c := exec.Command(program, args...)
	c.Stdout, c.Stderr = &said, &said
	c.Env = append(os.Environ(), env...)
	c.WaitDelay = 5 * time.Second
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := c.Start(); err != nil {
		return err.Error()
	}
	over := make(chan struct{})
	go func() { _ = c.Wait(); close(over) }()
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		select {
		case <-over:
		case <-time.After(5 * time.Second):
			_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
			<-over
			t.Errorf("%s did not end", program)
		}
	})
	for limit := time.Now().Add(15 * time.Second); time.Now().Before(limit); {
		if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			_ = conn.Close()
			return ""
		}
		select {
		case <-over:
			return said.String()
		case <-time.After(5 * time.Millisecond):
		}
	}
	return "it does not listen"
}

// response is what a client got.
type response struct {
	status int
	header http.Header
	body   string
}

// raw sends bytes as they are and reads one response; a closed connection without
// one is status 0.
func raw(t *testing.T, addr, text string) response {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, writeErr := io.WriteString(conn, text) // a gateway may hang up before the end
	method, _, _ := strings.Cut(text, " ")
	r, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	var slow net.Error
	if errors.As(err, &slow) && slow.Timeout() {
		t.Fatalf("no answer to %.80q", text)
	}
	if err != nil {
		return response{body: fmt.Sprint(writeErr, err)}
	}
	defer r.Body.Close()
	body, _ := io.ReadAll(r.Body)
	return response{r.StatusCode, r.Header, string(body)}
}

// request is a client's request in plain words: method and target, then headers.
func request(line, host string, headers ...string) string {
	return line + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n" + strings.Join(append(headers, "", ""), "\r\n")
}

// Two ways to ask.
var (
	asPage    = []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Accept: text/html,*/*"}
	asProgram = []string{"Accept: application/json"}
)
