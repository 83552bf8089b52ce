package passkeytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"testing"
)

// COSE algorithms (RFC 9053; RS256 and RS1: RFC 8812).
const (
	es256 = -7
	eddsa = -8
	rs256 = -257
	rs1   = -65535
)

// key is a private key with its COSE algorithm.
type key struct {
	algorithm int64
	private   crypto.Signer
}

// newKey makes a key; 0 is ES256.
func newKey(t testing.TB, algorithm int64) *key {
	t.Helper()
	var private crypto.Signer
	var err error
	switch algorithm {
	case 0, es256:
		algorithm = es256
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case eddsa:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case rs256:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		t.Fatalf("no such algorithm: %d", algorithm)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &key{algorithm, private}
}

// cose is the COSE_Key (RFC 9052 §7): kty 1, alg 3, then what the kind has.
func (k *key) cose(t testing.TB) []byte {
	t.Helper()
	switch public := k.private.Public().(type) {
	case *ecdsa.PublicKey:
		x, y := coordinates(t, public)
		return encode(t, map[int]any{1: 2, 3: k.algorithm, -1: 1, -2: x, -3: y})
	case ed25519.PublicKey:
		return encode(t, map[int]any{1: 1, 3: k.algorithm, -1: 6, -2: []byte(public)})
	case *rsa.PublicKey:
		return encode(t, map[int]any{1: 3, 3: k.algorithm, -1: public.N.Bytes(), -2: []byte{1, 0, 1}})
	}
	t.Fatal("no such key")
	return nil
}

// spki is the SubjectPublicKeyInfo that getPublicKey gives a page.
func (k *key) spki(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// sign signs as WebAuthn §6.5.5 says: ECDSA in DER, RSA with PKCS #1 v1.5.
func (k *key) sign(t testing.TB, message []byte) []byte {
	t.Helper()
	digest := sha256.Sum256(message)
	input, hash := digest[:], crypto.SHA256
	if k.algorithm == eddsa {
		input, hash = message, crypto.Hash(0)
	}
	signature, err := k.private.Sign(rand.Reader, input, hash)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

// coordinates are 32 bytes each.
func coordinates(t testing.TB, public *ecdsa.PublicKey) (x, y []byte) {
	t.Helper()
	point, err := public.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return point[1:33], point[33:]
}
