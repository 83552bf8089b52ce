package passkey

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/go-webauthn/webauthn/protocol/webauthncose"
)

// COSE algorithms (RFC 9053; RS256 and RS1: RFC 8812).
const (
	es256 = -7
	eddsa = -8
	rs256 = -257
	rs1   = -65535
)

// algorithms are those offered and accepted, the preferred first.
func algorithms() []int64 { return []int64{es256, rs256, eddsa} }

// An RSA key of fewer bits is weak; one of more makes each check slow.
const minRSA, maxRSA = 2048, 4096

// publicKey is a credential's key, as a COSE_Key (RFC 9052 §7) and parsed.
type publicKey struct {
	algorithm int64
	cose      any // the library's
	key       crypto.PublicKey
}

// readKey reads a COSE_Key of an algorithm that we offer.
func readKey(encoded []byte) (*publicKey, error) {
	parsed, err := webauthncose.ParsePublicKey(encoded)
	if err != nil {
		return nil, fmt.Errorf("reading public key: %w", err)
	}
	switch k := parsed.(type) {
	case webauthncose.EC2PublicKeyData:
		if k.Algorithm != es256 || k.Curve != int64(webauthncose.P256) {
			break
		}
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, k.XCoord, k.YCoord))
		if err != nil {
			return nil, fmt.Errorf("reading public key: %w", err)
		}
		return &publicKey{es256, parsed, key}, nil
	case webauthncose.RSAPublicKeyData:
		if k.Algorithm != rs256 {
			break
		}
		key := &rsa.PublicKey{N: new(big.Int).SetBytes(k.Modulus)}
		if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA {
			return nil, fmt.Errorf("reading public key: RSA of %d bits", bits)
		}
		// One exponent is in use; a small or even one is somebody's mistake.
		if key.E = 65537; !bytes.Equal(bytes.TrimLeft(k.Exponent, "\x00"), []byte{1, 0, 1}) {
			return nil, errors.New("reading public key: RSA with an unusual exponent")
		}
		return &publicKey{rs256, parsed, key}, nil
	case webauthncose.OKPPublicKeyData:
		if k.Algorithm != eddsa || k.Curve != int64(webauthncose.Ed25519) || len(k.XCoord) != ed25519.PublicKeySize {
			break
		}
		return &publicKey{eddsa, parsed, ed25519.PublicKey(k.XCoord)}, nil
	}
	return nil, errors.New("reading public key: its algorithm was not offered")
}

// verify checks a signature by the credential.
func (k *publicKey) verify(message, signature []byte) error {
	if ok, err := webauthncose.VerifySignature(k.cose, message, signature); err != nil || !ok {
		return errors.New("the credential's signature does not match")
	}
	return nil
}

// same tells whether a certificate is for this key.
func (k *publicKey) same(other crypto.PublicKey) bool {
	key, ok := k.key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(other)
}
