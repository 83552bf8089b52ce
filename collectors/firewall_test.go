package collectors

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/attest/posture"
	"muster/platform"
)

// firewallMachine answers nft, iptables-save and the others from captured
// files; a tool without a file is not installed. Files given by path are the
// tree.
func firewallMachine(t *testing.T, answers, files map[string]string) *Machine {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := NewTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	return &Machine{
		Tree: tree,
		Now:  func() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) },
		Run: func(_ context.Context, name string, _ ...string) ([]byte, error) {
			file, ok := answers[name]
			if !ok {
				return nil, platform.ErrNoTool
			}
			return os.ReadFile(filepath.Join("testdata", "firewall", file))
		},
	}
}

func firewallOf(t *testing.T, m *Machine) posture.Of[posture.Firewall] {
	t.Helper()
	var c posture.Claims
	collectFirewall(t.Context(), m, &c)
	return c.Firewall
}

func TestFirewallNft(t *testing.T) {
	for _, tt := range []struct {
		file   string
		state  posture.State
		reason posture.Reason
		input  string
	}{
		{"empty", posture.No, posture.NoFirewall, "accept"},
		{"debian-default", posture.No, posture.NoDefaultDeny, "accept"},
		{"drop-policy", posture.Yes, "", "drop"},
		{"reject-at-end", posture.Yes, "", "reject"},
		{"accept-first", posture.No, posture.NoDefaultDeny, "accept"},
		{"accept-new", posture.No, posture.NoDefaultDeny, "accept"},
		{"accept-network-card", posture.No, posture.NoDefaultDeny, "accept"},
		{"accept-most-ports", posture.No, posture.NoDefaultDeny, "accept"},
		{"accept-tcp-only", posture.No, posture.NoDefaultDeny, "accept"},
		{"accept-everybody", posture.No, posture.NoDefaultDeny, "accept"},
		{"accept-set", posture.Yes, "", "drop"},
		{"accept-set-of-all", posture.No, posture.NoDefaultDeny, "accept"},
		{"ipv4-only", posture.No, posture.NoDefaultDeny, "accept"},
		{"both-families", posture.Yes, "", "drop"},
		{"ipv6-let-in", posture.No, posture.NoDefaultDeny, "accept"},
		{"jump", posture.Yes, "", "drop"},
		{"jump-returns", posture.No, posture.NoDefaultDeny, "accept"},
		{"jump-some", posture.No, posture.NoDefaultDeny, "accept"},
		{"goto-accepts", posture.No, posture.NoDefaultDeny, "accept"},
		{"card-returns", posture.No, posture.NoDefaultDeny, "accept"},
		{"vmap", posture.Yes, "", "drop"},
		{"vmap-opens", posture.No, posture.NoDefaultDeny, "accept"},
		{"two-chains", posture.Yes, "", "drop"},
		// nft 1.0.6 prints nonsense for the flag, so that it cannot be judged.
		{"dormant", posture.Unknown, posture.Unsupported, ""},
		{"other-hooks", posture.No, posture.NoFirewall, "accept"},
		{"some-drops", posture.No, posture.NoDefaultDeny, "accept"},
		{"fail2ban", posture.No, posture.NoDefaultDeny, "accept"},
		{"limit-accepts", posture.No, posture.NoDefaultDeny, "accept"},
		{"not-loopback", posture.Yes, "", "drop"},
		{"libvirt", posture.No, posture.NoFirewall, "accept"},
	} {
		t.Run(tt.file, func(t *testing.T) {
			m := firewallMachine(t, map[string]string{"nft": "nft-" + tt.file + ".json"}, nil)
			got := firewallOf(t, m)
			if got.State != tt.state || got.Reason != tt.reason || got.Detail.DefaultInput != tt.input {
				t.Errorf("got %v %q %q, want %v %q %q", got.State, got.Reason, got.Detail.DefaultInput, tt.state, tt.reason, tt.input)
			}
		})
	}
}

func TestFirewalld(t *testing.T) {
	for _, tt := range []struct {
		file   string
		state  posture.State
		reason posture.Reason
	}{
		{"public", posture.Yes, ""},
		{"trusted", posture.No, posture.NoDefaultDeny},
		{"card-trusted", posture.No, posture.NoDefaultDeny},
		{"workstation", posture.No, posture.NoDefaultDeny},
	} {
		t.Run(tt.file, func(t *testing.T) {
			m := firewallMachine(t, map[string]string{
				"nft": "firewalld-" + tt.file + ".json", "firewall-cmd": "firewalld-" + tt.file + ".state",
			}, map[string]string{"etc/firewalld/firewalld.conf": ""})
			got := firewallOf(t, m)
			if got.State != tt.state || got.Reason != tt.reason || got.Detail.Manager != "firewalld" || got.Detail.ManagerActive != posture.Yes {
				t.Errorf("got %+v, want %v %q", got, tt.state, tt.reason)
			}
		})
	}
}

func TestFirewallIptables(t *testing.T) {
	for _, tt := range []struct {
		file   string
		state  posture.State
		reason posture.Reason
	}{
		{"laptop", posture.Yes, ""},
		{"reject-at-end", posture.Yes, ""},
		{"v4-only", posture.No, posture.NoDefaultDeny},
		{"all-local", posture.No, posture.NoDefaultDeny},
		{"unknown-match", posture.Unknown, posture.Unsupported},
		{"docker", posture.No, posture.NoDefaultDeny},
		{"libvirt", posture.No, posture.NoDefaultDeny},
	} {
		t.Run("nft "+tt.file, func(t *testing.T) {
			name := "iptables-nft-" + tt.file
			m := firewallMachine(t, map[string]string{"nft": name + ".json", "iptables-save": name + ".v4", "ip6tables-save": name + ".v6"}, nil)
			got := firewallOf(t, m)
			if got.State != tt.state || got.Reason != tt.reason {
				t.Errorf("got %v %q, want %v %q", got.State, got.Reason, tt.state, tt.reason)
			}
		})
		t.Run("legacy "+tt.file, func(t *testing.T) {
			name := "iptables-legacy-" + tt.file
			m := firewallMachine(t, map[string]string{"nft": "nft-empty.json", "iptables-save": name + ".v4", "ip6tables-save": name + ".v6"},
				map[string]string{"proc/net/ip_tables_names": "filter\n"})
			got := firewallOf(t, m)
			if got.State != tt.state || got.Reason != tt.reason {
				t.Errorf("got %v %q, want %v %q", got.State, got.Reason, tt.state, tt.reason)
			}
		})
	}
}

func TestUfw(t *testing.T) {
	conf := map[string]string{"etc/ufw/ufw.conf": "# a comment\nENABLED=yes\n", "etc/default/ufw": "IPV6=yes\n"}
	all := map[string]string{"nft": "ufw-default.json", "iptables-save": "ufw-default.v4", "ip6tables-save": "ufw-default.v6", "ufw": "ufw-default.status"}
	with := func(from map[string]string, kind string) map[string]string {
		m := map[string]string{}
		for tool, file := range from {
			m[tool] = strings.Replace(file, "ufw-default", "ufw-"+kind, 1)
		}
		return m
	}
	only := func(tool string) map[string]string { return map[string]string{tool: all[tool]} }
	for _, tt := range []struct {
		name           string
		answers, files map[string]string
		state          posture.State
		reason         posture.Reason
	}{
		{"default", all, conf, posture.Yes, ""},
		// With IPV6=no ufw drops all IPv6, which its status does not tell.
		{"IPv6 left out", with(all, "no-ipv6"), conf, posture.Yes, ""},
		{"incoming allowed", with(all, "allow-incoming"), conf, posture.No, posture.NoDefaultDeny},
		{"rules that nft cannot show", only("nft"), conf, posture.Unknown, posture.NoTool},
		{"status alone", only("ufw"), conf, posture.Yes, ""},
		{"status alone, IPv6 open", only("ufw"), map[string]string{"etc/ufw/ufw.conf": "ENABLED=yes\n", "etc/default/ufw": "IPV6=no\n"}, posture.Unknown, posture.NoTool},
		{"enabled but stopped", map[string]string{"ufw": "ufw-inactive.status"}, conf, posture.Unknown, posture.NoTool},
		{"not enabled", only("ufw"), map[string]string{"etc/ufw/ufw.conf": "ENABLED=no\n"}, posture.Unknown, posture.NoTool},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := firewallOf(t, firewallMachine(t, tt.answers, tt.files))
			if got.State != tt.state || got.Reason != tt.reason {
				t.Errorf("got %+v, want %v %q", got, tt.state, tt.reason)
			}
		})
	}
}

// TestFirewallIPv6Off: rules for IPv4 alone are enough only where IPv6 is known
// to be off.
func TestFirewallIPv6Off(t *testing.T) {
	lo := "00000000000000000000000000000001 01 80 10 80       lo\n"
	off := map[string]string{"proc/net/if_inet6": lo, "proc/sys/net/ipv6/conf/all/disable_ipv6": "1\n", "proc/sys/net/ipv6/conf/default/disable_ipv6": "1\n"}
	with := func(name, content string) map[string]string {
		files := map[string]string{}
		for k, v := range off {
			files[k] = v
		}
		files[name] = content
		return files
	}
	for _, tt := range []struct {
		name  string
		files map[string]string
		state posture.State
	}{
		{"not known", nil, posture.No},
		{"no IPv6 in the kernel", map[string]string{"proc/net/dev": ""}, posture.Yes},
		{"switched off", off, posture.Yes},
		{"an address is left", with("proc/net/if_inet6", lo+"fe800000000000005054 02 40 20 80 wlan0\n"), posture.No},
		{"new cards have it", with("proc/sys/net/ipv6/conf/default/disable_ipv6", "0\n"), posture.No},
		{"garbage", with("proc/net/if_inet6", "\n"), posture.No},
	} {
		m := firewallMachine(t, map[string]string{"nft": "nft-ipv4-only.json"}, tt.files)
		if got := firewallOf(t, m); got.State != tt.state {
			t.Errorf("%s: %v, want %v", tt.name, got.State, tt.state)
		}
	}
}

// TestFirewallUnread: each way of not knowing has its own reason, and none of
// them is an answer.
func TestFirewallUnread(t *testing.T) {
	denied := &platform.ExitError{Tool: "/usr/sbin/nft", Code: 1, Stderr: "Operation not permitted (you must be root)"}
	for _, tt := range []struct {
		name   string
		out    string
		err    error
		files  map[string]string
		state  posture.State
		reason posture.Reason
	}{
		{"not root", "", denied, nil, posture.Unknown, posture.Permission},
		{"hung", "", platform.ErrTimeout, nil, posture.Unknown, posture.Timeout},
		{"broken", "", &platform.ExitError{Code: 1, Stderr: "netlink: Error"}, nil, posture.Unknown, posture.Unreadable},
		{"garbage", "table inet filter {", nil, nil, posture.Unknown, posture.Unparsable},
		{"nothing", "", nil, nil, posture.Unknown, posture.Unparsable},
		{"no tool", "", platform.ErrNoTool, nil, posture.Unknown, posture.NoTool},
		{"no tool, and nothing to ask", "", platform.ErrNoTool, map[string]string{
			"proc/sys/kernel/osrelease": "6.1.0-13-amd64\n", "proc/modules": "xt_owner 1 0 - Live 0\n",
			"lib/modules/6.1.0-13-amd64/modules.builtin": "kernel/net/ipv4/tcp_cubic.ko\n",
		}, posture.No, posture.NoFirewall},
		{"no tool, but the module is loaded", "", platform.ErrNoTool, map[string]string{
			"proc/sys/kernel/osrelease": "6.1.0-13-amd64\n", "proc/modules": "nf_tables 1 0 - Live 0\n",
			"lib/modules/6.1.0-13-amd64/modules.builtin": "kernel/net/ipv4/tcp_cubic.ko\n",
		}, posture.Unknown, posture.NoTool},
	} {
		m := firewallMachine(t, nil, tt.files)
		m.Run = func(_ context.Context, name string, _ ...string) ([]byte, error) {
			if name == "nft" {
				return []byte(tt.out), tt.err
			}
			return nil, platform.ErrNoTool
		}
		got := firewallOf(t, m)
		if got.State != tt.state || got.Reason != tt.reason {
			t.Errorf("%s: %v %q, want %v %q", tt.name, got.State, got.Reason, tt.state, tt.reason)
		}
	}
	m := firewallMachine(t, nil, nil)
	m.Run = nil
	if got := firewallOf(t, m); got.State != posture.Unknown || got.Reason != posture.NotThisRoot {
		t.Errorf("another root: %v %q", got.State, got.Reason)
	}
}
