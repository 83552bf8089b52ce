package store

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// PutContent keeps the content of a pack of reference values, packed, replacing
// the last. Its number must have been accepted before, in this update or an
// earlier one (see AcceptPack): ErrNotFound.
func (t *Tx) PutContent(pack string, content []byte) error {
	if len(content) > maxContent {
		return fmt.Errorf("content of a pack is longer than %d bytes", maxContent)
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	if err := errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("packing content: %w", err)
	}
	t.changed(ContentChanged, pack)
	return t.one(`INSERT INTO contents (pack, number, size, packed)
		SELECT name, number, ?, ? FROM packs WHERE name = ?
		ON CONFLICT (pack) DO UPDATE SET number = excluded.number, size = excluded.size, packed = excluded.packed`,
		len(content), b.Bytes(), pack)
}

// Content reads it; ErrNotFound, also when a higher number was accepted since it
// was put: a restored backup does not bring older reference values back.
func (t *Tx) Content(pack string) ([]byte, error) {
	var packed []byte
	var size int
	if err := t.first([]any{&size, &packed}, `SELECT c.size, c.packed FROM contents c
		JOIN packs p ON p.name = c.pack WHERE c.pack = ? AND c.number = p.number`, pack); err != nil {
		return nil, err
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpacking content: %w", err)
	}
	content, err := io.ReadAll(io.LimitReader(r, maxContent+1))
	if err != nil {
		return nil, fmt.Errorf("unpacking content: %w", err)
	}
	if len(content) != size {
		return nil, errors.New("stored content does not have its size")
	}
	return content, nil
}
