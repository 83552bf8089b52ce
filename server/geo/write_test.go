package geo

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The tests write their own files, by the format's description: a search tree of
// nodes of two 24-bit records, 16 zero bytes, the data, a marker and the metadata
// (https://maxmind.github.io/MaxMind-DB/).

// member is one of a map, which keeps its order here.
type member struct {
	name  string
	value any
}

// encode writes a value: members, string, uint32, uint16 or []string.
func encode(b *bytes.Buffer, value any) {
	control := func(kind, size int) {
		short := min(size, 29) // 29: the rest follows in a byte
		if kind > 7 {
			b.Write([]byte{byte(short), byte(kind - 7)})
		} else {
			b.WriteByte(byte(kind<<5 | short))
		}
		if short == 29 {
			b.WriteByte(byte(size - 29))
		}
	}
	number := func(kind int, v uint32) {
		raw := bytes.TrimLeft(binary.BigEndian.AppendUint32(nil, v), "\x00")
		control(kind, len(raw))
		b.Write(raw)
	}
	switch v := value.(type) {
	case string:
		control(2, len(v))
		b.WriteString(v)
	case uint16:
		number(5, uint32(v))
	case uint32:
		number(6, v)
	case []member:
		control(7, len(v))
		for _, m := range v {
			encode(b, m.name)
			encode(b, m.value)
		}
	case []string:
		control(11, len(v))
		for _, s := range v {
			encode(b, s)
		}
	default:
		panic("not a value that tests need")
	}
}

// network is one with its record.
type network struct {
	prefix string
	record any
}

// build writes a file of IP version 6 or 4 with some networks.
func build(version uint16, kind string, networks ...network) []byte {
	var data bytes.Buffer
	type leaf struct {
		bits   []byte
		offset int
	}
	var leaves []leaf
	for _, n := range networks {
		prefix := netip.MustParsePrefix(n.prefix)
		address, length := prefix.Addr().AsSlice(), prefix.Bits()
		if version == 6 && prefix.Addr().Is4() { // in ::/96
			address, length = slices.Concat(make([]byte, 12), address), length+96
		}
		l := leaf{offset: data.Len()}
		for i := range length {
			l.bits = append(l.bits, address[i/8]>>(7-i%8)&1)
		}
		leaves = append(leaves, l)
		encode(&data, n.record)
	}
	const empty = -1
	nodes := [][2]int{{empty, empty}} // below -1: a leaf, -2 less its number
	for number, l := range leaves {
		at := 0
		for i, bit := range l.bits {
			if i == len(l.bits)-1 {
				nodes[at][bit] = -2 - number
				break
			}
			if nodes[at][bit] < 0 {
				nodes = append(nodes, [2]int{empty, empty})
				nodes[at][bit] = len(nodes) - 1
			}
			at = nodes[at][bit]
		}
	}
	var out bytes.Buffer
	for _, node := range nodes {
		for _, record := range node {
			switch {
			case record == empty:
				record = len(nodes)
			case record < empty:
				record = len(nodes) + 16 + leaves[-2-record].offset
			}
			out.Write([]byte{byte(record >> 16), byte(record >> 8), byte(record)})
		}
	}
	out.Write(make([]byte, 16))
	out.Write(data.Bytes())
	out.WriteString("\xab\xcd\xefMaxMind.com")
	encode(&out, []member{
		{"binary_format_major_version", uint16(2)}, {"binary_format_minor_version", uint16(0)}, {"build_epoch", uint32(1_700_000_000)},
		{"database_type", kind}, {"description", []member{{"en", "made by a test"}}}, {"ip_version", version},
		{"languages", []string{"en"}}, {"node_count", uint32(len(nodes))}, {"record_size", uint16(24)},
	})
	return out.Bytes()
}

// at is a record of a country.
func at(code any) []member {
	return []member{{"country", []member{{"iso_code", code}, {"names", []member{{"en", "Somewhere"}}}}}}
}

func system(number any) []member {
	return []member{{"autonomous_system_number", number}, {"autonomous_system_organization", "Example"}}
}

// countries and systems are the files of most tests; documentation networks
// (RFC 5737, RFC 3849) stand for the internet's.
func countries() []byte {
	return build(6, "Test-Country",
		network{"192.0.2.0/24", at("NL")}, network{"198.51.100.0/25", at("SE")}, network{"2001:db8::/32", at("JP")},
		network{"203.0.113.0/28", at("nl")}, network{"203.0.113.16/28", at("NLD")}, network{"203.0.113.32/28", at(uint32(7))}, network{"203.0.113.48/28", at("")},
		network{"203.0.113.64/28", []member{{"registered_country", []member{{"iso_code", "US"}}}}}, network{"203.0.113.80/28", "NL"}, network{"203.0.113.96/28", []member{{"country", "NL"}}},
		// What no file should say:
		network{"10.0.0.0/8", at("DE")}, network{"127.0.0.0/8", at("DE")}, network{"100.64.0.0/10", at("DE")}, network{"169.254.0.0/16", at("DE")},
		network{"224.0.0.0/4", at("DE")}, network{"fc00::/7", at("DE")}, network{"fe80::/10", at("DE")})
}

func systems() []byte {
	return build(6, "Test-ASN",
		network{"192.0.2.0/24", system(uint32(64496))}, network{"198.51.100.0/24", system(uint32(4_200_000_000))}, network{"2001:db8::/32", system(uint32(65551))},
		network{"203.0.113.0/28", system("64496")}, network{"203.0.113.16/28", []member{}})
}

func save(t testing.TB, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "places.mmdb")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
