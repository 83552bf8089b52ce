package gateway

import (
	"context"
	"net/http"
	"strings"
)

// Paths of checks, as patterns of http.ServeMux, for any method. The dialect of a
// handler is fixed: {dialect} stands for its name. PathRefused answers in full what
// PathCheck, in a dialect that passes nothing but a status on, could not.
const (
	PathCheck   = "/check/{dialect}/{app}"
	PathRefused = PathCheck + "/refused"
)

// maxSecret bounds a bearer secret, in bytes.
const maxSecret = 256

// check is the handler of one dialect.
type check struct {
	dialect      Dialect
	grammar      grammar
	look         LookFunc
	authenticate AuthenticateFunc
	places       Places
}

// Check answers one dialect's checks, at [PathCheck] and [PathRefused]: 200 with
// every identity header, or a refusal in the form that the dialect can pass on. A
// dialect that does not ask by HTTP headers gets a handler that refuses everything.
func Check(dialect Dialect, look LookFunc, authenticate AuthenticateFunc, places Places) http.Handler {
	g, ok := grammarOf(dialect)
	if !ok {
		return http.NotFoundHandler()
	}
	return &check{dialect, g, look, authenticate, places}
}

// form is how much of a refusal can be passed on.
type form uint8

const (
	full   form = iota // status, headers and body as they are
	bare               // 401 or 403 and headers; nginx makes any other status a 500
	second             // full, after a bare refusal of the same request
)

func (c *check) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	app, again, ok := c.place(r)
	if !ok {
		http.NotFound(w, r)
		return
	}
	as := full
	switch {
	case again:
		as = second
	case c.dialect == Nginx:
		as = bare
	}
	credential, refused := admit(r, c.authenticate, c.dialect, app)
	if refused != nil {
		c.write(w, refused, &Question{App: app, Head: r.Method == http.MethodHead}, &Credential{}, as)
		return
	}
	q, err := c.grammar.read(r.Header, app)
	if err != nil {
		refused = Refusal(codeUnreadable, "The gateway did not say clearly what was asked.",
			"Configure the gateway as muster's snippet for it does: each header once.")
		c.write(w, refused, &Question{App: app, Head: r.Method == http.MethodHead}, credential, as)
		return
	}
	c.write(w, c.look.Ask(r.Context(), q, credential, c.places.log()), q, credential, as)
}

// place reads the path itself, so that an encoded slash cannot move the borders
// that a router drew.
func (c *check) place(r *http.Request) (app string, again, ok bool) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/check/")
	if !ok || r.URL.RawPath != "" {
		return "", false, false
	}
	dialect, rest, _ := strings.Cut(rest, "/")
	app, tail, more := strings.Cut(rest, "/")
	if dialect != string(c.dialect) || app == "" || app == "*" || more && tail != "refused" {
		return "", false, false
	}
	return app, more, true
}

// write answers. HEAD is the method of the check or, where the gateway passes our
// answer on, that of the request itself.
func (c *check) write(w http.ResponseWriter, a *Answer, q *Question, credential *Credential, as form) {
	status, body := c.places.reply(w.Header(), a, q, credential, as)
	w.WriteHeader(status)
	if len(body) > 0 && !q.Head {
		_, _ = w.Write(body)
	}
}

// Reply is an answer on its way to a gateway that can pass everything on.
type Reply struct {
	Status int         // 200: the request may pass
	Header http.Header // of 200 the identity headers, of anything else those of the refusal
	Body   []byte
}

// Reply is the answer to a question in full. The identity headers of a request that
// may pass are all there; see [IdentityHeaders].
func (p Places) Reply(a *Answer, q *Question, c *Credential) Reply {
	r := Reply{Header: make(http.Header, 16)}
	r.Status, r.Body = p.reply(r.Header, a, q, c, full)
	if q.Head {
		r.Body = nil
	}
	return r
}

// admit finds who asks and whether it may ask this; else a refusal.
func admit(r *http.Request, authenticate AuthenticateFunc, d Dialect, app string) (*Credential, *Answer) {
	c, ok := caller(r, authenticate)
	switch {
	case !ok:
		return nil, Refusal(codeUnknown, "This gateway is not known.", "Register the gateway, and give it its credential.")
	case c.Dialect != d:
		return nil, wrongDialect()
	case !c.sees(app):
		return nil, notYours()
	}
	return c, nil
}

func wrongDialect() *Answer {
	return Refusal(codeDialect, "This credential is for gateways of another kind.", "Use the path of the credential's own dialect.")
}

func notYours() *Answer {
	return Refusal(codeNotYours, "This credential does not serve that application.", "Use the application's own gateway credential.")
}

// caller authenticates: by how it came, where a listener knows a gateway by that,
// or by the bearer secret of exactly one Authorization header. Behind a socket of
// its own, that header is the client's.
func caller(r *http.Request, authenticate AuthenticateFunc) (*Credential, bool) {
	if PeerOf(r.Context()) != (Peer{}) {
		if c, ok := known(r.Context(), authenticate, ""); ok {
			return c, true
		}
	}
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return nil, false
	}
	scheme, secret, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "bearer") || secret == "" || len(secret) > maxSecret {
		return nil, false
	}
	return known(r.Context(), authenticate, secret)
}

// known does not trust a credential that is not there.
func known(ctx context.Context, authenticate AuthenticateFunc, secret string) (*Credential, bool) {
	c, ok := authenticate(ctx, secret)
	return c, ok && c != nil
}
