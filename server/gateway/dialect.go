package gateway

import "net/http"

// grammar is where one dialect has what it tells of a request. Of the other
// dialects' headers nothing is read: what a client sends under their names arrives
// here unchanged.
type grammar struct {
	method, target, host, address string
	upgrade                       string // there: the request asks for another protocol
}

// grammarOf is the grammar of the dialects that ask by HTTP headers. Names are in
// canonical form. A header that is there in another spelling, as with underscores,
// is another header.
func grammarOf(d Dialect) (g grammar, ok bool) {
	const from = "X-Forwarded-For"
	switch d {
	case Nginx:
		return grammar{"X-Original-Method", "X-Original-Uri", "X-Forwarded-Host", from, "X-Original-Upgrade"}, true
	case Caddy, Traefik:
		return grammar{"X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host", from, "Upgrade"}, true
	case HAProxy, HTTP:
		return grammar{"X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host", from, "X-Forwarded-Upgrade"}, true
	}
	return grammar{}, false
}

// read is the question that a check carries. Each header must be there exactly
// once: of two, one is the client's.
func (g *grammar) read(h http.Header, app string) (*Question, error) {
	s := Seen{Upgrade: len(h[g.upgrade]) > 0, Header: h}
	for _, one := range [...]struct {
		name string
		to   *string
	}{{g.method, &s.Method}, {g.target, &s.Target}, {g.host, &s.Host}, {g.address, &s.Address}} {
		values := h[one.name]
		if len(values) != 1 {
			return nil, errUnreadable
		}
		*one.to = values[0]
	}
	return s.Question(app)
}
