package server

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"muster/server/notice"
)

// fillNames settles the RP ID. Browsers make passkeys for names only, so a public
// URL with an address has none: everything but sign-in works.
func (c *Config) fillNames(u *url.URL) error {
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err == nil {
		if c.RPID != "" {
			return fmt.Errorf("RP ID %q: the public URL %s has an address and no name, which passkeys need", c.RPID, c.PublicURL)
		}
		return nil
	}
	if c.RPID == "" {
		c.RPID = host
	}
	// A name of one label is nobody's own, unless it is the whole host.
	within := host == c.RPID || strings.HasSuffix(host, "."+c.RPID) && strings.Contains(c.RPID, ".")
	if !within || c.RPID != strings.ToLower(c.RPID) {
		return fmt.Errorf("RP ID %q: must be the host %s of the public URL, in lower case, or a parent domain of it", c.RPID, host)
	}
	return nil
}

// fillPeople checks what concerns people and their notices.
func (c *Config) fillPeople() error {
	if c.RecoveryWait == 0 {
		c.RecoveryWait = defaultRecoveryWait
	}
	if c.RecoveryWait < minRecoveryWait || c.RecoveryWait > maxRecoveryWait {
		return fmt.Errorf("recovery wait of %v: must be %v to %v", c.RecoveryWait, minRecoveryWait, maxRecoveryWait)
	}
	// Below 1024 only root may listen, which agents of people are not.
	if c.LinkPort != 0 && (c.LinkPort < 1024 || c.LinkPort > 65535) {
		return fmt.Errorf("link port %d: must be 1024 to 65535, or 0 for none", c.LinkPort)
	}
	for _, address := range c.Administrators {
		if a, err := mail.ParseAddress(address); err != nil || a.Address != address {
			return fmt.Errorf("administrator %q: must be a mail address and nothing more", address)
		}
	}
	switch m, w := &c.SMTP, &c.Webhook; {
	case m.Address == "" && (m.From != "" || m.User != "" || m.PasswordFile != "" || m.TLS != ""):
		return errors.New("mail needs the address of its server: give --smtp-address")
	case (m.User == "") != (m.PasswordFile == ""):
		return errors.New("mail needs both a user and a password file, or neither")
	case (w.URL == "") != (w.SecretFile == ""):
		return errors.New("a webhook needs both a URL and a secret file, whose content signs what it gets")
	}
	return nil
}

// sender makes what delivers notices; it lacks its store yet. A setting that it
// refuses starts nothing.
func (c *Config) sender(log *slog.Logger, now func() time.Time) (*notice.Sender, error) {
	n := notice.Config{Now: now, Log: log}
	var err error
	if m := &c.SMTP; m.Address != "" {
		n.SMTP = &notice.SMTP{Address: m.Address, From: m.From, User: m.User, TLS: m.TLS}
		if m.PasswordFile != "" {
			n.SMTP.Password, err = readSecret(m.PasswordFile)
		}
	}
	if w := &c.Webhook; w.URL != "" && err == nil {
		n.Webhook = &notice.Webhook{URL: notice.Secret(w.URL)}
		n.Webhook.Secret, err = readSecret(w.SecretFile)
	}
	if err != nil {
		return nil, err
	}
	sender, err := notice.New(n)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return sender, nil
}

// readSecret reads a file with one secret, whose last line end is not part of it.
func readSecret(file string) (notice.Secret, error) {
	b, err := readBounded(file, maxSecretFile)
	if err != nil {
		return "", fmt.Errorf("reading a secret: %w", err)
	}
	return notice.Secret(strings.TrimRight(string(b), "\r\n")), nil
}

const maxSecretFile = 4 << 10

// readBounded reads a file that may have so many bytes.
func readBounded(file string, most int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s: more than %d bytes", file, most)
	}
	return b, err
}

// onLoopback reports whether a host is this machine.
func onLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && addr.IsLoopback()
}

// notices tells where notices go, in words.
func (c *Config) notices() string {
	switch mail, hook := c.SMTP.Address != "", c.Webhook.URL != ""; {
	case mail && hook:
		return "mail and webhook"
	case mail:
		return "mail"
	case hook:
		return "webhook"
	}
	return ""
}

// warnings are settings that work and that an operator should know of.
func (c *Config) warnings() (list []string) {
	u, err := url.Parse(c.PublicURL)
	if err != nil {
		return []string{"the public URL cannot be read"} // fill has refused it
	}
	if c.RPID == "" {
		list = append(list, "the public URL has an address and no name, so nobody can sign in; devices work")
	} else if u.Scheme != "https" && !onLoopback(u.Hostname()) {
		list = append(list, "the public URL is not https, so browsers make no passkeys for it and nobody can sign in")
	}
	if c.RecoveryWait < time.Hour {
		list = append(list, "recovery waits less than an hour, so a person may hear of it too late")
	}
	return list
}
