package bootlog

import (
	"crypto/sha1" //nolint:gosec // a bank of old TPMs; never used by the server
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
)

// maxDigest is the longest digest of a known bank.
const maxDigest = sha512.Size

var errBank = errors.New("no bank of this name")

// ParseBank reads the name of a bank as String writes it.
func ParseBank(name string) (Bank, error) {
	for _, b := range [...]Bank{SHA1, SHA256, SHA384, SHA512} {
		if b.String() == name {
			return b, nil
		}
	}
	return 0, fmt.Errorf("%w: %q", errBank, name)
}

// String is sha1, sha256, sha384 or sha512; the number in hex for another.
func (b Bank) String() string {
	switch b {
	case SHA1:
		return "sha1"
	case SHA256:
		return "sha256"
	case SHA384:
		return "sha384"
	case SHA512:
		return "sha512"
	}
	return fmt.Sprintf("0x%04x", uint16(b))
}

// MarshalText is String.
func (b Bank) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// size is the length of a bank's digests; 0 for an unknown one.
func (b Bank) size() int {
	switch b {
	case SHA1:
		return sha1.Size
	case SHA256:
		return sha256.Size
	case SHA384:
		return sha512.Size384
	case SHA512:
		return sha512.Size
	}
	return 0
}

// sum hashes data into dst and returns the digest's bytes.
func (b Bank) sum(dst *[maxDigest]byte, data []byte) []byte {
	switch b {
	case SHA1:
		h := sha1.Sum(data) //nolint:gosec // see the import
		return dst[:copy(dst[:], h[:])]
	case SHA256:
		h := sha256.Sum256(data)
		return dst[:copy(dst[:], h[:])]
	case SHA384:
		h := sha512.Sum384(data)
		return dst[:copy(dst[:], h[:])]
	case SHA512:
		h := sha512.Sum512(data)
		return dst[:copy(dst[:], h[:])]
	}
	return nil
}

// String is not-told, match, mismatch, unlogged or empty.
func (s Status) String() string {
	switch s {
	case Match:
		return "match"
	case Mismatch:
		return "mismatch"
	case Unlogged:
		return "unlogged"
	case Empty:
		return "empty"
	}
	return "not-told"
}

// MarshalText is String.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
