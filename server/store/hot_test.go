package store

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"muster/attest"
)

// anyHot draws a row: each member is absent, small or extreme.
func anyHot(r *rand.Rand) *Hot {
	digest := func() (d attest.Digest) {
		if r.IntN(3) > 0 {
			for i := range d {
				d[i] = byte(r.Uint32())
			}
		}
		return d
	}
	at := func() time.Time {
		return []time.Time{{}, time.UnixMilli(1).UTC(), time.UnixMilli(r.Int64N(1 << 45)).UTC()}[r.IntN(3)]
	}
	number := func() uint64 { return []uint64{0, 1, r.Uint64(), 1<<64 - 1}[r.IntN(4)] }
	h := &Hot{
		Seq: number(), Last: digest(), Base: digest(), Request: digest(), Log: digest(),
		IssuedAt: at(), QuotedAt: at(), ResyncedAt: at(), Resync: r.IntN(2) > 0,
		Resyncs: uint32(number()),
	}
	if r.IntN(2) > 0 {
		h.Clock = &attest.Clock{Clock: number(), ResetCount: uint32(number()), RestartCount: uint32(number()), Safe: r.IntN(2) > 0}
	}
	id := make([]byte, r.IntN(maxBootID+1))
	for i := range id {
		id[i] = byte(r.Uint32())
	}
	h.BootID = string(id)
	for range r.IntN(attest.MaxNonces + 1) {
		h.Nonces = append(h.Nonces, Nonce{digest(), at(), at()})
	}
	return h
}

func TestHotPacksWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	longest := 0
	for range 20_000 {
		want, epoch := anyHot(r), r.Uint64()
		b := want.pack(epoch)
		longest = max(longest, len(b))
		got := new(Hot)
		e, err := got.unpack(b)
		if err != nil || e != epoch || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v (%d) came back as %+v (%d): %v", want, epoch, got, e, err)
		}
		for _, bad := range [][]byte{b[:r.IntN(len(b))], append(bytes.Clone(b), 0), append([]byte{2}, b[1:]...)} {
			if _, err := new(Hot).unpack(bad); err == nil {
				t.Fatalf("%x is no whole row and was read", bad)
			}
		}
	}
	if longest > 600 {
		t.Errorf("a packed row has %d bytes", longest)
	}
}

// What can be unpacked is a row: it packs and unpacks to itself, and never
// holds more than its limits.
func FuzzHotUnpack(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		f.Add(anyHot(r).pack(r.Uint64()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h := new(Hot)
		epoch, err := h.unpack(b)
		if err != nil {
			return
		}
		if len(h.Nonces) > attest.MaxNonces {
			t.Fatalf("%d nonces", len(h.Nonces))
		}
		again := new(Hot)
		e, err := again.unpack(h.pack(epoch))
		if err != nil || e != epoch || !reflect.DeepEqual(h, again) {
			t.Fatalf("%+v is not %+v: %v", again, h, err)
		}
	})
}

func TestHotLimits(t *testing.T) {
	s := openAt(t, newPath(t))
	update(t, s, insert("a"))
	for name, spoil := range map[string]func(*Hot){
		"nonces":  func(h *Hot) { h.Nonces = make([]Nonce, attest.MaxNonces+1) },
		"boot id": func(h *Hot) { h.BootID = string(make([]byte, 300)) },
		"reply":   func(h *Hot) { h.Reply = make([]byte, attest.MaxMessage+1) },
	} {
		err := s.Update(t.Context(), func(tx *Tx) error {
			h, err := tx.Hot("a")
			if err != nil {
				return err
			}
			spoil(h)
			return tx.PutHot(h)
		})
		if err == nil {
			t.Errorf("too many or too long: %s", name)
		}
	}
}
