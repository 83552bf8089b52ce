package passkey

import (
	"bytes"
	"crypto/x509"
	"slices"
	"time"

	"muster/server/reference"
)

// Codes of Judgement.Why.
const (
	whyNoAttestation  = "no-attestation"
	whySelf           = "self-attestation"
	whyNoMetadata     = "no-metadata"
	whyExpired        = "metadata-expired"
	whyNotInMetadata  = "not-in-metadata"
	whyChainUntrusted = "chain-untrusted"
	whyTypeUnlisted   = "attestation-type-unlisted"
	whyWrong          = "attestation-wrong"
)

// judge reads a registration anew, verifies its statement, and then asks the
// metadata about its model. The library's metadata validation is not used: it
// lets a statement "none" pass although entries are required, and a zero AAGUID
// past a list of models.
func (p *Party) judge(c *Credential) (j Judgement) {
	j = Judgement{Evidence: None, Why: whyWrong, Model: reference.ModelName(c.AAGUID)}
	defer func() {
		if recover() != nil { // a panic proves nothing, and its model may still be bad
			j.Evidence, j.Why, j.Certification, j.Level, j.TPM = None, whyWrong, "", 0, tpmName{}
		}
	}()
	now := p.config.Now()
	pack := p.config.Metadata()
	var entry *reference.MDSEntry
	if pack != nil {
		j.Pack = pack.Number
		if c.AAGUID != (reference.AAGUID{}) {
			entry = pack.Entry(c.AAGUID)
		}
	}
	if entry != nil {
		j.Statuses = entry.Statuses
		j.Bad = bad(entry.Statuses, nil, now) // before anything can go wrong
	}
	r, err := readRegistration(c.Attestation, c.ClientData)
	if err != nil || r.model != c.AAGUID || !bytes.Equal(r.auth.AttData.CredentialID, c.ID) ||
		!bytes.Equal(r.auth.AttData.CredentialPublicKey, c.PublicKey) {
		return j
	}
	j.Format = r.format
	proved, err := r.verify()
	if err != nil {
		return j
	}
	j.Weak = proved.weak
	if entry != nil {
		j.Bad = bad(entry.Statuses, proved.chain, now)
	}
	switch {
	case proved.self:
		j.Evidence, j.Why = Self, whySelf
	case len(proved.chain) == 0:
		j.Why = whyNoAttestation
	case pack == nil:
		j.Why = whyNoMetadata
	case pack.Freshness(now) != reference.Fresh && pack.Freshness(now) != reference.Late:
		j.Why = whyExpired
	case entry == nil:
		j.Why = whyNotInMetadata
	default:
		p.judgeChain(&j, c, entry, proved, now)
	}
	return j
}

// judgeChain decides between attested and not, by the entry of the very model.
func (p *Party) judgeChain(j *Judgement, c *Credential, entry *reference.MDSEntry, proved *proof, now time.Time) {
	at := c.RegisteredAt
	if at.IsZero() {
		at = now
	}
	if entry.AAGUID != c.AAGUID {
		j.Why = whyNotInMetadata
		return
	}
	chains := verifyChain(proved.chain, entry.Roots, at)
	if len(chains) == 0 {
		j.Why = whyChainUntrusted
		return
	}
	if !slices.ContainsFunc(proved.types, func(t string) bool { return slices.Contains(entry.Attestations, t) }) {
		j.Why = whyTypeUnlisted
		return
	}
	// A status about one batch may name a certificate of the path that the statement
	// left out, the root above all.
	path := slices.Concat(append(chains, proved.chain)...)
	j.Evidence, j.Why, j.Model, j.TPM = Attested, "", entry.Description, proved.tpm
	j.Bad = bad(entry.Statuses, path, now)
	j.Certification, j.Level = certification(entry.Statuses, path, now)
}

// verifyChain builds the paths from a statement's certificates to the roots of a
// metadata entry, valid at a time. A root may be the attestation certificate
// itself (FIDO Metadata Statement §4, attestationRootCertificates). It fetches
// nothing: certificates that are not in hand are missing.
func verifyChain(x5c []*x509.Certificate, roots [][]byte, at time.Time) [][]*x509.Certificate {
	anchors, between := x509.NewCertPool(), x509.NewCertPool()
	for _, der := range roots {
		root, err := x509.ParseCertificate(der)
		if err != nil {
			continue // it vouches for nothing
		}
		if bytes.Equal(der, x5c[0].Raw) && !at.Before(root.NotBefore) && !at.After(root.NotAfter) {
			return [][]*x509.Certificate{{x5c[0]}}
		}
		anchors.AddCert(root)
	}
	for _, cert := range x5c[1:] {
		between.AddCert(cert)
	}
	leaf := *x5c[0]
	// The alternative name of a TPM's attestation key is critical and read by
	// checkAIK; crypto/x509 knows no directory names.
	leaf.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(leaf.UnhandledCriticalExtensions), oidAltName().Equal)
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: anchors, Intermediates: between, CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return nil
	}
	return chains
}
