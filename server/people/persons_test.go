package people

import (
	"fmt"
	"strings"
	"testing"

	"muster/server/passkey/passkeytest"
	"muster/server/store"
)

func TestLastAdministratorStays(t *testing.T) {
	h := newHouse(t)
	bob := h.join("bob", store.RoleAdministrator)
	h.imports(`[{"name":"carol","role":"administrator"}]`) // who has no passkey
	person := bob.who().Person
	demote := func() error {
		p := *person
		p.Role = store.RolePerson
		return h.ChangePerson(t.Context(), local, &p)
	}
	wantCode(t, "demote", demote(), "last-administrator")
	wantCode(t, "disable", h.Disable(t.Context(), local, person.ID, "left"), "last-administrator")
	_, err := h.Import(t.Context(), local, []byte(`[{"name":"zoe"},{"name":"bob","role":"person"}]`))
	wantCode(t, "import", err, "last-administrator")
	if _, err := h.PersonBy(t.Context(), "zoe"); err == nil {
		t.Error("half of the import was kept")
	}
	dave := h.join("dave", store.RoleAdministrator).who().Person
	eve := h.join("eve", store.RoleAdministrator).who().Person
	wantCode(t, "disable one of three", h.Disable(t.Context(), local, eve.ID, "left"), "")
	wantCode(t, "demote one of two", demote(), "")
	wantCode(t, "disable the other", h.Disable(t.Context(), local, dave.ID, "left"), "last-administrator")
}

func TestChangePerson(t *testing.T) {
	h := newHouse(t)
	admin := h.join("bob", store.RoleAdministrator)
	alice := h.join("alice", store.RolePerson)
	_, program, err := h.CreateAPIToken(t.Context(), admin.who(), "sync", []string{"users:write"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	by := Actor("program:" + program.ID)
	for name, test := range map[string]struct {
		by     Actor
		whom   *Who
		change func(*store.Person)
		code   string
	}{
		"oneself":              {"person:alice", alice.who(), func(p *store.Person) { p.Role = store.RoleAdministrator }, "role"},
		"nobody":               {"", alice.who(), func(p *store.Person) { p.Mail = "a@muster.example" }, "role"},
		"another name":         {local, alice.who(), func(p *store.Person) { p.Name = "alice2" }, "person-wrong"},
		"another person":       {local, alice.who(), func(p *store.Person) { p.ID = "p_x" }, "not-found"},
		"wrong mail":           {local, alice.who(), func(p *store.Person) { p.Mail = "alice" }, "person-wrong"},
		"nobody approves":      {local, alice.who(), func(p *store.Person) { p.Approvers = []string{"nobody"} }, "approver-unknown"},
		"approves oneself":     {local, alice.who(), func(p *store.Person) { p.Approvers = []string{"alice"} }, "person-wrong"},
		"program gives a role": {by, alice.who(), func(p *store.Person) { p.Role = store.RoleAuditor }, "role"},
		"program and powerful": {by, admin.who(), func(p *store.Person) { p.Approvers = []string{"alice"} }, "role"},
		"program takes a role": {by, admin.who(), func(p *store.Person) { p.Role = store.RolePerson }, "role"},
		"program and a person": {by, alice.who(), func(p *store.Person) { p.Groups = []string{"engineering"} }, ""},
	} {
		p := *test.whom.Person
		test.change(&p)
		wantCode(t, name, h.ChangePerson(t.Context(), test.by, &p), test.code)
	}
	promoted := *alice.who().Person
	promoted.Role = store.RoleHelpDesk
	wantCode(t, "administrator promotes", h.ChangePerson(t.Context(), "person:bob", &promoted), "")
	// The role is read at each request.
	if !alice.who().Is(store.RoleHelpDesk) {
		t.Error("a role counts from the next sign-in only")
	}
	// A thief of an administrator's hands who changes the address is told of to the
	// address that was there before.
	p := *alice.who().Person
	p.Mail = "alice@muster.example"
	wantCode(t, "mail", h.ChangePerson(t.Context(), local, &p), "")
	h.Mail = true
	p.Mail = "thief@evil.example"
	wantCode(t, "other mail", h.ChangePerson(t.Context(), local, &p), "")
	if err := h.view(t.Context(), func(tx *store.Tx) error {
		list, err := tx.DueNotices(1000)
		var mails []string
		changed := 0
		for _, n := range list {
			if n.Channel == "mail" {
				mails = append(mails, n.To)
			} else if n.Kind == "person-changed" {
				changed++
			}
		}
		// Of the role and of the new address; not of groups, or of a first address.
		if len(mails) != 1 || mails[0] != "alice@muster.example" || changed != 2 {
			t.Errorf("%d changes are told, to %v by mail", changed, mails)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestDisable(t *testing.T) {
	h := newHouse(t)
	admin, alice := h.join("bob", store.RoleAdministrator), h.join("alice", store.RolePerson)
	second := alice.signIn()
	w := alice.who()
	adding, err := h.BeginAdd(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	_, program, err := h.CreateAPIToken(t.Context(), admin.who(), "sync", []string{"users:write"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "by a person", h.Disable(t.Context(), "person:alice", admin.who().Person.ID, "why"), "role")
	wantCode(t, "without a reason", h.Disable(t.Context(), "person:bob", w.Person.ID, " \n"), "why")
	wantCode(t, "nobody", h.Disable(t.Context(), "person:bob", "p_x", "why"), "not-found")
	wantCode(t, "by a program", h.Disable(t.Context(), Actor("program:"+program.ID), w.Person.ID, "left"), "")
	wantCode(t, "again", h.Disable(t.Context(), "person:bob", w.Person.ID, "left"), "")
	for _, v := range []*visitor{alice, second} {
		if _, err := h.Who(t.Context(), v.cookie, somewhere); err != error(errSignIn) {
			t.Errorf("a session lives: %v", err)
		}
	}
	_, err = h.Add(t.Context(), w, adding.Sealed, passkeytest.New(t, testOrigin).Register(adding.Options), "")
	wantCode(t, "add what was begun before", err, "sign-in")
	_, err = h.Invite(t.Context(), "person:alice", Invitation{Name: "zoe"})
	wantCode(t, "invite", err, "role")
	wantCode(t, "enable by a person", h.Enable(t.Context(), "person:alice", w.Person.ID), "role")
	wantCode(t, "enable", h.Enable(t.Context(), "person:bob", w.Person.ID), "")
	if _, err := h.Who(t.Context(), alice.cookie, somewhere); err != error(errSignIn) {
		t.Errorf("a session came back: %v", err)
	}
	alice.signIn()
	if k := h.kinds(); k["person-disabled"] != 1 || k["person-enabled"] != 1 || len(h.audited("person.disable")) != 1 || len(h.audited("person.enable")) != 1 {
		t.Errorf("told %v", k)
	}
	// A program lets in persons only.
	carol := h.join("carol", store.RoleAdministrator).who().Person
	wantCode(t, "disable an administrator", h.Disable(t.Context(), "person:bob", carol.ID, "left"), "")
	wantCode(t, "a program enables one", h.Enable(t.Context(), Actor("program:"+program.ID), carol.ID), "role")
}

func TestPersonBy(t *testing.T) {
	h := newHouse(t)
	alice := h.join("alice", store.RolePerson).who().Person
	for _, which := range []string{"alice", alice.ID} {
		if p, err := h.PersonBy(t.Context(), which); err != nil || p.ID != alice.ID {
			t.Errorf("%s: %v, %v", which, p, err)
		}
	}
	_, err := h.PersonBy(t.Context(), "nobody")
	wantCode(t, "nobody", err, "not-found")
}

func TestImport(t *testing.T) {
	h := newHouse(t)
	done := h.imports(`[
		{"name":"alice","display":"Alice Liddell","mail":"alice@muster.example","groups":["engineering"],"approvers":["bob"]},
		{"name":"bob","role":"help_desk"}
	]`)
	if *done != (imported{Added: 2}) {
		t.Errorf("did %+v", *done)
	}
	done = h.imports(`[{"name":"alice","groups":[]},{"name":"bob"},{"name":"carol"}]`)
	if *done != (imported{Added: 1, Changed: 1, Same: 1}) {
		t.Errorf("did %+v", *done)
	}
	alice, err := h.PersonBy(t.Context(), "alice")
	if err != nil || len(alice.Groups) != 0 || alice.Display != "Alice Liddell" || len(alice.Approvers) != 1 {
		t.Errorf("alice is %+v, %v", alice, err)
	}
	bob, err := h.PersonBy(t.Context(), "bob")
	if err != nil || bob.Role != store.RoleHelpDesk {
		t.Errorf("bob is %+v, %v", bob, err)
	}
	if n := len(h.audited("person.import")); n != 2 {
		t.Errorf("%d imports audited", n)
	}
	if list, err := h.Invitations(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("an import invited %v, %v", list, err)
	}
}

func TestImportIsAllOrNothing(t *testing.T) {
	h := newHouse(t)
	admin := h.join("bob", store.RoleAdministrator)
	_, program, err := h.CreateAPIToken(t.Context(), admin.who(), "sync", []string{"users:write"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	ok := `{"name":"zoe"},`
	for name, test := range map[string]struct{ file, code, says string }{
		"nothing":            {``, "import-file", ""},
		"null":               {`null`, "import-file", ""},
		"no list":            {`{"name":"zoe"}`, "import-file", ""},
		"empty list":         {`[]`, "import-file", ""},
		"two lists":          {`[{"name":"zoe"}][]`, "import-file", ""},
		"cut":                {`[{"name":"zoe"}`, "import-file", ""},
		"a number":           {`[` + ok + `7]`, "import-row", "Row 2"},
		"a null":             {`[` + ok + `null]`, "import-row", "Row 2"},
		"null member":        {`[` + ok + `{"name":"yan","mail":null}]`, "import-row", "Row 2"},
		"unknown member":     {`[` + ok + `{"name":"yan","admin":true}]`, "import-row", "Row 2"},
		"device":             {`[` + ok + `{"name":"yan","device":"d"}]`, "import-row", "Row 2"},
		"other case":         {`[` + ok + `{"name":"yan","Role":"administrator"}]`, "import-row", "Row 2"},
		"member twice":       {`[` + ok + `{"name":"yan","name":"xia"}]`, "import-row", "Row 2"},
		"no name":            {`[` + ok + `{}]`, "import-row", "Row 2"},
		"upper case":         {`[` + ok + `{"name":"Yan"}]`, "import-row", "Row 2"},
		"unknown role":       {`[` + ok + `{"name":"yan","role":"root"}]`, "import-row", "Row 2"},
		"empty role":         {`[` + ok + `{"name":"yan","role":""}]`, "import-row", "Row 2"},
		"name twice":         {`[` + ok + `{"name":"yan"},{"name":"zoe"}]`, "import-row", "Row 3"},
		"nobody approves":    {`[` + ok + `{"name":"yan","approvers":["nobody"]}]`, "import-row", "Row 2"},
		"too long a row":     {`[` + ok + `{"name":"yan","display":"` + strings.Repeat("a", maxRow) + `"}]`, "import-row", "Row 2"},
		"too many rows":      {`[` + strings.Repeat(`7,`, maxRows) + `7]`, "import-file", "100,000"},
		"too long":           {strings.Repeat(" ", maxImport) + `[]`, "import-file", "10 MB"},
		"nested":             {`[` + ok + `{"name":"yan","groups":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}]`, "import-row", "Row 2"},
		"no UTF-8":           {`[` + ok + "{\"name\":\"yan\",\"display\":\"\xff\"}]", "import-file", ""},
		"approver of itself": {`[` + ok + `{"name":"yan","approvers":["yan"]}]`, "import-row", "Row 2"},
	} {
		done, err := h.Import(t.Context(), local, []byte(test.file))
		wantCode(t, name, err, test.code)
		if r, ok := err.(*Refusal); done != nil || ok && !strings.Contains(r.Text, test.says) {
			t.Errorf("%s: %+v, %v", name, done, r)
		}
	}
	_, err = h.Import(t.Context(), Actor("program:"+program.ID), []byte(`[`+ok+`{"name":"yan","role":"administrator"}]`))
	wantCode(t, "a program makes an administrator", err, "role")
	h.join("carol", store.RoleHelpDesk)
	for _, by := range []Actor{"person:carol", "person:nobody", "", "store"} {
		_, err = h.Import(t.Context(), by, []byte(`[{"name":"zoe"}]`))
		wantCode(t, string(by), err, "role")
	}
	if persons, err := h.Persons(t.Context()); err != nil || len(persons) != 2 {
		t.Errorf("%d persons, %v", len(persons), err)
	}
}

func TestImportOfMany(t *testing.T) {
	h := newHouse(t)
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, `,{"name":"person%d","groups":["all"]}`, i)
	}
	if done := h.imports("[" + b.String()[1:] + "]"); done.Added != 5000 {
		t.Errorf("did %+v", done)
	}
}

func FuzzImport(f *testing.F) {
	f.Add([]byte(`[{"name":"alice","display":"Alice Liddell","mail":"alice@muster.example","role":"person","groups":["a"],"approvers":["bob"]}]`))
	f.Add([]byte(`[{"name":"alice"},{"name":"alice"}]`))
	f.Add([]byte(`[{"name":"alice","role":"root"}]`))
	f.Add([]byte(`[null]`))
	f.Add([]byte(`[[[[`))
	f.Add([]byte(`{"name":"alice"}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		rows, err := readRows(file)
		if (err == nil) != (len(rows) > 0) {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		for i := range rows {
			if what := wrongIn(rows[i].over(store.Person{Role: store.RolePerson})); what != "" {
				t.Errorf("row %d: %s", i+1, what)
			}
		}
	})
}
