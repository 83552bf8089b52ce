package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Bounds, in bytes.
const (
	maxSent    = 12 << 10 // of what is told of a request: muster reads 16 kB of headers
	maxRefusal = 64 << 10
)

// strangers is the realm in which muster challenges gateways that it does not know.
// That is this application's concern, not its visitors'.
const strangers = `realm="muster gateways"`

// told are the client's headers that muster reads, beside its cookies.
var told = [...]string{
	"Accept", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Sec-Fetch-Site", "Sec-Fetch-User", "X-Requested-With",
	"Sec-Websocket-Key", "X-Http-Method-Override", "X-Http-Method", "X-Method-Override",
}

type tooLargeError struct{ size int }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("a request of %d bytes is not told", e.size)
}

// answer is what muster says: who it is, or a refusal.
type answer struct {
	who     Identity
	refusal *refusal
}

// ask asks about one request. An error is not a yes.
func (g *Guard) ask(r *http.Request, target string) (*answer, error) {
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, g.check, nil)
	if err != nil {
		return nil, err
	}
	// The client's own Authorization is the application's and stays here.
	size := describe(q.Header, r, target)
	if size > maxSent {
		return nil, &tooLargeError{size}
	}
	q.Header.Set("Authorization", "Bearer "+g.secret)
	reply, err := g.client.Do(q)
	if err != nil {
		return nil, err // of net/url: it names the address, which has no secret
	}
	defer reply.Body.Close()
	return read(reply)
}

// describe tells of a request, and how much that is. Where it comes from is what the
// connection says: a header that says so is the client's own.
func describe(h http.Header, r *http.Request, target string) (size int) {
	add := func(name string, values ...string) {
		h[name] = values
		for _, v := range values {
			size += len(name) + len(v)
		}
	}
	add("User-Agent", "muster-guard")
	add("X-Forwarded-Method", r.Method)
	add("X-Forwarded-Uri", target)
	add("X-Forwarded-Host", r.Host)
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		host, _, _ = strings.Cut(host, "%") // the zone is of this machine
		add("X-Forwarded-For", host)
	}
	if upgrades(r) {
		add("X-Forwarded-Upgrade", "1")
	}
	for _, name := range told {
		if values := r.Header[name]; len(values) > 0 {
			add(name, values...)
		}
	}
	if ours, _ := sortCookies(r.Header["Cookie"]); ours != "" {
		add("Cookie", ours)
	}
	return size
}

// upgrades reports whether another protocol is asked for: by a header, or over
// HTTP/2 by a pseudo header (RFC 8441 §4).
func upgrades(r *http.Request) bool {
	return len(r.Header["Upgrade"]) > 0 || len(r.Header["Sec-Websocket-Key"]) > 0 || len(r.Header[":protocol"]) > 0
}

// reads reports whether a request can only read. muster has asked that, too.
func reads(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return !upgrades(r)
	}
	return false
}

// read understands muster's answer. Whatever it does not know is an error.
func read(reply *http.Response) (*answer, error) {
	switch reply.StatusCode {
	case http.StatusOK:
		who, err := identity(reply.Header)
		return &answer{who: who}, err
	case http.StatusSeeOther, http.StatusUnauthorized, http.StatusForbidden:
		refused, err := readRefusal(reply)
		return &answer{refusal: refused}, err
	}
	return nil, fmt.Errorf("muster answered with status %d", reply.StatusCode)
}

// identity reads the headers of an answer that lets a request pass. muster sets each
// of them, once: something else that says 200 on its way is not muster.
func identity(h http.Header) (who Identity, err error) {
	var groups, amr, outcome string
	for name, to := range map[string]*string{
		"User": &who.User, "Mail": &who.Mail, "Groups": &groups, "Session": &who.Session, "Device": &who.Device, "Level": &who.Level,
		"Acr": &who.ACR, "Amr": &amr, "Outcome": &outcome, "Restrict": &who.Restrict, "Token": &who.Token,
	} {
		values := h["X-Muster-"+name]
		if len(values) != 1 {
			return Identity{}, fmt.Errorf("muster's answer has %d of X-Muster-%s", len(values), name)
		}
		*to = values[0]
	}
	// An outcome and its restriction come together, so that one that was lost on its
	// way leaves nothing that reads as less severe.
	switch {
	case outcome == "allow" && who.Restrict == "", outcome == "restrict" && who.Restrict == "read-only":
	default:
		return Identity{}, fmt.Errorf("muster's outcome %.20q with the restriction %.20q is not known", outcome, who.Restrict)
	}
	for _, text := range []*string{&who.User, &who.Mail, &who.Session, &who.Device, &who.Level, &who.ACR} {
		err = errors.Join(err, decode(text))
	}
	var groupsErr, amrErr error
	who.Groups, groupsErr = decodeList(groups)
	who.AMR, amrErr = decodeList(amr)
	if err = errors.Join(err, groupsErr, amrErr); err != nil {
		return Identity{}, err
	}
	return who, nil
}

// decode undoes muster's %XX, in which it writes what headers cannot carry.
func decode(text *string) (err error) {
	if *text, err = url.PathUnescape(*text); err != nil {
		return fmt.Errorf("muster's answer does not read: %w", err)
	}
	return nil
}

func decodeList(text string) (list []string, err error) {
	if text == "" {
		return nil, nil
	}
	list = strings.Split(text, ",") // a comma inside of an element is %2C
	for i := range list {
		err = errors.Join(err, decode(&list[i]))
	}
	return list, err
}

// readRefusal keeps of a refusal what a client needs of it.
func readRefusal(reply *http.Response) (*refusal, error) {
	if strings.Contains(strings.Join(reply.Header["Www-Authenticate"], ","), strangers) {
		return nil, errors.New("muster does not know this credential")
	}
	if reply.StatusCode == http.StatusSeeOther {
		to, err := url.Parse(reply.Header.Get("Location"))
		if err != nil || to.Host == "" || to.Scheme != "https" && to.Scheme != "http" {
			return nil, errors.New("muster sends the browser nowhere")
		}
	}
	// A body that is cut says something else than muster did: it is an error.
	body, err := io.ReadAll(io.LimitReader(reply.Body, maxRefusal+1))
	if err != nil {
		return nil, fmt.Errorf("reading muster's refusal: %w", err)
	}
	if len(body) > maxRefusal {
		return nil, fmt.Errorf("muster's refusal has more than %d bytes", maxRefusal)
	}
	f := &refusal{status: reply.StatusCode, header: http.Header{}, body: body}
	for _, name := range []string{"Location", "Www-Authenticate", "Content-Type", "Vary"} {
		if values := reply.Header[name]; len(values) > 0 {
			f.header[name] = values
		}
	}
	return f, nil
}
