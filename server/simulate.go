package server

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"muster/server/decide"
	"muster/server/people"
	"muster/server/session"
	"muster/server/store"
	"muster/server/web"
)

// maxSimulated bounds how many changes are told; all are counted.
const maxSimulated = 1000

// Simulate tells what another policy would change for the laptops and sessions of
// now, without using it. The error is decide.Problems where the text is no policy.
func (s *Server) Simulate(ctx context.Context, text string) (*web.Simulation, error) {
	next, err := decide.Load("policy", []byte(text))
	if err != nil {
		return nil, err
	}
	run := &simulation{now: s.policy.Load(), next: next, trial: make(map[string]*web.SimulatedTrial)}
	run.toDevices = run.apps(func(a decide.App) bool { return a.Devices })
	run.toSessions = run.apps(func(decide.App) bool { return true })
	run.out.Digest = next.Digest()
	run.out.Diff = decide.Diff(run.now, next)
	run.out.Tests = next.Test(noFiles)
	for _, d := range s.fleet.all() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		run.device(s.inputsNow(d))
	}
	sessions, err := s.people.SessionsOf(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, one := range sessions {
		if err := s.simulateSession(ctx, run, one); err != nil {
			return nil, err
		}
	}
	return run.finish(), nil
}

// noFiles is for tests that name files: a text from a page has none beside it.
func noFiles(string) ([]byte, error) {
	return nil, errors.New("files are read by muster-server policy test only")
}

// inputsNow are what a device's decisions rest on, and its name.
func (s *Server) inputsNow(d *device) (decide.Inputs, string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := s.refresh(d); err != nil {
		s.log.Error("device not read again; it is simulated as it was", "device", d.row.ID, "error", err)
	}
	return s.inputs(d, s.now()), d.row.Name
}

func (s *Server) simulateSession(ctx context.Context, run *simulation, one *session.Session) error {
	found, err := s.people.VisitorOf(ctx, one.ID)
	if isNobody(err) || errors.Is(err, store.ErrNotFound) {
		return nil // it ended meanwhile
	}
	if err != nil {
		return err
	}
	in, who := s.inputsOf(&standing{policy: run.now, of: s.signedIn(found)}, time.Time{}, "", time.Time{})
	run.session(in, who.User, one)
	return nil
}

// simulation is one run.
type simulation struct {
	now, next *decide.Policy
	// Applications of either policy, by id: those open to laptops, and all.
	toDevices, toSessions []string
	out                   web.Simulation
	trial                 map[string]*web.SimulatedTrial
}

// apps are those of either policy that a test holds for.
func (r *simulation) apps(which func(decide.App) bool) (ids []string) {
	for _, p := range []*decide.Policy{r.now, r.next} {
		for _, a := range p.Apps() {
			if which(a) && !slices.Contains(ids, a.ID) {
				ids = append(ids, a.ID)
			}
		}
	}
	return ids
}

func (r *simulation) device(in decide.Inputs, name string) {
	r.out.Devices++
	tried := make(map[string]bool)
	for _, app := range r.toDevices {
		in.App = app
		r.compare(&in, tried, web.SimulatedChange{App: app, Device: in.Device.Device.ID, Laptop: name})
	}
	for rule := range tried {
		r.count(rule).Devices++
	}
}

func (r *simulation) session(in *decide.Inputs, user string, one *session.Session) {
	r.out.Sessions++
	tried := make(map[string]bool)
	c := web.SimulatedChange{Person: user, Session: one.ID}
	if one.Link != nil {
		c.Device = one.Link.Device
	}
	for _, app := range r.toSessions {
		in.App, c.App = app, app
		r.compare(in, tried, c)
	}
	for rule := range tried {
		r.count(rule).Sessions++
	}
}

// compare decides under both policies, and notes what only reports.
func (r *simulation) compare(in *decide.Inputs, tried map[string]bool, c web.SimulatedChange) {
	before, after := opened(r.now, in), opened(r.next, in)
	c.Before, c.After = before.Outcome, after.Outcome
	for i := range after.Reasons {
		switch reason := &after.Reasons[i]; {
		case reason.ReportOnly:
			tried[reason.Code] = true
		case reason.Counts():
			c.Reasons = append(c.Reasons, reason.Code)
		}
	}
	switch {
	case c.After < c.Before:
		r.out.Lost++
	case c.After > c.Before:
		r.out.Won++
	default:
		return
	}
	r.out.Changes = append(r.out.Changes, c)
}

// opened is a decision; a laptop by itself gets nothing where the policy does not
// open the application to laptops.
func opened(p *decide.Policy, in *decide.Inputs) decide.Decision {
	if a, named := p.App(in.App); named && in.Visitor == nil && !a.Devices {
		return *sessionRequired.Decision()
	}
	if in.Visitor == nil {
		return p.Decide(*in).Alone()
	}
	return p.Prepare(*in).Decision
}

func (r *simulation) count(rule string) *web.SimulatedTrial {
	if r.trial[rule] == nil {
		r.trial[rule] = &web.SimulatedTrial{Rule: rule}
	}
	return r.trial[rule]
}

// finish puts the worst first.
func (r *simulation) finish() *web.Simulation {
	slices.SortFunc(r.out.Changes, func(a, b web.SimulatedChange) int {
		return cmp.Or(cmp.Compare(int(a.After)-int(a.Before), int(b.After)-int(b.Before)),
			cmp.Compare(a.App, b.App), cmp.Compare(a.Person, b.Person), cmp.Compare(a.Device, b.Device), cmp.Compare(a.Session, b.Session))
	})
	r.out.Changes = r.out.Changes[:min(len(r.out.Changes), maxSimulated)]
	for _, t := range r.trial {
		r.out.Trial = append(r.out.Trial, *t)
	}
	slices.SortFunc(r.out.Trial, func(a, b web.SimulatedTrial) int { return cmp.Compare(a.Rule, b.Rule) })
	return &r.out
}

// maxPolicyText bounds a policy that is sent, with what JSON adds.
const maxPolicyText = 3 << 20

// policyTrial brings a policy to try.
type policyTrial struct {
	Text string `json:"text"`
}

// simulate handles the control socket's POST /policy/simulate.
func (s *Server) simulate(r *http.Request, body []byte) (any, error) {
	var q policyTrial
	if err := read(body, &q); err != nil {
		return nil, err
	}
	out, err := s.Simulate(r.Context(), q.Text)
	if problems := (decide.Problems)(nil); errors.As(err, &problems) {
		return nil, refuse(http.StatusBadRequest, "policy-refused", problems.Error(), "Mend the file; the running policy stays in use.")
	}
	return out, err
}

// explainQuestion asks why a session is answered as it is.
type explainQuestion struct {
	Session string `json:"session"`
	App     string `json:"app"`
	Text    string `json:"text,omitempty"` // of a policy; empty: the running one
}

// explain handles the control socket's POST /explain: rule by rule, for a session
// and the laptop that it is linked to, as both stand now.
func (s *Server) explain(r *http.Request, body []byte) (any, error) {
	var q explainQuestion
	if err := read(body, &q); err != nil {
		return nil, err
	}
	p := s.policy.Load()
	if q.Text != "" {
		var err error
		if p, err = decide.Load("policy", []byte(q.Text)); err != nil {
			return nil, refuse(http.StatusBadRequest, "policy-refused", err.Error(), "Mend the file.")
		}
	}
	found, err := s.people.VisitorOf(r.Context(), q.Session)
	if isNobody(err) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	in, _ := s.inputsOf(&standing{of: s.signedIn(found)}, time.Time{}, q.App, time.Time{})
	return p.Explain(*in), nil
}

// UsePolicy replaces the running policy by a text, where no file is the policy's
// home: with one the next start would bring back what the file has.
func (s *Server) UsePolicy(ctx context.Context, by people.Actor, text string) error {
	if s.config.Policy != "" {
		return misfit(http.StatusConflict, "policy-in-file", "This server's policy is in the file "+s.config.Policy+".", "Change the file, then run muster-server policy use.")
	}
	p, err := decide.Load("policy", []byte(text))
	if err != nil {
		return err
	}
	for _, t := range p.Test(noFiles) {
		if t.Problem != "" {
			return misfit(http.StatusConflict, "policy-test", "A test of the policy does not hold: "+t.String(), "Mend the policy or its test; the running policy stays in use.")
		}
	}
	s.policyMu.Lock()
	defer s.policyMu.Unlock()
	return s.activate(ctx, p, []byte(text), string(by))
}
