package collectors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/attest/posture"
	"muster/platform"
)

// TestSshdFiles reads each captured configuration in both ways: as files, and
// as sshd itself printed what it makes of them.
func TestSshdFiles(t *testing.T) {
	for name, want := range map[string]sshAccess{
		"empty":           {password: true},
		"debian":          {password: true},
		"keys-only":       {ports: []uint16{2222}},
		"pam-asks":        {password: true},
		"challenge-off":   {},
		"root":            {root: true, ports: []uint16{2022, 2023}},
		"two-factors":     {},
		"password-listed": {password: true},
		"match-loosens":   {password: true},
		"match-root":      {root: true},
		"match-tightens":  {password: true},
	} {
		conf, err := os.ReadFile("testdata/sshd/" + name + ".conf")
		if err != nil {
			t.Fatal(err)
		}
		effective, err := os.ReadFile("testdata/sshd/" + name + ".effective")
		if err != nil {
			t.Fatal(err)
		}
		for _, live := range []bool{false, true} {
			m := remoteMachine(t, map[string]string{"etc/ssh/sshd_config": string(conf)})
			if live {
				m.Run = func(context.Context, string, ...string) ([]byte, error) { return effective, nil }
			}
			got, err := sshSettings(t.Context(), m)
			if err != nil || got.password != want.password || got.root != want.root {
				t.Errorf("%s, live %v: %+v, %v, want %+v", name, live, got, err, want)
			}
			for _, port := range want.ports {
				if !slices.Contains(got.ports, port) {
					t.Errorf("%s, live %v: ports %v, want %d among them", name, live, got.ports, port)
				}
			}
		}
	}
}

func remoteMachine(t *testing.T, files map[string]string) *Machine {
	t.Helper()
	m := patchesMachine(t, time.Hour, files, nil)
	m.Run = func(context.Context, string, ...string) ([]byte, error) { return nil, platform.ErrNoTool }
	return m
}

func TestSshdInclude(t *testing.T) {
	base := map[string]string{
		"etc/ssh/sshd_config":                 "Include /etc/ssh/sshd_config.d/*.conf\nPasswordAuthentication yes\nKbdInteractiveAuthentication no\n",
		"etc/ssh/sshd_config.d/50-first.conf": "PasswordAuthentication no\n",
		"etc/ssh/sshd_config.d/60-more.conf":  "PasswordAuthentication yes\n",
		"etc/ssh/sshd_config.d/99-not.bak":    "PermitRootLogin yes\n",
	}
	got, err := sshSettings(t.Context(), remoteMachine(t, base))
	if err != nil || got.password || got.root {
		t.Errorf("the first value stands: %+v, %v", got, err)
	}
	base["etc/ssh/sshd_config.d/40-match.conf"] = "Match User a\nPasswordAuthentication yes\n"
	if got, err = sshSettings(t.Context(), remoteMachine(t, base)); err != nil || !got.password {
		t.Errorf("an included Match: %+v, %v", got, err)
	}
	// A Match in one file does not reach into the next.
	base["etc/ssh/sshd_config.d/40-match.conf"] = "Match User a\nX11Forwarding no\n"
	if got, err = sshSettings(t.Context(), remoteMachine(t, base)); err != nil || got.password {
		t.Errorf("after an included Match: %+v, %v", got, err)
	}
	for name, conf := range map[string]string{
		"a file that includes itself": "Include sshd_config\n",
		"a folder with wild cards":    "Include /etc/*/x/*.conf\n",
	} {
		_, err := sshSettings(t.Context(), remoteMachine(t, map[string]string{"etc/ssh/sshd_config": conf}))
		if name == "a file that includes itself" && !errors.Is(err, errUnparsable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const socketTitle = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

func sockets(lines ...string) string {
	var b strings.Builder
	b.WriteString(socketTitle)
	for i, line := range lines {
		fmt.Fprintf(&b, "%4d: %s 00000000:00000000 00:00000000 00000000     0        0 1049 1 0000000000000000 100 0 0 10 0\n", i, line)
	}
	return b.String()
}

func listen(address string, port int) string {
	return fmt.Sprintf("%s:%04X 00000000:0000 0A", address, port)
}

const (
	any4, loop4 = "00000000", "0100007F"
	any6, loop6 = "00000000000000000000000000000000", "00000000000000000000000001000000"
	mapped      = "0000000000000000FFFF00000100007F"
)

func TestRemoteAccess(t *testing.T) {
	keys := "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
	for _, tt := range []struct {
		name       string
		tcp4, tcp6 []string
		sshd       string // "-": no settings
		state      posture.State
		reason     posture.Reason
		listening  []string
	}{
		{"nothing", nil, nil, "-", posture.Yes, "", nil},
		{"ssh with keys", []string{listen(any4, 22)}, nil, keys, posture.Yes, "", nil},
		{"ssh with passwords", []string{listen(any4, 22)}, nil, "", posture.No, posture.PasswordLogin, nil},
		{"ssh over IPv6 alone", nil, []string{listen(any6, 22)}, "", posture.No, posture.PasswordLogin, nil},
		{"ssh on loopback", []string{listen(loop4, 22)}, []string{listen(loop6, 22), listen(mapped, 22)}, "", posture.Yes, "", nil},
		{"ssh connected, not listening", []string{"00000000:0016 0200000A:9C40 01"}, nil, "", posture.Yes, "", nil},
		{"ssh elsewhere", []string{listen(any4, 2222)}, nil, "Port 2222\n", posture.No, posture.PasswordLogin, nil},
		{"ssh on 22 by a socket unit", []string{listen(any4, 22)}, nil, "Port 2222\n", posture.No, posture.PasswordLogin, nil},
		{"ssh for root", []string{listen(any4, 22)}, nil, keys + "PermitRootLogin yes\n", posture.No, posture.RootLogin, nil},
		{"another ssh server", []string{listen(any4, 22)}, nil, "-", posture.Unknown, posture.Unsupported, nil},
		{"rdp", []string{listen(any4, 3389)}, nil, keys, posture.No, posture.RemoteDesktop, []string{"rdp"}},
		{"vnc on one address", []string{listen("0200A8C0", 5901)}, nil, keys, posture.No, posture.RemoteDesktop, []string{"vnc"}},
		{"vnc on loopback", []string{listen(loop4, 5901)}, nil, keys, posture.Yes, "", nil},
		{"telnet", nil, []string{listen(any6, 23)}, keys, posture.No, posture.PasswordLogin, []string{"telnet"}},
		{"ssh on the port of rdp", []string{listen(any4, 3389)}, nil, keys + "Port 3389\n", posture.Yes, "", nil},
		{"other ports", []string{listen(any4, 631), listen(any4, 8080)}, nil, keys, posture.Yes, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{"proc/net/tcp": sockets(tt.tcp4...), "proc/net/tcp6": sockets(tt.tcp6...)}
			if tt.sshd != "-" {
				files["etc/ssh/sshd_config"] = tt.sshd
			}
			var c posture.Claims
			collectRemoteAccess(t.Context(), remoteMachine(t, files), &c)
			got := c.RemoteAccess
			if got.State != tt.state || got.Reason != tt.reason || !slices.Equal(got.Detail.Listening, tt.listening) {
				t.Errorf("got %+v, want %v %q %v", got, tt.state, tt.reason, tt.listening)
			}
		})
	}
}

func TestRemoteAccessUnread(t *testing.T) {
	var c posture.Claims
	m := remoteMachine(t, nil)
	collectRemoteAccess(t.Context(), m, &c)
	if c.RemoteAccess.State != posture.Unknown || c.RemoteAccess.Reason != posture.Unreadable {
		t.Errorf("no /proc: %+v", c.RemoteAccess)
	}
	m.Run = nil
	collectRemoteAccess(t.Context(), m, &c)
	if c.RemoteAccess.State != posture.Unknown || c.RemoteAccess.Reason != posture.NotThisRoot {
		t.Errorf("another root: %+v", c.RemoteAccess)
	}
}

func TestListeningHostile(t *testing.T) {
	for name, s := range map[string]string{
		"nothing":         "",
		"no title":        "   0: 00000000:0016 00000000:0000 0A\n",
		"short line":      socketTitle + "   0: 00000000:0016\n",
		"odd address":     socketTitle + "   0: 0000000:0016 00000000:0000 0A\n",
		"long address":    socketTitle + "   0: 0000000000:0016 00000000:0000 0A\n",
		"large port":      socketTitle + "   0: 00000000:10016 00000000:0000 0A\n",
		"no port":         socketTitle + "   0: 00000000 00000000:0000 0A\n",
		"too many":        socketTitle + strings.Repeat("   0: 00000000:0016 00000000:0000 01\n", maxSockets+1),
		"bytes, no words": "\x00\xff\xfe",
	} {
		if ports, err := parseListening([]byte(s)); !errors.Is(err, errUnparsable) {
			t.Errorf("%s: %v, %v", name, ports, err)
		}
	}
}
