package agent

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// parseOrigin brings the address of a server to the one form in which it is
// hashed into an enrolment (RFC 6454 §6.2): scheme://host[:port] in lower case,
// without the scheme's own port. Plain http is for loopback only.
func parseOrigin(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", errors.New("not a URL like https://muster.example")
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	switch {
	case u.Host == "" || host == "" || u.Opaque != "":
		return "", fmt.Errorf("%q is no URL like https://muster.example", address)
	case u.User != nil:
		return "", errors.New("the URL must not hold a name or password")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("%q has more than scheme, host and port", address)
	case u.Scheme == "http" && !loopback(host):
		return "", fmt.Errorf("%q is not encrypted: use https (http is for this machine only)", address)
	case u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("%q is neither https nor http", address)
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == "" || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		return u.Scheme + "://" + host, nil
	}
	return u.Scheme + "://" + host + ":" + port, nil
}

// loopback reports whether a host can be nothing but this machine.
func loopback(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsLoopback()
	}
	return localName(host)
}

// localName reports whether a name is localhost or below it: such names mean
// this machine and are not asked of any resolver (RFC 6761 §6.3).
func localName(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// dialAddress replaces a local name by the address that it means.
func dialAddress(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err == nil && localName(host) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}
