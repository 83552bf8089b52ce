package bootlog

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"
)

// Kinds of signature lists (UEFI 2.10 §32.4.1): EFI_CERT_SHA256_GUID and
// EFI_CERT_X509_GUID, as in memory.
var (
	kindSHA256 = [16]byte{0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28}
	kindX509   = [16]byte{0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72}
)

const (
	listHead  = 16 + 4 + 4 + 4 // of an EFI_SIGNATURE_LIST
	ownerSize = 16             // of an EFI_SIGNATURE_DATA's owner
)

// signatures goes through EFI_SIGNATURE_LISTs one entry at a time. Each step takes
// bytes away, so that it ends whatever the lengths say.
type signatures struct {
	rest    []byte // lists to come
	kind    [16]byte
	entries []byte // of the list at hand
	size    int    // of one entry
	bad     bool   // the bytes are no lists
}

// next returns the next entry without its owner. At the end, or when the bytes are
// no lists (bad), more is false.
func (s *signatures) next() (kind [16]byte, entry []byte, more bool) {
	for len(s.entries) == 0 {
		if len(s.rest) == 0 || !s.list() {
			return kind, nil, false
		}
	}
	entry = s.entries[ownerSize:s.size:s.size]
	s.entries = s.entries[s.size:]
	return s.kind, entry, true
}

// list begins the next list.
func (s *signatures) list() bool {
	s.bad = true
	if len(s.rest) < listHead {
		return false
	}
	copy(s.kind[:], s.rest)
	size := uint64(binary.LittleEndian.Uint32(s.rest[16:]))
	head := uint64(binary.LittleEndian.Uint32(s.rest[20:]))
	one := uint64(binary.LittleEndian.Uint32(s.rest[24:]))
	if size > uint64(len(s.rest)) || listHead+head > size || one < ownerSize {
		return false
	}
	entries := s.rest[listHead+head : size]
	if uint64(len(entries))%one != 0 || (s.kind == kindSHA256 && one != ownerSize+sha256.Size) {
		return false
	}
	s.entries, s.size, s.rest = entries, int(one), s.rest[size:]
	s.bad = false
	return true
}

// maxCertificates bounds how many certificates of one log are parsed, and maxDER how
// long one may be. Real logs have about twenty, of two kilobytes at most.
const (
	maxCertificates = 64
	maxDER          = 16 << 10
)

// content is a variable of PCR 7 and what it holds. It is shared between accounts
// and not changed.
type content struct {
	body     []byte // as measured
	variable variable
	shape    shape

	// Of lists.
	keys    Keys
	entries int
	// Of an authority.
	authority Authority

	tried int // how many certificates were parsed
}

// shape says how the data of a variable can be read.
type shape uint8

const (
	noVariable shape = iota
	otherData
	// listData: EFI_SIGNATURE_LISTs. No bytes are no entries: that is how an absent
	// variable is measured.
	listData
	authorityData
)

// readContent reads a bound body. Only the data tells the shape: a variable named db
// is the lists or, as an authority, one entry of them.
func readContent(body []byte, certs *Certificates) *content {
	c := &content{body: body}
	var ok bool
	if c.variable, ok = readVariable(body); !ok {
		return c
	}
	c.shape = otherData
	if certificateOf(c.variable.data) != nil {
		c.tried = 1
	}
	if c.authority, ok = readAuthority(c.variable.data, certs); ok {
		c.authority.Variable = c.variable.title()
		c.shape = authorityData
	} else if c.readLists(certs) {
		c.shape = listData
	}
	return c
}

// readLists reads signature lists; ok is false when the data is none.
func (c *content) readLists(certs *Certificates) (ok bool) {
	data := c.variable.data
	s := signatures{rest: data}
	for kind, entry, more := s.next(); more; kind, entry, more = s.next() {
		c.entries++
		switch {
		case kind == kindSHA256:
			c.keys.Hashes++
			continue
		case kind == kindX509 && c.tried < maxCertificates:
			c.tried++
			if cert := certs.read(entry); cert != nil {
				c.keys.Certificates = append(c.keys.Certificates, cert)
				continue
			}
		}
		c.keys.Others++
	}
	if s.bad {
		return false
	}
	c.keys.SHA256 = sha256.Sum256(data)
	return true
}

// revocations is the content as that of dbx.
func (c *content) revocations() Revocations {
	return Revocations{SHA256: c.keys.SHA256, Entries: c.entries, Certificates: c.keys.Certificates, data: c.variable.data}
}

// Hashes yields the hashes of programs that are refused (EFI_CERT_SHA256), in the
// variable's order.
func (r Revocations) Hashes() iter.Seq[[sha256.Size]byte] {
	return func(yield func([sha256.Size]byte) bool) {
		s := signatures{rest: r.data}
		for kind, entry, more := s.next(); more; kind, entry, more = s.next() {
			if kind == kindSHA256 && !yield([sha256.Size]byte(entry)) {
				return
			}
		}
	}
}

// readAuthority reads what a variable of an authority holds: one EFI_SIGNATURE_DATA
// with a certificate or a program's SHA-256; or, as shim measures its own
// certificate, the DER alone.
func readAuthority(data []byte, certs *Certificates) (a Authority, ok bool) {
	if der := certificateOf(data); der != nil {
		a.Certificate = certs.read(der)
		return a, a.Certificate != nil
	}
	if len(data) != ownerSize+sha256.Size {
		return a, false
	}
	a.Hash = [sha256.Size]byte(data[ownerSize:])
	return a, true
}

// certificateOf returns the DER of an authority's certificate, which may follow an
// owner; nil when there is none.
func certificateOf(data []byte) []byte {
	if isDER(data) {
		return data
	}
	if len(data) > ownerSize && isDER(data[ownerSize:]) {
		return data[ownerSize:]
	}
	return nil
}

// isDER tells whether bytes are one DER SEQUENCE of 256 to 65,535 bytes, as every
// certificate is.
func isDER(b []byte) bool {
	return len(b) > 4 && b[0] == 0x30 && b[1] == 0x82 && int(binary.BigEndian.Uint16(b[2:])) == len(b)-4
}

// oneEntry appends the EFI_SIGNATURE_LIST of a single entry that is owned by shim, as
// shim makes it for its MokList.
func oneEntry(to []byte, kind [16]byte, entry []byte) []byte {
	to = append(to, kind[:]...)
	size := uint32(ownerSize + len(entry))
	to = binary.LittleEndian.AppendUint32(to, listHead+size)
	to = binary.LittleEndian.AppendUint32(to, 0)
	to = binary.LittleEndian.AppendUint32(to, size)
	to = append(to, shimVendor[:]...)
	return append(to, entry...)
}
