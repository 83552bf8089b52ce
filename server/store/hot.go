package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"muster/attest"
)

// Hot is where a device's statements stand. It is written with every accepted
// one, so it is one small row: about 230 bytes beside the reply.
type Hot struct {
	// Seq and Last are of the last accepted statement.
	Seq  uint64
	Last attest.Digest
	// Base is the last full report, to which heartbeats refer.
	Base attest.Digest
	// Request is the SHA-256 of the last accepted request's body, and Reply what
	// it was answered: identical bytes get it again. At most
	// [attest.MaxMessage] bytes.
	Request attest.Digest
	Reply   []byte
	// Nonces are live and unused, at most [attest.MaxNonces].
	Nonces []Nonce
	// IssuedAt is when the nonce of the last accepted statement was issued: the
	// lease runs from here. QuotedAt is the same of the last quote.
	IssuedAt, QuotedAt time.Time
	// Clock is the TPM's at the last quote; nil before the first.
	Clock *attest.Clock
	// BootID is the last report's, at most 64 bytes.
	BootID string
	// Log names the boot log of the last quote, which stays when it is kept.
	Log attest.Digest
	// Resync demands that the next statement is a full report, with a quote where
	// the device has an AK. A new epoch sets it.
	Resync bool
	// Resyncs counts statements that were out of step; ResyncedAt is when the last
	// was.
	Resyncs    uint32
	ResyncedAt time.Time

	n, rev int64
	device string
	log    attest.Digest // Log as stored
}

// Nonce is one that was issued to a device. Times are kept to the millisecond.
type Nonce struct {
	Value           attest.Digest
	Issued, Expires time.Time
}

// Hot reads where a device stands. In the first read after a restore its nonces
// and reply are void, and it must resync.
func (t *Tx) Hot(device string) (*Hot, error) {
	h := &Hot{device: device}
	var state, reply []byte
	if err := t.first([]any{&h.n, &h.rev, &state, &reply}, `SELECT h.n, h.rev, h.state, h.reply
		FROM devices d JOIN hot h ON h.n = d.n WHERE d.id = ?`, device); err != nil {
		return nil, err
	}
	epoch, err := h.unpack(state)
	if err != nil {
		return nil, fmt.Errorf("reading state of device %s: %w", device, err)
	}
	h.Reply, h.log = reply, h.Log
	if epoch != t.epoch {
		h.Nonces, h.Reply, h.Request, h.Resync = nil, nil, attest.Digest{}, true
	}
	return h, nil
}

// PutHot writes what was read by [Tx.Hot], here or in an earlier View. ErrStale
// when the row or its device (state, keys, level) changed since: read and judge
// again.
func (t *Tx) PutHot(h *Hot) error {
	if len(h.Nonces) > attest.MaxNonces || len(h.BootID) > maxBootID || len(h.Reply) > attest.MaxMessage {
		return errors.New("hot row with too many nonces, or too long a boot id or reply")
	}
	changed, err := t.exec("UPDATE hot SET rev = rev + 1, state = ?, reply = ? WHERE n = ? AND rev = ?",
		h.pack(t.epoch), h.Reply, h.n, h.rev)
	if err != nil {
		return err
	}
	if changed != 1 {
		return ErrStale
	}
	h.rev++
	t.changed(HotChanged, h.device)
	known := h.Log == h.log || h.Log.IsZero()
	h.log = h.Log
	if known {
		return nil
	}
	return t.referToLog(h.n, h.Log)
}

const maxBootID = 64

// The packed form: version, flags, epoch, Seq, the digests that are set, times,
// clock, boot id, counters, nonces. Numbers are varints.
const hotVersion = 1

const (
	hotLast uint64 = 1 << iota
	hotBase
	hotRequest
	hotLog
	hotClock
	hotSafe
	hotResync
)

func (h *Hot) flags() (f uint64) {
	for _, b := range []struct {
		flag uint64
		set  bool
	}{
		{hotLast, !h.Last.IsZero()}, {hotBase, !h.Base.IsZero()},
		{hotRequest, !h.Request.IsZero()}, {hotLog, !h.Log.IsZero()},
		{hotClock, h.Clock != nil}, {hotSafe, h.Clock != nil && h.Clock.Safe},
		{hotResync, h.Resync},
	} {
		if b.set {
			f |= b.flag
		}
	}
	return f
}

func (h *Hot) pack(epoch uint64) []byte {
	b := make([]byte, 0, 320)
	f := h.flags()
	b = append(b, hotVersion)
	b = binary.AppendUvarint(b, f)
	b = binary.AppendUvarint(b, epoch)
	b = binary.AppendUvarint(b, h.Seq)
	for _, d := range []*attest.Digest{&h.Last, &h.Base, &h.Request, &h.Log} {
		if !d.IsZero() {
			b = append(b, d[:]...)
		}
	}
	for _, at := range []time.Time{h.IssuedAt, h.QuotedAt, h.ResyncedAt} {
		b = binary.AppendVarint(b, millis(at))
	}
	if c := h.Clock; c != nil {
		b = binary.AppendUvarint(b, c.Clock)
		b = binary.AppendUvarint(b, uint64(c.ResetCount))
		b = binary.AppendUvarint(b, uint64(c.RestartCount))
	}
	b = append(b, byte(len(h.BootID)))
	b = append(b, h.BootID...)
	b = binary.AppendUvarint(b, uint64(h.Resyncs))
	b = append(b, byte(len(h.Nonces)))
	for _, n := range h.Nonces {
		b = append(b, n.Value[:]...)
		b = binary.AppendVarint(b, millis(n.Issued))
		b = binary.AppendVarint(b, millis(n.Expires)-millis(n.Issued))
	}
	return b
}

func (h *Hot) unpack(b []byte) (epoch uint64, err error) {
	r := &unpacker{b: b}
	if r.byte() != hotVersion {
		return 0, errors.New("packed in an unknown form")
	}
	f := r.uvarint()
	epoch = r.uvarint()
	h.Seq = r.uvarint()
	r.digest(f&hotLast != 0, &h.Last)
	r.digest(f&hotBase != 0, &h.Base)
	r.digest(f&hotRequest != 0, &h.Request)
	r.digest(f&hotLog != 0, &h.Log)
	h.IssuedAt, h.QuotedAt, h.ResyncedAt = instant(r.varint()), instant(r.varint()), instant(r.varint())
	if f&hotClock != 0 {
		h.Clock = &attest.Clock{Clock: r.uvarint(), ResetCount: r.uint32(), RestartCount: r.uint32(),
			Safe: f&hotSafe != 0}
	}
	h.Resync = f&hotResync != 0
	h.BootID = string(r.bytes(int(r.byte())))
	h.Resyncs = r.uint32()
	if n := int(r.byte()); n > attest.MaxNonces {
		r.bad = true
	} else if n > 0 {
		h.Nonces = make([]Nonce, n)
	}
	for i := range h.Nonces {
		n := &h.Nonces[i]
		r.digest(true, &n.Value)
		issued := r.varint()
		n.Issued, n.Expires = instant(issued), instant(issued+r.varint())
	}
	if r.bad || len(r.b) != 0 {
		return 0, errors.New("packed form is not whole")
	}
	return epoch, nil
}

// unpacker reads a packed form; bad stays set after the first thing missing.
type unpacker struct {
	b   []byte
	bad bool
}

func (r *unpacker) bytes(n int) []byte {
	if n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	part := r.b[:n]
	r.b = r.b[n:]
	return part
}

func (r *unpacker) byte() byte {
	if b := r.bytes(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (r *unpacker) digest(set bool, d *attest.Digest) {
	if set {
		copy(d[:], r.bytes(len(d)))
	}
}

func (r *unpacker) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *unpacker) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *unpacker) uint32() uint32 {
	v := r.uvarint()
	r.bad = r.bad || v > 1<<32-1
	return uint32(v)
}
