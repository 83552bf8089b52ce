package people

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/attest"
	"muster/server/passkey/passkeytest"
	"muster/server/session"
	"muster/server/store"
)

// guest is somebody with an invitation that is bound to a laptop.
type guest struct {
	o      *office
	name   string
	secret string
}

func (o *office) invite(name, laptop string) *guest {
	o.t.Helper()
	link, err := o.Invite(o.ctx(), local, Invitation{Name: name, Device: laptop})
	if err != nil {
		o.t.Fatalf("inviting %s: %v", name, err)
	}
	_, secret, _ := strings.Cut(link, "#")
	return &guest{o, name, secret}
}

func (g *guest) ask() *LinkAsk {
	g.o.t.Helper()
	a, err := g.o.BeginInvitationLink(g.o.ctx(), g.secret, From{"198.51.100.4", "Browser"})
	if err != nil {
		g.o.t.Fatalf("asking for %s: %v", g.name, err)
	}
	return a
}

// offered is what the laptop's agent is shown.
func (g *guest) offered(laptop string, a *LinkAsk) attest.LinkOffer {
	g.o.t.Helper()
	offers, err := g.o.offer(laptop, a)
	if err != nil || len(offers.Offers) != 1 {
		g.o.t.Fatalf("offering to %s: %+v, %v", laptop, offers, err)
	}
	return offers.Offers[0]
}

// at asks the laptop and brings its word.
func (g *guest) at(laptop string) Presence {
	g.o.t.Helper()
	a := g.ask()
	return Presence{a.ID, g.o.prove(laptop, g.offered(laptop, a)).Confirm}
}

// accept runs the ceremony, with one word at its beginning and one at its end.
func (g *guest) accept(first, last Presence) (*Who, error) {
	g.o.t.Helper()
	c, err := g.o.BeginAccept(g.o.ctx(), g.secret, first)
	if err != nil {
		return nil, err
	}
	_, who, err := g.o.Accept(g.o.ctx(), g.secret, last, c.Sealed, passkeytest.New(g.o.t, officeOrigin).Register(c.Options), "", From{})
	return who, err
}

// refused is accept with a good word at the beginning, and then nobody is there.
func (g *guest) refused(what string, change func(p *Presence), code string) {
	g.o.t.Helper()
	p := g.at("new")
	c, err := g.o.BeginAccept(g.o.ctx(), g.secret, p)
	if err != nil {
		g.o.t.Fatalf("%s: beginning: %v", what, err)
	}
	response := passkeytest.New(g.o.t, officeOrigin).Register(c.Options)
	change(&p)
	_, who, err := g.o.Accept(g.o.ctx(), g.secret, p, c.Sealed, response, "", From{})
	wantNo(g.o.t, what, err, code)
	_, err = g.o.BeginAccept(g.o.ctx(), g.secret, p)
	wantNo(g.o.t, what+", beginning", err, codeAfter(code))
	if who != nil {
		g.o.t.Errorf("%s: a session began", what)
	}
	if _, err := g.o.PersonBy(g.o.ctx(), g.name); err == nil {
		g.o.t.Errorf("%s: the person is there", what)
	}
	if owner := g.o.lap("new").Owner; owner != "" && owner != "alice" {
		g.o.t.Errorf("%s: the laptop is %s's", what, owner)
	}
}

// codeAfter is with what the same word is refused once it was refused before: some
// refusals end it.
func codeAfter(code string) string {
	if code == "link-refused" || code == "link-relay-refused" {
		return "invitation-laptop"
	}
	return code
}

func officeOf(t *testing.T) *office {
	o := newOffice(t)
	o.staff()
	for _, id := range []string{"new", "kiosk", "laptop-alice"} {
		d := o.lap(id)
		d.Anchor = "key of " + id
		o.put(d)
	}
	return o
}

func TestAcceptOnTheLaptop(t *testing.T) {
	for laptop, owner := range map[string]string{"new": "dave", "kiosk": "", "daves": "dave"} {
		o := officeOf(t)
		o.put(healthyLaptop("daves", "dave"))
		g := o.invite("dave", laptop)
		if i, err := o.OpenInvitation(o.ctx(), g.secret); err != nil || i.Device != laptop {
			t.Errorf("%s: opened %+v, %v", laptop, i, err)
		}
		a := g.ask()
		shown := g.offered(laptop, a)
		if shown.Person != "dave" || shown.SessionHash != invitationHash(o.invitationID("dave")) || shown.Address != "198.51.100.4" || a.Way != session.ByLoopback {
			t.Errorf("%s: the agent is shown %+v", laptop, shown)
		}
		o.pass(time.Second)
		proved := o.now()
		p := Presence{a.ID, o.prove(laptop, shown).Confirm}
		o.never(kindLink, p.Value, g.secret)
		o.pass(time.Minute)
		who, err := g.accept(p, p)
		if err != nil {
			t.Fatalf("%s: %v", laptop, err)
		}
		want := session.Link{Device: laptop, Anchor: o.lap(laptop).Anchor, Person: "dave", Strength: session.ByLoopback, First: o.now(), At: proved, Address: "192.0.2.9"}
		if l := o.at(who).Link; l == nil || *l != want || who.Session.Link == nil || *who.Session.Link != want {
			t.Errorf("%s: linked %+v, want %+v", laptop, l, want)
		}
		if o.LinkStateOf(o.at(who)) != session.LinkLive || o.lap(laptop).Owner != owner {
			t.Errorf("%s: link %s, owner %q", laptop, o.LinkStateOf(o.at(who)), o.lap(laptop).Owner)
		}
		o.wantNotice("webhook laptop-linked", "webhook passkey-added")
		_, err = o.ConfirmLink(o.ctx(), who, p.Link, p.Value)
		wantNo(t, "the word again", err, "used")
	}
}

// invitationID is the id of the live invitation of a name.
func (o *office) invitationID(name string) string {
	o.t.Helper()
	list, err := o.Invitations(o.ctx())
	n := slices.IndexFunc(list, func(i Invited) bool { return i.Name == name })
	if err != nil || n < 0 {
		o.t.Fatalf("no invitation of %s among %+v, %v", name, list, err)
	}
	return list[n].ID
}

// Somebody who is there without a passkey is invited to a laptop, too; what lasts
// longer than the word is done with another.
func TestAcceptBoundOfOneWhoIsThere(t *testing.T) {
	o := officeOf(t)
	if _, err := o.Import(o.ctx(), local, []byte(`[{"name":"dave"}]`)); err != nil {
		t.Fatal(err)
	}
	g := o.invite("dave", "new")
	first := g.at("new")
	c, err := o.BeginAccept(o.ctx(), g.secret, first)
	if err != nil {
		t.Fatal(err)
	}
	response := passkeytest.New(t, officeOrigin).Register(c.Options)
	o.pass(linkLife)
	_, _, err = o.Accept(o.ctx(), g.secret, first, c.Sealed, response, "", From{})
	wantNo(t, "two minutes later", err, "invitation-laptop")
	_, who, err := o.Accept(o.ctx(), g.secret, g.at("new"), c.Sealed, response, "", From{})
	if err != nil || o.at(who).Link == nil || o.lap("new").Owner != "dave" {
		t.Errorf("said again: %v, owner %q", err, o.lap("new").Owner)
	}
}

func TestInviteToLaptopRefused(t *testing.T) {
	o := officeOf(t)
	waiting := healthyLaptop("waiting", "")
	waiting.Active = false
	o.put(waiting)
	for laptop, code := range map[string]string{"nobody": "invitation-device", "waiting": "invitation-device", "laptop-alice": "link-owned", "new": "", "kiosk": ""} {
		_, err := o.Invite(o.ctx(), local, Invitation{Name: "dave", Device: laptop})
		wantNo(t, laptop, err, code)
		_, err = o.Invite(o.ctx(), "person:alice", Invitation{Name: "dave", Device: laptop})
		wantNo(t, laptop+", by who may not", err, "role")
	}
	anywhere, err := o.Invite(o.ctx(), local, Invitation{Name: "erin"})
	if err != nil {
		t.Fatal(err)
	}
	_, secret, _ := strings.Cut(anywhere, "#")
	_, err = o.BeginInvitationLink(o.ctx(), secret, From{})
	wantNo(t, "bound to none", err, "not-found")
	_, err = o.BeginInvitationLink(o.ctx(), "mso_x", From{})
	wantNo(t, "no invitation", err, "used")
	g := o.invite("dave", "new")
	o.own(o.ctx(), "new", "alice")
	_, err = o.BeginInvitationLink(o.ctx(), g.secret, From{})
	wantNo(t, "somebody else's meanwhile", err, "link-owned")
}

// anchorOf is the laptop's key: none where the key alone must not be what tells a
// laptop that is not admitted from one that is.
func anchorOf(what string) string {
	if what == "revoked" || what == "renumbered" {
		return ""
	}
	return "key of new"
}

// Whatever is wrong with the word, nobody comes to be.
func TestAcceptBoundRefused(t *testing.T) {
	alter := func(o *office, id string, f func(*session.Device)) {
		d := o.lap(id)
		f(&d)
		o.put(d)
	}
	for what, test := range map[string]struct {
		change func(o *office, g *guest, p *Presence)
		code   string
	}{
		"no word":          {func(_ *office, _ *guest, p *Presence) { *p = Presence{} }, "invitation-laptop"},
		"an unknown one":   {func(_ *office, _ *guest, p *Presence) { p.Link = "o_x" }, "invitation-laptop"},
		"the invitation's": {func(o *office, _ *guest, p *Presence) { p.Link = o.invitationID("dave") }, "invitation-laptop"},
		"a stale one":      {func(o *office, _ *guest, _ *Presence) { o.pass(linkLife) }, "invitation-laptop"},
		"unproved":         {func(_ *office, g *guest, p *Presence) { p.Link = g.ask().ID }, "link-unproved"},
		"no value":         {func(_ *office, _ *guest, p *Presence) { p.Value = "" }, "link-value"},
		"another's value":  {func(o *office, _ *guest, p *Presence) { p.Value = o.invite("erin", "kiosk").at("kiosk").Value }, "link-value"},
		"another invitation's": {func(o *office, _ *guest, p *Presence) {
			*p = o.invite("erin", "new").at("new")
		}, "link-relay-refused"},
		"a session's": {func(o *office, _ *guest, p *Presence) {
			w := o.sign("alice")
			a := o.begin(w, session.ByLoopback)
			*p = Presence{a.ID, o.prove("new", asked(w, a)).Confirm}
		}, "link-relay-refused"},
		"revoked": {func(o *office, _ *guest, _ *Presence) { alter(o, "new", func(d *session.Device) { d.Active = false }) }, "link-refused"},
		"of other keys": {func(o *office, _ *guest, _ *Presence) {
			alter(o, "new", func(d *session.Device) { d.Anchor = "other" })
		}, "link-refused"},
		"renumbered": {func(o *office, _ *guest, _ *Presence) {
			alter(o, "new", func(d *session.Device) { d.ID = "x" })
			o.laptops["new"] = o.lap("x")
		}, "link-refused"},
		"somebody else's": {func(o *office, _ *guest, _ *Presence) { o.own(o.ctx(), "new", "alice") }, "link-owned"},
	} {
		o := officeOf(t)
		alter(o, "new", func(d *session.Device) { d.Anchor = anchorOf(what) })
		g := o.invite("dave", "new")
		g.refused(what, func(p *Presence) { test.change(o, g, p) }, test.code)
		if test.code == "link-relay-refused" && o.audited("link.relay-refused") != 1 {
			t.Errorf("%s: not audited", what)
		}
	}
	o := officeOf(t)
	g := o.invite("dave", "new")
	_, err := g.accept(Presence{}, Presence{})
	wantNo(t, "no word at all", err, "invitation-laptop")
}

// Only the laptop that it is bound to is asked, only by loopback, and once.
func TestOnlyTheBoundLaptopProves(t *testing.T) {
	o := officeOf(t)
	g := o.invite("dave", "new")
	for _, other := range []string{"laptop-alice", "kiosk"} {
		a := g.ask()
		_, err := o.ProveLink(o.ctx(), o.lap(other), o.proof(g.offered("new", a)), From{})
		wantNo(t, other+" proves", err, "link-refused")
		_, err = o.offer(other, a)
		wantNo(t, other+" is offered it", err, "link-refused")
		_, err = o.offer("new", a)
		wantNo(t, "afterwards it is over", err, "link-refused")
	}
	if n := o.audited("link.refuse"); n != 2 {
		t.Errorf("%d audited, want 2", n)
	}
	a := g.ask()
	for _, way := range []string{"app", "code", ""} {
		_, err := o.OfferLink(o.ctx(), o.lap("new"), attest.LinkAsk{Link: a.ID, Nonce: a.Nonce, Way: way})
		wantNo(t, "by "+way, err, "link-refused")
	}
	honest := g.offered("new", a)
	for what, spoil := range map[string]func(p *attest.LinkProof){
		"a session's hash":         func(p *attest.LinkProof) { p.SessionHash = session.Hash("") },
		"a session's hash of it":   func(p *attest.LinkProof) { p.SessionHash = session.Hash(o.invitationID("dave")) },
		"another invitation's":     func(p *attest.LinkProof) { p.SessionHash = invitationHash("o_x") },
		"another nonce":            func(p *attest.LinkProof) { p.Nonce[0]++ },
		"another origin":           func(p *attest.LinkProof) { p.Origin = "https://evil.example" },
		"signed three minutes ago": func(p *attest.LinkProof) { p.Time -= 180 },
	} {
		p := o.proof(honest)
		spoil(p)
		_, err := o.ProveLink(o.ctx(), o.lap("new"), p, From{})
		wantNo(t, what, err, "link-refused")
	}
	earlier := o.proof(honest)
	again := g.ask()
	if again.ID != a.ID || again.Nonce == a.Nonce {
		t.Errorf("asked again: %+v after %+v", again, a)
	}
	_, err := o.ProveLink(o.ctx(), o.lap("new"), earlier, From{})
	wantNo(t, "of the browser before", err, "link-refused")
	shown := g.offered("new", again)
	o.prove("new", shown)
	_, err = o.ProveLink(o.ctx(), o.lap("new"), o.proof(shown), From{})
	wantNo(t, "twice", err, "link-refused")
	// A withdrawn invitation asks for nothing.
	last := g.ask()
	if err := o.EndInvitation(o.ctx(), local, o.invitationID("dave")); err != nil {
		t.Fatal(err)
	}
	_, err = o.ProveLink(o.ctx(), o.lap("new"), o.proof(attest.LinkOffer{Link: last.ID, Nonce: last.Nonce, SessionHash: shown.SessionHash}), From{})
	wantNo(t, "withdrawn", err, "link-refused")
}

// A session confirms no invitation's request, though it is on the laptop and has
// the value.
func TestSessionConfirmsNoInvitation(t *testing.T) {
	o := officeOf(t)
	g := o.invite("dave", "kiosk")
	for _, name := range []string{"alice", "carol"} {
		w := o.sign(name)
		p := g.at("kiosk")
		_, err := o.ConfirmLink(o.ctx(), w, p.Link, p.Value)
		wantNo(t, name, err, "link-relay-refused")
		if o.at(w).Link != nil {
			t.Errorf("%s is linked", name)
		}
		_, err = g.accept(p, p)
		wantNo(t, "and it is over", err, "invitation-laptop")
	}
}

func TestWrongPresenceEndsIt(t *testing.T) {
	o := officeOf(t)
	g := o.invite("dave", "new")
	p := g.at("new")
	for n, code := range []string{"link-value", "link-value", "link-value", "link-value", "invitation-laptop"} {
		_, err := o.BeginAccept(o.ctx(), g.secret, Presence{p.Link, "guess"})
		wantNo(t, "guess "+string(rune('1'+n)), err, code)
	}
	_, err := o.BeginAccept(o.ctx(), g.secret, p)
	wantNo(t, "the right one afterwards", err, "invitation-laptop")
	if o.audited("link.guess-refused") != 1 {
		t.Error("not audited")
	}
	// The invitation itself lives: it takes another word.
	p = g.at("new")
	if _, err := g.accept(p, p); err != nil {
		t.Error(err)
	}
}

func TestAcceptBoundOnceOfAThousand(t *testing.T) {
	o := officeOf(t)
	g := o.invite("dave", "new")
	p := g.at("new")
	c, err := o.BeginAccept(o.ctx(), g.secret, p)
	if err != nil {
		t.Fatal(err)
	}
	response := passkeytest.New(t, officeOrigin).Register(c.Options)
	won := race(t, func(int) error {
		_, _, err := o.Accept(context.Background(), g.secret, p, c.Sealed, response, "", From{})
		return err
	}, "used")
	persons, err := o.Persons(o.ctx())
	n := 0
	for _, one := range persons {
		if one.Name == "dave" {
			n++
		}
	}
	if err != nil || won != 1 || n != 1 || o.lap("new").Owner != "dave" || o.audited("link.confirm") != 1 {
		t.Errorf("accepted %d times by %d persons, %d links, %v", won, n, o.audited("link.confirm"), err)
	}
}

// Two persons come to one laptop that is nobody's: one owns it, and the other is in
// but on no laptop.
func TestAcceptBoundLosesTheLaptop(t *testing.T) {
	o := officeOf(t)
	g := o.invite("dave", "new")
	p := g.at("new")
	o.Own = func(ctx context.Context, id, owner string) error {
		if err := o.own(ctx, id, "alice"); err != nil { // who was quicker
			return err
		}
		return o.own(ctx, id, owner)
	}
	who, err := g.accept(p, p)
	if err != nil || o.at(who).Link != nil || who.Session.Link != nil || o.lap("new").Owner != "alice" {
		t.Errorf("%v, linked %+v, owner %q", err, o.at(who).Link, o.lap("new").Owner)
	}
	var left []*store.Offer
	o.view(func(tx *store.Tx) (err error) { left, err = tx.Offers(kindLink); return err }, o.Store)
	if len(left) != 0 {
		t.Errorf("%d requests are left", len(left))
	}
}
