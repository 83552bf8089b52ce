package web

import (
	"context"
	"time"

	"muster/attest"
	"muster/server/decide"
	"muster/server/people"
	"muster/server/session"
	"muster/server/store"
)

// sampleReasons are of every kind: they count, will count, are let pass, on trial.
func sampleReasons() []decide.Reason {
	return []decide.Reason{
		{Code: "disk-encrypted", Claim: "disk_encryption", Text: "Not every disk of this laptop is encrypted.", Fix: "Encrypt the swap area, or turn it off: `sudo swapoff -a`, and remove it from /etc/fstab."},
		{Code: "link-fresh", Claim: aboutLink, Text: "The link between this browser and the laptop was proved too long ago.", Fix: "Choose \"Link this laptop\" again; it takes a moment.", Outcome: decide.StepUp, Person: true},
		{Code: "firewall-on", Claim: "firewall", Text: "It could not be told whether the firewall is on.", Fix: "Start muster-agent with its service, not by hand.", Outcome: decide.Restrict, Unknown: true},
		{Code: "patched", Claim: "patches", Text: "Security updates are missing.", Fix: "Run `sudo apt upgrade`.", Grace: noon().Add(22 * time.Hour)},
		{Code: "screen-lock", Claim: "screen_lock", Text: "The screen does not lock by itself.", Fix: "Settings → Privacy → Screen.", Bypass: noon().Add(6 * time.Hour)},
		{Code: "young-lists", Claim: "patches", Text: "On trial.", Fix: "Nothing.", Outcome: decide.Allow, ReportOnly: true},
	}
}

// sampleAccess is how a browser stands, with something to do of one kind.
func sampleAccess(s *site, do todo, o decide.Outcome) *accessView {
	v := &accessView{Name: "prod-admin", Host: "admin.muster.example", Back: "/a?b=c", Path: "/access?back=%2Fa%3Fb%3Dc&host=admin.muster.example",
		Proved: "/access?back=%2F&host=admin.muster.example&proved=1", Do: do, Laptop: "alice-laptop", Recheck: true, outcome: o}
	v.Outcome = accessMark(o, do.Kind)
	for _, r := range sampleReasons() {
		view := s.reasonView(r, sampleLaptop())
		switch {
		case !r.Grace.IsZero():
			v.Later = append(v.Later, view)
		case !r.Bypass.IsZero():
			v.Passed = append(v.Passed, view)
		case r.Counts():
			v.Counting = append(v.Counting, view)
		}
	}
	return v
}

// one keeps a single reason that counts.
func one(v *accessView, r reasonView) *accessView {
	v.Counting, v.Later, v.Passed = []reasonView{r}, nil, nil
	return v
}

func sampleElevation(granted bool) *people.Elevation {
	e := &people.Elevation{Elevation: &store.Elevation{ID: "el_1", Session: "s1", Person: "p1", App: "prod-admin", Why: "renew the certificate of the mail gateway",
		Approval: "on-call", Lasts: 15 * time.Minute, AskedAt: noon().Add(-2 * time.Minute), Expires: noon().Add(13 * time.Minute)}, Name: "alice", Own: true}
	if granted {
		e.GrantedAt, e.EndsAt, e.Approver = noon().Add(-time.Minute), noon().Add(14*time.Minute), "bob"
	}
	return e
}

func accessSamples(s *site) []sample {
	stranger := func(code string) *accessView {
		st := &Standing{Host: "wiki.muster.example", Decision: decide.NoSession(code)}
		return strangerView(st, accessAsk{host: "wiki.muster.example", back: "/"})
	}
	verification := s.reasonView(decide.Reason{Code: "fresh-hands", Claim: aboutVerification, Text: "You have confirmed with your passkey longer ago than this application allows.",
		Fix: "Choose \"Confirm with a passkey\", and touch it or unlock it as it asks.", Outcome: decide.StepUp, Person: true}, nil)
	passkey := s.reasonView(decide.Reason{Code: "hardware-passkey", Claim: aboutPasskey, Text: "Your passkey may be copied to other machines.",
		Fix: "Sign in with a security key: its passkeys do not leave it.", Outcome: decide.StepUp, Person: true}, nil)
	elevation := s.reasonView(decide.Reason{Code: "elevation-needed", Claim: aboutElevation, Text: "This application opens for minutes at a time, to who asks and says why.",
		Fix: "Ask for access on the page that refused you.", Outcome: decide.StepUp, Person: true}, nil)
	user := s.reasonView(decide.Reason{Code: "engineers", Claim: "user", Text: "You are not among the people who may use this application.",
		Fix: "Ask an administrator to put you into the right group, if your work needs it.", Person: true}, nil)
	blind := sampleAccess(s, todo{Kind: doLink}, decide.StepUp)
	blind.Blind, blind.Laptop, blind.Recheck = true, "", false
	wait := sampleAccess(s, todo{Kind: doWait}, decide.Deny)
	again := *wait
	wait.Retries = true
	open := sampleAccess(s, todo{Kind: doOpen}, decide.Allow)
	open.Counting, open.Again = nil, "https://admin.muster.example/.muster/start?back=%2F"
	refused := sampleAccess(s, todo{Kind: doOpen}, decide.Restrict)
	refused.Again = open.Again
	refused.refused()
	page := func(name string, v *accessView) sample {
		title := v.title()
		if v.Name == "" {
			title = "Sign in first"
		}
		return sample{name, "access", "layout", title, store.RolePerson, "", v}
	}
	asStranger := func(name string, v *accessView) sample {
		sm := page(name, v)
		sm.role = ""
		return sm
	}
	all := []sample{
		asStranger("access-stranger", stranger("sign-in")),
		asStranger("access-ended-model", stranger("passkey-model")),
		asStranger("access-ended-disabled", stranger("person-disabled")),
		page("access-session", one(sampleAccess(s, todo{Kind: doSignIn}, decide.StepUp), passkey)),
		page("access-link", blind),
		page("access-link-again", one(sampleAccess(s, todo{Kind: doLink}, decide.StepUp), blind.Counting[1])),
		page("access-verify", one(sampleAccess(s, todo{Kind: doVerify}, decide.StepUp), verification)),
		page("access-passkey", one(sampleAccess(s, todo{Kind: doPasskey}, decide.StepUp), passkey)),
		page("access-elevate", one(sampleAccess(s, todo{Kind: doElevate, Lasts: "15 minutes", Approval: "on-call"}, decide.StepUp), elevation)),
		page("access-elevate-alone", one(sampleAccess(s, todo{Kind: doElevate, Lasts: "15 minutes"}, decide.StepUp), elevation)),
		page("access-approval", one(sampleAccess(s, todo{Kind: doApproval, Approval: "on-call", Elevated: sampleElevation(false)}, decide.StepUp), elevation)),
		page("access-granted", one(sampleAccess(s, todo{Kind: doApproval, Elevated: sampleElevation(true)}, decide.StepUp), elevation)),
		page("access-wait", wait),
		page("access-waited", &again),
		page("access-fix", sampleAccess(s, todo{Kind: doFix}, decide.Deny)),
		page("access-ask", one(sampleAccess(s, todo{Kind: doAsk}, decide.Deny), user)),
		page("access-open", open),
		page("access-refused", refused),
		{"sign-in-another", "sign-in", "layout", "Sign in", store.RolePerson, "", signInView{"/", true}},
		{"elevations", "elevations", "layout", "Privileged access", store.RoleAdministrator, "elevation-approved", elevationsView{
			Own:     []elevationView{s.elevationView(sampleElevation(true)), s.elevationView(sampleElevation(false))},
			Approve: []elevationView{s.elevationView(sampleElevation(false))},
			Others:  []elevationView{s.elevationView(sampleElevation(true))}}},
		{"elevations-none", "elevations", "layout", "Privileged access", store.RolePerson, "", elevationsView{}},
	}
	all[len(all)-5].done = "checked" // a form led to it
	return all
}

// sampleDevices is a small fleet: what waits comes first.
func sampleDevices() []OfficeDevice {
	good, waiting, gone, silent := *sampleLaptop(), *sampleLaptop(), *sampleLaptop(), *sampleLaptop()
	good.ID, good.Name, good.Decision, good.Class = "d_5", "bob-laptop", attest.Decision{Outcome: "allow"}, "corporate"
	good.Owner = "bob"
	waiting.ID, waiting.Name, waiting.State, waiting.Claims, waiting.Owner = "d_2", "", attest.Pending, nil, ""
	waiting.CauseText, waiting.CompareCode, waiting.LastReport = "It was enrolled with a key in a file, which the token does not admit by itself.", "SECR-ETCO", time.Time{}
	gone.ID, gone.Name, gone.State, gone.Class = "d_3", "carol-old", attest.Revoked, "byod"
	silent.ID, silent.Name, silent.Current = "d_4", "a-laptop-with-a-name-that-is-longer-than-anybody-should-give-one", false
	return []OfficeDevice{
		{Laptop: waiting, Serial: "FRANKENBOOK-0000-1111-2222", EnrolledAt: noon().Add(-time.Hour)},
		{Laptop: *sampleLaptop(), Serial: "FRANDACP01", EnrolledAt: noon().Add(-80 * 24 * time.Hour), Group: "engineering"},
		{Laptop: good, EnrolledAt: noon().Add(-40 * 24 * time.Hour)},
		{Laptop: silent, EnrolledAt: noon().Add(-40 * 24 * time.Hour)},
		{Laptop: gone, EnrolledAt: noon().Add(-90 * 24 * time.Hour), RevokedWhy: "lost in a train"},
	}
}

func sampleAudit() []*store.Entry {
	return []*store.Entry{
		{Seq: 9, At: noon().Add(-time.Minute), Actor: "person:alice", Action: "device.approve", Subject: "d1", Detail: []byte(`{"owner":"bob","class":"corporate","count":3,"list":["a","b"]}`)},
		{Seq: 8, At: noon().Add(-time.Hour), Actor: "device:d1", Action: "report.late", Subject: "d1", Detail: []byte(`{}`)},
		{Seq: 7, At: noon().Add(-2 * time.Hour), Actor: "local administrator", Action: "policy.use", Subject: "5d41402abc4b2a76b9719d911017c5925d41402abc4b2a76b9719d911017c592", Detail: []byte(`not json`)},
	}
}

// sampleOffice acts on nothing.
func sampleOffice() *Office {
	return &Office{
		Devices: sampleDevices,
		Approve: func(context.Context, people.Actor, string, string, string, string) error { return nil },
		Revoke:  func(context.Context, people.Actor, string, string) error { return nil },
		Device: func(context.Context, string) (*DeviceDetail, error) {
			return sampleDetail(sampleStarts(store.BaselineDrifted)), nil
		},
		DecideStart: func(context.Context, people.Actor, string, string, bool, bool) (int, error) { return 1, nil },
		Policy:      func() (string, string, string) { return samplePolicyDigest, "apps:\n  - id: wiki\n", "" },
		Simulate: func(context.Context, string) (*Simulation, error) {
			return &Simulation{}, nil
		},
		UsePolicy: func(context.Context, people.Actor, string) error { return nil },
		Audit:     func(context.Context, uint64, int) ([]*store.Entry, error) { return sampleAudit(), nil },
	}
}

const samplePolicyDigest = "5d41402abc4b2a76b9719d911017c5925d41402abc4b2a76b9719d911017c592"

func sampleSimulation() *Simulation {
	return &Simulation{Digest: samplePolicyDigest, Devices: 120, Sessions: 44, Lost: 2, Won: 1,
		Changes: []SimulatedChange{
			{App: "prod-admin", Person: "alice", Session: "s1", Device: "d1", Laptop: "alice-laptop", Before: decide.Allow, After: decide.Deny, Reasons: []string{"disk-encrypted", "hardware-passkey"}},
			{App: "wiki", Device: "d_5", Laptop: "bob-laptop", Before: decide.Allow, After: decide.Restrict, Reasons: []string{"firewall-on"}},
			{App: "wiki", Person: "carol", Before: decide.StepUp, After: decide.Allow},
		},
		Trial: []SimulatedTrial{{Rule: "young-lists", Devices: 14, Sessions: 1}},
		Diff:  []decide.Change{{What: "rule firewall-on", How: "added"}, {What: "rule disk-encrypted", How: "otherwise restrict → deny"}},
		Tests: []decide.TestResult{{Name: "suspended BitLocker keeps people out of prod", Line: 40}, {Name: "an old report is none", Line: 44, Problem: "expected deny, decided allow because of nothing"}},
	}
}

func samplePolicyView(s *site, sim *Simulation) policyView {
	v := policyView{Digest: samplePolicyDigest, Text: "\napps:\n  - id: wiki\n    hosts: [wiki.muster.example]\n", May: true, Tried: sim != nil, Sim: sim}
	v.Draft = v.Text
	if sim == nil {
		return v
	}
	for _, c := range sim.Changes {
		v.Changes = append(v.Changes, changeView{SimulatedChange: c, Worse: c.After < c.Before, From: decisionMark(c.Before), To: decisionMark(c.After), Who: c.Person, Laptop: firstOf(c.Laptop, c.Device)})
	}
	for _, t := range sim.Tests {
		if t.Problem != "" {
			v.Failed++
		}
	}
	return v
}

func deskSamples(s *site) []sample {
	var devices []deviceView
	for _, d := range sampleDevices() {
		devices = append(devices, deviceView{d, outcomeMark(&d.Laptop), confirmWord(d)})
	}
	all := devicesView{States: stateChoices(), Devices: devices, Found: len(devices), All: 240, Classes: deviceClasses(), May: true, State: "bad", Query: "lap"}
	read := all
	read.May = false
	held := []heldView{
		{heldSession{&session.Session{ID: "s9", Browser: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", Address: "198.51.100.7", SeenAt: noon(), CreatedAt: noon().Add(-time.Hour)}, "alice-laptop"}, "alice", "Security key"},
		{heldSession{&session.Session{ID: "s8", SeenAt: noon().Add(-time.Hour), CreatedAt: noon().Add(-9 * time.Hour)}, ""}, "bob", ""}}
	bypasses := []bypassView{
		{&store.Bypass{ID: "by_1", Device: "d1", Rule: "disk-encrypted", Why: "its disk is being replaced", CreatedAt: noon().Add(-time.Hour), CreatedBy: "person:alice", Expires: noon().Add(20 * time.Hour)}, "alice-laptop", true},
		{&store.Bypass{ID: "by_2", Person: "p2", Rule: "hardware-passkey", Why: "new key is in the post", CreatedAt: noon().Add(-time.Hour), CreatedBy: "local administrator", Expires: noon().Add(2 * 24 * time.Hour)}, "bob", false}}
	calm := sampleSimulation()
	calm.Lost, calm.Won, calm.Changes, calm.Tests, calm.Trial, calm.Diff = 0, 0, nil, calm.Tests[:1], nil, nil
	untested := sampleSimulation()
	untested.Tests = nil
	broken := samplePolicyView(s, nil)
	broken.Tried = true
	broken.Problems = decide.Problems{{File: "policy", Line: 12, Column: 11, Text: "undeclared reference to 'devise': did you mean device?"}, {File: "policy", Line: 30, Column: 3, Text: "no application has the id \"wikki\""}}
	file := samplePolicyView(s, calm)
	file.File = "/etc/muster/policy.yaml"
	reader := samplePolicyView(s, nil)
	reader.May = false
	entries := s.auditViews(sampleAudit())
	overview := overviewView{Laptops: 240, Healthy: 221, Sessions: 44, Bypasses: 1, Policy: shortDigest(samplePolicyDigest), Latest: entries,
		Attention: append([]attention{{mark{"wait", "2 laptops wait for an approval"}, "Compare the code that each shows.", "/office/devices?state=pending", "Open laptops"}},
			s.elevationAttention(nil, []*people.Elevation{sampleElevation(false)})...)}
	helpDesk := overviewView{Laptops: 1, Healthy: 1, Sessions: -1}
	admin := func(name, page, title, done string, body any) sample {
		return sample{name, page, "layout", title, store.RoleAdministrator, done, body}
	}
	return []sample{
		admin("overview", "overview", "Administration", "", overview),
		{"overview-help-desk", "overview", "layout", "Administration", store.RoleHelpDesk, "", helpDesk},
		admin("devices", "devices", "All laptops", "device-approved", all),
		{"devices-read", "devices", "layout", "All laptops", store.RoleHelpDesk, "", read},
		admin("devices-none", "devices", "All laptops", "", devicesView{States: stateChoices()}),
		admin("held", "held", "All sessions", "", heldsView{Sessions: held, Found: 2, All: 44, May: true, Person: "alice"}),
		{"held-auditor", "held", "layout", "All sessions", store.RoleAuditor, "", heldsView{Sessions: held, Found: 2, All: 2}},
		admin("held-none", "held", "All sessions", "", heldsView{}),
		admin("policy", "policy", "Policy", "policy-used", samplePolicyView(s, nil)),
		admin("policy-tried", "policy", "Policy", "", samplePolicyView(s, sampleSimulation())),
		admin("policy-calm", "policy", "Policy", "", samplePolicyView(s, calm)),
		admin("policy-untested", "policy", "Policy", "", samplePolicyView(s, untested)),
		admin("policy-broken", "policy", "Policy", "", broken),
		admin("policy-file", "policy", "Policy", "", file),
		{"policy-auditor", "policy", "layout", "Policy", store.RoleAuditor, "", reader},
		admin("audit", "audit", "Audit log", "", auditPageView{Entries: entries, Before: 7}),
		admin("audit-end", "audit", "Audit log", "", auditPageView{}),
		admin("bypasses", "bypasses", "Bypasses", "bypass-added", bypassesView{Bypasses: bypasses, Lasts: bypassLasts(), May: true, Device: "d1"}),
		{"bypasses-auditor", "bypasses", "layout", "Bypasses", store.RoleAuditor, "", bypassesView{}},
	}
}
