package server

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"muster/server/gateway"
	"muster/server/reference"
	"muster/server/verify"
)

// Config is all that an operator sets. The zero value of a member means its
// default.
type Config struct {
	// DataDir holds the database, the revocation journal and the control socket;
	// it is made with mode 0700.
	DataDir string
	// Listen is the address of the public listener. Default 127.0.0.1:8443.
	Listen string
	// PublicURL is what agents and browsers call this server: scheme, host and
	// port, nothing more. It is kept at the first start and refused when it
	// differs later. Default http://<Listen>.
	PublicURL string
	// TLSCert and TLSKey are PEM files; without them the listener speaks plain
	// HTTP and must be on loopback or behind TrustedProxies.
	TLSCert, TLSKey string
	// TrustedProxies are networks whose X-Forwarded-For is believed, for rate
	// limits and logs only.
	TrustedProxies []netip.Prefix
	// EKRoots and VTPMRoots are PEM files of CAs that vouch for hardware and for
	// virtual TPMs.
	EKRoots, VTPMRoots []string
	// ReferenceKeys are files of public keys (PEM or JWK), one each, whose packs of
	// references are accepted beside this server's own.
	ReferenceKeys []string
	// Policy is a YAML file; default: the policy in the binary.
	Policy string
	// ReportEvery is how many seconds devices wait between reports unless
	// something changes, 1 to 86400. Default 300.
	ReportEvery int

	// RequireToken refuses devices that bring no token and are not listed; otherwise
	// they queue for approval.
	RequireToken bool

	// RPID is the WebAuthn RP ID, which passkeys are bound to: the host of
	// PublicURL, or a parent domain of it. It is kept at the first start, as
	// PublicURL is. Default: the host of PublicURL when that is a name; with an
	// address there is none, and people cannot sign in.
	RPID string
	// LinkPort is where agents listen on their own loopback, for pages to ask
	// which laptop they are on; 0: nowhere.
	LinkPort int
	// SMTP sends notices by mail. Address is host:port, TLS one of starttls
	// (default), tls, and none, which is for a relay on this machine.
	SMTP struct{ Address, From, User, PasswordFile, TLS string }
	// Webhook gets notices as signed JSON (Standard Webhooks). Its URL is https, or
	// of this machine; it may hold a token, so it is in no message.
	Webhook struct{ URL, SecretFile string }
	// Administrators are mail addresses that hear of what concerns the whole.
	Administrators []string
	// RecoveryWait is how long a recovery by laptop waits after its approval, so
	// that the person can hear of it and cancel. Default 24 h.
	RecoveryWait time.Duration
	// ReadmitAlone: an owner's word, with a passkey, readmits their own laptop whose
	// keys changed; else an approver confirms.
	ReadmitAlone bool
	// MDSRoots are PEM files of further CAs that may sign FIDO metadata, for tests
	// and for mirrors that sign anew.
	MDSRoots []string

	// GatewayListen is where gateways come that show a client certificate; it needs
	// TLSCert. EnvoyListen is where Envoy's gRPC comes, plain: on loopback, or behind
	// something that encrypts. Both empty: nowhere.
	GatewayListen, EnvoyListen string
	// CountryFile and ASNFile are MaxMind databases, for rules about where a request
	// comes from; without them that is unknown.
	CountryFile, ASNFile string

	// Front may answer requests of the public listener before the server does, at
	// hosts that are not the server's own: sample applications stand there.
	Front func(next http.Handler) http.Handler

	// BootLevels are how far revocations of boot programs must have come, by the names
	// of levels in the pack of references; empty: its oldest.
	BootLevels verify.BootLevels

	// visit: the store is opened for one command, by which nothing changes of what
	// its server goes by: public URL and policy.
	visit bool
}

// Defaults and limits of Config. A second between reports is for trying and for
// tests: a hardware TPM needs longer to sign.
const (
	defaultListen       = "127.0.0.1:8443"
	defaultReportEvery  = 300
	minReportEvery      = 1
	maxReportEvery      = 86400
	defaultRecoveryWait = 24 * time.Hour
	minRecoveryWait     = time.Second
	maxRecoveryWait     = 30 * 24 * time.Hour
)

// ErrConfig means that a setting is wrong: nothing was started.
var ErrConfig = errors.New("settings")

// complete fills defaults and checks what can be checked without starting.
func (c *Config) complete() error {
	if err := c.fill(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

func (c *Config) fill() error {
	if c.Listen == "" {
		c.Listen = defaultListen
	}
	if c.ReportEvery == 0 {
		c.ReportEvery = defaultReportEvery
	}
	if c.ReportEvery < minReportEvery || c.ReportEvery > maxReportEvery {
		return fmt.Errorf("report interval of %d s: must be %d to %d", c.ReportEvery, minReportEvery, maxReportEvery)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return fmt.Errorf("TLS needs both a certificate and a key file")
	}
	if c.PublicURL == "" {
		scheme := "http"
		if c.TLSCert != "" {
			scheme = "https"
		}
		c.PublicURL = scheme + "://" + c.Listen
	}
	c.PublicURL = strings.TrimSuffix(c.PublicURL, "/")
	u, err := url.Parse(c.PublicURL)
	if err != nil {
		return fmt.Errorf("public URL: %w", err)
	}
	if (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("public URL %q: must be scheme://host[:port] and nothing more", c.PublicURL)
	}
	if host, _, err := net.SplitHostPort(c.EnvoyListen); c.EnvoyListen != "" && (err != nil || !onLoopback(host)) {
		return fmt.Errorf("listening for Envoy on %s: its gRPC is not encrypted; give an address of this machine, as 127.0.0.1:9001", c.EnvoyListen)
	}
	if c.GatewayListen != "" && c.TLSCert == "" {
		return errors.New("listening for gateways' certificates needs a certificate of our own: give --tls-cert and --tls-key")
	}
	return errors.Join(c.checkPlain(), c.fillNames(u), c.fillPeople())
}

// checkPlain refuses a plain listener that others than this machine or a trusted
// proxy can reach.
func (c *Config) checkPlain() error {
	if c.TLSCert != "" || len(c.TrustedProxies) > 0 {
		return nil
	}
	host, _, ok := strings.Cut(c.Listen, ":")
	if i := strings.LastIndex(c.Listen, ":"); ok && i >= 0 {
		host = strings.Trim(c.Listen[:i], "[]")
	}
	if addr, err := netip.ParseAddr(host); host == "localhost" || (err == nil && addr.IsLoopback()) {
		return nil
	}
	return fmt.Errorf("listening on %s without TLS: give --tls-cert and --tls-key, or --trusted-proxy, or listen on 127.0.0.1", c.Listen)
}

// private reports whether a request came over TLS, from this machine, or from a
// trusted proxy: secrets go over no other wire.
func (c *Config) private(r *http.Request) bool {
	if r.TLS != nil || gateway.PeerOf(r.Context()).Gateway != "" {
		return true
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback() || trusts(c.TrustedProxies, host)
}

// path returns a file in the data folder.
func (c *Config) path(name string) string { return filepath.Join(c.DataDir, name) }

// loadEKRoots reads the files of CAs.
func (c *Config) loadEKRoots() (*reference.EKRoots, error) {
	roots := new(reference.EKRoots)
	for _, set := range []struct {
		files []string
		into  *reference.Authorities
	}{{c.EKRoots, &roots.Hardware}, {c.VTPMRoots, &roots.Virtual}} {
		for _, file := range set.files {
			b, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("reading CA file: %w", err)
			}
			a, err := reference.ParseAuthorities(file, b)
			if err != nil {
				return nil, fmt.Errorf("reading CA file: %w", err)
			}
			*set.into = set.into.Merge(a)
		}
	}
	return roots, nil
}
