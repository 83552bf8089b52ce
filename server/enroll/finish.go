package enroll

import (
	"crypto/hmac"
	"time"

	"muster/attest"
)

// Enrolled is a device that proved its keys.
type Enrolled struct {
	Session   *Session
	Candidate *Candidate
	// Evidence is its first report, with what the quote proves (nil for softkey).
	Evidence *attest.Evidence
	// CounterBound tells that DKb ends with this boot, not only with PCR 7.
	CounterBound bool
}

// Place is where an enrolment happens: the server's own origin and tenant.
type Place struct{ Origin, Tenant string }

// Finish checks the second message, cheap things first: the released secret, the
// AK's certificates for DK and DKb, DKb's policy against the quoted values, the
// report and its quote. Errors are *attest.Error, or [ErrSession].
func Finish(finish *attest.EnrolFinish, sealer *Sealer, place Place, now time.Time) (*Enrolled, error) {
	session, err := sealer.Open(finish.Session, now)
	if err != nil {
		return nil, err
	}
	begin := new(attest.EnrolBegin)
	if err := attest.Decode(session.Begin, begin); err != nil {
		return nil, ErrSession
	}
	c, err := keysOf(&begin.Identity)
	if err != nil {
		return nil, err
	}
	c.Platform, c.Level, c.Cause = begin.Platform, session.Level, session.Cause
	c.Issuer, c.CertSerial = session.Issuer, session.CertSerial
	transcript := attest.EnrolTranscript(session.Begin, finish.Session, session.Nonce, place.Origin, place.Tenant)
	if c.Kind == attest.KindTPM {
		if err := residence(c, session, finish, transcript); err != nil {
			return nil, err
		}
	}
	known := &attest.Known{
		Typs: []attest.Typ{attest.TypEnrol}, Keys: c.keys(), Now: now, Transcript: transcript,
		NonceIssued: func(n attest.Digest) (issued, expires time.Time, ok bool) {
			return session.Issued, session.Issued.Add(attest.EnrolWindow), n == session.Nonce
		},
	}
	e := &Enrolled{Session: session, Candidate: c}
	if e.Evidence, err = attest.Open([]byte(finish.JWS), finish.Quote, known); err != nil {
		return nil, err
	}
	if e.Evidence.Signer != attest.DK {
		return nil, refuse(attest.KeyRole, "an enrolment is signed by DK")
	}
	if c.Kind == attest.KindSoft {
		return e, nil
	}
	if e.Evidence.Measured == nil {
		return nil, refuse(attest.QuoteNeeded, "an enrolment needs a quote")
	}
	if c.DKb != nil {
		e.CounterBound, err = attest.CheckBootPolicy(c.DKb, e.Evidence.Measured)
	}
	return e, err
}

// keysOf reads the keys again; they were judged when the session was sealed.
func keysOf(id *attest.Identity) (*Candidate, error) {
	c := &Candidate{Kind: id.Kind}
	var err error
	if id.Kind == attest.KindSoft {
		c.DK, err = attest.SoftKey(id.DK)
		return c, err
	}
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
		c.DKb, err = attest.ParseKey(attest.DKb, id.DKb)
	}
	return c, err
}

func (c *Candidate) keys() []*attest.Key {
	keys := []*attest.Key{c.DK}
	if c.AK != nil {
		keys = append(keys, c.AK)
	}
	if c.DKb != nil {
		keys = append(keys, c.DKb)
	}
	return keys
}

// residence establishes that the keys live in the TPM with the EK: the secret
// was released to the AK, and the AK certifies the others.
func residence(c *Candidate, session *Session, finish *attest.EnrolFinish, transcript attest.Digest) error {
	proof := attest.EnrolProof(session.Secret, transcript)
	if len(session.Secret) == 0 || !hmac.Equal(proof[:], finish.Proof[:]) {
		return refuse(attest.TranscriptWrong, "the TPM did not release the secret for this enrolment")
	}
	if finish.CertifyDK == nil {
		return refuse(attest.CertifyName, "DK is not certified")
	}
	if _, err := attest.CheckCertify(*finish.CertifyDK, c.AK, transcript, c.DK.Name); err != nil {
		return err
	}
	if c.DKb == nil {
		return nil
	}
	if finish.CertifyDKb == nil {
		return refuse(attest.CertifyName, "DKb is not certified")
	}
	_, err := attest.CheckCertify(*finish.CertifyDKb, c.AK, transcript, c.DKb.Name)
	return err
}
