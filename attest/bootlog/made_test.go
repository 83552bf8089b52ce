package bootlog

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"unicode/utf16"
)

// made is an event that a test makes or takes apart. measured is what was hashed;
// digest is its hash in SHA-256, given where the measured bytes are not had.
type made struct {
	pcr, kind uint32
	body      []byte
	digest    []byte
}

// Event types, for people who read a test: the package believes none but the first.
const (
	kindNoAction  = 0x00000003
	kindSeparator = 0x00000004
	kindIPL       = 0x0000000d
	kindVariable  = 0x80000001
	kindProgram   = 0x80000003
	kindAction    = 0x80000007
	kindAuthority = 0x800000e0
)

// bound is an event whose body is what was measured.
func bound(pcr, kind uint32, body []byte) made {
	return made{pcr: pcr, kind: kind, body: body, digest: sum256(body)}
}

// of is an event whose body is not what was measured.
func of(pcr, kind uint32, body, measured []byte) made {
	return made{pcr: pcr, kind: kind, body: body, digest: sum256(measured)}
}

func sum256(b []byte) []byte {
	var sum [maxDigest]byte
	return SHA256.sum(&sum, b)
}

func parting(pcr uint32) made { return bound(pcr, kindSeparator, make([]byte, 4)) }

// write makes a crypto-agile log of one bank. Events without a digest are logged
// with none.
func write(events []made) []byte {
	head := slices.Concat([]byte(agileSignature), []byte{0, 0, 0, 0, 0, 2, 0, 2}, []byte{1, 0, 0, 0, 0x0b, 0, 32, 0, 0})
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0)
	b = le.AppendUint32(b, noAction)
	b = append(b, make([]byte, 20)...)
	b = le.AppendUint32(b, uint32(len(head)))
	b = append(b, head...)
	for _, e := range events {
		b = le.AppendUint32(b, e.pcr)
		b = le.AppendUint32(b, e.kind)
		if e.digest == nil {
			b = le.AppendUint32(b, 0)
		} else {
			b = le.AppendUint32(b, 1)
			b = le.AppendUint16(b, uint16(SHA256))
			b = append(b, e.digest...)
		}
		b = le.AppendUint32(b, uint32(len(e.body)))
		b = append(b, e.body...)
	}
	return b
}

// take takes a log's SHA-256 events apart.
func take(t testing.TB, l *Log) []made {
	t.Helper()
	var events []made
	for i := range l.Events[1:] {
		e := &l.Events[1+i]
		events = append(events, made{e.PCR, e.Type, bytes.Clone(e.Body), bytes.Clone(l.Digest(e, SHA256))})
	}
	return events
}

// replayed are the values that events lead to, from starts of zeros.
func replayed(events []made) *Values {
	var values Values
	for pcr := range values {
		values[pcr] = make([]byte, 32)
		if pcr >= 17 && pcr <= 22 {
			values[pcr] = bytes.Repeat([]byte{0xff}, 32)
		}
	}
	for _, e := range events {
		if e.pcr < PCRCount && e.kind != noAction && e.digest != nil {
			values[e.pcr] = bytes.Clone(sum256(append(values[e.pcr], e.digest...)))
		}
	}
	return &values
}

// account judges events against values.
func account(t testing.TB, events []made, values *Values) *Account {
	t.Helper()
	return parsed(t, write(events)).Account(SHA256, values, nil)
}

func parsed(t testing.TB, b []byte) *Log {
	t.Helper()
	l, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// uefi makes a UEFI_VARIABLE_DATA.
func uefi(vendor [16]byte, name string, data []byte) []byte {
	le := binary.LittleEndian
	b := bytes.Clone(vendor[:])
	chars := utf16.Encode([]rune(name))
	b = le.AppendUint64(b, uint64(len(chars)))
	b = le.AppendUint64(b, uint64(len(data)))
	for _, c := range chars {
		b = le.AppendUint16(b, c)
	}
	return append(b, data...)
}

// list makes an EFI_SIGNATURE_LIST.
func list(kind [16]byte, entries ...[]byte) []byte {
	size := 16
	if len(entries) > 0 {
		size += len(entries[0])
	}
	le := binary.LittleEndian
	b := bytes.Clone(kind[:])
	b = le.AppendUint32(b, uint32(28+size*len(entries)))
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, uint32(size))
	for _, e := range entries {
		b = append(b, bytes.Repeat([]byte{0x77}, 16)...)
		b = append(b, e...)
	}
	return b
}

// owned is an EFI_SIGNATURE_DATA.
func owned(data []byte) []byte { return append(bytes.Repeat([]byte{0x77}, 16), data...) }

// image makes an EFI_IMAGE_LOAD_EVENT with one file path.
func image(path string) []byte {
	le := binary.LittleEndian
	var name []byte
	for _, c := range utf16.Encode([]rune(path + "\x00")) {
		name = le.AppendUint16(name, c)
	}
	node := append([]byte{4, 4}, le.AppendUint16(nil, uint16(4+len(name)))...)
	node = append(append(node, name...), 0x7f, 0xff, 4, 0)
	b := make([]byte, 24)
	b = le.AppendUint64(b, uint64(len(node)))
	return append(b, node...)
}

// real is a log of a real start, with its values in each bank.
type real struct {
	name   string
	raw    []byte
	log    *Log
	values map[Bank]*Values
}

// reals are the logs in testdata.
func reals(t testing.TB) []real {
	t.Helper()
	paths, err := filepath.Glob("testdata/*/binary_bios_measurements")
	if err != nil || len(paths) < 5 {
		t.Fatalf("logs in testdata: %v, %v", paths, err)
	}
	var all []real
	for _, path := range paths {
		r := real{name: filepath.Base(filepath.Dir(path)), values: map[Bank]*Values{}}
		if r.raw, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
		r.log = parsed(t, r.raw)
		text, err := os.ReadFile(filepath.Join(filepath.Dir(path), "pcrs.json"))
		if err != nil {
			t.Fatal(err)
		}
		var banks map[string]map[string]string
		if err := json.Unmarshal(text, &banks); err != nil {
			t.Fatal(err)
		}
		for name, pcrs := range banks {
			bank, err := ParseBank(name)
			if err != nil {
				t.Fatal(err)
			}
			r.values[bank] = &Values{}
			for index, value := range pcrs {
				i, err := strconv.Atoi(index)
				if err != nil || i >= PCRCount {
					t.Fatal(index, err)
				}
				if r.values[bank][i], err = hex.DecodeString(value); err != nil {
					t.Fatal(err)
				}
			}
		}
		all = append(all, r)
	}
	return all
}

// oneReal is one log of testdata.
func oneReal(t testing.TB, name string) real {
	t.Helper()
	for _, r := range reals(t) {
		if r.name == name {
			return r
		}
	}
	t.Fatalf("no log %s", name)
	return real{}
}
