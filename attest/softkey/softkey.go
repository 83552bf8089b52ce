// Package softkey is an Attester on a private key in a file, for machines
// without a TPM.
//
// It guarantees that a key that exists is never overwritten, whatever its file
// looks like. It proves nothing about hardware: whoever can read the file is the
// device, and a server gives it the level software at most.
package softkey

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"

	"muster/attest"
)

const (
	blockType = "PRIVATE KEY" // PKCS #8 (RFC 5958)
	maxFile   = 4 << 10
)

// Key is a device key in software: an attest.Attester with DK alone. Its methods
// may be called from any goroutine.
type Key struct {
	private *ecdsa.PrivateKey
	point   []byte // uncompressed, 65 bytes
}

var _ attest.Attester = (*Key)(nil)

// Open reads the key, or makes and writes it when read says fs.ErrNotExist. A
// file that cannot be read, or is not exactly one P-256 key, is an error and
// stays as it is; the latter wraps attest.ErrKeyLost. The caller's functions keep
// the file private and durable.
func Open(read func() ([]byte, error), write func([]byte) error) (*Key, error) {
	file, err := read()
	if errors.Is(err, fs.ErrNotExist) {
		if file, err = create(write); err != nil {
			return nil, fmt.Errorf("making software key: %w", err)
		}
		// What counts is what the next start will find.
		kept, err := read()
		if err != nil || !bytes.Equal(kept, file) {
			return nil, fmt.Errorf("making software key: it reads back differently: %w", errors.Join(attest.ErrKeyLost, err))
		}
	} else if err != nil {
		return nil, fmt.Errorf("reading software key: %w", err)
	}
	private, err := parse(file)
	if err != nil {
		return nil, fmt.Errorf("reading software key: %w: %w (put its backup back, or remove it and enrol again)", attest.ErrKeyLost, err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("reading software key: %w", err)
	}
	return &Key{private, point}, nil
}

func create(write func([]byte) error) ([]byte, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	file := pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der})
	return file, write(file)
}

// parse reads a file that is exactly one PEM block of a P-256 key.
func parse(file []byte) (*ecdsa.PrivateKey, error) {
	if len(file) == 0 || len(file) > maxFile {
		return nil, fmt.Errorf("file has %d bytes", len(file))
	}
	block, rest := pem.Decode(file)
	if block == nil || block.Type != blockType || len(block.Headers) != 0 || len(rest) != 0 ||
		!bytes.HasPrefix(file, []byte("-----BEGIN")) {
		return nil, errors.New("file is not one PEM block of a private key")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("PEM block holds no PKCS #8 key") // the library's text may quote it
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() {
		return nil, errors.New("key is not on P-256")
	}
	return private, nil
}

// Identity returns DK as an uncompressed point.
func (k *Key) Identity(context.Context) (attest.Identity, error) {
	return attest.Identity{Kind: attest.KindSoft, DK: bytes.Clone(k.point)}, nil
}

// Sign signs a digest with DK: 64 bytes, r then s. Other roles are
// attest.ErrAbsent: they need a TPM.
func (k *Key) Sign(ctx context.Context, role attest.Role, digest [sha256.Size]byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if role != attest.DK {
		return nil, fmt.Errorf("signing with %v: %w", role, attest.ErrAbsent)
	}
	r, s, err := ecdsa.Sign(rand.Reader, k.private, digest[:])
	if err != nil {
		return nil, fmt.Errorf("signing with software key: %w", err)
	}
	return fixed(r, s), nil
}

// fixed writes both numbers with their leading zeros.
func fixed(r, s *big.Int) []byte {
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signature
}

// Clock is attest.ErrAbsent: no clock of a file orders anything.
func (*Key) Clock(context.Context) (attest.Clock, error) {
	return attest.Clock{}, fmt.Errorf("reading clock of a software key: %w", attest.ErrAbsent)
}
