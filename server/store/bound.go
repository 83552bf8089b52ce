package store

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// What people and programs make the store keep is bounded, in bytes unless it
// says otherwise.
const (
	maxID       = 64       // ids that callers choose
	maxName     = 64       // of a person; of a passkey in characters
	maxText     = 1 << 10  // labels, addresses, hosts
	maxCause    = 256      // longer ones are cut: ending something never fails for its reason
	maxProfile  = 16 << 10 // a person's JSON
	maxDetail   = 8 << 10  // a session's JSON, and a link's
	maxJudged   = 64 << 10 // a judgement's JSON, with the history of statuses
	maxData     = 16 << 10 // Offer.Data, Notice.Body
	maxPasskey  = 1023     // a credential id (WebAuthn §5.8.5)
	maxKey      = 4 << 10  // a COSE_Key
	maxRegister = 64 << 10 // an attestation object, or client data
	maxContent  = 64 << 20 // a pack's content before packing
)

// bounded refuses a text that is longer than limit bytes, or no text.
func bounded(what, text string, limit int) error {
	if len(text) > limit || !utf8.ValidString(text) {
		return fmt.Errorf("%s is no text of at most %d bytes", what, limit)
	}
	return nil
}

// sized refuses bytes that are absent, or more than limit.
func sized(what string, b []byte, limit int) error {
	if len(b) == 0 || len(b) > limit {
		return fmt.Errorf("%s has %d bytes, not 1 to %d", what, len(b), limit)
	}
	return nil
}

// packJSON writes what is kept as JSON; too much is refused.
func packJSON(what string, v any, limit int) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("packing %s: %w", what, err)
	}
	if len(b) > limit {
		return "", fmt.Errorf("%s is longer than %d bytes", what, limit)
	}
	return string(b), nil
}

// ownData refuses what is neither empty nor JSON of at most 16 kB.
func ownData(what string, b []byte) error {
	if len(b) > maxData || len(b) > 0 && !json.Valid(b) {
		return fmt.Errorf("%s is no JSON of at most %d bytes", what, maxData)
	}
	return nil
}

// cutCause makes a cause fit; none becomes a word, since causes say that
// something ended.
func cutCause(cause string) string {
	if len(cause) > maxCause {
		cause = cause[:maxCause]
	}
	if cause = strings.ToValidUTF8(cause, ""); cause == "" {
		return "ended"
	}
	return cause
}

// newID draws an id of 128 bits: the prefix and 26 characters. It is no secret,
// but it cannot be guessed.
func newID(prefix string) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // does not return when it cannot
	return prefix + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

// collect reads all rows of a query.
func collect[T any](t *Tx, scan func(scanner) (*T, error), query string, args ...any) (list []*T, err error) {
	err = t.query(func(row scanner) error {
		v, err := scan(row)
		list = append(list, v)
		return err
	}, query, args...)
	return list, err
}

// pick reads the one row of a query; ErrNotFound without.
func pick[T any](t *Tx, scan func(scanner) (*T, error), query string, args ...any) (*T, error) {
	list, err := collect(t, scan, query, args...)
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// cutText makes what another program said fit.
func cutText(text string) string {
	if len(text) > maxText {
		text = text[:maxText]
	}
	return strings.ToValidUTF8(text, "")
}
