package server

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// smtp makes a Config with mail settings.
func smtp(address, from, user, password, tls string) (c Config) {
	c.SMTP.Address, c.SMTP.From, c.SMTP.User, c.SMTP.PasswordFile, c.SMTP.TLS = address, from, user, password, tls
	return c
}

func webhook(url, secret string) (c Config) {
	c.Webhook.URL, c.Webhook.SecretFile = url, secret
	return c
}

func TestRPID(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ url, given, want, says string }{
		{"https://id.corp.example", "", "id.corp.example", ""},
		{"https://id.corp.example:8443", "corp.example", "corp.example", ""},
		{"http://id.muster.localhost:8443", "muster.localhost", "muster.localhost", ""},
		{"https://muster", "", "muster", ""},
		{"https://192.0.2.1", "", "", ""},
		{"https://[2001:db8::1]:8443", "", "", ""},
		{"https://192.0.2.1", "corp.example", "", "has an address"},
		{"https://id.corp.example", "other.example", "", "parent domain"},
		{"https://id.corp.example", "d.corp.example", "", "parent domain"},
		{"https://id.corp.example", "example", "", "parent domain"},
		{"https://id.corp.example", "Corp.example", "", "lower case"},
		{"https://ID.corp.example", "", "", "lower case"},
	} {
		c := Config{PublicURL: test.url, RPID: test.given}
		err := c.complete()
		if test.says != "" {
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s with %q: %v", test.url, test.given, err)
			}
		} else if err != nil || c.RPID != test.want {
			t.Errorf("%s with %q: %q %v", test.url, test.given, c.RPID, err)
		}
	}
}

func TestPeopleConfigRefuses(t *testing.T) {
	t.Parallel()
	secret, short := writeFile(t, "secret", "0123456789abcdef\n"), writeFile(t, "short", "x\n")
	large := writeFile(t, "large", strings.Repeat("x", maxSecretFile+1))
	for name, test := range map[string]struct {
		config Config
		says   string
	}{
		"a privileged port":       {Config{LinkPort: 80}, "link port"},
		"no port":                 {Config{LinkPort: 65536}, "link port"},
		"no mail address":         {Config{Administrators: []string{"Alice <a@b.example>"}}, "administrator"},
		"too short a wait":        {Config{RecoveryWait: time.Millisecond}, "recovery wait"},
		"too long a wait":         {Config{RecoveryWait: 1000 * time.Hour}, "recovery wait"},
		"mail without a server":   {smtp("", "a@b.example", "", "", ""), "--smtp-address"},
		"a user without password": {smtp("mail.example:25", "a@b.example", "alice", "", ""), "password file"},
		"mail in the clear":       {smtp("mail.example:25", "a@b.example", "", "", "none"), "TLS"},
		"mail from nobody":        {smtp("mail.example:25", "nobody", "", "", ""), "sender"},
		"a missing password":      {smtp("mail.example:25", "a@b.example", "alice", "/nowhere/password", ""), "reading a secret"},
		"a large password":        {smtp("mail.example:25", "a@b.example", "alice", large, ""), "more than"},
		"a webhook alone":         {webhook("https://hook.example/", ""), "secret file"},
		"a secret alone":          {webhook("", secret), "URL"},
		"a webhook in the clear":  {webhook("http://hook.example/", secret), "https"},
		"a short secret":          {webhook("https://hook.example/", short), "at least"},
		"roots that are not":      {Config{MDSRoots: []string{secret}}, "no certificate"},
		"roots that are missing":  {Config{MDSRoots: []string{"/nowhere/roots"}}, "reading CA file"},
	} {
		test.config.DataDir = t.TempDir() + "/data"
		s, err := New(context.Background(), test.config, slog.New(slog.DiscardHandler), time.Now)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(test.config.DataDir); err == nil {
			t.Errorf("%s: a data folder was made", name)
		}
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		config Config
		says   string // empty: nothing
	}{
		{Config{PublicURL: "https://192.0.2.1"}, "nobody can sign in"},
		{Config{PublicURL: "http://id.corp.example", Listen: "127.0.0.1:1"}, "not https"},
		{Config{PublicURL: "https://id.corp.example", RecoveryWait: time.Minute}, "less than an hour"},
		{Config{PublicURL: "https://id.corp.example"}, ""},
		{Config{PublicURL: "http://id.muster.localhost:80"}, ""},
	} {
		if err := test.config.complete(); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(test.config.warnings(), "; "); test.says == "" && got != "" || !strings.Contains(got, test.says) {
			t.Errorf("%s: %q", test.config.PublicURL, got)
		}
	}
}

// The RP ID is fixed at the first start, as the public URL is; a command goes by
// what is kept.
func TestRPIDIsFixed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func(c Config) error {
		c.DataDir = dir
		s, err := New(context.Background(), c, slog.New(slog.DiscardHandler), time.Now)
		if err != nil {
			return err
		}
		if c.visit && (s.config.PublicURL != "https://id.corp.example" || s.config.RPID != "corp.example") {
			t.Errorf("a command goes by %s and %s", s.config.PublicURL, s.config.RPID)
		}
		return s.Close()
	}
	first := Config{PublicURL: "https://id.corp.example", RPID: "corp.example"}
	if err := open(first); err != nil {
		t.Fatal(err)
	}
	if err := open(Config{PublicURL: "https://id.corp.example"}); err == nil || !strings.Contains(err.Error(), "corp.example") {
		t.Errorf("another RP ID: %v", err)
	}
	if err := open(first); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if err := open(Config{visit: true}); err != nil {
		t.Errorf("a command: %v", err)
	}
}

// With an address in the public URL all but sign-in works, and people are told.
func TestNoName(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, Config{PublicURL: "http://127.0.0.1:8443"})
	r := httptest.NewRequest("POST", "http://127.0.0.1:8443/sign-in/begin", strings.NewReader("{}"))
	r.RemoteAddr = "127.0.0.1:1"
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	w := httptest.NewRecorder()
	if s.Handler().ServeHTTP(w, r); w.Code != http.StatusServiceUnavailable || codeOf(w) != "no-name" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if needed, err := s.NeedsAdministrator(t.Context()); needed || err != nil {
		t.Errorf("an administrator is asked for who could not sign in: %v", err)
	}
}
