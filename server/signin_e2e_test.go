package server_test

import (
	"net/http"
	"strings"
	"testing"

	"muster/server/people"
	"muster/server/servertest"
)

// TestSignInSurvivesRestart follows a person from the invitation to the sign-out,
// over restarts of the server: a session goes on, and one that ended stays ended.
func TestSignInSurvivesRestart(t *testing.T) {
	t.Parallel()
	srv := servertest.Start(t, servertest.Named())
	first := srv.FirstLink()
	srv.Restart() // the link holds, too
	admin := srv.Accepts(first)
	if !admin.SignedIn() {
		t.Fatal("the first administrator is not signed in after the registration")
	}
	if again := srv.Person().Accept(first); again.Status != http.StatusGone {
		t.Fatalf("the first link worked twice: %d %s", again.Status, again.Body)
	}
	if err := srv.Control("POST", "/invitations/first", nil, nil); err == nil || !strings.Contains(err.Error(), "administrator-there") {
		t.Fatalf("a first link with an administrator there: %v", err)
	}

	alice := srv.Accepts(srv.Invite(people.Invitation{Name: "alice"}))
	other := alice.OtherBrowser()
	if r := other.SignIn(); r.Status != http.StatusOK {
		t.Fatalf("sign-in: %d %s", r.Status, r.Body)
	}
	stolen := alice.OtherBrowser()
	for name, value := range other.Cookies {
		stolen.Cookies[name] = value
	}
	srv.Restart()
	for name, browser := range map[string]*servertest.Person{"administrator": admin, "alice": alice, "alice's other browser": other} {
		if !browser.SignedIn() {
			t.Errorf("%s: a restart lost the session", name)
		}
	}

	if r := other.Form("/sign-out", nil); r.Status != http.StatusSeeOther {
		t.Fatalf("sign-out: %d %s", r.Status, r.Body)
	}
	if stolen.SignedIn() {
		t.Error("a copy of the cookie is good after the sign-out")
	}
	if err := srv.Control("POST", "/users/alice/disable", map[string]string{"why": "left"}, nil); err != nil {
		t.Fatal(err)
	}
	srv.Restart()
	if stolen.SignedIn() || alice.SignedIn() {
		t.Error("a restart revived a session that ended")
	}
	if r := alice.SignIn(); r.Status == http.StatusOK {
		t.Error("a disabled person signs in")
	}
	if !admin.SignedIn() {
		t.Error("another person's session ended too")
	}
}
