package snippets_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/encoding/protojson"

	"muster/server/gateway"
	"muster/server/gateway/snippets"
)

// dialects are all that Render knows.
var dialects = []string{"nginx", "caddy", "haproxy", snippets.HAProxyLua, "traefik", "envoy"}

func sample() snippets.Values {
	return snippets.Values{
		Muster: "https://id.corp.example", App: "wiki", Host: "wiki.corp.example", Upstream: "10.0.0.5:8080",
		SecretFile: "/etc/muster/gateway-wiki", CAFile: "/etc/muster/ca.pem",
	}
}

func render(t *testing.T, dialect string, v snippets.Values) string {
	t.Helper()
	text, err := snippets.Render(dialect, v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Every snippet names its application, overwrites every identity header, and has no
// blank that nobody filled.
func TestRender(t *testing.T) {
	plain := sample()
	plain.Muster, plain.CAFile, plain.Listen, plain.Host = "http://127.0.0.1:8080", "", "127.0.0.1:80", "wiki.localhost:8000"
	for _, dialect := range dialects {
		for _, v := range []snippets.Values{sample(), plain} {
			text := render(t, dialect, v)
			for _, wrong := range []string{"{{", "<no value>", "<nil>"} {
				if strings.Contains(text, wrong) {
					t.Errorf("%s holds %s", dialect, wrong)
				}
			}
			for _, h := range gateway.IdentityHeaders() {
				if dialect != "haproxy" && !strings.Contains(strings.ToLower(text), strings.ToLower(h)) {
					t.Errorf("%s does not know %s", dialect, h)
				}
			}
			if slices.Contains([]string{"nginx", "caddy", "traefik"}, dialect) && !strings.Contains(text, "/check/"+dialect+"/wiki") {
				t.Errorf("%s does not ask about the application", dialect)
			}
		}
	}
	if _, err := snippets.Render("apache", sample()); err == nil {
		t.Error("a gateway without a snippet has one")
	}
}

// haproxy.cfg overwrites nothing by itself: muster.lua does, and nothing passes
// without it.
func TestHAProxyNeedsItsScript(t *testing.T) {
	text := render(t, "haproxy", sample())
	_, after, found := strings.Cut(text, "http-request lua.muster wiki\n")
	if !found || !strings.HasPrefix(strings.TrimSpace(after), "http-request deny deny_status 503 unless { var(txn.muster) -m str allowed }") {
		t.Error("a request can pass without the script's word")
	}
}

// A value that could end a line, a quote or a block of a configuration is refused,
// in every place.
func TestRenderRefuses(t *testing.T) {
	places := map[string]func(*snippets.Values) *string{
		"muster": func(v *snippets.Values) *string { return &v.Muster }, "app": func(v *snippets.Values) *string { return &v.App },
		"host": func(v *snippets.Values) *string { return &v.Host }, "upstream": func(v *snippets.Values) *string { return &v.Upstream },
		"secret": func(v *snippets.Values) *string { return &v.SecretFile }, "ca": func(v *snippets.Values) *string { return &v.CAFile },
		"lua": func(v *snippets.Values) *string { return &v.LuaFile }, "checks": func(v *snippets.Values) *string { return &v.Checks }, "listen": func(v *snippets.Values) *string { return &v.Listen },
	}
	for place, at := range places {
		for _, add := range []string{" ", "\n", ";", "{", "}", "\"", "'", "`", "$host", "#", "\\", "\x00", "é", "%[src]", "*", "..", "/../x", "\t", "@", "?", "|", "&", "<", "{{.App}}", "$(id)"} {
			for _, dialect := range dialects {
				v := sample()
				v.LuaFile, v.Listen, v.Checks = "/etc/haproxy/muster.lua", "10.0.0.1:80", "https://id.corp.example:8444"
				base := *at(&v)
				for _, bad := range []string{base + add, add + base, base[:len(base)/2] + add + base[len(base)/2:]} {
					*at(&v) = bad
					if _, err := snippets.Render(dialect, v); err == nil && !strings.Contains(bad, "..") {
						t.Errorf("%s: %s %q is taken", dialect, place, bad)
					}
				}
			}
		}
	}
	for place, list := range map[string][]string{
		"muster":   {"", "id.corp.example", "ftp://id.corp.example", "https://", "https://id.corp.example/", "https://a:b@id.corp.example", "https://id.corp.example:", "https://id.corp.example:0", "HTTPS://id.corp.example"},
		"app":      {"", "Wiki", "-wiki", "a/b", "..", "*", strings.Repeat("a", 64)},
		"host":     {"", ".corp.example", "wiki..example", "wiki:", "wiki:0", "wiki:99999999", "*.corp.example"},
		"upstream": {"", "10.0.0.5", "http://10.0.0.5:80", ":80"},
		"secret":   {"", "secret", "/", "/etc/../secret", "/etc//secret", "/etc/secret/"},
		"listen":   {"80", "10.0.0.1", "[::1]:80"},
	} {
		for _, bad := range list {
			v := sample()
			*places[place](&v) = bad
			if _, err := snippets.Render("nginx", v); err == nil {
				t.Errorf("%s %q is taken", place, bad)
			}
		}
	}
}

// Envoy's own schema takes the whole bootstrap: a misspelt field is an error.
func TestEnvoySchema(t *testing.T) {
	plain := sample()
	plain.Muster, plain.CAFile, plain.Listen = "http://127.0.0.1:8080", "", "127.0.0.1:80"
	for _, v := range []snippets.Values{sample(), plain} {
		text := render(t, "envoy", v)
		for range 2 {
			raw, err := yaml.YAMLToJSON([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			var b bootstrap.Bootstrap
			err = protojson.Unmarshal(raw, &b)
			if strings.Contains(text, "failure_mode_allowed") {
				if err == nil {
					t.Error("a misspelt field is taken")
				}
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := b.ValidateAll(); err != nil {
				t.Fatal(err)
			}
			text = strings.Replace(text, "failure_mode_allow:", "failure_mode_allowed:", 1)
		}
	}
}

// The Traefik snippet has the members that Traefik's dynamic configuration has, and
// the two that keep it closed.
func TestTraefikShape(t *testing.T) {
	var c struct {
		HTTP struct {
			Routers map[string]struct {
				Rule, Service string
				Priority      int
				EntryPoints   []string       `yaml:"entryPoints"`
				TLS           map[string]any `yaml:"tls"`
				Middlewares   []string
			}
			Middlewares map[string]struct {
				Headers struct {
					Custom map[string]string `yaml:"customRequestHeaders"`
				}
				Forward *struct {
					Address   string
					Trust     *bool    `yaml:"trustForwardHeader"`
					Request   []string `yaml:"authRequestHeaders"`
					Response  []string `yaml:"authResponseHeaders"`
					Each      string   `yaml:"authResponseHeadersRegex"`
					TLS       struct{ Cert, Key, CA string }
					MaxAnswer int `yaml:"maxResponseBodySize"`
				} `yaml:"forwardAuth"`
			}
			Services map[string]struct {
				LoadBalancer struct {
					Pass      bool                   `yaml:"passHostHeader"`
					Transport string                 `yaml:"serversTransport"`
					Servers   []struct{ URL string } `yaml:"servers"`
				} `yaml:"loadBalancer"`
			}
			Transports map[string]struct {
				Name     string            `yaml:"serverName"`
				CAs      []string          `yaml:"rootCAs"`
				Timeouts map[string]string `yaml:"forwardingTimeouts"`
			} `yaml:"serversTransports"`
		}
	}
	v := sample()
	v.Checks = "https://id.corp.example:8444"
	if err := yaml.UnmarshalWithOptions([]byte(render(t, "traefik", v)), &c, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	chain := c.HTTP.Routers["wiki"].Middlewares
	if !slices.Equal(chain, []string{"wiki_forged", "wiki_muster"}) {
		t.Errorf("the application stands behind %q", chain)
	}
	f := c.HTTP.Middlewares["wiki_muster"].Forward
	if f == nil || f.Address != "https://id.corp.example:8444/check/traefik/wiki" || f.Trust == nil || *f.Trust || slices.Contains(f.Request, "Authorization") || !slices.Contains(f.Request, "Cookie") {
		t.Fatalf("forwardAuth: %+v", f)
	}
	twin := regexp.MustCompile(f.Each)
	for _, h := range gateway.IdentityHeaders() {
		if !slices.Contains(f.Response, h) || !twin.MatchString(h) || !twin.MatchString(strings.ReplaceAll(h, "-", "_")) {
			t.Errorf("%s of a client stays", h)
		}
		if v, there := c.HTTP.Middlewares["wiki_forged"].Headers.Custom[h]; !there || v != "" {
			t.Errorf("%s of a client is not taken away", h)
		}
	}
}

// README tells of every file, and of nothing that is not there.
func TestREADME(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nginx.conf", "Caddyfile", "haproxy.cfg", "muster.lua", "traefik.yaml", "envoy.yaml"} {
		if _, err := os.Stat(name); err != nil || !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("%s: not in README, or not there: %v", name, err)
		}
	}
}

// FuzzRender: whatever the values are, a snippet has the lines that it has, and each
// of them as many signs of its language.
func FuzzRender(f *testing.F) {
	v := sample()
	f.Add(v.Muster, v.App, v.Host, v.Upstream, v.SecretFile, v.CAFile)
	f.Add("http://a", "a", "a:1", "a:1", "/a", "/a\n")
	f.Add("https://a b", "a;", "a{", "a:1#", "/a'", "/a\"")
	signs := func(text string) [9]int {
		var n [9]int
		for i, s := range []string{"\n", ";", "{", "}", "\"", "'", "$", "#", " "} {
			n[i] = strings.Count(text, s)
		}
		return n
	}
	want := map[string][9]int{}
	for _, dialect := range dialects {
		text, err := snippets.Render(dialect, v)
		if err != nil {
			f.Fatal(err)
		}
		want[dialect] = signs(text)
	}
	f.Fuzz(func(t *testing.T, muster, app, host, upstream, secret, ca string) {
		if !strings.HasPrefix(muster, "https://") || ca == "" {
			return // another branch of the templates
		}
		for _, dialect := range dialects {
			text, err := snippets.Render(dialect, snippets.Values{Muster: muster, App: app, Host: host, Upstream: upstream, SecretFile: secret, CAFile: ca})
			if err == nil && signs(text) != want[dialect] {
				t.Errorf("%s: %q", dialect, text)
			}
		}
	})
}
