package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// timeout is how long muster may take to answer.
const timeout = 2 * time.Second

// maxSecret bounds a credential, in bytes, as muster does.
const maxSecret = 256

// Config says where muster is and who asks.
type Config struct {
	// Muster is where muster answers: https://id.example, without a path. http is
	// accepted to this machine only, unless Client says how it gets there.
	Muster string
	// App is the application's id in muster's policy.
	App string
	// Secret is the credential of this application's gateway. It is never shown.
	Secret string
	// Client asks; nil: one that uses no proxy. Of a given one the Transport is used,
	// and neither its cookies, its timeout nor its redirects.
	Client *http.Client
	// Log hears when muster does not answer; nil: nobody does.
	Log *slog.Logger
}

// Guard asks muster about each request. It is safe for concurrent use.
type Guard struct {
	check  string // the address that is asked
	muster *url.URL
	secret string
	client *http.Client
	proxy  *httputil.ReverseProxy
	log    *slog.Logger
}

// Identity is who asks, and by what. All is empty where muster has nothing to tell,
// or no Guard was passed.
type Identity struct {
	User, Mail string
	Groups     []string
	Session    string
	Device     string // of the laptop; empty: none is linked
	Level      string // assurance level of the laptop
	ACR        string
	AMR        []string
	// Restrict is what the application must not allow: "" or read-only, which this
	// package enforces by the method.
	Restrict string
	// Token says the same to programs behind the application, signed; empty unless the
	// credential has an audience.
	Token string
}

// New makes a guard. It asks nothing yet.
func New(c Config) (*Guard, error) {
	muster, err := parseOrigin(c.Muster, c.Client != nil)
	if err != nil {
		return nil, fmt.Errorf("guard: muster's address: %w", err)
	}
	switch {
	case c.App == "" || c.App == "." || c.App == ".." || c.App == "*" || strings.ContainsFunc(c.App, notPlain):
		return nil, fmt.Errorf("guard: %.40q is not an application's id", c.App)
	case c.Secret == "" || len(c.Secret) > maxSecret || strings.ContainsFunc(c.Secret, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, errors.New("guard: the credential is missing, or is none")
	}
	g := &Guard{check: muster.String() + "/check/http/" + c.App, muster: muster, secret: c.Secret, log: c.Log}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	g.client = &http.Client{
		// A redirect is muster's answer to the browser, and the secret goes nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     transport(),
	}
	if c.Client != nil {
		g.client.Transport = c.Client.Transport // nil: the default one
	}
	g.proxy = g.newProxy()
	return g, nil
}

// parseOrigin reads scheme and host. A secret must not travel in the open.
func parseOrigin(text string, trusted bool) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("it does not read") // the error would repeat a password in it
	}
	if u.Host == "" || u.User != nil || u.Opaque != "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return nil, errors.New("it is not a scheme and a host alone, as in https://id.example")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !trusted && !isLocal(u.Hostname())) {
		return nil, errors.New("it must begin with https://: the credential would travel in the open")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

func isLocal(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback() || localName(host)
}

// localName reports whether a name is this machine's by definition (RFC 6761 §6.3).
func localName(host string) bool {
	host = strings.ToLower(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

func notPlain(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
}

// transport has room for many requests at once, and finds names ending in
// .localhost, which resolvers do not.
func transport() *http.Transport {
	dialer := &net.Dialer{Timeout: timeout}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if host, port, err := net.SplitHostPort(address); err == nil && localName(host) {
				address = net.JoinHostPort("127.0.0.1", port)
			}
			return dialer.DialContext(ctx, network, address)
		},
		ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute,
		TLSHandshakeTimeout: timeout, MaxResponseHeaderBytes: maxSent, DisableCompression: true,
	}
}

// Protect is a handler that lets through to app what muster lets through. It answers
// /.muster/ itself: there browsers get the cookie of this application's host.
func (g *Guard) Protect(app http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target, ok := targetOf(r)
		switch {
		case !ok:
			refuse(w, r, http.StatusBadRequest, "request-unreadable", "This is not an address of this application.", "Open the application itself again.")
			return
		case reserved(target):
			g.passOn(w, r, target)
			return
		}
		answer, err := g.ask(r, target)
		if err != nil {
			g.fail(w, r, err)
			return
		}
		if answer.refusal != nil {
			answer.refusal.write(w)
			return
		}
		if answer.who.Restrict != "" && !reads(r) {
			refuse(w, r, http.StatusForbidden, "restricted", "Only reading is allowed here for now.", "Open muster's page for your laptop to see why.")
			return
		}
		app.ServeHTTP(w, strip(r, answer.who))
	})
}

// fail answers where nobody knows whether the request may pass.
func (g *Guard) fail(w http.ResponseWriter, r *http.Request, err error) {
	var large *tooLargeError
	switch {
	case errors.As(err, &large):
		refuse(w, r, http.StatusRequestHeaderFieldsTooLarge, "request-too-large", "The address or the headers of this request are too long.", "Remove this site's cookies, then try again.")
		return
	case !errors.Is(err, context.Canceled): // else the client has gone, which says nothing of muster
		g.log.Error("muster did not decide; the request is refused", "error", err)
	}
	w.Header().Set("Retry-After", "5")
	refuse(w, r, http.StatusServiceUnavailable, "muster-away", "It cannot be decided now whether you may use this application.", "Try again in a moment.")
}

type whoKey struct{}

// From is who sent the request that a handler behind Protect answers.
func From(ctx context.Context) Identity {
	who, _ := ctx.Value(whoKey{}).(Identity)
	return who
}
