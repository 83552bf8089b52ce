package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"muster/attest"
)

// A TPM counts as gone, with the setting tpm: auto, when it was missed so often and
// for so long: drivers load late, and an agent starts with its machine. It is
// looked for again at each start and so often.
const (
	goneTries   = 3
	goneFor     = 5 * time.Minute
	resumeEvery = time.Hour
)

// absence counts how often in a row the TPM was missed. The zero value: it was not.
type absence struct {
	tries int
	since time.Duration // by Up
}

// isGone tells errors of a TPM that is not there, or that no program reaches
// before its firmware switches it on. A missing permission is for an administrator.
func isGone(err error) bool {
	return errors.Is(err, attest.ErrAbsent) || errors.Is(err, attest.ErrDisabled)
}

// withTPM returns the enrolment whose keys are in the TPM; nil: there is none.
func (s *state) withTPM() *enrolled {
	if s.Parked != nil {
		return s.Parked.Enrolled
	}
	if s.Enrolled != nil && s.Enrolled.Keys.Kind == attest.KindTPM {
		return s.Enrolled
	}
	return nil
}

// former returns what this system was to its server so far; nil: nothing.
func (s *state) former() *enrolled {
	if s.Parked != nil && s.Parked.Ended == "" {
		return s.Parked.Enrolled
	}
	return s.Enrolled
}

// standsIn reports whether Enrolled is in place of one whose TPM is gone.
func (s *state) standsIn() bool {
	return s.Parked != nil && s.Enrolled != nil && s.Enrolled.Keys.Kind == attest.KindSoft
}

// enrolledAs takes a complete enrolment. One that stands in for another parks that
// whole, with the statement that may have been sent; any other ends what is parked.
func (s *state) enrolledAs(e *enrolled, standIn bool) {
	switch {
	case !standIn:
		s.Parked, s.StandIn = nil, false
	case s.Parked == nil && s.Enrolled != nil:
		s.Parked = &parked{Enrolled: s.Enrolled, Pending: s.Pending}
	}
	s.Enrolled, s.Enrolling, s.Again, s.Pending, s.Trouble = e, nil, false, nil, nil
	if e.Answer.State == attest.Active && !s.StandIn {
		s.Changed = nil
	}
}

// staysGone counts a missed TPM and reports whether it is time to go on without.
func (a *Agent) staysGone(err error) bool {
	for _, other := range []error{attest.ErrTransient, attest.ErrPermission, attest.ErrKeyLost} {
		if errors.Is(err, other) {
			a.absence = absence{}
		}
	}
	s := a.state
	if !isGone(err) || a.Settings.TPM != tpmAuto || s.StandIn || s.Enrolling != nil || s.withTPM() == nil ||
		s.Enrolled.Revoked || s.Enrolled.Server != a.Settings.Server {
		return false
	}
	if a.absence.tries++; a.absence.tries == 1 {
		a.absence.since = a.Up()
	}
	return a.absence.tries >= goneTries && a.Up()-a.absence.since >= goneFor
}

// park has the agent enrol with a software key in place of the TPM's: what is true
// of the laptop is reported on, at a lower level, once somebody approves. The
// enrolment with the TPM stays whole and is taken up again when that is back.
func (a *Agent) park(err error) error {
	e := a.state.withTPM()
	a.Log.Warn("the TPM is gone, going on with a software key", "device", e.Device, "error", err)
	code, fix := troubleGone, "Turn the TPM on in the firmware's settings and start this machine again"
	if errors.Is(err, attest.ErrDisabled) {
		code, fix = troubleHierarchy, "Switch the TPM's endorsement hierarchy on in the firmware's settings and start this machine again"
	}
	a.changed(code, "This laptop's TPM cannot be used, so it reports with a software key, which proves nothing about the hardware: "+err.Error()+".",
		fix+": device "+e.Device+" is then taken up again by itself. If it is gone for good, have the enrolment with the software key approved.")
	a.state.StandIn, a.state.Again = true, !a.state.standsIn()
	a.state.Reanchored = false // what was begun with the TPM did not end
	a.absence, a.resumeAt = absence{}, a.Up()+resumeEvery
	a.closeKeys()
	if a.state.Again {
		if err := a.standInBlobs().remove(); err != nil { // of an earlier time: another device by now
			return fmt.Errorf("forgetting old keys: %w", err)
		}
	}
	return errors.Join(errGoOn, a.save())
}

func (a *Agent) standInBlobs() Blobs { return Blobs{a.folder, standInPrefix} }

// lookForTPM takes the enrolment with the TPM up again when that is back. Where it
// is not, the software key goes on: with the setting tpm: auto alone.
func (a *Agent) lookForTPM(ctx context.Context) error {
	auto := a.Settings.TPM == tpmAuto
	if a.Settings.TPM == tpmNone || auto && a.Up() < a.resumeAt {
		return nil
	}
	a.resumeAt = a.Up() + resumeEvery
	err := a.resume(ctx)
	if err == nil || errors.Is(err, errUnwritable) || ctx.Err() != nil {
		return err
	}
	if !auto {
		return err
	}
	a.Log.Info("the TPM is not back", "error", err)
	return nil
}

// resume opens the keys of the parked enrolment, has the TPM quote, asks the server
// whether it knows that device still, and only then gives the software key up.
func (a *Agent) resume(ctx context.Context) error {
	e, p := a.state.withTPM(), a.state.Parked
	switch {
	case e == nil || e.Tenant != a.state.Enrolled.Tenant: // another server meanwhile
		return nil
	case p != nil && p.Ended != "":
		return Hint(errEnded, `run "muster-agent enroll --again" for an enrolment with the TPM`)
	}
	k, err := a.openKnown(ctx, a.place(false, e.Tenant, e.Keys))
	if err == nil {
		if err = k.answers(ctx); err != nil {
			closeAttester(k.attester) // nothing of it is used
		}
	}
	switch {
	case errors.Is(err, attest.ErrKeyLost):
		return a.returnedOther(err)
	case err != nil:
		return err
	}
	if p != nil { // else it was never given up
		if err := a.welcome(ctx, e); err != nil {
			closeAttester(k.attester) // nothing of it is used
			return a.notResumed(err)
		}
	}
	a.Log.Info("the TPM is back, going on with it", "device", e.Device)
	a.closeKeys()
	a.keys = k
	a.state.resumed(a.Now())
	if err := a.save(); err != nil {
		return err
	}
	return a.standInBlobs().remove()
}

// resumed takes what was parked up again: what the server holds of it is old.
func (s *state) resumed(now time.Time) {
	if s.Parked != nil {
		s.Enrolled, s.Pending = s.Parked.Enrolled, s.Parked.Pending
	}
	s.Parked, s.Enrolling, s.Changed, s.Trouble = nil, nil, nil, nil
	s.StandIn, s.Again = false, false
	e := s.Enrolled
	e.OweReport, e.OweQuote, e.Nonce, e.NextAt = true, true, nonce{}, now
}

var (
	errEnded    = errors.New("the server ended the enrolment with this laptop's TPM")
	errReplaced = errors.New("the software key was admitted in the TPM's place")
)

// welcome asks whether the server takes the parked device back. Where it admitted
// the stand-in instead, the person keeps what that is admitted to.
func (a *Agent) welcome(ctx context.Context, e *enrolled) error {
	var s attest.Status
	if err := a.client.post(ctx, attest.PathStatus, &identity{e.Device, e.Secret}, []byte("{}"), &s); err != nil {
		return err
	}
	if s.State == attest.Revoked {
		return &refusal{Problem: attest.Problem{Status: http.StatusForbidden, Code: attest.CodeRevoked, Title: "this device is revoked"}}
	}
	if s.State != attest.Active && a.state.Enrolled.Answer.State == attest.Active {
		return errReplaced
	}
	return nil
}

// notResumed decides on a server that does not take the parked device back: the
// stand-in stays, and status tells how to change that.
func (a *Agent) notResumed(err error) error {
	p := a.state.Parked
	text := "This laptop's TPM is back, but the server does not take device " + p.Enrolled.Device + " any more, so it reports with a software key: " + err.Error() + "."
	switch c := code(err); {
	case errors.Is(err, errReplaced):
		a.changed(troubleReplaced, text, "Have device "+p.Enrolled.Device+" approved again: this laptop then goes on with it by itself.")
	case c == attest.CodeDeviceUnknown, c == attest.CodeRevoked:
		p.Ended = c
		a.changed(troubleReplaced, text, `Run "muster-agent enroll --again" for an enrolment with the TPM, which needs an approval.`)
	default:
		a.resumeAt = a.Up() + goneFor
		return err
	}
	return errors.Join(err, a.save())
}

// returnedOther follows a TPM that is back with other keys: the agent enrols with
// those, once.
func (a *Agent) returnedOther(err error) error {
	if a.state.Reanchored {
		return err
	}
	a.state.StandIn, a.state.Enrolling = false, nil
	if err := a.lost(a.state.withTPM(), err); !errors.Is(err, errGoOn) || errors.Is(err, errUnwritable) {
		return err
	}
	return nil // and the enrolment is due
}

// answers makes sure that a TPM does what reports need of it.
func (k *keyring) answers(ctx context.Context) error {
	if k.anchor == nil {
		return fmt.Errorf("keys of kind %q: %w", k.identity.Kind, attest.ErrAbsent)
	}
	var any attest.Digest
	rand.Read(any[:]) // never returns an error (crypto/rand)
	if _, err := k.anchor.Quote(ctx, any); err != nil {
		return fmt.Errorf("quoting: %w", err)
	}
	return nil
}
