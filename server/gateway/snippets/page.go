package snippets

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// page is what the templates read. Every text in it was found harmless.
type page struct {
	Values
	MusterScheme, MusterAddress        string // http or https; host:port
	MusterHost, MusterName, MusterPort string // as in Host; without port; the port alone
	HostName                           string // of the application, without port
	UpstreamHost, UpstreamPort         string
	ListenHost, ListenPort             string
	Site                               string // as Caddy names one
	OwnCA                              bool   // CAFile is the operator's choice
	Away                               string
	Identity                           []header
	Overrides                          []string
}

// header is an identity header in the spellings that gateways want.
type header struct{ Name string }

// Lower is the name as HTTP/2 has it.
func (h header) Lower() string { return strings.ToLower(h.Name) }

// Variable is the name as nginx has it behind $upstream_http_.
func (h header) Variable() string { return strings.ReplaceAll(h.Lower(), "-", "_") }

// Underscored is the twin that some applications take for the same.
func (h header) Underscored() string { return strings.ReplaceAll(h.Name, "-", "_") }

// identity are the headers that an application may believe, in canonical form:
// Caddy looks them up by it.
func identity() []header {
	var list []header
	for _, s := range strings.Fields("User Mail Groups Session Device Level Acr Amr Outcome Restrict Token") {
		list = append(list, header{"X-Muster-" + s})
	}
	return list
}

// overrides are headers by which a client tells some frameworks another method,
// path, host or address than those that were decided about. The gateways set
// X-Forwarded-For, -Host and -Proto themselves.
func overrides() []string {
	return []string{
		"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-Method", "X-Forwarded-Method",
		"X-Original-URL", "X-Original-URI", "X-Rewrite-URL", "X-Forwarded-Uri", "X-Forwarded-Prefix",
		"X-Original-Upgrade", "X-Forwarded-Upgrade", "X-Original-Host", "X-Real-IP", "Forwarded",
	}
}

// What values may look like. No quote, space, brace or semicolon of any gateway's
// language is among them.
var (
	idForm   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	fileForm = regexp.MustCompile(`^/[A-Za-z0-9_./-]{1,255}$`)
	portForm = regexp.MustCompile(`^[1-9][0-9]{0,4}$`)
)

// page checks the values and takes them apart.
func (v Values) page() (*page, error) {
	if v.LuaFile == "" {
		v.LuaFile = luaFile
	}
	p := &page{Values: v, OwnCA: v.CAFile != "", Away: away, Identity: identity(), Overrides: overrides(), Site: v.Host}
	if !p.OwnCA {
		p.CAFile = systemCAs
	}
	switch {
	case !idForm.MatchString(v.App):
		return nil, fmt.Errorf("application %q: small letters, digits and hyphens are needed", v.App)
	case !plainFile(v.SecretFile) || !plainFile(p.CAFile) || !plainFile(p.LuaFile):
		return nil, errors.New("files need absolute paths of letters, digits and _./-")
	}
	if err := p.origin(); err != nil {
		return nil, err
	}
	var err error
	if p.HostName, _, err = hostPort(v.Host, false); err != nil {
		return nil, fmt.Errorf("host: %w", err)
	}
	if p.UpstreamHost, p.UpstreamPort, err = hostPort(v.Upstream, true); err != nil {
		return nil, fmt.Errorf("upstream: %w", err)
	}
	p.ListenHost, p.ListenPort = "0.0.0.0", "443"
	if v.Listen == "" {
		return p, nil
	}
	if p.ListenHost, p.ListenPort, err = hostPort(v.Listen, true); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	// Caddy would ask for a certificate of a name that it serves without TLS.
	p.Site = "http://" + p.HostName + ":" + p.ListenPort
	return p, nil
}

// origin takes muster's origin apart.
func (p *page) origin() error {
	u, err := plainOrigin(p.Muster)
	if err != nil {
		return err
	}
	if p.Checks == "" {
		p.Checks = p.Muster
	}
	if _, err := plainOrigin(p.Checks); err != nil {
		return err
	}
	p.MusterScheme, p.MusterHost = u.Scheme, u.Host
	p.MusterName, p.MusterPort = u.Hostname(), u.Port()
	if p.MusterPort == "" {
		p.MusterPort = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	p.MusterAddress = net.JoinHostPort(p.MusterName, p.MusterPort)
	return nil
}

func plainOrigin(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Scheme+"://"+u.Host != s {
		return nil, fmt.Errorf("%q: an origin is needed, as https://id.corp.example", s)
	}
	_, _, err = hostPort(u.Host, false)
	return u, err
}

// hostPort takes a name or an IPv4 address, and a port, which may be absent where
// it is not needed.
func hostPort(s string, needed bool) (host, port string, err error) {
	host, port, has := strings.Cut(s, ":")
	if !nameForm.MatchString(host) || strings.Contains(host, "..") || (has || needed) && !portForm.MatchString(port) {
		return "", "", fmt.Errorf("%q: a name or an IPv4 address and a port are needed", s)
	}
	return host, port, nil
}

// plainFile takes absolute paths that mean the same in every gateway's language.
func plainFile(f string) bool { return fileForm.MatchString(f) && path.Clean(f) == f }
