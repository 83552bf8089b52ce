package tpm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
	"muster/attest/tpmtest"
)

// certificateFor makes a certificate of a public key; who signed is of no concern.
func certificateFor(t *testing.T, public any) []byte {
	t.Helper()
	issuer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, issuer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// writeNV makes an NV index as a manufacturer does.
func writeNV(t *testing.T, chip *tpmtest.TPM, index uint32, attributes tpm2.TPMANV, data []byte) {
	t.Helper()
	attributes.OwnerWrite, attributes.NoDA, attributes.NT = true, true, tpm2.TPMNTOrdinary
	public := tpm2.TPMSNVPublic{
		NVIndex: tpm2.TPMHandle(index), NameAlg: tpm2.TPMAlgSHA256, Attributes: attributes, DataSize: uint16(len(data)),
	}
	_, err := tpm2.NVDefineSpace{AuthHandle: tpm2.TPMRHOwner, PublicInfo: tpm2.New2B(public)}.Execute(chip)
	if err != nil {
		t.Fatal(err)
	}
	for offset := 0; offset < len(data); offset += 512 {
		at, err := tpm2.NVReadPublic{NVIndex: tpm2.TPMHandle(index)}.Execute(chip)
		if err != nil {
			t.Fatal(err)
		}
		_, err = tpm2.NVWrite{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
			NVIndex:    tpm2.NamedHandle{Handle: tpm2.TPMHandle(index), Name: at.NVName},
			Data:       tpm2.TPM2BMaxNVBuffer{Buffer: data[offset:min(offset+512, len(data))]},
			Offset:     uint16(offset),
		}.Execute(chip)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// bare is a chip without an owner goroutine, for tests of one goroutine.
func bare(t *testing.T, x *tpmtest.TPM) *chip {
	t.Helper()
	c := newChip(machine{link: fakeLink(x.Send)}, Config{})
	c.wire.ctx = t.Context()
	return c
}

func TestP256IsPreferredWhenItIsCertified(t *testing.T) {
	t.Parallel()
	vendor := tpmtest.Start(t)
	readable := tpm2.TPMANV{AuthRead: true}
	if ek, err := bare(t, vendor).endorse(); err != nil || ek.Template != attest.EKP384H3 {
		t.Fatalf("with swtpm's certificates: %v, %v", ek, err)
	}

	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	writeNV(t, vendor, 0x01c00014, readable, certificateFor(t, &stranger.PublicKey))
	if ek, err := bare(t, vendor).endorse(); err != nil || ek.Template != attest.EKP384H3 {
		t.Fatalf("with an H-2 certificate of another key: %v, %v", ek, err)
	}

	low := ekTemplates()[1]
	made, err := bare(t, vendor).loadEK(&low, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := publicKey(made.public)
	if err != nil {
		t.Fatal(err)
	}
	certificate := certificateFor(t, key)
	padded := append(bytes.Clone(certificate), bytes.Repeat([]byte{0xff}, 700)...)
	writeNV(t, vendor, 0x01c0000a, readable, padded)

	// The chain: two certificates, cut into three indices.
	chain := append(certificateFor(t, key), certificateFor(t, &stranger.PublicKey)...)
	writeNV(t, vendor, chainFirst, readable, chain[:100])
	writeNV(t, vendor, chainFirst+3, readable, chain[100:300])
	writeNV(t, vendor, chainLast, readable, append(bytes.Clone(chain[300:]), 0, 0, 0))

	ek, err := bare(t, vendor).endorse()
	if err != nil || ek.Template != attest.EKP256L2 || !bytes.Equal(ek.Certificate, certificate) {
		t.Fatalf("with an L-2 certificate: %v", err)
	}
	if !bytes.Equal(bytes.Join([][]byte{ek.Chain[0], ek.Chain[1]}, nil), chain) || len(ek.Chain) != 2 {
		t.Errorf("chain of %d certificates differs", len(ek.Chain))
	}
}

func TestUnreadableCertificateIsNone(t *testing.T) {
	t.Parallel()
	vendor := tpmtest.Start(t)
	writeNV(t, vendor, 0x01c0000a, tpm2.TPMANV{OwnerRead: true}, []byte{0x30, 0})
	c := bare(t, vendor)
	for index, want := range map[uint32]bool{0x01c0000a: false, 0x01c00014: false, 0x01c00016: true, 0x01c00002: true} {
		der, err := c.certificate(index)
		if err != nil || (der != nil) != want {
			t.Errorf("index %08x: %d bytes, %v", index, len(der), err)
		}
	}
}

func TestCertificateEndsWhereItSays(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der := certificateFor(t, &key.PublicKey)
	for name, padding := range map[string][]byte{
		"none": nil, "zeros": make([]byte, 300), "ones": bytes.Repeat([]byte{0xff}, 300), "a byte": {0x30},
	} {
		if got := firstDER(append(bytes.Clone(der), padding...)); !bytes.Equal(got, der) {
			t.Errorf("padding %s: %d bytes of %d", name, len(got), len(der))
		}
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "erased": bytes.Repeat([]byte{0xff}, 100), "zeros": make([]byte, 100), "cut": der[:len(der)-1],
		"huge": {0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 1}, "endless": {0x30, 0x80, 0, 0}, "a set": append([]byte{0x31}, der[1:]...),
	} {
		if got := firstDER(b); got != nil {
			t.Errorf("%s has a certificate of %d bytes", name, len(got))
		}
	}
	if list := splitDER(bytes.Repeat(der, attest.MaxChain+3)); len(list) != attest.MaxChain {
		t.Errorf("chain of %d", len(list))
	}
}

// FuzzSplitDER: what comes out stands in what came in, in order, each whole.
func FuzzSplitDER(f *testing.F) {
	f.Add([]byte{0x30, 2, 1, 2, 0x30, 1, 0, 0xff, 0xff})
	f.Add([]byte{0x30, 0x82, 0, 2, 1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		rest := b
		for _, der := range splitDER(b) {
			if len(der) < 2 || len(der) > attest.MaxCertificate || !bytes.HasPrefix(rest, der) {
				t.Fatalf("%x is not at the start of %x", []byte(der), rest)
			}
			rest = rest[len(der):]
		}
	})
}

// FuzzWrapped: a blob that is accepted is the one that would be written.
func FuzzWrapped(f *testing.F) {
	f.Add((&wrappedKey{[]byte{1, 2, 3}, []byte{4, 5}}).marshal())
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		key, ok := parseWrapped(b)
		if !ok {
			return
		}
		if !bytes.Equal(key.marshal(), b) || len(key.public) > attest.MaxPublic || len(key.private) > maxPrivate {
			t.Fatalf("%x is read as %x", b, key.marshal())
		}
		if _, ok := parseWrapped(append(b, 0)); ok {
			t.Fatal("a trailing byte is accepted")
		}
	})
}
