package decide

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/verify"
)

func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// healthy is an active laptop with a TPM whose every claim is yes.
func healthy(app string) Inputs {
	at := noon().Add(-time.Minute)
	r := verify.Result{
		Device:   verify.Device{ID: "d1", State: attest.Active, Level: verify.TPMHardware, Class: verify.ClassCorporate, Platform: posture.Linux},
		IssuedAt: at, QuotedAt: at, Tier: verify.Affirming, Tiers: map[string]verify.Tier{},
	}
	for _, c := range claims() {
		*c.of(&r) = posture.Claim{State: posture.Yes, ObservedAt: at}
		r.Tiers[c.name] = verify.Affirming
	}
	pending := 0
	r.Claims.OS.Detail = posture.OS{ID: "debian", Version: "12", KernelRunning: "6.1.0-28-amd64"}
	r.Claims.Patches.Detail = posture.Patches{SecurityPending: &pending, MetadataAt: at.Add(-time.Hour)}
	r.Claims.BootSecurity.Detail.LSM = []string{"lockdown", "apparmor"}
	r.Claims.DiskEncryption.Detail.Volumes = []posture.Volume{
		{Use: posture.UseData, Mechanism: "luks2", Protector: "tpm+pin"}, {Use: posture.UseBoot},
	}
	return Inputs{Device: r, HasResult: true, App: app, Now: noon()}
}

// counted lists the codes that had a say.
func counted(d Decision) []string {
	codes := []string{}
	for _, r := range d.Reasons {
		if r.counts() {
			codes = append(codes, r.Code)
		}
	}
	return codes
}

func TestConditions(t *testing.T) {
	for _, test := range []struct {
		condition string
		want      bool
	}{
		{"device.level >= SOFTWARE && true", true},
		{"device.disk_encryption.state == YES", true},
		{"device.disk_encryption.state == NO", false},
		{"device.disk_encryption.state in [YES, NO]", true},
		{"device.level >= TPM_HW", true},
		{"device.level in [VTPM, TPM_HW]", true},
		{"device.level < TPM_LISTED", false},
		{"device.secure_boot.source >= MEASURED", false},
		{"device.secure_boot.source == REPORTED", true},
		{"device.firewall.tier < WARNING", true},
		{"device.tier == AFFIRMING", true},
		{"device.ownership == 'corporate' && device.group == ''", true},
		{"device.platform != 'windows'", true},
		{"device.age < duration('1h')", true},
		{"duration('30s') > device.age", false},
		{"device.quote_age <= duration('1m')", true},
		{"device.patches.metadata_age < duration('72h')", true},
		{"device.patches.security_pending == 0", true},
		{"device.patches.security_pending + 1 > -1", true},
		{"size(device.patches.packages) == 0", true},
		{"device.os.id == 'debian' && version_at_least(device.os.version, '11')", true},
		{"version_at_least(device.os.version, '12.1')", false},
		{"version_at_least(device.os.kernel, '6.1.0-28')", true},
		{"version_at_least(device.os.kernel, '6.1.0-29')", false},
		{"device.os.kernel.startsWith('6.') && device.os.kernel.endsWith('amd64')", true},
		{"device.os.kernel.matches('^6[.]1[.]')", true},
		{"'lockdown' in device.boot_security.lsm", true},
		{"device.boot_security.lsm.exists(m, m.contains('armor'))", true},
		{"device.boot_security.lsm.all(m, m != 'none')", true},
		{"device.disk_encryption.protectors.all(p, p == 'tpm+pin')", true},
		{"device.disk_encryption.mechanisms == ['luks2']", true},
		{"device.boot_security.lsm[0] == 'lockdown'", true},
		{"device.boot_security.lsm[7] == 'lockdown'", false}, // fails: not met
		{"has(device.os.version)", true},
		{"has(device.firewall)", true},
		{"is_unknown(device.firewall)", false},
		{"!is_unknown(device.firewall.state)", true},
		{"size(device.findings) == 0", true},
		{"app.sensitivity == LOW && app.id == 'wiki'", true},
		{"app.sensitivity > LOW", false},
		// Absent though the claim is yes.
		{"device.os.build == ''", false},
		{"device.os.build != 'x'", false},
		{"is_unknown(device.os.build)", true},
		{"device.boot_security.sip != NO", false},
		{"has(device.boot_security.sip)", false},
		{"!has(device.boot_security.sip)", false},
		{"is_unknown(device.boot)", false},
		{"device.local_administrators.administrators < 5", false},
		{"!('rdp' in device.remote_access.listening)", false},
		{"size(device.remote_access.listening) == 0", false},
	} {
		t.Run(test.condition, func(t *testing.T) {
			d := load(t, that(test.condition)).Decide(healthy("wiki"))
			if got := d.Outcome == Allow; got != test.want {
				t.Errorf("decided %v %+v", d.Outcome, d.Reasons)
			}
		})
	}
}

// TestOutcomes has a rule of each kind, alone and together.
func TestOutcomes(t *testing.T) {
	rules := `require:
- {id: a-restrict, that: device.firewall.state == YES, otherwise: restrict}
- {id: b-step, that: device.screen_lock.state == YES, otherwise: step_up}
- {id: c-deny, that: device.disk_encryption.state == YES}
- {id: d-report, that: device.mdm.state == YES, otherwise: report_only}
- {id: e-high, for: app.sensitivity >= HIGH, that: device.tpm.state == YES}
- {id: f-mac, for: device.platform == 'darwin', that: device.tpm.state == NO}
`
	p := load(t, "apps:\n- {id: wiki, sensitivity: low}\n- {id: prod, sensitivity: privileged}\n"+rules)
	bad := func(names ...string) func(*Inputs) {
		return func(in *Inputs) {
			for name, c := range in.Device.Claims.Each() {
				if slices.Contains(names, name) {
					c.State, c.Reason = posture.No, "not-configured"
				}
			}
		}
	}
	for _, test := range []struct {
		name, app string
		change    func(*Inputs)
		want      Outcome
		counted   []string
		all       int
	}{
		{"healthy", "wiki", bad(), Allow, nil, 0},
		{"one restricts", "wiki", bad("firewall"), Restrict, []string{"a-restrict"}, 1},
		{"stepping up comes before a restriction", "wiki", bad("firewall", "screen_lock"), StepUp, []string{"a-restrict", "b-step"}, 2},
		{"deny wins", "wiki", bad("firewall", "screen_lock", "disk_encryption"), Deny, []string{"a-restrict", "b-step", "c-deny"}, 3},
		{"a report does not count", "wiki", bad("mdm"), Allow, nil, 1},
		{"for does not apply", "wiki", bad("tpm"), Allow, nil, 0},
		{"for applies", "prod", bad("tpm"), Deny, []string{"e-high"}, 1},
		{"for of a device", "wiki", func(in *Inputs) { in.Device.Device.Platform = posture.Darwin }, Deny, []string{"f-mac"}, 1},
		{"pending, and all else", "wiki", func(in *Inputs) { in.Device.Device.State = attest.Pending; bad("firewall")(in) }, Deny, []string{"pending", "a-restrict"}, 2},
		{"a state that nobody knows", "wiki", func(in *Inputs) { in.Device.Device.State = "trusted" }, Deny, []string{"pending"}, 1},
		{"no state", "wiki", func(in *Inputs) { in.Device.Device.State = "" }, Deny, []string{"pending"}, 1},
		{"revoked, and nothing else", "wiki", func(in *Inputs) { in.Device.Device.State = attest.Revoked; bad("firewall")(in) }, Deny, []string{"revoked"}, 1},
		{"no result", "wiki", func(in *Inputs) { in.HasResult = false }, Deny, []string{"no-report"}, 1},
		{"unknown application", "wikis", bad(), Deny, []string{"app-unknown"}, 1},
		{"no application", "", bad(), Deny, []string{"app-unknown"}, 1},
		{"stale", "wiki", func(in *Inputs) { in.Now = in.Device.IssuedAt.Add(time.Hour) }, Deny, []string{"report-stale"}, 1},
		{"not yet stale", "wiki", func(in *Inputs) { in.Now = in.Device.IssuedAt.Add(time.Hour - 1) }, Allow, nil, 0},
		{"never issued", "wiki", func(in *Inputs) { in.Device.IssuedAt = time.Time{} }, Deny, []string{"report-stale"}, 1},
		{"from the future", "wiki", func(in *Inputs) { in.Device.IssuedAt = in.Now.Add(futureSlack + 1) }, Deny, []string{"report-stale"}, 1},
		{"cloned", "wiki", func(in *Inputs) {
			in.Device.Findings = []verify.Finding{{Code: "cloned", Tier: verify.Contraindicated, Text: "t", Fix: "f"}}
		}, Deny, []string{"cloned"}, 1},
		{"a finding that only warns", "wiki", func(in *Inputs) {
			in.Device.Findings = []verify.Finding{{Code: "clock-skew", Tier: verify.Warning}}
		}, Allow, nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := healthy(test.app)
			test.change(&in)
			d := p.Decide(in)
			if d.Outcome != test.want || !slices.Equal(counted(d), append([]string{}, test.counted...)) || len(d.Reasons) != test.all {
				t.Errorf("decided %v %+v", d.Outcome, d.Reasons)
			}
			if d.Policy != p.Digest() {
				t.Error("the decision does not name its policy")
			}
			for _, r := range d.Reasons {
				if r.Text == "" || r.Fix == "" {
					t.Errorf("reason without words: %+v", r)
				}
			}
		})
	}
}

// TestForUnknownApplies: what could not be told keeps a rule in force.
func TestForUnknownApplies(t *testing.T) {
	for _, scope := range []string{"device.mdm.state == YES", "device.mdm.state != YES", "device.boot_security.lsm[9] == 'x'", "!has(device.mdm)"} {
		p := load(t, oneApp+"require: [{id: rule, for: \""+scope+"\", that: device.firewall.state == NO}]\n")
		in := healthy("wiki")
		in.Device.Claims.MDM = posture.Unseen[posture.MDM](noon(), posture.NotYet)
		if d := p.Decide(in); d.Outcome != Deny {
			t.Errorf("%s: %+v", scope, d)
		}
		if e := p.Explain(in); e.Rules[0].Applies != "unknown" {
			t.Errorf("%s: %+v", scope, e.Rules[0])
		}
	}
	p := load(t, oneApp+"require: [{id: rule, for: device.mdm.state == NO, that: device.firewall.state == NO}]\n")
	if d := p.Decide(healthy("wiki")); d.Outcome != Allow {
		t.Errorf("a for that is false applied: %+v", d)
	}
}

// TestZeroDenies: nothing that nobody filled in allows.
func TestZeroDenies(t *testing.T) {
	var none *Policy
	for name, d := range map[string]Decision{
		"zero decision": {}, "no policy": none.Decide(healthy("wiki")), "zero policy": new(Policy).Decide(healthy("wiki")),
		"zero inputs": load(t, that(always)).Decide(Inputs{}), "zero result": load(t, that(always)).Decide(Inputs{App: "wiki", HasResult: true}),
		"missing from a map": load(t, that(always)).DecideAll(healthy(""))["prod"],
	} {
		if d.Outcome != Deny {
			t.Errorf("%s: %+v", name, d)
		}
	}
	if all := none.DecideAll(healthy("")); len(all) != 0 {
		t.Errorf("no policy decides for %d applications", len(all))
	}
	if e := none.Explain(healthy("wiki")); e.Decision.Outcome != Deny {
		t.Errorf("no policy explains %+v", e)
	}
	var o Outcome = 99
	if err := o.UnmarshalText([]byte("Allow")); err == nil || o != Deny {
		t.Error("a wrong word did not deny")
	}
	if Outcome(9).String() != "deny" {
		t.Error("a value outside the four does not read as deny")
	}
}

// TestPanicDenies: a defect inside an evaluation refuses.
func TestPanicDenies(t *testing.T) {
	p := load(t, that("device.firewall.state == YES"))
	broken := *p.env
	broken.fields = nil // every look at a field now panics
	p.env = &broken
	if d := p.Decide(healthy("wiki")); d.Outcome != Deny {
		t.Errorf("decided %+v", d)
	}
	if d := p.DecideAll(healthy("wiki")); d["wiki"].Outcome != Deny {
		t.Errorf("decided %+v", d)
	}
}

func TestDecideAll(t *testing.T) {
	p, _, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	in := healthy("")
	in.Device.Claims.Firewall.State = posture.No
	in.Device.Device.Level = verify.TPMUnverified
	all := p.DecideAll(in)
	devices := 0
	for _, a := range p.Apps() {
		if in.App = a.ID; !a.Devices {
			continue
		}
		devices++
		if got, want := all[a.ID], p.Decide(in); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: together %+v, alone %+v", a.ID, got, want)
		}
	}
	if len(all) != devices || devices < 2 || all["wiki"].OfDevice().Outcome != Allow || all["mail"].Outcome != Deny {
		t.Errorf("decided %+v", all)
	}
}

// TestByApp has a rule whose `that` differs between applications: what it came
// to for one must not be taken for another, nor hide a failure from the book.
func TestByApp(t *testing.T) {
	p := load(t, `apps: [{id: a, sensitivity: low, devices: true}, {id: b, sensitivity: high, devices: true}, {id: c, sensitivity: low, devices: true}]
require: [{id: rule, that: "app.sensitivity < HIGH || device.firewall.state == YES", grace: 1h}]
`)
	in := healthy("")
	in.Device.Claims.Firewall.State = posture.No
	book := p.NextGrace(in)
	if got := book["rule"].BadSince; !got.Equal(in.Now) {
		t.Errorf("the book has %+v", book)
	}
	in.Grace = p.spent(in.Now)
	for id, d := range p.DecideAll(in) {
		if (d.Outcome == Deny) != (id == "b") {
			t.Errorf("%s: %+v", id, d)
		}
	}
}

// TestFutureIsUnknown: a laptop that dates its package lists ahead is not young.
func TestFutureIsUnknown(t *testing.T) {
	for _, condition := range []string{"device.patches.metadata_age < duration('72h')", "device.os.age >= duration('-9h')"} {
		p := load(t, that(condition))
		for ahead, want := range map[time.Duration]Outcome{futureSlack: Allow, futureSlack + 1: Deny, 1000 * time.Hour: Deny} {
			in := healthy("wiki")
			in.Device.Claims.Patches.Detail.MetadataAt = in.Now.Add(ahead)
			in.Device.Claims.OS.ObservedAt = in.Now.Add(ahead)
			if d := p.Decide(in); d.Outcome != want {
				t.Errorf("%s, %v ahead: %+v", condition, ahead, d)
			}
		}
	}
}

// TestConcurrent shares one policy, as a server does; it is for the race
// detector.
func TestConcurrent(t *testing.T) {
	p, _, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	in := healthy("prod-admin")
	in.Device.Claims = posture.Unfilled(noon(), posture.NotYet)
	want := p.Decide(in)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if d := p.Decide(in); !reflect.DeepEqual(d, want) {
					t.Errorf("decided %+v", d)
				}
				p.DecideAll(in)
				p.NextGrace(in)
				p.Explain(in)
			}
		})
	}
	all.Wait()
}

// TestApps: what the caller does with the list changes no policy.
func TestApps(t *testing.T) {
	p, _, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	p.Apps()[0].Hosts[0] = "evil.example"
	a, ok := p.App("wiki")
	if !ok || !a.Devices || a.Sensitivity != "low" || a.Hosts[0] != "wiki.corp.example" {
		t.Errorf("%+v", a)
	}
	if _, ok := p.App("wik"); ok {
		t.Error("an application that nobody named")
	}
}

// TestUntil compares what a decision says of its next change with what happens:
// from now until then it is the same, and at that instant it is another.
func TestUntil(t *testing.T) {
	p := load(t, `limits: {report_age: 45m}
apps: [{id: wiki, sensitivity: low}]
require:
- {id: less, that: "device.age < duration('10m')", otherwise: restrict}
- {id: less-equals, that: "device.age <= duration('20m')", otherwise: report_only}
- {id: more, for: "device.age > duration('5m')", that: "device.os.age < duration('30m')", otherwise: restrict}
- {id: mirrored, that: "duration('15m') >= device.patches.metadata_age", otherwise: report_only}
- {id: mirrored-less, that: "duration('16m') <= device.patches.updated_age || is_unknown(device.patches.updated_age)", otherwise: report_only}
- {id: graceful, that: device.firewall.state == YES, grace: 25m}
`)
	in := healthy("wiki")
	at := in.Device.IssuedAt
	in.Device.Claims.Firewall.State = posture.No
	in.Device.Claims.OS.ObservedAt = at
	in.Device.Claims.Patches.Detail.MetadataAt = at.Add(futureSlack + 2*time.Minute) // not to be believed yet
	in.Device.Claims.Patches.Detail.UpdatedAt = at.Add(futureSlack + 3*time.Minute)
	in.Now = at
	in.Grace = p.NextGrace(in)
	same := func(a, b Decision) bool {
		a.Until, b.Until = time.Time{}, time.Time{}
		return reflect.DeepEqual(a, b)
	}
	var steps []time.Duration
	for d := p.Decide(in); !d.Until.IsZero(); d = p.Decide(in) {
		if !d.Until.After(in.Now) || len(steps) > 30 {
			t.Fatalf("at %v until %v", in.Now.Sub(at), d.Until.Sub(at))
		}
		steps = append(steps, d.Until.Sub(at))
		for _, between := range []time.Duration{1, d.Until.Sub(in.Now) / 2, d.Until.Sub(in.Now) - 1} {
			later := in
			later.Now = in.Now.Add(between)
			if got := p.Decide(later); !same(got, d) || (between > 0 && between < d.Until.Sub(in.Now) && !got.Until.Equal(d.Until)) {
				t.Errorf("at %v it changed before %v: %+v, then %+v", later.Now.Sub(at), d.Until.Sub(at), d, got)
			}
		}
		in.Now = d.Until
	}
	want := []time.Duration{
		2 * time.Minute, 3 * time.Minute, 5*time.Minute + 1, 10 * time.Minute, 20*time.Minute + 1, 25 * time.Minute,
		futureSlack + 17*time.Minute + 1, futureSlack + 19*time.Minute, 30 * time.Minute, 45 * time.Minute,
	}
	slices.Sort(want)
	if !slices.Equal(steps, want) {
		t.Errorf("it changes at %v, want %v", steps, want)
	}
}

func TestExplain(t *testing.T) {
	p, _, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	in := healthy("mail")
	in.Device.Claims.DiskEncryption = posture.Unseen[posture.DiskEncryption](noon(), posture.Permission)
	in.Device.Claims.Firewall.State = posture.No
	e := p.Explain(in)
	if !reflect.DeepEqual(e.Decision, p.Decide(in)) {
		t.Error("Explain decides otherwise than Decide")
	}
	var b strings.Builder
	if err := e.Text(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"mail: deny", "? disk-encrypted could not be told", "device.disk_encryption.state = unknown", "x firewall is not met", "+ patched is met",
		"- secure-boot does not apply", "does not count", "It could not be told whether the disks are encrypted: the agent may not look.",
		"sudo muster-agent install", "for  app.sensitivity >= MEDIUM", "device.level = TPM_HW", `device.os.id = "debian"`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if _, err := json.Marshal(e); err != nil {
		t.Error(err)
	}
}

// TestPolicyTests: a test that does not hold says so.
func TestPolicyTests(t *testing.T) {
	p := load(t, that("device.firewall.state == YES")+`tests:
- {name: file, given: {device: good.json, app: wiki}, expect: {decision: allow, reasons: []}}
- {name: wrong decision, given: {device: good.json, app: wiki}, expect: {decision: deny}}
- {name: wrong reasons, given: {device: {device: {state: active}}, app: wiki}, expect: {decision: deny, reasons: [no-report]}}
- {name: missing, given: {device: none.json, app: wiki}, expect: {decision: deny}}
- {name: broken, given: {device: broken.json, app: wiki}, expect: {decision: deny}}
- {name: order, given: {device: {device: {state: pending}}, app: wiki}, expect: {decision: deny, reasons: [rule, pending]}}
`)
	good, err := json.Marshal(healthy("").Device)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"good.json": good, "broken.json": []byte(`{"device":{},"device":{}}`)}
	read := func(name string) ([]byte, error) {
		if data, ok := files[name]; ok {
			return data, nil
		}
		return nil, errors.New("no such file")
	}
	want := []string{"", "expected deny, decided allow", "expected the reasons no-report, found rule", "could not be read", "is no device", ""}
	for i, r := range p.Test(read) {
		if (want[i] == "") != (r.Problem == "") || !strings.Contains(r.Problem, want[i]) || r.Line != 7+i {
			t.Errorf("%s in line %d: %q, want %q", r.Name, r.Line, r.Problem, want[i])
		}
	}
}
