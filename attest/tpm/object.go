package tpm

import (
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

// object is a key that is loaded; whoever got it flushes it.
type object struct {
	handle tpm2.TPMHandle
	name   tpm2.TPM2BName
	public []byte // TPMT_PUBLIC as the TPM returned it
}

// withPassword names the object in a command, with its empty authorisation.
func (o *object) withPassword() tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: o.handle, Name: o.name, Auth: tpm2.PasswordAuth(nil)}
}

// withPolicy names it with a policy session.
func (o *object) withPolicy(session tpm2.Session) tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: o.handle, Name: o.name, Auth: session}
}

// primary makes a primary object of the endorsement hierarchy
// (TPM 2.0 Part 3 §24.1). Where the hierarchy has an authorisation and the system
// knows it, that is asked for once.
func (c *chip) primary(template []byte) (*object, error) {
	o, err := c.primaryUnder(tpm2.TPMRHEndorsement, c.auth, template)
	if err == nil || c.askAuth == nil || !errors.Is(err, tpm2.TPMRCBadAuth) {
		return o, err
	}
	auth, unknown := c.askAuth()
	c.askAuth = nil
	if unknown != nil || len(auth) == 0 {
		return nil, err
	}
	c.auth = auth
	return c.primaryUnder(tpm2.TPMRHEndorsement, c.auth, template)
}

func (c *chip) primaryUnder(hierarchy tpm2.TPMHandle, auth, template []byte) (*object, error) {
	rsp, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: hierarchy, Auth: tpm2.PasswordAuth(auth)},
		InPublic:      tpm2.BytesAs2B[tpm2.TPMTPublic](template),
	}.Execute(c.wire)
	if err != nil {
		return nil, err
	}
	return &object{rsp.ObjectHandle, rsp.Name, rsp.OutPublic.Bytes()}, nil
}

// load loads the key of a role. The first time the key is taken as it comes, if
// it is exactly of its template; then it must be the same.
func (c *chip) load(role attest.Role) (*object, error) {
	if len(c.config.Secret) != SecretSize {
		return nil, fmt.Errorf("%w: no local secret", attest.ErrKeyLost)
	}
	var policy []byte
	if role == attest.DKb {
		policy = c.boot.policy[:]
	}
	o, err := c.make(role, attest.Template(role, c.config.Tenant, c.config.Secret, policy))
	if err != nil {
		return nil, fmt.Errorf("%v: %w", role, err)
	}
	if err := c.recognise(role, o); err != nil {
		c.flush(o.handle)
		return nil, err
	}
	return o, nil
}

// make makes a key as an endorsement primary, or below the storage root key.
func (c *chip) make(role attest.Role, template []byte) (*object, error) {
	if !c.closed && c.config.Wrapped != nil && role != attest.DKb && c.public[role] == nil {
		// What was wrapped once stays wrapped: that key is the enrolled one.
		blob, err := c.saved(role)
		if err != nil {
			return nil, err
		}
		c.closed = blob != nil
	}
	if c.closed {
		return c.wrapped(role, template)
	}
	o, err := c.primary(template)
	if !isClosed(err) {
		return o, err
	}
	if c.config.Wrapped == nil || c.enrolled() || isOff(err) {
		return nil, closedError(err)
	}
	c.closed = true
	return c.wrapped(role, template)
}

// enrolled reports whether keys are in use: those come back or are lost, and no
// other is made in their place.
func (c *chip) enrolled() bool { return len(c.public) > 0 || !c.config.DK.IsZero() }

// recognise checks that a loaded key is the one that it has been.
func (c *chip) recognise(role attest.Role, o *object) error {
	key, err := attest.ParseKey(role, o.public)
	if err != nil {
		return fmt.Errorf("%v as the TPM made it: %w", role, err)
	}
	if string(key.Name) != string(o.name.Buffer) {
		return fmt.Errorf("%w: %v has not the name of its public area", attest.ErrKeyLost, role)
	}
	known := c.public[role]
	switch {
	case known != nil && known.ID != key.ID:
		return fmt.Errorf("%w: %v is another key than before", attest.ErrKeyLost, role)
	case role == attest.DK && !c.config.DK.IsZero() && c.config.DK != key.ID:
		return fmt.Errorf("%w: DK is not the enrolled one", attest.ErrKeyLost)
	}
	if known == nil {
		c.public[role], c.raw[role] = key, o.public
	}
	return nil
}

// known returns a role's key, making it when it was not made yet.
func (c *chip) known(role attest.Role) (*attest.Key, error) {
	if c.public[role] == nil {
		o, err := c.load(role)
		if err != nil {
			return nil, err
		}
		c.flush(o.handle)
	}
	return c.public[role], nil
}
