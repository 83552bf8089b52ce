package reference

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// EKPack is a set of CAs that vouch for TPMs, and of keys that nobody may use,
// with a number that grows. Its certificates and hashes are in order, each once.
type EKPack struct {
	Number   uint64
	Date     time.Time
	Hardware [][]byte // DER
	Virtual  [][]byte // DER; of virtual TPMs, apart from the others
	Denied   [][sha256.Size]byte
}

// Limits of a pack. Microsoft's collection has 2200 certificates.
const (
	maxEKCertificates = 8192
	maxDenied         = 65536
)

type ekWire struct {
	Number   uint64    `json:"number"`
	Date     time.Time `json:"date"`
	Hardware [][]byte  `json:"hardware"`
	Virtual  [][]byte  `json:"virtual"`
	Denied   []hexSum  `json:"denied"`
}

// NextEKPack is a pack to be changed: the content of the last, nil for none, under
// a new number: the time as YYYYMMDDhhmmss, or one more than the highest that was
// used, so that packs of several servers can be told apart by age.
func NextEKPack(last *EKPack, highest uint64, now time.Time) *EKPack {
	now = now.UTC().Truncate(time.Second)
	p := &EKPack{Date: now}
	if last != nil {
		p.Hardware, p.Virtual, p.Denied = slices.Clone(last.Hardware), slices.Clone(last.Virtual), slices.Clone(last.Denied)
		highest = max(highest, last.Number)
	}
	year, month, of := now.Date()
	number := uint64(year*10000+int(month)*100+of)*1000000 + uint64(now.Hour()*10000+now.Minute()*100+now.Second())
	p.Number = max(number, highest+1)
	return p
}

// add puts a certificate in its place; false when it is there.
func (p *EKPack) add(der []byte, virtual bool) bool {
	set := p.set(virtual)
	at, found := slices.BinarySearchFunc(*set, der, bytes.Compare)
	if !found {
		*set = slices.Insert(*set, at, der)
	}
	return !found
}

func (p *EKPack) holds(der []byte, virtual bool) bool {
	_, found := slices.BinarySearchFunc(*p.set(virtual), der, bytes.Compare)
	return found
}

func (p *EKPack) set(virtual bool) *[][]byte {
	if virtual {
		return &p.Virtual
	}
	return &p.Hardware
}

// Deny puts a key on the deny list, by the SHA-256 of its SubjectPublicKeyInfo;
// false when it is there.
func (p *EKPack) Deny(spki [sha256.Size]byte) bool {
	at, found := slices.BinarySearchFunc(p.Denied, spki, func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) })
	if !found {
		p.Denied = slices.Insert(p.Denied, at, spki)
	}
	return !found
}

// Allow takes a key off the deny list; false when it is not there.
func (p *EKPack) Allow(spki [sha256.Size]byte) bool {
	n := len(p.Denied)
	p.Denied = slices.DeleteFunc(p.Denied, func(d [sha256.Size]byte) bool { return d == spki })
	return len(p.Denied) < n
}

// Roots returns base with the pack's certificates and deny list. What is denied is
// denied to both kinds, and to those of base too.
func (p *EKPack) Roots(base *EKRoots) (*EKRoots, error) {
	denied := make(map[[sha256.Size]byte]bool, len(p.Denied))
	for _, d := range p.Denied {
		denied[d] = true
	}
	made := new(EKRoots)
	for _, set := range []struct {
		ders       [][]byte
		base, into *Authorities
	}{{p.Hardware, &base.Hardware, &made.Hardware}, {p.Virtual, &base.Virtual, &made.Virtual}} {
		own := Authorities{denied: denied}
		for _, der := range set.ders {
			c, err := readCA(der)
			if err != nil {
				return nil, err
			}
			own.add(c)
		}
		*set.into = set.base.Merge(own)
	}
	return made, nil
}

var errNotCA = errors.New("it is not a CA's certificate")

// readCA reads one certificate that may vouch for others.
func readCA(der []byte) (*x509.Certificate, error) {
	if len(der) > maxCertificate {
		return nil, fmt.Errorf("it has more than %d bytes", maxCertificate)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errors.New(quote(err.Error()))
	}
	if !c.IsCA {
		return nil, errNotCA
	}
	return c, nil
}

// Encode returns the form that travels and is kept, which DecodeEKPack reads.
func (p *EKPack) Encode() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("encoding EK roots: %w", err)
	}
	w := ekWire{Number: p.Number, Date: p.Date.UTC(), Hardware: listed(p.Hardware), Virtual: listed(p.Virtual), Denied: []hexSum{}}
	for _, d := range p.Denied {
		w.Denied = append(w.Denied, d)
	}
	text, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("encoding EK roots: %w", err)
	}
	if len(text) > maxPack {
		return nil, fmt.Errorf("encoding EK roots: more than %d bytes", maxPack)
	}
	return text, nil
}

// DecodeEKPack reads a pack. It wants exactly the form that Encode writes, but for
// white space, and that every certificate reads as a CA's.
func DecodeEKPack(text []byte) (*EKPack, error) {
	if len(text) > maxPack {
		return nil, fmt.Errorf("decoding EK roots: more than %d bytes", maxPack)
	}
	var w ekWire
	if err := readStrict(text, &w); err != nil {
		return nil, fmt.Errorf("decoding EK roots: %w", err)
	}
	if w.Hardware == nil || w.Virtual == nil || w.Denied == nil {
		return nil, fmt.Errorf("decoding EK roots: %w", errNotCanonical)
	}
	p := &EKPack{Number: w.Number, Date: w.Date, Hardware: w.Hardware, Virtual: w.Virtual}
	for _, d := range w.Denied {
		p.Denied = append(p.Denied, d)
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("decoding EK roots: %w", err)
	}
	return p, nil
}

// check holds what every pack is, however it came to be.
func (p *EKPack) check() error {
	switch {
	case p == nil:
		return errors.New("there is none")
	case p.Number == 0 || p.Number > maxNumber:
		return fmt.Errorf("number %d is out of bounds", p.Number)
	case !keepable(p.Date):
		return errors.New("its date is none")
	case len(p.Hardware)+len(p.Virtual) > maxEKCertificates || len(p.Denied) > maxDenied:
		return errors.New("a list of it is too long")
	}
	for name, set := range map[string][][]byte{"hardware": p.Hardware, "virtual": p.Virtual} {
		for i, der := range set {
			if i > 0 && bytes.Compare(set[i-1], der) >= 0 {
				return fmt.Errorf("%s certificate %d is out of order", name, i+1)
			}
			if _, err := readCA(der); err != nil {
				return fmt.Errorf("%s certificate %d: %w", name, i+1, err)
			}
			if name == "virtual" && p.holds(der, false) {
				return fmt.Errorf("virtual certificate %d is a hardware one too", i+1)
			}
		}
	}
	for i := range p.Denied {
		if i > 0 && bytes.Compare(p.Denied[i-1][:], p.Denied[i][:]) >= 0 {
			return fmt.Errorf("denied key %d is out of order", i+1)
		}
	}
	return nil
}
