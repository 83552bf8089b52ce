package store

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// Gateway is a credential with which a gateway asks about devices.
type Gateway struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Apps are those that it may ask about; none means none.
	Apps []string `json:"apps"`
	// Dialect is the only one in which it may ask.
	Dialect string `json:"dialect"`
	// Restricts: it enforces restrictions; without it restrict is a refusal.
	Restricts bool `json:"restricts"`
	// Audience is whom its tokens are for; empty: it gets none.
	Audience string `json:"audience,omitempty"`
	// Certificate is the SHA-256 of the SubjectPublicKeyInfo of its client
	// certificate, hexadecimal; empty: it has none.
	Certificate string `json:"certificate,omitempty"`
	// Socket is the path of a unix socket that is its alone; empty: none.
	Socket    string    `json:"socket,omitempty"`
	CreatedAt time.Time `json:"created_at"` // set by AddGateway
	CreatedBy string    `json:"created_by"`
}

const gatewayColumns = "id, name, apps, dialect, restricts, audience, certificate, socket, created_at, created_by"

// plainDialect is that of a gateway of which nothing was said: it was the only one
// once.
const plainDialect = "authzen"

func scanGateway(row scanner) (*Gateway, error) {
	g := new(Gateway)
	var apps []byte
	var created int64
	if err := row.Scan(&g.ID, &g.Name, &apps, &g.Dialect, &g.Restricts, &g.Audience, &g.Certificate, &g.Socket,
		&created, &g.CreatedBy); err != nil {
		return nil, err
	}
	g.CreatedAt = instant(created)
	return g, json.Unmarshal(apps, &g.Apps)
}

// AddGateway keeps one and returns its bearer secret, mgw_ and 43 characters,
// which cannot be had again. Without a Dialect it sets authzen. ErrTaken when the
// id, the certificate or the socket is another's.
func (t *Tx) AddGateway(g *Gateway) (secret string, err error) {
	if err := g.fit(); err != nil {
		return "", err
	}
	if g.Dialect == "" {
		g.Dialect = plainDialect
	}
	apps, err := json.Marshal(g.Apps)
	if err != nil {
		return "", err
	}
	g.CreatedAt = t.now
	secret, hash := newSecret(gatewayPrefix)
	t.changed(GatewayChanged, g.ID)
	return secret, t.one("INSERT INTO gateways (hash, "+gatewayColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		hash[:], g.ID, g.Name, string(apps), g.Dialect, g.Restricts, g.Audience, g.Certificate, g.Socket,
		millis(g.CreatedAt), g.CreatedBy)
}

// fit refuses what the store does not keep of one.
func (g *Gateway) fit() error {
	if g.ID == "" {
		return errors.New("gateway without id")
	}
	if sum, err := hex.DecodeString(g.Certificate); g.Certificate != "" &&
		(err != nil || len(sum) != sha256.Size || strings.ToLower(g.Certificate) != g.Certificate) {
		return errors.New("certificate of a gateway is no SHA-256 in lower-case hexadecimal")
	}
	return errors.Join(bounded("dialect", g.Dialect, maxID), bounded("audience", g.Audience, maxText),
		bounded("socket", g.Socket, maxText))
}

// Gateway reads the one with that id; ErrNotFound.
func (t *Tx) Gateway(id string) (*Gateway, error) {
	return pick(t, scanGateway, "SELECT "+gatewayColumns+" FROM gateways WHERE id = ?", id)
}

// GatewayByCertificate reads the one with that client certificate, named as
// Gateway.Certificate is; ErrNotFound.
func (t *Tx) GatewayByCertificate(certificate string) (*Gateway, error) {
	if certificate == "" {
		return nil, ErrNotFound // gateways without one have the empty text
	}
	return pick(t, scanGateway, "SELECT "+gatewayColumns+" FROM gateways WHERE certificate = ?", certificate)
}

// GatewayBySecret reads the one with that bearer secret; ErrNotFound without.
func (t *Tx) GatewayBySecret(secret string) (*Gateway, error) {
	hash, ok := hashSecret(gatewayPrefix, secret)
	if !ok {
		return nil, ErrNotFound
	}
	list, err := t.gateways("WHERE hash = ?", hash[:])
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// Gateways lists all by name.
func (t *Tx) Gateways() ([]*Gateway, error) { return t.gateways("ORDER BY name, id") }

func (t *Tx) gateways(where string, args ...any) (list []*Gateway, err error) {
	err = t.query(func(row scanner) error {
		g, err := scanGateway(row)
		list = append(list, g)
		return err
	}, "SELECT "+gatewayColumns+" FROM gateways "+where, args...)
	return list, err
}

// RemoveGateway ends a credential for ever, in the journal too.
func (t *Tx) RemoveGateway(id string) error {
	var hash []byte
	if err := t.first([]any{&hash}, "SELECT hash FROM gateways WHERE id = ?", id); err != nil {
		return err
	}
	now := millis(t.now)
	t.lines = append(t.lines, line{Kind: lineGateway, Epoch: t.epoch, Time: now, Gateway: id, Hash: hash,
		Cause: causeRemoved})
	_, err := t.endGateway(id, hash, now)
	return err
}

// endGateway removes the credential with that hash, if it is there. It goes by
// the hash: the id may have been given to another one since.
func (t *Tx) endGateway(id string, hash []byte, at int64) (removed bool, err error) {
	if err := t.kill(deadGateway, hash, id, at, causeRemoved); err != nil {
		return false, err
	}
	n, err := t.exec("DELETE FROM gateways WHERE hash = ?", hash)
	t.changed(GatewayChanged, id)
	return n > 0, err
}
