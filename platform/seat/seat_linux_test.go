package seat

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestMain lets the test binary play another account's program: it connects, and
// stays until its input ends.
func TestMain(m *testing.M) {
	if to := os.Getenv("SEAT_TEST_DIAL"); to != "" {
		network, address, _ := strings.Cut(to, " ")
		c, err := net.Dial(network, address)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		defer c.Close()
		fmt.Println(c.LocalAddr())
		_, _ = os.Stdin.Read(make([]byte, 1))
		return
	}
	os.Exit(m.Run())
}

// tree writes files below a new root; "-> x" makes a symbolic link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		err := error(nil)
		if to, ok := strings.CutPrefix(text, "-> "); ok {
			err = os.Symlink(to, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func status(name string, uid int) string {
	return fmt.Sprintf("Name:\t%s\nUid:\t%d\t%d\t%d\t%d\n", name, uid, uid, uid, uid)
}

func TestTCPPeerFixtures(t *testing.T) {
	client, server := ends()
	held := tableHead + row(clientEnd, serverEnd, "01", 1000, 555)
	for name, c := range map[string]struct {
		files     map[string]string
		forwarder string
		err       error // nil: the peer is user 1000
	}{
		"a browser": {files: map[string]string{
			"proc/net/tcp": held, "proc/9/status": status("firefox", 1000), "proc/9/fd/7": "-> socket:[555]",
			"proc/8/status": status("sshd-session", 1000), "proc/8/fd/7": "-> socket:[5550]"}},
		"sshd forwards a port": {files: map[string]string{
			"proc/net/tcp": held, "proc/9/status": status("sshd-session", 1000), "proc/9/fd/7": "-> socket:[555]"}, forwarder: "sshd-session"},
		"ssh -R forwards a port": {files: map[string]string{
			"proc/net/tcp": held, "proc/9/status": status("ssh", 1000), "proc/9/fd/7": "-> socket:[555]"}, forwarder: "ssh"},
		"shared with sshd": {files: map[string]string{
			"proc/net/tcp": held, "proc/8/status": status("bash", 1000), "proc/8/fd/0": "-> socket:[555]",
			"proc/9/status": status("sshd", 0), "proc/9/fd/7": "-> socket:[555]"}, forwarder: "sshd"},
		"nobody holds it in sight": {files: map[string]string{"proc/net/tcp": held, "proc/9/status": status("firefox", 1000)}},
		"nobody in sight, and an sshd of theirs": {files: map[string]string{
			"proc/net/tcp": held, "proc/9/status": status("firefox", 1000), "proc/8/status": status("sshd", 1000)}, forwarder: "sshd"},
		"nobody in sight, and an sshd of others": {files: map[string]string{
			"proc/net/tcp": held, "proc/9/status": status("firefox", 1000), "proc/8/status": status("sshd", 0)}},
		"by tcp6": {files: map[string]string{"proc/net/tcp": tableHead,
			"proc/net/tcp6": tableHead + row(clientEnd6, serverEnd6, "01", 1000, 555), "proc/9/status": status("x", 1000)}},
		"processes are hidden": {files: map[string]string{"proc/net/tcp": held, "proc/1/status": status("init", 0)}, err: ErrUnknown},
		"no such connection":   {files: map[string]string{"proc/net/tcp": tableHead, "proc/9/status": status("x", 1000)}, err: ErrUnknown},
		"no tables":            {files: map[string]string{"proc/9/status": status("x", 1000)}, err: ErrUnknown},
	} {
		p, err := tcpPeerBelow(tree(t, c.files), client, server)
		if c.err != nil {
			if !errors.Is(err, c.err) || p != (Peer{}) {
				t.Errorf("%s: %+v, %v; want %v", name, p, err, c.err)
			}
			continue
		}
		if err != nil || p != (Peer{"1000", c.forwarder}) {
			t.Errorf("%s: %+v, %v; want forwarder %q", name, p, err, c.forwarder)
		}
	}
	both := tree(t, map[string]string{"proc/net/tcp": held, "proc/net/tcp6": tableHead + row(clientEnd6, serverEnd6, "01", 0, 556), "proc/9/status": status("x", 1000)})
	if p, err := tcpPeerBelow(both, client, server); err == nil {
		t.Errorf("one connection in two tables is %+v", p)
	}
}

func TestActive(t *testing.T) {
	const dir = "run/systemd/sessions/"
	root := tree(t, map[string]string{
		dir + "3": sessionOf1000, dir + "3.ref": "", dir + ".#3abc": "UID=", dir + "c1": strings.Replace(sessionOf1000, "CLASS=user", "CLASS=greeter", 1),
		dir + "7": strings.Replace(sessionOf1000, "REMOTE=0", "REMOTE=1", 1),
	})
	got, err := activeBelow(root)
	if err != nil || len(got) != 1 || got[0] != (Session{"3", "1000"}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := activeBelow(t.TempDir()); !errors.Is(err, ErrUnknown) || got != nil {
		t.Errorf("without logind: %+v, %v", got, err)
	}
	for name, files := range map[string]map[string]string{
		"one is damaged": {dir + "3": sessionOf1000, dir + "4": "UID=1001\n"},
		"one is long":    {dir + "3": sessionOf1000, dir + "4": strings.Repeat("#\n", maxSessionFile)},
	} {
		if got, err := activeBelow(tree(t, files)); err == nil || got != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	many := make(map[string]string)
	for i := range maxSessions + 1 {
		many[fmt.Sprint(dir, i)] = sessionOf1000
	}
	if got, err := activeBelow(tree(t, many)); err == nil {
		t.Errorf("%d sessions were taken", len(got))
	}
}

// dial connects as an account and returns the address of its end.
func dial(t *testing.T, uid uint32, network, address string) string {
	t.Helper()
	return dialBy(t, "/proc/self/exe", uid, network, address)
}

func dialBy(t *testing.T, program string, uid uint32, network, address string) string {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Env = []string{"SEAT_TEST_DIAL=" + network + " " + address}
	if uid != uint32(os.Getuid()) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	line := make([]byte, 200)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(line[:n]))
}

// accounts are ourselves and, for root, another one.
func accounts() []uint32 {
	if os.Getuid() != 0 {
		return []uint32{uint32(os.Getuid())}
	}
	return []uint32{0, 65534}
}

func TestTCPPeerIsTheOneWhoConnects(t *testing.T) {
	for _, network := range []string{"127.0.0.1:0", "[::]:0"} { // the second: a mapped address on our side
		l, err := net.Listen("tcp", network)
		if err != nil {
			t.Logf("%s: %v", network, err)
			continue
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		server := netip.MustParseAddrPort("127.0.0.1:" + port)
		for _, uid := range accounts() {
			client := netip.MustParseAddrPort(dial(t, uid, "tcp", server.String()))
			p, err := TCPPeer(client, server)
			if err != nil || p.User != fmt.Sprint(uid) || p.Forwarder != "" {
				t.Errorf("%s as %d: %+v, %v", network, uid, p, err)
			}
			if p, err := TCPPeer(netip.AddrPortFrom(client.Addr(), client.Port()^1), server); err == nil {
				t.Errorf("a connection that is not there is %+v", p)
			}
		}
	}
}

func TestUnixPeerIsTheOneWhoConnects(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "seat")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(path, fs.FileMode(0o666)); err != nil {
		t.Fatal(err)
	}
	for _, uid := range accounts() {
		dial(t, uid, "unix", path)
		wantUnixPeer(t, l, Peer{User: fmt.Sprint(uid)})
	}
	// ssh -L laptop.sock:/run/muster-agent/agent.sock: sshd itself connects.
	for _, name := range []string{"sshd", "sshd-session"} {
		program := filepath.Join(dir, name)
		self, err := os.ReadFile("/proc/self/exe")
		if err == nil {
			err = os.WriteFile(program, self, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		dialBy(t, program, uint32(os.Getuid()), "unix", path)
		wantUnixPeer(t, l, Peer{User: fmt.Sprint(os.Getuid()), Forwarder: name})
	}
}

func wantUnixPeer(t *testing.T, l *net.UnixListener, want Peer) {
	t.Helper()
	c, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if p, err := UnixPeer(c); err != nil || p != want {
		t.Errorf("%+v, %v, want %+v", p, err, want)
	}
}
