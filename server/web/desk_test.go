package web

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"muster/attest"
	"muster/server/decide"
	"muster/server/people"
	"muster/server/store"
)

// The navigation shows what a role may open, and nothing else; each link opens.
func TestNavigationFitsTheRole(t *testing.T) {
	g := newRig(t)
	want := map[store.Role][]string{
		store.RolePerson:        nil,
		store.RoleHelpDesk:      {"/office", "/office/devices", "/people", "/approvals"},
		store.RoleAuditor:       {"/office", "/office/devices", "/people", "/office/sessions", "/approvals", "/office/policy", "/office/bypasses", "/office/audit", "/programs"},
		store.RoleAdministrator: {"/office", "/office/devices", "/people", "/office/sessions", "/approvals", "/elevations", "/office/policy", "/office/bypasses", "/office/audit", "/programs"},
	}
	for role, paths := range want {
		b := g.join("user-"+strings.ReplaceAll(string(role), "_", "-"), role)
		who := mustWho(t, g, b)
		var got []string
		for _, l := range (sheet{Who: who, Office: true, Path: "/office"}).Desk() {
			got = append(got, l.Path)
			if page := b.get(l.Path); page.StatusCode != 200 || !strings.Contains(text(page), `aria-label="Administration"`) {
				t.Errorf("%s at %s: %d", role, l.Path, page.StatusCode)
			}
		}
		if !slices.Equal(got, paths) {
			t.Errorf("%s is shown %q", role, got)
		}
		if home := text(b.get("/")); strings.Contains(home, "Administration") != (paths != nil) {
			t.Errorf("%s: the way to administration is wrong", role)
		}
	}
	without := sheet{Who: sampleWho(store.RoleAdministrator), Path: "/people/bob"}
	for _, l := range without.Desk() {
		if strings.HasPrefix(l.Path, "/office") {
			t.Errorf("without an office: %s", l.Path)
		}
	}
	for _, r := range newSite(Config{Origin: testOrigin, Now: noon}).table() {
		if strings.Contains(r.pattern, " /office") || strings.Contains(r.pattern, " /access") {
			t.Errorf("%s is there without anything behind it", r.pattern)
		}
	}
}

// Laptops are found by what is known of them; the code that proves who sits at one is
// never on the page.
func TestDevicesAreFound(t *testing.T) {
	g := newRig(t)
	b := g.join("alice", store.RoleAdministrator)
	for query, want := range map[string][]string{
		"":                   {"d_2", "d1", "d_5", "d_4", "d_3"},
		"?q=BOB":             {"d_5"},
		"?q=d_4":             {"d_4"},
		"?q=frandacp":        {"d1"},
		"?owner=Bob":         {"d_5"},
		"?owner=nobody":      nil,
		"?state=pending":     {"d_2"},
		"?state=revoked":     {"d_3"},
		"?state=ok":          {"d_5"},
		"?state=bad":         {"d1"},
		"?state=silent":      {"d_4"},
		"?q=bob&state=bad":   nil,
		"?state=odd":         {"d_2", "d1", "d_5", "d_4", "d_3"},
		"?q=%3Cscript%3Ex()": nil,
	} {
		page := b.get("/office/devices" + query)
		body := text(page)
		var got []string
		for _, id := range []string{"d_2", "d1", "d_5", "d_4", "d_3"} {
			if strings.Contains(body, "<code>"+id+"</code>") {
				got = append(got, id)
			}
		}
		if page.StatusCode != 200 || !slices.Equal(got, want) {
			t.Errorf("%q finds %q, want %q", query, got, want)
		}
		if strings.Contains(body, "SECR-ETCO") || strings.Contains(body, "<script>x") {
			t.Errorf("%q: the page tells what it must not", query)
		}
		checkHTML(t, query, []byte(body), true)
	}
	many := make([]OfficeDevice, 3*maxListed)
	for i := range many {
		many[i].ID = fmt.Sprintf("d_%d", i)
	}
	g.desk.Devices = func() []OfficeDevice { return many }
	if body := text(b.get("/office/devices")); strings.Count(body, "<code>d_") != maxListed || !strings.Contains(body, "the first 100 are shown") {
		t.Errorf("of many %d are shown", strings.Count(body, "<code>d_"))
	}
}

func TestDevicesAreApprovedAndRevoked(t *testing.T) {
	g := newRig(t)
	var did []string
	note := func(parts ...string) error { did = append(did, strings.Join(parts, "|")); return nil }
	g.desk.Approve = func(_ context.Context, by people.Actor, id, code, owner, class string) error {
		return note("approve", string(by), id, code, owner, class)
	}
	g.desk.Revoke = func(_ context.Context, by people.Actor, id, why string) error {
		return note("revoke", string(by), id, why)
	}
	alice, carol := g.join("alice", store.RoleAdministrator), g.join("carol", store.RoleHelpDesk)
	approve := url.Values{"id": {"d_2"}, "code": {"abcd efgh"}, "owner": {" Bob "}, "class": {"corporate"}}
	if done := alice.form("/office/devices/approve", approve); done.Header.Get("Location") != "/office/devices?done=device-approved" {
		t.Errorf("approving: %d %s", done.StatusCode, code(done))
	}
	revoke := func(id, typed, why string) url.Values {
		return url.Values{"id": {id}, "confirm": {typed}, "why": {why}}
	}
	for name, values := range map[string]url.Values{"nothing typed": revoke("d1", "", "lost"), "another name": revoke("d1", "bob-laptop", "lost"), "a part": revoke("d1", "alice", "lost"),
		"no reason": revoke("d1", "alice-laptop", "  "), "no laptop": revoke("d9", "d9", "lost"), "the id where there is a name": revoke("d1", "d1", "lost")} {
		if answer := alice.form("/office/devices/revoke", values); answer.StatusCode < 400 || answer.StatusCode >= 500 {
			t.Errorf("%s: %d", name, answer.StatusCode)
		}
	}
	for _, values := range []url.Values{revoke("d1", " Alice-Laptop ", "lost"), revoke("d_2", "d_2", "lost")} {
		if done := alice.form("/office/devices/revoke", values); done.StatusCode != 303 {
			t.Errorf("revoking: %d %s", done.StatusCode, code(done))
		}
	}
	if answer := carol.form("/office/devices/approve", approve); answer.StatusCode != 403 {
		t.Errorf("the help desk approves: %d", answer.StatusCode)
	}
	if page := text(carol.get("/office/devices")); strings.Contains(page, `method="post" action="/office`) {
		t.Error("the help desk is offered to act")
	}
	if want := []string{"approve|person:alice|d_2|ABCD-EFGH|bob|corporate", "revoke|person:alice|d1|lost", "revoke|person:alice|d_2|lost"}; !slices.Equal(did, want) {
		t.Errorf("did %q, want %q", did, want)
	}
	g.desk.Approve = func(context.Context, people.Actor, string, string, string, string) error {
		return &people.Refusal{Status: 409, Code: "compare-code", Text: "No.", Fix: "Look again."}
	}
	if answer := alice.form("/office/devices/approve", approve); answer.StatusCode != 409 || code(answer) != "compare-code" {
		t.Errorf("a refusal: %d %s", answer.StatusCode, code(answer))
	}
}

// A policy is used only as it was tried, and only where no file has it.
func TestPolicyIsTriedFirst(t *testing.T) {
	g := newRig(t)
	file := ""
	var used []string
	digest := func(text string) string { sum := sha256.Sum256([]byte(text)); return hex.EncodeToString(sum[:]) }
	sim := *sampleSimulation()
	var broken error
	g.desk.Policy = func() (string, string, string) { return samplePolicyDigest, "apps: []\n", file }
	g.desk.Simulate = func(_ context.Context, text string) (*Simulation, error) {
		one := sim
		one.Digest = digest(text)
		return &one, broken
	}
	g.desk.UsePolicy = func(_ context.Context, by people.Actor, text string) error {
		used = append(used, string(by)+"|"+text)
		return broken
	}
	b := g.join("alice", store.RoleAdministrator)
	const draft = "\napps:\n  - id: wiki\n# <b>\n"
	typed := strings.ReplaceAll(draft, "\n", "\r\n") // as browsers send it
	try := func() string { return text(b.form("/office/policy/try", url.Values{"text": {typed}})) }
	page := try()
	if strings.Contains(page, "/office/policy/use") || !strings.Contains(page, "1 of 2 fail") || len(used) > 0 {
		t.Error("a policy that fails its own tests is offered, or used")
	}
	sim.Tests = nil
	page = try()
	if !strings.Contains(page, `name="digest" value="`+digest(draft)+`"`) || !strings.Contains(page, "2 would lose something") || !strings.Contains(page, "# &lt;b&gt;") {
		t.Errorf("a good one is not offered:\n%s", page)
	}
	checkHTML(t, "tried", []byte(page), true)
	for name, values := range map[string]url.Values{
		"no digest": {"text": {typed}}, "another text": {"text": {typed + "x"}, "digest": {digest(draft)}},
		"another digest": {"text": {typed}, "digest": {samplePolicyDigest}}, "in capitals": {"text": {typed}, "digest": {strings.ToUpper(digest(draft))}},
	} {
		if answer := b.form("/office/policy/use", values); answer.StatusCode != 409 || code(answer) != "policy-untried" {
			t.Errorf("%s: %d %s", name, answer.StatusCode, code(answer))
		}
	}
	good := url.Values{"text": {typed}, "digest": {digest(draft)}}
	file = "/etc/muster/policy.yaml"
	if answer := b.form("/office/policy/use", good); answer.StatusCode != 409 || code(answer) != "policy-file" || strings.Contains(try(), "/office/policy/use") {
		t.Errorf("of a file: %d %s", answer.StatusCode, code(answer))
	}
	file = ""
	if len(used) > 0 {
		t.Fatalf("used %q", used)
	}
	if done := b.form("/office/policy/use", good); done.Header.Get("Location") != "/office/policy?done=policy-used" || !slices.Equal(used, []string{"person:alice|" + draft}) {
		t.Errorf("using: %d, used %q", done.StatusCode, used)
	}
	broken = fmt.Errorf("reading the policy: %w", decide.Problems{{File: "policy", Line: 3, Column: 7, Text: "undeclared <reference>"}})
	for _, page := range []string{try(), text(b.form("/office/policy/use", good))} {
		if !strings.Contains(page, "line 3, column 7") || !strings.Contains(page, "undeclared &lt;reference&gt;") || strings.Contains(page, "/office/policy/use\"") {
			t.Error("problems are not told")
		}
	}
	broken = errors.New("the disk said hush-hush")
	if answer := b.form("/office/policy/try", good); answer.StatusCode != 500 || strings.Contains(text(answer), "hush") {
		t.Errorf("an error: %d", answer.StatusCode)
	}
}

// A large policy fits; nobody's form of that size is read before it is known whose it
// is.
func TestPolicySizes(t *testing.T) {
	g := newRig(t)
	got := 0
	g.desk.Simulate = func(_ context.Context, text string) (*Simulation, error) { got = len(text); return &Simulation{}, nil }
	b := g.join("alice", store.RoleAdministrator)
	body := "text=" + strings.Repeat("%23", 1<<20) // the largest policy, in its largest form
	send := func(b *browser, body string, read *int) *http.Response {
		return b.do("POST", "/office/policy/try", "application/x-www-form-urlencoded", "", func(r *http.Request) {
			r.Body = &counted{strings.NewReader(body), read}
		})
	}
	read := 0
	if answer := send(b, body, &read); answer.StatusCode != 200 || got != 1<<20 {
		t.Errorf("a large policy: %d, %d bytes", answer.StatusCode, got)
	}
	if answer := send(b, body+strings.Repeat("a", maxPolicyForm), &read); answer.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("more: %d", answer.StatusCode)
	}
	for name, other := range map[string]*browser{"a stranger": g.browser(), "the help desk": g.join("carol", store.RoleHelpDesk), "an auditor": g.join("dave", store.RoleAuditor)} {
		read = 0
		if answer := send(other, body, &read); answer.StatusCode < 400 || read > 0 {
			t.Errorf("%s: %d, %d bytes are read", name, answer.StatusCode, read)
		}
	}
}

// counted counts what is read of a body.
type counted struct {
	*strings.Reader
	n *int
}

func (c *counted) Read(b []byte) (int, error) { n, err := c.Reader.Read(b); *c.n += n; return n, err }
func (c *counted) Close() error               { return nil }

// The audit log is paged by numbers; what is no record's detail is shown as it is.
func TestAuditIsPaged(t *testing.T) {
	g := newRig(t)
	var before []uint64
	g.desk.Audit = func(_ context.Context, number uint64, most int) (list []*store.Entry, err error) {
		before = append(before, number)
		if most != auditAtOnce {
			t.Errorf("asked for %d", most)
		}
		next := uint64(120)
		if number > 0 && number <= next {
			next = number - 1
		}
		for ; next > 0 && len(list) < most; next-- {
			list = append(list, &store.Entry{Seq: next, At: noon(), Actor: "program:t_<b>", Action: fmt.Sprintf("act.%d", next), Subject: "d1", Detail: []byte(`{"why":"<i>","n":1,"none":null,"empty":""}`)})
		}
		return list, nil
	}
	b := g.join("dave", store.RoleAuditor)
	path, pages, seen := "/office/audit", 0, 0
	for path != "" {
		page := text(b.get(path))
		checkHTML(t, path, []byte(page), true)
		pages, seen = pages+1, seen+strings.Count(page, "<strong>act.")
		if strings.Contains(page, "<i>") || strings.Contains(page, "<b>") || strings.Contains(page, ">none<") {
			t.Error("a detail is markup, or nothing is shown")
		}
		_, rest, ok := strings.Cut(page, `href="/office/audit?before=`)
		if path = ""; ok {
			number, _, _ := strings.Cut(rest, `"`)
			path = "/office/audit?before=" + number
		}
	}
	if pages != 3 || seen != 120 || !slices.Equal(before, []uint64{0, 71, 21}) {
		t.Errorf("%d pages, %d records, before %d", pages, seen, before)
	}
	for _, odd := range []string{"x", "-1", "18446744073709551616", "1e3"} {
		before = nil
		if page := b.get("/office/audit?before=" + odd); page.StatusCode != 200 || !slices.Equal(before, []uint64{0}) {
			t.Errorf("before=%s: %d, asked %d", odd, page.StatusCode, before)
		}
	}
	for _, detail := range []string{"", "[]", "1", `"x"`, "{", "\xff", `{"a":{"b":[1]}}`} {
		for _, v := range detailViews([]byte(detail)) {
			if shown := v.Name + v.Value; !utf8.ValidString(shown) || strings.Contains(shown, "\n") {
				t.Errorf("%q shows %+v", detail, v)
			}
		}
	}
}

// A bypass is of one laptop or one person, of a list of times, with a reason.
func TestBypasses(t *testing.T) {
	g := newRig(t)
	b := g.join("alice", store.RoleAdministrator)
	g.join("bob", store.RolePerson)
	form := func(pairs ...string) url.Values {
		v := url.Values{"rule": {"disk-encrypted"}, "why": {"its disk is being replaced"}, "hours": {"24"}}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return v
	}
	twin := sampleDevices()
	twin[3].Name = "BOB-laptop"
	g.desk.Devices = func() []OfficeDevice { return twin }
	for name, values := range map[string]url.Values{
		"of nobody": form(), "of both": form("person", "bob", "device", "d1"), "no laptop": form("device", "d99"), "two of a name": form("device", "bob-laptop"),
		"no person": form("person", "mallory"), "no rule": form("person", "bob", "rule", ""), "no such rule's form": form("person", "bob", "rule", "Disk Encrypted"),
		"no reason": form("person", "bob", "why", " "), "for ever": form("person", "bob", "hours", "999999"), "no time": form("person", "bob", "hours", ""),
		"a time that is none": form("person", "bob", "hours", "2"), "back in time": form("person", "bob", "hours", "-24"), "overflow": form("person", "bob", "hours", "9223372036854775807"),
	} {
		if answer := b.form("/office/bypasses/add", values); answer.StatusCode < 400 || answer.StatusCode >= 500 {
			t.Errorf("%s: %d %s", name, answer.StatusCode, code(answer))
		}
	}
	for _, l := range bypassLasts() {
		values := form("person", " Bob ", "hours", fmt.Sprint(l.Hours), "rule", fmt.Sprintf("rule-%d", l.Hours))
		if done := b.form("/office/bypasses/add", values); done.StatusCode != 303 {
			t.Errorf("for %s: %d %s", l.Name, done.StatusCode, code(done))
		}
	}
	all, err := g.people.Bypasses(t.Context())
	if err != nil || len(all) != len(bypassLasts()) {
		t.Fatalf("%d bypasses, %v", len(all), err)
	}
	for _, one := range all {
		if d := one.Expires.Sub(g.now()); d <= 0 || d > 30*24*time.Hour {
			t.Errorf("%s lasts %v", one.Rule, d)
		}
	}
	page := text(b.get("/office/bypasses"))
	if !strings.Contains(page, "<strong>rule-24</strong> for bob") {
		t.Error("it is not listed by name")
	}
	if done := b.form("/office/bypasses/end", url.Values{"id": {all[0].ID}}); done.StatusCode != 303 {
		t.Errorf("ending: %d %s", done.StatusCode, code(done))
	}
	if all, _ := g.people.Bypasses(t.Context()); len(all) != len(bypassLasts())-1 {
		t.Errorf("%d are left", len(all))
	}
	if page := text(b.get("/office/bypasses?device=%22%3E%3Cscript%3E")); strings.Contains(page, `"><script>`) {
		t.Error("the query is markup")
	}
}

func TestAllSessions(t *testing.T) {
	g := newRig(t)
	alice, bob := g.join("alice", store.RoleAdministrator), g.join("bob", store.RolePerson)
	dave := g.join("dave", store.RoleAuditor)
	page := text(alice.get("/office/sessions"))
	for _, want := range []string{`href="/people/bob"`, "192.0.2.7", "Chrome on Linux", "<dd>first</dd>", "3 sessions live"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(text(dave.get("/office/sessions")), "/office/sessions/end") {
		t.Error("an auditor is offered to end sessions")
	}
	if one := text(alice.get("/office/sessions?person=BOB")); strings.Contains(one, `href="/people/dave"`) || !strings.Contains(one, "1 of 3 sessions") {
		t.Error("one person's are not found")
	}
	id := mustWho(t, g, bob).Session.ID
	if answer := alice.form("/office/sessions/end", url.Values{"id": {id}, "why": {" "}}); answer.StatusCode != 400 || bob.get("/").StatusCode != 200 {
		t.Errorf("without a reason: %d", answer.StatusCode)
	}
	if answer := alice.form("/office/sessions/end", url.Values{"id": {"s_none"}, "why": {"x"}}); answer.StatusCode != 404 {
		t.Errorf("none: %d", answer.StatusCode)
	}
	done := alice.form("/office/sessions/end", url.Values{"id": {id}, "why": {"left the building"}, "person": {"bob&x=//evil"}})
	if to, err := url.Parse(done.Header.Get("Location")); err != nil || done.StatusCode != 303 || to.Path != "/office/sessions" || to.Query().Get("person") != "bob&x=//evil" || to.Host != "" {
		t.Errorf("ending: %d to %q", done.StatusCode, done.Header.Get("Location"))
	}
	if bob.get("/").StatusCode != 303 {
		t.Error("bob's session lives")
	}
}

// The overview of who sees less tells less.
func TestOverviewFitsTheRole(t *testing.T) {
	g := newRig(t)
	g.desk.Audit = func(context.Context, uint64, int) ([]*store.Entry, error) {
		return []*store.Entry{{Seq: 1, At: noon(), Actor: "person:alice", Action: "something.done", Subject: "x"}}, nil
	}
	for role, sees := range map[store.Role]bool{store.RoleAdministrator: true, store.RoleAuditor: true, store.RoleHelpDesk: false} {
		page := text(g.join("u-"+strings.ReplaceAll(string(role), "_", "-"), role).get("/office"))
		for _, secret := range []string{"something.done", "live session", "bypass", samplePolicyDigest[:12]} {
			if strings.Contains(page, secret) != sees {
				t.Errorf("%s: %q is shown: %v", role, secret, !sees)
			}
		}
		if !strings.Contains(page, "1 laptop waits for an approval") || !strings.Contains(page, "<strong>5</strong> laptops") {
			t.Errorf("%s: laptops are not counted", role)
		}
	}
	if good := sampleDevices()[2]; good.State != attest.Active || outcomeMark(&good.Laptop).Icon != "ok" {
		t.Error("the sample in order is not")
	}
}

// Names that others chose are no markup on the new pages either.
func TestDeskEscapes(t *testing.T) {
	const evil = `"><script>alert(1)</script><b onclick='x'>{{.}}`
	s := sampleSite()
	d := sampleDevices()[1]
	d.Name, d.Serial, d.Group, d.Laptop.Owner, d.CauseText, d.State = evil, evil, evil, evil, evil, attest.Pending
	e := sampleElevation(false)
	e.Name, e.App, e.Why, e.Approval = evil, evil, evil, evil
	r := decide.Reason{Code: evil, Claim: "firewall", Text: evil, Fix: "do `" + evil + "`"}
	v := sampleAccess(s, todo{Kind: doApproval, Approval: evil, Elevated: e}, decide.StepUp)
	v.Name, v.Host, v.Laptop, v.Counting = evil, evil, evil, []reasonView{s.reasonView(r, nil)}
	sim := sampleSimulation()
	sim.Changes[0] = SimulatedChange{App: evil, Person: evil, Laptop: evil, Reasons: []string{evil}}
	sim.Diff[0], sim.Trial[0].Rule, sim.Tests[1].Problem = decide.Change{What: evil, How: evil}, evil, evil
	policy := samplePolicyView(s, sim)
	policy.Text, policy.Draft, policy.File, policy.Failed = evil, "</textarea>"+evil, evil, 0
	entries := s.auditViews([]*store.Entry{{Actor: evil, Action: evil, Subject: evil, Detail: []byte(`{"` + `<b>` + `":"<script>alert(1)</script>"}`)}})
	for page, body := range map[string]any{
		"access": v, "devices": devicesView{Query: evil, Owner: evil, State: evil, States: stateChoices(), Devices: []deviceView{{d, mark{"bad", evil}, evil}}, May: true},
		"elevations": elevationsView{Approve: []elevationView{s.elevationView(e)}, Own: []elevationView{s.elevationView(e)}},
		"policy":     policy, "audit": auditPageView{Entries: entries}, "bypasses": bypassesView{Device: evil, May: true,
			Bypasses: []bypassView{{&store.Bypass{ID: evil, Rule: evil, Why: evil, CreatedBy: evil}, evil, true}}},
		"held": heldsView{Person: evil, May: true, Sessions: []heldView{{Person: evil, Passkey: evil}}},
	} {
		if held, ok := body.(heldsView); ok {
			held.Sessions[0].heldSession = heldSession{sampleWho("person").Session, evil}
		}
		html := string(sample{name: page, page: page, block: "layout", title: evil, role: "administrator", body: body}.draw(t, s, "/office"))
		if strings.Contains(html, "<script>alert") || strings.Contains(html, "<b onclick") || strings.Contains(html, "</textarea>\"") {
			t.Errorf("%s lets markup through", page)
		}
		checkHTML(t, page, []byte(html), true)
	}
}
