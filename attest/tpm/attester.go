package tpm

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

var (
	_ attest.Attester = (*TPM)(nil)
	_ attest.Anchor   = (*TPM)(nil)
)

// attempts is how often an operation is tried in all while PCRs move under it.
const attempts = 3

// Info returns what the chip says of itself.
func (t *TPM) Info(ctx context.Context) (attest.TPMInfo, error) {
	return do(ctx, t, "reading TPM properties", (*chip).describe)
}

// Clock reads the TPM's clock (TPM2_ReadClock).
func (t *TPM) Clock(ctx context.Context) (attest.Clock, error) {
	return do(ctx, t, "reading TPM clock", (*chip).clock)
}

// Identity returns the public keys. It looks at the boot state: after a reboot,
// or when PCR 7 moved, DKb is another key than before, and from then on Sign and
// Certify use that one.
func (t *TPM) Identity(ctx context.Context) (attest.Identity, error) {
	return do(ctx, t, "reading TPM identity", (*chip).identify)
}

func (c *chip) identify() (attest.Identity, error) {
	id := attest.Identity{Kind: attest.KindTPM}
	ek, err := c.endorse()
	if err != nil {
		return attest.Identity{}, err
	}
	key := ek.EndorsementKey
	id.EK = &key
	if id.TPM, err = c.describe(); err != nil {
		return attest.Identity{}, err
	}
	for _, role := range []attest.Role{attest.AK, attest.DK} {
		if _, err := c.known(role); err != nil {
			return attest.Identity{}, err
		}
	}
	id.AK, id.DK = c.raw[attest.AK], c.raw[attest.DK]
	switch err := c.renew(); {
	case errors.Is(err, attest.ErrAbsent): // no SHA-256 PCRs: nothing to bind DKb to
		return id, nil
	case err != nil:
		return attest.Identity{}, err
	}
	if _, err := c.known(attest.DKb); err != nil {
		return attest.Identity{}, err
	}
	id.DKb = c.raw[attest.DKb]
	return id, nil
}

// Sign signs a digest with DK, or with the DKb that Identity last returned:
// attest.ErrBootMoved when that one's boot has passed.
func (t *TPM) Sign(ctx context.Context, role attest.Role, digest [sha256.Size]byte) ([]byte, error) {
	return do(ctx, t, "signing with "+role.String(), func(c *chip) ([]byte, error) {
		switch role {
		case attest.DK:
			return c.signDK(digest)
		case attest.DKb:
			return c.signDKb(digest)
		}
		return nil, errors.New("this key signs what the TPM states alone")
	})
}

func (c *chip) signDK(digest [sha256.Size]byte) ([]byte, error) {
	dk, err := c.load(attest.DK)
	if err != nil {
		return nil, err
	}
	defer c.flush(dk.handle)
	return c.signWith(dk.withPassword(), attest.DK, digest)
}

func (c *chip) signDKb(digest [sha256.Size]byte) ([]byte, error) {
	if _, err := c.known(attest.DK); err != nil { // settles where keys are made
		return nil, err
	}
	if c.boot == nil {
		if err := c.renew(); err != nil {
			return nil, err
		}
	}
	dkb, err := c.load(attest.DKb)
	if err != nil {
		return nil, err
	}
	defer c.flush(dkb.handle)
	for range attempts {
		signature, err := c.signBound(dkb, digest)
		switch {
		case errors.Is(err, tpm2.TPMRCPCRChanged):
			continue // any PCR moved between the policy and its use
		case hasMoved(err):
			return nil, fmt.Errorf("%w: %w", attest.ErrBootMoved, err)
		}
		return signature, err
	}
	return nil, fmt.Errorf("%w: PCRs keep moving", attest.ErrTransient)
}

// signBound signs once under DKb's policy.
func (c *chip) signBound(dkb *object, digest [sha256.Size]byte) ([]byte, error) {
	session, end, err := c.policySession(tpm2.TPMAlgSHA256)
	if err != nil {
		return nil, err
	}
	defer end()
	if err := c.satisfyBoot(session.Handle()); err != nil {
		return nil, err
	}
	return c.signWith(dkb.withPolicy(session), attest.DKb, digest)
}

// signWith is TPM2_Sign (TPM 2.0 Part 3 §20.2); the scheme is the key's.
func (c *chip) signWith(key tpm2.AuthHandle, role attest.Role, digest [sha256.Size]byte) ([]byte, error) {
	rsp, err := tpm2.Sign{
		KeyHandle:  key,
		Digest:     tpm2.TPM2BDigest{Buffer: digest[:]},
		InScheme:   tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck, Hierarchy: tpm2.TPMRHNull},
	}.Execute(c.wire)
	if err != nil {
		return nil, err
	}
	signature, err := fixed(&rsp.Signature)
	if err != nil {
		return nil, err
	}
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(c.public[role].Public, digest[:], r, s) {
		return nil, fmt.Errorf("%w: %v signed wrongly", attest.ErrKeyLost, role)
	}
	return signature, nil
}

// fixed is an ECDSA signature as 64 bytes, r then s: TPMs leave zeros out.
func fixed(s *tpm2.TPMTSignature) ([]byte, error) {
	ecdsa, err := s.Signature.ECDSA()
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	out := make([]byte, 64)
	for i, part := range [][]byte{ecdsa.SignatureR.Buffer, ecdsa.SignatureS.Buffer} {
		if len(part) > 32 {
			return nil, fmt.Errorf("signature has a part of %d bytes", len(part))
		}
		copy(out[32*(i+1)-len(part):], part)
	}
	return out, nil
}
