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

// BootLog is a boot log ready to be kept. It is kept once, however many devices
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

// keptLogs is how many boot logs are kept of each device: those of the systems
// that it starts in turn.
const keptLogs = 4

// AddBootLog keeps a log of a device; one that is there stays as it is. A log
// goes when it is no longer among the last four of any device. ErrNotFound
// without the device.
func (t *Tx) AddBootLog(device string, l *BootLog) error {
	var n int64
	if err := t.first([]any{&n}, "SELECT n FROM devices WHERE id = ?", device); err != nil {
		return err
	}
	if _, err := t.exec(`INSERT INTO boot_logs (digest, first_seen, size, packed) VALUES (?, ?, ?, ?)
		ON CONFLICT DO NOTHING`, l.Digest[:], millis(t.now), l.size, l.packed); err != nil {
		return err
	}
	return t.referToLog(n, l.Digest)
}

// referToLog makes a log, where it is kept, the newest of the device with that
// row number.
func (t *Tx) referToLog(n int64, digest attest.Digest) error {
	if _, err := t.exec(`REPLACE INTO device_logs (n, digest) SELECT ?, digest FROM boot_logs
		WHERE digest = ?`, n, digest[:]); err != nil {
		return err
	}
	var old [][]byte
	if err := t.query(func(row scanner) error {
		var digest []byte
		err := row.Scan(&digest)
		old = append(old, digest)
		return err
	}, "SELECT digest FROM device_logs WHERE n = ? ORDER BY id DESC LIMIT -1 OFFSET ?", n, keptLogs); err != nil {
		return err
	}
	for _, digest := range old {
		if err := t.one("DELETE FROM device_logs WHERE n = ? AND digest = ?", n, digest); err != nil {
			return err
		}
		if _, err := t.exec(`DELETE FROM boot_logs WHERE digest = ?1 AND NOT EXISTS
			(SELECT 1 FROM device_logs WHERE digest = ?1)`, digest); err != nil {
			return err
		}
	}
	return nil
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
