package server

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net/http"
	"path/filepath"
	"slices"

	"muster/server/gateway"
	"muster/server/store"
)

// GatewayRequest asks for a credential of a gateway or program.
type GatewayRequest struct {
	Name string   `json:"name"`
	Apps []string `json:"apps"`
	// Dialect is how it asks: nginx, caddy, traefik, haproxy, envoy, http or authzen,
	// which is the default.
	Dialect string `json:"dialect,omitempty"`
	// Restricts: it enforces restrictions; without it restrict is a refusal.
	Restricts bool `json:"restricts,omitempty"`
	// Audience is whom its tokens are for; empty: it gets none.
	Audience string `json:"audience,omitempty"`
	// Certificate is a client certificate in PEM, whose key then is a credential.
	Certificate string `json:"certificate,omitempty"`
	// Socket is the absolute path of a unix socket that the server opens for this
	// gateway alone.
	Socket string `json:"socket,omitempty"`
}

// NewGateway is the only time that a secret is seen.
type NewGateway struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

// dialects are all in which a gateway may ask.
func dialects() []gateway.Dialect {
	return []gateway.Dialect{gateway.AuthZEN, gateway.Nginx, gateway.Caddy, gateway.Traefik, gateway.HAProxy, gateway.Envoy, gateway.HTTP}
}

// maxAudience bounds whom tokens are for.
const maxAudience = 255

// row checks a request and makes what is stored.
func (q *GatewayRequest) row() (*store.Gateway, error) {
	bad := func(detail, fix string) error {
		return refuse(http.StatusBadRequest, "gateway-request", detail, fix)
	}
	if q.Dialect == "" {
		q.Dialect = string(gateway.AuthZEN)
	}
	switch {
	case q.Name == "" || len(q.Apps) == 0:
		return nil, bad("A credential needs a name and at least one application.", "Give them.")
	case !slices.Contains(dialects(), gateway.Dialect(q.Dialect)):
		return nil, bad("There is no such dialect.", "Use nginx, caddy, traefik, haproxy, envoy, http or authzen.")
	case q.Restricts && q.Dialect == string(gateway.Traefik):
		return nil, bad("Traefik cannot enforce restrictions: it does not tell of every change of protocol.", "Leave out restricts: a restricted request is then refused.")
	case len(q.Audience) > maxAudience:
		return nil, bad("The audience is too long.", "Use at most 255 bytes.")
	case q.Socket != "" && (!filepath.IsAbs(q.Socket) || len(q.Socket) > maxSocket):
		return nil, bad("The path of the socket is not absolute, or too long for one.", "Give an absolute path of at most 100 bytes.")
	}
	g := &store.Gateway{ID: newID(), Name: q.Name, Apps: q.Apps, CreatedBy: localActor,
		Dialect: q.Dialect, Restricts: q.Restricts, Audience: q.Audience, Socket: q.Socket}
	if q.Certificate != "" {
		block, _ := pem.Decode([]byte(q.Certificate))
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, bad("The certificate is not PEM.", "Give the file with -----BEGIN CERTIFICATE-----.")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, bad("The certificate could not be read.", "Give the gateway's own client certificate.")
		}
		g.Certificate = spkiHash(cert)
	}
	return g, nil
}

// maxSocket is what every system's unix sockets can be named with.
const maxSocket = 100

// spkiHash names a certificate's key: renewing the certificate keeps it.
func spkiHash(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// CreateGateway makes a credential that may ask about some applications.
func (s *Server) CreateGateway(ctx context.Context, q GatewayRequest) (*NewGateway, error) {
	g, err := q.row()
	if err != nil {
		return nil, err
	}
	made := &NewGateway{ID: g.ID}
	q.Certificate = g.Certificate // the audit log needs no more of it
	err = s.store.Update(ctx, func(tx *store.Tx) (err error) {
		if made.Secret, err = tx.AddGateway(g); err != nil {
			return err
		}
		return audit(tx, localActor, "gateway.create", g.ID, q)
	})
	if errors.Is(err, store.ErrTaken) {
		err = refuse(http.StatusConflict, "gateway-taken", "Another gateway has that certificate or socket.", "Give each gateway its own.")
	}
	if err == nil {
		s.sockets.wake()
	}
	return made, err
}

func (s *Server) createGateway(r *http.Request, body []byte) (any, error) {
	var q GatewayRequest
	if err := read(body, &q); err != nil {
		return nil, err
	}
	return s.CreateGateway(r.Context(), q)
}

func (s *Server) listGateways(r *http.Request, _ []byte) (any, error) {
	return listOf(r.Context(), s, (*store.Tx).Gateways)
}

func (s *Server) deleteGateway(r *http.Request, _ []byte) (any, error) {
	id := r.PathValue("id")
	err := s.store.Update(r.Context(), func(tx *store.Tx) error {
		if err := tx.RemoveGateway(id); err != nil {
			return err
		}
		return audit(tx, localActor, "gateway.delete", id, nil)
	})
	if err != nil {
		return nil, err
	}
	s.sockets.wake()
	return struct{}{}, nil
}

// gatewayCredential finds who bears a secret, or who came by a certificate or a
// socket of its own (gateway.AuthenticateFunc). What was found is kept until any
// credential changes; a lookup that began before that fills only the discarded map.
func (s *Server) gatewayCredential(ctx context.Context, secret string) (*gateway.Credential, bool) {
	known := s.credentials.Load()
	key, find := s.credentialKey(ctx, secret)
	if find == nil {
		return nil, false
	}
	if c, ok := known.Load(key); ok {
		return c.(*gateway.Credential), true
	}
	var found *store.Gateway
	err := s.store.View(ctx, func(tx *store.Tx) (err error) {
		found, err = find(tx)
		return err
	})
	if err != nil {
		if !errors.Is(err, store.ErrNotFound) {
			s.log.Error("gateway credential not looked up", "error", err)
		}
		return nil, false
	}
	c := &gateway.Credential{ID: found.ID, Name: found.Name, Dialect: gateway.Dialect(found.Dialect), Apps: found.Apps,
		Restricts: found.Restricts, Audience: found.Audience}
	known.Store(key, c)
	return c, true
}

// credentialKey tells what a caller goes by: a secret where one is given, else how
// it came. Its first word keeps the kinds apart, whatever a stranger puts into a
// secret.
func (s *Server) credentialKey(ctx context.Context, secret string) (key [sha256.Size]byte, find func(*store.Tx) (*store.Gateway, error)) {
	peer := gateway.PeerOf(ctx)
	switch {
	case secret != "":
		return sha256.Sum256([]byte("secret " + secret)), func(tx *store.Tx) (*store.Gateway, error) { return tx.GatewayBySecret(secret) }
	case peer.Gateway != "":
		return sha256.Sum256([]byte("socket " + peer.Gateway)), func(tx *store.Tx) (*store.Gateway, error) { return tx.Gateway(peer.Gateway) }
	case peer.Certificate != "":
		return sha256.Sum256([]byte("certificate " + peer.Certificate)), func(tx *store.Tx) (*store.Gateway, error) {
			return tx.GatewayByCertificate(peer.Certificate)
		}
	}
	return key, nil
}
