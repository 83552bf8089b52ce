package gateway

import (
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"muster/server/decide"
)

// Bounds of what a gateway tells of a request, in bytes.
const (
	maxMethod = 32
	maxTarget = 16 << 10
	maxHost   = 255 + len(":65535")
	maxFrom   = 1024 // of X-Forwarded-For
)

// errUnreadable: what the gateway told is not one request.
var errUnreadable = errors.New("not a request that can be read")

// Seen is a request as a gateway tells it, before anything of it is believed.
type Seen struct {
	Method string
	// Target is the request target as it was sent, not decoded.
	Target string
	Host   string // with port, if the client gave one
	// Address is the client's. Of a list, its last element counts: it is the one
	// that the gateway itself added.
	Address string
	// Upgrade: it asks for another protocol. WebSocket handshakes are known by
	// themselves.
	Upgrade bool
	// Header has the client's own headers, by canonical names: Cookie, Accept and
	// the like. It is only read.
	Header http.Header
}

// Question reads it for an application. Method, target, host and address must be
// there and well-formed, else there is no question. A target that two readers may
// understand differently leaves Request.Path empty, which is unknown to policies.
func (s *Seen) Question(app string) (*Question, error) {
	host, ok := hostOf(s.Host)
	if !ok || !validMethod(s.Method) || s.Target == "" || len(s.Target) > maxTarget {
		return nil, errUnreadable
	}
	address, ok := addressOf(s.Address)
	if !ok {
		return nil, errUnreadable
	}
	q := &Question{
		App: app, Host: host, Cookie: appCookie(s.Header["Cookie"]), Back: "/",
		Request: decide.Request{Method: s.Method, Address: address, Upgrade: s.upgrades()},
		Head:    s.Method == http.MethodHead,
	}
	q.Request.Path, _ = canonical(s.Target)
	q.Navigation = !q.Request.Upgrade && navigates(s.Method, s.Header)
	if q.Navigation && s.Method == http.MethodGet {
		q.Back = backTo(s.Target)
	}
	if overridden(s.Header) {
		q.Request.Method = "" // the application may see another one: unknown
	}
	return q, nil
}

// upgrades reports whether another protocol is asked for. Traefik tells nobody of
// Upgrade, but a WebSocket handshake cannot do without its key (RFC 6455 §4.1).
func (s *Seen) upgrades() bool {
	return s.Upgrade || len(s.Header["Sec-Websocket-Key"]) > 0
}

// overridden reports whether a header asks the application to take the method for
// another one, as several frameworks do.
func overridden(h http.Header) bool {
	return len(h["X-Http-Method-Override"])+len(h["X-Http-Method"])+len(h["X-Method-Override"]) > 0
}

// validMethod takes what the methods in use look like: upper case, as PROPFIND and
// M-SEARCH. Others are the same method to some servers and not to others.
func validMethod(m string) bool {
	for i := range len(m) {
		if c := m[i]; (c < 'A' || c > 'Z') && (c != '-' || i == 0) {
			return false
		}
	}
	return m != "" && len(m) <= maxMethod
}

// hostOf is a Host in lower case: a name or an address, and a port or none.
func hostOf(host string) (string, bool) {
	if host == "" || len(host) > maxHost {
		return "", false
	}
	host = strings.ToLower(host)
	name := host
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		port, err := strconv.ParseUint(host[i+1:], 10, 16)
		if err != nil || port == 0 || strconv.FormatUint(port, 10) != host[i+1:] {
			return "", false
		}
		name = host[:i]
	}
	if strings.HasPrefix(name, "[") {
		a, err := netip.ParseAddr(strings.TrimSuffix(name[1:], "]"))
		return host, err == nil && a.Is6() && a.Zone() == "" && strings.HasSuffix(name, "]")
	}
	return host, validName(name)
}

// validName takes names as DNS has them (RFC 1123 §2.1), and underscores, which
// are there in practice.
func validName(name string) bool {
	last := byte('.')
	for i := range len(name) {
		c := name[i]
		plain := 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_'
		if !plain && (c != '.' || last == '.') {
			return false
		}
		last = c
	}
	return last != '.'
}

// addressOf is the last element of X-Forwarded-For.
func addressOf(list string) (netip.Addr, bool) {
	if len(list) > maxFrom {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(strings.Trim(list[strings.LastIndexByte(list, ',')+1:], " \t"))
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

// The application's cookie (SESSIONS.md §2) and the form of its value.
const (
	cookieApp    = "__Host-muster-app"
	cookiePrefix = "msv_"
	cookieRandom = 43 // base64url characters
)

// appCookie is the application's cookie out of the Cookie headers. Two of the name
// are none: a browser sends two only when somebody else put one there.
func appCookie(lines []string) (value string) {
	found := 0
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			name, v, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
			if name == cookieApp {
				found++
				value = v
			}
		}
	}
	if found != 1 || !visitForm(value) {
		return ""
	}
	return value
}

func visitForm(v string) bool {
	random, ok := strings.CutPrefix(v, cookiePrefix)
	if !ok || len(random) != cookieRandom {
		return false
	}
	for i := range len(random) {
		c := random[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// navigates reports whether a browser opens a page in a window of its own, by its
// Fetch Metadata, or by what it accepts where it sends none. What a page contains,
// frames too, cannot be sent to a page of ours.
func navigates(method string, h http.Header) bool {
	if method != http.MethodGet && method != http.MethodPost {
		return false
	}
	mode, dest := h["Sec-Fetch-Mode"], h["Sec-Fetch-Dest"]
	if len(mode) > 0 || len(dest) > 0 {
		return len(mode) == 1 && len(dest) == 1 && mode[0] == "navigate" && dest[0] == "document"
	}
	return len(h["X-Requested-With"]) == 0 && len(h["Accept"]) == 1 && strings.Contains(h["Accept"][0], "text/html")
}
