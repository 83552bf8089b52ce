package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"muster/attest"
)

// The limits of the loopback listener. A page asks once for each link; between
// links nothing is held open.
const (
	loopbackBody    = 1 << 10 // bytes
	loopbackHeader  = 8 << 10 // bytes of all headers
	loopbackConns   = 16      // open at once
	loopbackRead    = 5 * time.Second
	loopbackWrite   = jobTime + 5*time.Second
	loopbackMinute  = 10  // links asked for in a minute
	loopbackKnocks  = 120 // requests in a minute whose sender is looked up
	loopbackPath    = "/link"
	codeRateLimited = attest.CodeRateLimited
)

// linkKnock is the body of POST /link: the request that the page was given.
type linkKnock struct {
	Link  string        `json:"link"`
	Nonce attest.Digest `json:"nonce"`
}

// linkConfirm answers it.
type linkConfirm struct {
	Confirm string `json:"confirm"`
}

// linkNo is what a page hears instead. It says nothing of the laptop: no name, no
// account, no error's text.
type linkNo struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// loopbackDoor answers the pages of one server, at one port of 127.0.0.1.
//
// A page of another origin gets an empty refusal without a CORS header, so that
// its script sees nothing, not even that somebody answered. Only what a browser
// sends without asking first (a "simple" POST) is taken; OPTIONS is refused, so
// no other method or header ever gets through.
type loopbackDoor struct {
	origin string // of the enrolled server
	host   string // 127.0.0.1:PORT, as browsers write it
	peer   func(client, server netip.AddrPort) (user string, err error)
	prove  func(ctx context.Context, user, link string, nonce attest.Digest) (confirm string, err error)
	up     func() time.Duration
	knocks *quota
	links  *quota
}

// listen serves the loopback listener until ctx ends.
func (a *Agent) listen(ctx context.Context, port int) error {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("listening for pages: %w", err)
	}
	return a.servePages(ctx, l)
}

func (a *Agent) servePages(ctx context.Context, l net.Listener) error {
	server := pageServer(a.loopback(l.Addr().String()), loopbackRead)
	server.ErrorLog = slog.NewLogLogger(a.Log.Handler(), slog.LevelDebug)
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	a.Log.Info("listening for pages", "address", l.Addr().String(), "origin", a.Settings.Server)
	return server.Serve(&fewConns{Listener: l, room: make(chan struct{}, loopbackConns)})
}

// pageServer gives who sends a request so long to send it.
func pageServer(h http.Handler, read time.Duration) *http.Server {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: read,
		ReadTimeout:       read,
		WriteTimeout:      loopbackWrite,
		MaxHeaderBytes:    loopbackHeader,
		// "OPTIONS *" is refused like any other.
		DisableGeneralOptionsHandler: true,
	}
	server.SetKeepAlivesEnabled(false) // who connects is asked for each request
	return server
}

// loopback joins the parts.
func (a *Agent) loopback(host string) *loopbackDoor {
	return &loopbackDoor{
		origin: a.Settings.Server, host: host, up: a.Up,
		knocks: &quota{most: loopbackKnocks, per: time.Minute}, links: &quota{most: loopbackMinute, per: time.Minute},
		peer: func(client, server netip.AddrPort) (string, error) {
			p, err := a.TCPPeer(client, server)
			return p.User, a.admit(p, err)
		},
		prove: func(ctx context.Context, user, link string, nonce attest.Digest) (string, error) {
			ask := attest.LinkAsk{Link: link, Nonce: nonce, Way: attest.WayLoopback}
			v, err := a.await(ctx, func(ctx context.Context) (any, error) { return a.prove(ctx, ask, user) })
			if err != nil {
				a.Log.Info("link over loopback declined", "reason", declinedOf(err).Code)
				return "", err
			}
			if confirm := v.(*attest.LinkReply).Confirm; confirm != "" {
				return confirm, nil
			}
			return "", errors.New("the server gave nothing to confirm with")
		},
	}
}

// ServeHTTP implements http.Handler.
func (d *loopbackDoor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Vary", "Origin")
	if status := d.strange(r); status != 0 {
		w.WriteHeader(status)
		return
	}
	h.Set("Access-Control-Allow-Origin", d.origin)
	h.Set("Content-Type", "application/json")
	status, answer := d.answer(w, r)
	b, err := attest.Encode(answer)
	if err != nil {
		status, b = http.StatusInternalServerError, nil
	}
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

// strange returns the status with which a request is refused that no page of our
// server makes; 0: it may be one. Such a request hears nothing else.
func (d *loopbackDoor) strange(r *http.Request) int {
	origin := r.Header.Values("Origin")
	switch {
	case r.Host != d.host: // a name that resolves to 127.0.0.1 is not ours: DNS rebinding
		return http.StatusForbidden
	case r.URL.Path != loopbackPath || r.URL.RawQuery != "" || r.URL.IsAbs():
		return http.StatusNotFound
	case r.Method != http.MethodPost:
		return http.StatusMethodNotAllowed
	case len(origin) != 1 || origin[0] != d.origin:
		return http.StatusForbidden
	case !sentBy(r, "Sec-Fetch-Site", "cross-site", "same-site"),
		!sentBy(r, "Sec-Fetch-Mode", "cors"),
		!sentBy(r, "Sec-Fetch-Dest", "empty"):
		return http.StatusForbidden
	}
	return 0
}

// sentBy reports whether a header that browsers set is absent, or has one of the
// values that a script's fetch gives it.
func sentBy(r *http.Request, header string, values ...string) bool {
	got := r.Header.Values(header)
	if len(got) == 0 {
		return true
	}
	for _, v := range values {
		if len(got) == 1 && got[0] == v {
			return true
		}
	}
	return false
}

// answer handles a request that bears our server's origin. A program can claim
// that too, so who connected is looked up before anything is read.
func (d *loopbackDoor) answer(w http.ResponseWriter, r *http.Request) (int, any) {
	limited := &linkNo{codeRateLimited, "Too many requests. Try again in a minute."}
	if !d.knocks.take("", d.up()) {
		return http.StatusTooManyRequests, limited
	}
	client, err := netip.ParseAddrPort(r.RemoteAddr)
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if err != nil || !ok {
		return http.StatusForbidden, &linkNo{codeUnknown, "The connection has no known sender."}
	}
	user, err := d.peer(client, local.AddrPort())
	if err != nil {
		return refusedPage(err)
	}
	if !d.links.take(user, d.up()) {
		return http.StatusTooManyRequests, limited
	}
	knock, status, err := readKnock(w, r)
	if err != nil {
		return status, &linkNo{codeForm, "The page sent something else than a request to link."}
	}
	confirm, err := d.prove(r.Context(), user, knock.Link, knock.Nonce)
	if err != nil {
		return refusedPage(err)
	}
	return http.StatusOK, &linkConfirm{confirm}
}

// readKnock reads the body: small, plain text by its header, strict JSON.
func readKnock(w http.ResponseWriter, r *http.Request) (*linkKnock, int, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "text/plain" || len(r.Header.Values("Content-Type")) != 1 {
		return nil, http.StatusUnsupportedMediaType, errors.New("another content type than text/plain")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, loopbackBody))
	if err != nil {
		return nil, http.StatusRequestEntityTooLarge, err
	}
	knock := new(linkKnock)
	if err := attest.Decode(body, knock); err != nil {
		return nil, http.StatusBadRequest, err
	}
	if !linkID(knock.Link) || knock.Nonce.IsZero() {
		return nil, http.StatusBadRequest, errors.New("no request to link")
	}
	return knock, 0, nil
}

// refusedPage puts an error into what a page may hear: our own codes with their
// fixed sentences, the server's own, and for the rest a code alone.
func refusedPage(err error) (int, any) {
	no := declinedOf(err)
	own, r := (*declined)(nil), (*refusal)(nil)
	text := "The agent on this laptop could not do this."
	switch {
	case errors.As(err, &own):
		text = strings.TrimSpace(own.Text)
	case errors.As(err, &r) && !r.Foreign:
		text = no.Text
	}
	status := http.StatusForbidden
	switch {
	case no.Code == codeBusy || own == nil && r == nil:
		status = http.StatusServiceUnavailable
	case no.Code == codeRateLimited:
		status = http.StatusTooManyRequests
	}
	return status, &linkNo{no.Code, text}
}

// fewConns is a listener that has at most cap(room) connections open; others wait
// to be accepted.
type fewConns struct {
	net.Listener
	room chan struct{}
}

// Accept implements net.Listener.
func (l *fewConns) Accept() (net.Conn, error) {
	l.room <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.room
		return nil, err
	}
	return &oneConn{Conn: c, leave: sync.OnceFunc(func() { <-l.room })}, nil
}

// oneConn gives its room back when it is closed.
type oneConn struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *oneConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
