//go:build linux

package gateway_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"muster/server/gateway"
)

// socket asks for a WebSocket with a decision, and leaves the connection open.
func (l *live) socket(t *testing.T, addr, decision string, upgrade ...string) (net.Conn, *bufio.Reader, *http.Response) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, "GET /socket HTTP/1.1\r\nHost: "+hostAt(addr)+"\r\nCookie: "+cookie(decision)+"\r\nConnection: Upgrade\r\n"+
		strings.Join(upgrade, "\r\n")+"\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	reader := bufio.NewReader(conn)
	r, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatalf("%s with %s: %v", upgrade, decision, err)
	}
	return conn, reader, r
}

// echo sends a line through the socket and reads it back.
func echo(t *testing.T, conn net.Conn, reader *bufio.Reader, line string) {
	t.Helper()
	_, _ = io.WriteString(conn, line+"\n")
	if got, err := reader.ReadString('\n'); err != nil || got != line+"\n" {
		t.Fatalf("through the socket came %q, %v", got, err)
	}
}

const webSocket = "Upgrade: websocket"

// WebSockets open with an allow and in no other case. One that is open stays open
// when trust ends: snippets/README.md says so, and how to bound it.
func TestLiveSockets(t *testing.T) {
	liveGateways(t, func(t *testing.T, l *live) {
		addr := l.at[restricts]
		conn, reader, r := l.socket(t, addr, "allow", webSocket)
		if r.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("allowed: %s", r.Status)
		}
		echo(t, conn, reader, "one")
		got, questions := l.app.take(), l.muster.takeAsked()
		if len(got) != 1 || len(questions) != 1 || !questions[0].question.Request.Upgrade {
			t.Fatalf("%d requests, %+v", len(got), questions)
		}
		l.sound(t, "a socket", got, questions)

		for _, decision := range []string{"deny", "step_up", "restrict", "nobody"} {
			if _, _, r := l.socket(t, addr, decision, webSocket); r.StatusCode < 300 || len(l.app.take()) != 0 {
				t.Errorf("%s: %s", decision, r.Status)
			}
		}
		// Other protocols than WebSocket would be a tunnel for requests that nobody checks.
		for _, upgrade := range [][]string{
			{"Upgrade: h2c"}, {"Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"}, {"Upgrade: TLS/1.0"}, {"Upgrade: websocket, h2c"}, {"Upgrade: h2c, websocket"},
			{webSocket, "Upgrade: h2c"}, {"Upgrade: h2c", webSocket}, {"Upgrade: websocketx"}, {"Upgrade: WebSocket/13"}, {"Upgrade: "},
		} {
			l.muster.takeAsked()
			_, _, r := l.socket(t, addr, "allow", upgrade...)
			got := l.app.take()
			l.sound(t, strings.Join(upgrade, "; "), got, l.muster.takeAsked())
			if r.StatusCode == http.StatusSwitchingProtocols && !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
				t.Errorf("%s: %s to %s", upgrade, r.Status, r.Header.Get("Upgrade"))
			}
		}
		_ = l.muster.server.Close()
		echo(t, conn, reader, "two")
	})
}

// An idle socket ends at the limit that the snippet names. Caddy 2.6 has none.
func TestLiveSocketLimit(t *testing.T) {
	for dialect, limit := range map[gateway.Dialect][2]string{
		gateway.Nginx:   {"proxy_read_timeout 60s;", "proxy_read_timeout 1s;"},
		gateway.HAProxy: {"timeout tunnel 60s", "timeout tunnel 1s"},
	} {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			l := newLive(t, dialect)
			l.edit = func(snippet, _ string) string {
				if !strings.Contains(snippet, limit[0]) {
					t.Errorf("the snippet has no %s", limit[0])
				}
				return strings.Replace(snippet, limit[0], limit[1], 1)
			}
			addr := l.start(t, installed(t, dialect), plain)
			conn, reader, r := l.socket(t, addr, "allow", webSocket)
			if r.StatusCode != http.StatusSwitchingProtocols {
				t.Fatal(r.Status)
			}
			echo(t, conn, reader, "one")
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			if _, err := reader.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("an idle socket after its limit: %v", err)
			}
		})
	}
}
