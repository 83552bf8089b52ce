package passkey

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
)

// signedVectors are the vectors that our rules accept.
func signedVectors(t testing.TB, f *vectorFile) (out []*vector) {
	for _, v := range f.Vectors {
		if _, refused := refusedVectors()[v.Name]; !refused {
			out = append(out, v)
		}
	}
	return out
}

// FuzzClientData: client data other than what was signed neither registers where
// something is signed, nor ever signs in; where nothing is signed it says the
// type, challenge and origin that were asked for.
func FuzzClientData(f *testing.F) {
	file := readVectors(f)
	p := vectorParty(f, file, true)
	vectors := signedVectors(f, file)
	creds := make([]*Credential, len(vectors))
	for i, v := range vectors {
		var err error
		if creds[i], err = v.register(f, p, v.Registration.Attestation, v.Registration.ClientData); err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), []byte(v.Registration.ClientData))
		f.Add(byte(i), []byte(v.Authentication.ClientData))
		f.Add(byte(i), append([]byte(" "), v.Registration.ClientData...))
	}
	for _, bad := range []string{"", "{}", "null", "[]", `{"type":"webauthn.create"}`, `{"type":"webauthn.get","type":"webauthn.create"}`,
		`{"Type":"webauthn.create","origin":"https://example.org"}`, "{\"type\":\"\xff\"}", `{"type":"webauthn.create"} {}`, `{"a":[[[[[[[[`} {
		f.Add(byte(0), []byte(bad))
	}
	f.Fuzz(func(t *testing.T, which byte, clientData []byte) {
		i := int(which) % len(vectors)
		v, cred := vectors[i], creds[i]
		made, err := v.register(t, p, v.Registration.Attestation, clientData)
		switch {
		case err != nil:
			if made != nil || !errors.Is(err, ErrRefused) {
				t.Fatalf("refused with a credential or without ErrRefused: %v", err)
			}
		case made.Judgement.Format != formatNone && !bytes.Equal(clientData, v.Registration.ClientData):
			t.Fatalf("registered by other client data than was signed: %q", clientData)
		default:
			var said struct{ Type, Challenge, Origin string }
			if json.Unmarshal(clientData, &said) != nil || said.Type != typeCreate || said.Challenge != b64(v.Registration.Challenge) || said.Origin != file.Origin {
				t.Fatalf("registered by %q", clientData)
			}
		}
		a := v.Authentication
		use, err := v.assert(t, p, cred, a.AuthData, clientData, a.Signature)
		if err == nil && !bytes.Equal(clientData, a.ClientData) {
			t.Fatalf("signed in by other client data than was signed: %q", clientData)
		}
		if err != nil && (use != nil || !errors.Is(err, ErrRefused)) {
			t.Fatalf("refused with a use or without ErrRefused: %v", err)
		}
	})
}

// FuzzAttestationObject: what registers by an attestation is what was signed, and
// what is attested has its certificates as they were issued; the same bytes as an
// assertion's authenticator data or signature sign nobody in who did not sign.
func FuzzAttestationObject(f *testing.F) {
	file := readVectors(f)
	p := vectorParty(f, file, true)
	vectors := signedVectors(f, file)
	creds := make([]*Credential, len(vectors))
	signed := make([]*registration, len(vectors))
	for i, v := range vectors {
		var err error
		if creds[i], err = v.register(f, p, v.Registration.Attestation, v.Registration.ClientData); err != nil {
			f.Fatal(err)
		}
		if signed[i], err = readRegistration(v.Registration.Attestation, v.Registration.ClientData); err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), []byte(v.Registration.Attestation))
		f.Add(byte(i), []byte(v.Authentication.AuthData))
		f.Add(byte(i), []byte(v.Authentication.Signature))
	}
	for _, v := range file.Vectors { // formats and keys that are refused
		f.Add(byte(0), []byte(v.Registration.Attestation))
	}
	f.Add(byte(0), []byte{})
	f.Add(byte(0), []byte{0xa0})
	f.Add(byte(0), []byte{0xbf, 0xff})
	f.Add(byte(0), bytes.Repeat([]byte{0x81}, 1000))
	f.Fuzz(func(t *testing.T, which byte, object []byte) {
		if len(object) > maxResponse {
			return
		}
		i := int(which) % len(vectors)
		v := vectors[i]
		made, err := v.register(t, p, object, v.Registration.ClientData)
		if err != nil {
			if made != nil || !errors.Is(err, ErrRefused) {
				t.Fatalf("refused with a credential or without ErrRefused: %v", err)
			}
		} else {
			r, err := readRegistration(object, v.Registration.ClientData)
			switch {
			case err != nil || !bytes.Equal(made.ID, v.Registration.ID) || !bytes.Equal(made.Attestation, object):
				t.Fatalf("registered what cannot be read, or another credential: %v", err)
			case r.format == formatNone && made.Judgement.Evidence != None:
				t.Fatalf("evidence %s of nothing", made.Judgement.Evidence)
			case r.format != formatNone && !bytes.Equal(r.raw, signed[i].raw):
				t.Fatalf("registered by other authenticator data than was signed: %x", r.raw)
			case made.Judgement.Evidence == Attested && !bytes.Equal(object, v.Registration.Attestation):
				// x5c in another order, or written in another form, would be the same
				// certificates; the first must be the one that was issued.
				chain, err := r.chain()
				first, err2 := signed[i].chain()
				if err != nil || err2 != nil || !chain[0].Equal(first[0]) {
					t.Fatalf("attested by another certificate: %v %v", err, err2)
				}
			}
		}
		a := v.Authentication
		if _, err := v.assert(t, p, creds[i], object, a.ClientData, a.Signature); err == nil && !bytes.Equal(object, a.AuthData) {
			t.Fatalf("signed in by other authenticator data than was signed: %x", object)
		}
		if _, err := v.assert(t, p, creds[i], a.AuthData, a.ClientData, object); err == nil && !bytes.Equal(object, a.Signature) {
			t.Fatalf("signed in by another signature: %x", object)
		}
	})
}
