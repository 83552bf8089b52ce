package server_test

import (
	"strings"
	"testing"

	"muster/attest"
	"muster/attest/tpmtest"
	"muster/server"
	"muster/server/servertest"
	"muster/server/verify"
)

// softToken admits whatever comes.
var softToken = server.TokenRequest{MinLevel: verify.Software}

// openPolicy opens the board to any active device that reports.
const openPolicy = `
apps:
  - {id: board, sensitivity: low, devices: true}
require: []
`

// A TPM that nobody vouches for waits, whatever the token; the code on its
// screen, and no other, lets it in.
func TestChainUnknown(t *testing.T) {
	t.Parallel()
	srv := servertest.Start(t, open(t))
	gateway := srv.Gateway("board")
	laptop := srv.Laptop("laptop", tpmtest.Start(t).Setting(), srv.Token(server.TokenRequest{MinLevel: verify.VTPM}))
	standing := laptop.Enrol()
	if standing.State != attest.Pending || standing.Level != "tpm-unverified" || standing.Code == "" || !standing.Has("pending") {
		t.Fatalf("enrolled as %+v, want pending and tpm-unverified with a code", standing)
	}
	view := srv.Device(standing.Device)
	if !strings.Contains(view.CauseText, "No configured CA vouches") || view.CompareCode != standing.Code {
		t.Fatalf("the approver sees %q and code %s, the person %s", view.CauseText, view.CompareCode, standing.Code)
	}
	laptop.Start()
	srv.NextReport(view.ID) // it reports while it waits
	for _, wrong := range []string{"ABCD-EFGH", "abcd", strings.ToLower(standing.Code)} {
		if err := srv.Approve(view.ID, wrong); err == nil {
			t.Fatalf("approved by the code %q", wrong)
		}
	}
	if gateway.Ask(view.ID, "board").Allowed {
		t.Fatal("a pending laptop gets in")
	}
	if err := srv.Approve(view.ID, standing.Code); err != nil {
		t.Fatal(err)
	}
	if answer := gateway.Ask(view.ID, "board"); !answer.Allowed {
		t.Fatalf("approved and refused: %+v", answer)
	}
	standing = laptop.Reaches("the laptop knows that it was approved", func(s servertest.Standing) bool { return s.Fit })
	if standing.Level != "tpm-unverified" {
		t.Fatalf("an approval made the level %s", standing.Level)
	}
}

// open is an option: openPolicy.
func open(t *testing.T) func(*server.Config) {
	return func(c *server.Config) { c.Policy = servertest.File(t, "policy.yaml", openPolicy) }
}

// A token admits as many laptops as it was made for.
func TestTokenUses(t *testing.T) {
	t.Parallel()
	srv := servertest.Start(t)
	for _, uses := range []int{1, 2} {
		token := srv.Token(server.TokenRequest{MinLevel: verify.Software, Uses: uses})
		for range uses {
			if standing := srv.Laptop("laptop", "none", token).Enrol(); standing.State != attest.Active {
				t.Fatalf("the token for %d admits nobody: %+v", uses, standing)
			}
		}
		before := len(srv.Devices())
		late := srv.Laptop("late", "none", token)
		out := late.Do("enroll")
		if out.Code != 1 || !strings.Contains(out.Stderr, attest.CodeTokenRefused) || !strings.Contains(out.Stderr, "hint:") {
			t.Fatalf("the token for %d, once more: exit code %d\n%s", uses, out.Code, out.Stderr)
		}
		if standing := late.Status(); standing.Device != "" || len(srv.Devices()) != before {
			t.Fatalf("a refused token left a device: %+v", standing)
		}
	}
}

// Serial numbers and UUIDs are claims that anybody can make: two laptops that
// make the same are two devices, and the first does not notice the second.
func TestSameSerialAndUUID(t *testing.T) {
	t.Parallel()
	srv := servertest.Start(t, open(t))
	gateway := srv.Gateway("board")
	as := func(b *attest.EnrolBegin) {
		b.Serial, b.UUID, b.Name = "SN-1", "00000000-0000-4000-8000-000000000001", "reception"
	}
	var devices []*servertest.SoftDevice
	for _, token := range []string{srv.Token(softToken), srv.Token(softToken), ""} {
		d, err := srv.SoftDevice(token, "", as)
		if err != nil {
			t.Fatal(err)
		}
		devices = append(devices, d)
	}
	ids := map[string]bool{}
	for _, d := range devices {
		ids[d.ID] = true
		report(t, d)
	}
	if len(ids) != 3 {
		t.Fatalf("%d devices, want three", len(ids))
	}
	if !gateway.Ask(devices[0].ID, "board").Allowed || !gateway.Ask(devices[1].ID, "board").Allowed {
		t.Fatal("the first two are not both let in")
	}
	if gateway.Ask(devices[2].ID, "board").Allowed || srv.Device(devices[2].ID).State != attest.Pending {
		t.Fatal("a known serial number admitted a stranger")
	}
}

// report sends one report, which must be accepted.
func report(t *testing.T, d *servertest.SoftDevice) {
	t.Helper()
	body, digest, err := d.Compose(true)
	if err != nil {
		t.Fatal(err)
	}
	status, reply, err := d.Post(attest.PathReport, body)
	if err != nil || status != 200 {
		t.Fatalf("report: %d %s %v", status, reply, err)
	}
	if err := d.Took(reply, digest, true); err != nil {
		t.Fatal(err)
	}
}

// A TPM whose EK hash is on the list needs no token, though no root vouches for
// it; its neighbour does.
func TestListedEK(t *testing.T) {
	t.Parallel()
	maker := tpmtest.NewAuthority(t)
	srv := servertest.Start(t, func(c *server.Config) { c.RequireToken = true }, open(t))
	chip, neighbour := tpmtest.Start(t, tpmtest.From(maker)), tpmtest.Start(t, tpmtest.From(maker))
	laptop := srv.Laptop("laptop", chip.Setting(), "")
	list := server.ListedRequest{EKSHA256: ekHash(t, laptop), Class: verify.ClassCorporate, Owner: "reception"}
	if err := srv.Control("POST", "/listed", list, nil); err != nil {
		t.Fatal(err)
	}
	standing := laptop.Enrol()
	if standing.State != attest.Active || standing.Level != "tpm-listed" {
		t.Fatalf("the listed TPM is %s at %s, want active at tpm-listed", standing.State, standing.Level)
	}
	if view := srv.Device(standing.Device); view.EKSHA256 != list.EKSHA256 || view.Owner != "reception" || view.Class != verify.ClassCorporate {
		t.Fatalf("registered as %+v", view)
	}
	out := srv.Laptop("neighbour", neighbour.Setting(), "").Do("enroll")
	if out.Code != 1 || !strings.Contains(out.Stderr, attest.CodeTokenRefused) || len(srv.Devices()) != 1 {
		t.Fatalf("a TPM that is not listed: exit code %d, %d devices\n%s", out.Code, len(srv.Devices()), out.Stderr)
	}
}

// ekHash is what muster-agent doctor prints for the administrator.
func ekHash(t *testing.T, laptop *servertest.Laptop) string {
	t.Helper()
	for word := range strings.FieldsFuncSeq(laptop.Do("doctor").Stdout, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) }) {
		if len(word) == 64 {
			return word
		}
	}
	t.Fatal("doctor prints no EK hash")
	return ""
}

// Revoked is for ever: neither a new system nor a new token brings the TPM back,
// and an approval does not either.
func TestRevokedForEver(t *testing.T) {
	t.Parallel()
	f := enrolled(t)
	f.srv.Revoke(f.device, "lost")
	for _, reinstalled := range []bool{false, true} {
		again := f.laptop.Copy("again")
		again.UseToken(f.srv.Token(server.TokenRequest{MinLevel: verify.Software}))
		if reinstalled { // another S, so another DK
			again = f.srv.Laptop("again", f.chip.Setting(), f.srv.Token(server.TokenRequest{MinLevel: verify.Software}))
		}
		out := again.Do("enroll", "--again")
		if out.Code != 1 || !strings.Contains(out.Stderr, attest.CodeRevoked) {
			t.Fatalf("the revoked TPM enrols again, reinstalled %v: exit code %d\n%s", reinstalled, out.Code, out.Stderr)
		}
	}
	view := f.srv.Device(f.device)
	if err := f.srv.Approve(f.device, view.CompareCode); err == nil || !strings.Contains(err.Error(), attest.CodeRevoked) {
		t.Fatalf("approving a revoked device: %v", err)
	}
	f.srv.Restart()
	if n := len(f.srv.Devices()); n != 1 || f.srv.Device(f.device).State != attest.Revoked || f.opens("board") {
		t.Fatalf("%d devices; the device is %s", n, f.srv.Device(f.device).State)
	}
}

// A key in a file is software, whatever the token asks for, and a token that asks
// for more leaves it waiting.
func TestSoftkeyIsSoftware(t *testing.T) {
	t.Parallel()
	srv := servertest.Start(t, func(c *server.Config) { c.Policy = servertest.File(t, "policy.yaml", vaultPolicy) })
	gateway := srv.Gateway("vault", "board")
	for level, want := range map[verify.Level]attest.DeviceState{
		verify.Software: attest.Active, verify.TPMUnverified: attest.Pending, verify.TPMHardware: attest.Pending,
	} {
		standing := srv.Laptop("soft "+level.String(), "none", srv.Token(server.TokenRequest{MinLevel: level})).Enrol()
		if standing.Level != "software" || standing.State != want {
			t.Fatalf("with a token for %v: %s at %s, want %s at software", level, standing.State, standing.Level, want)
		}
		if standing.State == attest.Pending {
			if err := srv.Approve(standing.Device, standing.Code); err != nil {
				t.Fatal(err)
			}
		}
		view := srv.Device(standing.Device)
		if view.Level != verify.Software || gateway.Ask(view.ID, "vault").Allowed || !gateway.Ask(view.ID, "board").Allowed {
			t.Fatalf("a software key with a token for %v: level %v, %+v", level, view.Level, gateway.Ask(view.ID, "vault"))
		}
	}
}

// What nobody ever admitted is not readmitted, however often it enrols.
func TestNeverAdmittedIsNoReanchor(t *testing.T) {
	t.Parallel()
	srv := servertest.Start(t, func(c *server.Config) { c.Policy = servertest.File(t, "policy.yaml", vaultPolicy) })
	laptop := srv.Laptop("soft", "none", srv.Token(server.TokenRequest{MinLevel: verify.TPMHardware, Owner: "alice", Class: verify.ClassCorporate}))
	first := laptop.Enrol()
	before := srv.Device(first.Device)
	laptop.UseToken("")
	laptop.Do("enroll", "--again")
	after := srv.Device(first.Device)
	if before.State != attest.Pending || after.State != attest.Pending || after.Cause != before.Cause || after.Cause == "re-anchor" {
		t.Errorf("a second enrolment makes it %s, %s: its owner may readmit what the token refused", after.State, after.Cause)
	}
}
