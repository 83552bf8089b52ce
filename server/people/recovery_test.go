package people

import (
	"context"
	"strings"
	"testing"
	"time"

	"muster/attest"
	"muster/server/passkey/passkeytest"
	"muster/server/session"
	"muster/server/store"
)

// lost begins the recovery of a laptop's owner, and returns what the laptop shows
// and what its browser brings.
func (o *office) lost(laptop string) (id, code, secret string) {
	o.t.Helper()
	offers, err := o.OfferRecovery(o.ctx(), o.lap(laptop), From{Address: "192.0.2.9"})
	if err != nil {
		o.t.Fatalf("offering a recovery: %v", err)
	}
	r := o.prove(laptop, offers.Offers[0])
	_, secret, _ = strings.Cut(r.URL, "#")
	return offers.Offers[0].Link, r.Code, secret
}

func (o *office) approve(w *Who, id, code string) string {
	o.t.Helper()
	link, err := o.ApproveRecovery(o.ctx(), w, id, code)
	if err != nil {
		o.t.Fatalf("approving: %v", err)
	}
	return link
}

// recover registers the passkey that replaces all others.
func (o *office) recover(secret string) (*Who, error) {
	c, err := o.BeginRecovered(o.ctx(), secret)
	if err != nil {
		return nil, err
	}
	response := passkeytest.New(o.t, officeOrigin).Register(c.Options)
	_, who, err := o.Recovered(o.ctx(), secret, c.Sealed, response, From{Address: "192.0.2.9"})
	return who, err
}

func TestRecoveryByLaptop(t *testing.T) {
	o := newOffice(t)
	o.staff()
	old := o.sign("alice")
	bob := o.sign("bob")
	offers, err := o.OfferRecovery(o.ctx(), o.lap("laptop-alice"), From{Address: "192.0.2.9"})
	if err != nil {
		t.Fatal(err)
	}
	// Until it is proved it is nobody's to see.
	own, mine, err := o.Recoveries(o.ctx(), bob)
	if err != nil || len(own)+len(mine) != 0 || len(o.notices()) != 0 {
		t.Fatalf("an unproved recovery is shown: %v %v, %v", own, mine, err)
	}
	_, err = o.ApproveRecovery(o.ctx(), bob, offers.Offers[0].Link, "")
	wantNo(t, "approving an unproved one", err, "not-found")
	reply := o.prove("laptop-alice", offers.Offers[0])
	_, secret, _ := strings.Cut(reply.URL, "#")
	if len(reply.Code) != 9 || !strings.HasPrefix(reply.URL, officeOrigin+"/recover#") || reply.Confirm != "" {
		t.Fatalf("the laptop gets %+v", reply)
	}
	o.never(kindRecovery, reply.Code, strings.ReplaceAll(reply.Code, "-", ""), strings.SplitN(secret, ".", 2)[1])
	o.wantNotice("mail alice@muster.example recovery-started", "webhook recovery-started", "mail security@muster.example recovery-started")
	if _, mine, _ = o.Recoveries(o.ctx(), bob); len(mine) != 1 || mine[0].Person != "alice" || mine[0].State != waitApproval {
		t.Fatalf("bob is to approve %+v", mine)
	}
	if own, _, _ = o.Recoveries(o.ctx(), old); len(own) != 1 {
		t.Fatalf("alice sees %+v", own)
	}
	_, err = o.BeginRecovered(o.ctx(), secret)
	wantNo(t, "before the approval", err, "recovery-waits")
	if link := o.approve(bob, mine[0].ID, " "+strings.ToLower(reply.Code)+" "); link != "" {
		t.Errorf("an approver got the link %q", link)
	}
	o.wantNotice("mail alice@muster.example recovery-approved", "webhook recovery-approved")
	shown, err := o.RecoveryOf(o.ctx(), secret)
	if err != nil || shown.State != waitTime || !shown.ReadyAt.Equal(o.now().Add(24*time.Hour)) || shown.Approved != "bob" {
		t.Fatalf("the browser is told %+v, %v", shown, err)
	}
	o.pass(24*time.Hour - time.Millisecond)
	_, err = o.BeginRecovered(o.ctx(), secret)
	wantNo(t, "before the wait is over", err, "recovery-waits")
	o.pass(time.Millisecond)
	who, err := o.recover(secret)
	if err != nil || who.Person.Name != "alice" {
		t.Fatalf("recovered %+v, %v", who, err)
	}
	if s := o.at(old); s.EndedAt.IsZero() {
		t.Error("a session outlived a recovery")
	}
	o.view(func(tx *store.Tx) error {
		keys, err := tx.Passkeys(who.Person.ID)
		if len(keys) != 1 || string(keys[0].ID) == "key of alice" {
			t.Errorf("passkeys after a recovery: %d", len(keys))
		}
		return err
	}, o.Store)
	o.wantNotice("mail alice@muster.example recovered", "webhook recovered", "mail security@muster.example recovered")
	for _, action := range []string{"recovery.start", "recovery.approve", "recovery.done"} {
		if o.audited(action) != 1 {
			t.Errorf("%s audited %d times", action, o.audited(action))
		}
	}
	_, err = o.recover(secret)
	wantNo(t, "again", err, "used")
}

// What a laptop must be, when a recovery begins, is proved, and ends.
func TestRecoveryNeedsTheLaptop(t *testing.T) {
	for name, change := range map[string]func(*session.Device){
		"inactive":       func(d *session.Device) { d.Active = false },
		"lease out":      func(d *session.Device) { d.Current = false },
		"unhealthy":      func(d *session.Device) { d.Healthy = false },
		"vtpm":           func(d *session.Device) { d.Level = "vtpm" },
		"tpm-unverified": func(d *session.Device) { d.Level = "tpm-unverified" },
		"software":       func(d *session.Device) { d.Level = "software" },
		"enclave":        func(d *session.Device) { d.Level = "secure-enclave" },
		"no level":       func(d *session.Device) { d.Level = "" },
		"no owner":       func(d *session.Device) { d.Owner = "" },
		"shared":         func(d *session.Device) { d.Class = "shared" },
		"other owner":    func(d *session.Device) { d.Owner = "carol" },
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			o.staff()
			good := o.lap("laptop-alice")
			bad := good
			change(&bad)
			if name != "other owner" {
				_, err := o.OfferRecovery(o.ctx(), bad, From{})
				wantNo(t, "offer", err, "recovery-laptop")
				_, err = o.OfferRecovery(o.ctx(), session.Device{}, From{})
				wantNo(t, "zero laptop", err, "recovery-laptop")
			}
			offers, err := o.OfferRecovery(o.ctx(), good, From{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := o.ProveLink(o.ctx(), bad, o.proof(offers.Offers[0]), From{}); err == nil {
				t.Error("proved by a laptop that changed")
			}
			id, code, secret := o.lost("laptop-alice")
			o.approve(o.sign("bob"), id, code)
			o.pass(24 * time.Hour)
			c, err := o.BeginRecovered(o.ctx(), secret)
			if err != nil {
				t.Fatal(err)
			}
			response := passkeytest.New(t, officeOrigin).Register(c.Options)
			o.put(bad)
			_, err = o.BeginRecovered(o.ctx(), secret)
			wantNo(t, "at the end", err, "recovery-laptop-now")
			_, _, err = o.Recovered(o.ctx(), secret, c.Sealed, response, From{})
			wantNo(t, "at the very end", err, "recovery-laptop-now")
			// It is a state, not an end: the laptop may be mended.
			o.put(good)
			if _, _, err = o.Recovered(o.ctx(), secret, c.Sealed, response, From{}); err != nil {
				t.Errorf("mended: %v", err)
			}
		})
	}
}

func TestRecoveryWithoutApprover(t *testing.T) {
	for name, approvers := range map[string][]string{
		"none": nil, "nobody": {"nobody"}, "themself": {"alice"}, "disabled": {"bob"},
	} {
		o := newOffice(t)
		bob := o.hire("bob", store.RolePerson)
		o.hire("alice", store.RolePerson, approvers...)
		o.put(healthyLaptop("laptop-alice", "alice"), healthyLaptop("stray", "nobody"))
		o.change(func(tx *store.Tx) error { _, err := tx.DisablePerson(bob.ID, "test"); return err })
		_, err := o.OfferRecovery(o.ctx(), o.lap("laptop-alice"), From{})
		wantNo(t, name, err, "recovery-no-approver")
		_, err = o.OfferRecovery(o.ctx(), o.lap("stray"), From{})
		wantNo(t, "an owner who is no person", err, "recovery-laptop")
	}
}

func TestRecoveryApprovalRefused(t *testing.T) {
	o := newOffice(t)
	o.staff()
	o.hire("root", store.RoleAdministrator)
	id, code, secret := o.lost("laptop-alice")
	for name, want := range map[string]string{"alice": "recovery-own", "carol": "not-found", "root": "not-found"} {
		_, err := o.ApproveRecovery(o.ctx(), o.sign(name), id, code)
		wantNo(t, name, err, want)
	}
	// Named after it began is not beforehand; struck off is not named.
	rename := func(names ...string) {
		o.change(func(tx *store.Tx) error {
			person, err := tx.PersonByName("alice")
			if err != nil {
				return err
			}
			person.Approvers = names
			return tx.UpdatePerson(person)
		})
	}
	rename("carol")
	for _, name := range []string{"carol", "bob"} {
		_, err := o.ApproveRecovery(o.ctx(), o.sign(name), id, code)
		wantNo(t, name, err, "not-found")
		if _, mine, _ := o.Recoveries(o.ctx(), o.sign(name)); len(mine) != 0 {
			t.Errorf("%s is shown %+v", name, mine)
		}
	}
	rename("bob")
	bob := o.sign("bob")
	o.pass(session.FreshFor)
	_, err := o.ApproveRecovery(o.ctx(), bob, id, code)
	wantNo(t, "stale hands", err, "verify-first")
	bob = o.sign("bob")
	o.approve(bob, id, code)
	_, err = o.ApproveRecovery(o.ctx(), bob, id, code)
	wantNo(t, "twice", err, "recovery-approved")
	o.change(func(tx *store.Tx) error { return tx.EndSession(bob.Session.ID, "test") })
	_, err = o.ApproveRecovery(o.ctx(), bob, id, code)
	wantNo(t, "ended session", err, "sign-in")
	for _, bad := range []string{"", ".", id, id + ".", id + "." + strings.Repeat("A", 43), "o_x" + secret, secret + "A", strings.ToUpper(secret)} {
		_, err := o.RecoveryOf(o.ctx(), bad)
		wantNo(t, bad, err, "used")
		_, err = o.BeginRecovered(o.ctx(), bad)
		wantNo(t, bad, err, "used")
	}
}

func TestRecoveryWrongCodeFiveTimes(t *testing.T) {
	o := newOffice(t)
	o.staff()
	id, code, secret := o.lost("laptop-alice")
	bob := o.sign("bob")
	for n := range recoveryTries {
		want := "recovery-code"
		if n == recoveryTries-1 {
			want = "used"
		}
		_, err := o.ApproveRecovery(o.ctx(), bob, id, []string{"", "AAAA-AAAA", strings.Repeat("A", 1000), code[:8], "x"}[n])
		wantNo(t, "wrong code", err, want)
	}
	_, err := o.ApproveRecovery(o.ctx(), bob, id, code)
	wantNo(t, "the right one afterwards", err, "not-found")
	_, err = o.RecoveryOf(o.ctx(), secret)
	wantNo(t, "the browser", err, "used")
	o.wantNotice("mail alice@muster.example recovery-cancelled", "webhook recovery-cancelled")
}

func TestRecoveryCancelled(t *testing.T) {
	for _, name := range []string{"alice", "bob", "root"} {
		o := newOffice(t)
		o.staff()
		o.hire("root", store.RoleAdministrator)
		id, code, secret := o.lost("laptop-alice")
		o.approve(o.sign("bob"), id, code)
		err := o.CancelRecovery(o.ctx(), o.sign("carol"), id)
		wantNo(t, "a stranger", err, "not-found")
		w := o.sign(name)
		o.pass(25 * time.Hour) // no fresh hands needed, and not too late
		c, err := o.BeginRecovered(o.ctx(), secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.CancelRecovery(o.ctx(), w, id); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, _, err = o.Recovered(o.ctx(), secret, c.Sealed, passkeytest.New(t, officeOrigin).Register(c.Options), From{})
		wantNo(t, "cancelled", err, "used")
		wantNo(t, "cancelled twice", o.CancelRecovery(o.ctx(), w, id), "not-found")
		o.wantNotice("mail alice@muster.example recovery-cancelled")
	}
}

func TestRecoveryEndsInTime(t *testing.T) {
	o := newOffice(t)
	o.staff()
	id, code, secret := o.lost("laptop-alice")
	o.approve(o.sign("bob"), id, code)
	o.pass(24*time.Hour + recoveryAsk)
	_, err := o.BeginRecovered(o.ctx(), secret)
	wantNo(t, "late", err, "used")
	// Nobody approved in time.
	id, code, _ = o.lost("laptop-alice")
	bob := o.sign("bob")
	o.pass(recoveryAsk)
	_, err = o.ApproveRecovery(o.ctx(), bob, id, code)
	wantNo(t, "late approval", err, "verify-first")
	_, err = o.ApproveRecovery(o.ctx(), o.sign("bob"), id, code)
	wantNo(t, "late approval", err, "not-found")
}

func TestRecoveryOfTheDisabled(t *testing.T) {
	o := newOffice(t)
	o.staff()
	o.hire("root", store.RoleAdministrator)
	id, code, secret := o.lost("laptop-alice")
	o.approve(o.sign("bob"), id, code)
	o.pass(24 * time.Hour)
	disable := func(name string) {
		o.change(func(tx *store.Tx) error {
			person, err := tx.PersonByName(name)
			if err == nil {
				_, err = tx.DisablePerson(person.ID, "test")
			}
			return err
		})
	}
	disable("alice")
	_, err := o.BeginRecovered(o.ctx(), secret)
	wantNo(t, "disabled meanwhile", err, "used")
	_, err = o.OfferRecovery(o.ctx(), o.lap("laptop-alice"), From{})
	wantNo(t, "disabled", err, "recovery-laptop")
	_, err = o.ProposeRecovery(o.ctx(), o.sign("root"), "alice")
	wantNo(t, "proposed", err, "person-disabled")
}

func TestRecoveryOneAtATimeAndThreeADay(t *testing.T) {
	o := newOffice(t)
	o.staff()
	o.put(healthyLaptop("second", "alice"))
	o.hire("root", store.RoleAdministrator)
	alice := o.sign("alice")
	for range recoveriesDaily {
		id, _, _ := o.lost("laptop-alice")
		_, err := o.OfferRecovery(o.ctx(), o.lap("second"), From{})
		wantNo(t, "a second one", err, "recovery-running")
		_, err = o.ProposeRecovery(o.ctx(), o.sign("root"), "alice")
		wantNo(t, "another way", err, "recovery-running")
		if err := o.CancelRecovery(o.ctx(), alice, id); err != nil {
			t.Fatal(err)
		}
	}
	offers, err := o.OfferRecovery(o.ctx(), o.lap("second"), From{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = o.ProveLink(o.ctx(), o.lap("second"), o.proof(offers.Offers[0]), From{})
	wantNo(t, "the fourth", err, "recovery-too-often")
	o.pass(24 * time.Hour)
	o.change(func(tx *store.Tx) error { return tx.PurgePeople() })
	o.lost("laptop-alice")
}

func TestRecoveryProofRefused(t *testing.T) {
	o := newOffice(t)
	o.staff()
	o.put(healthyLaptop("second", "alice"))
	offers, err := o.OfferRecovery(o.ctx(), o.lap("laptop-alice"), From{})
	if err != nil {
		t.Fatal(err)
	}
	offer := offers.Offers[0]
	for name, change := range map[string]func(*attest.LinkProof, *session.Device){
		"nonce":        func(p *attest.LinkProof, _ *session.Device) { p.Nonce = flowOf("x") },
		"session":      func(p *attest.LinkProof, _ *session.Device) { p.SessionHash = session.Hash(offer.Link) },
		"origin":       func(p *attest.LinkProof, _ *session.Device) { p.Origin = "https://evil.example" },
		"time":         func(p *attest.LinkProof, _ *session.Device) { p.Time -= 121 },
		"own other":    func(_ *attest.LinkProof, d *session.Device) { *d = o.lap("second") },
		"other person": func(_ *attest.LinkProof, d *session.Device) { *d = o.lap("laptop-bob") },
	} {
		proof, d := o.proof(offer), o.lap("laptop-alice")
		change(proof, &d)
		_, err := o.ProveLink(o.ctx(), d, proof, From{})
		wantNo(t, name, err, "link-refused")
	}
	o.prove("laptop-alice", offer)
	_, err = o.ProveLink(o.ctx(), o.lap("laptop-alice"), o.proof(offer), From{})
	wantNo(t, "replayed", err, "link-refused")
	if len(o.notices()) != 3 {
		t.Errorf("notices %q, want one start", o.notices())
	}
}

func TestRecoveryByAdministrators(t *testing.T) {
	o := newOffice(t)
	o.staff()
	for _, name := range []string{"ada", "bea", "cid"} {
		o.hire(name, store.RoleAdministrator)
	}
	o.hire("helen", store.RoleHelpDesk)
	old := o.sign("alice")
	ada := o.sign("ada")
	for name, want := range map[string]string{"helen": "role", "bob": "role"} {
		_, err := o.ProposeRecovery(o.ctx(), o.sign(name), "alice")
		wantNo(t, name, err, want)
	}
	_, err := o.ProposeRecovery(o.ctx(), ada, "ada")
	wantNo(t, "for oneself", err, "recovery-own")
	_, err = o.ProposeRecovery(o.ctx(), ada, "nobody")
	wantNo(t, "for nobody", err, "not-found")
	stale := o.sign("ada")
	o.pass(session.FreshFor)
	_, err = o.ProposeRecovery(o.ctx(), stale, "alice")
	wantNo(t, "stale hands", err, "verify-first")
	ada = o.sign("ada")
	r, err := o.ProposeRecovery(o.ctx(), ada, "alice")
	if err != nil || r.Way != wayAdministrators || r.State != waitApproval {
		t.Fatalf("proposed %+v, %v", r, err)
	}
	o.wantNotice("mail alice@muster.example recovery-started", "mail security@muster.example recovery-started")
	for name, want := range map[string]string{"ada": "recovery-own", "alice": "recovery-own", "bob": "not-found", "helen": "not-found"} {
		_, err := o.ApproveRecovery(o.ctx(), o.sign(name), r.ID, "")
		wantNo(t, name, err, want)
	}
	link := o.approve(o.sign("bea"), r.ID, "")
	_, err = o.ApproveRecovery(o.ctx(), o.sign("cid"), r.ID, "")
	wantNo(t, "a second link", err, "not-found")
	_, secret, _ := strings.Cut(link, "#")
	c, err := o.BeginAccept(o.ctx(), secret, Presence{})
	if err != nil {
		t.Fatalf("link %q: %v", link, err)
	}
	_, who, err := o.Accept(o.ctx(), secret, Presence{}, c.Sealed, passkeytest.New(t, officeOrigin).Register(c.Options), "", From{})
	if err != nil || who.Person.Name != "alice" || o.at(old).EndedAt.IsZero() {
		t.Fatalf("recovered %+v, %v; the old session ended at %v", who, err, o.at(old).EndedAt)
	}
	o.wantNotice("mail alice@muster.example recovery-approved", "mail alice@muster.example recovered")
	_, err = o.BeginAccept(o.ctx(), secret, Presence{})
	wantNo(t, "again", err, "used")
}

// Who proposed must be an administrator still when the other one approves, and the
// one about whom it is may have become none of the two.
func TestRecoveryProposerDemoted(t *testing.T) {
	o := newOffice(t)
	o.staff()
	o.hire("ada", store.RoleAdministrator)
	o.hire("bea", store.RoleAdministrator)
	r, err := o.ProposeRecovery(o.ctx(), o.sign("ada"), "alice")
	if err != nil {
		t.Fatal(err)
	}
	o.change(func(tx *store.Tx) error {
		ada, err := tx.PersonByName("ada")
		if err != nil {
			return err
		}
		ada.Role = store.RolePerson
		return tx.UpdatePerson(ada)
	})
	_, err = o.ApproveRecovery(o.ctx(), o.sign("bea"), r.ID, "")
	wantNo(t, "demoted proposer", err, "used")
	wantNo(t, "the demoted one may still cancel", o.CancelRecovery(o.ctx(), o.sign("ada"), r.ID), "")
}

func TestThousandRecoveries(t *testing.T) {
	o := newOffice(t)
	o.staff()
	id, code, secret := o.lost("laptop-alice")
	bob := o.sign("bob")
	approved := race(t, func(int) error {
		_, err := o.ApproveRecovery(o.ctx(), bob, id, code)
		return err
	}, "recovery-approved")
	if approved != 1 || o.audited("recovery.approve") != 1 {
		t.Errorf("%d of 1,000 parallel approvals won, want 1", approved)
	}
	o.pass(24 * time.Hour)
	c, err := o.BeginRecovered(o.ctx(), secret)
	if err != nil {
		t.Fatal(err)
	}
	response := passkeytest.New(t, officeOrigin).Register(c.Options)
	won := race(t, func(int) error {
		_, _, err := o.Recovered(o.ctx(), secret, c.Sealed, response, From{})
		return err
	}, "used")
	if won != 1 || o.audited("recovery.done") != 1 {
		t.Errorf("%d of 1,000 parallel recoveries won, want 1", won)
	}
}

func TestThousandProposalsMakeOneLink(t *testing.T) {
	o := newOffice(t)
	o.staff()
	o.hire("ada", store.RoleAdministrator)
	o.hire("bea", store.RoleAdministrator)
	r, err := o.ProposeRecovery(o.ctx(), o.sign("ada"), "alice")
	if err != nil {
		t.Fatal(err)
	}
	bea := o.sign("bea")
	won := race(t, func(int) error {
		_, err := o.ApproveRecovery(context.Background(), bea, r.ID, "")
		return err
	}, "not-found")
	if won != 1 {
		t.Errorf("%d of 1,000 parallel approvals made a link, want 1", won)
	}
}
