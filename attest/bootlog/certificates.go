package bootlog

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"sync"
)

// Certificates keeps parsed certificates by the SHA-256 of their DER, so that the
// same keys of a thousand laptops are parsed once. It is bounded, and for use from
// any goroutine. The zero value is ready.
type Certificates struct {
	certs shelf[*Certificate]
	// variables are variables of PCR 7 by the SHA-256 that was extended for them, with
	// the bytes that hash to it.
	variables shelf[*content]
}

// Limits of the two shelves: more than the certificates of every firmware in a
// fleet, and at most 16 MB of variables.
const (
	keepCertificates = 1024
	keepVariables    = 256
	keepVariableSize = 64 << 10
)

// maxSubject bounds the names that are kept of a certificate.
const maxSubject = 512

// read parses a certificate, or finds it among those read before; nil when it
// cannot be read. It works without a cache, on nil.
func (c *Certificates) read(der []byte) *Certificate {
	if len(der) > maxDER {
		return nil
	}
	sum := sha256.Sum256(der)
	if c == nil {
		return parseCertificate(der, sum)
	}
	cert, ok := c.certs.get(sum)
	if !ok {
		cert = parseCertificate(der, sum)
		c.certs.put(sum, cert, keepCertificates)
	}
	return cert
}

// parseCertificate keeps what an account tells of a certificate; nil when Go's
// parser refuses it.
func parseCertificate(der []byte, sum [sha256.Size]byte) *Certificate {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil
	}
	return &Certificate{
		SHA256:   sum,
		Subject:  short(cert.Subject.String()),
		Issuer:   short(cert.Issuer.String()),
		NotAfter: cert.NotAfter,
	}
}

// short cuts a name that is too long to keep, between characters.
func short(s string) string {
	if len(s) <= maxSubject {
		return s
	}
	return string(bytes.ToValidUTF8([]byte(s[:maxSubject]), nil))
}

// find returns the variable of an earlier log whose body is this one, byte for byte.
// That body was hashed then, and comparing is ten times faster than hashing.
func (c *Certificates) find(bank Bank, digest, body []byte) *content {
	if c == nil || bank != SHA256 {
		return nil
	}
	if found, _ := c.variables.get([sha256.Size]byte(digest)); found != nil && bytes.Equal(found.body, body) {
		return found
	}
	return nil
}

// keep reads a variable whose body is bound by a digest, and keeps it. Only SHA-256
// is trusted to name it.
func (c *Certificates) keep(bank Bank, digest, body []byte) *content {
	if c == nil || bank != SHA256 || len(body) > keepVariableSize {
		return readContent(body, c)
	}
	// A copy: the log that the bytes lie in is not to live as long as the cache.
	read := readContent(bytes.Clone(body), c)
	c.variables.put([sha256.Size]byte(digest), read, keepVariables)
	return read
}

// shelf is a bounded map by SHA-256 for many goroutines.
type shelf[T any] struct {
	mu   sync.RWMutex
	kept map[[sha256.Size]byte]T // guarded by mu
}

func (s *shelf[T]) get(key [sha256.Size]byte) (T, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, ok := s.kept[key]
	return v, ok
}

// put keeps a value; one of the others makes room for it.
func (s *shelf[T]) put(key [sha256.Size]byte, v T, limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		s.kept = make(map[[sha256.Size]byte]T)
	}
	for other := range s.kept {
		if len(s.kept) < limit {
			break
		}
		delete(s.kept, other)
	}
	s.kept[key] = v
}
