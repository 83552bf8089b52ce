package tpm

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

// endorsement is the EK that is used, and how it is made.
type endorsement struct {
	template ekTemplate
	attest.EndorsementKey
}

// Endorsement returns the endorsement key: the first template of H-2, L-2, H-3,
// L-1 that the TPM has a certificate for, else L-1 without one, or the template
// that Config keeps. The first call can take seconds: an RSA key is searched for.
func (t *TPM) Endorsement(ctx context.Context) (*attest.EndorsementKey, error) {
	return do(ctx, t, "reading endorsement key", func(c *chip) (*attest.EndorsementKey, error) {
		ek, err := c.endorse()
		if err != nil {
			return nil, err
		}
		key := ek.EndorsementKey
		return &key, nil
	})
}

// endorse chooses the EK.
func (c *chip) endorse() (*endorsement, error) {
	if c.ek != nil {
		return c.ek, nil
	}
	var bare *ekTemplate // to be used without a certificate, when none has one
	for _, template := range ekTemplates() {
		if c.config.EK != "" && c.config.EK != template.name {
			continue
		}
		certificate, err := c.certificate(template.certificate)
		if err != nil {
			return nil, err
		}
		if certificate != nil {
			switch fits, err := c.adopt(template, certificate); {
			case err != nil:
				return nil, err
			case fits:
				return c.ek, nil
			}
		}
		bare = &template
	}
	if bare == nil {
		return nil, fmt.Errorf("EK template %q is not known", c.config.EK)
	}
	if _, err := c.adopt(*bare, nil); err != nil {
		return nil, err
	}
	return c.ek, nil
}

// adopt makes the EK of a template and keeps it, unless the certificate found for
// it is of another key: a manufacturer may certify a template of its own.
func (c *chip) adopt(template ekTemplate, certificate []byte) (fits bool, err error) {
	made, err := c.loadEK(&template, certificate)
	if err != nil {
		return false, fmt.Errorf("endorsement key %s: %w", template.name, err)
	}
	c.unload(made)
	ek := &endorsement{template, attest.EndorsementKey{
		Template: template.name, Public: made.public, Certificate: certificate,
	}}
	if certificate != nil {
		certified, err := certifies(certificate, made.public)
		if err != nil || !certified {
			return false, err
		}
		if ek.Chain, err = c.chain(); err != nil {
			return false, err
		}
	}
	c.ek = ek
	return true, nil
}

// loadEK makes the EK of a template. The one that its manufacturer left in the
// TPM is taken instead where the certificate vouches for it, since an RSA key
// takes seconds to make, and where the endorsement hierarchy is closed to us.
func (c *chip) loadEK(template *ekTemplate, certificate []byte) (*object, error) {
	left := c.leftEK(template)
	if left != nil && certificate != nil {
		certified, err := certifies(certificate, left.public)
		if err != nil {
			return nil, err
		}
		if certified {
			return left, nil
		}
	}
	made, err := c.primary(template.public())
	switch {
	case err == nil && !template.matches(made.public):
		c.flush(made.handle)
		return nil, errors.New("the TPM made a key of another template")
	case isClosed(err) && left != nil:
		return left, nil
	case isClosed(err):
		return nil, closedError(err)
	}
	return made, err
}

// leftEK looks where a manufacturer may have left the EK; nil when none of the
// template is there.
func (c *chip) leftEK(template *ekTemplate) *object {
	handle := tpm2.TPMHandle(template.persistent)
	public, name, err := c.readPublic(handle)
	if err != nil || !template.matches(public) {
		return nil
	}
	return &object{handle, tpm2.TPM2BName{Buffer: name}, public}
}

// closedError says that the endorsement hierarchy does not take us: it is switched
// off, or has an authorisation.
func closedError(err error) error {
	if isOff(err) {
		return fmt.Errorf("%w: endorsement: %w", attest.ErrDisabled, err)
	}
	return fmt.Errorf("%w: the endorsement hierarchy is closed: %w", attest.ErrPermission, err)
}

// publicKey returns the key in a TPMT_PUBLIC.
func publicKey(public []byte) (any, error) {
	if len(public) > attest.MaxPublic {
		return nil, fmt.Errorf("public area of %d bytes", len(public))
	}
	area, err := tpm2.Unmarshal[tpm2.TPMTPublic](public)
	if err != nil {
		return nil, fmt.Errorf("public area: %w", err)
	}
	return tpm2.Pub(*area)
}

// certifies reports whether a certificate has this key in it. Certificates that
// no library parses are told apart too: the key's own bytes stand in each.
func certifies(certificate, public []byte) (bool, error) {
	key, err := publicKey(public)
	if err != nil {
		return false, err
	}
	var bits []byte
	switch key := key.(type) {
	case *rsa.PublicKey:
		bits = x509.MarshalPKCS1PublicKey(key)
	case *ecdsa.PublicKey:
		if bits, err = key.Bytes(); err != nil {
			return false, err
		}
	}
	return bytes.Contains(certificate, bits), nil
}

// EKHash is the name under which an EK is listed beforehand: SHA-256 of its
// SubjectPublicKeyInfo DER.
func EKHash(ek *attest.EndorsementKey) (attest.Digest, error) {
	key, err := publicKey(ek.Public)
	if err != nil {
		return attest.Digest{}, fmt.Errorf("hashing endorsement key: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return attest.Digest{}, fmt.Errorf("hashing endorsement key: %w", err)
	}
	return sha256.Sum256(der), nil
}
