package platform

import (
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf16"
)

func utf16Bytes(text string) []byte {
	var out []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		out = binary.LittleEndian.AppendUint16(out, unit)
	}
	return out
}

func TestRegistryObject(t *testing.T) {
	got, err := registryObject([]registryValue{
		{"server", regString, utf16Bytes("https://musterö.example\x00")},
		{"unterminated", regString, utf16Bytes("x")},
		{"empty", regString, nil},
		{"interval", regDWord, []byte{0x2c, 1, 0, 0}},
		{"big", regQWord, []byte{0, 0, 0, 0, 1, 0, 0, 0}},
		{"list", regStrings, utf16Bytes("a\x00b\x00\x00")},
		{"none", regStrings, utf16Bytes("\x00")},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"big":4294967296,"empty":"","interval":300,"list":["a","b"],"none":[],` +
		`"server":"https://musterö.example","unterminated":"x"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, err := registryObject(nil); err != nil || string(got) != "{}" {
		t.Errorf("no values: %s, %v", got, err)
	}
}

func TestRegistryObjectRefuses(t *testing.T) {
	for name, values := range map[string][]registryValue{
		"default value":    {{"", regString, nil}},
		"twice":            {{"Server", regString, nil}, {"server", regString, nil}},
		"short number":     {{"a", regDWord, []byte{1}}},
		"long number":      {{"a", regDWord, make([]byte, 8)}},
		"short big number": {{"a", regQWord, make([]byte, 4)}},
		"half a character": {{"a", regString, []byte{65}}},
		"binary":           {{"a", 3, []byte{1}}},
		"expandable":       {{"a", 2, utf16Bytes("%x%")}},
		"too long":         {{"a", regString, utf16Bytes(strings.Repeat("x", managedBytes))}},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := registryObject(values); err == nil {
				t.Errorf("taken: %s", got)
			}
		})
	}
}

// FuzzRegistryObject: what is accepted is a JSON object with the value's name.
func FuzzRegistryObject(f *testing.F) {
	f.Add("a", uint32(regString), utf16Bytes("x\x00"))
	f.Add("a", uint32(regStrings), utf16Bytes("x\x00y\x00\x00"))
	f.Add("a", uint32(regDWord), []byte{1, 0, 0, 0})
	f.Add("\xff", uint32(regString), []byte{0, 0xd8, 0, 0})
	f.Fuzz(func(t *testing.T, name string, kind uint32, data []byte) {
		object, err := registryObject([]registryValue{{name, kind, data}})
		if err != nil {
			return
		}
		var members map[string]any
		if err := json.Unmarshal(object, &members); err != nil || len(members) != 1 {
			t.Errorf("%q is no object with one member: %v", object, err)
		}
	})
}
