package enroll

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/reference"
	"muster/server/verify"
)

// Cause is a stable code for why a level is not higher.
type Cause string

// Why a device is not at a hardware level.
const (
	CauseNone          Cause = ""
	CauseSoftware      Cause = "software-key"           // keys are files
	CauseNoCertificate Cause = "ek-certificate-missing" // the TPM has none
	CauseBadCert       Cause = "ek-certificate-refused" // unreadable, for another key, or a CA's
	CauseChainUnknown  Cause = "ek-chain-unknown"       // no configured root vouches for it
	CauseWeakChain     Cause = "ek-chain-weak"          // SHA-1 signatures, which Go does not verify
	CauseWeakKey       Cause = "ek-modulus-weak"        // CVE-2017-15361
	CauseDenied        Cause = "ek-denied"              // the EK, or a CA in its chain, is on the deny list
)

// Candidate is a device that asks to enrol, judged as far as what it showed
// goes; nothing of it is proved yet.
type Candidate struct {
	Kind     attest.Kind
	Platform posture.Platform
	// AK, DK and DKb have exactly their templates. AK and DKb are nil for
	// softkey, DKb also where the TPM cannot make one.
	AK, DK, DKb *attest.Key
	// EKHash is zero for softkey.
	EKHash attest.Digest
	// Level is what the device will have once it proved its keys, and Cause why
	// that is not more.
	Level verify.Level
	Cause Cause
	// Issuer and CertSerial name the EK certificate, if its chain was verified:
	// anyone can write these into a certificate of their own.
	Issuer, CertSerial string

	ek *endorsementKey
}

// Judge reads the first message of an enrolment. Errors are *attest.Error: the
// device showed something that no honest agent shows.
func Judge(begin *attest.EnrolBegin, roots *reference.EKRoots, listed func(c *Candidate) bool) (*Candidate, error) {
	switch begin.Platform {
	case posture.Linux, posture.Windows, posture.Darwin:
	default:
		return nil, refuse(attest.PayloadForm, "platform is %q", begin.Platform)
	}
	for _, text := range []string{begin.Serial, begin.UUID, begin.Name, begin.Token} {
		if len(text) > 256 {
			return nil, refuse(attest.TooLarge, "text of %d bytes", len(text))
		}
	}
	id := &begin.Identity
	switch id.Kind {
	case attest.KindSoft:
		if id.EK != nil || id.AK != nil || id.DKb != nil {
			return nil, refuse(attest.PayloadForm, "a softkey has no EK, AK or DKb")
		}
		dk, err := attest.SoftKey(id.DK)
		if err != nil {
			return nil, err
		}
		return &Candidate{Kind: id.Kind, Platform: begin.Platform, DK: dk, Level: verify.Software, Cause: CauseSoftware}, nil
	case attest.KindTPM:
		return judgeTPM(begin, roots, listed)
	}
	return nil, refuse(attest.PayloadForm, "kind is %q", string(id.Kind))
}

func judgeTPM(begin *attest.EnrolBegin, roots *reference.EKRoots, listed func(c *Candidate) bool) (*Candidate, error) {
	id := &begin.Identity
	if id.EK == nil {
		return nil, refuse(attest.PayloadForm, "no EK")
	}
	if len(id.EK.Chain) > attest.MaxChain {
		return nil, refuse(attest.TooLarge, "chain of %d certificates", len(id.EK.Chain))
	}
	for _, der := range id.EK.Chain {
		if len(der) > attest.MaxCertificate {
			return nil, refuse(attest.TooLarge, "chain certificate of %d bytes", len(der))
		}
	}
	c := &Candidate{Kind: id.Kind, Platform: begin.Platform}
	var err error
	if c.ek, err = parseEK(id.EK.Template, id.EK.Public); err != nil {
		return nil, err
	}
	c.EKHash = c.ek.Hash
	if c.AK, err = attest.ParseKey(attest.AK, id.AK); err != nil {
		return nil, err
	}
	if c.DK, err = attest.ParseKey(attest.DK, id.DK); err != nil {
		return nil, err
	}
	if len(id.DKb) > 0 {
		if c.DKb, err = attest.ParseKey(attest.DKb, id.DKb); err != nil {
			return nil, err
		}
	}
	c.endorse(id.EK, roots)
	if roots.Denied(c.EKHash) {
		c.Level, c.Cause = verify.TPMUnverified, CauseDenied // with any certificate, or none
	}
	if c.Cause == CauseDenied {
		return c, nil // no list admits what was denied
	}
	if weak, ok := c.ek.Public.(*rsa.PublicKey); ok && weakModulus(weak.N) {
		c.Level, c.Cause = verify.TPMUnverified, CauseWeakKey
		return c, nil
	}
	if listed(c) && c.Level < verify.TPMListed {
		c.Level, c.Cause = verify.TPMListed, CauseNone
	}
	return c, nil
}

// endorse sets the level that the EK certificate bears.
func (c *Candidate) endorse(ek *attest.EndorsementKey, roots *reference.EKRoots) {
	c.Level, c.Cause = verify.TPMUnverified, CauseNoCertificate
	if len(ek.Certificate) == 0 {
		return
	}
	cert, err := parseCertificate(ek.Certificate, c.ek)
	if err != nil {
		c.Cause = CauseBadCert
		return
	}
	extra := parseChain(ek.Chain)
	if err = roots.Hardware.Verify(cert.x509, extra); err == nil {
		c.Level, c.Cause = verify.TPMHardware, CauseNone
		c.Issuer, c.CertSerial = cert.Issuer()
		return
	}
	virtual := roots.Virtual.Verify(cert.x509, extra)
	if errors.Is(err, reference.ErrDenied) || errors.Is(virtual, reference.ErrDenied) {
		c.Cause = CauseDenied
		return
	}
	if virtual == nil {
		c.Level, c.Cause = verify.VTPM, CauseNone
		c.Issuer, c.CertSerial = cert.Issuer()
		return
	}
	c.Cause = CauseChainUnknown
	var insecure x509.InsecureAlgorithmError
	if errors.As(err, &insecure) || cert.x509.SignatureAlgorithm == x509.SHA1WithRSA {
		c.Cause = CauseWeakChain
	}
}
