package people

import (
	"slices"
	"strings"
	"testing"
	"time"

	"muster/attest"
	"muster/server/store"
)

// fleet is a company with a laptop in the store.
func fleet(t *testing.T) *office {
	o := company(t, nil)
	o.change(func(tx *store.Tx) error {
		return tx.InsertDevice(&store.Device{ID: "d", State: attest.Active, Name: "laptop of alice", Keys: store.Keys{DK: []byte("dk"), DKID: attest.Digest{1}}})
	})
	return o
}

func TestLetPass(t *testing.T) {
	o := fleet(t)
	until := o.now().Add(30 * 24 * time.Hour)
	b, err := o.LetPass(o.ctx(), "person:erin", "d", "", "disk-encrypted", "  the disk is\nbeing replaced ", until)
	if err != nil || b.Device != "d" || b.Person != "" || b.Why != "the disk is being replaced" || b.CreatedBy != "person:erin" || !b.Expires.Equal(until) {
		t.Fatalf("%+v, %v", b, err)
	}
	o.wantNotice("mail erin@muster.example bypass-added", "mail security@muster.example bypass-added", "webhook bypass-added")
	of, err := o.LetPass(o.ctx(), local, "", "alice", "hardware-passkey", "her key is in the post", o.now().Add(time.Hour))
	if err != nil || of.Person != "p_alice" || of.Device != "" {
		t.Fatalf("%+v, %v", of, err)
	}
	_, err = o.LetPass(o.ctx(), local, "d", "", "disk-encrypted", "why", until)
	wantNo(t, "the same rule again", err, "bypass-lives")
	list, err := o.Bypasses(o.ctx())
	if err != nil || len(list) != 2 || list[0].ID != of.ID {
		t.Errorf("%+v, %v", list, err)
	}
	for _, by := range []Actor{"person:alice", "person:dora", "person:frank", "person:nobody", ""} {
		wantNo(t, "ended by "+string(by), o.EndBypass(o.ctx(), by, b.ID), "role")
	}
	for range 2 {
		if err := o.EndBypass(o.ctx(), "person:erin", b.ID); err != nil {
			t.Fatal(err)
		}
	}
	wantNo(t, "ending none", o.EndBypass(o.ctx(), local, "by_none"), "not-found")
	if err := o.EndBypass(o.ctx(), local, of.ID); err != nil {
		t.Fatal(err)
	}
	if list, err := o.Bypasses(o.ctx()); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if got := o.trail("bypass."); !slices.Equal(got, []string{"person:erin bypass.add", "local administrator bypass.add",
		"person:erin bypass.end", "local administrator bypass.end"}) {
		t.Errorf("audited %q", got)
	}
}

func TestLetPassIsRefused(t *testing.T) {
	o := fleet(t)
	o.change(func(tx *store.Tx) error {
		if err := tx.InsertDevice(&store.Device{ID: "stolen", State: attest.Active, Keys: store.Keys{DK: []byte("x"), DKID: attest.Digest{2}}}); err != nil {
			return err
		}
		_, err := tx.RevokeDevice("stolen", "admin", "stolen")
		return err
	})
	former := o.hire("gail", store.RoleAdministrator)
	_, k, err := o.CreateAPIToken(o.ctx(), o.sign("erin"), "program", Scopes(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Disable(o.ctx(), local, former.ID, "left"); err != nil {
		t.Fatal(err)
	}
	soon := o.now().Add(time.Hour)
	for what, c := range map[string]struct {
		by                        Actor
		device, person, rule, why string
		until                     time.Time
		code                      string
	}{
		"a person":           {"person:alice", "d", "", "disk", "why", soon, "role"},
		"an auditor":         {"person:dora", "d", "", "disk", "why", soon, "role"},
		"the help desk":      {"person:frank", "d", "", "disk", "why", soon, "role"},
		"nobody":             {"", "d", "", "disk", "why", soon, "role"},
		"a disabled one":     {"person:gail", "d", "", "disk", "why", soon, "role"},
		"a program":          {Actor("program:" + k.ID), "d", "", "disk", "why", soon, "role"},
		"of nothing":         {local, "", "", "disk", "why", soon, "bypass-of"},
		"of both":            {local, "d", "alice", "disk", "why", soon, "bypass-of"},
		"no rule":            {local, "d", "", "", "why", soon, "bypass-rule"},
		"a pattern":          {local, "d", "", "*", "why", soon, "bypass-rule"},
		"upper case":         {local, "d", "", "Disk", "why", soon, "bypass-rule"},
		"a long rule":        {local, "d", "", strings.Repeat("a", 1000), "why", soon, "bypass-rule"},
		"no reason":          {local, "d", "", "disk", "", soon, "why"},
		"an empty reason":    {local, "d", "", "disk", " \n\t", soon, "why"},
		"now":                {local, "d", "", "disk", "why", o.now(), "bypass-until"},
		"never":              {local, "d", "", "disk", "why", time.Time{}, "bypass-until"},
		"too long":           {local, "d", "", "disk", "why", o.now().Add(30*24*time.Hour + time.Second), "bypass-until"},
		"for ever":           {local, "d", "", "disk", "why", time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), "bypass-until"},
		"an unknown laptop":  {local, "x", "", "disk", "why", soon, "not-found"},
		"a laptop by name":   {local, "laptop of alice", "", "disk", "why", soon, "not-found"},
		"a revoked laptop":   {local, "stolen", "", "disk", "why", soon, "not-found"},
		"an unknown person":  {local, "", "nobody", "disk", "why", soon, "not-found"},
		"a person by id":     {local, "", "p_alice", "disk", "why", soon, "not-found"},
		"a disabled person":  {local, "", "gail", "disk", "why", soon, "not-found"},
		"a person as laptop": {local, "alice", "", "disk", "why", soon, "not-found"},
	} {
		_, err := o.LetPass(o.ctx(), c.by, c.device, c.person, c.rule, c.why, c.until)
		wantNo(t, what, err, c.code)
	}
	if list, err := o.Bypasses(o.ctx()); err != nil || len(list) != 0 || o.audited("bypass.add") != 0 {
		t.Errorf("%+v, %v, %d audited", list, err, o.audited("bypass.add"))
	}
}

// Of a thousand at once one is made.
func TestThousandBypasses(t *testing.T) {
	o := fleet(t)
	soon := o.now().Add(time.Hour)
	won := race(t, func(int) error {
		_, err := o.LetPass(o.ctx(), local, "d", "", "disk", "why", soon)
		return err
	}, "bypass-lives")
	if won != 1 || o.audited("bypass.add") != 1 {
		t.Errorf("%d won, %d audited", won, o.audited("bypass.add"))
	}
}
