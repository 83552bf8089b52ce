package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// maxRoots bounds a file of roots, in bytes.
const maxRoots = 1 << 20

// Transport returns the way to the server: HTTPS with the system's roots and
// those of caFile, a PEM file (empty: none), proxies as the environment says,
// names below localhost at 127.0.0.1 whatever a resolver says (RFC 6761 §6.3).
func Transport(caFile string) (http.RoundTripper, error) {
	roots, err := rootsWith(caFile)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) {
			if localName(r.URL.Hostname()) {
				return nil, nil
			}
			return http.ProxyFromEnvironment(r)
		},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, dialAddress(address))
		},
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: waitTime, // the longest that a server may be silent; other exchanges end before
		// What waits for the server's word keeps a connection busy; another, if one was
		// needed beside it, is not kept for long.
		IdleConnTimeout: 20 * time.Second,
		MaxIdleConns:    1,
		// With HTTP/2 reports go over the connection that waits: whether it still leads
		// anywhere after a change of network is asked, not guessed.
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 10 * time.Second},
		MaxResponseHeaderBytes: 16 << 10,
		ForceAttemptHTTP2:      true,
	}, nil
}

func rootsWith(caFile string) (*x509.CertPool, error) {
	if caFile == "" {
		return nil, nil
	}
	info, err := os.Stat(caFile)
	if err != nil {
		return nil, fmt.Errorf("reading ca_file: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxRoots {
		return nil, fmt.Errorf("reading ca_file: %s is no file of at most %d bytes", caFile, maxRoots)
	}
	data, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("reading ca_file: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(data) {
		return nil, Hint(errors.New("ca_file "+caFile+" holds no certificate"), "want PEM blocks of type CERTIFICATE")
	}
	return roots, nil
}
