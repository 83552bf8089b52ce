package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"muster/server"
	"muster/server/passkey/passkeytest"
	"muster/server/people"
	"muster/server/reference"
	"muster/server/servertest"
)

// TestMetadata follows a passkey from unproved to attested to a model that lost
// trust, over imports into a running server and over a restart.
func TestMetadata(t *testing.T) {
	t.Parallel()
	mds := servertest.NewMetadata(t)
	srv := servertest.Start(t, servertest.Named(), func(c *server.Config) {
		c.MDSRoots = []string{servertest.File(t, "roots.pem", mds.Roots())}
	})
	srv.Administrator()
	link := srv.Invite(people.Invitation{Name: "alice"})
	alice := srv.Person()
	alice.Authenticator.Format, alice.Authenticator.AAGUID = "packed", reference.AAGUID{1, 2, 3}
	if r := alice.Accept(link); r.Status != http.StatusOK {
		t.Fatalf("accepting: %d %s", r.Status, r.Body)
	}
	is := func(what, evidence, bad string) {
		t.Helper()
		var user struct {
			Passkeys []struct{ Evidence, Why, Bad string }
		}
		if err := srv.Control("GET", "/users/alice", nil, &user); err != nil {
			t.Fatal(err)
		}
		if len(user.Passkeys) != 1 || user.Passkeys[0].Evidence != evidence || user.Passkeys[0].Bad != bad {
			t.Fatalf("%s: %+v, want %s %q", what, user.Passkeys, evidence, bad)
		}
	}
	load := func(number int, statuses ...reference.MDSStatus) {
		t.Helper()
		var status struct{ Number, Changed int }
		blob := mds.BLOB(number, time.Now().AddDate(0, 1, 0), alice.Authenticator.Entry(statuses...))
		if err := srv.Control("POST", "/reference/mds", []byte(blob), &status); err != nil {
			t.Fatal(err)
		}
		if status.Number != number || status.Changed != 1 {
			t.Fatalf("import: %+v", status)
		}
	}
	is("without metadata", "none", "")
	load(1, reference.MDSStatus{Status: "FIDO_CERTIFIED_L2"})
	is("with its model's entry", "attested", "")
	if !alice.SignedIn() {
		t.Error("an import that proves a passkey ended its session")
	}
	srv.Restart()
	is("after a restart", "attested", "")
	load(2, reference.MDSStatus{Status: "REVOKED", From: time.Now().AddDate(0, 0, -1)})
	is("after its model was revoked", "attested", "REVOKED")
	if alice.SignedIn() {
		t.Error("a session of a revoked model lives on")
	}
	if r := alice.SignIn(); r.Status == http.StatusOK {
		t.Error("a passkey of a revoked model signs in")
	}
}

// TestNotices: what people are to hear leaves the server for the webhook, signed.
func TestNotices(t *testing.T) {
	t.Parallel()
	type notice struct {
		header http.Header
		body   []byte
	}
	got := make(chan notice, 16)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- notice{r.Header, b}
	}))
	t.Cleanup(hook.Close)
	srv := servertest.Start(t, servertest.Named(), func(c *server.Config) {
		c.Webhook.URL, c.Webhook.SecretFile = hook.URL, servertest.File(t, "secret", "0123456789abcdef0123456789abcdef\n")
	})
	admin := srv.Administrator()
	if r := admin.AddPasskey(passkeytest.New(t, srv.Config.PublicURL)); r.Status != http.StatusOK {
		t.Fatalf("adding a passkey: %d %s", r.Status, r.Body)
	}
	for {
		select {
		case n := <-got:
			if n.header.Get("webhook-signature") == "" || !json.Valid(n.body) {
				t.Fatalf("unsigned, or no JSON: %v %s", n.header, n.body)
			}
			var body struct{ Kind string }
			if err := json.Unmarshal(n.body, &body); err != nil {
				t.Fatal(err)
			}
			if body.Kind == "passkey-added" {
				return
			}
		case <-time.After(30 * time.Second):
			t.Fatal("nobody was told of a new passkey")
		}
	}
}

// TestRestoredMetadataProvesNothing restores a backup that is older than the
// metadata of the day: what that proved counts no more, until it is imported again.
func TestRestoredMetadataProvesNothing(t *testing.T) {
	t.Parallel()
	mds := servertest.NewMetadata(t)
	srv := servertest.Start(t, servertest.Named(), func(c *server.Config) {
		c.MDSRoots = []string{servertest.File(t, "roots.pem", mds.Roots())}
	})
	srv.Administrator()
	link := srv.Invite(people.Invitation{Name: "alice"})
	alice := srv.Person()
	alice.Authenticator.Format, alice.Authenticator.AAGUID = "packed", reference.AAGUID{1, 2, 3}
	if r := alice.Accept(link); r.Status != http.StatusOK {
		t.Fatalf("accepting: %d %s", r.Status, r.Body)
	}
	load := func(number int, statuses ...reference.MDSStatus) {
		t.Helper()
		blob := mds.BLOB(number, time.Now().AddDate(0, 1, 0), alice.Authenticator.Entry(statuses...))
		if err := srv.Control("POST", "/reference/mds", []byte(blob), nil); err != nil {
			t.Fatal(err)
		}
	}
	is := func(what, evidence, bad string) {
		t.Helper()
		var user struct {
			Passkeys []struct{ Evidence, Bad string }
		}
		if err := srv.Control("GET", "/users/alice", nil, &user); err != nil {
			t.Fatal(err)
		}
		if len(user.Passkeys) != 1 || user.Passkeys[0].Evidence != evidence || user.Passkeys[0].Bad != bad {
			t.Errorf("%s: %+v, want %s %q", what, user.Passkeys, evidence, bad)
		}
	}
	load(1, reference.MDSStatus{Status: "FIDO_CERTIFIED_L2"})
	is("at the backup", "attested", "")
	backup := filepath.Join(t.TempDir(), "backup.db")
	if err := srv.Control("POST", "/backup", server.BackupRequest{To: backup}, nil); err != nil {
		t.Fatal(err)
	}
	revoked := reference.MDSStatus{Status: "REVOKED", From: time.Now().AddDate(0, 0, -1)}
	load(2, revoked)
	srv.Stop()
	if _, err := server.Restore(t.Context(), srv.Config, backup, false); err != nil {
		t.Fatal(err)
	}
	srv.Start()
	is("restored", "none", "")
	if !srv.Said("gone with a restored backup") {
		t.Error("nobody is told that metadata is missing")
	}
	load(2, revoked)
	is("imported again", "attested", "REVOKED")
	if r := alice.SignIn(); r.Status == http.StatusOK {
		t.Error("a revoked model signs in")
	}
}
