package people

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/attest"
	"muster/server/session"
	"muster/server/store"
)

func (o *office) offer(laptop string, a *LinkAsk) (*attest.LinkOffers, error) {
	return o.OfferLink(o.ctx(), o.lap(laptop), attest.LinkAsk{Link: a.ID, Nonce: a.Nonce, Way: string(a.Way)})
}

func TestLinkEachWay(t *testing.T) {
	for _, way := range []session.Strength{session.ByLoopback, session.ByApp, session.ByCode} {
		o := newOffice(t)
		o.staff()
		w := o.sign("alice")
		a, err := o.BeginLink(o.ctx(), w, way, From{"198.51.100.4", "Browser\n of now"})
		if err != nil {
			t.Fatal(err)
		}
		ask := attest.LinkAsk{Link: a.ID, Nonce: a.Nonce, Way: string(way)}
		if way == session.ByCode {
			ask = attest.LinkAsk{}
		}
		offers, err := o.OfferLink(o.ctx(), o.lap("laptop-alice"), ask)
		if err != nil || len(offers.Offers) != 1 {
			t.Fatalf("%s: offers %+v, %v", way, offers, err)
		}
		got := offers.Offers[0]
		if got.Link != a.ID || got.Nonce != a.Nonce || got.SessionHash != session.Hash(w.Session.ID) || got.Person != "alice" ||
			got.Address != "198.51.100.4" || got.Browser != "Browser  of now" || !got.AskedAt.Equal(o.now()) {
			t.Errorf("%s: the person at the laptop reads %+v", way, got)
		}
		o.pass(time.Second)
		proved := o.now()
		r := o.prove("laptop-alice", got)
		o.never(kindLink, valueOf(r))
		switch {
		case way == session.ByLoopback && (len(r.Confirm) != 43 || r.Code+r.URL != ""),
			way == session.ByApp && (!strings.HasPrefix(r.URL, officeOrigin+"/link/confirm#"+a.ID+".") || r.Code+r.Confirm != ""),
			way == session.ByCode && (len(r.Code) != 9 || r.Code[4] != '-' || r.Confirm+r.URL != ""):
			t.Errorf("%s: reply %+v", way, r)
		}
		o.pass(time.Second)
		typed := valueOf(r)
		if way == session.ByCode {
			typed = " " + strings.ReplaceAll(typed, "-", " ")
		}
		link, err := o.ConfirmLink(o.ctx(), w, a.ID, typed)
		if err != nil {
			t.Fatalf("%s: %v", way, err)
		}
		want := session.Link{Device: "laptop-alice", Person: "alice", Strength: way, First: o.now(), At: proved, Address: "192.0.2.9"}
		if *link != want || *o.at(w).Link != want {
			t.Errorf("%s: link %+v, stored %+v, want %+v", way, link, o.at(w).Link, want)
		}
		if s := o.LinkStateOf(o.at(w)); s != session.LinkLive {
			t.Errorf("%s: link is %s", way, s)
		}
		o.wantNotice("mail alice@muster.example laptop-linked", "webhook laptop-linked")
		// The second time is no news; the first proof's time stays.
		first := link.First
		o.pass(time.Hour)
		if again := o.linkBy(w, "laptop-alice", way); !again.First.Equal(first) || !again.At.Equal(o.now()) {
			t.Errorf("%s: proved again: %+v", way, again)
		}
		if n := strings.Count(fmt.Sprint(o.notices()), "mail alice@muster.example laptop-linked"); n != 1 {
			t.Errorf("%s: the laptop was announced %d times", way, n)
		}
	}
}

func TestLinkSuspendsWithTheLease(t *testing.T) {
	o := newOffice(t)
	o.staff()
	w := o.sign("alice")
	o.linkBy(w, "laptop-alice", session.ByLoopback)
	for _, test := range []struct {
		change func(*session.Device)
		want   session.LinkState
	}{
		{func(d *session.Device) { d.Current = false }, session.LinkSuspended},
		{func(d *session.Device) { d.Current = true }, session.LinkLive},
		{func(d *session.Device) { d.Active = false }, session.LinkSuspended},
		{func(d *session.Device) { d.ID = "other" }, session.LinkAbsent},
	} {
		d := o.lap("laptop-alice")
		test.change(&d)
		o.laptops["laptop-alice"] = d
		if s := o.LinkStateOf(o.at(w)); s != test.want {
			t.Errorf("%+v: link is %s, want %s", d, s, test.want)
		}
	}
	delete(o.laptops, "laptop-alice")
	if s := o.LinkStateOf(o.at(w)); s != session.LinkAbsent {
		t.Errorf("unknown laptop: link is %s", s)
	}
	if s := o.LinkStateOf(nil); s != session.LinkAbsent {
		t.Errorf("no session: link is %s", s)
	}
}

// A laptop that changed hands, or whose keys changed, vouches no more for whom it
// did: neither by an old link nor by a proof that waits for its browser.
func TestLinkEndsWithWhatVouched(t *testing.T) {
	for name, change := range map[string]func(*session.Device){
		"another owner": func(d *session.Device) { d.Owner, d.Class = "bob", "corporate" },
		"other keys":    func(d *session.Device) { d.Anchor = "another key" },
	} {
		for _, laptop := range []string{"laptop-alice", "kiosk"} {
			o := newOffice(t)
			o.staff()
			linked, late := o.sign("alice"), o.sign("alice")
			o.linkBy(linked, laptop, session.ByLoopback)
			a := o.begin(late, session.ByLoopback)
			value := valueOf(o.prove(laptop, asked(late, a)))
			d := o.lap(laptop)
			change(&d)
			o.put(d)
			s := *linked
			s.Session = o.at(linked)
			if state := o.LinkStateOf(s.Session); state != session.LinkAbsent {
				t.Errorf("%s, %s: link is %s", laptop, name, state)
			}
			for _, seen := range o.Laptops(&s) {
				if seen.ID == laptop && seen.Owner != "alice" {
					t.Errorf("%s, %s: still shown to alice", laptop, name)
				}
			}
			_, err := o.ConfirmLink(o.ctx(), late, a.ID, value)
			wantNo(t, laptop+", "+name, err, "link-refused")
			if o.at(late).Link != nil {
				t.Errorf("%s, %s: linked", laptop, name)
			}
		}
	}
}

// Who has only the cookie makes nobody the owner of a laptop; the request waits
// for the passkey.
func TestOwningNeedsFreshHands(t *testing.T) {
	o := newOffice(t)
	o.staff()
	w := o.sign("alice")
	o.pass(session.FreshFor)
	a := o.begin(w, session.ByLoopback)
	value := valueOf(o.prove("new", asked(w, a)))
	_, err := o.ConfirmLink(o.ctx(), w, a.ID, value)
	wantNo(t, "stale hands", err, "verify-first")
	if o.at(w).Link != nil || o.lap("new").Owner != "" {
		t.Error("linked, or owned")
	}
	o.change(func(tx *store.Tx) error {
		s := o.at(w)
		s.VerifiedAt = o.now()
		return tx.UpdateSession(s)
	})
	if _, err := o.ConfirmLink(o.ctx(), w, a.ID, value); err != nil || o.lap("new").Owner != "alice" {
		t.Errorf("fresh hands: %v, owner %q", err, o.lap("new").Owner)
	}
	// Any other link needs none.
	again := o.sign("alice")
	o.pass(session.FreshFor)
	for _, laptop := range []string{"new", "new"} {
		o.linkBy(again, laptop, session.ByLoopback)
	}
}

// The attacker's session, the victim's laptop: the laptop has its owner, so it
// does not even hear what it would sign.
func TestLinkRelayRefusedByOwner(t *testing.T) {
	for _, way := range []session.Strength{session.ByLoopback, session.ByApp, session.ByCode} {
		o := newOffice(t)
		o.staff()
		attacker := o.sign("carol")
		a := o.begin(attacker, way)
		_, err := o.ProveLink(o.ctx(), o.lap("laptop-alice"), o.proof(asked(attacker, a)), From{})
		wantNo(t, "proof", err, "link-refused")
		_, err = o.offer("laptop-alice", a)
		wantNo(t, "offer", err, "link-refused")
		// It is over: not even the attacker's own laptop proves it.
		_, err = o.offer("laptop-carol", a)
		wantNo(t, "own laptop afterwards", err, "link-refused")
		if o.audited("link.refuse") != 1 {
			t.Errorf("%s: not audited", way)
		}
	}
}

// On a laptop that vouches for anybody, what it answers reaches the victim's
// browser, whose session is another one: refused, over, audited, told.
func TestLinkRelayRefusedAtConfirm(t *testing.T) {
	for _, way := range []session.Strength{session.ByLoopback, session.ByApp} {
		for _, laptop := range []string{"kiosk", "new"} {
			o := newOffice(t)
			o.staff()
			attacker, victim := o.sign("carol"), o.sign("alice")
			a := o.begin(attacker, way)
			value := valueOf(o.prove(laptop, asked(attacker, a)))
			_, err := o.ConfirmLink(o.ctx(), victim, a.ID, value)
			wantNo(t, laptop, err, "link-relay-refused")
			_, err = o.ConfirmLink(o.ctx(), attacker, a.ID, value)
			wantNo(t, "the attacker afterwards", err, "used")
			if o.at(attacker).Link != nil || o.at(victim).Link != nil || o.lap("new").Owner != "" {
				t.Errorf("%s by %s: somebody is linked", laptop, way)
			}
			if o.audited("link.relay-refused") != 1 {
				t.Errorf("%s by %s: not audited", laptop, way)
			}
			o.wantNotice("mail alice@muster.example link-relay-refused", "mail security@muster.example link-relay-refused")
		}
	}
}

// The same person's other session is another browser, too; the owner hears of it.
func TestLinkRelayBetweenOwnSessions(t *testing.T) {
	o := newOffice(t)
	o.staff()
	stolen, own := o.sign("alice"), o.sign("alice")
	a := o.begin(stolen, session.ByApp)
	value := valueOf(o.prove("laptop-alice", asked(stolen, a)))
	_, err := o.ConfirmLink(o.ctx(), own, a.ID, value)
	wantNo(t, "other session", err, "link-relay-refused")
	o.wantNotice("mail alice@muster.example link-relay-refused")
	if o.at(stolen).Link != nil {
		t.Error("the stolen session is linked")
	}
}

// A code that was talked out of somebody opens nothing for anybody else: the
// victim's laptop shows codes for the victim's own sessions.
func TestLinkRelayByCodeAcrossPersons(t *testing.T) {
	o := newOffice(t)
	o.staff()
	attacker, victim := o.sign("carol"), o.sign("alice")
	hers, mine := o.begin(attacker, session.ByCode), o.begin(victim, session.ByCode)
	offers, err := o.OfferLink(o.ctx(), o.lap("laptop-alice"), attest.LinkAsk{})
	if err != nil || len(offers.Offers) != 1 || offers.Offers[0].Link != mine.ID {
		t.Fatalf("alice's laptop is shown %+v, %v", offers, err)
	}
	code := valueOf(o.prove("laptop-alice", offers.Offers[0]))
	_, err = o.ConfirmLink(o.ctx(), attacker, hers.ID, code)
	wantNo(t, "the code in the attacker's own request", err, "link-unproved")
	_, err = o.ConfirmLink(o.ctx(), attacker, mine.ID, code)
	wantNo(t, "the code in the victim's request", err, "link-relay-refused")
	if o.at(attacker).Link != nil {
		t.Error("the attacker is linked")
	}
	// Laptops that vouch for anybody never do by code.
	w := o.sign("bob")
	o.begin(w, session.ByCode)
	_, err = o.OfferLink(o.ctx(), o.lap("kiosk"), attest.LinkAsk{})
	wantNo(t, "shared laptop", err, "link-code-shared")
	for _, laptop := range []string{"kiosk", "new"} {
		_, err = o.ProveLink(o.ctx(), o.lap(laptop), o.proof(asked(w, o.begin(w, session.ByCode))), From{})
		wantNo(t, laptop, err, "link-refused")
	}
	if offers, err := o.OfferLink(o.ctx(), o.lap("new"), attest.LinkAsk{}); err != nil || len(offers.Offers) != 0 {
		t.Errorf("a laptop without an owner is shown %+v, %v", offers, err)
	}
}

// What a laptop may not prove is refused alike, and leaves the request as it was.
func TestLinkProofRefused(t *testing.T) {
	o := newOffice(t)
	o.staff()
	w := o.sign("alice")
	other := o.begin(o.sign("alice"), session.ByLoopback)
	a := o.begin(w, session.ByLoopback)
	for name, change := range map[string]func(*attest.LinkProof, *session.Device){
		"crossed nonce":    func(p *attest.LinkProof, _ *session.Device) { p.Nonce = other.Nonce },
		"no nonce":         func(p *attest.LinkProof, _ *session.Device) { p.Nonce = attest.Digest{} },
		"crossed link":     func(p *attest.LinkProof, _ *session.Device) { p.Link = other.ID },
		"unknown link":     func(p *attest.LinkProof, _ *session.Device) { p.Link = "o_unknown" },
		"other session":    func(p *attest.LinkProof, _ *session.Device) { p.SessionHash = flowOf("x") },
		"other origin":     func(p *attest.LinkProof, _ *session.Device) { p.Origin = "https://evil.example" },
		"signed early":     func(p *attest.LinkProof, _ *session.Device) { p.Time -= 121 },
		"signed ahead":     func(p *attest.LinkProof, _ *session.Device) { p.Time += 121 },
		"far future":       func(p *attest.LinkProof, _ *session.Device) { p.Time = 1<<63 - 1 },
		"far past":         func(p *attest.LinkProof, _ *session.Device) { p.Time = -1 << 62 },
		"other's laptop":   func(_ *attest.LinkProof, d *session.Device) { *d = o.lap("laptop-bob") },
		"nameless laptop":  func(_ *attest.LinkProof, d *session.Device) { d.ID = "" },
		"a visit's code":   func(p *attest.LinkProof, _ *session.Device) { p.Link = o.code(w) },
		"owner by another": func(_ *attest.LinkProof, d *session.Device) { d.Owner = "Alice" },
	} {
		proof, d := o.proof(asked(w, a)), o.lap("laptop-alice")
		change(proof, &d)
		_, err := o.ProveLink(o.ctx(), d, proof, From{})
		wantNo(t, name, err, "link-refused")
	}
	d := o.lap("laptop-alice")
	d.Active = false
	_, err := o.ProveLink(o.ctx(), d, o.proof(asked(w, a)), From{})
	wantNo(t, "inactive", err, "link-inactive")
	_, err = o.OfferLink(o.ctx(), d, attest.LinkAsk{})
	wantNo(t, "inactive", err, "link-inactive")
	if _, err := o.ProveLink(o.ctx(), o.lap("laptop-alice"), nil, From{}); err == nil {
		t.Error("no proof proves")
	}
	o.prove("laptop-alice", asked(w, a))
	_, err = o.ProveLink(o.ctx(), o.lap("laptop-alice"), o.proof(asked(w, a)), From{})
	wantNo(t, "replayed", err, "link-refused")
	_, err = o.offer("laptop-alice", a)
	wantNo(t, "asked again", err, "link-refused")
}

func TestLinkOfferRefusedAlike(t *testing.T) {
	o := newOffice(t)
	o.staff()
	w := o.sign("alice")
	a := o.begin(w, session.ByLoopback)
	for name, ask := range map[string]attest.LinkAsk{
		"unknown":     {Link: "o_unknown", Nonce: a.Nonce, Way: "loopback"},
		"wrong nonce": {Link: a.ID, Nonce: flowOf("x"), Way: "loopback"},
		"no nonce":    {Link: a.ID, Way: "loopback"},
		"other way":   {Link: a.ID, Nonce: a.Nonce, Way: "code"},
		"no way":      {Link: a.ID, Nonce: a.Nonce},
	} {
		// A stranger's laptop learns no more than its owner's.
		for _, laptop := range []string{"laptop-alice", "laptop-carol"} {
			_, err := o.OfferLink(o.ctx(), o.lap(laptop), ask)
			wantNo(t, name, err, "link-refused")
		}
	}
	if _, err := o.offer("laptop-alice", a); err != nil {
		t.Errorf("after wrong ones: %v", err)
	}
	o.change(func(tx *store.Tx) error { return tx.EndSession(w.Session.ID, "test") })
	_, err := o.offer("laptop-alice", a)
	wantNo(t, "ended session", err, "link-refused")
	_, err = o.ProveLink(o.ctx(), o.lap("laptop-alice"), o.proof(asked(w, a)), From{})
	wantNo(t, "ended session's proof", err, "link-refused")
	_, err = o.BeginLink(o.ctx(), w, session.ByLoopback, From{w.Session.Address, w.Session.Browser})
	wantNo(t, "ended session's request", err, "sign-in")
	_, err = o.BeginLink(o.ctx(), o.sign("alice"), "telepathy", somewhere)
	wantNo(t, "way", err, "way-unknown")
}

func TestLinkLate(t *testing.T) {
	o := newOffice(t)
	o.staff()
	w := o.sign("alice")
	a := o.begin(w, session.ByLoopback)
	_, err := o.ConfirmLink(o.ctx(), w, a.ID, "x")
	wantNo(t, "before the proof", err, "link-unproved")
	o.pass(linkLife)
	_, err = o.ProveLink(o.ctx(), o.lap("laptop-alice"), o.proof(asked(w, a)), From{})
	wantNo(t, "late proof", err, "link-refused")
	a = o.begin(w, session.ByLoopback)
	value := valueOf(o.prove("laptop-alice", asked(w, a)))
	o.pass(linkLife)
	_, err = o.ConfirmLink(o.ctx(), w, a.ID, value)
	wantNo(t, "late confirmation", err, "used")
	// A session has one request at a time.
	old := o.begin(w, session.ByLoopback)
	a = o.begin(w, session.ByLoopback)
	_, err = o.offer("laptop-alice", old)
	wantNo(t, "the request before", err, "link-refused")
	if _, err := o.offer("laptop-alice", a); err != nil {
		t.Error(err)
	}
	// A laptop that lost its place between proof and confirmation counts no more.
	value = valueOf(o.prove("laptop-alice", asked(w, a)))
	d := o.lap("laptop-alice")
	d.Owner = "bob"
	o.put(d)
	_, err = o.ConfirmLink(o.ctx(), w, a.ID, value)
	wantNo(t, "laptop of another since", err, "link-refused")
	if o.at(w).Link != nil {
		t.Error("linked")
	}
}

func TestSessionMoved(t *testing.T) {
	o := newOffice(t)
	o.staff()
	second := healthyLaptop("second", "alice")
	o.put(second)
	for _, laptop := range []string{"second", "kiosk", "new"} {
		w := o.sign("alice")
		o.linkBy(w, "laptop-alice", session.ByLoopback)
		a := o.begin(w, session.ByLoopback)
		value := valueOf(o.prove(laptop, asked(w, a)))
		if o.at(w).Cause != "" {
			t.Fatal("a proof alone ended a session")
		}
		_, err := o.ConfirmLink(o.ctx(), w, a.ID, value)
		wantNo(t, laptop, err, "session-moved")
		if s := o.at(w); s.EndedAt.IsZero() || s.Cause != "session-moved" {
			t.Errorf("%s: session %+v", laptop, s)
		}
		_, err = o.BeginLink(o.ctx(), w, session.ByLoopback, From{w.Session.Address, w.Session.Browser})
		wantNo(t, "afterwards", err, "sign-in")
	}
	if o.lap("new").Owner != "" {
		t.Error("a moved session came to own a laptop")
	}
	o.wantNotice("mail alice@muster.example session-moved", "webhook session-moved")
	if o.audited("session.end") != 3 {
		t.Error("not audited")
	}
}

func TestLinkCodeGuessing(t *testing.T) {
	o := newOffice(t)
	o.staff()
	w := o.sign("alice")
	a := o.begin(w, session.ByCode)
	code := valueOf(o.prove("laptop-alice", asked(w, a)))
	for n := range linkTries {
		want := "link-value"
		if n == linkTries-1 {
			want = "used"
		}
		_, err := o.ConfirmLink(o.ctx(), w, a.ID, fmt.Sprintf("0000-%04d", n))
		wantNo(t, "guess", err, want)
	}
	_, err := o.ConfirmLink(o.ctx(), w, a.ID, code)
	wantNo(t, "the code after five guesses", err, "used")
	if o.at(w).Link != nil || o.audited("link.guess-refused") != 1 {
		t.Error("linked, or not audited")
	}
	// Four wrong ones and the right one do.
	a = o.begin(w, session.ByCode)
	code = valueOf(o.prove("laptop-alice", asked(w, a)))
	for range linkTries - 1 {
		_, err := o.ConfirmLink(o.ctx(), w, a.ID, strings.Repeat("9", 10_000))
		wantNo(t, "guess", err, "link-value")
	}
	if _, err := o.ConfirmLink(o.ctx(), w, a.ID, code); err != nil {
		t.Error(err)
	}
}

func TestCodeDoesNotWeakenLink(t *testing.T) {
	o := newOffice(t)
	o.staff()
	w := o.sign("alice")
	strong := o.linkBy(w, "laptop-alice", session.ByLoopback)
	_, err := o.BeginLink(o.ctx(), w, session.ByCode, From{w.Session.Address, w.Session.Browser})
	wantNo(t, "asking", err, "link-stronger")
	// One that was asked for before the strong link came.
	late := o.sign("alice")
	a := o.begin(late, session.ByCode)
	value := valueOf(o.prove("laptop-alice", asked(late, a)))
	o.change(func(tx *store.Tx) error {
		s, err := tx.Session(late.Session.ID)
		if err != nil {
			return err
		}
		s.Link = strong
		return tx.UpdateSession(s)
	})
	o.pass(time.Minute)
	_, err = o.ConfirmLink(o.ctx(), late, a.ID, value)
	wantNo(t, "confirming", err, "link-stronger")
	if l := o.at(late).Link; l.Strength != session.ByLoopback || !l.At.Equal(strong.At) {
		t.Errorf("link is %+v now", l)
	}
	// The other way round it may rise.
	weak := o.sign("alice")
	o.linkBy(weak, "laptop-alice", session.ByCode)
	if l := o.linkBy(weak, "laptop-alice", session.ByLoopback); l.Strength != session.ByLoopback {
		t.Errorf("link is %+v", l)
	}
}

func TestFirstStrongLinkOwns(t *testing.T) {
	o := newOffice(t)
	o.staff()
	o.linkBy(o.sign("alice"), "new", session.ByApp)
	if owner := o.lap("new").Owner; owner != "alice" {
		t.Errorf("owner is %q", owner)
	}
	o.linkBy(o.sign("bob"), "kiosk", session.ByLoopback)
	if owner := o.lap("kiosk").Owner; owner != "" {
		t.Errorf("a shared laptop belongs to %q", owner)
	}
	// Two at once: who comes second is refused, and has no link.
	o.put(healthyLaptop("newer", ""))
	one, two := o.sign("alice"), o.sign("carol")
	a, b := o.begin(one, session.ByApp), o.begin(two, session.ByApp)
	va, vb := valueOf(o.prove("newer", asked(one, a))), valueOf(o.prove("newer", asked(two, b)))
	if _, err := o.ConfirmLink(o.ctx(), one, a.ID, va); err != nil {
		t.Fatal(err)
	}
	_, err := o.ConfirmLink(o.ctx(), two, b.ID, vb)
	wantNo(t, "the second", err, "link-refused")
	if o.at(two).Link != nil || o.lap("newer").Owner != "alice" {
		t.Error("the second is linked or owns")
	}
	// Own itself refused, as when two came at the very same time.
	o.put(healthyLaptop("newest", ""))
	three := o.sign("bob")
	c := o.begin(three, session.ByApp)
	vc := valueOf(o.prove("newest", asked(three, c)))
	own := o.Own
	o.People.Own = func(c2 context.Context, device, owner string) error {
		return own(c2, device, "carol") // it says yes, and the laptop is somebody else's
	}
	_, err = o.ConfirmLink(o.ctx(), three, c.ID, vc)
	wantNo(t, "taken meanwhile", err, "link-owned")
	if o.at(three).Link != nil {
		t.Error("linked to a laptop of somebody else")
	}
}

func TestUnlink(t *testing.T) {
	o := newOffice(t)
	o.staff()
	here, too, there := o.sign("alice"), o.sign("bob"), o.sign("carol")
	o.linkBy(here, "kiosk", session.ByLoopback)
	o.linkBy(too, "kiosk", session.ByLoopback)
	o.linkBy(there, "laptop-carol", session.ByLoopback)
	late := o.sign("carol")
	a := o.begin(late, session.ByLoopback)
	value := valueOf(o.prove("kiosk", asked(late, a)))
	for _, laptop := range []string{"kiosk", "laptop-carol"} {
		if err := o.Unlink(o.ctx(), o.lap(laptop)); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range []*Who{here, too} {
		if s := o.at(w); s.Link != nil || !s.EndedAt.IsZero() {
			t.Errorf("session of %s: %+v", w.Person.Name, s)
		}
	}
	if o.at(there).Link == nil {
		t.Error("a personal laptop was unlinked")
	}
	_, err := o.ConfirmLink(o.ctx(), late, a.ID, value)
	wantNo(t, "proved before the lock", err, "used")
}

func TestLaptops(t *testing.T) {
	o := newOffice(t)
	o.staff()
	w := o.sign("alice")
	ids := func() (ids []string) {
		s := *w
		s.Session = o.at(w)
		for _, d := range o.Laptops(&s) {
			ids = append(ids, d.ID)
		}
		return ids
	}
	if got := ids(); !slices.Equal(got, []string{"laptop-alice"}) {
		t.Errorf("laptops %v", got)
	}
	o.linkBy(w, "kiosk", session.ByLoopback)
	if got := ids(); !slices.Equal(got, []string{"laptop-alice", "kiosk"}) {
		t.Errorf("laptops %v", got)
	}
}

func TestThousandConfirms(t *testing.T) {
	o := newOffice(t)
	o.staff()
	w := o.sign("alice")
	a := o.begin(w, session.ByLoopback)
	value := valueOf(o.prove("laptop-alice", asked(w, a)))
	won := race(t, func(int) error {
		_, err := o.ConfirmLink(o.ctx(), w, a.ID, value)
		return err
	}, "used")
	if won != 1 || o.audited("link.confirm") != 1 {
		t.Errorf("%d of 1,000 parallel confirmations won, %d audited, want 1", won, o.audited("link.confirm"))
	}
}

func TestThousandProofs(t *testing.T) {
	o := newOffice(t)
	o.staff()
	w := o.sign("alice")
	proof, d := o.proof(asked(w, o.begin(w, session.ByLoopback))), o.lap("laptop-alice")
	won := race(t, func(int) error {
		_, err := o.ProveLink(o.ctx(), d, proof, From{})
		return err
	}, "link-refused")
	if won != 1 {
		t.Errorf("%d of 1,000 parallel proofs of one request won, want 1", won)
	}
}

// FuzzLink gives a request whatever an agent could sign and a browser could bring:
// only the right ones link.
func FuzzLink(f *testing.F) {
	f.Add([]byte(`{}`), "")
	f.Add([]byte(`{"link":"o_x","nonce":"`+strings.Repeat("A", 43)+`"}`), "0000-0000")
	o := newOffice(f)
	o.staff()
	w := o.sign("alice")
	a := o.begin(w, session.ByCode)
	good, _ := json.Marshal(o.proof(asked(w, a)))
	f.Add(good, "x")
	o.prove("laptop-alice", asked(w, a))
	laptop := o.lap("laptop-alice")
	f.Fuzz(func(t *testing.T, proof []byte, value string) {
		p := new(attest.LinkProof)
		if json.Unmarshal(proof, p) == nil {
			if _, err := o.ProveLink(o.ctx(), laptop, p, From{value, value}); err == nil {
				t.Errorf("proof %s was accepted again", proof)
			}
		}
		if _, err := o.ConfirmLink(o.ctx(), w, value, string(proof)); err == nil {
			t.Errorf("request %q was confirmed", value)
		}
		_ = linkDigest(a.ID, value)
	})
}
