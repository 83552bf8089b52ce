package evidence

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"
	"testing"

	"muster/attest"
	"muster/attest/bootlog"
)

func digits(bytes int) string { return strings.Repeat("ab", bytes) }

func TestPCRFile(t *testing.T) {
	v, err := parsePCRs([]byte(`{"sha256": {"0": "` + digits(32) + `", "23": "` + strings.ToUpper(digits(32)) + `"}, "sha1": {}, "sm3_256": {"7": "` + digits(32) + `"}}`))
	if err != nil {
		t.Fatal(err)
	}
	values := v.banks[bootlog.SHA256]
	if len(v.banks) != 2 || values == nil || values[0] == nil || !bytes.Equal(values[0], values[23]) || values[1] != nil {
		t.Errorf("read as %v", v.banks)
	}
	if len(v.other) != 1 || v.other[0] != "sm3_256" {
		t.Errorf("left out are %v", v.other)
	}
}

// What is not of the form is refused as a whole, with the place.
func TestPCRFileRefused(t *testing.T) {
	good := `"0": "` + digits(32) + `"`
	for name, text := range map[string]string{
		"nothing":                ``,
		"null":                   `null`,
		"a list":                 `[]`,
		"a bank that is null":    `{"sha256": null}`,
		"a bank that is a text":  `{"sha256": "00"}`,
		"a value that is a list": `{"sha256": {"0": []}}`,
		"a value that is null":   `{"sha256": {"0": null}}`,
		"a value that is number": `{"sha256": {"0": 12}}`,
		"trailing bytes":         `{"sha256": {` + good + `}} {}`,
		"cut":                    `{"sha256": {` + good,
		"a bank twice":           `{"sha256": {}, "sha256": {` + good + `}}`,
		"an index twice":         `{"sha256": {` + good + `, ` + good + `}}`,
		"an index twice, hidden": `{"sha256": {` + good + `, "\u0030": "` + digits(32) + `"}}`,
		"index 24":               `{"sha256": {"24": "` + digits(32) + `"}}`,
		"index -1":               `{"sha256": {"-1": "` + digits(32) + `"}}`,
		"index +1":               `{"sha256": {"+1": "` + digits(32) + `"}}`,
		"index 00":               `{"sha256": {"00": "` + digits(32) + `"}}`,
		"index 1.0":              `{"sha256": {"1.0": "` + digits(32) + `"}}`,
		"no index":               `{"sha256": {"": "` + digits(32) + `"}}`,
		"index PCR0":             `{"sha256": {"PCR0": "` + digits(32) + `"}}`,
		"a value of SHA-1":       `{"sha256": {"0": "` + digits(20) + `"}}`,
		"a value that is short":  `{"sha256": {"0": "` + digits(31) + `"}}`,
		"a value that is long":   `{"sha256": {"0": "` + digits(33) + `"}}`,
		"no value":               `{"sha256": {"0": ""}}`,
		"half a byte":            `{"sha256": {"0": "` + digits(31) + `a"}}`,
		"no hexadecimal":         `{"sha256": {"0": "` + strings.Repeat("zz", 32) + `"}}`,
		"0x before it":           `{"sha256": {"0": "0x` + digits(31) + `"}}`,
		"a space in it":          `{"sha256": {"0": " ` + digits(31) + `a"}}`,
		"another bank, bad":      `{"sm3_256": {"0": "xx"}}`,
		"another bank, index":    `{"sm3_256": {"99": "` + digits(32) + `"}}`,
		"another bank, uneven":   `{"sm3_256": {"0": "` + digits(32) + `", "1": "` + digits(20) + `"}}`,
		"another bank, empty":    `{"sm3_256": {"0": ""}}`,
		"another bank, long":     `{"sm3_256": {"0": "` + digits(65) + `"}}`,
		"too long":               `{"sha256": {` + good + `}}` + strings.Repeat(" ", maxPCRFile),
		"no UTF-8":               "{\"sha256\": {}, \"\xff\": {}}",
		"deep":                   strings.Repeat(`{"a":`, attest.MaxDepth+1) + `1` + strings.Repeat(`}`, attest.MaxDepth+1),
	} {
		if v, err := parsePCRs([]byte(text)); err == nil {
			t.Errorf("%s: was read as %v", name, v)
		} else if !strings.HasPrefix(err.Error(), "reading PCR values: ") || len(err.Error()) > 400 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever is read has the bank's length everywhere, and can be written again.
func FuzzPCRs(f *testing.F) {
	for _, seed := range []string{
		`{"sha1": {"0": "` + digits(20) + `"}, "sha384": {"7": "` + digits(48) + `"}, "sha512": {}}`, `{"sm3_256": {"0": "` + digits(32) + `"}}`,
		`{"sha256": {"0": ""}}`, `{"sha256": null}`, `{}`, `[]`, `{"sha256": {"24": "00"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parsePCRs(b)
		if err != nil {
			if v != nil {
				t.Fatal("an error and values")
			}
			return
		}
		again := map[string]map[string]string{}
		for bank, values := range v.banks {
			size := bankSize(bank)
			if size == 0 {
				t.Fatalf("bank %v is not known", bank)
			}
			text := map[string]string{}
			for i, value := range values {
				if value == nil {
					continue
				}
				if len(value) != size {
					t.Fatalf("%v: PCR %d has %d bytes", bank, i, len(value))
				}
				text[fmt.Sprint(i)] = hex.EncodeToString(value)
			}
			again[bank.String()] = text
		}
		text, err := attest.Encode(again)
		if err != nil {
			t.Fatal(err)
		}
		w, err := parsePCRs(text)
		if err != nil || !maps.EqualFunc(v.banks, w.banks, func(a, b *bootlog.Values) bool { return fmt.Sprint(*a) == fmt.Sprint(*b) }) {
			t.Fatalf("read again: %v", err)
		}
	})
}
