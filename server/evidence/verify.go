package evidence

import (
	"bytes"
	"fmt"
	"time"

	"muster/attest"
	"muster/attest/bootlog"
	"muster/server/decide"
	"muster/server/enroll"
	"muster/server/reference"
	"muster/server/verify"
)

// Verify judges a file of evidence of either form again, offline. hardware and
// virtual are the auditor's own CAs of TPMs as PEM, by file name. An error means
// that the bytes are no evidence, or the roots no roots; whatever else is wrong
// with them is in the Verdict.
//
// Nothing that it calls proved rests on the server, but three things that the file
// cannot show are the server's alone, whatever it says: that a nonce was fresh; that
// a TPM, and not whoever knew the secret, proved the activation, so that the AK is a
// TPM's at all; and what time it was.
func Verify(b []byte, hardware, virtual map[string][]byte) (*Verdict, error) {
	roots, err := rootsOf(hardware, virtual)
	if err != nil {
		return nil, err
	}
	f, err := Decode(b)
	if err == nil {
		return f.verify(roots, len(hardware)+len(virtual) > 0)
	}
	r, other := decodeRedacted(b)
	switch {
	case other == nil:
		return r.verify(), nil
	case bytes.Contains(b, []byte(`"`+formatRedacted+`"`)):
		return nil, other
	}
	return nil, err
}

func rootsOf(hardware, virtual map[string][]byte) (*reference.EKRoots, error) {
	roots := new(reference.EKRoots)
	for _, set := range []struct {
		files map[string][]byte
		into  *reference.Authorities
	}{{hardware, &roots.Hardware}, {virtual, &roots.Virtual}} {
		for name, text := range set.files {
			a, err := reference.ParseAuthorities(name, text)
			if err != nil {
				return nil, fmt.Errorf("reading CAs: %w", err)
			}
			*set.into = set.into.Merge(a)
		}
	}
	return roots, nil
}

// audit is one verification of a whole file under way.
type audit struct {
	*Verdict
	f        *File
	roots    *reference.EKRoots
	rooted   bool // the auditor gave roots
	redacted bool // the file is
	begin    attest.EnrolBegin
	finish   attest.EnrolFinish
	session  enroll.Session
	// transcript is T; zero before the enrolment was read.
	transcript attest.Digest
	ak, dk     *attest.Key
	dkbs       []bootKey
	opened     []opened
	// clock is the TPM's in the last quote that was opened, whose nonce was issued at
	// quotedAt.
	clock    *attest.Clock
	quotedAt time.Time
	record   DecisionRecord
	recorded bool // record was read
	refs     *reference.Boot
	judged   *verify.BootInput // of the last quote with its log; nil without one
	certs    bootlog.Certificates
}

// bootKey is a DKb, and how it is known.
type bootKey struct {
	key     *attest.Key
	counter bool
	// certified: the AK said, for this enrolment or statement, that its TPM holds it.
	certified bool
}

// opened is one statement that was opened.
type opened struct {
	*Statement
	ev     *attest.Evidence
	result *verify.Result // as stored
	by     *bootKey       // that signed it; nil: DK did
}

func (f *File) verify(roots *reference.EKRoots, rooted bool) (*Verdict, error) {
	content, err := f.content()
	if err != nil {
		return nil, err
	}
	a := &audit{f: f, roots: roots, rooted: rooted, Verdict: &Verdict{
		Format: f.Format, Device: f.Device.ID, Decision: f.Decision.Seq, Content: content.String(),
	}}
	a.readEntry()
	a.readHead()
	if a.registration() {
		a.enrolment()
		a.statements()
		a.bootLog()
		a.references()
		a.results()
		a.decision()
	}
	a.wordOnly()
	a.inWords()
	a.Holds = a.Whole()
	return a.Verdict, nil
}

// readEntry checks the entry of the audit log against its own hash.
func (a *audit) readEntry() {
	e := &a.f.Decision
	switch {
	case e.digest() != e.Hash:
		a.say("audit-entry", contradicted, "The entry of the audit log does not have its hash.")
	case !e.At.Equal(e.At.Truncate(time.Millisecond)):
		a.say("audit-entry", contradicted, "The entry's time is finer than the log keeps it.")
	default:
		a.say("audit-entry", proved, "Entry %d of the audit log has its hash; whether it stands in the log, the log's head tells.", e.Seq)
	}
	if e.Action != "decision" || e.Subject != a.f.Device.ID || e.Actor != "device "+a.f.Device.ID {
		a.say("decision-entry", contradicted, "The entry is not a decision about this device.")
		return
	}
	if err := attest.Decode([]byte(e.Detail), &a.record); err != nil {
		a.say("decision-entry", contradicted, "The entry's detail cannot be read: %v.", err)
		return
	}
	if err := new(decide.Outcome).UnmarshalText([]byte(a.record.Outcome)); err != nil {
		a.say("decision-entry", contradicted, "The entry is of no decision: %v.", err)
		return
	}
	a.recorded, a.Outcome = true, a.record.Outcome
}

// readHead compares the entry with the log's head, which a redacted file has not.
func (a *audit) readHead() {
	e, head := &a.f.Decision, &a.f.Exported
	if head.HeadSeq < e.Seq || head.HeadSeq == e.Seq && head.Head != e.Hash {
		a.say("audit-head", contradicted, "The head of the audit log is before the entry, or another at its place.")
		return
	}
	a.say("audit-head", word, "The audit log's head was entry %d with hash %s: compare with a head that was noted elsewhere.", head.HeadSeq, head.Head)
}

// registration reads the registered keys; false: nothing else can be looked at.
func (a *audit) registration() bool {
	d := &a.f.Device
	var err error
	if d.Kind == attest.KindSoft {
		a.dk, err = attest.SoftKey(d.DK)
	} else if a.dk, err = attest.ParseKey(attest.DK, d.DK); err == nil {
		a.ak, err = attest.ParseKey(attest.AK, d.AK)
	}
	if err == nil && len(d.DKb) > 0 {
		var dkb *attest.Key
		if dkb, err = attest.ParseKey(attest.DKb, d.DKb); err == nil {
			a.dkbs = append(a.dkbs, bootKey{key: dkb})
		}
	}
	if err != nil {
		a.say("registered-keys", contradicted, "A registered key is not what its role asks for: %v.", err)
		return false
	}
	return true
}

// enrolment repeats what the server checked when the device enrolled.
func (a *audit) enrolment() {
	if a.f.Enrolment == (enrolment{}) {
		a.lacks("enrolment", "The server no longer has the enrolment: that the keys live in a TPM, and in which, is its word only.")
		return
	}
	if err := a.readEnrolment(); err != nil {
		a.say("enrolment", contradicted, "The enrolment cannot be read: %v.", err)
		return
	}
	candidate, err := enroll.Judge(&a.begin, a.roots, func(*enroll.Candidate) bool { return false })
	if err != nil {
		a.say("key-templates", contradicted, "The keys that enrolled have not the templates of their roles: %v.", err)
		return
	}
	a.sameKeys(candidate)
	a.level(candidate)
	a.transcript = attest.EnrolTranscript([]byte(a.f.Enrolment.Begin), a.finish.Session, a.session.Nonce, a.f.Origin, a.f.Tenant)
	if candidate.Kind == attest.KindTPM {
		a.residence(candidate)
	}
	a.enrolStatement(candidate)
}

func (a *audit) readEnrolment() error {
	e := &a.f.Enrolment
	if err := attest.Decode([]byte(e.Begin), &a.begin); err != nil {
		return fmt.Errorf("first message: %w", err)
	}
	if err := attest.Decode([]byte(e.Finish), &a.finish); err != nil {
		return fmt.Errorf("second message: %w", err)
	}
	if err := attest.Decode([]byte(e.Session), &a.session); err != nil {
		return fmt.Errorf("session: %w", err)
	}
	if string(a.session.Begin) != e.Begin {
		return fmt.Errorf("session: it is of another first message")
	}
	return nil
}

// sameKeys compares what enrolled with what is registered.
func (a *audit) sameKeys(c *enroll.Candidate) {
	d, id := &a.f.Device, &a.begin.Identity
	switch {
	case c.Kind != d.Kind || !bytes.Equal(id.DK, d.DK) || !bytes.Equal(id.AK, d.AK) || c.EKHash != d.EKSHA256:
		a.say("registered-keys", contradicted, "The registered keys are not those that enrolled.")
	case a.begin.Platform != d.Platform || a.begin.Name != d.Name || a.begin.Serial != d.Serial || a.begin.UUID != d.UUID || id.TPM != d.TPM:
		a.say("registered-keys", contradicted, "The registration is not what the device said when it enrolled.")
	case c.Kind == attest.KindSoft:
		a.say("registered-keys", proved, "The registered key is the one that enrolled.")
	default:
		a.say("registered-keys", proved, "The registered keys are those that enrolled.")
		a.say("key-templates", proved, "EK, AK and DK have exactly the templates of their roles: the AK signs nothing but what a TPM states.")
	}
}

// level compares what the auditor's roots say of the EK with the level that the
// server gave.
func (a *audit) level(c *enroll.Candidate) {
	gave := a.f.Device.Level
	if a.session.Level != gave {
		a.say("level", contradicted, "The device is registered as %v, and enrolled as %v.", gave, a.session.Level)
		return
	}
	switch {
	case c.Kind == attest.KindSoft && gave != verify.Software:
		a.say("level", contradicted, "The key is a file, and the server says %v.", gave)
	case c.Kind == attest.KindSoft:
		a.say("level", unproved, "The key is a file: nothing shows on which machine it is.")
	case c.Cause == enroll.CauseDenied && gave == verify.TPMUnverified:
		a.say("level", unproved, "The EK, or a CA in its chain, is on the deny list: whatever its certificate says does not count.")
	case c.Cause == enroll.CauseDenied:
		a.lacks("level", "The EK, or a CA in its chain, is on your deny list (%s); the server says %v.", c.Cause, gave)
	case c.Level == gave && gave > verify.TPMUnverified:
		a.say("level", proved, "By your roots the EK certificate is of a TPM at %v, as the server says.", gave)
	case a.session.Cause == enroll.CauseDenied && c.Level > gave:
		a.say("level", unproved, "By your roots the EK certificate is of a TPM at %v; the server had the EK, or a CA in its chain, on its deny list.", c.Level)
	case c.Level == verify.TPMHardware || c.Level == verify.VTPM && gave < verify.VTPM:
		a.say("level", proved, "By your roots the EK certificate is of a TPM at %v; the server says only %v.", c.Level, gave)
	case c.Level == gave && c.Cause == enroll.CauseWeakKey:
		a.say("level", unproved, "The EK can be factored (CVE-2017-15361): nothing shows that it is in a TPM.")
	case c.Level == gave:
		a.say("level", unproved, "Nobody vouches for the EK (%s): it may be of a software TPM. The server says no more than that.", c.Cause)
	case gave == verify.TPMListed:
		a.say("level", word, "The EK was on a list that the server got elsewhere.")
	case c.Level == verify.VTPM && gave == verify.TPMHardware:
		a.say("level", contradicted, "By your roots the EK certificate is of a virtual TPM, and the server says %v.", gave)
	case c.Cause == enroll.CauseBadCert || c.Cause == enroll.CauseWeakKey || c.Cause == enroll.CauseNoCertificate:
		a.say("level", contradicted, "The server says %v, which its EK certificate cannot bear: %s.", gave, c.Cause)
	case !a.rooted:
		a.lacks("level", "You gave no roots, so that nothing shows that the EK is of a TPM at %v.", gave)
	default:
		a.lacks("level", "None of your roots vouches for the EK certificate (%s); the server says %v.", c.Cause, gave)
	}
}

// residence repeats the proof that the keys live in the TPM with the EK.
func (a *audit) residence(c *enroll.Candidate) {
	proof := attest.EnrolProof(a.session.Secret, a.transcript)
	if len(a.session.Secret) == 0 || proof != a.finish.Proof {
		a.say("activation", contradicted, "The proof of activation is not of the secret and the messages of this enrolment.")
	} else {
		a.say("activation", word, "The proof has the secret; that only the TPM with the EK could release it, is the server's word, which made it and knew it.")
	}
	if a.finish.CertifyDK == nil {
		a.say("certified-dk", contradicted, "The AK did not certify the DK.")
	} else if _, err := attest.CheckCertify(*a.finish.CertifyDK, a.ak, a.transcript, c.DK.Name); err != nil {
		a.say("certified-dk", contradicted, "The AK did not certify the DK for this enrolment: %v.", err)
	} else {
		a.say("certified-dk", proved, "The AK stated, for this enrolment, that its TPM holds the DK.")
	}
	if c.DKb == nil {
		return
	}
	if a.finish.CertifyDKb == nil {
		a.say("certified-dkb", contradicted, "The AK did not certify the boot key.")
	} else if _, err := attest.CheckCertify(*a.finish.CertifyDKb, a.ak, a.transcript, c.DKb.Name); err != nil {
		a.say("certified-dkb", contradicted, "The AK did not certify the boot key for this enrolment: %v.", err)
	} else {
		a.say("certified-dkb", proved, "The AK stated, for this enrolment, that its TPM holds the boot key.")
	}
}

// enrolStatement opens the first report, as enroll.Finish does.
func (a *audit) enrolStatement(c *enroll.Candidate) {
	keys := []*attest.Key{c.DK}
	for _, key := range []*attest.Key{c.AK, c.DKb} {
		if key != nil {
			keys = append(keys, key)
		}
	}
	ev, err := attest.Open([]byte(a.finish.JWS), a.finish.Quote, &attest.Known{
		Typs: []attest.Typ{attest.TypEnrol}, Keys: keys, Now: a.f.Enrolment.At, Transcript: a.transcript,
		NonceIssued: func(n attest.Digest) (issued, expires time.Time, ok bool) {
			return a.session.Issued, a.session.Issued.Add(attest.EnrolWindow), n == a.session.Nonce
		},
	})
	switch {
	case err != nil:
		a.say("enrolment-statement", contradicted, "The first report is not the device's for this enrolment: %v.", err)
		return
	case c.Kind == attest.KindSoft:
		a.say("enrolment-statement", proved, "The device key signed its first report for this enrolment, server and tenant.")
		return
	case ev.Measured == nil:
		a.say("enrolment-statement", contradicted, "The first report has no quote.")
		return
	}
	if c.DKb != nil {
		counter, err := attest.CheckBootPolicy(c.DKb, ev.Measured)
		if err != nil {
			a.say("enrolment-statement", contradicted, "The boot key is not bound to the start that was quoted: %v.", err)
			return
		}
		a.dkbs = append(a.dkbs, bootKey{key: c.DKb, counter: counter, certified: a.is("certified-dkb") == proved})
	}
	a.clock, a.quotedAt = &ev.Measured.Clock, a.session.Issued
	a.say("enrolment-statement", proved, "DK signed the first report for this enrolment, server and tenant, and the AK quoted beside it.")
}
