package people

import (
	"context"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"muster/attest"
	"muster/server/session"
	"muster/server/store"
)

const wikiHost = "wiki.muster.example"

func flowOf(text string) attest.Digest { return sha256.Sum256([]byte(text)) }

func (o *office) code(w *Who) string {
	o.t.Helper()
	code, err := o.VisitCode(o.ctx(), w, "wiki", wikiHost, flowOf("browser"), "/page?q=1#top")
	if err != nil {
		o.t.Fatal(err)
	}
	return code
}

func TestVisit(t *testing.T) {
	o := newOffice(t)
	o.staff()
	alice := o.sign("alice")
	code := o.code(alice)
	o.never(kindVisit, code)
	secret, back, err := o.Visit(o.ctx(), code, wikiHost, flowOf("browser"))
	if err != nil || back != "/page?q=1#top" {
		t.Fatalf("visit: %q, %v", back, err)
	}
	app, who, err := visitorAt(o.ctx(), o.People, secret, wikiHost)
	if err != nil || app != "wiki" || who.Person.Name != "alice" || who.Session.ID != alice.Session.ID {
		t.Fatalf("visitor: %s, %+v, %v", app, who, err)
	}
}

// A code is refused alike whatever is wrong, and is over once it was shown by
// another host or browser.
func TestVisitCodeOfAnother(t *testing.T) {
	for name, try := range map[string]func(o *office, w *Who, code string) error{
		"host": func(o *office, _ *Who, code string) error {
			_, _, err := o.Visit(o.ctx(), code, "evil.muster.example", flowOf("browser"))
			return err
		},
		"flow": func(o *office, _ *Who, code string) error {
			_, _, err := o.Visit(o.ctx(), code, wikiHost, flowOf("another browser"))
			return err
		},
		"no flow": func(o *office, _ *Who, code string) error {
			_, _, err := o.Visit(o.ctx(), code, wikiHost, attest.Digest{})
			return err
		},
		"used": func(o *office, _ *Who, code string) error {
			if _, _, err := o.Visit(o.ctx(), code, wikiHost, flowOf("browser")); err != nil {
				return err
			}
			_, _, err := o.Visit(o.ctx(), code, wikiHost, flowOf("browser"))
			return err
		},
		"late": func(o *office, _ *Who, code string) error {
			o.pass(visitLife)
			_, _, err := o.Visit(o.ctx(), code, wikiHost, flowOf("browser"))
			return err
		},
		"session ended": func(o *office, w *Who, code string) error {
			o.change(func(tx *store.Tx) error { return tx.EndSession(w.Session.ID, "test") })
			_, _, err := o.Visit(o.ctx(), code, wikiHost, flowOf("browser"))
			return err
		},
		"person disabled": func(o *office, w *Who, code string) error {
			o.change(func(tx *store.Tx) error { _, err := tx.DisablePerson(w.Person.ID, "test"); return err })
			_, _, err := o.Visit(o.ctx(), code, wikiHost, flowOf("browser"))
			return err
		},
		"no code": func(o *office, _ *Who, _ string) error {
			_, _, err := o.Visit(o.ctx(), "mso_"+strings.Repeat("A", 43), wikiHost, flowOf("browser"))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			o.staff()
			w := o.sign("alice")
			code := o.code(w)
			wantNo(t, name, try(o, w, code), "used")
			if name != "no code" {
				_, _, err := o.Visit(o.ctx(), code, wikiHost, flowOf("browser"))
				wantNo(t, "afterwards", err, "used")
			}
		})
	}
}

func TestVisitorIsRefused(t *testing.T) {
	o := newOffice(t)
	o.staff()
	for name, end := range map[string]func(w *Who, secret string) (cookie, host string){
		"another host": func(_ *Who, secret string) (string, string) { return secret, "mail.muster.example" },
		"no cookie":    func(*Who, string) (string, string) { return "msv_" + strings.Repeat("A", 43), wikiHost },
		"garbage":      func(*Who, string) (string, string) { return "\x00", wikiHost },
		"ended": func(w *Who, secret string) (string, string) {
			o.change(func(tx *store.Tx) error { return tx.EndSession(w.Session.ID, "test") })
			return secret, wikiHost
		},
		"too old": func(_ *Who, secret string) (string, string) { o.pass(1000 * time.Hour); return secret, wikiHost },
		"disabled": func(w *Who, secret string) (string, string) {
			o.change(func(tx *store.Tx) error { _, err := tx.DisablePerson(w.Person.ID, "test"); return err })
			return secret, wikiHost
		},
	} {
		w := o.sign("alice")
		secret, _, err := o.Visit(o.ctx(), o.code(w), wikiHost, flowOf("browser"))
		if err != nil {
			t.Fatal(err)
		}
		cookie, host := end(w, secret)
		_, _, err = visitorAt(o.ctx(), o.People, cookie, host)
		wantNo(t, name, err, "sign-in")
		if name == "disabled" {
			o.change(func(tx *store.Tx) error { return tx.EnablePerson(w.Person.ID) })
			_, _, err = visitorAt(o.ctx(), o.People, cookie, host)
			wantNo(t, "enabled again", err, "sign-in")
		}
	}
}

func TestOpenRedirect(t *testing.T) {
	o := newOffice(t)
	o.staff()
	w := o.sign("alice")
	for _, back := range []string{"", "evil", "//evil.example", `/\evil.example`, `\/evil.example`, `\\evil.example`, "http://evil.example", "https:/evil",
		"javascript:alert(1)", " /", "\t/evil", "/\tevil", "/\n/evil", "/\r\nSet-Cookie: x", "/\x00", "/\x7f", "/" + strings.Repeat("a", 2<<10)} {
		_, err := o.VisitCode(o.ctx(), w, "wiki", wikiHost, flowOf("b"), back)
		wantNo(t, back, err, "back-refused")
	}
	// Encoded slashes are a path like any other: browsers do not decode them.
	for _, back := range []string{"/", "/a//b", "/%2f%2fevil.example", "/%5cevil", "/?to=//evil", "/a b", "/" + strings.Repeat("a", 2<<10-1)} {
		_, err := o.VisitCode(o.ctx(), w, "wiki", wikiHost, flowOf("b"), back)
		wantNo(t, back, err, "")
	}
	for _, host := range []string{"", "Wiki.muster.example", "wiki.muster.example/", "a@b", "a b", "a\nb", "évil", strings.Repeat("a", 255+1)} {
		_, err := o.VisitCode(o.ctx(), w, "wiki", host, flowOf("b"), "/")
		wantNo(t, host, err, "host-refused")
	}
	_, err := o.VisitCode(o.ctx(), w, "wiki", wikiHost, attest.Digest{}, "/")
	wantNo(t, "no flow", err, "host-refused")
}

func FuzzBack(f *testing.F) {
	for _, s := range []string{"/", "//evil", `/\evil`, "/\t/evil", "/%2f%2fevil", "http:", "/a?b#c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !session.IsBack(s) {
			return
		}
		// What browsers drop or turn round must not make a host of it.
		seen := strings.ReplaceAll(strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(strings.Trim(s, " \x00\x1f")), `\`, "/")
		if !strings.HasPrefix(seen, "/") || strings.HasPrefix(seen, "//") {
			t.Errorf("%q leads to another host", s)
		}
	})
}

func TestThousandVisits(t *testing.T) {
	o := newOffice(t)
	o.staff()
	code := o.code(o.sign("alice"))
	won := race(t, func(int) error {
		_, _, err := o.Visit(o.ctx(), code, wikiHost, flowOf("browser"))
		return err
	}, "used")
	if won != 1 {
		t.Errorf("%d of 1,000 parallel uses of a redirect code won, want 1", won)
	}
}

// visitorAt is who is let in by an application's cookie, as the check at a gateway
// reads them; else the refusal sign-in.
func visitorAt(ctx context.Context, p *People, secret, host string) (app string, who *Who, err error) {
	v, err := p.VisitorNow(ctx, secret, host)
	if err == nil && v.Over(p.Now()) != "" {
		err = errSignIn
	}
	if err != nil {
		return "", nil, err
	}
	return v.App, &Who{Session: v.Session, Person: v.Person}, nil
}
