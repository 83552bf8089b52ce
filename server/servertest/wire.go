package servertest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"muster/server"
)

// Wire is the line between laptops and a server, as a proxy in front of it. It
// keeps what went over it, and loses what it is told to.
type Wire struct {
	t   testing.TB
	url string
	to  string // of the server

	mu   sync.Mutex
	lose func(path string, body []byte) Loss // guarded by mu
	seen []Exchange                          // guarded by mu
}

// Loss says what of an exchange is lost. The server acts on a request whose
// reply is lost.
type Loss struct{ Request, Reply bool }

// Exchange is one request that reached the server, and its reply.
type Exchange struct {
	Path   string
	Header http.Header
	Body   []byte
	Status int
	Reply  []byte
	Lost   bool // the reply never reached the laptop
}

// NewWire makes a line; give its Between to the server that it leads to.
func NewWire(t testing.TB) *Wire {
	t.Helper()
	w := &Wire{t: t}
	front := httptest.NewServer(http.HandlerFunc(w.carry))
	t.Cleanup(front.Close)
	w.url = front.URL
	return w
}

// Between is an option of [Start]: laptops reach the server over this line only.
func (w *Wire) Between(c *server.Config) { c.PublicURL, w.to = w.url, "http://"+c.Listen }

// Lose decides, from now on, what is lost; nil: nothing.
func (w *Wire) Lose(lose func(path string, body []byte) Loss) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lose = lose
}

// Seen returns the exchanges of a path so far, in order.
func (w *Wire) Seen(path string) (list []Exchange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.seen {
		if x.Path == path {
			list = append(list, x)
		}
	}
	return list
}

// Repeat sends a request once more, byte for byte, as whoever recorded it would,
// and returns the new reply.
func (w *Wire) Repeat(x Exchange) Exchange {
	w.t.Helper()
	again, err := w.forward(x.Path, x.Header, x.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return again
}

func (w *Wire) carry(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.mu.Lock()
	lose := w.lose
	w.mu.Unlock()
	var loss Loss
	if lose != nil {
		loss = lose(r.URL.Path, body)
	}
	if loss.Request {
		panic(http.ErrAbortHandler)
	}
	x, err := w.forward(r.URL.Path, r.Header.Clone(), body)
	if err != nil {
		panic(http.ErrAbortHandler) // the server is down: the line is dead
	}
	x.Lost = loss.Reply
	w.mu.Lock()
	w.seen = append(w.seen, x)
	w.mu.Unlock()
	if loss.Reply {
		panic(http.ErrAbortHandler)
	}
	rw.Header().Set("Content-Type", replyType(x.Status))
	rw.WriteHeader(x.Status)
	_, _ = rw.Write(x.Reply)
}

// replyType is what the server answers with; the exchange keeps bytes only.
func replyType(status int) string {
	if status/100 == 2 {
		return "application/json"
	}
	return "application/problem+json"
}

func (w *Wire) forward(path string, header http.Header, body []byte) (x Exchange, err error) {
	method := http.MethodPost
	if len(body) == 0 {
		method = http.MethodGet
	}
	r, err := http.NewRequest(method, w.to+path, bytes.NewReader(body))
	if err != nil {
		return x, err
	}
	r.Header = header.Clone()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return x, err
	}
	defer resp.Body.Close()
	x = Exchange{Path: path, Header: header, Body: body, Status: resp.StatusCode}
	x.Reply, err = io.ReadAll(resp.Body)
	return x, err
}
