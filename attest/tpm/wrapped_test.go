package tpm_test

import (
	"bytes"
	"errors"
	"io/fs"
	"testing"

	"muster/attest"
	"muster/attest/tpm"
	"muster/attest/tpmtest"
)

// blobs is a store in memory.
type blobs map[string][]byte

func (b blobs) Load(name string) ([]byte, error) {
	if blob, ok := b[name]; ok {
		return bytes.Clone(blob), nil
	}
	return nil, fs.ErrNotExist
}

func (b blobs) Save(name string, blob []byte) error {
	b[name] = bytes.Clone(blob)
	return nil
}

// closedChip is a TPM whose endorsement hierarchy has an authorisation.
func closedChip(t *testing.T) (*tpmtest.TPM, tpm.Config) {
	t.Helper()
	chip := tpmtest.Start(t)
	chip.SetEndorsementAuth("", "not ours")
	return chip, tpm.Config{Setting: chip.Setting(), Tenant: tenant, Secret: secret(1), Wrapped: blobs{}}
}

func TestClosedHierarchyWithoutStoreIsAnError(t *testing.T) {
	t.Parallel()
	_, c := closedChip(t)
	c.Wrapped = nil
	x := open(t, c)
	if _, err := x.Identity(t.Context()); !errors.Is(err, attest.ErrPermission) {
		t.Errorf("identity: %v", err)
	}
	if _, err := x.Sign(t.Context(), attest.DK, [32]byte{1}); !errors.Is(err, attest.ErrPermission) {
		t.Errorf("signing: %v", err)
	}
}

func TestKeysBelowTheStorageRootKey(t *testing.T) {
	t.Parallel()
	chip, c := closedChip(t)
	x := open(t, c)
	id := identity(t, x)
	ak := parse(t, attest.AK, id.AK)
	signs(t, x, attest.DK, id.DK)
	signs(t, x, attest.DKb, id.DKb)
	quote, err := x.Quote(t.Context(), attest.Digest{1})
	if err != nil {
		t.Fatal(err)
	}
	policy := attest.BootPolicy(quote.PCRs[7], 0, false)
	if !bytes.Equal(parse(t, attest.DKb, id.DKb).Policy, policy[:]) {
		t.Error("DKb is bound to a count that a verifier cannot see")
	}
	statement, err := x.Certify(t.Context(), attest.DKb, attest.Digest{2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := attest.CheckCertify(statement, ak, attest.Digest{2}, parse(t, attest.DKb, id.DKb).Name); err != nil {
		t.Error(err)
	}
	blob, sealed := credential(t, id.EK, ak.Name, []byte("secret"))
	if value, err := x.Activate(t.Context(), blob, sealed); err != nil || string(value) != "secret" {
		t.Errorf("activated %q, %v", value, err)
	}

	chip.Reboot()
	again := identity(t, open(t, c))
	same(t, "AK after a reboot", id.AK, again.AK, true)
	same(t, "DK after a reboot", id.DK, again.DK, true)
	same(t, "DKb after a reboot", id.DKb, again.DKb, true)
	chip.ExtendPCR(7, 1)
	if _, err := x.Sign(t.Context(), attest.DKb, [32]byte{1}); !errors.Is(err, attest.ErrBootMoved) {
		t.Errorf("after PCR 7 moved: %v", err)
	}
	moved := identity(t, x)
	same(t, "DKb after PCR 7 moved", id.DKb, moved.DKb, false)
	signs(t, x, attest.DKb, moved.DKb)

	chip.SetEndorsementAuth("not ours", "")
	same(t, "DK when the hierarchy opened", id.DK, identity(t, open(t, c)).DK, true)
	if n := handles(t, chip, 0x80000000); n != 0 {
		t.Errorf("%d objects stay in the chip", n)
	}
}

func TestLowEKCannotBeUsedInAClosedHierarchy(t *testing.T) {
	t.Parallel()
	_, c := closedChip(t)
	c.EK = attest.EKRSAL1
	x := open(t, c)
	id := identity(t, x)
	if len(id.EK.Certificate) == 0 {
		t.Error("the persistent EK has no certificate")
	}
	blob, sealed := credential(t, id.EK, parse(t, attest.AK, id.AK).Name, []byte("secret"))
	if _, err := x.Activate(t.Context(), blob, sealed); !errors.Is(err, attest.ErrPermission) {
		t.Errorf("activated, or: %v", err)
	}
}

func TestWrappedKeysThatAreLost(t *testing.T) {
	t.Parallel()
	chip, c := closedChip(t)
	id := identity(t, open(t, c))
	kept := c.Wrapped.(blobs)
	lost := func(what string, b blobs) {
		t.Helper()
		damaged := c
		damaged.Wrapped = b
		x := open(t, damaged)
		if _, err := x.Sign(t.Context(), attest.DK, [32]byte{1}); !errors.Is(err, attest.ErrKeyLost) {
			t.Errorf("%s: %v", what, err)
		}
	}
	dk := kept["tpm-dk"]
	for i := 0; i < len(dk); i += 7 {
		flipped := bytes.Clone(dk)
		flipped[i] ^= 1
		x := open(t, tpm.Config{Setting: c.Setting, Tenant: tenant, Secret: secret(1), Wrapped: blobs{"tpm-ak": kept["tpm-ak"], "tpm-dk": flipped}})
		if signature, err := x.Sign(t.Context(), attest.DK, [32]byte{1}); err == nil {
			t.Fatalf("flipped at %d: signed %x", i, signature)
		}
	}
	for _, n := range []int{0, 1, 2, 40, len(dk) - 1} {
		lost("cut", blobs{"tpm-dk": dk[:n]})
	}
	lost("longer", blobs{"tpm-dk": append(bytes.Clone(dk), 0)})
	if _, err := open(t, tpm.Config{Setting: c.Setting, Tenant: tenant, Secret: secret(1), Wrapped: blobs{"tpm-dk": kept["tpm-ak"]}}).Sign(t.Context(), attest.DK, [32]byte{1}); err == nil {
		t.Error("AK's blob serves as DK's")
	}

	x := open(t, c)
	identity(t, x)
	delete(kept, "tpm-dk")
	if _, err := x.Sign(t.Context(), attest.DK, [32]byte{1}); !errors.Is(err, attest.ErrKeyLost) {
		t.Errorf("blob taken away from a running agent: %v", err)
	}
	kept["tpm-dk"] = dk
	signs(t, x, attest.DK, id.DK)

	unreadable := errors.New("disk trouble")
	broken := open(t, tpm.Config{Setting: c.Setting, Tenant: tenant, Secret: secret(1), Wrapped: brokenStore{unreadable}})
	if _, err := broken.Sign(t.Context(), attest.DK, [32]byte{1}); !errors.Is(err, unreadable) {
		t.Errorf("a store that cannot be read is taken for an empty one: %v", err)
	}

	chip.Clear() // takes the endorsement authorisation and the storage root with it
	lost("cleared TPM", kept)
}

func TestHierarchyClosedAfterEnrolment(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	store := blobs{}
	c := tpm.Config{Setting: chip.Setting(), Tenant: tenant, Secret: secret(1), Wrapped: store}
	running := open(t, c)
	c.DK = parse(t, attest.DK, identity(t, running).DK).ID
	chip.SetEndorsementAuth("", "theirs")
	for name, x := range map[string]*tpm.TPM{"running": running, "started again": open(t, c)} {
		if _, err := x.Sign(t.Context(), attest.DK, [32]byte{1}); !errors.Is(err, attest.ErrPermission) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(store) != 0 {
		t.Error("other keys were made in place of the enrolled ones")
	}
	chip.SetEndorsementAuth("theirs", "")
	x := open(t, c)
	signs(t, x, attest.DK, identity(t, x).DK)
}

// brokenStore fails.
type brokenStore struct{ err error }

func (s brokenStore) Load(string) ([]byte, error) { return nil, s.err }
func (s brokenStore) Save(string, []byte) error   { return s.err }
