package notice

import (
	"context"
	"encoding/json"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"time"

	"muster/server/store"
)

func mailOf(to, subject, text string) *store.Notice {
	body, _ := json.Marshal(content{Subject: subject, Text: text, Fix: "Do this."})
	return &store.Notice{ID: 7, Channel: byMail, To: to, Kind: "passkey-added", Body: body,
		CreatedAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
}

func sendMail(t *testing.T, c *SMTP, n *store.Notice) error {
	t.Helper()
	m, err := newMailer(c)
	if err != nil {
		t.Fatal(err)
	}
	return m.send(context.Background(), n)
}

func TestMail(t *testing.T) {
	for name, change := range map[string]func(*post){
		"starttls":          func(*post) {},
		"tls":               func(p *post) { p.implicit = true },
		"starttls and user": func(p *post) { p.user, p.password = "muster", "p" },
	} {
		p := newPost(t, change)
		if err := sendMail(t, p.settings(), mailOf("alice@muster.example", "Ein Schlüssel", "Grüße\n.\nline = two\nTo: evil@x.example")); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := p.got()
		if len(got) != 1 || got[0].to != "alice@muster.example" || !strings.HasPrefix(got[0].from, "FROM:<muster@muster.example>") {
			t.Fatalf("%s: delivered %+v", name, got)
		}
		if first, _, _ := strings.Cut(p.commands(), "MAIL"); name == "starttls" && !strings.Contains(first, "STARTTLS") {
			t.Errorf("before TLS: %q", first)
		}
		m, err := mail.ReadMessage(strings.NewReader(got[0].text))
		if err != nil {
			t.Fatalf("%s: %v in %q", name, err, got[0].text)
		}
		subject, _ := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
		for header, want := range map[string]string{"Date": "Sun, 01 Mar 2026 12:00:00 +0000", "Message-ID": "<n7-1772366400000@muster.example>",
			"From": `"muster" <muster@muster.example>`, "To": "<alice@muster.example>", "Auto-Submitted": "auto-generated",
			"Content-Type": "text/plain; charset=utf-8", "MIME-Version": "1.0"} {
			if m.Header.Get(header) != want {
				t.Errorf("%s: %s is %q, want %q", name, header, m.Header.Get(header), want)
			}
		}
		body, _ := io.ReadAll(quotedprintable.NewReader(m.Body))
		if want := "Grüße\r\n.\r\nline = two\r\nTo: evil@x.example\r\n\r\nDo this.\r\n"; subject != "Ein Schlüssel" || string(body) != want {
			t.Errorf("%s: %q: %q, want %q", name, subject, body, want)
		}
	}
}

// Under no mode does mail leave for a server that could be another, and a password
// is never said without TLS.
func TestMailRefusesServers(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*post)
		set    func(*SMTP)
		want   string
	}{
		"no STARTTLS":       {func(p *post) { p.noStartTLS = true; p.user, p.password = "u", "p" }, nil, "offers no STARTTLS"},
		"unknown root":      {nil, func(s *SMTP) { s.Roots = nil }, "certificate"},
		"tls, unknown root": {func(p *post) { p.implicit = true }, func(s *SMTP) { s.Roots = nil }, "certificate"},
		"wrong password":    {func(p *post) { p.user, p.password = "u", "p" }, func(s *SMTP) { s.Password = "x" }, "refused user or password"},
		"no AUTH":           {func(p *post) { p.user, p.password, p.noAuth = "u", "p", true }, nil, "takes no sign-in"},
		"endless greeting":  {func(p *post) { p.endless = true }, nil, "says too much"},
		"nobody there":      {nil, func(s *SMTP) { s.Address = "127.0.0.1:1" }, "connecting"},
	} {
		p := newPost(t, func(p *post) {
			if test.change != nil {
				test.change(p)
			}
		})
		s := p.settings()
		if test.set != nil {
			test.set(s)
		}
		err := sendMail(t, s, mailOf("alice@muster.example", "s", "t"))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if len(p.got()) != 0 || name == "no STARTTLS" && strings.Contains(p.commands(), "AUTH") {
			t.Errorf("%s: it said %q", name, p.commands())
		}
	}
}

// A server that says nothing is left when the caller ends.
func TestMailEndsWithItsContext(t *testing.T) {
	p := newPost(t, func(p *post) { p.hang = true })
	m, err := newMailer(p.settings())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := m.send(ctx, mailOf("alice@muster.example", "s", "t")); err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func TestMailWithoutTLSOnThisMachineOnly(t *testing.T) {
	p := newPost(t, func(p *post) { p.noStartTLS = true })
	s := p.settings()
	s.TLS = "none"
	if err := sendMail(t, s, mailOf("alice@muster.example", "s", "t")); err != nil || len(p.got()) != 1 {
		t.Errorf("this machine: %v", err)
	}
	for _, address := range []string{"mail.muster.example:25", "192.0.2.1:25", "localhost.evil.example:25", "[2001:db8::1]:25"} {
		s.Address = address
		if _, err := newMailer(s); err == nil {
			t.Errorf("%s is taken without TLS", address)
		}
	}
}

func TestMailSettingsRefused(t *testing.T) {
	for name, change := range map[string]func(*SMTP){
		"no port":        func(s *SMTP) { s.Address = "mail.muster.example" },
		"no host":        func(s *SMTP) { s.Address = ":25" },
		"no sender":      func(s *SMTP) { s.From = "" },
		"two senders":    func(s *SMTP) { s.From = "a@x.example, b@x.example" },
		"line in sender": func(s *SMTP) { s.From = "a@x.example\r\nBcc: b@x.example" },
		"mode":           func(s *SMTP) { s.TLS = "optional" },
		"user alone":     func(s *SMTP) { s.User = "u" },
		"password alone": func(s *SMTP) { s.Password = "p" },
	} {
		s := &SMTP{Address: "mail.muster.example:587", From: "muster@muster.example"}
		if _, err := newMailer(s); err != nil {
			t.Fatal(err)
		}
		change(s)
		if _, err := newMailer(s); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// Nothing that a notice says becomes a header or a command.
func TestMailInjection(t *testing.T) {
	m, err := newMailer(&SMTP{Address: "mail.muster.example:587", From: "muster@muster.example"})
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"", "alice", "a@b@c", "a b@x.example", "a@x.example\r\nBcc: b@x.example", "a@x.example>\r\nRCPT TO:<b@x.example",
		"<a@x.example>", "a@x.example,b@x.example", "a@x.example;b", "ä@x.example", `"a"@x.example`, strings.Repeat("a", 250) + "@x.example"} {
		if _, err := m.message(mailOf(to, "s", "t")); err == nil {
			t.Errorf("receiver %q is taken", to)
		}
	}
	for _, s := range []string{"x\r\nBcc: evil@x.example", "x\nBcc: evil@x.example", "x\rBcc: evil@x.example", "x\u2028Bcc: evil@x.example",
		strings.Repeat("ü", 5000), "=?utf-8?q?=0D=0ABcc:_evil?="} {
		b, err := m.message(mailOf("alice@muster.example", s, "\r\n\r\n"+s))
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := mail.ReadMessage(strings.NewReader(string(b)))
		if err != nil || len(parsed.Header) != 9 || parsed.Header.Get("Bcc") != "" || parsed.Header.Get("To") != "<alice@muster.example>" {
			t.Errorf("%q: headers %v, %v", s, parsed.Header, err)
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
		if err != nil || strings.ContainsAny(subject, "\r\n\u2028") && !strings.HasPrefix(s, "=?") {
			t.Errorf("%q: subject %q, %v", s, subject, err)
		}
		for _, line := range strings.Split(strings.ReplaceAll(string(b), "\r\n", ""), "\r\n") {
			if strings.ContainsAny(line, "\r\n") {
				t.Errorf("%q: a bare line break in %q", s, line)
			}
		}
	}
	n := mailOf("alice@muster.example", "s", "t")
	n.Body = []byte("{")
	if _, err := m.message(n); err == nil {
		t.Error("a broken notice is sent")
	}
}

func FuzzMessage(f *testing.F) {
	f.Add("alice@muster.example", "subject", "text")
	f.Add("a@b\r\nBcc: x", "s\r\nBcc: x", "t\r\n.\r\n")
	m, err := newMailer(&SMTP{Address: "mail.muster.example:587", From: "muster@muster.example"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, to, subject, text string) {
		b, err := m.message(mailOf(to, subject, text))
		if err != nil {
			return
		}
		parsed, err := mail.ReadMessage(strings.NewReader(string(b)))
		if err != nil || len(parsed.Header) != 9 || parsed.Header.Get("To") != "<"+to+">" {
			t.Errorf("headers %v, %v of %q", parsed, err, b)
		}
	})
}
