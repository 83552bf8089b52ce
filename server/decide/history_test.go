package decide

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/verify"
)

var (
	histories     = flag.Int("histories", 10_000, "random histories for TestHistories")
	historiesSeed = flag.Uint64("histories-seed", 4, "seed of the first; each has its own, one more")
)

// plainPolicy is what the default policy means, and some that differ from it, in
// numbers.
type plainPolicy struct {
	edits                         []string // of default.yaml: old, new, ...
	reportAge, link, linkPriv     time.Duration
	hands, handsHigh              time.Duration
	approval                      bool // of elevations
	sourceIsMedium, readsFromAway bool
}

func plainPolicies() []plainPolicy {
	shipped := plainPolicy{reportAge: time.Hour, link: 15 * time.Minute, linkPriv: 5 * time.Minute, hands: 5 * time.Minute, handsHigh: 8 * time.Hour}
	young, terms, away := shipped, shipped, shipped
	young.reportAge, young.link = 20*time.Minute, 10*time.Minute
	young.edits = []string{"report_age: 1h", "report_age: 20m", "duration('15m')", "duration('10m')"}
	terms.approval, terms.sourceIsMedium = true, true
	terms.edits = []string{"sensitivity: high", "sensitivity: medium", "{lasts: 15m}", "{lasts: 15m, approval: leads}",
		"app.sensitivity == HIGH\n    that: session.user_verified_ago", "app.id == 'source'\n    that: session.user_verified_ago",
		"app.sensitivity == HIGH\n    that: '!passkey.backup", "app.id == 'source'\n    that: '!passkey.backup"}
	away.hands, away.handsHigh, away.readsFromAway = 2*time.Minute, 2*time.Hour, true
	away.edits = []string{"< duration('5m')", "< duration('2m')", "duration('8h')", "duration('2h')", "require:\n", `require:
  - id: reads-from-away
    for: app.sensitivity >= HIGH
    that: request.method in ['GET', 'HEAD'] || in_network(request.address, '10.0.0.0/8')

`}
	return []plainPolicy{shipped, young, terms, away}
}

func (p *plainPolicy) load(t *testing.T) *Policy {
	_, text, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ = strings.Cut(text, "\ntests:\n")
	for i := 0; i < len(p.edits); i += 2 {
		if !strings.Contains(text, p.edits[i]) {
			t.Fatalf("default.yaml has no %q any more", p.edits[i])
		}
		text = strings.Replace(text, p.edits[i], p.edits[i+1], 1)
	}
	return load(t, text)
}

// watch is the plain model of grace: how long a claim has been bad since it was
// good for seven days.
type watch struct {
	running  bool
	since    time.Time     // of running
	used     time.Duration // before that
	wellFrom time.Time     // good since then; zero when not, or nothing was used
}

// saw is called for each report, with what it says of the claim.
func (w *watch) saw(state posture.State, now time.Time, budget time.Duration) {
	w.rewind(now)
	if !w.wellFrom.IsZero() && now.Sub(w.wellFrom) >= 7*24*time.Hour {
		*w = watch{}
	}
	if state == posture.No {
		w.wellFrom = time.Time{}
		if !w.running {
			w.running, w.since = true, now
		}
		return
	}
	if w.running {
		w.running = false
		w.used += now.Sub(w.since)
		w.used = min((w.used+time.Millisecond-1)/time.Millisecond*time.Millisecond, budget)
	}
	if state == posture.Unknown {
		w.wellFrom = time.Time{}
	} else if w.used > 0 && w.wellFrom.IsZero() {
		w.wellFrom = now
	}
}

// rewind is what a clock that was set back does to it.
func (w *watch) rewind(now time.Time) {
	if w.running && w.since.After(now) {
		w.since = now
	}
	if w.wellFrom.After(now) {
		w.wellFrom = now
	}
}

// left reports whether a claim that is bad now has grace.
func (w watch) left(now time.Time, budget time.Duration) bool {
	w.saw(posture.No, now, budget)
	return w.used+now.Sub(w.since) < budget
}

// history is one server's past with one laptop and one person.
type history struct {
	rng      *rand.Rand
	now      time.Time
	policy   int
	in       Inputs // without App and Visitor
	visitor  Visitor
	watches  map[string]*watch
	version  int // of all inputs
	trail    []string
	leaseEnd time.Time // by the last report
}

// ago is whether something is known to be less old than a limit.
func younger(at, now time.Time, limit time.Duration, orEqual bool) bool {
	if at.IsZero() || at.Sub(now) > 10*time.Minute {
		return false
	}
	return now.Sub(at) < limit || orEqual && now.Sub(at) == limit
}

// lets is the plain model: whether the request gets through now. It knows nothing
// of CEL, conditions or instants at which things change. With visitor false the
// laptop asks by itself.
func (h *history) lets(p *plainPolicy, app string, now time.Time, visitor bool, request *Request) bool {
	weight := map[string]int{"wiki": 0, "mail": 1, "source": 2, "prod-admin": 3}[app]
	isSource := app == "source"
	if isSource && p.sourceIsMedium {
		weight = 1
	}
	v, d := &h.visitor, &h.in.Device
	live := v.Session.Link.State == "live"
	asleep := v.Session.Link.State == "suspended"
	if visitor && v.Session.Over != "" {
		return false
	}
	if !visitor || live || asleep { // there must be a laptop
		if !h.in.HasResult || d.Device.State != attest.Active || len(d.Findings) > 0 || !younger(d.IssuedAt, now, p.reportAge, false) {
			return false
		}
	}
	ok := true
	must := func(rule string, met bool) {
		for _, b := range h.in.Bypasses {
			if b.Rule == rule && now.Before(b.Ends) {
				return
			}
		}
		ok = ok && met
	}
	if visitor {
		limits := []struct{ idle, absolute time.Duration }{{12 * time.Hour, 72 * time.Hour}, {8 * time.Hour, 24 * time.Hour},
			{time.Hour, 12 * time.Hour}, {15 * time.Minute, 4 * time.Hour}}[weight]
		if !younger(v.Session.SeenAt, now, limits.idle, false) || !younger(v.Session.SignedInAt, now, limits.absolute, false) {
			return false
		}
		if app == "prod-admin" && !h.elevated(p.approval, now) {
			return false
		}
		h.mustPerson(p, must, now, weight, isSource, request)
	}
	h.mustLaptop(must, now, weight, !visitor || live)
	return ok
}

func (h *history) elevated(approval bool, now time.Time) bool {
	open, approved := false, false
	for _, e := range h.visitor.Elevations {
		if e.App == "prod-admin" && !now.Before(e.Granted) && now.Before(e.Ends) {
			open, approved = true, approved || e.Approved
		}
	}
	return open && (approved || !approval)
}

func (h *history) mustPerson(p *plainPolicy, must func(string, bool), now time.Time, weight int, isSource bool, request *Request) {
	s, k, d := &h.visitor.Session, &h.visitor.Passkey, &h.in.Device
	live := s.Link.State == "live"
	known := k.Evidence == "none" || k.Evidence == "attested"
	bound := s.Binding == "dbsc" || s.Binding == "mtls"
	must("link-absent", live)
	if live && weight >= 1 {
		must("link-weak", s.Link.Strength == "app" || s.Link.Strength == "loopback")
	}
	if live && weight < 3 {
		must("link-old", bound || younger(s.Link.At, now, p.link, true))
	}
	if live && weight == 3 {
		must("link-old-privileged", bound || younger(s.Link.At, now, p.linkPriv, true))
	}
	if isSource {
		must("hands-old-high", younger(s.UserVerified, now, p.handsHigh, false))
		must("passkey-synced", known && !k.BackupEligible)
	}
	if weight == 3 {
		must("hands-old", younger(s.UserVerified, now, p.hands, false))
		must("hardware-passkey", k.Evidence == "attested" && !k.BackupEligible && k.Certification >= 2)
	}
	must("passkey-model-bad", known && k.Bad == "")
	must("passkey-other-system", !(live && k.Platform && !k.BackupEligible && k.System == "windows" && d.Device.Platform == "linux"))
	if p.readsFromAway && weight >= 2 {
		must("reads-from-away", request != nil && (request.Method == "GET" || request.Method == "HEAD" ||
			request.Address.IsValid() && request.Address.As4()[0] == 10))
	}
}

// graceOfRules are the budgets of the default policy.
func graceOfRules() map[string]time.Duration {
	const day = 24 * time.Hour
	return map[string]time.Duration{"disk-encrypted": day, "patched": 3 * day, "firewall": day, "remote-access": day}
}

func (h *history) mustLaptop(must func(string, bool), now time.Time, weight int, known bool) {
	d := &h.in.Device
	c := &d.Claims
	good := func(rule string, state posture.State) bool {
		budget, graced := graceOfRules()[rule]
		return known && (state == posture.Yes || graced && state == posture.No && h.watches[rule].left(now, budget))
	}
	if weight >= 1 {
		must("protected-keys", known && d.Device.Level > verify.Software)
		must("disk-encrypted", good("disk-encrypted", c.DiskEncryption.State))
		must("patched", good("patched", c.Patches.State))
		must("firewall", good("firewall", c.Firewall.State))
		must("supported-os", known && c.OS.State != posture.Unknown && c.OS.Detail.Version == "12")
	}
	if weight >= 2 {
		must("secure-boot", good("secure-boot", c.SecureBoot.State))
		must("remote-access", good("remote-access", c.RemoteAccess.State))
	}
	if weight >= 3 {
		must("vouched-keys", known && d.Device.Level >= verify.VTPM)
		must("fresh-quote", known && younger(d.QuotedAt, now, 26*time.Hour, false))
	}
}

func newHistory(seed uint64) *history {
	h := &history{rng: rand.New(rand.NewPCG(seed, 99)), now: noon(), watches: map[string]*watch{}}
	h.in = Inputs{HasResult: h.rng.IntN(20) > 0, Device: verify.Result{
		Device: verify.Device{ID: "d1", State: attest.Active, Level: verify.TPMHardware, Class: verify.ClassCorporate, Platform: posture.Linux}}}
	for rule := range graceOfRules() {
		h.watches[rule] = &watch{}
	}
	h.visitor = *content("").Visitor
	h.visitor.Elevations = nil
	h.in.Device.QuotedAt = h.now
	return h
}

// one reports whether something happens that does once in n times.
func (h *history) one(n int) bool { return h.rng.IntN(n) == 0 }

// moment is now, or somewhat before, or too far ahead, or nobody knows.
func (h *history) moment() time.Time {
	switch h.rng.IntN(12) {
	case 0:
		return time.Time{}
	case 1:
		return h.now.Add(-time.Duration(h.rng.IntN(int(time.Hour))))
	case 2:
		return h.now.Add(time.Duration(h.rng.IntN(int(20 * time.Minute))))
	}
	return h.now
}

func (h *history) note(format string, args ...any) {
	h.trail = append(h.trail, h.now.Format("02 15:04:05.999999999 ")+fmt.Sprintf(format, args...))
}

// step moves the clock: often by what some rule has as its limit, and a little more
// or less; now and then back. Sometimes it goes to where a cached decision ends.
func (h *history) step(ends time.Time) {
	limits := []time.Duration{0, 0, time.Second, time.Second, time.Minute, time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 10 * time.Minute,
		15 * time.Minute, 20 * time.Minute, time.Hour, 2 * time.Hour, 8 * time.Hour, 24 * time.Hour, 26 * time.Hour, 3 * 24 * time.Hour, 8 * 24 * time.Hour}
	by := limits[min(h.rng.IntN(len(limits)), h.rng.IntN(len(limits)), h.rng.IntN(len(limits)))]
	switch {
	case h.one(25):
		by = -by
	case h.one(5) && ends.After(h.now):
		by = ends.Sub(h.now)
	}
	if h.one(3) {
		by += time.Duration(h.rng.IntN(3) - 1)
	}
	h.now = h.now.Add(by)
}

// happen changes something, or nothing.
func (h *history) happen(policies []plainPolicy, loaded []*Policy) {
	before, was := h.version, len(h.trail)
	h.version++
	if h.now.Sub(h.in.Device.IssuedAt) > policies[h.policy].reportAge && h.one(2) {
		h.report(&policies[h.policy], loaded[h.policy])
	}
	if l := &h.visitor.Session.Link; h.now.Sub(l.At) > policies[h.policy].link && h.one(2) {
		*l = Link{"live", "loopback", h.now} // as a browser does by itself
		h.note("link %+v", *l)
	}
	switch what := h.rng.IntN(48); what {
	case 0, 1, 2, 3, 4, 5:
		h.report(&policies[h.policy], loaded[h.policy])
	case 6, 23, 24:
		h.in.Device.Device.State = []attest.DeviceState{attest.Active, attest.Active, attest.Active, attest.Pending, attest.Revoked}[h.rng.IntN(5)]
		h.note("laptop is %s", h.in.Device.Device.State)
	case 7, 8, 25, 26:
		h.signIn()
	case 9:
		h.visitor.Session.Over = sessionCodes()[1+h.rng.IntN(len(sessionCodes())-1)]
		h.note("session is over: %s", h.visitor.Session.Over)
	case 10, 11:
		h.visitor.Session.UserVerified = h.moment()
		h.note("user verified at %v", h.visitor.Session.UserVerified)
	case 12, 13, 14:
		h.visitor.Session.Link = Link{"live", []string{"loopback", "loopback", "app", "code", ""}[h.rng.IntN(5)], h.moment()}
		h.note("link %+v", h.visitor.Session.Link)
	case 15:
		h.visitor.Session.Link.State = []string{"absent", "suspended", "", "unheard-of"}[h.rng.IntN(4)]
		h.note("link %+v", h.visitor.Session.Link)
	case 16, 17, 18:
		h.elevate()
	case 27, 28, 29, 30, 31: // as who has work to do in production
		h.visitor.Session.UserVerified, h.visitor.Session.SeenAt, h.in.Device.QuotedAt = h.now, h.now, h.now
		h.visitor.Session.Link = Link{"live", "app", h.now}
		h.elevate()
	case 19, 32, 33:
		rules := []string{"link-absent", "link-old", "hands-old", "disk-encrypted", "firewall", "hardware-passkey", "report-stale", "elevation-needed", "patched"}
		b := Bypass{rules[h.rng.IntN(len(rules))], h.now.Add(time.Duration(h.rng.IntN(int(8 * time.Hour))))}
		h.in.Bypasses = append(slices.Clone(h.in.Bypasses), b)
		if h.one(5) {
			h.in.Bypasses = nil
		}
		h.note("bypasses %+v", h.in.Bypasses)
	case 20:
		h.policy = h.rng.IntN(len(policies))
		h.leaseEnd = h.in.Device.IssuedAt.Add(policies[h.policy].reportAge)
		h.note("policy %d", h.policy)
	case 21, 22:
		h.visitor.Session.SeenAt = h.now
		h.note("seen")
	default:
		if len(h.trail) == was {
			h.version = before
		}
	}
}

func (h *history) report(plain *plainPolicy, p *Policy) {
	d := &h.in.Device
	d.IssuedAt = h.now.Add(-time.Duration(h.rng.IntN(int(10 * time.Second))))
	if h.one(10) {
		d.IssuedAt = h.moment()
	}
	if h.one(3) {
		d.QuotedAt = h.moment()
	}
	d.Findings = nil
	if h.one(30) {
		d.Findings = []verify.Finding{{Code: verify.FindingCloned, Tier: verify.Contraindicated, Text: "t", Fix: "f"}}
	}
	h.in.HasResult = true
	state := func() posture.State {
		return []posture.State{posture.No, posture.No, posture.Unknown, 7, posture.Yes}[min(h.rng.IntN(60), 4)]
	}
	c := &d.Claims
	for _, own := range []*posture.Claim{&c.OS.Claim, &c.DiskEncryption.Claim, &c.Patches.Claim, &c.Firewall.Claim, &c.SecureBoot.Claim, &c.RemoteAccess.Claim} {
		if own.State != posture.No || h.one(4) { // what is bad stays so for a while
			own.State = state()
		}
	}
	c.OS.Detail = posture.OS{ID: "debian", Version: []string{"12", "12", "12", "12", "12", "12", "11", ""}[h.rng.IntN(8)]}
	if c.OS.State > posture.No {
		c.OS.State = posture.Unknown
	}
	for _, own := range []*posture.Claim{&c.DiskEncryption.Claim, &c.Patches.Claim, &c.Firewall.Claim, &c.SecureBoot.Claim, &c.RemoteAccess.Claim} {
		if own.State > posture.No && h.one(2) {
			own.State = posture.Unknown
		}
	}
	if h.one(4) {
		d.Device.Level = verify.Level(h.rng.IntN(int(verify.TPMHardware) + 1))
	} else {
		d.Device.Level = verify.TPMHardware
	}
	in := h.in
	in.Now = h.now
	h.in.Grace = p.NextGrace(in)
	if younger(d.IssuedAt, h.now, plain.reportAge, false) {
		for rule, own := range map[string]posture.State{"disk-encrypted": c.DiskEncryption.State, "patched": c.Patches.State,
			"firewall": c.Firewall.State, "remote-access": c.RemoteAccess.State} {
			if own > posture.No {
				own = posture.Unknown
			}
			h.watches[rule].saw(own, h.now, graceOfRules()[rule])
		}
	}
	h.leaseEnd = d.IssuedAt.Add(plain.reportAge)
	h.note("report of %v, quote of %v, level %v, %+v", d.IssuedAt, d.QuotedAt, d.Device.Level,
		[]posture.State{c.OS.State, c.DiskEncryption.State, c.Patches.State, c.Firewall.State, c.SecureBoot.State, c.RemoteAccess.State})
}

func (h *history) signIn() {
	s := &h.visitor.Session
	s.Over, s.SignedInAt, s.SeenAt, s.UserVerified = "", h.moment(), h.now, h.now
	s.Binding = []string{"none", "none", "none", "dbsc", "mtls", "", "strong", "none", "none"}[h.rng.IntN(9)]
	h.visitor.Elevations = nil
	k := content("").Visitor.Passkey
	switch h.rng.IntN(16) {
	case 0:
		k = Passkey{}
	case 1:
		k.Evidence = "none"
	case 2:
		k.BackupEligible = true
	case 3:
		k.Certification = h.rng.IntN(5)
		if k.Certification == 4 { // FIDO has no such level
			k.Certification = -1
		}
	case 4:
		k.Bad = "REVOKED"
	case 5:
		k.Platform, k.System = true, []string{"windows", "linux", ""}[h.rng.IntN(3)]
	}
	h.visitor.Passkey = k
	h.note("signed in %+v %+v", *s, k)
}

func (h *history) elevate() {
	if h.one(4) {
		h.visitor.Elevations = nil
	} else {
		at := h.now
		if h.one(6) {
			at = h.moment()
		}
		e := Elevation{App: "prod-admin", Granted: at, Ends: at.Add(15 * time.Minute), Approved: h.one(2)}
		if h.one(8) {
			e.App = "source"
		}
		if !at.IsZero() {
			h.visitor.Elevations = append(slices.Clone(h.visitor.Elevations), e)
		}
	}
	h.note("elevations %+v", h.visitor.Elevations)
}

func (h *history) ask() *Request {
	return []*Request{nil, {Method: "GET"}, {Method: "GET"}, {Method: "POST", Address: netip.MustParseAddr("10.1.2.3")}, {Method: "POST", Address: netip.MustParseAddr("192.0.2.1")},
		{Method: "POST"}, {Address: netip.MustParseAddr("::ffff:10.0.0.1").Unmap()}, {Method: "get"}}[h.rng.IntN(8)]
}

// mistake is one that a cache, or its user, could make: it shows that the test
// below can fail.
type mistake uint8

const (
	none mistake = iota
	keepsPastUntil
	keepsPastChanges
	forgetsTheRequest
	keepsTheGraceOfYesterday
)

// counts are of what histories met.
type historyCounts struct{ allowed, refused, held, expired, laptops, elevated, graced, bypassed atomic.Int64 }

// note counts what let somebody in who was nearly refused.
func (n *historyCounts) note(d *Decision) {
	if d.Elevated {
		n.elevated.Add(1)
	}
	for _, r := range d.Reasons {
		if !r.Grace.IsZero() {
			n.graced.Add(1)
		}
		if !r.Bypass.IsZero() {
			n.bypassed.Add(1)
		}
	}
}

// held is a decision as a cache has it.
type held struct {
	*Prepared
	at      time.Time
	version int
}

// live runs one history; its answer is what went wrong, empty for nothing.
func (h *history) live(policies []plainPolicy, loaded []*Policy, steps int, wrong mistake, n *historyCounts) string {
	apps := []string{"wiki", "mail", "source", "prod-admin"}
	cache := map[string]held{}
	var ends time.Time
	book := h.in.Grace
	for range steps {
		h.step(ends)
		h.happen(policies, loaded)
		plain, p := &policies[h.policy], loaded[h.policy]
		app, request := apps[h.rng.IntN(len(apps))], h.ask()

		in := h.in
		in.App, in.Now = app, h.now
		who := h.visitor
		in.Visitor = &who
		if wrong == keepsTheGraceOfYesterday {
			in.Grace = book
		}

		kept, ok := cache[app]
		switch {
		case !ok || kept.version != h.version && wrong != keepsPastChanges:
			ok = false
		case !kept.Decision.Until.IsZero() && !h.now.Before(kept.Decision.Until) && wrong != keepsPastUntil:
			ok = false
			n.expired.Add(1)
		}
		if !ok {
			kept = held{p.Prepare(in), h.now, h.version}
			cache[app] = kept
		} else {
			n.held.Add(1)
		}
		ends = kept.Decision.Until
		// A clock that was set back makes nothing younger.
		now := h.now
		if now.Before(kept.at) {
			now = kept.at
		}
		d := kept.For(request, h.now)
		if wrong == forgetsTheRequest || wrong == keepsPastUntil {
			d = kept.Decision
		}
		want := h.lets(plain, app, now, true, request)
		if got := d.Outcome == Allow; got != want {
			return h.story("%s for %+v: allowed %v (%v), the plain model says %v, held since %v", app, request, got, counted(d), want, kept.at)
		}
		if want {
			n.allowed.Add(1)
			n.note(&d)
		} else {
			n.refused.Add(1)
		}
		if end := d.Until; want && h.visitor.Session.Link.State == "live" && (end.IsZero() || end.After(h.leaseEnd)) {
			return h.story("%s: allowed until %v, the report is good until %v", app, end, h.leaseEnd)
		}
		if h.one(3) {
			if told := h.laptop(plain, p, app, n); told != "" {
				return told
			}
		}
	}
	return ""
}

// laptop asks for the laptop by itself.
func (h *history) laptop(plain *plainPolicy, p *Policy, app string, n *historyCounts) string {
	n.laptops.Add(1)
	in := h.in
	in.App, in.Now = app, h.now
	d := p.Decide(in)
	want := h.lets(plain, app, h.now, false, nil)
	if got := d.OfDevice().Outcome == Allow; got != want {
		return h.story("the laptop for %s: allowed %v (%v), the plain model says %v", app, got, counted(d.OfDevice()), want)
	}
	if !want && d.Outcome == Allow {
		return h.story("the laptop for %s: allowed as a whole, and not by its own part", app)
	}
	if end := d.Until; want && (end.IsZero() || end.After(h.leaseEnd)) {
		return h.story("the laptop for %s: allowed until %v, the report is good until %v", app, end, h.leaseEnd)
	}
	return ""
}

func (h *history) story(format string, args ...any) string {
	h.note(format, args...)
	return strings.Join(h.trail, "\n")
}

// TestHistories lives random histories of a server, a laptop and a person by a clock
// of its own, and asks as a gateway does: a decision is prepared, held until its
// Until and used for each request, as long as no input changed. It must never allow
// what the plain model refuses; that it never refuses what the model allows shows
// that the model is not merely severe. A lease never lengthens without a report.
func TestHistories(t *testing.T) {
	lives := *histories
	if testing.Short() { // under the race detector
		lives = min(lives, 500)
	}
	var n historyCounts
	for _, wrong := range liveAll(t, lives, none, &n) {
		t.Error(wrong)
	}
	for _, count := range []struct {
		name  string
		times int64
		each  int64 // once in so many histories, at least
	}{
		{"allowed", n.allowed.Load(), 1}, {"refused", n.refused.Load(), 1}, {"held", n.held.Load(), 1}, {"expired", n.expired.Load(), 4},
		{"asked by laptops", n.laptops.Load(), 1}, {"elevated", n.elevated.Load(), 20}, {"in grace", n.graced.Load(), 20}, {"bypassed", n.bypassed.Load(), 20},
	} {
		t.Logf("%s: %d in %d histories", count.name, count.times, lives)
		if lives >= 1000 && count.times*count.each < int64(lives) {
			t.Errorf("%s only %d times: the histories do not try the property", count.name, count.times)
		}
	}
}

// TestHistoriesCanFail makes the mistakes that a cache could make: each is noticed.
func TestHistoriesCanFail(t *testing.T) {
	for _, wrong := range []mistake{keepsPastUntil, keepsPastChanges, forgetsTheRequest, keepsTheGraceOfYesterday} {
		var n historyCounts
		if found := liveAll(t, 2000, wrong, &n); len(found) == 0 {
			t.Errorf("mistake %d was not noticed", wrong)
		}
	}
}

// liveAll lives histories side by side, until a few went wrong.
func liveAll(t *testing.T, histories int, wrong mistake, n *historyCounts) (found []string) {
	t.Helper()
	policies := plainPolicies()
	var loaded []*Policy
	for i := range policies {
		loaded = append(loaded, policies[i].load(t))
	}
	var mu sync.Mutex
	var next, failed atomic.Int64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for i := next.Add(1); i <= int64(histories) && failed.Load() < 3; i = next.Add(1) {
				seed := *historiesSeed + uint64(i) - 1
				if told := newHistory(seed).live(policies, loaded, 25, wrong, n); told != "" {
					failed.Add(1)
					mu.Lock()
					found = append(found, fmt.Sprintf("-histories=1 -histories-seed=%d\n%s", seed, told))
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return found
}
