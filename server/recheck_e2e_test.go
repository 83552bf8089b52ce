package server_test

import (
	"net/url"
	"testing"
	"time"

	"muster/server"
	"muster/server/people"
	"muster/server/servertest"
	"muster/server/verify"
)

// A person mends their laptop and has the page look again: the answer comes within
// five seconds and is of what is true by then, though the next report is an hour
// away and no port is open on the laptop.
func TestCheckAgain(t *testing.T) {
	t.Parallel()
	srv := servertest.Start(t, servertest.Named(), withPolicy(t, currentRelease, 3600))
	gateway := srv.Gateway("board")
	srv.Administrator()
	alice := srv.Accepts(srv.Invite(people.Invitation{Name: "alice"}))
	laptop := srv.Laptop("laptop", "none", srv.Token(server.TokenRequest{Owner: "alice", MinLevel: verify.Software}))
	laptop.Upgrade("1")
	id := laptop.Enrol().Device

	// check is what the page's button does.
	check := func() (checked bool, took time.Duration) {
		t.Helper()
		began := time.Now()
		r := alice.Form("/laptops/check", url.Values{"device": {id}})
		took = time.Since(began)
		to, err := url.Parse(r.Header.Get("Location"))
		if err != nil || to.Path != "/laptops" {
			t.Fatalf("check again: %d %q %s", r.Status, r.Header.Get("Location"), r.Body)
		}
		if took > 5500*time.Millisecond {
			t.Errorf("check again: answered after %v", took)
		}
		return to.Query().Get("done") == "checked", took
	}
	if checked, _ := check(); checked {
		t.Fatal("a laptop that does not run was checked")
	}
	laptop.Start()
	servertest.Wait(t, "the laptop answers", func() bool { checked, _ := check(); return checked })
	for _, release := range []string{"2", "1", "1"} {
		time.Sleep(3 * time.Second) // sooner it would be the answer of before
		laptop.Upgrade(release)
		asked := time.Now()
		checked, took := check()
		if !checked || gateway.Ask(id, "board").Allowed != (release == "2") {
			t.Fatalf("release %s: checked %v after %v, but the gateway was answered otherwise", release, checked, took)
		}
		if at := srv.Device(id).LastReport; at.Before(asked) {
			t.Errorf("release %s: the last report is of %v before somebody asked", release, asked.Sub(at))
		}
		t.Logf("release %s was in the answer after %v", release, took.Round(time.Millisecond))
	}
	laptop.Kill()
	time.Sleep(3 * time.Second)
	if checked, took := check(); checked {
		t.Errorf("a laptop that is gone was checked after %v", took)
	}
}
