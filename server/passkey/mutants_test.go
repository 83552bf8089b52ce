package passkey

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"sort"
	"testing"
)

// flips are what each byte is XORed with: a low bit, the bit of letters' case, the
// high bit and all of them.
func flips() []byte { return []byte{0x01, 0x20, 0x80, 0xff} }

// mutate calls f with each mutant of a byte string.
func mutate(original []byte, f func(at int, mutant []byte)) {
	for at := range original {
		for _, flip := range flips() {
			mutant := bytes.Clone(original)
			mutant[at] ^= flip
			f(at, mutant)
		}
	}
}

// fieldOf names the part of an attestation object that a position is in.
func fieldOf(t *testing.T, r *registration, object []byte, at int) string {
	t.Helper()
	auth := bytes.Index(object, r.raw)
	if auth < 0 {
		t.Fatal("authenticator data not found")
	}
	if i := at - auth; i >= 0 && i < len(r.raw) {
		switch {
		case i < 32:
			return "rpIdHash"
		case i == 32:
			return "flags"
		case i < 37:
			return "signCount"
		case i < 53:
			return "aaguid"
		}
		return "credential"
	}
	if chain, err := r.chain(); err == nil {
		for _, cert := range chain {
			if i := at - bytes.Index(object, cert.Raw); i >= 0 && i < len(cert.Raw) {
				return "x5c"
			}
		}
	}
	return "object"
}

// clientField names the member of client data that a position is in.
func clientField(data []byte, at int) string {
	// The member "crossOrigin" may be missing, and then means false: with another
	// name it is one that we do not know, and ignored, as is all after it.
	if cross := bytes.Index(data, []byte(`"crossOrigin":false`)); at > cross {
		if at < cross+len(`"crossOrigin`) {
			return "crossOrigin's name"
		}
		if extra := bytes.Index(data, []byte(`"extraData"`)); extra > 0 && at > extra {
			return "extraData"
		}
	}
	return "client data"
}

// TestVectorMutants changes each byte of each part of each accepted vector. A
// mutant is refused, unless it is in a field that nothing signs and that says
// nothing that counts: these are listed, with why.
func TestVectorMutants(t *testing.T) {
	f := readVectors(t)
	p := vectorParty(t, f, true)
	// Attestation "none" signs nothing: what the authenticator and the client say is
	// believed as it is. That is the lack of evidence, and the judgement says so.
	unsigned := map[string]string{
		"aaguid":             "a claim, for display",
		"signCount":          "where counting starts",
		"flags":              "UV where the test does not ask for it, BE with BS, and reserved bits",
		"crossOrigin's name": "an unknown member is ignored, and without crossOrigin it is false",
		"extraData":          "an unknown member is ignored",
	}
	for _, v := range f.Vectors {
		if _, refused := refusedVectors()[v.Name]; refused {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			reg := v.Registration
			cred, err := v.register(t, p, reg.Attestation, reg.ClientData)
			if err != nil {
				t.Fatal(err)
			}
			r, err := readRegistration(reg.Attestation, reg.ClientData)
			if err != nil {
				t.Fatal(err)
			}
			survived := map[string]int{}
			judge := func(field string, at int, made *Credential, err error) {
				switch {
				case err != nil:
					if !errors.Is(err, ErrRefused) || made != nil {
						t.Errorf("byte %d of %s: refused without ErrRefused, or with a credential: %v", at, field, err)
					}
				case field == "x5c" && made.Judgement.Evidence == None:
					// The statement's signature covers no certificate. What becomes of the
					// chain is the judgement: it leads nowhere now.
					survived[field]++
				case r.format == formatNone && unsigned[field] != "" && made.Judgement.Evidence == None:
					survived[field]++
				default:
					t.Errorf("accepted with byte %d of %s changed, evidence %s", at, field, made.Judgement.Evidence)
				}
			}
			mutate(reg.Attestation, func(at int, mutant []byte) {
				made, err := v.register(t, p, mutant, reg.ClientData)
				judge(fieldOf(t, r, reg.Attestation, at), at, made, err)
			})
			mutate(reg.ClientData, func(at int, mutant []byte) {
				made, err := v.register(t, p, reg.Attestation, mutant)
				judge(clientField(reg.ClientData, at), at, made, err)
			})
			a := v.Authentication
			tried := 0
			refuted := func(part string) func(int, error) {
				return func(at int, err error) {
					tried++
					if !errors.Is(err, ErrRefused) {
						t.Errorf("signed in with byte %d of %s changed: %v", at, part, err)
					}
				}
			}
			mutate(a.AuthData, func(at int, m []byte) {
				_, err := v.assert(t, p, cred, m, a.ClientData, a.Signature)
				refuted("authenticator data")(at, err)
			})
			mutate(a.ClientData, func(at int, m []byte) {
				_, err := v.assert(t, p, cred, a.AuthData, m, a.Signature)
				refuted("client data")(at, err)
			})
			mutate(a.Signature, func(at int, m []byte) {
				_, err := v.assert(t, p, cred, a.AuthData, a.ClientData, m)
				refuted("signature")(at, err)
			})
			mutate(cred.PublicKey, func(at int, m []byte) {
				other := *cred
				other.PublicKey = m
				_, err := v.assert(t, p, &other, a.AuthData, a.ClientData, a.Signature)
				refuted("public key")(at, err)
			})
			t.Logf("%d mutants of the assertion refused; accepted as claims: %s", tried, counts(survived))
		})
	}
}

// TestVectorRestored: the same bytes judged by other metadata give what that
// metadata says, and stored bytes that changed prove nothing.
func TestVectorRestored(t *testing.T) {
	f := readVectors(t)
	p := vectorParty(t, f, true)
	for _, v := range f.Vectors {
		if v.Name != "packed-es256" {
			continue
		}
		cred, err := v.register(t, p, v.Registration.Attestation, v.Registration.ClientData)
		if err != nil {
			t.Fatal(err)
		}
		mutate(cred.Attestation, func(at int, m []byte) {
			other := *cred
			other.Attestation = m
			if j := p.Judge(&other); j.Evidence != None || j.Certification != "" {
				t.Errorf("judged %s with byte %d of the stored attestation changed", j.Evidence, at)
			}
		})
		for i := range 3 {
			other := *cred
			switch i {
			case 0:
				other.ClientData = append(bytes.Clone(cred.ClientData), ' ')
			case 1:
				sum := sha256.Sum256(cred.PublicKey)
				other.PublicKey = sum[:]
			case 2:
				other.AAGUID[0] ^= 1
			}
			if j := p.Judge(&other); j.Evidence != None || j.Why == "" {
				t.Errorf("case %d judged %s", i, j.Evidence)
			}
		}
	}
}

func counts(m map[string]int) (out string) {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		out += fmt.Sprintf("%s %d; ", name, m[name])
	}
	return out
}
