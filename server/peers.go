package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"muster/server/gateway"
	"muster/server/store"
)

// gatewayConfig is how the listener for gateways' certificates shakes hands. Any
// certificate may come: whose key it holds is looked up in the store, no authority
// is asked.
func (s *Server) gatewayConfig() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(s.config.TLSCert, s.config.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("reading the TLS certificate: %w", err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"},
		ClientAuth: tls.RequireAnyClientCert,
	}, nil
}

// peered puts into a request's context how its caller came.
func peered(h http.Handler, of string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer := gateway.Peer{Gateway: of}
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && time.Now().Before(r.TLS.PeerCertificates[0].NotAfter) {
			peer.Certificate = spkiHash(r.TLS.PeerCertificates[0])
		}
		h.ServeHTTP(w, r.WithContext(gateway.WithPeer(r.Context(), peer)))
	})
}

// sockets are the unix sockets of gateways. Who can open one is that gateway: the
// rights of its folder say who can.
type sockets struct {
	woken chan struct{} // has room for one
}

func newSockets() *sockets { return &sockets{woken: make(chan struct{}, 1)} }

// wake asks to open and close them as the store has them.
func (k *sockets) wake() {
	select {
	case k.woken <- struct{}{}:
	default:
	}
}

// socketRetry is how long a socket that could not be opened waits.
const socketRetry = 10 * time.Second

// serveSockets keeps the sockets of gateways open until ctx ends.
func (s *Server) serveSockets(ctx context.Context) {
	open := make(map[string]context.CancelFunc) // by gateway id
	ended := make(chan string, 1)               // gateways whose socket is served no more
	var serving sync.WaitGroup
	defer serving.Wait()
	retry := time.NewTicker(socketRetry)
	defer retry.Stop()
	for {
		wanted, err := s.wantedSockets(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.Error("sockets of gateways not looked up", "error", err)
		}
		for id, end := range open {
			if wanted[id] == nil && err == nil {
				end()
				delete(open, id)
			}
		}
		for id, g := range wanted {
			if open[id] != nil {
				continue
			}
			l, err := listenSocket(g.Socket)
			if err != nil {
				s.log.Error("socket of a gateway not opened", "gateway", g.Name, "error", err)
				continue
			}
			one, end := context.WithCancel(ctx)
			open[id] = end
			serving.Go(func() {
				if err := s.serveSocket(one, l, g); err != nil {
					s.log.Error("socket of a gateway ended", "gateway", g.Name, "error", err)
				}
				select {
				case ended <- id:
				case <-one.Done():
				}
			})
		}
		select {
		case <-ctx.Done():
			for _, end := range open {
				end()
			}
			return
		case id := <-ended:
			if end := open[id]; end != nil {
				end()
				delete(open, id)
			}
		case <-s.sockets.woken:
		case <-retry.C:
		}
	}
}

// wantedSockets are the gateways that have one.
func (s *Server) wantedSockets(ctx context.Context) (wanted map[string]*store.Gateway, err error) {
	wanted = make(map[string]*store.Gateway)
	err = s.store.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Gateways()
		for _, g := range all {
			if g.Socket != "" {
				wanted[g.ID] = g
			}
		}
		return err
	})
	return wanted, err
}

// listenSocket opens one that its owner and group may use. A socket that nobody
// answers on is left over and is replaced; any other file is not.
func listenSocket(path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("%s is there and is no socket", path)
		}
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			c.Close()
			return nil, fmt.Errorf("%s is in use", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// serveSocket answers one gateway.
func (s *Server) serveSocket(ctx context.Context, l net.Listener, g *store.Gateway) error {
	if gateway.Dialect(g.Dialect) == gateway.Envoy {
		return s.serveEnvoy(ctx, l, g.ID)
	}
	return serve(ctx, s.httpServer(peered(s.Handler(), g.ID)), l)
}

// httpServer has the limits of every listener that strangers reach.
func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// serveGateways answers gateways that come with a client certificate.
func (s *Server) serveGateways(ctx context.Context, l net.Listener) error {
	return serve(ctx, s.httpServer(peered(s.Handler(), "")), l)
}

// listenMore opens what gateways need beside the public listener; nil where it is
// not configured.
func (s *Server) listenMore() (gateways, envoy net.Listener, err error) {
	if s.config.GatewayListen != "" {
		config, err := s.gatewayConfig()
		if err != nil {
			return nil, nil, err
		}
		if gateways, err = tls.Listen("tcp", s.config.GatewayListen, config); err != nil {
			return nil, nil, fmt.Errorf("opening the listener for gateways: %w", err)
		}
	}
	if s.config.EnvoyListen != "" {
		if envoy, err = net.Listen("tcp", s.config.EnvoyListen); err != nil {
			if gateways != nil {
				gateways.Close()
			}
			return nil, nil, fmt.Errorf("opening the listener for Envoy: %w", err)
		}
	}
	return gateways, envoy, nil
}
