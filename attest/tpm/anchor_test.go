package tpm_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
	"muster/attest/tpm"
	"muster/attest/tpmtest"
)

func TestQuoteSurvivesNoMutation(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	chip.ExtendPCR(4, 5)
	x := open(t, tpm.Config{Setting: chip.Setting()})
	ak := parse(t, attest.AK, identity(t, x).AK)
	qualifying := attest.Digest{1, 2, 3}
	quote, err := x.Quote(t.Context(), qualifying)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, q attest.Quote, binding attest.Digest) {
		t.Helper()
		if _, err := attest.CheckQuote(&q, ak, binding); err == nil {
			t.Fatalf("%s is accepted", what)
		}
	}
	if _, err := attest.CheckQuote(quote, ak, qualifying); err != nil {
		t.Fatal(err)
	}
	for i := range quote.Attest {
		q := *quote
		q.Attest = bytes.Clone(q.Attest)
		q.Attest[i] ^= 1
		refused("a flipped statement", q, qualifying)
	}
	for i := range quote.Signature {
		q := *quote
		q.Signature = bytes.Clone(q.Signature)
		q.Signature[i] ^= 0x80
		refused("a flipped signature", q, qualifying)
	}
	for pcr := range quote.PCRs {
		q := *quote
		q.PCRs = attest.PCRs{}
		for i, value := range quote.PCRs {
			q.PCRs[i] = value
		}
		q.PCRs[pcr] = attest.Digest{0xee}
		refused("another PCR value", q, qualifying)
		delete(q.PCRs, pcr)
		refused("a missing PCR", q, qualifying)
	}
	refused("another binding", *quote, attest.Digest{1, 2, 4})
	if quote.PCRs[4] == quote.PCRs[5] || !quote.LogSHA256.IsZero() {
		t.Error("PCR 4 has not the value that it was extended to, or a log is named")
	}
	if _, err := x.Quote(t.Context(), attest.Digest{}); err == nil {
		t.Error("a quote bound to nothing is made")
	}
}

func TestCertifyStatesOneKeyAndBinding(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	x := open(t, tpm.Config{Setting: chip.Setting()})
	id := identity(t, x)
	ak, dk, dkb := parse(t, attest.AK, id.AK), parse(t, attest.DK, id.DK), parse(t, attest.DKb, id.DKb)
	statement, err := x.Certify(t.Context(), attest.DK, attest.Digest{1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := attest.CheckCertify(statement, ak, attest.Digest{1}, dk.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := attest.CheckCertify(statement, ak, attest.Digest{1}, dkb.Name); err == nil {
		t.Error("DK's statement serves DKb")
	}
	if _, err := attest.CheckCertify(statement, ak, attest.Digest{2}, dk.Name); err == nil {
		t.Error("statement serves another binding")
	}
	if _, err := attest.CheckQuote(&attest.Quote{Attestation: statement}, ak, attest.Digest{1}); err == nil {
		t.Error("a certification serves as a quote")
	}
	for _, role := range []attest.Role{attest.NoRole, attest.AK} {
		if _, err := x.Certify(t.Context(), role, attest.Digest{1}); err == nil {
			t.Errorf("%v is certified", role)
		}
		if _, err := x.Sign(t.Context(), role, [32]byte{1}); err == nil {
			t.Errorf("%v signs what it is given", role)
		}
	}
}

func TestActivateOpensOwnCredentialsAlone(t *testing.T) {
	t.Parallel()
	chip, stranger := tpmtest.Start(t), tpmtest.Start(t)
	for _, template := range []attest.EKTemplate{"", attest.EKP256L2, attest.EKP256H2, attest.EKP384H3, attest.EKRSAL1} {
		t.Run("template "+string(template), func(t *testing.T) {
			x := open(t, tpm.Config{Setting: chip.Setting(), Tenant: tenant, Secret: secret(1), EK: template})
			id := identity(t, x)
			if template != "" && id.EK.Template != template {
				t.Fatalf("EK is %s", id.EK.Template)
			}
			ak, dk := parse(t, attest.AK, id.AK), parse(t, attest.DK, id.DK)
			blob, sealed := credential(t, id.EK, ak.Name, []byte("0123456789abcdef0123456789abcdef"))
			value, err := x.Activate(t.Context(), blob, sealed)
			if err != nil || string(value) != "0123456789abcdef0123456789abcdef" {
				t.Fatalf("%q, %v", value, err)
			}
			other, otherSealed := credential(t, id.EK, dk.Name, []byte("secret"))
			foreign := identity(t, open(t, tpm.Config{Setting: stranger.Setting(), Tenant: tenant, Secret: secret(1), EK: id.EK.Template}))
			theirs, theirsSealed := credential(t, foreign.EK, ak.Name, []byte("secret"))
			flipped := bytes.Clone(blob)
			flipped[len(flipped)-1] ^= 1
			for name, c := range map[string][2][]byte{
				"for DK":       {other, otherSealed},
				"for a chip":   {theirs, theirsSealed},
				"flipped":      {flipped, sealed},
				"mixed":        {blob, otherSealed},
				"empty":        {nil, nil},
				"long":         {make([]byte, 5000), sealed},
				"with its 2Bs": {append([]byte{0, byte(len(blob))}, blob...), sealed},
			} {
				value, err := x.Activate(t.Context(), c[0], c[1])
				if err == nil || value != nil {
					t.Errorf("credential %s opened: %q", name, value)
				}
				if errors.Is(err, attest.ErrKeyLost) || errors.Is(err, attest.ErrTransient) {
					t.Errorf("credential %s: the keys are not to blame: %v", name, err)
				}
			}
		})
	}
	_, err := tpm.Open(t.Context(), tpm.Config{Setting: chip.Setting(), Tenant: tenant, Secret: secret(1)[:31]})
	if err == nil {
		t.Error("a short S is accepted")
	}
	x := open(t, tpm.Config{Setting: chip.Setting(), Tenant: tenant, Secret: secret(1), EK: "L-9"})
	if _, err := x.Endorsement(t.Context()); err == nil {
		t.Error("an unknown EK template is accepted")
	}
}

func TestEndorsementCertificatesAreWholeAndOfTheKey(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(chip.Roots()) {
		t.Fatal("no roots")
	}
	hashes := map[attest.Digest]bool{}
	for _, template := range []attest.EKTemplate{attest.EKP384H3, attest.EKRSAL1} {
		x := open(t, tpm.Config{Setting: chip.Setting(), Tenant: tenant, Secret: secret(1), EK: template})
		ek, err := x.Endorsement(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := x509.ParseCertificate(ek.Certificate) // refuses trailing bytes
		if err != nil {
			t.Fatalf("%s: %v", template, err)
		}
		certificate.UnhandledCriticalExtensions = withoutSAN(certificate.UnhandledCriticalExtensions)
		_, err = certificate.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		if err != nil {
			t.Errorf("%s: %v", template, err)
		}
		public, err := tpm2.Unmarshal[tpm2.TPMTPublic](ek.Public)
		if err != nil {
			t.Fatal(err)
		}
		key, err := tpm2.Pub(*public)
		if err != nil {
			t.Fatal(err)
		}
		if equal, ok := certificate.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !equal.Equal(key) {
			t.Errorf("%s: certificate of another key", template)
		}
		if p, ok := key.(*ecdsa.PublicKey); ok && p.Params().Name != "P-384" {
			t.Errorf("%s is on %s", template, p.Params().Name)
		}
		hash, err := tpm.EKHash(ek)
		if err != nil {
			t.Fatal(err)
		}
		if spki := spkiHash(t, key); hash != spki {
			t.Errorf("%s: hash %v, want %v", template, hash, spki)
		}
		hashes[hash] = true
		if len(ek.Chain) != 0 {
			t.Errorf("swtpm has no chain, got %d", len(ek.Chain))
		}
	}
	if len(hashes) != 2 {
		t.Error("two EKs have one hash")
	}
	if _, err := tpm.EKHash(&attest.EndorsementKey{Public: []byte("nonsense")}); err == nil {
		t.Error("nonsense has an EK hash")
	}
}

func spkiHash(t *testing.T, key any) attest.Digest {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(der)
}

// withoutSAN drops the subject alternative name, which in EK certificates
// is critical and a directory name.
func withoutSAN(oids []asn1.ObjectIdentifier) (rest []asn1.ObjectIdentifier) {
	for _, oid := range oids {
		if !oid.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			rest = append(rest, oid)
		}
	}
	return rest
}
