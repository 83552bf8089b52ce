package tpm_test

import (
	"testing"

	"muster/attest"
	"muster/attest/tpm"
	"muster/attest/tpmtest"
)

// BenchmarkOperations times what an agent asks of a chip, each with the making
// and flushing of its keys. swtpm shows our overhead; a chip takes what it takes.
func BenchmarkOperations(b *testing.B) {
	chip := tpmtest.Start(b)
	c := tpm.Config{Setting: chip.Setting(), Tenant: tenant, Secret: secret(1)}
	x := open(b, c)
	id := identity(b, x)
	blob, sealed := credential(b, id.EK, parse(b, attest.AK, id.AK).Name, []byte("secret"))
	for _, o := range []struct {
		name string
		do   func() error
	}{
		{"clock", func() error { _, err := x.Clock(b.Context()); return err }},
		{"identity", func() error { _, err := x.Identity(b.Context()); return err }},
		{"sign DK", func() error { _, err := x.Sign(b.Context(), attest.DK, [32]byte{1}); return err }},
		{"sign DKb", func() error { _, err := x.Sign(b.Context(), attest.DKb, [32]byte{1}); return err }},
		{"certify DKb", func() error { _, err := x.Certify(b.Context(), attest.DKb, attest.Digest{1}); return err }},
		{"quote", func() error { _, err := x.Quote(b.Context(), attest.Digest{1}); return err }},
		{"activate", func() error { _, err := x.Activate(b.Context(), blob, sealed); return err }},
		{"open and first identity", func() error {
			y, err := tpm.Open(b.Context(), c)
			if err != nil {
				return err
			}
			if _, err := y.Identity(b.Context()); err != nil {
				return err
			}
			return y.Close()
		}},
	} {
		b.Run(o.name, func(b *testing.B) {
			for b.Loop() {
				if err := o.do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
