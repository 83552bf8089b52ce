package notice

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"muster/server/store"
)

// Webhook is the program that hears of everything.
type Webhook struct {
	// URL is https, or http on this machine. It may hold a token, so it is a
	// secret.
	URL Secret
	// Secret signs, as Standard Webhooks has it: whsec_ and base64, or plain text
	// of 16 bytes at least.
	Secret Secret
}

const (
	secretPrefix = "whsec_"
	secretBytes  = 16 // at least
	headerBytes  = 16 << 10
	drainBytes   = 4 << 10
)

type hook struct {
	url    string // empty: off
	key    []byte
	client *http.Client
}

func newHook(c Config) (*hook, error) {
	if c.Webhook == nil {
		return &hook{}, nil
	}
	u, err := url.Parse(string(c.Webhook.URL))
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return nil, errors.New("its URL is none")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return nil, errors.New("its URL must be https, or http to this machine")
	case u.User != nil || u.Fragment != "":
		return nil, errors.New("its URL must have neither user nor fragment")
	}
	key := []byte(c.Webhook.Secret)
	if text, ok := strings.CutPrefix(string(c.Webhook.Secret), secretPrefix); ok {
		if key, err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, errors.New("its secret is not whsec_ and base64")
		}
	}
	if len(key) < secretBytes {
		return nil, fmt.Errorf("its secret must have at least %d bytes", secretBytes)
	}
	transport := c.HTTP
	if transport == nil {
		transport = &http.Transport{Proxy: http.ProxyFromEnvironment, MaxResponseHeaderBytes: headerBytes,
			ForceAttemptHTTP2: true, MaxIdleConns: 1}
	}
	return &hook{url: u.String(), key: key, client: &http.Client{
		Transport: transport,
		Timeout:   timeout,
		// A redirect could lead the signed notice anywhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// send posts the notice's body, signed in the form of Standard Webhooks 1.0. The
// time in it is of this attempt, so that a receiver can refuse old ones.
func (h *hook) send(ctx context.Context, n *store.Notice, at int64) error {
	if h.url == "" {
		return errOff
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(n.Body))
	if err != nil {
		return errors.New("making the request") // its text would have the URL
	}
	id, stamp := name(n), strconv.FormatInt(at, 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "muster")
	r.Header.Set("webhook-id", id)
	r.Header.Set("webhook-timestamp", stamp)
	r.Header.Set("webhook-signature", "v1,"+h.sign(id, stamp, n.Body))
	answer, err := h.client.Do(r)
	if err != nil {
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("posting: %w", err)
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, drainBytes) // so that the connection serves again
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("the receiver answered %d", answer.StatusCode)
	}
	return nil
}

func (h *hook) sign(id, stamp string, body []byte) string {
	mac := hmac.New(sha256.New, h.key)
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
