package server

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"muster/attest"
	"muster/server/decide"
	"muster/server/gateway"
	"muster/server/passkey"
	"muster/server/store"
	"muster/server/verify"
)

// fleet is every device in memory, so that a report reads nothing from disk and
// a check waits for no store.
type fleet struct {
	mu      sync.RWMutex
	devices map[string]*device // guarded by mu; a device, once there, stays

	ownMu  sync.RWMutex
	owners map[string]string          // guarded by ownMu; device id → owner, of those that have one
	owned  map[string]map[string]bool // guarded by ownMu; owner → device ids
}

// device is one laptop as the server works with it. What checks read comes first.
type device struct {
	// stale: the stored row changed, by whatever way; it is read again before the
	// next answer.
	stale atomic.Bool
	// answers are what checks read.
	answers atomic.Pointer[answers]

	// mu serialises what changes the device: its reports, approvals, revocation.
	// It is held until the change is stored.
	mu     sync.Mutex
	row    store.Device     // guarded by mu; as stored
	hot    store.Hot        // guarded by mu; as stored
	keys   []*attest.Key    // guarded by mu
	result *verify.Result   // guarded by mu; nil before the first report
	grace  decide.GraceBook // guarded by mu
	// bypasses are what administrators let pass for it; guarded by mu.
	bypasses []decide.Bypass
	tpm      decide.TPM // guarded by mu; as its certificate or its enrolment names it

	// logKept tells that the store has the boot log of the last quote; guarded by mu.
	logKept bool
	// asked counts how often it was asked for a log that did not come, since askedAt;
	// withheld tells that people know of it. Guarded by mu.
	asked    int
	askedAt  time.Time
	withheld bool
	// seen are digests of the last statements, oldest first; guarded by mu.
	seen []attest.Digest
	// audited and reasons are the decision that the audit log has last; auditedAt is zero
	// as long as that is not known. Guarded by mu.
	audited   decide.Outcome
	reasons   []string
	auditedAt time.Time

	secret atomic.Pointer[attest.Digest] // for attest.MAC
}

// answers are a device's decisions under one policy, until time changes them.
type answers struct {
	policy *decide.Policy
	at     time.Time // when they were made
	until  time.Time
	byApp  map[string]*gateway.Answer
	all    map[string]decide.Decision
	worst  decide.Decision
	waits  []attest.Reason // why a pending device is pending
}

func (f *fleet) get(id string) *device {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.devices[id]
}

func (f *fleet) put(id string, d *device) {
	f.mu.Lock()
	f.devices[id] = d
	f.mu.Unlock()
	f.own(id, d.row.Owner)
}

// own notes whose a device is, so that nobody has to ask all devices for it.
func (f *fleet) own(id, owner string) {
	f.ownMu.Lock()
	defer f.ownMu.Unlock()
	before := f.owners[id]
	if before == owner {
		return
	}
	delete(f.owners, id)
	delete(f.owned[before], id)
	if len(f.owned[before]) == 0 {
		delete(f.owned, before)
	}
	if owner == "" {
		return
	}
	f.owners[id] = owner
	if f.owned[owner] == nil {
		f.owned[owner] = make(map[string]bool)
	}
	f.owned[owner][id] = true
}

// of lists the devices of an owner, by id.
func (f *fleet) of(owner string) []string {
	f.ownMu.RLock()
	defer f.ownMu.RUnlock()
	return slices.Sorted(maps.Keys(f.owned[owner]))
}

// all returns a snapshot.
func (f *fleet) all() map[string]*device {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return maps.Clone(f.devices)
}

// take makes d what was read or enrolled anew. The caller holds d.mu.
func (d *device) take(fresh *device) {
	d.row, d.hot, d.keys, d.result, d.grace, d.bypasses, d.tpm = fresh.row, fresh.hot, fresh.keys, fresh.result, fresh.grace, fresh.bypasses, fresh.tpm
	d.logKept = false // enrolled anew, it may have named another log
	d.secret.Store(fresh.secret.Load())
	d.answers.Store(nil)
}

// A log that was named is late when it was asked for so often and so long ago: a
// laptop that slept meanwhile is asked once more when it wakes.
const (
	asksForLog = 3
	logMay     = 10 * time.Minute
)

// withholds reports whether a device names logs that it does not send. The caller
// holds d.mu.
func (d *device) withholds(now time.Time) bool {
	return d.asked >= asksForLog && now.Sub(d.askedAt) > logMay
}

// forever stands for a decision that time alone never changes: it is looked at
// again after this long all the same.
const forever = time.Hour

// inputs are what a device's decisions rest on. The caller holds d.mu.
func (s *Server) inputs(d *device, now time.Time) decide.Inputs {
	return decide.Inputs{Now: now, Grace: d.grace, TPM: d.tpm, DeviceBypasses: d.bypasses, Device: s.registered(d), HasResult: d.result != nil}
}

// decideFor makes a device's decisions anew. The caller holds d.mu.
func (s *Server) decideFor(d *device, now time.Time) *answers {
	p, in := s.policy.Load(), s.inputs(d, now)
	s.elevated.saw(d.row.ID, &in)
	a := &answers{policy: p, at: now, until: now.Add(forever), byApp: make(map[string]*gateway.Answer)}
	worst := "" // the application of a.worst
	a.all = p.DecideAll(in)
	for id, decision := range a.all {
		// A laptop that asks by itself is judged by what it is: rules about people say
		// nothing of it. Where a request comes from, it cannot tell, so that counts.
		alone := decision.Alone()
		decision = decision.OfDevice()
		a.all[id] = decision
		if !decision.Until.IsZero() && decision.Until.Before(a.until) {
			a.until = decision.Until
		}
		a.byApp[id] = gateway.NewAnswer(alone, gateway.Identity{Device: d.row.ID, Level: in.Device.Device.Level.String()})
		if worst == "" || decision.Outcome < a.worst.Outcome || decision.Outcome == a.worst.Outcome && id < worst {
			a.worst, worst = decision, id
		}
	}
	for _, app := range p.Apps() {
		if !app.Devices {
			a.byApp[app.ID] = sessionRequired
		}
	}
	if d.row.State == attest.Pending && d.row.Cause != "" {
		a.waits = []attest.Reason{pendingReason(&d.row)}
	}
	d.answers.Store(a)
	return a
}

// tpmOf names a device's TPM: whole by its EK certificate where a vendor's chain
// vouched for it, else by its maker alone, as the certificate has it, or the TPM
// itself. Vendors write models in one way into certificates and in another into
// chips.
func tpmOf(row *store.Device) decide.TPM {
	if len(row.Keys.EKCertificate) == 0 {
		return decide.TPM{Manufacturer: row.TPM.Manufacturer}
	}
	maker, model, version := passkey.CertifiedTPM(row.Keys.EKCertificate)
	switch {
	case maker == "":
		return decide.TPM{Manufacturer: row.TPM.Manufacturer}
	case row.Level == verify.TPMHardware:
		return decide.TPM{Manufacturer: maker, Model: model, Firmware: version}
	}
	return decide.TPM{Manufacturer: maker}
}

// pendingReason says why a device waits.
func pendingReason(row *store.Device) attest.Reason {
	fix, ok := anchorFixes[row.Cause]
	if !ok {
		fix = "An administrator compares the code that muster-agent status shows and approves the device."
	}
	return attest.Reason{Code: row.Cause, Claim: "device", Text: row.CauseText, Fix: fix}
}

// registered is the Result with the device as it is registered now: an approval
// or revocation counts at once, without a new report.
func (s *Server) registered(d *device) verify.Result {
	var r verify.Result
	if d.result != nil {
		r = *d.result
	}
	r.Device = registration(&d.row)
	r.Device.Level = d.level()
	return r
}

// level is what a device counts for: less than it enrolled with where its TPM is
// known to be weak. The caller holds d.mu.
func (d *device) level() verify.Level {
	if d.result == nil || d.result.Cap == nil {
		return d.row.Level
	}
	return min(d.row.Level, d.result.Cap.Level)
}

func registration(row *store.Device) verify.Device {
	return verify.Device{
		ID: row.ID, State: row.State, Level: row.Level, Class: row.Class,
		Group: row.Group, Owner: row.Owner, Platform: row.Platform,
	}
}

// told is what the device hears: the worst over the applications that devices may
// use.
func (a *answers) told() attest.Decision { return a.tell(a.worst) }

// tell writes a decision for the device and its person.
func (a *answers) tell(d decide.Decision) attest.Decision {
	out := attest.Decision{Outcome: d.Outcome.String(), Reasons: make([]attest.Reason, 0, len(d.Reasons)+len(a.waits))}
	for _, r := range d.Reasons {
		if r.ReportOnly {
			continue // on trial: for administrators
		}
		out.Reasons = append(out.Reasons, attest.Reason{Code: r.Code, Claim: r.Claim, Text: r.Text, Fix: r.Fix, CountsFrom: r.Grace})
	}
	out.Reasons = append(out.Reasons, a.waits...)
	return out
}

// Check answers whether a device may use an application now. It waits for no store
// and allocates nothing while the stored answer holds.
func (s *Server) Check(id, app string) *gateway.Answer {
	a := s.current(id)
	if a == nil {
		return unknownDevice
	}
	answer, ok := a.byApp[app]
	if !ok {
		return unknownApp
	}
	return answer
}

// current returns a device's answers as they hold now; nil for no such device.
func (s *Server) current(id string) *answers {
	d := s.fleet.get(id)
	if d == nil {
		return nil
	}
	stale := d.stale.Load() // before the answers are read: see refresh
	a := d.answers.Load()
	if stale || !s.holds(a) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if err := s.refresh(d); err != nil {
			s.log.Error("device not read again; it is denied", "device", id, "error", err)
			return nil
		}
		a = s.settled(d) // another check may have decided while this one waited
	}
	return a
}

// settled returns a device's answers, decided anew only when they hold no longer.
// The caller holds d.mu.
func (s *Server) settled(d *device) *answers {
	if a := d.answers.Load(); s.holds(a) {
		return a
	}
	return s.decideFor(d, s.now())
}

// committed hears of every change that became durable, before the change is
// answered: no check that begins afterwards is answered from what was before.
func (s *Server) committed(changes []store.Change) {
	for _, c := range changes {
		switch c.Kind {
		case store.DeviceChanged:
			if d := s.fleet.get(c.Subject); d != nil {
				d.stale.Store(true)
			}
		case store.SessionChanged, store.PersonChanged:
			s.visitors.changed(c)
		case store.GatewayChanged:
			s.credentials.Store(new(sync.Map))
		default:
			continue
		}
		s.elevated.wake()
	}
}

// refresh reads a device again if its stored row changed. The caller holds d.mu.
func (s *Server) refresh(d *device) error {
	if !d.stale.Load() {
		return nil
	}
	// The old answers go before the mark does: whoever finds the mark gone finds
	// no answer of before it. A change from here on sets the mark again.
	d.answers.Store(nil)
	d.stale.Store(false)
	err := s.reread(context.Background(), d)
	if err != nil {
		d.stale.Store(true)
	}
	return err
}

// reread makes a device what is stored of it. The caller holds d.mu.
func (s *Server) reread(ctx context.Context, d *device) error {
	return s.store.View(ctx, func(tx *store.Tx) error {
		row, err := tx.Device(d.row.ID)
		if err != nil {
			return err
		}
		fresh, err := s.remember(tx, row)
		if err == nil {
			d.take(fresh)
			s.fleet.own(row.ID, row.Owner)
		}
		return err
	})
}

// holds reports whether answers are of the running policy and still true.
func (s *Server) holds(a *answers) bool {
	return a != nil && a.policy == s.policy.Load() && s.now().Before(a.until)
}

// Decision tells what [Server.Check] answers, for people.
func (s *Server) Decision(id, app string) attest.Decision {
	if a := s.current(id); a != nil {
		if d, ok := a.all[app]; ok {
			return a.tell(d)
		}
	}
	return attest.Decision{Outcome: decide.Deny.String(), Reasons: []attest.Reason{{
		Code: "app-unknown", Text: "No policy opens this application to devices.", Fix: "Ask the administrator to add it to the policy.",
	}}}
}

var (
	sessionRequired = gateway.Refusal("session-required", "This application is for signed-in people.", "Sign in.")
	unknownDevice   = gateway.Refusal("device-unknown", "No such device is enrolled.", "Enrol the laptop.")
	unknownApp      = gateway.Refusal("app-unknown", "No policy names this application.", "Ask the administrator to add it to the policy.")
)
