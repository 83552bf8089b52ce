package attest

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
)

// Encode writes a message or payload as JSON, the same value always as the same
// bytes.
func Encode(v any) ([]byte, error) { return json.Marshal(v, json.Deterministic(true)) }

// Decode reads strict JSON into v: one value, UTF-8, no unknown or duplicate
// member, names case-sensitive, no null, at most [MaxDepth] deep. An absent
// member keeps what v holds.
func Decode(b []byte, v any) error {
	return shapeOf(b).decode(b, v)
}

func (s shape) decode(b []byte, v any) error {
	if s.depth > MaxDepth {
		return fmt.Errorf("JSON nested deeper than %d", MaxDepth)
	}
	if s.null {
		return errors.New("JSON null: an absent value is left out")
	}
	return json.Unmarshal(b, v, json.RejectUnknownMembers(true))
}

// decodePayload is [Decode] for what a statement carries, where strings are
// bounded too.
func decodePayload(what string, payload []byte, v any) error {
	s := shapeOf(payload)
	if s.text > MaxText {
		return refuse(TooLarge, "%s has a string of %d bytes", what, s.text)
	}
	if err := s.decode(payload, v); err != nil {
		return refuse(PayloadForm, "%s: %v", what, err)
	}
	return nil
}

// shape is what can be told of JSON text without parsing it; of text that is no
// JSON it tells nothing that matters, because parsing refuses that.
type shape struct {
	depth int  // deepest nesting of arrays and objects
	text  int  // bytes between the quotes of the longest string
	null  bool // a null occurs: the only token with an n outside strings
}

func shapeOf(b []byte) (s shape) {
	level := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			start := i + 1
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			s.text = max(s.text, min(i, len(b))-start)
		case '{', '[':
			level++
			s.depth = max(s.depth, level)
		case '}', ']':
			level--
		case 'n':
			s.null = true
		}
	}
	return s
}
