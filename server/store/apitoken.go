package store

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// APIToken is a program's credential for the administrators' interface.
type APIToken struct {
	ID        string    `json:"id"`
	Label     string    `json:"label"`
	Scopes    []string  `json:"scopes"`
	CreatedAt time.Time `json:"created_at"` // set by AddAPIToken
	CreatedBy string    `json:"created_by"` // a person's id: it ends with theirs
	Expires   time.Time `json:"expires"`
	UsedAt    time.Time `json:"used_at,omitzero"` // to the hour
}

const apiTokenSelect = `SELECT id, label, scopes, created_at, created_by, expires_at, used_at FROM api_tokens
	WHERE ended_at = 0 AND expires_at > ? AND epoch = ? `

func scanAPIToken(row scanner) (*APIToken, error) {
	k := new(APIToken)
	var scopes string
	var created, expires, used int64
	if err := row.Scan(&k.ID, &k.Label, &scopes, &created, &k.CreatedBy, &expires, &used); err != nil {
		return nil, err
	}
	k.CreatedAt, k.Expires, k.UsedAt = instant(created), instant(expires), instant(used)
	return k, json.Unmarshal([]byte(scopes), &k.Scopes)
}

// AddAPIToken keeps one and returns its secret, mat_ and 43 characters. It sets
// ID unless there is one. ErrRevoked when the person who makes it is disabled.
func (t *Tx) AddAPIToken(k *APIToken) (secret string, err error) {
	if k.CreatedBy == "" || !k.Expires.After(t.now) {
		return "", errors.New("API token without creator, or expired")
	}
	if k.ID == "" {
		k.ID = newID("t_")
	}
	if err := errors.Join(bounded("id of a token", k.ID, maxID), bounded("label", k.Label, maxText),
		bounded("creator", k.CreatedBy, maxText)); err != nil {
		return "", err
	}
	if strings.HasPrefix(k.CreatedBy, personPrefix) {
		if err := t.enabled(k.CreatedBy); err != nil {
			return "", err
		}
	}
	scopes, err := packJSON("scopes", k.Scopes, maxDetail)
	if err != nil {
		return "", err
	}
	k.CreatedAt, k.UsedAt = t.now, time.Time{}
	secret, hash := newSecret(apiTokenPrefix)
	return secret, t.one(`INSERT INTO api_tokens (id, hash, label, scopes, epoch, created_at, created_by,
		expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, k.ID, hash[:], k.Label, scopes, t.epoch,
		millis(k.CreatedAt), k.CreatedBy, millis(k.Expires))
}

// APITokenBySecret reads the live one; ErrTokenRefused. In an Update it notes
// the use, to the hour; in a View nothing is noted.
func (t *Tx) APITokenBySecret(secret string) (*APIToken, error) {
	hash, ok := hashSecret(apiTokenPrefix, secret)
	if !ok {
		return nil, ErrTokenRefused
	}
	k, err := pick(t, scanAPIToken, apiTokenSelect+"AND hash = ?", millis(t.now), t.epoch, hash[:])
	if errors.Is(err, ErrNotFound) {
		return nil, ErrTokenRefused
	}
	if err != nil {
		return nil, err
	}
	hour := t.now.Truncate(time.Hour)
	if !t.writes || !hour.After(k.UsedAt) {
		return k, nil
	}
	k.UsedAt = hour
	return k, t.one("UPDATE api_tokens SET used_at = ? WHERE id = ?", millis(hour), k.ID)
}

// APITokens lists all live ones, newest first.
func (t *Tx) APITokens() ([]*APIToken, error) {
	return collect(t, scanAPIToken, apiTokenSelect+"ORDER BY created_at DESC, id", millis(t.now), t.epoch)
}

// EndAPIToken ends one for ever; ErrNotFound.
func (t *Tx) EndAPIToken(id string) error {
	return t.one("UPDATE api_tokens SET ended_at = ? WHERE id = ? AND ended_at = 0", millis(t.now), id)
}
