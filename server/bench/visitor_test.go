package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"

	"muster/server"
	"muster/server/gateway"
	"muster/server/people"
	"muster/server/servertest"
	"muster/server/verify"
)

// wikiHost is the application's, at the gateway's own port.
const wikiHost = "wiki.muster.localhost"

// visited is the real server in a process of its own, with alice, who signed in,
// whose browser is linked to her laptop by a real agent, and who opened the wiki.
type visited struct {
	srv     *servertest.Server
	pid     int
	cookie  string // of the wiki
	session string // id
	secret  string // of nginx's credential
	program string // of an AuthZEN credential
}

func newVisited(b *testing.B) *visited {
	b.Helper()
	srv := servertest.Launch(b, servertest.Named(), func(c *server.Config) {
		c.ReportEvery, c.Policy = 3600, "testdata/visitors.yaml"
	})
	v := &visited{srv: srv, pid: serverPID(b, srv.Config.DataDir)}
	laptop := srv.Laptop("laptop", "none", srv.Token(server.TokenRequest{Owner: "alice", MinLevel: verify.Software}))
	laptop.Env = []string{fmt.Sprintf("MUSTER_LINK_PORT=%d", srv.Config.LinkPort), fmt.Sprintf("MUSTER_LINK_USER=%d", os.Geteuid())}
	laptop.Enrol()
	laptop.Start()
	srv.Administrator()
	alice := srv.Accepts(srv.Invite(people.Invitation{Name: "alice"}))
	link(b, alice, laptop)
	v.cookie = visitWiki(b, srv, alice)
	v.secret = v.credential(b, "nginx")
	v.program = v.credential(b, "authzen")
	return v
}

func (v *visited) credential(b *testing.B, dialect string) string {
	b.Helper()
	var made server.NewGateway
	q := server.GatewayRequest{Name: dialect, Apps: []string{"wiki"}, Dialect: dialect}
	if err := v.srv.Control(http.MethodPost, "/gateways", q, &made); err != nil {
		b.Fatal(err)
	}
	return made.Secret
}

// link proves to the server which laptop a browser is on, by a muster: address.
func link(b *testing.B, who *servertest.Person, laptop *servertest.Laptop) {
	b.Helper()
	var ask struct{ Open string }
	r := who.JSON("/link/begin", map[string]string{"way": "app"})
	if err := json.Unmarshal([]byte(r.Body), &ask); err != nil || r.Status != http.StatusOK {
		b.Fatalf("asking for a link: %d %s", r.Status, r.Body)
	}
	out := laptop.Answer("y\n", "link", ask.Open, "--print")
	_, proof, _ := strings.Cut(strings.TrimSpace(out.Stdout), "#")
	id, value, ok := strings.Cut(proof, ".")
	if !ok {
		b.Fatalf("muster-agent link: %+v", out)
	}
	if r := who.JSON("/link/confirm", map[string]string{"id": id, "value": value}); r.Status != http.StatusOK {
		b.Fatalf("confirming the link: %d %s", r.Status, r.Body)
	}
}

// visitWiki follows a browser to the application's cookie.
func visitWiki(b *testing.B, srv *servertest.Server, who *servertest.Person) string {
	b.Helper()
	step := func(path string, cookies []*http.Cookie) *http.Response {
		r, err := http.NewRequest(http.MethodGet, "http://"+srv.Config.Listen+path, nil)
		if err != nil {
			b.Fatal(err)
		}
		r.Host = wikiHost
		for _, c := range cookies {
			r.AddCookie(c)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusSeeOther {
			b.Fatalf("%s: %s", path, resp.Status)
		}
		return resp
	}
	pathOf := func(location string) string {
		u, err := url.Parse(location)
		if err != nil {
			b.Fatal(err)
		}
		return u.RequestURI()
	}
	start := step("/.muster/start", nil)
	code := who.Get(pathOf(start.Header.Get("Location")))
	finish := step(pathOf(code.Header.Get("Location")), start.Cookies())
	for _, c := range finish.Cookies() {
		if c.Name == appCookie {
			return c.Value
		}
	}
	b.Fatal("the visit gave no cookie")
	return ""
}

// question is what the shipped snippet has nginx ask about a browser's request.
func (v *visited) question(address string) []byte {
	return fmt.Appendf(nil, "GET /check/nginx/wiki HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
		"X-Original-Method: GET\r\nX-Original-URI: /page\r\nX-Forwarded-Host: %s\r\nX-Forwarded-Proto: http\r\nX-Forwarded-For: 192.0.2.7\r\n"+
		"Cookie: theme=dark; %s=%s\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nUser-Agent: %s\r\n"+
		"Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\r\n", address, v.secret, wikiHost, appCookie, v.cookie, browser)
}

const browser = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"

// identity is what nginx is answered: the bare server answers the same. The session
// is learned from it.
func (v *visited) identity(b *testing.B) (list []header) {
	b.Helper()
	h := answered(b, v.question(v.srv.Config.Listen), v.srv.Config.Listen)
	if v.session = h.Get("X-Muster-Session"); v.session == "" || h.Get("X-Muster-Device") == "" {
		b.Fatalf("the answer names no session, or no laptop: %v", h)
	}
	for name, values := range h {
		list = append(list, header{name, values})
	}
	return list
}

// answered are the headers of a 200, but for those that net/http sets itself.
func answered(b *testing.B, request []byte, address string) http.Header {
	b.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(request); err != nil {
		b.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		b.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b.Fatalf("answered %s %v", resp.Status, resp.Header)
	}
	for _, own := range []string{"Date", "Content-Length"} {
		resp.Header.Del(own)
	}
	return resp.Header
}

// alike fails unless the bare server answers what muster answers.
func (v *visited) alike(b *testing.B, bare string) {
	b.Helper()
	ours, theirs := answered(b, v.question(v.srv.Config.Listen), v.srv.Config.Listen), answered(b, v.question(bare), bare)
	if !reflect.DeepEqual(ours, theirs) {
		b.Fatalf("muster answers %v, the bare handler %v", ours, theirs)
	}
}

// evaluation asks about alice's session as a program does.
func (v *visited) evaluation() string {
	return `{"subject":{"type":"session","id":"` + v.session + `"},"action":{"name":"use"},"resource":{"type":"app","id":"wiki"}}`
}

// post is a request with a JSON body.
func post(address, path, secret, body string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		path, address, secret, len(body), body)
}

// answerOf is what a program is answered.
func (v *visited) answerOf(b *testing.B) string {
	b.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://"+v.srv.Config.Listen+gateway.PathEvaluation, strings.NewReader(v.evaluation()))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+v.program)
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(body), `"decision":true`) {
		b.Fatalf("evaluation: %s %s %v", resp.Status, body, err)
	}
	return string(body)
}
