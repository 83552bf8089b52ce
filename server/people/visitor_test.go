package people

import (
	"strings"
	"testing"
	"time"

	"muster/attest"
	"muster/server/session"
	"muster/server/store"
)

// visits opens an application's host for a session and returns its cookie.
func (o *office) visits(w *Who, app, host string) (secret string) {
	o.t.Helper()
	flow := attest.Digest{7}
	code, err := o.VisitCode(o.ctx(), w, app, host, flow, "/")
	if err == nil {
		secret, _, err = o.Visit(o.ctx(), code, host, flow)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	return secret
}

// cookie gives a session another cookie, which is known.
func (o *office) cookie(w *Who) (secret string) {
	o.t.Helper()
	secret, err := o.Renew(o.ctx(), w)
	if err != nil {
		o.t.Fatal(err)
	}
	return secret
}

// looks are the three ways to the same visitor.
func (o *office) looks(visit, cookie, id string) map[string]func() (*Visitor, error) {
	return map[string]func() (*Visitor, error){
		"by application": func() (*Visitor, error) { return o.VisitorNow(o.ctx(), visit, "wiki.muster.example") },
		"by cookie":      func() (*Visitor, error) { return o.VisitorBySession(o.ctx(), cookie) },
		"by id":          func() (*Visitor, error) { return o.VisitorOf(o.ctx(), id) },
	}
}

func TestVisitorNow(t *testing.T) {
	o := newOffice(t, opens(nil))
	o.staff()
	w := o.sign("alice")
	visit, cookie := o.visits(w, "wiki", "wiki.muster.example"), o.cookie(w)
	e, err := o.Elevate(o.ctx(), w, "prod", sound)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.LetPass(o.ctx(), local, "", "alice", "disk-encrypted", "why", o.now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	other := o.sign("bob")
	if _, err := o.Elevate(o.ctx(), other, "prod", sound); err != nil {
		t.Fatal(err)
	}
	last := o.Store.LastChange()
	o.pass(2 * time.Minute)
	for how, look := range o.looks(visit, cookie, w.Session.ID) {
		v, err := look()
		if err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		if v.Session.ID != w.Session.ID || v.Person.Name != "alice" || v.Passkey == nil || string(v.Passkey.ID) != "key of alice" ||
			len(v.Elevations) != 1 || v.Elevations[0].ID != e.ID || len(v.Bypasses) != 1 || v.Over(o.now()) != "" {
			t.Errorf("%s: %+v, over: %q", how, v, v.Over(o.now()))
		}
		if app := v.App + " " + v.Host; how == "by application" && app != "wiki wiki.muster.example" || how != "by application" && app != " " {
			t.Errorf("%s: of %q", how, app)
		}
	}
	if o.Store.LastChange() != last || !o.at(w).SeenAt.Equal(w.Session.SeenAt) {
		t.Error("looking wrote something")
	}
}

// Whatever ends a session is told as its cause, by each way.
func TestVisitorIsOver(t *testing.T) {
	for cause, end := range map[string]func(*office, *Who) error{
		"signed-out":             func(o *office, w *Who) error { return o.SignOut(o.ctx(), w) },
		"ended-by-administrator": func(o *office, w *Who) error { return o.EndSessionOf(o.ctx(), local, w.Session.ID, "why") },
		"person-disabled":        func(o *office, w *Who) error { return o.Disable(o.ctx(), local, w.Person.ID, "why") },
		"passkey-removed": func(o *office, w *Who) error {
			return o.Store.Update(o.ctx(), func(tx *store.Tx) error {
				_, err := tx.RemovePasskey(w.Session.Credential, "passkey-removed")
				return err
			})
		},
		"too-old": func(o *office, _ *Who) error { o.pass(1000 * time.Hour); return nil },
		"clock":   func(o *office, _ *Who) error { o.pass(-time.Hour); return nil },
	} {
		t.Run(cause, func(t *testing.T) {
			o := newOffice(t, opens(nil))
			o.staff()
			w := o.sign("alice")
			visit, cookie := o.visits(w, "wiki", "wiki.muster.example"), o.cookie(w)
			if _, err := o.Elevate(o.ctx(), w, "prod", sound); err != nil {
				t.Fatal(err)
			}
			if err := end(o, w); err != nil {
				t.Fatal(err)
			}
			for how, look := range o.looks(visit, cookie, w.Session.ID) {
				v, err := look()
				if err != nil {
					t.Fatalf("%s: %v", how, err)
				}
				if got := v.Over(o.now()); got != cause || v.Person.Disabled != (cause == "person-disabled") {
					t.Errorf("%s: over with %q, %+v", how, got, v.Person)
				}
				if gone := cause == "passkey-removed"; gone != (v.Passkey == nil) {
					t.Errorf("%s: passkey %+v", how, v.Passkey)
				}
				if !v.Session.EndedAt.IsZero() && len(v.Elevations) != 0 {
					t.Errorf("%s: elevations outlived the session: %+v", how, v.Elevations)
				}
			}
		})
	}
}

// Over refuses by each of its inputs alone, and the zero value.
func TestVisitorOver(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	live := func() *Visitor {
		return &Visitor{Passkey: &store.Passkey{}, Person: &store.Person{}, Session: &session.Session{CreatedAt: now, SeenAt: now,
			Limits: session.Limits{Idle: time.Hour, Absolute: time.Hour}}}
	}
	for want, change := range map[string]func(*Visitor){
		"":                func(*Visitor) {},
		"sign-in":         func(v *Visitor) { v.Session = nil },
		"sign-in ":        func(v *Visitor) { v.Person = nil },
		"person-disabled": func(v *Visitor) { v.Person.Disabled = true },
		"passkey-removed": func(v *Visitor) { v.Passkey = nil },
		"ended":           func(v *Visitor) { v.Session.EndedAt = now },
		"unlimited":       func(v *Visitor) { v.Session.Limits = session.Limits{} },
	} {
		v := live()
		change(v)
		if got := v.Over(now); got != strings.TrimSpace(want) {
			t.Errorf("over with %q, not %q", got, want)
		}
	}
	if (*Visitor)(nil).Over(now) == "" || (&Visitor{}).Over(now) == "" {
		t.Error("nobody may come in")
	}
}

// A cookie that is nobody's, or another's, is refused alike.
func TestVisitorIsNobody(t *testing.T) {
	o := newOffice(t, opens(nil))
	o.staff()
	w := o.sign("alice")
	visit, cookie := o.visits(w, "wiki", "wiki.muster.example"), o.cookie(w)
	for _, bad := range []string{"", "mss_", "msv_", visit + "A", cookie, "mss_" + visit[4:], strings.Repeat("A", 47), visit[:46] + "!"} {
		_, err := o.VisitorNow(o.ctx(), bad, "wiki.muster.example")
		wantNo(t, "application's cookie "+bad, err, "sign-in")
	}
	for _, host := range []string{"", "prod.muster.example", "WIKI.muster.example", "wiki.muster.example.", "wiki.muster.example:443"} {
		_, err := o.VisitorNow(o.ctx(), visit, host)
		wantNo(t, "at "+host, err, "sign-in")
	}
	for _, bad := range []string{"", visit, cookie[:46], "msv_" + cookie[4:], w.Session.ID} {
		_, err := o.VisitorBySession(o.ctx(), bad)
		wantNo(t, "cookie "+bad, err, "sign-in")
	}
	for _, bad := range []string{"", "s_none", cookie, "alice"} {
		_, err := o.VisitorOf(o.ctx(), bad)
		wantNo(t, "id "+bad, err, "sign-in")
	}
	// That the store cannot tell is no answer.
	o.Store.Close()
	for how, look := range o.looks(visit, cookie, w.Session.ID) {
		v, err := look()
		if err == nil || v != nil || strings.Contains(err.Error(), "sign-in") {
			t.Errorf("%s without a store: %+v, %v", how, v, err)
		}
	}
}

// A replaced cookie is good for a minute, and then ends the session, as in Who.
func TestVisitorOfACopiedCookie(t *testing.T) {
	o := newOffice(t, opens(nil))
	o.staff()
	w := o.sign("alice")
	old, visit := o.cookie(w), o.visits(w, "wiki", "wiki.muster.example")
	renewed := o.cookie(w)
	for _, secret := range []string{old, renewed} {
		if v, err := o.VisitorBySession(o.ctx(), secret); err != nil || v.Over(o.now()) != "" {
			t.Fatalf("within the minute: %+v, %v", v, err)
		}
	}
	o.pass(time.Minute)
	_, err := o.VisitorBySession(o.ctx(), old)
	wantNo(t, "the replaced cookie", err, "sign-in")
	for how, look := range o.looks(visit, renewed, w.Session.ID) {
		if v, err := look(); err != nil || v.Over(o.now()) != "cookie-copied" {
			t.Errorf("%s after the copy: %+v, %v", how, v, err)
		}
	}
	if n := o.audited("session.end"); n != 1 {
		t.Errorf("%d endings are in the audit log", n)
	}
	_, err = o.VisitorBySession(o.ctx(), old)
	wantNo(t, "the replaced cookie again", err, "sign-in")
	if n := o.audited("session.end"); n != 1 {
		t.Errorf("%d endings are in the audit log", n)
	}
}
