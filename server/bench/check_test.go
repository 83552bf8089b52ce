package bench

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"muster/server"
	"muster/server/gateway"
	"muster/server/servertest"
	"muster/server/verify"
)

const wholeQuestion = `{"subject":{"type":"device","id":"%s"},"action":{"name":"use"},"resource":{"type":"app","id":"wiki"}}`

// checked is a server in this process with one device that may use the wiki.
type checked struct {
	srv    *server.Server
	device string
	secret string
}

func newChecked(b *testing.B) *checked {
	b.Helper()
	s := servertest.Start(b, func(c *server.Config) { c.ReportEvery = 3600 })
	token := s.Token(server.TokenRequest{Class: verify.ClassCorporate, Uses: 1, ExpiresS: 600, MinLevel: verify.Software})
	d, err := s.SoftDevice(token, "", nil)
	if err != nil {
		b.Fatal(err)
	}
	s.Stop()
	srv, err := server.New(context.Background(), s.Config, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { srv.Close() })
	made, err := srv.CreateGateway(context.Background(), server.GatewayRequest{Name: "bench", Apps: []string{"wiki"}})
	if err != nil {
		b.Fatal(err)
	}
	return &checked{srv: srv, device: d.ID, secret: made.Secret}
}

// BenchmarkCheckInProcess is the lookup that every dialect of a gateway ends in.
func BenchmarkCheckInProcess(b *testing.B) {
	c := newChecked(b)
	b.ReportAllocs()
	for b.Loop() {
		if !c.srv.Check(c.device, "wiki").Allowed() {
			b.Fatal("not allowed")
		}
	}
}

// BenchmarkCheckHTTP asks over kept-alive connections, beside a bare net/http
// handler that reads the same request and writes as many bytes.
func BenchmarkCheckHTTP(b *testing.B) {
	c := newChecked(b)
	body := fmt.Sprintf(wholeQuestion, c.device)
	answer := c.srv.Check(c.device, "wiki").Bytes()
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	})
	sideBySide(b,
		contender{"bare-handler", asking(b, bare, body, c.secret)},
		contender{"trust-check", asking(b, c.srv.Handler(), body, c.secret)},
	)
}

// asking serves a handler and returns one question to it.
func asking(b *testing.B, h http.Handler, body, secret string) func() error {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go func() { _ = s.Serve(l) }() // ends with Close
	b.Cleanup(func() { s.Close() })
	client := &http.Client{Transport: &http.Transport{}}
	return func() error {
		r, err := http.NewRequest(http.MethodPost, "http://"+l.Addr().String()+gateway.PathEvaluation, strings.NewReader(body))
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+secret)
		resp, err := client.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		reply, err := io.ReadAll(resp.Body)
		if err == nil && (resp.StatusCode != http.StatusOK || !strings.Contains(string(reply), `"decision":true`)) {
			err = fmt.Errorf("answered %s: %s", resp.Status, reply)
		}
		return err
	}
}
