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

// model is a server that trusts the test's metadata, and alice, whose passkey is of
// a model that it may tell of.
type model struct {
	t     *testing.T
	blob  func(number int, next time.Time, entries ...reference.MDSEntry) string
	srv   *servertest.Server
	alice *servertest.Person
}

func newModel(t *testing.T) *model {
	t.Helper()
	mds := servertest.NewMetadata(t)
	m := &model{t: t, blob: mds.BLOB}
	m.srv = servertest.Start(t, servertest.Named(), func(c *server.Config) {
		c.MDSRoots = []string{servertest.File(t, "roots.pem", mds.Roots())}
	})
	m.srv.Administrator()
	link := m.srv.Invite(people.Invitation{Name: "alice"})
	m.alice = m.srv.Person()
	m.alice.Authenticator.Format, m.alice.Authenticator.AAGUID = "packed", reference.AAGUID{1, 2, 3}
	if r := m.alice.Accept(link); r.Status != http.StatusOK {
		t.Fatalf("accepting: %d %s", r.Status, r.Body)
	}
	return m
}

// load imports metadata that changes what one passkey proves.
func (m *model) load(number int, statuses ...reference.MDSStatus) {
	m.t.Helper()
	var status struct{ Number, Changed int }
	blob := m.blob(number, time.Now().AddDate(0, 1, 0), m.alice.Authenticator.Entry(statuses...))
	if err := m.srv.Control("POST", "/reference/mds", []byte(blob), &status); err != nil {
		m.t.Fatal(err)
	}
	if status.Number != number || status.Changed != 1 {
		m.t.Fatalf("import: %+v", status)
	}
}

// is holds what is stored of the passkey against what it should be.
func (m *model) is(what, evidence, bad string) {
	m.t.Helper()
	var user struct {
		Passkeys []struct{ Evidence, Why, Bad string }
	}
	if err := m.srv.Control("GET", "/users/alice", nil, &user); err != nil {
		m.t.Fatal(err)
	}
	if len(user.Passkeys) != 1 || user.Passkeys[0].Evidence != evidence || user.Passkeys[0].Bad != bad {
		m.t.Fatalf("%s: %+v, want %s %q", what, user.Passkeys, evidence, bad)
	}
}

// TestMetadata follows a passkey from unproved to attested to a model that lost
// trust, over imports into a running server and over a restart.
func TestMetadata(t *testing.T) {
	t.Parallel()
	m := newModel(t)
	m.is("without metadata", "none", "")
	m.load(1, reference.MDSStatus{Status: "FIDO_CERTIFIED_L2"})
	m.is("with its model's entry", "attested", "")
	if !m.alice.SignedIn() {
		t.Error("an import that proves a passkey ended its session")
	}
	m.srv.Restart()
	m.is("after a restart", "attested", "")
	m.load(2, reference.MDSStatus{Status: "REVOKED", From: time.Now().AddDate(0, 0, -1)})
	m.is("after its model was revoked", "attested", "REVOKED")
	if m.alice.SignedIn() {
		t.Error("a session of a revoked model lives on")
	}
	if r := m.alice.SignIn(); r.Status == http.StatusOK {
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
	m := newModel(t)
	m.load(1, reference.MDSStatus{Status: "FIDO_CERTIFIED_L2"})
	m.is("at the backup", "attested", "")
	backup := filepath.Join(t.TempDir(), "backup.db")
	if err := m.srv.Control("POST", "/backup", server.BackupRequest{To: backup}, nil); err != nil {
		t.Fatal(err)
	}
	revoked := reference.MDSStatus{Status: "REVOKED", From: time.Now().AddDate(0, 0, -1)}
	m.load(2, revoked)
	m.srv.Stop()
	if _, err := server.Restore(t.Context(), m.srv.Config, backup, false); err != nil {
		t.Fatal(err)
	}
	m.srv.Start()
	m.is("restored", "none", "")
	if !m.srv.Said("gone with a restored backup") {
		t.Error("nobody is told that metadata is missing")
	}
	m.load(2, revoked)
	m.is("imported again", "attested", "REVOKED")
	if r := m.alice.SignIn(); r.Status == http.StatusOK {
		t.Error("a revoked model signs in")
	}
}
