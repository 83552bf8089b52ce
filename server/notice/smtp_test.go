package notice

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// post is a mail server of this test's own: it speaks as much SMTP as net/smtp
// asks for, with a certificate under a root of its own.
type post struct {
	t     testing.TB
	addr  string
	roots *x509.CertPool
	tls   *tls.Config

	implicit, noStartTLS, noAuth bool
	hang                         bool   // says nothing
	endless                      bool   // greets for ever
	user, password               string // wants them when set

	mu     sync.Mutex
	refuse map[string]string // receiver: the answer
	mails  []mailed
	said   []string // every command, in order
}

type mailed struct{ from, to, text string }

func newPost(t testing.TB, change ...func(*post)) *post {
	t.Helper()
	p := &post{t: t, refuse: map[string]string{}}
	for _, f := range change {
		f(p)
	}
	p.certify("127.0.0.1")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = l.Addr().String()
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			wg.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return p
}

// certify makes a root, and under it a certificate for an address.
func (p *post) certify(ip string) {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(ip)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, &key.PublicKey, key)
	if err != nil {
		p.t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		p.t.Fatal(err)
	}
	p.roots = x509.NewCertPool()
	p.roots.AddCert(parsed)
	p.tls = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func (p *post) serve(conn net.Conn) {
	defer conn.Close()
	if p.implicit {
		conn = tls.Server(conn, p.tls)
	}
	r := bufio.NewReader(conn)
	say := func(s string) { _, _ = conn.Write([]byte(s + "\r\n")) }
	if p.hang {
		_, _ = r.ReadString('\n')
		return
	}
	for p.endless {
		if _, err := conn.Write([]byte(strings.Repeat("220-x", 4096))); err != nil {
			return
		}
	}
	say("220 post")
	secure := p.implicit
	var m mailed
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		p.mu.Lock()
		p.said = append(p.said, line)
		p.mu.Unlock()
		verb, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			say("250-post")
			if !secure && !p.noStartTLS {
				say("250-STARTTLS")
			}
			if p.user != "" && !p.noAuth {
				say("250-AUTH PLAIN")
			}
			say("250 8BITMIME")
		case "STARTTLS":
			say("220 go")
			conn = tls.Server(conn, p.tls)
			r, secure = bufio.NewReader(conn), true
		case "AUTH":
			_, token, _ := strings.Cut(rest, " ")
			b, _ := base64.StdEncoding.DecodeString(token)
			if string(b) != "\x00"+p.user+"\x00"+p.password {
				say("535 wrong: " + string(b))
				continue
			}
			say("235 in")
		case "MAIL":
			m = mailed{from: rest}
			say("250 ok")
		case "RCPT":
			m.to = strings.TrimSuffix(strings.TrimPrefix(rest, "TO:<"), ">")
			p.mu.Lock()
			answer := p.refuse[m.to]
			p.mu.Unlock()
			if answer != "" {
				say(answer)
				continue
			}
			say("250 ok")
		case "DATA":
			say("354 go")
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				m.text += strings.TrimPrefix(line, ".")
			}
			p.mu.Lock()
			p.mails = append(p.mails, m)
			p.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("500 what")
		}
	}
}

func (p *post) got() []mailed {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]mailed(nil), p.mails...)
}

func (p *post) commands() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.said, "\n")
}

func (p *post) answer(to, with string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse[to] = with
}

func (p *post) settings() *SMTP {
	s := &SMTP{Address: p.addr, From: "muster <muster@muster.example>", User: p.user, Password: Secret(p.password), Roots: p.roots}
	if p.implicit {
		s.TLS = "tls"
	}
	return s
}
