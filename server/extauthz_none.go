//go:build noextauthz

package server

import (
	"context"
	"errors"
	"net"
)

// serveEnvoy is not there in a program that was built with the tag noextauthz.
func (s *Server) serveEnvoy(_ context.Context, l net.Listener, _ string) error {
	return errors.Join(errors.New("this program was built without Envoy's protocol"), l.Close())
}
