package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// Life is how long a token lives at most; Rotate and Overlap say when another key
// signs, and how long the public half of the old one stays published after it.
const (
	Life    = 5 * time.Minute
	Rotate  = 24 * time.Hour
	Overlap = 10 * time.Minute
)

// Type is the typ of every token's header.
const Type = "muster+jwt"

// maxToken bounds a token, made or read: with it come cookies and other headers,
// and many programs take 8 kB of them in all.
const maxToken = 4 << 10

// signatureSize is two numbers of the curve's size (RFC 7518 §3.4).
const signatureSize = 2 * coordinate

// Claims are what a token says (RFC 7519, RFC 9068 §2.2, RFC 8176).
type Claims struct {
	Issuer      string    `json:"iss"`
	Subject     string    `json:"sub"` // person's name; of a laptop by itself its id
	Audience    string    `json:"aud"`
	ID          string    `json:"jti"`
	IssuedAt    time.Time `json:"-"` // iat, exp: whole seconds on the wire
	Expires     time.Time `json:"-"`
	Session     string    `json:"sid,omitempty"`
	App         string    `json:"app"`
	ACR         string    `json:"acr,omitempty"`
	AMR         []string  `json:"amr,omitempty"`
	AuthTime    int64     `json:"auth_time,omitzero"`
	Device      string    `json:"device,omitempty"`
	Level       string    `json:"level,omitempty"` // assurance level of the device
	Groups      []string  `json:"groups,omitempty"`
	Outcome     string    `json:"outcome"`                // allow or restrict
	ReasonsHash string    `json:"reasons_hash,omitempty"` // see HashReasons
	Policy      string    `json:"policy"`                 // digest
}

// payload is Claims on the wire.
type payload struct {
	Claims
	Issued  int64 `json:"iat"`
	Expires int64 `json:"exp"`
}

// HashReasons is the base64url SHA-256 of the codes of all reasons, joined by LF:
// it tells two decisions apart without telling why.
func HashReasons(codes []string) string {
	sum := sha256.Sum256([]byte(strings.Join(codes, "\n")))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// complete reports what is missing of claims; they are checked when made and when
// read, so that neither side trusts the other's care.
func (c *Claims) complete() error {
	for _, member := range []struct{ name, value string }{
		{"iss", c.Issuer}, {"sub", c.Subject}, {"aud", c.Audience}, {"jti", c.ID}, {"app", c.App},
	} {
		if member.value == "" {
			return fmt.Errorf("%s is missing", member.name)
		}
	}
	if c.Outcome != "allow" && c.Outcome != "restrict" {
		return fmt.Errorf("outcome %.20q lets nobody in", c.Outcome)
	}
	if c.IssuedAt.Unix() < 0 || !c.Expires.After(c.IssuedAt) {
		return errors.New("it has no life")
	}
	if c.Expires.Sub(c.IssuedAt) > Life {
		return fmt.Errorf("its life is above %v", Life)
	}
	return nil
}

// live reports whether claims hold at a time. There is no leeway: one server's
// clock makes and reads them.
func (c *Claims) live(now time.Time) error {
	switch {
	case c.IssuedAt.After(now):
		return errors.New("it is not valid yet")
	case !c.Expires.After(now):
		return errors.New("it has expired")
	}
	return nil
}

// Sign makes a token. Times are the caller's, cut to whole seconds, so that a life
// is never longer than was asked; a life above Life is an error, and so is one that
// does not hold now. A token above 4 kB, of somebody with very many groups, is one
// too: leave Groups out.
func (k *Keys) Sign(c *Claims, now time.Time) (string, error) {
	key := k.signer(now)
	if key == nil {
		return "", errors.New("signing a token: there is no key")
	}
	p := payload{Claims: *c, Issued: c.IssuedAt.Unix(), Expires: c.Expires.Unix()}
	p.Claims.IssuedAt, p.Claims.Expires = time.Unix(p.Issued, 0), time.Unix(p.Expires, 0)
	if err := errors.Join(c.complete(), p.complete(), p.live(now)); err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	body, err := json.Marshal(&p)
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	text := make([]byte, 0, len(key.header)+2+base64.RawURLEncoding.EncodedLen(len(body)+signatureSize)+2)
	text = append(append(text, key.header...), '.')
	text = base64.RawURLEncoding.AppendEncode(text, body)
	signature, err := key.sign(text)
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	text = base64.RawURLEncoding.AppendEncode(append(text, '.'), signature)
	if len(text) > maxToken {
		return "", fmt.Errorf("signing a token: it would have %d bytes; at most %d are read", len(text), maxToken)
	}
	return string(text), nil
}

// Verify reads one for an issuer and an audience. Its error tells why not, for logs.
//
// The header must be, character for character, the one that Sign writes for one of
// the keys. No member of it is ever obeyed, so neither another alg or typ nor crit,
// jwk, jku or x5u can mean anything.
func (k *Keys) Verify(token, issuer, audience string, now time.Time) (*Claims, error) {
	c, err := k.verify(token)
	if err != nil {
		return nil, fmt.Errorf("verifying a token: %w", err)
	}
	switch {
	case issuer == "" || c.Issuer != issuer:
		err = errors.New("it is of another issuer")
	case audience == "" || c.Audience != audience:
		err = errors.New("it is for another audience")
	default:
		err = c.live(now)
	}
	if err != nil {
		return nil, fmt.Errorf("verifying a token: %w", err)
	}
	return c, nil
}

// verify returns the claims of what one of the keys signed, whenever and for whom.
func (k *Keys) verify(token string) (*Claims, error) {
	if len(token) > maxToken {
		return nil, fmt.Errorf("it has %d bytes; at most %d are read", len(token), maxToken)
	}
	header, rest, _ := strings.Cut(token, ".")
	body, signature, found := strings.Cut(rest, ".")
	if !found || strings.Contains(signature, ".") {
		return nil, errors.New("it has not three parts")
	}
	key := k.byHeader(header)
	if key == nil {
		return nil, errors.New("its header is not one of ours: another key, algorithm or type")
	}
	raw, err := decodePart(signature)
	if err != nil || len(raw) != signatureSize {
		return nil, errors.New("its signature is not 64 bytes of base64url")
	}
	if !key.verify([]byte(token[:len(header)+1+len(body)]), raw) {
		return nil, errors.New("its signature is wrong")
	}
	text, err := decodePart(body)
	if err != nil {
		return nil, errors.New("its claims are not base64url")
	}
	return readClaims(text)
}

// readClaims reads what was signed. Only our own signature gets this far, and it is
// read strictly all the same: unknown and double members are refused.
func readClaims(text []byte) (*Claims, error) {
	var p payload
	if err := json.Unmarshal(text, &p, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("its claims do not read: %w", err)
	}
	p.Claims.IssuedAt, p.Claims.Expires = time.Unix(p.Issued, 0).UTC(), time.Unix(p.Expires, 0).UTC()
	if err := p.complete(); err != nil {
		return nil, err
	}
	return &p.Claims, nil
}

// decodePart reads base64url in its one canonical form: no padding, no spare bits,
// and no line ends, which the decoder would pass over.
func decodePart(part string) ([]byte, error) {
	if strings.ContainsAny(part, "\r\n") {
		return nil, errors.New("line ends in base64url")
	}
	return base64.RawURLEncoding.Strict().DecodeString(part)
}

// sign returns r and s, with s in the lower half of its range: of the two that
// verify (s, n-s) one is ours, so that a token has no twin.
func (k *signingKey) sign(text []byte) ([]byte, error) {
	sum := sha256.Sum256(text)
	r, s, err := ecdsa.Sign(rand.Reader, k.private, sum[:])
	if err != nil {
		return nil, err
	}
	if order := k.private.Params().N; s.Cmp(new(big.Int).Rsh(order, 1)) > 0 {
		s.Sub(order, s)
	}
	raw := make([]byte, signatureSize)
	r.FillBytes(raw[:coordinate])
	s.FillBytes(raw[coordinate:])
	return raw, nil
}

// verify takes 64 bytes.
func (k *signingKey) verify(text, raw []byte) bool {
	r, s := new(big.Int).SetBytes(raw[:coordinate]), new(big.Int).SetBytes(raw[coordinate:])
	if s.Cmp(new(big.Int).Rsh(k.private.Params().N, 1)) > 0 {
		return false
	}
	sum := sha256.Sum256(text)
	return ecdsa.Verify(&k.private.PublicKey, sum[:], r, s) // refuses 0 and what is not below the order
}

// JWKS is the public halves (RFC 7517), newest first. It must not be changed.
func (k *Keys) JWKS() []byte {
	if k.jwks == nil {
		return []byte(`{"keys":[]}`)
	}
	return k.jwks
}

// encodeJWKS writes a key set; kids are known to need no escape.
func encodeJWKS(keys []*signingKey) []byte {
	var b bytes.Buffer
	b.WriteString(`{"keys":[`)
	for i, key := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"kty":"EC","crv":"P-256","x":"%s","y":"%s","kid":"%s","alg":"ES256","use":"sig"}`, key.x, key.y, key.id)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}
