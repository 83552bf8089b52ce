package agent

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/attest"
)

func serveTenant(hits *int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*hits++
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"tenant":"aa","origin":"x","epoch":1}`))
	})
}

func ask(t *testing.T, origin, caFile string) error {
	t.Helper()
	way, err := Transport(caFile)
	if err != nil {
		t.Fatal(err)
	}
	var tenant attest.Tenant
	c := &client{origin: origin, http: way}
	if err := c.get(t.Context(), attest.PathTenant, &tenant); err != nil {
		return err
	}
	if tenant.Tenant != "aa" || c.date.IsZero() {
		t.Errorf("tenant %+v, date %v", tenant, c.date)
	}
	return nil
}

// A wait may be held for as long as the contract says, and a connection that leads
// nowhere any more is noticed meanwhile.
func TestTransportWaits(t *testing.T) {
	way, err := Transport("")
	if err != nil {
		t.Fatal(err)
	}
	h := way.(*http.Transport)
	if h.ResponseHeaderTimeout <= attest.MaxWait || waitTime <= attest.MaxWait || waitFor*time.Second >= attest.MaxWait {
		t.Errorf("a wait of %d s ends after %v or %v", waitFor, h.ResponseHeaderTimeout, waitTime)
	}
	if h.HTTP2 == nil || h.HTTP2.SendPingTimeout == 0 || h.HTTP2.PingTimeout == 0 {
		t.Error("a connection that leads nowhere is not noticed")
	}
}

func TestTransportRoots(t *testing.T) {
	hits := 0
	server := httptest.NewTLSServer(serveTenant(&hits))
	defer server.Close()
	err := ask(t, server.URL, "")
	if err == nil || troubleOf(err).Code != troubleCertificate {
		t.Errorf("a certificate of nobody: %v, trouble %+v", err, troubleOf(err))
	}
	if hits != 0 {
		t.Error("something was sent to it")
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := ask(t, server.URL, ca); err != nil {
		t.Errorf("with ca_file: %v", err)
	}
	if err := os.WriteFile(ca, []byte("no certificate"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Transport(ca); err == nil {
		t.Error("a ca_file without a certificate is taken")
	}
	if _, err := Transport(ca + ".none"); err == nil {
		t.Error("a missing ca_file is taken")
	}
}

// Names below localhost are dialled here, past any resolver and proxy.
func TestTransportLocalNames(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	hits := 0
	server := httptest.NewServer(serveTenant(&hits))
	defer server.Close()
	port := server.URL[strings.LastIndexByte(server.URL, ':'):]
	for _, host := range []string{"localhost", "muster.localhost", "a.b.localhost"} {
		if err := ask(t, "http://"+host+port, ""); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if hits != 3 {
		t.Errorf("%d requests arrived", hits)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	hits := 0
	other := httptest.NewServer(serveTenant(&hits))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	if err := ask(t, server.URL, ""); err == nil || hits != 0 {
		t.Errorf("%v, %d requests elsewhere", err, hits)
	}
}

func TestUnreachable(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	err := ask(t, server.URL, "")
	if got := troubleOf(err); got.Code != troubleUnreachable || got.Fix == "" {
		t.Errorf("%v: trouble %+v", err, got)
	}
}
