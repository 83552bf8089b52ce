package enroll

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"muster/server/reference"
	"muster/server/verify"
)

// A denied key ends what vouches for a TPM, wherever in the chain it stands, and no
// list admits it all the same.
func TestDenied(t *testing.T) {
	l := newLaptop(t)
	none := func(*Candidate) bool { return false }
	honest, err := Judge(l.begin, &reference.EKRoots{Hardware: l.trust()}, none)
	if err != nil || honest.Level != verify.TPMHardware {
		t.Fatalf("not denied: %+v %v", honest, err)
	}
	bare := *l.begin
	ek := *l.begin.Identity.EK
	ek.Certificate = nil
	bare.Identity.EK = &ek
	var keys [][sha256.Size]byte
	for rest := l.roots; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, sha256.Sum256(c.RawSubjectPublicKeyInfo))
	}
	if len(keys) < 2 {
		t.Fatalf("%d CAs", len(keys))
	}
	for i, key := range append(keys, honest.EKHash) {
		pack := reference.NextEKPack(nil, 0, time.Unix(1, 0))
		pack.Deny(key)
		for kind, base := range map[string]*reference.EKRoots{"hardware": {Hardware: l.trust()}, "virtual": {Virtual: l.trust()}, "both": {Hardware: l.trust(), Virtual: l.trust()}} {
			roots, err := pack.Roots(base)
			if err != nil {
				t.Fatal(err)
			}
			for _, listed := range []bool{false, true} {
				c, err := Judge(l.begin, roots, func(*Candidate) bool { return listed })
				if err != nil || c.Level != verify.TPMUnverified || c.Cause != CauseDenied || c.Issuer != "" {
					t.Errorf("key %d of %s, listed %v: %+v %v", i, kind, listed, c, err)
				}
			}
		}
		if key != honest.EKHash {
			continue
		}
		roots, err := pack.Roots(new(reference.EKRoots))
		if err != nil {
			t.Fatal(err)
		}
		c, err := Judge(&bare, roots, func(*Candidate) bool { return true })
		if err != nil || c.Level != verify.TPMUnverified || c.Cause != CauseDenied {
			t.Errorf("a denied chip without a certificate: %+v %v", c, err)
		}
	}
	if c, err := Judge(&bare, &reference.EKRoots{}, func(*Candidate) bool { return true }); err != nil || c.Level != verify.TPMListed {
		t.Errorf("listed, and not denied: %+v %v", c, err)
	}
}
