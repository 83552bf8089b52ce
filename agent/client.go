package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"muster/attest"
)

// The longest that one exchange with the server takes.
const (
	exchangeTime = 30 * time.Second
	uploadTime   = 2 * time.Minute
	waitTime     = 75 * time.Second // attest.MaxWait, and some for the way
)

// client speaks to one server.
type client struct {
	origin string
	http   http.RoundTripper
	date   time.Time // of the last answer, by the server's clock; zero: it told none
}

// identity authenticates the requests of an enrolled device.
type identity struct {
	device string
	secret []byte
}

// refusal is an answer of the server other than 2xx.
type refusal struct {
	attest.Problem
	// Foreign tells that the answer was not in the server's form: something else,
	// a proxy perhaps, spoke in its place.
	Foreign bool
}

// unanswered is an exchange that the network, not the server, ended.
type unanswered struct{ error }

// Unwrap returns the cause.
func (u *unanswered) Unwrap() error { return u.error }

// Error implements error.
func (r *refusal) Error() string {
	if r.Foreign {
		return fmt.Sprintf("status %d without a reason, not an answer of muster-server", r.Status)
	}
	text := r.Detail
	if text == "" {
		text = r.Title
	}
	return fmt.Sprintf("the server refused: %s (%s)", text, r.Code)
}

// get fetches a reply without authentication.
func (c *client) get(ctx context.Context, path string, reply any) error {
	return c.exchange(ctx, http.MethodGet, path, nil, nil, reply)
}

// upload sends bytes that are no message.
func (c *client) upload(ctx context.Context, path string, id *identity, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, uploadTime)
	defer cancel()
	return c.do(ctx, http.MethodPost, path, "application/octet-stream", id, body, nil)
}

// wait sends a wait, which the server may hold.
func (c *client) wait(ctx context.Context, id *identity, body []byte, reply *attest.WaitReply) error {
	ctx, cancel := context.WithTimeout(ctx, waitTime)
	defer cancel()
	return c.do(ctx, http.MethodPost, attest.PathWait, "application/json", id, body, reply)
}

// post sends a JSON body, with a MAC when id is not nil, and reads the reply
// unless it is nil. Errors: a *refusal when the server answered, anything else
// when it did not.
func (c *client) post(ctx context.Context, path string, id *identity, body []byte, reply any) error {
	return c.exchange(ctx, http.MethodPost, path, id, body, reply)
}

func (c *client) exchange(ctx context.Context, method, path string, id *identity, body []byte, reply any) error {
	ctx, cancel := context.WithTimeout(ctx, exchangeTime)
	defer cancel()
	return c.do(ctx, method, path, "application/json", id, body, reply)
}

func (c *client) do(ctx context.Context, method, path, kind string, id *identity, body []byte, reply any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.origin+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("asking %s: %w", c.origin, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", kind)
	}
	if id != nil {
		req.Header.Set(attest.HeaderDevice, id.device)
		req.Header.Set(attest.HeaderMAC, attest.MAC(id.secret, path, body).String())
	}
	// No redirect is followed: a RoundTripper does not, and a signed request is
	// for one server.
	resp, err := c.http.RoundTrip(req)
	if err != nil {
		return &unanswered{fmt.Errorf("asking %s: %w", c.origin, err)}
	}
	defer resp.Body.Close()
	c.date, _ = http.ParseTime(resp.Header.Get("Date")) // zero when it is none
	answer, err := io.ReadAll(io.LimitReader(resp.Body, attest.MaxMessage+1))
	if err != nil {
		return &unanswered{fmt.Errorf("reading the answer of %s: %w", c.origin, err)}
	}
	if len(answer) > attest.MaxMessage {
		return fmt.Errorf("reading the answer of %s: longer than %d bytes", c.origin, attest.MaxMessage)
	}
	if resp.StatusCode/100 != 2 {
		return refused(resp, answer)
	}
	if reply == nil {
		return nil
	}
	if err := decodeReply(answer, reply); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", c.origin, err)
	}
	return nil
}

// decodeReply reads what a server says: as strictly as attest.Decode, but
// members that this version does not know are ignored.
func decodeReply(b []byte, v any) error { return json.Unmarshal(b, v) }

// refused reads a problem (RFC 9457). What is not one is told apart, so that a
// proxy's page is never taken for the server's word.
func refused(resp *http.Response, body []byte) *refusal {
	r := new(refusal)
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || kind != "application/problem+json" || decodeReply(body, &r.Problem) != nil || r.Code == "" {
		r = &refusal{Foreign: true}
	}
	r.Status = resp.StatusCode
	return r
}

// code returns the stable code of a refusal, empty for any other error.
func code(err error) string {
	if r := (*refusal)(nil); errors.As(err, &r) {
		return r.Code
	}
	return ""
}
