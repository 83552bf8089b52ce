package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"muster/server/store"
)

// Limits of the public listener: an agent's largest message takes seconds on a
// slow line, and a slower peer is not one of ours.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 60 * time.Second
	writeTimeout      = 90 * time.Second
	idleTimeout       = 10 * time.Minute // longer than the report interval: connections are kept alive
	maxHeaderBytes    = 64 << 10         // what gateways let through, with the cookies of everybody's applications
	drainTimeout      = 10 * time.Second
)

// Listen opens the public listener, so that a caller knows its address before it
// is served.
func (s *Server) Listen() (net.Listener, error) {
	l, err := net.Listen("tcp", s.config.Listen)
	if err != nil {
		return nil, fmt.Errorf("opening the listener: %w", err)
	}
	if s.config.TLSCert == "" {
		return l, nil
	}
	pair, err := tls.LoadX509KeyPair(s.config.TLSCert, s.config.TLSKey)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("reading the TLS certificate: %w", err)
	}
	return tls.NewListener(l, &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"},
	}), nil
}

// Serve answers on the listener until ctx ends, then lets requests end.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var background sync.WaitGroup
	background.Go(func() { s.keepHouse(ctx) })
	background.Go(func() { s.sender.Run(ctx) })
	background.Go(func() { s.watchElevations(ctx) })
	held := context.AfterFunc(ctx, s.holding.stop) // else requests that are held would delay the end
	defer held()
	background.Go(func() { s.keepSeen(ctx) })
	background.Go(func() { s.serveSockets(ctx) })
	err := s.serveMore(ctx, &background)
	if err == nil {
		h := s.Handler()
		if s.config.Front != nil {
			h = s.config.Front(h)
		}
		err = serve(ctx, s.httpServer(h), l)
	}
	stop()
	background.Wait() // before the store is closed
	return err
}

// serveMore begins to answer where gateways come, beside the public listener.
func (s *Server) serveMore(ctx context.Context, background *sync.WaitGroup) error {
	gateways, envoy, err := s.listenMore()
	if err != nil {
		return err
	}
	one := func(l net.Listener, serve func() error) {
		if l == nil {
			return
		}
		background.Go(func() {
			if err := serve(); err != nil && ctx.Err() == nil {
				s.log.Error("gateways are not answered any more", "address", l.Addr().String(), "error", err)
			}
		})
	}
	one(gateways, func() error { return s.serveGateways(ctx, gateways) })
	one(envoy, func() error { return s.serveEnvoy(ctx, envoy, "") })
	return nil
}

// keepSeen stores now and then when sessions were seen, and forgets who was not;
// it sees to the signing keys, too.
func (s *Server) keepSeen(ctx context.Context) {
	tick := time.NewTicker(noteAfter / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			// What was seen since the last time would be idle time.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
			defer cancel()
			if err := s.noteSeen(ctx); err != nil {
				s.log.Warn("when sessions were seen is not stored", "error", err)
			}
			return
		case <-tick.C:
		}
		if err := s.noteSeen(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("when sessions were seen is not stored", "error", err)
		}
		s.visitors.forget(s.now().Add(-forgetAfter))
		if err := s.rotateKeys(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("signing keys not rotated; the old one stays", "error", err)
		}
	}
}

// keepHouse forgets, once an hour, what has expired.
func (s *Server) keepHouse(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.store.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.PurgeEnrolments()
			return err
		})
		if err = errors.Join(err, s.people.Sweep(ctx)); err != nil && ctx.Err() == nil {
			s.log.Error("what expired is not forgotten", "error", err)
		}
	}
}

func serve(ctx context.Context, h *http.Server, l net.Listener) error {
	done := make(chan error, 1)
	go func() { done <- h.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err := h.Shutdown(drain)
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// readAll reads a body whose reader is bounded. A length that was announced and
// is small is believed for the size of the buffer, and checked.
func readAll(r *http.Request) ([]byte, error) {
	if r.ContentLength <= 0 || r.ContentLength > maxAnnounced {
		return io.ReadAll(r.Body)
	}
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, body)
	return body, err
}

const maxAnnounced = 64 << 10
