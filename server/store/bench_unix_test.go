//go:build unix

package store

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"muster/attest"
)

func processorTime(b *testing.B) int64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkHotUpdate is the unchanged report: one UPDATE of a hot row with a
// 700-byte reply, answered after its commit.
func BenchmarkHotUpdate(b *testing.B) {
	for _, writers := range []int{1, 20, 200} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := openAt(b, newPath(b))
			rows := benchRows(b, s, max(writers, 1000))
			groups, cpu := s.groups.Load(), processorTime(b)
			b.ResetTimer()
			var next atomic.Int64
			var all sync.WaitGroup
			for w := range writers {
				all.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						// Each writer has rows of its own.
						h := rows[(int(n)*writers+w)%(len(rows)/writers*writers)]
						h.Seq++
						if err := s.Update(context.Background(), func(tx *Tx) error { return tx.PutHot(h) }); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.StopTimer()
			b.ReportMetric(float64(processorTime(b)-cpu)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(b.N)/float64(s.groups.Load()-groups), "updates/commit")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
		})
	}
}

// BenchmarkHotUpdateInGroup is the same without the commit's share: all rows in
// one transaction.
func BenchmarkHotUpdateInGroup(b *testing.B) {
	s := openAt(b, newPath(b))
	rows := benchRows(b, s, 1000)
	b.ReportAllocs()
	b.ResetTimer()
	update(b, s, func(tx *Tx) error {
		for i := range b.N {
			if err := tx.PutHot(rows[i%len(rows)]); err != nil {
				return err
			}
		}
		return nil
	})
}

// BenchmarkView reads what every report needs: the hot row, and the device where
// the caller does not cache it.
func BenchmarkView(b *testing.B) {
	s := openAt(b, newPath(b))
	benchRows(b, s, 1000)
	for name, whole := range map[string]bool{"hot": false, "device+hot": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				id := fmt.Sprintf("device-%04d", i%1000)
				if err := s.View(context.Background(), func(tx *Tx) error {
					if whole {
						if _, err := tx.Device(id); err != nil {
							return err
						}
					}
					_, err := tx.Hot(id)
					return err
				}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// benchRows makes devices and returns their hot rows, filled as in use.
func benchRows(b *testing.B, s *Store, n int) (rows []*Hot) {
	b.Helper()
	update(b, s, func(tx *Tx) error {
		for i := range n {
			id := fmt.Sprintf("device-%04d", i)
			if err := tx.InsertDevice(laptop(id)); err != nil {
				return err
			}
			h, err := tx.Hot(id)
			if err != nil {
				return err
			}
			h.Last, h.Base, h.Request, h.Log = digestOf("l"), digestOf("b"), digestOf("r"), digestOf("g")
			h.Reply = make([]byte, 700)
			h.IssuedAt, h.QuotedAt, h.BootID = tx.Now(), tx.Now(), "6a1c5d0e-0f6b-4a39-9c43-1d1f4f1f2c55"
			h.Clock = &attest.Clock{Clock: 1 << 33, ResetCount: 812, RestartCount: 3, Safe: true}
			h.Nonces = []Nonce{{Value: digestOf("n"), Issued: tx.Now(), Expires: tx.Now().Add(900e9)}}
			rows = append(rows, h)
			if err := tx.PutHot(h); err != nil {
				return err
			}
		}
		b.ReportMetric(float64(len(rows[0].pack(1))), "packed-bytes")
		return nil
	})
	return rows
}
