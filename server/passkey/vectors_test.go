package passkey

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/server/reference"
)

// vectorFile is testdata/webauthn-l3-vectors.json: W3C's test vectors.
type vectorFile struct {
	Source  string    `json:"source"`
	Licence string    `json:"licence"`
	RPID    string    `json:"rp_id"`
	Origin  string    `json:"origin"`
	Root    hexBytes  `json:"attestation_root"`
	Vectors []*vector `json:"vectors"`
}

type vector struct {
	Name         string `json:"name"`
	Registration struct {
		Challenge   hexBytes `json:"challenge"`
		ClientData  hexBytes `json:"client_data"`
		Attestation hexBytes `json:"attestation_object"`
		ID          hexBytes `json:"credential_id"`
	} `json:"registration"`
	Authentication struct {
		Challenge  hexBytes `json:"challenge"`
		ClientData hexBytes `json:"client_data"`
		AuthData   hexBytes `json:"authenticator_data"`
		Signature  hexBytes `json:"signature"`
	} `json:"authentication"`
}

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.AppendDecode(nil, text)
	return err
}

func readVectors(t testing.TB) *vectorFile {
	t.Helper()
	content, err := os.ReadFile("testdata/webauthn-l3-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var f vectorFile
	if err := json.Unmarshal(content, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Vectors) != 14 || f.Source == "" || f.Licence == "" {
		t.Fatalf("%d vectors, or without source and licence", len(f.Vectors))
	}
	return &f
}

// refusedVectors are those that our rules refuse, with what the refusal says.
func refusedVectors() map[string]string {
	return map[string]string{
		"none-es256-cross-origin": "across origins",
		"none-es256-top-origin":   "across origins",
		"packed-es384":            "algorithm was not offered",
		"packed-es512":            "algorithm was not offered",
		"fido-u2f-es256":          `format "fido-u2f" is not supported`,
		// Its key description is of software, and neither list has a purpose or an
		// origin, which the verification procedure asks for.
		"android-key-es256": "not from a trusted environment",
	}
}

func vectorNow() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// vectorParty knows the vectors' models: all have the one root.
func vectorParty(t testing.TB, f *vectorFile, lax bool) *Party {
	t.Helper()
	pack := &reference.MDS{Number: 7, NextUpdate: vectorNow().Add(24 * time.Hour), ImportedAt: vectorNow().Add(-time.Hour)}
	for _, v := range f.Vectors {
		r, err := readRegistration(v.Registration.Attestation, v.Registration.ClientData)
		if err != nil {
			continue // its algorithm is not ours
		}
		pack.Entries = append(pack.Entries, reference.MDSEntry{AAGUID: r.model, Description: v.Name, Roots: [][]byte{f.Root},
			Attestations: []string{"basic_full", "attca", "anonca"}})
	}
	slices.SortFunc(pack.Entries, func(a, b reference.MDSEntry) int { return bytes.Compare(a.AAGUID[:], b.AAGUID[:]) })
	p, err := New(Config{RPID: f.RPID, Origin: f.Origin, Name: "muster", Metadata: func() *reference.MDS { return pack }, Now: vectorNow})
	if err != nil {
		t.Fatal(err)
	}
	p.lax = lax
	return p
}

func vectorUser() User {
	return User{Handle: []byte("thirty-two random bytes of alice"), Name: "alice"}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// register runs the vector's registration with these bytes in it.
func (v *vector) register(t testing.TB, p *Party, attestation, clientData []byte) (*Credential, error) {
	t.Helper()
	c, err := p.beginWith(asked{Type: typeCreate, Handle: vectorUser().Handle}, v.Registration.Challenge)
	if err != nil {
		t.Fatal(err)
	}
	id := b64(v.Registration.ID)
	response, err := json.Marshal(map[string]any{"id": id, "rawId": id, "type": "public-key", "clientExtensionResults": map[string]any{},
		"response": map[string]any{"attestationObject": b64(attestation), "clientDataJSON": b64(clientData)}})
	if err != nil {
		t.Fatal(err)
	}
	return p.FinishRegistration(vectorUser(), c, response)
}

// assert runs the vector's authentication with these bytes in it, against a
// credential.
func (v *vector) assert(t testing.TB, p *Party, cred *Credential, authData, clientData, signature []byte) (*Use, error) {
	t.Helper()
	c, err := p.beginWith(asked{Type: typeGet, Handle: vectorUser().Handle, Known: [][]byte{cred.ID}}, v.Authentication.Challenge)
	if err != nil {
		t.Fatal(err)
	}
	id := b64(v.Registration.ID)
	response, err := json.Marshal(map[string]any{"id": id, "rawId": id, "type": "public-key", "clientExtensionResults": map[string]any{},
		"response": map[string]any{"authenticatorData": b64(authData), "clientDataJSON": b64(clientData), "signature": b64(signature)}})
	if err != nil {
		t.Fatal(err)
	}
	_, use, err := p.FinishSignIn(c, response, func([]byte) (*Credential, User, error) { return cred, vectorUser(), nil })
	return use, err
}

// TestVectors: each of W3C's vectors is accepted with the evidence that it has, or
// refused for a rule of ours; those without user verification only where the rule
// is switched off for this test.
func TestVectors(t *testing.T) {
	f := readVectors(t)
	lax, strict := vectorParty(t, f, true), vectorParty(t, f, false)
	want := map[string]Judgement{
		"none-es256":                    {Evidence: None, Why: whyNoAttestation},
		"packed-self-es256":             {Evidence: Self, Why: whySelf},
		"none-es256-long-credential-id": {Evidence: None, Why: whyNoAttestation},
		"packed-es256":                  {Evidence: Attested, Model: "packed-es256"},
		"packed-rs256":                  {Evidence: Attested, Model: "packed-rs256"},
		"packed-eddsa":                  {Evidence: Attested, Model: "packed-eddsa"},
		"tpm-es256":                     {Evidence: Attested, Model: "tpm-es256"},
		"apple-es256":                   {Evidence: Attested, Model: "apple-es256"},
	}
	unverified := 0
	for _, v := range f.Vectors {
		t.Run(v.Name, func(t *testing.T) {
			r := v.Registration
			cred, err := v.register(t, lax, r.Attestation, r.ClientData)
			if reason, refused := refusedVectors()[v.Name]; refused {
				if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), reason) {
					t.Fatalf("got %v, want a refusal: %s", err, reason)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			j := cred.Judgement
			if w := want[v.Name]; j.Evidence != w.Evidence || j.Why != w.Why || j.Model != w.Model || j.Pack != 7 {
				t.Fatalf("judged %+v, want %+v", j, w)
			}
			if !bytes.Equal(cred.ID, r.ID) || !bytes.Equal(cred.Attestation, r.Attestation) || !bytes.Equal(cred.ClientData, r.ClientData) {
				t.Fatal("the bytes of the registration were not kept")
			}
			a := v.Authentication
			if _, err := v.assert(t, lax, cred, a.AuthData, a.ClientData, a.Signature); err != nil {
				t.Fatal(err)
			}
			if a.AuthData[32]&4 == 0 {
				unverified++
				if _, err := v.assert(t, strict, cred, a.AuthData, a.ClientData, a.Signature); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "did not verify") {
					t.Fatalf("without user verification: %v", err)
				}
			} else if _, err := v.assert(t, strict, cred, a.AuthData, a.ClientData, a.Signature); err != nil {
				t.Fatal(err)
			}
			if _, err := v.register(t, strict, r.Attestation, r.ClientData); (err == nil) != cred.UserVerified {
				t.Fatalf("user verified %v, and: %v", cred.UserVerified, err)
			}
		})
	}
	if unverified == 0 {
		t.Error("no vector without user verification: the rule was not tried")
	}
}
