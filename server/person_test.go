package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/passkey"
	"muster/server/session"
	"muster/server/store"
	"muster/server/verify"
)

// guestPolicy has two applications with hosts.
const guestPolicy = `
apps:
  - {id: wiki, sensitivity: low, hosts: [wiki.muster.localhost, wiki2.muster.localhost]}
  - {id: vault, sensitivity: high, hosts: [vault.muster.localhost]}
require: []
`

const (
	guestURL  = "http://id.muster.localhost:8443"
	guestHost = "id.muster.localhost:8443"
	wikiHost  = "wiki.muster.localhost:8443"
)

// guestServer is one that people sign in to, whose clock a test moves.
func guestServer(t *testing.T) (*Server, *testClock) {
	t.Helper()
	clock := &testClock{}
	clock.at.Store(time.Now().UnixNano())
	config := Config{DataDir: t.TempDir(), PublicURL: guestURL, RPID: "muster.localhost", Policy: writeFile(t, "policy.yaml", guestPolicy)}
	s, err := New(context.Background(), config, slog.New(slog.DiscardHandler), clock.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, clock
}

// testClock is moved by hand.
type testClock struct{ at atomic.Int64 }

func (c *testClock) now() time.Time           { return time.Unix(0, c.at.Load()) }
func (c *testClock) advance(by time.Duration) { c.at.Add(int64(by)) }

// guest is somebody with a session.
type guest struct {
	person  *store.Person
	session *session.Session
	secret  string // of the session's cookie
}

// guest makes a person with a passkey and a session that was verified just now.
func newGuest(t *testing.T, s *Server, name string, role store.Role) *guest {
	t.Helper()
	g := &guest{person: &store.Person{Name: name, Role: role, CreatedBy: "test"}}
	err := s.store.Update(t.Context(), func(tx *store.Tx) (err error) {
		if err := tx.AddPerson(g.person); err != nil {
			return err
		}
		id := make([]byte, 32)
		_, _ = rand.Read(id)
		key := &store.Passkey{Person: g.person.ID, Name: "key", Credential: passkey.Credential{
			ID: id, PublicKey: []byte{1}, Algorithm: -7, Attestation: []byte{1}, ClientData: []byte{1}, Judgement: passkey.Judgement{Evidence: passkey.None, Format: "none"},
		}}
		if err := tx.AddPasskey(key); err != nil {
			return err
		}
		g.session = &session.Session{
			Person: g.person.ID, Credential: id, VerifiedAt: tx.Now(), Limits: session.Limits{Idle: time.Hour, Absolute: 10 * time.Hour},
			AMR: []string{"hwk"}, ACR: "phr", Binding: "none",
		}
		g.secret, err = tx.AddSession(g.session)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// browser is cookies by host, and asks without following anything.
type browser struct {
	s    *Server
	jars map[string]map[string]string
}

func newBrowser(s *Server, g *guest) *browser {
	b := &browser{s: s, jars: map[string]map[string]string{}}
	if g != nil {
		b.jars[guestHost] = map[string]string{cookieSession: g.secret}
	}
	return b
}

// get asks for an absolute address and keeps what cookies come.
func (b *browser) get(address string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", address, nil)
	r.RemoteAddr = "127.0.0.1:1"
	for name, value := range b.jars[r.Host] {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	b.s.Handler().ServeHTTP(w, r)
	jar := b.jars[r.Host]
	if jar == nil {
		jar = map[string]string{}
		b.jars[r.Host] = jar
	}
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(jar, c.Name)
		} else {
			jar[c.Name] = c.Value
		}
	}
	return w
}

// visitCode goes from an application's host up to the address with the code.
func (b *browser) visitCode(t *testing.T, host, back string) string {
	t.Helper()
	begun := b.get("http://" + host + pathVisitStart + "?" + url.Values{"back": {back}}.Encode())
	if begun.Code != http.StatusSeeOther || !strings.HasPrefix(begun.Header().Get("Location"), guestURL+pathVisit+"?") {
		t.Fatalf("start at %s: %d to %q", host, begun.Code, begun.Header().Get("Location"))
	}
	middle := b.get(begun.Header().Get("Location"))
	to := middle.Header().Get("Location")
	if middle.Code != http.StatusSeeOther || !strings.HasPrefix(to, "http://"+host+pathVisitFinish+"?code=") {
		t.Fatalf("visit for %s: %d to %q: %s", host, middle.Code, to, middle.Body)
	}
	return to
}

// codeOf is the stable code of a refusal, of a page or of a problem document.
func codeOf(w *httptest.ResponseRecorder) string {
	var p struct{ Code string }
	if json.Unmarshal(w.Body.Bytes(), &p) == nil {
		return p.Code
	}
	text := strings.TrimSpace(w.Body.String())
	if i := strings.LastIndex(text, "("); i >= 0 {
		return strings.Trim(text[i:], "()")
	}
	return ""
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newLaptop seats an active device that never reported.
func newLaptop(t *testing.T, s *Server) *device {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	row := &store.Device{
		ID: newDeviceID(), State: attest.Active, Class: verify.ClassCorporate, Platform: posture.Linux,
		Keys: store.Keys{Kind: attest.KindSoft, DK: point, DKID: attest.KeyID(&key.PublicKey)},
	}
	var d *device
	err = s.store.Update(t.Context(), func(tx *store.Tx) (err error) {
		if err = tx.InsertDevice(row); err == nil {
			d, err = s.remember(tx, row)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.seat(d)
	return d
}
