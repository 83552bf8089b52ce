package notice

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"strings"
	"time"

	"muster/server/store"
)

// SMTP is the mail server that takes our mail.
type SMTP struct {
	Address string // host:port
	From    string // the sender: muster@example.org, or with a name before it
	// User and Password, when there are any, are sent under TLS only. The password
	// is read from a file by who makes this.
	User     string
	Password Secret
	// TLS is starttls (default: STARTTLS is demanded), tls (from the first byte),
	// or none, which only a server on this machine may have.
	TLS string
	// Roots vouch for the server; nil: the system's.
	Roots *x509.CertPool
}

// answerBytes bounds what is read from a mail server in one delivery.
const answerBytes = 256 << 10

type mailer struct {
	*SMTP // nil: off
	host  string
	from  *mail.Address
}

func newMailer(c *SMTP) (*mailer, error) {
	m := &mailer{SMTP: c}
	if c == nil {
		return m, nil
	}
	var err error
	if m.host, _, err = net.SplitHostPort(c.Address); err != nil || m.host == "" {
		return nil, fmt.Errorf("address %q is not host:port", c.Address)
	}
	if m.from, err = mail.ParseAddress(c.From); err != nil || !plain(m.from.Address) {
		return nil, fmt.Errorf("sender %q is not a mail address", c.From)
	}
	switch c.TLS {
	case "", "starttls", "tls":
	case "none":
		if !loopback(m.host) {
			return nil, errors.New("mail leaves this machine under TLS only: use starttls or tls")
		}
	default:
		return nil, fmt.Errorf("TLS mode %q is not starttls, tls or none", c.TLS)
	}
	if c.User != "" && c.Password == "" || c.User == "" && c.Password != "" {
		return nil, errors.New("user and password come together")
	}
	return m, nil
}

// loopback reports whether a host is this machine by its name alone: a name that
// must be looked up is not.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// plain reports whether an address is one of printable ASCII, short, and without
// what could end a header or a command.
func plain(address string) bool {
	for _, c := range []byte(address) {
		if c <= ' ' || c > '~' || strings.IndexByte(`<>"(),;:\`, c) >= 0 {
			return false
		}
	}
	return strings.Count(address, "@") == 1 && len(address) <= 254
}

// send delivers one mail in one conversation with the server.
func (m *mailer) send(ctx context.Context, n *store.Notice) error {
	if m.SMTP == nil {
		return errOff
	}
	message, err := m.message(n)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", m.Address)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer conn.Close()
	// The protocol code waits without a context: closing ends it.
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c, err := m.greet(&bounded{conn, answerBytes})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Mail(m.from.Address); err != nil {
		return fmt.Errorf("naming the sender: %w", err)
	}
	if err := c.Rcpt(n.To); err != nil {
		return fmt.Errorf("naming the receiver: %w", err)
	}
	w, err := c.Data()
	if err != nil {
		return fmt.Errorf("beginning the text: %w", err)
	}
	if _, err := w.Write(message); err != nil {
		return fmt.Errorf("sending the text: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("ending the text: %w", err)
	}
	_ = c.Quit() // it took the mail already
	return nil
}

// greet begins a conversation: under TLS before anything is said, and signed in
// when there is a user.
func (m *mailer) greet(conn net.Conn) (*smtp.Client, error) {
	config := &tls.Config{ServerName: m.host, RootCAs: m.Roots, MinVersion: tls.VersionTLS12}
	if m.TLS == "tls" {
		conn = tls.Client(conn, config)
	}
	c, err := smtp.NewClient(conn, m.host)
	if err != nil {
		return nil, fmt.Errorf("greeting: %w", err)
	}
	// We go by the sender's domain: some servers turn "localhost" away.
	_, domain, _ := strings.Cut(m.from.Address, "@")
	if err := c.Hello(domain); err != nil {
		return nil, fmt.Errorf("greeting: %w", err)
	}
	if m.TLS == "" || m.TLS == "starttls" {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return nil, errors.New("the mail server offers no STARTTLS")
		}
		if err := c.StartTLS(config); err != nil {
			return nil, fmt.Errorf("starting TLS: %w", err)
		}
	}
	if m.User == "" {
		return c, nil
	}
	if ok, _ := c.Extension("AUTH"); !ok {
		return nil, errors.New("the mail server takes no sign-in")
	}
	if err := c.Auth(smtp.PlainAuth("", m.User, string(m.Password), m.host)); err != nil {
		return nil, errors.New("the mail server refused user or password") // its words may repeat them
	}
	return c, nil
}

// message is a mail as RFC 5322 has it. Nothing in it comes to a header unencoded
// but addresses that were checked.
func (m *mailer) message(n *store.Notice) ([]byte, error) {
	if !plain(n.To) {
		return nil, errors.New("the receiver's address is none")
	}
	var c content
	if err := json.Unmarshal(n.Body, &c); err != nil {
		return nil, fmt.Errorf("reading the notice: %w", err)
	}
	if c.Subject == "" {
		c.Subject = n.Kind
	}
	_, domain, _ := strings.Cut(m.from.Address, "@")
	var b bytes.Buffer
	for _, h := range [][2]string{
		{"Date", n.CreatedAt.UTC().Format(time.RFC1123Z)},
		{"Message-ID", "<" + name(n) + "@" + domain + ">"},
		{"From", m.from.String()},
		{"To", "<" + n.To + ">"},
		{"Subject", mime.QEncoding.Encode("utf-8", printable(c.Subject))},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
		// So that no holiday reply comes back (RFC 3834 §5).
		{"Auto-Submitted", "auto-generated"},
	} {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	if _, err := io.WriteString(w, strings.ReplaceAll(text(&c), "\n", "\r\n")); err != nil {
		return nil, err
	}
	return b.Bytes(), w.Close()
}

// text is the body: what happened, and what to do.
func text(c *content) string {
	t := strings.TrimSpace(strings.ReplaceAll(c.Text, "\r", "")) + "\n"
	if c.Fix != "" {
		t += "\n" + strings.TrimSpace(strings.ReplaceAll(c.Fix, "\r", "")) + "\n"
	}
	return t
}

// name is the same at each attempt, and no other notice's, even after a restored
// backup gave its number again.
func name(n *store.Notice) string { return fmt.Sprintf("n%d-%d", n.ID, n.CreatedAt.UnixMilli()) }

// bounded is a connection from which only so much is read: the protocol code
// reads lines of any length.
type bounded struct {
	net.Conn
	left int
}

var errTooMuch = errors.New("the mail server says too much")

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
