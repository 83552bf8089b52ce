package browsertest_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"muster/server/browsertest"
)

// TestNames holds what the whole design of names rests on: names below localhost
// are this machine, a secure context, and good for passkeys; profiles share no
// cookies.
func TestNames(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie("__Host-probe"); err == nil {
			fmt.Fprintf(w, "<!doctype html><title>t</title><p>cookie %s", c.Value)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "__Host-probe", Value: "7", Path: "/", Secure: true, HttpOnly: true})
		fmt.Fprint(w, "<!doctype html><title>t</title><p>fresh")
	}))
	defer s.Close()
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	url := "http://id.muster.localhost:" + port + "/"
	b := browsertest.Start(t)
	one, other := b.Profile(), b.Profile()
	tab := one.Tab()
	tab.Go(url)
	tab.See("fresh")
	if !browsertest.Eval[bool](tab, "isSecureContext") {
		t.Error("not a secure context")
	}
	tab.Go(url)
	tab.See("cookie 7")
	if got := tab.Cookie("__Host-probe"); got != "7" {
		t.Errorf("cookie is %q", got)
	}
	second := other.Tab()
	second.Go(url)
	second.See("fresh")
	key := tab.Authenticator(false, false)
	made := browsertest.Eval[string](tab, `navigator.credentials.create({publicKey: {
		rp: {id: "muster.localhost", name: "probe"}, user: {id: new Uint8Array(32), name: "alice", displayName: "Alice"},
		challenge: new Uint8Array(32), pubKeyCredParams: [{type: "public-key", alg: -7}],
		authenticatorSelection: {residentKey: "required", userVerification: "required"}}}).then(c => c.type)`)
	if made != "public-key" || len(key.Credentials()) != 1 {
		t.Errorf("made %q, %d credentials", made, len(key.Credentials()))
	}
}
