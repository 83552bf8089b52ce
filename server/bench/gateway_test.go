package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"muster/server/gateway"
	"muster/server/gateway/gatewaytest"
	"muster/server/gateway/snippets"
	"muster/server/servertest"
)

// BenchmarkGatewayCheck asks as nginx does, muster and a bare handler.
func BenchmarkGatewayCheck(b *testing.B) {
	v := newVisited(b)
	address, pid := startBare(b, &bare{Cookies: map[string][]header{v.cookie: v.identity(b)}})
	v.alike(b, address)
	askInTurns(b,
		&asked{name: "bare-handler", address: address, request: v.question(address), pids: []int{pid}},
		&asked{name: "muster", address: v.srv.Config.Listen, request: v.question(v.srv.Config.Listen), pids: []int{v.pid}},
	)
}

// BenchmarkBehindNginx asks for a page of an application behind a real nginx, which
// asks muster first, or a bare handler that answers the same: by the shipped
// snippet, and by the least that auth_request and as many headers need.
func BenchmarkBehindNginx(b *testing.B) {
	v := newVisited(b)
	trivial, pid := startBare(b, &bare{Cookies: map[string][]header{v.cookie: v.identity(b)}})
	v.alike(b, trivial)
	// An nginx of its own for each, with the application in it. A client's connection
	// would end after a thousand requests, which ours does not expect.
	page := func(app string) string {
		return fmt.Sprintf("keepalive_requests 1000000000;\nserver { listen %s; location / { default_type text/plain; return 200 \"a page\\n\"; } }\n", app)
	}
	snippet := func(to string) (address string) {
		address, app := freeAddress(b), freeAddress(b)
		gatewaytest.Nginx(b, address, v.secret, page(app), snippets.Values{Muster: "http://" + to, App: "wiki", Host: wikiHost, Upstream: app})
		return address
	}
	before, behind := snippet(trivial), snippet(v.srv.Config.Listen)
	least, app := freeAddress(b), freeAddress(b)
	gatewaytest.Nginx(b, least, v.secret, page(app)+leastConfiguration(least, trivial, app))
	get := fmt.Appendf(nil, "GET /page HTTP/1.1\r\nHost: %s\r\nCookie: theme=dark; %s=%s\r\nAccept: text/html\r\nUser-Agent: %s\r\n\r\n", wikiHost, appCookie, v.cookie, browser)
	askInTurns(b,
		&asked{name: "snippet-to-bare-handler", address: before, request: get, want: "a page", pids: []int{pid}},
		&asked{name: "snippet-to-muster", address: behind, request: get, want: "a page", pids: []int{v.pid}},
		&asked{name: "least-to-bare-handler", address: least, request: get, want: "a page", pids: []int{pid}},
	)
}

// leastConfiguration is auth_request without anything of ours but the headers.
func leastConfiguration(listen, trivial, app string) string {
	var set, pass strings.Builder
	for i, name := range gateway.IdentityHeaders() {
		variable := strings.ReplaceAll(strings.ToLower(name), "-", "_")
		fmt.Fprintf(&set, "auth_request_set $least_%d $upstream_http_%s;\n", i, variable)
		fmt.Fprintf(&pass, "proxy_set_header %s $least_%d;\n", name, i)
	}
	return fmt.Sprintf(`upstream trivial { server %s; keepalive 16; }
server {
	listen %s;
	location / {
		auth_request /.trivial;
		%s%sproxy_http_version 1.1;
		proxy_pass http://%s;
	}
	location = /.trivial {
		internal;
		proxy_pass http://trivial/check/nginx/wiki;
		proxy_http_version 1.1;
		proxy_pass_request_body off;
		proxy_set_header Content-Length "";
		proxy_set_header Connection "";
	}
}
`, trivial, listen, set.String(), pass.String(), app)
}

func freeAddress(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// BenchmarkEvaluation asks for the decision about a session as programs do: muster
// by AuthZEN, an OPA server by its data API, with the same ten rules over the same
// facts, and a bare handler that reads the question and looks the answer up.
func BenchmarkEvaluation(b *testing.B) {
	v := newVisited(b)
	v.identity(b)
	address, pid := startBare(b, &bare{Sessions: map[string]string{v.session: v.answerOf(b)}})
	opa, opaPID := startOPA(b, v)
	input := `{"input":{"session":"` + v.session + `","app":"wiki"}}`
	askInTurns(b,
		&asked{name: "bare-handler", address: address, request: post(address, gateway.PathEvaluation, v.program, v.evaluation()), want: `"decision":true`, pids: []int{pid}},
		&asked{name: "muster", address: v.srv.Config.Listen, request: post(v.srv.Config.Listen, gateway.PathEvaluation, v.program, v.evaluation()), want: `"decision":true`, pids: []int{v.pid}},
		&asked{name: "opa", address: opa, request: post(opa, "/v1/data/muster/decision", v.program, input), want: `"allow":true`, pids: []int{opaPID}},
	)
}

// startOPA builds the OPA server as it ships, and runs it over facts like those
// that muster has of the session.
func startOPA(b *testing.B, v *visited) (address string, pid int) {
	b.Helper()
	dir := b.TempDir()
	program, data := filepath.Join(dir, "opa"), filepath.Join(dir, "data.json")
	build := exec.Command("go", "build", "-modfile=peers.mod", "-o", program, "github.com/open-policy-agent/opa")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("building OPA: %v\n%s", err, out)
	}
	now := time.Now().UnixNano()
	facts, err := json.Marshal(map[string]any{
		"apps":    map[string]any{"wiki": map[string]any{"sensitivity": 2}},
		"laptops": map[string]any{"d1": map[string]any{"reported_at": now, "platform": "linux", "ownership": "corporate"}},
		"sessions": map[string]any{v.session: map[string]any{
			"verified_at": now, "binding": "none",
			"user":    map[string]any{"name": "alice", "role": "person"},
			"passkey": map[string]any{"bad": "", "contradicts_os": false},
			"link":    map[string]any{"laptop": "d1", "state": "live", "strength": 2, "at": now},
		}},
	})
	if err == nil {
		err = os.WriteFile(data, facts, 0o600)
	}
	if err != nil {
		b.Fatal(err)
	}
	address = freeAddress(b)
	c := exec.Command(program, "run", "--server", "--addr", address, "--log-level", "error", "--skip-version-check", data, "testdata/visitors.rego")
	c.Stdout, c.Stderr = b.Output(), b.Output()
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if runtime.GOOS == "windows" || c.Process.Signal(os.Interrupt) != nil {
			_ = c.Process.Kill()
		}
		_ = c.Wait()
	})
	servertest.Wait(b, "the OPA server is ready", func() bool {
		resp, err := http.Get("http://" + address + "/health")
		return err == nil && errors.Join(resp.Body.Close()) == nil && resp.StatusCode == http.StatusOK
	})
	return address, c.Process.Pid
}
