package geo

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"

	"github.com/oschwald/maxminddb-golang/v2"
)

// maxFile bounds a file. The largest that people use, with cities and much else,
// have about 130 MB; those with countries have 10.
const maxFile = 256 << 20

// maxLooked is how many networks of a file are looked at for what it is opened for.
const maxLooked = 4096

// Map is some opened files. The zero Map knows nothing. It is safe for concurrent
// use.
type Map struct {
	country, asn *maxminddb.Reader
}

// Open reads files in the MaxMind DB format: one that has countries (GeoLite2
// Country or City, and others with country.iso_code), and one that has autonomous
// systems (GeoLite2 ASN). An empty name is no file. A file without what it is
// opened for is an error: two that were swapped would know nothing for ever.
func Open(countryFile, asnFile string) (*Map, error) {
	m := new(Map)
	for _, one := range []struct {
		file, what string
		to         **maxminddb.Reader
		has        func(maxminddb.Result) bool
	}{
		{countryFile, "country.iso_code", &m.country, func(r maxminddb.Result) bool { return countryOf(r) != "" }},
		{asnFile, "autonomous_system_number", &m.asn, func(r maxminddb.Result) bool { return asnOf(r) != 0 }},
	} {
		if one.file == "" {
			continue
		}
		content, err := readFile(one.file)
		if err != nil {
			return nil, fmt.Errorf("opening a file of places: %w", err)
		}
		reader, err := parse(content)
		if err != nil {
			return nil, fmt.Errorf("opening %s, a file of places: %w", one.file, err)
		}
		if !holds(reader, one.has) {
			return nil, fmt.Errorf("opening %s, a file of places: it is a %.40q and has no %s", one.file, reader.Metadata.DatabaseType, one.what)
		}
		*one.to = reader
	}
	return m, nil
}

// readFile reads a file whole. Mapped into memory, one that somebody cuts short
// later would end the process.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file", name)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s has %d bytes; at most %d are read", name, info.Size(), maxFile)
	}
	content := make([]byte, info.Size())
	if _, err := io.ReadFull(f, content); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return content, nil
}

func parse(content []byte) (reader *maxminddb.Reader, err error) {
	defer guard(func() { reader, err = nil, errors.New("it is damaged") })
	if reader, err = maxminddb.OpenBytes(content, maxminddb.DisableStringCache()); err != nil {
		return nil, err
	}
	if v := reader.Metadata.IPVersion; v != 4 && v != 6 {
		return nil, fmt.Errorf("it is for IP version %d", v)
	}
	if major := reader.Metadata.BinaryFormatMajorVersion; major != 2 {
		return nil, fmt.Errorf("its format has version %d", major)
	}
	return reader, nil
}

// holds reports whether one of the first networks has what a file is opened for.
func holds(reader *maxminddb.Reader, has func(maxminddb.Result) bool) (found bool) {
	defer guard(func() { found = false })
	looked := 0
	for result := range reader.Networks(maxminddb.IncludeNetworksWithoutData(), maxminddb.IncludeAliasedNetworks()) {
		if looked++; has(result) {
			return true
		}
		if looked == maxLooked || result.Err() != nil {
			return false
		}
	}
	return false
}

// guard keeps a defect of the library in a damaged file's own answer.
func guard(unknown func()) {
	if recover() != nil {
		unknown()
	}
}

// Lookup tells the country (ISO 3166-1 alpha-2) and the autonomous system of an
// address; "" and 0 where unknown. Addresses that are not of the internet are
// nowhere, whatever a file says.
func (m *Map) Lookup(address netip.Addr) (country string, asn uint32) {
	if address = address.Unmap().WithZone(""); !public(address) {
		return "", 0
	}
	return m.countryAt(address), m.asnAt(address)
}

func (m *Map) countryAt(address netip.Addr) (country string) {
	defer guard(func() { country = "" })
	if m.country == nil {
		return ""
	}
	return countryOf(m.country.Lookup(address))
}

func (m *Map) asnAt(address netip.Addr) (asn uint32) {
	defer guard(func() { asn = 0 })
	if m.asn == nil {
		return 0
	}
	return asnOf(m.asn.Lookup(address))
}

// shared is between a provider and its customers (RFC 6598): each has it.
var shared = netip.MustParsePrefix("100.64.0.0/10")

func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a)
}

// countryOf is where the network is used, not where it is registered.
func countryOf(r maxminddb.Result) string {
	var code string
	if err := r.DecodePath(&code, "country", "iso_code"); err != nil || len(code) != 2 || !letter(code[0]) || !letter(code[1]) {
		return ""
	}
	return code
}

func letter(c byte) bool { return 'A' <= c && c <= 'Z' }

func asnOf(r maxminddb.Result) uint32 {
	var asn uint32
	if err := r.DecodePath(&asn, "autonomous_system_number"); err != nil {
		return 0
	}
	return asn
}
