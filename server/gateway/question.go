package gateway

import (
	"context"
	"log/slog"
	"time"

	"muster/server/decide"
)

// Dialect is how a gateway asks. It is fixed by the path and the credential, never
// guessed from headers.
type Dialect string

// The dialects. HTTP is that of our own middleware; AuthZEN that of programs.
const (
	Nginx   Dialect = "nginx"
	Caddy   Dialect = "caddy"
	Traefik Dialect = "traefik"
	HAProxy Dialect = "haproxy"
	Envoy   Dialect = "envoy"
	HTTP    Dialect = "http"
	AuthZEN Dialect = "authzen"
)

// Credential is a caller that may ask.
type Credential struct {
	ID, Name string
	Dialect  Dialect
	// Apps are the applications it may ask about; nil means none, "*" all.
	Apps []string
	// Restricts: it enforces what a restrict answer says. Without it restrict is a
	// refusal.
	Restricts bool
	// Audience is whom tokens are for; empty: it gets none.
	Audience string
}

// sees reports whether a credential may ask about an application; "*" is all.
func (c *Credential) sees(app string) bool {
	for _, a := range c.Apps {
		if a == app || a == "*" {
			return true
		}
	}
	return false
}

// Question is one request of somebody's browser, or program, to an application,
// as a gateway saw it. [Seen.Question] makes it.
type Question struct {
	App  string // pinned by the gateway's own configuration
	Host string // as the client asked, with port; lower case
	// Cookie is the value of the application's cookie; empty: none, or several.
	Cookie  string
	Request decide.Request
	// Back is the path and query to return to; "/" where that is not a page.
	Back string
	// Navigation: a browser opens a page, so that it can be sent elsewhere.
	Navigation bool
	// Head: the answer carries no body (RFC 9110 §9.3.2).
	Head bool
}

// Identity is what an application is told of who asks. All are empty where there
// is nothing to tell.
type Identity struct {
	User, Mail     string
	Groups         []string
	Session        string // its id, which tells nothing of its cookie
	Device, Level  string // of the linked laptop
	AMR            []string
	ACR            string
	UserVerifiedAt time.Time
}

// AuthenticateFunc finds the credential of a caller: by its bearer secret, or, where
// that is empty, by how it came (client certificate, unix socket: see [Peer]).
type AuthenticateFunc func(ctx context.Context, secret string) (*Credential, bool)

// Peer is how a caller came, as the listener knows it. It travels in the context of
// a request.
type Peer struct {
	// Certificate is the SHA-256 of the SubjectPublicKeyInfo of the client's verified
	// certificate, hexadecimal; empty: none.
	Certificate string
	// Gateway is the id of the gateway whose unix socket this is; empty: none.
	Gateway string
}

type peerKey struct{}

// WithPeer tells handlers how a caller came. Only a listener may call it, with what
// it has verified itself.
func WithPeer(ctx context.Context, p Peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

// PeerOf is how a caller came; zero when no listener told.
func PeerOf(ctx context.Context) Peer {
	p, _ := ctx.Value(peerKey{}).(Peer)
	return p
}

// Places are addresses that answers name, and what else every answer needs.
type Places struct {
	// PublicURL is muster's own origin.
	PublicURL string
	// Mint makes the token of an answer that lets a request through; nil, or an empty
	// result: there is none. It is called only for credentials with an Audience.
	Mint func(a *Answer, c *Credential, app string) string
	// Log hears of our own defects; nil: the default one.
	Log *slog.Logger
}

func (p *Places) log() *slog.Logger {
	if p.Log != nil {
		return p.Log
	}
	return slog.Default()
}
