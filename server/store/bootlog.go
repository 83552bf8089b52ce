package store

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"muster/attest"
)

// BootLog is a boot log ready to be kept. It is kept once, whichever devices
// have it.
type BootLog struct {
	Digest attest.Digest // SHA-256 of the log
	size   int
	packed []byte
}

// PackBootLog compresses a log of at most [attest.MaxBootLog] bytes. It takes
// milliseconds: call it before the Update.
func PackBootLog(log []byte) (*BootLog, error) {
	if len(log) > attest.MaxBootLog {
		return nil, fmt.Errorf("boot log has %d bytes", len(log))
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(log)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("packing boot log: %w", err)
	}
	return &BootLog{Digest: sha256.Sum256(log), size: len(log), packed: b.Bytes()}, nil
}

// AddBootLog keeps a log; one that is there stays as it is.
func (t *Tx) AddBootLog(l *BootLog) error {
	_, err := t.exec(`INSERT INTO boot_logs (digest, first_seen, size, packed) VALUES (?, ?, ?, ?)
		ON CONFLICT DO NOTHING`, l.Digest[:], millis(t.now), l.size, l.packed)
	return err
}

// HasBootLog tells whether a log is kept.
func (t *Tx) HasBootLog(digest attest.Digest) (has bool, err error) {
	err = t.first([]any{&has}, "SELECT EXISTS (SELECT 1 FROM boot_logs WHERE digest = ?)", digest[:])
	return has, err
}

// BootLog reads a log and when it was first seen. A log that is no longer what
// its digest says is an error.
func (t *Tx) BootLog(digest attest.Digest) (log []byte, firstSeen time.Time, err error) {
	var seen int64
	var packed []byte
	if err := t.first([]any{&seen, &packed}, "SELECT first_seen, packed FROM boot_logs WHERE digest = ?",
		digest[:]); err != nil {
		return nil, firstSeen, err
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, firstSeen, fmt.Errorf("unpacking boot log: %w", err)
	}
	log, err = io.ReadAll(io.LimitReader(r, attest.MaxBootLog+1))
	if err != nil {
		return nil, firstSeen, fmt.Errorf("unpacking boot log: %w", err)
	}
	if sha256.Sum256(log) != digest {
		return nil, firstSeen, errors.New("stored boot log does not have its digest")
	}
	return log, instant(seen), nil
}
