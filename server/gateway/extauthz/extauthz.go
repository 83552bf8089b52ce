package extauthz

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"muster/server/gateway"
)

// Limits of a connection. A check carries the request's headers, of which Envoy
// takes 60 kB by default, and with them what else an operator adds.
const (
	maxCheck    = 1 << 20
	maxMetadata = 16 << 10
	maxStreams  = 256
	maxSecret   = 256
	handshake   = 10 * time.Second
	pingEvery   = 10 * time.Second // Envoy may keep connections alive as often
	idle        = 15 * time.Minute // of a connection without a call
	drain       = 5 * time.Second  // at the end, for calls under way
)

// extension is the context extension that names the application.
const extension = "app"

// server answers checks.
type server struct {
	auth.UnimplementedAuthorizationServer
	look         gateway.LookFunc
	authenticate gateway.AuthenticateFunc
	places       gateway.Places
	log          *slog.Logger
}

// New returns a gRPC server that answers Envoy's checks. options come after its own
// limits and may change them; they bring the transport's credentials, and, for a
// listener that knows its gateway, an interceptor that says so by gateway.WithPeer.
// A verified client certificate is found without one.
func New(look gateway.LookFunc, authenticate gateway.AuthenticateFunc, places gateway.Places, options ...grpc.ServerOption) *grpc.Server {
	limits := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxCheck), grpc.MaxHeaderListSize(maxMetadata), grpc.MaxConcurrentStreams(maxStreams), grpc.ConnectionTimeout(handshake),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingEvery, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idle}),
	}
	s := grpc.NewServer(slices.Concat(limits, options)...)
	auth.RegisterAuthorizationServer(s, newServer(look, authenticate, places))
	return s
}

// Serve answers on a listener until ctx ends. of is the gateway whose own unix socket
// it is, whose callers then are that gateway; empty: they bring a credential.
func Serve(ctx context.Context, l net.Listener, of string, look gateway.LookFunc, authenticate gateway.AuthenticateFunc, places gateway.Places) error {
	var options []grpc.ServerOption
	if of != "" {
		options = append(options, grpc.UnaryInterceptor(func(ctx context.Context, r any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			return next(gateway.WithPeer(ctx, gateway.Peer{Gateway: of}), r)
		}))
	}
	s := New(look, authenticate, places, options...)
	stop := context.AfterFunc(ctx, func() {
		// A call that never brings its message must not keep the server from ending.
		late := time.AfterFunc(drain, s.Stop)
		defer late.Stop()
		s.GracefulStop()
	})
	defer stop()
	return s.Serve(l)
}

func newServer(look gateway.LookFunc, authenticate gateway.AuthenticateFunc, places gateway.Places) *server {
	log := places.Log
	if log == nil {
		log = slog.Default()
	}
	return &server{look: look, authenticate: authenticate, places: places, log: log}
}

// Check answers one request. It returns no error: Envoy treats one by a setting of
// its own, which may be to allow.
func (s *server) Check(ctx context.Context, r *auth.CheckRequest) (answer *auth.CheckResponse, _ error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("check panicked", "panic", p, "stack", string(debug.Stack()))
			answer = broken()
		}
	}()
	app := r.GetAttributes().GetContextExtensions()[extension]
	credential, refused := s.admit(ctx, app)
	if refused != nil {
		return s.deny(refused, app), nil
	}
	seen, ok := read(r.GetAttributes())
	if !ok {
		return s.deny(unreadable(), app), nil
	}
	q, err := seen.Question(app)
	if err != nil {
		return s.deny(unreadable(), app), nil
	}
	a := s.look.Ask(ctx, q, credential, s.log)
	return answerOf(s.places.Reply(a, q, credential), seen.Header), nil
}

// deny answers with a refusal that no decision made, about a request of which
// nothing is known.
func (s *server) deny(a *gateway.Answer, app string) *auth.CheckResponse {
	return answerOf(s.places.Reply(a, &gateway.Question{App: app}, &gateway.Credential{}), nil)
}

func unreadable() *gateway.Answer {
	return gateway.Refusal("request-unreadable", "The gateway did not say clearly what was asked.",
		"Configure ext_authz as muster's snippet for it does, with all headers of the request.")
}

// admit finds who asks and whether it may ask this; else a refusal. An application
// that is not named is not theirs.
func (s *server) admit(ctx context.Context, app string) (*gateway.Credential, *gateway.Answer) {
	c, ok := s.caller(ctx)
	switch {
	case !ok:
		return nil, gateway.Refusal("gateway-unknown", "This gateway is not known.", "Register the gateway, and give it its credential.")
	case c.Dialect != gateway.Envoy:
		return nil, gateway.Refusal("dialect-wrong", "This credential is for gateways of another kind.", "Use the path of the credential's own dialect.")
	case app == "" || app == "*" || !slices.Contains(c.Apps, app) && !slices.Contains(c.Apps, "*"):
		return nil, gateway.Refusal("app-not-yours", "This credential does not serve that application.",
			"Name the application in the route's context_extensions, and use its own gateway credential.")
	}
	return c, nil
}

// caller authenticates: by how it came, where that is known, or by the bearer
// secret of exactly one authorization in the call's metadata.
func (s *server) caller(ctx context.Context) (*gateway.Credential, bool) {
	if ctx = withCertificate(ctx); gateway.PeerOf(ctx) != (gateway.Peer{}) {
		if c, ok := s.authenticate(ctx, ""); ok && c != nil {
			return c, true
		}
	}
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(values) != 1 {
		return nil, false
	}
	scheme, secret, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "bearer") || secret == "" || len(secret) > maxSecret {
		return nil, false
	}
	c, ok := s.authenticate(ctx, secret)
	return c, ok && c != nil
}

// withCertificate tells of the client's certificate, if TLS has verified one. What
// the listener itself told comes first.
func withCertificate(ctx context.Context) context.Context {
	from, ok := peer.FromContext(ctx)
	if !ok || gateway.PeerOf(ctx) != (gateway.Peer{}) {
		return ctx
	}
	info, ok := from.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 || len(info.State.PeerCertificates) == 0 {
		return ctx
	}
	sum := sha256.Sum256(info.State.PeerCertificates[0].RawSubjectPublicKeyInfo)
	return gateway.WithPeer(ctx, gateway.Peer{Certificate: hex.EncodeToString(sum[:])})
}
