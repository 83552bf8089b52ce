package reference

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// maxRootsFile bounds a file of PEM certificates; the public bundle of every
// vendor's is a quarter of it.
const maxRootsFile = 4 << 20

// Authorities are certificates that may vouch for an endorsement key. They are not
// changed once made, and safe for use from any goroutine.
type Authorities struct {
	roots         []*x509.Certificate
	intermediates []*x509.Certificate
	denied        map[[sha256.Size]byte]bool // SHA-256 of SubjectPublicKeyInfo

	rootPool, intermediatePool *x509.CertPool // of the above; nil: there are none
}

// EKRoots are the two kinds of authority, which are never mixed: a virtual TPM's
// CA must not be able to make a laptop look like hardware.
type EKRoots struct {
	Hardware Authorities
	Virtual  Authorities
}

// Denied reports whether a key is on the deny list, by the SHA-256 of its
// SubjectPublicKeyInfo: a CA's, or an endorsement key's own.
func (r *EKRoots) Denied(spki [sha256.Size]byte) bool {
	return r.Hardware.denied[spki] || r.Virtual.denied[spki]
}

// Denies reports whether anything is on the deny list.
func (r *EKRoots) Denies() bool { return len(r.Hardware.denied)+len(r.Virtual.denied) > 0 }

// ErrDenied: a chain exists, and a key in it is on the deny list.
var ErrDenied = errors.New("a key in the chain is on the deny list")

// ParseAuthorities reads PEM: self-signed certificates, and what is known as a
// vendor's root, become roots, others intermediates. A block that is no certificate, or that Go cannot read, is an
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
	a.pool()
	return a, nil
}

var errNoCertificate = errors.New("holds no PEM certificate")

func (a *Authorities) add(c *x509.Certificate) {
	if isRoot(c) {
		a.roots = append(a.roots, c)
		return
	}
	a.intermediates = append(a.intermediates, c)
}

func isRoot(c *x509.Certificate) bool {
	if bytes.Equal(c.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(c) == nil {
		return true
	}
	return knownKind(c.Raw) == KnownRoot
}

func (a *Authorities) pool() {
	a.rootPool, a.intermediatePool = x509.NewCertPool(), x509.NewCertPool()
	for _, c := range a.roots {
		a.rootPool.AddCert(c)
	}
	for _, c := range a.intermediates {
		a.intermediatePool.AddCert(c)
	}
}

// Merge returns both sets together; what either denies is denied.
func (a Authorities) Merge(b Authorities) Authorities {
	m := Authorities{
		roots:         together(a.roots, b.roots),
		intermediates: together(a.intermediates, b.intermediates),
		denied:        maps.Clone(a.denied),
	}
	if m.denied == nil {
		m.denied = map[[sha256.Size]byte]bool{}
	}
	maps.Copy(m.denied, b.denied)
	m.pool()
	return m
}

// together is both lists, each certificate once.
func together(a, b []*x509.Certificate) []*x509.Certificate {
	seen := make(map[string]bool, len(a)+len(b))
	var all []*x509.Certificate
	for _, c := range slices.Concat(a, b) {
		if !seen[string(c.Raw)] {
			seen[string(c.Raw)] = true
			all = append(all, c)
		}
	}
	return all
}

// Count returns how many roots and intermediates there are.
func (a Authorities) Count() (roots, intermediates int) {
	return len(a.roots), len(a.intermediates)
}

// Verify chains a leaf to one of the roots. The chain is judged at the time when
// the leaf was issued, since vendors' CAs end long before their chips do. extra
// are intermediates that came beside the leaf; they are helpers, never roots.
//
// A chain with a denied key in it counts for nothing: ErrDenied, when there is no
// other.
func (a Authorities) Verify(leaf *x509.Certificate, extra []*x509.Certificate) error {
	roots, intermediates := a.rootPool, a.intermediatePool
	if roots == nil {
		// Without this, crypto/x509 would take the machine's own CAs.
		roots, intermediates = x509.NewCertPool(), x509.NewCertPool()
	}
	if len(extra) > 0 {
		intermediates = intermediates.Clone()
		for _, c := range extra {
			intermediates.AddCert(c)
		}
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: intermediates,
		CurrentTime:   leaf.NotBefore,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return err
	}
	for _, chain := range chains {
		if !slices.ContainsFunc(chain, a.refuses) {
			return nil
		}
	}
	return ErrDenied
}

func (a *Authorities) refuses(c *x509.Certificate) bool {
	return len(a.denied) > 0 && a.denied[sha256.Sum256(c.RawSubjectPublicKeyInfo)]
}
