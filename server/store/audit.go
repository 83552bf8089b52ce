package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"muster/attest"
)

// Entry is one line of the audit log.
type Entry struct {
	Seq     uint64 // from 1, without gaps; set by Audit
	At      time.Time
	Actor   string // who did it: administrator:NAME, device:ID, store
	Action  string // stable: device.approve, token.create
	Subject string // what it was done to
	Detail  []byte // JSON, never a secret; nil for none
	Prev    attest.Digest
	Hash    attest.Digest // over all the above
}

// AuditHead is the last entry: whoever notes it elsewhere notices truncation.
type AuditHead struct {
	Seq  uint64 // 0: the log is empty
	Hash attest.Digest
}

// AuditBreak is where the audit log first does not add up.
type AuditBreak struct {
	Seq    uint64
	Reason string
}

// Error names the entry and what is wrong with it.
func (b *AuditBreak) Error() string {
	return fmt.Sprintf("audit log is broken at entry %d: %s", b.Seq, b.Reason)
}

// hash chains an entry to the one before: SHA-256 over a tag and the fields,
// each with its length.
func (e *Entry) hash() (d attest.Digest) {
	h := sha256.New()
	h.Write([]byte("muster/audit/1"))
	var n [8]byte
	for _, number := range []uint64{e.Seq, uint64(millis(e.At))} {
		binary.BigEndian.PutUint64(n[:], number)
		h.Write(n[:])
	}
	for _, part := range [][]byte{[]byte(e.Actor), []byte(e.Action), []byte(e.Subject), e.Detail, e.Prev[:]} {
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	h.Sum(d[:0])
	return d
}

// Audit appends an entry, in the same transaction as what it tells of. It sets
// Seq, At, Prev and Hash, and returns the new head.
func (t *Tx) Audit(e Entry) (AuditHead, error) {
	if e.Detail == nil {
		e.Detail = []byte("{}")
	}
	if !json.Valid(e.Detail) {
		return AuditHead{}, errors.New("audit detail is not JSON")
	}
	head, err := t.AuditHead()
	if err != nil {
		return AuditHead{}, err
	}
	e.Seq, e.At, e.Prev = head.Seq+1, t.now, head.Hash
	e.Hash = e.hash()
	err = t.one(`INSERT INTO audit (seq, at, actor, action, subject, detail, prev, hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		e.Seq, millis(e.At), e.Actor, e.Action, e.Subject, e.Detail, e.Prev[:], e.Hash[:])
	t.audited = true
	return AuditHead{e.Seq, e.Hash}, err
}

// AuditHead reads the last entry's number and hash.
func (t *Tx) AuditHead() (h AuditHead, err error) {
	var hash []byte
	err = t.first([]any{&h.Seq, &hash}, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
	if errors.Is(err, ErrNotFound) {
		return AuditHead{}, nil
	}
	if err == nil {
		h.Hash, err = readDigest(hash)
	}
	return h, err
}

// AuditLog lists entries behind a number, oldest first: at most limit.
func (t *Tx) AuditLog(after uint64, limit int) (list []Entry, err error) {
	err = t.entries(func(e Entry) error {
		list = append(list, e)
		return nil
	}, "WHERE seq > ? ORDER BY seq LIMIT ?", after, limit)
	return list, err
}

// AuditBefore lists entries before a number, newest first: at most limit. 0 is
// behind the last one.
func (t *Tx) AuditBefore(before uint64, limit int) (list []Entry, err error) {
	if before == 0 || before > math.MaxInt64 { // what SQLite can compare with
		before = math.MaxInt64
	}
	err = t.entries(func(e Entry) error {
		list = append(list, e)
		return nil
	}, "WHERE seq < ? ORDER BY seq DESC LIMIT ?", before, max(limit, 0))
	return list, err
}

// EntryOf reads one entry of the audit log by its number. ErrNotFound.
func (t *Tx) EntryOf(seq uint64) (*Entry, error) {
	if seq > math.MaxInt64 { // what SQLite can compare with
		return nil, ErrNotFound
	}
	var found *Entry
	err := t.entries(func(e Entry) error {
		found = &e
		return nil
	}, "WHERE seq = ?", seq)
	if err == nil && found == nil {
		err = ErrNotFound
	}
	return found, err
}

func (t *Tx) entries(each func(Entry) error, where string, args ...any) error {
	return t.query(func(row scanner) error {
		var e Entry
		var at int64
		var prev, hash []byte
		err := row.Scan(&e.Seq, &at, &e.Actor, &e.Action, &e.Subject, &e.Detail, &prev, &hash)
		if err != nil {
			return err
		}
		e.At = instant(at)
		if copy(e.Prev[:], prev) != len(e.Prev) || copy(e.Hash[:], hash) != len(e.Hash) {
			return &AuditBreak{e.Seq, "a hash is cut"}
		}
		return each(e)
	}, "SELECT seq, at, actor, action, subject, detail, prev, hash FROM audit "+where, args...)
}

// VerifyAudit recomputes the whole chain and compares it with the heads that the
// journal noted. An [*AuditBreak] names the first entry that does not add up;
// entries cut off at the end are noticed up to the last noted head.
func (s *Store) VerifyAudit(ctx context.Context) (head AuditHead, err error) {
	lines, err := s.journal.read()
	if err != nil {
		return head, err
	}
	marks := auditMarks(lines)
	err = s.View(ctx, func(t *Tx) error {
		return t.entries(func(e Entry) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			mark, marked := marks[e.Seq]
			delete(marks, e.Seq)
			switch {
			case e.Seq != head.Seq+1:
				return &AuditBreak{head.Seq + 1, "it is missing"}
			case e.Prev != head.Hash:
				return &AuditBreak{e.Seq, "it does not follow the entry before"}
			case e.Hash != e.hash():
				return &AuditBreak{e.Seq, "its content does not match its hash"}
			case marked && mark != string(e.Hash[:]):
				return &AuditBreak{e.Seq, "the journal noted another hash"}
			}
			head = AuditHead{e.Seq, e.Hash}
			return nil
		}, "ORDER BY seq")
	})
	if err != nil {
		return head, err
	}
	for seq := range marks {
		if seq != 0 {
			return head, &AuditBreak{head.Seq + 1, "it is missing: the journal noted later ones"}
		}
	}
	return head, nil
}

// auditMarks are the noted heads that belong to this log: a restore cuts it back
// to the head with which its epoch began.
func auditMarks(lines []line) map[uint64]string {
	marks := map[uint64]string{}
	for i := range lines {
		l := &lines[i]
		if l.Kind == lineEpoch {
			for seq := range marks {
				if seq > l.Seq {
					delete(marks, seq)
				}
			}
		}
		if l.Kind == lineEpoch || l.Kind == lineAudit {
			marks[l.Seq] = string(l.Hash)
		}
	}
	return marks
}

// checkpointEvery is how many entries may be cut off the end of the log, by
// somebody who can write the database but not the journal, without a trace.
const checkpointEvery = 64

// checkpointAudit notes the head in the journal, after its commit. Only the
// writer goroutine calls it, and Close after that has ended.
func (s *Store) checkpointAudit() {
	t := &Tx{c: s.writer}
	head, err := t.AuditHead()
	s.checkpointed = min(s.checkpointed, head.Seq) // a new epoch began
	if err == nil && (head.Seq >= s.checkpointed+checkpointEvery || s.ending() && head.Seq > s.checkpointed) {
		err = s.journal.append([]line{{Kind: lineAudit, Time: millis(s.now()), Epoch: s.epoch.Load(),
			Seq: head.Seq, Hash: orNull(head.Hash)}})
		s.checkpointed = head.Seq
	}
	if err != nil {
		s.log.Warn("audit head not noted in the journal", "error", err)
	}
}

func (s *Store) ending() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}
