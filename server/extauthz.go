//go:build !noextauthz

package server

import (
	"context"
	"net"

	"muster/server/gateway"
	"muster/server/gateway/extauthz"
)

// serveEnvoy answers Envoy on a listener until ctx ends; of is the gateway whose
// socket it is, or empty. Built with the tag noextauthz the program links no gRPC.
func (s *Server) serveEnvoy(ctx context.Context, l net.Listener, of string) error {
	g := extauthz.New(s.look, s.gatewayCredential, s.places())
	_ = of
	stop := context.AfterFunc(ctx, g.GracefulStop)
	defer stop()
	return g.Serve(l)
}

var _ gateway.Peer
