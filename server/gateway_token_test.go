package server_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"muster/server"
	"muster/server/gateway"
	"muster/server/people"
	"muster/server/servertest"
)

// tokenOffice is a server with alice, who is signed in, at the wiki.
type tokenOffice struct {
	*servertest.Server
	t      *testing.T
	port   string
	client *http.Client
	alice  *servertest.Person
	cookie string // of the wiki
}

// TestGatewayTokens follows a token from the check that brought it to the end of the
// session that it is about.
func TestGatewayTokens(t *testing.T) {
	t.Parallel()
	o := openTokens(t)
	wiki := o.gateway(server.GatewayRequest{Name: "wiki", Apps: []string{"wiki"}, Dialect: "http", Audience: "https://wiki.example"})
	plain := o.gateway(server.GatewayRequest{Name: "plain", Apps: []string{"wiki"}, Dialect: "http"})
	other := o.gateway(server.GatewayRequest{Name: "other", Apps: []string{"*"}, Dialect: "http", Audience: "https://mail.example"})

	began := time.Now().Truncate(time.Second)
	status, token := o.check(wiki)
	if status != http.StatusOK || token == "" {
		t.Fatalf("the wiki's gateway: %d with the token %q", status, token)
	}
	if status, none := o.check(plain); status != http.StatusOK || none != "" {
		t.Errorf("a gateway without an audience: %d with the token %q", status, none)
	}
	one := o.session()
	c := o.verify(token)
	if c.Issuer != o.Config.PublicURL || c.Audience != "https://wiki.example" || c.Subject != "alice" || c.Session != one || c.App != "wiki" || c.Outcome != "allow" || c.ID == "" {
		t.Errorf("the token says %+v", c)
	}
	if life := c.Expires - c.IssuedAt; life <= 0 || life > 300 || time.Unix(c.IssuedAt, 0).Before(began) {
		t.Errorf("the token lives %d s, from %v", life, time.Unix(c.IssuedAt, 0))
	}

	if got := o.introspect(wiki, token); !got.Active || got.Subject != "alice" || got.Session != one || got.Expires != c.Expires {
		t.Errorf("introspection: %+v", got)
	}
	for what, got := range map[string]introspected{
		"another audience's gateway": o.introspect(other, token), "a gateway without an audience": o.introspect(plain, token),
		"half a token": o.introspect(wiki, token[:len(token)-4]), "another signature": o.introspect(wiki, token[:len(token)-8]+"AAAAAAAA"),
		"no token of ours": o.introspect(wiki, "e30.e30.AA"),
	} {
		if got != (introspected{}) {
			t.Errorf("%s: %+v, want inactive and nothing else", what, got)
		}
	}
	if status, _, body := o.ask("POST", gateway.PathIntrospection, "mgw_"+strings.Repeat("A", 43), o.host("id"), "token="+token, nil); status != http.StatusUnauthorized {
		t.Errorf("an unknown gateway: %d %s", status, body)
	}

	o.must("DELETE", "/sessions/"+one+"?why=test")
	if got := o.introspect(wiki, token); got != (introspected{}) {
		t.Errorf("after its session: %+v, want inactive", got)
	}
	if status, late := o.check(wiki); status != http.StatusUnauthorized || late != "" {
		t.Errorf("after the session the check is answered %d with the token %q", status, late)
	}
	o.verify(token) // offline nobody can know
}

func openTokens(t *testing.T) *tokenOffice {
	t.Helper()
	o := &tokenOffice{t: t}
	o.Server = servertest.Start(t, servertest.Named(), withPolicy(t, kindsPolicy, 60))
	o.client = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, o.Config.Listen)
		}},
	}
	t.Cleanup(o.client.CloseIdleConnections)
	_, o.port, _ = net.SplitHostPort(o.Config.Listen)
	o.Administrator()
	o.alice = o.Accepts(o.Invite(people.Invitation{Name: "alice"}))
	o.visit()
	return o
}

func (o *tokenOffice) host(name string) string { return name + ".muster.localhost:" + o.port }

// visit gets alice's browser a cookie of the wiki's host, as the redirects do.
func (o *tokenOffice) visit() {
	o.t.Helper()
	_, start, _ := o.ask("GET", "/.muster/start?back=/page", "", o.host("wiki"), "", nil)
	_, to, _ := strings.Cut(start.Get("Location"), o.Config.PublicURL)
	code, err := url.Parse(o.alice.Get(to).Header.Get("Location"))
	if err != nil || code.Host != o.host("wiki") {
		o.t.Fatalf("the way back leads to %v: %v", code, err)
	}
	_, finish, _ := o.ask("GET", code.RequestURI(), "", o.host("wiki"), "", map[string]string{"Cookie": "__Host-muster-flow=" + cookieOf(start, "__Host-muster-flow")})
	if o.cookie = cookieOf(finish, "__Host-muster-app"); o.cookie == "" || finish.Get("Location") != "/page" {
		o.t.Fatalf("the wiki's host got no cookie: %v", finish)
	}
}

func cookieOf(h http.Header, name string) string {
	for _, c := range (&http.Response{Header: h}).Cookies() {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// ask sends a request to a host of the server's.
func (o *tokenOffice) ask(method, path, secret, host, form string, header map[string]string) (int, http.Header, []byte) {
	o.t.Helper()
	r, err := http.NewRequest(method, "http://"+host+path, strings.NewReader(form))
	if err != nil {
		o.t.Fatal(err)
	}
	if secret != "" {
		r.Header.Set("Authorization", "Bearer "+secret)
	}
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	resp, err := o.client.Do(r)
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, body
}

// check asks for alice as a gateway does.
func (o *tokenOffice) check(secret string) (status int, token string) {
	o.t.Helper()
	status, h, _ := o.ask("GET", "/check/http/wiki", secret, o.host("id"), "", map[string]string{
		"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/page", "X-Forwarded-Host": o.host("wiki"), "X-Forwarded-For": "192.0.2.7",
		"Cookie": "__Host-muster-app=" + o.cookie,
	})
	return status, h.Get("X-Muster-Token")
}

// verify verifies a token as an application does that has nothing but the public
// keys.
func (o *tokenOffice) verify(token string) (claims gateway.TokenClaims) {
	o.t.Helper()
	_, _, body := o.ask("GET", gateway.PathJWKS, "", o.host("id"), "", nil)
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(body, &keys); err != nil {
		o.t.Fatal(err)
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		o.t.Fatal(err)
	}
	known := keys.Key(signed.Signatures[0].Protected.KeyID)
	if len(known) != 1 || !known[0].IsPublic() {
		o.t.Fatalf("%d public keys are called %q", len(known), signed.Signatures[0].Protected.KeyID)
	}
	payload, err := signed.Verify(known[0])
	if err != nil {
		o.t.Fatal(err)
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		o.t.Fatal(err)
	}
	return claims
}

// introspected is what matters of what a gateway hears of a token.
type introspected struct {
	Active  bool   `json:"active"`
	Subject string `json:"sub"`
	Session string `json:"sid"`
	Expires int64  `json:"exp"`
}

func (o *tokenOffice) introspect(secret, token string) (got introspected) {
	o.t.Helper()
	status, _, body := o.ask("POST", gateway.PathIntrospection, secret, o.host("id"), url.Values{"token": {token}}.Encode(), nil)
	if err := json.Unmarshal(body, &got); err != nil || status != http.StatusOK {
		o.t.Fatalf("introspection: %d %s", status, body)
	}
	return got
}

func (o *tokenOffice) gateway(q server.GatewayRequest) (secret string) {
	o.t.Helper()
	var made server.NewGateway
	if err := o.Control("POST", "/gateways", q, &made); err != nil {
		o.t.Fatal(err)
	}
	return made.Secret
}

// session is the id of alice's.
func (o *tokenOffice) session() string {
	o.t.Helper()
	var all []struct{ ID string }
	if err := o.Control("GET", "/sessions?user=alice", nil, &all); err != nil || len(all) != 1 {
		o.t.Fatalf("alice's sessions: %v, %v", all, err)
	}
	return all[0].ID
}

func (o *tokenOffice) must(method, path string) {
	o.t.Helper()
	if err := o.Control(method, path, nil, nil); err != nil {
		o.t.Fatal(err)
	}
}
