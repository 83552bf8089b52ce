package agent

import (
	"context"
	"errors"
	"fmt"

	"muster/attest"
)

// patience is how often the server must say that it does not know this device
// before a token at hand is used to enrol anew: one wrong answer of one replica
// must not send a fleet into its approval queue.
const patience = 3

// errOtherServer says that the server is not the one of the enrolment.
var errOtherServer = errors.New("this is not the server that the device enrolled with")

// unknown decides what a device does that its server does not know.
//
//   - Another tenant: it is another server. Nothing is given up for it; only a
//     person enrols there.
//   - The same tenant in a later epoch: a backup from before this enrolment was
//     restored. The agent enrols anew, once; the server decides whether that
//     needs an approval.
//   - The same epoch: the device was deleted, or the server errs. With a token
//     at hand, which says that an administrator wants devices to enrol, the
//     agent enrols anew, once, when it was told so [patience] times. Without one
//     a person must.
func (a *Agent) unknown(ctx context.Context, err error) error {
	e := a.state.Enrolled
	a.unknowns++
	tenant, tenantErr := a.tenant(ctx)
	if tenantErr != nil {
		return errors.Join(err, tenantErr)
	}
	if tenant.Tenant != e.Tenant {
		return Hint(fmt.Errorf("%w: its tenant is %s, not %s", errOtherServer, tenant.Tenant, e.Tenant),
			`if the server was set up anew, run "muster-agent enroll --again"; else put the setting server right`)
	}
	token, tokenErr := a.Settings.Token()
	restored := tenant.Epoch > e.Epoch
	invited := tokenErr == nil && token != "" && a.unknowns >= patience
	if a.state.Reanchored || !restored && !invited {
		return Hint(err, `if the device was deleted on purpose, do nothing; else run "muster-agent enroll --again"`)
	}
	a.Log.Warn("the server does not know this device, enrolling anew", "device", e.Device, "restored", restored)
	return a.anew()
}

// moved decides what a device does whose setting names another server than its
// enrolment. The same tenant is the same server under another name. A new tenant
// gets an enrolment when a token is at hand: whoever set the address also gave
// the means. Else a person must wish it.
func (a *Agent) moved(ctx context.Context) error {
	e := a.state.Enrolled
	tenant, err := a.tenant(ctx)
	if err != nil {
		return err
	}
	if tenant.Tenant == e.Tenant {
		a.Log.Info("the server goes by another name", "device", e.Device, "server", a.Settings.Server)
		e.Server = a.Settings.Server
		return a.save()
	}
	if token, err := a.Settings.Token(); err != nil || token == "" {
		return Hint(fmt.Errorf("%w: that was %s", errOtherServer, e.Server),
			`put the setting server back, or run "muster-agent enroll --again" to enrol with `+a.Settings.Server)
	}
	a.Log.Warn("the settings name another server, enrolling there", "device", e.Device, "server", a.Settings.Server)
	a.state.Again = true
	return a.save()
}

// rolledBack is the refusal of a TPM whose clock ran backwards: its keys are there,
// and worth as much as lost ones.
type rolledBack struct{ error }

// Unwrap returns the refusal.
func (r *rolledBack) Unwrap() error { return r.error }

// Is implements the interface of errors.Is.
func (r *rolledBack) Is(target error) bool { return target == attest.ErrKeyLost }

// lost decides what a device does whose keys are gone: it enrols anew by itself,
// once, and the server holds it pending until somebody approves the new anchor.
// S is kept if it is there: it was not what was lost, and should the old TPM
// come back, so do the old keys. Status tells what happened until then.
func (a *Agent) lost(e *enrolled, err error) error {
	a.closeKeys()
	if a.state.Reanchored {
		return Hint(err, `the keys were lost again before the server approved the new ones: look at the TPM, then run "muster-agent enroll --again"`)
	}
	a.Log.Warn("keys are lost, enrolling anew", "device", e.Device, "error", err)
	a.changed(troubleLost, "This laptop can no longer report as device "+e.Device+", so it enrols anew: "+err.Error()+".",
		"Have the new enrolment approved: whoever does compares the code.")
	return a.anew()
}

// changed keeps what became of the keys where status finds it.
func (a *Agent) changed(code, text, fix string) {
	a.state.Changed = &Trouble{Code: code, Text: text, Fix: fix, Since: a.Now()}
}

// anew gives up the enrolment for another one. What is known of the old one
// stays until the new one is complete.
func (a *Agent) anew() error {
	a.state.Reanchored, a.state.Again = true, true
	a.closeKeys()
	return errors.Join(errGoOn, a.save())
}

// revoked stops reporting.
func (a *Agent) revoked(err error) error {
	e := a.state.Enrolled
	e.Revoked, e.Answer.State, e.Answer.At = true, attest.Revoked, a.Now()
	a.state.Pending = nil
	a.Log.Warn("this device is revoked", "device", e.Device)
	return errors.Join(err, a.save())
}

// recall asks whether the server still means that this device is revoked.
func (a *Agent) recall(ctx context.Context) error {
	s, err := a.ask(ctx)
	if err != nil || s.State == attest.Revoked {
		return err
	}
	e := a.state.Enrolled
	e.Revoked, e.OweReport, e.OweQuote, e.NextAt = false, true, true, a.Now()
	return a.save()
}

// ask asks the server where this device stands.
func (a *Agent) ask(ctx context.Context) (*attest.Status, error) {
	var s attest.Status
	if err := a.client.post(ctx, attest.PathStatus, a.identity(), []byte("{}"), &s); err != nil {
		return nil, err
	}
	return &s, nil
}
