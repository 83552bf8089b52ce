package decide

import (
	"slices"
	"time"
)

// Policy is a loaded policy: what [Load] returns, never changed afterwards and
// safe for concurrent use. The zero value denies everything.
type Policy struct {
	digest    string // SHA-256 of the file, hexadecimal
	apps      []app  // in the order of the file
	byID      map[string]int
	rules     []rule
	reportAge time.Duration
	sessions  [len(sensitivityNames)]sessionLimits
	tests     []test
	env       *environment
}

// App is what a policy says of an application, for gateways and pages.
type App struct {
	ID          string   `json:"id"`
	Hosts       []string `json:"hosts,omitempty"`
	Sensitivity string   `json:"sensitivity"` // low, medium, high, privileged
	// Devices: a device may ask for it by itself, without a session.
	Devices bool `json:"devices"`
	// Elevation: it opens only to who was granted privileged access for minutes.
	Elevation ElevationTerms `json:"elevation,omitzero"`
}

// app is an application with the rules that may apply to it.
type app struct {
	App
	sensitivity sensitivity
	rules       []use
}

// use is a rule that can apply to an application.
type use struct {
	rule int // place in Policy.rules
	// always: its `for` names no input but app and was found true, or could not be
	// told, when the policy was loaded.
	always bool
	// request: it names the request, so it is evaluated at the check.
	request bool
}

// rule is one entry of require.
type rule struct {
	id         string
	condition  *condition // that
	scope      *condition // for; nil applies to every application
	otherwise  Outcome
	reportOnly bool
	grace      time.Duration
	// graceUnknown: what is unknown gets grace as well.
	graceUnknown bool
	text, fix    string // the administrator's own sentences; may be empty
}

// about is of whom the rule tells, in `for` or `that`.
func (r *rule) about() subject {
	if r.scope == nil {
		return r.condition.about
	}
	return r.condition.about | r.scope.about
}

// defaultReportAge holds where limits.report_age is absent.
const defaultReportAge = time.Hour

// Digest is the SHA-256 of the policy file, 64 hexadecimal digits; empty for
// the zero value.
func (p *Policy) Digest() string { return p.digest }

// ReportAge is how old a report may become before it is no longer good.
func (p *Policy) ReportAge() time.Duration { return p.reportAge }

// App looks one application up. A gateway must refuse a device that asks by
// itself for one without Devices: [Policy.Decide] does not look at that.
func (p *Policy) App(id string) (App, bool) {
	i, ok := p.byID[id]
	if !ok {
		return App{}, false
	}
	a := p.apps[i].App
	a.Hosts = slices.Clone(a.Hosts)
	return a, true
}

// Apps lists the applications in the order of the file. The caller may keep and
// change what it gets.
func (p *Policy) Apps() []App {
	list := make([]App, len(p.apps))
	for i, a := range p.apps {
		list[i] = a.App
		list[i].Hosts = slices.Clone(a.Hosts)
	}
	return list
}

// Names reports whether the policy has a rule of that id.
func (p *Policy) Names(id string) bool {
	return slices.ContainsFunc(p.rules, func(r rule) bool { return r.id == id })
}
