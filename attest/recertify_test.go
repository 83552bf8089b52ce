package attest_test

import (
	"bytes"
	"context"
	"testing"

	"muster/attest"
)

// FuzzRecertify: a new DKb is taken only in the bytes that the AK certified, beside
// the statement that they were certified for, and not after any byte changes; the
// signature alone has two forms, of which one has a high s.
func FuzzRecertify(f *testing.F) {
	type opened struct {
		compact []byte
		ev      *attest.Evidence
		ak      *attest.Key
		shown   *attest.Recertify
	}
	var statements []opened
	everyVector(f, func(v *vector) {
		if v.Recertify == nil {
			return
		}
		f.Add(uint8(len(statements)), []byte(v.Recertify.Public), []byte(v.Recertify.Certify.Attest), []byte(v.Recertify.Certify.Signature), uint16(60), byte(1))
		keys, err := v.keys()
		if err != nil {
			f.Fatal(err)
		}
		if ev, err := attest.Open([]byte(v.Compact), v.Quote, v.Known.known(keys)); err == nil && len(statements) < 8 {
			statements = append(statements, opened{[]byte(v.Compact), ev, keyOfRole(keys, attest.AK), v.Recertify})
		}
	})
	if len(statements) < 3 {
		f.Fatalf("%d statements", len(statements))
	}
	f.Fuzz(func(t *testing.T, which uint8, public, attested, signature []byte, at uint16, flip byte) {
		s := statements[int(which)%len(statements)]
		r := &attest.Recertify{Public: public, Certify: attest.Attestation{Attest: attested, Signature: signature}}
		dkb, bound, err := attest.OpenRecertify(s.compact, r, s.ev, s.ak)
		if err != nil {
			if codeOf(err) == "" || dkb != nil || bound {
				t.Fatalf("refused without a code, or with a key: %v", err)
			}
			return
		}
		// Which statement's key it is follows from the bytes: the policy decides.
		known := false
		for _, other := range statements {
			known = known || bytes.Equal(public, other.shown.Public) && bytes.Equal(attested, other.shown.Certify.Attest)
		}
		if !known || dkb.Role != attest.DKb || dkb.ID == s.ak.ID || dkb.ID == s.ev.Header.Kid {
			t.Fatalf("a key that nobody certified is taken: %x, %x", public, attested)
		}
		if policy := attest.BootPolicy(s.ev.Measured.PCRs[7], s.ev.Measured.Clock.ResetCount, bound); !bytes.Equal(dkb.Policy, policy[:]) {
			t.Fatalf("taken with policy %x", dkb.Policy)
		}
		for _, part := range []*attest.Bytes{&r.Public, &r.Certify.Attest} {
			was := *part
			changed := bytes.Clone(was)
			changed[int(at)%len(changed)] ^= flip
			*part = changed
			if _, _, err := attest.OpenRecertify(s.compact, r, s.ev, s.ak); err == nil && flip != 0 {
				t.Fatalf("taken after byte %d changed", int(at)%len(changed))
			}
			*part = was
		}
	})
}

// TestRecertifyOfTPM has a real TPM bring the key of its next boot, and of its next
// PCR 7.
func TestRecertifyOfTPM(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	dk := c.key(t, attest.DK)
	former := c.key(t, attest.DKb)
	known := func() *attest.Known {
		k := newMachine("alder").known(attest.TypReport).known([]*attest.Key{c.ak, dk, former})
		k.LastClock = &c.last
		return k
	}
	bring := func(between func()) (*attest.Key, bool, error) {
		c.key(t, attest.DKb) // the agent looks at the boot state
		h := newMachine("alder").header(attest.TypReport, attest.DK)
		h.Kid = dk.ID
		input, err := attest.SigningInput(h, mustEncode(reportOf(newMachine("alder"))))
		if err != nil {
			t.Fatal(err)
		}
		s, err := attest.SignInput(t.Context(), func(ctx context.Context, d [32]byte) ([]byte, error) {
			return c.x.Sign(ctx, attest.DK, d)
		}, input)
		if err != nil {
			t.Fatal(err)
		}
		id, err := c.x.Identity(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		certify, err := c.x.Certify(t.Context(), attest.DKb, attest.RecertifyBinding(s.Input))
		if err != nil {
			t.Fatal(err)
		}
		between()
		quote, err := c.x.Quote(t.Context(), attest.QuoteBinding(s.Input))
		if err != nil {
			t.Fatal(err)
		}
		ev, err := attest.Open(s.Compact, quote, known())
		if err != nil {
			t.Fatal(err)
		}
		return attest.OpenRecertify(s.Compact, &attest.Recertify{Public: id.DKb, Certify: certify}, ev, c.ak)
	}
	nothing := func() {}
	c.Reboot()
	first, bound, err := bring(nothing)
	if err != nil || !bound || first.ID == former.ID {
		t.Fatalf("after a start: %v, %v", bound, err)
	}
	c.ExtendPCR(7, 1)
	second, bound, err := bring(nothing)
	if err != nil || !bound || second.ID == first.ID {
		t.Fatalf("after PCR 7 moved: %v, %v", bound, err)
	}
	if _, _, err := bring(func() { c.ExtendPCR(7, 2) }); codeOf(err) != attest.PolicyWrong {
		t.Errorf("PCR 7 moves between: %v", err)
	}
	if _, _, err := bring(c.Reboot); codeOf(err) != attest.PolicyWrong {
		t.Errorf("a start between: %v", err)
	}
}

// key is the TPM's key of a role as it is now.
func (c *clockedTPM) key(t *testing.T, role attest.Role) *attest.Key {
	t.Helper()
	id, err := c.x.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	public := map[attest.Role][]byte{attest.AK: id.AK, attest.DK: id.DK, attest.DKb: id.DKb}[role]
	key, err := attest.ParseKey(role, public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
