// Package passkeytest is an authenticator in software, for tests: it registers
// and asserts as a browser with an authenticator would, in the formats none,
// self (packed, signed by the credential), packed, tpm and android-key, under a
// certificate authority of its own.
//
// It proves nothing and must not ship.
package passkeytest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"muster/server/reference"
)

// Authenticator holds passkeys for one origin. Its fields may be changed between
// ceremonies. It is for one goroutine.
type Authenticator struct {
	Origin string           // what its client says: https://id.muster.example
	AAGUID reference.AAGUID // its model
	Format string           // none (default), self, packed, tpm, android-key
	// Algorithm is the COSE one of new credentials: -7 (default), -257, -8. It is
	// used even when the options do not offer it.
	Algorithm int64
	// NoUV leaves user verification out; BackupEligible and BackupState are flags.
	NoUV, BackupEligible, BackupState bool
	Attachment                        string // platform (default), cross-platform
	// Lie is where it departs from the specification.
	Lie Lie

	t         testing.TB
	authority *authority
	held      []*credential // the oldest first
	last      []byte
}

// Lie is what an honest client or authenticator would not do. Zero values are
// honest.
type Lie struct {
	RPID        string // its hash stands in the authenticator data
	Type        string // of the client data: webauthn.get at a registration
	CrossOrigin bool
	TopOrigin   string
	NoUP        bool     // without user presence
	NoHandle    bool     // an assertion without a user handle
	Handle      []byte   // another user's
	Stuck       bool     // the signature counter does not grow
	RS1         bool     // tpm: a statement signed with RSA and SHA-1
	NoCertModel bool     // the attestation certificate names no AAGUID
	Servers     []string // URLs in the attestation certificate, to be asked about it
	// CertModel is the AAGUID of the attestation certificate.
	CertModel reference.AAGUID
	// ClientData and AuthData change what is then signed or hashed.
	ClientData, AuthData func([]byte) []byte
}

// credential is one passkey.
type credential struct {
	id, handle []byte
	rpID       string
	key        *key
	count      uint32
}

// Flags of authenticator data (WebAuthn §6.1).
const (
	flagUP = 1 << 0
	flagUV = 1 << 2
	flagBE = 1 << 3
	flagBS = 1 << 4
	flagAT = 1 << 6
)

// New returns an authenticator without credentials.
func New(t testing.TB, origin string) *Authenticator {
	t.Helper()
	return &Authenticator{Origin: origin, t: t}
}

// Register answers PublicKeyCredentialCreationOptionsJSON (bare, or in a member
// publicKey) with a RegistrationResponseJSON. It fails the test when it holds an
// excluded credential, as a browser would refuse.
func (a *Authenticator) Register(options []byte) (response []byte) {
	a.t.Helper()
	o := a.read(options)
	if o.RP == nil || o.User == nil || o.RP.ID == "" || len(o.User.ID) == 0 || len(o.Challenge) == 0 {
		a.t.Fatalf("not creation options: %s", options)
	}
	for _, d := range o.Exclude {
		if a.holds(d.ID) != nil {
			a.t.Fatal("it holds a credential that the options exclude")
		}
	}
	c := &credential{id: random(a.t, 32), handle: o.User.ID, rpID: o.RP.ID, key: newKey(a.t, a.Algorithm)}
	authData := a.authData(c, flagAT)
	authData = append(authData, a.AAGUID[:]...)
	authData = append(authData, byte(len(c.id)>>8), byte(len(c.id)))
	authData = append(authData, c.id...)
	authData = append(authData, c.key.cose(a.t)...)
	if a.Lie.AuthData != nil {
		authData = a.Lie.AuthData(authData)
	}
	clientData := a.clientData("webauthn.create", o.Challenge)
	format, statement := a.statement(c, authData, sha256.Sum256(clientData))
	object := encode(a.t, map[string]any{"fmt": format, "attStmt": statement, "authData": authData})
	a.held, a.last = append(a.held, c), c.id
	yes := true
	return a.write(answer{ID: c.id, RawID: c.id, Type: "public-key", Attachment: a.attachment(),
		Extensions: extensions{CredProps: &credProps{RK: &yes}},
		Response: inner{ClientData: clientData, Attestation: object, AuthData: authData,
			Transports: a.transports(), PublicKey: c.key.spki(a.t), Algorithm: c.key.algorithm}})
}

// Assert answers PublicKeyCredentialRequestOptionsJSON with the newest credential
// that is allowed, as an AuthenticationResponseJSON. It fails the test when it
// has none.
func (a *Authenticator) Assert(options []byte) (response []byte) {
	a.t.Helper()
	o := a.read(options)
	if o.RPID == "" || len(o.Challenge) == 0 {
		a.t.Fatalf("not request options: %s", options)
	}
	var c *credential
	for _, held := range slices.Backward(a.held) {
		allowed := len(o.Allow) == 0 || slices.ContainsFunc(o.Allow, func(d descriptor) bool { return bytes.Equal(d.ID, held.id) })
		if allowed && held.rpID == o.RPID {
			c = held
			break
		}
	}
	if c == nil {
		a.t.Fatal("no credential answers the options")
	}
	if !a.Lie.Stuck {
		c.count++
	}
	authData := a.authData(c, 0)
	if a.Lie.AuthData != nil {
		authData = a.Lie.AuthData(authData)
	}
	clientData := a.clientData("webauthn.get", o.Challenge)
	hash := sha256.Sum256(clientData)
	handle := c.handle
	if a.Lie.Handle != nil {
		handle = a.Lie.Handle
	}
	if a.Lie.NoHandle {
		handle = nil
	}
	a.last = c.id
	return a.write(answer{ID: c.id, RawID: c.id, Type: "public-key", Attachment: a.attachment(),
		Response: inner{ClientData: clientData, AuthData: authData, Handle: handle,
			Signature: c.key.sign(a.t, slices.Concat(authData, hash[:]))}})
}

// Last is the id of the credential that was made or used last.
func (a *Authenticator) Last() []byte { return a.last }

// Forget drops a credential, as a person who loses it.
func (a *Authenticator) Forget(credential []byte) {
	a.t.Helper()
	at := slices.Index(a.held, a.holds(credential))
	if at < 0 {
		a.t.Fatalf("it holds no credential %x", credential)
	}
	a.held = slices.Delete(a.held, at, at+1)
}

// Entry is what metadata says of its model: its root, and the statuses given.
// The attestation types are those of its Format.
func (a *Authenticator) Entry(statuses ...reference.MDSStatus) reference.MDSEntry {
	a.t.Helper()
	types := []string{"basic_full"}
	switch a.Format {
	case "self":
		types = []string{"basic_surrogate"}
	case "tpm":
		types = []string{"attca"}
	}
	return reference.MDSEntry{AAGUID: a.AAGUID, Description: "Software authenticator", Statuses: statuses,
		Roots: [][]byte{a.ca().root.Raw}, Attestations: types}
}

// AttestationCertificate is the DER certificate that signs its statements, for
// statuses of one batch.
func (a *Authenticator) AttestationCertificate() []byte {
	a.t.Helper()
	return a.ca().attestation(a.t, a.certModel(), a.Lie.Servers).cert
}

func (a *Authenticator) holds(id []byte) *credential {
	for _, c := range a.held {
		if bytes.Equal(c.id, id) {
			return c
		}
	}
	return nil
}

// authData is the part that both ceremonies share (WebAuthn §6.1).
func (a *Authenticator) authData(c *credential, flags byte) []byte {
	for _, f := range []struct {
		set bool
		bit byte
	}{{!a.Lie.NoUP, flagUP}, {!a.NoUV, flagUV}, {a.BackupEligible, flagBE}, {a.BackupState, flagBS}} {
		if f.set {
			flags |= f.bit
		}
	}
	rpID := c.rpID
	if a.Lie.RPID != "" {
		rpID = a.Lie.RPID
	}
	hash := sha256.Sum256([]byte(rpID))
	return append(hash[:], flags, byte(c.count>>24), byte(c.count>>16), byte(c.count>>8), byte(c.count))
}

func (a *Authenticator) clientData(ceremony string, challenge []byte) []byte {
	a.t.Helper()
	if a.Lie.Type != "" {
		ceremony = a.Lie.Type
	}
	data, err := json.Marshal(struct {
		Type        string  `json:"type"`
		Challenge   bytes64 `json:"challenge"`
		Origin      string  `json:"origin"`
		CrossOrigin bool    `json:"crossOrigin"`
		TopOrigin   string  `json:"topOrigin,omitempty"`
	}{ceremony, challenge, a.Origin, a.Lie.CrossOrigin, a.Lie.TopOrigin})
	if err != nil {
		a.t.Fatal(err)
	}
	if a.Lie.ClientData != nil {
		data = a.Lie.ClientData(data)
	}
	return data
}

func (a *Authenticator) attachment() string {
	if a.Attachment == "" {
		return "platform"
	}
	return a.Attachment
}

func (a *Authenticator) transports() []string {
	if a.attachment() == "platform" {
		return []string{"internal"}
	}
	return []string{"usb"}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	mode, err := cbor.CTAP2EncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	out, err := mode.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
