package reference

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
)

// maxRootsFile bounds a file of PEM certificates; the public bundle of every
// vendor's is a quarter of it.
const maxRootsFile = 4 << 20

// Authorities are certificates that may vouch for an endorsement key.
type Authorities struct {
	roots         []*x509.Certificate
	intermediates []*x509.Certificate
}

// EKRoots are the two kinds of authority, which are never mixed: a virtual TPM's
// CA must not be able to make a laptop look like hardware.
type EKRoots struct {
	Hardware Authorities
	Virtual  Authorities
}

// ParseAuthorities reads PEM: self-signed certificates become roots, others
// intermediates. A block that is no certificate, or that Go cannot read, is an
// error that names it; so is a file without any.
func ParseAuthorities(file string, b []byte) (Authorities, error) {
	var a Authorities
	if len(b) > maxRootsFile {
		return a, fmt.Errorf("%s: more than %d bytes", file, maxRootsFile)
	}
	for n := 1; ; n++ {
		block, rest := pem.Decode(b)
		if block == nil {
			if bytes.Contains(b, []byte("-----BEGIN")) {
				return Authorities{}, fmt.Errorf("%s: block %d is not whole PEM", file, n)
			}
			break
		}
		if block.Type != "CERTIFICATE" {
			return Authorities{}, fmt.Errorf("%s: block %d is a %q, not a CERTIFICATE", file, n, block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			sum := sha256.Sum256(block.Bytes)
			return Authorities{}, fmt.Errorf("%s: block %d (SHA-256 %s): %w", file, n, hex.EncodeToString(sum[:]), err)
		}
		if !c.IsCA {
			return Authorities{}, fmt.Errorf("%s: block %d (%s) is not a CA certificate", file, n, c.Subject)
		}
		a.add(c)
		b = rest
	}
	if len(a.roots)+len(a.intermediates) == 0 {
		return a, fmt.Errorf("%s: %w", file, errNoCertificate)
	}
	return a, nil
}

var errNoCertificate = errors.New("holds no PEM certificate")

func (a *Authorities) add(c *x509.Certificate) {
	if bytes.Equal(c.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(c) == nil {
		a.roots = append(a.roots, c)
		return
	}
	a.intermediates = append(a.intermediates, c)
}

// Merge returns both sets together.
func (a Authorities) Merge(b Authorities) Authorities {
	return Authorities{
		roots:         append(a.roots[:len(a.roots):len(a.roots)], b.roots...),
		intermediates: append(a.intermediates[:len(a.intermediates):len(a.intermediates)], b.intermediates...),
	}
}

// Count returns how many roots and intermediates there are.
func (a Authorities) Count() (roots, intermediates int) {
	return len(a.roots), len(a.intermediates)
}

// Verify chains a leaf to one of the roots. The chain is judged at the time when
// the leaf was issued, since vendors' CAs end long before their chips do. extra
// are intermediates that came beside the leaf; they are helpers, never roots.
func (a Authorities) Verify(leaf *x509.Certificate, extra []*x509.Certificate) error {
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range a.roots {
		roots.AddCert(c)
	}
	for _, c := range a.intermediates {
		intermediates.AddCert(c)
	}
	for _, c := range extra {
		intermediates.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: intermediates,
		CurrentTime:   leaf.NotBefore,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return err
}
