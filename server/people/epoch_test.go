package people

import (
	"context"
	"testing"
	"time"

	"muster/attest"
	"muster/server/passkey/passkeytest"
	"muster/server/session"
	"muster/server/store"
)

// restored is the same office after its database was put back from a backup.
func (o *office) restored() *office {
	o.t.Helper()
	ctx := context.Background()
	if err := o.Store.Backup(ctx, o.path+".bak"); err != nil {
		o.t.Fatal(err)
	}
	if err := o.Store.Close(); err != nil {
		o.t.Fatal(err)
	}
	at := store.Config{Path: o.path, Now: o.now}
	if _, err := store.Restore(ctx, o.path+".bak", at); err != nil {
		o.t.Fatal(err)
	}
	s, err := store.Open(ctx, at)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { s.Close() })
	var meta *store.Meta
	o.view(func(tx *store.Tx) (err error) { meta, err = tx.Meta(); return err }, s)
	c := o.Config
	c.Store = s
	if o.People, err = New(c, meta); err != nil {
		o.t.Fatal(err)
	}
	return o
}

// Nothing that was handed out before a backup was restored opens anything after:
// what was used or ended since the backup is forgotten with it.
func TestEarlierEpochOpensNothing(t *testing.T) {
	o := newOffice(t)
	o.staff()
	o.hire("ada", store.RoleAdministrator)
	alice, bob := o.sign("alice"), o.sign("bob")
	used := o.code(alice)
	cookie, _, err := o.Visit(o.ctx(), used, wikiHost, flowOf("browser"))
	if err != nil {
		t.Fatal(err)
	}
	id, shown, secret := o.lost("laptop-alice")
	o.approve(bob, id, shown)
	o.pass(24 * time.Hour)
	ceremony, err := o.BeginRecovered(o.ctx(), secret)
	if err != nil {
		t.Fatal(err)
	}
	response := passkeytest.New(t, officeOrigin).Register(ceremony.Options)
	code := o.code(alice)
	asks := o.begin(alice, session.ByLoopback)
	proved := o.begin(bob, session.ByLoopback)
	value := valueOf(o.prove("laptop-bob", asked(bob, proved)))
	d := o.lap("laptop-carol")
	d.Active = false
	o.put(d)
	carol := o.sign("carol")
	if _, err := o.Readmission(o.ctx(), carol, d.ID, "ABCD-EFGH"); err != nil {
		t.Fatal(err)
	}
	waiting, _ := o.Readmissions(o.ctx())

	o.restored()
	_, _, err = o.Visit(o.ctx(), code, wikiHost, flowOf("browser"))
	wantNo(t, "redirect code", err, "used")
	_, _, err = visitorAt(o.ctx(), o.People, cookie, wikiHost)
	wantNo(t, "application's cookie", err, "sign-in")
	_, err = o.OfferLink(o.ctx(), o.lap("laptop-alice"), attest.LinkAsk{Link: asks.ID, Nonce: asks.Nonce, Way: "loopback"})
	wantNo(t, "request to link", err, "link-refused")
	_, err = o.ProveLink(o.ctx(), o.lap("laptop-alice"), o.proof(asked(alice, asks)), From{})
	wantNo(t, "proof", err, "link-refused")
	_, err = o.ConfirmLink(o.ctx(), o.sign("bob"), proved.ID, value)
	wantNo(t, "confirmation", err, "used")
	_, _, err = o.Recovered(o.ctx(), secret, ceremony.Sealed, response, From{})
	wantNo(t, "recovery", err, "used")
	wantNo(t, "readmission", o.ApproveReadmission(o.ctx(), o.sign("ada"), waiting[0].ID), "used")
	for name, w := range map[string]*Who{"alice": alice, "carol": carol} {
		_, err = o.BeginLink(o.ctx(), w, session.ByLoopback, From{w.Session.Address, w.Session.Browser})
		wantNo(t, "session of "+name, err, "sign-in")
	}
}
