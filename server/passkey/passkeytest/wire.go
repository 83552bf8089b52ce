package passkeytest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"testing"
)

// bytes64 is bytes as base64url without padding, as WebAuthn's JSON has them.
type bytes64 []byte

// MarshalText writes base64url.
func (b bytes64) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText reads base64url.
func (b *bytes64) UnmarshalText(text []byte) (err error) {
	*b, err = base64.RawURLEncoding.AppendDecode(nil, text)
	return err
}

// options has what it reads of creation and request options (WebAuthn §5.1.9,
// §5.1.10).
type options struct {
	Challenge bytes64 `json:"challenge"`
	RPID      string  `json:"rpId"` // of requests
	RP        *struct {
		ID string `json:"id"`
	} `json:"rp"`
	User *struct {
		ID bytes64 `json:"id"`
	} `json:"user"`
	Allow   []descriptor `json:"allowCredentials"`
	Exclude []descriptor `json:"excludeCredentials"`
}

type descriptor struct {
	ID bytes64 `json:"id"`
}

// answer is a RegistrationResponseJSON or AuthenticationResponseJSON.
type answer struct {
	ID         bytes64    `json:"id"`
	RawID      bytes64    `json:"rawId"`
	Type       string     `json:"type"`
	Attachment string     `json:"authenticatorAttachment,omitempty"`
	Extensions extensions `json:"clientExtensionResults"`
	Response   inner      `json:"response"`
}

type extensions struct {
	CredProps *credProps `json:"credProps,omitempty"`
}

type credProps struct {
	RK *bool `json:"rk,omitempty"`
}

type inner struct {
	ClientData  bytes64  `json:"clientDataJSON"`
	AuthData    bytes64  `json:"authenticatorData"`
	Attestation bytes64  `json:"attestationObject,omitempty"`
	Transports  []string `json:"transports,omitempty"`
	PublicKey   bytes64  `json:"publicKey,omitempty"`
	Algorithm   int64    `json:"publicKeyAlgorithm,omitempty"`
	Signature   bytes64  `json:"signature,omitempty"`
	Handle      bytes64  `json:"userHandle,omitempty"`
}

// read takes options as they are, or in the member publicKey that a page passes
// to the browser.
func (a *Authenticator) read(text []byte) *options {
	a.t.Helper()
	var wrapped struct {
		PublicKey json.RawMessage `json:"publicKey"`
	}
	if err := json.Unmarshal(text, &wrapped); err != nil {
		a.t.Fatalf("options: %v", err)
	}
	if wrapped.PublicKey != nil {
		text = wrapped.PublicKey
	}
	var o options
	if err := json.Unmarshal(text, &o); err != nil {
		a.t.Fatalf("options: %v", err)
	}
	return &o
}

func (a *Authenticator) write(v answer) []byte {
	a.t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		a.t.Fatal(err)
	}
	return text
}

func random(t testing.TB, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}
