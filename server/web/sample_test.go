package web

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/passkey"
	"muster/server/people"
	"muster/server/session"
	"muster/server/store"
)

const testOrigin = "https://id.muster.example"

// noon is when samples are looked at.
func noon() time.Time { return time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC) }

// sampleSite has no people behind it: only what draws pages.
func sampleSite() *site {
	laptop := sampleLaptop()
	return newSite(Config{
		Origin: testOrigin, LinkPort: 17117, Notices: "mail and webhook", Now: noon, Log: slog.New(slog.DiscardHandler),
		Laptop:   func(id string) (*Laptop, bool) { return laptop, id == laptop.ID },
		Standing: func(context.Context, string, string, string, people.From) (*Standing, bool) { return nil, false }, Office: sampleOffice(),
	})
}

func sampleWho(role store.Role) *people.Who {
	return &people.Who{
		Person:  &store.Person{ID: "p1", Name: "alice", Display: "Alice Liddell", Role: role, Handle: []byte{1, 2, 3}},
		Session: &session.Session{ID: "s1", Person: "p1", VerifiedAt: noon().Add(-time.Minute), CreatedAt: noon().Add(-time.Hour)},
	}
}

func sampleLaptop() *Laptop {
	c := posture.Unfilled(noon(), posture.NotYet)
	for _, yes := range []*posture.Claim{&c.OS.Claim, &c.Patches.Claim, &c.Firewall.Claim, &c.SecureBoot.Claim, &c.BootSecurity.Claim, &c.TPM.Claim, &c.Hardware.Claim,
		&c.RemoteAccess.Claim, &c.LocalAdministrators.Claim, &c.MDM.Claim, &c.AutomaticUpdates.Claim, &c.MalwareProtection.Claim, &c.HomeEncryption.Claim} {
		yes.State, yes.Reason = posture.Yes, ""
	}
	c.DiskEncryption = posture.Observed(noon(), posture.No, posture.PlainSwap, posture.DiskEncryption{Volumes: []posture.Volume{
		{Device: "nvme0n1p3", Use: posture.UseSwap, State: posture.No}}})
	c.OS.Detail = posture.OS{Name: "Debian GNU/Linux", Version: "12"}
	c.Hardware.Detail = posture.Hardware{Vendor: "Framework", Model: "Laptop 13"}
	return &Laptop{
		Device:   session.Device{ID: "d1", Name: "alice-laptop", Owner: "alice", Level: "tpm-hw", Active: true, Current: true},
		Platform: posture.Linux, State: attest.Active, LastReport: noon().Add(-4 * time.Minute), Claims: &c,
		Decision: attest.Decision{Outcome: "deny", Reasons: []attest.Reason{{Code: "disk-encrypted", Claim: "disk_encryption", Text: "Not every disk of this laptop is encrypted.",
			Fix: "Encrypt the swap area, or turn it off: `sudo swapoff -a`, and remove it from /etc/fstab."}}},
	}
}

func samplePasskeys(s *site) passkeysView {
	v := passkeysView{RPID: "muster.example", Handle: []byte{1, 2, 3}, CanAdd: true, Accepted: []string{"AQ", "Ag", "Aw"}}
	for i, one := range []struct {
		name  string
		c     passkey.Credential
		this  bool
		undo  bool
		added time.Duration
	}{
		{"Security key", passkey.Credential{Judgement: passkey.Judgement{Evidence: passkey.Attested, Level: 2, Model: "YubiKey 5 Series with NFC"}}, true, false, 90 * 24 * time.Hour},
		{"Phone", passkey.Credential{BackupEligible: true, Use: passkey.Use{BackupState: true}, Judgement: passkey.Judgement{Evidence: passkey.None, Why: "no-attestation", Model: "iCloud Keychain"}}, false, false, 80 * 24 * time.Hour},
		{"Old key", passkey.Credential{Judgement: passkey.Judgement{Evidence: passkey.Attested, Bad: "ATTESTATION_KEY_COMPROMISE", Model: "Example Key 1"}}, false, true, 3 * time.Hour},
	} {
		one.c.ID, one.c.Use.At = []byte{byte(i + 1)}, noon().Add(-time.Duration(i*i)*26*time.Hour)
		p := people.Passkey{Passkey: &store.Passkey{Credential: one.c, Name: one.name, CreatedAt: noon().Add(-one.added)}, This: one.this, Undo: one.undo}
		view := passkeyView{Passkey: p, Model: p.Judgement.Model, Evidence: evidenceMark(p.Judgement), Synced: syncWords(p.Credential)}
		if one.undo {
			view.UndoTill = p.CreatedAt.Add(24 * time.Hour)
		}
		v.Passkeys = append(v.Passkeys, view)
	}
	return v
}

// sample is a page, or a part of one, with something on it.
type sample struct {
	name, page, block, title string
	role                     store.Role // "": nobody is signed in
	done                     string
	body                     any
}

func samples(s *site) []sample {
	laptop, _ := s.laptopView("d1", true)
	waiting := s.laptopViewOf(waitingLaptop("alice-old", "tpm-changed"), false)
	waiting.Recheck = true
	laptop.Recheck = true
	link := linkView{mark: linkMark(session.LinkLive, "alice-laptop"), State: session.LinkLive, Laptop: "alice-laptop", Strength: strengthWords(session.ByLoopback),
		Link: &session.Link{Device: "d1", Strength: session.ByLoopback, At: noon().Add(-6 * time.Minute)}, Port: 17117, Server: testOrigin, Next: "/"}
	unlinked := linkView{mark: linkMark(session.LinkAbsent, ""), State: session.LinkAbsent, Port: 17117, Server: testOrigin, Next: "/"}
	rec := &people.Recovery{ID: "r1", Person: "bob", Way: "laptop", State: "wait-approval", Laptop: "d1", BegunAt: noon().Add(-10 * time.Minute), BegunBy: "device:d1", Expires: noon().Add(50 * time.Hour)}
	own := *rec
	own.Person, own.State, own.Approved, own.ReadyAt = "alice", "wait-time", "carol", noon().Add(20*time.Hour)
	ready := own
	ready.State = "ready"
	two := *rec
	two.Way, two.Laptop, two.Person, two.BegunBy = "administrators", "", "carol", "person:bob"
	all := []sample{
		{"sign-in", "sign-in", "layout", "Sign in", "", "", signInView{Next: "/"}},
		{"signed-out", "sign-in", "layout", "Sign in", "", "signed-out", signInView{Next: "/"}},
		{"verify", "verify", "layout", "Confirm it is you", store.RolePerson, "", nextView{"/passkeys"}},
		{"recover", "recover", "layout", "Recover your account", "", "", nil},
		{"invitation", "invitation", "layout", "Your invitation", "", "", nil},
		{"invitation-opened", "invitation", "opened", "", "", "", s.invitationView(&people.Invited{Name: "bob", Display: "Bob Dodgson", CreatedBy: "person:alice", Expires: noon().Add(6 * 24 * time.Hour)})},
		{"invitation-bound", "invitation", "opened", "", "", "", s.invitationView(&people.Invited{Name: "bob", CreatedBy: "person:alice", Device: "d1", Expires: noon().Add(6 * 24 * time.Hour)})},
		{"invitation-bound-nowhere", "invitation", "opened", "", "", "", invitationView{Invited: &people.Invited{Name: "bob", CreatedBy: "person:alice", Device: "d9", Expires: noon().Add(6 * 24 * time.Hour)}}},
		{"invitation-recovery", "invitation", "opened", "", "", "", s.invitationView(&people.Invited{Name: "bob", CreatedBy: "person:alice", Recovery: true, Expires: noon().Add(24 * time.Hour)})},
		{"recover-approval", "recover", "state", "", "", "", recoverView{rec, "alice-laptop"}},
		{"recover-time", "recover", "state", "", "", "", recoverView{&own, "alice-laptop"}},
		{"recover-ready", "recover", "state", "", "", "", recoverView{&ready, ""}},
		{"link", "link", "layout", "Link this laptop", store.RolePerson, "", unlinked},
		{"link-again", "link", "layout", "Link this laptop", store.RolePerson, "", link},
		{"link-confirm", "link-confirm", "layout", "Confirm the link", store.RolePerson, "", unlinked},
		{"passkeys", "passkeys", "layout", "Your passkeys", store.RolePerson, "passkey-added", samplePasskeys(s)},
		{"laptops", "laptops", "layout", "Your laptops", store.RolePerson, "", []laptopView{laptop, waiting}},
		{"laptops-none", "laptops", "layout", "Your laptops", store.RolePerson, "", []laptopView(nil)},
		{"home", "home", "layout", "Where you stand", store.RoleAdministrator, "", homeView{Link: link, Laptop: &laptop,
			Attention: append(recoveryAttention([]*people.Recovery{&own}, []*people.Recovery{rec}), laptopAttention(link, []laptopView{waiting})...)}},
		{"home-elevated", "home", "layout", "Where you stand", store.RolePerson, "", homeView{Link: link,
			Attention: s.elevationAttention([]*people.Elevation{sampleElevation(true)}, []*people.Elevation{sampleElevation(false), sampleElevation(false)})}},
		{"home-calm", "home", "layout", "Where you stand", store.RolePerson, "linked", homeView{Link: link}},
		{"home-new", "home", "layout", "Where you stand", store.RolePerson, "", homeView{Link: unlinked, Attention: laptopAttention(unlinked, nil)}},
		{"sessions", "sessions", "layout", "Your sessions", store.RolePerson, "", []sessionView{
			{people.Session{Session: &session.Session{ID: "s1", Browser: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36", Address: "198.51.100.7",
				CreatedAt: noon().Add(-3 * time.Hour), SeenAt: noon()}, This: true, Passkey: "Security key"}, link.mark},
			{people.Session{Session: &session.Session{ID: "s2", Browser: "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Mobile/15E148 Safari/604.1", Address: "203.0.113.9",
				CreatedAt: noon().Add(-9 * time.Hour), SeenAt: noon().Add(-2 * time.Hour)}, Passkey: "Phone"}, unlinked.mark}}},
	}
	return slices.Concat(all, officeSamples(s, rec, &own, &two), accessSamples(s), deskSamples(s), bootSamples(s))
}

func officeSamples(s *site, rec, own, two *people.Recovery) []sample {
	everybody := []*store.Person{
		{ID: "p1", Name: "alice", Display: "Alice Liddell", Role: store.RoleAdministrator, CreatedAt: noon()},
		{ID: "p2", Name: "bob", Display: "Bob Dodgson", Role: store.RolePerson, Groups: []string{"engineering", "on-call"}, Mail: "bob@muster.example", CreatedAt: noon().Add(-99 * 24 * time.Hour), CreatedBy: "person:alice"},
		{ID: "p3", Name: "carol", Role: store.RoleHelpDesk, Disabled: true, CreatedAt: noon()},
	}
	roles := []store.Role{store.RolePerson, store.RoleHelpDesk, store.RoleAuditor, store.RoleAdministrator}
	const link = testOrigin + "/invitation#mso_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	held := []heldSession{{&session.Session{ID: "s9", Browser: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", Address: "198.51.100.7", SeenAt: noon().Add(-time.Hour)}, "alice-laptop"}}
	tokens := []*store.APIToken{{ID: "t1", Label: "inventory", Scopes: people.Scopes()[:1], CreatedAt: noon(), Expires: noon().Add(80 * 24 * time.Hour)}}
	refusal := func(status int, code, text, fix string) refusalView {
		return refusalView{Refusal: &people.Refusal{Status: status, Code: code, Text: text, Fix: fix}, Next: "/passkeys", Back: "/"}
	}
	return []sample{
		{"people", "people", "layout", "People", store.RoleAdministrator, "", peopleView{Persons: everybody, Invite: roles}},
		{"people-link", "people", "layout", "People", store.RoleAdministrator, "", peopleView{Persons: everybody, Invite: roles, Link: link, Name: "dave"}},
		{"people-auditor", "people", "layout", "People", store.RoleAuditor, "", peopleView{Persons: everybody}},
		{"person", "person", "layout", "bob", store.RoleAdministrator, "person-changed", personView{Person: everybody[1], Sessions: held, May: true, Invite: true}},
		{"person-disabled", "person", "layout", "carol", store.RoleAdministrator, "", personView{Person: everybody[2], May: true}},
		{"person-auditor", "person", "layout", "bob", store.RoleAuditor, "", personView{Person: everybody[1], Sessions: held}},
		{"approvals", "approvals", "layout", "Approvals", store.RoleAdministrator, "", approvalsView{
			Own: []recoveryView{s.recoveryView(own)}, Approve: []recoveryView{s.recoveryView(rec), s.recoveryView(two)}, Office: true, May: true,
			Laptops:     []people.Readmitting{{ID: "o1", Device: "d2", Name: "bob-laptop", Person: "bob", AskedAt: noon().Add(-time.Hour)}},
			Invitations: []people.Invited{{ID: "i1", Name: "dave", CreatedBy: "person:alice", Expires: noon().Add(5 * 24 * time.Hour)}}}},
		{"approvals-none", "approvals", "layout", "Approvals", store.RolePerson, "", approvalsView{}},
		{"approvals-link", "approvals", "layout", "Approvals", store.RoleAdministrator, "", approvalsView{Link: link, Office: true, May: true}},
		{"programs", "programs", "layout", "Programs", store.RoleAdministrator, "", programsView{Tokens: tokens, Scopes: people.Scopes(), May: true}},
		{"programs-secret", "programs", "layout", "Programs", store.RoleAdministrator, "", programsView{Tokens: tokens, Scopes: people.Scopes(), May: true, Secret: "mat_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", Label: "inventory"}},
		{"programs-auditor", "programs", "layout", "Programs", store.RoleAuditor, "", programsView{}},
		{"refusal", "refusal", "layout", "This was refused", store.RolePerson, "", refusal(409, "last-passkey", "This is your last passkey; without it you could not sign in.", "Add another one first.")},
		{"refusal-verify", "refusal", "layout", "Confirm it is you", store.RolePerson, "", refusal(403, codeVerify, "This needs a fresh confirmation with your passkey.", "Confirm with your passkey; then do it again.")},
		{"refusal-sign-in", "refusal", "layout", "Sign in first", "", "", refusal(401, codeSignIn, "You are not signed in, or your session has ended.", "Sign in with your passkey.")},
		{"refusal-part", "refusal", "main", "", "", "", refusal(410, "used", "This was used before, has expired or was cancelled.", "Ask for a new one.")},
	}
}

// draw renders a sample as the wrapper would answer it.
func (sm sample) draw(t testing.TB, s *site, path string) []byte {
	t.Helper()
	var who *people.Who
	if sm.role != "" {
		who = sampleWho(sm.role)
	}
	target := path
	if sm.done != "" {
		target += "?done=" + sm.done
	}
	r := &request{Request: httptest.NewRequest(http.MethodGet, target, nil), who: who}
	var b bytes.Buffer
	if err := s.pages[sm.page].ExecuteTemplate(&b, sm.block, s.sheet(r, sm.title, sm.body)); err != nil {
		t.Fatalf("%s: %v", sm.name, err)
	}
	return b.Bytes()
}
