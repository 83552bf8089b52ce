package token

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// coordinate is the size of a number of P-256, in bytes.
const coordinate = 32

// Limits of kept keys. Two are usual; more are there after clock steps only.
const (
	maxKeys = 64
	maxID   = 64
)

// Key is one signing key.
type Key struct {
	ID        string    // kid: base64url, at most 64 characters
	Private   []byte    // PKCS #8, P-256
	CreatedAt time.Time // from when it is published
}

// Keys sign and verify. They are a value that never changes: rotation makes another.
// The zero Keys signs nothing and verifies nothing.
type Keys struct {
	keys []*signingKey // newest first
	jwks []byte
}

type signingKey struct {
	id      string
	created time.Time
	private *ecdsa.PrivateKey
	header  string // first part of its tokens
	x, y    string // base64url
}

// NewKey makes one. Its id is its thumbprint (RFC 7638).
func NewKey(now time.Time) (*Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	x, y, err := coordinates(&private.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, x, y))
	return &Key{ID: base64.RawURLEncoding.EncodeToString(sum[:]), Private: text, CreatedAt: now}, nil
}

// coordinates returns both, each in its full width (RFC 7518 §6.2.1.2).
func coordinates(public *ecdsa.PublicKey) (x, y string, err error) {
	point, err := public.Bytes() // uncompressed: 4, x, y
	if err != nil {
		return "", "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode(point[1 : 1+coordinate]), encode(point[1+coordinate:]), nil
}

// NewKeys reads keys as they were kept, in any order. One that does not read is an
// error: leaving it out would refuse tokens without a word. No error shows a key.
func NewKeys(keys []Key) (*Keys, error) {
	if len(keys) > maxKeys {
		return nil, fmt.Errorf("reading signing keys: %d are too many", len(keys))
	}
	k := new(Keys)
	for _, kept := range keys {
		key, err := readKey(kept)
		if err != nil {
			return nil, fmt.Errorf("reading signing key %.80q: %w", kept.ID, err)
		}
		if k.byHeader(key.header) != nil {
			return nil, fmt.Errorf("reading signing keys: %q is there twice", kept.ID)
		}
		k.keys = append(k.keys, key)
	}
	slices.SortFunc(k.keys, func(a, b *signingKey) int { return newestFirst(a.created, a.id, b.created, b.id) })
	k.jwks = encodeJWKS(k.keys)
	return k, nil
}

// newestFirst orders keys; two of one moment by their ids, so that every server
// that reads them signs with the same one.
func newestFirst(a time.Time, aID string, b time.Time, bID string) int {
	return cmp.Or(b.Compare(a), strings.Compare(aID, bID))
}

func readKey(kept Key) (*signingKey, error) {
	if kept.ID == "" || len(kept.ID) > maxID || strings.ContainsFunc(kept.ID, notBase64URL) {
		return nil, errors.New("its id is not base64url")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(kept.Private)
	private, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || private.Curve != elliptic.P256() { // the parser's error may quote bytes
		return nil, errors.New("it is not a P-256 key in PKCS #8")
	}
	key := &signingKey{id: kept.ID, created: kept.CreatedAt, private: private}
	if key.x, key.y, err = coordinates(&private.PublicKey); err != nil {
		return nil, errors.New("it is not a P-256 key in PKCS #8")
	}
	header := fmt.Appendf(nil, `{"alg":"ES256","kid":"%s","typ":"%s"}`, key.id, Type)
	key.header = base64.RawURLEncoding.EncodeToString(header)
	return key, nil
}

func notBase64URL(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

// byHeader finds the key whose tokens begin so.
func (k *Keys) byHeader(header string) *signingKey {
	for _, key := range k.keys {
		if key.header == header {
			return key
		}
	}
	return nil
}

// signer is the newest key that has been published for Overlap, or, where none has,
// the oldest. nil: there is none.
func (k *Keys) signer(now time.Time) *signingKey {
	for _, key := range k.keys {
		if signsFrom(key.created, now) {
			return key
		}
	}
	if len(k.keys) == 0 {
		return nil
	}
	return k.keys[len(k.keys)-1]
}

func signsFrom(created, now time.Time) bool { return !created.Add(Overlap).After(now) }

// Due tells whether a key must be made now, and which kept ones may be forgotten.
// A new key is published for Overlap before it signs, unless there is no other. Ask
// every few minutes: a late answer lengthens how long a key signs, and breaks
// nothing.
//
// A key of the future was made before a clock was set back. It neither counts as
// new nor makes others old until its time comes.
func Due(keys []Key, now time.Time) (make bool, forget []string) {
	sorted := slices.Clone(keys)
	slices.SortFunc(sorted, func(a, b Key) int { return newestFirst(a.CreatedAt, a.ID, b.CreatedAt, b.ID) })
	make = true
	var next time.Time // when the next newer key began to sign; zero: none has
	for _, key := range sorted {
		if !next.IsZero() && !next.Add(Overlap+Life).After(now) {
			forget = append(forget, key.ID)
		}
		if age := now.Sub(key.CreatedAt); age >= 0 && age < Rotate {
			make = false
		}
		if signsFrom(key.CreatedAt, now) {
			next = key.CreatedAt.Add(Overlap)
		}
	}
	return make, forget
}
