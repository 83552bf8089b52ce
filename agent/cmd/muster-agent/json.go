package main

import (
	"bytes"
	"encoding/json"
	"io"

	"muster/attest"
)

// writeJSON writes one value with line breaks, for people and programs.
func writeJSON(w io.Writer, v any) error {
	b, err := attest.Encode(v)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return err
	}
	out.WriteByte('\n')
	_, err = out.WriteTo(w)
	return err
}
