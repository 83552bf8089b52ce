package extauthz

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"log/slog"
	"math/big"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"muster/server/decide"
	"muster/server/gateway"
)

const (
	secret = "mgw_secret"
	cookie = "msv_0123456789012345678901234567890123456789012"
)

// who is whom an allowed request belongs to.
func who() gateway.Identity {
	return gateway.Identity{User: "alice", Mail: "alice@example.org", Groups: []string{"staff", "a,b"}, Session: "s1", Device: "d1", Level: "tpm-hw", AMR: []string{"hwk"}, ACR: "phr"}
}

// decideBy answers by the path: each outcome has one, everything else denies.
func decideBy(_ context.Context, q *gateway.Question, _ *gateway.Credential) *gateway.Answer {
	outcome, known := map[string]decide.Outcome{"/allow": decide.Allow, "/step-up": decide.StepUp, "/restrict": decide.Restrict}[q.Request.Path]
	switch {
	case q.Request.Path == "/panic":
		panic("a defect")
	case q.Request.Path == "/nothing":
		return nil
	case q.Cookie == "":
		return gateway.NewAnswer(decide.Decision{Outcome: decide.StepUp, Reasons: []decide.Reason{{Code: "signed-out", Text: "Sign in.", Outcome: decide.StepUp}}}, gateway.Identity{})
	case !known:
		outcome = decide.Deny
	}
	return gateway.NewAnswer(decide.Decision{Outcome: outcome, Reasons: []decide.Reason{{Code: "why", Text: "Because.", Fix: "Mend it.", Outcome: outcome}}}, who())
}

// gateways are known by secret, certificate and socket.
func gateways(certificate string) gateway.AuthenticateFunc {
	return func(ctx context.Context, shown string) (*gateway.Credential, bool) {
		c := &gateway.Credential{Name: "envoy", Dialect: gateway.Envoy, Apps: []string{"wiki"}, Audience: "wiki"}
		switch from := gateway.PeerOf(ctx); {
		case shown == secret, shown == "" && from.Gateway == "g1", shown == "" && certificate != "" && from.Certificate == certificate:
			return c, true
		case shown == "mgw_reads":
			c.Restricts = true
			return c, true
		case shown == "mgw_nginx":
			c.Dialect = gateway.Nginx
			return c, true
		case shown == "mgw_mail":
			c.Apps = []string{"mail"}
			return c, true
		case shown == "mgw_all":
			c.Apps = []string{"*"}
			return c, true
		case shown == "mgw_none":
			return nil, true
		}
		return nil, false
	}
}

func places() gateway.Places {
	return gateway.Places{
		PublicURL: "https://id.example", Log: slog.New(slog.DiscardHandler),
		Mint: func(*gateway.Answer, *gateway.Credential, string) string { return "aa.bb.cc" },
	}
}

// serve starts a server and returns a client of it.
func serve(t *testing.T, l net.Listener, look gateway.LookFunc, certificate string, client credentials.TransportCredentials, options ...grpc.ServerOption) auth.AuthorizationClient {
	t.Helper()
	s := New(look, gateways(certificate), places(), options...)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	target := "passthrough:///" + l.Addr().String()
	if l.Addr().Network() == "unix" {
		target = "unix:" + l.Addr().String()
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(client))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return auth.NewAuthorizationClient(conn)
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// loopback is a server on a port and a client without a certificate.
func loopback(t *testing.T) auth.AuthorizationClient {
	return serve(t, listen(t, "tcp", "127.0.0.1:0"), decideBy, "", insecure.NewCredentials())
}

// asked is a page of the wiki, as Envoy tells it.
func asked(path string) *auth.CheckRequest {
	return &auth.CheckRequest{Attributes: &auth.AttributeContext{
		ContextExtensions: map[string]string{"app": "wiki"},
		Source: &auth.AttributeContext_Peer{Address: &core.Address{Address: &core.Address_SocketAddress{
			SocketAddress: &core.SocketAddress{Address: "203.0.113.7", PortSpecifier: &core.SocketAddress_PortValue{PortValue: 4711}}}}},
		Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{
			Method: "GET", Path: path, Host: "wiki.example", Scheme: "https", Protocol: "HTTP/2",
			Headers: map[string]string{
				":method": "GET", ":path": path, ":authority": "wiki.example", ":scheme": "https",
				"cookie": "theme=dark; __Host-muster-app=" + cookie + "; lang=en", "authorization": "Basic dTpw",
			},
		}},
	}}
}

// change asks for /allow, changed.
func change(f func(*auth.AttributeContext_HttpRequest)) *auth.CheckRequest {
	r := asked("/allow")
	f(r.Attributes.Request.Http)
	return r
}

func with(secret string) context.Context {
	return metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+secret)
}

func check(t *testing.T, client auth.AuthorizationClient, ctx context.Context, r *auth.CheckRequest) *auth.CheckResponse {
	t.Helper()
	answer, err := client.Check(ctx, r)
	if err != nil {
		t.Fatalf("Envoy would do as failure_mode_allow says: %v", err)
	}
	return answer
}

// allowed is what Envoy does with an OK: the headers that it sets, by lower case.
func allowed(t *testing.T, answer *auth.CheckResponse) (set map[string]string, removed []string) {
	t.Helper()
	if answer.GetStatus().GetCode() != int32(codes.OK) || answer.GetOkResponse() == nil || answer.GetDeniedResponse() != nil {
		t.Fatalf("not allowed: %v", answer)
	}
	set = map[string]string{}
	for _, h := range answer.GetOkResponse().GetHeaders() {
		//lint:ignore SA1019 old Envoys know nothing else
		if h.GetAppend() == nil || h.GetAppend().GetValue() || h.GetAppendAction() != core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
			t.Errorf("%s is added to the client's", h.GetHeader().GetKey())
		}
		name := strings.ToLower(h.GetHeader().GetKey())
		if _, twice := set[name]; twice {
			t.Errorf("%s is set twice", name)
		}
		set[name] = h.GetHeader().GetValue()
	}
	for _, name := range gateway.IdentityHeaders() {
		if _, ok := set[strings.ToLower(name)]; !ok {
			t.Errorf("%s is the client's", name)
		}
	}
	return set, answer.GetOkResponse().GetHeadersToRemove()
}

// refused returns status, headers by lower case and body of a denial.
func refused(t *testing.T, answer *auth.CheckResponse) (status int, headers map[string]string, body string) {
	t.Helper()
	d := answer.GetDeniedResponse()
	if answer.GetStatus().GetCode() == int32(codes.OK) || d == nil || answer.GetErrorResponse() != nil || d.GetStatus().GetCode() < 300 {
		t.Fatalf("not denied: %v", answer)
	}
	headers = map[string]string{}
	for _, h := range d.GetHeaders() {
		headers[strings.ToLower(h.GetHeader().GetKey())] = h.GetHeader().GetValue()
	}
	return int(d.GetStatus().GetCode()), headers, d.GetBody()
}

func TestAllow(t *testing.T) {
	client := loopback(t)
	set, removed := allowed(t, check(t, client, with(secret), asked("/allow")))
	want := map[string]string{
		"x-muster-user": "alice", "x-muster-mail": "alice@example.org", "x-muster-groups": "staff,a%2Cb", "x-muster-session": "s1", "x-muster-device": "d1",
		"x-muster-level": "tpm-hw", "x-muster-acr": "phr", "x-muster-amr": "hwk", "x-muster-outcome": "allow", "x-muster-restrict": "", "x-muster-token": "aa.bb.cc",
		"cookie": "theme=dark; lang=en",
	}
	for name, value := range want {
		if set[name] != value {
			t.Errorf("%s: %q, want %q", name, set[name], value)
		}
	}
	if len(set) != len(want) || slices.Contains(removed, "authorization") || slices.Contains(removed, "cookie") || !slices.Contains(removed, "x_muster_user") {
		t.Errorf("set %v, removed %v", set, removed)
	}
	set, _ = allowed(t, check(t, client, with("mgw_reads"), asked("/restrict")))
	if set["x-muster-outcome"] != "restrict" || set["x-muster-restrict"] != "read-only" {
		t.Errorf("%v", set)
	}
}

// What the client calls itself never arrives, in whatever spelling.
func TestTwins(t *testing.T) {
	client := loopback(t)
	twins := []string{"x_muster_user", "x-muster_user", "x.muster.user", "x-muster-admin", "x_muster-mail", "X-MUSTER_LEVEL"}
	for form, r := range map[string]*auth.CheckRequest{
		"map": change(func(h *auth.AttributeContext_HttpRequest) {
			h.Headers["x-muster-user"] = "root"
			for _, name := range twins {
				h.Headers[name] = "root"
			}
		}),
		"list": change(func(h *auth.AttributeContext_HttpRequest) {
			h.HeaderMap, h.Headers = &core.HeaderMap{Headers: []*core.HeaderValue{{Key: "cookie", RawValue: []byte("__Host-muster-app=" + cookie)}}}, nil
			for _, name := range append(twins, "x-muster-user", "x-muster-user") {
				h.HeaderMap.Headers = append(h.HeaderMap.Headers, &core.HeaderValue{Key: name, RawValue: []byte("root")})
			}
		}),
	} {
		set, removed := allowed(t, check(t, client, with(secret), r))
		for _, name := range twins {
			if !slices.Contains(removed, strings.ToLower(name)) {
				t.Errorf("%s: %s arrives", form, name)
			}
		}
		if set["x-muster-user"] != "alice" || slices.Contains(removed, "x-muster-user") {
			t.Errorf("%s: %v %v", form, set, removed)
		}
		if form == "list" && !slices.Contains(removed, "cookie") {
			t.Error("a cookie line of nothing but muster's stays")
		}
	}
}

func TestCookiesOfOthers(t *testing.T) {
	own := "__Host-muster-app=" + cookie
	for name, test := range map[string]struct {
		lines []string
		rest  string
		found bool
	}{
		"none":           {nil, "", false},
		"others only":    {[]string{"a=1; b=2"}, "a=1; b=2", false},
		"ours only":      {[]string{own}, "", true},
		"all of ours":    {[]string{"a=1;" + own + ";__Host-muster=x; __Host-muster-flow=y;b=2"}, "a=1; b=2", true},
		"other case":     {[]string{"__HOST-Muster-App=x; a=1"}, "a=1", true},
		"two lines":      {[]string{"a=1", own, "b=2"}, "a=1; b=2", true},
		"joined":         {[]string{"a=1, " + own + "; b=2"}, "b=2", true},
		"odd spacing":    {[]string{"a=1;\t" + own + " ;;b=2;"}, "a=1; b=2", true},
		"without value":  {[]string{"__Host-muster-app; a=1"}, "a=1", true},
		"not UTF-8":      {[]string{own + "; a=\xff; b=2"}, "b=2", true},
		"name is longer": {[]string{"x__Host-muster-app=1; b=2"}, "b=2", true},
	} {
		if rest, found := othersCookies(test.lines); rest != test.rest || found != test.found {
			t.Errorf("%s: %q %v", name, rest, found)
		}
	}
}

func TestRefusals(t *testing.T) {
	client := loopback(t)
	navigation := func(h *auth.AttributeContext_HttpRequest) {
		h.Headers["sec-fetch-mode"], h.Headers["sec-fetch-dest"] = "navigate", "document"
	}
	browser := asked("/deny?a=1")
	navigation(browser.Attributes.Request.Http)
	stranger := asked("/allow?a=1")
	navigation(stranger.Attributes.Request.Http)
	delete(stranger.Attributes.Request.Http.Headers, "cookie")
	for name, test := range map[string]struct {
		secret   string
		request  *auth.CheckRequest
		status   int
		location string
		body     string
	}{
		"deny":                   {secret, asked("/deny"), 403, "", `"code":"why"`},
		"step up":                {secret, asked("/step-up"), 401, "", `"outcome":"step_up"`},
		"restrict, not enforced": {secret, asked("/restrict"), 403, "", `"outcome":"restrict"`},
		"restrict, writing":      {"mgw_reads", written(), 403, "", `"code":"restricted"`},
		"a browser":              {secret, browser, 303, "https://id.example/access?host=wiki.example&back=%2Fdeny%3Fa%3D1", ""},
		"a browser, signed out":  {secret, stranger, 303, "https://wiki.example/.muster/start?back=%2Fallow%3Fa%3D1", ""},
		"panic":                  {secret, asked("/panic"), 403, "", `"code":"internal"`},
		"no answer":              {secret, asked("/nothing"), 403, "", `"code":"internal"`},
		"wrong secret":           {"mgw_other", asked("/allow"), 401, "", `"code":"gateway-unknown"`},
		"no credential":          {"mgw_none", asked("/allow"), 401, "", `"code":"gateway-unknown"`},
		"empty secret":           {"", asked("/allow"), 401, "", `"code":"gateway-unknown"`},
		"long secret":            {strings.Repeat("m", 300), asked("/allow"), 401, "", `"code":"gateway-unknown"`},
		"other dialect":          {"mgw_nginx", asked("/allow"), 403, "", `"code":"dialect-wrong"`},
		"other application":      {"mgw_mail", asked("/allow"), 403, "", `"code":"app-not-yours"`},
	} {
		status, headers, body := refused(t, check(t, client, with(test.secret), test.request))
		if status != test.status || headers["location"] != test.location || !strings.Contains(body, test.body) || headers["cache-control"] != "no-store" {
			t.Errorf("%s: %d %v %s", name, status, headers, body)
		}
		if test.status == 401 && headers["www-authenticate"] == "" || test.body != "" && headers["content-type"] != "application/problem+json" {
			t.Errorf("%s: %v", name, headers)
		}
	}
}

func written() *auth.CheckRequest {
	r := asked("/restrict")
	r.Attributes.Request.Http.Method, r.Attributes.Request.Http.Headers[":method"] = "POST", "POST"
	return r
}

// The client's own headers are never the gateway's credential, nor its application.
func TestClientIsNotTheGateway(t *testing.T) {
	client := loopback(t)
	r := change(func(h *auth.AttributeContext_HttpRequest) { h.Headers["authorization"] = "Bearer " + secret })
	refused(t, check(t, client, context.Background(), r))
	two := metadata.AppendToOutgoingContext(with(secret), "authorization", "Bearer "+secret)
	refused(t, check(t, client, two, asked("/allow")))
	for _, bad := range []string{"Basic " + secret, secret, "Bearer", "Bearer  " + secret} {
		refused(t, check(t, client, metadata.AppendToOutgoingContext(context.Background(), "authorization", bad), asked("/allow")))
	}
	named := change(func(h *auth.AttributeContext_HttpRequest) { h.Headers["app"] = "wiki" })
	for _, app := range []string{"", "*", "mail", "WIKI", "wiki/refused", "wiki\x00"} {
		named.Attributes.ContextExtensions = map[string]string{"app": app, "App": "wiki"}
		refused(t, check(t, client, with(secret), named))
	}
	// A gateway of all applications serves each by its name, and none without one.
	for _, app := range []string{"", "*"} {
		named.Attributes.ContextExtensions = map[string]string{"app": app}
		refused(t, check(t, client, with("mgw_all"), named))
	}
	allowed(t, check(t, client, with("mgw_all"), asked("/allow")))
}

// A request that does not say clearly what is asked is refused.
func TestUnclear(t *testing.T) {
	client := loopback(t)
	address := func(a *core.Address) *auth.CheckRequest {
		r := asked("/allow")
		r.Attributes.Source.Address = a
		return r
	}
	socket := func(a string) *core.Address {
		return &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{Address: a}}}
	}
	ambiguous := func(path string) *auth.CheckRequest { return asked(path) }
	http := func(f func(*auth.AttributeContext_HttpRequest)) *auth.CheckRequest { return change(f) }
	for name, r := range map[string]*auth.CheckRequest{
		"nothing":          {},
		"no request":       {Attributes: &auth.AttributeContext{ContextExtensions: map[string]string{"app": "wiki"}}},
		"no http":          {Attributes: &auth.AttributeContext{ContextExtensions: map[string]string{"app": "wiki"}, Request: &auth.AttributeContext_Request{}}},
		"no address":       address(nil),
		"empty address":    address(&core.Address{}),
		"pipe":             address(&core.Address{Address: &core.Address_Pipe{Pipe: &core.Pipe{Path: "/run/x"}}}),
		"address a name":   address(socket("localhost")),
		"address and port": address(socket("203.0.113.7:1")),
		"no method":        http(func(h *auth.AttributeContext_HttpRequest) { h.Method = ""; delete(h.Headers, ":method") }),
		"method lower":     http(func(h *auth.AttributeContext_HttpRequest) { h.Method = "get"; delete(h.Headers, ":method") }),
		"other :method":    http(func(h *auth.AttributeContext_HttpRequest) { h.Headers[":method"] = "POST" }),
		"other :path":      http(func(h *auth.AttributeContext_HttpRequest) { h.Headers[":path"] = "/admin" }),
		"other :authority": http(func(h *auth.AttributeContext_HttpRequest) { h.Headers[":authority"] = "mail.example" }),
		"no host":          http(func(h *auth.AttributeContext_HttpRequest) { h.Host = ""; delete(h.Headers, ":authority") }),
		"host a list":      http(func(h *auth.AttributeContext_HttpRequest) { h.Host = "a,b"; delete(h.Headers, ":authority") }),
		"no path":          http(func(h *auth.AttributeContext_HttpRequest) { h.Path = ""; delete(h.Headers, ":path") }),
		"absolute form":    ambiguous("https://wiki.example/allow"),
		"two slashes":      ambiguous("//allow"),
		"dots":             ambiguous("/x/../allow"),
		"encoded slash":    ambiguous("/%2fallow"),
		"a fragment":       ambiguous("/allow#x"),
		"path parameter":   ambiguous("/allow;x"),
		"line in header":   http(func(h *auth.AttributeContext_HttpRequest) { h.Headers["accept"] = "a\r\nx-muster-user: root" }),
		"line in name":     http(func(h *auth.AttributeContext_HttpRequest) { h.Headers["a\n"] = "" }),
		"both forms": http(func(h *auth.AttributeContext_HttpRequest) {
			h.HeaderMap = &core.HeaderMap{Headers: []*core.HeaderValue{{Key: "cookie", RawValue: []byte("a=1")}}}
		}),
		"two values": http(func(h *auth.AttributeContext_HttpRequest) {
			h.Headers, h.HeaderMap = nil, &core.HeaderMap{Headers: []*core.HeaderValue{{Key: "cookie", RawValue: []byte("__Host-muster-app=" + cookie), Value: "a=1"}}}
		}),
		"second :path": http(func(h *auth.AttributeContext_HttpRequest) {
			h.Headers, h.HeaderMap = nil, &core.HeaderMap{Headers: []*core.HeaderValue{{Key: ":path", Value: "/allow"}, {Key: ":path", Value: "/admin"}, {Key: "cookie", Value: "__Host-muster-app=" + cookie}}}
		}),
		"two cookies": http(func(h *auth.AttributeContext_HttpRequest) { h.Headers["cookie"] += "; __Host-muster-app=" + cookie }),
		"joined cookies": http(func(h *auth.AttributeContext_HttpRequest) {
			h.Headers["cookie"] = "__Host-muster-app=" + cookie + ",__Host-muster-app=" + cookie
		}),
		"cookie by case":  http(func(h *auth.AttributeContext_HttpRequest) { h.Headers["Cookie"] = "__Host-muster-app=" + cookie }),
		"too many fields": http(func(h *auth.AttributeContext_HttpRequest) { fill(h, maxHeaders) }),
	} {
		status, _, body := refused(t, check(t, client, with(secret), r))
		if status != 403 && status != 401 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	// Nothing at all is allowed, where the gateway has all applications, too.
	if a, err := newServer(decideBy, gateways(""), places()).Check(context.Background(), nil); err != nil {
		t.Error(err)
	} else {
		refused(t, a)
	}
}

func fill(h *auth.AttributeContext_HttpRequest, n int) {
	for i := range n {
		h.Headers["x-"+strings.Repeat("y", i%50)+string(rune('a'+i/50))] = "z"
	}
}

// A message above the limit is the one thing that gRPC answers before us.
func TestHuge(t *testing.T) {
	client := loopback(t)
	large := change(func(h *auth.AttributeContext_HttpRequest) {
		h.Headers["x-large"] = strings.Repeat("y", 500<<10)
		fill(h, 900)
	})
	allowed(t, check(t, client, with(secret), large))
	large.Attributes.Request.Http.Body = strings.Repeat("y", maxCheck)
	if answer, err := client.Check(with(secret), large); err == nil {
		t.Errorf("answered %v", answer)
	}
}

func TestUpgrade(t *testing.T) {
	client := loopback(t)
	for name, f := range map[string]func(*auth.AttributeContext_HttpRequest){
		"upgrade":           func(h *auth.AttributeContext_HttpRequest) { h.Headers["upgrade"] = "websocket" },
		"upgrade, empty":    func(h *auth.AttributeContext_HttpRequest) { h.Headers["upgrade"] = "" },
		"protocol":          func(h *auth.AttributeContext_HttpRequest) { h.Headers[":protocol"] = "websocket" },
		"method overridden": func(h *auth.AttributeContext_HttpRequest) { h.Headers["x-http-method-override"] = "DELETE" },
	} {
		r := asked("/restrict")
		f(r.Attributes.Request.Http)
		if _, _, body := refused(t, check(t, client, with("mgw_reads"), r)); !strings.Contains(body, `"code":"restricted"`) {
			t.Errorf("%s: %s", name, body)
		}
	}
}

// A look that takes longer than Envoy waits is a denial, if anybody still listens.
func TestDeadline(t *testing.T) {
	var called atomic.Bool
	slow := func(ctx context.Context, q *gateway.Question, c *gateway.Credential) *gateway.Answer {
		called.Store(true)
		<-ctx.Done()
		return gateway.NewAnswer(decide.Decision{Outcome: decide.Allow}, who())
	}
	s := newServer(slow, gateways(""), places())
	ctx, cancel := context.WithTimeout(metadata.NewIncomingContext(context.Background(), metadata.Pairs("authorization", "Bearer "+secret)), 20*time.Millisecond)
	defer cancel()
	answer, err := s.Check(ctx, asked("/allow"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, body := refused(t, answer); !strings.Contains(body, `"code":"timeout"`) || !called.Load() {
		t.Error(body)
	}
}

// A panic of ours, outside of the look, is a denial too.
func TestPanic(t *testing.T) {
	s := newServer(decideBy, func(context.Context, string) (*gateway.Credential, bool) { panic("a defect") }, places())
	answer, err := s.Check(metadata.NewIncomingContext(context.Background(), metadata.Pairs("authorization", "Bearer "+secret)), asked("/allow"))
	if err != nil {
		t.Fatal(err)
	}
	if status, headers, body := refused(t, answer); status != 503 || headers["cache-control"] != "no-store" || !strings.Contains(body, `"code":"internal"`) {
		t.Errorf("%d %v %s", status, headers, body)
	}
}

// By a socket of its own a gateway needs no secret, and there only.
func TestUnixSocket(t *testing.T) {
	by := func(id string) grpc.ServerOption {
		return grpc.UnaryInterceptor(func(ctx context.Context, r any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			return next(gateway.WithPeer(ctx, gateway.Peer{Gateway: id}), r)
		})
	}
	for id, ok := range map[string]bool{"g1": true, "g2": false} {
		l := listen(t, "unix", filepath.Join(t.TempDir(), "s"))
		client := serve(t, l, decideBy, "", insecure.NewCredentials(), by(id))
		answer := check(t, client, context.Background(), asked("/allow"))
		if ok {
			allowed(t, answer)
		} else {
			refused(t, answer)
		}
		// A bearer secret works there as well.
		allowed(t, check(t, client, with(secret), asked("/allow")))
	}
	plain := serve(t, listen(t, "unix", filepath.Join(t.TempDir(), "s")), decideBy, "", insecure.NewCredentials())
	refused(t, check(t, plain, context.Background(), asked("/allow")))
}

// authority is a test's own root with certificates for both sides.
func authority(t *testing.T, name string) (pool *x509.CertPool, issue func() tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	text, err := x509.CreateCertificate(rand.Reader, root, root, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(text)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(parsed)
	return pool, func() tls.Certificate {
		leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		text, err := x509.CreateCertificate(rand.Reader, leaf, parsed, &own.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		out := tls.Certificate{Certificate: [][]byte{text}, PrivateKey: own}
		if out.Leaf, err = x509.ParseCertificate(text); err != nil {
			t.Fatal(err)
		}
		return out
	}
}

func TestClientCertificate(t *testing.T) {
	pool, issue := authority(t, "root")
	gatewayOwn, other := issue(), issue()
	sum := sha256.Sum256(gatewayOwn.Leaf.RawSubjectPublicKeyInfo)
	for _, mode := range []tls.ClientAuthType{tls.VerifyClientCertIfGiven, tls.RequestClientCert} {
		server := credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{issue()}, ClientCAs: pool, ClientAuth: mode, MinVersion: tls.VersionTLS13})
		l := listen(t, "tcp", "127.0.0.1:0")
		dial := func(own ...tls.Certificate) credentials.TransportCredentials {
			return credentials.NewTLS(&tls.Config{Certificates: own, RootCAs: pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13})
		}
		client := serve(t, l, decideBy, hex.EncodeToString(sum[:]), dial(gatewayOwn), grpc.Creds(server))
		answer := check(t, client, context.Background(), asked("/allow"))
		if mode == tls.RequestClientCert { // shown, but verified by nobody
			refused(t, answer)
			continue
		}
		allowed(t, answer)
		for name, own := range map[string][]tls.Certificate{"another": {other}, "none": nil} {
			conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(dial(own...)))
			if err != nil {
				t.Fatal(err)
			}
			status, _, _ := refused(t, check(t, auth.NewAuthorizationClient(conn), context.Background(), asked("/allow")))
			if conn.Close(); status != 401 {
				t.Errorf("%s: %d", name, status)
			}
		}
	}
}
