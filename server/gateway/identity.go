package gateway

import (
	"net/http"
	"strings"

	"muster/server/decide"
)

// The identity headers, in canonical form: a header's case does not matter.
const (
	headerUser     = "X-Muster-User"
	headerMail     = "X-Muster-Mail"
	headerGroups   = "X-Muster-Groups"
	headerSession  = "X-Muster-Session"
	headerDevice   = "X-Muster-Device"
	headerLevel    = "X-Muster-Level"
	headerACR      = "X-Muster-Acr"
	headerAMR      = "X-Muster-Amr"
	headerOutcome  = "X-Muster-Outcome"
	headerRestrict = "X-Muster-Restrict"
	headerToken    = "X-Muster-Token"
)

// IdentityHeaders are all headers that a gateway hands to the application, which
// it must overwrite, empty ones too. The last is the token.
func IdentityHeaders() []string {
	return []string{
		headerUser, headerMail, headerGroups, headerSession, headerDevice, headerLevel,
		headerACR, headerAMR, headerOutcome, headerRestrict, headerToken,
	}
}

// readOnly is the one restriction there is: GET, HEAD and OPTIONS.
const readOnly = "read-only"

// nothing is an empty header value. It is shared and never written to.
var nothing = []string{""}

// identityValues are an answer's headers without the token, in the order of
// IdentityHeaders.
type identityValues [10]string

// slice is one value as a header has it. It is full: who appends to it gets a copy.
func (v *identityValues) slice(i int) []string { return v[i : i+1 : i+1] }

func (a *Answer) render() {
	who, d := &a.who, &a.decision
	restrict := ""
	if d.Outcome == decide.Restrict {
		restrict = readOnly
	}
	a.headers = &identityValues{
		headerSafe(who.User), headerSafe(who.Mail), headerList(who.Groups), headerSafe(who.Session),
		headerSafe(who.Device), headerSafe(who.Level), headerSafe(who.ACR), headerList(who.AMR),
		d.Outcome.String(), restrict,
	}
}

// setIdentity sets every identity header. The values are shared between requests.
func (a *Answer) setIdentity(h http.Header, token string) {
	a.rendered.Do(a.render)
	v := a.headers
	h[headerUser], h[headerMail], h[headerGroups] = v.slice(0), v.slice(1), v.slice(2)
	h[headerSession], h[headerDevice], h[headerLevel] = v.slice(3), v.slice(4), v.slice(5)
	h[headerACR], h[headerAMR] = v.slice(6), v.slice(7)
	h[headerOutcome], h[headerRestrict] = v.slice(8), v.slice(9)
	if token = tokenForm(token); token == "" {
		h[headerToken] = nothing
		return
	}
	h[headerToken] = []string{token}
}

// tokenForm keeps what a compact JWS looks like, and nothing else.
func tokenForm(t string) string {
	for i := range len(t) {
		c := t[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return ""
		}
	}
	return t
}

// headerSafe writes text so that it is one header value whatever it holds: what is
// not printable ASCII, the percent sign, and spaces at the ends become %XX of their
// UTF-8 bytes. Decoding percent once gives the text back.
func headerSafe(s string) string { return escapeHeader(s, false) }

// headerList joins with commas; a comma inside of an element is %2C.
func headerList(list []string) string {
	var b strings.Builder
	for _, s := range list {
		if s == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(escapeHeader(s, true))
	}
	return b.String()
}

func escapeHeader(s string, element bool) string {
	escaped := func(i int) bool {
		c := s[i]
		return c < ' ' || c > '~' || c == '%' || element && c == ',' || c == ' ' && (i == 0 || i == len(s)-1)
	}
	first := 0
	for first < len(s) && !escaped(first) {
		first++
	}
	if first == len(s) {
		return s
	}
	const digits = "0123456789ABCDEF"
	b := []byte(s[:first])
	for i := first; i < len(s); i++ {
		if escaped(i) {
			b = append(b, '%', digits[s[i]>>4], digits[s[i]&15])
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}
