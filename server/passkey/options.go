package passkey

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// text is bytes as base64url without padding, as WebAuthn's JSON has them.
type text []byte

// MarshalText writes base64url.
func (b text) MarshalText() ([]byte, error) { return base64.RawURLEncoding.AppendEncode(nil, b), nil }

// The options below are WebAuthn's PublicKeyCredentialCreationOptionsJSON (§5.1.9)
// and PublicKeyCredentialRequestOptionsJSON (§5.1.10), with what we use of them.

type creationOptions struct {
	RP          entity          `json:"rp"`
	User        entity          `json:"user"`
	Challenge   text            `json:"challenge"`
	Parameters  []parameter     `json:"pubKeyCredParams"`
	Timeout     int64           `json:"timeout"` // milliseconds
	Exclude     []descriptor    `json:"excludeCredentials"`
	Selection   map[string]any  `json:"authenticatorSelection"`
	Attestation string          `json:"attestation"`
	Extensions  map[string]bool `json:"extensions"`
}

type requestOptions struct {
	Challenge    text         `json:"challenge"`
	Timeout      int64        `json:"timeout"`
	RPID         string       `json:"rpId"`
	Allow        []descriptor `json:"allowCredentials"`
	Verification string       `json:"userVerification"`
}

type entity struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Display string `json:"displayName,omitempty"`
}

type parameter struct {
	Type      string `json:"type"`
	Algorithm int64  `json:"alg"`
}

type descriptor struct {
	Type       string   `json:"type"`
	ID         text     `json:"id"`
	Transports []string `json:"transports,omitempty"`
}

// asked is the Session of a Ceremony: what its response is checked against.
type asked struct {
	Type   string `json:"type"`             // of the client data
	Handle []byte `json:"handle,omitempty"` // whose; any person's when empty
	// Known are the credentials excluded, or the only ones allowed.
	Known [][]byte `json:"known,omitempty"`
}

const (
	typeCreate = "webauthn.create"
	typeGet    = "webauthn.get"
)

const (
	maxHandle     = 64 // WebAuthn §4, user handle
	sizeChallenge = 32
	publicKeyType = "public-key"
)

// BeginRegistration returns the PublicKeyCredentialCreationOptionsJSON for a new
// discoverable credential with user verification, attestation direct; have are
// the credentials that the person has already.
func (p *Party) BeginRegistration(u User, have []*Credential) (options []byte, c *Ceremony, err error) {
	if len(u.Handle) == 0 || len(u.Handle) > maxHandle || u.Name == "" {
		return nil, nil, errors.New("beginning registration: a person needs a handle and a name")
	}
	c, err = p.begin(asked{Type: typeCreate, Handle: u.Handle, Known: ids(have)})
	if err != nil {
		return nil, nil, fmt.Errorf("beginning registration: %w", err)
	}
	o := creationOptions{
		RP:        entity{ID: p.config.RPID, Name: p.config.Name},
		User:      entity{ID: base64.RawURLEncoding.EncodeToString(u.Handle), Name: u.Name, Display: u.Display},
		Challenge: c.Challenge, Timeout: Life.Milliseconds(), Exclude: descriptors(have),
		Selection:   map[string]any{"residentKey": "required", "requireResidentKey": true, "userVerification": "required"},
		Attestation: "direct", Extensions: map[string]bool{"credProps": true},
	}
	if o.User.Display == "" {
		o.User.Display = u.Name // the member is required (WebAuthn §5.4.3)
	}
	for _, a := range algorithms() {
		o.Parameters = append(o.Parameters, parameter{publicKeyType, a})
	}
	return encoded(o, c)
}

// BeginSignIn returns the PublicKeyCredentialRequestOptionsJSON for any
// discoverable credential, user verification required.
func (p *Party) BeginSignIn() (options []byte, c *Ceremony, err error) {
	c, err = p.begin(asked{Type: typeGet})
	if err != nil {
		return nil, nil, fmt.Errorf("beginning sign-in: %w", err)
	}
	return encoded(p.request(c, nil), c)
}

// BeginVerify is BeginSignIn for one person who is signed in already: only the
// given credentials answer it. Without any it is an error: an empty list would
// let every credential answer.
func (p *Party) BeginVerify(u User, have []*Credential) (options []byte, c *Ceremony, err error) {
	if len(u.Handle) == 0 || len(have) == 0 {
		return nil, nil, errors.New("beginning verification: the person has no passkey")
	}
	c, err = p.begin(asked{Type: typeGet, Handle: u.Handle, Known: ids(have)})
	if err != nil {
		return nil, nil, fmt.Errorf("beginning verification: %w", err)
	}
	return encoded(p.request(c, have), c)
}

func (p *Party) request(c *Ceremony, have []*Credential) requestOptions {
	return requestOptions{Challenge: c.Challenge, Timeout: Life.Milliseconds(), RPID: p.config.RPID,
		Allow: descriptors(have), Verification: "required"}
}

// begin makes a ceremony with a challenge of its own.
func (p *Party) begin(a asked) (*Ceremony, error) {
	challenge := make([]byte, sizeChallenge)
	if _, err := rand.Read(challenge); err != nil {
		return nil, err
	}
	return p.beginWith(a, challenge)
}

func (p *Party) beginWith(a asked, challenge []byte) (*Ceremony, error) {
	session, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	return &Ceremony{Challenge: challenge, Expires: p.config.Now().Add(Life), Session: session}, nil
}

// asked returns what a ceremony of that type asked for, while it may be answered.
func (p *Party) asked(c *Ceremony, ceremony string) (*asked, error) {
	if c == nil || len(c.Challenge) < sizeChallenge {
		return nil, refuse("no ceremony was begun")
	}
	if !p.config.Now().Before(c.Expires) {
		return nil, refuse("the challenge expired at %s", c.Expires.UTC().Format("15:04:05"))
	}
	var a asked
	if err := json.Unmarshal(c.Session, &a); err != nil {
		return nil, refuse("the ceremony is unreadable")
	}
	if a.Type != ceremony {
		return nil, refuse("the ceremony began as %q, not as %s", a.Type, ceremony)
	}
	return &a, nil
}

func (a *asked) knows(id []byte) bool {
	for _, known := range a.Known {
		if bytes.Equal(known, id) {
			return true
		}
	}
	return false
}

func ids(have []*Credential) (out [][]byte) {
	for _, c := range have {
		out = append(out, c.ID)
	}
	return out
}

func descriptors(have []*Credential) []descriptor {
	out := []descriptor{} // [] rather than null, which browsers refuse
	for _, c := range have {
		out = append(out, descriptor{publicKeyType, c.ID, c.Transports})
	}
	return out
}

func encoded(options any, c *Ceremony) ([]byte, *Ceremony, error) {
	out, err := json.Marshal(options)
	if err != nil {
		return nil, nil, fmt.Errorf("writing options: %w", err)
	}
	return out, c, nil
}
