package servertest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"muster/server/passkey/passkeytest"
)

// Person is somebody with an authenticator and a browser, of which it is what
// the server sees: cookies, and the headers by which browsers say where a request
// comes from. The server must be [Named]. It is used from one goroutine.
type Person struct {
	// Authenticator holds the passkeys.
	Authenticator *passkeytest.Authenticator
	// Cookies of muster's own host by name, as a thief would copy them.
	Cookies map[string]string
	// Address is where the browser is, for a server that trusts this machine as a
	// proxy; empty: here.
	Address string

	t      testing.TB
	origin string
	client *http.Client
}

// Reply is what a page or an endpoint answered.
type Reply struct {
	Status int
	Header http.Header
	Body   string
}

// Person makes somebody who has no passkey yet.
func (s *Server) Person() *Person {
	p := &Person{
		Authenticator: passkeytest.New(s.t, s.Config.PublicURL), Cookies: map[string]string{},
		t: s.t, origin: s.Config.PublicURL, client: localClient(),
	}
	s.t.Cleanup(p.client.CloseIdleConnections)
	return p
}

// Accepts makes somebody who registered a first passkey by an invitation's link,
// and is signed in.
func (s *Server) Accepts(link string) *Person {
	s.t.Helper()
	p := s.Person()
	if r := p.Accept(link); r.Status != http.StatusOK {
		s.t.Fatalf("accepting an invitation: %d %s", r.Status, r.Body)
	}
	return p
}

// Administrator makes the first administrator, who is signed in.
func (s *Server) Administrator() *Person {
	s.t.Helper()
	return s.Accepts(s.FirstLink())
}

// localClient takes names below .localhost for this machine, as browsers do, and
// follows no redirect.
func localClient() *http.Client {
	var d net.Dialer
	return &http.Client{
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if host, port, err := net.SplitHostPort(address); err == nil && strings.HasSuffix(host, ".localhost") {
				address = net.JoinHostPort("127.0.0.1", port)
			}
			return d.DialContext(ctx, network, address)
		}},
	}
}

// OtherBrowser is the same person in another browser, where nobody is signed in.
func (p *Person) OtherBrowser() *Person {
	other := *p
	other.Cookies, other.client = map[string]string{}, localClient()
	p.t.Cleanup(other.client.CloseIdleConnections)
	return &other
}

// Accept registers a passkey by an invitation's link.
func (p *Person) Accept(link string) Reply {
	p.t.Helper()
	_, secret, _ := strings.Cut(link, "#")
	return p.ceremony("/invitation", map[string]any{"secret": secret}, p.Authenticator.Register)
}

// SignIn signs in; the answer is 200 when that worked.
func (p *Person) SignIn() Reply {
	p.t.Helper()
	return p.ceremony("/sign-in", map[string]any{}, p.Authenticator.Assert)
}

// TrySignIn is SignIn where the server may be gone.
func (p *Person) TrySignIn() (Reply, error) {
	return p.try("/sign-in", map[string]any{}, p.Authenticator.Assert)
}

// Verify makes hands fresh.
func (p *Person) Verify() Reply {
	p.t.Helper()
	return p.ceremony("/verify", map[string]any{}, p.Authenticator.Assert)
}

// AddPasskey registers another one, in another authenticator of theirs.
func (p *Person) AddPasskey(in *passkeytest.Authenticator) Reply {
	p.t.Helper()
	return p.ceremony("/passkeys", map[string]any{}, in.Register)
}

// ceremony begins one below a path, has the authenticator answer, and finishes.
// A beginning that is refused is the answer.
func (p *Person) ceremony(path string, message map[string]any, answer func(options []byte) []byte) Reply {
	p.t.Helper()
	reply, err := p.try(path, message, answer)
	if err != nil {
		p.t.Fatal(err)
	}
	return reply
}

func (p *Person) try(path string, message map[string]any, answer func(options []byte) []byte) (Reply, error) {
	begun, err := p.tryJSON(path+"/begin", message)
	if err != nil || begun.Status != http.StatusOK {
		return begun, err
	}
	var reply struct {
		Options json.RawMessage `json:"options"`
	}
	if err := json.Unmarshal([]byte(begun.Body), &reply); err != nil {
		return begun, err
	}
	message["response"] = json.RawMessage(answer(reply.Options))
	return p.tryJSON(path+"/finish", message)
}

// SignedIn reports whether the browser's session is good.
func (p *Person) SignedIn() bool {
	p.t.Helper()
	return p.Get("/").Status == http.StatusOK
}

// Get asks for a page.
func (p *Person) Get(path string) Reply {
	p.t.Helper()
	return p.Do(http.MethodGet, path, "", nil)
}

// JSON posts to an endpoint that pages call.
func (p *Person) JSON(path string, message any) Reply {
	p.t.Helper()
	reply, err := p.tryJSON(path, message)
	if err != nil {
		p.t.Fatal(err)
	}
	return reply
}

func (p *Person) tryJSON(path string, message any) (Reply, error) {
	b, err := json.Marshal(message)
	if err != nil {
		return Reply{}, err
	}
	return p.Try(http.MethodPost, path, "application/json", b)
}

// Form posts a form as a page does.
func (p *Person) Form(path string, values url.Values) Reply {
	p.t.Helper()
	return p.Do(http.MethodPost, path, "application/x-www-form-urlencoded", []byte(values.Encode()))
}

// Do sends a request with the browser's cookies, as from a page of muster's own.
func (p *Person) Do(method, path, kind string, body []byte) Reply {
	p.t.Helper()
	reply, err := p.Try(method, path, kind, body)
	if err != nil {
		p.t.Fatal(err)
	}
	return reply
}

// Try is Do where the server may be gone.
func (p *Person) Try(method, path, kind string, body []byte) (Reply, error) {
	r, err := http.NewRequest(method, p.origin+path, bytes.NewReader(body))
	if err != nil {
		return Reply{}, err
	}
	for name, value := range p.Cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	r.Header.Set("User-Agent", "servertest")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if method != http.MethodGet {
		r.Header.Set("Origin", p.origin)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	if p.Address != "" {
		r.Header.Set("X-Forwarded-For", p.Address)
	}
	resp, err := p.client.Do(r)
	if err != nil {
		return Reply{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return Reply{}, err
	}
	p.keep(resp.Cookies())
	return Reply{resp.StatusCode, resp.Header, string(b)}, nil
}

// keep takes cookies as a browser does that holds muster's origin for secure; one
// that breaks the rules of its prefix is not taken (RFC 6265bis §4.1.3.2).
func (p *Person) keep(cookies []*http.Cookie) {
	for _, c := range cookies {
		host := !strings.HasPrefix(c.Name, "__Host-") || c.Secure && c.Path == "/" && c.Domain == ""
		switch {
		case !host:
		case c.MaxAge < 0 || c.Value == "":
			delete(p.Cookies, c.Name)
		default:
			p.Cookies[c.Name] = c.Value
		}
	}
}
