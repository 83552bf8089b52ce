package people

import (
	"context"
	"strings"
	"testing"
	"time"

	"muster/server/passkey"
	"muster/server/passkey/passkeytest"
	"muster/server/store"
)

func TestFirst(t *testing.T) {
	h := newHouse(t)
	link, err := h.First(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := h.First(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.OpenInvitation(t.Context(), secretOf(t, link))
	wantCode(t, "the earlier link", err, "used")
	if strings.Contains(strings.Split(again, "#")[0], "mso_") {
		t.Errorf("the secret is no fragment: %s", again)
	}
	h.clock.advance(firstFor)
	_, err = h.OpenInvitation(t.Context(), secretOf(t, again))
	wantCode(t, "a day later", err, "used")
	if again, err = h.First(t.Context()); err != nil {
		t.Fatal(err)
	}
	v := h.accepts(again)
	if w := v.who(); w.Person.Name != "admin" || !w.Is(store.RoleAdministrator) {
		t.Errorf("the first administrator is %+v", w.Person)
	}
	wantCode(t, "administrate", h.Administrate(v.who()), "")
	if link, err := h.First(t.Context()); err != nil || link != "" {
		t.Errorf("a second first administrator: %q, %v", link, err)
	}
	v.signIn() // the handle that the authenticator has is the person's
}

// The first administrator's link may lie in a log; once somebody administers it
// is worth nothing.
func TestFirstEndsWithAnyAdministrator(t *testing.T) {
	h := newHouse(t)
	link, err := h.First(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.join("alice", store.RoleAdministrator)
	_, err = h.OpenInvitation(t.Context(), secretOf(t, link))
	wantCode(t, "open", err, "used")
	_, err = h.BeginAccept(t.Context(), secretOf(t, link), Presence{})
	wantCode(t, "accept", err, "used")
}

func TestInvite(t *testing.T) {
	h := newHouse(t)
	h.join("bob", store.RoleAdministrator)
	link, err := h.Invite(t.Context(), "person:bob", Invitation{Name: "alice", Display: "Alice Liddell", Mail: "alice@muster.example",
		Groups: []string{"engineering"}, Approvers: []string{"bob"}, Days: 30})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.PersonBy(t.Context(), "alice"); err == nil {
		t.Error("the person is there before the invitation is accepted")
	}
	h.clock.advance(30*24*time.Hour - time.Millisecond)
	i, err := h.OpenInvitation(t.Context(), secretOf(t, link))
	if err != nil || i.Name != "alice" || i.Display != "Alice Liddell" || i.CreatedBy != "person:bob" || i.Recovery {
		t.Fatalf("opened %+v, %v", i, err)
	}
	list, err := h.Invitations(t.Context())
	if err != nil || len(list) != 1 || list[0] != *i {
		t.Errorf("invitations are %+v, %v", list, err)
	}
	v := h.accepts(link)
	p := v.who().Person
	if p.Name != "alice" || p.Display != "Alice Liddell" || p.Mail != "alice@muster.example" || p.Role != store.RolePerson ||
		len(p.Groups) != 1 || len(p.Approvers) != 1 || p.CreatedBy != "person:bob" {
		t.Errorf("made %+v", p)
	}
	v.signIn()
	for _, action := range []string{"invitation.create", "invitation.accept", "person.create"} {
		if len(h.audited(action)) == 0 {
			t.Errorf("%s is not audited", action)
		}
	}
}

func TestInviteIsRefused(t *testing.T) {
	h := newHouse(t)
	h.join("alice", store.RolePerson)
	admin := h.join("bob", store.RoleAdministrator)
	h.join("carol", store.RoleHelpDesk)
	h.join("eve", store.RoleAuditor)
	secret, program, err := h.CreateAPIToken(t.Context(), admin.who(), "sync", []string{"users:write"}, 1)
	if err != nil || secret == "" {
		t.Fatal(err)
	}
	h.imports(`[{"name":"dave","display":"Dave"},{"name":"frank"}]`)
	frank, err := h.PersonBy(t.Context(), "frank")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Disable(t.Context(), local, frank.ID, "left"); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		by   Actor
		i    Invitation
		code string
	}{
		"a person invites":              {"person:alice", Invitation{Name: "zoe"}, "role"},
		"an auditor invites":            {"person:eve", Invitation{Name: "zoe"}, "role"},
		"nobody invites":                {"person:nobody", Invitation{Name: "zoe"}, "role"},
		"no actor":                      {"", Invitation{Name: "zoe"}, "role"},
		"a name without its kind":       {"bob", Invitation{Name: "zoe"}, "role"},
		"unknown program":               {"program:t_x", Invitation{Name: "zoe"}, "role"},
		"help desk makes administrator": {"person:carol", Invitation{Name: "zoe", Role: store.RoleAdministrator}, "role"},
		"help desk makes help desk":     {"person:carol", Invitation{Name: "zoe", Role: store.RoleHelpDesk}, "role"},
		"help desk sets groups":         {"person:carol", Invitation{Name: "zoe", Groups: []string{"engineering"}}, "role"},
		"help desk names approvers":     {"person:carol", Invitation{Name: "zoe", Approvers: []string{"carol"}}, "role"},
		"program makes administrator":   {Actor("program:" + program.ID), Invitation{Name: "zoe", Role: store.RoleAdministrator}, "role"},
		"program makes auditor":         {Actor("program:" + program.ID), Invitation{Name: "zoe", Role: store.RoleAuditor}, "role"},
		"who has a passkey":             {local, Invitation{Name: "alice"}, "name-taken"},
		"who is disabled":               {local, Invitation{Name: "frank"}, "name-taken"},
		"otherwise than they are":       {local, Invitation{Name: "dave", Role: store.RoleAdministrator}, "person-exists"},
		"another group":                 {local, Invitation{Name: "dave", Groups: []string{"root"}}, "person-exists"},
		"another approver":              {local, Invitation{Name: "dave", Approvers: []string{"alice"}}, "person-exists"},
		"another display name":          {local, Invitation{Name: "dave", Display: "Mallory"}, "person-exists"},
		"bound to an unknown laptop":    {local, Invitation{Name: "zoe", Device: "d"}, "invitation-device"},
		"too long":                      {local, Invitation{Name: "zoe", Days: 31}, "days"},
		"negative days":                 {local, Invitation{Name: "zoe", Days: -1}, "days"},
		"no name":                       {local, Invitation{}, "person-wrong"},
		"upper case":                    {local, Invitation{Name: "Zoe"}, "person-wrong"},
		"as an id":                      {local, Invitation{Name: "p_zoe"}, "person-wrong"},
		"begins with a dot":             {local, Invitation{Name: ".zoe"}, "person-wrong"},
		"a slash":                       {local, Invitation{Name: "z/oe"}, "person-wrong"},
		"not ASCII":                     {local, Invitation{Name: "zoé"}, "person-wrong"},
		"65 characters":                 {local, Invitation{Name: strings.Repeat("z", 65)}, "person-wrong"},
		"mail with a line break":        {local, Invitation{Name: "zoe", Mail: "z@muster.example\r\nBcc: x@evil.example"}, "person-wrong"},
		"two addresses":                 {local, Invitation{Name: "zoe", Mail: "z@muster.example,x@evil.example"}, "person-wrong"},
		"mail with a name":              {local, Invitation{Name: "zoe", Mail: "Zoe <z@muster.example>"}, "person-wrong"},
		"display turned round":          {local, Invitation{Name: "zoe", Display: "\u202eeilA"}, "person-wrong"},
		"unknown role":                  {local, Invitation{Name: "zoe", Role: "root"}, "person-wrong"},
		"empty group":                   {local, Invitation{Name: "zoe", Groups: []string{""}}, "person-wrong"},
		"a group twice":                 {local, Invitation{Name: "zoe", Groups: []string{"a", "a"}}, "person-wrong"},
		"own approver":                  {local, Invitation{Name: "zoe", Approvers: []string{"zoe"}}, "person-wrong"},
		"nobody as approver":            {local, Invitation{Name: "zoe", Approvers: []string{"alcie"}}, "approver-unknown"},
		"help desk":                     {"person:carol", Invitation{Name: "zoe"}, ""},
		"program":                       {Actor("program:" + program.ID), Invitation{Name: "yan"}, ""},
		"administrator":                 {"person:bob", Invitation{Name: "xia", Role: store.RoleAdministrator}, ""},
		"one who is there":              {local, Invitation{Name: "dave", Display: "Dave", Groups: []string{}, Approvers: []string{}}, ""},
	} {
		link, err := h.Invite(t.Context(), test.by, test.i)
		wantCode(t, name, err, test.code)
		if (link == "") != (test.code != "") {
			t.Errorf("%s: link %q", name, link)
		}
	}
}

func TestMayInvite(t *testing.T) {
	h := newHouse(t)
	for role, may := range map[store.Role][]store.Role{
		store.RolePerson: nil, store.RoleAuditor: nil, store.RoleHelpDesk: {store.RolePerson, ""},
		store.RoleAdministrator: {store.RolePerson, store.RoleHelpDesk, store.RoleAuditor, store.RoleAdministrator, ""},
	} {
		w := h.join("a"+strings.ReplaceAll(string(role), "_", "-"), role).who()
		for _, asked := range []store.Role{"", store.RolePerson, store.RoleHelpDesk, store.RoleAuditor, store.RoleAdministrator, "root"} {
			want := "role"
			for _, r := range may {
				if r == asked {
					want = ""
				}
			}
			wantCode(t, string(role)+" invites "+string(asked), h.MayInvite(w, asked), want)
		}
		stale := *w.Session
		stale.VerifiedAt = h.clock.now().Add(-5 * time.Minute)
		if len(may) > 0 {
			wantCode(t, string(role)+" with stale hands", h.MayInvite(&Who{&stale, w.Person}, may[0]), "verify-first")
		}
		want := "role"
		if role == store.RoleAdministrator {
			want = "verify-first"
		}
		wantCode(t, string(role)+" administrates with stale hands", h.Administrate(&Who{&stale, w.Person}), want)
	}
}

func TestAcceptOnceOfAThousand(t *testing.T) {
	h := newHouse(t)
	link, err := h.Invite(t.Context(), local, Invitation{Name: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	secret := secretOf(t, link)
	// Two browsers began; each answers five hundred times.
	type try struct {
		sealed   string
		response []byte
	}
	var tries []try
	for range 2 {
		c, err := h.BeginAccept(t.Context(), secret, Presence{})
		if err != nil {
			t.Fatal(err)
		}
		tries = append(tries, try{c.Sealed, passkeytest.New(t, testOrigin).Register(c.Options)})
	}
	turn := make(chan int, 1000)
	for i := range 1000 {
		turn <- i % 2
	}
	won := atOnce(t, 1000, func() error {
		one := tries[<-turn]
		_, _, err := h.Accept(context.Background(), secret, Presence{}, one.sealed, one.response, "", somewhere)
		return err
	}, errUsed)
	persons, err := h.Persons(t.Context())
	if err != nil || won != 1 || len(persons) != 1 || h.live("") != 1 {
		t.Errorf("accepted %d times: %d persons, %d sessions, %v", won, len(persons), h.live(""), err)
	}
}

// An invitation is worth no more than who made it, and than the person it is for.
func TestInvitationEndsWithItsReasons(t *testing.T) {
	h := newHouse(t)
	bob := h.join("bob", store.RoleAdministrator).who().Person
	h.join("carol", store.RoleAdministrator)
	h.imports(`[{"name":"dave"}]`)
	dave, err := h.PersonBy(t.Context(), "dave")
	if err != nil {
		t.Fatal(err)
	}
	invite := func(by Actor, name string, role store.Role) string {
		link, err := h.Invite(t.Context(), by, Invitation{Name: name, Role: role})
		if err != nil {
			t.Fatal(err)
		}
		return secretOf(t, link)
	}
	open := func(what, secret, code string) {
		t.Helper()
		_, err := h.OpenInvitation(t.Context(), secret)
		wantCode(t, what, err, code)
	}
	first := invite("person:bob", "zoe", "")
	second := invite("person:carol", "zoe", "")
	open("replaced by another", first, "used")
	open("the other", second, "")
	powerful, plain := invite("person:bob", "yan", store.RoleAdministrator), invite("person:bob", "xia", "")
	bob.Role = store.RoleHelpDesk
	if err := h.ChangePerson(t.Context(), local, bob); err != nil {
		t.Fatal(err)
	}
	open("an administrator's, from one demoted", powerful, "used")
	open("a person's, from the help desk", plain, "")
	if err := h.Disable(t.Context(), local, bob.ID, "left"); err != nil {
		t.Fatal(err)
	}
	open("from one disabled", plain, "used")
	there := invite(local, "dave", "")
	dave.Role = store.RoleAdministrator
	if err := h.ChangePerson(t.Context(), local, dave); err != nil {
		t.Fatal(err)
	}
	open("of one who was given power meanwhile", there, "used")
	there = invite(local, "dave", "")
	if err := h.Disable(t.Context(), local, dave.ID, "left"); err != nil {
		t.Fatal(err)
	}
	open("of one disabled", there, "used")
	h.join("gale", store.RoleHelpDesk)
	invite(local, "tia", store.RoleAuditor)
	list, err := h.Invitations(t.Context())
	if err != nil || len(list) < 2 {
		t.Fatal(list, err)
	}
	wantCode(t, "the help desk withdraws an auditor's", h.EndInvitation(t.Context(), "person:gale", list[0].ID), "role")
	for _, i := range list {
		wantCode(t, "withdraw by nobody", h.EndInvitation(t.Context(), "person:dave", i.ID), "role")
		wantCode(t, "withdraw", h.EndInvitation(t.Context(), local, i.ID), "")
		wantCode(t, "withdraw again", h.EndInvitation(t.Context(), local, i.ID), "not-found")
	}
	open("withdrawn", second, "used")
	open("no secret", "", "used")
	open("a cookie", "mss_"+second[4:], "used")
}

// A passkey that came otherwise ends an invitation between its two halves.
func TestAcceptLosesToWhatHappensMeanwhile(t *testing.T) {
	h := newHouse(t)
	invited := func() (string, *Ceremony) {
		link, err := h.Invite(t.Context(), local, Invitation{Name: "alice"})
		if err != nil {
			t.Fatal(err)
		}
		c, err := h.BeginAccept(t.Context(), secretOf(t, link), Presence{})
		if err != nil {
			t.Fatal(err)
		}
		return secretOf(t, link), c
	}
	secret, c := invited()
	response := passkeytest.New(t, testOrigin).Register(c.Options)
	h.imports(`[{"name":"alice"}]`)
	_, _, err := h.Accept(t.Context(), secret, Presence{}, c.Sealed, response, "", somewhere)
	wantCode(t, "the name was given", err, "name-taken")
	_, err = h.OpenInvitation(t.Context(), secret)
	wantCode(t, "open when the name was given", err, "name-taken")
	secret, c = invited()
	response = passkeytest.New(t, testOrigin).Register(c.Options)
	h.clock.advance(5 * time.Minute)
	_, _, err = h.Accept(t.Context(), secret, Presence{}, c.Sealed, response, "", somewhere)
	wantCode(t, "after five minutes", err, "ceremony-ended")
	person, err := h.PersonBy(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	other := &store.Passkey{Person: person.ID, Credential: passkey.Credential{ID: []byte("other"), PublicKey: []byte("k"), Attestation: []byte("a"), ClientData: []byte("c")}}
	h.change(func(tx *store.Tx) error { return tx.AddPasskey(other) })
	_, err = h.BeginAccept(t.Context(), secret, Presence{})
	wantCode(t, "who got a passkey otherwise", err, "used")
	h.change(func(tx *store.Tx) error {
		_, err := tx.RemovePasskey(other.ID, "test")
		return err
	})
	_, err = h.BeginAccept(t.Context(), secret, Presence{})
	wantCode(t, "and lost it", err, "")
	if err := h.Disable(t.Context(), local, person.ID, "left"); err != nil {
		t.Fatal(err)
	}
	_, _, err = h.Accept(t.Context(), secret, Presence{}, c.Sealed, response, "", somewhere)
	wantCode(t, "disabled", err, "used")
	if h.live("") != 0 {
		t.Error("somebody is signed in")
	}
}

func TestAcceptToRecover(t *testing.T) {
	h := newHouse(t)
	alice := h.join("alice", store.RolePerson)
	h.join("bob", store.RoleAdministrator)
	h.join("carol", store.RoleHelpDesk)
	second := passkeytest.New(t, testOrigin)
	if _, err := alice.add(second); err != nil {
		t.Fatal(err)
	}
	link := func(by Actor) (secret string) {
		h.change(func(tx *store.Tx) (err error) {
			secret, err = h.inviteRecovery(tx, alice.who().Person, by, tx.Now().Add(time.Hour))
			return err
		})
		return secret
	}
	for _, by := range []Actor{"person:alice", "person:carol", "person:nobody", "", "store"} {
		_, err := h.OpenInvitation(t.Context(), link(by))
		wantCode(t, "by "+string(by)+", who is no administrator", err, "used")
	}
	secret := link("person:bob")
	i, err := h.OpenInvitation(t.Context(), secret)
	if err != nil || !i.Recovery {
		t.Fatalf("%+v, %v", i, err)
	}
	now := h.accepts(testOrigin + "/invitation#" + secret)
	if _, err := h.Who(t.Context(), alice.cookie, somewhere); err != error(errSignIn) {
		t.Errorf("an old session lives: %v", err)
	}
	keys, err := h.Passkeys(t.Context(), now.who())
	if err != nil || len(keys) != 1 {
		t.Errorf("%d passkeys, %v", len(keys), err)
	}
	for _, key := range []*passkeytest.Authenticator{alice.key, second} {
		c, err := h.BeginSignIn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = h.SignIn(t.Context(), c.Sealed, key.Assert(c.Options), somewhere)
		wantCode(t, "an old passkey", err, "passkey-refused")
	}
	now.signIn()
	if h.kinds()["recovered"] != 1 {
		t.Error("not told")
	}
	_, err = h.OpenInvitation(t.Context(), secret)
	wantCode(t, "again", err, "used")
}
