package passkey

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// checkClientData checks CollectedClientData (WebAuthn §5.8.1) more narrowly than
// the library: names and values are compared exactly, a name stands once, and no
// frame of another origin took part. Members that we do not know are ignored, as
// the specification asks.
func (p *Party) checkClientData(data []byte, ceremony string, challenge []byte) error {
	members, err := readObject(data)
	if err != nil {
		return refuse("client data: %w", err)
	}
	known := []string{"type", "challenge", "origin", "crossOrigin", "topOrigin"}
	for name := range members {
		for _, k := range known {
			if name != k && strings.EqualFold(name, k) {
				return refuse("client data has %q, which looks like %s", name, k)
			}
		}
	}
	want := map[string]string{"type": ceremony, "origin": p.config.Origin,
		"challenge": base64.RawURLEncoding.EncodeToString(challenge)}
	for _, name := range []string{"type", "origin", "challenge"} {
		var got string
		if err := json.Unmarshal(members[name], &got); err != nil || subtle.ConstantTimeCompare([]byte(got), []byte(want[name])) != 1 {
			return refuse("client data has another %s", name)
		}
	}
	if cross, there := members["crossOrigin"]; there && string(cross) != "false" {
		return refuse("the ceremony ran across origins")
	}
	if _, there := members["topOrigin"]; there {
		return refuse("the ceremony ran in a frame of another origin")
	}
	return nil
}

// readObject reads one JSON object into its members; none may stand twice.
func readObject(data []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	members := map[string]json.RawMessage{}
	for d.More() {
		name, err := d.Token()
		key, ok := name.(string)
		if err != nil || !ok {
			return nil, errors.New("not a JSON object")
		}
		if _, twice := members[key]; twice {
			return nil, fmt.Errorf("%q stands twice", key)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, errors.New("not a JSON object")
		}
		members[key] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("not a JSON object")
	}
	if len(bytes.Trim(data[d.InputOffset():], " \t\r\n")) != 0 {
		return nil, errors.New("more than one JSON object")
	}
	return members, nil
}
