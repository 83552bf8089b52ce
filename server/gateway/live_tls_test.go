//go:build linux

package gateway_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/server/gateway"
)

// authority makes a certificate authority, as a file, and a certificate of it for a
// name.
func authority(t *testing.T, name string) (file string, server tls.Certificate) {
	t.Helper()
	issue := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if signer == nil {
			signer = key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return certificate, key
	}
	template := func(n int64, common string) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(n), Subject: pkix.Name{CommonName: common},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	}
	root := template(1, "test authority")
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	ca, caKey := issue(root, root, nil)
	leaf := template(2, "test server")
	leaf.DNSNames = []string{name}
	leaf.KeyUsage, leaf.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	certificate, key := issue(leaf, ca, caKey)
	file = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, tls.Certificate{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}
}

// secure puts TLS before muster, and returns its port.
func (l *live) secure(t *testing.T, certificate tls.Certificate) string {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: l.muster.addr})
		r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
		for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto"} {
			r.Out.Header[name] = r.In.Header[name]
		}
	}}}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String()[len("127.0.0.1"):]
}

// A muster behind TLS is believed by its certificate, and nobody else's is.
func TestLiveTLS(t *testing.T) {
	liveGateways(t, func(t *testing.T, l *live) {
		name := "localhost"
		if l.dialect == gateway.HAProxy {
			// Its httpclient asks a name server, which knows no localhost; and it takes an
			// address for a name.
			name = "127.0.0.1"
		}
		good, certificate := authority(t, name)
		other, _ := authority(t, name)
		elsewhere, wrongName := authority(t, "id.elsewhere.test")
		origin, stranger := "https://"+name+l.secure(t, certificate), "https://"+name+l.secure(t, wrongName)
		for _, c := range []struct {
			what, origin, ca string
			open             bool
		}{{"muster", origin, good, true}, {"another authority", origin, other, false}, {"another name", stranger, elsewhere, false}} {
			l.origin, l.ca = c.origin, c.ca
			addr := l.start(t, installed(t, l.dialect), plain)
			r := raw(t, addr, request("GET /", hostAt(addr), "Cookie: "+cookie("allow")))
			got := l.app.take()
			if c.open && (r.status != http.StatusOK || len(got) != 1) {
				t.Errorf("%s: %d %s", c.what, r.status, r.body)
			}
			if !c.open && (r.status != http.StatusServiceUnavailable || len(got) != 0) {
				t.Errorf("%s: %d %s, %d requests", c.what, r.status, r.body, len(got))
			}
			r = raw(t, addr, request("GET /.muster/start", hostAt(addr)))
			if page := strings.Contains(r.body, "muster's page"); page != c.open {
				t.Errorf("%s: %d %s", c.what, r.status, r.body)
			}
		}
	})
}

// Browsers come by TLS and HTTP/2, as the snippets have it where nobody says
// otherwise.
func TestLiveHTTP2(t *testing.T) {
	liveGateways(t, func(t *testing.T, l *live) {
		const name = "wiki.example.test"
		ca, certificate := authority(t, name)
		crt, key := keyFiles(t, certificate)
		l.tls = true
		l.edit = func(snippet, addr string) string {
			edited := strings.NewReplacer(
				"listen 443 ssl", "listen "+addr+" ssl", "/etc/ssl/"+name+".crt", crt, "/etc/ssl/private/"+name+".key", key,
				"bind :443 ssl crt /etc/haproxy/"+name+".pem", "bind "+addr+" ssl crt "+crt,
				"\troute {", "\tbind 127.0.0.1\n\ttls "+crt+" "+key+"\n\troute {").Replace(snippet)
			if edited == snippet {
				t.Error("nothing was edited")
			}
			return edited
		}
		addr := l.start(t, installed(t, l.dialect), plain)
		client := clientOf(t, ca, addr)
		for decision, status := range map[string]int{"allow": http.StatusOK, "deny": http.StatusForbidden, "step_up": http.StatusUnauthorized, "nobody": http.StatusUnauthorized} {
			r, err := http.NewRequest(http.MethodGet, "https://"+hostAt(addr)+"/a/..%2fb?c", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header = http.Header{"Cookie": {"a=1", cookie(decision)}, "X-Muster-User": {"mallory", "mallory"}, "x_muster_user": {"mallory"}, "x-forwarded-for": {"192.0.2.1"}}
			response, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			got, questions := l.app.take(), l.muster.takeAsked()
			if response.StatusCode != status || response.ProtoMajor != 2 || len(got) != btoi(decision == "allow") {
				t.Errorf("%s: %s %s, %d requests", decision, response.Proto, response.Status, len(got))
			}
			l.sound(t, "HTTP/2, "+decision, got, questions)
		}
	})
}

// keyFiles writes a certificate, with its key behind it as HAProxy wants it, and the
// key alone.
func keyFiles(t *testing.T, c tls.Certificate) (crt, key string) {
	t.Helper()
	private, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	secret := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), secret...)
	dir := t.TempDir()
	crt, key = filepath.Join(dir, "crt.pem"), filepath.Join(dir, "key.pem")
	for path, content := range map[string][]byte{crt: both, key: secret} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return crt, key
}

// clientOf speaks HTTP/2 to whatever name it is given at one address, and follows
// nothing.
func clientOf(t *testing.T, ca, addr string) *http.Client {
	t.Helper()
	text, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	transport := &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}
