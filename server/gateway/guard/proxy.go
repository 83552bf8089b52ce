package guard

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"time"
)

// Limits of /.muster/: short answers to short requests.
const (
	maxPassed   = 64 << 10
	passTimeout = 10 * time.Second
)

type targetKey struct{}

// passOn hands a request below /.muster/ to muster.
func (g *Guard) passOn(w http.ResponseWriter, r *http.Request, target string) {
	ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), targetKey{}, target), passTimeout)
	defer cancel()
	r = r.WithContext(ctx)
	r.Header = stripHeader(r.Header)
	delete(r.Header, "Upgrade")       // nothing there speaks another protocol
	delete(r.Header, "Authorization") // the application's
	ours, _ := sortCookies(r.Header["Cookie"])
	delete(r.Header, "Cookie")
	if ours != "" {
		r.Header["Cookie"] = []string{ours}
	}
	if r.Body != nil {
		r.Body = http.MaxBytesReader(w, r.Body, maxPassed)
	}
	g.proxy.ServeHTTP(w, r)
}

// newProxy keeps the Host, by which muster knows the application, and drops what the
// client says of where it comes from.
func (g *Guard) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) { // it has removed Forwarded and X-Forwarded-*
			target, _ := p.In.Context().Value(targetKey{}).(string)
			// As it was sent, whatever handlers outside of the guard made of it.
			p.Out.URL = addressOf(g.muster, target)
			p.Out.Host = p.In.Host
			if host, _, err := net.SplitHostPort(p.In.RemoteAddr); err == nil {
				p.Out.Header.Set("X-Forwarded-For", host)
			}
		},
		Transport:    g.client.Transport,
		ErrorHandler: g.fail,
		ErrorLog:     slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
	}
}
