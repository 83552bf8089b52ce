package store

import (
	"encoding/json"
	"errors"
	"time"
)

// Gateway is a credential with which a gateway asks about devices.
type Gateway struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Apps are those that it may ask about; none means none.
	Apps      []string  `json:"apps"`
	CreatedAt time.Time `json:"created_at"` // set by AddGateway
	CreatedBy string    `json:"created_by"`
}

const gatewayColumns = "id, name, apps, created_at, created_by"

func scanGateway(row scanner) (*Gateway, error) {
	g := new(Gateway)
	var apps []byte
	var created int64
	if err := row.Scan(&g.ID, &g.Name, &apps, &created, &g.CreatedBy); err != nil {
		return nil, err
	}
	g.CreatedAt = instant(created)
	return g, json.Unmarshal(apps, &g.Apps)
}

// AddGateway keeps one and returns its bearer secret, mgw_ and 43 characters,
// which cannot be had again.
func (t *Tx) AddGateway(g *Gateway) (secret string, err error) {
	if g.ID == "" {
		return "", errors.New("gateway without id")
	}
	apps, err := json.Marshal(g.Apps)
	if err != nil {
		return "", err
	}
	g.CreatedAt = t.now
	secret, hash := newSecret(gatewayPrefix)
	t.changed(GatewayChanged, g.ID)
	return secret, t.one("INSERT INTO gateways (hash, "+gatewayColumns+") VALUES (?, ?, ?, ?, ?, ?)",
		hash[:], g.ID, g.Name, string(apps), millis(g.CreatedAt), g.CreatedBy)
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
