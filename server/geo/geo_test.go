package geo

import (
	"bytes"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/oschwald/maxminddb-golang/v2"
)

func open(t testing.TB) *Map {
	t.Helper()
	m, err := Open(save(t, countries()), save(t, systems()))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The library's own examination finds nothing wrong with what the tests write.
func TestFixtures(t *testing.T) {
	for _, content := range [][]byte{countries(), systems(), build(4, "Test", network{"192.0.2.0/24", at("NL")})} {
		r, err := maxminddb.OpenBytes(content)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Verify(); err != nil {
			t.Error(err)
		}
	}
}

func TestLookup(t *testing.T) {
	m := open(t)
	for address, want := range map[string]struct {
		country string
		asn     uint32
	}{
		"192.0.2.1":             {"NL", 64496},
		"192.0.2.255":           {"NL", 64496},
		"::ffff:192.0.2.1":      {"NL", 64496},
		"198.51.100.1":          {"SE", 4_200_000_000},
		"198.51.100.200":        {"", 4_200_000_000}, // beyond the network that has a country
		"2001:db8::1":           {"JP", 65551},
		"2001:db8::1%eth0":      {"JP", 65551},
		"192.0.3.1":             {},
		"2001:db9::1":           {},
		"203.0.113.1":           {}, // a code in lower case, a number as text
		"203.0.113.17":          {}, // three letters, an empty record
		"203.0.113.33":          {}, // a number
		"203.0.113.49":          {}, // empty
		"203.0.113.65":          {}, // registered there, which is not where it is
		"203.0.113.81":          {}, // text where a map should be
		"203.0.113.97":          {}, // text one below
		"10.1.2.3":              {},
		"127.0.0.1":             {},
		"::ffff:127.0.0.1":      {},
		"::ffff:10.1.2.3":       {},
		"100.64.1.1":            {},
		"169.254.1.1":           {},
		"224.0.0.1":             {},
		"0.0.0.0":               {},
		"255.255.255.255":       {},
		"::":                    {},
		"::1":                   {},
		"fd00::1":               {},
		"fe80::1%eth0":          {},
		"ff02::1":               {},
		"::192.0.2.1":           {"NL", 64496}, // IPv4-compatible: the tree of these files has IPv4 there
		"::ffff:203.0.113.1":    {},
		"64:ff9b::192.0.2.1":    {},
		"2002:c000:201::1":      {},
		"ffff:ffff:ffff:ffff::": {},
	} {
		if country, asn := m.Lookup(netip.MustParseAddr(address)); country != want.country || asn != want.asn {
			t.Errorf("%s: %q %d, want %q %d", address, country, asn, want.country, want.asn)
		}
	}
	if country, asn := m.Lookup(netip.Addr{}); country != "" || asn != 0 {
		t.Error("no address is somewhere")
	}
}

// Without files nothing is known, and one alone does what it can.
func TestSomeFiles(t *testing.T) {
	address := netip.MustParseAddr("192.0.2.1")
	for name, test := range map[string]struct {
		country, asn string
		wantCountry  string
		wantASN      uint32
	}{
		"none":    {},
		"country": {country: save(t, countries()), wantCountry: "NL"},
		"asn":     {asn: save(t, systems()), wantASN: 64496},
		"IPv4":    {country: save(t, build(4, "Test", network{"192.0.2.0/24", at("NL")})), wantCountry: "NL"},
	} {
		m, err := Open(test.country, test.asn)
		if err != nil {
			t.Fatal(err)
		}
		if country, asn := m.Lookup(address); country != test.wantCountry || asn != test.wantASN {
			t.Errorf("%s: %q %d", name, country, asn)
		}
		if country, asn := m.Lookup(netip.MustParseAddr("2001:db8::1")); name == "IPv4" && (country != "" || asn != 0) {
			t.Error("an address of IPv6 is in a file of IPv4")
		}
	}
	if country, asn := new(Map).Lookup(address); country != "" || asn != 0 {
		t.Error("the zero Map knows something")
	}
}

func TestOpenRefuses(t *testing.T) {
	good, swapped := countries(), systems()
	marker := bytes.LastIndex(good, []byte("\xab\xcd\xefMaxMind.com"))
	// changed replaces the value, of one byte, of a member of the metadata.
	changed := func(name string, value byte) []byte {
		content := bytes.Clone(good)
		i := bytes.LastIndex(content, []byte(name))
		if i < marker || content[i+len(name)]&0x1f != 1 {
			t.Fatalf("%s is not one byte", name)
		}
		content[i+len(name)+1] = value
		return content
	}
	large := save(t, nil)
	if err := os.Truncate(large, maxFile+1); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{
		"not there":       "/nowhere/places.mmdb",
		"a folder":        t.TempDir(),
		"too large":       large,
		"empty":           save(t, nil),
		"text":            save(t, []byte("a file of another kind")),
		"marker only":     save(t, good[marker:marker+14]),
		"metadata only":   save(t, good[marker:]),
		"cut":             save(t, good[:len(good)-9]),
		"cut before":      save(t, good[200:]),
		"no metadata":     save(t, good[:marker]),
		"swapped":         save(t, swapped),
		"no network":      save(t, build(6, "Test-Country")),
		"no country":      save(t, build(6, "Test-Country", network{"192.0.2.0/24", at("xx")})),
		"record of 29":    save(t, changed("record_size", 29)),
		"record of 0":     save(t, changed("record_size", 0)),
		"format 3":        save(t, changed("binary_format_major_version", 3)),
		"IP version 5":    save(t, changed("ip_version", 5)),
		"all bytes zero":  save(t, make([]byte, len(good))),
		"marker at start": save(t, append([]byte("\xab\xcd\xefMaxMind.com"), good[:marker]...)),
	} {
		m, err := Open(file, "")
		if err == nil || m != nil {
			t.Errorf("%s: opened", name)
		} else if name == "too large" && !strings.Contains(err.Error(), "at most") {
			t.Errorf("%s: read to its end: %v", name, err)
		}
	}
	// An error of one file is an error, whatever the other is.
	if m, err := Open(save(t, good), save(t, good)); err == nil || m != nil || !strings.Contains(err.Error(), "autonomous_system_number") {
		t.Errorf("%v", err)
	}
}

func TestLookupConcurrently(t *testing.T) {
	m := open(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			address := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
			for range 500 {
				if country, asn := m.Lookup(address); country != "NL" || asn != 64496 {
					t.Errorf("%q %d", country, asn)
					return
				}
			}
		})
	}
	all.Wait()
}

// damaged opens content as Open does, without a file, and asks for what tests know.
func damaged(t *testing.T, content []byte, addresses ...netip.Addr) {
	reader, err := parse(content)
	if err != nil {
		if reader != nil {
			t.Fatal("an error with a reader")
		}
		return
	}
	holds(reader, func(r maxminddb.Result) bool { return countryOf(r) == "ZZ" })
	m := &Map{country: reader, asn: reader}
	for _, a := range addresses {
		if country, _ := m.Lookup(a); country != "" && (len(country) != 2 || strings.ToUpper(country) != country) {
			t.Errorf("%v is in %q", a, country)
		}
	}
}

func known() (addresses []netip.Addr) {
	for _, a := range []string{"192.0.2.1", "198.51.100.200", "203.0.113.1", "203.0.113.97", "2001:db8::1", "8.8.8.8", "2a00::1"} {
		addresses = append(addresses, netip.MustParseAddr(a))
	}
	return addresses
}

// Each byte of a file in turn is another one, and each beginning is the whole.
func TestDamaged(t *testing.T) {
	good := build(6, "Test-Country", network{"192.0.2.0/24", at("NL")}, network{"2001:db8::/32", at("JP")})
	for i := range good {
		damaged(t, good[:i], known()...)
		for _, value := range []byte{0, 1, 0x1f, 0x7f, 0x80, 0xe1, 0xff} {
			content := bytes.Clone(good)
			content[i] = value
			damaged(t, content, known()...)
		}
	}
}

func FuzzOpen(f *testing.F) {
	good := build(6, "Test-Country", network{"192.0.2.0/24", at("NL")})
	f.Add(good)
	f.Add(countries())
	f.Add(systems())
	f.Add(good[:len(good)/2])
	f.Add([]byte("\xab\xcd\xefMaxMind.com"))
	f.Fuzz(func(t *testing.T, content []byte) { damaged(t, content, known()...) })
}

func BenchmarkLookup(b *testing.B) {
	m, address := open(b), netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		if country, _ := m.Lookup(address); country != "NL" {
			b.Fatal("unknown")
		}
	}
}
