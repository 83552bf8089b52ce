package people

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"testing"

	"muster/server/store"
)

// TestWordsOfEveryKind reads this package's own source: whatever calls notify with
// a kind of its own has words for it, and every place in them has a name.
func TestWordsOfEveryKind(t *testing.T) {
	found := map[string]bool{}
	files, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 4 {
				return true
			}
			if f, ok := call.Fun.(*ast.SelectorExpr); !ok || f.Sel.Name != "notify" {
				return true
			}
			if lit, ok := call.Args[2].(*ast.BasicLit); ok {
				kind, _ := strconv.Unquote(lit.Value)
				found[kind] = true
			}
			return true
		})
	}
	if !found["recovery-started"] || len(found) < 8 {
		t.Fatalf("found the kinds %v only", found)
	}
	for kind := range found {
		if _, ok := wordsOf[kind]; !ok {
			t.Errorf("notices of kind %s have no words", kind)
		}
	}
	for kind, w := range wordsOf {
		if w.subject == "" || w.text == "" || w.fix == "" || strings.ContainsAny(w.subject, "{}\n") {
			t.Errorf("%s: words %+v", kind, w)
		}
		for _, s := range []string{w.text, w.fix} {
			if strings.Count(s, "{") != strings.Count(s, "}") {
				t.Errorf("%s: %q", kind, s)
			}
		}
	}
}

// bodies are the stored bodies to one receiver.
func (o *office) bodies(channel, to string) (list []notice) {
	o.t.Helper()
	o.view(func(tx *store.Tx) error {
		due, err := tx.DueNotices(100)
		for _, n := range due {
			var b notice
			if n.Channel != channel || n.To != to {
				continue
			}
			if err := json.Unmarshal(n.Body, &b); err != nil {
				return err
			}
			list = append(list, b)
		}
		return err
	}, o.Store)
	return list
}

func TestNoticeSays(t *testing.T) {
	o := newOffice(t, func(c *Config) {
		c.Administrators = []string{"security@muster.example", "alice@muster.example", "security@muster.example"}
	})
	o.staff()
	var alice *store.Person
	o.change(func(tx *store.Tx) (err error) {
		if alice, err = tx.PersonByName("alice"); err != nil {
			return err
		}
		evil := map[string]any{"laptop": "x\r\nSubject: {asked_by} {", "asked_by": "{origin}", "address": "", "origin": "https://evil.example"}
		return o.notify(tx, alice, "link-relay-refused", evil)
	})
	if n := len(o.notices()); n != 3 {
		t.Fatalf("notices %q, want one each to webhook, alice and security", o.notices())
	}
	mine := o.bodies("mail", "alice@muster.example")[0]
	if mine.Kind != "link-relay-refused" || mine.Person != "alice" || !mine.At.Equal(o.now()) || strings.Contains(mine.Subject, "alice") {
		t.Errorf("notice %+v", mine)
	}
	// What a stranger chose stays in its place, on one line, and stands for nothing.
	want := "The laptop x  Subject: {asked_by} { was asked to vouch for a browser that is not on it: one of {origin}, at unknown."
	if !strings.HasPrefix(mine.Text, want) || strings.ContainsAny(mine.Text, "\r\n") {
		t.Errorf("text %q, want %q", mine.Text, want)
	}
	o.change(func(tx *store.Tx) error {
		return o.notify(tx, alice, "laptop-linked", map[string]any{"origin": "https://evil.example"})
	})
	list := o.bodies("mail", "alice@muster.example")
	if linked := list[len(list)-1]; strings.Contains(linked.Text+linked.Fix, "evil.example") || !strings.Contains(linked.Fix, officeOrigin) {
		t.Errorf("a detail stands for our own address: %+v", linked)
	}
	theirs := o.bodies("mail", "security@muster.example")[0]
	if !strings.HasPrefix(theirs.Subject, "alice: ") || !strings.Contains(theirs.Text, mine.Text) {
		t.Errorf("administrators read %+v", theirs)
	}
	if len(o.bodies("webhook", "")) != 2 {
		t.Error("no webhook")
	}
}

func TestNoticeGoesWhereItMay(t *testing.T) {
	for _, test := range []struct {
		mail, webhook bool
		address, kind string
		want          int
	}{
		{true, true, "alice@muster.example", "laptop-linked", 2},
		{true, true, "", "laptop-linked", 1},
		{true, false, "", "laptop-linked", 0},
		{false, false, "alice@muster.example", "recovery-started", 0},
		{false, true, "alice@muster.example", "recovery-started", 1},
		{true, false, "", "recovery-started", 1}, // administrators
		{true, true, "alice@muster.example", "a-kind-without-words", 2},
	} {
		o := newOffice(t, func(c *Config) { c.Mail, c.Webhook = test.mail, test.webhook })
		o.change(func(tx *store.Tx) error {
			return o.notify(tx, &store.Person{Name: "alice", Mail: test.address}, test.kind, nil)
		})
		if n := len(o.notices()); n != test.want {
			t.Errorf("%+v: %q", test, o.notices())
		}
	}
}

// What is kept for sending has no secret of a recovery in it.
func TestNoticesKeepNoSecret(t *testing.T) {
	o := newOffice(t)
	o.staff()
	id, code, secret := o.lost("laptop-alice")
	o.approve(o.sign("bob"), id, code)
	o.view(func(tx *store.Tx) error {
		due, err := tx.DueNotices(100)
		if len(due) < 4 {
			t.Errorf("%d notices", len(due))
		}
		log, err2 := tx.AuditLog(0, 1000)
		for _, n := range due {
			log = append(log, store.Entry{Detail: n.Body})
		}
		for _, e := range log {
			for _, s := range []string{code, secret, strings.SplitN(secret, ".", 2)[1]} {
				if strings.Contains(string(e.Detail), s) {
					t.Errorf("%s keeps %q", e.Detail, s)
				}
			}
		}
		if err == nil {
			err = err2
		}
		return err
	}, o.Store)
}
