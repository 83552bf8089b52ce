package store

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"muster/server/verify"
)

// Token admits devices to enrolment. Its secret is shown once, when it is made;
// the store keeps a hash.
type Token struct {
	ID       string       `json:"id"`
	Label    string       `json:"label"`
	Class    verify.Class `json:"class"`
	Group    string       `json:"group"`
	Owner    string       `json:"owner"`
	MinLevel verify.Level `json:"min_level"` // a device below it becomes pending
	UsesLeft int          `json:"uses_left"`
	Expires  time.Time    `json:"expires"`
	// CreatedAt is set by AddToken.
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
}

// What secrets start with, so that scanners of leaks know them.
const (
	tokenPrefix    = "mst_"
	gatewayPrefix  = "mgw_"
	sessionPrefix  = "mss_"
	visitPrefix    = "msv_"
	offerPrefix    = "mso_"
	apiTokenPrefix = "mat_"
)

// newSecret draws 32 bytes and returns them in text form and hashed. They are
// random enough for a plain hash.
func newSecret(prefix string) (text string, hash [sha256.Size]byte) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // does not return when it cannot
	return prefix + base64.RawURLEncoding.EncodeToString(b[:]), sha256.Sum256(b[:])
}

// hashSecret reads the text form; ok is false when it is none.
func hashSecret(prefix, text string) (hash [sha256.Size]byte, ok bool) {
	rest, ok := strings.CutPrefix(text, prefix)
	if !ok || len(rest) != 43 {
		return hash, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if err != nil {
		return hash, false
	}
	return sha256.Sum256(b), true
}

const tokenColumns = "id, label, class, grp, owner, min_level, uses_left, expires_at, created_at, created_by"

func scanToken(row scanner) (*Token, error) {
	k := new(Token)
	var level string
	var expires, created int64
	err := row.Scan(&k.ID, &k.Label, &k.Class, &k.Group, &k.Owner, &level, &k.UsesLeft, &expires,
		&created, &k.CreatedBy)
	if err != nil {
		return nil, err
	}
	k.Expires, k.CreatedAt = instant(expires), instant(created)
	return k, k.MinLevel.UnmarshalText([]byte(level))
}

// AddToken keeps a token and returns its secret, mst_ and 43 characters, which
// cannot be had again.
func (t *Tx) AddToken(k *Token) (secret string, err error) {
	if k.ID == "" || k.UsesLeft < 1 || !k.Expires.After(t.now) {
		return "", errors.New("token without id or use, or expired")
	}
	k.CreatedAt = t.now
	secret, hash := newSecret(tokenPrefix)
	t.changed(TokenChanged, k.ID)
	return secret, t.one(`INSERT INTO tokens (hash, `+tokenColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		hash[:], k.ID, k.Label, string(k.Class), k.Group, k.Owner, k.MinLevel.String(), k.UsesLeft,
		millis(k.Expires), millis(k.CreatedAt), k.CreatedBy)
}

// PeekToken reads the token of a secret that could be used now, without using
// it. ErrTokenRefused tells no more than that.
func (t *Tx) PeekToken(secret string) (*Token, error) {
	hash, ok := hashSecret(tokenPrefix, secret)
	if !ok {
		return nil, ErrTokenRefused
	}
	k, err := t.tokenByHash(hash[:])
	if errors.Is(err, ErrNotFound) || err == nil && (k.UsesLeft < 1 || !k.Expires.After(t.now)) {
		return nil, ErrTokenRefused
	}
	return k, err
}

// ConsumeToken uses a token once. ErrTokenRefused when there is none with that
// secret, it is used up, or it has expired.
func (t *Tx) ConsumeToken(secret string) (*Token, error) {
	hash, ok := hashSecret(tokenPrefix, secret)
	if !ok {
		return nil, ErrTokenRefused
	}
	changed, err := t.exec("UPDATE tokens SET uses_left = uses_left - 1 WHERE hash = ? AND uses_left > 0 AND expires_at > ?",
		hash[:], millis(t.now))
	if err != nil {
		return nil, err
	}
	if changed != 1 {
		return nil, ErrTokenRefused
	}
	k, err := t.tokenByHash(hash[:])
	if err == nil {
		t.changed(TokenChanged, k.ID)
	}
	return k, err
}

// RevokeToken ends what uses a token has left.
func (t *Tx) RevokeToken(id string) error {
	t.changed(TokenChanged, id)
	return t.one("UPDATE tokens SET uses_left = 0 WHERE id = ?", id)
}

// Tokens lists all, used up or not, newest first.
func (t *Tx) Tokens() (list []*Token, err error) {
	err = t.query(func(row scanner) error {
		k, err := scanToken(row)
		list = append(list, k)
		return err
	}, "SELECT "+tokenColumns+" FROM tokens ORDER BY created_at DESC, id")
	return list, err
}

func (t *Tx) tokenByHash(hash []byte) (k *Token, err error) {
	err = t.query(func(row scanner) (err error) {
		k, err = scanToken(row)
		return err
	}, "SELECT "+tokenColumns+" FROM tokens WHERE hash = ?", hash)
	if err == nil && k == nil {
		err = ErrNotFound
	}
	return k, err
}
