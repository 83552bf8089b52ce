package platform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
)

// Kinds of registry values (MS-RRP §3.1.1.5).
const (
	regString  = 1
	regDWord   = 4
	regStrings = 7
	regQWord   = 11
)

// registryValue is one value as the registry returns it.
type registryValue struct {
	name string
	kind uint32
	data []byte // little endian, strings in UTF-16 with their ends marked by 0
}

// registryObject translates the values of the policy key to a JSON object.
// Names are compared as the registry does, without regard to case, so two that
// differ in it cannot come; should they, both are refused.
func registryObject(values []registryValue) ([]byte, error) {
	object := make(map[string]any, len(values))
	seen := make(map[string]bool, len(values))
	for _, v := range values {
		if v.name == "" {
			return nil, errors.New("the key's default value is set: delete it, settings have names")
		}
		folded := strings.ToLower(v.name)
		if seen[folded] {
			return nil, fmt.Errorf("value %s is there twice", v.name)
		}
		seen[folded] = true
		decoded, err := registryDecode(v)
		if err != nil {
			return nil, fmt.Errorf("value %s: %w", v.name, err)
		}
		object[v.name] = decoded
	}
	return encodeObject(object)
}

func registryDecode(v registryValue) (any, error) {
	switch v.kind {
	case regDWord:
		if len(v.data) != 4 {
			return nil, fmt.Errorf("REG_DWORD of %d bytes", len(v.data))
		}
		return binary.LittleEndian.Uint32(v.data), nil
	case regQWord:
		if len(v.data) != 8 {
			return nil, fmt.Errorf("REG_QWORD of %d bytes", len(v.data))
		}
		return binary.LittleEndian.Uint64(v.data), nil
	case regString:
		text, err := registryText(v.data)
		if err != nil {
			return nil, err
		}
		// The end mark may be missing; after it nothing counts.
		text, _, _ = strings.Cut(text, "\x00")
		return text, nil
	case regStrings:
		text, err := registryText(v.data)
		if err != nil {
			return nil, err
		}
		list := []string{}
		for item := range strings.SplitSeq(text, "\x00") {
			if item == "" {
				break // the empty string ends the list
			}
			list = append(list, item)
		}
		return list, nil
	}
	return nil, fmt.Errorf("kind %d is not read: use REG_SZ, REG_DWORD, REG_QWORD or REG_MULTI_SZ", v.kind)
}

func registryText(data []byte) (string, error) {
	if len(data)%2 != 0 {
		return "", fmt.Errorf("text of %d bytes is not UTF-16", len(data))
	}
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(data[2*i:])
	}
	return string(utf16.Decode(units)), nil
}
