package store

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
)

// Secret is a key that must not be printed: it has no text form but a mark.
type Secret [32]byte

// Format hides the value from every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("(secret)")) }

// MarshalText refuses: a secret goes into no JSON.
func (Secret) MarshalText() ([]byte, error) { return nil, errors.New("a secret has no text form") }

// Meta is what the database says of itself.
type Meta struct {
	// Tenant is 32 hexadecimal digits, made with the database, for ever.
	Tenant string
	// ServerKey is what the secrets of devices are derived from; made with the
	// database.
	ServerKey Secret
	// Epoch grows when a backup is restored.
	Epoch uint64
	// Generation counts how often the database was opened.
	Generation uint64
	// Origin is the scheme://host[:port] that devices enrolled with; empty until
	// SetOrigin.
	Origin string
	// RPID is the WebAuthn RP ID; empty until SetRPID.
	RPID string
}

// Meta reads it.
func (t *Tx) Meta() (*Meta, error) {
	m := new(Meta)
	var key []byte
	err := t.first([]any{&m.Tenant, &key, &m.Epoch, &m.Generation, &m.Origin, &m.RPID},
		"SELECT tenant, server_key, epoch, generation, origin, rp_id FROM meta")
	if err != nil {
		return nil, err
	}
	copy(m.ServerKey[:], key)
	return m, nil
}

// SetOrigin fixes the origin. The same again is no change; another one is
// ErrTaken, because enrolments and links are bound to the first.
func (t *Tx) SetOrigin(origin string) error {
	m, err := t.Meta()
	if err != nil {
		return err
	}
	switch m.Origin {
	case origin:
		return nil
	case "":
		return t.one("UPDATE meta SET origin = ?", origin)
	}
	return fmt.Errorf("%w: devices enrolled with origin %s", ErrTaken, m.Origin)
}

// SetRPID fixes the WebAuthn RP ID. The same again is no change; another one is
// ErrTaken, because it would lose every passkey.
func (t *Tx) SetRPID(id string) error {
	if id == "" {
		return errors.New("fixing an empty RP ID")
	}
	m, err := t.Meta()
	if err != nil {
		return err
	}
	switch m.RPID {
	case id:
		return nil
	case "":
		return t.one("UPDATE meta SET rp_id = ?", id)
	}
	return fmt.Errorf("%w: passkeys were made for RP ID %s", ErrTaken, m.RPID)
}

// found makes the meta row of a new database.
func (t *Tx) found() error {
	var tenant [16]byte
	var key Secret
	// crypto/rand.Read does not return when it cannot.
	_, _ = rand.Read(tenant[:])
	_, _ = rand.Read(key[:])
	return t.one("INSERT INTO meta (id, tenant, server_key, epoch, generation) VALUES (1, ?, ?, 1, 0)",
		hex.EncodeToString(tenant[:]), key[:])
}
