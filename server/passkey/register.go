package passkey

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"

	"muster/server/reference"
)

// maxResponse bounds what a browser may send, and with it all that is kept.
const maxResponse = 64 << 10

// The specification wants at least 100 bits of chance in an id (§4, credential
// ID), and at most 1023 bytes.
const minID, maxID = 16, 1023

// FinishRegistration checks a RegistrationResponseJSON and judges the credential.
// An attestation that does not verify is refused; one that verifies and proves
// nothing is not.
func (p *Party) FinishRegistration(u User, c *Ceremony, response []byte) (made *Credential, err error) {
	defer func() {
		if err != nil {
			made = nil
		}
	}()
	defer guard(&err)
	a, err := p.asked(c, typeCreate)
	if err != nil {
		return nil, err
	}
	if len(u.Handle) == 0 || !bytes.Equal(a.Handle, u.Handle) {
		return nil, refuse("the ceremony began for another person")
	}
	if len(response) > maxResponse {
		return nil, refuse("the response has %d bytes", len(response))
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return nil, refuse("reading response: %w", plain(err))
	}
	raw := parsed.Raw.AttestationResponse
	if err := p.checkClientData(raw.ClientDataJSON, typeCreate, c.Challenge); err != nil {
		return nil, err
	}
	r, err := readRegistration(raw.AttestationObject, raw.ClientDataJSON)
	if err != nil {
		return nil, refuse("%w", err)
	}
	if err := p.checkAuthData(&r.auth); err != nil {
		return nil, err
	}
	if !bytes.Equal(parsed.RawID, r.auth.AttData.CredentialID) {
		return nil, refuse("the response and the authenticator name different credentials")
	}
	if a.knows(parsed.RawID) {
		return nil, refuse("the credential was excluded")
	}
	now := p.config.Now()
	if _, err := r.verify(); err != nil {
		return nil, refuse("attestation: %w", err)
	}
	made = &Credential{
		ID: r.auth.AttData.CredentialID, PublicKey: r.auth.AttData.CredentialPublicKey,
		Algorithm: r.key.algorithm, AAGUID: r.model,
		Attestation: raw.AttestationObject, ClientData: raw.ClientDataJSON,
		Transports: transports(parsed.Response.Transports), Attachment: string(parsed.AuthenticatorAttachment),
		BackupEligible: r.auth.Flags.HasBackupEligible(), UserVerified: r.auth.Flags.HasUserVerified(),
		RegisteredAt: now,
	}
	made.Use = Use{BackupState: r.auth.Flags.HasBackupState(), SignCount: r.auth.Counter,
		UserVerified: made.UserVerified, Attachment: made.Attachment, At: now}
	made.Judgement = p.judge(made)
	return made, nil
}

// checkAuthData checks what authenticator data of both ceremonies has in common
// (WebAuthn §7.1 steps 14 to 18, §7.2 steps 16 to 19).
func (p *Party) checkAuthData(auth *protocol.AuthenticatorData) error {
	hash := sha256.Sum256([]byte(p.config.RPID))
	switch {
	case !bytes.Equal(auth.RPIDHash, hash[:]):
		return refuse("the authenticator answered for another rp id")
	case !auth.Flags.HasUserPresent():
		return refuse("nobody was present at the authenticator")
	case !auth.Flags.HasUserVerified() && !p.lax:
		return refuse("the authenticator did not verify the person")
	case auth.Flags.HasBackupState() && !auth.Flags.HasBackupEligible():
		return refuse("the credential is backed up and may not be")
	}
	return nil
}

// registration is a registration's attestation object, read.
type registration struct {
	format         string
	statement      map[string]any
	raw            []byte // authenticator data, as signed
	auth           protocol.AuthenticatorData
	clientDataHash [sha256.Size]byte
	key            *publicKey
	model          reference.AAGUID
}

// readRegistration reads an attestation object (WebAuthn §6.5.4). The library's
// decoder takes members whose names differ in case, so the outer map is read
// here.
func readRegistration(object, clientData []byte) (*registration, error) {
	if len(object) > maxResponse {
		return nil, fmt.Errorf("attestation object has %d bytes", len(object))
	}
	var members map[string]webauthncbor.RawMessage
	if err := webauthncbor.Unmarshal(object, &members); err != nil {
		return nil, fmt.Errorf("reading attestation object: %w", err)
	}
	r := &registration{clientDataHash: sha256.Sum256(clientData)}
	for name, into := range map[string]any{"fmt": &r.format, "attStmt": &r.statement, "authData": &r.raw} {
		if err := webauthncbor.Unmarshal(members[name], into); err != nil {
			return nil, fmt.Errorf("reading %s of attestation object: %w", name, err)
		}
	}
	if len(members) != 3 {
		return nil, errors.New("attestation object has other members")
	}
	if err := r.auth.Unmarshal(r.raw); err != nil {
		return nil, fmt.Errorf("reading authenticator data: %w", err)
	}
	if !r.auth.Flags.HasAttestedCredentialData() {
		return nil, errors.New("authenticator data has no credential")
	}
	if n := len(r.auth.AttData.CredentialID); n < minID || n > maxID {
		return nil, fmt.Errorf("credential id has %d bytes", n)
	}
	if len(r.auth.AttData.AAGUID) != len(r.model) {
		return nil, errors.New("authenticator data has no model")
	}
	copy(r.model[:], r.auth.AttData.AAGUID)
	var err error
	r.key, err = readKey(r.auth.AttData.CredentialPublicKey)
	return r, err
}

// message is what an attestation signs.
func (r *registration) message() []byte { return slices.Concat(r.raw, r.clientDataHash[:]) }

// transports keeps those that the specification names (§5.8.4): they come from
// the page and go back into options.
func transports(from []protocol.AuthenticatorTransport) (out []string) {
	for _, t := range from {
		switch t {
		case protocol.USB, protocol.NFC, protocol.BLE, protocol.SmartCard, protocol.Hybrid, protocol.Internal:
			if !slices.Contains(out, string(t)) {
				out = append(out, string(t))
			}
		}
	}
	return out
}

// plain drops what the library adds for its developers, which quotes challenges.
func plain(err error) error {
	var syntax *json.SyntaxError
	if e := (*protocol.Error)(nil); errors.As(err, &e) && e.Details != "" {
		return errors.New(e.Details)
	} else if errors.As(err, &syntax) {
		return errors.New("not JSON")
	}
	return errors.New("not of the form asked for")
}
