package tpmtest_test

import (
	"testing"

	"muster/attest/tpmtest"
)

func BenchmarkStart(b *testing.B) {
	b.Run("own authority", func(b *testing.B) {
		for b.Loop() {
			tpmtest.Start(b).Stop()
		}
	})
	b.Run("shared authority", func(b *testing.B) {
		a := tpmtest.NewAuthority(b)
		for b.Loop() {
			tpmtest.Start(b, tpmtest.From(a)).Stop()
		}
	})
}
