package people

import (
	"context"
	"testing"

	"muster/server/session"
	"muster/server/store"
)

// rekeyed is alice's laptop after its keys changed: it waits, and shows a code.
func (o *office) rekeyed() {
	d := healthyLaptop("laptop-alice", "alice")
	d.Active, d.Healthy, d.Current = false, false, false
	o.put(d)
	o.codes["laptop-alice"] = "ABCD-EFGH"
}

func TestReadmissionAlone(t *testing.T) {
	o := newOffice(t, func(c *Config) { c.ReadmitAlone = true })
	o.staff()
	o.rekeyed()
	_, err := o.Readmission(o.ctx(), o.sign("alice"), "laptop-alice", "WRNG-CODE")
	wantNo(t, "wrong code", err, "code-differs")
	waits, err := o.Readmission(o.ctx(), o.sign("alice"), "laptop-alice", "ABCD-EFGH")
	if err != nil || waits || !o.lap("laptop-alice").Active || o.let[0] != "person:alice laptop-alice" {
		t.Fatalf("waits %v, %v, let in %q", waits, err, o.let)
	}
	o.wantNotice("mail alice@muster.example laptop-readmitted", "webhook laptop-readmitted")
	if o.audited("device.readmit") != 1 {
		t.Error("not audited")
	}
	_, err = o.Readmission(o.ctx(), o.sign("alice"), "laptop-alice", "ABCD-EFGH")
	wantNo(t, "one that is in", err, "laptop-unknown")
}

func TestReadmissionRefused(t *testing.T) {
	for _, alone := range []bool{true, false} {
		o := newOffice(t, func(c *Config) { c.ReadmitAlone = alone })
		o.staff()
		o.rekeyed()
		stray := healthyLaptop("stray", "")
		stray.Active = false
		o.put(stray)
		stale := o.sign("alice")
		o.pass(session.FreshFor)
		_, err := o.Readmission(o.ctx(), stale, "laptop-alice", "ABCD-EFGH")
		wantNo(t, "stale hands", err, "verify-first")
		for name, laptop := range map[string]string{"bob": "laptop-alice", "alice": "stray", "carol": "nowhere"} {
			_, err := o.Readmission(o.ctx(), o.sign(name), laptop, "ABCD-EFGH")
			wantNo(t, name+" "+laptop, err, "laptop-unknown")
		}
		_, err = o.Readmission(o.ctx(), o.sign("alice"), "laptop-alice", "")
		wantNo(t, "no code", err, "code-form")
		if len(o.let) != 0 {
			t.Errorf("let in: %q", o.let)
		}
		if list, err := o.Readmissions(o.ctx()); err != nil || len(list) != 0 {
			t.Errorf("%+v waits, %v", list, err)
		}
	}
}

func TestReadmissionByApproval(t *testing.T) {
	o := newOffice(t)
	o.staff()
	o.rekeyed()
	o.hire("helen", store.RoleHelpDesk)
	o.hire("ada", store.RoleAdministrator)
	o.hire("audrey", store.RoleAuditor)
	for range 2 { // the last word counts
		waits, err := o.Readmission(o.ctx(), o.sign("alice"), "laptop-alice", "ABCD-EFGH")
		if err != nil || !waits {
			t.Fatalf("waits %v, %v", waits, err)
		}
	}
	list, err := o.Readmissions(o.ctx())
	if err != nil || len(list) != 1 || list[0].Device != "laptop-alice" || list[0].Person != "alice" || list[0].Name == "" {
		t.Fatalf("%+v waits, %v", list, err)
	}
	id := list[0].ID
	for _, name := range []string{"alice", "bob", "audrey"} {
		wantNo(t, name, o.ApproveReadmission(o.ctx(), o.sign(name), id), "role")
	}
	stale := o.sign("helen")
	o.pass(session.FreshFor)
	wantNo(t, "stale hands", o.ApproveReadmission(o.ctx(), stale, id), "verify-first")
	if len(o.let) != 0 {
		t.Fatalf("let in: %q", o.let)
	}
	if err := o.ApproveReadmission(o.ctx(), o.sign("helen"), id); err != nil || o.let[0] != "person:helen laptop-alice" {
		t.Fatalf("%v, let in %q", err, o.let)
	}
	wantNo(t, "twice", o.ApproveReadmission(o.ctx(), o.sign("ada"), id), "used")
	o.wantNotice("mail alice@muster.example readmission-asked", "mail alice@muster.example laptop-readmitted")
}

// Whoever has a role that approves does not approve for themself.
func TestReadmissionNotByTheOwner(t *testing.T) {
	o := newOffice(t)
	o.hire("ada", store.RoleAdministrator)
	o.hire("helen", store.RoleHelpDesk)
	d := healthyLaptop("laptop-ada", "ada")
	d.Active = false
	o.put(d)
	o.codes["laptop-ada"] = "ABCD-EFGH"
	ada := o.sign("ada")
	if _, err := o.Readmission(o.ctx(), ada, "laptop-ada", "ABCD-EFGH"); err != nil {
		t.Fatal(err)
	}
	list, _ := o.Readmissions(o.ctx())
	wantNo(t, "the owner", o.ApproveReadmission(o.ctx(), ada, list[0].ID), "readmission-own")
	// It is not used up by that; but it is when the laptop is somebody else's now.
	d.Owner = "bob"
	o.put(d)
	wantNo(t, "another owner since", o.ApproveReadmission(o.ctx(), o.sign("helen"), list[0].ID), "used")
	if len(o.let) != 0 {
		t.Errorf("let in: %q", o.let)
	}
}

func TestThousandReadmissions(t *testing.T) {
	o := newOffice(t)
	o.staff()
	o.rekeyed()
	o.hire("ada", store.RoleAdministrator)
	if _, err := o.Readmission(o.ctx(), o.sign("alice"), "laptop-alice", "ABCD-EFGH"); err != nil {
		t.Fatal(err)
	}
	list, _ := o.Readmissions(o.ctx())
	ada := o.sign("ada")
	won := race(t, func(int) error { return o.ApproveReadmission(context.Background(), ada, list[0].ID) }, "used")
	if won != 1 || len(o.let) != 1 {
		t.Errorf("%d of 1,000 parallel approvals won, %d readmitted, want 1", won, len(o.let))
	}
}
