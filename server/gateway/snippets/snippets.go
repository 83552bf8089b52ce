package snippets

import (
	"embed"
	"fmt"
	"strings"
	"text/template"
)

//go:embed nginx.conf Caddyfile haproxy.cfg muster.lua traefik.yaml envoy.yaml
var files embed.FS

// Values are what a snippet is made for.
type Values struct {
	// Muster is its origin as the gateway reaches it: http://127.0.0.1:8080, or
	// https://id.corp.example.
	Muster string
	// App is the application's id in the policy; the snippet pins it.
	App string
	// Host is the application's name as browsers ask for it, with port if it has one.
	Host string
	// Upstream is host:port of the application itself.
	Upstream string
	// Checks is the origin of muster's listener for client certificates, where Traefik
	// asks; empty: Muster.
	Checks string
	// SecretFile holds the gateway's secret in the form that the snippet's head says;
	// of Traefik it is the folder of the client certificate (client.crt, client.key),
	// of Envoy the unix socket that the server opens for it.
	SecretFile string
	// CAFile verifies muster's certificate; empty: the system's own authorities.
	CAFile string
	// LuaFile is where muster.lua lies; empty: beside HAProxy's configuration.
	LuaFile string
	// Listen is host:port of a listener without TLS, as behind a load balancer;
	// empty: port 443 with TLS.
	Listen string
}

// Secondary files of a dialect, for [Render].
const (
	// HAProxyLua is loaded by the configuration that the dialect haproxy renders.
	HAProxyLua = "haproxy-lua"
)

// luaFile is where Debian's HAProxy has its configuration.
const luaFile = "/etc/haproxy/muster.lua"

// systemCAs is where Debian has the system's authorities, for gateways that want a
// file.
const systemCAs = "/etc/ssl/certs/ca-certificates.crt"

// away is what a person reads when muster does not answer.
const away = "Access is decided by muster, which does not answer now, so nothing is served. Try again in a minute; tell your administrator if it lasts."

// snippetOf names the file of a dialect.
func snippetOf(dialect string) (string, error) {
	switch dialect {
	case "nginx":
		return "nginx.conf", nil
	case "caddy":
		return "Caddyfile", nil
	case "haproxy":
		return "haproxy.cfg", nil
	case HAProxyLua:
		return "muster.lua", nil
	case "traefik":
		return "traefik.yaml", nil
	case "envoy":
		return "envoy.yaml", nil
	}
	return "", fmt.Errorf("snippets: no gateway %q: nginx, caddy, haproxy, %s, traefik or envoy", dialect, HAProxyLua)
}

// Render returns the configuration of one application's gateway. Values that could
// mean more to a gateway than themselves are refused.
func Render(dialect string, v Values) (string, error) {
	name, err := snippetOf(dialect)
	if err != nil {
		return "", err
	}
	p, err := v.page()
	if err != nil {
		return "", fmt.Errorf("snippets: %w", err)
	}
	t, err := template.New(name).Option("missingkey=error").ParseFS(files, name)
	if err != nil {
		return "", fmt.Errorf("snippets: %s: %w", name, err)
	}
	var b strings.Builder
	if err := t.Execute(&b, p); err != nil {
		return "", fmt.Errorf("snippets: %s: %w", name, err)
	}
	return b.String(), nil
}
