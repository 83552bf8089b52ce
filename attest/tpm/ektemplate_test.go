package tpm

import (
	"bytes"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

func TestTemplatesAreTheProfiles(t *testing.T) {
	for _, template := range ekTemplates() {
		area, err := tpm2.Unmarshal[tpm2.TPMTPublic](template.public())
		if err != nil {
			t.Fatalf("%s: %v", template.name, err)
		}
		if !bytes.Equal(tpm2.Marshal(area), template.public()) {
			t.Errorf("%s is not one whole TPMT_PUBLIC", template.name)
		}
		want := map[attest.EKTemplate]tpm2.TPMTPublic{
			attest.EKP256L2: tpm2.ECCEKTemplate, attest.EKRSAL1: tpm2.RSAEKTemplate,
		}
		if known, ok := want[template.name]; ok && !bytes.Equal(tpm2.Marshal(known), template.public()) {
			t.Errorf("%s differs from go-tpm's", template.name)
		}
	}
}

// TestPoliciesFollowFromEachOther recomputes PolicyA and PolicyB of each hash.
func TestPoliciesFollowFromEachOther(t *testing.T) {
	for _, c := range []struct {
		alg     tpm2.TPMIAlgHash
		a, b, c string
	}{
		{tpm2.TPMAlgSHA256, policyA256, policyB256, policyC256},
		{tpm2.TPMAlgSHA384, policyA384, policyB384, policyC384},
	} {
		calculator, err := tpm2.NewPolicyCalculator(c.alg)
		if err != nil {
			t.Fatal(err)
		}
		if err := (tpm2.PolicySecret{AuthHandle: tpm2.TPMRHEndorsement}).Update(calculator); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(calculator.Hash().Digest, unhex(c.a)) {
			t.Errorf("PolicyA of %v is %x", c.alg, calculator.Hash().Digest)
		}
		branches, err := tpm2.Unmarshal[tpm2.TPMLDigest](digests(unhex(c.a), unhex(c.c)))
		if err != nil {
			t.Fatal(err)
		}
		or := tpm2.PolicyOr{PHashList: *branches}
		if err := or.Update(calculator); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(calculator.Hash().Digest, unhex(c.b)) {
			t.Errorf("PolicyB of %v is %x", c.alg, calculator.Hash().Digest)
		}
	}
}
