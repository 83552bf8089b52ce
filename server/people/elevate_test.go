package people

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/server/session"
	"muster/server/store"
)

// sound is a reason that is long enough.
const sound = "The nightly job hangs, ticket 4711"

// books are what the policy says in a test.
type books struct {
	mu    sync.Mutex
	terms map[string]ElevationTerms
	no    error
	asked []string // sessions
}

func (b *books) say(app string, t ElevationTerms, no error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.terms[app], b.no = t, no
}

func (b *books) of(s *session.Session, app string) (ElevationTerms, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, s.ID)
	return b.terms[app], b.no
}

// opens is a policy: prod and other for ten minutes at once, vault for five after an
// approval of the group admins. Further terms may be said through b.
func opens(b *books) func(*Config) {
	if b == nil {
		b = &books{}
	}
	b.terms = map[string]ElevationTerms{"prod": {Lasts: 10 * time.Minute}, "other": {Lasts: 10 * time.Minute},
		"vault": {Lasts: 5 * time.Minute, Approval: "admins"}}
	return func(c *Config) { c.Elevation = b.of }
}

// company is an office with alice, who asks, bob and carol of the group admins, dora
// of none, erin the administrator and frank of the help desk.
func company(t *testing.T, b *books) *office {
	o := newOffice(t, opens(b))
	for name, role := range map[string]store.Role{"alice": store.RolePerson, "bob": store.RolePerson, "carol": store.RolePerson,
		"dora": store.RoleAuditor, "erin": store.RoleAdministrator, "frank": store.RoleHelpDesk} {
		o.hire(name, role)
	}
	for _, name := range []string{"bob", "carol"} {
		o.join(name, "admins")
	}
	return o
}

// join puts somebody into groups.
func (o *office) join(name string, groups ...string) {
	o.t.Helper()
	o.change(func(tx *store.Tx) error {
		p, err := tx.PersonByName(name)
		if err != nil {
			return err
		}
		p.Groups = groups
		return tx.UpdatePerson(p)
	})
}

// elevate asks, and fails when it is refused.
func (o *office) elevate(w *Who, app string) *Elevation {
	o.t.Helper()
	e, err := o.Elevate(o.ctx(), w, app, sound)
	if err != nil {
		o.t.Fatalf("elevating: %v", err)
	}
	return e
}

func (o *office) elevation(id string) (e *store.Elevation) {
	o.t.Helper()
	o.view(func(tx *store.Tx) (err error) { e, err = tx.Elevation(id); return err }, o.Store)
	return e
}

// trail are the actions of the audit log that begin so, with who did them.
func (o *office) trail(prefix string) (list []string) {
	o.view(func(tx *store.Tx) error {
		log, err := tx.AuditLog(0, 1e6)
		for _, e := range log {
			if strings.HasPrefix(e.Action, prefix) {
				list = append(list, e.Actor+" "+e.Action)
			}
		}
		return err
	}, o.Store)
	return list
}

func TestElevateAtOnce(t *testing.T) {
	o := company(t, nil)
	w := o.sign("alice")
	e := o.elevate(w, "prod")
	if !e.Own || e.Name != "alice" || e.Approver != "" || !e.GrantedAt.Equal(o.now()) || !e.EndsAt.Equal(o.now().Add(10*time.Minute)) ||
		e.Session != w.Session.ID || e.Why != sound {
		t.Errorf("%+v", e.Elevation)
	}
	if got := o.trail("elevation."); !slices.Equal(got, []string{"person:alice elevation.ask", "person:alice elevation.grant"}) {
		t.Errorf("audited %q", got)
	}
	o.wantNotice("mail alice@muster.example elevation-granted", "webhook elevation-granted")
	_, err := o.Elevate(o.ctx(), w, "prod", sound)
	wantNo(t, "a second one", err, "elevation-lives")
	o.elevate(o.sign("alice"), "prod") // another session, another elevation
	own, approve, err := o.Elevations(o.ctx(), w)
	if err != nil || len(own) != 2 || len(approve) != 0 {
		t.Errorf("%d own, %d others', %v", len(own), len(approve), err)
	}
	o.pass(10 * time.Minute)
	if own, _, err = o.Elevations(o.ctx(), w); err != nil || len(own) != 0 {
		t.Errorf("over: %d, %v", len(own), err)
	}
	_, err = o.Elevate(o.ctx(), w, "prod", sound)
	wantNo(t, "with tired hands", err, "verify-first")
	again := o.sign("alice")
	o.elevate(again, "prod")
	if err := o.Sweep(o.ctx()); err != nil {
		t.Fatal(err)
	}
	if got := o.elevation(e.ID); got.Cause != "elevation-end" || o.audited("elevation.end") != 2 {
		t.Errorf("swept: %+v, %d audited", got, o.audited("elevation.end"))
	}
}

func TestElevateWithApproval(t *testing.T) {
	b := &books{}
	o := company(t, b)
	w := o.sign("alice")
	e := o.elevate(w, "vault")
	if !e.GrantedAt.IsZero() || !e.Expires.Equal(o.now().Add(15*time.Minute)) || e.Approval != "admins" {
		t.Fatalf("%+v", e.Elevation)
	}
	o.wantNotice("mail alice@muster.example elevation-asked", "mail security@muster.example elevation-asked", "webhook elevation-asked",
		"mail bob@muster.example elevation-waits", "mail carol@muster.example elevation-waits")
	for _, n := range o.notices() {
		if strings.Contains(n, "dora@") || strings.Contains(n, "erin@") || n == "mail alice@muster.example elevation-waits" {
			t.Errorf("told %s", n)
		}
	}
	o.pass(6 * time.Minute) // the asker's hands are tired by now, which is no loss
	bob := o.sign("bob")
	_, approve, err := o.Elevations(o.ctx(), bob)
	if err != nil || len(approve) != 1 || approve[0].Name != "alice" || approve[0].Own || approve[0].ID != e.ID {
		t.Fatalf("%+v, %v", approve, err)
	}
	asks := len(b.asked)
	if err := o.ApproveElevation(o.ctx(), bob, e.ID); err != nil {
		t.Fatal(err)
	}
	if len(b.asked) != asks+1 || b.asked[asks] != w.Session.ID {
		t.Errorf("the policy was asked about %q", b.asked[asks:])
	}
	own, _, err := o.Elevations(o.ctx(), w)
	if err != nil || len(own) != 1 || own[0].Approver != "bob" || !own[0].EndsAt.Equal(o.now().Add(5*time.Minute)) {
		t.Errorf("%+v, %v", own, err)
	}
	if got := o.trail("elevation."); !slices.Equal(got, []string{"person:alice elevation.ask", "person:bob elevation.approve", "person:bob elevation.grant"}) {
		t.Errorf("audited %q", got)
	}
	wantNo(t, "again", o.ApproveElevation(o.ctx(), bob, e.ID), "elevation-granted")
	// Who may approve sees what is open, behind what waits, and may end it.
	second := o.elevate(o.sign("dora"), "vault")
	if _, approve, err = o.Elevations(o.ctx(), bob); err != nil || len(approve) != 2 || approve[0].ID != second.ID {
		t.Errorf("%+v, %v", approve, err)
	}
	if err := o.EndElevation(o.ctx(), bob, e.ID); err != nil || o.elevation(e.ID).Cause != "ended-by-approver" {
		t.Errorf("%+v, %v", o.elevation(e.ID), err)
	}
}

func TestElevateIsRefused(t *testing.T) {
	b := &books{}
	o := company(t, b)
	w := o.sign("alice")
	for _, bad := range []string{"", "too short", strings.Repeat(" ", 20), "a\n\n\n\n\n\n\n\n\nb", strings.Repeat("a", 401), strings.Repeat("é", 401),
		strings.Repeat("a ", 1<<20), strings.Repeat("\u202e", 20), strings.Repeat("\x00", 20), strings.Repeat("\xff", 20)} {
		_, err := o.Elevate(o.ctx(), w, "prod", bad)
		wantNo(t, fmt.Sprintf("reason %.20q", bad), err, "elevation-why")
	}
	for _, app := range []string{"", "wiki", "PROD"} {
		_, err := o.Elevate(o.ctx(), w, app, sound)
		wantNo(t, "application "+app, err, "elevation-none")
	}
	b.say("prod", ElevationTerms{Lasts: time.Minute}, refuse(403, "disk-encrypted", "", ""))
	_, err := o.Elevate(o.ctx(), w, "prod", sound)
	wantNo(t, "an application that stays closed", err, "disk-encrypted")
	b.say("prod", ElevationTerms{Lasts: time.Minute}, errors.New("no"))
	if _, err := o.Elevate(o.ctx(), w, "prod", sound); err == nil {
		t.Error("a policy that cannot tell lets in")
	}
	b.say("prod", ElevationTerms{Lasts: -time.Minute}, nil)
	_, err = o.Elevate(o.ctx(), w, "prod", sound)
	wantNo(t, "negative time", err, "elevation-none")
	b.say("prod", ElevationTerms{Lasts: time.Minute}, nil)
	stale := o.sign("alice")
	o.pass(session.FreshFor)
	_, err = o.Elevate(o.ctx(), stale, "prod", sound)
	wantNo(t, "tired hands", err, "verify-first")
	gone := o.sign("alice")
	if err := o.SignOut(o.ctx(), gone); err != nil {
		t.Fatal(err)
	}
	_, err = o.Elevate(o.ctx(), gone, "prod", sound)
	wantNo(t, "an ended session", err, "sign-in")
	barred := o.sign("dora")
	if err := o.Disable(o.ctx(), local, barred.Person.ID, "left"); err != nil {
		t.Fatal(err)
	}
	_, err = o.Elevate(o.ctx(), barred, "prod", sound)
	wantNo(t, "a disabled person", err, "sign-in")
	if got := o.trail("elevation."); got != nil {
		t.Errorf("audited %q", got)
	}
	if _, err := newOffice(t).Elevate(o.ctx(), w, "prod", sound); err == nil {
		t.Error("another server's session, without a policy, is let in")
	}
}

func TestReasons(t *testing.T) {
	for in, want := range map[string]string{
		"  fix   the\tdatabase \r\n now ":   "fix the database now",
		strings.Repeat("é", 400):            strings.Repeat("é", 400),
		"fix \u202ethe\u200b database":      "fix the database",
		"fix the database\x00" + "\xff now": "fix the database now",
		"ten chars!":                        "ten chars!",
		"nine char":                         "",
	} {
		if got := reasonOf(in); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}

func TestElevationLimit(t *testing.T) {
	o := company(t, nil)
	w := o.sign("alice")
	for range maxElevations {
		if err := o.EndElevation(o.ctx(), w, o.elevate(w, "prod").ID); err != nil {
			t.Fatal(err)
		}
	}
	_, err := o.Elevate(o.ctx(), w, "other", sound)
	wantNo(t, "the twenty-first", err, "elevation-limit")
	o.elevate(o.sign("bob"), "prod")
}

func TestApproveElevationIsRefused(t *testing.T) {
	b := &books{}
	o := company(t, b)
	o.join("alice", "admins")
	w := o.sign("alice")
	e := o.elevate(w, "vault")
	approve := func(name string) error { return o.ApproveElevation(o.ctx(), o.sign(name), e.ID) }
	wantNo(t, "oneself", o.ApproveElevation(o.ctx(), w, e.ID), "elevation-own")
	wantNo(t, "oneself in another session", approve("alice"), "elevation-own")
	wantNo(t, "an auditor", approve("dora"), "not-found")
	wantNo(t, "the help desk", approve("frank"), "not-found")
	wantNo(t, "one that is not there", o.ApproveElevation(o.ctx(), o.sign("bob"), "el_none"), "not-found")
	tired := o.sign("bob")
	o.pass(session.FreshFor)
	wantNo(t, "tired hands", o.ApproveElevation(o.ctx(), tired, e.ID), "verify-first")
	left := o.sign("bob")
	o.join("bob")
	wantNo(t, "who left the group", o.ApproveElevation(o.ctx(), left, e.ID), "not-found")
	o.join("bob", "admins")
	gone := o.sign("bob")
	if err := o.Disable(o.ctx(), local, gone.Person.ID, "left"); err != nil {
		t.Fatal(err)
	}
	wantNo(t, "a disabled person", o.ApproveElevation(o.ctx(), gone, e.ID), "sign-in")
	b.say("vault", ElevationTerms{Lasts: 5 * time.Minute, Approval: "admins"}, refuse(403, "report-stale", "", ""))
	wantNo(t, "while trust is lost", approve("carol"), "elevation-trust")
	b.say("vault", ElevationTerms{Lasts: 5 * time.Minute, Approval: "admins"}, errors.New("cannot tell"))
	if err := approve("carol"); err == nil {
		t.Error("a policy that cannot tell lets in")
	}
	if got := o.elevation(e.ID); got.Over(o.now()) != "" || !got.GrantedAt.IsZero() {
		t.Fatalf("%+v", got)
	}
	b.say("vault", ElevationTerms{Lasts: 5 * time.Minute, Approval: "admins"}, nil)
	o.pass(10 * time.Minute)
	wantNo(t, "too late", approve("carol"), "used")
	if n := o.audited("elevation.grant") + o.audited("elevation.approve"); n != 0 {
		t.Errorf("%d grants are in the audit log", n)
	}
}

// On other terms than it was asked for, an approval ends it.
func TestElevationTermsChange(t *testing.T) {
	for what, terms := range map[string]ElevationTerms{
		"longer":            {Lasts: time.Hour, Approval: "admins"},
		"shorter":           {Lasts: time.Minute, Approval: "admins"},
		"another group":     {Lasts: 5 * time.Minute, Approval: "owners"},
		"no approval":       {Lasts: 5 * time.Minute},
		"not opened at all": {},
	} {
		b := &books{}
		o := company(t, b)
		e := o.elevate(o.sign("alice"), "vault")
		b.say("vault", terms, nil)
		wantNo(t, what, o.ApproveElevation(o.ctx(), o.sign("erin"), e.ID), "elevation-terms")
		if got := o.elevation(e.ID); got.Cause != "terms-changed" || !got.GrantedAt.IsZero() {
			t.Errorf("%s: %+v", what, got)
		}
		b.say("vault", ElevationTerms{Lasts: 5 * time.Minute, Approval: "admins"}, nil)
		wantNo(t, what+", and back", o.ApproveElevation(o.ctx(), o.sign("erin"), e.ID), "used")
	}
}

// What happened to the asker before the approval counts.
func TestApprovalOfWhoIsGone(t *testing.T) {
	for what, end := range map[string]func(o *office, w *Who) error{
		"signed out": func(o *office, w *Who) error { return o.SignOut(o.ctx(), w) },
		"disabled":   func(o *office, w *Who) error { return o.Disable(o.ctx(), local, w.Person.ID, "why") },
		"withdrawn": func(o *office, w *Who) error {
			own, _, err := o.Elevations(o.ctx(), w)
			return errors.Join(err, o.EndElevation(o.ctx(), w, own[0].ID))
		},
		"declined": func(o *office, w *Who) error {
			carol := o.sign("carol")
			_, list, err := o.Elevations(o.ctx(), carol)
			return errors.Join(err, o.EndElevation(o.ctx(), carol, list[0].ID))
		},
		"trust lost": func(o *office, w *Who) error {
			own, _, err := o.Elevations(o.ctx(), w)
			return errors.Join(err, o.LoseElevation(o.ctx(), own[0].ID, "report-stale"), o.LoseElevation(o.ctx(), own[0].ID, "again"))
		},
	} {
		o := company(t, nil)
		w, bob := o.sign("alice"), o.sign("bob")
		e := o.elevate(w, "vault")
		if err := end(o, w); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		wantNo(t, what, o.ApproveElevation(o.ctx(), bob, e.ID), "used")
		want := map[string]string{"signed out": "session-over", "disabled": "session-over", "withdrawn": "ended-by-person",
			"declined": "declined", "trust lost": "report-stale"}[what]
		if got := o.elevation(e.ID); got.Cause != want || !got.GrantedAt.IsZero() {
			t.Errorf("%s: %+v", what, got)
		}
		if n := o.audited("elevation.end"); want != "session-over" && n != 1 {
			t.Errorf("%s: %d endings are in the audit log", what, n)
		}
	}
}

func TestEndElevation(t *testing.T) {
	o := company(t, nil)
	w := o.sign("alice")
	e := o.elevate(w, "prod")
	wantNo(t, "somebody", o.EndElevation(o.ctx(), o.sign("dora"), e.ID), "not-found")
	wantNo(t, "the group of another application", o.EndElevation(o.ctx(), o.sign("bob"), e.ID), "not-found")
	wantNo(t, "one that is not there", o.EndElevation(o.ctx(), w, "el_none"), "not-found")
	wantNo(t, "losing one that is not there", o.LoseElevation(o.ctx(), "el_none", "x"), "not-found")
	if got := o.elevation(e.ID); got.Over(o.now()) != "" {
		t.Fatalf("%+v", got)
	}
	o.pass(session.FreshFor) // no fresh hands: it takes power away
	if err := o.EndElevation(o.ctx(), o.sign("alice"), e.ID); err != nil || o.elevation(e.ID).Cause != "ended-by-person" {
		t.Errorf("%+v, %v", o.elevation(e.ID), err)
	}
	again := o.elevate(o.sign("alice"), "prod")
	if err := o.EndElevation(o.ctx(), o.sign("erin"), again.ID); err != nil || o.elevation(again.ID).Cause != "ended-by-approver" {
		t.Errorf("%+v, %v", o.elevation(again.ID), err)
	}
	over := o.elevate(o.sign("alice"), "prod")
	o.pass(10 * time.Minute)
	if err := o.LoseElevation(o.ctx(), over.ID, "report-stale"); err != nil || o.elevation(over.ID).Cause != "elevation-end" {
		t.Errorf("%+v, %v", o.elevation(over.ID), err)
	}
}

// Of a thousand approvals at once, by two approvers, one wins.
func TestThousandElevationApprovals(t *testing.T) {
	o := company(t, nil)
	e := o.elevate(o.sign("alice"), "vault")
	approvers := []*Who{o.sign("bob"), o.sign("carol"), o.sign("erin")}
	won := race(t, func(n int) error { return o.ApproveElevation(o.ctx(), approvers[n%3], e.ID) }, "elevation-granted")
	if won != 1 || o.audited("elevation.grant") != 1 || o.audited("elevation.approve") != 1 {
		t.Errorf("%d won, %d granted, %d approved", won, o.audited("elevation.grant"), o.audited("elevation.approve"))
	}
}

// Of a thousand that a session asks for at once it gets one.
func TestThousandElevations(t *testing.T) {
	o := company(t, nil)
	w := o.sign("alice")
	if won := race(t, func(int) error { _, err := o.Elevate(o.ctx(), w, "prod", sound); return err }, "elevation-lives"); won != 1 {
		t.Errorf("%d were granted", won)
	}
}
