package softkey_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"strings"
	"testing"

	"muster/attest"
	"muster/attest/softkey"
)

// file is a private file in memory.
type file struct {
	content []byte // nil: not there
	writes  int
}

func (f *file) read() ([]byte, error) {
	if f.content == nil {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(f.content), nil
}

func (f *file) write(b []byte) error {
	f.content, f.writes = bytes.Clone(b), f.writes+1
	return nil
}

func TestKeyIsMadeOnceAndStays(t *testing.T) {
	var f file
	first, err := softkey.Open(f.read, f.write)
	if err != nil {
		t.Fatal(err)
	}
	again, err := softkey.Open(f.read, f.write)
	if err != nil {
		t.Fatal(err)
	}
	a, errA := first.Identity(t.Context())
	b, errB := again.Identity(t.Context())
	if errA != nil || errB != nil || !bytes.Equal(a.DK, b.DK) || f.writes != 1 {
		t.Fatalf("key changed between starts, or was written %d times", f.writes)
	}
	if a.Kind != attest.KindSoft || a.EK != nil || a.AK != nil || a.DKb != nil || a.TPM != (attest.TPMInfo{}) {
		t.Fatalf("a software key claims more than DK: %+v", a)
	}
	other, err := softkey.Open(new(file).read, func([]byte) error { return nil })
	if !errors.Is(err, attest.ErrKeyLost) {
		t.Fatalf("a store that keeps nothing gave %v, %v", other, err)
	}
}

func TestSignaturesVerifyAndAreFixedSize(t *testing.T) {
	var f file
	k, err := softkey.Open(f.read, f.write)
	if err != nil {
		t.Fatal(err)
	}
	id, err := k.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	public, err := attest.SoftKey(id.DK)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 600 { // one in 256 has a leading zero in r, and one in s
		digest := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		signature, err := k.Sign(t.Context(), attest.DK, digest)
		if err != nil {
			t.Fatal(err)
		}
		if len(signature) != 64 {
			t.Fatalf("signature of %d bytes", len(signature))
		}
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		if !ecdsa.Verify(public.Public, digest[:], r, s) {
			t.Fatal("signature does not verify")
		}
		digest[0] ^= 1
		if ecdsa.Verify(public.Public, digest[:], r, s) {
			t.Fatal("signature verifies for another digest")
		}
	}
}

func TestWhatNeedsATPMIsAbsent(t *testing.T) {
	var f file
	k, err := softkey.Open(f.read, f.write)
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []attest.Role{attest.NoRole, attest.AK, attest.DKb} {
		if signature, err := k.Sign(t.Context(), role, [32]byte{1}); !errors.Is(err, attest.ErrAbsent) || signature != nil {
			t.Errorf("%v signed: %x, %v", role, signature, err)
		}
	}
	if _, err := k.Clock(t.Context()); !errors.Is(err, attest.ErrAbsent) {
		t.Errorf("clock: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.Sign(gone, attest.DK, [32]byte{1}); !errors.Is(err, context.Canceled) {
		t.Errorf("signed for a caller that has gone: %v", err)
	}
	if _, ok := any(k).(attest.Anchor); ok {
		t.Error("a software key must not be an Anchor")
	}
}

func pkcs8(t *testing.T, key any, blockType string) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der})
}

func TestDamagedFileIsNeverOverwritten(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := pkcs8(t, p256, "PRIVATE KEY")
	if _, err := softkey.Open((&file{content: good}).read, nil); err != nil {
		t.Fatalf("the undamaged file: %v", err)
	}
	cases := map[string][]byte{
		"empty":            {},
		"cut":              good[:len(good)/2],
		"text before":      append([]byte("# key\n"), good...),
		"text after":       append(bytes.Clone(good), "x"...),
		"two keys":         append(bytes.Clone(good), good...),
		"another type":     pkcs8(t, p256, "EC PRIVATE KEY"),
		"another curve":    pkcs8(t, p384, "PRIVATE KEY"),
		"another algo":     pkcs8(t, edwards, "PRIVATE KEY"),
		"zeros":            make([]byte, len(good)),
		"too long":         bytes.Repeat([]byte("A"), 1<<20),
		"header":           bytes.Replace(good, []byte("-----\n"), []byte("-----\nProc-Type: 4,ENCRYPTED\n\n"), 1),
		"not the DER type": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("nonsense")}),
	}
	for name, content := range cases {
		t.Run(name, func(t *testing.T) {
			f := file{content: content}
			k, err := softkey.Open(f.read, f.write)
			if k != nil || !errors.Is(err, attest.ErrKeyLost) {
				t.Fatalf("opened: %v, %v", k, err)
			}
			if f.writes != 0 || !bytes.Equal(f.content, content) {
				t.Fatal("a damaged file was overwritten")
			}
			if !strings.Contains(err.Error(), "enrol again") {
				t.Errorf("no remedy in %q", err)
			}
		})
	}
	t.Run("unreadable", func(t *testing.T) {
		f := file{}
		_, err := softkey.Open(func() ([]byte, error) { return nil, fs.ErrPermission }, f.write)
		if !errors.Is(err, fs.ErrPermission) || f.writes != 0 {
			t.Fatalf("%v, %d writes", err, f.writes)
		}
	})
	t.Run("unwritable", func(t *testing.T) {
		full := errors.New("disk is full")
		if _, err := softkey.Open(new(file).read, func([]byte) error { return full }); !errors.Is(err, full) {
			t.Fatal(err)
		}
	})
}

// FuzzOpen: no file panics, and whatever is accepted signs and is one exact file:
// with any byte removed it is another key or none.
func FuzzOpen(f *testing.F) {
	var stored file
	if _, err := softkey.Open(stored.read, stored.write); err != nil {
		f.Fatal(err)
	}
	f.Add(stored.content)
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		x := file{content: append([]byte{}, content...)}
		k, err := softkey.Open(x.read, x.write)
		if x.writes != 0 {
			t.Fatal("an existing file was written")
		}
		if err != nil {
			return
		}
		if signature, err := k.Sign(t.Context(), attest.DK, [32]byte{1}); err != nil || len(signature) != 64 {
			t.Fatalf("accepted key signs %x, %v", signature, err)
		}
		if _, err := softkey.Open((&file{content: content[1:]}).read, nil); err == nil {
			t.Fatal("a file without its first byte is accepted")
		}
	})
}
