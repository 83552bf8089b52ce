package agent

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"muster/platform/seat"
)

// TestMain lets the test binary play a program of another account: it sends a
// request that a browser could send, or a line to the door, and prints what comes.
func TestMain(m *testing.M) {
	if to := os.Getenv("AGENT_TEST_SEND"); to != "" {
		network, address, _ := strings.Cut(to, " ")
		c, err := net.Dial(network, address)
		if err == nil {
			_, _ = io.Copy(c, os.Stdin) // who is refused may be cut off before
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
			var n int64
			if n, err = io.Copy(os.Stdout, c); n > 0 {
				err = nil // a refusal may come before all was read, and then a reset
			}
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// sendAs sends text as an account and returns the answer.
func sendAs(t *testing.T, uid int, network, address, text string) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"AGENT_TEST_SEND=" + network + " " + address}
	cmd.Stdin = strings.NewReader(text)
	if uid != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("as %d: %v\n%s", uid, err, out)
	}
	return string(out)
}

const strangeAccount = 65534

// needRoot skips where no other account can be played, and fails where nothing may
// be skipped.
func needRoot(t *testing.T) {
	t.Helper()
	const missing = "only root can be another account: run as root"
	if os.Getuid() == 0 {
		return
	}
	if os.Getenv("MUSTER_TEST_STRICT") == "1" {
		t.Fatal(missing)
	}
	t.Skip(missing)
}

// The real agent, the real look at who connects: the account that the setting
// names gets a confirmation, another one the refusal.
func TestLoopbackKnowsWhoConnects(t *testing.T) {
	r := newRig(t, nil)
	newLinkServer(r.server)
	r.settings.LinkUser = fmt.Sprint(os.Getuid())
	a := r.agent()
	a.TCPPeer = seat.TCPPeer
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	defer func() { cancel(); <-done }()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = a.servePages(ctx, l) }()
	host := l.Addr().String()
	p := &pages{host: host}
	request := p.browserRequest().text()

	if got := sendAs(t, os.Getuid(), "tcp", host, request); !strings.Contains(got, " 200 OK") || !strings.Contains(got, `{"confirm":"one-time"}`) {
		t.Errorf("the account of the setting: %s", got)
	}
	needRoot(t)
	got := sendAs(t, strangeAccount, "tcp", host, request)
	if !strings.Contains(got, " 403 ") || !strings.Contains(got, codeUser) || strings.Contains(got, "confirm") {
		t.Errorf("another account: %s", got)
	}
	got = sendAs(t, strangeAccount, "tcp", host, p.browserRequest().header("Origin", "https://evil.example").text())
	if !strings.Contains(got, " 403 ") || strings.Contains(got, codeUser) {
		t.Errorf("another account from another origin: %s", got)
	}
}

// The setting link_port opens the listener on 127.0.0.1 alone; without it nothing
// listens.
func TestLinkPort(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	r := newRig(t, nil)
	newLinkServer(r.server)
	r.settings.LinkPort = port
	r.peer = seat.Peer{User: "1000"}
	r.seated = []seat.Session{{ID: "3", User: "1000"}}
	stop := r.start()
	p := &pages{host: fmt.Sprintf("127.0.0.1:%d", port)}
	for range 100 {
		c, err := net.Dial("tcp", p.host)
		if err == nil {
			_ = c.Close()
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	resp := p.browserRequest().send(t, p.host)
	if body := bodyOf(t, resp); resp.StatusCode != http.StatusOK || body != `{"confirm":"one-time"}` {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 3 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) && f[1] != fmt.Sprintf("0100007F:%04X", port) {
			t.Errorf("listens on %s", f[1])
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", p.host); err == nil {
		_ = c.Close()
		t.Error("the port is open after the agent stopped")
	}
}

// The door, with the real look at who connects.
func TestDoorKnowsWhoConnects(t *testing.T) {
	needRoot(t)
	r := newRig(t, nil)
	l := newLinkServer(r.server)
	path := shortDir(t) + "/" + doorFile
	r.settings.doors = []string{path}
	r.seated = []seat.Session{}
	a := r.agent()
	a.UnixPeer = seat.UnixPeer
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for range 200 {
		if _, err := os.Stat(path); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	const question = `{"op":"offers"}` + "\n"
	if got := sendAs(t, 0, "unix", path, question); !strings.Contains(got, `"offers":[{`) {
		t.Errorf("root: %s", got)
	}
	if got := sendAs(t, strangeAccount, "unix", path, question); !strings.Contains(got, codeUser) {
		t.Errorf("another account: %s", got)
	}
	r.set(func() { r.seated = []seat.Session{{ID: "1", User: fmt.Sprint(strangeAccount)}} })
	if got := sendAs(t, strangeAccount, "unix", path, question); !strings.Contains(got, `"offers":[{`) {
		t.Errorf("who sits here: %s", got)
	}
	if len(l.asks) != 2 {
		t.Errorf("the server was asked %d times", len(l.asks))
	}
}
