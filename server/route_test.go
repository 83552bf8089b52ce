package server

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"muster/attest"
	"muster/server/store"
)

func newTestServer(t *testing.T, config Config) *Server {
	t.Helper()
	if config.DataDir == "" {
		config.DataDir = t.TempDir()
	}
	s, err := New(context.Background(), config, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Over plain HTTP only this machine and trusted proxies are answered.
func TestPlainIsForNeighbours(t *testing.T) {
	s := newTestServer(t, Config{Listen: ":0", PublicURL: "https://x.example", TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for peer, want := range map[string]int{
		"127.0.0.1:1": 200, "[::1]:1": 200, "10.1.2.3:1": 200, "192.0.2.1:1": 403, "[2001:db8::1]:1": 403, "nonsense": 403,
	} {
		r := httptest.NewRequest("GET", attest.PathTenant, nil)
		r.RemoteAddr = peer
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("from %s: %d, want %d", peer, w.Code, want)
		}
	}
	r := httptest.NewRequest("GET", attest.PathTenant, nil)
	r.TLS = new(tls.ConnectionState)
	w := httptest.NewRecorder()
	if s.Handler().ServeHTTP(w, r); w.Code != 200 {
		t.Errorf("over TLS: %d", w.Code)
	}
	w = httptest.NewRecorder() // a load balancer's probe, from anywhere
	if s.Handler().ServeHTTP(w, httptest.NewRequest("GET", pathReady, nil)); w.Code != 200 {
		t.Errorf("readiness: %d", w.Code)
	}
}

// A panic in a handler is a 500, and a check that panics does not allow.
func TestPanicDenies(t *testing.T) {
	s := newTestServer(t, Config{})
	d := &device{}
	s.fleet.put("broken", d)
	d.secret.Store(&attest.Digest{1})
	s.policy.Store(nil)
	r := httptest.NewRequest("POST", attest.PathStatus, strings.NewReader("{}"))
	r.RemoteAddr = "127.0.0.1:1"
	r.Header.Set(attest.HeaderDevice, "broken")
	r.Header.Set(attest.HeaderMAC, attest.MAC((&attest.Digest{1})[:], attest.PathStatus, []byte("{}")).String())
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusInternalServerError {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestPublicURLIsFixed(t *testing.T) {
	dir := t.TempDir()
	s, err := New(context.Background(), Config{DataDir: dir, PublicURL: "https://one.example"}, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = New(context.Background(), Config{DataDir: dir, PublicURL: "https://two.example"}, slog.New(slog.DiscardHandler), time.Now)
	if err == nil || !strings.Contains(err.Error(), "one.example") {
		t.Errorf("another public URL: %v", err)
	}
}

// A device that is revoked by any way (another device's revocation, a journal) is
// denied by the next check, without anybody telling the fleet.
func TestStoredChangeIsSeenAtOnce(t *testing.T) {
	s := newTestServer(t, Config{})
	d := newLaptop(t, s)
	row := &d.row
	if got := string(s.Check(row.ID, "wiki").Bytes()); !strings.Contains(got, "no-report") {
		t.Fatalf("before: %s", got)
	}
	if err := s.store.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.RevokeDevice(row.ID, "test", "gone")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	s.Check(row.ID, "wiki")
	if d.row.State != attest.Revoked {
		t.Errorf("a check after the revocation still works with state %s", d.row.State)
	}
	s.store.Close() // what cannot be read again is denied
	d.stale.Store(true)
	if s.Check(row.ID, "wiki").Allowed() {
		t.Error("allowed without a store")
	}
}
