//go:build !noextauthz

package server

import (
	"context"
	"net"

	"muster/server/gateway/extauthz"
)

// serveEnvoy answers Envoy on a listener until ctx ends; of is the gateway whose
// socket it is, or empty. Built with the tag noextauthz the program links no gRPC.
func (s *Server) serveEnvoy(ctx context.Context, l net.Listener, of string) error {
	return extauthz.Serve(ctx, l, of, s.look, s.gatewayCredential, s.places())
}
