package attest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
)

// Digest is a SHA-256 value, a nonce or a key id: 32 bytes, on the wire 43
// characters of canonical base64url without padding.
type Digest [sha256.Size]byte

// Bytes are a binary member of a message: on the wire canonical base64url
// without padding, of any length that the message's limit allows.
type Bytes []byte

// MarshalText returns the wire form.
func (b Bytes) MarshalText() ([]byte, error) { return strict.AppendEncode(nil, b), nil }

// UnmarshalText accepts exactly the wire form.
func (b *Bytes) UnmarshalText(text []byte) (err error) {
	*b, err = decode(text)
	return err
}

// strict refuses padding and set trailing bits, so that one value has one
// spelling; decode refuses the line breaks that it skips.
var strict = base64.RawURLEncoding.Strict()

// decode reads strict base64url.
func decode(text []byte) ([]byte, error) {
	if i := bytes.IndexAny(text, "\r\n"); i >= 0 {
		return nil, fmt.Errorf("line break at %d", i)
	}
	return strict.AppendDecode(make([]byte, 0, strict.DecodedLen(len(text))), text)
}

// IsZero reports whether d is all zero, which stands for "none".
func (d Digest) IsZero() bool { return d == Digest{} }

// String returns the wire form.
func (d Digest) String() string { return strict.EncodeToString(d[:]) }

// MarshalText returns the wire form.
func (d Digest) MarshalText() ([]byte, error) { return strict.AppendEncode(nil, d[:]), nil }

// UnmarshalText accepts exactly the wire form.
func (d *Digest) UnmarshalText(b []byte) error {
	if len(b) != strict.EncodedLen(len(d)) {
		return fmt.Errorf("digest has %d characters, not %d", len(b), strict.EncodedLen(len(d)))
	}
	if bytes.ContainsAny(b, "\r\n") {
		return errors.New("digest has a line break")
	}
	_, err := strict.Decode(d[:], b)
	return err
}

// ParseDigest reads the wire form.
func ParseDigest(s string) (d Digest, err error) {
	err = d.UnmarshalText([]byte(s))
	return d, err
}

// Domain tags: what is hashed and is not a JWS starts with one (SPEC.md §2).
const (
	tagQuote      = "muster/quote/1"
	tagEnrol      = "muster/enrol/1"
	tagRecertify  = "muster/recertify/1"
	tagMAC        = "muster/mac/1"
	tagSecret     = "muster/secret/1"
	tagCompare    = "muster/compare/1"
	tagAK         = "muster/ak/1"
	tagDK         = "muster/dk/1"
	tagDKb        = "muster/dkb/1"
	proofOfSecret = "act"
)

// hashed returns H(tag ‖ L(part)...): L is a four-byte big-endian length before
// the bytes, so that no two lists of parts hash the same input.
func hashed(tag string, parts ...[]byte) Digest {
	h := sha256.New()
	h.Write([]byte(tag))
	return sum(h, parts)
}

// macked is hashed under a key.
func macked(key []byte, tag string, parts ...[]byte) Digest {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(tag))
	return sum(h, parts)
}

func sum(h hash.Hash, parts [][]byte) (d Digest) {
	var length [4]byte
	for _, p := range parts {
		binary.BigEndian.PutUint32(length[:], uint32(len(p)))
		h.Write(length[:])
		h.Write(p)
	}
	h.Sum(d[:0])
	return d
}

// QuoteBinding is the QualifyingData of the quote that belongs to a JWS: the
// hash of its signing input under a tag (SPEC.md §5.2).
func QuoteBinding(signingInput []byte) Digest { return hashed(tagQuote, signingInput) }

// RecertifyBinding is the QualifyingData with which the AK certifies a new DKb
// beside the report with that signing input (SPEC.md §7.4).
func RecertifyBinding(signingInput []byte) Digest { return hashed(tagRecertify, signingInput) }

// EnrolTranscript is T of SPEC.md §7.2: it binds an enrolment to the exact bytes
// of its first message, the server's session and nonce, the origin that the
// agent was configured with, and the tenant.
func EnrolTranscript(begin, session []byte, nonce Digest, origin, tenant string) Digest {
	return hashed(tagEnrol, begin, session, nonce[:], []byte(origin), []byte(tenant))
}

// EnrolProof shows that the TPM with the EK released the challenge's secret to
// the AK: HMAC(secret, "act" ‖ T).
func EnrolProof(secret []byte, transcript Digest) Digest {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(proofOfSecret))
	h.Write(transcript[:])
	var d Digest
	h.Sum(d[:0])
	return d
}

// MAC authenticates the body of a request to a path under a device's shared
// secret; servers check it before anything of the body is parsed (SPEC.md §6.1).
func MAC(secret []byte, path string, body []byte) Digest {
	return macked(secret, tagMAC, []byte(path), body)
}

// DeviceSecret derives a device's shared secret from the server's own key, so
// that none is stored. It changes with the device key. A restored server makes
// the same one, so that its devices can be told to resync.
func DeviceSecret(serverKey []byte, device string, dk Digest) Digest {
	return macked(serverKey, tagSecret, []byte(device), dk[:])
}

// CompareCode is what the laptop shows and the approver compares, computed by
// either side from the device key itself: eight letters in two groups.
func CompareCode(device string, dk Digest) string {
	const letters = "ABCDEFGHJKMNPQRSTUVWXYZ23456789" // none that look alike
	d := hashed(tagCompare, []byte(device), dk[:])
	n := binary.BigEndian.Uint64(d[:8])
	code := make([]byte, 9)
	for i := range code {
		if i == 4 {
			code[i] = '-'
			continue
		}
		code[i] = letters[n%uint64(len(letters))]
		n /= uint64(len(letters))
	}
	return string(code)
}
