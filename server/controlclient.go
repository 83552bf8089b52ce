package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"muster/attest"
)

// Control acts on the server of a data folder: the running one over its socket,
// or, when none runs, one that is opened for the purpose and closed again.
type Control struct {
	http *http.Client
	stop func() error
}

// OpenControl connects. Close it when done.
func OpenControl(ctx context.Context, config Config, log *slog.Logger) (*Control, error) {
	path := config.path(ControlSocket)
	c := &Control{http: socketClient(path), stop: func() error { return nil }}
	conn, err := net.DialTimeout("unix", path, 2*time.Second)
	if err == nil {
		conn.Close()
		return c, nil
	}
	if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("reaching the server's control socket: %w", err)
	}
	config.visit = true
	s, err := New(ctx, config, log, time.Now)
	if err != nil {
		return nil, err
	}
	l, err := s.ListenControl()
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.ServeControl(ctx, l) }()
	c.stop = func() error {
		cancel()
		return errors.Join(<-done, s.Close())
	}
	return c, nil
}

func socketClient(path string) *http.Client {
	return &http.Client{Timeout: 10 * time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
		DisableKeepAlives: true,
	}}
}

// Close ends the connection, and the server if it was opened for it.
func (c *Control) Close() error { return c.stop() }

// Do sends one request and decodes the reply into v, unless v is nil. A body of
// bytes goes as it is, any other as JSON. A refusal is an error whose text says
// what to do.
func (c *Control) Do(ctx context.Context, method, path string, body, v any) error {
	b, raw := body.([]byte)
	if body != nil && !raw {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://control"+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("asking the server: %w", err)
	}
	defer resp.Body.Close()
	b, err = io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("asking the server: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var p attest.Problem
		if json.Unmarshal(b, &p) != nil || p.Code == "" {
			return fmt.Errorf("the server answered %s", resp.Status)
		}
		return fmt.Errorf("%s (%s) %s", p.Detail, p.Code, p.Fix)
	}
	if v == nil {
		return nil
	}
	return json.Unmarshal(b, v)
}
