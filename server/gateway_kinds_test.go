package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"muster/server"
	"muster/server/servertest"
)

// kindsPolicy has two applications, which open to whoever is signed in.
const kindsPolicy = `
apps:
  - {id: wiki, sensitivity: low, hosts: [wiki.muster.localhost]}
  - {id: mail, sensitivity: low, hosts: [mail.muster.localhost]}
require:
  - {id: known, that: user.name != '', otherwise: deny}
`

// told is what a gateway is told of a request of nobody, or of itself.
type told struct {
	status        int
	code, outcome string
}

func (a told) String() string { return fmt.Sprintf("%d %s %s", a.status, a.outcome, a.code) }

var (
	tellsStepUp    = told{http.StatusUnauthorized, "sign-in", "step_up"}
	tellsUnknown   = told{http.StatusUnauthorized, "gateway-unknown", "deny"}
	tellsDialect   = told{http.StatusForbidden, "dialect-wrong", "deny"}
	tellsNotTheirs = told{http.StatusForbidden, "app-not-yours", "deny"}
)

// asker asks about a page of an application in a dialect. A secret is shown where
// there is one; an error says that nobody answered.
type asker func(dialect, app, secret string) (told, error)

// kind is a way in which gateways come.
type kind struct {
	name    string
	request server.GatewayRequest
	ask     asker
	bears   bool  // a secret; else it is known by how it comes, whatever it shows
	wrong   asker // with another certificate, or none; nil: it goes by none
}

// gatewayOffice is the built server with every listener that it can have.
type gatewayOffice struct {
	*servertest.Server
	t      *testing.T
	folder string // of sockets
}

// TestGatewayKinds registers a gateway of each kind with the built server: it is
// answered, and nobody else is, until it is deleted.
func TestGatewayKinds(t *testing.T) {
	t.Parallel()
	o := &gatewayOffice{t: t, folder: filepath.Dir(servertest.File(t, "none", ""))}
	own := newPair(t, "id.muster.localhost")
	o.Server = servertest.Launch(t, withPolicy(t, kindsPolicy, 60), func(c *server.Config) {
		c.TLSCert, c.TLSKey = servertest.File(t, "cert.pem", own.cert), servertest.File(t, "key.pem", own.key)
		_, port, _ := net.SplitHostPort(c.Listen)
		c.PublicURL = "https://id.muster.localhost:" + port
		c.GatewayListen, c.EnvoyListen = freeAddress(t), freeAddress(t)
	})
	for _, k := range o.kinds() {
		t.Run(k.name, func(t *testing.T) { o.lives(t, k) })
	}
}

// lives is the life of a gateway.
func (o *gatewayOffice) lives(t *testing.T, k kind) {
	k.request.Name, k.request.Apps = k.name, []string{"wiki"}
	var made server.NewGateway
	if err := o.Control("POST", "/gateways", k.request, &made); err != nil {
		t.Fatal(err)
	}
	dialect, secret := k.request.Dialect, ""
	if k.bears {
		secret = made.Secret
	}
	is := func(what string, want told, ask asker, dialect, app, secret string) {
		t.Helper()
		if got, err := ask(dialect, app, secret); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", what, got, err, want)
		}
	}
	if k.request.Socket != "" {
		servertest.Wait(t, "the socket is open", func() bool { _, err := k.ask(dialect, "wiki", ""); return err == nil })
	}
	other := "traefik"
	for range 2 { // the second time from memory
		is("nobody", tellsStepUp, k.ask, dialect, "wiki", secret)
		is("another's application", tellsNotTheirs, k.ask, dialect, "mail", secret)
		is("an unknown application", tellsNotTheirs, k.ask, dialect, "payroll", secret)
		if dialect != "envoy" {
			is("another dialect's path", tellsDialect, k.ask, other, "wiki", secret)
		}
		if k.bears {
			is("a wrong secret", tellsUnknown, k.ask, dialect, "wiki", "mgw_"+strings.Repeat("A", 43))
			is("no secret", tellsUnknown, k.ask, dialect, "wiki", "")
		} else { // an Authorization of the client's own, which some gateways pass on
			is("a secret beside it", tellsStepUp, k.ask, dialect, "wiki", "mgw_"+strings.Repeat("A", 43))
		}
		if k.wrong != nil {
			is("a wrong credential", tellsUnknown, k.wrong, dialect, "wiki", "")
		}
	}
	var foreign server.NewGateway
	if err := o.Control("POST", "/gateways", server.GatewayRequest{Name: "foreign", Apps: []string{"*"}, Dialect: other}, &foreign); err != nil {
		t.Fatal(err)
	}
	want := tellsStepUp
	if k.bears {
		want = tellsDialect
	}
	is("another dialect's credential", want, k.ask, dialect, "wiki", foreign.Secret)

	if err := o.Control("DELETE", "/gateways/"+made.ID, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := k.ask(dialect, "wiki", secret); err == nil && got != tellsUnknown {
		t.Errorf("deleted: %v, want %v, or nobody who answers", got, tellsUnknown)
	} else if err != nil && k.request.Socket == "" {
		t.Errorf("deleted: %v", err)
	}
	if socket := k.request.Socket; socket != "" {
		servertest.Wait(t, "the socket is closed", func() bool {
			c, err := net.Dial("unix", socket)
			if err == nil {
				c.Close()
			}
			return err != nil
		})
	}
}

func (o *gatewayOffice) kinds() []kind {
	gate, stranger := newPair(o.t, "gate"), newPair(o.t, "gate") // the same names, another key
	socket, envoySocket := filepath.Join(o.folder, "g.sock"), filepath.Join(o.folder, "e.sock")
	https := func(address string, shows *pair) asker {
		config := &tls.Config{InsecureSkipVerify: true} // whom the server's own certificate names is not looked at here
		if shows != nil {
			config.Certificates = []tls.Certificate{shows.tls(o.t)}
		}
		return o.overHTTP("https://"+address, &http.Transport{TLSClientConfig: config})
	}
	byCertificate := https(o.Config.GatewayListen, gate)
	return []kind{
		{name: "bearer", request: server.GatewayRequest{Dialect: "nginx"}, ask: https(o.Config.Listen, nil), bears: true,
			wrong: https(o.Config.Listen, stranger)},
		{name: "certificate", request: server.GatewayRequest{Dialect: "caddy", Certificate: gate.cert}, ask: byCertificate,
			wrong: https(o.Config.GatewayListen, stranger)},
		{name: "certificate at the public listener", request: server.GatewayRequest{Dialect: "haproxy", Certificate: stranger.cert},
			ask: https(o.Config.GatewayListen, stranger), wrong: https(o.Config.Listen, stranger)},
		{name: "socket", request: server.GatewayRequest{Dialect: "http", Socket: socket}, ask: o.overHTTP("http://muster", &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", socket)
			}})},
		{name: "envoy", request: server.GatewayRequest{Dialect: "envoy"}, ask: o.overGRPC(o.Config.EnvoyListen), bears: true},
		{name: "envoy by a socket", request: server.GatewayRequest{Dialect: "envoy", Socket: envoySocket}, ask: o.overGRPC("unix:" + envoySocket)},
	}
}

// overHTTP asks as the gateways do that ask by HTTP; for the refusal in full, since
// nginx gets a status alone.
func (o *gatewayOffice) overHTTP(at string, way *http.Transport) asker {
	o.t.Cleanup(way.CloseIdleConnections)
	return func(dialect, app, secret string) (told, error) {
		r, err := http.NewRequest(http.MethodGet, at+"/check/"+dialect+"/"+app+"/refused", nil)
		if err != nil {
			return told{}, err
		}
		of := map[string]string{"nginx": "X-Original-"}[dialect]
		if of == "" {
			of = "X-Forwarded-"
		}
		for name, value := range map[string]string{of + "Method": "GET", of + "Uri": "/page", "X-Forwarded-Host": app + ".muster.localhost", "X-Forwarded-For": "192.0.2.7"} {
			r.Header.Set(name, value)
		}
		if secret != "" {
			r.Header.Set("Authorization", "Bearer "+secret)
		}
		resp, err := way.RoundTrip(r)
		if err != nil {
			return told{}, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return told{}, err
		}
		return readTold(resp.StatusCode, body)
	}
}

func readTold(status int, body []byte) (told, error) {
	var problem struct{ Code, Outcome string }
	if err := json.Unmarshal(body, &problem); err != nil {
		return told{}, fmt.Errorf("answer %d %q: %w", status, body, err)
	}
	return told{status, problem.Code, problem.Outcome}, nil
}

// overGRPC asks as Envoy does.
func (o *gatewayOffice) overGRPC(target string) asker {
	if !strings.HasPrefix(target, "unix:") {
		target = "passthrough:///" + target
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { conn.Close() })
	client := auth.NewAuthorizationClient(conn)
	return func(_, app, secret string) (told, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if secret != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+secret)
		}
		host := app + ".muster.localhost"
		answer, err := client.Check(ctx, &auth.CheckRequest{Attributes: &auth.AttributeContext{
			ContextExtensions: map[string]string{"app": app},
			Source: &auth.AttributeContext_Peer{Address: &core.Address{Address: &core.Address_SocketAddress{
				SocketAddress: &core.SocketAddress{Address: "192.0.2.7", PortSpecifier: &core.SocketAddress_PortValue{PortValue: 4711}}}}},
			Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{
				Method: "GET", Path: "/page", Host: host, Scheme: "https", Protocol: "HTTP/2",
				Headers: map[string]string{":method": "GET", ":path": "/page", ":authority": host, ":scheme": "https"},
			}},
		}})
		if err != nil {
			return told{}, err
		}
		denied := answer.GetDeniedResponse()
		if denied == nil || answer.GetStatus().GetCode() == 0 {
			return told{}, fmt.Errorf("nobody is allowed: %v", answer)
		}
		return readTold(int(denied.GetStatus().GetCode()), []byte(denied.GetBody()))
	}
}

// pair is a key with a certificate that it signed itself, in PEM.
type pair struct{ cert, key string }

func newPair(t *testing.T, name string) *pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return &pair{write("CERTIFICATE", der), write("PRIVATE KEY", private)}
}

func (p *pair) tls(t *testing.T) tls.Certificate {
	t.Helper()
	c, err := tls.X509KeyPair([]byte(p.cert), []byte(p.key))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// freeAddress is of this machine, and nobody listens there.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
