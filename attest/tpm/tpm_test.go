package tpm_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"math/big"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
	"muster/attest/tpm"
	"muster/attest/tpmtest"
)

const tenant = "00112233445566778899aabbccddeeff"

// secret is a local secret S that a test can tell from another.
func secret(b byte) []byte {
	s := make([]byte, tpm.SecretSize)
	s[0] = b
	return s
}

func open(t testing.TB, c tpm.Config) *tpm.TPM {
	t.Helper()
	if c.Tenant == "" {
		c.Tenant, c.Secret = tenant, secret(1)
	}
	x, err := tpm.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

func identity(t testing.TB, x *tpm.TPM) attest.Identity {
	t.Helper()
	id, err := x.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func parse(t testing.TB, role attest.Role, public []byte) *attest.Key {
	t.Helper()
	key, err := attest.ParseKey(role, public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func signs(t testing.TB, x *tpm.TPM, role attest.Role, public []byte) {
	t.Helper()
	digest := sha256.Sum256([]byte("a report"))
	signature, err := x.Sign(t.Context(), role, digest)
	if err != nil {
		t.Fatalf("signing with %v: %v", role, err)
	}
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if len(signature) != 64 || !ecdsa.Verify(parse(t, role, public).Public, digest[:], r, s) {
		t.Fatalf("signature of %v does not verify", role)
	}
}

// credential makes a credential for an EK and the name of an AK.
func credential(t testing.TB, ek *attest.EndorsementKey, name, value []byte) (blob, secret []byte) {
	t.Helper()
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](ek.Public)
	if err != nil {
		t.Fatal(err)
	}
	key, err := tpm2.ImportEncapsulationKey(public)
	if err != nil {
		t.Fatal(err)
	}
	blob, secret, err = tpm2.CreateCredential(rand.Reader, key, name, value)
	if err != nil {
		t.Fatal(err)
	}
	return blob, secret
}

func TestWholeEnrolment(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	x := open(t, tpm.Config{Setting: chip.Setting()})
	id := enrols(t, x)
	if id.EK.Template != attest.EKP384H3 || len(id.EK.Certificate) == 0 {
		t.Fatalf("EK is %s with a certificate of %d bytes, not swtpm's P-384 one", id.EK.Template, len(id.EK.Certificate))
	}
	t.Logf("TPM is %+v", id.TPM)
}

// enrols does all that a TPM does for an enrolment, and checks it as a server would.
func enrols(t testing.TB, x *tpm.TPM) attest.Identity {
	t.Helper()
	id := identity(t, x)
	ak := parse(t, attest.AK, id.AK)
	for _, role := range []attest.Role{attest.DK, attest.DKb} {
		public := map[attest.Role][]byte{attest.DK: id.DK, attest.DKb: id.DKb}[role]
		signs(t, x, role, public)
		qualifying := attest.Digest{1, byte(role)}
		statement, err := x.Certify(t.Context(), role, qualifying)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := attest.CheckCertify(statement, ak, qualifying, parse(t, role, public).Name); err != nil {
			t.Fatal(err)
		}
	}
	quote, err := x.Quote(t.Context(), attest.Digest{7})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := attest.CheckQuote(quote, ak, attest.Digest{7}); err != nil {
		t.Fatal(err)
	}
	blob, sealed := credential(t, id.EK, ak.Name, []byte("a secret"))
	value, err := x.Activate(context.Background(), blob, sealed)
	if err != nil || string(value) != "a secret" {
		t.Fatalf("activated %q, %v", value, err)
	}
	return id
}
