package agent

import (
	"context"
	"errors"
	"time"

	"muster/attest"
	"muster/attest/posture"
)

// Standing is where this device stands, for a person and for scripts.
type Standing struct {
	Server  string             `json:"server"`
	Device  string             `json:"device,omitempty"` // empty: not enrolled
	Level   string             `json:"level,omitempty"`
	State   attest.DeviceState `json:"state,omitempty"`
	Kind    attest.Kind        `json:"kind,omitempty"`
	Profile posture.Profile    `json:"profile"`
	// Code is what the approver compares, while the device is pending.
	Code string `json:"code,omitempty"`
	// Decision is the server's, At when it was told.
	Decision attest.Decision `json:"decision,omitzero"`
	At       time.Time       `json:"at,omitzero"`
	// Asked tells that the server was asked just now; else the rest is memory.
	Asked bool `json:"asked"`
	// Changed is what became of the keys that this device had, until it is over.
	Changed *Trouble `json:"changed,omitempty"`
	Trouble *Trouble `json:"trouble,omitempty"`
	// Fit is yes only for an active device that the server allows, by an answer
	// that is not older than it may be.
	Fit bool `json:"fit"`
}

// Status tells where this device stands. It takes no lock and writes nothing, so
// that it answers while the agent runs. With ask, the server is asked; what it
// then refuses is a trouble, not an error. Errors: the state cannot be read.
func (a *Agent) Status(ctx context.Context, ask bool) (*Standing, error) {
	if err := a.Settings.NeedServer(); err != nil {
		return nil, err
	}
	var err error
	if a.state, err = (&folder{dir: a.Settings.StateDir}).load(); err != nil {
		return nil, err
	}
	return a.stands(ctx, ask), nil
}

// stands is what the state says and, with ask, the server.
func (a *Agent) stands(ctx context.Context, ask bool) *Standing {
	s := a.standing()
	if !ask || s.Device == "" {
		return s
	}
	answer, err := a.ask(ctx)
	switch {
	case code(err) == attest.CodeRevoked:
		s.State, s.Asked = attest.Revoked, true
	case err != nil:
		t := troubleOf(err)
		t.Since = a.Now()
		s.Trouble = &t
	default:
		s.State, s.Level, s.Decision = answer.State, answer.Level, answer.Decision
		s.Asked, s.At = true, a.Now()
	}
	a.judge(s)
	return s
}

// standing is what the state says.
func (a *Agent) standing() *Standing {
	s := &Standing{Server: a.Settings.Server, Profile: a.Settings.Profile, Changed: a.state.Changed, Trouble: a.state.Trouble}
	if e := a.state.Enrolled; e != nil {
		s.Server, s.Device, s.Level, s.Kind = e.Server, e.Device, e.Level, e.Keys.Kind
		s.State, s.Decision, s.At = e.Answer.State, e.Answer.Decision, e.Answer.At
	}
	a.judge(s)
	return s
}

// judge sets what follows from the rest.
func (a *Agent) judge(s *Standing) {
	s.Code, s.Fit = "", false
	e := a.state.Enrolled
	if e == nil {
		return
	}
	if s.State == attest.Pending {
		s.Code = attest.CompareCode(e.Device, e.Keys.DK)
	}
	current := s.Asked || s.Trouble == nil && a.Now().Before(e.NextAt.Add(attest.NonceSlack))
	s.Fit = current && s.State == attest.Active && s.Decision.Outcome == "allow"
}

// enrolPatience bounds how long `enroll` tries again.
const enrolPatience = 90 * time.Second

// Enrol enrols this device once and tells where it stands. One that is enrolled
// already stays so unless again is set.
func (a *Agent) Enrol(ctx context.Context, again bool) (*Standing, error) {
	release, err := a.open()
	if err != nil {
		return nil, err
	}
	defer release()
	if a.state.Enrolled != nil && a.state.Enrolling == nil && !a.state.Again && !again {
		if a.state.Enrolled.Server != a.Settings.Server {
			return nil, Hint(errors.New("this device is enrolled with "+a.state.Enrolled.Server),
				"to give that up for "+a.Settings.Server+`, run "muster-agent enroll --again"`)
		}
		return a.standing(), nil
	}
	before := *a.state
	if again {
		a.state.StandIn = false // what is wished for is what the settings say
		if e := a.state.Enrolling; e != nil && e.StandIn {
			a.state.Enrolling = nil
		}
	}
	if a.state.Enrolled != nil && a.state.Enrolling == nil {
		a.state.Again = true
	}
	merge(&a.claims, a.Look(ctx, false))
	merge(&a.claims, a.Look(ctx, true))
	if err := a.enrolPatiently(ctx); err != nil {
		if a.state.Again && a.state.Enrolling == nil {
			// The enrolment that is there stays.
			a.state.Again, a.state.StandIn = before.Again, before.StandIn
			err = errors.Join(err, a.save())
		}
		return nil, explained(err)
	}
	return a.standing(), nil
}

// enrolPatiently tries again what may pass by itself.
func (a *Agent) enrolPatiently(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, enrolPatience)
	defer cancel()
	for {
		err := a.enrol(ctx)
		if err == nil || !passing(err) {
			return err
		}
		wait := a.backoff.next(err)
		a.Log.Info("not enrolled, trying again", "error", err, "wait", wait.Round(time.Millisecond))
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// passing reports whether an error may pass by itself within a minute.
func passing(err error) bool {
	r := (*refusal)(nil)
	if errors.As(err, &r) {
		return r.Status >= 500 && !r.Foreign || r.Code == attest.CodeRateLimited || errors.Is(err, errGoOn)
	}
	return troubleOf(err).Code == troubleUnreachable || errors.Is(err, attest.ErrTransient)
}

// explained adds what to do to an error that has no hint of its own.
func explained(err error) error {
	if len(Hints(err)) > 0 {
		return err
	}
	if fix := troubleOf(err).Fix; fix != "" {
		return Hint(err, fix)
	}
	return err
}
