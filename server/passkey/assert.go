package passkey

import (
	"bytes"
	"encoding/base64"

	"github.com/go-webauthn/webauthn/protocol"
)

// FinishSignIn checks an AuthenticationResponseJSON. find returns the credential
// of an id and the user it belongs to; its error is a refusal. What changed is
// returned, not kept.
func (p *Party) FinishSignIn(c *Ceremony, response []byte, find func(id []byte) (*Credential, User, error)) (used *Credential, use *Use, err error) {
	defer func() {
		if err != nil {
			used, use = nil, nil
		}
	}()
	defer guard(&err)
	a, err := p.asked(c, typeGet)
	if err != nil {
		return nil, nil, err
	}
	if len(response) > maxResponse {
		return nil, nil, refuse("the response has %d bytes", len(response))
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return nil, nil, refuse("reading response: %w", plain(err))
	}
	if err := p.checkClientData(parsed.Raw.AssertionResponse.ClientDataJSON, typeGet, c.Challenge); err != nil {
		return nil, nil, err
	}
	auth := &parsed.Response.AuthenticatorData
	if err := p.checkAuthData(auth); err != nil {
		return nil, nil, err
	}
	if len(a.Known) != 0 && !a.knows(parsed.RawID) {
		return nil, nil, refuse("the credential is not one of those asked for")
	}
	found, user, err := find(parsed.RawID)
	if err != nil {
		return nil, nil, refuse("finding the credential: %w", err)
	}
	if err := checkOwner(a, parsed, found, user); err != nil {
		return nil, nil, err
	}
	if auth.Flags.HasBackupEligible() != found.BackupEligible {
		return nil, nil, refuse("backup eligibility changed since registration")
	}
	if err := p.verifyAssertion(c, parsed, found); err != nil {
		return nil, nil, err
	}
	return found, p.newUse(parsed, found), nil
}

// checkOwner checks whose credential it is (WebAuthn §7.2 step 6). A sign-in must
// carry the user handle, since nothing else says who it is.
func checkOwner(a *asked, parsed *protocol.ParsedCredentialAssertionData, found *Credential, user User) error {
	handle := parsed.Response.UserHandle
	switch {
	case found == nil || !bytes.Equal(found.ID, parsed.RawID):
		return refuse("no such credential")
	case len(user.Handle) == 0:
		return refuse("the credential belongs to nobody")
	case len(handle) == 0 && len(a.Known) == 0:
		return refuse("the response has no user handle")
	case len(handle) != 0 && !bytes.Equal(handle, user.Handle):
		return refuse("the response has another person's user handle")
	case len(a.Handle) != 0 && !bytes.Equal(a.Handle, user.Handle):
		return refuse("the ceremony began for another person")
	}
	return nil
}

// verifyAssertion checks the signature, and has the library check all over again.
func (p *Party) verifyAssertion(c *Ceremony, parsed *protocol.ParsedCredentialAssertionData, found *Credential) error {
	key, err := readKey(found.PublicKey)
	if err != nil {
		return refuse("%w", err)
	}
	if key.algorithm != found.Algorithm {
		return refuse("the stored key is of another algorithm")
	}
	err = parsed.Verify(base64.RawURLEncoding.EncodeToString(c.Challenge), p.config.RPID, "", []string{p.config.Origin}, nil, nil,
		protocol.TopOriginExplicitVerificationMode, false, !p.lax, true, found.PublicKey, protocol.SignaturePolicy{})
	if err != nil {
		return refuse("verifying: %w", plain(err))
	}
	return nil
}

func (p *Party) newUse(parsed *protocol.ParsedCredentialAssertionData, found *Credential) *Use {
	auth := parsed.Response.AuthenticatorData
	was := found.Use.SignCount
	return &Use{
		BackupState: auth.Flags.HasBackupState(), SignCount: max(was, auth.Counter),
		CloneWarning: (was != 0 || auth.Counter != 0) && auth.Counter <= was,
		UserVerified: auth.Flags.HasUserVerified(), Attachment: string(parsed.AuthenticatorAttachment),
		At: p.config.Now(),
	}
}
