package gateway

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"muster/server/decide"
)

// Header values that every answer shares. They are never written to.
var (
	noStore     = []string{"no-store"}
	problemType = []string{"application/problem+json"}
	varies      = []string{"Cookie, Accept, Sec-Fetch-Mode, Sec-Fetch-Dest"}
)

// What a restriction refuses is refused in these words.
const (
	textRestricted = "Only reading is allowed here for now."
	fixRestricted  = "Do what the other reasons say, then try again."
)

// problem is a refusal as programs get it (RFC 9457).
type problem struct {
	Type    string   `json:"type"`
	Title   string   `json:"title"`
	Status  int      `json:"status"`
	Detail  string   `json:"detail,omitempty"`
	Code    string   `json:"code"`
	Outcome string   `json:"outcome"`
	Reasons []reason `json:"reasons"`
	// Location is where a person can do something about it.
	Location string `json:"location,omitempty"`
}

// reply writes an answer's headers and returns its status and body.
func (p *Places) reply(h http.Header, a *Answer, q *Question, c *Credential, as form) (int, []byte) {
	h["Cache-Control"] = noStore
	passes := a.passes(q, c)
	switch {
	case passes && as != second:
		a.setIdentity(h, p.token(a, c, q.App))
		return http.StatusOK, nil
	case passes:
		return p.retry(h, q)
	case a.decision.Outcome == decide.Restrict && c.Restricts:
		a = a.because(codeRestricted, textRestricted, fixRestricted)
	}
	return p.refuse(h, a, q, as)
}

// passes reports whether a request may go on. Restrict is enforced here: by what is
// known of the request, and only for gateways that said they want it.
func (a *Answer) passes(q *Question, c *Credential) bool {
	switch a.decision.Outcome {
	case decide.Allow:
		return true
	case decide.Restrict:
		return c.Restricts && reads(&q.Request)
	}
	return false
}

// reads reports whether a request can only read (RFC 9110 §9.2.1; TRACE is not
// wanted). An unknown method is none of them, and what another protocol carries no
// method tells.
func reads(r *decide.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return !r.Upgrade
	}
	return false
}

func (p *Places) token(a *Answer, c *Credential, app string) string {
	if p.Mint == nil || c.Audience == "" {
		return ""
	}
	return p.Mint(a, c, app)
}

// retry answers the second question about a request that was refused at the first
// and would pass now.
func (p *Places) retry(h http.Header, q *Question) (int, []byte) {
	if q.Navigation {
		h["Location"] = []string{p.scheme() + q.Host + q.Back}
		return http.StatusSeeOther, nil
	}
	h["Retry-After"] = []string{"1"}
	a := Refusal(codeTryAgain, "This was refused a moment ago and would pass now.", "Send the request again.")
	return problemOf(h, a, http.StatusServiceUnavailable, "")
}

// refuse writes a refusal: a browser that opens a page is sent to where its person
// can do something about it, everybody else gets a problem document.
func (p *Places) refuse(h http.Header, a *Answer, q *Question, as form) (int, []byte) {
	status := http.StatusForbidden
	switch {
	case a.is(codeUnknown):
		status = http.StatusUnauthorized
		h["Www-Authenticate"] = []string{`Bearer realm="muster gateways"`}
	case a.decision.Outcome == decide.StepUp:
		status = http.StatusUnauthorized
		h["Www-Authenticate"] = []string{a.challenge()}
	}
	h["Vary"] = varies
	if as == bare {
		return status, nil
	}
	location := p.location(a, q)
	if q.Navigation && location != "" {
		h["Location"] = []string{location}
		return http.StatusSeeOther, nil
	}
	return problemOf(h, a, status, location)
}

func (a *Answer) is(code string) bool {
	return len(a.decision.Reasons) == 1 && a.decision.Reasons[0].Code == code && a.who.Session == ""
}

// location is where a person can do something about a refusal: sign in by way of
// the application's host, so that it gets its cookie, or read the reasons at
// muster's own. Empty where the request was not read.
func (p *Places) location(a *Answer, q *Question) string {
	switch {
	case q.Host == "" || p.PublicURL == "":
		return ""
	case a.decision.Outcome == decide.StepUp && a.who.Session == "":
		return p.scheme() + q.Host + reserved + "start?back=" + url.QueryEscape(q.Back)
	}
	return p.PublicURL + "/access?host=" + url.QueryEscape(q.Host) + "&back=" + url.QueryEscape(q.Back)
}

// scheme is muster's own, with what stands behind it: applications are reached by
// the same one.
func (p *Places) scheme() string {
	if strings.HasPrefix(p.PublicURL, "http://") {
		return "http://"
	}
	return "https://"
}

// problemOf writes a problem document.
func problemOf(h http.Header, a *Answer, status int, location string) (int, []byte) {
	main := a.decisive()
	body, err := json.Marshal(problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: main.Text, Code: main.Code,
		Outcome: a.decision.Outcome.String(), Reasons: a.reasons(), Location: location,
	})
	if err != nil {
		body = []byte(`{"type":"about:blank","code":"` + codeInternal + `","outcome":"deny","reasons":[]}`)
	}
	h["Content-Type"] = problemType
	return status, append(body, '\n')
}
