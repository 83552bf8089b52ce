package passkey

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/x/revoke"

	"muster/server/reference"
)

// Config is what a Relying Party goes by.
type Config struct {
	RPID   string // muster.example
	Origin string // https://id.muster.example: exactly this one
	Name   string // what the person's dialog says
	// Metadata returns the pack in use, nil without one.
	Metadata func() *reference.MDS
	Now      func() time.Time
}

// Party is the Relying Party. It may be used from any goroutine.
type Party struct {
	config Config
	// lax accepts responses without user verification. Only tests set it: most
	// published vectors lack the flag.
	lax bool
}

// New checks the names; it fetches nothing, then or later. RPID is a host name in
// lower case; Origin is what browsers say of the pages, on that host or below it,
// by http for localhost and names below it only.
func New(c Config) (*Party, error) {
	switch {
	case c.Name == "":
		return nil, errors.New("passkeys need a name to show in the person's dialog")
	case c.Metadata == nil || c.Now == nil:
		return nil, errors.New("passkeys need metadata and a clock")
	}
	if err := checkRPID(c.RPID); err != nil {
		return nil, fmt.Errorf("rp id %q: %w", c.RPID, err)
	}
	if err := checkOrigin(c.Origin, c.RPID); err != nil {
		return nil, fmt.Errorf("origin %q: %w", c.Origin, err)
	}
	silence()
	return &Party{config: c}, nil
}

// silence takes the library's way to the network away: it would ask servers that
// certificates name. Nothing here calls that code; this keeps it so. The variable
// is the library's, and is set once so that goroutines may read it.
var silence = sync.OnceFunc(func() { revoke.HTTPClient = &http.Client{Transport: refuseNetwork{}} })

type refuseNetwork struct{}

// RoundTrip refuses.
func (refuseNetwork) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("passkeys are checked without the network")
}

func checkRPID(id string) error {
	if id != strings.ToLower(id) {
		return errors.New("not in lower case")
	}
	if err := protocol.ValidateRPID(id); err != nil {
		return fmt.Errorf("not a host name to register: %w", err)
	}
	return nil
}

// checkOrigin wants the form in which browsers write an origin (HTML §7.1.1),
// since responses must carry exactly these bytes.
func checkOrigin(origin, rpID string) error {
	u, err := url.Parse(origin)
	if err != nil {
		return fmt.Errorf("not a URL: %w", err)
	}
	host, port := u.Hostname(), u.Port()
	if _, err := netip.ParseAddr(host); err == nil {
		return errors.New("an address has no passkeys: use a name")
	}
	plain := u.Scheme + "://" + host
	if port != "" {
		plain += ":" + port
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("neither https nor http")
	case plain != origin || host != strings.ToLower(host):
		return errors.New("more or other than scheme, host in lower case and port")
	case host != rpID && !strings.HasSuffix(host, "."+rpID):
		return fmt.Errorf("its host is not %s nor below it", rpID)
	case u.Scheme == "http" && host != "localhost" && !strings.HasSuffix(host, ".localhost"):
		return errors.New("http is for localhost only: use https")
	case port == "":
		return nil
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 || strconv.FormatUint(number, 10) != port {
		return errors.New("not a port")
	}
	if number == 443 && u.Scheme == "https" || number == 80 && u.Scheme == "http" {
		return errors.New("browsers leave the usual port out: leave it out, too")
	}
	return nil
}

// User is who a credential is made for.
type User struct {
	Handle  []byte // 32 random bytes, of this person for ever; tells nothing
	Name    string // what tells accounts apart: alice
	Display string // Alice Liddell
}

// Life is how long a challenge may be answered.
const Life = 5 * time.Minute

// Ceremony is what must be remembered between options and response, by the
// browser that began it and hidden from it. Its JSON form is opaque.
type Ceremony struct {
	Challenge []byte    `json:"challenge"` // 32 bytes, used once
	Expires   time.Time `json:"expires"`
	Session   []byte    `json:"session"` // what was asked for, JSON
}

// ErrRefused means that a response is not what was asked for. The text behind it
// is for logs.
var ErrRefused = errors.New("passkey refused")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...))
}

// guard turns a panic, ours or the library's, into a refusal: a panic denies. Its
// value is left out, since it may quote what was being read.
func guard(err *error) {
	if recover() != nil {
		*err = refuse("checking it panicked")
	}
}

// Judge says what the metadata of now makes of a credential, from the bytes of
// its registration.
func (p *Party) Judge(c *Credential) (j Judgement) {
	return p.judge(c)
}
