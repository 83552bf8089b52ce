package tpm

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

// bootPCR is what DKb is bound to beside the reset count: the Secure Boot policy.
const bootPCR = 7

// bootState is what this boot's DKb is bound to.
type bootState struct {
	pcr7         attest.Digest
	resetCount   uint32
	counterBound bool
	policy       attest.Digest
}

// renew looks at the boot state as it is now, and forgets the DKb of another.
func (c *chip) renew() error {
	now, err := c.bootNow()
	if err != nil {
		return err
	}
	if c.boot == nil || *c.boot != *now {
		c.boot = now
		delete(c.public, attest.DKb)
		delete(c.raw, attest.DKb)
	}
	return nil
}

func (c *chip) bootNow() (*bootState, error) {
	clock, err := c.clock()
	if err != nil {
		return nil, err
	}
	values, err := c.read(bootPCR)
	if err != nil {
		return nil, err
	}
	s := &bootState{pcr7: values[bootPCR], resetCount: clock.ResetCount}
	switch {
	case c.closed:
		// Signers outside the endorsement hierarchy show the server an obfuscated
		// reset count (Part 1 §36.7): it could not recompute the policy.
	case c.boot != nil && c.boot.resetCount == s.resetCount:
		s.counterBound = c.boot.counterBound
	default:
		if s.counterBound, err = c.canBindCounter(s); err != nil {
			return nil, err
		}
	}
	s.policy = attest.BootPolicy(s.pcr7, s.resetCount, s.counterBound)
	return s, nil
}

// canBindCounter tries the policy on this TPM. Where the command is missing, or
// blocked, DKb is bound to the PCR alone.
func (c *chip) canBindCounter(s *bootState) (bool, error) {
	session, end, err := c.policySession(tpm2.TPMAlgSHA256)
	if err != nil {
		return false, err
	}
	defer end()
	err = c.policyCounter(session.Handle(), s.resetCount)
	var rc tpm2.TPMRC
	if errors.As(err, &rc) && !isTransient(rc) && rc != tpm2.TPMRCPolicy {
		return false, nil
	}
	return err == nil, err
}

// policySession starts a policy session; end flushes it.
func (c *chip) policySession(alg tpm2.TPMIAlgHash) (session tpm2.Session, end func(), err error) {
	session, flush, err := tpm2.PolicySession(c.wire, alg, 16)
	if err != nil {
		return nil, nil, fmt.Errorf("policy session: %w", err)
	}
	return session, func() { _ = flush() }, nil // as in flush
}

// policyCounter is TPM2_PolicyCounterTimer(resetCount = value), of which go-tpm
// v0.9.8 has the command code alone (TPM 2.0 Part 3 §23.9).
func (c *chip) policyCounter(session tpm2.TPMHandle, value uint32) error {
	operand := attest.CounterOperand(value)
	b := binary.BigEndian.AppendUint16(words(uint32(session)), uint16(len(operand)))
	b = append(b, operand...)
	b = binary.BigEndian.AppendUint16(b, 16) // offset of resetCount in TPMS_TIME_INFO
	b = binary.BigEndian.AppendUint16(b, uint16(tpm2.TPMEOEq))
	_, err := c.plain(tpm2.TPMCCPolicyCounterTimer, b)
	return err
}

// satisfyBoot runs DKb's policy in a session. The values are the TPM's own of
// now: a boot that has moved on shows when the key is used, or at the counter.
func (c *chip) satisfyBoot(session tpm2.TPMHandle) error {
	body := append(words(uint32(session)), 0, 0) // no digest: the values of now
	_, err := c.plain(tpm2.TPMCCPolicyPCR, append(body, selected(bootPCR)...))
	if err != nil || !c.boot.counterBound {
		return err
	}
	return c.policyCounter(session, c.boot.resetCount)
}

// hasMoved tells response codes of a policy that does not hold.
func hasMoved(err error) bool {
	return errors.Is(err, tpm2.TPMRCPolicyFail) || errors.Is(err, tpm2.TPMRCPolicy)
}
