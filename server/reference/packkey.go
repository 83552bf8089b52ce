package reference

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

var errPackKey = errors.New("is not a P-256 public key (PEM, or JWK)")

// maxPackKey bounds a file with a public key.
const maxPackKey = 8 << 10

// PackKeyID is the kid of who signs packs: the key's thumbprint (RFC 7638).
func PackKeyID(key *ecdsa.PublicKey) (string, error) {
	if key == nil || key.Curve != elliptic.P256() {
		return "", fmt.Errorf("signer's key %w", errPackKey)
	}
	sum, err := (&jose.JSONWebKey{Key: key}).Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("signer's key: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// PackKeyTexts are the public key as files have it: JWK and PEM.
func PackKeyTexts(key *ecdsa.PublicKey) (jwk, text []byte, err error) {
	id, err := PackKeyID(key)
	if err != nil {
		return nil, nil, err
	}
	if jwk, err = json.Marshal(jose.JSONWebKey{Key: key, KeyID: id, Algorithm: string(jose.ES256), Use: "sig"}); err != nil {
		return nil, nil, fmt.Errorf("signer's key: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("signer's key: %w", err)
	}
	return jwk, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// ParsePackKey reads a file with the public key of who signs packs: one PEM block
// PUBLIC KEY, or a JWK. A private key is refused: it is of no use here.
func ParsePackKey(file []byte) (*ecdsa.PublicKey, error) {
	file = bytes.TrimSpace(file)
	if len(file) > maxPackKey {
		return nil, errPackKey
	}
	if bytes.HasPrefix(file, []byte("{")) {
		var jwk jose.JSONWebKey
		if err := json.Unmarshal(file, &jwk); err != nil { // its text could quote a secret
			return nil, errPackKey
		}
		return p256(jwk.Key)
	}
	block, rest := pem.Decode(file)
	if block == nil || block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) > 0 || !bytes.HasPrefix(file, []byte("-----BEGIN")) {
		return nil, errPackKey
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, errPackKey
	}
	return p256(key)
}

func p256(key any) (*ecdsa.PublicKey, error) {
	public, ok := key.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, errPackKey
	}
	return public, nil
}

var errSum = errors.New("is not a SHA-256: 64 hexadecimal digits in small letters")

// ParseSum reads a SHA-256: 64 hexadecimal digits in small letters.
func ParseSum(text string) (sum [32]byte, err error) {
	if len(text) != 2*len(sum) || bytes.ContainsAny([]byte(text), "ABCDEF") {
		return sum, errSum
	}
	b, err := hex.DecodeString(text)
	if err != nil {
		return sum, errSum
	}
	return [32]byte(b), nil
}
